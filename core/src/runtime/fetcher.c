/*
 * The fetcher: one round trip settles what is finished and claims what is
 * next. It turns as soon as there is a free slot and a queue that may have
 * work, so batches grow by themselves with the load; with nothing to claim it
 * waits at the doorbell.
 */
#include <string.h>

#include "base/bytes.h"
#include "policy/lease.h"
#include "policy/settle.h"
#include "runtime/worker.h"

reeve_rc reeve__fetch_scratch_init(reeve_worker *worker, reeve_error *err) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve_env *env = worker->env;
    size_t n = worker->queue_count;
    scratch->quotas = reeve__calloc(env, n, sizeof *scratch->quotas);
    scratch->taken = reeve__calloc(env, n, sizeof *scratch->taken);
    scratch->queue_of = reeve__calloc(env, n, sizeof *scratch->queue_of);
    scratch->turns = reeve__calloc(env, n, sizeof *scratch->turns);
    scratch->settles =
        reeve__calloc(env, REEVE__SEND_MAX, sizeof *scratch->settles);
    scratch->sending =
        reeve__calloc(env, REEVE__SEND_MAX, sizeof(reeve_delivery *));
    return scratch->quotas && scratch->taken && scratch->queue_of &&
                   scratch->turns && scratch->settles && scratch->sending
               ? 0
               : reeve__fail_nomem(err);
}

void reeve__fetch_scratch_dispose(reeve_worker *worker) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve__free(worker->env, scratch->quotas);
    reeve__free(worker->env, scratch->taken);
    reeve__free(worker->env, scratch->queue_of);
    reeve__free(worker->env, scratch->turns);
    reeve__free(worker->env, scratch->settles);
    reeve__free(worker->env, scratch->sending);
}

/* --- what came --------------------------------------------------------- */

/* Tasks of one claim share a token; rows of one claim come in a row. */
static reeve_rc join_claim(reeve_worker *worker, reeve_delivery *dlv,
                           reeve_error *err) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve_delivery *last = scratch->claimed.last;
    bool same = last && last->queue_index == dlv->queue_index &&
                last->token == dlv->token;
    if (!same) {
        scratch->claim = reeve__calloc(worker->env, 1, sizeof(reeve__claim));
        if (!scratch->claim)
            return reeve__fail_nomem(err);
        scratch->claim->token = dlv->token;
    }
    dlv->claim = scratch->claim;
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

static reeve_rc on_claim(void *ctx, const reeve__row *row, reeve_error *err) {
    reeve_worker *worker = ctx;
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve_delivery *dlv = NULL;
    reeve_error why = { 0 };
    reeve_rc rc = reeve__delivery_new(
        &dlv, worker, scratch->queue_of[row->turn_index], row, &why, err);
    if (!rc)
        rc = join_claim(worker, dlv, err);
    if (rc) {
        if (dlv)
            reeve__delivery_unref(dlv); /* not shared yet: no lock needed */
        return rc;
    }
    if (!may_start(dlv, row->now_at_ms)) {
        settle_unstarted(dlv, &why, row->now_at_ms);
        dlv->settled = true;
    }
    reeve__list_push(&scratch->claimed, dlv);
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

/* Holds: worker->mutex. */
static void take_in(reeve_worker *worker) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    bool any_ready = false;
    int64_t now_ns = reeve__mono_ns(worker->env);
    reeve_delivery *dlv;
    while ((dlv = reeve__list_pop(&scratch->claimed)) != NULL) {
        dlv->serial = ++worker->next_serial;
        worker->stats.claimed++;
        start_lease(dlv, now_ns);
        reeve__live_add(worker, dlv);
        if (dlv->settled) {
            reeve__outbox_add(worker, dlv);
        } else {
            reeve__list_push(&worker->ready, dlv);
            any_ready = true;
            if (worker->handler_count)
                reeve__signal(&worker->ready_cond);
        }
    }
    scratch->claim = NULL;
    if (any_ready && !worker->handler_count)
        reeve__events_ring(worker);
    int64_t earliest = worker->next_extend_ns < worker->next_timeout_ns
                           ? worker->next_extend_ns
                           : worker->next_timeout_ns;
    if (earliest < worker->tick_by_ns)
        reeve__signal(&worker->tick_cond);
}

/* --- what goes --------------------------------------------------------- */

/* Moves up to REEVE__SEND_MAX verdicts from the outbox to the scratch. Holds:
 * worker->mutex. */
static void take_outbox(reeve_worker *worker) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    scratch->sending_count = 0;
    while (scratch->sending_count < REEVE__SEND_MAX) {
        reeve_delivery *dlv = reeve__list_pop(&worker->outbox);
        if (!dlv)
            break;
        scratch->sending[scratch->sending_count++] = dlv;
        if (!dlv->resent)
            dlv->sealed.settle.last_of_token = --dlv->claim->unsettled == 0;
    }
}

/* Builds the turns: settles grouped by queue in their order, then quotas. */
static size_t build_turns(reeve_worker *worker, bool claims) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    size_t turn_count = 0;
    size_t settle_at = 0;
    for (size_t q = 0; q < worker->queue_count; q++) {
        size_t start = settle_at;
        for (size_t i = 0; i < scratch->sending_count; i++) {
            if (scratch->sending[i]->queue_index == q)
                scratch->settles[settle_at++] =
                    scratch->sending[i]->sealed.settle;
        }
        size_t quota = claims ? scratch->quotas[q] : 0;
        if (settle_at == start && !quota)
            continue;
        scratch->queue_of[turn_count] = q;
        scratch->turns[turn_count++] = (reeve__turn){
            .queue = reeve_bytes_of(worker->queues[q].name),
            .settles = scratch->settles + start,
            .settle_count = settle_at - start,
            .claim_max = quota,
            .lease_ms = worker->lease_ms,
        };
    }
    return turn_count;
}

static void count_stored(reeve_worker *worker, const reeve_delivery *dlv,
                         int32_t code) {
    reeve_worker_stats *stats = &worker->stats;
    const reeve__settle *settle = &dlv->sealed.settle;
    if (code == REEVE_E_LEASE_LOST && !dlv->resent) {
        stats->lease_lost++;
        reeve__log(worker->env, REEVE_LOG_WARN,
                   "LEASE_LOST: outcome of task %.*s under token %lld is "
                   "refused, another worker has it",
                   (int)dlv->id.size, dlv->id.data, (long long)dlv->token);
        return;
    }
    worker->failed_count += settle->failed;
    if (settle->done)
        stats->done++;
    else if (settle->to_state == REEVE_STATE_RETRY ||
             settle->to_state == REEVE_STATE_SCHEDULED)
        stats->retried++;
    else if (settle->to_state == REEVE_STATE_ARCHIVED)
        stats->archived++;
    else if (settle->to_state == REEVE_STATE_PENDING)
        stats->requeued++;
}

/* Books what the broker stored. sending is in outbox order, settles grouped by
 * queue: walk them the same way as build_turns did. Holds: worker->mutex. */
static void drop_stored(reeve_worker *worker) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    size_t settle_at = 0;
    for (size_t q = 0; q < worker->queue_count; q++) {
        for (size_t i = 0; i < scratch->sending_count; i++) {
            reeve_delivery *dlv = scratch->sending[i];
            if (!dlv || dlv->queue_index != q)
                continue;
            count_stored(worker, dlv, scratch->settles[settle_at++].code);
            scratch->sending[i] = NULL;
            reeve__delivery_unref(dlv);
        }
    }
    scratch->sending_count = 0;
}

/* Puts what may not have been stored back in front. Holds: worker->mutex. */
static void keep_unstored(reeve_worker *worker) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve__delivery_list again = { 0 };
    for (size_t i = 0; i < scratch->sending_count; i++) {
        scratch->sending[i]->resent = true;
        reeve__list_push(&again, scratch->sending[i]);
    }
    scratch->sending_count = 0;
    reeve__list_prepend(&worker->outbox, &again);
}

/* --- a turn ------------------------------------------------------------ */

static void book_turns(reeve_worker *worker, size_t turn_count,
                       int64_t now_ns) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    memset(scratch->taken, 0, worker->queue_count * sizeof *scratch->taken);
    for (size_t i = 0; i < turn_count; i++)
        scratch->taken[scratch->queue_of[i]] = scratch->turns[i].claimed;
    reeve__select_book(&worker->select, scratch->quotas, scratch->taken,
                       now_ns);
}

void reeve__fetch_hold_off(reeve_worker *worker) {
    worker->failures_in_row++;
    int64_t delay_ms = reeve__reconnect_delay_ms(worker->failures_in_row,
                                                 reeve__random(worker->env));
    worker->retry_by_ns = reeve__by_ns(worker->env, delay_ms);
}

static void turn_failed(reeve_worker *worker, bool claims, reeve_rc rc,
                        const reeve_error *err) {
    keep_unstored(worker);
    if (claims)
        worker->orphans_due = true;
    reeve__fetch_hold_off(worker);
    reeve__log(worker->env, REEVE_LOG_WARN,
               "worker %s: broker turn failed (%s), trying again: %s",
               worker->id, reeve_code_slug(rc), err->message);
}

static void run_turn(reeve_worker *worker, size_t turn_count, bool claims) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve__broker *broker = worker->fetch_broker;
    reeve_error err = { 0 };
    reeve_rc rc =
        broker->ops->turn(broker, scratch->turns, turn_count,
                          reeve_bytes_of(worker->id), on_claim, worker, &err);
    if (!rc) /* else it would be asked again, for as long again */
        reeve__worker_note_time(worker, broker);
    int64_t now_ns = reeve__mono_ns(worker->env);
    reeve__lock(&worker->mutex);
    worker->stats.reconnects = broker->reconnects;
    if (rc && scratch->claim)
        scratch->claim->unsettled++; /* a member we may not have seen */
    take_in(worker);
    if (rc) {
        turn_failed(worker, claims, rc, &err);
    } else {
        worker->failures_in_row = 0;
        drop_stored(worker);
        if (claims)
            book_turns(worker, turn_count, now_ns);
    }
    reeve__worker_unlock(worker);
    for (size_t i = 0; !rc && i < turn_count; i++) {
        if (scratch->turns[i].next_due_at_ms)
            reeve__tick_due_hint(worker, scratch->queue_of[i],
                                 scratch->turns[i].next_due_at_ms);
    }
}

/* --- deciding ---------------------------------------------------------- */

/* Free slots for new claims. Holds: worker->mutex. */
static size_t free_slots(const reeve_worker *worker) {
    if (worker->phase != REEVE__PHASE_RUN || worker->quiet)
        return 0;
    return worker->concurrency > worker->live_count
               ? worker->concurrency - worker->live_count
               : 0;
}

static int64_t outbox_by(const reeve_worker *worker) {
    if (!worker->outbox.count)
        return INT64_MAX;
    if (worker->phase != REEVE__PHASE_RUN || worker->manual ||
        worker->outbox.count >= worker->settle_count)
        return 0;
    return reeve__add_sat(worker->outbox_since_ns, worker->settle_delay_ns);
}

/* When to look again with nothing to send. Holds: worker->mutex. */
static int64_t look_again_by(const reeve_worker *worker, int64_t now_ns) {
    int64_t by_ns = reeve__add_sat(now_ns, REEVE__SLOW_POLL_MS * REEVE__MS_NS);
    int64_t outbox_ns = outbox_by(worker);
    if (outbox_ns < by_ns)
        by_ns = outbox_ns;
    if (worker->orphans_due && worker->orphans_by_ns < by_ns)
        by_ns = worker->orphans_by_ns;
    if (worker->phase == REEVE__PHASE_DRAIN && worker->drain_by_ns < by_ns)
        by_ns = worker->drain_by_ns;
    return by_ns;
}

/* After a failure the broker is left alone; a manual worker's caller decides
 * for himself when to ask again. */
static bool is_held_off(const reeve_worker *worker, int64_t now_ns) {
    return worker->failures_in_row && !worker->manual &&
           now_ns < worker->retry_by_ns;
}

int reeve__fetch_step(reeve_worker *worker, int64_t *out_by_ns) {
    /* Before new claims, or a claim that always fails would pile them up. */
    if (worker->orphans_due &&
        !is_held_off(worker, reeve__mono_ns(worker->env)))
        reeve__orphans_return(worker);
    int64_t now_ns = reeve__mono_ns(worker->env);
    reeve__lock(&worker->mutex);
    int phase = reeve__drain_step(worker, now_ns);
    if (phase == REEVE__PHASE_STOPPED) {
        reeve__worker_unlock(worker);
        return REEVE__FETCH_END;
    }
    if (is_held_off(worker, now_ns)) {
        *out_by_ns = worker->retry_by_ns;
        worker->fetch_waits = true;
        reeve__worker_unlock(worker);
        return REEVE__FETCH_WAIT_WAKE;
    }
    size_t slots = free_slots(worker);
    size_t planned = slots ? reeve__select_plan(worker->scratch.quotas,
                                                &worker->select, slots, now_ns)
                           : 0;
    if (!planned && now_ns < outbox_by(worker)) {
        *out_by_ns = look_again_by(worker, now_ns);
        worker->fetch_waits = true;
        reeve__worker_unlock(worker);
        return slots ? REEVE__FETCH_WAIT_BELL : REEVE__FETCH_WAIT_WAKE;
    }
    take_outbox(worker);
    if (worker->outbox.count)
        worker->outbox_since_ns = now_ns;
    reeve__worker_unlock(worker);
    size_t turn_count = build_turns(worker, planned > 0);
    run_turn(worker, turn_count, planned > 0);
    return REEVE__FETCH_AGAIN;
}

/* --- the thread -------------------------------------------------------- */

static void wake_queues(reeve_worker *worker, ptrdiff_t index) {
    reeve__lock(&worker->mutex);
    for (size_t q = 0; q < worker->queue_count; q++) {
        if (index < 0 || (size_t)index == q)
            reeve__select_wake(&worker->select, q);
    }
    reeve__worker_unlock(worker);
}

static void wait_at_bell(reeve_worker *worker, const reeve_bytes *names,
                         int64_t by_ns) {
    reeve__broker *broker = worker->fetch_broker;
    ptrdiff_t index = -1;
    reeve_error err = { 0 };
    worker->bell_out = true;
    reeve_rc rc = broker->ops->wait(broker, names, worker->queue_count,
                                    worker->fetch_wake.fd, by_ns, &index, &err);
    if (rc) {
        reeve__log(worker->env, REEVE_LOG_WARN,
                   "worker %s: waiting for work failed: %s", worker->id,
                   err.message);
        (void)reeve__poll_two(worker->env, worker->fetch_wake.fd, -1,
                              reeve__by_ns(worker->env, 100));
        wake_queues(worker, -1);
        return;
    }
    if (index >= 0)
        wake_queues(worker, index);
    else if (reeve__mono_ns(worker->env) >= by_ns)
        wake_queues(worker, -1); /* the slow poll */
}

/* Who does not wait for work must not be rung: others would not hear of it. */
static void leave_bell(reeve_worker *worker) {
    reeve__broker *broker = worker->fetch_broker;
    reeve_error err = { 0 };
    if (!worker->bell_out)
        return;
    worker->bell_out = false;
    if (broker->ops->unwait(broker, &err))
        reeve__log(worker->env, REEVE_LOG_WARN,
                   "worker %s: cannot leave the doorbell: %s", worker->id,
                   err.message);
}

static void wait_for_wake(reeve_worker *worker, int64_t by_ns) {
    leave_bell(worker);
    (void)reeve__poll_two(worker->env, worker->fetch_wake.fd, -1, by_ns);
}

void reeve__fetch_run(void *arg) {
    reeve_worker *worker = arg;
    reeve_bytes names[REEVE__WORKER_QUEUES_MAX];
    for (size_t q = 0; q < worker->queue_count; q++)
        names[q] = reeve_bytes_of(worker->queues[q].name);
    for (;;) {
        int64_t by_ns = 0;
        int next = reeve__fetch_step(worker, &by_ns);
        if (next == REEVE__FETCH_END)
            break;
        if (next == REEVE__FETCH_AGAIN)
            continue;
        if (next == REEVE__FETCH_WAIT_BELL)
            wait_at_bell(worker, names, by_ns);
        else
            wait_for_wake(worker, by_ns);
        reeve__wakefd_clear(&worker->fetch_wake);
        reeve__lock(&worker->mutex);
        worker->fetch_waits = false;
        reeve__worker_unlock(worker);
    }
    leave_bell(worker);
    reeve__worker_thread_ends(worker);
}
