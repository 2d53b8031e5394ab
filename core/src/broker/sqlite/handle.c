/*
 * What verbs are written in: entering and leaving a handle, transactions,
 * statements with sticky errors, rows as they are stored.
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
    if (write) {
        give_way(sq);
    }
    reeve__sqlite_run(sq, reeve__sqlite_use(sq, write ? REEVE__SQL_BEGIN_WRITE
                                                      : REEVE__SQL_BEGIN_READ));
}

reeve_rc reeve__sqlite_end(reeve__sqlite *sq, reeve_error *err) {
    reeve__sqlite_queues_store(sq);
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
    reeve__sqlite_queues_done(sq, committed);
    return rc;
}

void reeve__sqlite_restart(reeve__sqlite *sq) {
    reeve__sqlite_run(sq, reeve__sqlite_use(sq, REEVE__SQL_ROLLBACK));
    reeve__sqlite_queues_done(sq, false);
    reeve__sqlite_begin(sq, true);
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
