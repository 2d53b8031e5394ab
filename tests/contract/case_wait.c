/*
 * Contract: the doorbell of queues and the control channel of workers. Waits
 * end by an event; deadlines are there for what never comes.
 */
#include "base/thread.h"
#include "contract/contract.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#define PATIENCE_MS ((int64_t)60000)

static ptrdiff_t wait_for(reeve__broker *broker, const char *queue,
                          int64_t span_ms) {
    reeve_bytes queues[] = { text("elsewhere"), text(queue) };
    ptrdiff_t index = -2;
    int64_t by_ns = reeve__by_ns(broker->env, span_ms);
    assert_ok(broker->ops->wait(broker, queues, 2, -1, by_ns, &index, err));
    return index;
}

/* A queue that was looked at, with nothing left that rang. */
static void hush(contract *c) {
    do {
        contract_claim(c, 100);
        assert_ok(c->a->ops->unwait(c->a, err));
    } while (c->turn.claimed > 0);
    while (wait_for(c->a, "mail", 0) >= 0) {
        contract_claim(c, 100);
    }
}

static void wait_ends_at_its_time(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    assert_int_equal(wait_for(c->a, "mail", 0), -1);
    assert_int_equal(wait_for(c->a, "mail", 5), -1);
}

static void wait_ends_by_the_wake_fd(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    reeve__wakefd wake;
    assert_ok(reeve__wakefd_open(&wake, err));
    reeve__wakefd_ring(&wake);
    reeve_bytes queue = MAIL;
    ptrdiff_t index = -2;
    int64_t by_ns = reeve__by_ns(NULL, PATIENCE_MS);
    assert_ok(c->a->ops->wait(c->a, &queue, 1, wake.fd, by_ns, &index, err));
    assert_int_equal(index, -1);
    /* Not cleared: it ends the next one as well. */
    assert_ok(c->a->ops->wait(c->a, &queue, 1, wake.fd, by_ns, &index, err));
    assert_int_equal(index, -1);
    /* The wait that was left must not eat the ring of another. */
    assert_ok(c->a->ops->unwait(c->a, err));
    contract_put(c, "t1");
    assert_int_equal(wait_for(c->b, "mail", PATIENCE_MS), 1);
    reeve__wakefd_close(&wake);
}

static void wait_hears_what_came_before_it(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    assert_int_equal(contract_claim(c, 1), 0);
    contract_put(c, "t1");
    assert_int_equal(wait_for(c->a, "mail", PATIENCE_MS), 1);
    assert_int_equal(contract_claim(c, 5), 1);
}

static void wait_hears_an_earlier_due_time(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    hush(c);
    contract_put_later(c, "t1", CONTRACT_LONG_MS);
    assert_int_equal(wait_for(c->a, "mail", PATIENCE_MS), 1);
    assert_int_equal(contract_claim(c, 1), 0);
    int64_t due_at_ms = c->turn.next_due_at_ms;
    hush(c);
    contract_put_later(c, "t2", CONTRACT_LONG_MS / 2);
    assert_int_equal(wait_for(c->a, "mail", PATIENCE_MS), 1);
    assert_int_equal(contract_claim(c, 1), 0);
    assert_true(c->turn.next_due_at_ms < due_at_ms);
}

static void wait_hears_a_promotion(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    contract_put_later(c, "t1", 20);
    hush(c);
    contract_pass(c, 25);
    size_t moved;
    int64_t next_at_ms;
    assert_ok(c->b->ops->promote(c->b, MAIL, 10, &moved, &next_at_ms, err));
    assert_int_equal(moved, 1);
    assert_int_equal(wait_for(c->a, "mail", PATIENCE_MS), 1);
}

static void wait_hears_a_requeue(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    contract_put(c, "t1");
    assert_int_equal(contract_claim(c, 1), 1);
    reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_PENDING);
    while (wait_for(c->a, "mail", 0) >= 0) {
        assert_int_equal(contract_claim_as(c, c->a, "w2", 1, CONTRACT_LONG_MS),
                         0);
    }
    char id[] = "t1";
    settle.id = text(id);
    assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
    assert_int_equal(wait_for(c->a, "mail", PATIENCE_MS), 1);
}

static void wait_hears_an_operator(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    contract_bring(c, "t1", REEVE_STATE_ARCHIVED);
    hush(c);
    reeve__act act = { .action = REEVE_ACTION_RUN,
                       .queue = MAIL,
                       .id = text("t1"),
                       .from_state = REEVE_STATE_ARCHIVED,
                       .priority = 5 };
    assert_ok(c->b->ops->act(c->b, &act, 1, err));
    assert_int_equal(wait_for(c->a, "mail", PATIENCE_MS), 1);
}

static void wait_hears_the_end_of_a_pause(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    assert_ok(c->b->ops->pause(c->b, MAIL, true, err));
    contract_put(c, "t1");
    hush(c);
    assert_ok(c->b->ops->pause(c->b, MAIL, false, err));
    assert_int_equal(wait_for(c->a, "mail", PATIENCE_MS), 1);
}

/* Rung, but about to leave: the ring is for somebody else. */
static void unwait_passes_on_a_ring(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    hush(c);
    contract_put_later(c, "t1", CONTRACT_LONG_MS);
    assert_int_equal(wait_for(c->a, "mail", PATIENCE_MS), 1);
    /* The other one has seen all there is. */
    assert_int_equal(contract_claim_as(c, c->b, "w2", 1, 1000), 0);
    while (wait_for(c->b, "mail", 0) >= 0) {
        assert_int_equal(contract_claim_as(c, c->b, "w2", 1, 1000), 0);
    }
    assert_ok(c->a->ops->unwait(c->a, err));
    assert_int_equal(wait_for(c->b, "mail", PATIENCE_MS), 1);
}

typedef struct waiter {
    reeve__thread thread;
    reeve__broker *broker;
    atomic_size_t *claimed;
    atomic_size_t *waiting; /* found nothing at first */
} waiter;

static reeve_rc count_row(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)row;
    (void)err;
    atomic_fetch_add((atomic_size_t *)ctx, 1);
    return REEVE_OK;
}

/* Waits until it has claimed one task, then claims no more. */
static void claim_one(void *arg) {
    waiter *self = arg;
    reeve__broker *broker = self->broker;
    reeve_bytes queue = MAIL;
    int64_t by_ns = reeve__by_ns(NULL, PATIENCE_MS);
    for (bool first = true; reeve__mono_ns(NULL) < by_ns; first = false) {
        reeve__turn turn = { .queue = queue,
                             .claim_max = 1,
                             .lease_ms = CONTRACT_LONG_MS };
        ptrdiff_t index;
        if (broker->ops->turn(broker, &turn, 1, text("w"), count_row,
                              self->claimed, NULL) < 0 ||
            turn.claimed > 0) {
            return;
        }
        atomic_fetch_add(self->waiting, first);
        if (broker->ops->wait(broker, &queue, 1, -1, by_ns, &index, NULL) < 0) {
            return;
        }
    }
}

/* One ring for a batch: each claim that leaves work passes it on. */
static void bell_is_passed_on_while_work_is_left(void **state) {
    contract *c = *state;
    enum {
        WAITERS = 4
    };
    contract_use_real_clock(c);
    waiter waiters[WAITERS] = { 0 };
    atomic_size_t claimed = 0, waiting = 0;
    for (int i = 0; i < WAITERS; i++) {
        waiters[i].broker = contract_open(c, NULL);
        waiters[i].claimed = &claimed;
        waiters[i].waiting = &waiting;
        assert_ok(reeve__thread_start(&waiters[i].thread, "waiter", claim_one,
                                      &waiters[i], err));
    }
    while (atomic_load(&waiting) < WAITERS) {
        sched_yield();
    }
    reeve__enqueue_item items[WAITERS] = { contract_item("t1"),
                                           contract_item("t2"),
                                           contract_item("t3"),
                                           contract_item("t4") };
    contract_put_items(c, items, WAITERS);
    for (int i = 0; i < WAITERS; i++) {
        reeve__thread_join(&waiters[i].thread);
        reeve__broker_close(waiters[i].broker);
    }
    assert_int_equal(atomic_load(&claimed), WAITERS);
}

/* Handles come and go while another one waits. */
static void bell_outlives_other_handles(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    atomic_size_t claimed = 0, waiting = 0;
    waiter one = { .broker = contract_open(c, NULL),
                   .claimed = &claimed,
                   .waiting = &waiting };
    assert_ok(reeve__thread_start(&one.thread, "waiter", claim_one, &one, err));
    for (int i = 0; i < 20; i++) {
        reeve__broker *other = contract_open(c, NULL);
        assert_int_equal(wait_for(other, "none", 0), -1);
        reeve__broker_close(other);
    }
    contract_put(c, "t1");
    reeve__thread_join(&one.thread);
    reeve__broker_close(one.broker);
    assert_int_equal(atomic_load(&claimed), 1);
}

/* A message other than the WEIGHTS that may come at any time. */
static int32_t watch_for(reeve__broker *broker, const char *worker,
                         int64_t span_ms) {
    int64_t by_ns = reeve__by_ns(broker->env, span_ms);
    int32_t control = REEVE__CONTROL_NONE;
    do {
        assert_ok(
            broker->ops->watch(broker, text(worker), -1, by_ns, &control, err));
    } while (control == REEVE__CONTROL_WEIGHTS);
    return control;
}

static void watch_hears_its_own_and_all(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    reeve__broker *w1 = c->a, *w2 = contract_open(c, NULL);
    assert_int_equal(watch_for(w1, "w1", 0), REEVE__CONTROL_NONE);
    assert_int_equal(watch_for(w2, "w2", 0), REEVE__CONTROL_NONE);
    assert_ok(c->b->ops->tell(c->b, text("w1"), REEVE__CONTROL_QUIET, err));
    assert_int_equal(watch_for(w1, "w1", PATIENCE_MS), REEVE__CONTROL_QUIET);
    assert_int_equal(watch_for(w2, "w2", 5), REEVE__CONTROL_NONE);
    assert_ok(c->b->ops->tell(c->b, text(""), REEVE__CONTROL_RESUME, err));
    assert_int_equal(watch_for(w1, "w1", PATIENCE_MS), REEVE__CONTROL_RESUME);
    assert_int_equal(watch_for(w2, "w2", PATIENCE_MS), REEVE__CONTROL_RESUME);
    /* Nobody there: not an error. */
    assert_ok(c->b->ops->tell(c->b, text("gone"), REEVE__CONTROL_QUIET, err));
    reeve__broker_close(w2);
}

static void watch_hears_of_weights(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    assert_int_equal(watch_for(c->a, "w1", 0), REEVE__CONTROL_NONE);
    assert_ok(c->b->ops->set_weight(c->b, MAIL, 7, err));
    assert_ok(c->b->ops->tell(c->b, text(""), REEVE__CONTROL_WEIGHTS, err));
    int32_t control = REEVE__CONTROL_NONE;
    int64_t by_ns = reeve__by_ns(NULL, PATIENCE_MS);
    assert_ok(c->a->ops->watch(c->a, text("w1"), -1, by_ns, &control, err));
    assert_int_equal(control, REEVE__CONTROL_WEIGHTS);
}

static void watch_ends_by_the_wake_fd(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    reeve__wakefd wake;
    assert_ok(reeve__wakefd_open(&wake, err));
    reeve__wakefd_ring(&wake);
    int32_t control = REEVE__CONTROL_QUIET;
    assert_ok(c->a->ops->watch(c->a, text("w1"), wake.fd,
                               reeve__by_ns(NULL, PATIENCE_MS), &control, err));
    assert_int_equal(control, REEVE__CONTROL_NONE);
    reeve__wakefd_close(&wake);
}

const contract_case contract_wait_cases[] = {
    CONTRACT_CASE(wait_ends_at_its_time),
    CONTRACT_CASE(wait_ends_by_the_wake_fd),
    CONTRACT_CASE(wait_hears_what_came_before_it),
    CONTRACT_CASE(wait_hears_an_earlier_due_time),
    CONTRACT_CASE(wait_hears_a_promotion),
    CONTRACT_CASE(wait_hears_a_requeue),
    CONTRACT_CASE(wait_hears_an_operator),
    CONTRACT_CASE(wait_hears_the_end_of_a_pause),
    CONTRACT_CASE(unwait_passes_on_a_ring),
    CONTRACT_CASE(bell_is_passed_on_while_work_is_left),
    CONTRACT_CASE(bell_outlives_other_handles),
    CONTRACT_CASE(watch_hears_its_own_and_all),
    CONTRACT_CASE(watch_hears_of_weights),
    CONTRACT_CASE(watch_ends_by_the_wake_fd),
    { NULL, NULL },
};
