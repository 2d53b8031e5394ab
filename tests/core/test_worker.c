/*
 * The worker runtime over the mem broker, on a virtual clock: every outcome,
 * timeouts, leases, stopping.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "core/worker_bench.h"

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
    args.deadline_at_ms = START_AT_MS + 5001;
    args.delay_ms = 5000;
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, args, id);
    must(reeve_env_advance(b.env, 5001, NULL), NULL);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
