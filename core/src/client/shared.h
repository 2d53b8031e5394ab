/*
 * One broker handle shared by threads: whoever takes it owns it until it gives
 * it back, so no lock is held across I/O. Used by the client and the inspector.
 * After fork the child's first take opens a handle of its own.
 */
#ifndef REEVE_SRC_CLIENT_SHARED_H
#define REEVE_SRC_CLIENT_SHARED_H

#include <stdatomic.h>
#include "base/thread.h"
#include "broker/broker.h"

typedef struct reeve__shared {
    reeve_env *env;
    char *url;    /* NULL = default */
    char *prefix; /* NULL = default */
    int64_t timeout_ms;
    reeve__mutex mutex;
    reeve__cond freed;
    bool busy;
    reeve__broker *broker;  /* NULL in a forked child until its first take */
    atomic_uint fork_count; /* UINT32_MAX while a thread of a child heals it */
    void (*on_heal)(struct reeve__shared *shared); /* NULL = nothing more */
} reeve__shared;

/* Opens the handle. options is a loaded copy. */
reeve_rc reeve__shared_open(reeve__shared *shared, reeve_env *env,
                            const reeve_client_options *options,
                            reeve_error *err);
void reeve__shared_close(reeve__shared *shared);

/* Makes locks usable again in a forked child, once, and calls on_heal. Must
 * precede every use of the mutex. */
void reeve__shared_heal(reeve__shared *shared);

/* Waits for the handle and takes it. Thread: any. */
reeve_rc reeve__shared_take(reeve__broker **out, reeve__shared *shared,
                            reeve_error *err);
void reeve__shared_give(reeve__shared *shared);

#endif
