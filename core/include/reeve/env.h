/*
 * The environment: allocator, clock, randomness and log, in one handle that
 * every object takes from its parent. NULL anywhere a reeve_env is wanted means
 * the process default (malloc, the system's clocks, getrandom, no log).
 */
#ifndef REEVE_ENV_H
#define REEVE_ENV_H

#include <reeve/error.h>

typedef struct reeve_env reeve_env;

enum reeve_log_level {
    REEVE_LOG_ERROR = 1,
    REEVE_LOG_WARN = 2,
    REEVE_LOG_INFO = 3,
    REEVE_LOG_DEBUG = 4,
};

/* All hooks may be called from any thread, also while the library holds a lock:
 * they must not call it, nor wait for a thread that does. */
typedef struct reeve_env_options {
    uint32_t size;     /* sizeof(reeve_env_options) */
    int32_t log_level; /* least severe level to report; 0 = warn */

    /* Allocator, as realloc: NULL ptr allocates, 0 bytes frees (returns NULL);
     * NULL on failure. */
    void *(*alloc)(void *ctx, void *ptr, size_t new_bytes);
    void *alloc_ctx;

    /* One line, no newline. */
    void (*log)(void *ctx, int32_t level, const char *line);
    void *log_ctx;

    /* 0 = seeded by the operating system; other = reproducible sequence. */
    uint64_t random_seed;

    /*
     * Non-zero: a virtual clock that starts here (Unix ms) and moves only by
     * reeve_env_advance. Sleeping threads of this env wake when it moves.
     */
    int64_t virtual_now_at_ms;
} reeve_env_options;

#define REEVE_ENV_OPTIONS_INIT REEVE__INIT(reeve_env_options)

REEVE_BEGIN_DECLS

/* New environment; shared by reference count. Errors: INVALID, NOMEM.
 * Thread: any. */
REEVE_EXTERN reeve_rc reeve_env_new(reeve_env **out,
                                    const reeve_env_options *options,
                                    reeve_error *err);

/* Drops the caller's reference; accepts NULL. Thread: any. */
REEVE_EXTERN void reeve_env_free(reeve_env *env);

/* Moves a virtual clock forward and wakes its sleepers. Errors: USAGE when the
 * clock is the system's, INVALID when by_ms is negative. Thread: any. */
REEVE_EXTERN reeve_rc reeve_env_advance(reeve_env *env, int64_t by_ms,
                                        reeve_error *err);

/* Wall clock of this environment, Unix ms. Thread: any. */
REEVE_EXTERN int64_t reeve_env_now_at_ms(reeve_env *env);

REEVE_END_DECLS

#endif
