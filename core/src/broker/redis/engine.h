/*
 * The protocol without I/O: operations become commands in an output buffer,
 * bytes that come back become replies handed to the operation that waits for
 * them. Knows scripts: one that the server does not have is sent in full and
 * once more. The socket broker and the public reeve_protocol drive it.
 *
 * Thread: one.
 */
#ifndef REEVE_SRC_BROKER_REDIS_ENGINE_H
#define REEVE_SRC_BROKER_REDIS_ENGINE_H

#include "broker/broker.h"
#include "broker/redis/keys.h"
#include "scripts_gen.h"
#include "wire/resp.h"

typedef struct reeve__engine reeve__engine;
typedef struct reeve__op reeve__op;

/*
 * One operation: several commands, each with one reply. Concrete operations
 * embed it first. It must stay where it is until it is done or the engine was
 * reset. Inputs are borrowed as long.
 */
struct reeve__op {
    /* Appends command `part` again; only for script commands. */
    void (*send)(reeve__op *op, reeve__engine *engine, size_t part);
    /* Takes the reply to `part`; may set *reply to NULL to keep it and may send
     * more commands. Error replies come only when wants_errors. */
    void (*on_reply)(reeve__op *op, reeve__engine *engine, size_t part,
                     reeve__reply **reply);
    /* NULL or called once, when the last reply is in. */
    void (*on_done)(reeve__op *op, reeve__engine *engine);
    bool wants_errors;
    size_t waiting; /* replies still to come */
    reeve_rc rc;    /* first error */
    reeve_error err;
};

/* What a reply answers. */
typedef struct reeve__expected {
    reeve__op *op;
    uint32_t part;
    int16_t script; /* -1 = a plain command */
    bool in_full;   /* sent by EVAL: NOSCRIPT is not tried again */
} reeve__expected;

struct reeve__engine {
    reeve_env *env;     /* borrowed */
    reeve_bytes prefix; /* borrowed */
    const char *label;  /* of the server, for messages; borrowed */
    reeve__buf out;
    reeve__reply_reader *reader;
    reeve__expected *ring; /* capacity is a power of two */
    size_t ring_capacity;
    size_t ring_first;
    size_t ring_count;
    bool in_full;      /* the command now sent is a second try */
    size_t body_bytes; /* of a claimed task, as lately seen; 0 = unknown */
    /* Server clock: its time at a point of our monotonic clock. */
    int64_t server_at_ms;
    int64_t server_by_ns; /* 0 = unknown */
};

/* Errors: NOMEM. */
reeve_rc reeve__engine_init(reeve__engine *engine, reeve_env *env,
                            reeve_bytes prefix, const char *label,
                            reeve_error *err);
void reeve__engine_dispose(reeve__engine *engine);
/* The connection is gone: forgets output, input and what was expected. */
reeve_rc reeve__engine_reset(reeve__engine *engine, reeve_error *err);

/* Begins the command of `part`: exactly argc arguments must be appended to
 * engine->out. */
void reeve__engine_command(reeve__engine *engine, reeve__op *op, size_t part,
                           size_t argc);
/* The same for a script: key_count keys, then arg_count arguments. */
void reeve__engine_script(reeve__engine *engine, reeve__op *op, size_t part,
                          int script, size_t key_count, size_t arg_count);
/* Appends keys of a queue. */
void reeve__engine_keys(reeve__engine *engine, reeve_bytes queue,
                        const uint8_t *keys, size_t count);

/* Takes bytes from the server. Errors: NET (not a reply we wait for, protocol
 * error), NOMEM: the connection is useless then. */
reeve_rc reeve__engine_feed(reeve__engine *engine, reeve_bytes bytes,
                            reeve_error *err);

/* Keeps the first error of an operation. */
void reeve__op_fail(reeve__op *op, const reeve_error *err);
/* "<what> at <server>: <its words>" as the operation's error. */
void reeve__op_refused(reeve__op *op, const reeve__engine *engine,
                       const char *what, const reeve__reply *reply);
/* "reply to <what> is malformed" as the operation's error. */
void reeve__op_malformed(reeve__op *op, const reeve__engine *engine,
                         const char *what);

/* A server time seen in a reply. */
void reeve__engine_saw_time(reeve__engine *engine, int64_t server_at_ms);
/* Estimate of the server's time; 0 = unknown. */
int64_t reeve__engine_now(const reeve__engine *engine);

#endif
