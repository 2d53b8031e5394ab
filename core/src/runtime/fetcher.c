/*
 * The fetcher: one round trip settles what is finished and claims what is
 * next. It turns as soon as there is a free slot and a queue that may have
 * work, so batches grow by themselves with the load; with nothing to claim it
 * waits at the doorbell.
 */
#include <string.h>

#include "base/bytes.h"
#include "policy/lease.h"
#include "runtime/worker.h"

/* A turn that fails again and again is told of once in this. */
#define LOG_EVERY_MS 1000

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
    scratch->places =
        reeve__calloc(env, REEVE__SEND_MAX, sizeof *scratch->places);
    scratch->claims = reeve__calloc(env, n, sizeof *scratch->claims);
    return scratch->quotas && scratch->taken && scratch->queue_of &&
                   scratch->turns && scratch->settles && scratch->sending &&
                   scratch->places && scratch->claims
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
    reeve__free(worker->env, scratch->places);
    reeve__free(worker->env, scratch->claims);
}

/* --- what goes --------------------------------------------------------- */

static void send_verdict(reeve__fetch_scratch *scratch, reeve_delivery *dlv) {
    scratch->sending[scratch->sending_count++] = dlv;
    if (!dlv->resent)
        dlv->sealed.settle.last_of_token = --dlv->claim->unsettled == 0;
}

/* Moves up to REEVE__SEND_MAX verdicts from the outbox to the scratch, those that
 * were refused before first. Holds: worker->mutex. */
static void take_outbox(reeve_worker *worker, int64_t now_ns) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    bool unwell = worker->unwell_count || worker->refused.count;
    reeve__delivery_list again = { 0 };
    reeve_delivery *dlv;
    scratch->sending_count = 0;
    if (unwell)
        reeve__refused_take(&again, worker, now_ns);
    while ((dlv = reeve__list_pop(&again)) != NULL)
        send_verdict(scratch, dlv);
    while (scratch->sending_count < REEVE__SEND_MAX &&
           (dlv = reeve__list_pop(&worker->outbox)) != NULL) {
        if (!unwell || !reeve__refused_keep(worker, dlv, now_ns))
            send_verdict(scratch, dlv);
    }
}

/* Groups the settles by queue, in their order; taken[q] is then where those of
 * queue q end. */
static void group_settles(reeve_worker *worker) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    size_t *ends = scratch->taken;
    memset(ends, 0, worker->queue_count * sizeof *ends);
    for (size_t i = 0; i < scratch->sending_count; i++)
        ends[scratch->sending[i]->queue_index]++;
    size_t at = 0;
    for (size_t q = 0; q < worker->queue_count; q++) {
        size_t count = ends[q];
        ends[q] = at;
        at += count;
    }
    for (size_t i = 0; i < scratch->sending_count; i++) {
        const reeve_delivery *dlv = scratch->sending[i];
        size_t place = ends[dlv->queue_index]++;
        scratch->settles[place] = dlv->sealed.settle;
        scratch->settles[place].resent = dlv->resent;
        scratch->places[i] = place;
    }
}

/* Builds the turns: settles grouped by queue in their order, then quotas. */
static size_t build_turns(reeve_worker *worker, bool claims) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    group_settles(worker);
    size_t turn_count = 0;
    size_t start = 0;
    for (size_t q = 0; q < worker->queue_count; q++) {
        size_t settle_count = scratch->taken[q] - start;
        size_t quota = claims ? scratch->quotas[q] : 0;
        if (settle_count || quota) {
            scratch->queue_of[turn_count] = q;
            scratch->turns[turn_count++] = (reeve__turn){
                .queue = reeve_bytes_of(worker->queues[q].name),
                .settles = scratch->settles + start,
                .settle_count = settle_count,
                .claim_max = quota,
                .lease_ms = worker->lease_ms,
            };
        }
        start += settle_count;
    }
    return turn_count;
}

/* A task that may move on by itself can have done so since its verdict was
 * stored, so that a refusal of what is sent again says nothing. */
static bool is_lost(const reeve_delivery *dlv, int32_t code) {
    int32_t to_state = dlv->sealed.settle.to_state;
    bool stays = to_state == REEVE_STATE_NONE ||
                 to_state == REEVE_STATE_COMPLETED ||
                 to_state == REEVE_STATE_ARCHIVED;
    return code == REEVE_E_LEASE_LOST && (stays || !dlv->resent);
}

static void count_stored(reeve_worker *worker, const reeve_delivery *dlv,
                         int32_t code) {
    reeve_worker_stats *stats = &worker->stats;
    const reeve__settle *settle = &dlv->sealed.settle;
    if (is_lost(dlv, code)) {
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

/* Books what the broker stored; what nobody holds any more goes to spent. What
 * it did not store is refused. Holds: worker->mutex. */
static void drop_stored(reeve_worker *worker, reeve__delivery_list *spent) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve__delivery_list again = { 0 };
    for (size_t i = 0; i < scratch->sending_count; i++) {
        reeve_delivery *dlv = scratch->sending[i];
        int32_t code = scratch->settles[scratch->places[i]].code;
        if (code == REEVE_E_SERVER) { /* see mark_answers */
            reeve__list_push(&again, dlv);
            continue;
        }
        count_stored(worker, dlv, code);
        worker->returning_count -= dlv->returned;
        if (reeve__delivery_part(dlv))
            reeve__list_push(spent, dlv);
    }
    scratch->sending_count = 0;
    reeve__refused_put_back(worker, &again);
    reeve__held_wake(worker);
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

void reeve__fetch_book(reeve_worker *worker, size_t turn_count,
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

/* A server that answers and refuses will do so again: it is left alone longer
 * and longer. */
static void turn_failed(reeve_worker *worker, bool claims, reeve_rc rc,
                        const reeve_error *err) {
    int64_t now_ns = reeve__mono_ns(worker->env);
    keep_unstored(worker);
    if (claims)
        reeve__orphans_note_all(worker);
    worker->turn_refused = rc != REEVE_E_NET && rc != REEVE_E_TIMEOUT;
    reeve__fetch_hold_off(worker);
    if (now_ns < worker->turn_log_by_ns)
        return;
    worker->turn_log_by_ns = reeve__by_ns(worker->env, LOG_EVERY_MS);
    reeve__log(worker->env, REEVE_LOG_WARN,
               "worker %s: broker turn failed (%s), trying again: %s",
               worker->id, reeve_code_slug(rc), err->message);
}

/* Makes a call's success that of its halves, and a half's failure that of its
 * verdicts. */
static void mark_answers(reeve__fetch_scratch *scratch, size_t turn_count,
                         reeve_rc rc) {
    for (size_t i = 0; i < turn_count; i++) {
        reeve__turn *turn = &scratch->turns[i];
        turn->answered = turn->answered || !rc;
        for (size_t k = 0; k < turn->settle_count && !turn->answered; k++)
            turn->settles[k].code = rc;
    }
}

static void run_turn(reeve_worker *worker, size_t turn_count, bool claims) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve__broker *broker = worker->fetch_broker;
    reeve__delivery_list spent = { 0 };
    reeve_error err = { 0 };
    int64_t start_ns = reeve__mono_ns(worker->env);
    reeve_rc rc = broker->ops->turn(broker, scratch->turns, turn_count,
                                    reeve_bytes_of(worker->id), reeve__on_claim,
                                    worker, &err);
    if (!rc) /* else it would be asked again, for as long again */
        reeve__worker_note_time(worker, broker);
    mark_answers(scratch, turn_count, rc);
    int64_t now_ns = reeve__mono_ns(worker->env);
    reeve__lock(&worker->mutex);
    worker->stats.reconnects = broker->reconnects;
    reeve__claims_take_in(worker, turn_count);
    if (rc && !reeve__refused_alone(worker, rc)) {
        turn_failed(worker, claims, rc, &err);
    } else {
        worker->failures_in_row = 0;
        worker->turn_log_by_ns = 0;
        reeve__prefetch_turned(&worker->prefetch, now_ns - start_ns);
        drop_stored(worker, &spent);
        if (rc || worker->unwell_count)
            reeve__refused_note(worker, turn_count, now_ns, &err);
        if (claims)
            reeve__fetch_book(worker, turn_count, now_ns);
    }
    reeve__worker_unlock(worker);
    reeve_delivery *dlv;
    while ((dlv = reeve__list_pop(&spent)) != NULL)
        reeve__delivery_free(dlv);
    for (size_t i = 0; i < turn_count; i++) {
        if (scratch->turns[i].answered && scratch->turns[i].next_due_at_ms)
            reeve__tick_due_hint(worker, scratch->queue_of[i],
                                 scratch->turns[i].next_due_at_ms);
    }
}

/* --- deciding ---------------------------------------------------------- */

static int64_t outbox_by(const reeve_worker *worker) {
    if (!worker->outbox.count)
        return INT64_MAX;
    if (worker->phase != REEVE__PHASE_RUN || worker->manual ||
        worker->returning_count || worker->outbox.count >= worker->settle_count)
        return 0;
    return reeve__add_sat(worker->outbox_since_ns, worker->settle_delay_ns);
}

/* When to look again with nothing to send. Holds: worker->mutex. */
static int64_t look_again_by(const reeve_worker *worker, int64_t now_ns) {
    int64_t by_ns = reeve__add_sat(now_ns, REEVE__SLOW_POLL_MS * REEVE__MS_NS);
    int64_t outbox_ns = outbox_by(worker);
    if (outbox_ns < by_ns)
        by_ns = outbox_ns;
    int64_t held_ns = reeve__held_look_by(worker);
    if (held_ns < by_ns)
        by_ns = held_ns;
    if (worker->orphans_due && worker->orphans_by_ns < by_ns)
        by_ns = worker->orphans_by_ns;
    int64_t refused_ns = reeve__refused_look_by(worker, now_ns);
    if (refused_ns < by_ns)
        by_ns = refused_ns;
    if (worker->phase == REEVE__PHASE_DRAIN && worker->drain_by_ns < by_ns)
        by_ns = worker->drain_by_ns;
    if (worker->phase == REEVE__PHASE_FLUSH && worker->flush_by_ns < by_ns)
        by_ns = worker->flush_by_ns;
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
    if (worker->offered_count && (phase != REEVE__PHASE_RUN || worker->quiet)) {
        reeve__worker_unlock(worker);
        return REEVE__FETCH_AGAIN; /* it became stale just now */
    }
    if (is_held_off(worker, now_ns)) {
        *out_by_ns = worker->retry_by_ns;
        worker->fetch_waits = true;
        reeve__worker_unlock(worker);
        return REEVE__FETCH_WAIT_WAKE;
    }
    reeve__held_step(worker, now_ns);
    bool low = reeve__held_is_low(worker) || worker->offered_count;
    bool ripe =
        now_ns >= outbox_by(worker) || reeve__refused_is_ripe(worker, now_ns);
    size_t planned = 0;
    if (low || ripe) /* who settles anyway fills up on the way */
        planned = reeve__select_plan(worker->scratch.quotas, &worker->select,
                                     reeve__held_room(worker), now_ns);
    if (!planned && !ripe) {
        *out_by_ns = look_again_by(worker, now_ns);
        worker->fetch_waits = true;
        worker->fetch_low = low;
        reeve__worker_unlock(worker);
        return low ? REEVE__FETCH_WAIT_BELL : REEVE__FETCH_WAIT_WAKE;
    }
    take_outbox(worker, now_ns);
    if (worker->outbox.count)
        worker->outbox_since_ns = now_ns;
    reeve__worker_unlock(worker);
    size_t turn_count = build_turns(worker, planned > 0);
    if (turn_count) /* else all that was ripe belongs to queues that refuse */
        run_turn(worker, turn_count, planned > 0);
    return REEVE__FETCH_AGAIN;
}

/* --- the thread -------------------------------------------------------- */

static void wait_for_wake(reeve_worker *worker, int64_t by_ns) {
    reeve__bell_leave(worker);
    (void)reeve__poll_two(worker->env, worker->fetch_wake.fd, -1, by_ns);
}

void reeve__fetch_run(void *arg) {
    reeve_worker *worker = arg;
    for (;;) {
        int64_t by_ns = 0;
        if (reeve__bell_is_stale(worker))
            reeve__bell_leave(worker);
        int next = reeve__fetch_step(worker, &by_ns);
        if (next == REEVE__FETCH_END)
            break;
        if (next == REEVE__FETCH_AGAIN)
            continue;
        if (next == REEVE__FETCH_WAIT_BELL)
            reeve__bell_wait(worker, by_ns);
        else
            wait_for_wake(worker, by_ns);
        reeve__wakefd_clear(&worker->fetch_wake);
        reeve__lock(&worker->mutex);
        worker->fetch_waits = false;
        reeve__worker_unlock(worker);
    }
    reeve__bell_leave(worker);
    reeve__worker_thread_ends(worker);
}
