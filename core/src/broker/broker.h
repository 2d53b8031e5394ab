/*
 * The broker: few verbs, batches everywhere. Client and runtime see only this
 * header. A broker moves tasks and never decides: verdicts come in as data.
 *
 * A handle belongs to one thread at a time; open one for each thread. Handles
 * with the same URL share the same store. After fork a handle made before is
 * useless (REEVE_E_FORKED) and only reeve__broker_close is allowed, which then
 * releases memory and descriptors but does not touch the store.
 *
 * Every verb is idempotent or says "already done": after NET or TIMEOUT the
 * caller may repeat it. Reconnecting is the broker's own business inside a
 * verb's deadline.
 *
 * Row callbacks run inside the verb on the calling thread; every view in a row
 * is borrowed for the callback. A callback's error ends the verb with it.
 */
#ifndef REEVE_SRC_BROKER_BROKER_H
#define REEVE_SRC_BROKER_BROKER_H

#include <reeve/inspect.h>
#include <reeve/worker.h>
#include "base/env.h"

typedef struct reeve__broker reeve__broker;

typedef struct reeve__broker_options {
    const char *url;    /* NULL = SQLite in the user's state directory */
    const char *prefix; /* NULL = "reeve" */
    int64_t timeout_ms; /* of one verb, reconnects included; 0 = 5 s */
    bool worker;        /* opened by a worker: stricter safety checks */
} reeve__broker_options;

/* A task on its way in. The caller made the id and the envelope. */
typedef struct reeve__enqueue_item {
    reeve_bytes queue;
    reeve_bytes id;
    reeve_bytes envelope;        /* JSON line + '\n' + payload */
    reeve_bytes idempotency_key; /* empty = none */
    int64_t idempotency_ttl_ms;
    int64_t delay_ms;  /* >= 0, from server now; used when due_at_ms is 0 */
    int64_t due_at_ms; /* absolute; in the past = pending */
    int32_t priority;  /* 0 … 9 */
    bool resent; /* this id may be ours from a lost reply: EXISTS is success */
    bool fresh;  /* the id was drawn at random for this call: a broker need not
                    look whether it is taken */
    /* out */
    int32_t code;  /* 0, EXISTS */
    int32_t state; /* PENDING or SCHEDULED */
    bool answered; /* these hold although the call as a whole has failed */
    bool existing; /* idempotency key known: out_id is the earlier task's */
    char out_id[REEVE_ID_BYTES_MAX + 1];
    int64_t out_due_at_ms;
} reeve__enqueue_item;

/* Names one leased task. */
typedef struct reeve__lease_ref {
    reeve_bytes queue;
    reeve_bytes id;
    int64_t token;
    bool lost; /* out */
} reeve__lease_ref;

/*
 * One verdict to store. Fenced: applied only while the task is active under
 * token; otherwise code is LEASE_LOST and nothing changes. to_state is
 * COMPLETED, NONE (deleted), RETRY, SCHEDULED, PENDING (to the front, before
 * its equals in priority) or ARCHIVED.
 */
typedef struct reeve__settle {
    reeve_bytes id;
    int64_t token;
    int32_t to_state;
    int32_t priority;      /* 0 … 9, of the task; RETRY, SCHEDULED, PENDING */
    int64_t delay_ms;      /* RETRY, SCHEDULED: from server now */
    int64_t retention_ms;  /* COMPLETED, ARCHIVED: kept this long;
                              REEVE_NEVER = for ever */
    int64_t archive_count; /* ARCHIVED: the oldest beyond this many go; 0 = no
                              bound */
    reeve_bytes envelope;  /* rewritten; empty = unchanged */
    reeve_bytes result;    /* COMPLETED */
    bool has_result;
    bool done;          /* counts in done_total */
    bool failed;        /* counts in failed_total */
    bool last_of_token; /* no other task of this token is unsettled */
    bool resent;        /* may have been stored already: no loss when the task
                           is in to_state; for stores whose calls can fail and
                           have changed something */
    /* out: 0, LEASE_LOST */
    int32_t code;
} reeve__settle;

/* One queue's half of a turn: settle these, then claim up to claim_max. */
typedef struct reeve__turn {
    reeve_bytes queue;
    reeve__settle *settles;
    size_t settle_count;
    size_t claim_max; /* 0 = claim nothing */
    int64_t lease_ms;
    /* out */
    bool answered; /* when the call fails with SERVER: this half holds. The
                      other halves' verdicts are to be sent again */
    size_t claimed;
    bool more; /* pending work was left behind */
    bool paused;
    int64_t next_due_at_ms; /* earliest scheduled or retry task, when the claim
                               came back short; 0 = none */
} reeve__turn;

/* A task as stored, plus where it stands. */
typedef struct reeve__row {
    size_t turn_index; /* turn: which element of turns */
    reeve_bytes queue;
    reeve_bytes id;
    reeve_bytes envelope; /* empty: the body is missing (debris) */
    int32_t state;
    int32_t priority;
    int64_t token;         /* ACTIVE */
    int64_t lease_ms;      /* ACTIVE: granted for */
    int64_t now_at_ms;     /* server time of the reply */
    int64_t due_at_ms;     /* SCHEDULED, RETRY */
    int64_t expires_at_ms; /* COMPLETED, ARCHIVED; REEVE_NEVER = for ever */
    reeve_bytes worker;    /* ACTIVE, when known */
    reeve_bytes result;    /* COMPLETED */
    bool has_result;
} reeve__row;

typedef reeve_rc (*reeve__row_fn)(void *ctx, const reeve__row *row,
                                  reeve_error *err);
typedef reeve_rc (*reeve__queue_fn)(void *ctx, const reeve_queue_info *info,
                                    reeve_error *err);
typedef reeve_rc (*reeve__worker_fn)(void *ctx, const reeve_worker_info *info,
                                     reeve_error *err);
/* What is stored beyond counts as none. */
#define REEVE__WEIGHT_MAX 1000
/* A central weight: queue and weight; called for all that are set. */
typedef reeve_rc (*reeve__weight_fn)(void *ctx, reeve_bytes queue,
                                     int32_t weight, reeve_error *err);

/* What a control message tells a worker. */
enum reeve__control {
    REEVE__CONTROL_NONE = 0,
    REEVE__CONTROL_WEIGHTS = 1, /* weights changed: read them */
    REEVE__CONTROL_QUIET = 2,   /* stop claiming */
    REEVE__CONTROL_RESUME = 3,  /* claim again */
};

/* A move an operator asks for; see enum reeve_action. */
typedef struct reeve__act {
    int32_t action; /* enum reeve_action, or EDIT below */
    reeve_bytes queue;
    reeve_bytes id;
    int32_t from_state;   /* the state the caller saw; STATE if it moved on */
    int32_t priority;     /* 0 … 9, of the task */
    reeve_bytes envelope; /* rewritten; empty = unchanged */
    int64_t retention_ms; /* ARCHIVE */
    int32_t code;         /* out: 0, NOT_FOUND, STATE */
} reeve__act;

/* A claim that follows the ring of its queue's doorbell by itself. */
typedef struct reeve__bell_claim {
    reeve__turn turn; /* without settles */
    reeve_bytes worker;
    reeve__row_fn on_claim;
    void *ctx;
    bool done; /* out: it was made, of however many tasks, and delivered */
} reeve__bell_claim;

enum reeve__cap {
    REEVE__CAP_SHARED = 1,  /* other processes see the store */
    REEVE__CAP_DURABLE = 2, /* survives this process */
};

typedef struct reeve__broker_ops {
    const char *name; /* "redis", "sqlite", "mem" */
    uint32_t caps;

    void (*close)(reeve__broker *broker);

    /* nothing → pending or scheduled. Per-item code. Items of several queues
     * may be mixed; order within a queue is kept. */
    reeve_rc (*enqueue)(reeve__broker *broker, reeve__enqueue_item *items,
                        size_t count, reeve_error *err);

    /* Settles, then claims, for each queue; one round trip in all. on_claim is
     * called for each claimed task in order. A lost reply may leave tasks
     * leased to worker that it never saw: it finds them by reclaim. */
    reeve_rc (*turn)(reeve__broker *broker, reeve__turn *turns, size_t count,
                     reeve_bytes worker, reeve__row_fn on_claim, void *ctx,
                     reeve_error *err);

    /* Renews leases to lease_ms from now; sets lost on those no longer ours. */
    reeve_rc (*extend)(reeve__broker *broker, reeve__lease_ref *refs,
                       size_t count, int64_t lease_ms, reeve_error *err);

    /* scheduled, retry → pending for what is due, at most max; then the next
     * due time (0 = none). */
    reeve_rc (*promote)(reeve__broker *broker, reeve_bytes queue, size_t max,
                        size_t *out_moved, int64_t *out_next_due_at_ms,
                        reeve_error *err);

    /* Lists up to max active tasks whose lease has lapsed; with worker not
     * empty, that worker's, lapsed or not. Moves nothing: the caller settles
     * them under their token. *out_next_at_ms: the next lease end, 0 = none. */
    reeve_rc (*reclaim)(reeve__broker *broker, reeve_bytes queue,
                        reeve_bytes worker, size_t max, reeve__row_fn on_row,
                        void *ctx, int64_t *out_next_at_ms, reeve_error *err);

    /* Deletes what retention and bounds say, debris, old worker beats; at most
     * max. */
    reeve_rc (*sweep)(reeve__broker *broker, reeve_bytes queue, size_t max,
                      size_t *out_removed, reeve_error *err);

    /* Publishes a worker; gone = true removes it. */
    reeve_rc (*beat)(reeve__broker *broker, const reeve_worker_info *info,
                     bool gone, reeve_error *err);

    /* Waits for a control message to worker (or all) until by_ns or until
     * wake_fd is readable. *out = NONE when nothing came. The first call
     * subscribes. May report WEIGHTS spuriously after a reconnect. */
    reeve_rc (*watch)(reeve__broker *broker, reeve_bytes worker, int wake_fd,
                      int64_t by_ns, int32_t *out, reeve_error *err);

    /* Sends a control message to worker (empty = all). */
    reeve_rc (*tell)(reeve__broker *broker, reeve_bytes worker, int32_t control,
                     reeve_error *err);

    /* Waits until a queue's doorbell rings, wake_fd is readable (not cleared
     * here) or by_ns passes. *out_index = the queue, or -1. The doorbell wakes
     * one waiter; one that leaves work behind rings for the next (turn does
     * that). Spurious wake-ups allowed. */
    reeve_rc (*wait)(reeve__broker *broker, const reeve_bytes *queues,
                     size_t count, int wake_fd, int64_t by_ns,
                     ptrdiff_t *out_index, reeve_error *err);
    /* As wait, at the doorbell of one queue; whom it rings for has claimed in
     * the same round trip. A claim that is not done yet when this returns is
     * still under way: it must stay where it is until another call with it, or
     * unwait, has ended it. After an error it may have been made unseen. NULL
     * where no round trip would be saved. */
    reeve_rc (*wait_claim)(reeve__broker *broker, reeve__bell_claim *claim,
                           int wake_fd, int64_t by_ns, reeve_error *err);
    /* Withdraws a wait left behind by wake_fd, so that a ring goes to another
     * worker; passes on a ring that had already come. A claim that came first
     * is delivered and done. May be a no-op. */
    reeve_rc (*unwait)(reeve__broker *broker, reeve_error *err);

    /* All queues with counts; *info as public. */
    reeve_rc (*queues)(reeve__broker *broker, reeve__queue_fn on_queue,
                       void *ctx, reeve_error *err);
    /* A page of tasks in one state. cursor 0 = start; *out_cursor 0 = end. */
    reeve_rc (*list)(reeve__broker *broker, reeve_bytes queue, int32_t state,
                     uint64_t cursor, size_t limit, uint64_t *out_cursor,
                     reeve__row_fn on_row, void *ctx, reeve_error *err);
    /* One task; on_row is not called when there is none. */
    reeve_rc (*find)(reeve__broker *broker, reeve_bytes queue, reeve_bytes id,
                     reeve__row_fn on_row, void *ctx, reeve_error *err);
    /* Operator's moves, a batch in one queue each; per-item code. */
    reeve_rc (*act)(reeve__broker *broker, reeve__act *acts, size_t count,
                    reeve_error *err);
    reeve_rc (*pause)(reeve__broker *broker, reeve_bytes queue, bool paused,
                      reeve_error *err);
    /* Forgets a queue: counters, pause, weight. Errors: NOT_FOUND, STATE: it
     * has a task, in whatever state. */
    reeve_rc (*drop)(reeve__broker *broker, reeve_bytes queue,
                     reeve_error *err);
    reeve_rc (*workers)(reeve__broker *broker, reeve__worker_fn on_worker,
                        void *ctx, reeve_error *err);
    reeve_rc (*set_weight)(reeve__broker *broker, reeve_bytes queue,
                           int32_t weight, reeve_error *err);
    reeve_rc (*weights)(reeve__broker *broker, reeve__weight_fn on_weight,
                        void *ctx, reeve_error *err);

    /* Server time, from the last reply where that is exact enough. */
    reeve_rc (*now)(reeve__broker *broker, int64_t *out_at_ms,
                    reeve_error *err);
} reeve__broker_ops;

/* EDIT: payload replaced, any state but active → pending. RUN, ARCHIVE and
 * DELETE are enum reeve_action. */
#define REEVE__ACTION_EDIT 4

/* Concrete brokers embed this as their first member. */
struct reeve__broker {
    const reeve__broker_ops *ops;
    reeve_env *env; /* referenced */
    uint32_t fork_count;
    int64_t reconnects;
};

/* Opens by URL scheme, connects and checks. New handle. Errors: INVALID, NET,
 * TIMEOUT, AUTH, TLS, SERVER, UNSAFE, UNSUPPORTED, SYSTEM, NOMEM. */
reeve_rc reeve__broker_open(reeve__broker **out, reeve_env *env,
                            const reeve__broker_options *options,
                            reeve_error *err);
void reeve__broker_close(reeve__broker *broker); /* accepts NULL */

/* What the openers refuse of a url's text; reeve_url_check chooses by scheme,
 * and has reeve_redis_url_parse for Redis. */
reeve_rc reeve__sqlite_url_check(reeve_env *env, const char *url,
                                 reeve_error *err);
reeve_rc reeve__mem_url_check(const char *url, reeve_error *err);

/* Openers of the concrete brokers, called by reeve__broker_open. */
reeve_rc reeve__redis_open(reeve__broker **out, reeve_env *env,
                           const reeve__broker_options *options,
                           reeve_error *err);
reeve_rc reeve__sqlite_open(reeve__broker **out, reeve_env *env,
                            const reeve__broker_options *options,
                            reeve_error *err);
reeve_rc reeve__mem_open(reeve__broker **out, reeve_env *env,
                         const reeve__broker_options *options,
                         reeve_error *err);

#endif
