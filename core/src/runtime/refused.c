/*
 * A queue whose keys are damaged refuses its half of a turn, for as long as it
 * takes somebody to mend it. It rests, longer and longer; its verdicts wait in a
 * list of their own, and nothing is claimed from it while some do, or while
 * claims that it made unseen have not been handed back. The other queues go on.
 * Called by the fetcher only. See docs/decisions/0108-a-refused-queue-rests.md.
 */
#include <string.h>

#include "policy/lease.h"
#include "runtime/worker.h"

/* So many verdicts find out whether a queue takes them again. */
#define PROBE_COUNT 64
/* One queue's refusals are told of once in this. */
#define LOG_EVERY_MS 1000

bool reeve__refused_alone(const reeve_worker *worker, reeve_rc rc) {
    return rc == REEVE_E_SERVER && worker->queue_count > 1;
}

bool reeve__refused_rests(const reeve__worker_queue *queue, int64_t now_ns) {
    return queue->refusals && now_ns < queue->rest_by_ns;
}

/* --- the state of a queue ------------------------------------------------ */

void reeve__refused_plan(reeve_worker *worker, size_t index) {
    const reeve__worker_queue *queue = &worker->queues[index];
    int64_t until_ns = 0;
    if (queue->refusals)
        until_ns = queue->refused_count || queue->orphans_due
                       ? INT64_MAX
                       : queue->rest_by_ns;
    if (worker->select.queues[index].rest_until_ns != until_ns)
        reeve__select_rest(&worker->select, index, until_ns);
}

void reeve__refused_begin(reeve_worker *worker, size_t index, int64_t now_ns,
                          const reeve_error *err) {
    reeve__worker_queue *queue = &worker->queues[index];
    worker->unwell_count += queue->refusals == 0;
    worker->refused_seen = true;
    queue->refusals++;
    int64_t delay_ms =
        reeve__reconnect_delay_ms(queue->refusals, reeve__random(worker->env));
    /* A manual worker's caller decides for himself when to ask again. */
    queue->rest_by_ns =
        worker->manual ? INT64_MAX : reeve__by_ns(worker->env, delay_ms);
    reeve__refused_plan(worker, index);
    if (now_ns < queue->rest_log_by_ns)
        return;
    queue->rest_log_by_ns = reeve__by_ns(worker->env, LOG_EVERY_MS);
    reeve__log(worker->env, REEVE_LOG_WARN,
               "worker %s: queue %s refuses and is left alone for a while: %s",
               worker->id, queue->name, err->message);
}

static void end_rest(reeve_worker *worker, size_t index) {
    reeve__worker_queue *queue = &worker->queues[index];
    if (!queue->refusals)
        return;
    queue->refusals = 0;
    worker->unwell_count--;
    reeve__refused_plan(worker, index);
}

void reeve__refused_note(reeve_worker *worker, size_t turn_count,
                         int64_t now_ns, const reeve_error *err) {
    reeve__fetch_scratch *scratch = &worker->scratch;
    for (size_t i = 0; i < turn_count; i++) {
        size_t q = scratch->queue_of[i];
        if (scratch->turns[i].answered) {
            end_rest(worker, q);
            continue;
        }
        if (scratch->turns[i].claim_max)
            worker->orphans_due = worker->queues[q].orphans_due = true;
        scratch->quotas[q] = 0; /* it was not asked, as far as we know */
        reeve__refused_begin(worker, q, now_ns, err);
    }
}

void reeve__refused_ask_again(reeve_worker *worker, int64_t now_ns) {
    worker->refused_seen = false;
    for (size_t q = 0; q < worker->queue_count && worker->unwell_count; q++) {
        worker->queues[q].rest_by_ns = now_ns;
        reeve__refused_plan(worker, q);
    }
}

int64_t reeve__refused_look_by(const reeve_worker *worker, int64_t now_ns) {
    int64_t by_ns = INT64_MAX;
    for (size_t q = 0; q < worker->queue_count && worker->unwell_count; q++) {
        const reeve__worker_queue *queue = &worker->queues[q];
        if (reeve__refused_rests(queue, now_ns) && queue->rest_by_ns < by_ns)
            by_ns = queue->rest_by_ns;
    }
    return by_ns;
}

/* --- its verdicts -------------------------------------------------------- */

/* Nobody waits for one that is given back: it may take for ever. */
static void lay_by(reeve_worker *worker, reeve_delivery *dlv) {
    worker->returning_count -= dlv->returned;
    dlv->returned = false;
    worker->queues[dlv->queue_index].refused_count++;
}

void reeve__refused_put_back(reeve_worker *worker, reeve__delivery_list *list) {
    for (reeve_delivery *dlv = list->first; dlv; dlv = dlv->next) {
        dlv->resent = true;
        lay_by(worker, dlv);
    }
    reeve__list_prepend(&worker->refused, list);
}

bool reeve__refused_keep(reeve_worker *worker, reeve_delivery *dlv,
                         int64_t now_ns) {
    const reeve__worker_queue *queue = &worker->queues[dlv->queue_index];
    if (!queue->refused_count && !reeve__refused_rests(queue, now_ns))
        return false;
    lay_by(worker, dlv);
    reeve__list_push(&worker->refused, dlv);
    return true;
}

bool reeve__refused_is_ripe(const reeve_worker *worker, int64_t now_ns) {
    for (size_t q = 0; q < worker->queue_count && worker->refused.count; q++) {
        const reeve__worker_queue *queue = &worker->queues[q];
        if (queue->refused_count && !reeve__refused_rests(queue, now_ns))
            return true;
    }
    return false;
}

void reeve__refused_take(reeve__delivery_list *out, reeve_worker *worker,
                         int64_t now_ns) {
    if (!reeve__refused_is_ripe(worker, now_ns))
        return;
    size_t *taken = worker->scratch.taken;
    memset(taken, 0, worker->queue_count * sizeof *taken);
    reeve__delivery_list all = worker->refused;
    worker->refused = (reeve__delivery_list){ 0 };
    reeve_delivery *dlv;
    while ((dlv = reeve__list_pop(&all)) != NULL) {
        size_t q = dlv->queue_index;
        reeve__worker_queue *queue = &worker->queues[q];
        size_t most = queue->refusals ? PROBE_COUNT : REEVE__SEND_MAX;
        if (reeve__refused_rests(queue, now_ns) || taken[q] == most ||
            out->count == REEVE__SEND_MAX) {
            taken[q] = most; /* what comes after it waits, too */
            reeve__list_push(&worker->refused, dlv);
            continue;
        }
        taken[q]++;
        queue->refused_count--;
        reeve__list_push(out, dlv);
    }
}
