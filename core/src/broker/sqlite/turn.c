/*
 * turn: settles and claims of all its queues in one transaction. What was
 * claimed is copied and handed out after the commit.
 */
#include "broker/sqlite/handle.h"

#include "broker/check.h"

/* Drops the oldest dead letters beyond the bound. */
static void trim_archive(reeve__sqlite *sq, reeve__sqlite_queue *queue,
                         int64_t bound) {
    int64_t excess = queue->counts[REEVE_STATE_ARCHIVED] - bound;
    if (bound <= 0 || excess <= 0) {
        return;
    }
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_ARCHIVE_TRIM);
    sqlite3_bind_int64(stmt, 1, queue->id);
    sqlite3_bind_int64(stmt, 2, excess);
    queue->counts[REEVE_STATE_ARCHIVED] -= reeve__sqlite_run(sq, stmt);
}

static void bind_lease(sqlite3_stmt *stmt, const reeve__sqlite_queue *queue,
                       reeve_bytes id, int64_t token) {
    sqlite3_bind_int64(stmt, 1, queue->id);
    reeve__sqlite_bind_bytes(stmt, 2, id);
    sqlite3_bind_int64(stmt, 3, token);
}

static int64_t settle_at_ms(const reeve__settle *settle, int64_t now_at_ms) {
    switch (settle->to_state) {
    case REEVE_STATE_COMPLETED:
    case REEVE_STATE_ARCHIVED:
        return settle->retention_ms == REEVE_NEVER
                   ? REEVE_NEVER
                   : reeve__add_sat(now_at_ms, settle->retention_ms);
    case REEVE_STATE_PENDING:
        return now_at_ms;
    default:
        return reeve__add_sat(now_at_ms, settle->delay_ms);
    }
}

static int settle_delete(reeve__sqlite *sq, const reeve__sqlite_queue *queue,
                         const reeve__settle *settle) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_SETTLE_DELETE);
    bind_lease(stmt, queue, settle->id, settle->token);
    return reeve__sqlite_run(sq, stmt);
}

static int settle_move(reeve__sqlite *sq, reeve__sqlite_queue *queue,
                       const reeve__settle *settle, int64_t at_ms) {
    int32_t to = settle->to_state;
    bool finished = to == REEVE_STATE_COMPLETED || to == REEVE_STATE_ARCHIVED;
    reeve__sqlite_place place = reeve__sqlite_place_in(
        queue, to, settle->priority, at_ms, to == REEVE_STATE_PENDING);
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_SETTLE_MOVE);
    bind_lease(stmt, queue, settle->id, settle->token);
    sqlite3_bind_int(stmt, 4, to);
    sqlite3_bind_int64(stmt, 5, place.major);
    sqlite3_bind_int64(stmt, 6, place.minor);
    sqlite3_bind_int64(stmt, 7, at_ms);
    if (finished) {
        sqlite3_bind_null(stmt, 8); /* as it was */
    } else {
        sqlite3_bind_int(stmt, 8, settle->priority);
    }
    reeve__sqlite_bind_blob(stmt, 9, settle->envelope,
                            settle->envelope.size > 0);
    reeve__sqlite_bind_blob(stmt, 10, settle->result,
                            to == REEVE_STATE_COMPLETED && settle->has_result);
    return reeve__sqlite_run(sq, stmt);
}

static void settle_one(reeve__sqlite *sq, reeve__sqlite_queue *queue,
                       reeve__settle *settle, int64_t now_at_ms) {
    int64_t at_ms = settle_at_ms(settle, now_at_ms);
    int32_t to = settle->to_state;
    bool delayed = to == REEVE_STATE_RETRY || to == REEVE_STATE_SCHEDULED;
    int64_t next_at_ms =
        queue && delayed ? reeve__sqlite_next_due(sq, queue) : 0;
    int changed = 0;
    if (queue) {
        changed = to == REEVE_STATE_NONE
                      ? settle_delete(sq, queue, settle)
                      : settle_move(sq, queue, settle, at_ms);
    }
    settle->code = changed > 0 ? REEVE_OK : REEVE_E_LEASE_LOST;
    if (changed == 0) {
        return;
    }
    reeve__sqlite_queue_count(queue, REEVE_STATE_ACTIVE, to);
    queue->done_total += settle->done;
    queue->failed_total += settle->failed;
    if (to == REEVE_STATE_ARCHIVED) {
        trim_archive(sq, queue, settle->archive_count);
    }
    if (to == REEVE_STATE_PENDING ||
        (delayed && (next_at_ms == 0 || at_ms < next_at_ms))) {
        queue->ring = true;
    }
}

/* Copies the first tasks into rows, with their rowids. */
static size_t list_claims(reeve__sqlite *sq, reeve__rows *rows,
                          reeve__buf *rowids, const reeve__sqlite_queue *queue,
                          const reeve__turn *turn, size_t turn_index,
                          reeve_bytes worker, int64_t now_at_ms) {
    size_t count = 0;
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_CLAIM_LIST);
    sqlite3_bind_int64(stmt, 1, queue->id);
    sqlite3_bind_int64(stmt, 2, (int64_t)turn->claim_max);
    while (reeve__sqlite_next(sq, stmt)) {
        reeve__row row;
        reeve__sqlite_row(&row, stmt, queue, now_at_ms);
        row.turn_index = turn_index;
        row.state = REEVE_STATE_ACTIVE;
        row.token = queue->token + 1;
        row.lease_ms = turn->lease_ms;
        row.worker = worker;
        reeve__rows_add(rows, &row);
        sqlite3_int64 rowid = sqlite3_column_int64(stmt, 9);
        reeve__buf_add(rowids, &rowid, sizeof(rowid));
        count++;
    }
    if (rowids->failed || reeve__rows_failed(rows)) {
        sq->nomem = true;
        return 0;
    }
    return count;
}

static void lease(reeve__sqlite *sq, reeve__sqlite_queue *queue,
                  sqlite3_int64 rowid, const reeve__turn *turn,
                  reeve_bytes worker, int64_t now_at_ms) {
    int64_t end_at_ms = reeve__add_sat(now_at_ms, turn->lease_ms);
    reeve__sqlite_place place =
        reeve__sqlite_place_in(queue, REEVE_STATE_ACTIVE, 0, end_at_ms, false);
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_CLAIM);
    sqlite3_bind_int64(stmt, 1, rowid);
    sqlite3_bind_int64(stmt, 2, place.major);
    sqlite3_bind_int64(stmt, 3, place.minor);
    sqlite3_bind_int64(stmt, 4, queue->token);
    sqlite3_bind_int64(stmt, 5, turn->lease_ms);
    reeve__sqlite_bind_bytes(stmt, 6, worker);
    reeve__sqlite_run(sq, stmt);
    reeve__sqlite_queue_count(queue, REEVE_STATE_PENDING, REEVE_STATE_ACTIVE);
}

static void claim(reeve__sqlite *sq, reeve__sqlite_queue *queue,
                  reeve__turn *turn, size_t turn_index, reeve_bytes worker,
                  int64_t now_at_ms, reeve__rows *rows) {
    reeve__buf rowids;
    reeve__buf_init(&rowids, sq->base.env);
    if (!queue->paused && queue->counts[REEVE_STATE_PENDING] > 0) {
        turn->claimed = list_claims(sq, rows, &rowids, queue, turn, turn_index,
                                    worker, now_at_ms);
    }
    queue->token += turn->claimed > 0;
    const sqlite3_int64 *ids = (const void *)rowids.data;
    for (size_t i = 0; i < turn->claimed && sq->failed == SQLITE_OK; i++) {
        lease(sq, queue, ids[i], turn, worker, now_at_ms);
    }
    reeve__buf_dispose(&rowids);
    turn->more = !queue->paused && queue->counts[REEVE_STATE_PENDING] > 0;
    if (turn->claimed < turn->claim_max) {
        /* The caller sees all there is: nobody else need look. */
        turn->next_due_at_ms = reeve__sqlite_next_due(sq, queue);
        queue->ring = false;
    } else if (turn->more) {
        queue->ring = true;
    }
}

static void turn_one(reeve__sqlite *sq, reeve__turn *turn, size_t turn_index,
                     reeve_bytes worker, reeve__rows *rows, int64_t now_at_ms) {
    reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, turn->queue);
    turn->claimed = 0;
    turn->more = false;
    turn->paused = queue && queue->paused;
    turn->next_due_at_ms = 0;
    for (size_t i = 0; i < turn->settle_count && sq->failed == SQLITE_OK; i++) {
        settle_one(sq, queue, &turn->settles[i], now_at_ms);
    }
    if (queue && turn->claim_max > 0) {
        claim(sq, queue, turn, turn_index, worker, now_at_ms, rows);
    }
}

/* What is rung from here on is news to this handle. */
static void before_claims(reeve__sqlite *sq, const reeve__turn *turns,
                          size_t count, uint64_t *out_counts) {
    for (size_t i = 0; i < count; i++) {
        out_counts[i] =
            reeve__board_count(&sq->board, reeve__board_hash(turns[i].queue));
    }
}

static void after_claims(reeve__sqlite *sq, const reeve__turn *turns,
                         size_t count, const uint64_t *counts) {
    for (size_t i = 0; i < count; i++) {
        if (turns[i].claim_max == 0) {
            continue;
        }
        reeve__sqlite_queue *queue =
            reeve__sqlite_queue_meet(sq, turns[i].queue);
        if (queue && turns[i].claimed < turns[i].claim_max) {
            queue->heard = counts[i];
        }
        if (queue && sq->board.owed == queue->hash) {
            sq->board.owed = 0;
        }
    }
}

reeve_rc reeve__sqlite_turn(reeve__broker *broker, reeve__turn *turns,
                            size_t count, reeve_bytes worker,
                            reeve__row_fn on_claim, void *ctx,
                            reeve_error *err) {
    reeve_rc rc = reeve__turns_check(turns, count, worker, err);
    if (rc < 0) {
        return rc;
    }
    uint64_t *counts = reeve__alloc(broker->env, (count + 1) * sizeof(*counts));
    if (!counts) {
        return reeve__fail_nomem(err);
    }
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        reeve__free(broker->env, counts);
        return rc;
    }
    reeve__rows rows;
    reeve__rows_init(&rows, broker->env);
    before_claims(sq, turns, count, counts);
    reeve__sqlite_begin(sq, true);
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    for (size_t i = 0; i < count && sq->failed == SQLITE_OK; i++) {
        turn_one(sq, &turns[i], i, worker, &rows, now_at_ms);
    }
    rc = reeve__sqlite_end(sq, err);
    if (rc == REEVE_OK) {
        after_claims(sq, turns, count, counts);
    }
    reeve__sqlite_leave(sq);
    if (rc == REEVE_OK) {
        rc = reeve__rows_deliver(&rows, on_claim, ctx, err);
    }
    reeve__rows_dispose(&rows);
    reeve__free(broker->env, counts);
    return rc;
}
