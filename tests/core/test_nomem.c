/*
 * Every n-th allocation fails, over the client, a worker's whole life and the
 * inspector: NOMEM or a logged degradation, never a crash, a leak or a lost
 * task. One allocation fails and later ones succeed again.
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
#include "support/failing_alloc.h"

#define TASKS 12

typedef struct bench {
    failing_alloc fail;
    reeve_env *env; /* failing */
    store st;
    reeve_error err;
} bench;

static void open_bench(bench *b, void **state, const reeve_env_options *given) {
    memset(b, 0, sizeof *b);
    store_make(&b->st, *state);
    b->env = failing_alloc_env(&b->fail, given);
}

static void close_bench(bench *b) {
    assert_int_equal(failing_alloc_live(&b->fail), 0);
    reeve_env_free(b->env);
    store_remove(&b->st);
}

/* --- the client --------------------------------------------------------------- */

/* Opens, enqueues one and a batch, closes. Stops at the first error. */
static reeve_rc produce(bench *b, int64_t *acked) {
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = b->st.url;
    reeve_client *client = NULL;
    reeve_rc rc = reeve_client_open(&client, b->env, &options, &b->err);
    reeve_enqueue_args args[TASKS];
    reeve_header header = { reeve_bytes_of("a"), reeve_bytes_of("b") };
    for (int i = 0; i < TASKS; i++) {
        args[i] = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
        args[i].type = reeve_bytes_of("t");
        args[i].queue = reeve_bytes_of(i % 2 ? "q" : "r");
        args[i].headers = &header;
        args[i].header_count = 1;
        if (i == 5)
            args[i].idempotency_key = reeve_bytes_of("once");
    }
    reeve_enqueue_result results[TASKS];
    if (!rc) {
        rc = reeve_client_enqueue(results, client, args, &b->err);
        *acked += !rc;
    }
    if (!rc) {
        rc = reeve_client_enqueue_many(results, client, args, TASKS, &b->err);
        for (int i = 0; !rc && i < TASKS; i++)
            *acked += !results[i].existing;
    }
    reeve_client_close(client);
    return rc;
}

static int64_t stored(const bench *b) {
    int64_t q = store_count(&b->st, "q", REEVE_STATE_PENDING);
    int64_t r = store_count(&b->st, "r", REEVE_STATE_PENDING);
    return (q > 0 ? q : 0) + (r > 0 ? r : 0);
}

/* A handle that keeps a mem:// store alive. */
static reeve_client *hold(const bench *b) {
    return store_client(&b->st, NULL);
}

static void a_client_survives_each_failure(void **state) {
    bench b;
    open_bench(&b, state, NULL);
    reeve_client *holder = hold(&b);
    int64_t acked = 0;
    long n = 0;
    for (bool fired = true; fired; n++) {
        failing_alloc_arm(&b.fail, n);
        int64_t before = acked;
        reeve_rc rc = produce(&b, &acked);
        fired = failing_alloc_disarm(&b.fail);
        if (rc && rc != REEVE_E_NOMEM)
            fail_msg("allocation %ld: %s: %s", n, reeve_code_slug(rc),
                     b.err.message);
        assert_true(fired || rc == 0);
        assert_int_equal(failing_alloc_live(&b.fail), 0);
        /* What was acknowledged is there; an unacknowledged batch may be. */
        int64_t there = stored(&b);
        assert_true(there >= acked);
        assert_true(there <= before + 1 + TASKS);
        acked = there;
    }
    print_message("%s: %ld allocations\n", b.st.kind, n);
    assert_true(n > 5);
    reeve_client_close(holder);
    close_bench(&b);
}

/* --- a worker's life ------------------------------------------------------------ */

static int logged;

static void count_log(void *ctx, int32_t level, const char *line) {
    (void)ctx;
    (void)line;
    logged += level <= REEVE_LOG_WARN;
}

/* Completes what is polled: done with a result, retried, archived in turn. */
static void complete_some(bench *b, reeve_worker *worker) {
    reeve_event event;
    for (int i = 0; reeve_worker_poll(&event, 1, worker, 0); i++) {
        if (event.kind != REEVE_EVENT_DELIVERY)
            continue;
        reeve_outcome outcome = REEVE_OUTCOME_INIT;
        outcome.kind = i % 3 == 0   ? REEVE_OUTCOME_DONE
                       : i % 3 == 1 ? REEVE_OUTCOME_RETRY
                                    : REEVE_OUTCOME_FATAL;
        outcome.result = reeve_bytes_of("r");
        outcome.error_type = reeve_bytes_of("Boom");
        outcome.error_message = reeve_bytes_of("it broke");
        must(reeve_worker_complete(worker, event.delivery, &outcome, &b->err),
             &b->err);
    }
}

/* Makes, starts, steps, completes, frees; gives up at the first error. */
static reeve_rc live(bench *b) {
    static const reeve_worker_queue queues[] = {
        { .name = { "q", 1 } },
        { .name = { "r", 1 } },
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b->st.url;
    options.manual = 1;
    options.concurrency = 4;
    options.queues = queues;
    options.queue_count = 2;
    reeve_worker *worker = NULL;
    reeve_rc rc = reeve_worker_new(&worker, b->env, &options, &b->err);
    if (!rc)
        rc = reeve_worker_start(worker, &b->err);
    for (int i = 0; !rc && i < 6; i++) {
        rc = reeve_worker_step(NULL, worker, &b->err);
        if (!rc)
            complete_some(b, worker);
    }
    while (worker) { /* what an error left with us */
        reeve_event event;
        if (!reeve_worker_poll(&event, 1, worker, 0))
            break;
        reeve_outcome requeue = REEVE_OUTCOME_INIT;
        requeue.kind = REEVE_OUTCOME_REQUEUE;
        if (event.kind == REEVE_EVENT_DELIVERY)
            must(reeve_worker_complete(worker, event.delivery, &requeue,
                                       &b->err),
                 &b->err);
    }
    reeve_worker_free(worker);
    return rc;
}

/* Tasks in every state, and those that are done. */
static int64_t all_tasks(const bench *b, const char *queue) {
    static const int32_t states[] = {
        REEVE_STATE_PENDING, REEVE_STATE_ACTIVE,   REEVE_STATE_SCHEDULED,
        REEVE_STATE_RETRY,   REEVE_STATE_ARCHIVED, REEVE_STATE_NONE,
    };
    int64_t total = 0;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        total += store_count(&b->st, queue, states[i]);
    return total;
}

static void a_worker_survives_each_failure(void **state) {
    bench b;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.log = count_log;
    open_bench(&b, state, &options);
    reeve_client *holder = hold(&b);
    int64_t put = 0;
    long n = 0, errors = 0, degraded = 0;
    for (bool fired = true; fired; n++) {
        assert_int_equal(produce(&b, &put), 0);
        put = n + 1; /* batches so far */
        logged = 0;
        failing_alloc_arm(&b.fail, n);
        reeve_rc rc = live(&b);
        fired = failing_alloc_disarm(&b.fail);
        errors += rc != 0;
        degraded += fired && !rc;
        if (fired && !rc && !logged)
            fail_msg("%s: allocation %ld went unnoticed", b.st.kind, n);
        assert_int_equal(failing_alloc_live(&b.fail), 0);
        /* 13 tasks a round, one of them the same by its key. */
        int64_t expected = 13 + n * 12;
        int64_t there = all_tasks(&b, "q") + all_tasks(&b, "r");
        if (there != expected)
            fail_msg("allocation %ld: %lld tasks of %lld (%s)", n,
                     (long long)there, (long long)expected,
                     rc ? b.err.message : "no error");
    }
    print_message("%s: %ld allocations, %ld errors, %ld degradations\n",
                  b.st.kind, n, errors, degraded);
    assert_true(n > 20);
    reeve_client_close(holder);
    close_bench(&b);
}

/* --- the inspector ---------------------------------------------------------------- */

static reeve_rc look(bench *b) {
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = b->st.url;
    reeve_inspector *it = NULL;
    reeve_queue_list *queues = NULL;
    reeve_worker_list *workers = NULL;
    reeve_task_list *tasks = NULL, *one = NULL;
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.queue = reeve_bytes_of("q");
    query.state = REEVE_STATE_PENDING;
    size_t count = 0;
    uint64_t cursor = 0;
    reeve_error *err = &b->err;
    reeve_rc rc = 0;
    (void)((rc = reeve_inspector_open(&it, b->env, &options, err)) ||
           (rc = reeve_inspector_queues(&queues, it, err)) ||
           (rc = reeve_inspector_workers(&workers, it, err)) ||
           (rc = reeve_inspector_tasks(&tasks, &cursor, it, &query, err)) ||
           (rc = reeve_inspector_find(&one, it, query.queue,
                                      reeve_bytes_of("seen"), err)) ||
           (rc = reeve_inspector_act_many(&count, it, REEVE_ACTION_ARCHIVE,
                                          query.queue, query.state, 3, err)) ||
           (rc = reeve_inspector_act_many(&count, it, REEVE_ACTION_RUN,
                                          query.queue, REEVE_STATE_ARCHIVED, 3,
                                          err)) ||
           (rc = reeve_inspector_edit(it, query.queue, reeve_bytes_of("seen"),
                                      reeve_bytes_of("other"), err)) ||
           (rc = reeve_inspector_weight(it, query.queue, 5, err)) ||
           (rc = reeve_inspector_quiet(it, (reeve_bytes){ 0 }, false, err)) ||
           (rc = reeve_inspector_reclaim_worker(&count, it,
                                                reeve_bytes_of("dead"), err)));
    reeve_queue_list_free(queues);
    reeve_worker_list_free(workers);
    reeve_task_list_free(tasks);
    reeve_task_list_free(one);
    reeve_inspector_close(it);
    return rc;
}

/* A worker that has claimed and is never heard of again; freed by the caller. */
static reeve_worker *claim_one(const bench *b) {
    static const reeve_worker_queue queue = { .name = { "q", 1 } };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b->st.url;
    options.id = "dead";
    options.manual = 1;
    options.concurrency = 1;
    options.queues = &queue;
    options.queue_count = 1;
    reeve_worker *worker = NULL;
    reeve_error err;
    must(reeve_worker_new(&worker, NULL, &options, &err), &err);
    must(reeve_worker_start(worker, &err), &err);
    must(reeve_worker_step(NULL, worker, &err), &err);
    return worker;
}

static void an_inspector_survives_each_failure(void **state) {
    bench b;
    open_bench(&b, state, NULL);
    reeve_client *holder = hold(&b);
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    args.queue = reeve_bytes_of("q");
    for (int i = 0; i < 6; i++)
        must(reeve_client_enqueue(NULL, holder, &args, &b.err), &b.err);
    reeve_worker *worker = claim_one(&b);
    args.id = reeve_bytes_of("seen");
    must(reeve_client_enqueue(NULL, holder, &args, &b.err), &b.err);
    long n = 0;
    for (bool fired = true; fired; n++) {
        failing_alloc_arm(&b.fail, n);
        reeve_rc rc = look(&b);
        fired = failing_alloc_disarm(&b.fail);
        if (fired ? rc != REEVE_E_NOMEM && rc != 0 : rc != 0)
            fail_msg("allocation %ld: %s: %s", n, reeve_code_slug(rc),
                     b.err.message);
        assert_int_equal(failing_alloc_live(&b.fail), 0);
        assert_int_equal(all_tasks(&b, "q"), 7);
    }
    print_message("%s: %ld allocations\n", b.st.kind, n);
    assert_true(n > 30);
    reeve_worker_free(worker);
    reeve_client_close(holder);
    close_bench(&b);
}

#define OVER(kind, test)                                                       \
    { #test " (" kind ")", test, NULL, NULL, (void *)(uintptr_t)kind }
#define OVER_ALL(test)                                                         \
    OVER("mem", test), OVER("sqlite", test), OVER("redis", test)

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER_ALL(a_client_survives_each_failure),
        OVER_ALL(a_worker_survives_each_failure),
        OVER_ALL(an_inspector_survives_each_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
