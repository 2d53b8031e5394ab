/*
 * Delays before the next attempt: schedules, bounds, saturation, and the
 * distribution of jitter; and the defaults and bounds of the options.
 */
#include "policy/backoff.h"
#include "task/retry.h"

#include "core/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static reeve_retry_options resolved(reeve_retry_options retry) {
    reeve__retry_resolve(&retry);
    return retry;
}

static int64_t plain(reeve_retry_options retry, int32_t failures) {
    retry.jitter = REEVE_JITTER_NONE;
    reeve__retry_resolve(&retry);
    return reeve__backoff_delay_ms(&retry, failures, 0);
}

static void defaults_fill_only_zeros(void **state) {
    (void)state;
    reeve_retry_options retry = resolved((reeve_retry_options){ 0 });
    assert_int_equal(retry.backoff, REEVE_BACKOFF_EXPONENTIAL);
    assert_int_equal(retry.jitter, REEVE_JITTER_FULL);
    assert_int_equal(retry.max_attempts, 26);
    assert_int_equal(retry.base_ms, 1000);
    assert_int_equal(retry.cap_ms, 3600000);
    assert_true(retry.factor == 2);
    assert_int_equal(retry.max_elapsed_ms, 0);
    reeve_retry_options given = { .backoff = REEVE_BACKOFF_LINEAR,
                                  .jitter = REEVE_JITTER_EQUAL,
                                  .max_attempts = REEVE_NEVER,
                                  .base_ms = 7,
                                  .cap_ms = 9,
                                  .factor = 1.5,
                                  .max_elapsed_ms = 11 };
    reeve_retry_options kept = resolved(given);
    assert_memory_equal(&kept, &given, sizeof(given));
    int64_t delay = 5;
    retry = resolved((reeve_retry_options){
        .backoff = REEVE_BACKOFF_LIST, .delays_ms = &delay, .delay_count = 1 });
    assert_int_equal(retry.jitter, REEVE_JITTER_NONE);
}

static void default_cap_does_not_cut_a_longer_base(void **state) {
    (void)state;
    reeve_retry_options retry = { .backoff = REEVE_BACKOFF_FIXED,
                                  .base_ms = 7200000 };
    assert_int_equal(plain(retry, 3), 7200000);
    retry.cap_ms = 5000;
    assert_int_equal(plain(retry, 3), 5000);
}

static void schedules(void **state) {
    (void)state;
    static const int64_t delays[] = { 10, 500, 70 };
    static const struct {
        reeve_retry_options retry;
        int32_t failures;
        int64_t want_ms;
    } rows[] = {
        { { .base_ms = 100 }, 1, 100 },
        { { .base_ms = 100 }, 2, 200 },
        { { .base_ms = 100 }, 5, 1600 },
        { { .base_ms = 100, .factor = 3 }, 4, 2700 },
        { { .base_ms = 100, .factor = 1.5 }, 3, 225 },
        { { .base_ms = 100, .factor = 1 }, 1000, 100 },
        { { .base_ms = 100, .factor = 100 }, 3, 1000000 },
        { { .base_ms = 100, .cap_ms = 1599 }, 5, 1599 },
        { { .base_ms = 100, .cap_ms = 50 }, 1, 50 },
        { { .base_ms = 100 }, 0, 100 },
        { { .base_ms = 100 }, INT32_MAX, 3600000 },
        { { .base_ms = 1, .cap_ms = INT64_MAX, .factor = 100 },
          INT32_MAX,
          INT64_MAX },
        { { .base_ms = REEVE_SPAN_MS_MAX, .cap_ms = REEVE_SPAN_MS_MAX },
          INT32_MAX,
          REEVE_SPAN_MS_MAX },
        { { .backoff = REEVE_BACKOFF_FIXED, .base_ms = 42 }, 1, 42 },
        { { .backoff = REEVE_BACKOFF_FIXED, .base_ms = 42 }, INT32_MAX, 42 },
        { { .backoff = REEVE_BACKOFF_LINEAR, .base_ms = 42 }, 1, 42 },
        { { .backoff = REEVE_BACKOFF_LINEAR, .base_ms = 42 }, 10, 420 },
        { { .backoff = REEVE_BACKOFF_LINEAR, .base_ms = 42 },
          INT32_MAX,
          3600000 },
        { { .backoff = REEVE_BACKOFF_LINEAR,
            .base_ms = INT64_MAX / 2,
            .cap_ms = INT64_MAX },
          INT32_MAX,
          INT64_MAX },
        { { .backoff = REEVE_BACKOFF_LIST,
            .delays_ms = delays,
            .delay_count = 3 },
          1,
          10 },
        { { .backoff = REEVE_BACKOFF_LIST,
            .delays_ms = delays,
            .delay_count = 3 },
          2,
          500 },
        { { .backoff = REEVE_BACKOFF_LIST,
            .delays_ms = delays,
            .delay_count = 3 },
          INT32_MAX,
          70 },
        /* The cap is not for lists. */
        { { .backoff = REEVE_BACKOFF_LIST,
            .cap_ms = 20,
            .delays_ms = delays,
            .delay_count = 3 },
          2,
          500 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t got_ms = plain(rows[i].retry, rows[i].failures);
        if (got_ms != rows[i].want_ms)
            fail_msg("row %zu: %lld, not %lld", i, (long long)got_ms,
                     (long long)rows[i].want_ms);
    }
}

static void every_delay_is_within_its_bounds(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0001);
    for (int i = 0; i < 200000; i++) {
        reeve_retry_options retry = {
            .backoff = (int32_t)prng_below(&rng, 4),
            .jitter = (int32_t)prng_below(&rng, 4),
            .base_ms = (int64_t)(prng_next(&rng) >> (prng_below(&rng, 63) + 1)),
            .cap_ms = (int64_t)(prng_next(&rng) >> (prng_below(&rng, 63) + 1)),
            .factor = 1 + (double)prng_below(&rng, 9901) / 100,
        };
        reeve__retry_resolve(&retry);
        int32_t failures =
            (int32_t)(prng_next(&rng) >> (33 + prng_below(&rng, 31)));
        uint64_t random = prng_next(&rng);
        int64_t delay_ms = reeve__backoff_delay_ms(&retry, failures, random);
        assert_true(delay_ms >= 0 && delay_ms <= retry.cap_ms);
        reeve_retry_options none = retry;
        none.jitter = REEVE_JITTER_NONE;
        int64_t most_ms = reeve__backoff_delay_ms(&none, failures, random);
        assert_true(delay_ms <= most_ms);
        if (retry.jitter == REEVE_JITTER_EQUAL)
            assert_true(delay_ms >= most_ms / 2);
    }
}

/* Chi-squared of draws over equal cells; 16 cells, 15 degrees of freedom:
 * above 37.7 once in a thousand seeds, above 56 once in a million. */
static void check_uniform(int32_t jitter, int64_t low, int64_t high) {
    reeve_retry_options retry =
        resolved((reeve_retry_options){ .backoff = REEVE_BACKOFF_FIXED,
                                        .jitter = jitter,
                                        .base_ms = 16000 - 1 });
    prng rng = prng_of(__func__, 0x5eed0002);
    enum {
        DRAWS = 160000,
        CELLS = 16
    };
    int64_t cells[CELLS] = { 0 };
    double sum = 0;
    int64_t least = INT64_MAX;
    int64_t most = 0;
    for (int i = 0; i < DRAWS; i++) {
        int64_t delay_ms = reeve__backoff_delay_ms(&retry, 1, prng_next(&rng));
        assert_in_range(delay_ms, low, high);
        cells[(delay_ms - low) * CELLS / (high - low + 1)]++;
        sum += (double)delay_ms;
        least = delay_ms < least ? delay_ms : least;
        most = delay_ms > most ? delay_ms : most;
    }
    double want = (double)DRAWS / CELLS;
    double chi = 0;
    for (int i = 0; i < CELLS; i++)
        chi += ((double)cells[i] - want) * ((double)cells[i] - want) / want;
    double mean = sum / DRAWS;
    double middle = (double)(low + high) / 2;
    printf("jitter %d: mean %.1f of %.1f, chi2 %.1f\n", jitter, mean, middle,
           chi);
    assert_true(chi < 56);
    /* Standard error of the mean: width / sqrt(12 n); five of them. */
    double width = (double)(high - low + 1);
    assert_true(fabs(mean - middle) < 5 * width / sqrt(12.0 * DRAWS));
    assert_true(least - low < (high - low) / 1000);
    assert_true(high - most < (high - low) / 1000);
}

static void full_jitter_is_uniform(void **state) {
    (void)state;
    check_uniform(REEVE_JITTER_FULL, 0, 15999);
}

static void equal_jitter_is_uniform_above_the_half(void **state) {
    (void)state;
    check_uniform(REEVE_JITTER_EQUAL, 7999, 15999);
}

static void jitter_reaches_both_ends(void **state) {
    (void)state;
    reeve_retry_options retry = resolved((reeve_retry_options){
        .backoff = REEVE_BACKOFF_FIXED, .base_ms = 1001 });
    assert_int_equal(reeve__backoff_delay_ms(&retry, 1, 0), 0);
    assert_int_equal(reeve__backoff_delay_ms(&retry, 1, UINT64_MAX), 1001);
    retry.jitter = REEVE_JITTER_EQUAL;
    assert_int_equal(reeve__backoff_delay_ms(&retry, 1, 0), 500);
    assert_int_equal(reeve__backoff_delay_ms(&retry, 1, UINT64_MAX), 1001);
}

static void uniform_maps_ends_onto_ends(void **state) {
    (void)state;
    assert_int_equal(reeve__uniform(0, 10), 0);
    assert_int_equal(reeve__uniform(UINT64_MAX, 10), 9);
    assert_int_equal(reeve__uniform(UINT64_MAX, 0), 0);
    assert_int_equal(reeve__uniform(UINT64_MAX, 1), 0);
    assert_int_equal(reeve__uniform(UINT64_MAX, UINT64_MAX), UINT64_MAX - 1);
    assert_int_equal(reeve__uniform(UINT64_C(1) << 63, 1000), 500);
    assert_int_equal(reeve__uniform(UINT64_C(0x123456789abcdef0), 1u << 16),
                     0x1234);
}

static void options_out_of_bounds_are_named(void **state) {
    (void)state;
    static const int64_t delays[REEVE_DELAYS_COUNT_MAX + 1] = { 1, -7 };
    static const struct {
        reeve_retry_options retry;
        reeve_rc rc;
        const char *message;
    } rows[] = {
        { { 0 }, REEVE_OK, "" },
        { { .max_attempts = REEVE_NEVER }, REEVE_OK, "" },
        { { .factor = 1 }, REEVE_OK, "" },
        { { .factor = 100 }, REEVE_OK, "" },
        { { .backoff = REEVE_BACKOFF_LIST,
            .delays_ms = delays,
            .delay_count = 1 },
          REEVE_OK,
          "" },
        { { .backoff = 5 },
          REEVE_E_INVALID,
          "retry backoff 5 is outside 0..4" },
        { { .backoff = -1 },
          REEVE_E_INVALID,
          "retry backoff -1 is outside 0..4" },
        { { .jitter = 4 }, REEVE_E_INVALID, "retry jitter 4 is outside 0..3" },
        { { .max_attempts = -2 },
          REEVE_E_INVALID,
          "retry max_attempts -2 is below -1" },
        { { .base_ms = -1 }, REEVE_E_INVALID, "retry base_ms -1 is negative" },
        { { .cap_ms = REEVE_SPAN_MS_MAX + 1 },
          REEVE_E_INVALID,
          "retry cap_ms 316224000001 is above 316224000000" },
        { { .max_elapsed_ms = -5 },
          REEVE_E_INVALID,
          "retry max_elapsed_ms -5 is negative" },
        { { .factor = 0.5 },
          REEVE_E_INVALID,
          "retry factor 0.5 is outside 1..100" },
        { { .factor = 101 },
          REEVE_E_INVALID,
          "retry factor 101 is outside 1..100" },
        { { .factor = -2 },
          REEVE_E_INVALID,
          "retry factor -2 is outside 1..100" },
        { { .factor = (double)NAN }, REEVE_E_INVALID, NULL },
        { { .factor = (double)INFINITY }, REEVE_E_INVALID, NULL },
        { { .backoff = REEVE_BACKOFF_LIST },
          REEVE_E_INVALID,
          "retry delays_ms are empty but backoff is list" },
        { { .delays_ms = delays, .delay_count = 1 },
          REEVE_E_INVALID,
          "retry delays_ms are given but backoff is not list" },
        { { .backoff = REEVE_BACKOFF_LIST, .delay_count = 2 },
          REEVE_E_USAGE,
          "retry delay_count is 2 but delays_ms is null" },
        { { .backoff = REEVE_BACKOFF_LIST,
            .delays_ms = delays,
            .delay_count = 2 },
          REEVE_E_INVALID,
          "retry delays_ms item -7 is negative" },
        { { .backoff = REEVE_BACKOFF_LIST,
            .delays_ms = delays,
            .delay_count = 33 },
          REEVE_E_INVALID,
          "retry delays_ms has 33 items, at most 32 allowed" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        reeve_error err = { 0 };
        reeve_rc rc = reeve__retry_check(&rows[i].retry, &err);
        if (rc != rows[i].rc)
            fail_msg("row %zu: rc %d, %s", i, rc, err.message);
        if (rows[i].message != NULL)
            assert_string_equal(err.message, rows[i].message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_only_zeros),
        cmocka_unit_test(default_cap_does_not_cut_a_longer_base),
        cmocka_unit_test(schedules),
        cmocka_unit_test(every_delay_is_within_its_bounds),
        cmocka_unit_test(full_jitter_is_uniform),
        cmocka_unit_test(equal_jitter_is_uniform_above_the_half),
        cmocka_unit_test(jitter_reaches_both_ends),
        cmocka_unit_test(uniform_maps_ends_onto_ends),
        cmocka_unit_test(options_out_of_bounds_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
