/*
 * Claims that were made for this worker but never seen by it, because the reply
 * was lost: handed back as soon as the broker answers. Called by the fetcher
 * only, between turns: then every delivery is live or in the outbox.
 */
#include "base/bytes.h"
#include "runtime/takeover.h"
#include "runtime/worker.h"

/* What could not be handed back is tried again after this. */
#define AGAIN_MS 250
/* A server that has not noticed that a connection is gone makes the claim
 * behind its doorbell nevertheless, when the doorbell's second is over. */
#define LATE_MS 1500

static reeve_rc return_from(reeve_worker *worker, reeve_bytes queue,
                            reeve_error *err) {
    size_t count = 0;
    do {
        reeve_rc rc = reeve__hand_back_orphans(
            &count, worker->fetch_broker, queue, reeve_bytes_of(worker->id),
            reeve__worker_has, worker, err);
        if (rc)
            return rc;
        if (count)
            reeve__log(worker->env, REEVE_LOG_INFO,
                       "worker %s handed back %zu tasks whose claim it never "
                       "saw",
                       worker->id, count);
    } while (count);
    return 0;
}

/* From every queue, unless the broker is away; a queue that refuses stops none
 * of its neighbours. */
static reeve_rc return_all(reeve_worker *worker, reeve_error *err) {
    reeve_rc first = 0;
    for (size_t q = 0; q < worker->queue_count; q++) {
        reeve_error own = { 0 };
        reeve_rc rc =
            return_from(worker, reeve_bytes_of(worker->queues[q].name), &own);
        if (rc && !reeve__refused_alone(worker, rc)) {
            *err = own;
            return rc;
        }
        if (rc && !first) {
            first = rc;
            *err = own;
        }
    }
    return first;
}

/* When to look again, if there is something to look for. */
static int64_t again_by(const reeve_worker *worker, reeve_rc rc) {
    int64_t by_ns = reeve__by_ns(worker->env, rc ? AGAIN_MS : LATE_MS);
    return rc && worker->refused_by_ns > by_ns ? worker->refused_by_ns : by_ns;
}

void reeve__orphans_return(reeve_worker *worker) {
    if (!worker->manual && reeve__mono_ns(worker->env) < worker->orphans_by_ns)
        return;
    reeve_error err = { 0 };
    reeve_rc rc = return_all(worker, &err);
    worker->orphans_due = rc || worker->orphans_again;
    worker->orphans_by_ns = worker->orphans_due ? again_by(worker, rc) : 0;
    worker->orphans_again = worker->orphans_again && rc;
    reeve__lock(&worker->mutex);
    if (rc && reeve_code_class(rc) == REEVE_CLASS_RETRY)
        reeve__fetch_hold_off(worker);
    if (!rc && !worker->turn_refused)
        worker->failures_in_row = 0; /* it is back: a turn may go at once */
    reeve__worker_unlock(worker);
    if (rc)
        reeve__log(worker->env, REEVE_LOG_WARN,
                   "worker %s: cannot look for unseen claims: %s", worker->id,
                   err.message);
}
