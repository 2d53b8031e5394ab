/*
 * SQLite's own: URLs, files that cannot be used, errors of disk and memory.
 */
#include "core/sqlite_store.h"
#include "support/forks.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Opening must fail with this code and a message that names both. */
static void assert_refused(const char *at, int32_t code, const char *names) {
    reeve__broker *broker = NULL;
    reeve_error err;
    assert_int_equal(sqlite_store_try(&broker, at, &err), code);
    assert_int_equal(err.code, code);
    assert_null(broker);
    if (!strstr(err.message, names)) {
        fail_msg("\"%s\" does not name \"%s\"", err.message, names);
    }
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
    snprintf(at, sizeof(at), "sqlite://%s/a%%20%%3Fb.db?sync=full",
             sqlite_store_directory);
    reeve__broker *broker = sqlite_store_open(at);
    assert_int_equal(sqlite_store_put(broker, "t1", NULL), REEVE_OK);
    reeve__broker_close(broker);
    snprintf(at, sizeof(at), "%s/a ?b.db", sqlite_store_directory);
    assert_int_equal(access(at, F_OK), 0);
}

static void store_is_private_and_survives(void **state) {
    (void)state;
    reeve__broker *broker = sqlite_store_open(sqlite_store_url);
    assert_int_equal(broker->ops->caps, REEVE__CAP_SHARED | REEVE__CAP_DURABLE);
    assert_int_equal(sqlite_store_put(broker, "t1", NULL), REEVE_OK);
    struct stat info;
    assert_int_equal(stat(sqlite_store_path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    reeve__broker_close(broker);
    broker = sqlite_store_open(sqlite_store_url);
    assert_int_equal(sqlite_store_count(broker, REEVE_STATE_PENDING), 1);
    assert_int_equal(sqlite_store_put(broker, "t1", NULL), REEVE_E_EXISTS);
    reeve__broker_close(broker);
}

static void files_that_cannot_be_used_are_named(void **state) {
    (void)state;
    char at[400];
    snprintf(at, sizeof(at), "sqlite://%s", sqlite_store_directory);
    assert_refused(at, REEVE_E_SYSTEM, "is a directory");
    snprintf(at, sizeof(at), "sqlite://%s/no/such/x.db",
             sqlite_store_directory);
    assert_refused(at, REEVE_E_SYSTEM, "No such file or directory");
    FILE *file = fopen(sqlite_store_path, "w");
    assert_non_null(file);
    for (int i = 0; i < 2000; i++) {
        fputs("plain text ", file);
    }
    fclose(file);
    assert_refused(sqlite_store_url, REEVE_E_CORRUPT, "not an sqlite database");
    assert_refused("sqlite:///dev/null", REEVE_E_SYSTEM, "is not a file");
}

/* Root may read and write anything: a child that is somebody else asks. */
static bool is_refused_to_somebody(void) {
    reeve_error err = { 0, "" };
    reeve__broker *broker = NULL;
    if (geteuid() == 0 && (setgid(65534) || setuid(65534))) {
        return false;
    }
    reeve_rc rc = sqlite_store_try(&broker, sqlite_store_url, &err);
    return rc == REEVE_E_SYSTEM && strstr(err.message, "Permission denied");
}

static void files_without_permission_are_named(void **state) {
    (void)state;
    reeve__broker_close(sqlite_store_open(sqlite_store_url));
    assert_int_equal(chmod(sqlite_store_directory, 0755), 0);
    assert_int_equal(chmod(sqlite_store_path, 0400), 0);
    pid_t child = fork();
    if (child == 0) {
        _exit(!is_refused_to_somebody());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void another_applications_file_is_refused(void **state) {
    (void)state;
    execute(sqlite_store_path, "CREATE TABLE mine(x)");
    assert_refused(sqlite_store_url, REEVE_E_INVALID, "another application");
}

static void a_newer_schema_is_refused(void **state) {
    (void)state;
    reeve__broker_close(sqlite_store_open(sqlite_store_url));
    execute(sqlite_store_path, "PRAGMA user_version = 7");
    assert_refused(sqlite_store_url, REEVE_E_UNSUPPORTED, "schema 7");
}

static void a_board_open_to_others_is_refused(void **state) {
    (void)state;
    char at[300];
    reeve__broker_close(sqlite_store_open(sqlite_store_url));
    snprintf(at, sizeof(at), "%s.d", sqlite_store_path);
    assert_int_equal(chmod(at, 0777), 0);
    assert_refused(sqlite_store_url, REEVE_E_UNSAFE, "writable by others");
}

/* A child holds the write lock: the verb's deadline ends the wait. */
static void a_busy_file_is_told(void **state) {
    (void)state;
    int ready[2], finish[2];
    char byte = 0;
    reeve__broker_close(sqlite_store_open(sqlite_store_url));
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(finish), 0);
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db = NULL;
        close(finish[1]);
        int bad = sqlite3_open(sqlite_store_path, &db) != SQLITE_OK ||
                  sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) !=
                      SQLITE_OK ||
                  write(ready[1], "x", 1) != 1 || read(finish[0], &byte, 1) < 0;
        _exit(bad);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    reeve__broker *broker = NULL;
    reeve_error err;
    assert_int_equal(sqlite_store_try(&broker, sqlite_store_url, &err),
                     REEVE_E_BUSY);
    assert_non_null(strstr(err.message, sqlite_store_path));
    close(finish[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    broker = sqlite_store_open(sqlite_store_url);
    assert_int_equal(sqlite_store_put(broker, "t1", &err), REEVE_OK);
    reeve__broker_close(broker);
    close(ready[0]);
    close(ready[1]);
    close(finish[0]);
}

static void a_full_disk_changes_nothing(void **state) {
    (void)state;
    if (!forks_are_followed()) {
        skip();
    }
    reeve__broker *broker = sqlite_store_open(sqlite_store_url);
    assert_int_equal(sqlite_store_put(broker, "t1", NULL), REEVE_OK);
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
        if (sqlite_store_try(&own, sqlite_store_url, &err) < 0) {
            _exit(1);
        }
        struct sigaction ignore = { .sa_handler = SIG_IGN };
        struct rlimit limit = { 300000, 300000 };
        if (sigaction(SIGXFSZ, &ignore, NULL) < 0 ||
            setrlimit(RLIMIT_FSIZE, &limit) < 0) {
            _exit(2);
        }
        reeve_rc rc = own->ops->enqueue(own, &item, 1, &err);
        bool told =
            rc == REEVE_E_SYSTEM && strstr(err.message, sqlite_store_path);
        bool kept = sqlite_store_count(own, REEVE_STATE_PENDING) == 1;
        _exit(told && kept ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(sqlite_store_count(broker, REEVE_STATE_PENDING), 1);
    assert_int_equal(sqlite_store_put(broker, "t2", NULL), REEVE_OK);
    reeve__broker_close(broker);
}

typedef struct budget {
    long left; /* allocations that still succeed; -1 = all */
} budget;

static void *limited(void *ctx, void *ptr, size_t bytes) {
    budget *all = ctx;
    if (bytes == 0) {
        free(ptr);
        return NULL;
    }
    if (all->left == 0) {
        return NULL;
    }
    all->left -= all->left > 0;
    return realloc(ptr, bytes);
}

/* Each allocation of ours fails once: told, and nothing is half done. */
/* A hole in mapped memory that a full disk cannot fill is a SIGBUS. */
static void shared_memory_has_its_blocks(void **state) {
    (void)state;
    char at[300];
    struct stat info;
    reeve__broker *broker = sqlite_store_open(sqlite_store_url);
    snprintf(at, sizeof(at), "%s.d/board", sqlite_store_path);
    assert_int_equal(stat(at, &info), 0);
    assert_true((off_t)info.st_blocks * 512 >= info.st_size);
    /* One that an earlier version made with holes is filled in. */
    reeve__broker_close(broker);
    assert_int_equal(truncate(at, 0), 0);
    assert_int_equal(truncate(at, info.st_size), 0);
    broker = sqlite_store_open(sqlite_store_url);
    off_t size = info.st_size;
    assert_int_equal(stat(at, &info), 0);
    assert_int_equal(info.st_size, size);
    assert_true((off_t)info.st_blocks * 512 >= size);
    reeve__broker_close(broker);
}

static void running_out_of_memory_is_told(void **state) {
    (void)state;
    budget all = { -1 };
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.alloc = limited;
    options.alloc_ctx = &all;
    assert_int_equal(reeve_env_new(&env, &options, NULL), REEVE_OK);
    reeve__broker *broker = NULL;
    reeve_error err = { 0, "" };
    reeve__broker_options open = { .url = sqlite_store_url };
    long fails = 0;
    for (all.left = 0; reeve__broker_open(&broker, env, &open, &err) < 0;
         all.left = ++fails) {
        assert_int_equal(err.code, REEVE_E_NOMEM);
    }
    assert_true(fails > 0);
    for (fails = 0, all.left = 0; sqlite_store_put(broker, "t1", &err) < 0;
         all.left = ++fails) {
        assert_int_equal(err.code, REEVE_E_NOMEM);
    }
    assert_true(fails > 0);
    size_t count = 0;
    reeve__turn turn = { .queue = reeve_bytes_of("mail"),
                         .claim_max = 5,
                         .lease_ms = 1000 };
    for (fails = 0, all.left = 0;
         broker->ops->turn(broker, &turn, 1, reeve_bytes_of("w"),
                           sqlite_store_on_row, &count, &err) < 0;
         all.left = ++fails) {
        assert_int_equal(err.code, REEVE_E_NOMEM);
        assert_int_equal(count, 0);
    }
    assert_true(fails > 0);
    assert_int_equal(count, 1);
    all.left = -1;
    reeve__broker_close(broker);
    reeve_env_free(env);
}

/* Pages of rubbish where tasks were. */
static void a_damaged_file_is_told(void **state) {
    (void)state;
    reeve__broker *broker = sqlite_store_open(sqlite_store_url);
    for (int i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%d", i);
        assert_int_equal(sqlite_store_put(broker, id, NULL), REEVE_OK);
    }
    reeve__broker_close(broker);
    FILE *file = fopen(sqlite_store_path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_int_equal(fseek(file, 4096 * 2, SEEK_SET), 0);
    while (ftell(file) < size) {
        fputc(0xee, file);
    }
    fclose(file);
    reeve_error err = { 0, "" };
    reeve_rc rc = sqlite_store_try(&broker, sqlite_store_url, &err);
    if (rc == REEVE_OK) {
        rc = sqlite_store_put(broker, "t1000", &err);
        reeve__broker_close(broker);
    }
    assert_int_equal(rc, REEVE_E_CORRUPT);
    assert_non_null(strstr(err.message, sqlite_store_path));
}

static void unlink_store(void) {
    static const char *const parts[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < 3; i++) {
        char name[300];
        snprintf(name, sizeof(name), "%s%s", sqlite_store_path, parts[i]);
        unlink(name);
    }
}

/* Handles that are open when the file goes all meet in the new one. */
static void a_deleted_file_is_made_anew(void **state) {
    (void)state;
    reeve__broker *before = sqlite_store_open(sqlite_store_url);
    reeve__broker *reader = sqlite_store_open(sqlite_store_url);
    assert_int_equal(sqlite_store_put(before, "t1", NULL), REEVE_OK);
    assert_int_equal(sqlite_store_count(reader, REEVE_STATE_PENDING), 1);
    unlink_store();
    assert_int_equal(sqlite_store_put(before, "t2", NULL), REEVE_OK);
    assert_int_equal(sqlite_store_put(before, "t3", NULL), REEVE_OK);
    reeve__broker *after = sqlite_store_open(sqlite_store_url);
    assert_int_equal(sqlite_store_count(after, REEVE_STATE_PENDING), 2);
    assert_int_equal(sqlite_store_count(reader, REEVE_STATE_PENDING), 2);
    /* The last to let go of the old file leaves the new one's log alone. */
    reeve__broker_close(before);
    reeve__broker_close(reader);
    assert_int_equal(sqlite_store_put(after, "t1", NULL), REEVE_OK);
    assert_int_equal(sqlite_store_count(after, REEVE_STATE_PENDING), 3);
    reeve__broker_close(after);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, sqlite_store_name)
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
        TEST(shared_memory_has_its_blocks),
        TEST(running_out_of_memory_is_told),
        TEST(a_damaged_file_is_told),
        TEST(a_deleted_file_is_made_anew),
    };
    return cmocka_run_group_tests(tests, sqlite_store_make,
                                  sqlite_store_remove);
}
