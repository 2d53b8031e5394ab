/*
 * The operations: what goes into a script, what comes out. Each begins by
 * appending its commands to the engine and is done when op.waiting is 0; then
 * its out fields count if op.rc is 0. No I/O.
 */
#ifndef REEVE_SRC_BROKER_REDIS_OPS_H
#define REEVE_SRC_BROKER_REDIS_OPS_H

#include "broker/redis/engine.h"

/* ---- one script or command with one reply ------------------------------- */

#define REEVE__CALL_ARGS_MAX 4

typedef struct reeve__call {
    reeve__op op;
    int script;
    reeve_bytes queue;
    const uint8_t *keys;
    size_t key_count;
    size_t arg_count;
    reeve_bytes args[REEVE__CALL_ARGS_MAX];
    char numbers[REEVE__CALL_ARGS_MAX][24];
    reeve__reply *reply; /* kept; NULL after an error */
} reeve__call;

void reeve__call_init(reeve__call *call, int script, reeve_bytes queue,
                      const uint8_t *keys, size_t key_count);
void reeve__call_arg(reeve__call *call, reeve_bytes arg);
void reeve__call_arg_int(reeve__call *call, int64_t arg);
void reeve__call_begin(reeve__call *call, reeve__engine *engine);
/* For a plain command: the caller appends argc arguments after it. */
void reeve__call_begin_command(reeve__call *call, reeve__engine *engine,
                               size_t argc);
void reeve__call_dispose(reeve__call *call);

/* Integer at index of the reply; sets the operation's error otherwise. */
int64_t reeve__call_int(reeve__call *call, const reeve__engine *engine,
                        size_t index);

/* ---- enqueue ------------------------------------------------------------- */

#define REEVE__ENQUEUE_CHUNKS_MAX 16

/* How a chunk is stored, from the cheapest. */
enum reeve__enqueue_way {
    REEVE__ENQUEUE_FRESH, /* a transaction: nothing to look at */
    REEVE__ENQUEUE_PLAIN, /* enqueue.lua: ids may be taken */
    REEVE__ENQUEUE_ANY,   /* enqueue_any.lua */
};

typedef struct reeve__enqueue_chunk {
    size_t first;
    size_t count;
    uint8_t way; /* enum reeve__enqueue_way */
    bool loose;  /* FRESH: MULTI was refused, so each command stood alone */
} reeve__enqueue_chunk;

typedef struct reeve__op_enqueue {
    reeve__op op;
    reeve__enqueue_item **items; /* borrowed; sorted by queue */
    bool resent;                 /* all of them */
    size_t chunk_count;
    reeve__enqueue_chunk chunks[REEVE__ENQUEUE_CHUNKS_MAX];
} reeve__op_enqueue;

/* Sorts by queue; order within a queue is kept. items must point into one
 * array. */
void reeve__enqueue_sort(reeve__enqueue_item **items, size_t count);
/* Takes as many of the sorted items as fit into one flight; returns how many
 * (at least 1 of count > 0). Sends nothing yet. */
size_t reeve__op_enqueue_take(reeve__op_enqueue *op,
                              reeve__enqueue_item **items, size_t count,
                              bool resent);
void reeve__op_enqueue_send(reeve__op_enqueue *op, reeve__engine *engine);
/* Both. */
size_t reeve__op_enqueue_begin(reeve__op_enqueue *op, reeve__engine *engine,
                               reeve__enqueue_item **items, size_t count,
                               bool resent);

/* ---- turn ---------------------------------------------------------------- */

/* Tasks a claim script takes at most; ids for which one HMGET asks. */
#define REEVE__CLAIM_CHUNK ((size_t)256)
#define REEVE__BODIES_CHUNK ((size_t)32)

typedef struct reeve__turn_part reeve__turn_part;

typedef struct reeve__op_turn {
    reeve__op op;
    reeve_env *env;
    reeve__turn *turns; /* borrowed */
    size_t count;
    reeve_bytes worker;
    bool resent;
    reeve__settle **order; /* settles, by turn: moved ones, then plain ends */
    reeve__turn_part *parts;
    size_t part_count;
    size_t part_capacity;
} reeve__op_turn;

/* Errors: NOMEM. Dispose in any case. */
reeve_rc reeve__op_turn_begin(reeve__op_turn *op, reeve__engine *engine,
                              reeve__turn *turns, size_t count,
                              reeve_bytes worker, bool resent,
                              reeve_error *err);
/* Calls on_claim for the claimed tasks; after an error reply for those of the
 * scripts that went well. */
reeve_rc reeve__op_turn_deliver(const reeve__op_turn *op,
                                reeve__row_fn on_claim, void *ctx,
                                reeve_error *err);
void reeve__op_turn_dispose(reeve__op_turn *op);

/* ---- extend -------------------------------------------------------------- */

typedef struct reeve__op_extend {
    reeve__op op;
    reeve_env *env;
    reeve__lease_ref **refs; /* new; sorted by queue and token */
    size_t count;
    int64_t lease_ms;
} reeve__op_extend;

reeve_rc reeve__op_extend_begin(reeve__op_extend *op, reeve__engine *engine,
                                reeve__lease_ref *refs, size_t count,
                                int64_t lease_ms, reeve_error *err);
void reeve__op_extend_dispose(reeve__op_extend *op);

/* ---- reclaim ------------------------------------------------------------- */

typedef struct reeve__op_reclaim {
    reeve__call call;
    reeve_bytes worker;
    size_t max;
    size_t bodies_count;
    reeve__reply *bodies[1000 / REEVE__BODIES_CHUNK + 1];
} reeve__op_reclaim;

void reeve__op_reclaim_begin(reeve__op_reclaim *op, reeve__engine *engine,
                             reeve_bytes queue, reeve_bytes worker, size_t max);
reeve_rc reeve__op_reclaim_deliver(reeve__op_reclaim *op,
                                   const reeve__engine *engine,
                                   int64_t *out_next_at_ms,
                                   reeve__row_fn on_row, void *ctx,
                                   reeve_error *err);
void reeve__op_reclaim_dispose(reeve__op_reclaim *op);

/* ---- promote, sweep and the operator's ----------------------------------- */

void reeve__call_promote(reeve__call *call, reeve__engine *engine,
                         reeve_bytes queue, size_t max);
void reeve__call_sweep(reeve__call *call, reeve__engine *engine,
                       reeve_bytes queue, size_t max);
void reeve__call_ring(reeve__call *call, reeve__engine *engine,
                      reeve_bytes queue);
void reeve__call_pause(reeve__call *call, reeve__engine *engine,
                       reeve_bytes queue, bool paused);
void reeve__call_count(reeve__call *call, reeve__engine *engine,
                       reeve_bytes queue);
void reeve__call_list(reeve__call *call, reeve__engine *engine,
                      reeve_bytes queue, int32_t state, uint64_t cursor,
                      size_t limit);
void reeve__call_find(reeve__call *call, reeve__engine *engine,
                      reeve_bytes queue, reeve_bytes id);
/* Fill rows from a reply of list or find. */
reeve_rc reeve__call_list_rows(reeve__call *call, reeve__engine *engine,
                               int32_t state, uint64_t *out_cursor,
                               reeve__row_fn on_row, void *ctx,
                               reeve_error *err);
reeve_rc reeve__call_find_row(reeve__call *call, reeve__engine *engine,
                              reeve_bytes id, reeve__row_fn on_row, void *ctx,
                              reeve_error *err);

typedef struct reeve__op_act {
    reeve__op op;
    reeve__act *acts; /* borrowed */
    size_t count;
} reeve__op_act;

void reeve__op_act_begin(reeve__op_act *op, reeve__engine *engine,
                         reeve__act *acts, size_t count);

/* Appends a worker's beat as it is stored. */
void reeve__beat_write(reeve__buf *out, const reeve_worker_info *info,
                       int64_t beat_at_ms);

/* ---- hello --------------------------------------------------------------- */

typedef struct reeve__hello_options {
    const char *user;
    const char *password; /* NULL = no AUTH */
    const char *client_name;
    int32_t db;
    bool check;          /* the main connection: safety and scripts */
    bool worker;         /* also looks at persistence */
    bool allow_eviction; /* an evicting policy is only warned of */
} reeve__hello_options;

typedef struct reeve__op_hello {
    reeve__op op;
    const reeve__hello_options *options; /* borrowed */
    int64_t client_id; /* out: for CLIENT UNBLOCK; 0 = not asked */
} reeve__op_hello;

void reeve__op_hello_begin(reeve__op_hello *op, reeve__engine *engine,
                           const reeve__hello_options *options);

#endif
