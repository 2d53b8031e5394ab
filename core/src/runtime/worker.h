/*
 * Inside of a worker: what its threads share. One mutex guards it; each thread
 * has a broker handle of its own and no lock is held across I/O.
 *
 *   fetcher   settles and claims (fetcher.c, claims.c), holds some ahead
 *             (held.c), waits for work (doorbell.c), hands back claims it never
 *             saw (orphans.c), drains on stop (drain.c)
 *   ticker    leases, timeouts, promote, reclaim, sweep, beat (ticker.c)
 *   control   listens for weights, quiet, resume (control.c)
 *   executor  runs C handlers (executor.c); languages use face.c instead
 *
 * A delivery is live from its claim until it is settled: first in ready, then
 * handed to a handler, which takes a slot. Then it sits in the outbox until the
 * broker has stored its verdict.
 */
#ifndef REEVE_SRC_RUNTIME_WORKER_H
#define REEVE_SRC_RUNTIME_WORKER_H

#include <stdatomic.h>

#include "base/thread.h"
#include "broker/broker.h"
#include "policy/prefetch.h"
#include "policy/select.h"
#include "runtime/settlement.h"
#include "task/envelope.h"
#include "task/id.h"

#define REEVE__WORKER_QUEUES_MAX 256
#define REEVE__SLOW_POLL_MS 1000
#define REEVE__BEAT_EVERY_MS 2000

/* Tasks of one queue claimed together: they share a fencing token. */
typedef struct reeve__claim {
    int64_t token;
    int64_t lease_ms; /* the longest that a member asks for: they share it */
    size_t unsettled; /* members without a settle on its way */
    size_t members;   /* deliveries that point here */
} reeve__claim;

/* A verdict on its way to the broker, with the bytes it borrows. */
typedef struct reeve__sealed {
    reeve__settle settle;
    reeve__buf rewritten;
    char *result;
} reeve__sealed;

typedef struct reeve__extra {
    struct reeve__extra *next;
    max_align_t bytes[];
} reeve__extra;

struct reeve_delivery {
    reeve_worker *worker;
    reeve__claim *claim;
    uint64_t serial;
    size_t queue_index;
    reeve_bytes id;     /* behind the struct */
    reeve_bytes stored; /* behind the struct */
    reeve__envelope envelope;
    bool readable; /* envelope is decoded */
    int64_t token;
    int64_t claimed_at_ms;
    int64_t lease_ms;
    atomic_int cancel_reason;
    reeve__extra *extras;

    /* Guarded by the worker's mutex. */
    int refs;      /* the handler's, the worker's own, a tick's */
    bool settled;  /* a verdict exists or the lease is lost: no longer live */
    bool handed;   /* a handler has it */
    bool resent;   /* its settle may have been stored already */
    bool returned; /* given back by held.c, not yet stored */
    int64_t ready_ns; /* when it came */
    int64_t extend_by_ns;
    int64_t timeout_by_ns; /* INT64_MAX = none */
    bool deadline_first;   /* timeout_by_ns is the deadline, not the timeout */
    struct reeve_delivery *live_prev, *live_next;
    struct reeve_delivery *prev, *next; /* in ready or in the outbox */
    struct reeve_delivery *cancel_next; /* in the list of cancellations */
    bool overran;                       /* in the worker's overruns */
    int64_t stuck_by_ns;
    struct reeve_delivery *overrun_next;

    reeve__sealed sealed; /* once settled */
};

typedef struct reeve__delivery_list {
    reeve_delivery *first;
    reeve_delivery *last;
    size_t count;
} reeve__delivery_list;

typedef struct reeve__worker_queue {
    char *name;
    int32_t own_weight;
    int64_t promote_by_ns;  /* guarded by the worker's mutex */
    int64_t next_due_at_ms; /* the ticker's own: last heard, 0 = none */
    int64_t sweep_by_ns;    /* the ticker's own */
    int64_t role_log_by_ns; /* the ticker's own: failures not told of before */

    /* The fetcher's own. */
    bool orphans_due;       /* a claim's reply was lost or refused */
    int32_t refusals;       /* in a row; 0 = it is well */
    int64_t rest_by_ns;     /* it is left alone until then */
    int64_t rest_log_by_ns; /* not told of again before */
    size_t refused_count;   /* of its verdicts in refused */
} reeve__worker_queue;

/* What one queue gave in a turn. */
typedef struct reeve__claimed {
    reeve__delivery_list list;
    int64_t count;  /* at first */
    int64_t credit; /* for interleaving */
} reeve__claimed;

/* Arrays of the fetcher, reused from turn to turn. */
typedef struct reeve__fetch_scratch {
    size_t *quotas; /* queue_count places each */
    size_t *taken;
    size_t *queue_of; /* turn index → queue index */
    reeve__turn *turns;
    reeve__settle *settles; /* REEVE__SEND_MAX places */
    reeve_delivery **sending;
    size_t *places; /* of what is sent, in settles */
    size_t sending_count;
    reeve__claimed *claims; /* by turn index */
} reeve__fetch_scratch;

/* Most verdicts one turn carries. */
#define REEVE__SEND_MAX 1024

enum reeve__phase {
    REEVE__PHASE_NEW = 0,
    REEVE__PHASE_RUN = 1,
    REEVE__PHASE_DRAIN = 2, /* claims no more, handlers may finish */
    REEVE__PHASE_FLUSH = 3, /* nothing is live, the outbox empties */
    REEVE__PHASE_STOPPED = 4,
};

typedef reeve_rc (*reeve__open_fn)(reeve__broker **out, reeve_env *env,
                                   const reeve__broker_options *options,
                                   reeve_error *err);

struct reeve_worker {
    reeve_worker *self; /* for those who are given a const one */
    reeve_env *env;
    reeve__open_fn open_broker; /* how each thread gets its handle */
    uint32_t fork_count;
    char *url;
    char *prefix;
    char id[REEVE_ID_BYTES_MAX + 1];
    char host[256];
    int64_t started_at_ms;
    size_t concurrency;
    size_t thread_count;
    int64_t lease_ms;
    int64_t settle_delay_ns;
    size_t settle_count;
    int64_t grace_ms;
    bool manual;
    reeve__archive_bounds archive;
    reeve__worker_queue *queues;
    size_t queue_count;

    reeve__broker *fetch_broker;
    reeve__broker *tick_broker;
    reeve__broker *control_broker;
    reeve__thread fetch_thread, tick_thread, control_thread;
    reeve__thread *executors;
    struct reeve__handler *handlers; /* sorted once started */
    size_t handler_count;

    atomic_int stop_requests;
    _Atomic int64_t offset_ms; /* server time minus monotonic time */
    reeve__wakefd fetch_wake;
    reeve__wakefd control_wake;
    reeve__wakefd event_wake;

    reeve__mutex mutex;
    reeve__cond ready_cond; /* deliveries for executors, events for pollers */
    reeve__cond tick_cond;
    reeve__cond done_cond; /* a thread ended, or all has stopped */

    /* Guarded by mutex. */
    int phase;
    int threads_running;
    bool quiet;
    bool fetch_waits; /* the fetcher sleeps: ring to be heard */
    bool fetch_low;   /* and knows that there is room */
    bool events_rung;
    bool fd_asked;    /* somebody may wait for event_wake */
    bool waiter_due;  /* on ready_cond, woken by reeve__worker_unlock */
    bool fetcher_due; /* likewise */
    bool tick_ends;
    reeve__select select;
    reeve_delivery *live_first, *live_last;
    size_t live_count;
    reeve__delivery_list ready; /* live, no handler has them */
    reeve__delivery_list outbox;
    reeve__delivery_list refused; /* verdicts of queues that rest */
    reeve__prefetch prefetch;
    size_t suspect_count;    /* live ones that a worker died with */
    size_t returning_count;  /* given back, not yet stored */
    size_t offered_count;    /* what a claim behind the doorbell may bring */
    uint64_t finished_count; /* runs that handlers ended */
    uint64_t finished_seen;  /* of these, known to prefetch */
    size_t polling_count;    /* threads that wait in reeve_worker_poll */
    size_t idle_count;       /* executors that wait */
    bool waking;             /* one of these has been woken, does not run yet */
    reeve_delivery *cancel_first, *cancel_last;
    int64_t outbox_since_ns;
    int64_t drain_by_ns;
    int64_t flush_by_ns;
    uint64_t next_serial;
    int64_t next_extend_ns;  /* earliest extend_by_ns of a live delivery */
    int64_t next_timeout_ns; /* earliest timeout of a live delivery */
    reeve_delivery *overrun_first; /* told to stop, still running */
    int64_t tick_by_ns;            /* when the ticker means to wake */
    reeve_worker_stats stats;
    int64_t failed_count; /* runs that failed, for the beat */

    /* The fetcher's own. */
    reeve__fetch_scratch scratch;
    reeve__bell_claim offer; /* while offered_count */
    int64_t slow_poll_by_ns; /* of the queues whose bells do not ring; 0 = not
                                waiting */
    bool bell_out;           /* a wait may be outstanding at the broker */
    bool orphans_due;        /* in some queue */
    bool orphans_again;      /* and it may still be made */
    int64_t orphans_by_ns;
    int32_t failures_in_row; /* written under mutex: the ticker reads it */
    bool turn_refused;       /* the last that failed was answered */
    size_t unwell_count;     /* queues with refusals */
    bool refused_seen;       /* by a manual worker's step */
    int64_t turn_log_by_ns;  /* not told of again before */
    int64_t retry_by_ns;

    /* The ticker's own. */
    int64_t reclaim_by_ns;
    int64_t beat_by_ns;
    int64_t away_until_ns; /* the broker did not answer: not asked before */
};

/* --- worker.c --- */
/* Every thread leaves the worker's mutex by this: what it is to wake is woken
 * outside, or it would only run into the lock. */
void reeve__worker_unlock(reeve_worker *worker);
int64_t reeve__worker_server_now(const reeve_worker *worker);
void reeve__worker_note_time(reeve_worker *worker, reeve__broker *broker);
reeve_rc reeve__worker_open_broker(reeve__broker **out, reeve_worker *worker,
                                   reeve_error *err);
/* Whether it holds this lease: the task runs or waits here, or its verdict is on
 * its way. A reeve__lease_known_fn; ctx is the worker. */
bool reeve__worker_has(void *ctx, reeve_bytes queue, reeve_bytes id,
                       int64_t token);
/* Refuses NULL and a worker of another process. */
reeve_rc reeve__worker_check(const reeve_worker *worker, reeve_error *err);
/* A core thread ends. */
void reeve__worker_thread_ends(reeve_worker *worker);

/* --- delivery.c --- */
/* New delivery from a claimed row, with one reference; undecodable ones are
 * returned too (readable = false, why filled). */
reeve_rc reeve__delivery_new(reeve_delivery **out, reeve_worker *worker,
                             size_t queue_index, const reeve__row *row,
                             reeve_error *why, reeve_error *err);
/* Holds: worker->mutex. */
void reeve__delivery_unref(reeve_delivery *dlv);
/* Drops a reference; true when it was the last, and delivery_free is the
 * caller's. Holds: worker->mutex. */
bool reeve__delivery_part(reeve_delivery *dlv);
/* Frees what nobody holds. Thread: any. */
void reeve__delivery_free(reeve_delivery *dlv);
void reeve__list_push(reeve__delivery_list *list, reeve_delivery *dlv);
reeve_delivery *reeve__list_pop(reeve__delivery_list *list);
void reeve__list_remove(reeve__delivery_list *list, reeve_delivery *dlv);
/* Puts more in front of list. */
void reeve__list_prepend(reeve__delivery_list *list,
                         reeve__delivery_list *more);

/* --- outbox.c: verdicts on their way. Holds: worker->mutex. --- */
void reeve__live_add(reeve_worker *worker, reeve_delivery *dlv);
void reeve__live_remove(reeve_worker *worker, reeve_delivery *dlv);
/* Decides a verdict for dlv into sealed (initialised), without locks. */
void reeve__seal(reeve__sealed *sealed, const reeve_delivery *dlv,
                 const reeve_outcome *outcome, bool started, int32_t reason);
/* Logs a failed run, or a task that is dead without one, with what follows. */
void reeve__log_verdict(const reeve_delivery *dlv, const reeve__settle *settle,
                        int32_t reason, const reeve_outcome *outcome,
                        bool started);
void reeve__sealed_init(reeve__sealed *sealed, reeve_env *env);
void reeve__sealed_dispose(reeve__sealed *sealed, reeve_env *env);
/* Gives dlv to a handler: one more reference, its timeout starts. */
void reeve__hand_out(reeve_worker *worker, reeve_delivery *dlv);
/* The lease is another's now: dlv is no longer live and has no verdict. */
void reeve__live_lose(reeve_worker *worker, reeve_delivery *dlv);
/* Back to the front of its queue. */
void reeve__requeue_live(reeve_worker *worker, reeve_delivery *dlv,
                         bool started);
/* Makes dlv settled, frees its slot and queues its verdict. */
void reeve__outbox_add(reeve_worker *worker, reeve_delivery *dlv);
/* Wakes the fetcher if it sleeps. */
void reeve__fetch_ring(reeve_worker *worker);

/* --- claims.c --- */
/* A broker's row callback; ctx is the worker. */
reeve_rc reeve__on_claim(void *ctx, const reeve__row *row, reeve_error *err);
/* Makes live what the scratch's turns have claimed; of those that were not
 * answered, more may have been. Holds: worker->mutex. */
void reeve__claims_take_in(reeve_worker *worker, size_t turn_count);

/* --- held.c: what waits for a slot. Holds: worker->mutex. --- */
/* dlv becomes live, or is no longer. */
void reeve__held_count(reeve_worker *worker, const reeve_delivery *dlv,
                       bool live);
/* Whether there is a free slot and a delivery for it. */
bool reeve__held_may_start(const reeve_worker *worker);
/* That delivery, handed out; NULL when there is none. */
reeve_delivery *reeve__held_start(reeve_worker *worker);
/* Wakes the fetcher when it has become low since that went to sleep. */
void reeve__held_tell(reeve_worker *worker);
/* Wakes who may start what may start now: of executors one, which wakes the next
 * when it has found work. Short handlers are so run by the few that are awake,
 * and not by as many as there are tasks. */
void reeve__held_wake(reeve_worker *worker);
/* Gives back the newest count of those ready. */
void reeve__held_return(reeve_worker *worker, size_t count);
/* A claim has come, with tasks that a worker died with or without. */
void reeve__held_claimed(reeve_worker *worker, bool suspects);
/* Decides anew how many to hold, and gives back what waited too long. Runs on:
 * the fetcher. */
void reeve__held_step(reeve_worker *worker, int64_t now_ns);
/* When held_step has something to give back; INT64_MAX = never. */
int64_t reeve__held_look_by(const reeve_worker *worker);
/* How many more may be claimed. */
size_t reeve__held_room(const reeve_worker *worker);
/* There is room, and so little left that it is worth a turn of its own. */
bool reeve__held_is_low(const reeve_worker *worker);

/* --- face.c --- */
/* Holds: worker->mutex. Tells pollers that something is there. */
void reeve__events_ring(reeve_worker *worker);
/* Tells the handler of dlv to stop. Holds: worker->mutex. */
void reeve__cancel(reeve_worker *worker, reeve_delivery *dlv, int reason);

/* --- fetcher.c --- */
enum reeve__fetch_next {
    REEVE__FETCH_AGAIN = 0,
    REEVE__FETCH_WAIT_BELL = 1, /* free slots, nothing to claim */
    REEVE__FETCH_WAIT_WAKE = 2, /* no free slots, or not claiming */
    REEVE__FETCH_END = 3,
};
/* One turn at most; then what to wait for, and until when. */
int reeve__fetch_step(reeve_worker *worker, int64_t *out_by_ns);
void reeve__fetch_run(void *worker);
reeve_rc reeve__fetch_scratch_init(reeve_worker *worker, reeve_error *err);
void reeve__fetch_scratch_dispose(reeve_worker *worker);

/* --- refused.c: queues that refuse, one by one. Called by the fetcher. Holds:
 * worker->mutex, but for the first two, whose state is the fetcher's own. --- */
/* Whether an answer like this concerns its queue alone. */
bool reeve__refused_alone(const reeve_worker *worker, reeve_rc rc);
bool reeve__refused_rests(const reeve__worker_queue *queue, int64_t now_ns);
/* A queue has refused: it rests. */
void reeve__refused_begin(reeve_worker *worker, size_t index, int64_t now_ns,
                          const reeve_error *err);
/* The queues of the scratch's turns that were not answered (err) rest; those
 * that were rest no longer. */
void reeve__refused_note(reeve_worker *worker, size_t turn_count,
                         int64_t now_ns, const reeve_error *err);
/* Tells the choice of queues whether one may be claimed from. */
void reeve__refused_plan(reeve_worker *worker, size_t index);
/* Every rest ends now. */
void reeve__refused_ask_again(reeve_worker *worker, int64_t now_ns);
/* The earliest end of a rest after now_ns; INT64_MAX when nothing rests. */
int64_t reeve__refused_look_by(const reeve_worker *worker, int64_t now_ns);
/* Verdicts that were sent and refused wait again, before those that came after
 * them. Takes the list. */
void reeve__refused_put_back(reeve_worker *worker, reeve__delivery_list *list);
/* Lays a verdict by when others of its queue wait; false when it may go. */
bool reeve__refused_keep(reeve_worker *worker, reeve_delivery *dlv,
                         int64_t now_ns);
/* Whether some may be sent again. */
bool reeve__refused_is_ripe(const reeve_worker *worker, int64_t now_ns);
/* Moves these to out, a few of each queue that has not answered well since. */
void reeve__refused_take(reeve__delivery_list *out, reeve_worker *worker,
                         int64_t now_ns);

/* Books what turn_count turns of the scratch have claimed. Holds:
 * worker->mutex. */
void reeve__fetch_book(reeve_worker *worker, size_t turn_count, int64_t now_ns);
/* The broker did not answer: no turn for a while. Holds: worker->mutex. */
void reeve__fetch_hold_off(reeve_worker *worker);

/* --- doorbell.c. Runs on: the fetcher. --- */
/* Waits at the doorbell of all queues; what a claim behind it brought is taken
 * in. */
void reeve__bell_wait(reeve_worker *worker, int64_t by_ns);
/* Withdraws from the doorbell: who does not wait for work must not be rung, or
 * others would not hear of it. */
void reeve__bell_leave(reeve_worker *worker);
/* Whether what was offered must be withdrawn before the next step. */
bool reeve__bell_is_stale(reeve_worker *worker);

/* --- orphans.c --- */
/* A reply was lost that may have claimed from every queue. */
void reeve__orphans_note_all(reeve_worker *worker);
/* Whether there may be claims to hand back in a queue that does not refuse. */
bool reeve__orphans_may_come(const reeve_worker *worker);
/* Hands back claims that were never seen, if it is time to; orphans_due stays
 * true when it cannot. Runs on: the fetcher. */
void reeve__orphans_return(reeve_worker *worker);

/* --- drain.c --- */
/* Moves the phase on when a stop was asked for. Returns the phase. Holds:
 * worker->mutex. */
int reeve__drain_step(reeve_worker *worker, int64_t now_ns);

/* --- ticker.c, leases.c, timeouts.c, roles.c --- */
/* The worker has stopped: no more calls to a broker that may be away. */
bool reeve__tick_is_over(reeve_worker *worker);
/* Runs every role that is due; returns when the next is. */
int64_t reeve__tick_step(reeve_worker *worker, int64_t now_ns);
void reeve__tick_run(void *worker);
/* Keeps an eye on a handler that was told to stop, and reports it when it goes
 * on nevertheless. Holds: worker->mutex. */
void reeve__watch_overrun(reeve_worker *worker, reeve_delivery *dlv);
/* A queue's next due time became known. Thread: any. */
void reeve__tick_due_hint(reeve_worker *worker, size_t queue_index,
                          int64_t due_at_ms);
int64_t reeve__role_extend(reeve_worker *worker, int64_t now_ns);
int64_t reeve__role_timeouts(reeve_worker *worker, int64_t now_ns);
int64_t reeve__role_promote(reeve_worker *worker, int64_t now_ns);
int64_t reeve__role_reclaim(reeve_worker *worker, int64_t now_ns);
int64_t reeve__role_sweep(reeve_worker *worker, int64_t now_ns);
int64_t reeve__role_beat(reeve_worker *worker, int64_t now_ns);
void reeve__beat_send(reeve_worker *worker, bool gone);

/* --- identity.c --- */
/* Refuses to start beside a live worker of the same id. */
reeve_rc reeve__identity_check(reeve_worker *worker, reeve_error *err);

/* --- control.c --- */
void reeve__control_run(void *worker);
/* Reads the central weights and applies them. */
reeve_rc reeve__weights_read(reeve_worker *worker, reeve__broker *broker,
                             reeve_error *err);

/* --- executor.c --- */
typedef struct reeve__handler {
    char *type;
    size_t type_size;
    reeve_handler run;
    void *user;
} reeve__handler;
reeve_rc reeve__executor_start(reeve_worker *worker, reeve_error *err);
void reeve__executor_join(reeve_worker *worker);

#endif
