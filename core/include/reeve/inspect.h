/*
 * The operator's side: see queues, tasks and workers, and act on them.
 */
#ifndef REEVE_INSPECT_H
#define REEVE_INSPECT_H

#include <reeve/client.h>

typedef struct reeve_inspector reeve_inspector;
typedef struct reeve_queue_list reeve_queue_list;
typedef struct reeve_task_list reeve_task_list;
typedef struct reeve_worker_list reeve_worker_list;

/* Views borrow from the list they came from. */
typedef struct reeve_queue_info {
    reeve_bytes name;
    int64_t pending;
    int64_t active;
    int64_t scheduled;
    int64_t retry;
    int64_t completed;
    int64_t archived;
    int64_t done_total;   /* finished well, since the queue was made */
    int64_t failed_total; /* failed runs */
    int64_t latency_ms;   /* age of the oldest pending task */
    int64_t size_bytes;   /* estimate of what is stored */
    int32_t paused;
    int32_t weight;    /* set centrally; 0 = each worker's own */
    reeve_bytes error; /* why its numbers, all 0, are not known: its keys are
                          damaged; empty = they are */
} reeve_queue_info;

typedef struct reeve_attempt_info {
    int64_t at_ms;
    int32_t attempt;
    int32_t crash; /* 1: the worker died; 0: the handler failed */
    reeve_bytes worker;
    reeve_bytes error_type;
    reeve_bytes error_message;
    reeve_bytes error_trace; /* of the last failure only */
} reeve_attempt_info;

typedef struct reeve_task_info {
    reeve_bytes id;
    reeve_bytes queue;
    reeve_bytes type;
    reeve_bytes payload;
    reeve_bytes result; /* COMPLETED only */
    reeve_bytes reason; /* ARCHIVED: why; else empty */
    int32_t state;
    int32_t priority;
    int32_t attempts; /* failed runs so far */
    int32_t max_attempts;
    int32_t crashes;
    int32_t has_result;
    int64_t enqueued_at_ms;
    int64_t due_at_ms;     /* SCHEDULED, RETRY */
    int64_t settled_at_ms; /* COMPLETED, ARCHIVED; 0 = unknown */
    int64_t expires_at_ms; /* COMPLETED, ARCHIVED: when it is swept */
    int64_t token;         /* ACTIVE: the current fencing token */
    const reeve_header *headers;
    size_t header_count;
    const reeve_attempt_info *history; /* oldest first, the last few */
    size_t history_count;
    reeve_bytes worker; /* ACTIVE: who holds it, when known */
    /* What it was enqueued with; 0 = nothing was said. */
    int64_t timeout_ms;
    int64_t deadline_at_ms;
    int64_t lease_ms;
    int64_t retention_ms; /* REEVE_NEVER = for ever */
    int32_t max_crashes;  /* REEVE_NEVER = no limit */
    int32_t reserved;
} reeve_task_info;

typedef struct reeve_worker_info {
    reeve_bytes id;
    reeve_bytes host;
    int64_t pid;
    int64_t started_at_ms;
    int64_t beat_at_ms;
    int32_t concurrency;
    int32_t active;
    int64_t done;
    int64_t failed;
    int32_t quiet;
    int32_t reserved;
    reeve_bytes queues; /* "mail=6,default=3" */
} reeve_worker_info;

typedef struct reeve_task_query {
    uint32_t size;
    int32_t state;     /* one state; required */
    reeve_bytes queue; /* required */
    uint64_t cursor;   /* 0 = from the start */
    size_t limit;      /* 0 = 50; at most 1000 */
} reeve_task_query;

#define REEVE_TASK_QUERY_INIT REEVE__INIT(reeve_task_query)

enum reeve_action {
    REEVE_ACTION_RUN = 1, /* scheduled, retry, archived, completed → pending
                                 (archived: attempts start again from 0) */
    REEVE_ACTION_ARCHIVE = 2, /* scheduled, retry, pending → archived */
    REEVE_ACTION_DELETE = 3,  /* any state but active → gone */
};

REEVE_BEGIN_DECLS

/* New inspector on its own connection. Errors: as reeve_client_open.
 * Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_open(reeve_inspector **out,
                                           reeve_env *env,
                                           const reeve_client_options *options,
                                           reeve_error *err);
/* Accepts NULL. Thread: one. */
REEVE_EXTERN void reeve_inspector_close(reeve_inspector *inspector);

/* All queues, by name. New list. Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_queues(reeve_queue_list **out,
                                             reeve_inspector *inspector,
                                             reeve_error *err);
/* How many; 0 for NULL. Thread: any. */
REEVE_EXTERN size_t reeve_queue_list_count(const reeve_queue_list *list);
/* Borrows from the list; NULL past its end. Thread: any. */
REEVE_EXTERN const reeve_queue_info *reeve_queue_list_get(
    const reeve_queue_list *list, size_t index);
/* Accepts NULL. Thread: one. */
REEVE_EXTERN void reeve_queue_list_free(reeve_queue_list *list);

/* A page of tasks in one state, in the order they would run (finished ones:
 * oldest first). *out_cursor is 0 on the last page. New list. Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_tasks(reeve_task_list **out,
                                            uint64_t *out_cursor,
                                            reeve_inspector *inspector,
                                            const reeve_task_query *query,
                                            reeve_error *err);

/* One task by id; *out is NULL (and 0 returned) when there is none. New list of
 * one. Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_find(reeve_task_list **out,
                                           reeve_inspector *inspector,
                                           reeve_bytes queue, reeve_bytes id,
                                           reeve_error *err);
/* How many; 0 for NULL. Thread: any. */
REEVE_EXTERN size_t reeve_task_list_count(const reeve_task_list *list);
/* Borrows from the list; NULL past its end. Thread: any. */
REEVE_EXTERN const reeve_task_info *reeve_task_list_get(
    const reeve_task_list *list, size_t index);
/* Accepts NULL. Thread: one. */
REEVE_EXTERN void reeve_task_list_free(reeve_task_list *list);

/* Live and recently dead workers. New list. Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_workers(reeve_worker_list **out,
                                              reeve_inspector *inspector,
                                              reeve_error *err);
/* How many; 0 for NULL. Thread: any. */
REEVE_EXTERN size_t reeve_worker_list_count(const reeve_worker_list *list);
/* Borrows from the list; NULL past its end. Thread: any. */
REEVE_EXTERN const reeve_worker_info *reeve_worker_list_get(
    const reeve_worker_list *list, size_t index);
/* Accepts NULL. Thread: one. */
REEVE_EXTERN void reeve_worker_list_free(reeve_worker_list *list);

/* Acts on one task. Errors: NOT_FOUND, STATE (not from this state).
 * Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_act(reeve_inspector *inspector,
                                          int32_t action, reeve_bytes queue,
                                          reeve_bytes id, reeve_error *err);

/* Acts on the first tasks in one state, at most max and 500; *out_count is how
 * many it moved. Fewer than max does not say that none is left: others may have
 * moved some of them first. For all see reeve_inspector_act_page. Thread: any.
 */
REEVE_EXTERN reeve_rc reeve_inspector_act_many(size_t *out_count,
                                               reeve_inspector *inspector,
                                               int32_t action,
                                               reeve_bytes queue, int32_t state,
                                               size_t max, reeve_error *err);

/* A bulk action in bounded chunks: acts on a page of the query's tasks (limit 0
 * = 500, the most). *out_count is how many it moved, also 0 before the end;
 * *out_cursor goes into the next call's query and is 0 when all is done. The
 * calls together act on every task that was there when the first began and that
 * nobody else moved; what comes later is left alone, so they end. Errors: STATE
 * (not from this state). Thread: any. Since 0.1. */
REEVE_EXTERN reeve_rc reeve_inspector_act_page(
    size_t *out_count, uint64_t *out_cursor, reeve_inspector *inspector,
    int32_t action, const reeve_task_query *query, reeve_error *err);

/* Replaces the payload of a task that is not active and makes it pending.
 * Errors: NOT_FOUND, STATE, TOO_BIG. Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_edit(reeve_inspector *inspector,
                                           reeve_bytes queue, reeve_bytes id,
                                           reeve_bytes payload,
                                           reeve_error *err);

/* Nothing is claimed from a paused queue. Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_pause(reeve_inspector *inspector,
                                            reeve_bytes queue, bool paused,
                                            reeve_error *err);

/* Forgets a queue that has no task in any state: its counters, pause and
 * weight. A queue of that name is a new one; its fencing tokens go on growing.
 * An idempotency key may outlive it. In Redis a producer that has used it in
 * the last 5 s lists it again only with an enqueue after these; until then its
 * tasks run but the queue is not listed. Errors: NOT_FOUND, STATE: it has
 * tasks. Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_drop(reeve_inspector *inspector,
                                           reeve_bytes queue, reeve_error *err);

/* Weight of a queue on all workers, also running ones; 0 = back to each
 * worker's own. Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_weight(reeve_inspector *inspector,
                                             reeve_bytes queue, int32_t weight,
                                             reeve_error *err);

/* Tells a worker (empty id = all) to stop claiming, or to claim again.
 * Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_quiet(reeve_inspector *inspector,
                                            reeve_bytes worker, bool quiet,
                                            reeve_error *err);

/* Hands back every task of a worker known to be dead, counting a crash for
 * each, and takes it from the list of workers; for supervisors. Looks in the
 * queues that it named when it last reported itself; in all, a round trip for
 * each, when it is not listed. Thread: any. */
REEVE_EXTERN reeve_rc reeve_inspector_reclaim_worker(size_t *out_count,
                                                     reeve_inspector *inspector,
                                                     reeve_bytes worker,
                                                     reeve_error *err);

REEVE_END_DECLS

#endif
