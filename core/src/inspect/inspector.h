/*
 * Inside of an inspector: a shared broker handle, and the rows that lists are
 * made of.
 */
#ifndef REEVE_SRC_INSPECT_INSPECTOR_H
#define REEVE_SRC_INSPECT_INSPECTOR_H

#include <reeve/inspect.h>

#include "client/shared.h"
#include "task/envelope.h"

struct reeve_inspector {
    reeve__shared shared;
};

/* A growing array of blocks, each one allocation; see lists.c. */
typedef struct reeve__list {
    reeve_env *env; /* referenced */
    void **blocks;
    size_t count;
    size_t capacity;
} reeve__list;

struct reeve_queue_list {
    reeve__list base; /* of reeve_queue_info, bytes behind it */
};

struct reeve_task_list {
    reeve__list base; /* of reeve__task_entry, bytes behind it */
};

struct reeve_worker_list {
    reeve__list base; /* of reeve_worker_info, bytes behind it */
};

/* A row kept: the public view and what it borrows from. */
typedef struct reeve__task_entry {
    reeve_task_info info;
    reeve__envelope envelope;
    bool readable;
    reeve_bytes stored; /* the envelope's bytes */
} reeve__task_entry;

/* New, empty; NULL when memory is short. Freed by reeve_task_list_free. */
reeve_task_list *reeve__task_list_new(reeve_env *env);
/* Row callback that appends to a reeve_task_list. */
reeve_rc reeve__task_list_add(void *list, const reeve__row *row,
                              reeve_error *err);
reeve__task_entry *reeve__task_list_entry(const reeve_task_list *list,
                                          size_t index);

/* Takes the handle, with the usual argument checks. */
reeve_rc reeve__inspector_take(reeve__broker **out, reeve_inspector *inspector,
                               reeve_error *err);

#endif
