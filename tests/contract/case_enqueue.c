/*
 * Contract: what enqueue stores, refuses, and recognises.
 */
#include "contract/contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void enqueue_stores_what_it_was_given(void **state) {
    contract *c = *state;
    reeve__enqueue_item item = contract_item("t1");
    contract_put_items(c, &item, 1);
    assert_int_equal(item.state, REEVE_STATE_PENDING);
    assert_string_equal(item.out_id, "t1");
    assert_false(item.existing);
    assert_int_equal(item.out_due_at_ms, 0);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_PENDING);
    assert_string_equal(c->seen.rows[0].queue, "mail");
    assert_int_equal(c->seen.rows[0].row.envelope.size, item.envelope.size);
    assert_memory_equal(c->seen.rows[0].envelope, item.envelope.data,
                        item.envelope.size);
}

static void enqueue_stores_fresh_ids_like_others(void **state) {
    contract *c = *state;
    reeve__enqueue_item items[] = { contract_item("n1"), contract_item("n2"),
                                    contract_item("n3"), contract_item("n4") };
    for (size_t i = 0; i < 4; i++) {
        items[i].fresh = true;
    }
    items[3].priority = 9;
    contract_put_items(c, items, 1);
    contract_put_items(c, items + 1, 1);
    contract_put_items(c, items + 2, 2);
    for (size_t i = 0; i < 4; i++) {
        char id[8];
        snprintf(id, sizeof(id), "n%zu", i + 1);
        assert_string_equal(items[i].out_id, id);
        assert_int_equal(items[i].state, REEVE_STATE_PENDING);
        assert_int_equal(contract_state(c, id), REEVE_STATE_PENDING);
        assert_int_equal(c->seen.rows[0].row.priority, i < 3 ? 5 : 9);
    }
    contract_claim(c, 9);
    contract_assert_ids(c, "n4 n1 n2 n3");
}

static void enqueue_refuses_a_taken_id(void **state) {
    contract *c = *state;
    const int32_t states[] = {
        REEVE_STATE_PENDING, REEVE_STATE_SCHEDULED, REEVE_STATE_ACTIVE,
        REEVE_STATE_RETRY,   REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
    };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "t%zu", i);
        contract_bring(c, id, states[i]);
        reeve__enqueue_item item = contract_item(id);
        item.envelope = text("{}\nother");
        assert_ok(c->a->ops->enqueue(c->a, &item, 1, err));
        assert_int_equal(item.code, REEVE_E_EXISTS);
        assert_int_equal(contract_state(c, id), states[i]);
        assert_memory_equal(c->seen.rows[0].envelope, "{\"v\":1", 6);
        /* Keep the next claim for the next task. */
        reeve__act act = { .action = REEVE_ACTION_DELETE,
                           .queue = MAIL,
                           .id = text(id),
                           .from_state = states[i],
                           .priority = 5 };
        assert_ok(c->a->ops->act(c->a, &act, 1, err));
    }
}

static void enqueue_tells_items_apart(void **state) {
    contract *c = *state;
    contract_put(c, "old");
    reeve__enqueue_item items[] = { contract_item("n1"), contract_item("old"),
                                    contract_item("n2"), contract_item("n1") };
    assert_ok(c->a->ops->enqueue(c->a, items, 4, err));
    assert_int_equal(items[0].code, REEVE_OK);
    assert_int_equal(items[1].code, REEVE_E_EXISTS);
    assert_int_equal(items[2].code, REEVE_OK);
    assert_int_equal(items[3].code, REEVE_E_EXISTS);
    contract_claim(c, 10);
    contract_assert_ids(c, "old n1 n2");
}

static void enqueue_resent_is_success(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    reeve__enqueue_item item = contract_item("t1");
    item.resent = true;
    contract_put_items(c, &item, 1);
    assert_string_equal(item.out_id, "t1");
    assert_false(item.existing);
    assert_int_equal(contract_claim(c, 10), 1);
    item.resent = true;
    contract_put_items(c, &item, 1);
    assert_int_equal(contract_claim(c, 10), 0);
    reeve__enqueue_item fresh = contract_item("t2");
    fresh.resent = true;
    contract_put_items(c, &fresh, 1);
    assert_int_equal(contract_claim(c, 10), 1);
}

static void enqueue_same_id_in_two_queues(void **state) {
    contract *c = *state;
    reeve__enqueue_item items[] = { contract_item("t1"), contract_item("t1") };
    items[1].queue = text("default");
    contract_put_items(c, items, 2);
    assert_int_equal(contract_info(c, "mail").pending, 1);
    assert_int_equal(contract_info(c, "default").pending, 1);
}

static void enqueue_idempotency_key_finds_the_first(void **state) {
    contract *c = *state;
    reeve__enqueue_item item = contract_item("t1");
    item.idempotency_key = (reeve_bytes){ "or\0der 7", 8 };
    contract_put_items(c, &item, 1);
    assert_false(item.existing);
    reeve__enqueue_item again = contract_item("t2");
    again.idempotency_key = item.idempotency_key;
    contract_put_items(c, &again, 1);
    assert_true(again.existing);
    assert_string_equal(again.out_id, "t1");
    assert_int_equal(contract_state(c, "t2"), REEVE_STATE_NONE);
    /* Also when the task is done and gone. */
    contract_claim(c, 1);
    reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_NONE);
    assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
    contract_put_items(c, &again, 1);
    assert_true(again.existing);
    assert_string_equal(again.out_id, "t1");
    assert_int_equal(contract_info(c, "mail").pending, 0);
}

static void enqueue_idempotency_key_expires(void **state) {
    contract *c = *state;
    reeve__enqueue_item item = contract_item("t1");
    item.idempotency_key = text("k");
    item.idempotency_ttl_ms = 20;
    contract_put_items(c, &item, 1);
    contract_pass(c, 25);
    reeve__enqueue_item again = contract_item("t2");
    again.idempotency_key = text("k");
    contract_put_items(c, &again, 1);
    assert_false(again.existing);
    assert_int_equal(contract_info(c, "mail").pending, 2);
}

static void enqueue_idempotency_key_within_a_batch(void **state) {
    contract *c = *state;
    reeve__enqueue_item items[] = { contract_item("t1"), contract_item("t2"),
                                    contract_item("t3") };
    items[0].idempotency_key = items[1].idempotency_key = text("k");
    items[2].idempotency_key = text("other");
    contract_put_items(c, items, 3);
    assert_false(items[0].existing);
    assert_true(items[1].existing);
    assert_string_equal(items[1].out_id, "t1");
    assert_false(items[2].existing);
    contract_claim(c, 10);
    contract_assert_ids(c, "t1 t3");
}

static void enqueue_key_resent_with_its_own_id(void **state) {
    contract *c = *state;
    reeve__enqueue_item item = contract_item("t1");
    item.idempotency_key = text("k");
    contract_put_items(c, &item, 1);
    item.resent = true;
    contract_put_items(c, &item, 1);
    assert_string_equal(item.out_id, "t1");
    assert_int_equal(contract_info(c, "mail").pending, 1);
}

static void enqueue_keeps_any_bytes(void **state) {
    contract *c = *state;
    char bytes[256 + 3] = "{}\n";
    for (int i = 0; i < 256; i++) {
        bytes[3 + i] = (char)i;
    }
    reeve__enqueue_item item = contract_item("t1");
    item.envelope = (reeve_bytes){ bytes, sizeof(bytes) };
    contract_put_items(c, &item, 1);
    reeve__enqueue_item bare = contract_item("t2");
    bare.envelope = text("{}\n");
    contract_put_items(c, &bare, 1);
    assert_int_equal(contract_claim(c, 2), 2);
    assert_int_equal(c->seen.rows[0].row.envelope.size, sizeof(bytes));
    assert_memory_equal(c->seen.rows[0].envelope, bytes, sizeof(bytes));
    assert_int_equal(c->seen.rows[1].row.envelope.size, 3);
}

static void enqueue_keeps_huge_bytes(void **state) {
    contract *c = *state;
    size_t size = REEVE_PAYLOAD_BYTES_MAX + 3;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (char)(i * 31 + i / 257);
    }
    reeve__enqueue_item item = contract_item("t1");
    item.envelope = (reeve_bytes){ bytes, size };
    contract_put_items(c, &item, 1);
    assert_int_equal(contract_claim(c, 1), 1);
    assert_int_equal(c->seen.rows[0].row.envelope.size, size);
    assert_memory_equal(c->seen.rows[0].envelope, bytes, size);
    reeve__settle settle = contract_verdict(c, 0, REEVE_STATE_COMPLETED);
    settle.result = (reeve_bytes){ bytes + 3, size - 3 };
    settle.has_result = true;
    assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
    assert_int_equal(contract_state(c, "t1"), REEVE_STATE_COMPLETED);
    assert_int_equal(c->seen.rows[0].row.result.size, size - 3);
    assert_memory_equal(c->seen.rows[0].result, bytes + 3, size - 3);
    free(bytes);
}

static void enqueue_takes_ten_thousand(void **state) {
    contract *c = *state;
    enum {
        COUNT = 10000
    };
    reeve__enqueue_item *items = calloc(COUNT, sizeof(*items));
    char(*ids)[16] = calloc(COUNT, sizeof(*ids));
    assert_non_null(items);
    assert_non_null(ids);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(ids[i], sizeof(ids[i]), "t%06zu", i);
        items[i] = contract_item(ids[i]);
    }
    contract_put_items(c, items, COUNT);
    assert_int_equal(contract_info(c, "mail").pending, COUNT);
    assert_int_equal(contract_claim(c, COUNT + 1), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_string_equal(c->seen.rows[i].id, ids[i]);
    }
    reeve__settle *settles = calloc(COUNT, sizeof(*settles));
    assert_non_null(settles);
    for (size_t i = 0; i < COUNT; i++) {
        settles[i] = contract_verdict(c, i, REEVE_STATE_NONE);
        settles[i].last_of_token = i + 1 == COUNT;
    }
    contract_settle(c, settles, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(settles[i].code, REEVE_OK);
    }
    assert_int_equal(contract_info(c, "mail").active, 0);
    free(settles);
    free(items);
    free(ids);
}

static void enqueue_nothing_is_fine(void **state) {
    contract *c = *state;
    assert_ok(c->a->ops->enqueue(c->a, NULL, 0, err));
    assert_int_equal(contract_claim(c, 5), 0);
    assert_int_equal(contract_state(c, "none"), REEVE_STATE_NONE);
}

const contract_case contract_enqueue_cases[] = {
    CONTRACT_CASE(enqueue_stores_what_it_was_given),
    CONTRACT_CASE(enqueue_stores_fresh_ids_like_others),
    CONTRACT_CASE(enqueue_refuses_a_taken_id),
    CONTRACT_CASE(enqueue_tells_items_apart),
    CONTRACT_CASE(enqueue_resent_is_success),
    CONTRACT_CASE(enqueue_same_id_in_two_queues),
    CONTRACT_CASE(enqueue_idempotency_key_finds_the_first),
    CONTRACT_CASE(enqueue_idempotency_key_expires),
    CONTRACT_CASE(enqueue_idempotency_key_within_a_batch),
    CONTRACT_CASE(enqueue_key_resent_with_its_own_id),
    CONTRACT_CASE(enqueue_keeps_any_bytes),
    CONTRACT_CASE(enqueue_keeps_huge_bytes),
    CONTRACT_CASE(enqueue_takes_ten_thousand),
    CONTRACT_CASE(enqueue_nothing_is_fine),
    { NULL, NULL },
};
