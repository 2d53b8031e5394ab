/*
 * One handle on an SQLite store: the connection with its prepared statements,
 * the queues it has met, and its place on the bell board.
 *
 * Errors inside a verb stick: once a statement fails, the later ones do
 * nothing, and reeve__sqlite_end rolls back and reports. Everything here runs
 * between reeve__sqlite_enter and _leave.
 *
 * The file must have no second opener in this process: closing any other
 * descriptor on it drops SQLite's locks (POSIX advisory locks), and another
 * process may then write over our transaction.
 */
#ifndef REEVE_SRC_BROKER_SQLITE_HANDLE_H
#define REEVE_SRC_BROKER_SQLITE_HANDLE_H

#include <sqlite3.h>

#include "base/thread.h"
#include "broker/rows.h"
#include "broker/sqlite/board.h"

#define REEVE__SQLITE_STATES (REEVE_STATE_ARCHIVED + 1)
/* What a task's row costs beside its bytes, for the estimate of sizes. */
#define REEVE__SQLITE_TASK_BYTES 200

/* Tasks that one statement stores. */
#define REEVE__SQLITE_ADD_MANY 16

/* X(name, sql): see sql.c for the texts. */
enum reeve__sqlite_sql {
    REEVE__SQL_BEGIN_READ,
    REEVE__SQL_BEGIN_WRITE,
    REEVE__SQL_COMMIT,
    REEVE__SQL_ROLLBACK,
    REEVE__SQL_DATA_VERSION,
    REEVE__SQL_QUEUE_LOAD,
    REEVE__SQL_QUEUE_ADD,
    REEVE__SQL_QUEUE_STORE,
    REEVE__SQL_QUEUES,
    REEVE__SQL_QUEUE_DROP,
    REEVE__SQL_TOKEN_KEEP,
    REEVE__SQL_KEYS_DROP,
    REEVE__SQL_KEY_FIND,
    REEVE__SQL_KEY_SET,
    REEVE__SQL_KEYS_SWEEP,
    REEVE__SQL_TASK_LOOK,
    REEVE__SQL_TASK_ADD,
    REEVE__SQL_TASKS_ADD,
    REEVE__SQL_TASK_FIND,
    REEVE__SQL_TASK_DELETE,
    REEVE__SQL_TASK_MOVE,
    REEVE__SQL_SETTLE_DELETE,
    REEVE__SQL_SETTLE_MOVE,
    REEVE__SQL_CLAIM_LIST,
    REEVE__SQL_CLAIM,
    REEVE__SQL_EXTEND,
    REEVE__SQL_DUE_LIST,
    REEVE__SQL_DUE_NEXT,
    REEVE__SQL_PROMOTE,
    REEVE__SQL_LAPSED_LIST,
    REEVE__SQL_LAPSED_NEXT,
    REEVE__SQL_WORKER_LIST,
    REEVE__SQL_WORKER_NEXT,
    REEVE__SQL_EXPIRE,
    REEVE__SQL_ARCHIVE_TRIM,
    REEVE__SQL_LIST,
    REEVE__SQL_LATENCY,
    REEVE__SQL_SIZE,
    REEVE__SQL_BEAT,
    REEVE__SQL_BEAT_GONE,
    REEVE__SQL_BEATS_SWEEP,
    REEVE__SQL_BEATS,
    REEVE__SQL_COUNT,
};

extern const char *const reeve__sqlite_sql[REEVE__SQL_COUNT];

/* A queue as this handle knows it; the stored half is loaded once a
 * transaction. */
typedef struct reeve__sqlite_queue {
    struct reeve__sqlite_queue *next;        /* in its slot */
    struct reeve__sqlite_queue *next_loaded; /* in this transaction */
    uint64_t loaded; /* the transaction's serial; any other: stale */
    uint64_t heard;  /* bell count at the last claim that came back short */
    int64_t id;      /* 0 = not stored yet */
    int64_t token;
    int64_t back;  /* order of arrival: last given at the back */
    int64_t front; /* last given at the front, negative */
    int64_t done_total;
    int64_t failed_total;
    int64_t counts[REEVE__SQLITE_STATES];
    int32_t weight;
    uint32_t hash;
    bool paused;
    bool dirty;
    bool ring; /* after the commit */
    size_t name_size;
    char name[]; /* and a NUL */
} reeve__sqlite_queue;

typedef struct reeve__sqlite {
    reeve__broker base;
    struct reeve__sqlite *next; /* all handles, for fork */
    reeve__mutex mutex;         /* held in a verb, but not while waiting */
    char *path;
    bool sync_full;
    int64_t timeout_ms;
    sqlite3 *db; /* NULL after a fork in the parent: reopened when used */
    sqlite3_stmt *stmts[REEVE__SQL_COUNT];
    int failed; /* sticky SQLite code of this verb, 0 = none */
    bool nomem;
    uint64_t serial; /* of the transaction, the next one between two */
    int64_t busy_by_ns;
    bool waited;                 /* for the write lock, in this transaction */
    reeve__sqlite_queue **slots; /* all that were met, by their hash */
    size_t slot_count;           /* 0 or a power of two */
    size_t queue_count;
    reeve__sqlite_queue *loaded; /* those of this transaction */
    reeve__board board;
    int64_t data_version; /* as of the last look */
} reeve__sqlite;

/* Opens db when it is closed: permissions, schema, pragmas. */
reeve_rc reeve__sqlite_connect(reeve__sqlite *sq, reeve_error *err);
/* Adds and removes a handle to those that are closed around a fork. */
void reeve__sqlite_enlist(reeve__sqlite *sq);
void reeve__sqlite_delist(reeve__sqlite *sq);
void reeve__sqlite_disconnect(reeve__sqlite *sq);

/* Begins a verb: lock, connection, deadline. NULL: *rc and err say why. */
reeve__sqlite *reeve__sqlite_enter(reeve__broker *broker, reeve_rc *rc,
                                   reeve_error *err);
void reeve__sqlite_leave(reeve__sqlite *sq);

/* A transaction; end commits, rings the bells, or rolls back and reports. */
void reeve__sqlite_begin(reeve__sqlite *sq, bool write);
reeve_rc reeve__sqlite_end(reeve__sqlite *sq, reeve_error *err);
/* Undoes what the transaction has done, and begins another one to write. */
void reeve__sqlite_restart(reeve__sqlite *sq);
/* Error of a failed connection or statement, naming file and cause. */
reeve_rc reeve__sqlite_fail(const reeve__sqlite *sq, int code,
                            reeve_error *err);

/* A statement, reset and ready to bind; NULL once something has failed. */
sqlite3_stmt *reeve__sqlite_use(reeve__sqlite *sq,
                                enum reeve__sqlite_sql which);
void reeve__sqlite_bind_bytes(sqlite3_stmt *stmt, int index, reeve_bytes bytes);
/* NULL when absent. */
void reeve__sqlite_bind_blob(sqlite3_stmt *stmt, int index, reeve_bytes bytes,
                             bool present);
/* Steps to the next row; at the end, or on failure, resets and says false. */
bool reeve__sqlite_next(reeve__sqlite *sq, sqlite3_stmt *stmt);
/* Runs to the end; how many rows changed. */
int reeve__sqlite_run(reeve__sqlite *sq, sqlite3_stmt *stmt);
/* First column of the first row, 0 when there is none. */
int64_t reeve__sqlite_int(reeve__sqlite *sq, sqlite3_stmt *stmt);
reeve_bytes reeve__sqlite_column(sqlite3_stmt *stmt, int column);

/* The queue, loaded in this transaction; NULL: not stored, or failed. */
reeve__sqlite_queue *reeve__sqlite_queue_find(reeve__sqlite *sq,
                                              reeve_bytes name);
/* Fills in what is stored, of a row of QUEUE_LOAD or QUEUES. */
void reeve__sqlite_queue_read(reeve__sqlite_queue *out, sqlite3_stmt *stmt);
/* The same, stored if need be (in a write transaction). */
reeve__sqlite_queue *reeve__sqlite_queue_get(reeve__sqlite *sq,
                                             reeve_bytes name);
/* What the handle remembers of a queue, stored or not; NULL: no memory, or no
 * such name can be. */
reeve__sqlite_queue *reeve__sqlite_queue_meet(reeve__sqlite *sq,
                                              reeve_bytes name);
/* Before the commit: writes back those that have changed. */
void reeve__sqlite_queues_store(reeve__sqlite *sq);
/* After the end of a transaction, which takes what was loaded with it: rings
 * for those to be rung when it was committed. */
void reeve__sqlite_queues_done(reeve__sqlite *sq, bool committed);
/* Frees all of them, when the handle is closed. */
void reeve__sqlite_queues_forget(reeve__sqlite *sq);
/* Counts a task out of one state and into another. */
void reeve__sqlite_queue_count(reeve__sqlite_queue *queue, int32_t from,
                               int32_t to);
/* The place of a task that enters a state: its order there. */
typedef struct reeve__sqlite_place {
    int64_t major;
    int64_t minor;
} reeve__sqlite_place;
reeve__sqlite_place reeve__sqlite_place_in(reeve__sqlite_queue *queue,
                                           int32_t state, int32_t priority,
                                           int64_t at_ms, bool front);
/* Earliest due time of scheduled and retry tasks, 0 = none. */
int64_t reeve__sqlite_next_due(reeve__sqlite *sq,
                               const reeve__sqlite_queue *queue);
/* A row of the columns REEVE__SQLITE_ROW_COLUMNS, in their order. */
#define REEVE__SQLITE_ROW_COLUMNS                                              \
    "id, state, priority, token, lease_ms, at_ms, worker, envelope, result"
void reeve__sqlite_row(reeve__row *out, sqlite3_stmt *stmt,
                       const reeve__sqlite_queue *queue, int64_t now_at_ms);
/* Ends a verb that only read into rows: ends, leaves, delivers, disposes. */
reeve_rc reeve__sqlite_deliver(reeve__sqlite *sq, reeve__rows *rows,
                               reeve__row_fn on_row, void *ctx,
                               reeve_error *err);

/* The verbs; see reeve__broker_ops. */
reeve_rc reeve__sqlite_enqueue(reeve__broker *broker,
                               reeve__enqueue_item *items, size_t count,
                               reeve_error *err);
reeve_rc reeve__sqlite_turn(reeve__broker *broker, reeve__turn *turns,
                            size_t count, reeve_bytes worker,
                            reeve__row_fn on_claim, void *ctx,
                            reeve_error *err);
reeve_rc reeve__sqlite_extend(reeve__broker *broker, reeve__lease_ref *refs,
                              size_t count, int64_t lease_ms, reeve_error *err);
reeve_rc reeve__sqlite_promote(reeve__broker *broker, reeve_bytes name,
                               size_t max, size_t *out_moved,
                               int64_t *out_next_due_at_ms, reeve_error *err);
reeve_rc reeve__sqlite_reclaim(reeve__broker *broker, reeve_bytes name,
                               reeve_bytes worker, size_t max,
                               reeve__row_fn on_row, void *ctx,
                               int64_t *out_next_at_ms, reeve_error *err);
reeve_rc reeve__sqlite_sweep(reeve__broker *broker, reeve_bytes name,
                             size_t max, size_t *out_removed, reeve_error *err);
reeve_rc reeve__sqlite_beat(reeve__broker *broker,
                            const reeve_worker_info *info, bool gone,
                            reeve_error *err);
reeve_rc reeve__sqlite_watch(reeve__broker *broker, reeve_bytes worker,
                             int wake_fd, int64_t by_ns, int32_t *out,
                             reeve_error *err);
reeve_rc reeve__sqlite_tell(reeve__broker *broker, reeve_bytes worker,
                            int32_t control, reeve_error *err);
reeve_rc reeve__sqlite_wait(reeve__broker *broker, const reeve_bytes *queues,
                            size_t count, int wake_fd, int64_t by_ns,
                            ptrdiff_t *out_index, reeve_error *err);
reeve_rc reeve__sqlite_unwait(reeve__broker *broker, reeve_error *err);
reeve_rc reeve__sqlite_queues(reeve__broker *broker, reeve__queue_fn on_queue,
                              void *ctx, reeve_error *err);
reeve_rc reeve__sqlite_list(reeve__broker *broker, reeve_bytes name,
                            int32_t state, uint64_t cursor, size_t limit,
                            uint64_t *out_cursor, reeve__row_fn on_row,
                            void *ctx, reeve_error *err);
reeve_rc reeve__sqlite_find(reeve__broker *broker, reeve_bytes name,
                            reeve_bytes id, reeve__row_fn on_row, void *ctx,
                            reeve_error *err);
reeve_rc reeve__sqlite_act(reeve__broker *broker, reeve__act *acts,
                           size_t count, reeve_error *err);
reeve_rc reeve__sqlite_pause(reeve__broker *broker, reeve_bytes name,
                             bool paused, reeve_error *err);
reeve_rc reeve__sqlite_drop(reeve__broker *broker, reeve_bytes name,
                            reeve_error *err);
reeve_rc reeve__sqlite_workers(reeve__broker *broker,
                               reeve__worker_fn on_worker, void *ctx,
                               reeve_error *err);
reeve_rc reeve__sqlite_set_weight(reeve__broker *broker, reeve_bytes name,
                                  int32_t weight, reeve_error *err);
reeve_rc reeve__sqlite_weights(reeve__broker *broker,
                               reeve__weight_fn on_weight, void *ctx,
                               reeve_error *err);

#endif
