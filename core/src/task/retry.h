/*
 * Retry options as data: their defaults and their bounds. What a delay is made
 * of them is policy/backoff.h's. Pure.
 */
#ifndef REEVE_SRC_TASK_RETRY_H
#define REEVE_SRC_TASK_RETRY_H

#include <reeve/task.h>

/* Bounds of factor, when it is not 0. */
#define REEVE__FACTOR_MIN 1.0
#define REEVE__FACTOR_MAX 100.0

/* Stored names, by enum reeve_backoff and reeve_jitter; [0] is NULL. */
#define REEVE__BACKOFF_COUNT (REEVE_BACKOFF_LIST + 1)
#define REEVE__JITTER_COUNT (REEVE_JITTER_NONE + 1)
extern const char *const reeve__backoff_names[REEVE__BACKOFF_COUNT];
extern const char *const reeve__jitter_names[REEVE__JITTER_COUNT];

/*
 * Replaces every "0 = default" by its value. LIST defaults to no jitter; a
 * base_ms above the default cap raises that default, so that a fixed delay of
 * two hours is two hours.
 */
void reeve__retry_resolve(reeve_retry_options *retry);

/* Bounds of a caller's options, naming thing, value and bound.
 * Errors: INVALID, USAGE (delay_count without delays_ms). */
reeve_rc reeve__retry_check(const reeve_retry_options *retry, reeve_error *err);

/* Shared by the checks of the codec: value within min … max, else INVALID with
 * "what 12 is outside 0..9", "… is negative" or "… is above …". */
reeve_rc reeve__range_check(const char *what, int64_t value, int64_t min,
                            int64_t max, reeve_error *err);

#endif
