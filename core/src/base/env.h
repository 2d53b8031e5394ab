/*
 * Inside of reeve_env: allocation, time, randomness and log for the core. NULL
 * env is the process default everywhere.
 */
#ifndef REEVE_SRC_BASE_ENV_H
#define REEVE_SRC_BASE_ENV_H

#include <reeve/env.h>
#include "base/error.h"

/* Takes a reference; NULL stays NULL. Released by reeve_env_free. */
reeve_env *reeve__env_ref(reeve_env *env);

/* Uninitialised / zeroed memory; NULL on failure. Freed by reeve__free. */
void *reeve__alloc(reeve_env *env, size_t bytes);
void *reeve__calloc(reeve_env *env, size_t count, size_t bytes);
void *reeve__realloc(reeve_env *env, void *ptr, size_t bytes);
void reeve__free(reeve_env *env, void *ptr);
/* Copies, adds a NUL. */
char *reeve__strndup(reeve_env *env, const char *data, size_t size);

/* Wall clock in Unix ms; monotonic clock in ns. Virtual in a virtual env. */
int64_t reeve__now_at_ms(reeve_env *env);
int64_t reeve__mono_ns(reeve_env *env);
bool reeve__clock_is_virtual(const reeve_env *env);

#define REEVE__MS_NS ((int64_t)1000000)
/* Saturating arithmetic on int64. */
int64_t reeve__add_sat(int64_t a, int64_t b);
int64_t reeve__mul_sat(int64_t a, int64_t b);
/* Monotonic point span_ms from now; REEVE_NEVER gives INT64_MAX. */
int64_t reeve__by_ns(reeve_env *env, int64_t span_ms);

/* 64 random bits, and bytes for ids. Thread: any. */
uint64_t reeve__random(reeve_env *env);
/* count (at most 32) of them, in one call of the system. Thread: any. */
void reeve__random_fill(uint64_t *out, size_t count, reeve_env *env);
/* Uniform in [0, bound); bound 0 gives 0. No modulo bias. */
uint64_t reeve__random_below(reeve_env *env, uint64_t bound);
/* Whether the sequence is a reproducible one: others may draw the same. */
bool reeve__random_is_seeded(const reeve_env *env);

bool reeve__log_is_on(const reeve_env *env, int32_t level);
void reeve__log(reeve_env *env, int32_t level, const char *fmt, ...)
    REEVE_PRINTF(3, 4);

#endif
