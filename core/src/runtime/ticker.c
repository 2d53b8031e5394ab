/*
 * The ticker: runs each role when it is due and sleeps until the next, or until
 * it is told of something earlier.
 */
#include "runtime/worker.h"

typedef int64_t (*role_fn)(reeve_worker *worker, int64_t now_ns);

bool reeve__tick_is_over(reeve_worker *worker) {
    reeve__lock(&worker->mutex);
    bool over = worker->tick_ends;
    reeve__worker_unlock(worker);
    return over;
}

int64_t reeve__tick_step(reeve_worker *worker, int64_t now_ns) {
    static const role_fn roles[] = {
        reeve__role_extend,  reeve__role_timeouts, reeve__role_promote,
        reeve__role_reclaim, reeve__role_sweep,    reeve__role_beat,
    };
    int64_t next_ns = INT64_MAX;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (reeve__tick_is_over(worker))
            return now_ns;
        int64_t by_ns = roles[i](worker, now_ns);
        if (by_ns < next_ns)
            next_ns = by_ns;
    }
    return next_ns;
}

void reeve__tick_due_hint(reeve_worker *worker, size_t queue_index,
                          int64_t due_at_ms) {
    int64_t offset_ms =
        atomic_load_explicit(&worker->offset_ms, memory_order_relaxed);
    int64_t by_ns = reeve__mul_sat(due_at_ms - offset_ms, REEVE__MS_NS);
    reeve__lock(&worker->mutex);
    reeve__worker_queue *queue = &worker->queues[queue_index];
    if (by_ns < queue->promote_by_ns) {
        queue->promote_by_ns = by_ns;
        if (by_ns < worker->tick_by_ns)
            reeve__signal(&worker->tick_cond);
    }
    reeve__worker_unlock(worker);
}

/* The earliest moment that the shared state asks for. Holds: mutex. */
static int64_t shared_next(const reeve_worker *worker) {
    int64_t next_ns = worker->next_timeout_ns;
    if (worker->next_extend_ns < next_ns)
        next_ns = worker->next_extend_ns;
    for (size_t q = 0; q < worker->queue_count; q++) {
        if (worker->queues[q].promote_by_ns < next_ns)
            next_ns = worker->queues[q].promote_by_ns;
    }
    return next_ns;
}

void reeve__tick_run(void *arg) {
    reeve_worker *worker = arg;
    bool reachable = true;
    for (;;) {
        int64_t by_ns = reeve__tick_step(worker, reeve__mono_ns(worker->env));
        reeve__lock(&worker->mutex);
        bool told = true;
        while (told && !worker->tick_ends) {
            int64_t shared_ns = shared_next(worker);
            worker->tick_by_ns = shared_ns < by_ns ? shared_ns : by_ns;
            told = reeve__wait_by(&worker->tick_cond, &worker->mutex,
                                  worker->env, worker->tick_by_ns);
        }
        bool ends = worker->tick_ends;
        reachable = !worker->failures_in_row;
        worker->tick_by_ns = INT64_MAX;
        reeve__worker_unlock(worker);
        if (ends)
            break;
    }
    if (reachable) /* else it would only keep the end waiting */
        reeve__beat_send(worker, true);
    reeve__worker_thread_ends(worker);
}
