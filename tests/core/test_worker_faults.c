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
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <reeve.h>

#include "core/fault_bench.h"

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
    /* One that answers and refuses is left alone longer and longer. */
    fake_fail(&b.plan, FAKE_TURN, REEVE_E_UNSAFE, -1);
    for (int32_t i = 0, last = 0; i < 3; i++) {
        (void)step(&b);
        assert_true(b.worker->failures_in_row > last);
        last = b.worker->failures_in_row;
    }
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

static void open_two(bench *b, bool manual, int32_t concurrency) {
    reeve_worker_queue queues[2] = {
        { .name = reeve_bytes_of("bad") },
        { .name = reeve_bytes_of("good") },
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.manual = manual;
    options.concurrency = concurrency;
    options.settle_delay_ms = REEVE_NEVER;
    options.queues = queues;
    options.queue_count = 2;
    open_bench(b, &options);
    start(b);
}

static void put_in(bench *b, const char *queue, const char *id) {
    reeve_enqueue_args args = plain();
    args.queue = reeve_bytes_of(queue);
    put(b, &args, id);
}

static void wait_done(bench *b, int count) {
    while (stats_of(b).done < count)
        (void)sched_yield();
}

/* A worker with threads whose first verdict queue bad refuses. */
static void open_refused(bench *b) {
    open_two(b, false, 2);
    put_in(b, "bad", "a");
    reeve_delivery *dlv = take(b, true);
    atomic_store(&b->plan.refused, "bad");
    finish(b, dlv);
}

/* Its verdict waits and is stored once; what it has is claimed when it is well
 * again. */
static void refused_turn_is_its_queues_alone(void **state) {
    (void)state;
    bench b;
    open_two(&b, true, 5);
    put_in(&b, "bad", "a");
    assert_int_equal(step(&b), 0);
    reeve_delivery *dlv = take(&b, false);
    atomic_store(&b.plan.refused, "bad");
    finish(&b, dlv);
    put_in(&b, "bad", "b");
    for (int i = 0; i < 3; i++) {
        put_in(&b, "good", i ? "d" : "c");
        assert_int_equal(step(&b), REEVE_E_SERVER);
        assert_int_equal(finish_all(&b), 1);
        assert_int_equal(step(&b), REEVE_E_SERVER);
        assert_int_equal(stats_of(&b).done, i + 1);
    }
    assert_int_equal(b.worker->refused.count, 1);
    atomic_store(&b.plan.refused, NULL);
    assert_int_equal(step(&b), 0);
    assert_int_equal(finish_all(&b), 1);
    assert_int_equal(step(&b), 0);
    assert_int_equal(stats_of(&b).done, 5);
    assert_int_equal(stats_of(&b).lease_lost, 0);
    assert_int_equal(b.worker->unwell_count, 0);
    assert_int_equal(b.worker->refused.count, 0);
    close_bench(&b);
}

/* The clock stands still: the good one waits for no rest. Then it moves, and the
 * bad one is asked again. */
static void refused_queue_rests_while_others_run(void **state) {
    (void)state;
    bench b;
    open_refused(&b);
    for (int i = 0; i < 50; i++) {
        put_in(&b, "good", "c");
        finish(&b, take(&b, true));
        wait_done(&b, i + 1);
    }
    atomic_store(&b.plan.refused, NULL);
    put_in(&b, "bad", "b");
    reeve_event event;
    while (!reeve_worker_poll(&event, 1, b.worker, 0))
        advance(&b, 100);
    finish(&b, event.delivery);
    while (stats_of(&b).done < 52)
        advance(&b, 100);
    assert_int_equal(stats_of(&b).lease_lost, 0);
    close_bench(&b);
}

/* Its bell would ring at once, or for nobody. */
static void refused_queue_is_not_waited_for(void **state) {
    (void)state;
    bench b;
    open_two(&b, false, 2);
    atomic_store(&b.plan.refused, "bad");
    put_in(&b, "bad", "a");
    put_in(&b, "good", "b");
    finish(&b, take(&b, true));
    wait_done(&b, 1);
    int waits = fake_calls(&b.plan, FAKE_WAIT);
    int refused = atomic_load(&b.plan.refused_waits);
    put_in(&b, "good", "c");
    finish(&b, take(&b, true));
    wait_done(&b, 2);
    fake_await(&b.plan, FAKE_WAIT, waits + 1);
    assert_int_equal(atomic_load(&b.plan.refused_waits), refused);
    reeve_worker_stop(b.worker);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL); /* at once */
    close_bench(&b);
}

/* What it still gives out could not be settled either. */
static void queue_that_refuses_verdicts_is_not_claimed_from(void **state) {
    (void)state;
    bench b;
    open_two(&b, true, 5);
    reeve_enqueue_args args = plain();
    args.queue = reeve_bytes_of("bad");
    put_many(&b, &args, 200);
    assert_int_equal(step(&b), 0);
    atomic_store(&b.plan.only_verdicts, true);
    atomic_store(&b.plan.refused, "bad");
    (void)finish_all(&b);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(step(&b), REEVE_E_SERVER);
        (void)finish_all(&b);
    }
    int64_t claimed = stats_of(&b).claimed;
    for (int i = 0; i < 10; i++)
        assert_int_equal(step(&b), REEVE_E_SERVER);
    assert_int_equal(stats_of(&b).claimed, claimed);
    assert_true(claimed < 200);
    assert_int_equal(stats_of(&b).done, 0);
    atomic_store(&b.plan.refused, NULL);
    while (stats_of(&b).done < 200) {
        assert_int_equal(step(&b), 0);
        (void)finish_all(&b);
    }
    assert_int_equal(stats_of(&b).claimed, 200);
    assert_int_equal(stats_of(&b).lease_lost, 0);
    assert_int_equal(b.worker->refused.count, 0);
    close_bench(&b);
}

/* The second of one token comes while the first rests: it goes behind it, or it
 * would end the lease that the first is held by. */
static void verdict_goes_behind_those_that_rest(void **state) {
    (void)state;
    bench b;
    open_two(&b, false, 4);
    fake_hold(&b.plan, FAKE_TURN);
    put_in(&b, "bad", "a");
    put_in(&b, "bad", "b");
    fake_release(&b.plan, FAKE_TURN);
    reeve_delivery *first = take(&b, true);
    reeve_delivery *second = take(&b, true);
    bool together = first->token == second->token;
    atomic_store(&b.plan.refused, "bad");
    finish(&b, first);
    put_in(&b, "good", "c"); /* its turns tell that time has passed */
    finish(&b, take(&b, true));
    wait_done(&b, 1);
    int ended = b.plan.last_count;
    atomic_store(&b.plan.refused, NULL); /* mended; it rests nevertheless */
    finish(&b, second);
    put_in(&b, "good", "d");
    finish(&b, take(&b, true));
    wait_done(&b, 2);
    assert_int_equal(stats_of(&b).done, 2);
    while (stats_of(&b).done < 4)
        advance(&b, 100);
    assert_int_equal(stats_of(&b).lease_lost, 0);
    assert_int_equal(b.plan.last_count - ended, together ? 2 : 3);
    close_bench(&b);
}

static void step_tells_of_refusals_of_its_own(void **state) {
    (void)state;
    bench b;
    open_two(&b, true, 1);
    put_in(&b, "good", "a");
    atomic_store(&b.plan.refused, "bad");
    assert_int_equal(step(&b), REEVE_E_SERVER);
    reeve_delivery *dlv = take(&b, false);
    atomic_store(&b.plan.refused, NULL);
    assert_int_equal(step(&b), 0); /* the slot is taken: nobody was asked */
    finish(&b, dlv);
    put_in(&b, "bad", "b");
    assert_int_equal(step(&b), 0); /* the clock has not moved */
    assert_int_equal(finish_all(&b), 1);
    close_bench(&b);
}

/* What a refused queue is given back is waited for by nobody. */
static void refused_return_blocks_nothing(void **state) {
    (void)state;
    bench b;
    open_two(&b, true, 2);
    put_in(&b, "bad", "a");
    assert_int_equal(step(&b), 0);
    reeve__lock(&b.worker->mutex);
    reeve__held_return(b.worker, 1);
    assert_int_equal(b.worker->returning_count, 1);
    reeve__worker_unlock(b.worker);
    atomic_store(&b.plan.refused, "bad");
    assert_int_equal(step(&b), REEVE_E_SERVER);
    assert_int_equal(b.worker->refused.count, 1);
    assert_int_equal(b.worker->returning_count, 0);
    atomic_store(&b.plan.refused, NULL);
    assert_int_equal(step(&b), 0);
    assert_int_equal(finish_all(&b), 1);
    assert_int_equal(step(&b), 0);
    assert_int_equal(stats_of(&b).done, 1);
    assert_int_equal(stats_of(&b).requeued, 1);
    assert_int_equal(b.worker->returning_count, 0);
    close_bench(&b);
}

/* A stop does not wait for ever for a queue that nobody mends. */
static void refused_verdict_does_not_hold_the_stop(void **state) {
    (void)state;
    bench b;
    open_refused(&b);
    reeve_worker_stop(b.worker);
    while (reeve_worker_join(b.worker, 0, NULL))
        advance(&b, 1000);
    assert_int_equal(stats_of(&b).done, 0);
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
        cmocka_unit_test(refused_turn_is_its_queues_alone),
        cmocka_unit_test(refused_queue_rests_while_others_run),
        cmocka_unit_test(refused_queue_is_not_waited_for),
        cmocka_unit_test(queue_that_refuses_verdicts_is_not_claimed_from),
        cmocka_unit_test(verdict_goes_behind_those_that_rest),
        cmocka_unit_test(step_tells_of_refusals_of_its_own),
        cmocka_unit_test(refused_return_blocks_nothing),
        cmocka_unit_test(refused_verdict_does_not_hold_the_stop),
        cmocka_unit_test(failed_turn_takes_its_time_once),
        cmocka_unit_test(beat_counts_failed_runs_only),
        cmocka_unit_test(handler_that_ignores_a_lost_lease_is_stuck),
        cmocka_unit_test(flood_of_due_tasks_leaves_time_for_leases),
        cmocka_unit_test(deadline_is_a_deadline_by_any_clock),
        cmocka_unit_test(longest_spans_saturate),
    };
    (void)alarm(HANG_SECONDS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
