/*
 * The face for languages: events out, completions in. Nothing here calls out.
 */
#include <string.h>

#include "base/bytes.h"
#include "runtime/worker.h"

void reeve__events_ring(reeve_worker *worker) {
    worker->waiter_due = true;
    if (worker->events_rung || !worker->fd_asked)
        return;
    worker->events_rung = true;
    reeve__wakefd_ring(&worker->event_wake);
}

void reeve__cancel(reeve_worker *worker, reeve_delivery *dlv, int reason) {
    int none = REEVE_CANCEL_NONE;
    if (!atomic_compare_exchange_strong(&dlv->cancel_reason, &none, reason))
        return;
    reeve__watch_overrun(worker, dlv);
    if (!dlv->handed || worker->handler_count)
        return; /* nobody to tell, or a C handler that reads the flag */
    dlv->refs++;
    dlv->cancel_next = NULL;
    if (worker->cancel_last)
        worker->cancel_last->cancel_next = dlv;
    else
        worker->cancel_first = dlv;
    worker->cancel_last = dlv;
    reeve__events_ring(worker);
}

/* Nothing more will come, and the worker has left the broker's list. */
static bool is_over(const reeve_worker *worker) {
    return worker->phase == REEVE__PHASE_STOPPED && !worker->threads_running;
}

/* Takes what is there. Holds: worker->mutex. */
static size_t take_events(reeve_event *out, size_t max, reeve_worker *worker) {
    size_t count = 0;
    while (count < max && worker->cancel_first) {
        reeve_delivery *dlv = worker->cancel_first;
        worker->cancel_first = dlv->cancel_next;
        if (!worker->cancel_first)
            worker->cancel_last = NULL;
        out[count++] = (reeve_event){
            .kind = REEVE_EVENT_CANCEL,
            .reason = reeve_delivery_cancel_reason(dlv),
            .serial = dlv->serial,
        };
        reeve__delivery_unref(dlv);
    }
    while (count < max && !worker->handler_count) {
        reeve_delivery *dlv = reeve__held_start(worker);
        if (!dlv)
            break;
        out[count++] = (reeve_event){
            .kind = REEVE_EVENT_DELIVERY,
            .serial = dlv->serial,
            .delivery = dlv,
        };
    }
    if (count < max && is_over(worker))
        out[count++] = (reeve_event){ .kind = REEVE_EVENT_STOPPED };
    return count;
}

static bool has_events(const reeve_worker *worker) {
    return worker->cancel_first ||
           (!worker->handler_count && reeve__held_may_start(worker)) ||
           is_over(worker);
}

size_t reeve_worker_poll(reeve_event *out, size_t max, reeve_worker *worker,
                         int64_t timeout_ms) {
    if (!out || !max || !worker || worker->fork_count != reeve__fork_count())
        return 0;
    int64_t by_ns = timeout_ms ? reeve__by_ns(worker->env, timeout_ms) : 0;
    /* What is ready is the executors': only the end is for us, and a wake-up
     * that is meant for one of them must not come here. */
    reeve__cond *cond =
        worker->handler_count ? &worker->done_cond : &worker->ready_cond;
    reeve__lock(&worker->mutex);
    worker->polling_count++;
    while (timeout_ms && !has_events(worker)) {
        if (!reeve__wait_by(cond, &worker->mutex, worker->env, by_ns))
            break;
    }
    worker->polling_count--;
    size_t count = take_events(out, max, worker);
    if (!has_events(worker) && worker->events_rung) {
        worker->events_rung = false;
        reeve__wakefd_clear(&worker->event_wake);
    } else if (worker->polling_count && has_events(worker)) {
        reeve__signal(&worker->ready_cond); /* for another poller */
    }
    reeve__worker_unlock(worker);
    return count;
}

/* From now on it is rung; those who never ask are spared two calls of the
 * system for each batch of events. */
int reeve_worker_fd(const reeve_worker *given) {
    if (!given)
        return -1;
    reeve_worker *worker = given->self;
    if (worker->fork_count != reeve__fork_count())
        return worker->event_wake.fd;
    reeve__lock(&worker->mutex);
    worker->fd_asked = true;
    if (has_events(worker))
        reeve__events_ring(worker);
    reeve__worker_unlock(worker);
    return worker->event_wake.fd;
}

/* An outcome we cannot take is a failure of the handler, not a lost task. */
static reeve_rc outcome_or_fatal(reeve_outcome *out, const reeve_outcome *given,
                                 reeve_error *own, reeve_error *err) {
    reeve_rc rc = reeve__outcome_load(out, given, own);
    if (!rc)
        return 0;
    memset(out, 0, sizeof *out);
    out->size = (uint32_t)sizeof *out;
    out->kind = REEVE_OUTCOME_FATAL;
    out->error_type = reeve_bytes_of("BadOutcome");
    out->error_message = reeve_bytes_of(own->message);
    if (err)
        *err = *own;
    return rc;
}

/* Whether the fetcher has a reason to wake before its time: the outbox is new
 * or ripe, or it drains. */
static bool wants_fetch(const reeve_worker *worker, size_t added) {
    return worker->outbox.count <= added ||
           worker->outbox.count >= worker->settle_count ||
           worker->phase != REEVE__PHASE_RUN;
}

#define CHUNK_COUNT 32

/* Verdicts of one chunk are made outside the lock; a timeout may settle a
 * delivery meanwhile, then its own verdict stands and this one is dropped. One
 * that was told to stop has been settled already.
 * Returns the first outcome's error. */
static reeve_rc seal_chunk(reeve__sealed *sealed, reeve_worker *worker,
                           const reeve_completion *items, size_t count,
                           reeve_error *err) {
    reeve_rc first = 0;
    for (size_t i = 0; i < count; i++) {
        reeve_error own = { 0 };
        reeve_outcome outcome;
        reeve_rc rc = outcome_or_fatal(&outcome, items[i].outcome, &own,
                                       first ? NULL : err);
        first = first ? first : rc;
        reeve__sealed_init(&sealed[i], worker->env);
        if (!reeve_delivery_cancel_reason(items[i].delivery))
            reeve__seal(&sealed[i], items[i].delivery, &outcome, true, 0);
    }
    return first;
}

/* Errors: USAGE, when the handler's hold was given up before; while a delivery
 * waits to be settled that can be known. Holds: worker->mutex. */
static reeve_rc give_back(reeve_worker *worker, reeve_delivery *dlv,
                          reeve__sealed *sealed, reeve_error *err) {
    if (!dlv->handed) {
        reeve__sealed_dispose(sealed, worker->env);
        return reeve__fail(err, REEVE_E_USAGE,
                           "delivery %llu has been completed before",
                           (unsigned long long)dlv->serial);
    }
    if (dlv->settled) {
        reeve__sealed_dispose(sealed, worker->env);
    } else {
        dlv->sealed = *sealed; /* its own is empty until now */
        reeve__outbox_add(worker, dlv);
        worker->finished_count++;
    }
    dlv->handed = false;
    reeve__delivery_unref(dlv);
    return 0;
}

static reeve_rc check_items(const reeve_worker *worker,
                            const reeve_completion *items, size_t count,
                            reeve_error *err) {
    if (!items && count)
        return reeve__fail(err, REEVE_E_USAGE, "items is NULL");
    for (size_t i = 0; i < count; i++) {
        if (!items[i].delivery)
            return reeve__fail(err, REEVE_E_USAGE, "delivery %zu is NULL", i);
        if (items[i].delivery->worker != worker)
            return reeve__fail(err, REEVE_E_USAGE,
                               "delivery %zu is another worker's", i);
    }
    return 0;
}

reeve_rc reeve_worker_complete_many(reeve_worker *worker,
                                    const reeve_completion *items, size_t count,
                                    reeve_error *err) {
    reeve_rc rc = reeve__worker_check(worker, err);
    if (!rc)
        rc = check_items(worker, items, count, err);
    if (rc)
        return rc;
    reeve_rc first = 0;
    for (size_t at = 0; at < count; at += CHUNK_COUNT) {
        size_t size = count - at < CHUNK_COUNT ? count - at : CHUNK_COUNT;
        reeve__sealed sealed[CHUNK_COUNT];
        rc = seal_chunk(sealed, worker, items + at, size, first ? NULL : err);
        first = first ? first : rc;
        reeve__lock(&worker->mutex);
        for (size_t i = 0; i < size; i++) {
            rc = give_back(worker, items[at + i].delivery, &sealed[i],
                           first ? NULL : err);
            first = first ? first : rc;
        }
        if (wants_fetch(worker, size))
            reeve__fetch_ring(worker);
        reeve__held_tell(worker);
        if (!worker->handler_count) /* an executor looks for itself */
            reeve__held_wake(worker);
        reeve__worker_unlock(worker);
    }
    if (!first)
        reeve__error_clear(err); /* not before: an outcome may borrow from it */
    return first;
}

reeve_rc reeve_worker_complete(reeve_worker *worker, reeve_delivery *delivery,
                               const reeve_outcome *outcome, reeve_error *err) {
    reeve_completion item = { .delivery = delivery, .outcome = outcome };
    return reeve_worker_complete_many(worker, &item, 1, err);
}
