/*
 * A worker, client and inspector on a virtual clock, the worker's broker behind
 * a plan of faults. Included after cmocka's own prerequisites.
 */
#ifndef REEVE_TESTS_FAULT_BENCH_H
#define REEVE_TESTS_FAULT_BENCH_H

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <reeve.h>

#include "support/fake_broker.h"
#include "runtime/worker.h"

#define START_AT_MS 1763600000000
#define HANG_SECONDS 120

typedef struct bench {
    fake_plan plan;
    reeve_env *env;
    char url[64];
    reeve_client *client;
    reeve_inspector *inspector;
    reeve_worker *worker;
} bench;

static inline void must(reeve_rc rc, const reeve_error *err) {
    if (rc)
        fail_msg("%s: %s", reeve_code_slug(rc), err->message);
}

/* A worker that is not started yet, its broker behind b->plan. */
static inline void open_bench(bench *b, const reeve_worker_options *given) {
    static atomic_int serial;
    reeve_error err;
    memset(b, 0, sizeof *b);
    fake_plan_init(&b->plan);
    reeve_env_options env_options = REEVE_ENV_OPTIONS_INIT;
    env_options.random_seed = 7;
    env_options.virtual_now_at_ms = START_AT_MS;
    must(reeve_env_new(&b->env, &env_options, &err), &err);
    (void)snprintf(b->url, sizeof b->url, "mem://faults-%d",
                   atomic_fetch_add(&serial, 1));
    reeve_client_options client_options = REEVE_CLIENT_OPTIONS_INIT;
    client_options.url = b->url;
    must(reeve_client_open(&b->client, b->env, &client_options, &err), &err);
    must(reeve_inspector_open(&b->inspector, b->env, &client_options, &err),
         &err);
    reeve_worker_options options = *given;
    options.url = b->url;
    must(reeve_worker_new(&b->worker, b->env, &options, &err), &err);
    reeve__broker *fake = fake_wrap(&b->plan, b->worker->fetch_broker);
    assert_non_null(fake);
    b->worker->fetch_broker = fake;
    b->worker->open_broker = fake_open;
}

static inline void start(bench *b) {
    reeve_error err;
    must(reeve_worker_start(b->worker, &err), &err);
}

static inline void open_manual(bench *b, int32_t concurrency) {
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.manual = 1;
    options.concurrency = concurrency;
    open_bench(b, &options);
    start(b);
}

static inline void open_threads(bench *b, int32_t concurrency) {
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.concurrency = concurrency;
    options.settle_delay_ms = REEVE_NEVER;
    open_bench(b, &options);
}

static inline void close_bench(bench *b) {
    reeve_worker_free(b->worker);
    reeve_inspector_close(b->inspector);
    reeve_client_close(b->client);
    reeve_env_free(b->env);
    fake_plan_dispose(&b->plan);
}

static inline reeve_enqueue_args plain(void) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    return args;
}

static inline void put(bench *b, const reeve_enqueue_args *args,
                       const char *id) {
    reeve_error err;
    reeve_enqueue_args copy = *args;
    copy.id = reeve_bytes_of(id);
    must(reeve_client_enqueue(NULL, b->client, &copy, &err), &err);
}

static inline void put_many(bench *b, const reeve_enqueue_args *args,
                            int count) {
    for (int i = 0; i < count; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "task-%05d", i);
        put(b, args, id);
    }
}

static inline reeve_rc step(bench *b) {
    return reeve_worker_step(NULL, b->worker, NULL);
}

static inline void advance(bench *b, int64_t by_ms) {
    must(reeve_env_advance(b->env, by_ms, NULL), NULL);
}

/* Takes the next delivery; NULL when there is none and wait is false. */
static inline reeve_delivery *take(bench *b, bool wait) {
    reeve_event event;
    while (reeve_worker_poll(&event, 1, b->worker, wait ? REEVE_NEVER : 0)) {
        if (event.kind == REEVE_EVENT_DELIVERY)
            return event.delivery;
        if (event.kind == REEVE_EVENT_STOPPED)
            break;
    }
    return NULL;
}

static inline void finish(bench *b, reeve_delivery *dlv) {
    reeve_error err;
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    assert_non_null(dlv);
    must(reeve_worker_complete(b->worker, dlv, &outcome, &err), &err);
}

static inline int finish_all(bench *b) {
    int count = 0;
    for (reeve_delivery *dlv; (dlv = take(b, false)) != NULL; count++)
        finish(b, dlv);
    return count;
}

static inline int32_t state_and_crashes(bench *b, const char *id,
                                        int32_t *crashes) {
    reeve_error err;
    reeve_task_list *list = NULL;
    must(reeve_inspector_find(&list, b->inspector, reeve_bytes_of("default"),
                              reeve_bytes_of(id), &err),
         &err);
    int32_t state = REEVE_STATE_NONE;
    if (list) {
        state = reeve_task_list_get(list, 0)->state;
        if (crashes)
            *crashes = reeve_task_list_get(list, 0)->crashes;
    }
    reeve_task_list_free(list);
    return state;
}

static inline reeve_worker_stats stats_of(bench *b) {
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    must(reeve_worker_stats_read(&stats, b->worker, NULL), NULL);
    return stats;
}

#endif
