/*
 * Taking over the tasks of workers that died: leases that lapsed, or all of one
 * worker known to be dead. Each counts a crash; too many and it is archived.
 */
#ifndef REEVE_SRC_RUNTIME_TAKEOVER_H
#define REEVE_SRC_RUNTIME_TAKEOVER_H

#include "runtime/settlement.h"

/* Rows handled in one step, so that a step stays short. */
#define REEVE__TAKEOVER_COUNT_MAX 500

/* Which leases the caller itself holds: they are left alone. */
typedef bool (*reeve__lease_known_fn)(void *ctx, reeve_bytes queue,
                                      reeve_bytes id, int64_t token);

/*
 * One step over one queue: with worker empty, tasks whose lease has lapsed; else
 * that worker's, lapsed or not. is_known may be NULL: none is. *out_count =
 * tasks moved; call again until it is 0.
 */
reeve_rc reeve__takeover(size_t *out_count, reeve__broker *broker,
                         reeve_bytes queue, reeve_bytes worker,
                         const reeve__archive_bounds *archive,
                         reeve__lease_known_fn is_known, void *ctx,
                         reeve_error *err);

/*
 * Hands back tasks leased to worker that it never saw (the reply of its claim
 * was lost): all but those that are known. No crash is counted.
 */
reeve_rc reeve__hand_back_orphans(size_t *out_count, reeve__broker *broker,
                                  reeve_bytes queue, reeve_bytes worker,
                                  reeve__lease_known_fn is_known, void *ctx,
                                  reeve_error *err);

#endif
