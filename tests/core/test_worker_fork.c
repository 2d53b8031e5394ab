/*
 * A process with a running worker forks: the child's copy refuses everything
 * and can be freed; the parent's works on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"
#include "stores.h"
#include "support/forks.h"

static atomic_int runs;

static reeve_rc count_run(reeve_outcome *outcome, reeve_delivery *delivery,
                          void *user, reeve_error *err) {
    (void)outcome;
    (void)delivery;
    (void)user;
    (void)err;
    atomic_fetch_add(&runs, 1);
    return 0;
}

/* What a child may and may not do with its parent's worker; its exit code. */
static int in_child(reeve_worker *worker) {
    reeve_error err;
    reeve_event event;
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    int wrong = 0;
    wrong += reeve_worker_start(worker, &err) != REEVE_E_FORKED;
    wrong += reeve_worker_join(worker, 0, &err) != REEVE_E_FORKED;
    wrong += reeve_worker_stats_read(&stats, worker, &err) != REEVE_E_FORKED;
    wrong += reeve_worker_poll(&event, 1, worker, 0) != 0;
    reeve_worker_quiet(worker, true);
    reeve_worker_stop(worker);
    reeve_worker_free(worker);
    return wrong;
}

static void put(reeve_client *client, int count) {
    reeve_error err;
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    for (int i = 0; i < count; i++)
        must(reeve_client_enqueue(NULL, client, &args, &err), &err);
}

static void wait_for_runs(int count) {
    for (int i = 0; i < 3000 && atomic_load(&runs) < count; i++)
        (void)reeve__poll_two(NULL, -1, -1, reeve__by_ns(NULL, 10));
    assert_int_equal(atomic_load(&runs), count);
}

static void a_childs_copy_of_a_worker_is_harmless(void **state) {
    if (!forks_are_followed())
        skip();
    store st;
    store_make(&st, *state);
    atomic_store(&runs, 0);
    reeve_client *client = store_client(&st, NULL);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = st.url;
    options.concurrency = 2;
    reeve_worker *worker = NULL;
    reeve_error err;
    must(reeve_worker_new(&worker, NULL, &options, &err), &err);
    must(reeve_worker_handle(worker, (reeve_bytes){ 0 }, count_run, NULL, &err),
         &err);
    must(reeve_worker_start(worker, &err), &err);
    for (int round = 0; round < 5; round++) {
        put(client, 20);
        pid_t child = fork(); /* in the middle of its work */
        assert_true(child >= 0);
        if (child == 0)
            _exit(in_child(worker));
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        put(client, 5);
        wait_for_runs((round + 1) * 25);
    }
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    reeve_worker_stop(worker);
    must(reeve_worker_join(worker, REEVE_NEVER, &err), &err);
    must(reeve_worker_stats_read(&stats, worker, &err), &err);
    assert_int_equal(stats.done, 125);
    assert_int_equal(stats.lease_lost, 0);
    reeve_worker_free(worker);
    reeve_client_close(client);
    store_remove(&st);
}

#define OVER(kind, test)                                                       \
    { #test " (" kind ")", test, NULL, NULL, (void *)(uintptr_t)kind }

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER("mem", a_childs_copy_of_a_worker_is_harmless),
        OVER("sqlite", a_childs_copy_of_a_worker_is_harmless),
        OVER("redis", a_childs_copy_of_a_worker_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
