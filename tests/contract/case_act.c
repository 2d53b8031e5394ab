/*
 * Contract: operator's moves, each action in each state.
 */
#include "contract/contract.h"

#include <stdio.h>
#include <string.h>

static const int32_t all_states[] = {
    REEVE_STATE_SCHEDULED, REEVE_STATE_PENDING,   REEVE_STATE_ACTIVE,
    REEVE_STATE_RETRY,     REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
};
#define STATE_COUNT (sizeof(all_states) / sizeof(all_states[0]))

static reeve__act act_on(const char *id, int32_t action, int32_t from_state) {
    return (reeve__act){
        .action = action,
        .queue = MAIL,
        .id = text(id),
        .from_state = from_state,
        .priority = REEVE_PRIORITY_DEFAULT,
        .retention_ms = CONTRACT_LONG_MS,
    };
}

static int32_t act(contract *c, reeve__act one) {
    assert_ok(c->b->ops->act(c->b, &one, 1, err));
    return one.code;
}

/* Does an action in every state; legal has a bit for each. */
static void try_action(contract *c, int32_t action, uint32_t legal,
                       int32_t to_state) {
    for (size_t i = 0; i < STATE_COUNT; i++) {
        char id[16];
        snprintf(id, sizeof(id), "a%d-%zu", action, i);
        contract_bring(c, id, all_states[i]);
        bool allowed = (legal >> all_states[i] & 1U) != 0;
        int32_t code = act(c, act_on(id, action, all_states[i]));
        assert_int_equal(code, allowed ? REEVE_OK : REEVE_E_STATE);
        int32_t now = contract_state(c, id);
        assert_int_equal(now, allowed ? to_state : all_states[i]);
        /* Out of the way of the next one's claim. */
        if (now == REEVE_STATE_PENDING) {
            act(c, act_on(id, REEVE_ACTION_DELETE, now));
        }
    }
}

#define BIT(state) (1U << REEVE_STATE_##state)

static void act_run(void **state) {
    try_action(*state, REEVE_ACTION_RUN,
               BIT(SCHEDULED) | BIT(RETRY) | BIT(COMPLETED) | BIT(ARCHIVED),
               REEVE_STATE_PENDING);
}

static void act_archive(void **state) {
    try_action(*state, REEVE_ACTION_ARCHIVE,
               BIT(SCHEDULED) | BIT(RETRY) | BIT(PENDING),
               REEVE_STATE_ARCHIVED);
}

static void act_delete(void **state) {
    try_action(*state, REEVE_ACTION_DELETE,
               BIT(SCHEDULED) | BIT(RETRY) | BIT(PENDING) | BIT(COMPLETED) |
                   BIT(ARCHIVED),
               REEVE_STATE_NONE);
}

static void act_edit(void **state) {
    try_action(*state, REEVE__ACTION_EDIT,
               BIT(SCHEDULED) | BIT(RETRY) | BIT(PENDING) | BIT(COMPLETED) |
                   BIT(ARCHIVED),
               REEVE_STATE_PENDING);
}

static void act_edit_replaces_the_envelope(void **state) {
    contract *c = *state;
    contract_bring(c, "t1", REEVE_STATE_ARCHIVED);
    reeve__act edit = act_on("t1", REEVE__ACTION_EDIT, REEVE_STATE_ARCHIVED);
    edit.envelope = (reeve_bytes){ "{}\nn\0w", 6 };
    assert_int_equal(act(c, edit), REEVE_OK);
    assert_int_equal(contract_claim(c, 1), 1);
    assert_int_equal(c->seen.rows[0].row.envelope.size, 6);
    assert_memory_equal(c->seen.rows[0].envelope, "{}\nn\0w", 6);
}

static void act_run_goes_to_the_back_of_the_given_level(void **state) {
    contract *c = *state;
    contract_bring(c, "late", REEVE_STATE_SCHEDULED);
    contract_bring(c, "dead", REEVE_STATE_ARCHIVED);
    contract_put(c, "t1");
    assert_int_equal(
        act(c, act_on("late", REEVE_ACTION_RUN, REEVE_STATE_SCHEDULED)),
        REEVE_OK);
    reeve__act urgent = act_on("dead", REEVE_ACTION_RUN, REEVE_STATE_ARCHIVED);
    urgent.priority = 9;
    urgent.envelope = text("{}\nagain");
    assert_int_equal(act(c, urgent), REEVE_OK);
    contract_claim(c, 10);
    contract_assert_ids(c, "dead t1 late");
    assert_int_equal(c->seen.rows[0].row.envelope.size, 8);
}

static void act_run_of_a_completed_task_drops_its_result(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_claim(c, 1);
    reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_COMPLETED);
    settle.has_result = true;
    settle.result = text("42");
    contract_settle(c, &settle, 1);
    assert_int_equal(
        act(c, act_on("t1", REEVE_ACTION_RUN, REEVE_STATE_COMPLETED)),
        REEVE_OK);
    contract_claim(c, 1);
    settle = contract_verdict(c, 0, REEVE_STATE_COMPLETED);
    contract_settle(c, &settle, 1);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_COMPLETED);
    assert_false(c->seen.rows[0].row.has_result);
}

static void act_needs_the_state_that_was_seen(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    assert_int_equal(
        act(c, act_on("t1", REEVE_ACTION_RUN, REEVE_STATE_ARCHIVED)),
        REEVE_E_STATE);
    assert_int_equal(
        act(c, act_on("t1", REEVE_ACTION_DELETE, REEVE_STATE_SCHEDULED)),
        REEVE_E_STATE);
    assert_int_equal(
        act(c, act_on("nobody", REEVE_ACTION_DELETE, REEVE_STATE_PENDING)),
        REEVE_E_NOT_FOUND);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_PENDING);
}

static void act_is_a_batch(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_put(c, "t2");
    contract_put(c, "t3");
    reeve__act acts[] = {
        act_on("t3", REEVE_ACTION_DELETE, REEVE_STATE_PENDING),
        act_on("t9", REEVE_ACTION_DELETE, REEVE_STATE_PENDING),
        act_on("t3", REEVE_ACTION_DELETE, REEVE_STATE_PENDING),
        act_on("t1", REEVE_ACTION_ARCHIVE, REEVE_STATE_PENDING),
    };
    assert_ok(c->a->ops->act(c->a, acts, 4, err));
    assert_int_equal(acts[0].code, REEVE_OK);
    assert_int_equal(acts[1].code, REEVE_E_NOT_FOUND);
    assert_int_equal(acts[2].code, REEVE_E_NOT_FOUND);
    assert_int_equal(acts[3].code, REEVE_OK);
    contract_claim(c, 10);
    contract_assert_ids(c, "t2");
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_ARCHIVED);
    int64_t left_ms =
        c->seen.rows[0].row.expires_at_ms - c->seen.rows[0].row.now_at_ms;
    assert_in_range(left_ms, CONTRACT_LONG_MS - 60000, CONTRACT_LONG_MS);
}

const contract_case contract_act_cases[] = {
    CONTRACT_CASE(act_run),
    CONTRACT_CASE(act_archive),
    CONTRACT_CASE(act_delete),
    CONTRACT_CASE(act_edit),
    CONTRACT_CASE(act_edit_replaces_the_envelope),
    CONTRACT_CASE(act_run_goes_to_the_back_of_the_given_level),
    CONTRACT_CASE(act_run_of_a_completed_task_drops_its_result),
    CONTRACT_CASE(act_needs_the_state_that_was_seen),
    CONTRACT_CASE(act_is_a_batch),
    { NULL, NULL },
};
