/*
 * Lists of queues, tasks and workers: copies that outlive the call.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/buf.h"
#include "inspect/inspector.h"

/* --- any list -------------------------------------------------------------- */

static void *list_new(reeve_env *env) {
    reeve__list *list = reeve__calloc(env, 1, sizeof *list);
    if (list)
        list->env = reeve__env_ref(env);
    return list;
}

static void list_free(reeve__list *list) {
    if (!list)
        return;
    reeve_env *env = list->env;
    for (size_t i = 0; i < list->count; i++)
        reeve__free(env, list->blocks[i]);
    reeve__free(env, list->blocks);
    reeve__free(env, list);
    reeve_env_free(env);
}

static void *list_get(const reeve__list *list, size_t index) {
    return list && index < list->count ? list->blocks[index] : NULL;
}

/* Appends a block: a zeroed head and room for bytes behind it. NULL when memory
 * is short. */
static void *list_add(reeve__list *list, size_t head_bytes, size_t bytes) {
    if (list->count == list->capacity) {
        size_t wanted = list->capacity ? list->capacity * 2 : 16;
        void **grown = reeve__realloc(list->env, list->blocks,
                                      wanted * sizeof *list->blocks);
        if (!grown)
            return NULL;
        list->blocks = grown;
        list->capacity = wanted;
    }
    void *block = reeve__alloc(list->env, head_bytes + bytes);
    if (!block)
        return NULL;
    memset(block, 0, head_bytes);
    list->blocks[list->count++] = block;
    return block;
}

typedef reeve_rc (*read_fn)(reeve__broker *broker, reeve__list *list,
                            reeve_error *err);

/* Makes a list and lets read fill it from the broker. */
static reeve_rc read_list(reeve__list **out, reeve_inspector *inspector,
                          read_fn read, reeve_error *err) {
    reeve__broker *broker = NULL;
    *out = NULL;
    reeve_rc rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    reeve__list *list = list_new(inspector->shared.env);
    rc = list ? read(broker, list, err) : reeve__fail_nomem(err);
    reeve__shared_give(&inspector->shared);
    if (rc)
        list_free(list);
    else
        *out = list;
    return rc;
}

/* Copies bytes to *at, moves it on, returns the copy's view. */
static reeve_bytes put(char **at, reeve_bytes bytes) {
    reeve_bytes copy = { *at, bytes.size };
    if (bytes.size)
        memcpy(*at, bytes.data, bytes.size);
    *at += bytes.size;
    return copy;
}

/* --- tasks --------------------------------------------------------------- */

reeve_task_list *reeve__task_list_new(reeve_env *env) {
    return list_new(env);
}

static void fill_from_envelope(reeve_task_info *info,
                               const reeve__envelope *envelope) {
    info->type = envelope->type;
    info->payload = envelope->payload;
    info->reason = envelope->reason;
    info->priority = envelope->priority;
    info->attempts = envelope->failures;
    info->max_attempts = envelope->retry.max_attempts;
    info->crashes = envelope->crashes;
    info->enqueued_at_ms = envelope->enqueued_at_ms;
    info->headers = envelope->headers;
    info->header_count = envelope->header_count;
    info->history = envelope->history;
    info->history_count = envelope->history_count;
    info->timeout_ms = envelope->timeout_ms;
    info->deadline_at_ms = envelope->deadline_at_ms;
    info->lease_ms = envelope->lease_ms;
    info->retention_ms = envelope->retention_ms;
    info->max_crashes = envelope->max_crashes;
}

/* When a finished task was settled: archived ones say so themselves, completed
 * ones expire a known time after it. */
static int64_t settled_at(const reeve__row *row,
                          const reeve__envelope *envelope) {
    if (row->state == REEVE_STATE_ARCHIVED)
        return envelope->ended_at_ms;
    if (row->state == REEVE_STATE_COMPLETED && row->expires_at_ms > 0 &&
        envelope->retention_ms > 0)
        return row->expires_at_ms - envelope->retention_ms;
    return 0;
}

static reeve_rc fill_entry(reeve__task_entry *entry, const reeve__row *row,
                           reeve_env *env, reeve_error *err) {
    reeve_task_info *info = &entry->info;
    char *at = (char *)(entry + 1);
    info->queue = put(&at, row->queue);
    info->id = put(&at, row->id);
    info->result = put(&at, row->result);
    info->worker = put(&at, row->worker);
    entry->stored = put(&at, row->envelope);
    info->state = row->state;
    info->priority = row->priority;
    info->has_result = row->has_result;
    info->due_at_ms = row->due_at_ms;
    info->expires_at_ms = row->expires_at_ms;
    info->token = row->token;
    reeve_rc rc =
        reeve__envelope_decode(&entry->envelope, env, entry->stored, NULL);
    if (rc == REEVE_E_NOMEM)
        return reeve__fail_nomem(err);
    entry->readable = rc == 0;
    if (entry->readable) {
        fill_from_envelope(info, &entry->envelope);
        info->settled_at_ms = settled_at(row, &entry->envelope);
    } else {
        info->type = reeve_bytes_of("unreadable");
        info->payload = entry->stored;
    }
    return 0;
}

reeve_rc reeve__task_list_add(void *ctx, const reeve__row *row,
                              reeve_error *err) {
    reeve__list *list = &((reeve_task_list *)ctx)->base;
    size_t bytes = row->queue.size + row->id.size + row->result.size +
                   row->worker.size + row->envelope.size;
    reeve__task_entry *entry = list_add(list, sizeof *entry, bytes);
    return entry ? fill_entry(entry, row, list->env, err)
                 : reeve__fail_nomem(err);
}

reeve__task_entry *reeve__task_list_entry(const reeve_task_list *list,
                                          size_t index) {
    return list ? list_get(&list->base, index) : NULL;
}

size_t reeve_task_list_count(const reeve_task_list *list) {
    return list ? list->base.count : 0;
}

const reeve_task_info *reeve_task_list_get(const reeve_task_list *list,
                                           size_t index) {
    const reeve__task_entry *entry = reeve__task_list_entry(list, index);
    return entry ? &entry->info : NULL;
}

void reeve_task_list_free(reeve_task_list *list) {
    if (!list)
        return;
    for (size_t i = 0; i < list->base.count; i++) {
        reeve__task_entry *entry = list->base.blocks[i];
        if (entry->readable)
            reeve__envelope_dispose(&entry->envelope);
    }
    list_free(&list->base);
}

/* --- queues -------------------------------------------------------------- */

static reeve_rc add_queue(void *list, const reeve_queue_info *info,
                          reeve_error *err) {
    reeve_queue_info *copy =
        list_add(list, sizeof *copy, info->name.size + info->error.size);
    if (!copy)
        return reeve__fail_nomem(err);
    char *at = (char *)(copy + 1);
    *copy = *info;
    copy->name = put(&at, info->name);
    copy->error = put(&at, info->error);
    return 0;
}

static int by_name(const void *a, const void *b) {
    const reeve_queue_info *left = *(void *const *)a;
    const reeve_queue_info *right = *(void *const *)b;
    size_t shorter =
        left->name.size < right->name.size ? left->name.size : right->name.size;
    int order = memcmp(left->name.data, right->name.data, shorter);
    if (order)
        return order;
    return (left->name.size > right->name.size) -
           (left->name.size < right->name.size);
}

static reeve_rc read_queues(reeve__broker *broker, reeve__list *list,
                            reeve_error *err) {
    reeve_rc rc = broker->ops->queues(broker, add_queue, list, err);
    if (!rc && list->count)
        qsort(list->blocks, list->count, sizeof *list->blocks, by_name);
    return rc;
}

reeve_rc reeve_inspector_queues(reeve_queue_list **out,
                                reeve_inspector *inspector, reeve_error *err) {
    if (!out)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    reeve__list *list = NULL;
    reeve_rc rc = read_list(&list, inspector, read_queues, err);
    *out = (reeve_queue_list *)list;
    return rc;
}

size_t reeve_queue_list_count(const reeve_queue_list *list) {
    return list ? list->base.count : 0;
}

const reeve_queue_info *reeve_queue_list_get(const reeve_queue_list *list,
                                             size_t index) {
    return list ? list_get(&list->base, index) : NULL;
}

void reeve_queue_list_free(reeve_queue_list *list) {
    list_free((reeve__list *)list);
}

/* --- workers ------------------------------------------------------------- */

static reeve_rc add_worker(void *list, const reeve_worker_info *info,
                           reeve_error *err) {
    size_t bytes = info->id.size + info->host.size + info->queues.size;
    reeve_worker_info *copy = list_add(list, sizeof *copy, bytes);
    if (!copy)
        return reeve__fail_nomem(err);
    char *at = (char *)(copy + 1);
    *copy = *info;
    copy->id = put(&at, info->id);
    copy->host = put(&at, info->host);
    copy->queues = put(&at, info->queues);
    return 0;
}

static reeve_rc read_workers(reeve__broker *broker, reeve__list *list,
                             reeve_error *err) {
    return broker->ops->workers(broker, add_worker, list, err);
}

reeve_rc reeve_inspector_workers(reeve_worker_list **out,
                                 reeve_inspector *inspector, reeve_error *err) {
    if (!out)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    reeve__list *list = NULL;
    reeve_rc rc = read_list(&list, inspector, read_workers, err);
    *out = (reeve_worker_list *)list;
    return rc;
}

size_t reeve_worker_list_count(const reeve_worker_list *list) {
    return list ? list->base.count : 0;
}

const reeve_worker_info *reeve_worker_list_get(const reeve_worker_list *list,
                                               size_t index) {
    return list ? list_get(&list->base, index) : NULL;
}

void reeve_worker_list_free(reeve_worker_list *list) {
    list_free((reeve__list *)list);
}
