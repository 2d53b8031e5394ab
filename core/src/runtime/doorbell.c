/*
 * Waiting for work. A worker of one queue offers its free slots along with the
 * wait, where the broker can claim for it as soon as the doorbell rings; else
 * the ring says which queue to ask. Called by the fetcher only.
 * See docs/decisions/0106-claim-behind-the-doorbell.md.
 */
#include <string.h>

#include "base/bytes.h"
#include "runtime/worker.h"

/* After a wait that failed. */
#define AGAIN_MS 100

/* Queue index may have work; -1 = any. */
static void wake_queues(reeve_worker *worker, ptrdiff_t index) {
    reeve__lock(&worker->mutex);
    for (size_t q = 0; q < worker->queue_count; q++) {
        if (index < 0 || (size_t)index == q)
            reeve__select_wake(&worker->select, q);
    }
    reeve__worker_unlock(worker);
}

static void wait_failed(reeve_worker *worker, const reeve_error *err) {
    reeve__log(worker->env, REEVE_LOG_WARN,
               "worker %s: waiting for work failed: %s", worker->id,
               err->message);
    (void)reeve__poll_two(worker->env, worker->fetch_wake.fd, -1,
                          reeve__by_ns(worker->env, AGAIN_MS));
    wake_queues(worker, -1);
}

/* At the bells of all queues that do not refuse: a damaged one would answer at
 * once, or be the one that is heard. */
static void wait_for_ring(reeve_worker *worker, int64_t by_ns) {
    reeve__broker *broker = worker->fetch_broker;
    reeve_bytes names[REEVE__WORKER_QUEUES_MAX];
    size_t queue_of[REEVE__WORKER_QUEUES_MAX];
    size_t count = 0;
    for (size_t q = 0; q < worker->queue_count; q++) {
        if (worker->queues[q].refusals)
            continue;
        names[count] = reeve_bytes_of(worker->queues[q].name);
        queue_of[count++] = q;
    }
    if (!worker->slow_poll_by_ns)
        worker->slow_poll_by_ns =
            reeve__by_ns(worker->env, REEVE__SLOW_POLL_MS);
    ptrdiff_t index = -1;
    reeve_error err = { 0 };
    reeve_rc rc = 0;
    if (count)
        rc = broker->ops->wait(broker, names, count, worker->fetch_wake.fd,
                               by_ns, &index, &err);
    else
        (void)reeve__poll_two(worker->env, worker->fetch_wake.fd, -1, by_ns);
    if (rc)
        wait_failed(worker, &err);
    else if (index >= 0)
        wake_queues(worker, (ptrdiff_t)queue_of[index]);
    int64_t now_ns = reeve__mono_ns(worker->env);
    if (!rc && index < 0 && now_ns >= worker->slow_poll_by_ns) {
        wake_queues(worker, -1);
        worker->slow_poll_by_ns = 0;
    }
}

/* --- an offer ---------------------------------------------------------- */

/* The free slots, or one to hold. Not all that may be held: the offer stands
 * for a second, and who is idle then is not known. Holds: worker->mutex. */
static size_t offer_count(const reeve_worker *worker) {
    size_t room = reeve__held_room(worker);
    size_t slots = worker->concurrency > worker->live_count
                       ? worker->concurrency - worker->live_count
                       : 1;
    return slots < room ? slots : room;
}

/* Offers what is free, unless something is offered; false when this worker
 * cannot. While claims are unseen, a new one would be taken for one of them. */
static bool may_offer(reeve_worker *worker) {
    if (worker->offered_count)
        return true;
    if (worker->queue_count != 1 || worker->orphans_due ||
        !worker->fetch_broker->ops->wait_claim)
        return false;
    reeve__lock(&worker->mutex);
    worker->offered_count = offer_count(worker);
    reeve__worker_unlock(worker);
    worker->offer = (reeve__bell_claim){
        .turn = { .queue = reeve_bytes_of(worker->queues[0].name),
                  .claim_max = worker->offered_count,
                  .lease_ms = worker->lease_ms },
        .worker = reeve_bytes_of(worker->id),
        .on_claim = reeve__on_claim,
        .ctx = worker,
    };
    worker->scratch.queue_of[0] = 0;
    return worker->offered_count > 0;
}

/* The offer has ended: well, or so that what it claimed may be unseen. */
static void offer_ended(reeve_worker *worker, bool well) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    int64_t now_ns = reeve__mono_ns(worker->env);
    reeve__lock(&worker->mutex);
    scratch->quotas[0] = worker->offered_count;
    scratch->turns[0] = worker->offer.turn;
    scratch->turns[0].answered = well;
    worker->offered_count = 0;
    reeve__claims_take_in(worker, 1);
    if (well)
        reeve__fetch_book(worker, 1, now_ns);
    if (worker->phase != REEVE__PHASE_RUN || worker->quiet)
        reeve__held_return(worker, worker->ready.count);
    reeve__worker_unlock(worker);
    if (!well) {
        reeve__orphans_note_all(worker);
        worker->orphans_again = true;
    }
    if (well && worker->offer.turn.next_due_at_ms)
        reeve__tick_due_hint(worker, 0, worker->offer.turn.next_due_at_ms);
}

static void wait_with_offer(reeve_worker *worker, int64_t by_ns) {
    reeve__broker *broker = worker->fetch_broker;
    reeve_error err = { 0 };
    reeve_rc rc = broker->ops->wait_claim(broker, &worker->offer,
                                          worker->fetch_wake.fd, by_ns, &err);
    if (rc || worker->offer.done)
        offer_ended(worker, rc == 0);
    if (rc)
        wait_failed(worker, &err);
}

/* --- for the fetcher --------------------------------------------------- */

void reeve__bell_wait(reeve_worker *worker, int64_t by_ns) {
    worker->bell_out = true;
    if (may_offer(worker))
        wait_with_offer(worker, by_ns);
    else
        wait_for_ring(worker, by_ns);
}

void reeve__bell_leave(reeve_worker *worker) {
    reeve__broker *broker = worker->fetch_broker;
    reeve_error err = { 0 };
    if (!worker->bell_out)
        return;
    worker->bell_out = false;
    reeve_rc rc = broker->ops->unwait(broker, &err);
    if (worker->offered_count)
        offer_ended(worker, rc == 0 && worker->offer.done);
    if (rc)
        reeve__log(worker->env, REEVE_LOG_WARN,
                   "worker %s: cannot leave the doorbell: %s", worker->id,
                   err.message);
}

/* The fetcher's own orphans_due counts: a claim that is under way must not look
 * like one that was never seen. */
bool reeve__bell_is_stale(reeve_worker *worker) {
    if (!worker->offered_count)
        return false;
    reeve__lock(&worker->mutex);
    bool claims = worker->phase == REEVE__PHASE_RUN && !worker->quiet;
    reeve__worker_unlock(worker);
    return !claims || worker->orphans_due ||
           atomic_load(&worker->stop_requests) > 0;
}
