/*
 * The verbs of time of mem://: extend, promote, reclaim, sweep.
 */
#include "base/bytes.h"
#include "broker/mem/store.h"

reeve_rc reeve__mem_extend(reeve__broker *broker, reeve__lease_ref *refs,
                           size_t count, int64_t lease_ms, reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    int64_t end_at_ms = reeve__add_sat(reeve__now_at_ms(broker->env), lease_ms);
    for (size_t i = 0; i < count; i++) {
        reeve__mem_queue *queue =
            reeve__mem_queue_find(mem->store, refs[i].queue);
        reeve__mem_task *task =
            queue ? reeve__mem_task_find(queue, refs[i].id) : NULL;
        refs[i].lost = !task || task->state != REEVE_STATE_ACTIVE ||
                       task->token != refs[i].token;
        if (!refs[i].lost) {
            task->lease_ms = lease_ms;
            reeve__mem_task_move(mem->store, task, REEVE_STATE_ACTIVE,
                                 end_at_ms, false);
        }
    }
    reeve__mem_leave(mem);
    return REEVE_OK;
}

reeve_rc reeve__mem_promote(reeve__broker *broker, reeve_bytes name, size_t max,
                            size_t *out_moved, int64_t *out_next_due_at_ms,
                            reeve_error *err) {
    reeve_rc rc;
    *out_moved = 0;
    *out_next_due_at_ms = 0;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    reeve__mem_queue *queue = reeve__mem_queue_find(mem->store, name);
    reeve__mem_task *task = queue ? reeve__mem_next_due(queue) : NULL;
    while (task && task->at_ms <= now_at_ms && *out_moved < max) {
        task->since_at_ms = now_at_ms;
        reeve__mem_task_move(mem->store, task, REEVE_STATE_PENDING, 0, false);
        ++*out_moved;
        task = reeve__mem_next_due(queue);
    }
    *out_next_due_at_ms = task ? task->at_ms : 0;
    if (*out_moved > 0) {
        reeve__mem_ring(mem->store, queue);
    }
    reeve__mem_leave(mem);
    return REEVE_OK;
}

/* Copies the active tasks that have lapsed, or are worker's; *out_next_at_ms is
 * the first end of a lease that is not among them. */
static void copy_lapsed(reeve__rows *rows, const reeve__mem_queue *queue,
                        reeve_bytes worker, size_t max, int64_t now_at_ms,
                        int64_t *out_next_at_ms) {
    reeve__mem_node *root = queue->states[REEVE_STATE_ACTIVE];
    for (size_t i = 0; i < reeve__mem_tree_count(root); i++) {
        const reeve__mem_task *task = reeve__mem_tree_at(root, i)->owner;
        bool wanted = worker.size > 0 ? reeve__bytes_is(worker, task->worker)
                                      : task->at_ms <= now_at_ms;
        if (wanted && reeve__rows_count(rows) < max) {
            reeve__row row;
            reeve__mem_task_row(&row, task, now_at_ms);
            reeve__rows_add(rows, &row);
        } else if (*out_next_at_ms == 0) {
            *out_next_at_ms = task->at_ms;
        }
        bool enough = reeve__rows_count(rows) >= max || worker.size == 0;
        if (*out_next_at_ms != 0 && enough) {
            return;
        }
    }
}

reeve_rc reeve__mem_reclaim(reeve__broker *broker, reeve_bytes name,
                            reeve_bytes worker, size_t max,
                            reeve__row_fn on_row, void *ctx,
                            int64_t *out_next_at_ms, reeve_error *err) {
    reeve_rc rc;
    *out_next_at_ms = 0;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__rows rows;
    reeve__rows_init(&rows, broker->env);
    reeve__mem_queue *queue = reeve__mem_queue_find(mem->store, name);
    if (queue) {
        copy_lapsed(&rows, queue, worker, max, reeve__now_at_ms(broker->env),
                    out_next_at_ms);
    }
    reeve__mem_leave(mem);
    rc = reeve__rows_failed(&rows)
             ? reeve__fail_nomem(err)
             : reeve__rows_deliver(&rows, on_row, ctx, err);
    reeve__rows_dispose(&rows);
    return rc;
}

reeve_rc reeve__mem_sweep(reeve__broker *broker, reeve_bytes name, size_t max,
                          size_t *out_removed, reeve_error *err) {
    reeve_rc rc;
    *out_removed = 0;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    int64_t now_at_ms = reeve__now_at_ms(broker->env);
    reeve__mem_workers_sweep(mem->store, now_at_ms);
    reeve__mem_queue *queue = reeve__mem_queue_find(mem->store, name);
    if (queue) {
        reeve__mem_task *task;
        while (*out_removed < max &&
               (task = reeve__mem_tree_first(queue->expiries)) &&
               task->at_ms <= now_at_ms) {
            reeve__mem_task_delete(mem->store, task);
            ++*out_removed;
        }
        reeve__mem_keys_sweep(mem->store, queue, now_at_ms, max);
    }
    reeve__mem_leave(mem);
    return REEVE_OK;
}
