/*
 * Task ids (UUIDv7 text, RFC 9562) and names.
 */
#ifndef REEVE_SRC_TASK_ID_H
#define REEVE_SRC_TASK_ID_H

#include <reeve/task.h>
#include "base/env.h"

#define REEVE__UUID_TEXT_BYTES 36

/*
 * Writes 36 characters and a NUL. Ids made by one process are strictly
 * increasing, also within a millisecond (RFC 9562, 6.2, method 1: a counter in
 * rand_a, seeded at random each millisecond), also when at_ms steps back.
 * chance is 64 random bits. Thread: any.
 */
void reeve__id_make(char out[REEVE__UUID_TEXT_BYTES + 1], reeve_env *env,
                    int64_t at_ms, uint64_t chance);
/* The same with 64 random bits of its own. */
void reeve__id_new(char out[REEVE__UUID_TEXT_BYTES + 1], reeve_env *env,
                   int64_t at_ms);

/* Queue, type, worker, id …: 1 … 128 bytes of the safe set (reeve/task.h). The
 * error names what, the value (shortened, made printable) and the bound. */
reeve_rc reeve__name_check(const char *what, reeve_bytes name,
                           reeve_error *err);

#endif
