/*
 * mem://name: the broker inside one process, for tests of user code and as the
 * oracle of the contract suite. Each verb holds the store's lock from beginning
 * to end; rows are copied and delivered after it. Time is the env's clock of
 * the handle, so a virtual clock moves due times and leases.
 */
#include "base/bytes.h"
#include "broker/check.h"
#include "broker/mem/store.h"
#include "task/id.h"
#include "task/state.h"

#include <string.h>

reeve__mem_broker *reeve__mem_enter(reeve__broker *broker, reeve_rc *rc,
                                    reeve_error *err) {
    if (broker->fork_count != reeve__fork_count()) {
        *rc = reeve__fail(err, REEVE_E_FORKED,
                          "mem handle was opened before a fork");
        return NULL;
    }
    reeve__mem_broker *mem = (reeve__mem_broker *)broker;
    reeve__lock(&mem->store->mutex);
    *rc = REEVE_OK;
    return mem;
}

void reeve__mem_leave(reeve__mem_broker *mem) {
    reeve__unlock(&mem->store->mutex);
}

/* A task that comes after an earlier one with its key, or its own id. */
static void answer_existing(reeve__enqueue_item *item,
                            const reeve__mem_queue *queue, const char *id) {
    size_t size = strlen(id);
    memcpy(item->out_id, id, size + 1);
    reeve__mem_task *task =
        reeve__mem_task_find(queue, (reeve_bytes){ id, size });
    bool later = task && task->state == REEVE_STATE_SCHEDULED;
    item->state = later ? REEVE_STATE_SCHEDULED : REEVE_STATE_PENDING;
    item->out_due_at_ms = later ? task->at_ms : 0;
}

static reeve_rc enqueue_new(reeve__mem_store *store, reeve__mem_queue *queue,
                            reeve__enqueue_item *item, int64_t now_at_ms,
                            reeve_error *err) {
    reeve__mem_task *task =
        reeve__mem_task_new(store, queue, item->id, item->envelope);
    if (!task) {
        return reeve__fail_nomem(err);
    }
    if (item->idempotency_key.size > 0 &&
        !reeve__mem_key_set(
            store, queue, item->idempotency_key, item->id,
            reeve__add_sat(now_at_ms, item->idempotency_ttl_ms))) {
        reeve__mem_task_delete(store, task);
        return reeve__fail_nomem(err);
    }
    int64_t due_at_ms = item->due_at_ms != 0
                            ? item->due_at_ms
                            : reeve__add_sat(now_at_ms, item->delay_ms);
    bool later = due_at_ms > now_at_ms;
    task->priority = item->priority;
    task->since_at_ms = now_at_ms;
    item->state = later ? REEVE_STATE_SCHEDULED : REEVE_STATE_PENDING;
    item->out_due_at_ms = later ? due_at_ms : 0;
    memcpy(item->out_id, task->id, item->id.size + 1);
    reeve__mem_task_move(store, task, item->state, item->out_due_at_ms, false);
    if (!later || reeve__mem_next_due(queue) == task) {
        reeve__mem_ring(store, queue);
    }
    return REEVE_OK;
}

static reeve_rc enqueue_one(reeve__mem_store *store, reeve__enqueue_item *item,
                            int64_t now_at_ms, reeve_error *err) {
    reeve__mem_queue *queue;
    reeve_rc rc = reeve__mem_queue_get(&queue, store, item->queue, err);
    if (rc < 0) {
        return rc;
    }
    item->code = REEVE_OK;
    item->existing = false;
    const char *earlier =
        reeve__mem_key_find(queue, item->idempotency_key, now_at_ms);
    if (earlier) {
        bool ours = reeve__bytes_is(item->id, earlier);
        item->existing = !(ours && item->resent);
        answer_existing(item, queue, earlier);
        return REEVE_OK;
    }
    reeve__mem_task *same = reeve__mem_task_find(queue, item->id);
    if (same) {
        item->code = item->resent ? REEVE_OK : REEVE_E_EXISTS;
        answer_existing(item, queue, same->id);
        return REEVE_OK;
    }
    return enqueue_new(store, queue, item, now_at_ms, err);
}

static reeve_rc mem_enqueue(reeve__broker *broker, reeve__enqueue_item *items,
                            size_t count, reeve_error *err) {
    reeve_rc rc = reeve__enqueue_items_check(items, count, err);
    if (rc < 0) {
        return rc;
    }
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    for (size_t i = 0; i < count && rc == REEVE_OK; i++) {
        rc = enqueue_one(mem->store, &items[i], now_at_ms, err);
    }
    reeve__mem_leave(mem);
    return rc;
}

/* Drops the oldest dead letters beyond the bound. */
static void bound_archive(reeve__mem_store *store, reeve__mem_queue *queue,
                          int64_t bound) {
    while (bound > 0 &&
           reeve__mem_tree_count(queue->states[REEVE_STATE_ARCHIVED]) >
               (size_t)bound) {
        reeve__mem_task_delete(
            store, reeve__mem_task_first(queue, REEVE_STATE_ARCHIVED));
    }
}

static int64_t expiry_of(int64_t now_at_ms, int64_t retention_ms) {
    return retention_ms == REEVE_NEVER
               ? REEVE_NEVER
               : reeve__add_sat(now_at_ms, retention_ms);
}

/* Moves a task whose new bytes are already in place. */
static void settle_move(reeve__mem_store *store, reeve__mem_task *task,
                        const reeve__settle *settle, int64_t now_at_ms) {
    reeve__mem_queue *queue = task->queue;
    int64_t at_ms = 0;
    switch (settle->to_state) {
    case REEVE_STATE_NONE:
        reeve__mem_task_delete(store, task);
        return;
    case REEVE_STATE_COMPLETED:
    case REEVE_STATE_ARCHIVED:
        at_ms = expiry_of(now_at_ms, settle->retention_ms);
        break;
    case REEVE_STATE_PENDING:
        task->since_at_ms = now_at_ms;
        task->priority = settle->priority;
        break;
    default:
        at_ms = reeve__add_sat(now_at_ms, settle->delay_ms);
        task->priority = settle->priority;
        break;
    }
    reeve__mem_task_move(store, task, settle->to_state, at_ms,
                         settle->to_state == REEVE_STATE_PENDING);
    if (settle->to_state == REEVE_STATE_ARCHIVED) {
        bound_archive(store, queue, settle->archive_count);
    } else if (settle->to_state == REEVE_STATE_PENDING ||
               reeve__mem_next_due(queue) == task) {
        reeve__mem_ring(store, queue);
    }
}

static reeve_rc settle_one(reeve__mem_store *store, reeve__mem_queue *queue,
                           reeve__settle *settle, int64_t now_at_ms,
                           reeve_error *err) {
    reeve__mem_task *task =
        queue ? reeve__mem_task_find(queue, settle->id) : NULL;
    if (!task || task->state != REEVE_STATE_ACTIVE ||
        task->token != settle->token) {
        int32_t state = task ? (int32_t)task->state : REEVE_STATE_NONE;
        settle->code = settle->resent && state == settle->to_state
                           ? REEVE_OK
                           : REEVE_E_LEASE_LOST;
        return REEVE_OK;
    }
    if (settle->envelope.size > 0 &&
        !reeve__mem_bytes_set(store, &task->envelope, settle->envelope)) {
        return reeve__fail_nomem(err);
    }
    if (settle->to_state == REEVE_STATE_COMPLETED && settle->has_result) {
        if (!reeve__mem_bytes_set(store, &task->result, settle->result)) {
            return reeve__fail_nomem(err);
        }
        task->has_result = true;
    }
    settle->code = REEVE_OK;
    queue->done_total += settle->done;
    queue->failed_total += settle->failed;
    settle_move(store, task, settle, now_at_ms);
    return REEVE_OK;
}

/* Copies what will be claimed first: running out of memory changes nothing. */
static reeve_rc copy_claims(reeve__rows *rows, const reeve__mem_queue *queue,
                            const reeve__turn *turn, size_t turn_index,
                            reeve_bytes worker, size_t count, int64_t now_at_ms,
                            reeve_error *err) {
    for (size_t i = 0; i < count; i++) {
        const reeve__mem_task *task =
            reeve__mem_tree_at(queue->states[REEVE_STATE_PENDING], i)->owner;
        reeve__row row;
        reeve__mem_task_row(&row, task, now_at_ms);
        row.turn_index = turn_index;
        row.state = REEVE_STATE_ACTIVE;
        row.token = queue->token + 1;
        row.lease_ms = turn->lease_ms;
        row.worker = worker;
        reeve__rows_add(rows, &row);
    }
    return reeve__rows_failed(rows) ? reeve__fail_nomem(err) : REEVE_OK;
}

static void claim_first(reeve__mem_store *store, reeve__mem_queue *queue,
                        const reeve__turn *turn, reeve_bytes worker,
                        int64_t now_at_ms) {
    reeve__mem_task *task = reeve__mem_task_first(queue, REEVE_STATE_PENDING);
    task->token = queue->token;
    task->lease_ms = turn->lease_ms;
    if (worker.size > 0) {
        memcpy(task->worker, worker.data, worker.size);
    }
    task->worker[worker.size] = '\0';
    reeve__mem_task_move(store, task, REEVE_STATE_ACTIVE,
                         reeve__add_sat(now_at_ms, turn->lease_ms), false);
}

/* What the claim left: for the next waiter, or to be told by next due. */
static void claim_rest(reeve__mem_broker *mem, reeve__mem_queue *queue,
                       reeve__turn *turn) {
    if (mem->owed == queue) {
        mem->owed = NULL;
    }
    turn->more = !queue->paused && queue->states[REEVE_STATE_PENDING] != NULL;
    if (turn->claimed < turn->claim_max) {
        reeve__mem_task *due = reeve__mem_next_due(queue);
        turn->next_due_at_ms = due ? due->at_ms : 0;
        queue->bell = false;
    } else if (turn->more) {
        reeve__mem_ring(mem->store, queue);
    }
}

static reeve_rc claim(reeve__mem_broker *mem, reeve__mem_queue *queue,
                      reeve__turn *turn, size_t turn_index, reeve_bytes worker,
                      int64_t now_at_ms, reeve__rows *rows, reeve_error *err) {
    size_t count = reeve__mem_tree_count(queue->states[REEVE_STATE_PENDING]);
    count = queue->paused ? 0 : count;
    count = count < turn->claim_max ? count : turn->claim_max;
    reeve_rc rc = copy_claims(rows, queue, turn, turn_index, worker, count,
                              now_at_ms, err);
    if (rc < 0) {
        return rc;
    }
    queue->token += count > 0;
    for (size_t i = 0; i < count; i++) {
        claim_first(mem->store, queue, turn, worker, now_at_ms);
    }
    turn->claimed = count;
    claim_rest(mem, queue, turn);
    return REEVE_OK;
}

static reeve_rc turn_one(reeve__mem_broker *mem, reeve__turn *turn,
                         size_t turn_index, reeve_bytes worker,
                         reeve__rows *rows, reeve_error *err) {
    int64_t now_at_ms = reeve__now_at_ms(mem->base.env);
    reeve__mem_queue *queue = reeve__mem_queue_find(mem->store, turn->queue);
    turn->claimed = 0;
    turn->more = false;
    turn->paused = queue && queue->paused;
    turn->next_due_at_ms = 0;
    for (size_t i = 0; i < turn->settle_count; i++) {
        reeve_rc rc =
            settle_one(mem->store, queue, &turn->settles[i], now_at_ms, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (!queue || turn->claim_max == 0) {
        return REEVE_OK;
    }
    return claim(mem, queue, turn, turn_index, worker, now_at_ms, rows, err);
}

static reeve_rc mem_turn(reeve__broker *broker, reeve__turn *turns,
                         size_t count, reeve_bytes worker,
                         reeve__row_fn on_claim, void *ctx, reeve_error *err) {
    reeve_rc rc = reeve__turns_check(turns, count, worker, err);
    if (rc < 0) {
        return rc;
    }
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__rows rows;
    reeve__rows_init(&rows, broker->env);
    for (size_t i = 0; i < count && rc == REEVE_OK; i++) {
        rc = turn_one(mem, &turns[i], i, worker, &rows, err);
    }
    reeve__mem_leave(mem);
    if (rc == REEVE_OK) {
        rc = reeve__rows_deliver(&rows, on_claim, ctx, err);
    }
    reeve__rows_dispose(&rows);
    return rc;
}

static reeve_rc mem_now(reeve__broker *broker, int64_t *out_at_ms,
                        reeve_error *err) {
    if (broker->fork_count != reeve__fork_count()) {
        return reeve__fail(err, REEVE_E_FORKED,
                           "mem handle was opened before a fork");
    }
    *out_at_ms = reeve__now_at_ms(broker->env);
    return REEVE_OK;
}

static void mem_close(reeve__broker *broker) {
    reeve__mem_broker *mem = (reeve__mem_broker *)broker;
    /* After a fork the store belongs to threads that are not here. */
    if (broker->fork_count == reeve__fork_count()) {
        reeve__lock(&mem->store->mutex);
        reeve__mem_broker **at = &mem->store->handles;
        while (*at != mem) {
            at = &(*at)->next;
        }
        *at = mem->next;
        if (mem->owed) {
            reeve__mem_ring(mem->store, mem->owed);
        }
        reeve__unlock(&mem->store->mutex);
        reeve__mem_store_give(mem->store);
    }
    reeve__wakefd_close(&mem->wake);
    reeve_env *env = broker->env;
    reeve__free(env, mem);
    reeve_env_free(env);
}

static const reeve__broker_ops mem_ops = {
    .name = "mem",
    .caps = 0,
    .close = mem_close,
    .enqueue = mem_enqueue,
    .turn = mem_turn,
    .extend = reeve__mem_extend,
    .promote = reeve__mem_promote,
    .reclaim = reeve__mem_reclaim,
    .sweep = reeve__mem_sweep,
    .beat = reeve__mem_beat,
    .watch = reeve__mem_watch,
    .tell = reeve__mem_tell,
    .wait = reeve__mem_wait,
    .unwait = reeve__mem_unwait,
    .queues = reeve__mem_queues,
    .list = reeve__mem_list,
    .find = reeve__mem_find,
    .act = reeve__mem_act,
    .pause = reeve__mem_pause,
    .drop = reeve__mem_drop,
    .workers = reeve__mem_workers,
    .set_weight = reeve__mem_set_weight,
    .weights = reeve__mem_weights,
    .now = mem_now,
};

reeve_rc reeve__mem_url_check(const char *url, reeve_error *err) {
    if (strpbrk(url, "?#")) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "a mem:// url takes no options: %.100s", url);
    }
    return REEVE_OK;
}

reeve_rc reeve__mem_open(reeve__broker **out, reeve_env *env,
                         const reeve__broker_options *options,
                         reeve_error *err) {
    *out = NULL;
    reeve_rc rc = reeve__mem_url_check(options->url, err);
    if (rc < 0) {
        return rc;
    }
    reeve__mem_broker *mem = reeve__calloc(env, 1, sizeof(*mem));
    if (!mem) {
        return reeve__fail_nomem(err);
    }
    rc = reeve__wakefd_open(&mem->wake, err);
    if (rc < 0) {
        reeve__free(env, mem);
        return rc;
    }
    const char *name = options->url + strlen("mem://");
    rc = reeve__mem_store_take(&mem->store, env, name, err);
    if (rc < 0) {
        reeve__wakefd_close(&mem->wake);
        reeve__free(env, mem);
        return rc;
    }
    mem->base.ops = &mem_ops;
    mem->base.env = reeve__env_ref(env);
    mem->base.fork_count = reeve__fork_count();
    mem->rung = -1;
    reeve__lock(&mem->store->mutex);
    mem->next = mem->store->handles;
    mem->store->handles = mem;
    reeve__unlock(&mem->store->mutex);
    *out = &mem->base;
    return REEVE_OK;
}
