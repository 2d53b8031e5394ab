/*
 * Inside of reeve_protocol: the engine, the operations under way in the order
 * of their birth, and the result that was taken last.
 */
#ifndef REEVE_SRC_BROKER_REDIS_PROTOCOL_H
#define REEVE_SRC_BROKER_REDIS_PROTOCOL_H

#include <reeve/sys/protocol.h>
#include "broker/redis/ops.h"

/* Bytes that an operation keeps. */
typedef struct reeve__kept {
    struct reeve__kept *next;
    char data[];
} reeve__kept;

typedef struct reeve__job {
    struct reeve__job *next;
    uint64_t number;
    int32_t kind;
    reeve__kept *kept;
    union {
        reeve__op base;
        reeve__op_hello hello;
        reeve__op_enqueue enqueue;
        reeve__op_turn turn;
        reeve__op_extend extend;
        reeve__op_reclaim reclaim;
        reeve__call call;
    } op;
    reeve__call directory; /* ENQUEUE: SADD of queues not known to be there */
    bool registers;
    /* ENQUEUE: both buffers stay with a spare job for the next one. */
    reeve__buf bytes; /* what the items point to */
    reeve__buf slots; /* items, enqueued, order */
    reeve__enqueue_item *items;
    reeve__enqueue_item **order;
    reeve__turn one;
    reeve__settle *settles;
    reeve__lease_ref *refs;
    reeve_bytes *queues; /* WAIT */
    size_t count;
    /* Result. */
    reeve_protocol_result result;
    reeve_enqueue_result *enqueued;
    int32_t *codes;
    reeve__buf rows; /* reeve_protocol_row */
} reeve__job;

struct reeve_protocol {
    reeve_env *env;   /* referenced */
    char *strings[5]; /* prefix, user, password, client_name, label */
    reeve__engine engine;
    reeve__hello_options hello;
    uint64_t last_number;
    reeve__job *first; /* under way or done, oldest first */
    reeve__job **last;
    size_t pending;
    reeve__job *taken;
    reeve__job *spare; /* memory for the next one, or NULL */
    /* Queues that the directory has, each with a NUL; believed for a while. */
    reeve__buf known;
    int64_t known_until_ns;
};

/* New job, not yet in the list. Errors: NOMEM. */
reeve_rc reeve__job_new(reeve__job **out, reeve_protocol *protocol,
                        int32_t kind, reeve_error *err);
void reeve__job_free(reeve_protocol *protocol, reeve__job *job);
/* Appends it and names it. */
void reeve__job_start(uint64_t *out_op, reeve_protocol *protocol,
                      reeve__job *job);
/* Copies bytes; false without memory. */
bool reeve__job_keep(reeve_protocol *protocol, reeve__job *job,
                     reeve_bytes *bytes);
/* Fills job->result. Errors: NOMEM. */
reeve_rc reeve__job_finish(reeve_protocol *protocol, reeve__job *job,
                           reeve_error *err);
/* A job on one queue, whose names are checked and kept. */
reeve_rc reeve__job_on_queue(reeve__job **out, reeve_protocol *protocol,
                             int32_t kind, reeve_bytes *queue,
                             reeve_bytes *worker, reeve_error *err);
/* Commands that did not fit into memory must not be sent in part. */
reeve_rc reeve__job_check(reeve_protocol *protocol, reeve_error *err);
/* Fills the result of a WAIT or SWEEP. */
void reeve__job_finish_wait(reeve_protocol *protocol, reeve__job *job);
void reeve__job_finish_sweep(reeve_protocol *protocol, reeve__job *job);

#endif
