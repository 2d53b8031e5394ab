/*
 * Checks of verb arguments that every broker makes before it changes anything.
 * The caller has validated what users gave; these catch our own mistakes with
 * an error instead of a damaged store.
 */
#ifndef REEVE_SRC_BROKER_CHECK_H
#define REEVE_SRC_BROKER_CHECK_H

#include "broker/broker.h"

#define REEVE__PRIORITY_MAX 9
/* Worker beats older than this are swept. */
#define REEVE__BEAT_KEEP_MS ((int64_t)3600 * 1000)

/* Names, ids and priorities. Errors: INVALID. */
reeve_rc reeve__enqueue_items_check(const reeve__enqueue_item *items,
                                    size_t count, reeve_error *err);
/* Legal moves, priorities, size of the worker's id. Errors: INVALID. */
reeve_rc reeve__turns_check(const reeve__turn *turns, size_t count,
                            reeve_bytes worker, reeve_error *err);
/* Known actions, priorities. Errors: INVALID. */
reeve_rc reeve__acts_check(const reeve__act *acts, size_t count,
                           reeve_error *err);
/* Whether an action may be done in a state, and which state it leads to; false
 * otherwise. */
bool reeve__act_target(int32_t *out_state, int32_t action, int32_t from_state);

/* Why a queue is not dropped: NOT_FOUND, or STATE: it has tasks. */
reeve_rc reeve__drop_fail(int32_t code, reeve_bytes queue, reeve_error *err);

#endif
