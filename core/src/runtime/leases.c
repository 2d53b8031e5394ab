/*
 * Keeping leases: one call extends many; what is lost is told to its handler.
 */
#include "policy/lease.h"
#include "runtime/worker.h"

#define EXTEND_COUNT_MAX 256
/* After a failure the role waits this long, or a tenth of the lease. */
#define FAIL_PAUSE_MS 250

typedef struct extend_batch {
    reeve__lease_ref refs[EXTEND_COUNT_MAX];
    reeve_delivery *dlvs[EXTEND_COUNT_MAX];
    size_t count;
    int64_t lease_ms;
} extend_batch;

/* Picks live deliveries of one lease length that are due, with a reference
 * each; the earliest of the others is when to look again. Holds: mutex. */
static void pick_due(extend_batch *batch, reeve_worker *worker,
                     int64_t now_ns) {
    batch->count = 0;
    int64_t next_ns = INT64_MAX;
    for (reeve_delivery *dlv = worker->live_first; dlv; dlv = dlv->live_next) {
        bool due = dlv->extend_by_ns <= now_ns &&
                   batch->count < EXTEND_COUNT_MAX &&
                   (!batch->count || dlv->claim->lease_ms == batch->lease_ms);
        if (!due) {
            if (dlv->extend_by_ns < next_ns)
                next_ns = dlv->extend_by_ns;
            continue;
        }
        batch->lease_ms = dlv->claim->lease_ms;
        dlv->refs++;
        batch->dlvs[batch->count] = dlv;
        batch->refs[batch->count++] = (reeve__lease_ref){
            .queue = reeve_bytes_of(worker->queues[dlv->queue_index].name),
            .id = dlv->id,
            .token = dlv->token,
        };
    }
    worker->next_extend_ns = next_ns;
}

static int64_t pause_ms(int64_t lease_ms) {
    return lease_ms / 10 < FAIL_PAUSE_MS ? lease_ms / 10 : FAIL_PAUSE_MS;
}

/* Holds: mutex. */
static void book(const extend_batch *batch, reeve_worker *worker, bool stored,
                 int64_t now_ns) {
    int64_t span_ms = stored ? reeve__lease_extend_after_ms(batch->lease_ms)
                             : pause_ms(batch->lease_ms);
    int64_t by_ns =
        reeve__add_sat(now_ns, reeve__mul_sat(span_ms, REEVE__MS_NS));
    for (size_t i = 0; i < batch->count; i++) {
        reeve_delivery *dlv = batch->dlvs[i];
        dlv->extend_by_ns = by_ns;
        if (stored && batch->refs[i].lost && !dlv->settled) {
            worker->stats.lease_lost++;
            reeve__log(worker->env, REEVE_LOG_WARN,
                       "LEASE_LOST: task %.*s under token %lld was taken over "
                       "while it ran here",
                       (int)dlv->id.size, dlv->id.data, (long long)dlv->token);
            reeve__live_lose(worker, dlv);
        }
        reeve__delivery_unref(dlv);
    }
    if (by_ns < worker->next_extend_ns)
        worker->next_extend_ns = by_ns;
}

int64_t reeve__role_extend(reeve_worker *worker, int64_t now_ns) {
    extend_batch batch;
    for (;;) {
        reeve__lock(&worker->mutex);
        int64_t next_ns = worker->next_extend_ns;
        if (next_ns <= now_ns)
            pick_due(&batch, worker, now_ns);
        reeve__worker_unlock(worker);
        if (next_ns > now_ns)
            return next_ns;
        if (!batch.count)
            continue; /* next_extend_ns was behind; it is exact now */
        reeve__broker *broker = worker->tick_broker;
        reeve_error err = { 0 };
        reeve_rc rc = broker->ops->extend(broker, batch.refs, batch.count,
                                          batch.lease_ms, &err);
        if (rc)
            reeve__log(worker->env, REEVE_LOG_WARN,
                       "worker %s: extending %zu leases failed: %s", worker->id,
                       batch.count, err.message);
        reeve__lock(&worker->mutex);
        book(&batch, worker, rc == 0, reeve__mono_ns(worker->env));
        reeve__worker_unlock(worker);
    }
}
