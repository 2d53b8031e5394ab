/*
 * Every statement, as text. States are numbers of enum reeve_state: 1 scheduled,
 * 2 pending, 3 active, 4 retry, 8 completed, 9 archived.
 *
 * A task's place in its state is (major, minor): minus the priority and the
 * order of arrival when pending; the due time, or the end of the lease, and the
 * order of arrival when delayed or active; 0 and the order of the end when
 * finished. at_ms is since when it is pending, when it is due, when its lease
 * ends, or when it expires (-1 = never).
 *
 * The index is named where the planner could pick the other one without
 * statistics. Rows to change are selected first and changed by rowid: an UPDATE
 * with a subselect and RETURNING opens a statement journal.
 */
#include "broker/sqlite/handle.h"

#define QUEUE_COLUMNS                                                          \
    "queue, token, back, front, done_total, failed_total, weight, paused,"     \
    " scheduled, pending, active, retry, completed, archived"

#define TASK_ADD                                                               \
    "INSERT INTO tasks(queue, id, state, major, minor, at_ms, priority,"       \
    " envelope) VALUES"
#define TASK "(?, ?, ?, ?, ?, ?, ?, ?)"
#define TASKS_4 TASK ", " TASK ", " TASK ", " TASK
#define TASKS_16 TASKS_4 ", " TASKS_4 ", " TASKS_4 ", " TASKS_4

_Static_assert(REEVE__SQLITE_ADD_MANY == 16, "as in TASKS_16");

const char *const reeve__sqlite_sql[REEVE__SQL_COUNT] = {
    [REEVE__SQL_BEGIN_READ] = "BEGIN",
    [REEVE__SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [REEVE__SQL_COMMIT] = "COMMIT",
    [REEVE__SQL_ROLLBACK] = "ROLLBACK",
    [REEVE__SQL_DATA_VERSION] = "PRAGMA data_version",

    [REEVE__SQL_QUEUE_LOAD] =
        "SELECT " QUEUE_COLUMNS " FROM queues WHERE name = ?1",
    /* The row without a name keeps the highest token of those dropped. */
    [REEVE__SQL_QUEUE_ADD] =
        "INSERT INTO queues(name, token) VALUES(?1, (SELECT"
        " coalesce(max(token), 0) FROM queues WHERE name = ''))",
    [REEVE__SQL_QUEUE_STORE] =
        "UPDATE queues SET token = ?2, back = ?3, front = ?4,"
        " done_total = ?5, failed_total = ?6, weight = ?7, paused = ?8,"
        " scheduled = ?9, pending = ?10, active = ?11, retry = ?12,"
        " completed = ?13, archived = ?14 WHERE queue = ?1",
    [REEVE__SQL_QUEUES] =
        "SELECT " QUEUE_COLUMNS ", name FROM queues WHERE name <> ''"
        " ORDER BY name",
    /* The counts say so, too: an index is what nobody can have got wrong. */
    [REEVE__SQL_QUEUE_DROP] =
        "DELETE FROM queues WHERE queue = ?1 AND NOT EXISTS (SELECT 1"
        " FROM tasks INDEXED BY tasks_id WHERE tasks.queue = ?1)",
    [REEVE__SQL_TOKEN_KEEP] =
        "INSERT INTO queues(name, token) VALUES('', ?1) ON CONFLICT(name)"
        " DO UPDATE SET token = max(token, excluded.token)",
    [REEVE__SQL_KEYS_DROP] = "DELETE FROM keys WHERE queue = ?1",

    [REEVE__SQL_KEY_FIND] = "SELECT id FROM keys WHERE queue = ?1 AND"
                            " key = ?2 AND expires_at_ms > ?3",
    [REEVE__SQL_KEY_SET] =
        "INSERT OR REPLACE INTO keys(queue, key, id, expires_at_ms)"
        " VALUES(?1, ?2, ?3, ?4)",
    [REEVE__SQL_KEYS_SWEEP] =
        "DELETE FROM keys WHERE (queue, key) IN (SELECT queue, key FROM keys"
        " WHERE queue = ?1 AND expires_at_ms <= ?2 LIMIT ?3)",

    [REEVE__SQL_TASK_LOOK] =
        "SELECT task, state, at_ms FROM tasks INDEXED BY tasks_id"
        " WHERE queue = ?1 AND id = ?2",
    [REEVE__SQL_TASK_ADD] = TASK_ADD TASK " ON CONFLICT DO NOTHING",
    [REEVE__SQL_TASKS_ADD] = TASK_ADD TASKS_16 " ON CONFLICT DO NOTHING",
    [REEVE__SQL_TASK_FIND] =
        "SELECT " REEVE__SQLITE_ROW_COLUMNS " FROM tasks INDEXED BY tasks_id"
        " WHERE queue = ?1 AND id = ?2",
    [REEVE__SQL_TASK_DELETE] = "DELETE FROM tasks WHERE task = ?1",
    [REEVE__SQL_TASK_MOVE] =
        "UPDATE tasks SET state = ?2, major = ?3, minor = ?4, at_ms = ?5,"
        " priority = ?6, envelope = coalesce(?7, envelope), result = NULL"
        " WHERE task = ?1",

    [REEVE__SQL_SETTLE_DELETE] =
        "DELETE FROM tasks INDEXED BY tasks_id WHERE queue = ?1 AND id = ?2"
        " AND state = 3 AND token = ?3",
    [REEVE__SQL_SETTLE_MOVE] =
        "UPDATE tasks INDEXED BY tasks_id SET state = ?4, major = ?5,"
        " minor = ?6, at_ms = ?7, priority = coalesce(?8, priority),"
        " envelope = coalesce(?9, envelope), result = ?10, token = 0,"
        " lease_ms = 0, worker = NULL"
        " WHERE queue = ?1 AND id = ?2 AND state = 3 AND token = ?3",

    [REEVE__SQL_CLAIM_LIST] =
        "SELECT " REEVE__SQLITE_ROW_COLUMNS
        ", task FROM tasks INDEXED BY tasks_place"
        " WHERE queue = ?1 AND state = 2 ORDER BY major, minor LIMIT ?2",
    [REEVE__SQL_CLAIM] =
        "UPDATE tasks SET state = 3, major = ?2, minor = ?3, at_ms = ?2,"
        " token = ?4, lease_ms = ?5, worker = ?6 WHERE task = ?1",
    [REEVE__SQL_EXTEND] =
        "UPDATE tasks INDEXED BY tasks_id SET major = ?4, at_ms = ?4,"
        " lease_ms = ?5"
        " WHERE queue = ?1 AND id = ?2 AND state = 3 AND token = ?3",

    [REEVE__SQL_DUE_LIST] =
        "SELECT task, state, priority FROM ("
        "SELECT * FROM (SELECT task, state, priority, major, minor"
        " FROM tasks INDEXED BY tasks_place WHERE queue = ?1 AND state = 1"
        " AND major <= ?2 ORDER BY major, minor LIMIT ?3)"
        " UNION ALL "
        "SELECT * FROM (SELECT task, state, priority, major, minor"
        " FROM tasks INDEXED BY tasks_place WHERE queue = ?1 AND state = 4"
        " AND major <= ?2 ORDER BY major, minor LIMIT ?3)"
        ") ORDER BY major, minor LIMIT ?3",
    [REEVE__SQL_DUE_NEXT] =
        "SELECT min(due) FROM (SELECT min(major) AS due FROM tasks"
        " INDEXED BY tasks_place WHERE queue = ?1 AND state = 1 UNION ALL"
        " SELECT min(major) FROM tasks INDEXED BY tasks_place"
        " WHERE queue = ?1 AND state = 4)",
    [REEVE__SQL_PROMOTE] = "UPDATE tasks SET state = 2, major = ?2,"
                           " minor = ?3, at_ms = ?4 WHERE task = ?1",

    [REEVE__SQL_LAPSED_LIST] =
        "SELECT " REEVE__SQLITE_ROW_COLUMNS
        " FROM tasks INDEXED BY tasks_place WHERE queue = ?1 AND state = 3"
        " AND major <= ?2 ORDER BY major, minor LIMIT ?3",
    [REEVE__SQL_LAPSED_NEXT] =
        "SELECT major FROM tasks INDEXED BY tasks_place"
        " WHERE queue = ?1 AND state = 3 ORDER BY major, minor"
        " LIMIT 1 OFFSET ?2",
    [REEVE__SQL_WORKER_LIST] =
        "SELECT " REEVE__SQLITE_ROW_COLUMNS
        " FROM tasks INDEXED BY tasks_place WHERE queue = ?1 AND state = 3"
        " AND worker = ?2 ORDER BY major, minor LIMIT ?3",
    [REEVE__SQL_WORKER_NEXT] =
        "SELECT major FROM tasks INDEXED BY tasks_place WHERE queue = ?1"
        " AND state = 3 AND worker IS NOT ?2 ORDER BY major, minor LIMIT 1",

    [REEVE__SQL_EXPIRE] =
        "DELETE FROM tasks WHERE task IN (SELECT task FROM tasks"
        " INDEXED BY tasks_expiry WHERE queue = ?1 AND state = ?2"
        " AND at_ms >= 0 AND state >= 8 AND at_ms <= ?3"
        " ORDER BY at_ms LIMIT ?4)",
    [REEVE__SQL_ARCHIVE_TRIM] =
        "DELETE FROM tasks WHERE task IN (SELECT task FROM tasks"
        " INDEXED BY tasks_place WHERE queue = ?1 AND state = 9"
        " ORDER BY major, minor LIMIT ?2)",

    [REEVE__SQL_LIST] =
        "SELECT " REEVE__SQLITE_ROW_COLUMNS " FROM tasks INDEXED BY tasks_place"
        " WHERE queue = ?1 AND state = ?2"
        " ORDER BY major, minor LIMIT ?3 OFFSET ?4",
    /* Within a level those at the back are in order of age; only those that
     * were put to the front are not. */
    [REEVE__SQL_LATENCY] =
        "SELECT min(since) FROM (SELECT min(at_ms) AS since FROM tasks"
        " INDEXED BY tasks_place WHERE queue = ?1 AND state = 2"
        " AND major = ?2 AND minor < 0 UNION ALL"
        " SELECT * FROM (SELECT at_ms FROM tasks INDEXED BY tasks_place"
        " WHERE queue = ?1 AND state = 2 AND major = ?2 AND minor >= 0"
        " ORDER BY minor LIMIT 1))",
    /* Mean of a sample; the caller multiplies. */
    [REEVE__SQL_SIZE] =
        "SELECT CAST(avg(bytes) AS INTEGER) FROM (SELECT length(envelope) +"
        " coalesce(length(result), 0) AS bytes FROM tasks"
        " INDEXED BY tasks_id WHERE queue = ?1 LIMIT 100)",

    [REEVE__SQL_BEAT] =
        "INSERT OR REPLACE INTO workers(id, host, pid, started_at_ms,"
        " beat_at_ms, concurrency, active, done, failed, quiet, queues)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [REEVE__SQL_BEAT_GONE] = "DELETE FROM workers WHERE id = ?1",
    [REEVE__SQL_BEATS_SWEEP] = "DELETE FROM workers WHERE beat_at_ms <= ?1",
    [REEVE__SQL_BEATS] =
        "SELECT id, host, pid, started_at_ms, beat_at_ms, concurrency, active,"
        " done, failed, quiet, queues FROM workers ORDER BY id",
};
