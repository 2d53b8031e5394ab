/*
 * A task's own lease: longer or shorter than its worker's, and shared by the
 * tasks of one claim. Two manual workers on one virtual clock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "stores.h"

typedef struct bench {
    reeve_env *env;
    char url[64];
    reeve_client *client;
    reeve_worker *owner; /* claims, then falls silent */
    reeve_worker *heir;
    reeve_error err;
} bench;

static reeve_worker *make_worker(bench *b, const char *id) {
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    reeve_worker *worker = NULL;
    options.url = b->url;
    options.id = id;
    options.manual = 1;
    options.lease_ms = 30000;
    must(reeve_worker_new(&worker, b->env, &options, &b->err), &b->err);
    must(reeve_worker_start(worker, &b->err), &b->err);
    return worker;
}

static void open_bench(bench *b) {
    static atomic_int serial;
    memset(b, 0, sizeof *b);
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.virtual_now_at_ms = 1763600000000;
    must(reeve_env_new(&b->env, &options, &b->err), &b->err);
    (void)snprintf(b->url, sizeof b->url, "mem://task-lease-%d",
                   atomic_fetch_add(&serial, 1));
    reeve_client_options client_options = REEVE_CLIENT_OPTIONS_INIT;
    client_options.url = b->url;
    must(reeve_client_open(&b->client, b->env, &client_options, &b->err),
         &b->err);
    b->owner = make_worker(b, "owner");
    b->heir = make_worker(b, "heir");
}

static void close_bench(bench *b) {
    reeve_event event;
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    reeve_worker *workers[] = { b->owner, b->heir };
    for (int i = 0; i < 2; i++) {
        while (reeve_worker_poll(&event, 1, workers[i], 0)) {
            if (event.kind == REEVE_EVENT_DELIVERY)
                must(reeve_worker_complete(workers[i], event.delivery, &outcome,
                                           &b->err),
                     &b->err);
        }
        reeve_worker_free(workers[i]);
    }
    reeve_client_close(b->client);
    reeve_env_free(b->env);
}

static void put(bench *b, int64_t lease_ms) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    args.lease_ms = lease_ms;
    must(reeve_client_enqueue(NULL, b->client, &args, &b->err), &b->err);
}

/* What the heir has taken over by now, after by_ms more. */
static int64_t reclaimed_after(bench *b, int64_t by_ms) {
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    must(reeve_env_advance(b->env, by_ms, &b->err), &b->err);
    must(reeve_worker_step(NULL, b->heir, &b->err), &b->err);
    must(reeve_worker_stats_read(&stats, b->heir, &b->err), &b->err);
    return stats.reclaimed;
}

static void claim_all(bench *b) {
    must(reeve_worker_step(NULL, b->owner, &b->err), &b->err);
}

static void a_longer_lease_outlives_the_workers(void **state) {
    (void)state;
    bench b;
    open_bench(&b);
    put(&b, 120000);
    claim_all(&b);
    assert_int_equal(reclaimed_after(&b, 119000), 0);
    assert_int_equal(reclaimed_after(&b, 2000), 1);
    close_bench(&b);
}

static void a_shorter_lease_ends_before_the_workers(void **state) {
    (void)state;
    bench b;
    open_bench(&b);
    put(&b, 1000);
    claim_all(&b);
    assert_int_equal(reclaimed_after(&b, 900), 0);
    assert_int_equal(reclaimed_after(&b, 600), 1);
    close_bench(&b);
}

static void tasks_of_one_claim_share_the_longest(void **state) {
    (void)state;
    bench b;
    open_bench(&b);
    put(&b, 0);
    put(&b, 120000);
    put(&b, 1000);
    claim_all(&b);
    assert_int_equal(reclaimed_after(&b, 119000), 0);
    assert_int_equal(reclaimed_after(&b, 2000), 3);
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_longer_lease_outlives_the_workers),
        cmocka_unit_test(a_shorter_lease_ends_before_the_workers),
        cmocka_unit_test(tasks_of_one_claim_share_the_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
