/*
 * What is claimed and waits for a slot: who may start, how much more to claim,
 * and when to give it back so that another worker can have it. Slots are
 * deliveries out: handed to a handler, without a verdict. How many to hold is
 * policy/prefetch's; see docs/decisions/0103-adaptive-prefetch.md.
 */
#include "runtime/worker.h"

/* A held task that waited for this many aims is given back. */
#define STALE_AIMS 4

static bool is_suspect(const reeve_delivery *dlv) {
    return dlv->readable && dlv->envelope.crashes > 0;
}

void reeve__held_count(reeve_worker *worker, const reeve_delivery *dlv,
                       bool live) {
    if (is_suspect(dlv))
        worker->suspect_count += live ? 1 : (size_t)-1;
}

/* Claimed beyond what may be out at a time. */
static size_t excess(const reeve_worker *worker) {
    return worker->live_count > worker->concurrency
               ? worker->live_count - worker->concurrency
               : 0;
}

/* A task that a worker died with starts only when nothing waits behind it here:
 * what is being given back must have arrived at the broker. */
bool reeve__held_may_start(const reeve_worker *worker) {
    const reeve_delivery *dlv = worker->ready.first;
    return dlv &&
           worker->live_count - worker->ready.count < worker->concurrency &&
           !(worker->returning_count && is_suspect(dlv));
}

reeve_delivery *reeve__held_start(reeve_worker *worker) {
    if (!reeve__held_may_start(worker))
        return NULL;
    reeve_delivery *dlv = reeve__list_pop(&worker->ready);
    reeve__hand_out(worker, dlv);
    reeve__held_tell(worker);
    return dlv;
}

void reeve__held_tell(reeve_worker *worker) {
    if (worker->fetch_waits && !worker->fetch_low && reeve__held_is_low(worker))
        reeve__fetch_ring(worker);
}

void reeve__held_wake(reeve_worker *worker) {
    if (!reeve__held_may_start(worker))
        return;
    if (!worker->handler_count) {
        reeve__events_ring(worker);
    } else if (worker->idle_count && !worker->waking) {
        worker->waking = true;
        worker->waiter_due = true;
    }
}

/* Newest first: each goes to the front of its queue, so the oldest ends up
 * there. */
void reeve__held_return(reeve_worker *worker, size_t count) {
    while (count-- > 0 && worker->ready.last) {
        reeve_delivery *dlv = worker->ready.last;
        reeve__list_remove(&worker->ready, dlv);
        dlv->returned = true;
        worker->returning_count++;
        reeve__requeue_live(worker, dlv, false);
    }
}

static int64_t stale_by(const reeve_worker *worker) {
    if (!excess(worker) || !worker->ready.first)
        return INT64_MAX;
    int64_t aims_ns = STALE_AIMS * reeve__prefetch_aim_ns(&worker->prefetch);
    return reeve__add_sat(worker->ready.first->ready_ns, aims_ns);
}

int64_t reeve__held_look_by(const reeve_worker *worker) {
    return worker->phase == REEVE__PHASE_RUN ? stale_by(worker) : INT64_MAX;
}

void reeve__held_claimed(reeve_worker *worker, bool suspects) {
    reeve__prefetch_claimed(&worker->prefetch, suspects);
    if (suspects)
        reeve__held_return(worker, excess(worker));
}

void reeve__held_step(reeve_worker *worker, int64_t now_ns) {
    size_t done = (size_t)(worker->finished_count - worker->finished_seen);
    worker->finished_seen = worker->finished_count;
    reeve__prefetch_plan(&worker->prefetch, done, worker->concurrency, now_ns);
    if (worker->phase != REEVE__PHASE_RUN)
        return;
    if (worker->quiet) {
        reeve__held_return(worker, worker->ready.count);
    } else if (now_ns >= stale_by(worker)) {
        reeve__prefetch_reset(&worker->prefetch);
        reeve__held_return(worker, excess(worker));
    }
}

size_t reeve__held_room(const reeve_worker *worker) {
    if (worker->phase != REEVE__PHASE_RUN || worker->quiet)
        return 0;
    size_t hold = worker->suspect_count ? 0 : worker->prefetch.hold;
    size_t most = worker->concurrency + hold;
    if (most > REEVE__SELECT_SLOTS_MAX)
        most = REEVE__SELECT_SLOTS_MAX;
    size_t used = worker->live_count + worker->offered_count;
    return most > used ? most - used : 0;
}

bool reeve__held_is_low(const reeve_worker *worker) {
    return reeve__held_room(worker) > 0 &&
           (worker->live_count < worker->concurrency ||
            worker->ready.count <= worker->prefetch.hold / 2);
}
