/*
 * Defaults and bounds of retry options. Called by the enqueue checks and by the
 * envelope's decoder; pure.
 */
#include "task/retry.h"

#include <inttypes.h>

#include "base/error.h"

const char *const reeve__backoff_names[REEVE__BACKOFF_COUNT] = {
    NULL, "exponential", "fixed", "linear", "list",
};
const char *const reeve__jitter_names[REEVE__JITTER_COUNT] = {
    NULL,
    "full",
    "equal",
    "none",
};

void reeve__retry_resolve(reeve_retry_options *retry) {
    if (retry->backoff == REEVE_BACKOFF_DEFAULT)
        retry->backoff = REEVE_BACKOFF_EXPONENTIAL;
    if (retry->jitter == REEVE_JITTER_DEFAULT)
        retry->jitter = retry->backoff == REEVE_BACKOFF_LIST
                            ? REEVE_JITTER_NONE
                            : REEVE_JITTER_FULL;
    if (retry->max_attempts == 0)
        retry->max_attempts = REEVE_MAX_ATTEMPTS_DEFAULT;
    if (retry->base_ms == 0)
        retry->base_ms = REEVE_BACKOFF_BASE_MS_DEFAULT;
    if (retry->cap_ms == 0)
        retry->cap_ms = retry->base_ms > REEVE_BACKOFF_CAP_MS_DEFAULT
                            ? retry->base_ms
                            : REEVE_BACKOFF_CAP_MS_DEFAULT;
    if (!(retry->factor > 0))
        retry->factor = 2;
}

reeve_rc reeve__range_check(const char *what, int64_t value, int64_t min,
                            int64_t max, reeve_error *err) {
    if (value >= min && value <= max)
        return REEVE_OK;
    if (max - min < 100)
        return reeve__fail(err, REEVE_E_INVALID,
                           "%s %" PRId64 " is outside %" PRId64 "..%" PRId64,
                           what, value, min, max);
    if (value > max)
        return reeve__fail(err, REEVE_E_INVALID,
                           "%s %" PRId64 " is above %" PRId64, what, value,
                           max);
    if (min == 0)
        return reeve__fail(err, REEVE_E_INVALID, "%s %" PRId64 " is negative",
                           what, value);
    return reeve__fail(err, REEVE_E_INVALID, "%s %" PRId64 " is below %" PRId64,
                       what, value, min);
}

static reeve_rc check_delays(const reeve_retry_options *retry,
                             reeve_error *err) {
    if (retry->backoff != REEVE_BACKOFF_LIST) {
        if (retry->delay_count == 0)
            return REEVE_OK;
        return reeve__fail(err, REEVE_E_INVALID,
                           "retry delays_ms are given but backoff is not list");
    }
    if (retry->delay_count == 0)
        return reeve__fail(err, REEVE_E_INVALID,
                           "retry delays_ms are empty but backoff is list");
    if (retry->delay_count > REEVE_DELAYS_COUNT_MAX)
        return reeve__fail(err, REEVE_E_INVALID,
                           "retry delays_ms has %zu items, at most %d allowed",
                           retry->delay_count, REEVE_DELAYS_COUNT_MAX);
    if (retry->delays_ms == NULL)
        return reeve__fail(err, REEVE_E_USAGE,
                           "retry delay_count is %zu but delays_ms is null",
                           retry->delay_count);
    for (size_t i = 0; i < retry->delay_count; i++) {
        reeve_rc rc =
            reeve__range_check("retry delays_ms item", retry->delays_ms[i], 0,
                               REEVE_SPAN_MS_MAX, err);
        if (rc != REEVE_OK)
            return rc;
    }
    return REEVE_OK;
}

reeve_rc reeve__retry_check(const reeve_retry_options *retry,
                            reeve_error *err) {
    const struct {
        const char *what;
        int64_t value;
        int64_t min;
        int64_t max;
    } rows[] = {
        { "retry backoff", retry->backoff, 0, REEVE_BACKOFF_LIST },
        { "retry jitter", retry->jitter, 0, REEVE_JITTER_NONE },
        { "retry max_attempts", retry->max_attempts, REEVE_NEVER, INT32_MAX },
        { "retry base_ms", retry->base_ms, 0, REEVE_SPAN_MS_MAX },
        { "retry cap_ms", retry->cap_ms, 0, REEVE_SPAN_MS_MAX },
        { "retry max_elapsed_ms", retry->max_elapsed_ms, 0, REEVE_SPAN_MS_MAX },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        reeve_rc rc = reeve__range_check(rows[i].what, rows[i].value,
                                         rows[i].min, rows[i].max, err);
        if (rc != REEVE_OK)
            return rc;
    }
    bool is_default = !(retry->factor < 0) && !(retry->factor > 0);
    bool is_number = retry->factor == retry->factor;
    bool in_bounds = retry->factor >= REEVE__FACTOR_MIN &&
                     retry->factor <= REEVE__FACTOR_MAX;
    if (!in_bounds && !(is_default && is_number))
        return reeve__fail(err, REEVE_E_INVALID,
                           "retry factor %g is outside 1..100", retry->factor);
    return check_delays(retry, err);
}
