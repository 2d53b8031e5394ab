/*
 * When to extend leases. Pure.
 */
#ifndef REEVE_SRC_POLICY_LEASE_H
#define REEVE_SRC_POLICY_LEASE_H

#include <stdint.h>

/* Extend when a third of the lease has passed: two more tries are left. */
int64_t reeve__lease_extend_after_ms(int64_t lease_ms);

/* How often any worker looks for lapsed leases: a quarter of the lease, within
 * 25 ms and 500 ms, so that a takeover comes within lease + 1 s. */
int64_t reeve__lease_reclaim_every_ms(int64_t lease_ms);

/* Delay before the n-th (>= 1) reconnect attempt: 10 ms doubling to 500 ms,
 * full jitter above the first. */
int64_t reeve__reconnect_delay_ms(int32_t attempt, uint64_t random);

#endif
