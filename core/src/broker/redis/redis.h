/*
 * The socket broker over the engine: up to three connections (commands,
 * doorbell, control), each opened when first needed and again when it broke.
 *
 * Thread: one.
 */
#ifndef REEVE_SRC_BROKER_REDIS_REDIS_H
#define REEVE_SRC_BROKER_REDIS_REDIS_H

#include "broker/redis/ops.h"
#include "wire/route.h"

/* One connection with its engine and handshake. */
typedef struct reeve__link {
    reeve_env *env;
    reeve__route *route;
    reeve__conn *conn; /* borrowed from route; NULL = not connected */
    reeve__engine engine;
    reeve__hello_options hello;
    int64_t client_id;
} reeve__link;

typedef struct reeve__redis {
    reeve__broker base;
    reeve__url url;
    char *prefix;
    int64_t timeout_ms;
    reeve__link main;

    reeve__buf known; /* queues in the directory: name '\0' name '\0' … */
    int64_t known_connects; /* of the connection that put them there */
    int64_t known_until_ns; /* then they are put there again */
    bool workers_swept;
    int64_t workers_swept_by_ns;

    /* Doorbell. */
    reeve__link bell;
    reeve__call bell_call;         /* BLPOP */
    bool bell_waits;               /* bell_call is under way */
    reeve__op_turn bell_turn;      /* behind it, when bell_claim */
    reeve__bell_claim *bell_claim; /* borrowed; NULL = only a wait */
    reeve__buf bell_queues;        /* as known, of bell_call */
    reeve__buf owed; /* queue whose ring nobody has used; empty = none */

    /* Control. */
    reeve__link control;
    reeve__reply_reader *control_reader;
    reeve__buf control_worker;
    int64_t control_connects; /* of the subscribed connection; 0 = none */
} reeve__redis;

/* NULL and *rc when the handle is from before a fork. */
reeve__redis *reeve__redis_enter(reeve__broker *broker, reeve_rc *rc,
                                 reeve_error *err);
int64_t reeve__redis_by_ns(const reeve__redis *redis);

/* Errors: NOMEM. */
reeve_rc reeve__link_init(reeve__link *link, reeve__redis *redis, bool main,
                          reeve_error *err);
void reeve__link_dispose(reeve__link *link);
/* Connects when needed. Errors: as reeve__route_conn; REEVE__WOKEN. */
reeve_rc reeve__link_connect(reeve__link *link, int64_t by_ns, int wake_fd,
                             reeve_error *err);
/* The connection is of no use any more. */
void reeve__link_break(reeve__link *link);
/* Sends what the engine has to say. WOKEN is not an error. */
reeve_rc reeve__link_flush(reeve__link *link, int64_t by_ns, int wake_fd,
                           reeve_error *err);
/* Until op is done: op->rc is then the server's word. After an error the link
 * is broken, but not after REEVE__WOKEN. */
reeve_rc reeve__link_drive(reeve__link *link, reeve__op *op, int64_t by_ns,
                           int wake_fd, reeve_error *err);
/* Copies an operation's error. */
reeve_rc reeve__op_result(const reeve__op *op, reeve_error *err);

/* Whether an I/O error may be answered by another connection. */
bool reeve__is_retryable(reeve_rc rc);

/* Puts a queue into the directory with the next flush, unless it is known to be
 * there. call must outlive the flight. True when call was begun. */
bool reeve__redis_register(reeve__redis *redis, reeve__call *call,
                           reeve_bytes queue);
/* After a flight that went well. */
void reeve__redis_registered(reeve__redis *redis, reeve_bytes queue);

/* Lists of names in a buffer. */
bool reeve__names_has(const reeve__buf *names, reeve_bytes name);
void reeve__names_add(reeve__buf *names, reeve_bytes name);

/* Verbs, by file. */
reeve_rc reeve__redis_enqueue(reeve__broker *broker, reeve__enqueue_item *items,
                              size_t count, reeve_error *err);
reeve_rc reeve__redis_turn(reeve__broker *broker, reeve__turn *turns,
                           size_t count, reeve_bytes worker,
                           reeve__row_fn on_claim, void *ctx, reeve_error *err);
reeve_rc reeve__redis_extend(reeve__broker *broker, reeve__lease_ref *refs,
                             size_t count, int64_t lease_ms, reeve_error *err);
reeve_rc reeve__redis_promote(reeve__broker *broker, reeve_bytes queue,
                              size_t max, size_t *out_moved,
                              int64_t *out_next_due_at_ms, reeve_error *err);
reeve_rc reeve__redis_reclaim(reeve__broker *broker, reeve_bytes queue,
                              reeve_bytes worker, size_t max,
                              reeve__row_fn on_row, void *ctx,
                              int64_t *out_next_at_ms, reeve_error *err);
reeve_rc reeve__redis_sweep(reeve__broker *broker, reeve_bytes queue,
                            size_t max, size_t *out_removed, reeve_error *err);
reeve_rc reeve__redis_now(reeve__broker *broker, int64_t *out_at_ms,
                          reeve_error *err);
reeve_rc reeve__redis_beat(reeve__broker *broker, const reeve_worker_info *info,
                           bool gone, reeve_error *err);
reeve_rc reeve__redis_workers(reeve__broker *broker, reeve__worker_fn on_worker,
                              void *ctx, reeve_error *err);
reeve_rc reeve__redis_workers_sweep(reeve__redis *redis, int64_t by_ns,
                                    reeve_error *err);
reeve_rc reeve__redis_watch(reeve__broker *broker, reeve_bytes worker,
                            int wake_fd, int64_t by_ns, int32_t *out,
                            reeve_error *err);
reeve_rc reeve__redis_tell(reeve__broker *broker, reeve_bytes worker,
                           int32_t control, reeve_error *err);
reeve_rc reeve__redis_wait(reeve__broker *broker, const reeve_bytes *queues,
                           size_t count, int wake_fd, int64_t by_ns,
                           ptrdiff_t *out_index, reeve_error *err);
reeve_rc reeve__redis_wait_claim(reeve__broker *broker,
                                 reeve__bell_claim *claim, int wake_fd,
                                 int64_t by_ns, reeve_error *err);
reeve_rc reeve__redis_unwait(reeve__broker *broker, reeve_error *err);
void reeve__redis_bell_used(reeve__redis *redis, reeve_bytes queue);
void reeve__redis_bell_dispose(reeve__redis *redis);
reeve_rc reeve__redis_queues(reeve__broker *broker, reeve__queue_fn on_queue,
                             void *ctx, reeve_error *err);
reeve_rc reeve__redis_list(reeve__broker *broker, reeve_bytes queue,
                           int32_t state, uint64_t cursor, size_t limit,
                           uint64_t *out_cursor, reeve__row_fn on_row,
                           void *ctx, reeve_error *err);
reeve_rc reeve__redis_find(reeve__broker *broker, reeve_bytes queue,
                           reeve_bytes id, reeve__row_fn on_row, void *ctx,
                           reeve_error *err);
reeve_rc reeve__redis_act(reeve__broker *broker, reeve__act *acts, size_t count,
                          reeve_error *err);
reeve_rc reeve__redis_pause(reeve__broker *broker, reeve_bytes queue,
                            bool paused, reeve_error *err);
reeve_rc reeve__redis_drop(reeve__broker *broker, reeve_bytes queue,
                           reeve_error *err);
reeve_rc reeve__redis_set_weight(reeve__broker *broker, reeve_bytes queue,
                                 int32_t weight, reeve_error *err);
reeve_rc reeve__redis_weights(reeve__broker *broker, reeve__weight_fn on_weight,
                              void *ctx, reeve_error *err);

#endif
