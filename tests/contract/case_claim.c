/*
 * Contract: what a claim hands out, in which order, and what it says of the
 * rest.
 */
#include "contract/contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void claim_is_first_in_first_out(void **state) {
    contract *c = *state;
    const char *ids[] = { "t9", "t1", "t5", "t3" };
    for (size_t i = 0; i < 4; i++) {
        contract_put(c, ids[i]);
    }
    assert_int_equal(contract_claim(c, 3), 3);
    contract_assert_ids(c, "t9 t1 t5");
    assert_true(c->turn.more);
    assert_int_equal(contract_claim(c, 3), 1);
    contract_assert_ids(c, "t3");
    assert_false(c->turn.more);
    assert_int_equal(contract_claim(c, 3), 0);
}

static void claim_takes_higher_priority_first(void **state) {
    contract *c = *state;
    contract_put_at(c, "low1", 0);
    contract_put_at(c, "mid1", 5);
    contract_put_at(c, "high1", 9);
    contract_put_at(c, "low2", 0);
    contract_put_at(c, "high2", 9);
    contract_put_at(c, "mid2", 5);
    contract_put_at(c, "mid0", 4);
    contract_claim(c, 10);
    contract_assert_ids(c, "high1 high2 mid1 mid2 mid0 low1 low2");
}

static void claim_every_level(void **state) {
    contract *c = *state;
    for (int32_t i = 0; i <= 9; i++) {
        char id[8];
        snprintf(id, sizeof(id), "p%d", (i * 7) % 10);
        contract_put_at(c, id, (i * 7) % 10);
    }
    contract_claim(c, 10);
    contract_assert_ids(c, "p9 p8 p7 p6 p5 p4 p3 p2 p1 p0");
}

static void claim_grants_a_lease(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    assert_int_equal(contract_claim_as(c, c->a, "w7", 1, 12345), 1);
    const reeve__row *row = &c->seen.rows[0].row;
    assert_int_equal(row->state, REEVE_STATE_ACTIVE);
    assert_int_equal(row->lease_ms, 12345);
    assert_true(row->token > 0);
    assert_true(row->now_at_ms > 0);
    assert_int_equal(row->turn_index, 0);
    int64_t token = row->token;
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_ACTIVE);
    assert_int_equal(c->seen.rows[0].row.token, token);
}

static void claim_tokens_only_grow(void **state) {
    contract *c = *state;
    int64_t last = 0;
    contract_put(c, "t1");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(contract_claim(c, 1), 1);
        assert_true(c->seen.rows[0].row.token > last);
        last = c->seen.rows[0].row.token;
        reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_PENDING);
        assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
    }
}

static void claim_from_several_queues(void **state) {
    contract *c = *state;
    reeve__enqueue_item items[] = { contract_item("a1"), contract_item("b1"),
                                    contract_item("a2"), contract_item("b2") };
    items[1].queue = items[3].queue = text("default");
    contract_put_items(c, items, 4);
    contract_rows_clear(&c->seen);
    reeve__turn turns[] = {
        { .queue = text("default"), .claim_max = 1, .lease_ms = 1000 },
        { .queue = text("nothing"), .claim_max = 5, .lease_ms = 1000 },
        { .queue = MAIL, .claim_max = 5, .lease_ms = 1000 },
    };
    assert_ok(c->a->ops->turn(c->a, turns, 3, text("w1"), contract_on_row,
                              &c->seen, err));
    contract_assert_ids(c, "b1 a1 a2");
    assert_int_equal(c->seen.rows[0].row.turn_index, 0);
    assert_int_equal(c->seen.rows[1].row.turn_index, 2);
    assert_int_equal(turns[0].claimed, 1);
    assert_true(turns[0].more);
    assert_int_equal(turns[1].claimed, 0);
    assert_false(turns[1].more);
    assert_int_equal(turns[2].claimed, 2);
    assert_false(turns[2].more);
}

static void claim_settles_before_it_claims(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_claim(c, 1);
    reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_PENDING);
    reeve__turn turn = { .queue = MAIL,
                         .settles = &settle,
                         .settle_count = 1,
                         .claim_max = 1,
                         .lease_ms = 1000 };
    contract_rows seen = { NULL, 0, 0 };
    assert_ok(c->a->ops->turn(c->a, &turn, 1, text("w2"), contract_on_row,
                              &seen, err));
    assert_int_equal(settle.code, REEVE_OK);
    assert_int_equal(turn.claimed, 1);
    assert_true(seen.rows[0].row.token > settle.token);
    contract_rows_clear(&seen);
    free(seen.rows);
}

static void claim_nothing_from_a_paused_queue(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_put(c, "t2");
    contract_claim(c, 1);
    assert_ok(c->b->ops->pause(c->b, MAIL, true, err));
    assert_int_equal(contract_info(c, "mail").paused, 1);
    /* Settles go on. */
    reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_NONE);
    assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
    assert_int_equal(contract_claim(c, 5), 0);
    assert_true(c->turn.paused);
    contract_put(c, "t3");
    assert_int_equal(contract_claim(c, 5), 0);
    assert_ok(c->b->ops->pause(c->b, MAIL, false, err));
    assert_int_equal(contract_info(c, "mail").paused, 0);
    contract_claim(c, 5);
    assert_false(c->turn.paused);
    contract_assert_ids(c, "t2 t3");
}

static void claim_tells_the_next_due_time(void **state) {
    contract *c = *state;
    assert_int_equal(contract_claim(c, 1), 0);
    assert_int_equal(c->turn.next_due_at_ms, 0);
    int64_t due_at_ms = contract_now(c) + CONTRACT_LONG_MS;
    reeve__enqueue_item items[] = { contract_item("t1"), contract_item("t2"),
                                    contract_item("t3") };
    items[0].due_at_ms = due_at_ms + 5000;
    items[1].due_at_ms = due_at_ms;
    contract_put_items(c, items, 3);
    assert_int_equal(items[0].state, REEVE_STATE_SCHEDULED);
    assert_int_equal(items[0].out_due_at_ms, due_at_ms + 5000);
    assert_int_equal(contract_claim(c, 2), 1);
    assert_int_equal(c->turn.next_due_at_ms, due_at_ms);
}

static reeve_rc refuse(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)row;
    ++*(int *)ctx;
    if (err) {
        err->code = REEVE_E_CANCELLED;
        strcpy(err->message, "no");
    }
    return REEVE_E_CANCELLED;
}

static void claim_callback_error_ends_the_verb(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_put(c, "t2");
    reeve__turn turn = { .queue = MAIL, .claim_max = 2, .lease_ms = 1000 };
    int calls = 0;
    reeve_error told = { 0, "" };
    assert_int_equal(
        c->a->ops->turn(c->a, &turn, 1, text("w1"), refuse, &calls, &told),
        REEVE_E_CANCELLED);
    assert_int_equal(calls, 1);
    /* What was not seen is found again by reclaim. */
    int64_t next_at_ms;
    contract_rows_clear(&c->seen);
    assert_ok(c->b->ops->reclaim(c->b, MAIL, text("w1"), 10, contract_on_row,
                                 &c->seen, &next_at_ms, err));
    assert_int_equal(c->seen.count, 2);
}

const contract_case contract_claim_cases[] = {
    CONTRACT_CASE(claim_is_first_in_first_out),
    CONTRACT_CASE(claim_takes_higher_priority_first),
    CONTRACT_CASE(claim_every_level),
    CONTRACT_CASE(claim_grants_a_lease),
    CONTRACT_CASE(claim_tokens_only_grow),
    CONTRACT_CASE(claim_from_several_queues),
    CONTRACT_CASE(claim_settles_before_it_claims),
    CONTRACT_CASE(claim_nothing_from_a_paused_queue),
    CONTRACT_CASE(claim_tells_the_next_due_time),
    CONTRACT_CASE(claim_callback_error_ends_the_verb),
    { NULL, NULL },
};
