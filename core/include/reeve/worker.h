/*
 * The consumer's side: a worker claims tasks, keeps their leases, and settles
 * what handlers made of them.
 *
 * Two faces. C handlers: register with reeve_worker_handle, they run on the
 * worker's own threads. Languages: take events with reeve_worker_poll and give
 * each delivery back with reeve_worker_complete; no core thread ever calls out.
 */
#ifndef REEVE_WORKER_H
#define REEVE_WORKER_H

#include <reeve/task.h>

typedef struct reeve_worker reeve_worker;

/* One claimed task. Owned by whoever polled it until completed. */
typedef struct reeve_delivery reeve_delivery;

enum reeve_order {
    REEVE_ORDER_WEIGHTED = 0, /* smooth weighted round-robin */
    REEVE_ORDER_STRICT = 1,   /* first queue first, with ageing */
};

typedef struct reeve_worker_queue {
    reeve_bytes name;
    int32_t weight; /* 1 … 1000; 0 = 1. Ignored by STRICT (order of the list) */
    int32_t reserved;
} reeve_worker_queue;

typedef struct reeve_worker_options {
    uint32_t size;
    int32_t order;      /* enum reeve_order */
    const char *url;    /* as reeve_client_options */
    const char *prefix; /* as reeve_client_options */
    const char *id;     /* NULL = a new UUIDv7; unique among live workers */
    const reeve_worker_queue *queues; /* none = "default" */
    size_t queue_count;               /* at most 256 */
    int32_t concurrency;  /* deliveries at a time; 0 = 10; 1 … 10000 */
    int32_t thread_count; /* for C handlers; 0 = concurrency */
    int64_t lease_ms;     /* 0 = 30 s; 100 ms … 1 day */
    int64_t ageing_ms;    /* STRICT: a passed-over queue is served once in this
                          long; 0 = 1 s, REEVE_NEVER = no ageing */
    int64_t settle_delay_ms; /* batch finished tasks for at most; 0 = 5 ms,
                                REEVE_NEVER = settle at once */
    int32_t settle_count;    /* or this many; 0 = 64 */
    int32_t manual;     /* 1: no threads; the caller drives reeve_worker_step */
    int64_t grace_ms;   /* stop: wait this long for handlers; 0 = 25 s */
    int64_t archive_ms; /* dead letters are kept for; 0 = 90 days */
    int64_t archive_count; /* and at most this many a queue; 0 = 100000 */
    int32_t prefetch; /* claimed ahead of free slots: 0 = as many as pay, up to
                         1000, none while handlers are slow; n = at most n;
                         REEVE_NEVER = none. See reeve_worker_poll */
    int32_t reserved;
} reeve_worker_options;

#define REEVE_WORKER_OPTIONS_INIT REEVE__INIT(reeve_worker_options)

/* What a delivery carries; views borrow from the delivery. */
typedef struct reeve_delivery_view {
    uint32_t size;
    int32_t attempt;      /* 1 for the first run; failures so far + 1 */
    int32_t max_attempts; /* REEVE_NEVER = no limit */
    int32_t crashes;
    int32_t priority; /* 0 … 9 */
    uint32_t reserved;
    uint64_t serial; /* names this delivery in CANCEL events; never reused */
    int64_t token;   /* fencing token: grows with every claim in a queue */
    reeve_bytes id;
    reeve_bytes type;
    reeve_bytes queue;
    reeve_bytes payload;
    int64_t enqueued_at_ms;
    int64_t claimed_at_ms; /* server time */
    int64_t deadline_at_ms;
    int64_t timeout_ms;
    const reeve_header *headers;
    size_t header_count;
} reeve_delivery_view;

#define REEVE_DELIVERY_VIEW_INIT REEVE__INIT(reeve_delivery_view)

enum reeve_outcome_kind {
    REEVE_OUTCOME_DONE = 0,
    REEVE_OUTCOME_RETRY = 1,   /* failed: retry by policy, or after delay_ms */
    REEVE_OUTCOME_FATAL = 2,   /* failed: to the archive at once */
    REEVE_OUTCOME_DISCARD = 3, /* drop without a trace in the archive */
    REEVE_OUTCOME_SNOOZE = 4,  /* run again after delay_ms, no attempt burned */
    REEVE_OUTCOME_REQUEUE = 5, /* not started: back to the front of the queue */
};

typedef struct reeve_outcome {
    uint32_t size;
    int32_t kind;       /* enum reeve_outcome_kind */
    reeve_bytes result; /* DONE; kept only with a retention */
    int64_t delay_ms;   /* SNOOZE, and RETRY with its own delay (0 = policy) */
    reeve_bytes error_type;    /* RETRY, FATAL: "ValueError" */
    reeve_bytes error_message; /* kept up to 1 KiB */
    reeve_bytes error_trace;   /* kept up to 8 KiB, of the last failure */
} reeve_outcome;

#define REEVE_OUTCOME_INIT REEVE__INIT(reeve_outcome)

typedef struct reeve_completion {
    reeve_delivery *delivery; /* consumed */
    const reeve_outcome *outcome;
} reeve_completion;

enum reeve_event_kind {
    REEVE_EVENT_DELIVERY = 1, /* run it, then complete it */
    REEVE_EVENT_CANCEL = 2,   /* stop the delivery named by serial */
    REEVE_EVENT_STOPPED = 3,  /* the last event: the worker has ended */
};

enum reeve_cancel_reason {
    REEVE_CANCEL_NONE = 0,
    REEVE_CANCEL_TIMEOUT = 1,
    REEVE_CANCEL_DEADLINE = 2,
    REEVE_CANCEL_LEASE_LOST = 3,
    REEVE_CANCEL_STOP = 4, /* grace is over or a second stop came */
};

typedef struct reeve_event {
    int32_t kind;
    int32_t reason; /* CANCEL: enum reeve_cancel_reason */
    uint64_t serial;
    reeve_delivery *delivery; /* DELIVERY: new */
} reeve_event;

/* Counters since start; server work is not asked for. */
typedef struct reeve_worker_stats {
    uint32_t size;
    int32_t active; /* claimed and without a verdict now */
    int64_t claimed;
    int64_t done;
    int64_t retried; /* to run again later, snoozed ones too */
    int64_t archived;
    int64_t requeued;   /* back to the front, not counted as run */
    int64_t lease_lost; /* settles refused: another worker has the task */
    int64_t stuck;      /* handlers that ignored their cancellation */
    int64_t reclaimed;  /* taken over from dead workers */
    int64_t reconnects;
    int32_t held; /* of the active ones: still wait for a free slot */
    int32_t reserved;
} reeve_worker_stats;

#define REEVE_WORKER_STATS_INIT REEVE__INIT(reeve_worker_stats)

/* Handler of one type. Returns 0 or an error code (retry by policy); may fill
 * outcome, whose bytes must live until it returns or come from
 * reeve_delivery_alloc. Runs on: an executor thread. */
typedef reeve_rc (*reeve_handler)(reeve_outcome *outcome,
                                  reeve_delivery *delivery, void *user,
                                  reeve_error *err);

REEVE_BEGIN_DECLS

/* New worker; opens and checks the broker. Errors: as reeve_client_open.
 * Thread: any. */
REEVE_EXTERN reeve_rc reeve_worker_new(reeve_worker **out, reeve_env *env,
                                       const reeve_worker_options *options,
                                       reeve_error *err);

/* Registers a C handler for a type; empty type = every other. Thread: setup. */
REEVE_EXTERN reeve_rc reeve_worker_handle(reeve_worker *worker,
                                          reeve_bytes type,
                                          reeve_handler handler, void *user,
                                          reeve_error *err);

/* Starts the threads. Errors: STATE when started before, or when a live worker
 * has this id; as reeve_client_open. Thread: setup. */
REEVE_EXTERN reeve_rc reeve_worker_start(reeve_worker *worker,
                                         reeve_error *err);

/* Asks to stop: claims no more, hands back what was not started, waits for
 * handlers up to grace_ms, requeues the rest. A second call: now. Only sets a
 * flag and rings a wake fd. Thread: signal. */
REEVE_EXTERN void reeve_worker_stop(reeve_worker *worker);

/* Stops claiming (true) or claims again (false); running tasks go on.
 * Thread: any. */
REEVE_EXTERN void reeve_worker_quiet(reeve_worker *worker, bool quiet);

/* Waits until stopped or for timeout_ms (REEVE_NEVER = for ever). Errors:
 * TIMEOUT. Thread: any. */
REEVE_EXTERN reeve_rc reeve_worker_join(reeve_worker *worker,
                                        int64_t timeout_ms, reeve_error *err);

/* Stops at once if running, joins, frees. Accepts NULL. Every delivery must
 * have been completed. Thread: one. */
REEVE_EXTERN void reeve_worker_free(reeve_worker *worker);

/* The worker's id; NUL-terminated, borrows from the worker. Thread: any. */
REEVE_EXTERN reeve_bytes reeve_worker_id(const reeve_worker *worker);

/*
 * Takes up to max events; waits up to timeout_ms (0 = do not wait) for the
 * first. Returns how many. Thread: any, several pollers may share.
 *
 * At most options.concurrency deliveries are out at a time: polled, without a
 * verdict. While handlers are fast the worker claims more ahead and hands them
 * out as those before are completed, so after completing there may be the next
 * at once: poll again before waiting.
 */
REEVE_EXTERN size_t reeve_worker_poll(reeve_event *out, size_t max,
                                      reeve_worker *worker, int64_t timeout_ms);

/* A descriptor that is readable while events wait; poll() clears it. Borrows.
 * Thread: any. */
REEVE_EXTERN int reeve_worker_fd(const reeve_worker *worker);

/* Gives one delivery back; consumes it, copies the outcome. Once: afterwards
 * the delivery may be gone at any time. Errors: USAGE, with nothing consumed,
 * for another worker's delivery; for a second time, too, while the worker still
 * has it. Thread: any. */
REEVE_EXTERN reeve_rc reeve_worker_complete(reeve_worker *worker,
                                            reeve_delivery *delivery,
                                            const reeve_outcome *outcome,
                                            reeve_error *err);

/* The same for many, with one wake-up. Thread: any. */
REEVE_EXTERN reeve_rc reeve_worker_complete_many(reeve_worker *worker,
                                                 const reeve_completion *items,
                                                 size_t count,
                                                 reeve_error *err);

/* Manual workers: one turn of every role in the calling thread: due tasks are
 * promoted, finished ones settled, new ones claimed. *out_next_at_ms is when
 * something is due next (0 = nothing known). Thread: one. */
REEVE_EXTERN reeve_rc reeve_worker_step(int64_t *out_next_at_ms,
                                        reeve_worker *worker, reeve_error *err);

/* Fills out (set out->size first). Thread: any. */
REEVE_EXTERN reeve_rc reeve_worker_stats_read(reeve_worker_stats *out,
                                              reeve_worker *worker,
                                              reeve_error *err);

/* Fills out (set out->size first); views borrow. Thread: any. */
REEVE_EXTERN reeve_rc reeve_delivery_read(reeve_delivery_view *out,
                                          const reeve_delivery *delivery,
                                          reeve_error *err);

/* enum reeve_cancel_reason, REEVE_CANCEL_NONE while the task may go on.
 * Thread: any. */
REEVE_EXTERN int32_t
reeve_delivery_cancel_reason(const reeve_delivery *delivery);

/* Memory that lives as long as the delivery; NULL when there is none.
 * Thread: one. */
REEVE_EXTERN void *reeve_delivery_alloc(reeve_delivery *delivery, size_t bytes);

REEVE_END_DECLS

#endif
