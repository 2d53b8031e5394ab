/*
 * Queues as a handle knows them and as they are stored. A handle may have met
 * very many: they are found by a hash, and a transaction has a list of those
 * that it has loaded, so that what a verb costs grows with the queues it names
 * and not with those that there are.
 */
#include "broker/sqlite/handle.h"

#include "base/bytes.h"

#include <string.h>

#define SLOTS_MIN ((size_t)16)

static void chain(reeve__sqlite_queue **slots, size_t slot_count,
                  reeve__sqlite_queue *queue) {
    reeve__sqlite_queue **slot = &slots[queue->hash & (slot_count - 1)];
    queue->next = *slot;
    *slot = queue;
}

/* Doubles the slots; without the memory, chains grow. */
static void widen(reeve__sqlite *sq) {
    size_t slot_count = sq->slot_count ? sq->slot_count * 2 : SLOTS_MIN;
    reeve__sqlite_queue **slots =
        reeve__calloc(sq->base.env, slot_count, sizeof(*slots));
    if (!slots) {
        return;
    }
    for (size_t i = 0; i < sq->slot_count; i++) {
        for (reeve__sqlite_queue *queue = sq->slots[i], *next; queue;
             queue = next) {
            next = queue->next;
            chain(slots, slot_count, queue);
        }
    }
    reeve__free(sq->base.env, sq->slots);
    sq->slots = slots;
    sq->slot_count = slot_count;
}

static reeve__sqlite_queue *find_met(const reeve__sqlite *sq, reeve_bytes name,
                                     uint32_t hash) {
    reeve__sqlite_queue *queue =
        sq->slot_count ? sq->slots[hash & (sq->slot_count - 1)] : NULL;
    while (queue &&
           (queue->hash != hash ||
            !reeve__bytes_equal((reeve_bytes){ queue->name, queue->name_size },
                                name))) {
        queue = queue->next;
    }
    return queue;
}

static reeve__sqlite_queue *add_met(reeve__sqlite *sq, reeve_bytes name,
                                    uint32_t hash) {
    reeve__sqlite_queue *queue =
        reeve__calloc(sq->base.env, 1, sizeof(*queue) + name.size + 1);
    if (sq->queue_count >= sq->slot_count) {
        widen(sq);
    }
    if (!queue || sq->slot_count == 0) {
        reeve__free(sq->base.env, queue);
        sq->nomem = true;
        return NULL;
    }
    memcpy(queue->name, name.data, name.size);
    queue->name_size = name.size;
    queue->hash = hash;
    chain(sq->slots, sq->slot_count, queue);
    sq->queue_count++;
    return queue;
}

reeve__sqlite_queue *reeve__sqlite_queue_meet(reeve__sqlite *sq,
                                              reeve_bytes name) {
    uint32_t hash = reeve__board_hash(name);
    reeve__sqlite_queue *queue = find_met(sq, name, hash);
    bool possible = name.size > 0 && name.size <= REEVE_NAME_BYTES_MAX;
    return queue || !possible ? queue : add_met(sq, name, hash);
}

void reeve__sqlite_queues_forget(reeve__sqlite *sq) {
    for (size_t i = 0; i < sq->slot_count; i++) {
        for (reeve__sqlite_queue *queue = sq->slots[i], *next; queue;
             queue = next) {
            next = queue->next;
            reeve__free(sq->base.env, queue);
        }
    }
    reeve__free(sq->base.env, sq->slots);
}

void reeve__sqlite_queue_read(reeve__sqlite_queue *out, sqlite3_stmt *stmt) {
    out->id = sqlite3_column_int64(stmt, 0);
    out->token = sqlite3_column_int64(stmt, 1);
    out->back = sqlite3_column_int64(stmt, 2);
    out->front = sqlite3_column_int64(stmt, 3);
    out->done_total = sqlite3_column_int64(stmt, 4);
    out->failed_total = sqlite3_column_int64(stmt, 5);
    out->weight = sqlite3_column_int(stmt, 6);
    out->paused = sqlite3_column_int(stmt, 7) != 0;
    out->counts[REEVE_STATE_SCHEDULED] = sqlite3_column_int64(stmt, 8);
    out->counts[REEVE_STATE_PENDING] = sqlite3_column_int64(stmt, 9);
    out->counts[REEVE_STATE_ACTIVE] = sqlite3_column_int64(stmt, 10);
    out->counts[REEVE_STATE_RETRY] = sqlite3_column_int64(stmt, 11);
    out->counts[REEVE_STATE_COMPLETED] = sqlite3_column_int64(stmt, 12);
    out->counts[REEVE_STATE_ARCHIVED] = sqlite3_column_int64(stmt, 13);
}

static void load_queue(reeve__sqlite *sq, reeve__sqlite_queue *queue) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_QUEUE_LOAD);
    reeve__sqlite_bind_bytes(stmt, 1,
                             (reeve_bytes){ queue->name, queue->name_size });
    if (queue->loaded != sq->serial) {
        queue->loaded = sq->serial;
        queue->next_loaded = sq->loaded;
        sq->loaded = queue;
    }
    queue->dirty = false;
    queue->ring = false;
    queue->id = 0;
    if (!reeve__sqlite_next(sq, stmt)) {
        return;
    }
    reeve__sqlite_queue_read(queue, stmt);
    sqlite3_reset(stmt);
}

reeve__sqlite_queue *reeve__sqlite_queue_find(reeve__sqlite *sq,
                                              reeve_bytes name) {
    reeve__sqlite_queue *queue = reeve__sqlite_queue_meet(sq, name);
    if (queue && queue->loaded != sq->serial) {
        load_queue(sq, queue);
    }
    return queue && queue->id != 0 ? queue : NULL;
}

reeve__sqlite_queue *reeve__sqlite_queue_get(reeve__sqlite *sq,
                                             reeve_bytes name) {
    reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, name);
    if (queue) {
        return queue;
    }
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_QUEUE_ADD);
    reeve__sqlite_bind_bytes(stmt, 1, name);
    reeve__sqlite_run(sq, stmt);
    queue = reeve__sqlite_queue_meet(sq, name);
    if (queue) {
        load_queue(sq, queue); /* as stored: nothing of an earlier life */
    }
    return queue && queue->id != 0 ? queue : NULL;
}

void reeve__sqlite_queue_count(reeve__sqlite_queue *queue, int32_t from,
                               int32_t to) {
    queue->counts[from]--;
    queue->counts[to]++;
    queue->dirty = true;
}

reeve__sqlite_place reeve__sqlite_place_in(reeve__sqlite_queue *queue,
                                           int32_t state, int32_t priority,
                                           int64_t at_ms, bool front) {
    reeve__sqlite_place place = { .major = at_ms };
    queue->dirty = true;
    if (state == REEVE_STATE_PENDING) {
        place.major = -(int64_t)priority;
    } else if (state == REEVE_STATE_COMPLETED ||
               state == REEVE_STATE_ARCHIVED) {
        place.major = 0;
    }
    place.minor = front ? --queue->front : ++queue->back;
    return place;
}

int64_t reeve__sqlite_next_due(reeve__sqlite *sq,
                               const reeve__sqlite_queue *queue) {
    if (queue->counts[REEVE_STATE_SCHEDULED] == 0 &&
        queue->counts[REEVE_STATE_RETRY] == 0) {
        return 0;
    }
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_DUE_NEXT);
    sqlite3_bind_int64(stmt, 1, queue->id);
    return reeve__sqlite_int(sq, stmt);
}

static void store_queue(reeve__sqlite *sq, reeve__sqlite_queue *queue) {
    const int64_t values[] = {
        queue->id,
        queue->token,
        queue->back,
        queue->front,
        queue->done_total,
        queue->failed_total,
        queue->weight,
        queue->paused,
        queue->counts[REEVE_STATE_SCHEDULED],
        queue->counts[REEVE_STATE_PENDING],
        queue->counts[REEVE_STATE_ACTIVE],
        queue->counts[REEVE_STATE_RETRY],
        queue->counts[REEVE_STATE_COMPLETED],
        queue->counts[REEVE_STATE_ARCHIVED],
    };
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_QUEUE_STORE);
    for (int i = 0; stmt && i < (int)(sizeof(values) / sizeof(values[0]));
         i++) {
        sqlite3_bind_int64(stmt, i + 1, values[i]);
    }
    reeve__sqlite_run(sq, stmt);
}

void reeve__sqlite_queues_store(reeve__sqlite *sq) {
    for (reeve__sqlite_queue *queue = sq->loaded; queue;
         queue = queue->next_loaded) {
        if (queue->dirty) {
            store_queue(sq, queue);
        }
    }
}

void reeve__sqlite_queues_done(reeve__sqlite *sq, bool committed) {
    for (reeve__sqlite_queue *queue = sq->loaded; queue && committed;
         queue = queue->next_loaded) {
        if (queue->ring) {
            reeve__board_ring(&sq->board, queue->hash);
        }
    }
    sq->loaded = NULL;
    sq->serial++;
}
