/*
 * Randomness: the operating system's, or a reproducible sequence when the env
 * was given a seed. Not for secrets in the seeded case.
 */
#include "base/env_state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#define GOLDEN_GAMMA 0x9e3779b97f4a7c15u

/* splitmix64, Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
 * Generators", OOPSLA 2014. Its state is a plain sum, so one atomic addition
 * serves all threads, without a lock that a fork could leave taken. */
static uint64_t splitmix(_Atomic uint64_t *state) {
    uint64_t z =
        atomic_fetch_add_explicit(state, GOLDEN_GAMMA, memory_order_relaxed) +
        GOLDEN_GAMMA;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool read_urandom(unsigned char *out, size_t size) {
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t have = 0;
    while (have < size) {
        ssize_t got = read(fd, out + have, size - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    close(fd);
    return have == size;
}

/* Up to 256 bytes come whole. */
static void system_random(uint64_t *out, size_t count) {
    size_t size = count * sizeof *out;
    ssize_t got;
    do {
        got = getrandom(out, size, 0);
    } while (got < 0 && errno == EINTR);
    if (got == (ssize_t)size)
        return;
    if (read_urandom((unsigned char *)out, size))
        return;
    /* A sandbox without either source: time and process still make numbers
     * that do not repeat, which is what ids and jitter need. */
    static _Atomic uint64_t calls;
    _Atomic uint64_t mix = (uint64_t)reeve__now_at_ms(NULL) ^
                           ((uint64_t)getpid() << 42) ^ splitmix(&calls);
    for (size_t i = 0; i < count; i++)
        out[i] = splitmix(&mix);
}

bool reeve__random_is_seeded(const reeve_env *env) {
    return env && env->options.random_seed != 0;
}

void reeve__random_fill(uint64_t *out, size_t count, reeve_env *env) {
    assert(count <= 32);
    if (!reeve__random_is_seeded(env)) {
        system_random(out, count);
        return;
    }
    for (size_t i = 0; i < count; i++)
        out[i] = splitmix(&env->random_state);
}

uint64_t reeve__random(reeve_env *env) {
    uint64_t value;
    reeve__random_fill(&value, 1, env);
    return value;
}

/* Values below 2^64 mod bound are drawn again, so that every residue has the
 * same number of representatives. */
uint64_t reeve__random_below(reeve_env *env, uint64_t bound) {
    if (bound == 0)
        return 0;
    uint64_t reject_below = (0 - bound) % bound;
    uint64_t value;
    do {
        value = reeve__random(env);
    } while (value < reject_below);
    return value % bound;
}
