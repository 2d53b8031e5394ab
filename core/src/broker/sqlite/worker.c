/*
 * The workers that the store knows of, by their beats.
 */
#include "broker/sqlite/handle.h"

static void beat(reeve__sqlite *sq, const reeve_worker_info *info,
                 int64_t now_at_ms) {
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_BEAT);
    reeve__sqlite_bind_bytes(stmt, 1, info->id);
    reeve__sqlite_bind_bytes(stmt, 2, info->host);
    sqlite3_bind_int64(stmt, 3, info->pid);
    sqlite3_bind_int64(stmt, 4, info->started_at_ms);
    sqlite3_bind_int64(stmt, 5, now_at_ms);
    sqlite3_bind_int(stmt, 6, info->concurrency);
    sqlite3_bind_int(stmt, 7, info->active);
    sqlite3_bind_int64(stmt, 8, info->done);
    sqlite3_bind_int64(stmt, 9, info->failed);
    sqlite3_bind_int(stmt, 10, info->quiet);
    reeve__sqlite_bind_bytes(stmt, 11, info->queues);
    reeve__sqlite_run(sq, stmt);
}

reeve_rc reeve__sqlite_beat(reeve__broker *broker,
                            const reeve_worker_info *info, bool gone,
                            reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__sqlite_begin(sq, true);
    if (gone) {
        sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_BEAT_GONE);
        reeve__sqlite_bind_bytes(stmt, 1, info->id);
        reeve__sqlite_run(sq, stmt);
    } else {
        beat(sq, info, reeve__now_at_ms(broker->env));
    }
    rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    return rc;
}

/* Texts lie in the order of their infos: id, host, queues. */
static void copy_info(reeve__buf *infos, reeve__buf *texts,
                      sqlite3_stmt *stmt) {
    reeve_worker_info info = {
        .id = reeve__sqlite_column(stmt, 0),
        .host = reeve__sqlite_column(stmt, 1),
        .pid = sqlite3_column_int64(stmt, 2),
        .started_at_ms = sqlite3_column_int64(stmt, 3),
        .beat_at_ms = sqlite3_column_int64(stmt, 4),
        .concurrency = sqlite3_column_int(stmt, 5),
        .active = sqlite3_column_int(stmt, 6),
        .done = sqlite3_column_int64(stmt, 7),
        .failed = sqlite3_column_int64(stmt, 8),
        .quiet = sqlite3_column_int(stmt, 9),
        .queues = reeve__sqlite_column(stmt, 10),
    };
    reeve__buf_add(infos, &info, sizeof(info));
    reeve__buf_add_bytes(texts, info.id);
    reeve__buf_add_bytes(texts, info.host);
    reeve__buf_add_bytes(texts, info.queues);
}

static reeve_rc deliver(const reeve__buf *infos, const char *text,
                        reeve__worker_fn on_worker, void *ctx,
                        reeve_error *err) {
    const reeve_worker_info *list = (const void *)infos->data;
    size_t count = infos->size / sizeof(*list);
    reeve_rc rc = REEVE_OK;
    for (size_t i = 0; i < count && rc == REEVE_OK; i++) {
        reeve_worker_info info = list[i];
        info.id.data = text;
        info.host.data = info.id.data + info.id.size;
        info.queues.data = info.host.data + info.host.size;
        text = info.queues.data + info.queues.size;
        rc = on_worker(ctx, &info, err);
    }
    return rc;
}

reeve_rc reeve__sqlite_workers(reeve__broker *broker,
                               reeve__worker_fn on_worker, void *ctx,
                               reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__buf infos, texts;
    reeve__buf_init(&infos, broker->env);
    reeve__buf_init(&texts, broker->env);
    reeve__sqlite_begin(sq, false);
    sqlite3_stmt *stmt = reeve__sqlite_use(sq, REEVE__SQL_BEATS);
    while (reeve__sqlite_next(sq, stmt)) {
        copy_info(&infos, &texts, stmt);
    }
    sq->nomem = sq->nomem || infos.failed || texts.failed;
    rc = reeve__sqlite_end(sq, err);
    reeve__sqlite_leave(sq);
    if (rc == REEVE_OK) {
        rc = deliver(&infos, texts.data, on_worker, ctx, err);
    }
    reeve__buf_dispose(&infos);
    reeve__buf_dispose(&texts);
    return rc;
}
