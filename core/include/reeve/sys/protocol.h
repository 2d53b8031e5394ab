/*
 * Second tier: the Redis protocol of reeve without sockets or threads, for
 * event loops that have their own (nginx cosockets, asyncio, libuv).
 *
 * One object per connection. Submit operations, send what reeve_protocol_output
 * returns, feed what the server answers, take results in the order in which
 * operations end. Operations may be pipelined freely. Everything given to a
 * submit call is copied.
 *
 *     reeve_protocol_hello(&op, protocol, err);
 *     for (;;) {
 *         reeve_bytes out = reeve_protocol_output(protocol);
 *         size_t sent = my_send(out);
 *         reeve_protocol_sent(protocol, sent);
 *         reeve_protocol_feed(protocol, my_receive(), err);
 *         while (reeve_protocol_next(&result, protocol, err) == 0 &&
 *                result) { … }
 *     }
 *
 * When the connection breaks: reeve_protocol_reset, connect again, hello. What
 * was under way then has an unknown outcome: repeat enqueues with the same ids
 * and resent = true; after a lost turn call reclaim with the worker's id.
 *
 * Since 0.1. Thread: one, for every function here.
 */
#ifndef REEVE_SYS_PROTOCOL_H
#define REEVE_SYS_PROTOCOL_H

#include <reeve/inspect.h>

typedef struct reeve_protocol reeve_protocol;

typedef struct reeve_protocol_options {
    uint32_t size;
    int32_t database;
    const char *prefix;      /* NULL = "reeve" */
    const char *user;        /* NULL = the default user */
    const char *password;    /* NULL = no AUTH */
    const char *client_name; /* NULL = "reeve" */
    const char *label;       /* of the server, in messages; NULL = "redis" */
    int32_t allow_eviction;  /* 1: an evicting policy is only warned of */
    uint32_t reserved;
} reeve_protocol_options;

#define REEVE_PROTOCOL_OPTIONS_INIT REEVE__INIT(reeve_protocol_options)

enum reeve_protocol_kind {
    REEVE_PROTOCOL_HELLO = 1,
    REEVE_PROTOCOL_ENQUEUE = 2,
    REEVE_PROTOCOL_TURN = 3,
    REEVE_PROTOCOL_EXTEND = 4,
    REEVE_PROTOCOL_PROMOTE = 5,
    REEVE_PROTOCOL_RECLAIM = 6,
    REEVE_PROTOCOL_WAIT = 7,
    REEVE_PROTOCOL_RING = 8,
    REEVE_PROTOCOL_SWEEP = 9,
    REEVE_PROTOCOL_BEAT = 10,
};

/* What becomes of one leased task. */
typedef struct reeve_protocol_settle {
    uint32_t size;
    int32_t to_state; /* COMPLETED, NONE (deleted), RETRY, SCHEDULED, PENDING
                         (to the front) or ARCHIVED */
    reeve_bytes id;
    int64_t token;
    int32_t priority;      /* 0 … 9, of the task */
    int32_t done;          /* 1: counts as done */
    int32_t failed;        /* 1: counts as a failed run */
    int32_t last;          /* 1: no other task of this token is unsettled */
    int64_t delay_ms;      /* RETRY, SCHEDULED */
    int64_t retention_ms;  /* COMPLETED, ARCHIVED; REEVE_NEVER = for ever */
    int64_t archive_count; /* ARCHIVED: bound of the archive; 0 = none */
    reeve_bytes envelope;  /* rewritten; empty = unchanged */
    reeve_bytes result;    /* COMPLETED, with has_result */
    int32_t has_result;
    uint32_t reserved;
} reeve_protocol_settle;

#define REEVE_PROTOCOL_SETTLE_INIT REEVE__INIT(reeve_protocol_settle)

typedef struct reeve_protocol_lease {
    uint32_t size;
    uint32_t reserved;
    reeve_bytes queue;
    reeve_bytes id;
    int64_t token;
} reeve_protocol_lease;

#define REEVE_PROTOCOL_LEASE_INIT REEVE__INIT(reeve_protocol_lease)

/* A claimed or reclaimed task. Views borrow from the result. */
typedef struct reeve_protocol_row {
    reeve_bytes id;
    reeve_bytes envelope; /* JSON line + '\n' + payload; empty = missing */
    reeve_bytes worker;   /* RECLAIM: who held it */
    int64_t token;
    int64_t lease_ms;
    int64_t now_at_ms; /* server time */
    int32_t priority;
    uint32_t reserved;
} reeve_protocol_row;

/* The end of an operation; which fields count depends on kind. */
typedef struct reeve_protocol_result {
    uint64_t op;
    int32_t kind; /* enum reeve_protocol_kind */
    int32_t code; /* 0, or why the operation as a whole failed */
    const char *message;
    const reeve_enqueue_result *enqueued; /* ENQUEUE: one for each task */
    size_t enqueued_count;
    const int32_t *codes; /* TURN: of each settle, EXTEND: of each lease; 0 or
                             LEASE_LOST */
    size_t code_count;
    const reeve_protocol_row *rows; /* TURN, RECLAIM */
    size_t row_count;
    size_t moved;       /* PROMOTE, SWEEP: tasks moved or removed */
    int64_t next_at_ms; /* TURN (when the claim came back short), PROMOTE: next
                           due time; RECLAIM: next lease end; 0 = none */
    int32_t more;       /* TURN: pending work was left behind */
    int32_t paused;     /* TURN */
    int32_t rung;       /* WAIT: index of the queue whose bell rang, or -1 */
    uint32_t reserved;
} reeve_protocol_result;

/* A Redis URL in its parts; views of the object that was parsed. */
typedef struct reeve_redis_url reeve_redis_url;
typedef struct reeve_redis_url_view {
    uint32_t size;
    int32_t port;
    const char *host;  /* NULL with a unix socket; no brackets */
    const char *path;  /* of the unix socket; NULL with TCP */
    const char *label; /* for messages and pools: no user, no password */
    const char *user;  /* NULL = none, as all below */
    const char *password;
    const char *client_name;
    const char *tls_ca;
    const char *tls_cert;
    const char *tls_key;
    const char *tls_server_name; /* NULL = host */
    int32_t database;
    int32_t tls;
    int32_t tls_verify;
    int32_t allow_eviction;
    int64_t connect_timeout_ms;
} reeve_redis_url_view;

#define REEVE_REDIS_URL_VIEW_INIT REEVE__INIT(reeve_redis_url_view)

REEVE_BEGIN_DECLS

/* New object. Errors: INVALID, USAGE, NOMEM. */
REEVE_EXTERN reeve_rc reeve_protocol_new(reeve_protocol **out, reeve_env *env,
                                         const reeve_protocol_options *options,
                                         reeve_error *err);
/* Accepts NULL. */
REEVE_EXTERN void reeve_protocol_free(reeve_protocol *protocol);

/* The connection is gone: forgets what is under way and unsent. Results that
 * were not taken are lost. Errors: NOMEM. */
REEVE_EXTERN reeve_rc reeve_protocol_reset(reeve_protocol *protocol,
                                           reeve_error *err);

/* Bytes to send; borrows until the next call on protocol. */
REEVE_EXTERN reeve_bytes reeve_protocol_output(const reeve_protocol *protocol);
/* The first bytes of the output were sent. */
REEVE_EXTERN void reeve_protocol_sent(reeve_protocol *protocol, size_t bytes);
/* Bytes that came. Errors: NET (not what Redis says), NOMEM: reset then. */
REEVE_EXTERN reeve_rc reeve_protocol_feed(reeve_protocol *protocol,
                                          reeve_bytes bytes, reeve_error *err);
/* Takes the next result; *out is NULL when there is none yet and borrows until
 * the next call on protocol. Errors: NOMEM. */
REEVE_EXTERN reeve_rc reeve_protocol_next(const reeve_protocol_result **out,
                                          reeve_protocol *protocol,
                                          reeve_error *err);
/* Operations under way. */
REEVE_EXTERN size_t reeve_protocol_pending(const reeve_protocol *protocol);
/* Estimate of the server's clock, Unix ms; 0 before the first answer. */
REEVE_EXTERN int64_t reeve_protocol_now(const reeve_protocol *protocol);

/*
 * Submit calls. *out_op names the operation in its result. What they refuse
 * leaves the output as it was; after NOMEM reset. Errors: INVALID, TOO_BIG,
 * USAGE, NOMEM.
 */

/* AUTH, SELECT, safety checks, scripts. First on every connection; its result
 * has code AUTH, UNSAFE, UNSUPPORTED, BUSY (loading: try again) … */
REEVE_EXTERN reeve_rc reeve_protocol_hello(uint64_t *out_op,
                                           reeve_protocol *protocol,
                                           reeve_error *err);
/* As reeve_client_enqueue_many. resent: the ids may be ours from a lost reply,
 * EXISTS is success. At most 4096 tasks. */
REEVE_EXTERN reeve_rc reeve_protocol_enqueue(uint64_t *out_op,
                                             reeve_protocol *protocol,
                                             const reeve_enqueue_args *args,
                                             size_t count, bool resent,
                                             reeve_error *err);
/* Settles, then claims up to claim_max for worker, in one queue. */
REEVE_EXTERN reeve_rc reeve_protocol_turn(
    uint64_t *out_op, reeve_protocol *protocol, reeve_bytes queue,
    const reeve_protocol_settle *settles, size_t settle_count, size_t claim_max,
    int64_t lease_ms, reeve_bytes worker, reeve_error *err);
/* Renews leases to lease_ms from now. */
REEVE_EXTERN reeve_rc reeve_protocol_extend(uint64_t *out_op,
                                            reeve_protocol *protocol,
                                            const reeve_protocol_lease *leases,
                                            size_t count, int64_t lease_ms,
                                            reeve_error *err);
/* Moves up to max due tasks of a queue to pending; 1 … 500. */
REEVE_EXTERN reeve_rc reeve_protocol_promote(uint64_t *out_op,
                                             reeve_protocol *protocol,
                                             reeve_bytes queue, size_t max,
                                             reeve_error *err);
/* Lists up to max tasks whose lease has lapsed or, with a worker, that worker's
 * tasks; settle them by a turn. 1 … 1000. */
REEVE_EXTERN reeve_rc reeve_protocol_reclaim(uint64_t *out_op,
                                             reeve_protocol *protocol,
                                             reeve_bytes queue,
                                             reeve_bytes worker, size_t max,
                                             reeve_error *err);
/* Waits at the doorbells of queues (1 … 256) for up to timeout_ms (1 ms … 1
 * hour): the connection answers nothing else meanwhile, so it has one of its
 * own, which needs a hello before. A ring that cannot be used is passed on by
 * ring. */
REEVE_EXTERN reeve_rc reeve_protocol_wait(uint64_t *out_op,
                                          reeve_protocol *protocol,
                                          const reeve_bytes *queues,
                                          size_t count, int64_t timeout_ms,
                                          reeve_error *err);
/* Rings a queue's doorbell: wakes one waiter, now or the next. */
REEVE_EXTERN reeve_rc reeve_protocol_ring(uint64_t *out_op,
                                          reeve_protocol *protocol,
                                          reeve_bytes queue, reeve_error *err);
/* Deletes up to max tasks (1 … 500) whose retention is over, and debris. */
REEVE_EXTERN reeve_rc reeve_protocol_sweep(uint64_t *out_op,
                                           reeve_protocol *protocol,
                                           reeve_bytes queue, size_t max,
                                           reeve_error *err);
/* Publishes a worker, or with gone removes it. beat_at_ms of 0 is the server's
 * time as far as it is known. */
REEVE_EXTERN reeve_rc reeve_protocol_beat(uint64_t *out_op,
                                          reeve_protocol *protocol,
                                          const reeve_worker_info *info,
                                          bool gone, reeve_error *err);

/* New parsed URL (redis://, rediss://, redis+unix://). Errors: INVALID, TOO_BIG,
 * UNSUPPORTED, NOMEM; no message shows a password. */
REEVE_EXTERN reeve_rc reeve_redis_url_parse(reeve_redis_url **out,
                                            reeve_env *env, const char *text,
                                            reeve_error *err);
/* Fills out (set out->size first); texts borrow from url. Errors: USAGE. */
REEVE_EXTERN reeve_rc reeve_redis_url_read(reeve_redis_url_view *out,
                                           const reeve_redis_url *url,
                                           reeve_error *err);
/* Wipes and frees; accepts NULL. */
REEVE_EXTERN void reeve_redis_url_free(reeve_redis_url *url);

REEVE_END_DECLS

#endif
