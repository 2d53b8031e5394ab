/*
 * What verbs are written in: entering and leaving a handle, transactions,
 * statements with sticky errors, queues as they are stored.
 */
#include "broker/sqlite/handle.h"

#include <string.h>
#include <time.h>

#define GIVE_WAY_NS 200000L

/* Somebody deleted the file or put another in its place: what we would write
 * into the old one, nobody would ever read. */
static bool has_moved(reeve__sqlite *sq) {
    int moved = 0;
    return sqlite3_file_control(sq->db, "main", SQLITE_FCNTL_HAS_MOVED,
                                &moved) == SQLITE_OK &&
           moved != 0;
}

reeve__sqlite *reeve__sqlite_enter(reeve__broker *broker, reeve_rc *rc,
                                   reeve_error *err) {
    if (broker->fork_count != reeve__fork_count()) {
        *rc = reeve__fail(err, REEVE_E_FORKED,
                          "sqlite handle was opened before a fork");
        return NULL;
    }
    reeve__sqlite *sq = (reeve__sqlite *)broker;
    reeve__lock(&sq->mutex);
    sq->failed = SQLITE_OK;
    sq->nomem = false;
    sq->busy_by_ns = reeve__by_ns(NULL, sq->timeout_ms);
    if (sq->db && has_moved(sq)) {
        reeve__log(broker->env, REEVE_LOG_WARN,
                   "%s was deleted or replaced: opening it anew", sq->path);
        reeve__sqlite_disconnect(sq);
    }
    *rc = sq->db ? REEVE_OK : reeve__sqlite_connect(sq, err);
    if (*rc < 0) {
        reeve__unlock(&sq->mutex);
        return NULL;
    }
    return sq;
}

void reeve__sqlite_leave(reeve__sqlite *sq) {
    reeve__unlock(&sq->mutex);
}

sqlite3_stmt *reeve__sqlite_use(reeve__sqlite *sq,
                                enum reeve__sqlite_sql which) {
    if (sq->failed != SQLITE_OK) {
        return NULL;
    }
    if (!sq->stmts[which]) {
        sq->failed = sqlite3_prepare_v3(sq->db, reeve__sqlite_sql[which], -1,
                                        SQLITE_PREPARE_PERSISTENT,
                                        &sq->stmts[which], NULL);
    }
    return sq->stmts[which];
}

void reeve__sqlite_bind_bytes(sqlite3_stmt *stmt, int index,
                              reeve_bytes bytes) {
    sqlite3_bind_text64(stmt, index, bytes.data ? bytes.data : "", bytes.size,
                        SQLITE_STATIC, SQLITE_UTF8);
}

void reeve__sqlite_bind_blob(sqlite3_stmt *stmt, int index, reeve_bytes bytes,
                             bool present) {
    if (present) {
        sqlite3_bind_blob64(stmt, index, bytes.data ? bytes.data : "",
                            bytes.size, SQLITE_STATIC);
    } else {
        sqlite3_bind_null(stmt, index);
    }
}

bool reeve__sqlite_next(reeve__sqlite *sq, sqlite3_stmt *stmt) {
    if (!stmt) {
        return false;
    }
    int code = sqlite3_step(stmt);
    if (code == SQLITE_ROW) {
        return true;
    }
    sqlite3_reset(stmt);
    if (code != SQLITE_DONE && sq->failed == SQLITE_OK) {
        sq->failed = code;
    }
    return false;
}

int reeve__sqlite_run(reeve__sqlite *sq, sqlite3_stmt *stmt) {
    while (reeve__sqlite_next(sq, stmt)) {
    }
    return sq->failed == SQLITE_OK && stmt ? sqlite3_changes(sq->db) : 0;
}

int64_t reeve__sqlite_int(reeve__sqlite *sq, sqlite3_stmt *stmt) {
    int64_t value = 0;
    if (reeve__sqlite_next(sq, stmt)) {
        value = sqlite3_column_int64(stmt, 0);
        sqlite3_reset(stmt);
    }
    return value;
}

reeve_bytes reeve__sqlite_column(sqlite3_stmt *stmt, int column) {
    const void *data = sqlite3_column_blob(stmt, column);
    int size = sqlite3_column_bytes(stmt, column);
    return (reeve_bytes){ data ? data : "", (size_t)size };
}

/* Who got the lock at once lets those go first who had to wait: SQLite's lock
 * has no queue, and the one who gives it back would win it again. */
static void give_way(reeve__sqlite *sq) {
    if (!sq->waited && sq->board.map && reeve__board_is_contended(&sq->board)) {
        struct timespec span = { 0, GIVE_WAY_NS };
        nanosleep(&span, NULL);
    }
    sq->waited = false;
}

void reeve__sqlite_begin(reeve__sqlite *sq, bool write) {
    sq->serial++;
    if (write) {
        give_way(sq);
    }
    reeve__sqlite_run(sq, reeve__sqlite_use(sq, write ? REEVE__SQL_BEGIN_WRITE
                                                      : REEVE__SQL_BEGIN_READ));
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

static void store_queues(reeve__sqlite *sq) {
    for (size_t i = 0; i < sq->queue_count; i++) {
        reeve__sqlite_queue *queue = sq->queues[i];
        if (queue->dirty && queue->loaded == sq->serial) {
            store_queue(sq, queue);
        }
        queue->dirty = false;
    }
}

static void ring_queues(reeve__sqlite *sq, bool committed) {
    for (size_t i = 0; i < sq->queue_count; i++) {
        if (sq->queues[i]->ring && committed) {
            reeve__board_ring(&sq->board, sq->queues[i]->hash);
        }
        sq->queues[i]->ring = false;
    }
}

reeve_rc reeve__sqlite_end(reeve__sqlite *sq, reeve_error *err) {
    store_queues(sq);
    if (sq->nomem && sq->failed == SQLITE_OK) {
        sq->failed = SQLITE_NOMEM;
    }
    reeve__sqlite_run(sq, reeve__sqlite_use(sq, REEVE__SQL_COMMIT));
    bool committed = sq->failed == SQLITE_OK;
    reeve_rc rc =
        committed ? REEVE_OK : reeve__sqlite_fail(sq, sq->failed, err);
    if (!sqlite3_get_autocommit(sq->db)) {
        sqlite3_exec(sq->db, "ROLLBACK", NULL, NULL, NULL);
    }
    sq->serial++;
    ring_queues(sq, committed);
    return rc;
}

void reeve__sqlite_restart(reeve__sqlite *sq) {
    reeve__sqlite_run(sq, reeve__sqlite_use(sq, REEVE__SQL_ROLLBACK));
    ring_queues(sq, false);
    reeve__sqlite_begin(sq, true);
}

reeve__sqlite_queue *reeve__sqlite_queue_meet(reeve__sqlite *sq,
                                              reeve_bytes name) {
    uint32_t hash = reeve__board_hash(name);
    for (size_t i = 0; i < sq->queue_count; i++) {
        reeve__sqlite_queue *queue = sq->queues[i];
        if (queue->hash == hash && queue->name_size == name.size &&
            memcmp(queue->name, name.data, name.size) == 0) {
            return queue;
        }
    }
    if (name.size == 0 || name.size > REEVE_NAME_BYTES_MAX) {
        return NULL;
    }
    reeve_env *env = sq->base.env;
    if (sq->queue_count == sq->queue_capacity) {
        size_t capacity = sq->queue_capacity ? sq->queue_capacity * 2 : 8;
        void *wider =
            reeve__realloc(env, sq->queues, capacity * sizeof(*sq->queues));
        if (!wider) {
            sq->nomem = true;
            return NULL;
        }
        sq->queues = wider;
        sq->queue_capacity = capacity;
    }
    reeve__sqlite_queue *queue = reeve__calloc(env, 1, sizeof(*queue));
    if (!queue) {
        sq->nomem = true;
        return NULL;
    }
    memcpy(queue->name, name.data, name.size);
    queue->name_size = name.size;
    queue->hash = hash;
    sq->queues[sq->queue_count++] = queue;
    return queue;
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
    queue->loaded = sq->serial;
    queue->dirty = false;
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

void reeve__sqlite_row(reeve__row *out, sqlite3_stmt *stmt,
                       const reeve__sqlite_queue *queue, int64_t now_at_ms) {
    int32_t state = sqlite3_column_int(stmt, 1);
    int64_t at_ms = sqlite3_column_int64(stmt, 5);
    bool delayed = state == REEVE_STATE_SCHEDULED || state == REEVE_STATE_RETRY;
    bool finished =
        state == REEVE_STATE_COMPLETED || state == REEVE_STATE_ARCHIVED;
    *out = (reeve__row){
        .queue = { queue->name, queue->name_size },
        .id = reeve__sqlite_column(stmt, 0),
        .state = state,
        .priority = sqlite3_column_int(stmt, 2),
        .token = sqlite3_column_int64(stmt, 3),
        .lease_ms = sqlite3_column_int64(stmt, 4),
        .now_at_ms = now_at_ms,
        .due_at_ms = delayed ? at_ms : 0,
        .expires_at_ms = finished ? at_ms : 0,
        .worker = reeve__sqlite_column(stmt, 6),
        .envelope = reeve__sqlite_column(stmt, 7),
        .result = reeve__sqlite_column(stmt, 8),
        .has_result = sqlite3_column_type(stmt, 8) != SQLITE_NULL,
    };
}

reeve_rc reeve__sqlite_deliver(reeve__sqlite *sq, reeve__rows *rows,
                               reeve__row_fn on_row, void *ctx,
                               reeve_error *err) {
    sq->nomem = sq->nomem || reeve__rows_failed(rows);
    reeve_rc rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    if (rc == REEVE_OK) {
        rc = reeve__rows_deliver(rows, on_row, ctx, err);
    }
    reeve__rows_dispose(rows);
    return rc;
}
