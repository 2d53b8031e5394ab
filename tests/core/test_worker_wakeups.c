/*
 * The worker's threads against a broker that misbehaves. The clock stands
 * still, so that no timer can hide a missing wake-up: such a case would hang,
 * and the alarm ends it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/fault_bench.h"

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

typedef struct gate {
    reeve__mutex mutex;
    reeve__cond opens;
    int inside;
    int wanted;
    reeve__wakefd full;
} gate;

/* Comes back when as many handlers are inside as the gate wants. */
static reeve_rc run_through(reeve_outcome *outcome, reeve_delivery *dlv,
                            void *user, reeve_error *err) {
    (void)outcome;
    (void)dlv;
    (void)err;
    gate *g = user;
    reeve__lock(&g->mutex);
    if (++g->inside == g->wanted) {
        reeve__broadcast(&g->opens);
        reeve__wakefd_ring(&g->full);
    }
    while (g->inside < g->wanted)
        reeve__wait(&g->opens, &g->mutex);
    reeve__unlock(&g->mutex);
    return 0;
}

/* One executor is woken at a time, by the one before it: handlers that block
 * must not keep the rest from work. */
static void fill_every_slot(bool together) {
    enum {
        SLOTS = 16
    };
    gate g = { .wanted = SLOTS };
    must(reeve__mutex_init(&g.mutex, NULL), NULL);
    must(reeve__cond_init(&g.opens, NULL), NULL);
    must(reeve__wakefd_open(&g.full, NULL), NULL);
    bench b;
    open_threads(&b, SLOTS);
    must(reeve_worker_handle(b.worker, (reeve_bytes){ 0 }, run_through, &g,
                             NULL),
         NULL);
    reeve_enqueue_args args = plain();
    start(&b);
    fake_await(&b.plan, FAKE_WAIT, 1); /* every executor sleeps or will */
    if (together)
        put_many(&b, &args, SLOTS);
    for (int i = 0; i < SLOTS && !together; i++) {
        char id[] = { (char)('a' + i), '\0' };
        put(&b, &args, id);
    }
    (void)reeve__poll_two(NULL, g.full.fd, -1, INT64_MAX);
    reeve_worker_stop(b.worker);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    assert_int_equal(stats_of(&b).done, SLOTS);
    close_bench(&b);
    reeve__wakefd_close(&g.full);
    reeve__cond_dispose(&g.opens);
    reeve__mutex_dispose(&g.mutex);
}

static void one_batch_fills_every_slot(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++)
        fill_every_slot(true);
}

static void single_tasks_fill_every_slot(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++)
        fill_every_slot(false);
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
        cmocka_unit_test(lost_lease_frees_its_slot_at_once),
        cmocka_unit_test(stopped_worker_leaves_the_doorbell),
        cmocka_unit_test(pollers_take_no_executors_wakeup),
        cmocka_unit_test(one_batch_fills_every_slot),
        cmocka_unit_test(single_tasks_fill_every_slot),
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
