/*
 * Queues and their idempotency keys: found by name, made on first use, gone
 * with the store.
 */
#include "broker/mem/store.h"
#include "task/id.h"

#include <string.h>

reeve__mem_queue *reeve__mem_queue_find(const reeve__mem_store *store,
                                        reeve_bytes name) {
    return reeve__mem_table_find(&store->queues, name);
}

reeve_rc reeve__mem_queue_get(reeve__mem_queue **out, reeve__mem_store *store,
                              reeve_bytes name, reeve_error *err) {
    *out = reeve__mem_queue_find(store, name);
    if (*out) {
        (*out)->dropped = false;
        return REEVE_OK;
    }
    reeve_rc rc = reeve__name_check("queue", name, err);
    if (rc < 0) {
        return rc;
    }
    reeve__mem_queue *queue = reeve__calloc(store->env, 1, sizeof(*queue));
    if (!queue) {
        return reeve__fail_nomem(err);
    }
    memcpy(queue->name, name.data, name.size);
    queue->by_name.key = (reeve_bytes){ queue->name, name.size };
    queue->by_name.owner = queue;
    if (!reeve__mem_table_add(&store->queues, &queue->by_name)) {
        reeve__free(store->env, queue);
        return reeve__fail_nomem(err);
    }
    reeve__mem_table_init(&queue->tasks, store->env);
    reeve__mem_table_init(&queue->keys, store->env);
    reeve__mem_queue **at = &store->first_queue;
    while (*at && strcmp((*at)->name, queue->name) < 0) {
        at = &(*at)->next;
    }
    queue->next = *at;
    *at = queue;
    *out = queue;
    return REEVE_OK;
}

static void key_delete(reeve__mem_store *store, reeve__mem_queue *queue,
                       reeve__mem_key *key) {
    reeve__mem_table_remove(&queue->keys, &key->by_key);
    reeve__mem_tree_remove(&queue->key_expiries, &key->expiry);
    reeve__free(store->env, key);
}

const char *reeve__mem_key_find(const reeve__mem_queue *queue, reeve_bytes key,
                                int64_t now_at_ms) {
    reeve__mem_key *found = reeve__mem_table_find(&queue->keys, key);
    return found && found->expiry.major > now_at_ms ? found->task_id : NULL;
}

bool reeve__mem_key_set(reeve__mem_store *store, reeve__mem_queue *queue,
                        reeve_bytes key, reeve_bytes task_id,
                        int64_t expires_at_ms) {
    reeve__mem_key *made =
        reeve__calloc(store->env, 1, sizeof(*made) + key.size);
    if (!made) {
        return false;
    }
    char *text = (char *)(made + 1);
    memcpy(text, key.data, key.size);
    memcpy(made->task_id, task_id.data, task_id.size);
    made->by_key.key = (reeve_bytes){ text, key.size };
    made->by_key.owner = made->expiry.owner = made;
    made->expiry.major = expires_at_ms;
    made->expiry.minor = ++store->last_seq;
    reeve__mem_key *old = reeve__mem_table_find(&queue->keys, key);
    if (old) {
        key_delete(store, queue, old);
    }
    if (!reeve__mem_table_add(&queue->keys, &made->by_key)) {
        reeve__free(store->env, made);
        return false;
    }
    reeve__mem_tree_insert(&queue->key_expiries, &made->expiry);
    return true;
}

void reeve__mem_keys_sweep(reeve__mem_store *store, reeve__mem_queue *queue,
                           int64_t now_at_ms, size_t max) {
    reeve__mem_key *key;
    while (max-- > 0 && (key = reeve__mem_tree_first(queue->key_expiries)) &&
           key->expiry.major <= now_at_ms) {
        key_delete(store, queue, key);
    }
}
