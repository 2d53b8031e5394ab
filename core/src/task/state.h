/*
 * The one table of legal moves between states. Every script and SQL statement
 * implements exactly these; the contract suite checks brokers against it.
 */
#ifndef REEVE_SRC_TASK_STATE_H
#define REEVE_SRC_TASK_STATE_H

#include <reeve/task.h>

/* Whether a task may go from one state to another; NONE as from is enqueue, as
 * to is deletion. */
bool reeve__state_may_move(int32_t from, int32_t to);

#endif
