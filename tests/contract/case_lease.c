/*
 * Contract: leases: extension, lapse, reclaim, retention.
 */
#include "contract/contract.h"

#include <stdio.h>
#include <string.h>

static size_t reclaim(contract *c, const char *worker, size_t max,
                      int64_t *out_next_at_ms) {
    contract_rows_clear(&c->seen);
    assert_ok(c->b->ops->reclaim(c->b, MAIL, text(worker), max, contract_on_row,
                                 &c->seen, out_next_at_ms, err));
    return c->seen.count;
}

static void lease_that_lapsed_is_reclaimed(void **state) {
    contract *c = *state;
    int64_t next_at_ms = -1;
    assert_int_equal(reclaim(c, "", 10, &next_at_ms), 0);
    assert_int_equal(next_at_ms, 0);
    contract_put(c, "t1");
    contract_put(c, "t2");
    assert_int_equal(contract_claim_as(c, c->a, "w1", 1, 20), 1);
    reeve__settle old = contract_verdict(c, 0, REEVE_STATE_NONE);
    char id[] = "t1";
    old.id = text(id);
    contract_claim(c, 1);
    contract_pass(c, 25);
    assert_int_equal(reclaim(c, "", 10, &next_at_ms), 1);
    contract_assert_ids(c, "t1");
    assert_int_equal(c->seen.rows[0].row.state, REEVE_STATE_ACTIVE);
    assert_int_equal(c->seen.rows[0].row.token, old.token);
    assert_true(c->seen.rows[0].row.envelope.size > 0);
    assert_true(next_at_ms > contract_now(c));
    /* Listing moved nothing; the lister settles under the token. */
    assert_int_equal(reclaim(c, "", 10, &next_at_ms), 1);
    reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_PENDING);
    assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
    assert_int_equal(reclaim(c, "", 10, &next_at_ms), 0);
    assert_int_equal(contract_settle(c, &old, 1), REEVE_E_LEASE_LOST);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_PENDING);
}

static void lease_of_a_dead_worker_is_reclaimed_at_once(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_put(c, "t2");
    contract_put(c, "t3");
    contract_claim_as(c, c->a, "dead", 2, CONTRACT_LONG_MS);
    contract_claim_as(c, c->a, "alive", 1, CONTRACT_LONG_MS);
    int64_t next_at_ms;
    assert_int_equal(reclaim(c, "nobody", 10, &next_at_ms), 0);
    assert_int_equal(reclaim(c, "dead", 1, &next_at_ms), 1);
    assert_int_equal(reclaim(c, "dead", 10, &next_at_ms), 2);
    for (size_t i = 0; i < 2; i++) {
        reeve__settle settle = contract_verdict(c, i, REEVE_STATE_PENDING);
        assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
    }
    assert_int_equal(reclaim(c, "dead", 10, &next_at_ms), 0);
    assert_int_equal(contract_info(c, "mail").active, 1);
    assert_int_equal(contract_info(c, "mail").pending, 2);
}

static void lease_reclaim_is_bounded(void **state) {
    contract *c = *state;
    for (int i = 0; i < 10; i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%d", i);
        contract_put(c, id);
    }
    contract_claim_as(c, c->a, "w1", 10, 10);
    contract_pass(c, 15);
    int64_t next_at_ms;
    size_t total = 0;
    for (size_t count; (count = reclaim(c, "", 4, &next_at_ms)) > 0;) {
        assert_true(count <= 4);
        total += count;
        for (size_t i = 0; i < count; i++) {
            reeve__settle settle = contract_verdict(c, i, REEVE_STATE_NONE);
            assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
        }
    }
    assert_int_equal(total, 10);
}

static void lease_extended_does_not_lapse(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_put(c, "t2");
    contract_claim_as(c, c->a, "w1", 2, 200);
    int64_t token = c->seen.rows[0].row.token;
    reeve__lease_ref ref = { .queue = MAIL, .id = text("t1"), .token = token };
    assert_ok(c->a->ops->extend(c->a, &ref, 1, CONTRACT_LONG_MS, err));
    assert_false(ref.lost);
    contract_pass(c, 210);
    int64_t next_at_ms;
    assert_int_equal(reclaim(c, "", 10, &next_at_ms), 1);
    contract_assert_ids(c, "t2");
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_ACTIVE);
    assert_int_equal(c->seen.rows[0].row.token, token);
}

static void lease_extend_tells_the_lost_ones(void **state) {
    contract *c = *state;
    for (int i = 0; i < 4; i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%d", i);
        contract_put(c, id);
    }
    contract_claim(c, 4);
    int64_t tokens[4];
    for (size_t i = 0; i < 4; i++) {
        tokens[i] = c->seen.rows[i].row.token;
    }
    reeve__settle settles[] = { contract_verdict(c, 1, REEVE_STATE_NONE),
                                contract_verdict(c, 2, REEVE_STATE_PENDING) };
    contract_settle(c, settles, 2);
    contract_claim(c, 1); /* t2 again, under another token */
    reeve__lease_ref refs[] = {
        { .queue = MAIL, .id = text("t0"), .token = tokens[0], .lost = true },
        { .queue = MAIL, .id = text("t1"), .token = tokens[1] },
        { .queue = MAIL, .id = text("t2"), .token = tokens[2] },
        { .queue = MAIL, .id = text("t3"), .token = tokens[3], .lost = true },
        { .queue = text("other"), .id = text("t3"), .token = tokens[3] },
        { .queue = MAIL, .id = text("nobody"), .token = 1 },
        { .queue = MAIL, .id = { NULL, 0 }, .token = -1 },
    };
    assert_ok(c->a->ops->extend(c->a, refs, 7, 1000, err));
    const bool lost[] = { false, true, true, false, true, true, true };
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(refs[i].lost, lost[i]);
    }
}

static void lease_that_lapsed_may_still_be_extended(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_claim_as(c, c->a, "w1", 1, 10);
    contract_pass(c, 15);
    reeve__lease_ref ref = { .queue = MAIL,
                             .id = text("t1"),
                             .token = c->seen.rows[0].row.token };
    assert_ok(c->a->ops->extend(c->a, &ref, 1, CONTRACT_LONG_MS, err));
    assert_false(ref.lost);
    int64_t next_at_ms;
    assert_int_equal(reclaim(c, "", 10, &next_at_ms), 0);
}

static void retention_ends_with_the_sweep(void **state) {
    contract *c = *state;
    const int64_t spans_ms[] = { 10, CONTRACT_LONG_MS, REEVE_NEVER };
    for (int i = 0; i < 6; i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%d", i);
        contract_put(c, id);
        contract_claim(c, 1);
        reeve__settle settle = contract_verdict(
            c, 0, i < 3 ? REEVE_STATE_COMPLETED : REEVE_STATE_ARCHIVED);
        settle.retention_ms = spans_ms[i % 3];
        contract_settle(c, &settle, 1);
    }
    contract_pass(c, 15);
    size_t removed = 0;
    assert_ok(c->a->ops->sweep(c->a, MAIL, 100, &removed, err));
    assert_int_equal(removed, 2);
    reeve_queue_info info = contract_info(c, "mail");
    assert_int_equal(info.completed, 2);
    assert_int_equal(info.archived, 2);
    assert_int_equal(contract_state(c, "t0"), REEVE_STATE_NONE);
    assert_int_equal(contract_state(c, "t3"), REEVE_STATE_NONE);
    contract_put(c, "t0"); /* the id is free again */
    assert_ok(c->a->ops->sweep(c->a, text("other"), 100, &removed, err));
    assert_int_equal(removed, 0);
}

static void sweep_is_bounded(void **state) {
    contract *c = *state;
    enum {
        COUNT = 10
    };
    reeve__settle settles[COUNT];
    char ids[COUNT][16];
    for (int i = 0; i < COUNT; i++) {
        snprintf(ids[i], sizeof(ids[i]), "t%d", i);
        contract_put(c, ids[i]);
    }
    contract_claim(c, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        settles[i] = contract_verdict(c, i, REEVE_STATE_COMPLETED);
        settles[i].retention_ms = 1;
    }
    contract_settle(c, settles, COUNT);
    contract_pass(c, 5);
    size_t total = 0;
    for (size_t removed = 1; removed > 0; total += removed) {
        assert_ok(c->a->ops->sweep(c->a, MAIL, 4, &removed, err));
        assert_true(removed <= 4);
    }
    assert_int_equal(total, COUNT);
    assert_int_equal(contract_info(c, "mail").completed, 0);
}

const contract_case contract_lease_cases[] = {
    CONTRACT_CASE(lease_that_lapsed_is_reclaimed),
    CONTRACT_CASE(lease_of_a_dead_worker_is_reclaimed_at_once),
    CONTRACT_CASE(lease_reclaim_is_bounded),
    CONTRACT_CASE(lease_extended_does_not_lapse),
    CONTRACT_CASE(lease_extend_tells_the_lost_ones),
    CONTRACT_CASE(lease_that_lapsed_may_still_be_extended),
    CONTRACT_CASE(retention_ends_with_the_sweep),
    CONTRACT_CASE(sweep_is_bounded),
    { NULL, NULL },
};
