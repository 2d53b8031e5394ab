/*
 * What a claim brings: rows become deliveries, those that must not start get
 * their verdict, the others become ready. Called by the fetcher only.
 */
#include "base/bytes.h"
#include "policy/lease.h"
#include "policy/settle.h"
#include "runtime/worker.h"

/* Tasks of one claim share a token; rows of one claim come in a row. */
static reeve_rc join_claim(reeve__claimed *claimed, reeve_delivery *dlv,
                           reeve_error *err) {
    reeve_worker *worker = dlv->worker;
    const reeve_delivery *last = claimed->list.last;
    if (last && last->token == dlv->token) {
        dlv->claim = last->claim;
    } else {
        dlv->claim = reeve__calloc(worker->env, 1, sizeof(reeve__claim));
        if (!dlv->claim)
            return reeve__fail_nomem(err);
        dlv->claim->token = dlv->token;
    }
    if (dlv->lease_ms > dlv->claim->lease_ms)
        dlv->claim->lease_ms = dlv->lease_ms;
    dlv->claim->members++;
    dlv->claim->unsettled++;
    return 0;
}

/* A verdict that needs no handler, for what must not start. */
static void settle_unstarted(reeve_delivery *dlv, const reeve_error *why,
                             int64_t now_at_ms) {
    reeve_worker *worker = dlv->worker;
    reeve_error err = { 0 };
    dlv->sealed.settle = (reeve__settle){ .id = dlv->id, .token = dlv->token };
    if (!dlv->stored.size) {
        dlv->sealed.settle.to_state = REEVE_STATE_NONE; /* debris */
        return;
    }
    if (dlv->readable) {
        static const reeve_outcome none = { .size = (uint32_t)sizeof none };
        reeve__seal(&dlv->sealed, dlv, &none, false, REEVE__REASON_DEADLINE);
        return;
    }
    if (reeve__settlement_unreadable(
            &dlv->sealed.settle, &dlv->sealed.rewritten, dlv->stored, now_at_ms,
            why->message, &worker->archive, &err))
        reeve__log(worker->env, REEVE_LOG_ERROR,
                   "unreadable task %.*s is archived as it is: %s",
                   (int)dlv->id.size, dlv->id.data, err.message);
    reeve__log(worker->env, REEVE_LOG_WARN,
               "task %.*s in queue %s is unreadable and archived: %s",
               (int)dlv->id.size, dlv->id.data,
               worker->queues[dlv->queue_index].name, why->message);
}

static bool may_start(const reeve_delivery *dlv, int64_t now_at_ms) {
    return dlv->readable && reeve__start_check(dlv->envelope.deadline_at_ms,
                                               now_at_ms) == REEVE__REASON_NONE;
}

reeve_rc reeve__on_claim(void *ctx, const reeve__row *row, reeve_error *err) {
    reeve_worker *worker = ctx;
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve_delivery *dlv = NULL;
    reeve_error why = { 0 };
    reeve_rc rc = reeve__delivery_new(
        &dlv, worker, scratch->queue_of[row->turn_index], row, &why, err);
    if (!rc)
        rc = join_claim(&scratch->claims[row->turn_index], dlv, err);
    if (rc) {
        if (dlv)
            reeve__delivery_unref(dlv); /* not shared yet: no lock needed */
        return rc;
    }
    if (!may_start(dlv, row->now_at_ms)) {
        settle_unstarted(dlv, &why, row->now_at_ms);
        dlv->settled = true;
    }
    reeve__list_push(&scratch->claims[row->turn_index].list, dlv);
    return 0;
}

/* The claim was granted the worker's lease: one that tasks themselves set is
 * stored by an extension at once. */
static void start_lease(reeve_delivery *dlv, int64_t now_ns) {
    int64_t span_ms = dlv->claim->lease_ms == dlv->worker->lease_ms
                          ? reeve__lease_extend_after_ms(dlv->claim->lease_ms)
                          : 0;
    dlv->extend_by_ns =
        reeve__add_sat(now_ns, reeve__mul_sat(span_ms, REEVE__MS_NS));
}

/*
 * The next of what came, interleaved: a claim brings many tasks of each queue,
 * and they are to start in the proportion in which they were claimed, not one
 * queue after the other. Smooth weighted round-robin over the counts; in strict
 * order the first queue comes first.
 */
static reeve_delivery *next_claimed(reeve_worker *worker, size_t turn_count,
                                    size_t total) {
    reeve__claimed *claims = worker->scratch.claims;
    reeve__claimed *best = NULL;
    for (size_t i = 0; i < turn_count; i++) {
        if (!claims[i].list.count)
            continue;
        claims[i].credit += claims[i].count;
        if (!best || (worker->select.order == REEVE_ORDER_WEIGHTED &&
                      claims[i].credit > best->credit))
            best = &claims[i];
    }
    if (!best)
        return NULL;
    best->credit -= (int64_t)total;
    return reeve__list_pop(&best->list);
}

static void take_one(reeve_worker *worker, reeve_delivery *dlv,
                     int64_t now_ns) {
    dlv->serial = ++worker->next_serial;
    dlv->ready_ns = now_ns;
    worker->stats.claimed++;
    start_lease(dlv, now_ns);
    reeve__live_add(worker, dlv);
    if (dlv->settled)
        reeve__outbox_add(worker, dlv);
    else
        reeve__list_push(&worker->ready, dlv);
}

void reeve__claims_take_in(reeve_worker *worker, size_t turn_count) {
    const reeve__turn *turns = worker->scratch.turns;
    reeve__claimed *claims = worker->scratch.claims;
    size_t suspects = worker->suspect_count;
    int64_t now_ns = reeve__mono_ns(worker->env);
    size_t total = 0;
    for (size_t i = 0; i < turn_count; i++) {
        claims[i].count = (int64_t)claims[i].list.count;
        claims[i].credit = 0;
        total += claims[i].list.count;
        if (!turns[i].answered &&
            claims[i].list.last) /* one that we may not have seen */
            claims[i].list.last->claim->unsettled++;
    }
    reeve_delivery *dlv;
    while ((dlv = next_claimed(worker, turn_count, total)) != NULL)
        take_one(worker, dlv, now_ns);
    if (total)
        reeve__held_claimed(worker, worker->suspect_count > suspects);
    reeve__held_wake(worker);
    int64_t earliest = worker->next_extend_ns < worker->next_timeout_ns
                           ? worker->next_extend_ns
                           : worker->next_timeout_ns;
    if (earliest < worker->tick_by_ns)
        reeve__signal(&worker->tick_cond);
}
