/*
 * The face for languages under misuse and under load: what is completed twice
 * or on the wrong worker, and many pollers of a worker that is stopped.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/worker_bench.h"

static void complete_on_another_worker_is_refused(void **state) {
    (void)state;
    bench b;
    reeve_error err;
    open_bench(&b, true, NULL);
    start(&b);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b.url;
    options.manual = 1;
    reeve_worker *other = NULL;
    must(reeve_worker_new(&other, b.env, &options, &err), &err);
    must(reeve_worker_start(other, &err), &err);
    put(&b, plain(), NULL);
    put(&b, plain(), NULL);
    step(&b);
    reeve_outcome outcome = outcome_of(REEVE_OUTCOME_DONE);
    reeve_completion items[] = { { next_delivery(&b), &outcome },
                                 { next_delivery(&b), &outcome } };
    must_fail(reeve_worker_complete_many(other, items, 2, &err), REEVE_E_USAGE,
              &err, "delivery 0|another worker");
    must(reeve_worker_complete_many(b.worker, items, 2, &err), &err);
    step(&b);
    assert_int_equal(queue_info(&b).done_total, 2);
    reeve_worker_free(other);
    close_bench(&b);
}

/* Nothing settles until the next step: both times the delivery is known. */
static void a_second_complete_is_refused(void **state) {
    (void)state;
    bench b;
    reeve_error err;
    char id[REEVE_ID_BYTES_MAX + 1];
    open_bench(&b, true, NULL);
    start(&b);
    put(&b, plain(), id);
    step(&b);
    reeve_outcome done = outcome_of(REEVE_OUTCOME_DONE);
    reeve_outcome fatal = outcome_of(REEVE_OUTCOME_FATAL);
    reeve_delivery *dlv = next_delivery(&b);
    reeve_completion items[] = { { dlv, &done }, { dlv, &fatal } };
    must_fail(reeve_worker_complete_many(b.worker, items, 2, &err),
              REEVE_E_USAGE, &err, "delivery|completed before");
    must_fail(reeve_worker_complete(b.worker, dlv, &fatal, &err), REEVE_E_USAGE,
              &err, "delivery|completed before");
    step(&b);
    assert_null(find(&b, id));
    assert_int_equal(queue_info(&b).done_total, 1);
    assert_int_equal(queue_info(&b).archived, 0);
    close_bench(&b);
}

#define POLLERS 4
#define TASKS 400
#define STOP_EVERY 40

typedef struct crowd {
    reeve_worker *worker;
    atomic_int seen; /* deliveries, of all rounds */
    atomic_int failed;
} crowd;

/* Until the worker has ended. Who sees each fortieth delivery stops the worker,
 * and every other time at once, with what runs. */
static void *poll_until_stopped(void *ctx) {
    crowd *all = ctx;
    reeve_outcome done = outcome_of(REEVE_OUTCOME_DONE);
    for (bool over = false; !over;) {
        reeve_event events[3];
        size_t count = reeve_worker_poll(events, 3, all->worker, REEVE_NEVER);
        for (size_t i = 0; i < count; i++) {
            over = over || events[i].kind == REEVE_EVENT_STOPPED;
            if (events[i].kind != REEVE_EVENT_DELIVERY)
                continue;
            int seen = atomic_fetch_add(&all->seen, 1) + 1;
            if (seen % STOP_EVERY == 0)
                reeve_worker_stop(all->worker);
            if (seen % (2 * STOP_EVERY) == 0)
                reeve_worker_stop(all->worker);
            if (reeve_worker_complete(all->worker, events[i].delivery, &done,
                                      NULL))
                atomic_fetch_add(&all->failed, 1);
        }
    }
    return NULL;
}

/* Each task is done once and none is lost, however the workers end. */
static void pollers_outlive_stops(void **state) {
    (void)state;
    bench b;
    reeve_error err;
    crowd all = { 0 };
    int rounds = 0;
    open_bench(&b, false, NULL);
    for (int i = 0; i < TASKS; i++)
        put(&b, plain(), NULL);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b.url;
    while (queue_info(&b).done_total < TASKS) {
        pthread_t threads[POLLERS];
        must(reeve_worker_new(&all.worker, b.env, &options, &err), &err);
        must(reeve_worker_start(all.worker, &err), &err);
        for (int i = 0; i < POLLERS; i++)
            assert_int_equal(
                pthread_create(&threads[i], NULL, poll_until_stopped, &all), 0);
        while (reeve_worker_join(all.worker, 5, NULL) == REEVE_E_TIMEOUT &&
               queue_info(&b).done_total < TASKS) {
        }
        reeve_worker_stop(all.worker);
        for (int i = 0; i < POLLERS; i++)
            (void)pthread_join(threads[i], NULL);
        reeve_worker_free(all.worker);
        rounds++;
    }
    assert_int_equal(atomic_load(&all.failed), 0);
    assert_true(atomic_load(&all.seen) >= TASKS);
    assert_in_range(rounds, 2, TASKS);
    reeve_queue_info info = queue_info(&b);
    assert_int_equal(info.done_total, TASKS);
    assert_int_equal(info.pending + info.active + info.archived, 0);
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete_on_another_worker_is_refused),
        cmocka_unit_test(a_second_complete_is_refused),
        cmocka_unit_test(pollers_outlive_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
