/*
 * A broker that misbehaves on demand; see fake_broker.h.
 */
#include "fake_broker.h"

#include <string.h>

typedef struct fake_broker {
    reeve__broker base;
    reeve__broker *inner;
    fake_plan *plan;
} fake_broker;

static fake_plan *current;

void fake_plan_init(fake_plan *plan) {
    memset(plan, 0, sizeof *plan);
    (void)reeve__mutex_init(&plan->mutex, NULL);
    (void)reeve__cond_init(&plan->moved, NULL);
}

void fake_plan_dispose(fake_plan *plan) {
    reeve__cond_dispose(&plan->moved);
    reeve__mutex_dispose(&plan->mutex);
}

static void set_fault(fake_plan *plan, int verb, fake_fault fault) {
    reeve__lock(&plan->mutex);
    plan->faults[verb] = fault;
    reeve__broadcast(&plan->moved);
    reeve__unlock(&plan->mutex);
}

void fake_fail(fake_plan *plan, int verb, reeve_rc code, int calls) {
    set_fault(plan, verb, (fake_fault){ .calls = calls, .code = code });
}

void fake_lose_reply(fake_plan *plan, int verb, size_t rows) {
    set_fault(
        plan, verb,
        (fake_fault){
            .calls = 1, .code = REEVE_E_NET, .applied = true, .rows = rows });
}

void fake_hold(fake_plan *plan, int verb) {
    set_fault(plan, verb, (fake_fault){ .held = true });
}

void fake_release(fake_plan *plan, int verb) {
    set_fault(plan, verb, (fake_fault){ 0 });
}

int fake_calls(fake_plan *plan, int verb) {
    reeve__lock(&plan->mutex);
    int calls = plan->calls[verb];
    reeve__unlock(&plan->mutex);
    return calls;
}

void fake_await(fake_plan *plan, int verb, int calls) {
    reeve__lock(&plan->mutex);
    while (plan->calls[verb] < calls)
        reeve__wait(&plan->moved, &plan->mutex);
    reeve__unlock(&plan->mutex);
}

/* A call begins: counts it, waits while held, takes its fault. */
static fake_fault begin(const fake_broker *fake, int verb) {
    fake_plan *plan = fake->plan;
    reeve__lock(&plan->mutex);
    plan->calls[verb]++;
    reeve__broadcast(&plan->moved);
    while (plan->faults[verb].held)
        reeve__wait(&plan->moved, &plan->mutex);
    fake_fault fault = { 0 };
    if (plan->faults[verb].calls) {
        fault = plan->faults[verb];
        plan->faults[verb].calls -= fault.calls > 0;
    }
    reeve__unlock(&plan->mutex);
    return fault;
}

static reeve_rc fail(const fake_fault *fault, reeve_error *err) {
    return reeve__fail(err, fault->code, "a scripted fault");
}

static const fake_broker *fake_of(const reeve__broker *broker) {
    return (const fake_broker *)broker;
}

/* Lets the first rows through. */
typedef struct narrow {
    reeve__row_fn on_row;
    void *ctx;
    size_t left;
} narrow;

static reeve_rc on_narrow(void *ctx, const reeve__row *row, reeve_error *err) {
    narrow *n = ctx;
    if (!n->left)
        return 0;
    n->left--;
    return n->on_row(n->ctx, row, err);
}

static void count_last(fake_plan *plan, const reeve__turn *turns,
                       size_t count) {
    reeve__lock(&plan->mutex);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < turns[i].settle_count; k++)
            plan->last_count += turns[i].settles[k].last_of_token;
    }
    reeve__unlock(&plan->mutex);
}

static void fake_close(reeve__broker *broker) {
    fake_broker *fake = (fake_broker *)broker;
    reeve_env *env = broker->env;
    reeve__broker_close(fake->inner);
    reeve__free(env, fake);
    reeve_env_free(env);
}

static reeve_rc fake_enqueue(reeve__broker *broker, reeve__enqueue_item *items,
                             size_t count, reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_ENQUEUE);
    return fault.code
               ? fail(&fault, err)
               : fake->inner->ops->enqueue(fake->inner, items, count, err);
}

static bool is_refused(const fake_plan *plan, reeve_bytes queue) {
    const char *name = atomic_load(&plan->refused);
    return name && queue.size == strlen(name) &&
           !memcmp(queue.data, name, queue.size);
}

static reeve_rc refuse(reeve_error *err) {
    return reeve__fail(err, REEVE_E_SERVER, "a queue is refused");
}

/* Numbers the rows of one turn as those of its place among all. */
typedef struct placed {
    reeve__row_fn on_row;
    void *ctx;
    size_t index;
} placed;

static reeve_rc on_placed(void *ctx, const reeve__row *row, reeve_error *err) {
    placed *p = ctx;
    reeve__row copy = *row;
    copy.turn_index = p->index;
    return p->on_row(p->ctx, &copy, err);
}

/* As redis does when one queue's keys are damaged: the others' halves hold. */
static reeve_rc turn_but_refused(const fake_broker *fake, reeve__turn *turns,
                                 size_t count, reeve_bytes worker,
                                 reeve__row_fn on_claim, void *ctx,
                                 reeve_error *err) {
    reeve_rc first = 0;
    for (size_t i = 0; i < count; i++) {
        bool refused = is_refused(fake->plan, turns[i].queue);
        bool only_verdicts = atomic_load(&fake->plan->only_verdicts);
        reeve__turn half = turns[i];
        if (refused && only_verdicts)
            half.settle_count = 0;
        placed rows = { on_claim, ctx, i };
        reeve_rc rc = 0;
        turns[i].claimed = 0;
        if (!refused || only_verdicts) {
            rc = fake->inner->ops->turn(fake->inner, &half, 1, worker,
                                        on_placed, &rows, err);
            turns[i].claimed = half.claimed;
            turns[i].more = half.more;
        }
        turns[i].answered =
            !refused || (only_verdicts && !turns[i].settle_count);
        count_last(fake->plan, &turns[i], turns[i].answered);
        if (!turns[i].answered)
            rc = refuse(err);
        first = first ? first : rc;
    }
    return first ? refuse(err) : 0;
}

static reeve_rc fake_turn(reeve__broker *broker, reeve__turn *turns,
                          size_t count, reeve_bytes worker,
                          reeve__row_fn on_claim, void *ctx, reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_TURN);
    if (fault.code && !fault.applied)
        return fail(&fault, err);
    if (atomic_load(&fake->plan->refused))
        return turn_but_refused(fake, turns, count, worker, on_claim, ctx, err);
    narrow rows = { on_claim, ctx, fault.applied ? fault.rows : SIZE_MAX };
    reeve_rc rc = fake->inner->ops->turn(fake->inner, turns, count, worker,
                                         on_narrow, &rows, err);
    count_last(fake->plan, turns, count);
    return fault.code ? fail(&fault, err) : rc;
}

static reeve_rc fake_extend(reeve__broker *broker, reeve__lease_ref *refs,
                            size_t count, int64_t lease_ms, reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_EXTEND);
    if (fault.code)
        return fail(&fault, err);
    reeve_rc rc =
        fake->inner->ops->extend(fake->inner, refs, count, lease_ms, err);
    for (size_t i = 0; i < count && atomic_load(&fake->plan->leases_lost); i++)
        refs[i].lost = true;
    return rc;
}

static reeve_rc fake_promote(reeve__broker *broker, reeve_bytes queue,
                             size_t max, size_t *out_moved,
                             int64_t *out_next_due_at_ms, reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_PROMOTE);
    return fault.code
               ? fail(&fault, err)
               : fake->inner->ops->promote(fake->inner, queue, max, out_moved,
                                           out_next_due_at_ms, err);
}

static reeve_rc fake_reclaim(reeve__broker *broker, reeve_bytes queue,
                             reeve_bytes worker, size_t max,
                             reeve__row_fn on_row, void *ctx,
                             int64_t *out_next_at_ms, reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_RECLAIM);
    if (is_refused(fake->plan, queue))
        return refuse(err);
    return fault.code
               ? fail(&fault, err)
               : fake->inner->ops->reclaim(fake->inner, queue, worker, max,
                                           on_row, ctx, out_next_at_ms, err);
}

static reeve_rc fake_sweep(reeve__broker *broker, reeve_bytes queue, size_t max,
                           size_t *out_removed, reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_SWEEP);
    return fault.code ? fail(&fault, err)
                      : fake->inner->ops->sweep(fake->inner, queue, max,
                                                out_removed, err);
}

static reeve_rc fake_beat(reeve__broker *broker, const reeve_worker_info *info,
                          bool gone, reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_BEAT);
    return fault.code ? fail(&fault, err)
                      : fake->inner->ops->beat(fake->inner, info, gone, err);
}

static reeve_rc fake_watch(reeve__broker *broker, reeve_bytes worker,
                           int wake_fd, int64_t by_ns, int32_t *out,
                           reeve_error *err) {
    reeve__broker *inner = fake_of(broker)->inner;
    return inner->ops->watch(inner, worker, wake_fd, by_ns, out, err);
}

static reeve_rc fake_wait(reeve__broker *broker, const reeve_bytes *queues,
                          size_t count, int wake_fd, int64_t by_ns,
                          ptrdiff_t *out_index, reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_WAIT);
    for (size_t i = 0; i < count; i++)
        atomic_fetch_add(&fake->plan->refused_waits,
                         is_refused(fake->plan, queues[i]));
    return fault.code ? fail(&fault, err)
                      : fake->inner->ops->wait(fake->inner, queues, count,
                                               wake_fd, by_ns, out_index, err);
}

static reeve_rc fake_unwait(reeve__broker *broker, reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_UNWAIT);
    return fault.code ? fail(&fault, err)
                      : fake->inner->ops->unwait(fake->inner, err);
}

static reeve_rc fake_workers(reeve__broker *broker, reeve__worker_fn on_worker,
                             void *ctx, reeve_error *err) {
    reeve__broker *inner = fake_of(broker)->inner;
    return inner->ops->workers(inner, on_worker, ctx, err);
}

static reeve_rc fake_weights(reeve__broker *broker, reeve__weight_fn on_weight,
                             void *ctx, reeve_error *err) {
    reeve__broker *inner = fake_of(broker)->inner;
    return inner->ops->weights(inner, on_weight, ctx, err);
}

static reeve_rc fake_now(reeve__broker *broker, int64_t *out_at_ms,
                         reeve_error *err) {
    const fake_broker *fake = fake_of(broker);
    fake_fault fault = begin(fake, FAKE_NOW);
    if (fault.code)
        return fail(&fault, err);
    reeve_rc rc = fake->inner->ops->now(fake->inner, out_at_ms, err);
    *out_at_ms -= atomic_load(&fake->plan->clock_lag_ms);
    return rc;
}

static const reeve__broker_ops fake_ops = {
    .name = "fake",
    .close = fake_close,
    .enqueue = fake_enqueue,
    .turn = fake_turn,
    .extend = fake_extend,
    .promote = fake_promote,
    .reclaim = fake_reclaim,
    .sweep = fake_sweep,
    .beat = fake_beat,
    .watch = fake_watch,
    .wait = fake_wait,
    .unwait = fake_unwait,
    .workers = fake_workers,
    .weights = fake_weights,
    .now = fake_now,
};

reeve__broker *fake_wrap(fake_plan *plan, reeve__broker *inner) {
    fake_broker *fake = reeve__calloc(inner->env, 1, sizeof *fake);
    if (!fake)
        return NULL;
    fake->base = (reeve__broker){
        .ops = &fake_ops,
        .env = reeve__env_ref(inner->env),
        .fork_count = inner->fork_count,
    };
    fake->inner = inner;
    fake->plan = plan;
    current = plan;
    return &fake->base;
}

reeve_rc fake_open(reeve__broker **out, reeve_env *env,
                   const reeve__broker_options *options, reeve_error *err) {
    reeve__broker *inner = NULL;
    reeve_rc rc = reeve__broker_open(&inner, env, options, err);
    if (rc)
        return rc;
    *out = fake_wrap(current, inner);
    if (*out)
        return 0;
    reeve__broker_close(inner);
    return reeve__fail_nomem(err);
}
