/*
 * Operator's moves, a batch in one transaction.
 */
#include "broker/sqlite/handle.h"

#include "broker/check.h"

static void delete_task(reeve__sqlite *sq, sqlite3_int64 rowid) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_TASK_DELETE);
    sqlite3_bind_int64(stmt, 1, rowid);
    reeve__sqlite_run(sq, stmt);
}

static void move_task(reeve__sqlite *sq, reeve__sqlite_queue *queue,
                      sqlite3_int64 rowid, const reeve__act *act,
                      int32_t to_state, int64_t now_at_ms) {
    int64_t at_ms = now_at_ms;
    if (to_state == REEVE_STATE_ARCHIVED) {
        at_ms = act->retention_ms == REEVE_NEVER
                    ? REEVE_NEVER
                    : reeve__add_sat(now_at_ms, act->retention_ms);
    }
    reeve__sqlite_place place =
        reeve__sqlite_place_in(queue, to_state, act->priority, at_ms, false);
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_TASK_MOVE);
    sqlite3_bind_int64(stmt, 1, rowid);
    sqlite3_bind_int(stmt, 2, to_state);
    sqlite3_bind_int64(stmt, 3, place.major);
    sqlite3_bind_int64(stmt, 4, place.minor);
    sqlite3_bind_int64(stmt, 5, at_ms);
    sqlite3_bind_int(stmt, 6, act->priority);
    reeve__sqlite_bind_blob(stmt, 7, act->envelope, act->envelope.size > 0);
    reeve__sqlite_run(sq, stmt);
    queue->ring = queue->ring || to_state == REEVE_STATE_PENDING;
}

/* State of a task and its rowid; NONE when there is none. */
static int32_t look(reeve__sqlite *sq, sqlite3_int64 *out_rowid,
                    const reeve__sqlite_queue *queue, reeve_bytes id) {
    int32_t state = REEVE_STATE_NONE;
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_TASK_LOOK);
    sqlite3_bind_int64(stmt, 1, queue->id);
    reeve__sqlite_bind_bytes(stmt, 2, id);
    if (reeve__sqlite_next(sq, stmt)) {
        *out_rowid = sqlite3_column_int64(stmt, 0);
        state = sqlite3_column_int(stmt, 1);
        sqlite3_reset(stmt);
    }
    return state;
}

static void act_one(reeve__sqlite *sq, reeve__act *act, int64_t now_at_ms) {
    sqlite3_int64 rowid = 0;
    int32_t to_state;
    reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, act->queue);
    int32_t state = queue ? look(sq, &rowid, queue, act->id) : REEVE_STATE_NONE;
    if (state == REEVE_STATE_NONE) {
        act->code = REEVE_E_NOT_FOUND;
        return;
    }
    if (state != act->from_state ||
        !reeve__act_target(&to_state, act->action, state)) {
        act->code = REEVE_E_STATE;
        return;
    }
    act->code = REEVE_OK;
    if (to_state == REEVE_STATE_NONE) {
        delete_task(sq, rowid);
    } else {
        move_task(sq, queue, rowid, act, to_state, now_at_ms);
    }
    reeve__sqlite_queue_count(queue, state, to_state);
}

reeve_rc reeve__sqlite_act(reeve__broker *broker, reeve__act *acts,
                           size_t count, reeve_error *err) {
    reeve_rc rc = reeve__acts_check(acts, count, err);
    if (rc < 0) {
        return rc;
    }
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__sqlite_begin(sq, true);
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    for (size_t i = 0; i < count && sq->failed == SQLITE_OK; i++) {
        act_one(sq, &acts[i], now_at_ms);
    }
    rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    return rc;
}
