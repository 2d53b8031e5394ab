/*
 * Names of the keys. All keys of one queue share its hash tag, so that a script
 * and a cluster slot can hold them; the directory keys stand alone.
 */
#ifndef REEVE_SRC_BROKER_REDIS_KEYS_H
#define REEVE_SRC_BROKER_REDIS_KEYS_H

#include "base/buf.h"

#define REEVE__PREFIX_BYTES_MAX 64

/* Keys of a queue: prefix ":{" queue "}:" name. */
enum reeve__key {
    REEVE__KEY_TASKS,     /* HASH id → envelope */
    REEVE__KEY_PENDING,   /* LIST of ids of priority 5 */
    REEVE__KEY_RANKED,    /* ZSET pending ids of other priorities */
    REEVE__KEY_ACTIVE,    /* HASH id → token; "~<token>" → "worker lease_ms
                           id id|priority …" */
    REEVE__KEY_LEASES,    /* ZSET token → end of the lease, ms */
    REEVE__KEY_SCHEDULED, /* ZSET id → due_at_ms * 10 + priority */
    REEVE__KEY_RETRY,     /* the same */
    REEVE__KEY_COMPLETED, /* ZSET id → expires_at_ms * 10 + priority */
    REEVE__KEY_ARCHIVED,  /* the same */
    REEVE__KEY_RESULTS,   /* HASH id → result */
    REEVE__KEY_META,      /* HASH: token, seq, front, done, failed, paused,
                             dead, scan */
    REEVE__KEY_BELL,      /* LIST of at most one ring */
    REEVE__KEY_DEAD,      /* HASH id → stale copies in pending */
    REEVE__KEY_COUNT
};

/* What is kept for ever has a score from here on (lib/expiry.lua). */
#define REEVE__SCORE_FOR_EVER INT64_C(1000000000000000)

/* 1 … 64 bytes of the safe set, without braces. Errors: INVALID. */
reeve_rc reeve__prefix_check(reeve_bytes prefix, reeve_error *err);

/* Appends a command argument: a key of a queue, an idempotency key of a queue,
 * or "prefix:name". */
void reeve__key_add(reeve__buf *out, reeve_bytes prefix, reeve_bytes queue,
                    enum reeve__key key);
void reeve__key_add_once(reeve__buf *out, reeve_bytes prefix, reeve_bytes queue,
                         reeve_bytes idempotency_key);
void reeve__key_add_global(reeve__buf *out, reeve_bytes prefix,
                           const char *name);

#endif
