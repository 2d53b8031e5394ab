/*
 * The operator's verbs of mem://, worker beats and central weights.
 */
#include "broker/mem/store.h"

#include "base/bytes.h"
#include "broker/check.h"

#include <string.h>

static int64_t latency_of(const reeve__mem_queue *queue, int64_t now_at_ms) {
    reeve__mem_node *root = queue->states[REEVE_STATE_PENDING];
    int64_t oldest_at_ms = now_at_ms;
    for (size_t i = 0; i < reeve__mem_tree_count(root); i++) {
        const reeve__mem_task *task = reeve__mem_tree_at(root, i)->owner;
        if (task->since_at_ms < oldest_at_ms) {
            oldest_at_ms = task->since_at_ms;
        }
    }
    return now_at_ms - oldest_at_ms;
}

static int64_t size_of(const reeve__mem_queue *queue) {
    size_t bytes = 0;
    for (int32_t state = 0; state < REEVE__MEM_STATES; state++) {
        reeve__mem_node *root = queue->states[state];
        for (size_t i = 0; i < reeve__mem_tree_count(root); i++) {
            const reeve__mem_task *task = reeve__mem_tree_at(root, i)->owner;
            bytes += sizeof(*task) + task->envelope.size + task->result.size;
        }
    }
    return (int64_t)bytes;
}

static void fill_info(reeve_queue_info *out, const reeve__mem_queue *queue,
                      int64_t now_at_ms) {
    int64_t counts[REEVE__MEM_STATES];
    for (int32_t state = 0; state < REEVE__MEM_STATES; state++) {
        counts[state] = (int64_t)reeve__mem_tree_count(queue->states[state]);
    }
    *out = (reeve_queue_info){
        .name = queue->by_name.key,
        .pending = counts[REEVE_STATE_PENDING],
        .active = counts[REEVE_STATE_ACTIVE],
        .scheduled = counts[REEVE_STATE_SCHEDULED],
        .retry = counts[REEVE_STATE_RETRY],
        .completed = counts[REEVE_STATE_COMPLETED],
        .archived = counts[REEVE_STATE_ARCHIVED],
        .done_total = queue->done_total,
        .failed_total = queue->failed_total,
        .latency_ms = latency_of(queue, now_at_ms),
        .size_bytes = size_of(queue),
        .paused = queue->paused,
        .weight = queue->weight,
    };
}

/* Queues live as long as the store: their names may be used unlocked. */
reeve_rc reeve__mem_queues(reeve__broker *broker, reeve__queue_fn on_queue,
                           void *ctx, reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__mem_queue *queue = mem->store->first_queue;
    while (queue && rc == REEVE_OK) {
        reeve_queue_info info;
        if (!queue->dropped) {
            fill_info(&info, queue, reeve__now_at_ms(broker->env));
            reeve__mem_leave(mem);
            rc = on_queue(ctx, &info, err);
            reeve__lock(&mem->store->mutex);
        }
        queue = queue->next;
    }
    reeve__mem_leave(mem);
    return rc;
}

reeve_rc reeve__mem_list(reeve__broker *broker, reeve_bytes name, int32_t state,
                         uint64_t cursor, size_t limit, uint64_t *out_cursor,
                         reeve__row_fn on_row, void *ctx, reeve_error *err) {
    reeve_rc rc;
    *out_cursor = 0;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__rows rows;
    reeve__rows_init(&rows, broker->env);
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    reeve__mem_queue *queue = reeve__mem_queue_find(mem->store, name);
    bool known = state > REEVE_STATE_NONE && state < REEVE__MEM_STATES;
    reeve__mem_node *root = queue && known ? queue->states[state] : NULL;
    uint64_t total = reeve__mem_tree_count(root);
    for (; cursor < total && limit > 0; cursor++, limit--) {
        reeve__row row;
        reeve__mem_task_row(
            &row, reeve__mem_tree_at(root, (size_t)cursor)->owner, now_at_ms);
        reeve__rows_add(&rows, &row);
    }
    reeve__mem_leave(mem);
    *out_cursor = cursor < total ? cursor : 0;
    rc = reeve__rows_failed(&rows)
             ? reeve__fail_nomem(err)
             : reeve__rows_deliver(&rows, on_row, ctx, err);
    reeve__rows_dispose(&rows);
    return rc;
}

reeve_rc reeve__mem_find(reeve__broker *broker, reeve_bytes name,
                         reeve_bytes id, reeve__row_fn on_row, void *ctx,
                         reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__rows rows;
    reeve__rows_init(&rows, broker->env);
    reeve__mem_queue *queue = reeve__mem_queue_find(mem->store, name);
    reeve__mem_task *task = queue ? reeve__mem_task_find(queue, id) : NULL;
    if (task) {
        reeve__row row;
        reeve__mem_task_row(&row, task, reeve__now_at_ms(broker->env));
        reeve__rows_add(&rows, &row);
    }
    reeve__mem_leave(mem);
    rc = reeve__rows_failed(&rows)
             ? reeve__fail_nomem(err)
             : reeve__rows_deliver(&rows, on_row, ctx, err);
    reeve__rows_dispose(&rows);
    return rc;
}

static reeve_rc act_one(reeve__mem_store *store, reeve__act *act,
                        int64_t now_at_ms, reeve_error *err) {
    reeve__mem_queue *queue = reeve__mem_queue_find(store, act->queue);
    reeve__mem_task *task = queue ? reeve__mem_task_find(queue, act->id) : NULL;
    int32_t to_state;
    if (!task) {
        act->code = REEVE_E_NOT_FOUND;
        return REEVE_OK;
    }
    if (task->state != act->from_state ||
        !reeve__act_target(&to_state, act->action, task->state)) {
        act->code = REEVE_E_STATE;
        return REEVE_OK;
    }
    act->code = REEVE_OK;
    if (to_state == REEVE_STATE_NONE) {
        reeve__mem_task_delete(store, task);
        return REEVE_OK;
    }
    if (act->envelope.size > 0 &&
        !reeve__mem_bytes_set(store, &task->envelope, act->envelope)) {
        return reeve__fail_nomem(err);
    }
    reeve__mem_bytes_set(store, &task->result, (reeve_bytes){ NULL, 0 });
    task->has_result = false;
    task->priority = act->priority;
    task->since_at_ms = now_at_ms;
    int64_t at_ms = 0;
    if (to_state == REEVE_STATE_ARCHIVED) {
        at_ms = act->retention_ms == REEVE_NEVER
                    ? REEVE_NEVER
                    : reeve__add_sat(now_at_ms, act->retention_ms);
    }
    reeve__mem_task_move(store, task, to_state, at_ms, false);
    if (to_state == REEVE_STATE_PENDING) {
        reeve__mem_ring(store, queue);
    }
    return REEVE_OK;
}

reeve_rc reeve__mem_act(reeve__broker *broker, reeve__act *acts, size_t count,
                        reeve_error *err) {
    reeve_rc rc = reeve__acts_check(acts, count, err);
    if (rc < 0) {
        return rc;
    }
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    for (size_t i = 0; i < count && rc == REEVE_OK; i++) {
        rc = act_one(mem->store, &acts[i], now_at_ms, err);
    }
    reeve__mem_leave(mem);
    return rc;
}

reeve_rc reeve__mem_pause(reeve__broker *broker, reeve_bytes name, bool paused,
                          reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__mem_queue *queue;
    rc = reeve__mem_queue_get(&queue, mem->store, name, err);
    if (rc == REEVE_OK) {
        queue->paused = paused;
        if (!paused && queue->states[REEVE_STATE_PENDING]) {
            reeve__mem_ring(mem->store, queue);
        }
    }
    reeve__mem_leave(mem);
    return rc;
}

static bool has_tasks(const reeve__mem_queue *queue) {
    for (int32_t state = 0; state < REEVE__MEM_STATES; state++) {
        if (queue->states[state]) {
            return true;
        }
    }
    return false;
}

/* Its memory stays: waiters and lists may point to it. */
reeve_rc reeve__mem_drop(reeve__broker *broker, reeve_bytes name,
                         reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__mem_queue *queue = reeve__mem_queue_find(mem->store, name);
    if (!queue || queue->dropped) {
        rc = reeve__drop_fail(REEVE_E_NOT_FOUND, name, err);
    } else if (has_tasks(queue)) {
        rc = reeve__drop_fail(REEVE_E_STATE, name, err);
    } else {
        queue->dropped = true;
        queue->paused = false;
        queue->weight = 0;
        queue->done_total = queue->failed_total = 0;
    }
    reeve__mem_leave(mem);
    return rc;
}

reeve_rc reeve__mem_set_weight(reeve__broker *broker, reeve_bytes name,
                               int32_t weight, reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__mem_queue *queue;
    rc = reeve__mem_queue_get(&queue, mem->store, name, err);
    if (rc == REEVE_OK) {
        queue->weight = weight;
    }
    reeve__mem_leave(mem);
    return rc;
}

reeve_rc reeve__mem_weights(reeve__broker *broker, reeve__weight_fn on_weight,
                            void *ctx, reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__mem_queue *queue = mem->store->first_queue;
    while (queue && rc == REEVE_OK) {
        int32_t weight = queue->weight;
        reeve__mem_leave(mem);
        if (weight != 0) {
            rc = on_weight(ctx, queue->by_name.key, weight, err);
        }
        reeve__lock(&mem->store->mutex);
        queue = queue->next;
    }
    reeve__mem_leave(mem);
    return rc;
}
