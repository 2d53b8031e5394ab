/*
 * What is SQLite's own: URLs, files that cannot be used, what another process
 * sees, forks, kills, and errors of the disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/thread.h"
#include "broker/broker.h"

#include <dirent.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/reeve-sqlite-XXXXXX";
static char path[256]; /* of this test's database */
static char url[300];

static int make_directory(void **state) {
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static void remove_all(const char *folder) {
    DIR *dir = opendir(folder);
    for (struct dirent *it; dir && (it = readdir(dir));) {
        char name[1024];
        if (strcmp(it->d_name, ".") == 0 || strcmp(it->d_name, "..") == 0) {
            continue;
        }
        snprintf(name, sizeof(name), "%s/%s", folder, it->d_name);
        if (unlink(name) < 0) {
            remove_all(name); /* one level: directories of bells */
        }
    }
    if (dir) {
        closedir(dir);
    }
    rmdir(folder);
}

static int remove_directory(void **state) {
    (void)state;
    remove_all(directory);
    return 0;
}

static int name_database(void **state) {
    static int serial;
    (void)state;
    snprintf(path, sizeof(path), "%s/%d.db", directory, ++serial);
    snprintf(url, sizeof(url), "sqlite://%s", path);
    return 0;
}

static reeve_rc try_open(reeve__broker **out, const char *at,
                         reeve_error *err) {
    reeve__broker_options options = { .url = at, .timeout_ms = 200 };
    *err = (reeve_error){ 0, "" };
    return reeve__broker_open(out, NULL, &options, err);
}

static reeve__broker *open_store(const char *at) {
    reeve__broker *broker = NULL;
    reeve_error err;
    if (try_open(&broker, at, &err) < 0) {
        fail_msg("%s: %s", at, err.message);
    }
    return broker;
}

/* Opening must fail with this code and a message that names both. */
static void assert_refused(const char *at, int32_t code, const char *names) {
    reeve__broker *broker = NULL;
    reeve_error err;
    assert_int_equal(try_open(&broker, at, &err), code);
    assert_int_equal(err.code, code);
    assert_null(broker);
    if (!strstr(err.message, names)) {
        fail_msg("\"%s\" does not name \"%s\"", err.message, names);
    }
}

static reeve_rc put(reeve__broker *broker, const char *id, reeve_error *err) {
    reeve__enqueue_item item = { .queue = reeve_bytes_of("mail"),
                                 .id = reeve_bytes_of(id),
                                 .envelope = reeve_bytes_of("{}\nbody"),
                                 .priority = 5 };
    reeve_rc rc = broker->ops->enqueue(broker, &item, 1, err);
    return rc < 0 ? rc : item.code;
}

static reeve_rc count_row(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)row;
    (void)err;
    ++*(size_t *)ctx;
    return REEVE_OK;
}

static size_t count_state(reeve__broker *broker, int32_t state) {
    size_t count = 0;
    uint64_t cursor = 0;
    do {
        assert_int_equal(broker->ops->list(broker, reeve_bytes_of("mail"),
                                           state, cursor, 1000, &cursor,
                                           count_row, &count, NULL),
                         REEVE_OK);
    } while (cursor != 0);
    return count;
}

static void execute(const char *at, const char *sql) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(at, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void url_is_checked(void **state) {
    (void)state;
    assert_refused("sqlite:", REEVE_E_INVALID, "path");
    assert_refused("sqlite://host/x.db", REEVE_E_INVALID, "absolute");
    assert_refused("sqlite:///x.db?sync=maybe", REEVE_E_INVALID, "sync=maybe");
    assert_refused("sqlite:///x.db?mode=ro", REEVE_E_INVALID, "mode=ro");
    assert_refused("sqlite:///x%2.db", REEVE_E_INVALID, "escape");
    assert_refused("sqlite:///x%00.db", REEVE_E_INVALID, "escape");
    assert_refused("sqlite:///x.db#y", REEVE_E_INVALID, "#");
}

static void url_options_and_escapes(void **state) {
    (void)state;
    char at[400];
    snprintf(at, sizeof(at), "sqlite://%s/a%%20%%3Fb.db?sync=full", directory);
    reeve__broker *broker = open_store(at);
    assert_int_equal(put(broker, "t1", NULL), REEVE_OK);
    reeve__broker_close(broker);
    snprintf(at, sizeof(at), "%s/a ?b.db", directory);
    assert_int_equal(access(at, F_OK), 0);
}

static void store_is_private_and_survives(void **state) {
    (void)state;
    reeve__broker *broker = open_store(url);
    assert_int_equal(broker->ops->caps, REEVE__CAP_SHARED | REEVE__CAP_DURABLE);
    assert_int_equal(put(broker, "t1", NULL), REEVE_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    reeve__broker_close(broker);
    broker = open_store(url);
    assert_int_equal(count_state(broker, REEVE_STATE_PENDING), 1);
    assert_int_equal(put(broker, "t1", NULL), REEVE_E_EXISTS);
    reeve__broker_close(broker);
}

static void files_that_cannot_be_used_are_named(void **state) {
    (void)state;
    char at[400];
    snprintf(at, sizeof(at), "sqlite://%s", directory);
    assert_refused(at, REEVE_E_SYSTEM, "is a directory");
    snprintf(at, sizeof(at), "sqlite://%s/no/such/x.db", directory);
    assert_refused(at, REEVE_E_SYSTEM, "No such file or directory");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 2000; i++) {
        fputs("plain text ", file);
    }
    fclose(file);
    assert_refused(url, REEVE_E_CORRUPT, "not an sqlite database");
    assert_refused("sqlite:///dev/null", REEVE_E_SYSTEM, "is not a file");
}

static void files_without_permission_are_named(void **state) {
    (void)state;
    if (geteuid() == 0) {
        skip(); /* root may read and write anything */
    }
    reeve__broker_close(open_store(url));
    assert_int_equal(chmod(path, 0400), 0);
    assert_refused(url, REEVE_E_SYSTEM, "Permission denied");
}

static void another_applications_file_is_refused(void **state) {
    (void)state;
    execute(path, "CREATE TABLE mine(x)");
    assert_refused(url, REEVE_E_INVALID, "another application");
}

static void a_newer_schema_is_refused(void **state) {
    (void)state;
    reeve__broker_close(open_store(url));
    execute(path, "PRAGMA user_version = 7");
    assert_refused(url, REEVE_E_UNSUPPORTED, "schema 7");
}

static void a_board_open_to_others_is_refused(void **state) {
    (void)state;
    char at[300];
    reeve__broker_close(open_store(url));
    snprintf(at, sizeof(at), "%s.d", path);
    assert_int_equal(chmod(at, 0777), 0);
    assert_refused(url, REEVE_E_UNSAFE, "writable by others");
}

/* A child holds the write lock: the verb's deadline ends the wait. */
static void a_busy_file_is_told(void **state) {
    (void)state;
    int ready[2], finish[2];
    char byte = 0;
    reeve__broker_close(open_store(url));
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(finish), 0);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db = NULL;
        close(finish[1]);
        int bad = sqlite3_open(path, &db) != SQLITE_OK ||
                  sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) !=
                      SQLITE_OK ||
                  write(ready[1], "x", 1) != 1 || read(finish[0], &byte, 1) < 0;
        _exit(bad);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    reeve__broker *broker = NULL;
    reeve_error err;
    assert_int_equal(try_open(&broker, url, &err), REEVE_E_BUSY);
    assert_non_null(strstr(err.message, path));
    close(finish[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    broker = open_store(url);
    assert_int_equal(put(broker, "t1", &err), REEVE_OK);
    reeve__broker_close(broker);
    close(ready[0]);
    close(ready[1]);
    close(finish[0]);
}

static void a_full_disk_changes_nothing(void **state) {
    (void)state;
    reeve__broker *broker = open_store(url);
    assert_int_equal(put(broker, "t1", NULL), REEVE_OK);
    /* The file size limit plays the full disk; SQLite gets EFBIG. */
    pid_t child = fork();
    if (child == 0) {
        /* The child's own handle, in its own process. */
        reeve__broker *own = NULL;
        reeve_error err;
        static char payload[1 << 20];
        reeve__enqueue_item item = { .queue = reeve_bytes_of("mail"),
                                     .id = reeve_bytes_of("big"),
                                     .envelope = { payload, sizeof(payload) },
                                     .priority = 5 };
        if (try_open(&own, url, &err) < 0) {
            _exit(1);
        }
        struct sigaction ignore = { .sa_handler = SIG_IGN };
        struct rlimit limit = { 300000, 300000 };
        if (sigaction(SIGXFSZ, &ignore, NULL) < 0 ||
            setrlimit(RLIMIT_FSIZE, &limit) < 0) {
            _exit(2);
        }
        reeve_rc rc = own->ops->enqueue(own, &item, 1, &err);
        bool told = rc == REEVE_E_SYSTEM && strstr(err.message, path);
        bool kept = count_state(own, REEVE_STATE_PENDING) == 1;
        _exit(told && kept ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_state(broker, REEVE_STATE_PENDING), 1);
    assert_int_equal(put(broker, "t2", NULL), REEVE_OK);
    reeve__broker_close(broker);
}

/* After a fork: the child's inherited handle refuses and may be closed; a new
 * one works; the parent's goes on. */
static void a_fork_heals(void **state) {
    (void)state;
    reeve__broker *broker = open_store(url);
    assert_int_equal(put(broker, "parent", NULL), REEVE_OK);
    pid_t child = fork();
    if (child == 0) {
        reeve_error err = { 0, "" };
        int bad = put(broker, "x", &err) != REEVE_E_FORKED;
        int64_t now_at_ms;
        bad |= broker->ops->now(broker, &now_at_ms, &err) != REEVE_E_FORKED;
        reeve__broker_close(broker);
        reeve__broker *own = NULL;
        bad |= try_open(&own, url, &err) < 0;
        bad |= own && put(own, "child", &err) < 0;
        reeve__broker_close(own);
        _exit(bad);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(put(broker, "parent2", NULL), REEVE_OK);
    assert_int_equal(count_state(broker, REEVE_STATE_PENDING), 3);
    reeve__broker_close(broker);
}

typedef struct beater {
    reeve__thread thread;
    reeve__broker *broker;
    int failures;
} beater;

static void put_many(void *arg) {
    beater *self = arg;
    for (int i = 0; i < 300; i++) {
        char id[16];
        snprintf(id, sizeof(id), "p%d", i);
        self->failures += put(self->broker, id, NULL) < 0;
    }
}

/* Forks while other threads are inside verbs: nothing is torn or lost. */
static void forks_during_verbs_lose_nothing(void **state) {
    (void)state;
    beater one = { .broker = open_store(url) };
    assert_int_equal(
        reeve__thread_start(&one.thread, "beater", put_many, &one, NULL),
        REEVE_OK);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            reeve__broker *own = NULL;
            reeve_error err;
            char id[16];
            snprintf(id, sizeof(id), "c%d", i);
            int bad = try_open(&own, url, &err) < 0 || put(own, id, &err) < 0;
            reeve__broker_close(own);
            _exit(bad);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    reeve__thread_join(&one.thread);
    assert_int_equal(one.failures, 0);
    assert_int_equal(count_state(one.broker, REEVE_STATE_PENDING), 320);
    reeve__broker_close(one.broker);
}

/* A producer is killed in the middle: all it was told of is there. */
static void a_kill_loses_nothing_acknowledged(void **state) {
    (void)state;
    for (int round = 0; round < 5; round++) {
        int told[2];
        assert_int_equal(pipe(told), 0);
        pid_t child = fork();
        if (child == 0) {
            reeve__broker *own = NULL;
            reeve_error err;
            if (try_open(&own, url, &err) < 0) {
                _exit(1);
            }
            for (int i = 0;; i++) {
                char id[32];
                snprintf(id, sizeof(id), "r%d-%d", round, i);
                if (put(own, id, &err) < 0 || write(told[1], "x", 1) != 1) {
                    _exit(2);
                }
            }
        }
        close(told[1]);
        char bytes[256];
        size_t acknowledged = 0;
        while (acknowledged < 200) {
            ssize_t got = read(told[0], bytes, sizeof(bytes));
            assert_true(got > 0);
            acknowledged += (size_t)got;
        }
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        for (ssize_t got; (got = read(told[0], bytes, sizeof(bytes))) > 0;) {
            acknowledged += (size_t)got;
        }
        close(told[0]);
        reeve__broker *broker = open_store(url);
        for (size_t i = 0; i < acknowledged; i++) {
            char id[32];
            size_t found = 0;
            snprintf(id, sizeof(id), "r%d-%zu", round, i);
            broker->ops->find(broker, reeve_bytes_of("mail"),
                              reeve_bytes_of(id), count_row, &found, NULL);
            assert_int_equal(found, 1);
        }
        reeve__broker_close(broker);
    }
}

/* A waiter that was killed leaves a dead bell; the ring goes to the next. */
static void a_dead_waiter_does_not_eat_the_ring(void **state) {
    (void)state;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    reeve_bytes queue = reeve_bytes_of("mail");
    ptrdiff_t index;
    pid_t child = fork();
    if (child == 0) {
        reeve__broker *own = NULL;
        reeve_error err;
        if (try_open(&own, url, &err) < 0 ||
            own->ops->wait(own, &queue, 1, -1, 0, &index, &err) < 0 ||
            write(ready[1], "x", 1) != 1) {
            _exit(1);
        }
        own->ops->wait(own, &queue, 1, -1, INT64_MAX, &index, &err);
        _exit(2);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    reeve__broker *waiter = open_store(url), *other = open_store(url);
    assert_int_equal(put(other, "t1", NULL), REEVE_OK);
    assert_int_equal(waiter->ops->wait(waiter, &queue, 1, -1,
                                       reeve__by_ns(NULL, 60000), &index, NULL),
                     REEVE_OK);
    assert_int_equal(index, 0);
    reeve__broker_close(waiter);
    reeve__broker_close(other);
    close(ready[0]);
    close(ready[1]);
}

/* Another process's enqueue wakes a waiter here. */
static void a_ring_crosses_processes(void **state) {
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    reeve__broker_close(open_store(url));
    pid_t child = fork();
    if (child == 0) {
        char byte;
        reeve__broker *own = NULL;
        reeve_error err;
        int bad = try_open(&own, url, &err) < 0 ||
                  read(ready[0], &byte, 1) != 1 || put(own, "t1", &err) < 0;
        reeve__broker_close(own);
        _exit(bad);
    }
    reeve__broker *waiter = open_store(url);
    reeve_bytes queue = reeve_bytes_of("mail");
    ptrdiff_t index;
    assert_int_equal(waiter->ops->wait(waiter, &queue, 1, -1, 0, &index, NULL),
                     REEVE_OK);
    assert_int_equal(index, -1);
    assert_int_equal(write(ready[1], "x", 1), 1);
    assert_int_equal(waiter->ops->wait(waiter, &queue, 1, -1,
                                       reeve__by_ns(NULL, 60000), &index, NULL),
                     REEVE_OK);
    assert_int_equal(index, 0);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    reeve__broker_close(waiter);
    close(ready[0]);
    close(ready[1]);
}

/* A path longer than a socket address may be. */
static void a_long_path_still_has_a_bell(void **state) {
    (void)state;
    char name[150], at[400];
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    snprintf(at, sizeof(at), "sqlite://%s/%s.db", directory, name);
    reeve__broker *waiter = open_store(at), *other = open_store(at);
    reeve_bytes queue = reeve_bytes_of("mail");
    ptrdiff_t index;
    assert_int_equal(waiter->ops->wait(waiter, &queue, 1, -1, 0, &index, NULL),
                     REEVE_OK);
    assert_int_equal(put(other, "t1", NULL), REEVE_OK);
    assert_int_equal(waiter->ops->wait(waiter, &queue, 1, -1,
                                       reeve__by_ns(NULL, 60000), &index, NULL),
                     REEVE_OK);
    assert_int_equal(index, 0);
    reeve__broker_close(waiter);
    reeve__broker_close(other);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, name_database)
    const struct CMUnitTest tests[] = {
        TEST(url_is_checked),
        TEST(url_options_and_escapes),
        TEST(store_is_private_and_survives),
        TEST(files_that_cannot_be_used_are_named),
        TEST(files_without_permission_are_named),
        TEST(another_applications_file_is_refused),
        TEST(a_newer_schema_is_refused),
        TEST(a_board_open_to_others_is_refused),
        TEST(a_busy_file_is_told),
        TEST(a_full_disk_changes_nothing),
        TEST(a_fork_heals),
        TEST(forks_during_verbs_lose_nothing),
        TEST(a_kill_loses_nothing_acknowledged),
        TEST(a_dead_waiter_does_not_eat_the_ring),
        TEST(a_ring_crosses_processes),
        TEST(a_long_path_still_has_a_bell),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
