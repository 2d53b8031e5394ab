/*
 * The ticker's work on the queues: promote, reclaim, sweep, beat. Each role
 * looks whether it is due, does bounded steps and returns when it wants to run
 * next.
 */
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "policy/lease.h"
#include "runtime/takeover.h"
#include "runtime/worker.h"

#define PROMOTE_COUNT_MAX 500
#define SWEEP_COUNT_MAX 500
/* Without a known due time a queue is asked this often. */
#define PROMOTE_EVERY_MS 500
/* Our estimate of the server's clock may be this far ahead of it. */
#define PROMOTE_AGAIN_NS 300000
#define SWEEP_EVERY_MS 5000
/* After a failure a role waits this long. */
#define FAIL_PAUSE_MS 250
#define LOG_EVERY_MS 1000

static int64_t sooner(int64_t a_ns, int64_t b_ns) {
    return a_ns < b_ns ? a_ns : b_ns;
}

static int64_t after_ms(int64_t now_ns, int64_t span_ms) {
    return reeve__add_sat(now_ns, reeve__mul_sat(span_ms, REEVE__MS_NS));
}

/* A queue that fails again and again is told of once in a while. */
static void role_failed(reeve_worker *worker, const char *role,
                        reeve__worker_queue *queue, reeve_rc rc,
                        const reeve_error *err) {
    int64_t now_ns = reeve__mono_ns(worker->env);
    if (now_ns >= queue->role_log_by_ns) {
        queue->role_log_by_ns = after_ms(now_ns, LOG_EVERY_MS);
        reeve__log(worker->env, REEVE_LOG_WARN,
                   "worker %s: %s of queue %s failed: %s", worker->id, role,
                   queue->name, err->message);
    }
    if (reeve_code_class(rc) == REEVE_CLASS_RETRY)
        worker->away_until_ns = reeve__by_ns(worker->env, FAIL_PAUSE_MS);
}

/* A broker that is away is not asked for one queue after the other: each would
 * wait out its time, and leases and timeouts would wait with it. */
static bool may_ask(reeve_worker *worker) {
    return !reeve__tick_is_over(worker) &&
           reeve__mono_ns(worker->env) >= worker->away_until_ns;
}

/* When a role that was cut short at now_ns or later goes on. */
static int64_t back_by(const reeve_worker *worker, int64_t now_ns) {
    return worker->away_until_ns > now_ns ? worker->away_until_ns : INT64_MAX;
}

/* When to ask again, from the queue's next due time (server ms, 0 = none). */
static int64_t promote_next(reeve_worker *worker, int64_t due_at_ms) {
    int64_t now_ns = reeve__mono_ns(worker->env);
    int64_t by_ns = after_ms(now_ns, PROMOTE_EVERY_MS);
    if (!due_at_ms)
        return by_ns;
    int64_t offset_ms =
        atomic_load_explicit(&worker->offset_ms, memory_order_relaxed);
    int64_t due_ns = reeve__mul_sat(due_at_ms - offset_ms, REEVE__MS_NS);
    if (due_ns < now_ns + PROMOTE_AGAIN_NS)
        due_ns = now_ns + PROMOTE_AGAIN_NS;
    return sooner(due_ns, by_ns);
}

/* Moves what is due in one queue, within bounds; returns when to ask again. */
static int64_t promote_queue(reeve_worker *worker, size_t index) {
    reeve__broker *broker = worker->tick_broker;
    reeve_bytes name = reeve_bytes_of(worker->queues[index].name);
    size_t moved = 0;
    int64_t due_at_ms = 0;
    reeve_error err = { 0 };
    reeve_rc rc = broker->ops->promote(broker, name, PROMOTE_COUNT_MAX, &moved,
                                       &due_at_ms, &err);
    if (rc) {
        role_failed(worker, "promote", &worker->queues[index], rc, &err);
        return after_ms(reeve__mono_ns(worker->env), FAIL_PAUSE_MS);
    }
    reeve__worker_note_time(worker, broker);
    worker->queues[index].next_due_at_ms = due_at_ms;
    if (moved == PROMOTE_COUNT_MAX) /* the other roles come in between */
        return reeve__mono_ns(worker->env);
    return promote_next(worker, due_at_ms);
}

int64_t reeve__role_promote(reeve_worker *worker, int64_t now_ns) {
    int64_t next_ns = INT64_MAX;
    for (size_t q = 0; q < worker->queue_count && may_ask(worker); q++) {
        reeve__worker_queue *queue = &worker->queues[q];
        reeve__lock(&worker->mutex);
        bool due = worker->manual || queue->promote_by_ns <= now_ns;
        if (due)
            queue->promote_by_ns = INT64_MAX; /* a hint from now on counts */
        int64_t by_ns = queue->promote_by_ns;
        reeve__worker_unlock(worker);
        if (due) {
            by_ns = promote_queue(worker, q);
            reeve__lock(&worker->mutex);
            if (by_ns < queue->promote_by_ns)
                queue->promote_by_ns = by_ns;
            by_ns = queue->promote_by_ns;
            reeve__worker_unlock(worker);
        }
        next_ns = sooner(next_ns, by_ns);
    }
    return sooner(next_ns, back_by(worker, now_ns));
}

int64_t reeve__role_reclaim(reeve_worker *worker, int64_t now_ns) {
    if (now_ns < worker->reclaim_by_ns)
        return worker->reclaim_by_ns;
    bool more = false;
    for (size_t q = 0; q < worker->queue_count && may_ask(worker); q++) {
        size_t count = 0;
        reeve_error err = { 0 };
        reeve_bytes name = reeve_bytes_of(worker->queues[q].name);
        reeve_rc rc = reeve__takeover(&count, worker->tick_broker, name,
                                      (reeve_bytes){ 0 }, &worker->archive,
                                      reeve__worker_has, worker, &err);
        if (rc)
            role_failed(worker, "reclaim", &worker->queues[q], rc, &err);
        if (!count)
            continue;
        more = more || count == REEVE__TAKEOVER_COUNT_MAX;
        reeve__log(worker->env, REEVE_LOG_WARN,
                   "worker %s took over %zu tasks in queue %s whose leases had "
                   "lapsed",
                   worker->id, count, worker->queues[q].name);
        reeve__lock(&worker->mutex);
        worker->stats.reclaimed += (int64_t)count;
        reeve__worker_unlock(worker);
    }
    int64_t every_ms =
        more ? 0 : reeve__lease_reclaim_every_ms(worker->lease_ms);
    worker->reclaim_by_ns =
        sooner(after_ms(reeve__mono_ns(worker->env), every_ms),
               back_by(worker, now_ns));
    return worker->reclaim_by_ns;
}

int64_t reeve__role_sweep(reeve_worker *worker, int64_t now_ns) {
    reeve__broker *broker = worker->tick_broker;
    int64_t next_ns = INT64_MAX;
    for (size_t q = 0; q < worker->queue_count && may_ask(worker); q++) {
        reeve__worker_queue *queue = &worker->queues[q];
        if (queue->sweep_by_ns <= now_ns) {
            size_t removed = 0;
            reeve_error err = { 0 };
            reeve_rc rc =
                broker->ops->sweep(broker, reeve_bytes_of(queue->name),
                                   SWEEP_COUNT_MAX, &removed, &err);
            if (rc)
                role_failed(worker, "sweep", queue, rc, &err);
            bool more = removed >= SWEEP_COUNT_MAX;
            queue->sweep_by_ns =
                after_ms(now_ns, more ? FAIL_PAUSE_MS / 10 : SWEEP_EVERY_MS);
        }
        next_ns = sooner(next_ns, queue->sweep_by_ns);
    }
    return sooner(next_ns, back_by(worker, now_ns));
}

static void write_queues(reeve__buf *out, reeve_worker *worker) {
    for (size_t q = 0; q < worker->queue_count; q++)
        reeve__buf_printf(out, "%s%s=%d", q ? "," : "", worker->queues[q].name,
                          (int)worker->select.queues[q].weight);
}

void reeve__beat_send(reeve_worker *worker, bool gone) {
    reeve__buf queues;
    reeve__buf_init(&queues, worker->env);
    reeve__lock(&worker->mutex);
    if (!gone)
        write_queues(&queues, worker);
    reeve_worker_info info = {
        .id = reeve_bytes_of(worker->id),
        .host = reeve_bytes_of(worker->host),
        .pid = (int64_t)getpid(),
        .started_at_ms = worker->started_at_ms,
        .beat_at_ms = reeve__worker_server_now(worker),
        .concurrency = (int32_t)worker->concurrency,
        .active = (int32_t)(worker->live_count - worker->ready.count),
        .done = worker->stats.done,
        .failed = worker->failed_count,
        .quiet = worker->quiet,
        .queues = reeve__buf_view(&queues),
    };
    reeve__worker_unlock(worker);
    reeve_error err = { 0 };
    reeve__broker *broker = worker->tick_broker;
    reeve_rc rc = queues.failed ? reeve__fail_nomem(&err) : 0;
    if (!rc)
        rc = broker->ops->beat(broker, &info, gone, &err);
    if (rc)
        reeve__log(worker->env, REEVE_LOG_WARN, "worker %s: beat failed: %s",
                   worker->id, err.message);
    reeve__buf_dispose(&queues);
}

int64_t reeve__role_beat(reeve_worker *worker, int64_t now_ns) {
    if (now_ns >= worker->beat_by_ns) {
        if (!may_ask(worker))
            return back_by(worker, now_ns);
        reeve__beat_send(worker, false);
        worker->beat_by_ns = after_ms(now_ns, REEVE__BEAT_EVERY_MS);
    }
    return worker->beat_by_ns;
}
