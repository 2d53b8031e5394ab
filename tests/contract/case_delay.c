/*
 * Contract: due times and promotion.
 */
#include "contract/contract.h"

#include <stdio.h>

static size_t promote(contract *c, size_t max, int64_t *out_next_due_at_ms) {
    size_t moved = 0;
    assert_ok(
        c->b->ops->promote(c->b, MAIL, max, &moved, out_next_due_at_ms, err));
    return moved;
}

static void delay_is_kept_until_due(void **state) {
    contract *c = *state;
    int64_t next_at_ms = -1;
    assert_int_equal(promote(c, 10, &next_at_ms), 0);
    assert_int_equal(next_at_ms, 0);
    contract_put_later(c, "t1", 30);
    contract_put_later(c, "t2", CONTRACT_LONG_MS);
    assert_int_equal(contract_claim(c, 10), 0);
    assert_true(c->turn.next_due_at_ms > 0);
    contract_pass(c, 35);
    assert_int_equal(promote(c, 10, &next_at_ms), 1);
    assert_true(next_at_ms > contract_now(c));
    contract_claim(c, 10);
    contract_assert_ids(c, "t1");
    assert_int_equal(contract_state(c, "t2"), REEVE_STATE_SCHEDULED);
    assert_int_equal(c->seen.rows[0].row.due_at_ms, next_at_ms);
}

static void delay_in_the_past_is_pending(void **state) {
    contract *c = *state;
    reeve__enqueue_item items[] = { contract_item("t1"), contract_item("t2") };
    items[0].due_at_ms = 1;
    items[0].delay_ms = CONTRACT_LONG_MS; /* due_at_ms goes first */
    items[1].due_at_ms = contract_now(c) - 1;
    contract_put_items(c, items, 2);
    assert_int_equal(items[0].state, REEVE_STATE_PENDING);
    assert_int_equal(items[1].state, REEVE_STATE_PENDING);
    assert_int_equal(contract_claim(c, 10), 2);
}

static void promote_in_order_of_due_time(void **state) {
    contract *c = *state;
    /* In one call: the delays count from the same moment. */
    reeve__enqueue_item items[] = { contract_item("t3"), contract_item("t1"),
                                    contract_item("t2") };
    items[0].delay_ms = 30;
    items[1].delay_ms = 10;
    items[2].delay_ms = 20;
    contract_put_items(c, items, 3);
    contract_pass(c, 40);
    contract_put(c, "first");
    int64_t next_at_ms;
    assert_int_equal(promote(c, 2, &next_at_ms), 2);
    assert_true(next_at_ms > 0);
    assert_int_equal(promote(c, 2, &next_at_ms), 1);
    assert_int_equal(next_at_ms, 0);
    contract_claim(c, 10);
    contract_assert_ids(c, "first t1 t2 t3");
}

static void promote_retries_and_snoozes_to_the_back(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_put(c, "t2");
    contract_put(c, "t3");
    contract_claim(c, 2);
    reeve__settle settles[] = { contract_verdict(c, 0, REEVE_STATE_RETRY),
                                contract_verdict(c, 1, REEVE_STATE_SCHEDULED) };
    settles[0].delay_ms = 20;
    settles[1].delay_ms = 10;
    settles[1].priority = 9;
    contract_settle(c, settles, 2);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_RETRY);
    assert_true(c->seen.rows[0].row.due_at_ms > 0);
    contract_pass(c, 25);
    int64_t next_at_ms;
    assert_int_equal(promote(c, 10, &next_at_ms), 2);
    assert_int_equal(next_at_ms, 0);
    contract_put(c, "t4");
    contract_claim(c, 10);
    contract_assert_ids(c, "t2 t3 t1 t4");
}

static void promote_keeps_the_priority(void **state) {
    contract *c = *state;
    reeve__enqueue_item items[] = { contract_item("low"),
                                    contract_item("high") };
    items[0].priority = 1;
    items[1].priority = 8;
    items[0].delay_ms = 5;
    items[1].delay_ms = 10;
    contract_put_items(c, items, 2);
    contract_put(c, "mid");
    contract_pass(c, 15);
    int64_t next_at_ms;
    assert_int_equal(promote(c, 10, &next_at_ms), 2);
    contract_claim(c, 10);
    contract_assert_ids(c, "high mid low");
}

static void promote_does_not_end_a_pause(void **state) {
    contract *c = *state;
    contract_put_later(c, "t1", 5);
    assert_ok(c->a->ops->pause(c->a, MAIL, true, err));
    contract_pass(c, 10);
    int64_t next_at_ms;
    assert_int_equal(promote(c, 10, &next_at_ms), 1);
    assert_int_equal(contract_claim(c, 10), 0);
    assert_int_equal(contract_info(c, "mail").pending, 1);
}

/* An envelope says when it was enqueued, which a broker may go by. */
static void put_dated(contract *c, const char *id, int32_t priority) {
    char envelope[64];
    snprintf(envelope, sizeof(envelope),
             "{\"v\":1,\"type\":\"t\",\"at\":%lld}\n",
             (long long)contract_now(c));
    reeve__enqueue_item item = contract_item(id);
    item.envelope = text(envelope);
    item.priority = priority;
    contract_put_items(c, &item, 1);
}

static void latency_is_the_age_of_the_oldest(void **state) {
    contract *c = *state;
    assert_int_equal(contract_info(c, "mail").latency_ms, 0);
    put_dated(c, "t1", 1);
    contract_pass(c, 50);
    put_dated(c, "t2", 9);
    contract_pass(c, 10);
    assert_true(contract_info(c, "mail").latency_ms >= 60);
    contract_claim(c, 1);
    contract_assert_ids(c, "t2");
    assert_true(contract_info(c, "mail").latency_ms >= 60);
    contract_claim(c, 1);
    assert_int_equal(contract_info(c, "mail").latency_ms, 0);
}

const contract_case contract_delay_cases[] = {
    CONTRACT_CASE(delay_is_kept_until_due),
    CONTRACT_CASE(delay_in_the_past_is_pending),
    CONTRACT_CASE(promote_in_order_of_due_time),
    CONTRACT_CASE(promote_retries_and_snoozes_to_the_back),
    CONTRACT_CASE(promote_keeps_the_priority),
    CONTRACT_CASE(promote_does_not_end_a_pause),
    CONTRACT_CASE(latency_is_the_age_of_the_oldest),
    { NULL, NULL },
};
