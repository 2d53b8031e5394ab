/*
 * Runs that take too long: the handler is told, the slot is freed, the task
 * moves on; a handler that ignores it is reported as stuck.
 */
#include <stdio.h>

#include "policy/settle.h"
#include "runtime/worker.h"

/* A handler that still runs this long after it was told to stop is stuck. */
#define STUCK_AFTER_MS 5000

void reeve__watch_overrun(reeve_worker *worker, reeve_delivery *dlv) {
    if (!dlv->handed || dlv->overran)
        return;
    dlv->overran = true;
    dlv->refs++;
    dlv->stuck_by_ns = reeve__by_ns(worker->env, STUCK_AFTER_MS);
    dlv->overrun_next = worker->overrun_first;
    worker->overrun_first = dlv;
}

/* Holds: mutex. */
static void time_out(reeve_worker *worker, reeve_delivery *dlv) {
    bool deadline = dlv->deadline_first;
    char message[96];
    (void)snprintf(message, sizeof message,
                   deadline ? "its deadline passed while it ran"
                            : "ran longer than its timeout of %lld ms",
                   (long long)dlv->envelope.timeout_ms);
    reeve_outcome outcome = {
        .size = (uint32_t)sizeof outcome,
        .kind = deadline ? REEVE_OUTCOME_FATAL : REEVE_OUTCOME_RETRY,
        .error_type =
            reeve_bytes_of(deadline ? "DeadlineError" : "TimeoutError"),
        .error_message = reeve_bytes_of(message),
    };
    if (!dlv->handed)
        reeve__list_remove(&worker->ready, dlv);
    reeve__cancel(worker, dlv,
                  deadline ? REEVE_CANCEL_DEADLINE : REEVE_CANCEL_TIMEOUT);
    reeve__seal(&dlv->sealed, dlv, &outcome, dlv->handed,
                deadline ? REEVE__REASON_DEADLINE : REEVE__REASON_NONE);
    reeve__outbox_add(worker, dlv);
    reeve__fetch_ring(worker);
    reeve__held_wake(worker);
}

/* Reports handlers that ignore us, forgets those that came back. Returns the
 * next moment to look. Holds: mutex. */
static int64_t check_overruns(reeve_worker *worker, int64_t now_ns) {
    int64_t next_ns = INT64_MAX;
    reeve_delivery **link = &worker->overrun_first;
    while (*link) {
        reeve_delivery *dlv = *link;
        bool stuck = dlv->handed && now_ns >= dlv->stuck_by_ns;
        if (dlv->handed && !stuck) {
            if (dlv->stuck_by_ns < next_ns)
                next_ns = dlv->stuck_by_ns;
            link = &dlv->overrun_next;
            continue;
        }
        if (stuck) {
            worker->stats.stuck++;
            reeve__log(worker->env, REEVE_LOG_ERROR,
                       "stuck: the handler of task %.*s (type %.*s) ignores "
                       "its cancellation for %d ms",
                       (int)dlv->id.size, dlv->id.data,
                       (int)dlv->envelope.type.size, dlv->envelope.type.data,
                       STUCK_AFTER_MS);
        }
        *link = dlv->overrun_next;
        reeve__delivery_unref(dlv);
    }
    return next_ns;
}

int64_t reeve__role_timeouts(reeve_worker *worker, int64_t now_ns) {
    reeve__lock(&worker->mutex);
    if (worker->next_timeout_ns <= now_ns) {
        int64_t next_ns = INT64_MAX;
        reeve_delivery *dlv = worker->live_first;
        while (dlv) {
            reeve_delivery *after = dlv->live_next;
            if (dlv->timeout_by_ns <= now_ns)
                time_out(worker, dlv);
            else if (dlv->timeout_by_ns < next_ns)
                next_ns = dlv->timeout_by_ns;
            dlv = after;
        }
        worker->next_timeout_ns = next_ns;
    }
    int64_t stuck_ns = check_overruns(worker, now_ns);
    int64_t by_ns =
        worker->next_timeout_ns < stuck_ns ? worker->next_timeout_ns : stuck_ns;
    reeve__worker_unlock(worker);
    return by_ns;
}
