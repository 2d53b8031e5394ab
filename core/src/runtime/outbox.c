/*
 * From live to settled: verdicts are decided outside the lock, queued inside
 * it, and kept until the broker has stored them.
 */
#include <string.h>

#include "policy/settle.h"
#include "runtime/worker.h"

void reeve__live_add(reeve_worker *worker, reeve_delivery *dlv) {
    dlv->live_prev = worker->live_last;
    dlv->live_next = NULL;
    if (worker->live_last)
        worker->live_last->live_next = dlv;
    else
        worker->live_first = dlv;
    worker->live_last = dlv;
    worker->live_count++;
    reeve__held_count(worker, dlv, true);
    if (dlv->extend_by_ns < worker->next_extend_ns)
        worker->next_extend_ns = dlv->extend_by_ns;
    if (dlv->timeout_by_ns < worker->next_timeout_ns)
        worker->next_timeout_ns = dlv->timeout_by_ns;
}

void reeve__live_remove(reeve_worker *worker, reeve_delivery *dlv) {
    if (dlv->live_prev)
        dlv->live_prev->live_next = dlv->live_next;
    else
        worker->live_first = dlv->live_next;
    if (dlv->live_next)
        dlv->live_next->live_prev = dlv->live_prev;
    else
        worker->live_last = dlv->live_prev;
    dlv->live_prev = dlv->live_next = NULL;
    worker->live_count--;
    reeve__held_count(worker, dlv, false);
}

void reeve__hand_out(reeve_worker *worker, reeve_delivery *dlv) {
    dlv->handed = true;
    dlv->refs++;
    if (dlv->envelope.timeout_ms <= 0)
        return;
    int64_t by_ns = reeve__by_ns(worker->env, dlv->envelope.timeout_ms);
    if (by_ns < dlv->timeout_by_ns) {
        dlv->timeout_by_ns = by_ns;
        dlv->deadline_first = false;
    }
    if (by_ns < worker->next_timeout_ns) {
        worker->next_timeout_ns = by_ns;
        if (by_ns < worker->tick_by_ns)
            reeve__signal(&worker->tick_cond);
    }
}

void reeve__live_lose(reeve_worker *worker, reeve_delivery *dlv) {
    if (!dlv->handed)
        reeve__list_remove(&worker->ready, dlv);
    reeve__cancel(worker, dlv, REEVE_CANCEL_LEASE_LOST);
    dlv->settled = true;
    reeve__live_remove(worker, dlv);
    reeve__delivery_unref(dlv);
    reeve__fetch_ring(worker); /* a slot is free */
    reeve__held_wake(worker);
}

void reeve__sealed_init(reeve__sealed *sealed, reeve_env *env) {
    memset(sealed, 0, sizeof *sealed);
    reeve__buf_init(&sealed->rewritten, env);
}

void reeve__sealed_dispose(reeve__sealed *sealed, reeve_env *env) {
    reeve__buf_dispose(&sealed->rewritten);
    reeve__free(env, sealed->result);
    sealed->result = NULL;
}

/* The outcome's result lives only for the call: keep a copy. */
static void keep_result(reeve__sealed *sealed, const reeve_delivery *dlv) {
    reeve__settle *settle = &sealed->settle;
    if (!settle->has_result)
        return;
    reeve_env *env = dlv->worker->env;
    sealed->result =
        reeve__strndup(env, settle->result.data, settle->result.size);
    if (sealed->result) {
        settle->result.data = sealed->result;
        return;
    }
    settle->has_result = false;
    settle->result = (reeve_bytes){ 0 };
    reeve__log(env, REEVE_LOG_ERROR,
               "out of memory: result of task %.*s is not kept",
               (int)dlv->id.size, dlv->id.data);
}

void reeve__seal(reeve__sealed *sealed, const reeve_delivery *dlv,
                 const reeve_outcome *outcome, bool started, int32_t reason) {
    reeve_worker *worker = dlv->worker;
    reeve_error err = { 0 };
    /* What is done needs no time, and reading it is a part of its cost. */
    bool timed = outcome->kind != REEVE_OUTCOME_DONE || reason;
    sealed->settle = (reeve__settle){ .id = dlv->id, .token = dlv->token };
    reeve__settlement_input in = {
        .env = worker->env,
        .envelope = &dlv->envelope,
        .stored = dlv->stored,
        .outcome = outcome,
        .started = started,
        .reason = reason,
        .worker = reeve_bytes_of(worker->id),
        .now_at_ms = timed ? reeve__worker_server_now(worker) : 0,
        .archive = worker->archive,
    };
    int32_t why = REEVE__REASON_NONE;
    if (reeve__settlement_decide(&sealed->settle, &sealed->rewritten, &why, &in,
                                 &err))
        reeve__log(worker->env, REEVE_LOG_ERROR,
                   "task %.*s moves on without its history: %s",
                   (int)dlv->id.size, dlv->id.data, err.message);
    keep_result(sealed, dlv);
    reeve__log_verdict(dlv, &sealed->settle, why, outcome, started);
}

void reeve__outbox_add(reeve_worker *worker, reeve_delivery *dlv) {
    dlv->settled = true;
    reeve__live_remove(worker, dlv);
    if (!worker->outbox.count)
        worker->outbox_since_ns = reeve__mono_ns(worker->env);
    reeve__list_push(&worker->outbox, dlv);
}

void reeve__requeue_live(reeve_worker *worker, reeve_delivery *dlv,
                         bool started) {
    static const reeve_outcome requeue = {
        .size = (uint32_t)sizeof requeue,
        .kind = REEVE_OUTCOME_REQUEUE,
    };
    reeve__seal(&dlv->sealed, dlv, &requeue, started, REEVE__REASON_NONE);
    reeve__outbox_add(worker, dlv);
}

void reeve__fetch_ring(reeve_worker *worker) {
    if (!worker->fetch_waits)
        return;
    worker->fetch_waits = false;
    worker->fetcher_due = true;
}
