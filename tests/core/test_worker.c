/*
 * The worker runtime over the mem broker: every outcome, stop, leases, limits
 * of time, both faces. Time-based cases use a virtual clock and a manual worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <reeve.h>

#include "base/bytes.h"
#include "broker/broker.h"

#define START_AT_MS 1763600000000

typedef struct bench {
    reeve_env *env;
    char url[64];
    reeve_client *client;
    reeve_worker *worker;
    reeve_inspector *inspector;
} bench;

static void must(reeve_rc rc, const reeve_error *err) {
    if (rc)
        fail_msg("%s: %s", reeve_code_slug(rc), err->message);
}

static void open_bench(bench *b, bool manual,
                       const reeve_worker_options *given) {
    static atomic_int serial;
    reeve_error err;
    memset(b, 0, sizeof *b);
    reeve_env_options env_options = REEVE_ENV_OPTIONS_INIT;
    env_options.random_seed = 7;
    env_options.virtual_now_at_ms = manual ? START_AT_MS : 0;
    must(reeve_env_new(&b->env, &env_options, &err), &err);
    (void)snprintf(b->url, sizeof b->url, "mem://worker-%d",
                   atomic_fetch_add(&serial, 1));
    reeve_client_options client_options = REEVE_CLIENT_OPTIONS_INIT;
    client_options.url = b->url;
    must(reeve_client_open(&b->client, b->env, &client_options, &err), &err);
    must(reeve_inspector_open(&b->inspector, b->env, &client_options, &err),
         &err);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    if (given)
        options = *given;
    options.url = b->url;
    options.manual = manual;
    must(reeve_worker_new(&b->worker, b->env, &options, &err), &err);
}

static void close_bench(bench *b) {
    reeve_worker_free(b->worker);
    reeve_inspector_close(b->inspector);
    reeve_client_close(b->client);
    reeve_env_free(b->env);
}

static void put(bench *b, reeve_enqueue_args args, char *id) {
    reeve_error err;
    reeve_enqueue_result result;
    if (!args.type.size)
        args.type = reeve_bytes_of("t");
    must(reeve_client_enqueue(&result, b->client, &args, &err), &err);
    if (id)
        (void)strcpy(id, result.id);
}

static void step(bench *b) {
    reeve_error err;
    must(reeve_worker_step(NULL, b->worker, &err), &err);
}

static reeve_delivery *next_delivery(bench *b) {
    reeve_event event;
    while (reeve_worker_poll(&event, 1, b->worker, 0)) {
        if (event.kind == REEVE_EVENT_DELIVERY)
            return event.delivery;
    }
    return NULL;
}

static void complete(bench *b, reeve_delivery *dlv, reeve_outcome outcome) {
    reeve_error err;
    must(reeve_worker_complete(b->worker, dlv, &outcome, &err), &err);
}

static reeve_outcome outcome_of(int32_t kind) {
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    outcome.kind = kind;
    outcome.error_type = reeve_bytes_of("Boom");
    outcome.error_message = reeve_bytes_of("it broke");
    return outcome;
}

static reeve_queue_info queue_info(bench *b) {
    reeve_error err;
    reeve_queue_list *list = NULL;
    must(reeve_inspector_queues(&list, b->inspector, &err), &err);
    assert_int_equal(reeve_queue_list_count(list), 1);
    reeve_queue_info info = *reeve_queue_list_get(list, 0);
    reeve_queue_list_free(list);
    return info;
}

static reeve_task_list *find(bench *b, const char *id) {
    reeve_error err;
    reeve_task_list *list = NULL;
    must(reeve_inspector_find(&list, b->inspector, reeve_bytes_of("default"),
                              reeve_bytes_of(id), &err),
         &err);
    return list;
}

static int32_t state_of(bench *b, const char *id) {
    reeve_task_list *list = find(b, id);
    int32_t state =
        list ? reeve_task_list_get(list, 0)->state : REEVE_STATE_NONE;
    reeve_task_list_free(list);
    return state;
}

static reeve_enqueue_args plain(void) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    return args;
}

static void start(bench *b) {
    reeve_error err;
    must(reeve_worker_start(b->worker, &err), &err);
}

/* --- outcomes, by hand --------------------------------------------------- */

static void done_is_gone_without_retention(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    step(&b);
    reeve_task_list *list = find(&b, id);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    assert_int_equal(info->state, REEVE_STATE_ACTIVE);
    assert_true(reeve__bytes_equal(info->worker, reeve_worker_id(b.worker)));
    reeve_task_list_free(list);
    complete(&b, next_delivery(&b), outcome_of(REEVE_OUTCOME_DONE));
    step(&b);
    assert_int_equal(state_of(&b, id), REEVE_STATE_NONE);
    assert_int_equal(queue_info(&b).done_total, 1);
    close_bench(&b);
}

static void result_is_kept_for_its_retention(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    reeve_enqueue_args args = plain();
    args.retention_ms = 60000;
    put(&b, args, id);
    step(&b);
    reeve_outcome outcome = outcome_of(REEVE_OUTCOME_DONE);
    outcome.result = (reeve_bytes){ "a\0b", 3 };
    complete(&b, next_delivery(&b), outcome);
    step(&b);
    reeve_task_list *list = find(&b, id);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    assert_int_equal(info->state, REEVE_STATE_COMPLETED);
    assert_true(info->has_result);
    assert_int_equal(info->result.size, 3);
    assert_memory_equal(info->result.data, "a\0b", 3);
    assert_int_equal(info->settled_at_ms, START_AT_MS);
    reeve_task_list_free(list);
    must(reeve_env_advance(b.env, 66000, NULL), NULL);
    step(&b);
    assert_int_equal(state_of(&b, id), REEVE_STATE_NONE);
    close_bench(&b);
}

static void failure_retries_with_backoff_then_archives(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    reeve_retry_options retry = REEVE_RETRY_OPTIONS_INIT;
    retry.max_attempts = 2;
    retry.backoff = REEVE_BACKOFF_FIXED;
    retry.jitter = REEVE_JITTER_NONE;
    retry.base_ms = 5000;
    reeve_enqueue_args args = plain();
    args.retry = &retry;
    put(&b, args, id);
    step(&b);
    complete(&b, next_delivery(&b), outcome_of(REEVE_OUTCOME_RETRY));
    step(&b);
    assert_int_equal(state_of(&b, id), REEVE_STATE_RETRY);
    must(reeve_env_advance(b.env, 4999, NULL), NULL);
    step(&b);
    assert_null(next_delivery(&b));
    must(reeve_env_advance(b.env, 1, NULL), NULL);
    step(&b);
    reeve_delivery *dlv = next_delivery(&b);
    assert_non_null(dlv);
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    must(reeve_delivery_read(&view, dlv, NULL), NULL);
    assert_int_equal(view.attempt, 2);
    complete(&b, dlv, outcome_of(REEVE_OUTCOME_RETRY));
    step(&b);
    reeve_task_list *list = find(&b, id);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    assert_int_equal(info->state, REEVE_STATE_ARCHIVED);
    assert_int_equal(info->attempts, 2);
    assert_int_equal(info->history_count, 2);
    assert_true(reeve__bytes_is(info->history[1].error_type, "Boom"));
    assert_true(info->reason.size > 0);
    reeve_task_list_free(list);
    assert_int_equal(queue_info(&b).failed_total, 2);
    close_bench(&b);
}

static void snooze_and_requeue_burn_no_attempt(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    step(&b);
    reeve_outcome snooze = outcome_of(REEVE_OUTCOME_SNOOZE);
    snooze.delay_ms = 1000;
    complete(&b, next_delivery(&b), snooze);
    step(&b);
    assert_int_equal(state_of(&b, id), REEVE_STATE_SCHEDULED);
    must(reeve_env_advance(b.env, 1000, NULL), NULL);
    step(&b);
    complete(&b, next_delivery(&b), outcome_of(REEVE_OUTCOME_REQUEUE));
    step(&b);
    reeve_delivery *dlv = next_delivery(&b);
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    must(reeve_delivery_read(&view, dlv, NULL), NULL);
    assert_int_equal(view.attempt, 1);
    complete(&b, dlv, outcome_of(REEVE_OUTCOME_DISCARD));
    step(&b);
    assert_int_equal(state_of(&b, id), REEVE_STATE_NONE);
    assert_int_equal(queue_info(&b).failed_total, 0);
    close_bench(&b);
}

static void fatal_archives_at_once_and_can_be_run_again(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    step(&b);
    complete(&b, next_delivery(&b), outcome_of(REEVE_OUTCOME_FATAL));
    step(&b);
    assert_int_equal(state_of(&b, id), REEVE_STATE_ARCHIVED);
    must(reeve_inspector_edit(b.inspector, reeve_bytes_of("default"),
                              reeve_bytes_of(id), reeve_bytes_of("new"), NULL),
         NULL);
    step(&b);
    reeve_delivery *dlv = next_delivery(&b);
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    must(reeve_delivery_read(&view, dlv, NULL), NULL);
    assert_int_equal(view.attempt, 1);
    assert_true(reeve__bytes_is(view.payload, "new"));
    complete(&b, dlv, outcome_of(REEVE_OUTCOME_DONE));
    step(&b);
    assert_int_equal(state_of(&b, id), REEVE_STATE_NONE);
    close_bench(&b);
}

static void bad_outcome_is_a_failure_not_a_loss(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    step(&b);
    reeve_outcome outcome = outcome_of(99);
    reeve_error err;
    assert_int_equal(
        reeve_worker_complete(b.worker, next_delivery(&b), &outcome, &err),
        REEVE_E_INVALID);
    assert_non_null(strstr(err.message, "99"));
    step(&b);
    assert_int_equal(state_of(&b, id), REEVE_STATE_ARCHIVED);
    close_bench(&b);
}

/* --- time ---------------------------------------------------------------- */

static void timeout_frees_the_slot_and_tells_the_handler(void **state) {
    (void)state;
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.concurrency = 1;
    open_bench(&b, true, &options);
    start(&b);
    reeve_enqueue_args args = plain();
    args.timeout_ms = 1000;
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, args, id);
    put(&b, plain(), NULL);
    step(&b);
    reeve_delivery *slow = next_delivery(&b);
    assert_null(next_delivery(&b));
    must(reeve_env_advance(b.env, 1001, NULL), NULL);
    step(&b);
    reeve_event events[2];
    assert_int_equal(reeve_worker_poll(events, 2, b.worker, 0), 2);
    assert_int_equal(events[0].kind, REEVE_EVENT_CANCEL);
    assert_int_equal(events[0].reason, REEVE_CANCEL_TIMEOUT);
    assert_int_equal(events[1].kind, REEVE_EVENT_DELIVERY);
    assert_int_equal(reeve_delivery_cancel_reason(slow), REEVE_CANCEL_TIMEOUT);
    assert_int_equal(state_of(&b, id), REEVE_STATE_RETRY);
    must(reeve_env_advance(b.env, 6000, NULL), NULL);
    step(&b);
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    must(reeve_worker_stats_read(&stats, b.worker, NULL), NULL);
    assert_int_equal(stats.stuck, 1);
    complete(&b, slow, outcome_of(REEVE_OUTCOME_DONE)); /* too late: dropped */
    complete(&b, events[1].delivery, outcome_of(REEVE_OUTCOME_DONE));
    step(&b);
    assert_int_equal(queue_info(&b).done_total, 1);
    close_bench(&b);
}

static void past_deadline_is_archived_unstarted(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    reeve_enqueue_args args = plain();
    args.deadline_at_ms = START_AT_MS + 1000;
    args.delay_ms = 5000;
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, args, id);
    must(reeve_env_advance(b.env, 5000, NULL), NULL);
    step(&b);
    step(&b);
    assert_null(next_delivery(&b));
    assert_int_equal(state_of(&b, id), REEVE_STATE_ARCHIVED);
    close_bench(&b);
}

/* Another worker takes over when a lease lapses; the old outcome is refused. */
static void lapsed_lease_is_taken_over_and_fenced(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    step(&b);
    reeve_delivery *old = next_delivery(&b);
    reeve_worker *second = NULL;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b.url;
    options.manual = 1;
    must(reeve_worker_new(&second, b.env, &options, NULL), NULL);
    must(reeve_worker_start(second, NULL), NULL);
    must(reeve_env_advance(b.env, 31000, NULL), NULL); /* b.worker sleeps */
    must(reeve_worker_step(NULL, second, NULL), NULL);
    reeve_event event;
    assert_int_equal(reeve_worker_poll(&event, 1, second, 0), 1);
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    must(reeve_delivery_read(&view, event.delivery, NULL), NULL);
    assert_int_equal(view.crashes, 1);
    assert_int_equal(view.attempt, 1);
    complete(&b, old, outcome_of(REEVE_OUTCOME_DONE));
    step(&b);
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    must(reeve_worker_stats_read(&stats, b.worker, NULL), NULL);
    assert_int_equal(stats.lease_lost, 1);
    assert_int_equal(stats.done, 0);
    assert_int_equal(state_of(&b, id), REEVE_STATE_ACTIVE);
    reeve_outcome done = outcome_of(REEVE_OUTCOME_DONE);
    must(reeve_worker_complete(second, event.delivery, &done, NULL), NULL);
    must(reeve_worker_step(NULL, second, NULL), NULL);
    assert_int_equal(state_of(&b, id), REEVE_STATE_NONE);
    reeve_worker_free(second);
    close_bench(&b);
}

static void extended_lease_is_kept(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    step(&b);
    reeve_delivery *dlv = next_delivery(&b);
    for (int i = 0; i < 10; i++) {
        must(reeve_env_advance(b.env, 11000, NULL), NULL);
        step(&b);
    }
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    must(reeve_worker_stats_read(&stats, b.worker, NULL), NULL);
    assert_int_equal(stats.lease_lost, 0);
    assert_int_equal(stats.reclaimed, 0);
    complete(&b, dlv, outcome_of(REEVE_OUTCOME_DONE));
    step(&b);
    assert_int_equal(queue_info(&b).done_total, 1);
    close_bench(&b);
}

/* The task's own lease replaces the worker's right after the claim. */
static void own_lease_is_stored_and_lapses(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    reeve_enqueue_args args = plain();
    args.lease_ms = 2000;
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, args, id);
    step(&b);
    step(&b); /* the extension */
    reeve_delivery *old = next_delivery(&b);
    reeve_worker *second = NULL;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b.url;
    options.manual = 1;
    must(reeve_worker_new(&second, b.env, &options, NULL), NULL);
    must(reeve_worker_start(second, NULL), NULL);
    must(reeve_env_advance(b.env, 1999, NULL), NULL);
    must(reeve_worker_step(NULL, second, NULL), NULL);
    assert_int_equal(queue_info(&b).active, 1);
    must(reeve_env_advance(b.env, 1000, NULL), NULL);
    must(reeve_worker_step(NULL, second, NULL), NULL);
    reeve_event event;
    assert_int_equal(reeve_worker_poll(&event, 1, second, 0), 1);
    reeve_outcome done = outcome_of(REEVE_OUTCOME_DONE);
    must(reeve_worker_complete(second, event.delivery, &done, NULL), NULL);
    complete(&b, old, done);
    reeve_worker_free(second);
    close_bench(&b);
}

static void crashing_too_often_is_archived_as_poison(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    for (int i = 0; i < 3; i++) {
        reeve_worker *victim = NULL;
        char name[16];
        (void)snprintf(name, sizeof name, "victim-%d", i);
        reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
        options.url = b.url;
        options.manual = 1;
        options.id = name;
        must(reeve_worker_new(&victim, b.env, &options, NULL), NULL);
        must(reeve_worker_start(victim, NULL), NULL);
        must(reeve_worker_step(NULL, victim, NULL), NULL);
        reeve_event event;
        assert_int_equal(reeve_worker_poll(&event, 1, victim, 0), 1);
        size_t count = 0;
        must(reeve_inspector_reclaim_worker(&count, b.inspector,
                                            reeve_bytes_of(name), NULL),
             NULL);
        assert_int_equal(count, 1);
        reeve_outcome done = outcome_of(REEVE_OUTCOME_DONE);
        must(reeve_worker_complete(victim, event.delivery, &done, NULL), NULL);
        reeve_worker_free(victim);
    }
    reeve_task_list *list = find(&b, id);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    assert_int_equal(info->state, REEVE_STATE_ARCHIVED);
    assert_int_equal(info->crashes, 3);
    assert_int_equal(info->attempts, 0);
    assert_int_equal(info->history_count, 3);
    assert_true(info->history[0].crash);
    reeve_task_list_free(list);
    close_bench(&b);
}

/* --- stopping ------------------------------------------------------------ */

static void stop_hands_back_what_was_not_started_in_order(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char ids[3][REEVE_ID_BYTES_MAX + 1];
    for (int i = 0; i < 3; i++)
        put(&b, plain(), ids[i]);
    step(&b);
    reeve_delivery *first = next_delivery(&b);
    reeve_worker_stop(b.worker);
    step(&b);
    assert_int_equal(queue_info(&b).pending, 2);
    complete(&b, first, outcome_of(REEVE_OUTCOME_DONE));
    step(&b);
    reeve_event event;
    assert_int_equal(reeve_worker_poll(&event, 1, b.worker, 0), 1);
    assert_int_equal(event.kind, REEVE_EVENT_STOPPED);
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.state = REEVE_STATE_PENDING;
    query.queue = reeve_bytes_of("default");
    reeve_task_list *list = NULL;
    uint64_t cursor = 0;
    must(reeve_inspector_tasks(&list, &cursor, b.inspector, &query, NULL),
         NULL);
    assert_int_equal(reeve_task_list_count(list), 2);
    for (size_t i = 0; i < 2; i++) {
        const reeve_task_info *info = reeve_task_list_get(list, i);
        assert_true(reeve__bytes_is(info->id, ids[i + 1]));
        assert_int_equal(info->crashes, 0);
    }
    reeve_task_list_free(list);
    close_bench(&b);
}

static void second_stop_requeues_what_runs(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    step(&b);
    reeve_delivery *dlv = next_delivery(&b);
    reeve_worker_stop(b.worker);
    reeve_worker_stop(b.worker);
    step(&b);
    assert_int_equal(state_of(&b, id), REEVE_STATE_PENDING);
    assert_int_equal(reeve_delivery_cancel_reason(dlv), REEVE_CANCEL_STOP);
    complete(&b, dlv, outcome_of(REEVE_OUTCOME_DONE));
    assert_int_equal(state_of(&b, id), REEVE_STATE_PENDING);
    close_bench(&b);
}

/* --- threads ------------------------------------------------------------- */

static reeve_rc count_up(reeve_outcome *outcome, reeve_delivery *dlv,
                         void *user, reeve_error *err) {
    (void)outcome;
    (void)dlv;
    (void)err;
    atomic_fetch_add((atomic_int *)user, 1);
    return 0;
}

static void wait_until_empty(bench *b, atomic_int *count, int wanted) {
    reeve_error err;
    while (atomic_load(count) < wanted)
        (void)reeve_worker_join(b->worker, 5, &err);
}

static void c_handlers_run_every_task_once(void **state) {
    (void)state;
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.concurrency = 4;
    open_bench(&b, false, &options);
    atomic_int count = 0;
    must(reeve_worker_handle(b.worker, reeve_bytes_of("t"), count_up, &count,
                             NULL),
         NULL);
    start(&b);
    enum {
        N = 5000
    };
    static reeve_enqueue_args args[N];
    for (int i = 0; i < N; i++)
        args[i] = plain();
    must(reeve_client_enqueue_many(NULL, b.client, args, N, NULL), NULL);
    wait_until_empty(&b, &count, N);
    reeve_worker_stop(b.worker);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    assert_int_equal(atomic_load(&count), N);
    reeve_queue_info info = queue_info(&b);
    assert_int_equal(info.done_total, N);
    assert_int_equal(info.pending + info.active, 0);
    close_bench(&b);
}

static void polled_deliveries_from_the_fd(void **state) {
    (void)state;
    bench b;
    open_bench(&b, false, NULL);
    start(&b);
    enum {
        N = 500
    };
    for (int i = 0; i < N; i++)
        put(&b, plain(), NULL);
    int done = 0;
    while (done < N) {
        reeve_event events[16];
        size_t count = reeve_worker_poll(events, 16, b.worker, 1000);
        reeve_outcome outcome = outcome_of(REEVE_OUTCOME_DONE);
        reeve_completion items[16];
        for (size_t i = 0; i < count; i++)
            items[i] = (reeve_completion){ events[i].delivery, &outcome };
        must(reeve_worker_complete_many(b.worker, items, count, NULL), NULL);
        done += (int)count;
    }
    reeve_worker_stop(b.worker);
    reeve_event event = { 0 };
    while (event.kind != REEVE_EVENT_STOPPED)
        (void)reeve_worker_poll(&event, 1, b.worker, REEVE_NEVER);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    assert_int_equal(queue_info(&b).done_total, N);
    close_bench(&b);
}

static void no_handler_is_a_failed_run(void **state) {
    (void)state;
    bench b;
    open_bench(&b, false, NULL);
    atomic_int count = 0;
    must(reeve_worker_handle(b.worker, reeve_bytes_of("known"), count_up,
                             &count, NULL),
         NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    while (state_of(&b, id) != REEVE_STATE_RETRY)
        (void)reeve_worker_join(b.worker, 2, NULL);
    reeve_task_list *list = find(&b, id);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    assert_true(reeve__bytes_is(info->history[0].error_message,
                                "no handler for type 't'"));
    reeve_task_list_free(list);
    close_bench(&b);
}

static reeve_rc fail_with_error(reeve_outcome *outcome, reeve_delivery *dlv,
                                void *user, reeve_error *err) {
    (void)outcome;
    (void)dlv;
    (void)user;
    err->code = REEVE_E_NET;
    (void)strcpy(err->message, "partner says 503");
    return err->code;
}

static void a_handlers_error_is_kept_word_for_word(void **state) {
    (void)state;
    bench b;
    open_bench(&b, false, NULL);
    must(reeve_worker_handle(b.worker, (reeve_bytes){ 0 }, fail_with_error,
                             NULL, NULL),
         NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    while (state_of(&b, id) != REEVE_STATE_RETRY)
        (void)reeve_worker_join(b.worker, 2, NULL);
    reeve_task_list *list = find(&b, id);
    const reeve_attempt_info *run = &reeve_task_list_get(list, 0)->history[0];
    assert_true(reeve__bytes_is(run->error_type, "network"));
    assert_true(reeve__bytes_is(run->error_message, "partner says 503"));
    reeve_task_list_free(list);
    close_bench(&b);
}

static void central_weights_reach_a_running_worker(void **state) {
    (void)state;
    bench b;
    reeve_worker_queue queues[] = {
        { .name = reeve_bytes_of("a"), .weight = 1 },
        { .name = reeve_bytes_of("b"), .weight = 1 },
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.queues = queues;
    options.queue_count = 2;
    open_bench(&b, false, &options);
    start(&b);
    must(reeve_inspector_weight(b.inspector, reeve_bytes_of("a"), 7, NULL),
         NULL);
    bool seen = false;
    while (!seen) {
        reeve_worker_list *list = NULL;
        must(reeve_inspector_workers(&list, b.inspector, NULL), NULL);
        seen =
            reeve_worker_list_count(list) == 1 &&
            reeve__bytes_is(reeve_worker_list_get(list, 0)->queues, "a=7,b=1");
        reeve_worker_list_free(list);
        (void)reeve_worker_join(b.worker, 10, NULL);
    }
    close_bench(&b);
}

/* --- identity ------------------------------------------------------------ */

static void beat_as(bench *b, const char *id, const char *host, int64_t pid,
                    int64_t at_ms) {
    reeve__broker *broker = NULL;
    reeve__broker_options options = { .url = b->url };
    must(reeve__broker_open(&broker, b->env, &options, NULL), NULL);
    reeve_worker_info info = {
        .id = reeve_bytes_of(id),
        .host = reeve_bytes_of(host),
        .pid = pid,
        .beat_at_ms = at_ms,
    };
    must(broker->ops->beat(broker, &info, false, NULL), NULL);
    reeve__broker_close(broker);
}

static void an_id_in_use_is_refused(void **state) {
    (void)state;
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.id = "twin";
    open_bench(&b, false, &options);
    int64_t now_at_ms = reeve_env_now_at_ms(b.env);
    beat_as(&b, "twin", "elsewhere", 12, now_at_ms);
    reeve_error err;
    assert_int_equal(reeve_worker_start(b.worker, &err), REEVE_E_STATE);
    assert_non_null(strstr(err.message, "'twin' is in use by process 12 on "
                                        "elsewhere"));
    close_bench(&b);
}

static void the_id_of_a_dead_process_is_free(void **state) {
    (void)state;
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.id = "twin";
    open_bench(&b, false, &options);
    pid_t child = fork(); /* a process id that nobody has */
    if (child == 0)
        _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    beat_as(&b, "twin", host, child, reeve_env_now_at_ms(b.env));
    start(&b);
    close_bench(&b);
}

static void the_id_of_a_silent_worker_is_free(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    beat_as(&b, "twin", "elsewhere", 12, START_AT_MS);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b.url;
    options.id = "twin";
    reeve_worker *twin = NULL;
    must(reeve_worker_new(&twin, b.env, &options, NULL), NULL);
    must(reeve_env_advance(b.env, 6000, NULL), NULL);
    must(reeve_worker_start(twin, NULL), NULL);
    reeve_worker_free(twin);
    close_bench(&b);
}

static void a_reclaimed_worker_leaves_the_list(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    beat_as(&b, "gone", "elsewhere", 12, START_AT_MS);
    size_t count = 1;
    must(reeve_inspector_reclaim_worker(&count, b.inspector,
                                        reeve_bytes_of("gone"), NULL),
         NULL);
    assert_int_equal(count, 0);
    reeve_worker_list *list = NULL;
    must(reeve_inspector_workers(&list, b.inspector, NULL), NULL);
    assert_int_equal(reeve_worker_list_count(list), 0);
    reeve_worker_list_free(list);
    close_bench(&b);
}

/* --- bad input ----------------------------------------------------------- */

static void bad_options_name_thing_value_and_bound(void **state) {
    (void)state;
    struct {
        const char *want;
        reeve_worker_options options;
    } cases[] = {
        { "concurrency -3 is outside 1..10000", REEVE_WORKER_OPTIONS_INIT },
        { "lease_ms 5 is outside 100..86400000", REEVE_WORKER_OPTIONS_INIT },
        { "order 9 is outside 0..1", REEVE_WORKER_OPTIONS_INIT },
        { "settle_count 5000 is outside 1..1024", REEVE_WORKER_OPTIONS_INIT },
    };
    cases[0].options.concurrency = -3;
    cases[1].options.lease_ms = 5;
    cases[2].options.order = 9;
    cases[3].options.settle_count = 5000;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reeve_error err;
        reeve_worker *worker = NULL;
        cases[i].options.url = "mem://bad";
        assert_int_equal(
            reeve_worker_new(&worker, NULL, &cases[i].options, &err),
            REEVE_E_INVALID);
        assert_null(worker);
        assert_string_equal(err.message, cases[i].want);
    }
}

static void queue_lists_are_checked(void **state) {
    (void)state;
    reeve_error err;
    reeve_worker *worker = NULL;
    reeve_worker_queue queues[] = {
        { .name = reeve_bytes_of("a"), .weight = 1 },
        { .name = reeve_bytes_of("a"), .weight = 1 },
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = "mem://bad";
    options.queues = queues;
    options.queue_count = 2;
    assert_int_equal(reeve_worker_new(&worker, NULL, &options, &err),
                     REEVE_E_INVALID);
    assert_string_equal(err.message, "queue 'a' is listed twice");
    queues[1].name = reeve_bytes_of("b c");
    assert_int_equal(reeve_worker_new(&worker, NULL, &options, &err),
                     REEVE_E_INVALID);
    queues[1].name = reeve_bytes_of("b");
    queues[1].weight = 1001;
    assert_int_equal(reeve_worker_new(&worker, NULL, &options, &err),
                     REEVE_E_INVALID);
    assert_non_null(strstr(err.message, "1001"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(done_is_gone_without_retention),
        cmocka_unit_test(result_is_kept_for_its_retention),
        cmocka_unit_test(failure_retries_with_backoff_then_archives),
        cmocka_unit_test(snooze_and_requeue_burn_no_attempt),
        cmocka_unit_test(fatal_archives_at_once_and_can_be_run_again),
        cmocka_unit_test(bad_outcome_is_a_failure_not_a_loss),
        cmocka_unit_test(timeout_frees_the_slot_and_tells_the_handler),
        cmocka_unit_test(past_deadline_is_archived_unstarted),
        cmocka_unit_test(lapsed_lease_is_taken_over_and_fenced),
        cmocka_unit_test(extended_lease_is_kept),
        cmocka_unit_test(own_lease_is_stored_and_lapses),
        cmocka_unit_test(crashing_too_often_is_archived_as_poison),
        cmocka_unit_test(stop_hands_back_what_was_not_started_in_order),
        cmocka_unit_test(second_stop_requeues_what_runs),
        cmocka_unit_test(c_handlers_run_every_task_once),
        cmocka_unit_test(polled_deliveries_from_the_fd),
        cmocka_unit_test(no_handler_is_a_failed_run),
        cmocka_unit_test(a_handlers_error_is_kept_word_for_word),
        cmocka_unit_test(central_weights_reach_a_running_worker),
        cmocka_unit_test(an_id_in_use_is_refused),
        cmocka_unit_test(the_id_of_a_dead_process_is_free),
        cmocka_unit_test(the_id_of_a_silent_worker_is_free),
        cmocka_unit_test(a_reclaimed_worker_leaves_the_list),
        cmocka_unit_test(bad_options_name_thing_value_and_bound),
        cmocka_unit_test(queue_lists_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
