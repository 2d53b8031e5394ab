/*
 * How long to wait before the next attempt. Pure: randomness comes in. Defaults
 * and bounds of the options are task/retry.h's.
 * Jitter after "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
#ifndef REEVE_SRC_POLICY_BACKOFF_H
#define REEVE_SRC_POLICY_BACKOFF_H

#include <reeve/task.h>

/*
 * Delay in ms before the run after the failures-th failure (failures >= 1).
 * retry holds resolved values (reeve__retry_resolve); random is 64 uniform
 * bits. Never negative, never above cap_ms (LIST: the listed delay), saturates.
 */
int64_t reeve__backoff_delay_ms(const reeve_retry_options *retry,
                                int32_t failures, uint64_t random);

/* Maps 64 uniform bits onto [0, bound): the high half of their product, whose
 * bias is below bound / 2^64. bound 0 gives 0. */
uint64_t reeve__uniform(uint64_t random, uint64_t bound);

#endif
