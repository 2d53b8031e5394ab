/*
 * A queue whose keys are damaged refuses its half of a turn, for as long as it
 * takes somebody to mend it. It rests, longer and longer, and so do its
 * verdicts; the others go on. Called by the fetcher only.
 */
#include "policy/lease.h"
#include "runtime/worker.h"

bool reeve__refused_alone(const reeve_worker *worker, reeve_rc rc) {
    return rc == REEVE_E_SERVER && worker->queue_count > 1;
}

/* What comes from one that rests already makes the rest no longer. A manual
 * worker's caller decides for himself when to ask again. */
static void begin_rest(reeve_worker *worker, const char *queue, int64_t now_ns,
                       const reeve_error *err) {
    if (now_ns < worker->refused_by_ns)
        return;
    worker->refusals++;
    int64_t delay_ms =
        reeve__reconnect_delay_ms(worker->refusals, reeve__random(worker->env));
    worker->refused_by_ns =
        worker->manual ? INT64_MAX : reeve__by_ns(worker->env, delay_ms);
    reeve__log(worker->env, REEVE_LOG_WARN,
               "worker %s: queue %s is refused and left alone for a while: %s",
               worker->id, queue, err->message);
}

void reeve__refused_note(reeve_worker *worker, size_t turn_count,
                         int64_t now_ns, const reeve_error *err) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    reeve__select *select = &worker->select;
    bool rests = false;
    for (size_t i = 0; i < turn_count; i++) {
        size_t q = scratch->queue_of[i];
        if (scratch->turns[i].answered) {
            if (select->queues[q].rest_until_ns)
                reeve__select_rest(select, q, 0);
            continue;
        }
        begin_rest(worker, worker->queues[q].name, now_ns, err);
        reeve__select_rest(select, q, worker->refused_by_ns);
        scratch->quotas[q] = 0; /* it was not asked, as far as we know */
        worker->orphans_due =
            worker->orphans_due || scratch->turns[i].claim_max > 0;
    }
    for (size_t q = 0; q < worker->queue_count; q++)
        rests = rests || select->queues[q].rest_until_ns;
    if (!rests)
        worker->refusals = 0;
}

/* Nobody waits for one that is given back: it may take for ever. */
void reeve__refused_add(reeve_worker *worker, reeve_delivery *dlv) {
    worker->returning_count -= dlv->returned;
    dlv->returned = false;
    dlv->resent = true;
    reeve__list_push(&worker->refused, dlv);
}

void reeve__refused_retry(reeve_worker *worker, int64_t now_ns) {
    if (worker->refused.count && now_ns >= worker->refused_by_ns)
        reeve__list_prepend(&worker->outbox, &worker->refused);
}

void reeve__refused_end(reeve_worker *worker) {
    worker->refused_by_ns = 0;
    for (size_t q = 0; q < worker->queue_count; q++) {
        if (worker->select.queues[q].rest_until_ns)
            reeve__select_rest(&worker->select, q, 1);
    }
}

int64_t reeve__refused_by(const reeve_worker *worker) {
    return worker->refused.count ? worker->refused_by_ns : INT64_MAX;
}
