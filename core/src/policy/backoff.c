/*
 * Backoff schedules and their jitter. Called by the settle policy; must not
 * read randomness or a clock itself.
 */
#include "policy/backoff.h"

#include "base/env.h"

uint64_t reeve__uniform(uint64_t random, uint64_t bound) {
    /* The high 64 bits of a 64 x 64 product, in 32-bit halves. */
    uint64_t a = random >> 32;
    uint64_t b = random & UINT32_MAX;
    uint64_t c = bound >> 32;
    uint64_t d = bound & UINT32_MAX;
    uint64_t middle = ((b * d) >> 32) + (a * d & UINT32_MAX) + b * c;
    return a * c + (a * d >> 32) + (middle >> 32);
}

/* base * factor^exponent, at most cap; by squaring, so that a factor close to
 * 1 costs no more than any other. Overflow is infinity, which is above cap. */
static int64_t exponential_ms(int64_t base_ms, double factor, int32_t exponent,
                              int64_t cap_ms) {
    double delay = (double)base_ms;
    for (uint32_t left = (uint32_t)exponent; left > 0; left >>= 1) {
        if (left & 1)
            delay *= factor;
        factor *= factor;
    }
    return delay < (double)cap_ms ? (int64_t)delay : cap_ms;
}

static int64_t list_ms(const reeve_retry_options *retry, int32_t failures) {
    if (retry->delay_count == 0)
        return 0;
    size_t index = (size_t)failures - 1;
    if (index >= retry->delay_count)
        index = retry->delay_count - 1;
    return retry->delays_ms[index];
}

static int64_t plain_delay_ms(const reeve_retry_options *retry,
                              int32_t failures) {
    int64_t delay_ms;
    switch (retry->backoff) {
    case REEVE_BACKOFF_LIST:
        return list_ms(retry, failures);
    case REEVE_BACKOFF_FIXED:
        delay_ms = retry->base_ms;
        break;
    case REEVE_BACKOFF_LINEAR:
        delay_ms = reeve__mul_sat(retry->base_ms, failures);
        break;
    default:
        return exponential_ms(retry->base_ms, retry->factor, failures - 1,
                              retry->cap_ms);
    }
    return delay_ms < retry->cap_ms ? delay_ms : retry->cap_ms;
}

int64_t reeve__backoff_delay_ms(const reeve_retry_options *retry,
                                int32_t failures, uint64_t random) {
    int64_t delay_ms = plain_delay_ms(retry, failures < 1 ? 1 : failures);
    if (delay_ms <= 0)
        return 0;
    int64_t fixed_ms = 0;
    if (retry->jitter == REEVE_JITTER_NONE)
        return delay_ms;
    if (retry->jitter == REEVE_JITTER_EQUAL)
        fixed_ms = delay_ms / 2;
    uint64_t spread = (uint64_t)(delay_ms - fixed_ms);
    return fixed_ms + (int64_t)reeve__uniform(random, spread + 1);
}
