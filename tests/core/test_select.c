/*
 * Splitting slots over queues: equality with the plain algorithm, long-run
 * shares on random traces, starvation bounds, ageing and dryness.
 */
#include "policy/select.h"

#include "base/env.h"
#include "core/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

#define QUEUES_MAX REEVE__SELECT_QUEUES_MAX
#define MS REEVE__MS_NS

typedef struct world {
    reeve__select select;
    reeve__select_queue queues[QUEUES_MAX];
    size_t quotas[QUEUES_MAX];
    size_t taken[QUEUES_MAX];
    int64_t total[QUEUES_MAX];
    int64_t now_ns;
} world;

static void world_init(world *w, int32_t order, const int32_t *weights,
                       size_t count) {
    memset(w, 0, sizeof(*w));
    w->select = (reeve__select){ .order = order,
                                 .ageing_ns = INT64_MAX,
                                 .queues = w->queues,
                                 .queue_count = count };
    for (size_t i = 0; i < count; i++)
        w->queues[i].weight = weights[i];
    w->now_ns = MS;
}

static size_t plan(world *w, size_t slots) {
    return reeve__select_plan(w->quotas, &w->select, slots, w->now_ns);
}

/* Books taken and adds it to the totals. */
static void book(world *w) {
    reeve__select_book(&w->select, w->quotas, w->taken, w->now_ns);
    for (size_t i = 0; i < w->select.queue_count; i++)
        w->total[i] += (int64_t)w->taken[i];
}

/* One batch in which every queue has all that it is asked for. */
static void serve(world *w, size_t slots) {
    assert_int_equal(plan(w, slots), slots);
    memcpy(w->taken, w->quotas, sizeof(w->taken));
    book(w);
}

static void random_weights(prng *rng, int32_t *weights, size_t count,
                           uint32_t most) {
    for (size_t i = 0; i < count; i++)
        weights[i] = 1 + (int32_t)prng_below(rng, most);
}

/* The algorithm as nginx's upstream module has it, one pick at a time. */
static void simulate(size_t *quotas, const reeve__select *select, size_t slots,
                     int64_t now_ns) {
    int64_t credit[QUEUES_MAX];
    int64_t weight_sum = 0;
    for (size_t i = 0; i < select->queue_count; i++) {
        quotas[i] = 0;
        if (select->queues[i].dry_until_ns <= now_ns)
            weight_sum += select->queues[i].weight;
    }
    for (size_t i = 0; i < select->queue_count; i++) {
        credit[i] = select->queues[i].credit;
        if (select->credit_weight != 0)
            credit[i] = credit[i] * weight_sum / select->credit_weight;
    }
    for (; slots > 0 && weight_sum > 0; slots--) {
        size_t best = select->queue_count;
        for (size_t i = 0; i < select->queue_count; i++) {
            if (select->queues[i].dry_until_ns > now_ns)
                continue;
            credit[i] += select->queues[i].weight * REEVE__SELECT_CREDIT_UNIT;
            if (best == select->queue_count || credit[i] > credit[best])
                best = i;
        }
        credit[best] -= weight_sum * REEVE__SELECT_CREDIT_UNIT;
        quotas[best]++;
    }
}

static void assert_plan_is_simulation(world *w, size_t slots) {
    size_t want[QUEUES_MAX];
    simulate(want, &w->select, slots, w->now_ns);
    plan(w, slots);
    assert_memory_equal(w->quotas, want,
                        w->select.queue_count * sizeof(want[0]));
}

static void picks_of_six_three_one_are_smooth(void **state) {
    (void)state;
    static const int32_t weights[] = { 6, 3, 1 };
    world w;
    world_init(&w, REEVE_ORDER_WEIGHTED, weights, 3);
    char order[21] = { 0 };
    for (int i = 0; i < 20; i++) {
        serve(&w, 1);
        for (size_t q = 0; q < 3; q++) {
            if (w.taken[q] > 0)
                order[i] = "abc"[q];
        }
    }
    assert_string_equal(order, "abaabacabaabaabacaba");
}

static void plan_equals_single_picks(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0301);
    for (int round = 0; round < 160; round++) {
        int32_t weights[QUEUES_MAX];
        size_t count = 1 + prng_below(&rng, round % 16 == 0 ? QUEUES_MAX : 8);
        random_weights(&rng, weights, count, round % 3 == 0 ? 1000 : 12);
        world w;
        world_init(&w, REEVE_ORDER_WEIGHTED, weights, count);
        for (int step = 0; step < 6; step++) {
            size_t slots = prng_below(&rng, step == 5 ? 10001 : 100);
            assert_plan_is_simulation(&w, slots);
            for (size_t i = 0; i < count; i++)
                w.taken[i] = prng_below(&rng, 8) == 0
                                 ? prng_below(&rng, w.quotas[i] + 1)
                                 : w.quotas[i];
            book(&w);
            if (prng_below(&rng, 4) == 0)
                reeve__select_set_weight(&w.select, prng_below(&rng, count),
                                         1 + (int32_t)prng_below(&rng, 50));
            w.now_ns += (int64_t)prng_below(&rng, 3) * MS;
        }
    }
}

/* Far more picks than a round, from credits far outside a round's range. */
static void plan_equals_single_picks_from_any_credit(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0302);
    for (int round = 0; round < 60; round++) {
        int32_t weights[6];
        size_t count = 2 + prng_below(&rng, 5);
        random_weights(&rng, weights, count, 9);
        world w;
        world_init(&w, REEVE_ORDER_WEIGHTED, weights, count);
        for (size_t i = 0; i < count; i++)
            w.queues[i].credit =
                (int64_t)prng_below(&rng, 2000000000) - 1000000000;
        assert_plan_is_simulation(&w, 10000);
    }
}

static void batches_equal_single_picks(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0303);
    static const int32_t weights[] = { 6, 3, 1, 17, 4 };
    world batched;
    world single;
    world_init(&batched, REEVE_ORDER_WEIGHTED, weights, 5);
    world_init(&single, REEVE_ORDER_WEIGHTED, weights, 5);
    for (int i = 0; i < 500; i++) {
        size_t slots = 1 + prng_below(&rng, 70);
        serve(&batched, slots);
        for (size_t n = 0; n < slots; n++)
            serve(&single, 1);
        assert_memory_equal(batched.total, single.total, sizeof(batched.total));
        assert_memory_equal(batched.queues, single.queues, sizeof(int64_t) * 2);
    }
}

/* Picks that a share may be off by, whatever the length of the trace: lags do
 * not grow. 1 % of 100 000 picks would be 1000. */
#define PICKS_OFF_MAX 6

/* Shares of the first count queues are those of their weights. */
static void assert_shares(const world *w, const double *weights, size_t count,
                          const char *what) {
    double weight_sum = 0;
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        weight_sum += weights[i];
        total += (double)w->total[i];
    }
    for (size_t i = 0; i < count; i++) {
        double want = total * weights[i] / weight_sum;
        double off = fabs((double)w->total[i] - want);
        if (off > PICKS_OFF_MAX)
            fail_msg("%s: queue %zu of %zu, weight %g: %lld picks of %.0f, "
                     "not %.1f",
                     what, i, count, weights[i], (long long)w->total[i], total,
                     want);
    }
}

static void share_trace(prng *rng, const int32_t *weights, size_t count,
                        size_t batch_max) {
    world w;
    double shares[QUEUES_MAX];
    world_init(&w, REEVE_ORDER_WEIGHTED, weights, count);
    for (size_t i = 0; i < count; i++)
        shares[i] = weights[i];
    for (int64_t picks = 0; picks < 100000;) {
        size_t slots = 1 + prng_below(rng, batch_max);
        serve(&w, slots);
        picks += (int64_t)slots;
    }
    assert_shares(&w, shares, count, "all have work");
}

static void shares_follow_weights(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0304);
    static const int32_t six_three_one[] = { 6, 3, 1 };
    share_trace(&rng, six_three_one, 3, 1);
    share_trace(&rng, six_three_one, 3, 64);
    share_trace(&rng, six_three_one, 3, 10000);
    for (int i = 0; i < 24; i++) {
        int32_t weights[12];
        size_t count = 1 + prng_below(&rng, 12);
        random_weights(&rng, weights, count, i % 2 == 0 ? 10 : 1000);
        share_trace(&rng, weights, count, i % 3 == 0 ? 1 : 200);
    }
}

/*
 * The first `full` queues always have work; the others come and go, give less
 * than asked, run dry and are woken. Among the full ones the weights hold, and
 * the slots of the others are not lost on them.
 */
static void shares_with_short_takes(prng *rng, size_t full, size_t batch_max) {
    int32_t weights[8];
    double shares[8];
    size_t count = full + 1 + prng_below(rng, 8 - full);
    random_weights(rng, weights, count, 10);
    world w;
    world_init(&w, REEVE_ORDER_WEIGHTED, weights, count);
    for (size_t i = 0; i < full; i++)
        shares[i] = weights[i];
    for (int64_t picks = 0; picks < 100000;) {
        size_t slots = 1 + prng_below(rng, batch_max);
        assert_int_equal(plan(&w, slots), slots);
        for (size_t i = 0; i < count; i++) {
            w.taken[i] = w.quotas[i];
            if (i >= full && prng_below(rng, 2) == 0)
                w.taken[i] = prng_below(rng, w.quotas[i] + 1);
            if (i < full)
                picks += (int64_t)w.taken[i];
        }
        book(&w);
        w.now_ns += (int64_t)prng_below(rng, 2 * (uint64_t)MS);
        if (prng_below(rng, 16) == 0)
            reeve__select_wake(&w.select, full + prng_below(rng, count - full));
    }
    assert_shares(&w, shares, full, "among the full");
}

static void shares_follow_weights_when_others_run_dry(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0305);
    for (int i = 0; i < 24; i++)
        shares_with_short_takes(&rng, 2 + prng_below(&rng, 4),
                                i % 3 == 0   ? 1
                                : i % 3 == 1 ? 20
                                             : 300);
}

/* A queue that was empty for long gets its share from now on, no more. */
static void an_empty_queue_saves_no_credit(void **state) {
    (void)state;
    static const int32_t weights[] = { 1, 1 };
    world w;
    world_init(&w, REEVE_ORDER_WEIGHTED, weights, 2);
    for (int i = 0; i < 5000; i++) {
        plan(&w, 10);
        w.taken[0] = w.quotas[0];
        w.taken[1] = 0;
        book(&w);
        w.now_ns += MS / 2;
    }
    reeve__select_wake(&w.select, 1);
    memset(w.total, 0, sizeof(w.total));
    for (int i = 0; i < 10; i++)
        serve(&w, 2);
    assert_in_range(w.total[0], 9, 11);
    assert_in_range(w.total[1], 9, 11);
}

/* Nothing wakes a queue that rests. */
static void a_resting_queue_is_left_out(void **state) {
    (void)state;
    static const int32_t weights[] = { 1, 1 };
    static const int32_t orders[] = { REEVE_ORDER_WEIGHTED,
                                      REEVE_ORDER_STRICT };
    for (size_t i = 0; i < 2; i++) {
        world w;
        world_init(&w, orders[i], weights, 2);
        serve(&w, 10);
        reeve__select_rest(&w.select, 0, w.now_ns + 100 * MS);
        memset(w.total, 0, sizeof(w.total));
        for (int k = 0; k < 99; k++) {
            reeve__select_wake(&w.select, 0);
            serve(&w, 10);
            w.now_ns += MS;
        }
        assert_int_equal(w.total[0], 0);
        assert_int_equal(w.total[1], 990);
        w.now_ns += MS;
        serve(&w, 10);
        assert_true(w.total[0] >= 5);
        reeve__select_rest(&w.select, 1, INT64_MAX);
        reeve__select_rest(&w.select, 1, 0);
        serve(&w, 10);
        assert_true(orders[i] == REEVE_ORDER_STRICT || w.total[1] >= 990 + 5);
    }
}

/* No queue with work waits much longer than one round of all. */
static void no_queue_starves(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0306);
    for (int round = 0; round < 60; round++) {
        int32_t weights[10];
        size_t count = 2 + prng_below(&rng, 9);
        random_weights(&rng, weights, count, 20);
        world w;
        world_init(&w, REEVE_ORDER_WEIGHTED, weights, count);
        int64_t sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += weights[i];
        int64_t gap[10] = { 0 };
        for (int pick = 0; pick < 5000; pick++) {
            serve(&w, 1);
            for (size_t i = 0; i < count; i++) {
                gap[i] = w.taken[i] > 0 ? 0 : gap[i] + 1;
                int64_t most = 2 * (sum / weights[i] + 1);
                if (gap[i] > most)
                    fail_msg("weight %d of %lld waits %lld picks", weights[i],
                             (long long)sum, (long long)gap[i]);
            }
        }
    }
}

/* Sums and dryness, in both orders, on traces of any kind. */
static void plans_keep_their_promises(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0307);
    for (int round = 0; round < 300; round++) {
        int32_t weights[20];
        size_t count = 1 + prng_below(&rng, 20);
        random_weights(&rng, weights, count, 1000);
        world w;
        world_init(&w, (int32_t)prng_below(&rng, 2), weights, count);
        w.select.ageing_ns = prng_below(&rng, 2)
                                 ? (int64_t)prng_below(&rng, 10) * MS
                                 : INT64_MAX;
        for (int step = 0; step < 200; step++) {
            size_t slots = prng_below(&rng, 40);
            size_t sum = plan(&w, slots);
            size_t added = 0;
            bool any = false;
            for (size_t i = 0; i < count; i++) {
                bool dry = w.queues[i].dry_until_ns > w.now_ns;
                assert_false(dry && w.quotas[i] > 0);
                any = any || !dry;
                added += w.quotas[i];
                w.taken[i] = prng_below(&rng, w.quotas[i] + 1);
            }
            assert_int_equal(added, sum);
            assert_int_equal(sum, any ? slots : 0);
            book(&w);
            w.now_ns += (int64_t)prng_below(&rng, (uint64_t)MS);
        }
    }
}

static void dry_time_doubles_to_five_ms(void **state) {
    (void)state;
    static const int32_t weights[] = { 1 };
    static const int64_t waits_ns[] = { MS, 2 * MS, 4 * MS, 5 * MS, 5 * MS };
    world w;
    world_init(&w, REEVE_ORDER_WEIGHTED, weights, 1);
    assert_int_equal(reeve__select_next_ns(&w.select), INT64_MAX);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(plan(&w, 4), 4);
        w.taken[0] = 0;
        book(&w);
        int64_t next_ns = reeve__select_next_ns(&w.select);
        assert_int_equal(next_ns - w.now_ns, waits_ns[i]);
        w.now_ns = next_ns - 1;
        assert_int_equal(plan(&w, 4), 0);
        w.now_ns = next_ns;
    }
    /* It gave something but less than asked: dry, from the start again. */
    plan(&w, 4);
    w.taken[0] = 3;
    book(&w);
    assert_int_equal(reeve__select_next_ns(&w.select) - w.now_ns, MS);
    /* The doorbell ends it at once. */
    reeve__select_wake(&w.select, 0);
    assert_int_equal(reeve__select_next_ns(&w.select), INT64_MAX);
    assert_int_equal(plan(&w, 4), 4);
}

static void next_is_the_earliest_of_the_dry(void **state) {
    (void)state;
    static const int32_t weights[] = { 1, 1, 1 };
    world w;
    world_init(&w, REEVE_ORDER_WEIGHTED, weights, 3);
    plan(&w, 3);
    w.taken[0] = 1;
    book(&w); /* 1 and 2 are dry for 1 ms */
    int64_t first_ns = w.now_ns + MS;
    assert_int_equal(reeve__select_next_ns(&w.select), first_ns);
    w.now_ns = first_ns;
    reeve__select_wake(&w.select, 2);
    w.quotas[0] = w.quotas[2] = w.taken[0] = 0;
    w.quotas[1] = 1;
    book(&w); /* 1 is dry for 2 ms more */
    assert_int_equal(reeve__select_next_ns(&w.select), first_ns + 2 * MS);
}

static void strict_serves_the_first_with_work(void **state) {
    (void)state;
    static const int32_t weights[] = { 1, 1, 1 };
    world w;
    world_init(&w, REEVE_ORDER_STRICT, weights, 3);
    for (int i = 0; i < 50; i++) {
        serve(&w, 7);
        assert_int_equal(w.taken[0], 7);
        w.now_ns += 1000 * MS;
    }
    plan(&w, 7);
    w.taken[0] = 2;
    book(&w);
    assert_int_equal(plan(&w, 5), 5);
    assert_int_equal(w.quotas[1], 5);
    w.taken[0] = w.taken[1] = 0;
    book(&w);
    assert_int_equal(plan(&w, 5), 5);
    assert_int_equal(w.quotas[2], 5);
}

/* One slot for each ageing_ns of being passed over, counted from when it was
 * first passed over, not from the start of the clock. */
static void strict_lets_the_aged_through(void **state) {
    (void)state;
    static const int32_t weights[] = { 1, 1, 1 };
    world w;
    world_init(&w, REEVE_ORDER_STRICT, weights, 3);
    w.now_ns = 5000 * MS;
    w.select.ageing_ns = 100 * MS;
    for (int i = 0; i < 1000; i++) {
        serve(&w, 1);
        if (i < 100)
            assert_int_equal(w.taken[0], 1);
        w.now_ns += MS;
    }
    /* 1000 ms: served at 100, 200(1) … each ageing span. */
    assert_in_range(w.total[1], 8, 9);
    assert_in_range(w.total[2], 8, 9);
    assert_int_equal(w.total[0] + w.total[1] + w.total[2], 1000);
}

static void strict_keeps_a_slot_for_the_first(void **state) {
    (void)state;
    int32_t weights[100];
    for (int i = 0; i < 100; i++)
        weights[i] = 1;
    world w;
    world_init(&w, REEVE_ORDER_STRICT, weights, 100);
    w.select.ageing_ns = 10 * MS;
    serve(&w, 10);
    w.now_ns += 10 * MS;
    serve(&w, 10);
    assert_int_equal(w.taken[0], 1);
    for (size_t i = 1; i < 10; i++)
        assert_int_equal(w.taken[i], 1);
    serve(&w, 10); /* those that still wait come first */
    for (size_t i = 10; i < 19; i++)
        assert_int_equal(w.taken[i], 1);
}

/* A queue that was empty waits anew: time without work is not being passed
 * over. */
static void strict_does_not_age_the_dry(void **state) {
    (void)state;
    static const int32_t weights[] = { 1, 1 };
    world w;
    world_init(&w, REEVE_ORDER_STRICT, weights, 2);
    w.select.ageing_ns = 100 * MS;
    serve(&w, 1);
    w.now_ns += 100 * MS;
    assert_int_equal(plan(&w, 1), 1);
    assert_int_equal(w.quotas[1], 1);
    w.taken[0] = w.taken[1] = 0; /* it was empty */
    book(&w);
    w.now_ns += MS / 2; /* still dry: waits for nothing */
    serve(&w, 1);
    assert_int_equal(w.taken[0], 1);
    w.now_ns += 99 * MS;
    serve(&w, 1); /* first passed over now */
    assert_int_equal(w.taken[0], 1);
    w.now_ns += 99 * MS;
    plan(&w, 1);
    assert_int_equal(w.quotas[0], 1);
    w.now_ns += MS;
    plan(&w, 1);
    assert_int_equal(w.quotas[1], 1);
}

static void weights_change_smoothly(void **state) {
    (void)state;
    static const int32_t weights[] = { 6, 3, 1 };
    prng rng = prng_of(__func__, 0x5eed0308);
    world w;
    world_init(&w, REEVE_ORDER_WEIGHTED, weights, 3);
    for (int change = 0; change < 200; change++) {
        for (uint64_t n = prng_below(&rng, 30); n > 0; n--)
            serve(&w, 1);
        for (size_t i = 0; i < 3; i++)
            reeve__select_set_weight(&w.select, i,
                                     1 + (int32_t)prng_below(&rng, 1000));
        double sum = 0;
        for (size_t i = 0; i < 3; i++)
            sum += w.queues[i].weight;
        memset(w.total, 0, sizeof(w.total));
        for (int n = 0; n < 100; n++)
            serve(&w, 1);
        for (size_t i = 0; i < 3; i++) {
            double want = 100 * w.queues[i].weight / sum;
            if (fabs((double)w.total[i] - want) > 4)
                fail_msg("change %d, queue %zu: %lld, not %.1f", change, i,
                         (long long)w.total[i], want);
        }
    }
}

static void credits_stay_bounded(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0309);
    int32_t weights[QUEUES_MAX];
    random_weights(&rng, weights, QUEUES_MAX, 1000);
    world w;
    world_init(&w, REEVE_ORDER_WEIGHTED, weights, QUEUES_MAX);
    int64_t sum = 0;
    for (size_t i = 0; i < QUEUES_MAX; i++)
        sum += weights[i] * REEVE__SELECT_CREDIT_UNIT;
    for (int step = 0; step < 400; step++) {
        size_t slots = step % 100 == 0 ? 10000 : prng_below(&rng, 300);
        plan(&w, slots);
        for (size_t i = 0; i < QUEUES_MAX; i++)
            w.taken[i] = prng_below(&rng, 3) == 0
                             ? prng_below(&rng, w.quotas[i] + 1)
                             : w.quotas[i];
        book(&w);
        for (size_t i = 0; i < QUEUES_MAX; i++)
            assert_true(llabs(w.queues[i].credit) < 8 * sum);
        w.now_ns += (int64_t)prng_below(&rng, 4 * (uint64_t)MS);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_of_six_three_one_are_smooth),
        cmocka_unit_test(plan_equals_single_picks),
        cmocka_unit_test(plan_equals_single_picks_from_any_credit),
        cmocka_unit_test(batches_equal_single_picks),
        cmocka_unit_test(shares_follow_weights),
        cmocka_unit_test(shares_follow_weights_when_others_run_dry),
        cmocka_unit_test(an_empty_queue_saves_no_credit),
        cmocka_unit_test(a_resting_queue_is_left_out),
        cmocka_unit_test(no_queue_starves),
        cmocka_unit_test(plans_keep_their_promises),
        cmocka_unit_test(dry_time_doubles_to_five_ms),
        cmocka_unit_test(next_is_the_earliest_of_the_dry),
        cmocka_unit_test(strict_serves_the_first_with_work),
        cmocka_unit_test(strict_lets_the_aged_through),
        cmocka_unit_test(strict_keeps_a_slot_for_the_first),
        cmocka_unit_test(strict_does_not_age_the_dry),
        cmocka_unit_test(weights_change_smoothly),
        cmocka_unit_test(credits_stay_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
