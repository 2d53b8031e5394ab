/*
 * Task ids and the check of names. Called wherever a name enters the library
 * and by the client for new ids.
 */
#include "task/id.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/thread.h"

#define COUNTER_BITS 12
#define COUNTER_MASK ((UINT64_C(1) << COUNTER_BITS) - 1)
/* A new millisecond starts in the lower half, so that at least 2048 ids fit
 * before the counter runs into the next one. */
#define COUNTER_SEED_MASK (COUNTER_MASK >> 1)
#define TIME_MS_MAX ((INT64_C(1) << 48) - 1)

/* Time and counter of the newest id: ms << 12 | counter. */
static _Atomic uint64_t newest;

static uint64_t next_stamp(reeve_env *env, int64_t at_ms) {
    if (at_ms < 0)
        at_ms = 0;
    if (at_ms > TIME_MS_MAX)
        at_ms = TIME_MS_MAX;
    uint64_t fresh = (uint64_t)at_ms << COUNTER_BITS;
    uint64_t before = atomic_load_explicit(&newest, memory_order_relaxed);
    for (;;) {
        uint64_t stamp = before + 1;
        if (before >> COUNTER_BITS < (uint64_t)at_ms)
            stamp = fresh | (reeve__random(env) & COUNTER_SEED_MASK);
        if (atomic_compare_exchange_weak_explicit(&newest, &before, stamp,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed))
            return stamp;
    }
}

/* Finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/*
 * A child of fork starts with its parent's stamp and, in an env with a fixed
 * seed, with its random sequence: its process id keeps the ids apart. 0 in a
 * process that was not forked.
 */
static uint64_t fork_salt(void) {
    static _Atomic uint64_t cached; /* fork count in the upper half */
    uint64_t forks = reeve__fork_count();
    if (forks == 0)
        return 0;
    uint64_t known = atomic_load_explicit(&cached, memory_order_relaxed);
    if (known >> 32 != forks) {
        known = forks << 32 | (uint32_t)getpid();
        atomic_store_explicit(&cached, known, memory_order_relaxed);
    }
    return mix(known);
}

static char *write_hex(char *out, uint64_t value, int digits) {
    for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
        *out++ = "0123456789abcdef"[value >> shift & 15];
    return out;
}

void reeve__id_make(char out[REEVE__UUID_TEXT_BYTES + 1], reeve_env *env,
                    int64_t at_ms, uint64_t chance) {
    uint64_t stamp = next_stamp(env, at_ms);
    uint64_t tail = chance ^ fork_salt();
    uint64_t variant = UINT64_C(0x8000) | (tail >> 48 & 0x3fff);
    out = write_hex(out, stamp >> 28, 8);
    *out++ = '-';
    out = write_hex(out, stamp >> COUNTER_BITS & 0xffff, 4);
    *out++ = '-';
    out = write_hex(out, UINT64_C(0x7000) | (stamp & COUNTER_MASK), 4);
    *out++ = '-';
    out = write_hex(out, variant, 4);
    *out++ = '-';
    out = write_hex(out, tail & UINT64_C(0xffffffffffff), 12);
    *out = '\0';
}

void reeve__id_new(char out[REEVE__UUID_TEXT_BYTES + 1], reeve_env *env,
                   int64_t at_ms) {
    reeve__id_make(out, env, at_ms, reeve__random(env));
}

/* A-Z a-z 0-9 _ - . : / @ + by their ASCII codes; names are checked byte by byte
 * several times an enqueue. */
static const bool safe_bytes[256] = {
    ['+'] = true, ['-'] = true, ['.'] = true, ['/'] = true, ['0'] = true,
    ['1'] = true, ['2'] = true, ['3'] = true, ['4'] = true, ['5'] = true,
    ['6'] = true, ['7'] = true, ['8'] = true, ['9'] = true, [':'] = true,
    ['@'] = true, ['A'] = true, ['B'] = true, ['C'] = true, ['D'] = true,
    ['E'] = true, ['F'] = true, ['G'] = true, ['H'] = true, ['I'] = true,
    ['J'] = true, ['K'] = true, ['L'] = true, ['M'] = true, ['N'] = true,
    ['O'] = true, ['P'] = true, ['Q'] = true, ['R'] = true, ['S'] = true,
    ['T'] = true, ['U'] = true, ['V'] = true, ['W'] = true, ['X'] = true,
    ['Y'] = true, ['Z'] = true, ['_'] = true, ['a'] = true, ['b'] = true,
    ['c'] = true, ['d'] = true, ['e'] = true, ['f'] = true, ['g'] = true,
    ['h'] = true, ['i'] = true, ['j'] = true, ['k'] = true, ['l'] = true,
    ['m'] = true, ['n'] = true, ['o'] = true, ['p'] = true, ['q'] = true,
    ['r'] = true, ['s'] = true, ['t'] = true, ['u'] = true, ['v'] = true,
    ['w'] = true, ['x'] = true, ['y'] = true, ['z'] = true,
};

/* At most 40 bytes of name, unprintable ones as '?'. */
static void shorten(char out[48], reeve_bytes name) {
    size_t size = name.size > 40 ? 37 : name.size;
    char *end = out;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)name.data[i];
        *end++ = c >= 0x20 && c < 0x7f ? (char)c : '?';
    }
    for (int i = 0; i < 3 && size < name.size; i++)
        *end++ = '.';
    *end = '\0';
}

reeve_rc reeve__name_check(const char *what, reeve_bytes name,
                           reeve_error *err) {
    if (name.size == 0)
        return reeve__fail(err, REEVE_E_INVALID, "%s is empty", what);
    if (name.data == NULL)
        return reeve__fail(err, REEVE_E_USAGE, "%s is null but has %zu bytes",
                           what, name.size);
    if (name.size > REEVE_NAME_BYTES_MAX)
        return reeve__fail(err, REEVE_E_INVALID,
                           "%s has %zu bytes, at most %d allowed", what,
                           name.size, REEVE_NAME_BYTES_MAX);
    size_t safe = 0;
    while (safe < name.size && safe_bytes[(unsigned char)name.data[safe]])
        safe++;
    if (safe == name.size)
        return REEVE_OK;
    char shown[48];
    shorten(shown, name);
    return reeve__fail(err, REEVE_E_INVALID,
                       "%s '%s' has byte 0x%02x at %zu, allowed are A-Z "
                       "a-z 0-9 _ - . : / @ +",
                       what, shown, (unsigned char)name.data[safe], safe);
}
