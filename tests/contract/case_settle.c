/*
 * Contract: verdicts, every legal and illegal one, and fencing.
 */
#include "contract/contract.h"
#include "task/state.h"

#include <stdio.h>
#include <string.h>

static void settle_moves_to_every_state(void **state) {
    contract *c = *state;
    const int32_t states[] = {
        REEVE_STATE_NONE,  REEVE_STATE_SCHEDULED, REEVE_STATE_PENDING,
        REEVE_STATE_RETRY, REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
    };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%zu", i);
        contract_put_at(c, id, 9);
        assert_int_equal(contract_claim(c, 1), 1);
        assert_string_equal(c->seen.rows[0].id, id);
        assert_true(reeve__state_may_move(REEVE_STATE_ACTIVE, states[i]));
        reeve__settle settle = contract_verdict(c, 0, states[i]);
        settle.priority = 0;
        assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
        assert_int_equal(contract_state(c, id), states[i]);
    }
    reeve_queue_info info = contract_info(c, "mail");
    assert_int_equal(info.active, 0);
    assert_int_equal(info.scheduled, 1);
    assert_int_equal(info.pending, 1);
    assert_int_equal(info.retry, 1);
    assert_int_equal(info.completed, 1);
    assert_int_equal(info.archived, 1);
}

static void settle_refuses_illegal_states(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_claim(c, 1);
    const int32_t states[] = { REEVE_STATE_ACTIVE,
                               REEVE_STATE_BLOCKED,
                               REEVE_STATE_AGGREGATING,
                               REEVE_STATE_WAITING,
                               -1,
                               10,
                               1000 };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        assert_false(reeve__state_may_move(REEVE_STATE_ACTIVE, states[i]));
        reeve__settle settle = contract_verdict(c, 0, states[i]);
        reeve__turn turn = { .queue = MAIL,
                             .settles = &settle,
                             .settle_count = 1 };
        reeve_error err = { 0, "" };
        assert_int_equal(c->a->ops->turn(c->a, &turn, 1, text("w1"),
                                         contract_on_row, &c->seen, &err),
                         REEVE_E_INVALID);
        assert_true(err.message[0] != '\0');
    }
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_ACTIVE);
}

static void settle_with_a_stale_token_changes_nothing(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_claim(c, 1);
    reeve__settle stale = contract_verdict(c, 0, REEVE_STATE_PENDING);
    assert_int_equal(contract_settle(c, &stale, 1), REEVE_OK);
    assert_int_equal(contract_claim(c, 1), 1);
    int64_t token = c->seen.rows[0].row.token;
    const int32_t states[] = {
        REEVE_STATE_NONE,  REEVE_STATE_SCHEDULED, REEVE_STATE_PENDING,
        REEVE_STATE_RETRY, REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
    };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        stale.to_state = states[i];
        stale.envelope = text("{}\nstolen");
        stale.result = text("stolen");
        stale.has_result = stale.done = stale.failed = true;
        assert_int_equal(contract_settle(c, &stale, 1), REEVE_E_LEASE_LOST);
    }
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_ACTIVE);
    assert_int_equal(c->seen.rows[0].row.token, token);
    assert_memory_equal(c->seen.rows[0].envelope, "{\"v\":1", 6);
    assert_int_equal(contract_info(c, "mail").done_total, 0);
    assert_int_equal(contract_info(c, "mail").failed_total, 0);
}

static void settle_with_bad_tokens_and_ids(void **state) {
    contract *c = *state;
    char longest[300];
    memset(longest, 'x', sizeof(longest));
    contract_put(c, "t1");
    contract_claim(c, 1);
    int64_t token = c->seen.rows[0].row.token;
    reeve__settle bad[] = {
        { .id = text("t1"), .token = token + 1 },
        { .id = text("t1"), .token = 0 },
        { .id = text("t1"), .token = -1 },
        { .id = text("t1"), .token = INT64_MAX },
        { .id = text("t1"), .token = INT64_MIN },
        { .id = text("nobody"), .token = token },
        { .id = { NULL, 0 }, .token = token },
        { .id = { longest, sizeof(longest) }, .token = token },
        { .id = { "t\0001", 3 }, .token = token },
    };
    size_t count = sizeof(bad) / sizeof(bad[0]);
    contract_settle(c, bad, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(bad[i].code, REEVE_E_LEASE_LOST);
    }
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_ACTIVE);
}

static void settle_in_the_wrong_queue(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_claim(c, 1);
    reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_NONE);
    reeve__turn turn = { .queue = text("other"),
                         .settles = &settle,
                         .settle_count = 1 };
    assert_ok(c->a->ops->turn(c->a, &turn, 1, text("w1"), contract_on_row,
                              &c->seen, err));
    assert_int_equal(settle.code, REEVE_E_LEASE_LOST);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_ACTIVE);
}

static void settle_twice_is_told(void **state) {
    contract *c = *state;
    const int32_t states[] = {
        REEVE_STATE_NONE,  REEVE_STATE_SCHEDULED, REEVE_STATE_PENDING,
        REEVE_STATE_RETRY, REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
    };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%zu", i);
        contract_put_at(c, id, 9);
        contract_claim(c, 1);
        reeve__settle settle = contract_verdict(c, 0, states[i]);
        settle.priority = 0;
        settle.done = true;
        assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
        assert_int_equal(contract_settle(c, &settle, 1), REEVE_E_LEASE_LOST);
        assert_int_equal(contract_info(c, "mail").done_total, i + 1);
    }
}

static void settle_a_part_of_a_batch(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_put(c, "t2");
    contract_put(c, "t3");
    contract_claim(c, 3);
    reeve__settle settles[] = {
        contract_verdict(c, 2, REEVE_STATE_NONE),
        contract_verdict(c, 1, REEVE_STATE_NONE),
        contract_verdict(c, 0, REEVE_STATE_COMPLETED),
    };
    settles[1].token += 100;
    contract_settle(c, settles, 3);
    assert_int_equal(settles[0].code, REEVE_OK);
    assert_int_equal(settles[1].code, REEVE_E_LEASE_LOST);
    assert_int_equal(settles[2].code, REEVE_OK);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_COMPLETED);
    assert_int_equal(contract_state(c, "t2"), REEVE_STATE_ACTIVE);
    assert_int_equal(contract_state(c, "t3"), REEVE_STATE_NONE);
}

static void settle_to_pending_goes_to_the_front_of_its_level(void **state) {
    contract *c = *state;
    contract_put_at(c, "high", 9);
    contract_put(c, "t1");
    contract_put(c, "t2");
    contract_put(c, "t3");
    contract_claim(c, 3);
    contract_assert_ids(c, "high t1 t2");
    reeve__settle settles[] = { contract_verdict(c, 1, REEVE_STATE_PENDING),
                                contract_verdict(c, 2, REEVE_STATE_PENDING) };
    contract_settle(c, settles, 2);
    contract_put_at(c, "high2", 9);
    contract_claim(c, 9);
    contract_assert_ids(c, "high2 t2 t1 t3");
}

static void settle_keeps_results(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_put(c, "t2");
    contract_put(c, "t3");
    contract_claim(c, 3);
    reeve__settle settles[] = {
        contract_verdict(c, 0, REEVE_STATE_COMPLETED),
        contract_verdict(c, 1, REEVE_STATE_COMPLETED),
        contract_verdict(c, 2, REEVE_STATE_COMPLETED),
    };
    settles[0].result = (reeve_bytes){ "a\0b\n", 4 };
    settles[0].has_result = true;
    settles[1].has_result = true; /* empty, but there */
    settles[2].retention_ms = REEVE_NEVER;
    contract_settle(c, settles, 3);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_COMPLETED);
    assert_true(c->seen.rows[0].row.has_result);
    assert_int_equal(c->seen.rows[0].row.result.size, 4);
    assert_memory_equal(c->seen.rows[0].result, "a\0b\n", 4);
    int64_t left_ms =
        c->seen.rows[0].row.expires_at_ms - c->seen.rows[0].row.now_at_ms;
    assert_in_range(left_ms, CONTRACT_LONG_MS - 60000, CONTRACT_LONG_MS);
    assert_int_equal(contract_state(c, "t2"), REEVE_STATE_COMPLETED);
    assert_true(c->seen.rows[0].row.has_result);
    assert_int_equal(c->seen.rows[0].row.result.size, 0);
    assert_int_equal(contract_state(c, "t3"), REEVE_STATE_COMPLETED);
    assert_false(c->seen.rows[0].row.has_result);
    assert_int_equal(c->seen.rows[0].row.expires_at_ms, REEVE_NEVER);
}

static void settle_rewrites_the_envelope(void **state) {
    contract *c = *state;
    const int32_t states[] = {
        REEVE_STATE_SCHEDULED, REEVE_STATE_PENDING,  REEVE_STATE_RETRY,
        REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
    };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%zu", i);
        contract_put_at(c, id, 9);
        contract_claim(c, 1);
        reeve__settle settle = contract_verdict(c, 0, states[i]);
        settle.priority = 0;
        settle.envelope = text("{\"failures\":1}\nbody");
        contract_settle(c, &settle, 1);
        assert_int_equal(contract_state(c, id), states[i]);
        assert_int_equal(c->seen.rows[0].row.envelope.size, 19);
        assert_memory_equal(c->seen.rows[0].envelope, "{\"failures\":1}\nbody",
                            19);
    }
}

static void settle_counts_what_it_is_told_to(void **state) {
    contract *c = *state;
    for (int i = 0; i < 4; i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%d", i);
        contract_put(c, id);
    }
    contract_claim(c, 4);
    reeve__settle settles[] = {
        contract_verdict(c, 0, REEVE_STATE_NONE),
        contract_verdict(c, 1, REEVE_STATE_COMPLETED),
        contract_verdict(c, 2, REEVE_STATE_RETRY),
        contract_verdict(c, 3, REEVE_STATE_SCHEDULED),
    };
    settles[0].done = settles[1].done = settles[2].failed = true;
    contract_settle(c, settles, 4);
    reeve_queue_info info = contract_info(c, "mail");
    assert_int_equal(info.done_total, 2);
    assert_int_equal(info.failed_total, 1);
}

static void settle_bounds_the_archive(void **state) {
    contract *c = *state;
    for (int i = 0; i < 6; i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%d", i);
        contract_put(c, id);
        contract_claim(c, 1);
        reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_ARCHIVED);
        settle.archive_count = 4;
        assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
        contract_pass(c, 2);
    }
    assert_int_equal(contract_info(c, "mail").archived, 4);
    assert_int_equal(contract_state(c, "t0"), REEVE_STATE_NONE);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_NONE);
    assert_int_equal(contract_state(c, "t2"), REEVE_STATE_ARCHIVED);
    assert_int_equal(contract_state(c, "t5"), REEVE_STATE_ARCHIVED);
}

const contract_case contract_settle_cases[] = {
    CONTRACT_CASE(settle_moves_to_every_state),
    CONTRACT_CASE(settle_refuses_illegal_states),
    CONTRACT_CASE(settle_with_a_stale_token_changes_nothing),
    CONTRACT_CASE(settle_with_bad_tokens_and_ids),
    CONTRACT_CASE(settle_in_the_wrong_queue),
    CONTRACT_CASE(settle_twice_is_told),
    CONTRACT_CASE(settle_a_part_of_a_batch),
    CONTRACT_CASE(settle_to_pending_goes_to_the_front_of_its_level),
    CONTRACT_CASE(settle_keeps_results),
    CONTRACT_CASE(settle_rewrites_the_envelope),
    CONTRACT_CASE(settle_counts_what_it_is_told_to),
    CONTRACT_CASE(settle_bounds_the_archive),
    { NULL, NULL },
};
