/*
 * The choice among queues and the spans around leases, for event loops of
 * others: policy/select and policy/lease with memory, clock and chance.
 */
#include <reeve/sys/job.h>

#include "base/env.h"
#include "base/error.h"
#include "policy/lease.h"
#include "policy/select.h"

#define AGEING_MS_DEFAULT 1000
#define WEIGHT_MAX 1000

struct reeve_picker {
    reeve_env *env; /* referenced */
    reeve__select select;
    reeve__select_queue queues[REEVE__SELECT_QUEUES_MAX];
    size_t quotas[REEVE__SELECT_QUEUES_MAX];
};

static int64_t ageing_ns(int64_t ageing_ms) {
    if (ageing_ms == REEVE_NEVER)
        return INT64_MAX;
    return reeve__mul_sat(ageing_ms ? ageing_ms : AGEING_MS_DEFAULT,
                          REEVE__MS_NS);
}

static reeve_rc check(const reeve_worker_queue *queues, size_t count,
                      int32_t order, int64_t ageing_ms, reeve_error *err) {
    if (count < 1 || count > REEVE__SELECT_QUEUES_MAX)
        return reeve__fail(err, REEVE_E_INVALID, "count is %zu, not 1 to %d",
                           count, REEVE__SELECT_QUEUES_MAX);
    if (order != REEVE_ORDER_WEIGHTED && order != REEVE_ORDER_STRICT)
        return reeve__fail(err, REEVE_E_INVALID, "order %d is not known",
                           (int)order);
    if (ageing_ms < REEVE_NEVER)
        return reeve__fail(err, REEVE_E_INVALID,
                           "ageing_ms is %lld, not -1 "
                           "or more",
                           (long long)ageing_ms);
    for (size_t i = 0; i < count; i++) {
        if (queues[i].weight < 0 || queues[i].weight > WEIGHT_MAX)
            return reeve__fail(err, REEVE_E_INVALID,
                               "weight of queue %zu is %d, not 1 to %d", i,
                               (int)queues[i].weight, WEIGHT_MAX);
    }
    return 0;
}

reeve_rc reeve_picker_new(reeve_picker **out, reeve_env *env,
                          const reeve_worker_queue *queues, size_t count,
                          int32_t order, int64_t ageing_ms, reeve_error *err) {
    *out = NULL;
    reeve_rc rc = check(queues, count, order, ageing_ms, err);
    if (rc)
        return rc;
    reeve_picker *picker = reeve__calloc(env, 1, sizeof *picker);
    if (!picker)
        return reeve__fail_nomem(err);
    picker->env = reeve__env_ref(env);
    picker->select = (reeve__select){
        .order = order,
        .ageing_ns = ageing_ns(ageing_ms),
        .queues = picker->queues,
        .queue_count = count,
    };
    for (size_t i = 0; i < count; i++)
        picker->queues[i].weight = queues[i].weight ? queues[i].weight : 1;
    *out = picker;
    return 0;
}

void reeve_picker_free(reeve_picker *picker) {
    if (!picker)
        return;
    reeve_env *env = picker->env;
    reeve__free(env, picker);
    reeve_env_free(env);
}

size_t reeve_picker_plan(const size_t **quotas, reeve_picker *picker,
                         size_t slots) {
    *quotas = picker->quotas;
    if (slots > REEVE__SELECT_SLOTS_MAX)
        slots = REEVE__SELECT_SLOTS_MAX;
    return reeve__select_plan(picker->quotas, &picker->select, slots,
                              reeve__mono_ns(picker->env));
}

void reeve_picker_book(reeve_picker *picker, const size_t *taken) {
    reeve__select_book(&picker->select, picker->quotas, taken,
                       reeve__mono_ns(picker->env));
}

void reeve_picker_wake(reeve_picker *picker, size_t index) {
    if (index < picker->select.queue_count)
        reeve__select_wake(&picker->select, index);
}

int64_t reeve_picker_wait_ms(const reeve_picker *picker) {
    int64_t next_ns = reeve__select_next_ns(&picker->select);
    if (next_ns == INT64_MAX)
        return REEVE_NEVER;
    int64_t left_ns = next_ns - reeve__mono_ns(picker->env);
    return left_ns <= 0 ? 0 : left_ns / REEVE__MS_NS + 1;
}

int64_t reeve_lease_extend_ms(int64_t lease_ms) {
    return reeve__lease_extend_after_ms(lease_ms);
}

int64_t reeve_lease_reclaim_ms(int64_t lease_ms) {
    return reeve__lease_reclaim_every_ms(lease_ms);
}

int64_t reeve_reconnect_ms(int32_t attempt, reeve_env *env) {
    return reeve__reconnect_delay_ms(attempt, reeve__random(env));
}
