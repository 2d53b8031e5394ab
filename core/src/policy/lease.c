/*
 * Spans around leases and reconnects. Called by the runtime's ticker and by
 * the brokers' owners; pure.
 */
#include "policy/lease.h"

#include "policy/backoff.h"

#define RECLAIM_MIN_MS 25
#define RECLAIM_MAX_MS 500
#define RECONNECT_FIRST_MS 10
#define RECONNECT_MAX_MS 500

int64_t reeve__lease_extend_after_ms(int64_t lease_ms) {
    return lease_ms < 3 ? 1 : lease_ms / 3;
}

int64_t reeve__lease_reclaim_every_ms(int64_t lease_ms) {
    int64_t every_ms = lease_ms / 4;
    if (every_ms < RECLAIM_MIN_MS)
        return RECLAIM_MIN_MS;
    return every_ms > RECLAIM_MAX_MS ? RECLAIM_MAX_MS : every_ms;
}

int64_t reeve__reconnect_delay_ms(int32_t attempt, uint64_t random) {
    if (attempt <= 1)
        return RECONNECT_FIRST_MS;
    int64_t most_ms = RECONNECT_FIRST_MS;
    for (int32_t i = 1; i < attempt && most_ms < RECONNECT_MAX_MS; i++)
        most_ms *= 2;
    if (most_ms > RECONNECT_MAX_MS)
        most_ms = RECONNECT_MAX_MS;
    return (int64_t)reeve__uniform(random, (uint64_t)most_ms + 1);
}
