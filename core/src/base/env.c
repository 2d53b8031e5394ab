/*
 * The environment: one handle with allocator, clock, randomness and log hooks.
 * A NULL env is the process default. Virtual time and random state live here;
 * the generator itself is random.c. Never sleeps and starts no thread.
 */
#include "base/env.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/env_state.h"
#include "base/thread.h"

/* Size of reeve_env_options in the first release. */
#define OPTIONS_BYTES_MIN                                                      \
    (offsetof(reeve_env_options, virtual_now_at_ms) + sizeof(int64_t))
#define LOG_LINE_BYTES 1024
#define SECOND_NS ((int64_t)1000000000)

static void *default_alloc(void *ctx, void *ptr, size_t new_bytes) {
    (void)ctx;
    if (new_bytes == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_bytes);
}

static reeve_rc check_options(const reeve_env_options *options,
                              reeve_error *err) {
    if (options->log_level < 0 || options->log_level > REEVE_LOG_DEBUG)
        return reeve__fail(err, REEVE_E_INVALID, "log_level %d is not 0 … %d",
                           (int)options->log_level, REEVE_LOG_DEBUG);
    if (options->virtual_now_at_ms < 0)
        return reeve__fail(err, REEVE_E_INVALID,
                           "virtual_now_at_ms %lld is negative",
                           (long long)options->virtual_now_at_ms);
    return REEVE_OK;
}

reeve_rc reeve_env_new(reeve_env **out, const reeve_env_options *options,
                       reeve_error *err) {
    if (out == NULL)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    *out = NULL;
    reeve_env_options ours = REEVE_ENV_OPTIONS_INIT;
    if (options != NULL) {
        reeve_rc rc = reeve__struct_load(&ours, sizeof ours, OPTIONS_BYTES_MIN,
                                         options, "reeve_env_options", err);
        if (rc == REEVE_OK)
            rc = check_options(&ours, err);
        if (rc != REEVE_OK)
            return rc;
    }
    if (ours.alloc == NULL)
        ours.alloc = default_alloc;
    if (ours.log_level == 0)
        ours.log_level = REEVE_LOG_WARN;

    reeve_env *env = ours.alloc(ours.alloc_ctx, NULL, sizeof *env);
    if (env == NULL)
        return reeve__fail_nomem(err);
    memset(env, 0, sizeof *env);
    (void)reeve__fork_count(); /* forks count from now on */
    env->options = ours;
    atomic_init(&env->ref_count, 1);
    atomic_init(&env->virtual_now_at_ms, ours.virtual_now_at_ms);
    atomic_init(&env->random_state, ours.random_seed);
    *out = env;
    return REEVE_OK;
}

reeve_env *reeve__env_ref(reeve_env *env) {
    if (env != NULL)
        atomic_fetch_add_explicit(&env->ref_count, 1, memory_order_relaxed);
    return env;
}

void reeve_env_free(reeve_env *env) {
    if (env == NULL)
        return;
    /* Release our writes to whoever frees, acquire theirs if it is us. */
    if (atomic_fetch_sub_explicit(&env->ref_count, 1, memory_order_acq_rel) !=
        1)
        return;
    env->options.alloc(env->options.alloc_ctx, env, 0);
}

void *reeve__realloc(reeve_env *env, void *ptr, size_t bytes) {
    if (env == NULL)
        return default_alloc(NULL, ptr, bytes);
    return env->options.alloc(env->options.alloc_ctx, ptr, bytes);
}

void *reeve__alloc(reeve_env *env, size_t bytes) {
    /* 0 would mean "free" to the hook; NULL means failure to our callers. */
    return reeve__realloc(env, NULL, bytes == 0 ? 1 : bytes);
}

void *reeve__calloc(reeve_env *env, size_t count, size_t bytes) {
    if (bytes != 0 && count > SIZE_MAX / bytes)
        return NULL;
    void *ptr = reeve__alloc(env, count * bytes);
    if (ptr != NULL)
        memset(ptr, 0, count * bytes);
    return ptr;
}

void reeve__free(reeve_env *env, void *ptr) {
    if (ptr != NULL)
        reeve__realloc(env, ptr, 0);
}

char *reeve__strndup(reeve_env *env, const char *data, size_t size) {
    if (size == SIZE_MAX)
        return NULL;
    char *copy = reeve__alloc(env, size + 1);
    if (copy == NULL)
        return NULL;
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    return copy;
}

bool reeve__clock_is_virtual(const reeve_env *env) {
    return env != NULL && env->options.virtual_now_at_ms != 0;
}

static int64_t virtual_now_at_ms(reeve_env *env) {
    return atomic_load_explicit(&env->virtual_now_at_ms, memory_order_acquire);
}

/* Clocks named here are mandatory, so clock_gettime cannot fail. */
static struct timespec system_clock(clockid_t clock) {
    struct timespec now = { 0, 0 };
    clock_gettime(clock, &now);
    return now;
}

int64_t reeve__now_at_ms(reeve_env *env) {
    if (reeve__clock_is_virtual(env))
        return virtual_now_at_ms(env);
    struct timespec now = system_clock(CLOCK_REALTIME);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / REEVE__MS_NS;
}

int64_t reeve__mono_ns(reeve_env *env) {
    if (reeve__clock_is_virtual(env))
        return reeve__mul_sat(virtual_now_at_ms(env) -
                                  env->options.virtual_now_at_ms,
                              REEVE__MS_NS);
    struct timespec now = system_clock(CLOCK_MONOTONIC);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

int64_t reeve_env_now_at_ms(reeve_env *env) {
    return reeve__now_at_ms(env);
}

/* Sleepers look at the clock themselves (thread.c), so moving it wakes them. */
reeve_rc reeve_env_advance(reeve_env *env, int64_t by_ms, reeve_error *err) {
    if (!reeve__clock_is_virtual(env))
        return reeve__fail(err, REEVE_E_USAGE,
                           "the clock of this env is the system's");
    if (by_ms < 0)
        return reeve__fail(err, REEVE_E_INVALID, "by_ms %lld is negative",
                           (long long)by_ms);
    int64_t now = virtual_now_at_ms(env);
    while (!atomic_compare_exchange_weak_explicit(
        &env->virtual_now_at_ms, &now, reeve__add_sat(now, by_ms),
        memory_order_acq_rel, memory_order_acquire))
        ;
    return REEVE_OK;
}

int64_t reeve__add_sat(int64_t a, int64_t b) {
    if (b > 0 && a > INT64_MAX - b)
        return INT64_MAX;
    if (b < 0 && a < INT64_MIN - b)
        return INT64_MIN;
    return a + b;
}

int64_t reeve__mul_sat(int64_t a, int64_t b) {
    int64_t product;
    if (!__builtin_mul_overflow(a, b, &product))
        return product;
    return (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
}

int64_t reeve__by_ns(reeve_env *env, int64_t span_ms) {
    if (span_ms == REEVE_NEVER)
        return INT64_MAX;
    return reeve__add_sat(reeve__mono_ns(env),
                          reeve__mul_sat(span_ms, REEVE__MS_NS));
}

bool reeve__log_is_on(const reeve_env *env, int32_t level) {
    return env != NULL && env->options.log != NULL &&
           level <= env->options.log_level;
}

void reeve__log(reeve_env *env, int32_t level, const char *fmt, ...) {
    if (!reeve__log_is_on(env, level))
        return;
    char line[LOG_LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    int size = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (size < 0)
        return;
    for (char *p = line; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    }
    env->options.log(env->options.log_ctx, level, line);
}
