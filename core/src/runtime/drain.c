/*
 * Stopping: claim no more, hand back what no handler has seen, wait for the
 * rest up to the grace, requeue what is still running, store every verdict.
 */
#include "runtime/worker.h"

/* How long a last verdict may wait for a broker that does not answer. */
#define FLUSH_MS 5000

static void requeue_running(reeve_worker *worker) {
    reeve_delivery *dlv = worker->live_last;
    while (dlv) {
        reeve_delivery *before = dlv->live_prev;
        reeve__cancel(worker, dlv, REEVE_CANCEL_STOP);
        reeve__requeue_live(worker, dlv, true);
        dlv = before;
    }
}

static void stopped(reeve_worker *worker) {
    size_t unstored = worker->outbox.count + worker->refused.count;
    if (unstored)
        reeve__log(worker->env, REEVE_LOG_ERROR,
                   "worker %s could not store %zu outcomes: their tasks run "
                   "again when their leases end",
                   worker->id, unstored);
    worker->phase = REEVE__PHASE_STOPPED;
    worker->tick_ends = true;
    reeve__broadcast(&worker->tick_cond);
    reeve__broadcast(&worker->ready_cond);
    reeve__broadcast(&worker->done_cond);
    reeve__events_ring(worker);
    reeve__wakefd_ring(&worker->control_wake);
}

int reeve__drain_step(reeve_worker *worker, int64_t now_ns) {
    int requests = atomic_load(&worker->stop_requests);
    if (worker->phase == REEVE__PHASE_RUN && requests) {
        worker->phase = REEVE__PHASE_DRAIN;
        worker->drain_by_ns = reeve__by_ns(worker->env, worker->grace_ms);
        reeve__held_return(worker, worker->ready.count);
    }
    if (worker->phase == REEVE__PHASE_DRAIN) {
        if (requests > 1 || now_ns >= worker->drain_by_ns)
            requeue_running(worker);
        if (!worker->live_count && !worker->offered_count) {
            worker->phase = REEVE__PHASE_FLUSH;
            worker->flush_by_ns = reeve__by_ns(worker->env, FLUSH_MS);
        }
    }
    bool unstored = worker->outbox.count || worker->refused.count ||
                    reeve__orphans_may_come(worker);
    if (worker->phase == REEVE__PHASE_FLUSH &&
        (!unstored || now_ns >= worker->flush_by_ns))
        stopped(worker);
    return worker->phase;
}
