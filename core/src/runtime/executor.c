/*
 * The executor: threads that run C handlers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "runtime/worker.h"

static int compare(const void *a, const void *b) {
    const reeve__handler *left = a;
    const reeve__handler *right = b;
    if (left->type_size != right->type_size)
        return left->type_size < right->type_size ? -1 : 1;
    return memcmp(left->type, right->type, left->type_size);
}

static int compare_type(const void *key, const void *item) {
    const reeve_bytes *type = key;
    const reeve__handler *handler = item;
    if (type->size != handler->type_size)
        return type->size < handler->type_size ? -1 : 1;
    return memcmp(type->data, handler->type, type->size);
}

/* The handler of a type, or the one for every other type, or NULL. */
static const reeve__handler *find_handler(const reeve_worker *worker,
                                          reeve_bytes type) {
    const reeve__handler *found =
        bsearch(&type, worker->handlers, worker->handler_count,
                sizeof *worker->handlers, compare_type);
    if (found)
        return found;
    const reeve__handler *first = worker->handlers; /* the empty type's */
    return first->type_size ? NULL : first;
}

static void run_one(reeve_worker *worker, reeve_delivery *dlv) {
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    reeve_error err = { 0 };
    char missing[REEVE_NAME_BYTES_MAX + 64];
    const reeve__handler *handler = find_handler(worker, dlv->envelope.type);
    if (!handler) {
        (void)snprintf(missing, sizeof missing, "no handler for type '%.*s'",
                       (int)dlv->envelope.type.size, dlv->envelope.type.data);
        outcome.kind = REEVE_OUTCOME_RETRY;
        outcome.error_type = reeve_bytes_of("NoHandler");
        outcome.error_message = reeve_bytes_of(missing);
    } else {
        reeve_rc rc = handler->run(&outcome, dlv, handler->user, &err);
        if (rc && outcome.kind == REEVE_OUTCOME_DONE) {
            outcome.kind = REEVE_OUTCOME_RETRY;
            outcome.error_type = reeve_bytes_of(reeve_code_slug(rc));
            outcome.error_message = reeve_bytes_of(
                *err.message ? err.message : reeve_code_text(rc));
        }
    }
    reeve_error refusal = { 0 };
    if (reeve_worker_complete(worker, dlv, &outcome, &refusal))
        reeve__log(worker->env, REEVE_LOG_ERROR,
                   "a handler's outcome was refused: %s", refusal.message);
}

static void executor_run(void *arg) {
    reeve_worker *worker = arg;
    bool woken = false;
    reeve__lock(&worker->mutex);
    while (worker->phase != REEVE__PHASE_STOPPED) {
        reeve_delivery *dlv = reeve__held_start(worker);
        if (!dlv) {
            worker->idle_count++;
            reeve__wait(&worker->ready_cond, &worker->mutex);
            worker->idle_count--;
            worker->waking = false;
            woken = true;
            continue;
        }
        if (woken) /* who finds work wakes the next */
            reeve__held_wake(worker);
        woken = false;
        reeve__worker_unlock(worker);
        run_one(worker, dlv);
        reeve__lock(&worker->mutex);
    }
    reeve__worker_unlock(worker);
}

reeve_rc reeve__executor_start(reeve_worker *worker, reeve_error *err) {
    if (!worker->handler_count)
        return 0;
    qsort(worker->handlers, worker->handler_count, sizeof *worker->handlers,
          compare);
    worker->executors = reeve__calloc(worker->env, worker->thread_count,
                                      sizeof *worker->executors);
    if (!worker->executors)
        return reeve__fail_nomem(err);
    for (size_t i = 0; i < worker->thread_count; i++) {
        reeve_rc rc = reeve__thread_start(&worker->executors[i], "reeve-run",
                                          executor_run, worker, err);
        if (rc)
            return rc;
    }
    return 0;
}

void reeve__executor_join(reeve_worker *worker) {
    for (size_t i = 0; worker->executors && i < worker->thread_count; i++)
        reeve__thread_join(&worker->executors[i]);
    reeve__free(worker->env, worker->executors);
    worker->executors = NULL;
}
