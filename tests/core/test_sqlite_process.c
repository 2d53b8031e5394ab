/*
 * SQLite among processes: forks, kills, and rings from one to another.
 */
#include "core/sqlite_store.h"

#include "base/thread.h"
#include "support/forks.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* After a fork: the child's inherited handle refuses and may be closed; a new
 * one works; the parent's goes on. */
static void a_fork_heals(void **state) {
    (void)state;
    reeve__broker *broker = sqlite_store_open(sqlite_store_url);
    assert_int_equal(sqlite_store_put(broker, "parent", NULL), REEVE_OK);
    pid_t child = fork();
    if (child == 0) {
        reeve_error err = { 0, "" };
        int bad = sqlite_store_put(broker, "x", &err) != REEVE_E_FORKED;
        int64_t now_at_ms;
        bad |= broker->ops->now(broker, &now_at_ms, &err) != REEVE_E_FORKED;
        reeve__broker_close(broker);
        reeve__broker *own = NULL;
        bad |= sqlite_store_try(&own, sqlite_store_url, &err) < 0;
        bad |= own && sqlite_store_put(own, "child", &err) < 0;
        reeve__broker_close(own);
        _exit(bad);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(sqlite_store_put(broker, "parent2", NULL), REEVE_OK);
    assert_int_equal(sqlite_store_count(broker, REEVE_STATE_PENDING), 3);
    reeve__broker_close(broker);
}

#define OPENERS 6

/* Opens a store as soon as the pipe says go; true when that worked. */
static bool open_on_go(const char *url, int go_fd) {
    char byte;
    reeve_error err;
    reeve__broker *own = NULL;
    (void)!read(go_fd, &byte, 1);
    reeve__broker_options options = { .url = url, .timeout_ms = 60000 };
    bool good = reeve__broker_open(&own, NULL, &options, &err) == REEVE_OK;
    if (!good)
        (void)fprintf(stderr, "open: %s\n", err.message);
    reeve__broker_close(own);
    return good;
}

/* Processes that open a file which none of them has made yet, all at once. */
static void a_new_file_may_be_opened_by_many(void **state) {
    (void)state;
    for (int round = 0; round < 25; round++) {
        char url[512];
        int go[2];
        pid_t children[OPENERS];
        (void)snprintf(url, sizeof(url), "%.400s-new-%d", sqlite_store_url,
                       round);
        assert_int_equal(pipe(go), 0);
        for (int i = 0; i < OPENERS; i++) {
            children[i] = fork();
            if (children[i] == 0)
                _exit(!open_on_go(url, go[0]));
        }
        assert_int_equal(write(go[1], "gogogo", OPENERS), OPENERS);
        for (int i = 0; i < OPENERS; i++) {
            int status;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_int_equal(status, 0);
        }
        close(go[0]);
        close(go[1]);
    }
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
        self->failures += sqlite_store_put(self->broker, id, NULL) < 0;
    }
}

/* Forks while other threads are inside verbs: nothing is torn or lost. */
static void forks_during_verbs_lose_nothing(void **state) {
    (void)state;
    if (!forks_are_followed()) {
        skip();
    }
    beater one = { .broker = sqlite_store_open(sqlite_store_url) };
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
            int bad = sqlite_store_try(&own, sqlite_store_url, &err) < 0 ||
                      sqlite_store_put(own, id, &err) < 0;
            reeve__broker_close(own);
            _exit(bad);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    reeve__thread_join(&one.thread);
    assert_int_equal(one.failures, 0);
    assert_int_equal(sqlite_store_count(one.broker, REEVE_STATE_PENDING), 320);
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
            if (sqlite_store_try(&own, sqlite_store_url, &err) < 0) {
                _exit(1);
            }
            for (int i = 0;; i++) {
                char id[32];
                snprintf(id, sizeof(id), "r%d-%d", round, i);
                if (sqlite_store_put(own, id, &err) < 0 ||
                    write(told[1], "x", 1) != 1) {
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
        reeve__broker *broker = sqlite_store_open(sqlite_store_url);
        for (size_t i = 0; i < acknowledged; i++) {
            char id[32];
            size_t found = 0;
            snprintf(id, sizeof(id), "r%d-%zu", round, i);
            broker->ops->find(broker, reeve_bytes_of("mail"),
                              reeve_bytes_of(id), sqlite_store_on_row, &found,
                              NULL);
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
        if (sqlite_store_try(&own, sqlite_store_url, &err) < 0 ||
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
    reeve__broker *waiter = sqlite_store_open(sqlite_store_url),
                  *other = sqlite_store_open(sqlite_store_url);
    assert_int_equal(sqlite_store_put(other, "t1", NULL), REEVE_OK);
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
    reeve__broker_close(sqlite_store_open(sqlite_store_url));
    pid_t child = fork();
    if (child == 0) {
        char byte;
        reeve__broker *own = NULL;
        reeve_error err;
        int bad = sqlite_store_try(&own, sqlite_store_url, &err) < 0 ||
                  read(ready[0], &byte, 1) != 1 ||
                  sqlite_store_put(own, "t1", &err) < 0;
        reeve__broker_close(own);
        _exit(bad);
    }
    reeve__broker *waiter = sqlite_store_open(sqlite_store_url);
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
    snprintf(at, sizeof(at), "sqlite://%s/%s.db", sqlite_store_directory, name);
    reeve__broker *waiter = sqlite_store_open(at),
                  *other = sqlite_store_open(at);
    reeve_bytes queue = reeve_bytes_of("mail");
    ptrdiff_t index;
    assert_int_equal(waiter->ops->wait(waiter, &queue, 1, -1, 0, &index, NULL),
                     REEVE_OK);
    assert_int_equal(sqlite_store_put(other, "t1", NULL), REEVE_OK);
    assert_int_equal(waiter->ops->wait(waiter, &queue, 1, -1,
                                       reeve__by_ns(NULL, 60000), &index, NULL),
                     REEVE_OK);
    assert_int_equal(index, 0);
    reeve__broker_close(waiter);
    reeve__broker_close(other);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, sqlite_store_name)
    const struct CMUnitTest tests[] = {
        TEST(a_fork_heals),
        TEST(a_new_file_may_be_opened_by_many),
        TEST(forks_during_verbs_lose_nothing),
        TEST(a_kill_loses_nothing_acknowledged),
        TEST(a_dead_waiter_does_not_eat_the_ring),
        TEST(a_ring_crosses_processes),
        TEST(a_long_path_still_has_a_bell),
    };
    return cmocka_run_group_tests(tests, sqlite_store_make,
                                  sqlite_store_remove);
}
