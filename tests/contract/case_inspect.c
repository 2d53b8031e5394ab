/*
 * Contract: lists, queues, workers, weights.
 */
#include "contract/contract.h"

#include <stdio.h>
#include <string.h>

static void list_pages_through_every_state(void **state) {
    contract *c = *state;
    const int32_t states[] = {
        REEVE_STATE_SCHEDULED, REEVE_STATE_PENDING,   REEVE_STATE_ACTIVE,
        REEVE_STATE_RETRY,     REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
    };
    enum {
        STATES = sizeof(states) / sizeof(states[0]),
        EACH = 7
    };
    /* Pending last: the others come to be by a claim. */
    for (size_t s = 0; s < STATES; s++) {
        for (int i = 0; i < EACH && states[s] != REEVE_STATE_PENDING; i++) {
            char id[32];
            snprintf(id, sizeof(id), "s%d-%d", states[s], i);
            contract_bring(c, id, states[s]);
        }
    }
    for (int i = 0; i < EACH; i++) {
        char id[32];
        snprintf(id, sizeof(id), "s%d-%d", REEVE_STATE_PENDING, i);
        contract_put(c, id);
    }
    for (size_t s = 0; s < STATES; s++) {
        for (size_t limit = 1; limit <= EACH + 1; limit += 3) {
            assert_int_equal(contract_list(c, states[s], limit), EACH);
            uint32_t met = 0;
            for (size_t i = 0; i < c->seen.count; i++) {
                int of = 0, number = 0;
                assert_int_equal(
                    sscanf(c->seen.rows[i].id, "s%d-%d", &of, &number), 2);
                assert_int_equal(of, states[s]);
                assert_int_equal(c->seen.rows[i].row.state, states[s]);
                assert_true(c->seen.rows[i].row.envelope.size > 0);
                met |= 1U << number;
            }
            assert_int_equal(met, (1U << EACH) - 1);
        }
    }
    assert_int_equal(contract_list(c, REEVE_STATE_WAITING, 5), 0);
}

static void list_is_in_the_order_of_running(void **state) {
    contract *c = *state;
    contract_put_at(c, "t1", 1);
    contract_put_at(c, "t2", 9);
    contract_put_at(c, "t3", 5);
    contract_put_at(c, "t4", 9);
    contract_list(c, REEVE_STATE_PENDING, 3);
    contract_assert_ids(c, "t2 t4 t3 t1");
    contract_put_later(c, "s1", 30000);
    contract_put_later(c, "s2", 10000);
    contract_put_later(c, "s3", 20000);
    contract_list(c, REEVE_STATE_SCHEDULED, 2);
    contract_assert_ids(c, "s2 s3 s1");
}

static void list_of_finished_ones_is_oldest_first(void **state) {
    contract *c = *state;
    const char *ids[] = { "t3", "t1", "t2" };
    for (size_t i = 0; i < 3; i++) {
        contract_bring(c, ids[i], REEVE_STATE_ARCHIVED);
        contract_pass(c, 2);
    }
    contract_list(c, REEVE_STATE_ARCHIVED, 2);
    contract_assert_ids(c, "t3 t1 t2");
}

static void list_shows_who_holds_a_task(void **state) {
    contract *c = *state;
    contract_put(c, "t1");
    contract_claim_as(c, c->a, "w42", 1, CONTRACT_LONG_MS);
    assert_int_equal(contract_list(c, REEVE_STATE_ACTIVE, 10), 1);
    assert_string_equal(c->seen.rows[0].worker, "w42");
    assert_true(c->seen.rows[0].row.token > 0);
}

static void queues_are_counted(void **state) {
    contract *c = *state;
    contract_bring(c, "t1", REEVE_STATE_ACTIVE);
    contract_bring(c, "t2", REEVE_STATE_ARCHIVED);
    contract_bring(c, "t3", REEVE_STATE_SCHEDULED);
    contract_put(c, "t4");
    contract_put(c, "t5");
    reeve_queue_info info = contract_info(c, "mail");
    assert_int_equal(info.active, 1);
    assert_int_equal(info.archived, 1);
    assert_int_equal(info.scheduled, 1);
    assert_int_equal(info.pending, 2);
    assert_int_equal(info.retry, 0);
    assert_int_equal(info.completed, 0);
    assert_int_equal(info.weight, 0);
    assert_true(info.size_bytes > 0);
}

static reeve_rc count_queue(void *ctx, const reeve_queue_info *info,
                            reeve_error *err) {
    (void)info;
    (void)err;
    (*(size_t *)ctx)++;
    return REEVE_OK;
}

static size_t queue_count(contract *c) {
    size_t count = 0;
    assert_ok(c->a->ops->queues(c->a, count_queue, &count, err));
    return count;
}

/* More than are read at once, each with its own counts and weight. */
static void many_queues_are_listed(void **state) {
    contract *c = *state;
    char name[32], id[32];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "q%03d", i);
        snprintf(id, sizeof(id), "t%d", i);
        reeve__enqueue_item item = contract_item(id);
        item.queue = text(name);
        contract_put_items(c, &item, 1);
        if (i % 7 == 0) {
            assert_ok(c->a->ops->set_weight(c->a, text(name), i + 1, err));
        }
    }
    assert_int_equal(queue_count(c), 300);
    for (int i = 0; i < 300; i += 13) {
        snprintf(name, sizeof(name), "q%03d", i);
        reeve_queue_info info = contract_info(c, name);
        assert_int_equal(info.pending, 1);
        assert_int_equal(info.weight, i % 7 == 0 ? i + 1 : 0);
    }
}

static void drop_refuses_a_queue_with_tasks(void **state) {
    contract *c = *state;
    const int32_t states[] = {
        REEVE_STATE_SCHEDULED, REEVE_STATE_PENDING,   REEVE_STATE_ACTIVE,
        REEVE_STATE_RETRY,     REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
    };
    reeve_error why = { 0, "" };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        char id[16];
        snprintf(id, sizeof(id), "d%zu", i);
        if (states[i] == REEVE_STATE_PENDING) {
            contract_put(c, id);
        } else {
            contract_bring(c, id, states[i]);
        }
        assert_int_equal(c->b->ops->drop(c->b, MAIL, &why), REEVE_E_STATE);
        assert_string_equal(why.message,
                            "queue 'mail' has tasks: cannot drop it");
        assert_int_equal(contract_state(c, id), states[i]);
        if (states[i] == REEVE_STATE_ACTIVE) {
            reeve__settle end = contract_verdict(c, 0, REEVE_STATE_NONE);
            assert_int_equal(contract_settle(c, &end, 1), REEVE_OK);
        } else {
            reeve__act one = { .action = REEVE_ACTION_DELETE,
                               .queue = MAIL,
                               .id = text(id),
                               .from_state = states[i] };
            assert_ok(c->b->ops->act(c->b, &one, 1, err));
            assert_int_equal(one.code, REEVE_OK);
        }
    }
    assert_ok(c->b->ops->drop(c->b, MAIL, err));
    assert_int_equal(queue_count(c), 0);
}

static void drop_forgets_counters_pause_and_weight(void **state) {
    contract *c = *state;
    reeve_error why = { 0, "" };
    assert_int_equal(c->a->ops->drop(c->a, MAIL, &why), REEVE_E_NOT_FOUND);
    assert_string_equal(why.message, "no queue 'mail'");
    contract_put(c, "t1");
    assert_int_equal(contract_claim(c, 1), 1);
    reeve__settle end = contract_verdict(c, 0, REEVE_STATE_NONE);
    end.done = true;
    assert_int_equal(contract_settle(c, &end, 1), REEVE_OK);
    assert_ok(c->a->ops->set_weight(c->a, MAIL, 6, err));
    assert_ok(c->a->ops->pause(c->a, MAIL, true, err));
    assert_int_equal(contract_info(c, "mail").done_total, 1);
    assert_ok(c->a->ops->drop(c->a, MAIL, err));
    assert_int_equal(queue_count(c), 0);
    assert_int_equal(c->a->ops->drop(c->a, MAIL, &why), REEVE_E_NOT_FOUND);
    /* A new queue of the old name works as any other. */
    assert_ok(c->a->ops->set_weight(c->a, MAIL, 0, err));
    contract_put(c, "t2");
    reeve_queue_info info = contract_info(c, "mail");
    assert_int_equal(info.pending, 1);
    assert_int_equal(info.done_total, 0);
    assert_int_equal(info.paused, 0);
    assert_int_equal(info.weight, 0);
    assert_int_equal(contract_claim(c, 1), 1);
    contract_assert_ids(c, "t2");
}

/* A late settle of the queue that was must not pass for one of the new. */
static void tokens_grow_past_a_drop(void **state) {
    contract *c = *state;
    int64_t last = 0;
    reeve__settle late = { .token = 0 };
    for (int life = 0; life < 3; life++) {
        contract_put(c, "t1");
        assert_int_equal(contract_claim(c, 1), 1);
        assert_true(c->seen.rows[0].row.token > last);
        last = c->seen.rows[0].row.token;
        if (life > 0) {
            assert_int_equal(contract_settle(c, &late, 1), REEVE_E_LEASE_LOST);
        }
        reeve__settle end = { .id = text("t1"),
                              .token = last,
                              .last_of_token = true };
        late = end;
        assert_int_equal(contract_settle(c, &end, 1), REEVE_OK);
        assert_ok(c->a->ops->drop(c->a, MAIL, err));
        assert_int_equal(queue_count(c), 0);
    }
}

typedef struct weights_seen {
    size_t count;
    int32_t mail;
    int32_t other;
} weights_seen;

static reeve_rc on_weight(void *ctx, reeve_bytes queue, int32_t weight,
                          reeve_error *err) {
    (void)err;
    weights_seen *seen = ctx;
    seen->count++;
    *(queue.size == 4 ? &seen->mail : &seen->other) = weight;
    return REEVE_OK;
}

static void weights_are_kept_centrally(void **state) {
    contract *c = *state;
    weights_seen seen = { 0, 0, 0 };
    assert_ok(c->a->ops->weights(c->a, on_weight, &seen, err));
    assert_int_equal(seen.count, 0);
    assert_ok(c->b->ops->set_weight(c->b, MAIL, 6, err));
    assert_ok(c->b->ops->set_weight(c->b, text("other"), 1000, err));
    assert_ok(c->b->ops->set_weight(c->b, MAIL, 3, err));
    assert_ok(c->a->ops->weights(c->a, on_weight, &seen, err));
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.mail, 3);
    assert_int_equal(seen.other, 1000);
    contract_put(c, "t1");
    assert_int_equal(contract_info(c, "mail").weight, 3);
    assert_ok(c->b->ops->set_weight(c->b, MAIL, 0, err));
    seen.count = 0;
    assert_ok(c->a->ops->weights(c->a, on_weight, &seen, err));
    assert_int_equal(seen.count, 1);
}

typedef struct workers_seen {
    size_t count;
    reeve_worker_info last;
    char id[32];
    char host[32];
    char queues[64];
} workers_seen;

static void copy_text(char *out, size_t size, reeve_bytes bytes) {
    assert_true(bytes.size < size);
    memcpy(out, bytes.data, bytes.size);
    out[bytes.size] = '\0';
}

static reeve_rc on_worker(void *ctx, const reeve_worker_info *info,
                          reeve_error *err) {
    (void)err;
    workers_seen *seen = ctx;
    seen->count++;
    seen->last = *info;
    copy_text(seen->id, sizeof(seen->id), info->id);
    copy_text(seen->host, sizeof(seen->host), info->host);
    copy_text(seen->queues, sizeof(seen->queues), info->queues);
    return REEVE_OK;
}

static void workers_are_known_by_their_beats(void **state) {
    contract *c = *state;
    reeve_worker_info info = {
        .id = text("w1"),
        .host = text("box"),
        .pid = 77,
        .started_at_ms = 123456,
        .beat_at_ms = contract_now(c),
        .concurrency = 10,
        .active = 3,
        .done = 1000000000000,
        .failed = 7,
        .quiet = 1,
        .queues = text("mail=6,default=3"),
    };
    assert_ok(c->a->ops->beat(c->a, &info, false, err));
    info.active = 4;
    assert_ok(c->a->ops->beat(c->a, &info, false, err));
    workers_seen seen = { .count = 0 };
    assert_ok(c->b->ops->workers(c->b, on_worker, &seen, err));
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.id, "w1");
    assert_string_equal(seen.host, "box");
    assert_string_equal(seen.queues, "mail=6,default=3");
    assert_int_equal(seen.last.pid, 77);
    assert_int_equal(seen.last.started_at_ms, 123456);
    assert_true(seen.last.beat_at_ms > 0);
    assert_int_equal(seen.last.concurrency, 10);
    assert_int_equal(seen.last.active, 4);
    assert_int_equal(seen.last.done, 1000000000000);
    assert_int_equal(seen.last.failed, 7);
    assert_int_equal(seen.last.quiet, 1);
    info.id = text("w2");
    assert_ok(c->a->ops->beat(c->a, &info, false, err));
    assert_ok(c->b->ops->beat(c->b, &info, true, err));
    seen.count = 0;
    assert_ok(c->b->ops->workers(c->b, on_worker, &seen, err));
    assert_int_equal(seen.count, 1);
}

const contract_case contract_inspect_cases[] = {
    CONTRACT_CASE(list_pages_through_every_state),
    CONTRACT_CASE(list_is_in_the_order_of_running),
    CONTRACT_CASE(list_of_finished_ones_is_oldest_first),
    CONTRACT_CASE(list_shows_who_holds_a_task),
    CONTRACT_CASE(queues_are_counted),
    CONTRACT_CASE(many_queues_are_listed),
    CONTRACT_CASE(drop_refuses_a_queue_with_tasks),
    CONTRACT_CASE(drop_forgets_counters_pause_and_weight),
    CONTRACT_CASE(tokens_grow_past_a_drop),
    CONTRACT_CASE(weights_are_kept_centrally),
    CONTRACT_CASE(workers_are_known_by_their_beats),
    { NULL, NULL },
};
