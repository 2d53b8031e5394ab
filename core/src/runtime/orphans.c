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

void reeve__orphans_note_all(reeve_worker *worker) {
    for (size_t q = 0; q < worker->queue_count; q++)
        worker->queues[q].orphans_due = true;
    worker->orphans_due = true;
}

bool reeve__orphans_may_come(const reeve_worker *worker) {
    bool due = false;
    for (size_t q = 0; q < worker->queue_count && worker->orphans_due; q++)
        due = due ||
              (worker->queues[q].orphans_due && !worker->queues[q].refusals);
    return due;
}

static void refused(reeve_worker *worker, size_t index, int64_t now_ns,
                    const reeve_error *err) {
    reeve__lock(&worker->mutex);
    reeve__refused_begin(worker, index, now_ns, err);
    reeve__worker_unlock(worker);
}

static void returned(reeve_worker *worker, size_t index) {
    reeve__lock(&worker->mutex);
    worker->queues[index].orphans_due = worker->orphans_again;
    reeve__refused_plan(worker, index);
    reeve__worker_unlock(worker);
}

/* From every queue that is due and does not rest, unless the broker is away. */
static reeve_rc return_due(reeve_worker *worker, reeve_error *err) {
    for (size_t q = 0; q < worker->queue_count; q++) {
        const reeve__worker_queue *queue = &worker->queues[q];
        int64_t now_ns = reeve__mono_ns(worker->env);
        if (!queue->orphans_due || reeve__refused_rests(queue, now_ns))
            continue;
        reeve_rc rc = return_from(worker, reeve_bytes_of(queue->name), err);
        if (rc && !reeve__refused_alone(worker, rc))
            return rc;
        if (rc)
            refused(worker, q, now_ns, err);
        else
            returned(worker, q);
    }
    return 0;
}

/* When to look again; sets orphans_due. */
static int64_t look_by(reeve_worker *worker, reeve_rc rc) {
    bool late = !rc && worker->orphans_again;
    int64_t by_ns = reeve__by_ns(worker->env, late ? LATE_MS : AGAIN_MS);
    worker->orphans_due = false;
    for (size_t q = 0; q < worker->queue_count; q++) {
        const reeve__worker_queue *queue = &worker->queues[q];
        worker->orphans_due = worker->orphans_due || queue->orphans_due;
        if (queue->orphans_due && queue->refusals && queue->rest_by_ns < by_ns)
            by_ns = queue->rest_by_ns;
    }
    return worker->orphans_due ? by_ns : 0;
}

void reeve__orphans_return(reeve_worker *worker) {
    if (!worker->manual && reeve__mono_ns(worker->env) < worker->orphans_by_ns)
        return;
    reeve_error err = { 0 };
    reeve_rc rc = return_due(worker, &err);
    worker->orphans_by_ns = look_by(worker, rc);
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
