/*
 * From outcome to verdict: the full table of outcomes over the states of
 * counters, deadlines and limits.
 */
#include "policy/settle.h"

#include "core/prng.h"
#include "task/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NOW 1000000

enum {
    NONE = REEVE_STATE_NONE,
    SCHEDULED = REEVE_STATE_SCHEDULED,
    PENDING = REEVE_STATE_PENDING,
    RETRY = REEVE_STATE_RETRY,
    COMPLETED = REEVE_STATE_COMPLETED,
    ARCHIVED = REEVE_STATE_ARCHIVED
};

/* Fixed 100 ms, 3 runs in all. */
static const reeve_retry_options three_runs = {
    .backoff = REEVE_BACKOFF_FIXED,
    .jitter = REEVE_JITTER_NONE,
    .max_attempts = 3,
    .base_ms = 100,
    .cap_ms = 100,
    .factor = 1,
};
static const reeve_retry_options endless = {
    .backoff = REEVE_BACKOFF_FIXED,
    .jitter = REEVE_JITTER_NONE,
    .max_attempts = REEVE_NEVER,
    .base_ms = 100,
    .cap_ms = 100,
    .factor = 1,
};
static const reeve_retry_options once = {
    .backoff = REEVE_BACKOFF_FIXED,
    .jitter = REEVE_JITTER_NONE,
    .max_attempts = 1,
    .base_ms = 100,
    .cap_ms = 100,
    .factor = 1,
};
/* Over at NOW + 50 for a task enqueued at NOW - 500. */
static const reeve_retry_options elapsing = {
    .backoff = REEVE_BACKOFF_FIXED,
    .jitter = REEVE_JITTER_NONE,
    .max_attempts = 9,
    .base_ms = 100,
    .cap_ms = 100,
    .factor = 1,
    .max_elapsed_ms = 550,
};

typedef struct row {
    const char *name;
    int32_t outcome;
    bool crashed;
    bool not_started;
    int32_t failures;
    int32_t crashes;
    int32_t max_crashes; /* 0 = 3 */
    int64_t own_delay_ms;
    int64_t deadline_at_ms;
    int64_t retention_ms;
    const reeve_retry_options *retry; /* NULL = three_runs */
    reeve__verdict want;
} row;

#define DONE REEVE_OUTCOME_DONE
#define AGAIN REEVE_OUTCOME_RETRY
#define FATAL REEVE_OUTCOME_FATAL
#define DISCARD REEVE_OUTCOME_DISCARD
#define SNOOZE REEVE_OUTCOME_SNOOZE
#define REQUEUE REEVE_OUTCOME_REQUEUE

static const row rows[] = {
    { "done is gone", DONE, .want = { .to_state = NONE, .done = true } },
    { "done keeps its counts", DONE, .failures = 2, .crashes = 1,
      .want = { .to_state = NONE, .failures = 2, .crashes = 1, .done = true } },
    { "done is kept for its retention", DONE, .retention_ms = 77,
      .want = { .to_state = COMPLETED, .retention_ms = 77, .done = true } },
    { "done is kept for ever", DONE, .retention_ms = REEVE_NEVER,
      .want = { .to_state = COMPLETED,
                .retention_ms = REEVE_NEVER,
                .done = true } },
    { "done after the deadline is done", DONE, .deadline_at_ms = NOW - 1,
      .want = { .to_state = NONE, .done = true } },
    { "done ignores attempts", DONE, .failures = 99,
      .want = { .to_state = NONE, .failures = 99, .done = true } },

    { "first failure is retried", AGAIN,
      .want = { .to_state = RETRY,
                .failures = 1,
                .delay_ms = 100,
                .failed = true } },
    { "second failure is retried", AGAIN, .failures = 1,
      .want = { .to_state = RETRY,
                .failures = 2,
                .delay_ms = 100,
                .failed = true } },
    { "third failure is the last", AGAIN, .failures = 2,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_EXHAUSTED,
                .failures = 3,
                .failed = true } },
    { "own delay wins", AGAIN, .own_delay_ms = 7,
      .want = { .to_state = RETRY,
                .failures = 1,
                .delay_ms = 7,
                .failed = true } },
    { "own delay does not add attempts", AGAIN, .failures = 2,
      .own_delay_ms = 7,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_EXHAUSTED,
                .failures = 3,
                .failed = true } },
    { "one attempt is never retried", AGAIN, .retry = &once,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_EXHAUSTED,
                .failures = 1,
                .failed = true } },
    { "no limit of attempts", AGAIN, .failures = 1000000, .retry = &endless,
      .want = { .to_state = RETRY,
                .failures = 1000001,
                .delay_ms = 100,
                .failed = true } },
    { "failures saturate", AGAIN, .failures = INT32_MAX, .retry = &endless,
      .want = { .to_state = RETRY,
                .failures = INT32_MAX,
                .delay_ms = 100,
                .failed = true } },
    { "crashes do not burn attempts", AGAIN, .crashes = 50,
      .want = { .to_state = RETRY,
                .failures = 1,
                .crashes = 50,
                .delay_ms = 100,
                .failed = true } },
    { "retry due before the deadline", AGAIN, .deadline_at_ms = NOW + 101,
      .want = { .to_state = RETRY,
                .failures = 1,
                .delay_ms = 100,
                .failed = true } },
    { "retry due at the deadline", AGAIN, .deadline_at_ms = NOW + 100,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_DEADLINE,
                .failures = 1,
                .failed = true } },
    { "retry after the deadline", AGAIN, .deadline_at_ms = NOW - 5,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_DEADLINE,
                .failures = 1,
                .failed = true } },
    { "exhausted says more than deadline", AGAIN, .failures = 2,
      .deadline_at_ms = NOW - 5,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_EXHAUSTED,
                .failures = 3,
                .failed = true } },
    { "retry time is over", AGAIN, .retry = &elapsing,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_ELAPSED,
                .failures = 1,
                .failed = true } },
    { "own delay within the retry time", AGAIN, .own_delay_ms = 50,
      .retry = &elapsing,
      .want = { .to_state = RETRY,
                .failures = 1,
                .delay_ms = 50,
                .failed = true } },
    { "own delay past the retry time", AGAIN, .own_delay_ms = 51,
      .retry = &elapsing,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_ELAPSED,
                .failures = 1,
                .failed = true } },
    { "deadline says more than retry time", AGAIN, .retry = &elapsing,
      .deadline_at_ms = NOW + 1,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_DEADLINE,
                .failures = 1,
                .failed = true } },
    { "own delay saturates", AGAIN, .own_delay_ms = INT64_MAX,
      .want = { .to_state = RETRY,
                .failures = 1,
                .delay_ms = INT64_MAX,
                .failed = true } },
    { "own delay saturates past a deadline", AGAIN, .own_delay_ms = INT64_MAX,
      .deadline_at_ms = INT64_MAX,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_DEADLINE,
                .failures = 1,
                .failed = true } },

    { "fatal goes to the archive", FATAL,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_FATAL,
                .failures = 1,
                .failed = true } },
    { "fatal with attempts left or not", FATAL, .failures = 2,
      .deadline_at_ms = NOW - 1,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_FATAL,
                .failures = 3,
                .failed = true } },
    { "discard leaves nothing", DISCARD, .failures = 1, .retention_ms = 77,
      .want = { .to_state = NONE, .failures = 1 } },

    { "snooze burns nothing", SNOOZE, .failures = 2, .crashes = 1,
      .own_delay_ms = 500,
      .want = { .to_state = SCHEDULED,
                .failures = 2,
                .crashes = 1,
                .delay_ms = 500 } },
    { "snooze without a delay", SNOOZE, .want = { .to_state = SCHEDULED } },
    { "snooze is not bounded by the retry time", SNOOZE, .own_delay_ms = 500,
      .retry = &elapsing, .want = { .to_state = SCHEDULED, .delay_ms = 500 } },
    { "snooze until the deadline", SNOOZE, .own_delay_ms = 500,
      .deadline_at_ms = NOW + 500,
      .want = { .to_state = ARCHIVED, .reason = REEVE__REASON_DEADLINE } },
    { "negative snooze is none", SNOOZE, .own_delay_ms = -5,
      .want = { .to_state = SCHEDULED } },

    { "requeue counts nothing", REQUEUE, .failures = 2, .crashes = 2,
      .want = { .to_state = PENDING, .failures = 2, .crashes = 2 } },

    { "first crash", DONE, .crashed = true, .failures = 2,
      .want = { .to_state = PENDING, .failures = 2, .crashes = 1 } },
    { "second crash", FATAL, .crashed = true, .crashes = 1,
      .want = { .to_state = PENDING, .crashes = 2 } },
    { "third crash is poison", AGAIN, .crashed = true, .crashes = 2,
      .failures = 1,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_POISON,
                .failures = 1,
                .crashes = 3 } },
    { "one crash allowed", DONE, .crashed = true, .max_crashes = 1,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_POISON,
                .crashes = 1 } },
    { "crash without limit", DONE, .crashed = true, .crashes = 1000000,
      .max_crashes = REEVE_NEVER,
      .want = { .to_state = PENDING, .crashes = 1000001 } },
    { "crashes saturate", DONE, .crashed = true, .crashes = INT32_MAX,
      .max_crashes = REEVE_NEVER,
      .want = { .to_state = PENDING, .crashes = INT32_MAX } },
    { "crash past the deadline", DONE, .crashed = true, .deadline_at_ms = NOW,
      .want = { .to_state = ARCHIVED,
                .reason = REEVE__REASON_DEADLINE,
                .crashes = 1 } },
    { "crash before the deadline", DONE, .crashed = true,
      .deadline_at_ms = NOW + 1,
      .want = { .to_state = PENDING, .crashes = 1 } },

    { "not started counts nothing", AGAIN, .not_started = true, .failures = 2,
      .crashes = 2,
      .want = { .to_state = PENDING, .failures = 2, .crashes = 2 } },
    { "not started with a crash", DONE, .not_started = true, .crashed = true,
      .crashes = 2, .want = { .to_state = PENDING, .crashes = 2 } },
    { "not started and past the deadline", DONE, .not_started = true,
      .deadline_at_ms = NOW - 1, .want = { .to_state = PENDING } },
};

static reeve__settle_input input_of(const row *r) {
    return (reeve__settle_input){
        .outcome = r->outcome,
        .crashed = r->crashed,
        .started = !r->not_started,
        .failures = r->failures,
        .crashes = r->crashes,
        .max_crashes = r->max_crashes != 0 ? r->max_crashes : 3,
        .own_delay_ms = r->own_delay_ms,
        .enqueued_at_ms = NOW - 500,
        .deadline_at_ms = r->deadline_at_ms,
        .retention_ms = r->retention_ms,
        .now_at_ms = NOW,
        .random = UINT64_C(0x123456789abcdef0),
        .retry = r->retry != NULL ? r->retry : &three_runs,
    };
}

static void verdicts_are_those_of_the_table(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        reeve__settle_input in = input_of(&rows[i]);
        reeve__verdict got = reeve__settle_decide(&in);
        const reeve__verdict *want = &rows[i].want;
        bool same =
            got.to_state == want->to_state && got.reason == want->reason &&
            got.failures == want->failures && got.crashes == want->crashes &&
            got.delay_ms == want->delay_ms &&
            got.retention_ms == want->retention_ms && got.done == want->done &&
            got.failed == want->failed;
        if (!same)
            fail_msg("%s: state %d reason %d failures %d crashes %d delay %lld "
                     "retention %lld done %d failed %d",
                     rows[i].name, got.to_state, got.reason, got.failures,
                     got.crashes, (long long)got.delay_ms,
                     (long long)got.retention_ms, got.done, got.failed);
    }
}

static int64_t random_ms(prng *rng) {
    return (int64_t)(prng_next(rng) >> (1 + prng_below(rng, 63)));
}

static reeve__settle_input random_input(prng *rng, reeve_retry_options *retry) {
    *retry = (reeve_retry_options){
        .backoff = (int32_t)prng_below(rng, 4),
        .jitter = (int32_t)prng_below(rng, 4),
        .max_attempts = (int32_t)prng_below(rng, 6) - 1,
        .base_ms = random_ms(rng),
        .cap_ms = random_ms(rng),
        .max_elapsed_ms = prng_below(rng, 2) ? random_ms(rng) : 0,
    };
    reeve__retry_resolve(retry);
    return (reeve__settle_input){
        .outcome = (int32_t)prng_below(rng, 6),
        .crashed = prng_below(rng, 4) == 0,
        .started = prng_below(rng, 8) != 0,
        .failures = (int32_t)prng_below(rng, 6),
        .crashes = (int32_t)prng_below(rng, 6),
        .max_crashes = prng_below(rng, 4) == 0 ? REEVE_NEVER : 3,
        .own_delay_ms = prng_below(rng, 2) ? random_ms(rng) : 0,
        .enqueued_at_ms = random_ms(rng),
        .deadline_at_ms = prng_below(rng, 2) ? random_ms(rng) : 0,
        .retention_ms = (int64_t)prng_below(rng, 4) - 1,
        .now_at_ms = random_ms(rng),
        .random = prng_next(rng),
        .retry = retry,
    };
}

/* What holds of every verdict, whatever the input. */
static void verdicts_keep_their_promises(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0201);
    for (int i = 0; i < 300000; i++) {
        reeve_retry_options retry;
        reeve__settle_input in = random_input(&rng, &retry);
        reeve__verdict v = reeve__settle_decide(&in);
        int failed = v.failures - in.failures;
        int crashed = v.crashes - in.crashes;
        assert_true(failed + crashed <= 1 && failed >= 0 && crashed >= 0);
        assert_int_equal(failed, v.failed);
        assert_int_equal(crashed, in.crashed && in.started);
        assert_false(v.done && v.failed);
        assert_int_equal(v.to_state == ARCHIVED,
                         v.reason != REEVE__REASON_NONE);
        assert_true(v.delay_ms >= 0);
        assert_true(v.delay_ms == 0 || v.to_state == RETRY ||
                    v.to_state == SCHEDULED);
        assert_int_equal(v.to_state == COMPLETED, v.retention_ms != 0);
        if (!in.started)
            assert_int_equal(v.to_state, PENDING);
        /* Nothing is put off to where it may not start. */
        bool put_off = v.to_state == RETRY || v.to_state == SCHEDULED;
        if (put_off && in.deadline_at_ms != 0)
            assert_true(v.delay_ms < in.deadline_at_ms - in.now_at_ms);
        if (v.to_state == RETRY && retry.max_attempts != REEVE_NEVER)
            assert_true(v.failures < retry.max_attempts);
        if (v.to_state == RETRY && retry.max_elapsed_ms != 0)
            assert_true(
                (double)in.now_at_ms + (double)v.delay_ms <=
                ((double)in.enqueued_at_ms + (double)retry.max_elapsed_ms) *
                    (1 + 1e-12));
    }
}

static void reasons_have_texts(void **state) {
    (void)state;
    static const char *const texts[] = { "",
                                         "attempts exhausted",
                                         "fatal error",
                                         "retry time is over",
                                         "deadline passed",
                                         "worker crashed too often",
                                         "message unreadable",
                                         "archived by hand" };
    for (int32_t i = 0; i < 8; i++)
        assert_string_equal(reeve__reason_text(i), texts[i]);
    assert_string_equal(reeve__reason_text(8), "");
    assert_string_equal(reeve__reason_text(-1), "");
}

static void start_is_refused_from_the_deadline_on(void **state) {
    (void)state;
    assert_int_equal(reeve__start_check(0, NOW), REEVE__REASON_NONE);
    assert_int_equal(reeve__start_check(NOW + 1, NOW), REEVE__REASON_NONE);
    assert_int_equal(reeve__start_check(NOW, NOW), REEVE__REASON_DEADLINE);
    assert_int_equal(reeve__start_check(NOW - 1, NOW), REEVE__REASON_DEADLINE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_are_those_of_the_table),
        cmocka_unit_test(verdicts_keep_their_promises),
        cmocka_unit_test(reasons_have_texts),
        cmocka_unit_test(start_is_refused_from_the_deadline_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
