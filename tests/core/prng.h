/*
 * Seeded random numbers for property tests (SplitMix64). The seed comes from
 * REEVE_TEST_SEED or is fixed, and is printed, so that a failing trace can be
 * run again.
 */
#ifndef REEVE_TESTS_PRNG_H
#define REEVE_TESTS_PRNG_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct prng {
    uint64_t state;
} prng;

static inline prng prng_of(const char *test, uint64_t seed) {
    const char *given = getenv("REEVE_TEST_SEED");
    if (given != NULL)
        seed = strtoull(given, NULL, 0);
    printf("%s: seed 0x%llx\n", test, (unsigned long long)seed);
    return (prng){ seed };
}

static inline uint64_t prng_next(prng *rng) {
    uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform enough in [0, bound), bound > 0. */
static inline uint64_t prng_below(prng *rng, uint64_t bound) {
    return prng_next(rng) % bound;
}

#endif
