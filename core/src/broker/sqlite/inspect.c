/*
 * The operator's verbs that look, and those that set a queue's switches.
 */
#include "broker/sqlite/handle.h"

#include "broker/check.h"

#include <string.h>

static int64_t latency_of(reeve__sqlite *sq, const reeve__sqlite_queue *queue,
                          int64_t now_at_ms) {
    int64_t oldest_at_ms = now_at_ms;
    if (queue->counts[REEVE_STATE_PENDING] == 0) {
        return 0;
    }
    for (int priority = 0; priority <= 9; priority++) {
        sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_LATENCY);
        sqlite3_bind_int64(stmt, 1, queue->id);
        sqlite3_bind_int(stmt, 2, -priority);
        int64_t since_at_ms = reeve__sqlite_int(sq, stmt);
        if (since_at_ms != 0 && since_at_ms < oldest_at_ms) {
            oldest_at_ms = since_at_ms;
        }
    }
    return now_at_ms - oldest_at_ms;
}

static int64_t size_of(reeve__sqlite *sq, const reeve__sqlite_queue *queue) {
    int64_t tasks = 0;
    for (int32_t state = 1; state < REEVE__SQLITE_STATES; state++) {
        tasks += queue->counts[state];
    }
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_SIZE);
    sqlite3_bind_int64(stmt, 1, queue->id);
    int64_t mean_bytes = reeve__sqlite_int(sq, stmt);
    return tasks * (mean_bytes + REEVE__SQLITE_TASK_BYTES);
}

static void fill_info(reeve__sqlite *sq, reeve_queue_info *out,
                      const reeve__sqlite_queue *queue) {
    const int64_t *counts = queue->counts;
    *out = (reeve_queue_info){
        .pending = counts[REEVE_STATE_PENDING],
        .active = counts[REEVE_STATE_ACTIVE],
        .scheduled = counts[REEVE_STATE_SCHEDULED],
        .retry = counts[REEVE_STATE_RETRY],
        .completed = counts[REEVE_STATE_COMPLETED],
        .archived = counts[REEVE_STATE_ARCHIVED],
        .done_total = queue->done_total,
        .failed_total = queue->failed_total,
        .latency_ms = latency_of(sq, queue, reeve__now_at_ms(sq->base.env)),
        .size_bytes = size_of(sq, queue),
        .paused = queue->paused,
        .weight = queue->weight,
    };
}

/* What was read in one transaction; names point into the second buffer. */
typedef struct queue_rows {
    reeve__buf infos;
    reeve__buf names;
} queue_rows;

static void rows_init(queue_rows *rows, reeve_env *env) {
    reeve__buf_init(&rows->infos, env);
    reeve__buf_init(&rows->names, env);
}

static void rows_dispose(queue_rows *rows) {
    reeve__buf_dispose(&rows->infos);
    reeve__buf_dispose(&rows->names);
}

static reeve_queue_info *rows_get(queue_rows *rows, size_t *count) {
    *count = rows->infos.size / sizeof(reeve_queue_info);
    reeve_queue_info *infos = (void *)rows->infos.data;
    const char *name = rows->names.data;
    for (size_t i = 0; i < *count; i++) {
        infos[i].name.data = name;
        name += infos[i].name.size;
    }
    return infos;
}

/* There may be very many: nothing of them stays in the handle. */
static reeve_rc read_queues(reeve__broker *broker, queue_rows *out, bool full,
                            reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__sqlite_begin(sq, false);
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_QUEUES);
    while (reeve__sqlite_next(sq, stmt)) {
        reeve__sqlite_queue queue = { .name_size = 0 };
        reeve__sqlite_queue_read(&queue, stmt);
        reeve_queue_info info = { .weight = queue.weight };
        if (full) {
            fill_info(sq, &info, &queue);
        }
        info.name = reeve__sqlite_column(stmt, 14);
        reeve__buf_add_bytes(&out->names, info.name);
        reeve__buf_add(&out->infos, &info, sizeof(info));
    }
    sq->nomem = sq->nomem || out->infos.failed || out->names.failed;
    rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    return rc;
}

reeve_rc reeve__sqlite_queues(reeve__broker *broker, reeve__queue_fn on_queue,
                              void *ctx, reeve_error *err) {
    queue_rows rows;
    rows_init(&rows, broker->env);
    reeve_rc rc = read_queues(broker, &rows, true, err);
    size_t count;
    const reeve_queue_info *infos = rows_get(&rows, &count);
    for (size_t i = 0; i < count && rc == REEVE_OK; i++) {
        rc = on_queue(ctx, &infos[i], err);
    }
    rows_dispose(&rows);
    return rc;
}

reeve_rc reeve__sqlite_weights(reeve__broker *broker,
                               reeve__weight_fn on_weight, void *ctx,
                               reeve_error *err) {
    queue_rows rows;
    rows_init(&rows, broker->env);
    reeve_rc rc = read_queues(broker, &rows, false, err);
    size_t count;
    const reeve_queue_info *infos = rows_get(&rows, &count);
    for (size_t i = 0; i < count && rc == REEVE_OK; i++) {
        if (infos[i].weight != 0) {
            rc = on_weight(ctx, infos[i].name, infos[i].weight, err);
        }
    }
    rows_dispose(&rows);
    return rc;
}

reeve_rc reeve__sqlite_list(reeve__broker *broker, reeve_bytes name,
                            int32_t state, uint64_t cursor, size_t limit,
                            uint64_t *out_cursor, reeve__row_fn on_row,
                            void *ctx, reeve_error *err) {
    reeve_rc rc;
    *out_cursor = 0;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__rows rows;
    reeve__rows_init(&rows, broker->env);
    reeve__sqlite_begin(sq, false);
    const reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, name);
    bool known = state > REEVE_STATE_NONE && state < REEVE__SQLITE_STATES;
    uint64_t total = queue && known ? (uint64_t)queue->counts[state] : 0;
    if (cursor < total && limit > 0) {
        sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_LIST);
        sqlite3_bind_int64(stmt, 1, queue->id);
        sqlite3_bind_int(stmt, 2, state);
        sqlite3_bind_int64(stmt, 3,
                           limit > INT32_MAX ? INT32_MAX : (int64_t)limit);
        sqlite3_bind_int64(stmt, 4, (int64_t)cursor);
        while (reeve__sqlite_next(sq, stmt)) {
            reeve__row row;
            reeve__sqlite_row(&row, stmt, queue, reeve__now_at_ms(broker->env));
            reeve__rows_add(&rows, &row);
        }
        cursor += reeve__rows_count(&rows);
        *out_cursor = cursor < total ? cursor : 0;
    }
    return reeve__sqlite_deliver(sq, &rows, on_row, ctx, err);
}

reeve_rc reeve__sqlite_find(reeve__broker *broker, reeve_bytes name,
                            reeve_bytes id, reeve__row_fn on_row, void *ctx,
                            reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__rows rows;
    reeve__rows_init(&rows, broker->env);
    reeve__sqlite_begin(sq, false);
    const reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, name);
    if (queue) {
        sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_TASK_FIND);
        sqlite3_bind_int64(stmt, 1, queue->id);
        reeve__sqlite_bind_bytes(stmt, 2, id);
        while (reeve__sqlite_next(sq, stmt)) {
            reeve__row row;
            reeve__sqlite_row(&row, stmt, queue, reeve__now_at_ms(broker->env));
            reeve__rows_add(&rows, &row);
        }
    }
    return reeve__sqlite_deliver(sq, &rows, on_row, ctx, err);
}

reeve_rc reeve__sqlite_pause(reeve__broker *broker, reeve_bytes name,
                             bool paused, reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__sqlite_begin(sq, true);
    reeve__sqlite_queue *queue = reeve__sqlite_queue_get(sq, name);
    if (queue) {
        queue->paused = paused;
        queue->dirty = true;
        queue->ring = !paused && queue->counts[REEVE_STATE_PENDING] > 0;
    }
    rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    return rc;
}

reeve_rc reeve__sqlite_set_weight(reeve__broker *broker, reeve_bytes name,
                                  int32_t weight, reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__sqlite_begin(sq, true);
    reeve__sqlite_queue *queue = reeve__sqlite_queue_get(sq, name);
    if (queue) {
        queue->weight = weight;
        queue->dirty = true;
    }
    rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    return rc;
}

reeve_rc reeve__sqlite_drop(reeve__broker *broker, reeve_bytes name,
                            reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    int32_t code = REEVE_OK;
    reeve__sqlite_begin(sq, true);
    const reeve__sqlite_queue *queue = reeve__sqlite_queue_find(sq, name);
    if (queue) {
        sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_QUEUE_DROP);
        sqlite3_bind_int64(stmt, 1, queue->id);
        code = reeve__sqlite_run(sq, stmt) == 0 ? REEVE_E_STATE : REEVE_OK;
    } else {
        code = REEVE_E_NOT_FOUND;
    }
    if (queue && code == REEVE_OK) {
        sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_TOKEN_KEEP);
        sqlite3_bind_int64(stmt, 1, queue->token);
        reeve__sqlite_run(sq, stmt);
        stmt = reeve__sqlite_use(sq, REEVE__SQL_KEYS_DROP);
        sqlite3_bind_int64(stmt, 1, queue->id);
        reeve__sqlite_run(sq, stmt);
    }
    rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    return rc < 0 || code == REEVE_OK ? rc : reeve__drop_fail(code, name, err);
}
