/*
 * The environment: options, allocation, clocks, arithmetic, randomness, log.
 */
#include "base/env.h"

#include "base/thread.h"
#include "support/failing_alloc.h"

#include <stdio.h>
#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static reeve_env *virtual_env(int64_t now_at_ms) {
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.virtual_now_at_ms = now_at_ms;
    reeve_env *env = NULL;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    return env;
}

static reeve_env *seeded_env(uint64_t seed) {
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.random_seed = seed;
    reeve_env *env = NULL;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    return env;
}

static void options_are_checked(void **state) {
    (void)state;
    reeve_error err = { 0 };
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.log_level = 5;
    assert_int_equal(reeve_env_new(&env, &options, &err), REEVE_E_INVALID);
    assert_non_null(strstr(err.message, "log_level 5"));
    assert_null(env);
    options.log_level = 0;
    options.virtual_now_at_ms = -1;
    assert_int_equal(reeve_env_new(&env, &options, &err), REEVE_E_INVALID);
    options.size = 0;
    assert_int_equal(reeve_env_new(&env, &options, &err), REEVE_E_USAGE);
    assert_int_equal(reeve_env_new(NULL, NULL, &err), REEVE_E_USAGE);
    assert_int_equal(reeve_env_new(&env, NULL, &err), 0);
    reeve_env_free(env);
    reeve_env_free(NULL);
}

static void references_keep_it_alive(void **state) {
    (void)state;
    failing_alloc fail;
    reeve_env *env = failing_alloc_env(&fail, NULL);
    assert_ptr_equal(reeve__env_ref(env), env);
    reeve_env_free(env);
    assert_int_equal(failing_alloc_live(&fail), 0);
    void *ptr = reeve__alloc(env, 10); /* still usable */
    assert_int_equal(failing_alloc_live(&fail), 1);
    reeve__free(env, ptr);
    reeve_env_free(env);
    assert_int_equal(failing_alloc_live(&fail), -1); /* its own block went */
    assert_null(reeve__env_ref(NULL));
}

static void *refuse(void *ctx, void *ptr, size_t new_bytes) {
    (void)ptr;
    (void)new_bytes;
    ++*(int *)ctx;
    return NULL;
}

static void birth_reports_no_memory(void **state) {
    (void)state;
    int calls = 0;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.alloc = refuse;
    options.alloc_ctx = &calls;
    reeve_env *env = NULL;
    reeve_error err = { 0 };
    assert_int_equal(reeve_env_new(&env, &options, &err), REEVE_E_NOMEM);
    assert_int_equal(err.code, REEVE_E_NOMEM);
    assert_null(env);
    assert_int_equal(calls, 1);
}

static void allocate_with(reeve_env *env) {
    char *zeroed = reeve__calloc(env, 7, 9);
    assert_non_null(zeroed);
    for (int i = 0; i < 63; i++)
        assert_int_equal(zeroed[i], 0);
    memset(zeroed, 'z', 63);
    zeroed = reeve__realloc(env, zeroed, 1000);
    assert_non_null(zeroed);
    assert_int_equal(zeroed[62], 'z');
    reeve__free(env, zeroed);

    char *copy = reeve__strndup(env, "a\0bc", 3);
    assert_memory_equal(copy, "a\0b", 4);
    reeve__free(env, copy);
    copy = reeve__strndup(env, NULL, 0);
    assert_string_equal(copy, "");
    reeve__free(env, copy);
    void *nothing = reeve__alloc(env, 0);
    assert_non_null(nothing);
    reeve__free(env, nothing);
    nothing = reeve__calloc(env, 0, 8);
    assert_non_null(nothing);
    reeve__free(env, nothing);
    reeve__free(env, NULL);
    assert_null(reeve__calloc(env, SIZE_MAX / 2, 3));
    assert_null(reeve__strndup(env, "x", SIZE_MAX));
}

static void allocation_works_with_and_without_env(void **state) {
    (void)state;
    allocate_with(NULL);
    failing_alloc fail;
    reeve_env *env = failing_alloc_env(&fail, NULL);
    allocate_with(env);
    assert_int_equal(failing_alloc_live(&fail), 0);
    failing_alloc_arm(&fail, 0);
    assert_null(reeve__alloc(env, 1));
    assert_true(failing_alloc_disarm(&fail));
    failing_alloc_arm(&fail, 0);
    assert_null(reeve__calloc(env, 1, 1));
    failing_alloc_arm(&fail, 0);
    assert_null(reeve__strndup(env, "x", 1));
    reeve_env_free(env);
}

static int64_t real_ns(clockid_t clock) {
    struct timespec now;
    assert_int_equal(clock_gettime(clock, &now), 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Ours lies between two readings of the system's: exact without a threshold. */
static void system_clocks_are_the_systems(void **state) {
    (void)state;
    reeve_env *env = seeded_env(1);
    reeve_env *both[] = { NULL, env };
    for (int i = 0; i < 2; i++) {
        assert_false(reeve__clock_is_virtual(both[i]));
        int64_t before = real_ns(CLOCK_MONOTONIC);
        int64_t ours = reeve__mono_ns(both[i]);
        assert_in_range(ours, before, real_ns(CLOCK_MONOTONIC));
        before = real_ns(CLOCK_REALTIME) / 1000000;
        ours = reeve_env_now_at_ms(both[i]);
        assert_in_range(ours, before, real_ns(CLOCK_REALTIME) / 1000000);
        assert_int_equal(reeve_env_advance(both[i], 1, NULL), REEVE_E_USAGE);
    }
    reeve_env_free(env);
}

static void virtual_clock_moves_only_by_advance(void **state) {
    (void)state;
    reeve_env *env = virtual_env(1700000000000);
    assert_true(reeve__clock_is_virtual(env));
    assert_int_equal(reeve__now_at_ms(env), 1700000000000);
    assert_int_equal(reeve__mono_ns(env), 0);
    assert_int_equal(reeve_env_advance(env, 1500, NULL), 0);
    assert_int_equal(reeve_env_advance(env, 0, NULL), 0);
    assert_int_equal(reeve__now_at_ms(env), 1700000001500);
    assert_int_equal(reeve__mono_ns(env), 1500 * REEVE__MS_NS);
    reeve_error err = { 0 };
    assert_int_equal(reeve_env_advance(env, -1, &err), REEVE_E_INVALID);
    assert_int_equal(reeve__now_at_ms(env), 1700000001500);
    assert_int_equal(reeve_env_advance(env, INT64_MAX, &err), 0);
    assert_true(reeve__now_at_ms(env) == INT64_MAX);
    assert_true(reeve__mono_ns(env) == INT64_MAX);
    reeve_env_free(env);
}

static void arithmetic_saturates(void **state) {
    (void)state;
    static const struct {
        int64_t a, b, sum, product;
    } rows[] = {
        { 2, 3, 5, 6 },
        { INT64_MAX, 1, INT64_MAX, INT64_MAX },
        { INT64_MAX, 2, INT64_MAX, INT64_MAX },
        { INT64_MIN, -1, INT64_MIN, INT64_MAX },
        { INT64_MIN, 2, INT64_MIN + 2, INT64_MIN },
        { INT64_MAX, -1, INT64_MAX - 1, -INT64_MAX },
        { INT64_MAX, INT64_MIN, -1, INT64_MIN },
        { INT64_MIN, INT64_MIN, INT64_MIN, INT64_MAX },
        { INT64_MIN, 0, INT64_MIN, 0 },
        { 3037000500, 3037000500, 6074001000, INT64_MAX },
        { -3037000500, 3037000500, 0, INT64_MIN },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(reeve__add_sat(rows[i].a, rows[i].b) == rows[i].sum);
        assert_true(reeve__add_sat(rows[i].b, rows[i].a) == rows[i].sum);
        assert_true(reeve__mul_sat(rows[i].a, rows[i].b) == rows[i].product);
        assert_true(reeve__mul_sat(rows[i].b, rows[i].a) == rows[i].product);
    }
}

static void points_in_time_saturate(void **state) {
    (void)state;
    reeve_env *env = virtual_env(1000);
    assert_int_equal(reeve_env_advance(env, 5, NULL), 0);
    assert_int_equal(reeve__by_ns(env, 0), 5 * REEVE__MS_NS);
    assert_int_equal(reeve__by_ns(env, 10), 15 * REEVE__MS_NS);
    assert_true(reeve__by_ns(env, REEVE_NEVER) == INT64_MAX);
    assert_true(reeve__by_ns(env, INT64_MAX) == INT64_MAX);
    reeve_env_free(env);
}

/* First outputs of splitmix64 for seed 1234567, from its reference code. */
static void seeded_sequence_is_the_published_one(void **state) {
    (void)state;
    static const uint64_t want[] = {
        6457827717110365317u, 3203168211198807973u,  9817491932198370423u,
        4593380528125082431u, 16408922859458223821u,
    };
    reeve_env *env = seeded_env(1234567);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_true(reeve__random(env) == want[i]);
    reeve_env_free(env);
}

static void unseeded_numbers_differ(void **state) {
    (void)state;
    reeve_env *env = seeded_env(0);
    uint64_t a = reeve__random(NULL);
    uint64_t b = reeve__random(env);
    uint64_t c = reeve__random(NULL);
    assert_true(a != b && b != c && a != c);
    reeve_env_free(env);
}

/* Chi-square of 10 cells at 9 degrees of freedom: 27.88 is p = 0.001, and the
 * seed is fixed, so this either always or never passes. */
static void random_below_is_uniform(void **state) {
    (void)state;
    reeve_env *env = seeded_env(42);
    assert_true(reeve__random_below(env, 0) == 0);
    assert_true(reeve__random_below(env, 1) == 0);
    int cells[10] = { 0 };
    for (int i = 0; i < 100000; i++)
        cells[reeve__random_below(env, 10)]++;
    double chi_square = 0;
    for (int i = 0; i < 10; i++) {
        double d = cells[i] - 10000.0;
        chi_square += d * d / 10000.0;
    }
    assert_true(chi_square < 27.88);
    reeve_env_free(env);
}

/* A bound of 3/4 of the range: plain modulo would give the lowest third of the
 * values twice as often. */
static void random_below_has_no_modulo_bias(void **state) {
    (void)state;
    reeve_env *env = seeded_env(7);
    uint64_t bound = (uint64_t)3 << 62;
    int low = 0;
    for (int i = 0; i < 30000; i++) {
        uint64_t value = reeve__random_below(env, bound);
        assert_true(value < bound);
        low += value < bound / 3;
    }
    assert_in_range(low, 9700, 10300); /* 10000 ± 3.7 sigma; biased: 15000 */
    reeve_env_free(env);
}

#define DRAWS 20000

typedef struct drawer {
    reeve_env *env;
    uint64_t sum;
} drawer;

static void draw(void *arg) {
    drawer *d = arg;
    for (int i = 0; i < DRAWS; i++)
        d->sum ^= reeve__random(d->env);
}

/* Threads share one sequence: each number is given out exactly once. */
static void seeded_sequence_is_shared_by_threads(void **state) {
    (void)state;
    drawer alone = { seeded_env(99), 0 };
    for (int i = 0; i < 3; i++)
        draw(&alone);
    reeve_env *env = seeded_env(99);
    drawer drawers[3] = { { env, 0 }, { env, 0 }, { env, 0 } };
    reeve__thread threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            reeve__thread_start(&threads[i], "draw", draw, &drawers[i], NULL),
            0);
    for (int i = 0; i < 3; i++)
        reeve__thread_join(&threads[i]);
    assert_true((drawers[0].sum ^ drawers[1].sum ^ drawers[2].sum) ==
                alone.sum);
    reeve_env_free(env);
    reeve_env_free(alone.env);
}

typedef struct log_sink {
    int count;
    int32_t level;
    char line[2000];
} log_sink;

static void keep_line(void *ctx, int32_t level, const char *line) {
    log_sink *sink = ctx;
    sink->count++;
    sink->level = level;
    snprintf(sink->line, sizeof sink->line, "%s", line);
}

static void log_filters_and_keeps_one_line(void **state) {
    (void)state;
    log_sink sink = { 0 };
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.log = keep_line;
    options.log_ctx = &sink;
    reeve_env *env = NULL;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    assert_true(reeve__log_is_on(env, REEVE_LOG_WARN));
    assert_false(reeve__log_is_on(env, REEVE_LOG_INFO));
    reeve__log(env, REEVE_LOG_INFO, "quiet");
    assert_int_equal(sink.count, 0);
    reeve__log(env, REEVE_LOG_ERROR, "lost %d\nof %s", 3, "many");
    assert_int_equal(sink.count, 1);
    assert_int_equal(sink.level, REEVE_LOG_ERROR);
    assert_string_equal(sink.line, "lost 3 of many");
    reeve__log(env, REEVE_LOG_WARN, "%3000d", 1);
    assert_int_equal(strlen(sink.line), 1023);
    reeve_env_free(env);
    assert_false(reeve__log_is_on(NULL, REEVE_LOG_ERROR));
    reeve__log(NULL, REEVE_LOG_ERROR, "nowhere");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(references_keep_it_alive),
        cmocka_unit_test(birth_reports_no_memory),
        cmocka_unit_test(allocation_works_with_and_without_env),
        cmocka_unit_test(system_clocks_are_the_systems),
        cmocka_unit_test(virtual_clock_moves_only_by_advance),
        cmocka_unit_test(arithmetic_saturates),
        cmocka_unit_test(points_in_time_saturate),
        cmocka_unit_test(seeded_sequence_is_the_published_one),
        cmocka_unit_test(unseeded_numbers_differ),
        cmocka_unit_test(random_below_is_uniform),
        cmocka_unit_test(random_below_has_no_modulo_bias),
        cmocka_unit_test(seeded_sequence_is_shared_by_threads),
        cmocka_unit_test(log_filters_and_keeps_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
