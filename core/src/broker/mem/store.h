/*
 * What mem://name holds: queues, tasks, idempotency keys, workers, weights and
 * who waits. The store is shared by the handles that name it and lives as long
 * as one of them. Everything here but reeve__mem_store_take and _give: Holds:
 * store->mutex.
 */
#ifndef REEVE_SRC_BROKER_MEM_STORE_H
#define REEVE_SRC_BROKER_MEM_STORE_H

#include "base/thread.h"
#include "broker/broker.h"
#include "broker/mem/table.h"
#include "broker/mem/tree.h"
#include "broker/rows.h"

#define REEVE__MEM_STATES (REEVE_STATE_ARCHIVED + 1)

typedef struct reeve__mem_queue reeve__mem_queue;
typedef struct reeve__mem_broker reeve__mem_broker;

typedef struct reeve__mem_task {
    reeve__mem_entry by_id;
    reeve__mem_node place;  /* among those of its state, in order */
    reeve__mem_node expiry; /* finished and not kept for ever */
    reeve__mem_queue *queue;
    int32_t state;
    int32_t priority;
    int64_t token;        /* ACTIVE */
    int64_t lease_ms;     /* ACTIVE */
    int64_t at_ms;        /* due, end of lease, or expiry; by state */
    int64_t since_at_ms;  /* PENDING: since */
    reeve_bytes envelope; /* owned */
    reeve_bytes result;   /* owned */
    bool has_result;
    char id[REEVE_ID_BYTES_MAX + 1];
    char worker[REEVE_ID_BYTES_MAX + 1]; /* ACTIVE */
} reeve__mem_task;

typedef struct reeve__mem_key {
    reeve__mem_entry by_key;
    reeve__mem_node expiry;
    char task_id[REEVE_ID_BYTES_MAX + 1];
} reeve__mem_key;

struct reeve__mem_queue {
    reeve__mem_entry by_name;
    reeve__mem_queue *next; /* by name */
    reeve__mem_node *states[REEVE__MEM_STATES];
    reeve__mem_node *expiries;     /* tasks */
    reeve__mem_node *key_expiries; /* idempotency keys */
    reeve__mem_table tasks;
    reeve__mem_table keys;
    int64_t token; /* the last one given out */
    int64_t done_total;
    int64_t failed_total;
    int32_t weight;
    bool paused;
    bool bell;    /* rung while nobody waited */
    bool dropped; /* not listed until it is used again */
    char name[REEVE_NAME_BYTES_MAX + 1];
};

typedef struct reeve__mem_worker {
    struct reeve__mem_worker *next;
    reeve_worker_info info; /* views borrow from text */
    char *text;
} reeve__mem_worker;

typedef struct reeve__mem_store {
    struct reeve__mem_store *next; /* in the registry */
    size_t handle_count;           /* guarded by the registry */
    reeve_env *env;                /* referenced; of the first handle */
    reeve__mutex mutex;
    reeve__mem_table queues;
    reeve__mem_queue *first_queue;
    reeve__mem_worker *workers;
    reeve__mem_broker *handles; /* in the order they began to wait */
    int64_t last_seq;           /* order of arrival at the back */
    int64_t first_seq;          /* order of return to the front */
    char *name;
} reeve__mem_store;

/* A thread's handle; what is below the store is guarded by its mutex. */
struct reeve__mem_broker {
    reeve__broker base;
    reeve__mem_store *store;
    reeve__wakefd wake; /* rung when one of the fields below changed */
    reeve__mem_broker *next;
    const reeve_bytes *wait_queues; /* waiting while not NULL */
    size_t wait_count;
    ptrdiff_t rung;         /* index in wait_queues, -1 = not yet */
    reeve__mem_queue *owed; /* rung for us, not claimed from since */
    bool watching;
    bool weights_told;
    int32_t quiet_told; /* QUIET, RESUME or NONE: the last one told */
    char watch_worker[REEVE_ID_BYTES_MAX + 1];
};

/* The store of that name, made if need be. Errors: NOMEM, SYSTEM. Thread: any.
 */
reeve_rc reeve__mem_store_take(reeve__mem_store **out, reeve_env *env,
                               const char *name, reeve_error *err);
/* Drops one handle's share; the last frees it. Thread: any. */
void reeve__mem_store_give(reeve__mem_store *store);

/* Borrows; NULL when there is none. */
reeve__mem_queue *reeve__mem_queue_find(const reeve__mem_store *store,
                                        reeve_bytes name);
/* The same, made if need be. Errors: INVALID, NOMEM. */
reeve_rc reeve__mem_queue_get(reeve__mem_queue **out, reeve__mem_store *store,
                              reeve_bytes name, reeve_error *err);

reeve__mem_task *reeve__mem_task_find(const reeve__mem_queue *queue,
                                      reeve_bytes id);
/* A task in state NONE, known by its id, nowhere placed. NULL: no memory. */
reeve__mem_task *reeve__mem_task_new(reeve__mem_store *store,
                                     reeve__mem_queue *queue, reeve_bytes id,
                                     reeve_bytes envelope);
/* Takes it from its place, forgets and frees it. */
void reeve__mem_task_delete(reeve__mem_store *store, reeve__mem_task *task);
/* The first task of a state; NULL when there is none. */
reeve__mem_task *reeve__mem_task_first(const reeve__mem_queue *queue,
                                       int32_t state);
/*
 * The one move: out of its place, into another state. at_ms is the due time,
 * the end of the lease, or the expiry, by state. front: before its equals in
 * priority instead of behind them.
 */
void reeve__mem_task_move(reeve__mem_store *store, reeve__mem_task *task,
                          int32_t state, int64_t at_ms, bool front);
void reeve__mem_task_row(reeve__row *out, const reeve__mem_task *task,
                         int64_t now_at_ms);
/* Replaces owned bytes by a copy. False: no memory, nothing changed. */
bool reeve__mem_bytes_set(reeve__mem_store *store, reeve_bytes *owned,
                          reeve_bytes value);
/* The earliest scheduled or retry task; NULL when there is none. */
reeve__mem_task *reeve__mem_next_due(const reeve__mem_queue *queue);

/* The id kept under an idempotency key; NULL when there is none. */
const char *reeve__mem_key_find(const reeve__mem_queue *queue, reeve_bytes key,
                                int64_t now_at_ms);
bool reeve__mem_key_set(reeve__mem_store *store, reeve__mem_queue *queue,
                        reeve_bytes key, reeve_bytes task_id,
                        int64_t expires_at_ms);
/* Forgets up to max keys that have expired. */
void reeve__mem_keys_sweep(reeve__mem_store *store, reeve__mem_queue *queue,
                           int64_t now_at_ms, size_t max);

/* Wakes one waiter, or leaves the ring for the next who waits. */
void reeve__mem_ring(reeve__mem_store *store, reeve__mem_queue *queue);

/* Verbs that live beside mem.c; see reeve__broker_ops. */
reeve_rc reeve__mem_extend(reeve__broker *broker, reeve__lease_ref *refs,
                           size_t count, int64_t lease_ms, reeve_error *err);
reeve_rc reeve__mem_promote(reeve__broker *broker, reeve_bytes name, size_t max,
                            size_t *out_moved, int64_t *out_next_due_at_ms,
                            reeve_error *err);
reeve_rc reeve__mem_reclaim(reeve__broker *broker, reeve_bytes name,
                            reeve_bytes worker, size_t max,
                            reeve__row_fn on_row, void *ctx,
                            int64_t *out_next_at_ms, reeve_error *err);
reeve_rc reeve__mem_sweep(reeve__broker *broker, reeve_bytes name, size_t max,
                          size_t *out_removed, reeve_error *err);
reeve_rc reeve__mem_wait(reeve__broker *broker, const reeve_bytes *queues,
                         size_t count, int wake_fd, int64_t by_ns,
                         ptrdiff_t *out_index, reeve_error *err);
reeve_rc reeve__mem_unwait(reeve__broker *broker, reeve_error *err);
reeve_rc reeve__mem_watch(reeve__broker *broker, reeve_bytes worker,
                          int wake_fd, int64_t by_ns, int32_t *out,
                          reeve_error *err);
reeve_rc reeve__mem_tell(reeve__broker *broker, reeve_bytes worker,
                         int32_t control, reeve_error *err);
reeve_rc reeve__mem_beat(reeve__broker *broker, const reeve_worker_info *info,
                         bool gone, reeve_error *err);
reeve_rc reeve__mem_workers(reeve__broker *broker, reeve__worker_fn on_worker,
                            void *ctx, reeve_error *err);
reeve_rc reeve__mem_set_weight(reeve__broker *broker, reeve_bytes queue,
                               int32_t weight, reeve_error *err);
reeve_rc reeve__mem_weights(reeve__broker *broker, reeve__weight_fn on_weight,
                            void *ctx, reeve_error *err);
reeve_rc reeve__mem_queues(reeve__broker *broker, reeve__queue_fn on_queue,
                           void *ctx, reeve_error *err);
reeve_rc reeve__mem_list(reeve__broker *broker, reeve_bytes queue,
                         int32_t state, uint64_t cursor, size_t limit,
                         uint64_t *out_cursor, reeve__row_fn on_row, void *ctx,
                         reeve_error *err);
reeve_rc reeve__mem_find(reeve__broker *broker, reeve_bytes queue,
                         reeve_bytes id, reeve__row_fn on_row, void *ctx,
                         reeve_error *err);
reeve_rc reeve__mem_act(reeve__broker *broker, reeve__act *acts, size_t count,
                        reeve_error *err);
reeve_rc reeve__mem_pause(reeve__broker *broker, reeve_bytes queue, bool paused,
                          reeve_error *err);
reeve_rc reeve__mem_drop(reeve__broker *broker, reeve_bytes queue,
                         reeve_error *err);
/* Drops workers whose last beat is old. */
void reeve__mem_workers_sweep(reeve__mem_store *store, int64_t now_at_ms);

/* The handle behind broker, locked; NULL and FORKED after a fork. */
reeve__mem_broker *reeve__mem_enter(reeve__broker *broker, reeve_rc *rc,
                                    reeve_error *err);
void reeve__mem_leave(reeve__mem_broker *mem);

#endif
