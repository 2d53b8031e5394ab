/*
 * Contract: a random walk over all verbs, done to mem:// (the oracle) and to
 * the broker under test. Every answer must be the same, and every few steps the
 * whole state. Times are far in the future or already past, so that clocks do
 * not matter; tokens are compared by what they fence, not by their value.
 */
#include "contract/contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDS = 60,       /* few, so that they meet again */
    HELD_MAX = 400, /* leases remembered, live and stale */
    COMPARE_EVERY = 25,
};

typedef struct held {
    char id[16];
    int64_t tokens[2]; /* the oracle's, the other's */
    int32_t priority;
} held;

typedef struct walk {
    contract *c;
    reeve__broker *brokers[2]; /* oracle, under test */
    uint64_t random;
    size_t step;
    int64_t later_ms; /* grows: due times are never equal */
    held held[HELD_MAX];
    size_t held_count;
    bool paused;
    char ids[IDS][16];
} walk;

static uint64_t roll(walk *w, uint64_t bound) {
    /* xorshift64* (Vigna, 2014) */
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return (w->random * UINT64_C(2685821657736338717) >> 33) % bound;
}

static const char *any_id(walk *w) {
    return w->ids[roll(w, IDS)];
}

static int64_t later(walk *w) {
    w->later_ms += 60000;
    return w->later_ms;
}

static reeve_bytes any_envelope(walk *w, char out[64]) {
    int size = snprintf(out, 64, "{\"v\":%zu}\n%llu", w->step,
                        (unsigned long long)roll(w, 1000000));
    return (reeve_bytes){ out, (size_t)size };
}

static void do_enqueue(walk *w) {
    enum {
        MOST = 4
    };
    reeve__enqueue_item items[2][MOST];
    char envelopes[MOST][64], keys[MOST][8];
    size_t count = 1 + roll(w, MOST);
    for (size_t i = 0; i < count; i++) {
        reeve__enqueue_item item = contract_item(any_id(w));
        item.envelope = any_envelope(w, envelopes[i]);
        item.priority = (int32_t)roll(w, 10);
        item.resent = roll(w, 5) == 0;
        if (roll(w, 4) == 0) {
            item.delay_ms = later(w);
        }
        if (roll(w, 6) == 0) {
            snprintf(keys[i], sizeof(keys[i]), "k%d", (int)roll(w, 12));
            item.idempotency_key = text(keys[i]);
        }
        items[0][i] = items[1][i] = item;
    }
    for (int b = 0; b < 2; b++) {
        assert_ok(
            w->brokers[b]->ops->enqueue(w->brokers[b], items[b], count, err));
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(items[0][i].code, items[1][i].code);
        assert_int_equal(items[0][i].existing, items[1][i].existing);
        if (items[0][i].code == REEVE_OK) {
            assert_string_equal(items[0][i].out_id, items[1][i].out_id);
        }
        if (items[0][i].code == REEVE_OK && !items[0][i].existing &&
            !items[0][i].resent) {
            assert_int_equal(items[0][i].state, items[1][i].state);
        }
    }
}

static void remember(walk *w, const contract_rows rows[2]) {
    for (size_t i = 0; i < rows[0].count; i++) {
        size_t at =
            w->held_count < HELD_MAX ? w->held_count++ : roll(w, HELD_MAX);
        held *one = &w->held[at];
        snprintf(one->id, sizeof(one->id), "%.15s", rows[0].rows[i].id);
        one->priority = rows[0].rows[i].row.priority;
        for (int b = 0; b < 2; b++) {
            one->tokens[b] = rows[b].rows[i].row.token;
        }
    }
}

static void compare_rows(const contract_seen *a, const contract_seen *b) {
    assert_string_equal(a->id, b->id);
    assert_int_equal(a->row.state, b->row.state);
    assert_int_equal(a->row.envelope.size, b->row.envelope.size);
    assert_memory_equal(a->envelope, b->envelope, a->row.envelope.size);
    assert_int_equal(a->row.has_result, b->row.has_result);
    assert_int_equal(a->row.result.size, b->row.result.size);
    assert_memory_equal(a->result, b->result, a->row.result.size);
    if (a->row.state == REEVE_STATE_PENDING) {
        assert_int_equal(a->row.priority, b->row.priority);
    }
    if (a->row.state == REEVE_STATE_ACTIVE && b->row.worker.size > 0) {
        assert_string_equal(a->worker, b->worker);
    }
    bool kept = a->row.expires_at_ms == REEVE_NEVER;
    assert_int_equal(kept, b->row.expires_at_ms == REEVE_NEVER);
    assert_int_equal(a->row.due_at_ms != 0, b->row.due_at_ms != 0);
}

static void compare_pages(const contract_rows rows[2]) {
    assert_int_equal(rows[0].count, rows[1].count);
    for (size_t i = 0; i < rows[0].count; i++) {
        compare_rows(&rows[0].rows[i], &rows[1].rows[i]);
    }
}

static void drop_rows(contract_rows rows[2]) {
    for (int b = 0; b < 2; b++) {
        contract_rows_clear(&rows[b]);
        free(rows[b].rows);
    }
}

/* Verdicts on live and stale leases, the same task at most once. */
static size_t any_verdicts(walk *w, reeve__settle out[2][4],
                           char envelopes[4][64]) {
    static const int32_t states[] = {
        REEVE_STATE_NONE,  REEVE_STATE_SCHEDULED, REEVE_STATE_PENDING,
        REEVE_STATE_RETRY, REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
    };
    size_t count = w->held_count > 0 ? roll(w, 5) : 0;
    for (size_t i = 0; i < count; i++) {
        /* Mostly the latest ones: those are live. */
        size_t near = w->held_count < 12 ? w->held_count : 12;
        const held *one = roll(w, 4) > 0
                              ? &w->held[w->held_count - 1 - roll(w, near)]
                              : &w->held[roll(w, w->held_count)];
        reeve__settle settle = {
            .id = text(one->id),
            .to_state = states[roll(w, 6)],
            .priority = roll(w, 3) > 0 ? one->priority : (int32_t)roll(w, 10),
            .delay_ms = later(w),
            .retention_ms = roll(w, 2) ? REEVE_NEVER : CONTRACT_LONG_MS,
            .done = roll(w, 2) == 0,
            .failed = roll(w, 2) == 0,
        };
        if (roll(w, 2) == 0) {
            settle.envelope = any_envelope(w, envelopes[i]);
        }
        if (settle.to_state == REEVE_STATE_COMPLETED && roll(w, 2) == 0) {
            settle.has_result = true;
            settle.result = text("result\n");
        }
        for (int b = 0; b < 2; b++) {
            out[b][i] = settle;
            out[b][i].token = one->tokens[b];
        }
    }
    return count;
}

static void do_turn(walk *w) {
    reeve__settle settles[2][4];
    char envelopes[4][64];
    reeve__turn turns[2];
    contract_rows rows[2] = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    size_t count = any_verdicts(w, settles, envelopes);
    size_t claim_max = roll(w, 6);
    const char *worker = roll(w, 2) ? "w1" : "w2";
    for (int b = 0; b < 2; b++) {
        turns[b] = (reeve__turn){
            .queue = MAIL,
            .settles = settles[b],
            .settle_count = count,
            .claim_max = claim_max,
            .lease_ms = CONTRACT_LONG_MS,
        };
        assert_ok(w->brokers[b]->ops->turn(w->brokers[b], &turns[b], 1,
                                           text(worker), contract_on_row,
                                           &rows[b], err));
    }
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(settles[0][i].code, settles[1][i].code);
    }
    assert_int_equal(turns[0].claimed, turns[1].claimed);
    assert_int_equal(turns[0].paused, turns[1].paused);
    if (claim_max > 0) {
        assert_int_equal(turns[0].more, turns[1].more);
        assert_int_equal(turns[0].next_due_at_ms != 0,
                         turns[1].next_due_at_ms != 0);
    }
    compare_pages(rows);
    remember(w, rows);
    drop_rows(rows);
}

static void do_extend(walk *w) {
    if (w->held_count == 0) {
        return;
    }
    enum {
        COUNT = 3
    };
    reeve__lease_ref refs[2][COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        const held *one = &w->held[roll(w, w->held_count)];
        for (int b = 0; b < 2; b++) {
            refs[b][i] = (reeve__lease_ref){ .queue = MAIL,
                                             .id = text(one->id),
                                             .token = one->tokens[b] };
        }
    }
    for (int b = 0; b < 2; b++) {
        assert_ok(w->brokers[b]->ops->extend(w->brokers[b], refs[b], COUNT,
                                             CONTRACT_LONG_MS, err));
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(refs[0][i].lost, refs[1][i].lost);
    }
}

/* Takes one task of a worker back, as after its death. */
static void do_reclaim(walk *w) {
    const char *worker = roll(w, 2) ? "w1" : "w2";
    contract_rows rows[2] = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    for (int b = 0; b < 2; b++) {
        int64_t next_at_ms;
        assert_ok(w->brokers[b]->ops->reclaim(w->brokers[b], MAIL, text(worker),
                                              1000, contract_on_row, &rows[b],
                                              &next_at_ms, err));
    }
    assert_int_equal(rows[0].count, rows[1].count);
    if (rows[0].count > 0) {
        /* Order among them is not promised: find the oracle's first. */
        size_t other = 0;
        while (other < rows[1].count &&
               strcmp(rows[1].rows[other].id, rows[0].rows[0].id) != 0) {
            other++;
        }
        assert_true(other < rows[1].count);
        for (int b = 0; b < 2; b++) {
            const contract_seen *seen = &rows[b].rows[b == 0 ? 0 : other];
            reeve__settle settle = { .id = text(seen->id),
                                     .token = seen->row.token,
                                     .to_state = REEVE_STATE_PENDING,
                                     .priority = 5 };
            reeve__turn turn = { .queue = MAIL,
                                 .settles = &settle,
                                 .settle_count = 1 };
            assert_ok(w->brokers[b]->ops->turn(w->brokers[b], &turn, 1,
                                               text("w3"), contract_on_row,
                                               &rows[b], err));
            assert_int_equal(settle.code, REEVE_OK);
        }
    }
    drop_rows(rows);
}

static void do_act(walk *w) {
    reeve__act acts[2];
    char envelope[64];
    acts[0] = (reeve__act){
        .action = 1 + (int32_t)roll(w, 4),
        .queue = MAIL,
        .id = text(any_id(w)),
        .from_state = 1 + (int32_t)roll(w, 9),
        .priority = (int32_t)roll(w, 10),
        .retention_ms = roll(w, 2) ? REEVE_NEVER : CONTRACT_LONG_MS,
    };
    /* Mostly the state it is in. */
    w->c->b = w->brokers[0];
    int32_t now = contract_state(w->c, acts[0].id.data);
    w->c->b = w->brokers[1];
    if (roll(w, 5) > 0 && now != REEVE_STATE_NONE) {
        acts[0].from_state = now;
    }
    if (acts[0].action == REEVE__ACTION_EDIT || roll(w, 3) == 0) {
        acts[0].envelope = any_envelope(w, envelope);
    }
    acts[1] = acts[0];
    for (int b = 0; b < 2; b++) {
        assert_ok(w->brokers[b]->ops->act(w->brokers[b], &acts[b], 1, err));
    }
    assert_int_equal(acts[0].code, acts[1].code);
}

/* A retry that is due at once, and its promotion: alone, so that the order of
 * equal due times does not matter. */
static void do_promote(walk *w) {
    size_t moved[2];
    int64_t next_at_ms[2];
    contract_rows rows[2] = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    int32_t to_state = roll(w, 2) ? REEVE_STATE_RETRY : REEVE_STATE_SCHEDULED;
    int32_t priority = (int32_t)roll(w, 10);
    for (int b = 0; b < 2; b++) {
        reeve__broker *broker = w->brokers[b];
        reeve__turn turn = { .queue = MAIL,
                             .claim_max = 1,
                             .lease_ms = CONTRACT_LONG_MS };
        assert_ok(broker->ops->turn(broker, &turn, 1, text("w1"),
                                    contract_on_row, &rows[b], err));
        if (turn.claimed > 0) {
            reeve__settle settle = {
                .id = text(rows[b].rows[0].id),
                .token = rows[b].rows[0].row.token,
                .to_state = to_state,
                .priority = priority,
            };
            turn = (reeve__turn){ .queue = MAIL,
                                  .settles = &settle,
                                  .settle_count = 1 };
            assert_ok(broker->ops->turn(broker, &turn, 1, text("w1"),
                                        contract_on_row, &rows[b], err));
            assert_int_equal(settle.code, REEVE_OK);
        }
        assert_ok(broker->ops->promote(broker, MAIL, 10, &moved[b],
                                       &next_at_ms[b], err));
    }
    compare_pages(rows);
    assert_int_equal(moved[0], moved[1]);
    assert_int_equal(moved[0], rows[0].count);
    assert_int_equal(next_at_ms[0] != 0, next_at_ms[1] != 0);
    drop_rows(rows);
}

static void do_pause(walk *w) {
    w->paused = !w->paused && roll(w, 3) == 0;
    for (int b = 0; b < 2; b++) {
        assert_ok(
            w->brokers[b]->ops->pause(w->brokers[b], MAIL, w->paused, err));
    }
}

static void do_sweep(walk *w) {
    size_t removed[2];
    for (int b = 0; b < 2; b++) {
        assert_ok(w->brokers[b]->ops->sweep(w->brokers[b], MAIL, 100,
                                            &removed[b], err));
    }
    assert_int_equal(removed[0], removed[1]);
}

static int by_id(const void *a, const void *b) {
    return strcmp(((const contract_seen *)a)->id,
                  ((const contract_seen *)b)->id);
}

static void compare_state(walk *w, int32_t state) {
    contract_rows rows[2] = { { NULL, 0, 0 }, { NULL, 0, 0 } };
    size_t limit = 1 + roll(w, 20);
    for (int b = 0; b < 2; b++) {
        uint64_t cursor = 0;
        do {
            assert_ok(w->brokers[b]->ops->list(w->brokers[b], MAIL, state,
                                               cursor, limit, &cursor,
                                               contract_on_row, &rows[b], err));
        } while (cursor != 0);
        /* Ends and leases of one millisecond have no order of their own. */
        if (state != REEVE_STATE_PENDING && rows[b].count > 0) {
            qsort(rows[b].rows, rows[b].count, sizeof(*rows[b].rows), by_id);
        }
    }
    compare_pages(rows);
    drop_rows(rows);
}

static void compare_all(walk *w) {
    reeve_queue_info info[2];
    for (int32_t state = 1; state <= REEVE_STATE_ARCHIVED; state++) {
        compare_state(w, state);
    }
    for (int b = 0; b < 2; b++) {
        w->c->b = w->brokers[b];
        info[b] = contract_info(w->c, "mail");
    }
    assert_int_equal(info[0].pending, info[1].pending);
    assert_int_equal(info[0].active, info[1].active);
    assert_int_equal(info[0].scheduled, info[1].scheduled);
    assert_int_equal(info[0].retry, info[1].retry);
    assert_int_equal(info[0].completed, info[1].completed);
    assert_int_equal(info[0].archived, info[1].archived);
    assert_int_equal(info[0].done_total, info[1].done_total);
    assert_int_equal(info[0].failed_total, info[1].failed_total);
    assert_int_equal(info[0].paused, info[1].paused);
}

static void step(walk *w) {
    uint64_t dice = roll(w, 100);
    if (dice < 35) {
        do_enqueue(w);
    } else if (dice < 75) {
        do_turn(w);
    } else if (dice < 80) {
        do_extend(w);
    } else if (dice < 83) {
        do_reclaim(w);
    } else if (dice < 91) {
        do_act(w);
    } else if (dice < 96) {
        do_promote(w);
    } else if (dice < 98) {
        do_pause(w);
    } else {
        do_sweep(w);
    }
}

static void random_walk_agrees_with_the_oracle(void **state) {
    contract *c = *state;
    walk *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    print_message("random walk: --seed=%llu --steps=%zu\n",
                  (unsigned long long)contract_seed, contract_steps);
    reeve__broker_options options = { .url = "mem://oracle" };
    assert_ok(reeve__broker_open(&w->brokers[0], c->env, &options, err));
    reeve__broker *under_test = c->b;
    w->brokers[1] = c->b;
    w->c = c;
    w->random = contract_seed * 2 + 1;
    w->later_ms = CONTRACT_LONG_MS;
    for (int i = 0; i < IDS; i++) {
        snprintf(w->ids[i], sizeof(w->ids[i]), "t%02d", i);
    }
    for (w->step = 1; w->step <= contract_steps; w->step++) {
        step(w);
        if (w->step % COMPARE_EVERY == 0) {
            compare_all(w);
        }
    }
    compare_all(w);
    c->b = under_test;
    reeve__broker_close(w->brokers[0]);
    free(w);
}

const contract_case contract_random_cases[] = {
    CONTRACT_CASE(random_walk_agrees_with_the_oracle),
    { NULL, NULL },
};
