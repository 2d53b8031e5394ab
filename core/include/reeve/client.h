/*
 * The producer's side: put tasks into queues.
 *
 * A client is safe to share: concurrent callers are combined into one round
 * trip (or one SQLite transaction). After fork the child's first call opens its
 * own connection.
 */
#ifndef REEVE_CLIENT_H
#define REEVE_CLIENT_H

#include <reeve/task.h>

typedef struct reeve_client reeve_client;

/* Bytes of an id that the library makes, with its NUL. */
#define REEVE_ID_TEXT_BYTES 37

typedef struct reeve_client_options {
    uint32_t size;
    uint32_t reserved;
    /* redis:// rediss:// redis+unix:// sqlite:///path mem://name;
     * NULL = an SQLite file in the user's state directory */
    const char *url;
    const char *prefix;       /* of every Redis key; NULL = "reeve" */
    int64_t timeout_ms;       /* per call, reconnects included; 0 = 5 s */
    size_t payload_bytes_max; /* 0 = 16 MiB, which is also the most */
} reeve_client_options;

#define REEVE_CLIENT_OPTIONS_INIT REEVE__INIT(reeve_client_options)

REEVE_BEGIN_DECLS

/* What opening url would refuse of its text: scheme, form, options. Connects to
 * nothing; NULL, the default, is good. Errors: INVALID, TOO_BIG, UNSUPPORTED,
 * NOMEM. Thread: any. */
REEVE_EXTERN reeve_rc reeve_url_check(reeve_env *env, const char *url,
                                      reeve_error *err);

/* Opens and checks the broker. New client. Errors: INVALID (url), NET, TIMEOUT,
 * AUTH, TLS, SERVER, UNSAFE, UNSUPPORTED, NOMEM. Thread: any. */
REEVE_EXTERN reeve_rc reeve_client_open(reeve_client **out, reeve_env *env,
                                        const reeve_client_options *options,
                                        reeve_error *err);

/* Accepts NULL. No call may be under way. Thread: one. */
REEVE_EXTERN void reeve_client_close(reeve_client *client);

/* Stores one task; out may be NULL. Arguments are only borrowed for the call.
 * Errors: INVALID, TOO_BIG (nothing stored), EXISTS (the id is taken), NET,
 * TIMEOUT (unknown outcome: repeat with the same id or idempotency key).
 * Thread: any. */
REEVE_EXTERN reeve_rc reeve_client_enqueue(reeve_enqueue_result *out,
                                           reeve_client *client,
                                           const reeve_enqueue_args *args,
                                           reeve_error *err);

/* Stores count tasks (at most REEVE_BATCH_COUNT_MAX) in one round trip a queue;
 * results, if not NULL, has count places and each says what became of its item;
 * after NET or TIMEOUT each has its id and that code. An invalid item fails the
 * call before anything is stored: its result has its code, the others' say
 * CANCELLED. Queues that a server refuses fail their own items alone. Returns
 * the first item's error, if any.
 * Thread: any. */
REEVE_EXTERN reeve_rc reeve_client_enqueue_many(reeve_enqueue_result *results,
                                                reeve_client *client,
                                                const reeve_enqueue_args *args,
                                                size_t count, reeve_error *err);

/* Writes a new task id, a UUIDv7 with its NUL, as an enqueue without an id makes
 * them. With an id of its own a call can be repeated after NET or TIMEOUT; the
 * ids of one process only grow. Thread: any. */
REEVE_EXTERN void reeve_id_new(char out[REEVE_ID_TEXT_BYTES], reeve_env *env);

/* The broker's clock, Unix ms. Thread: any. */
REEVE_EXTERN reeve_rc reeve_client_now(int64_t *out_at_ms, reeve_client *client,
                                       reeve_error *err);

REEVE_END_DECLS

#endif
