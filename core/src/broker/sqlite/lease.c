/*
 * Verbs of time: extend, promote, reclaim, sweep.
 */
#include "broker/sqlite/handle.h"

#include "broker/check.h"

#define LIMIT_OF(max) ((max) > INT32_MAX ? INT32_MAX : (int64_t)(max))

static void extend_one(reeve__sqlite *sq, reeve__lease_ref *ref,
                       int64_t lease_ms, int64_t now_at_ms) {
    reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, ref->queue);
    ref->lost = true;
    if (!queue) {
        return;
    }
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_EXTEND);
    sqlite3_bind_int64(stmt, 1, queue->id);
    reeve__sqlite_bind_bytes(stmt, 2, ref->id);
    sqlite3_bind_int64(stmt, 3, ref->token);
    sqlite3_bind_int64(stmt, 4, reeve__add_sat(now_at_ms, lease_ms));
    sqlite3_bind_int64(stmt, 5, lease_ms);
    ref->lost = reeve__sqlite_run(sq, stmt) == 0;
}

reeve_rc reeve__sqlite_extend(reeve__broker *broker, reeve__lease_ref *refs,
                              size_t count, int64_t lease_ms,
                              reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__sqlite_begin(sq, true);
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    for (size_t i = 0; i < count && sq->failed == SQLITE_OK; i++) {
        extend_one(sq, &refs[i], lease_ms, now_at_ms);
    }
    rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    return rc;
}

typedef struct due_task {
    sqlite3_int64 rowid;
    int32_t state;
    int32_t priority;
} due_task;

static void list_due(reeve__sqlite *sq, reeve__buf *out,
                     const reeve__sqlite_queue *queue, size_t max,
                     int64_t now_at_ms) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_DUE_LIST);
    sqlite3_bind_int64(stmt, 1, queue->id);
    sqlite3_bind_int64(stmt, 2, now_at_ms);
    sqlite3_bind_int64(stmt, 3, LIMIT_OF(max));
    while (reeve__sqlite_next(sq, stmt)) {
        due_task due = { sqlite3_column_int64(stmt, 0),
                         sqlite3_column_int(stmt, 1),
                         sqlite3_column_int(stmt, 2) };
        reeve__buf_add(out, &due, sizeof(due));
    }
    sq->nomem = sq->nomem || out->failed;
}

static size_t promote_due(reeve__sqlite *sq, reeve__sqlite_queue *queue,
                          size_t max, int64_t now_at_ms) {
    reeve__buf list;
    reeve__buf_init(&list, sq->base.env);
    list_due(sq, &list, queue, max, now_at_ms);
    const due_task *due = (const void *)list.data;
    size_t count = sq->nomem ? 0 : list.size / sizeof(*due);
    for (size_t i = 0; i < count && sq->failed == SQLITE_OK; i++) {
        reeve__sqlite_place place = reeve__sqlite_place_in(
            queue, REEVE_STATE_PENDING, due[i].priority, now_at_ms, false);
        sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_PROMOTE);
        sqlite3_bind_int64(stmt, 1, due[i].rowid);
        sqlite3_bind_int64(stmt, 2, place.major);
        sqlite3_bind_int64(stmt, 3, place.minor);
        sqlite3_bind_int64(stmt, 4, now_at_ms);
        reeve__sqlite_run(sq, stmt);
        reeve__sqlite_queue_count(queue, due[i].state, REEVE_STATE_PENDING);
        queue->ring = true;
    }
    reeve__buf_dispose(&list);
    return count;
}

/* Nothing due is the usual answer: found out without the write lock. */
static bool is_due(reeve__sqlite *sq, reeve_bytes name, int64_t now_at_ms,
                   int64_t *out_next_due_at_ms) {
    const reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, name);
    *out_next_due_at_ms = queue ? reeve__sqlite_next_due(sq, queue) : 0;
    return *out_next_due_at_ms != 0 && *out_next_due_at_ms <= now_at_ms;
}

reeve_rc reeve__sqlite_promote(reeve__broker *broker, reeve_bytes name,
                               size_t max, size_t *out_moved,
                               int64_t *out_next_due_at_ms, reeve_error *err) {
    reeve_rc rc;
    *out_moved = 0;
    *out_next_due_at_ms = 0;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    reeve__sqlite_begin(sq, false);
    bool due = is_due(sq, name, now_at_ms, out_next_due_at_ms);
    rc = reeve__sqlite_end(sq, err);
    if (rc == REEVE_OK && due) {
        reeve__sqlite_begin(sq, true);
        reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, name);
        if (queue) {
            *out_moved = promote_due(sq, queue, max, now_at_ms);
            *out_next_due_at_ms = reeve__sqlite_next_due(sq, queue);
        }
        rc = reeve__sqlite_end(sq, err);
    }
    reeve__sqlite_leave(sq);
    return rc;
}

static int64_t list_lapsed(reeve__sqlite *sq, reeve__rows *rows,
                           const reeve__sqlite_queue *queue, reeve_bytes worker,
                           size_t max, int64_t now_at_ms) {
    bool all = worker.size == 0;
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, all ? REEVE__SQL_LAPSED_LIST
                                                   : REEVE__SQL_WORKER_LIST);
    sqlite3_bind_int64(stmt, 1, queue->id);
    if (all) {
        sqlite3_bind_int64(stmt, 2, now_at_ms);
    } else {
        reeve__sqlite_bind_bytes(stmt, 2, worker);
    }
    sqlite3_bind_int64(stmt, 3, LIMIT_OF(max));
    while (reeve__sqlite_next(sq, stmt)) {
        reeve__row row;
        reeve__sqlite_row(&row, stmt, queue, now_at_ms);
        reeve__rows_add(rows, &row);
    }
    stmt = reeve__sqlite_use(sq, all ? REEVE__SQL_LAPSED_NEXT
                                     : REEVE__SQL_WORKER_NEXT);
    sqlite3_bind_int64(stmt, 1, queue->id);
    if (all) {
        sqlite3_bind_int64(stmt, 2, (int64_t)reeve__rows_count(rows));
    } else {
        reeve__sqlite_bind_bytes(stmt, 2, worker);
    }
    return reeve__sqlite_int(sq, stmt);
}

reeve_rc reeve__sqlite_reclaim(reeve__broker *broker, reeve_bytes name,
                               reeve_bytes worker, size_t max,
                               reeve__row_fn on_row, void *ctx,
                               int64_t *out_next_at_ms, reeve_error *err) {
    reeve_rc rc;
    *out_next_at_ms = 0;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__rows rows;
    reeve__rows_init(&rows, broker->env);
    reeve__sqlite_begin(sq, false);
    const reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, name);
    if (queue && queue->counts[REEVE_STATE_ACTIVE] > 0) {
        *out_next_at_ms = list_lapsed(sq, &rows, queue, worker, max,
                                      reeve__now_at_ms(broker->env));
    }
    return reeve__sqlite_deliver(sq, &rows, on_row, ctx, err);
}

static size_t expire(reeve__sqlite *sq, reeve__sqlite_queue *queue,
                     int32_t state, size_t max, int64_t now_at_ms) {
    if (queue->counts[state] == 0 || max == 0) {
        return 0;
    }
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_EXPIRE);
    sqlite3_bind_int64(stmt, 1, queue->id);
    sqlite3_bind_int(stmt, 2, state);
    sqlite3_bind_int64(stmt, 3, now_at_ms);
    sqlite3_bind_int64(stmt, 4, LIMIT_OF(max));
    int removed = reeve__sqlite_run(sq, stmt);
    queue->counts[state] -= removed;
    queue->dirty = queue->dirty || removed > 0;
    return (size_t)removed;
}

static void sweep_keys(reeve__sqlite *sq, const reeve__sqlite_queue *queue,
                       size_t max, int64_t now_at_ms) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_KEYS_SWEEP);
    sqlite3_bind_int64(stmt, 1, queue->id);
    sqlite3_bind_int64(stmt, 2, now_at_ms);
    sqlite3_bind_int64(stmt, 3, LIMIT_OF(max));
    reeve__sqlite_run(sq, stmt);
}

static void sweep_beats(reeve__sqlite *sq, int64_t now_at_ms) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_BEATS_SWEEP);
    sqlite3_bind_int64(stmt, 1, now_at_ms - REEVE__BEAT_KEEP_MS);
    reeve__sqlite_run(sq, stmt);
}

reeve_rc reeve__sqlite_sweep(reeve__broker *broker, reeve_bytes name,
                             size_t max, size_t *out_removed,
                             reeve_error *err) {
    reeve_rc rc;
    *out_removed = 0;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__sqlite_begin(sq, true);
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, name);
    size_t removed = 0;
    if (queue) {
        removed = expire(sq, queue, REEVE_STATE_COMPLETED, max, now_at_ms);
        removed +=
            expire(sq, queue, REEVE_STATE_ARCHIVED, max - removed, now_at_ms);
        sweep_keys(sq, queue, max, now_at_ms);
    }
    sweep_beats(sq, now_at_ms);
    rc = reeve__sqlite_end(sq, err);
    *out_removed = rc == REEVE_OK ? removed : 0;
    reeve__sqlite_leave(sq);
    return rc;
}
