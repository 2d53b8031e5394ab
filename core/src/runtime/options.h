/*
 * A worker's options, checked and copied into the worker.
 */
#ifndef REEVE_SRC_RUNTIME_OPTIONS_H
#define REEVE_SRC_RUNTIME_OPTIONS_H

#include "runtime/worker.h"

/* Checks every bound and fills the worker's settings, queues and id; messages
 * name thing, value and bound. Errors: INVALID, UNSUPPORTED, USAGE, NOMEM. */
reeve_rc reeve__worker_options_load(reeve_worker *worker,
                                    const reeve_worker_options *options,
                                    reeve_error *err);
void reeve__worker_options_dispose(reeve_worker *worker);

#endif
