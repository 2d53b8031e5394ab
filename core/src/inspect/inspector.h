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

/* A row kept: its own copy of the bytes behind the public view. */
typedef struct reeve__task_entry {
    reeve_task_info info;
    reeve__envelope envelope;
    bool readable;
    reeve_bytes stored; /* the envelope's bytes, in memory */
    char *memory;
} reeve__task_entry;

struct reeve_task_list {
    reeve_env *env;
    reeve__task_entry **entries;
    size_t count;
    size_t capacity;
};

/* Row callback that appends to a reeve_task_list. */
reeve_rc reeve__task_list_add(void *list, const reeve__row *row,
                              reeve_error *err);
reeve_task_list *reeve__task_list_new(reeve_env *env);

/* Takes the handle, with the usual argument checks. */
reeve_rc reeve__inspector_take(reeve__broker **out, reeve_inspector *inspector,
                               reeve_error *err);

#endif
