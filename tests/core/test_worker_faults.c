/*
 * The worker against a broker that misbehaves: lost replies, half replies,
 * outages, lost leases, slow turns; and the ends of a worker's life. Most cases
 * drive a manual worker on a virtual clock; where threads are the subject, the
 * clock stands still, so that no timer can hide a missing wake-up: such a case
 * would hang, and the alarm ends it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void must(reeve_rc rc, const reeve_error *err) {
    if (rc)
        fail_msg("%s: %s", reeve_code_slug(rc), err->message);
}

/* A worker that is not started yet, its broker behind b->plan. */
static void open_bench(bench *b, const reeve_worker_options *given) {
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

static void start(bench *b) {
    reeve_error err;
    must(reeve_worker_start(b->worker, &err), &err);
}

static void open_manual(bench *b, int32_t concurrency) {
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.manual = 1;
    options.concurrency = concurrency;
    open_bench(b, &options);
    start(b);
}

static void open_threads(bench *b, int32_t concurrency) {
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.concurrency = concurrency;
    options.settle_delay_ms = REEVE_NEVER;
    open_bench(b, &options);
}

static void close_bench(bench *b) {
    reeve_worker_free(b->worker);
    reeve_inspector_close(b->inspector);
    reeve_client_close(b->client);
    reeve_env_free(b->env);
    fake_plan_dispose(&b->plan);
}

static reeve_enqueue_args plain(void) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    return args;
}

static void put(bench *b, const reeve_enqueue_args *args, const char *id) {
    reeve_error err;
    reeve_enqueue_args copy = *args;
    copy.id = reeve_bytes_of(id);
    must(reeve_client_enqueue(NULL, b->client, &copy, &err), &err);
}

static void put_many(bench *b, const reeve_enqueue_args *args, int count) {
    for (int i = 0; i < count; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "task-%05d", i);
        put(b, args, id);
    }
}

static reeve_rc step(bench *b) {
    return reeve_worker_step(NULL, b->worker, NULL);
}

static void advance(bench *b, int64_t by_ms) {
    must(reeve_env_advance(b->env, by_ms, NULL), NULL);
}

/* Takes the next delivery; NULL when there is none and wait is false. */
static reeve_delivery *take(bench *b, bool wait) {
    reeve_event event;
    while (reeve_worker_poll(&event, 1, b->worker, wait ? REEVE_NEVER : 0)) {
        if (event.kind == REEVE_EVENT_DELIVERY)
            return event.delivery;
        if (event.kind == REEVE_EVENT_STOPPED)
            break;
    }
    return NULL;
}

static void finish(bench *b, reeve_delivery *dlv) {
    reeve_error err;
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    assert_non_null(dlv);
    must(reeve_worker_complete(b->worker, dlv, &outcome, &err), &err);
}

static int finish_all(bench *b) {
    int count = 0;
    for (reeve_delivery *dlv; (dlv = take(b, false)) != NULL; count++)
        finish(b, dlv);
    return count;
}

static int32_t state_and_crashes(bench *b, const char *id, int32_t *crashes) {
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

static reeve_worker_stats stats_of(bench *b) {
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    must(reeve_worker_stats_read(&stats, b->worker, NULL), NULL);
    return stats;
}

/* --- claims whose reply was lost ----------------------------------------- */

static void unseen_claim_goes_back_at_stop(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 5);
    reeve_enqueue_args args = plain();
    put(&b, &args, "a");
    fake_lose_reply(&b.plan, FAKE_TURN, 0);
    fake_fail(&b.plan, FAKE_RECLAIM, REEVE_E_NET, -1);
    (void)step(&b);
    assert_int_equal(state_and_crashes(&b, "a", NULL), REEVE_STATE_ACTIVE);
    fake_release(&b.plan, FAKE_RECLAIM);
    reeve_worker_stop(b.worker);
    (void)step(&b);
    int32_t crashes = -1;
    assert_int_equal(state_and_crashes(&b, "a", &crashes), REEVE_STATE_PENDING);
    assert_int_equal(crashes, 0);
    close_bench(&b);
}

static void unseen_claim_goes_back_while_quiet(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 5);
    reeve_enqueue_args args = plain();
    put(&b, &args, "a");
    fake_lose_reply(&b.plan, FAKE_TURN, 0);
    fake_fail(&b.plan, FAKE_RECLAIM, REEVE_E_NET, -1);
    (void)step(&b);
    fake_release(&b.plan, FAKE_RECLAIM);
    reeve_worker_quiet(b.worker, true);
    assert_int_equal(step(&b), 0);
    assert_int_equal(state_and_crashes(&b, "a", NULL), REEVE_STATE_PENDING);
    close_bench(&b);
}

static void unseen_claims_go_back_before_the_next(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 5);
    reeve_enqueue_args args = plain();
    put_many(&b, &args, 10);
    for (int i = 0; i < 5; i++) {
        fake_lose_reply(&b.plan, FAKE_TURN, 0);
        (void)step(&b);
    }
    reeve_error err;
    reeve_queue_list *list = NULL;
    must(reeve_inspector_queues(&list, b.inspector, &err), &err);
    assert_true(reeve_queue_list_get(list, 0)->active <= 5);
    reeve_queue_list_free(list);
    int count = 0;
    while (step(&b) == 0 && stats_of(&b).done < 10)
        count += finish_all(&b);
    assert_int_equal(count, 10);
    close_bench(&b);
}

static void half_seen_claim_keeps_its_lease(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 3);
    reeve_enqueue_args args = plain();
    put_many(&b, &args, 3);
    fake_lose_reply(&b.plan, FAKE_TURN, 1);
    fake_fail(&b.plan, FAKE_RECLAIM, REEVE_E_BUSY, -1);
    (void)step(&b);
    assert_int_equal(finish_all(&b), 1);
    (void)step(&b);
    /* The other two are still leased under that token. */
    assert_int_equal(b.plan.last_count, 0);
    fake_release(&b.plan, FAKE_RECLAIM);
    int count = 0;
    while (step(&b) == 0 && stats_of(&b).done < 3)
        count += finish_all(&b);
    assert_int_equal(count, 2);
    close_bench(&b);
}

/* --- verdicts whose reply was lost ---------------------------------------- */

static void resent_verdict_counts_once(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 5);
    reeve_enqueue_args args = plain();
    put(&b, &args, "a");
    assert_int_equal(step(&b), 0);
    assert_int_equal(finish_all(&b), 1);
    fake_lose_reply(&b.plan, FAKE_TURN, SIZE_MAX);
    assert_int_equal(step(&b), 0);
    reeve_worker_stats stats = stats_of(&b);
    assert_int_equal(stats.done, 1);
    assert_int_equal(stats.lease_lost, 0);
    close_bench(&b);
}

/* Turns fail for longer than the lease, and the ticker is heard first. */
static void own_verdicts_are_not_taken_over(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 5);
    reeve_enqueue_args args = plain();
    put(&b, &args, "a");
    put(&b, &args, "b");
    assert_int_equal(step(&b), 0);
    reeve_delivery *running = take(&b, false);
    finish(&b, take(&b, false));
    fake_fail(&b.plan, FAKE_TURN, REEVE_E_NET, 1);
    fake_fail(&b.plan, FAKE_EXTEND, REEVE_E_NET, 1);
    advance(&b, 31000);
    (void)step(&b);
    assert_int_equal(stats_of(&b).reclaimed, 0);
    finish(&b, running);
    while (stats_of(&b).done < 2)
        assert_int_equal(step(&b), 0);
    assert_int_equal(stats_of(&b).claimed, 2);
    assert_int_equal(stats_of(&b).lease_lost, 0);
    close_bench(&b);
}

static void more_verdicts_than_one_turn_carries(void **state) {
    (void)state;
    enum {
        COUNT = 2 * REEVE__SEND_MAX + 100
    };
    bench b;
    open_manual(&b, COUNT);
    reeve_enqueue_args args = plain();
    put_many(&b, &args, COUNT);
    assert_int_equal(step(&b), 0);
    assert_int_equal(finish_all(&b), COUNT);
    fake_lose_reply(&b.plan, FAKE_TURN, SIZE_MAX);
    (void)step(&b);
    while (stats_of(&b).done < COUNT)
        assert_int_equal(step(&b), 0);
    assert_int_equal(stats_of(&b).done, COUNT);
    assert_int_equal(stats_of(&b).lease_lost, 0);
    close_bench(&b);
}

static void broker_that_is_back_is_used_at_once(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 5);
    reeve_enqueue_args args = plain();
    put(&b, &args, "a");
    fake_fail(&b.plan, FAKE_TURN, REEVE_E_NET, -1);
    assert_int_equal(step(&b), REEVE_E_NET);
    fake_release(&b.plan, FAKE_TURN);
    assert_int_equal(step(&b), 0); /* the clock has not moved */
    assert_int_equal(finish_all(&b), 1);
    close_bench(&b);
}

/* --- outages --------------------------------------------------------------- */

static void outage_is_met_once_a_round_not_once_a_queue(void **state) {
    (void)state;
    bench b;
    reeve_worker_queue queues[3] = {
        { .name = reeve_bytes_of("a") },
        { .name = reeve_bytes_of("b") },
        { .name = reeve_bytes_of("c") },
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.manual = 1;
    options.queues = queues;
    options.queue_count = 3;
    open_bench(&b, &options);
    start(&b);
    static const int verbs[] = { FAKE_PROMOTE, FAKE_RECLAIM, FAKE_SWEEP,
                                 FAKE_BEAT };
    for (size_t i = 0; i < 4; i++)
        fake_fail(&b.plan, verbs[i], REEVE_E_NET, -1);
    (void)step(&b);
    int calls = 0;
    for (size_t i = 0; i < 4; i++)
        calls += fake_calls(&b.plan, verbs[i]);
    assert_int_equal(calls, 1);
    for (size_t i = 0; i < 4; i++)
        fake_release(&b.plan, verbs[i]);
    advance(&b, 1000);
    assert_int_equal(step(&b), 0);
    for (size_t i = 0; i < 3; i++)
        assert_true(fake_calls(&b.plan, verbs[i]) >= 3);
    close_bench(&b);
}

/* One queue's trouble is not the others'. */
static void refused_queue_does_not_hold_up_others(void **state) {
    (void)state;
    bench b;
    reeve_worker_queue queues[2] = {
        { .name = reeve_bytes_of("a") },
        { .name = reeve_bytes_of("b") },
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.manual = 1;
    options.queues = queues;
    options.queue_count = 2;
    open_bench(&b, &options);
    start(&b);
    fake_fail(&b.plan, FAKE_PROMOTE, REEVE_E_SERVER, 1);
    assert_int_equal(step(&b), 0);
    assert_int_equal(fake_calls(&b.plan, FAKE_PROMOTE), 2);
    assert_int_equal(fake_calls(&b.plan, FAKE_RECLAIM), 2);
    close_bench(&b);
}

static void failed_turn_takes_its_time_once(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 1);
    fake_fail(&b.plan, FAKE_TURN, REEVE_E_NET, -1);
    fake_fail(&b.plan, FAKE_PROMOTE, REEVE_E_NET, -1);
    assert_int_equal(step(&b), REEVE_E_NET);
    assert_int_equal(fake_calls(&b.plan, FAKE_NOW), 0);
    close_bench(&b);
}

static void flood_of_due_tasks_leaves_time_for_leases(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 1);
    reeve_enqueue_args args = plain();
    args.delay_ms = 1000;
    put_many(&b, &args, 1200);
    advance(&b, 1000);
    assert_int_equal(step(&b), 0);
    assert_int_equal(fake_calls(&b.plan, FAKE_PROMOTE), 1);
    assert_int_equal(step(&b), 0);
    assert_int_equal(step(&b), 0);
    reeve_error err;
    reeve_queue_list *list = NULL;
    must(reeve_inspector_queues(&list, b.inspector, &err), &err);
    assert_int_equal(reeve_queue_list_get(list, 0)->scheduled, 0);
    reeve_queue_list_free(list);
    close_bench(&b);
}

/* --- time ------------------------------------------------------------------ */

static void deadline_is_a_deadline_by_any_clock(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 5);
    reeve_enqueue_args args = plain();
    args.deadline_at_ms = START_AT_MS + 1000;
    put(&b, &args, "a");
    assert_int_equal(step(&b), 0);
    reeve_delivery *dlv = take(&b, false);
    atomic_store(&b.plan.clock_lag_ms, 2); /* replies round differently */
    advance(&b, 1000);
    (void)step(&b);
    assert_int_equal(step(&b), 0);
    assert_int_equal(reeve_delivery_cancel_reason(dlv), REEVE_CANCEL_DEADLINE);
    finish(&b, dlv);
    reeve_error err;
    reeve_task_list *list = NULL;
    must(reeve_inspector_find(&list, b.inspector, reeve_bytes_of("default"),
                              reeve_bytes_of("a"), &err),
         &err);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    assert_int_equal(info->state, REEVE_STATE_ARCHIVED);
    assert_int_equal(info->attempts, 0);
    reeve_task_list_free(list);
    close_bench(&b);
}

static void longest_spans_saturate(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 5);
    reeve_enqueue_args args = plain();
    args.timeout_ms = REEVE_SPAN_MS_MAX;
    args.deadline_at_ms = INT64_MAX;
    args.lease_ms = REEVE_SPAN_MS_MAX;
    reeve_error err = { 0 };
    args.id = reeve_bytes_of("a");
    reeve_rc rc = reeve_client_enqueue(NULL, b.client, &args, &err);
    if (rc) { /* bounded at the door is as good */
        assert_int_equal(reeve_code_class(rc), REEVE_CLASS_BUG);
    } else {
        assert_int_equal(step(&b), 0);
        advance(&b, REEVE_SPAN_MS_MAX / 2);
        assert_int_equal(step(&b), 0);
        assert_int_equal(finish_all(&b), 1);
        assert_int_equal(step(&b), 0);
        assert_int_equal(stats_of(&b).done, 1);
    }
    close_bench(&b);
}

/* A snooze is no failure. */
static void beat_counts_failed_runs_only(void **state) {
    (void)state;
    static const int32_t kinds[] = { REEVE_OUTCOME_SNOOZE, REEVE_OUTCOME_RETRY,
                                     REEVE_OUTCOME_FATAL };
    bench b;
    open_manual(&b, 3);
    reeve_enqueue_args args = plain();
    put_many(&b, &args, 3);
    assert_int_equal(step(&b), 0);
    for (size_t i = 0; i < 3; i++) {
        reeve_outcome outcome = REEVE_OUTCOME_INIT;
        outcome.kind = kinds[i];
        outcome.delay_ms = kinds[i] == REEVE_OUTCOME_FATAL ? 0 : 600000;
        must(reeve_worker_complete(b.worker, take(&b, false), &outcome, NULL),
             NULL);
    }
    assert_int_equal(step(&b), 0);
    advance(&b, 10000);
    assert_int_equal(step(&b), 0);
    reeve_worker_list *list = NULL;
    must(reeve_inspector_workers(&list, b.inspector, NULL), NULL);
    assert_int_equal(reeve_worker_list_get(list, 0)->failed, 2);
    reeve_worker_list_free(list);
    close_bench(&b);
}

static void handler_that_ignores_a_lost_lease_is_stuck(void **state) {
    (void)state;
    bench b;
    open_manual(&b, 1);
    reeve_enqueue_args args = plain();
    put(&b, &args, "a");
    assert_int_equal(step(&b), 0);
    reeve_delivery *dlv = take(&b, false);
    atomic_store(&b.plan.leases_lost, true);
    advance(&b, 10000); /* a third of the lease */
    assert_int_equal(step(&b), 0);
    assert_int_equal(reeve_delivery_cancel_reason(dlv),
                     REEVE_CANCEL_LEASE_LOST);
    assert_int_equal(stats_of(&b).stuck, 0);
    advance(&b, 5000);
    assert_int_equal(step(&b), 0);
    assert_int_equal(stats_of(&b).stuck, 1);
    finish(&b, dlv);
    close_bench(&b);
}

/* --- threads: a wake-up for each change ------------------------------------ */

static void lost_lease_frees_its_slot_at_once(void **state) {
    (void)state;
    bench b;
    open_threads(&b, 1);
    atomic_store(&b.plan.leases_lost, true);
    fake_hold(&b.plan, FAKE_EXTEND);
    reeve_enqueue_args args = plain();
    args.lease_ms = 60000; /* its own: stored right after the claim */
    put(&b, &args, "a");
    args.lease_ms = 0;
    put(&b, &args, "b");
    start(&b);
    reeve_delivery *first = take(&b, true);
    fake_release(&b.plan, FAKE_EXTEND);
    reeve_delivery *second = take(&b, true);
    assert_int_equal(reeve_delivery_cancel_reason(first),
                     REEVE_CANCEL_LEASE_LOST);
    assert_int_equal(stats_of(&b).lease_lost, 1);
    finish(&b, first);
    finish(&b, second);
    close_bench(&b);
}

static void stopped_worker_leaves_the_doorbell(void **state) {
    (void)state;
    bench b;
    open_threads(&b, 1);
    start(&b);
    fake_await(&b.plan, FAKE_WAIT, 1);
    reeve_worker_stop(b.worker);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    assert_int_equal(fake_calls(&b.plan, FAKE_UNWAIT), 1);
    close_bench(&b);
}

static reeve_rc count_run(reeve_outcome *outcome, reeve_delivery *dlv,
                          void *user, reeve_error *err) {
    (void)outcome;
    (void)dlv;
    (void)err;
    reeve__wakefd_ring(user);
    return 0;
}

typedef struct poller {
    bench *b;
    reeve__thread thread;
    reeve__wakefd begins;
    int32_t last_kind;
} poller;

static void poll_to_the_end(void *arg) {
    poller *p = arg;
    reeve_event event = { 0 };
    reeve__wakefd_ring(&p->begins);
    (void)reeve_worker_poll(&event, 1, p->b->worker, REEVE_NEVER);
    p->last_kind = event.kind;
}

/* Who waits for the STOPPED event must not swallow an executor's wake-up. */
static void pollers_take_no_executors_wakeup(void **state) {
    (void)state;
    enum {
        POLLERS = 8,
        TASKS = 4
    };
    bench b;
    reeve__wakefd ran;
    must(reeve__wakefd_open(&ran, NULL), NULL);
    open_threads(&b, 1);
    must(reeve_worker_handle(b.worker, (reeve_bytes){ 0 }, count_run, &ran,
                             NULL),
         NULL);
    poller pollers[POLLERS];
    for (size_t i = 0; i < POLLERS; i++) {
        pollers[i].b = &b;
        must(reeve__wakefd_open(&pollers[i].begins, NULL), NULL);
        must(reeve__thread_start(&pollers[i].thread, "poller", poll_to_the_end,
                                 &pollers[i], NULL),
             NULL);
        (void)reeve__poll_two(NULL, pollers[i].begins.fd, -1, INT64_MAX);
    }
    start(&b);
    reeve_enqueue_args args = plain();
    for (int i = 0; i < TASKS; i++) {
        char id[] = { (char)('a' + i), '\0' };
        fake_await(&b.plan, FAKE_WAIT, i + 1); /* idle */
        put(&b, &args, id);
        (void)reeve__poll_two(NULL, ran.fd, -1, INT64_MAX);
        reeve__wakefd_clear(&ran);
    }
    reeve_worker_stop(b.worker);
    for (size_t i = 0; i < POLLERS; i++) {
        reeve__thread_join(&pollers[i].thread);
        assert_int_equal(pollers[i].last_kind, REEVE_EVENT_STOPPED);
        reeve__wakefd_close(&pollers[i].begins);
    }
    close_bench(&b);
    reeve__wakefd_close(&ran);
}

static void claim_under_way_at_stop_goes_back(void **state) {
    (void)state;
    bench b;
    open_threads(&b, 3);
    reeve_enqueue_args args = plain();
    put_many(&b, &args, 3);
    fake_hold(&b.plan, FAKE_TURN);
    start(&b);
    fake_await(&b.plan, FAKE_TURN, 1);
    reeve_worker_stop(b.worker);
    reeve_worker_stop(b.worker);
    fake_release(&b.plan, FAKE_TURN);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    assert_int_equal(state_and_crashes(&b, "task-00000", NULL),
                     REEVE_STATE_PENDING);
    assert_int_equal(state_and_crashes(&b, "task-00002", NULL),
                     REEVE_STATE_PENDING);
    assert_int_equal(stats_of(&b).requeued, 3);
    close_bench(&b);
}

/* A verdict on the wire is not made twice by a timeout. */
static void timeout_leaves_a_sent_verdict_alone(void **state) {
    (void)state;
    bench b;
    open_threads(&b, 1);
    reeve_enqueue_args args = plain();
    args.timeout_ms = 1000;
    put(&b, &args, "a");
    start(&b);
    reeve_delivery *dlv = take(&b, true);
    fake_await(&b.plan, FAKE_PROMOTE, 1);
    fake_hold(&b.plan, FAKE_TURN);
    int turns = fake_calls(&b.plan, FAKE_TURN);
    finish(&b, dlv);
    fake_await(&b.plan, FAKE_TURN, turns + 1);
    int promotes = fake_calls(&b.plan, FAKE_PROMOTE);
    advance(&b, 2000);
    fake_await(&b.plan, FAKE_PROMOTE, promotes + 1);
    fake_release(&b.plan, FAKE_TURN);
    reeve_worker_stop(b.worker);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    assert_int_equal(stats_of(&b).done, 1);
    assert_int_equal(stats_of(&b).retried, 0);
    assert_int_equal(state_and_crashes(&b, "a", NULL), REEVE_STATE_NONE);
    close_bench(&b);
}

/* --- the ends of a life ---------------------------------------------------- */

static void worker_that_never_started_is_freed(void **state) {
    (void)state;
    bench b;
    open_threads(&b, 1);
    close_bench(&b);
    open_threads(&b, 1);
    reeve_worker_stop(b.worker);
    close_bench(&b);
}

static void stop_before_start_stops_at_once(void **state) {
    (void)state;
    bench b;
    open_threads(&b, 1);
    reeve_enqueue_args args = plain();
    put(&b, &args, "a");
    reeve_worker_stop(b.worker);
    start(&b);
    assert_null(take(&b, true));
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    assert_int_equal(state_and_crashes(&b, "a", NULL), REEVE_STATE_PENDING);
    close_bench(&b);
}

static void forked_child_frees_and_refuses(void **state) {
    (void)state;
    bench b;
    open_threads(&b, 2);
    reeve_enqueue_args args = plain();
    put_many(&b, &args, 3);
    start(&b);
    reeve_delivery *dlv = take(&b, true);
    pid_t child = fork();
    if (!child) {
        reeve_error err;
        bool good = reeve_worker_join(b.worker, 0, &err) == REEVE_E_FORKED &&
                    reeve_worker_step(NULL, b.worker, &err) == REEVE_E_FORKED &&
                    reeve_worker_start(b.worker, &err) == REEVE_E_FORKED;
        reeve_worker_free(b.worker);
        _exit(good ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    finish(&b, dlv);
    close_bench(&b);
}

static void worker_without_descriptors_closes_none(void **state) {
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int null = open("/dev/null", O_RDONLY);
    assert_true(null >= 0);
    int input = dup(STDIN_FILENO);
    assert_int_equal(dup2(null, STDIN_FILENO), STDIN_FILENO);
    struct rlimit none = { .rlim_cur = 0, .rlim_max = before.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    reeve_worker *worker = NULL;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = "mem://none";
    reeve_rc rc = reeve_worker_new(&worker, NULL, &options, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, REEVE_E_SYSTEM);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
    (void)close(null);
    if (input >= 0) {
        (void)dup2(input, STDIN_FILENO);
        (void)close(input);
    }
}

static void most_queues_share_one_turn(void **state) {
    (void)state;
    enum {
        COUNT = REEVE__WORKER_QUEUES_MAX
    };
    static char names[COUNT][16];
    static reeve_worker_queue queues[COUNT];
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof names[i], "queue-%d", i);
        queues[i] = (reeve_worker_queue){ .name = reeve_bytes_of(names[i]),
                                          .weight = 1 + i % 1000 };
    }
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.manual = 1;
    options.queues = queues;
    options.queue_count = COUNT;
    options.concurrency = 10000;
    open_bench(&b, &options);
    start(&b);
    for (int i = 0; i < COUNT; i++) {
        reeve_enqueue_args args = plain();
        args.queue = reeve_bytes_of(names[i]);
        put_many(&b, &args, 2);
    }
    int count = 0;
    for (int i = 0; i < 10 && stats_of(&b).done < 2 * COUNT; i++) {
        assert_int_equal(step(&b), 0);
        count += finish_all(&b);
    }
    assert_int_equal(count, 2 * COUNT);
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unseen_claim_goes_back_at_stop),
        cmocka_unit_test(unseen_claim_goes_back_while_quiet),
        cmocka_unit_test(unseen_claims_go_back_before_the_next),
        cmocka_unit_test(half_seen_claim_keeps_its_lease),
        cmocka_unit_test(resent_verdict_counts_once),
        cmocka_unit_test(own_verdicts_are_not_taken_over),
        cmocka_unit_test(more_verdicts_than_one_turn_carries),
        cmocka_unit_test(broker_that_is_back_is_used_at_once),
        cmocka_unit_test(outage_is_met_once_a_round_not_once_a_queue),
        cmocka_unit_test(refused_queue_does_not_hold_up_others),
        cmocka_unit_test(failed_turn_takes_its_time_once),
        cmocka_unit_test(beat_counts_failed_runs_only),
        cmocka_unit_test(handler_that_ignores_a_lost_lease_is_stuck),
        cmocka_unit_test(flood_of_due_tasks_leaves_time_for_leases),
        cmocka_unit_test(deadline_is_a_deadline_by_any_clock),
        cmocka_unit_test(longest_spans_saturate),
        cmocka_unit_test(lost_lease_frees_its_slot_at_once),
        cmocka_unit_test(stopped_worker_leaves_the_doorbell),
        cmocka_unit_test(pollers_take_no_executors_wakeup),
        cmocka_unit_test(claim_under_way_at_stop_goes_back),
        cmocka_unit_test(timeout_leaves_a_sent_verdict_alone),
        cmocka_unit_test(worker_that_never_started_is_freed),
        cmocka_unit_test(stop_before_start_stops_at_once),
        cmocka_unit_test(forked_child_frees_and_refuses),
        cmocka_unit_test(worker_without_descriptors_closes_none),
        cmocka_unit_test(most_queues_share_one_turn),
    };
    (void)alarm(HANG_SECONDS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
