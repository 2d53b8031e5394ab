/*
 * enqueue: one transaction for the batch, whatever queues it names. Tasks that
 * just become pending are stored many a statement. When one of those has an id
 * that is taken, SQLite does not say which: the transaction starts over, and
 * stores one by one.
 */
#include "broker/sqlite/handle.h"

#include "base/bytes.h"
#include "broker/check.h"

#include <string.h>

static void set_out_id(reeve__enqueue_item *item, reeve_bytes id) {
    size_t size = id.size < REEVE_ID_BYTES_MAX ? id.size : REEVE_ID_BYTES_MAX;
    memcpy(item->out_id, id.data, size);
    item->out_id[size] = '\0';
}

/* Where the task that was there before stands. */
static void answer_existing(reeve__sqlite *sq, reeve__enqueue_item *item,
                            const reeve__sqlite_queue *queue) {
    item->state = REEVE_STATE_PENDING;
    item->out_due_at_ms = 0;
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_TASK_LOOK);
    sqlite3_bind_int64(stmt, 1, queue->id);
    reeve__sqlite_bind_bytes(stmt, 2, reeve_bytes_of(item->out_id));
    if (reeve__sqlite_next(sq, stmt)) {
        if (sqlite3_column_int(stmt, 1) == REEVE_STATE_SCHEDULED) {
            item->state = REEVE_STATE_SCHEDULED;
            item->out_due_at_ms = sqlite3_column_int64(stmt, 2);
        }
        sqlite3_reset(stmt);
    }
}

/* True when an earlier task has the item's key: the item is answered. */
static bool has_earlier(reeve__sqlite *sq, reeve__enqueue_item *item,
                        const reeve__sqlite_queue *queue, int64_t now_at_ms) {
    if (item->idempotency_key.size == 0) {
        return false;
    }
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_KEY_FIND);
    sqlite3_bind_int64(stmt, 1, queue->id);
    reeve__sqlite_bind_blob(stmt, 2, item->idempotency_key, true);
    sqlite3_bind_int64(stmt, 3, now_at_ms);
    if (!reeve__sqlite_next(sq, stmt)) {
        return false;
    }
    reeve_bytes earlier = reeve__sqlite_column(stmt, 0);
    bool ours = reeve__bytes_equal(earlier, item->id);
    set_out_id(item, earlier);
    sqlite3_reset(stmt);
    item->existing = !(ours && item->resent);
    answer_existing(sq, item, queue);
    return true;
}

static void keep_key(reeve__sqlite *sq, const reeve__enqueue_item *item,
                     const reeve__sqlite_queue *queue, int64_t now_at_ms) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_KEY_SET);
    sqlite3_bind_int64(stmt, 1, queue->id);
    reeve__sqlite_bind_blob(stmt, 2, item->idempotency_key, true);
    reeve__sqlite_bind_bytes(stmt, 3, item->id);
    sqlite3_bind_int64(stmt, 4,
                       reeve__add_sat(now_at_ms, item->idempotency_ttl_ms));
    reeve__sqlite_run(sq, stmt);
}

/* Binds a task's columns from index on. */
static void bind_task(sqlite3_stmt *stmt, int index, reeve__sqlite_queue *queue,
                      const reeve__enqueue_item *item, int64_t due_at_ms,
                      int64_t now_at_ms) {
    reeve__sqlite_place place = reeve__sqlite_place_in(
        queue, item->state, item->priority, due_at_ms, false);
    sqlite3_bind_int64(stmt, index, queue->id);
    reeve__sqlite_bind_bytes(stmt, index + 1, item->id);
    sqlite3_bind_int(stmt, index + 2, item->state);
    sqlite3_bind_int64(stmt, index + 3, place.major);
    sqlite3_bind_int64(stmt, index + 4, place.minor);
    sqlite3_bind_int64(stmt, index + 5,
                       due_at_ms > now_at_ms ? due_at_ms : now_at_ms);
    sqlite3_bind_int(stmt, index + 6, item->priority);
    reeve__sqlite_bind_blob(stmt, index + 7, item->envelope, true);
}

/* False: the id is taken. */
static bool add(reeve__sqlite *sq, reeve__sqlite_queue *queue,
                const reeve__enqueue_item *item, int64_t due_at_ms,
                int64_t now_at_ms) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_TASK_ADD);
    bind_task(stmt, 1, queue, item, due_at_ms, now_at_ms);
    return reeve__sqlite_run(sq, stmt) > 0;
}

static bool just_pends(const reeve__enqueue_item *item) {
    return item->idempotency_key.size == 0 && item->due_at_ms == 0 &&
           item->delay_ms <= 0;
}

/* As many as one statement takes. False: an id is taken, whosever. */
static bool add_many(reeve__sqlite *sq, reeve__enqueue_item *items,
                     int64_t now_at_ms) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_TASKS_ADD);
    for (int i = 0; i < REEVE__SQLITE_ADD_MANY; i++) {
        reeve__enqueue_item *item = &items[i];
        reeve__sqlite_queue *queue = reeve__sqlite_queue_get(sq, item->queue);
        if (!queue) {
            return true; /* failed, and sq says so */
        }
        item->code = REEVE_OK;
        item->existing = false;
        item->state = REEVE_STATE_PENDING;
        item->out_due_at_ms = 0;
        set_out_id(item, item->id);
        bind_task(stmt, 1 + i * 8, queue, item, 0, now_at_ms);
        reeve__sqlite_queue_count(queue, REEVE_STATE_NONE, item->state);
        queue->ring = true;
    }
    int changed = reeve__sqlite_run(sq, stmt);
    return sq->failed != SQLITE_OK || changed == REEVE__SQLITE_ADD_MANY;
}

static void enqueue_one(reeve__sqlite *sq, reeve__enqueue_item *item,
                        int64_t now_at_ms) {
    reeve__sqlite_queue *queue = reeve__sqlite_queue_get(sq, item->queue);
    item->code = REEVE_OK;
    item->existing = false;
    if (!queue || has_earlier(sq, item, queue, now_at_ms)) {
        return;
    }
    int64_t due_at_ms = item->due_at_ms != 0
                            ? item->due_at_ms
                            : reeve__add_sat(now_at_ms, item->delay_ms);
    bool later = due_at_ms > now_at_ms;
    int64_t next_at_ms = later ? reeve__sqlite_next_due(sq, queue) : 0;
    item->state = later ? REEVE_STATE_SCHEDULED : REEVE_STATE_PENDING;
    item->out_due_at_ms = later ? due_at_ms : 0;
    set_out_id(item, item->id);
    if (!add(sq, queue, item, item->out_due_at_ms, now_at_ms)) {
        item->code = item->resent ? REEVE_OK : REEVE_E_EXISTS;
        answer_existing(sq, item, queue);
        return;
    }
    reeve__sqlite_queue_count(queue, REEVE_STATE_NONE, item->state);
    if (item->idempotency_key.size > 0) {
        keep_key(sq, item, queue, now_at_ms);
    }
    queue->ring =
        queue->ring || !later || next_at_ms == 0 || due_at_ms < next_at_ms;
}

/* How many from the first on are stored by one statement: all it takes, or 0. */
static size_t count_many(const reeve__enqueue_item *items, size_t count) {
    size_t many = 0;
    while (many < count && many < REEVE__SQLITE_ADD_MANY &&
           just_pends(&items[many])) {
        many++;
    }
    return many == REEVE__SQLITE_ADD_MANY ? many : 0;
}

/* False: nothing is certain, start over one by one. */
static bool enqueue_all(reeve__sqlite *sq, reeve__enqueue_item *items,
                        size_t count, bool singly) {
    /* After the lock is ours: what waited for it is not due in the past. */
    int64_t now_at_ms = reeve__now_at_ms(sq->base.env);
    for (size_t i = 0; i < count && sq->failed == SQLITE_OK;) {
        size_t many = singly ? 0 : count_many(&items[i], count - i);
        if (many == 0) {
            enqueue_one(sq, &items[i++], now_at_ms);
        } else if (!add_many(sq, &items[i], now_at_ms)) {
            return false;
        }
        i += many;
    }
    return true;
}

reeve_rc reeve__sqlite_enqueue(reeve__broker *broker,
                               reeve__enqueue_item *items, size_t count,
                               reeve_error *err) {
    reeve_rc rc = reeve__enqueue_items_check(items, count, err);
    if (rc < 0) {
        return rc;
    }
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__sqlite_begin(sq, true);
    if (!enqueue_all(sq, items, count, false)) {
        reeve__sqlite_restart(sq);
        (void)enqueue_all(sq, items, count, true);
    }
    rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    return rc;
}
