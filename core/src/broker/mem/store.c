/*
 * The registry of named stores, and the moves of tasks inside one. After a fork
 * the child starts with an empty registry: what it inherited belongs to threads
 * that are not there any more.
 */
#include "broker/mem/store.h"

#include <string.h>

static struct {
    reeve__mutex mutex;
    reeve__mem_store *first;
} registry = { PTHREAD_MUTEX_INITIALIZER, NULL };

static pthread_once_t registry_once = PTHREAD_ONCE_INIT;

static void before_fork(void) {
    reeve__lock(&registry.mutex);
}

static void after_fork_parent(void) {
    reeve__unlock(&registry.mutex);
}

static void after_fork_child(void) {
    registry.first = NULL;
    reeve__unlock(&registry.mutex);
}

static void watch_forks(void) {
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static reeve_rc store_new(reeve__mem_store **out, reeve_env *env,
                          const char *name, reeve_error *err) {
    reeve__mem_store *store = reeve__calloc(env, 1, sizeof(*store));
    char *copy = reeve__strndup(env, name, strlen(name));
    if (!store || !copy) {
        reeve__free(env, store);
        reeve__free(env, copy);
        return reeve__fail_nomem(err);
    }
    reeve_rc rc = reeve__mutex_init(&store->mutex, err);
    if (rc < 0) {
        reeve__free(env, store);
        reeve__free(env, copy);
        return rc;
    }
    store->env = reeve__env_ref(env);
    store->name = copy;
    reeve__mem_table_init(&store->queues, env);
    *out = store;
    return REEVE_OK;
}

static void keys_free(reeve_env *env, reeve__mem_queue *queue) {
    reeve__mem_key *key;
    while ((key = reeve__mem_tree_first(queue->key_expiries))) {
        reeve__mem_tree_remove(&queue->key_expiries, &key->expiry);
        reeve__free(env, key);
    }
    reeve__mem_table_dispose(&queue->keys);
}

static void queue_free(reeve__mem_store *store, reeve__mem_queue *queue) {
    for (int32_t state = 0; state < REEVE__MEM_STATES; state++) {
        reeve__mem_task *task;
        while ((task = reeve__mem_task_first(queue, state))) {
            reeve__mem_task_delete(store, task);
        }
    }
    reeve__mem_table_dispose(&queue->tasks);
    keys_free(store->env, queue);
    reeve__free(store->env, queue);
}

static void store_free(reeve__mem_store *store) {
    reeve_env *env = store->env;
    for (reeve__mem_queue *queue = store->first_queue, *next; queue;
         queue = next) {
        next = queue->next;
        queue_free(store, queue);
    }
    for (reeve__mem_worker *worker = store->workers, *next; worker;
         worker = next) {
        next = worker->next;
        reeve__free(env, worker->text);
        reeve__free(env, worker);
    }
    reeve__mem_table_dispose(&store->queues);
    reeve__mutex_dispose(&store->mutex);
    reeve__free(env, store->name);
    reeve__free(env, store);
    reeve_env_free(env);
}

reeve_rc reeve__mem_store_take(reeve__mem_store **out, reeve_env *env,
                               const char *name, reeve_error *err) {
    pthread_once(&registry_once, watch_forks);
    reeve__lock(&registry.mutex);
    reeve_rc rc = REEVE_OK;
    reeve__mem_store *store = registry.first;
    while (store && strcmp(store->name, name) != 0) {
        store = store->next;
    }
    if (!store) {
        rc = store_new(&store, env, name, err);
        if (rc == REEVE_OK) {
            store->next = registry.first;
            registry.first = store;
        }
    }
    if (rc == REEVE_OK) {
        store->handle_count++;
        *out = store;
    }
    reeve__unlock(&registry.mutex);
    return rc;
}

void reeve__mem_store_give(reeve__mem_store *store) {
    reeve__lock(&registry.mutex);
    bool last = --store->handle_count == 0;
    if (last) {
        reeve__mem_store **at = &registry.first;
        while (*at != store) {
            at = &(*at)->next;
        }
        *at = store->next;
    }
    reeve__unlock(&registry.mutex);
    if (last) {
        store_free(store);
    }
}

reeve__mem_task *reeve__mem_task_find(const reeve__mem_queue *queue,
                                      reeve_bytes id) {
    return reeve__mem_table_find(&queue->tasks, id);
}

bool reeve__mem_bytes_set(reeve__mem_store *store, reeve_bytes *owned,
                          reeve_bytes value) {
    char *copy = NULL;
    if (value.size > 0) {
        copy = reeve__strndup(store->env, value.data, value.size);
        if (!copy) {
            return false;
        }
    }
    reeve__free(store->env, (void *)(uintptr_t)owned->data);
    *owned = (reeve_bytes){ copy, value.size };
    return true;
}

reeve__mem_task *reeve__mem_task_new(reeve__mem_store *store,
                                     reeve__mem_queue *queue, reeve_bytes id,
                                     reeve_bytes envelope) {
    reeve__mem_task *task = reeve__calloc(store->env, 1, sizeof(*task));
    if (!task) {
        return NULL;
    }
    memcpy(task->id, id.data, id.size);
    task->queue = queue;
    task->place.owner = task->expiry.owner = task->by_id.owner = task;
    task->by_id.key = (reeve_bytes){ task->id, id.size };
    if (!reeve__mem_bytes_set(store, &task->envelope, envelope) ||
        !reeve__mem_table_add(&queue->tasks, &task->by_id)) {
        reeve__free(store->env, (void *)(uintptr_t)task->envelope.data);
        reeve__free(store->env, task);
        return NULL;
    }
    return task;
}

static bool is_finished(int32_t state) {
    return state == REEVE_STATE_COMPLETED || state == REEVE_STATE_ARCHIVED;
}

static void unplace(reeve__mem_task *task) {
    if (task->state == REEVE_STATE_NONE) {
        return;
    }
    reeve__mem_tree_remove(&task->queue->states[task->state], &task->place);
    if (is_finished(task->state) && task->at_ms != REEVE_NEVER) {
        reeve__mem_tree_remove(&task->queue->expiries, &task->expiry);
    }
    task->state = REEVE_STATE_NONE;
}

void reeve__mem_task_delete(reeve__mem_store *store, reeve__mem_task *task) {
    unplace(task);
    reeve__mem_table_remove(&task->queue->tasks, &task->by_id);
    reeve__free(store->env, (void *)(uintptr_t)task->envelope.data);
    reeve__free(store->env, (void *)(uintptr_t)task->result.data);
    reeve__free(store->env, task);
}

reeve__mem_task *reeve__mem_task_first(const reeve__mem_queue *queue,
                                       int32_t state) {
    return reeve__mem_tree_first(queue->states[state]);
}

/* What a state is ordered by, before the order of arrival. */
static int64_t order_of(const reeve__mem_task *task) {
    if (task->state == REEVE_STATE_PENDING) {
        return -(int64_t)task->priority;
    }
    return is_finished(task->state) ? 0 : task->at_ms;
}

void reeve__mem_task_move(reeve__mem_store *store, reeve__mem_task *task,
                          int32_t state, int64_t at_ms, bool front) {
    unplace(task);
    task->state = state;
    task->at_ms = at_ms;
    task->place.major = order_of(task);
    task->place.minor = front ? --store->first_seq : ++store->last_seq;
    reeve__mem_tree_insert(&task->queue->states[state], &task->place);
    if (is_finished(state) && at_ms != REEVE_NEVER) {
        task->expiry.major = at_ms;
        task->expiry.minor = task->place.minor;
        reeve__mem_tree_insert(&task->queue->expiries, &task->expiry);
    }
}

void reeve__mem_task_row(reeve__row *out, const reeve__mem_task *task,
                         int64_t now_at_ms) {
    bool active = task->state == REEVE_STATE_ACTIVE;
    bool delayed = task->state == REEVE_STATE_SCHEDULED ||
                   task->state == REEVE_STATE_RETRY;
    *out = (reeve__row){
        .queue = task->queue->by_name.key,
        .id = task->by_id.key,
        .envelope = task->envelope,
        .state = task->state,
        .priority = task->priority,
        .token = active ? task->token : 0,
        .lease_ms = active ? task->lease_ms : 0,
        .now_at_ms = now_at_ms,
        .due_at_ms = delayed ? task->at_ms : 0,
        .expires_at_ms = is_finished(task->state) ? task->at_ms : 0,
        .worker = reeve_bytes_of(active ? task->worker : ""),
        .result = task->result,
        .has_result = task->has_result,
    };
}

reeve__mem_task *reeve__mem_next_due(const reeve__mem_queue *queue) {
    reeve__mem_task *a = reeve__mem_task_first(queue, REEVE_STATE_SCHEDULED);
    reeve__mem_task *b = reeve__mem_task_first(queue, REEVE_STATE_RETRY);
    if (!a || !b) {
        return a ? a : b;
    }
    if (a->at_ms != b->at_ms) {
        return a->at_ms < b->at_ms ? a : b;
    }
    return a->place.minor < b->place.minor ? a : b;
}
