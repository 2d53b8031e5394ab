/*
 * The connection: opening the file with plain errors, its schema and pragmas,
 * and what must happen around fork. SQLite keeps lock tables for the whole
 * process, which a child would inherit without the locks themselves; so every
 * connection is closed before a fork and reopened when it is used again.
 */
#include "broker/sqlite/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define APPLICATION_ID 0x72656576 /* "reev" */
#define SCHEMA_VERSION 1

static const char schema[] =
    "CREATE TABLE queues("
    " queue INTEGER PRIMARY KEY,"
    " name TEXT NOT NULL UNIQUE,"
    " token INTEGER NOT NULL DEFAULT 0,"
    " back INTEGER NOT NULL DEFAULT 0,"
    " front INTEGER NOT NULL DEFAULT 0,"
    " done_total INTEGER NOT NULL DEFAULT 0,"
    " failed_total INTEGER NOT NULL DEFAULT 0,"
    " weight INTEGER NOT NULL DEFAULT 0,"
    " paused INTEGER NOT NULL DEFAULT 0,"
    " scheduled INTEGER NOT NULL DEFAULT 0,"
    " pending INTEGER NOT NULL DEFAULT 0,"
    " active INTEGER NOT NULL DEFAULT 0,"
    " retry INTEGER NOT NULL DEFAULT 0,"
    " completed INTEGER NOT NULL DEFAULT 0,"
    " archived INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE tasks("
    " task INTEGER PRIMARY KEY,"
    " queue INTEGER NOT NULL,"
    " id TEXT NOT NULL,"
    " state INTEGER NOT NULL,"
    " major INTEGER NOT NULL,"
    " minor INTEGER NOT NULL,"
    " at_ms INTEGER NOT NULL,"
    " priority INTEGER NOT NULL,"
    " token INTEGER NOT NULL DEFAULT 0,"
    " lease_ms INTEGER NOT NULL DEFAULT 0,"
    " worker TEXT,"
    " envelope BLOB NOT NULL,"
    " result BLOB) STRICT;"
    "CREATE UNIQUE INDEX tasks_id ON tasks(queue, id);"
    "CREATE INDEX tasks_place ON tasks(queue, state, major, minor);"
    "CREATE INDEX tasks_expiry ON tasks(queue, state, at_ms)"
    " WHERE state >= 8 AND at_ms >= 0;"
    "CREATE TABLE keys("
    " queue INTEGER NOT NULL,"
    " key BLOB NOT NULL,"
    " id TEXT NOT NULL,"
    " expires_at_ms INTEGER NOT NULL,"
    " PRIMARY KEY(queue, key)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX keys_expiry ON keys(queue, expires_at_ms);"
    "CREATE TABLE workers("
    " id TEXT PRIMARY KEY,"
    " host TEXT NOT NULL,"
    " pid INTEGER NOT NULL,"
    " started_at_ms INTEGER NOT NULL,"
    " beat_at_ms INTEGER NOT NULL,"
    " concurrency INTEGER NOT NULL,"
    " active INTEGER NOT NULL,"
    " done INTEGER NOT NULL,"
    " failed INTEGER NOT NULL,"
    " quiet INTEGER NOT NULL,"
    " queues TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "PRAGMA application_id = 1919247734;"
    "PRAGMA user_version = 1;";

_Static_assert(APPLICATION_ID == 1919247734, "as written in the schema");
_Static_assert(SCHEMA_VERSION == 1, "as written in the schema");

static struct {
    reeve__mutex mutex;
    reeve__sqlite *first;
} handles = { PTHREAD_MUTEX_INITIALIZER, NULL };

static pthread_once_t handles_once = PTHREAD_ONCE_INIT;

static void before_fork(void) {
    reeve__lock(&handles.mutex);
    for (reeve__sqlite *sq = handles.first; sq; sq = sq->next) {
        reeve__lock(&sq->mutex); /* until its verb has ended */
        reeve__sqlite_disconnect(sq);
    }
}

static void after_fork_parent(void) {
    for (reeve__sqlite *sq = handles.first; sq; sq = sq->next) {
        reeve__unlock(&sq->mutex);
    }
    reeve__unlock(&handles.mutex);
}

static void after_fork_child(void) {
    for (reeve__sqlite *sq = handles.first; sq; sq = sq->next) {
        reeve__unlock(&sq->mutex);
    }
    handles.first = NULL;
    reeve__unlock(&handles.mutex);
}

static void watch_forks(void) {
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

void reeve__sqlite_enlist(reeve__sqlite *sq) {
    pthread_once(&handles_once, watch_forks);
    reeve__lock(&handles.mutex);
    sq->next = handles.first;
    handles.first = sq;
    reeve__unlock(&handles.mutex);
}

void reeve__sqlite_delist(reeve__sqlite *sq) {
    reeve__lock(&handles.mutex);
    reeve__sqlite **at = &handles.first;
    while (*at && *at != sq) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = sq->next;
    }
    reeve__unlock(&handles.mutex);
}

void reeve__sqlite_disconnect(reeve__sqlite *sq) {
    for (size_t i = 0; i < REEVE__SQL_COUNT; i++) {
        sqlite3_finalize(sq->stmts[i]);
        sq->stmts[i] = NULL;
    }
    sqlite3_close(sq->db);
    sq->db = NULL;
}

reeve_rc reeve__sqlite_fail(const reeve__sqlite *sq, int code,
                            reeve_error *err) {
    const char *path = sq->path;
    int system = sq->db ? sqlite3_system_errno(sq->db) : 0;
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return reeve__fail(err, REEVE_E_BUSY,
                           "%.150s is busy: another process has held it for "
                           "%lld ms",
                           path, (long long)sq->timeout_ms);
    case SQLITE_NOMEM:
        return reeve__fail_nomem(err);
    case SQLITE_FULL:
        return reeve__fail(err, REEVE_E_SYSTEM,
                           "no space left on the disk of %.180s", path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return reeve__fail(err, REEVE_E_SYSTEM, "%.200s is read-only", path);
    case SQLITE_NOTADB:
        return reeve__fail(err, REEVE_E_CORRUPT,
                           "%.200s is not an sqlite database", path);
    case SQLITE_CORRUPT:
        return reeve__fail(err, REEVE_E_CORRUPT, "%.200s is damaged: %.40s",
                           path, sqlite3_errstr(code));
    case SQLITE_TOOBIG:
        return reeve__fail(err, REEVE_E_TOO_BIG,
                           "a value is too big for %.180s", path);
    default:
        return reeve__fail(err, REEVE_E_SYSTEM, "%.150s: %.60s%s%.40s", path,
                           sqlite3_errstr(code), system ? ": " : "",
                           system ? strerror(system) : "");
    }
}

/* Backs off 50 … 200 us, until the verb's deadline. Real time, whatever the
 * env's clock: the lock is another process's. */
static int on_busy(void *ctx, int tries) {
    reeve__sqlite *sq = ctx;
    if (reeve__mono_ns(NULL) >= sq->busy_by_ns) {
        return 0;
    }
    if (sq->board.map) {
        reeve__board_contend(&sq->board);
    }
    sq->waited = true;
    long wait_ns = tries < 2 ? 50000L << tries : 200000L;
    struct timespec span = { 0, wait_ns };
    nanosleep(&span, NULL);
    return 1;
}

/* What SQLite would only call "unable to open". Looks, never opens: closing a
 * descriptor of an open database would drop its locks. */
static reeve_rc look(const reeve__sqlite *sq, bool *out_missing,
                     reeve_error *err) {
    struct stat info;
    *out_missing = false;
    if (stat(sq->path, &info) < 0) {
        *out_missing = errno == ENOENT;
        return *out_missing ? REEVE_OK
                            : reeve__fail(err, REEVE_E_SYSTEM, "%.180s: %s",
                                          sq->path, strerror(errno));
    }
    if (S_ISDIR(info.st_mode)) {
        return reeve__fail(err, REEVE_E_SYSTEM,
                           "%.180s is a directory, not a file", sq->path);
    }
    if (!S_ISREG(info.st_mode)) {
        return reeve__fail(err, REEVE_E_SYSTEM, "%.180s is not a file",
                           sq->path);
    }
    if (access(sq->path, R_OK | W_OK) < 0) {
        return reeve__fail(err, REEVE_E_SYSTEM, "%.180s: %s", sq->path,
                           strerror(errno));
    }
    return REEVE_OK;
}

/* A new file is the user's alone. It is not open anywhere yet, so closing it
 * here drops nobody's lock. */
static reeve_rc create(const reeve__sqlite *sq, reeve_error *err) {
    int fd = open(sq->path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST) {
        return reeve__fail(err, REEVE_E_SYSTEM, "cannot make %.150s: %s",
                           sq->path, strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return REEVE_OK;
}

static int64_t pragma(reeve__sqlite *sq, const char *sql, int *code) {
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1;
    if (*code == SQLITE_OK) {
        *code = sqlite3_prepare_v2(sq->db, sql, -1, &stmt, NULL);
    }
    if (*code == SQLITE_OK) {
        int step = sqlite3_step(stmt);
        if (step == SQLITE_ROW) {
            value = sqlite3_column_int64(stmt, 0);
        } else if (step != SQLITE_DONE) {
            *code = step;
        }
    }
    sqlite3_finalize(stmt);
    return value;
}

static void execute(reeve__sqlite *sq, const char *sql, int *code) {
    if (*code == SQLITE_OK) {
        *code = sqlite3_exec(sq->db, sql, NULL, NULL, NULL);
    }
}

/* An empty file gets the schema; another one must be ours. */
static reeve_rc check_schema(reeve__sqlite *sq, reeve_error *err) {
    int code = SQLITE_OK;
    execute(sq, "BEGIN IMMEDIATE", &code);
    int64_t application = pragma(sq, "PRAGMA application_id", &code);
    int64_t version = pragma(sq, "PRAGMA user_version", &code);
    int64_t tables = pragma(sq, "SELECT count(*) FROM sqlite_schema", &code);
    if (code == SQLITE_OK && application == 0 && tables == 0) {
        execute(sq, schema, &code);
        application = APPLICATION_ID;
        version = SCHEMA_VERSION;
    }
    execute(sq, "COMMIT", &code);
    if (code != SQLITE_OK) {
        return reeve__sqlite_fail(sq, code, err);
    }
    if (application != APPLICATION_ID) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "%.150s is a database of another application",
                           sq->path);
    }
    if (version != SCHEMA_VERSION) {
        return reeve__fail(err, REEVE_E_UNSUPPORTED,
                           "%.150s has schema %lld, this version knows %d",
                           sq->path, (long long)version, SCHEMA_VERSION);
    }
    return REEVE_OK;
}

/* Several processes may open a new file at once; the one that turns it into a
 * WAL database needs it alone, and for that SQLite does not ask the busy
 * handler. */
static int use_wal(reeve__sqlite *sq) {
    int code;
    int tries = 0;
    do {
        code =
            sqlite3_exec(sq->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    } while ((code & 0xff) == SQLITE_BUSY && on_busy(sq, tries++));
    return code;
}

static reeve_rc configure(reeve__sqlite *sq, reeve_error *err) {
    sqlite3_extended_result_codes(sq->db, 1);
    sqlite3_busy_handler(sq->db, on_busy, sq);
    int code = use_wal(sq);
    execute(sq,
            sq->sync_full ? "PRAGMA synchronous = FULL"
                          : "PRAGMA synchronous = NORMAL",
            &code);
    execute(sq,
            "PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 8000;"
            "PRAGMA cache_size = -16384; PRAGMA mmap_size = 0;"
            "PRAGMA journal_size_limit = 67108864;"
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON",
            &code);
    if (code != SQLITE_OK) {
        return reeve__sqlite_fail(sq, code, err);
    }
    return check_schema(sq, err);
}

reeve_rc reeve__sqlite_connect(reeve__sqlite *sq, reeve_error *err) {
    bool missing;
    reeve_rc rc = look(sq, &missing, err);
    if (rc == REEVE_OK && missing) {
        rc = create(sq, err);
    }
    if (rc < 0) {
        return rc;
    }
    int code = sqlite3_open_v2(sq->path, &sq->db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_EXRESCODE,
                               NULL);
    rc = code == SQLITE_OK ? configure(sq, err)
                           : reeve__sqlite_fail(sq, code, err);
    if (rc < 0) {
        if (sq->db && !sqlite3_get_autocommit(sq->db)) {
            sqlite3_exec(sq->db, "ROLLBACK", NULL, NULL, NULL);
        }
        reeve__sqlite_disconnect(sq);
    }
    return rc;
}
