/*
 * Lists of queues, tasks and workers: copies that outlive the call.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/buf.h"
#include "inspect/inspector.h"

/* --- growing arrays of pointers ----------------------------------------- */

static bool grow(void ***items, size_t *capacity, size_t count,
                 reeve_env *env) {
    if (count < *capacity)
        return true;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void **grown = reeve__realloc(env, *items, wanted * sizeof *grown);
    if (!grown)
        return false;
    *items = grown;
    *capacity = wanted;
    return true;
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
    reeve_task_list *list = reeve__calloc(env, 1, sizeof *list);
    if (list)
        list->env = reeve__env_ref(env);
    return list;
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
    char *at = entry->memory;
    info->queue = put(&at, row->queue);
    info->id = put(&at, row->id);
    info->result = put(&at, row->result);
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

static void entry_free(reeve__task_entry *entry, reeve_env *env) {
    if (!entry)
        return;
    if (entry->readable)
        reeve__envelope_dispose(&entry->envelope);
    reeve__free(env, entry->memory);
    reeve__free(env, entry);
}

reeve_rc reeve__task_list_add(void *ctx, const reeve__row *row,
                              reeve_error *err) {
    reeve_task_list *list = ctx;
    void **items = (void **)list->entries;
    bool room = grow(&items, &list->capacity, list->count, list->env);
    list->entries = (reeve__task_entry **)items;
    reeve__task_entry *entry = reeve__calloc(list->env, 1, sizeof *entry);
    if (entry)
        entry->memory = reeve__alloc(list->env, row->queue.size + row->id.size +
                                                    row->envelope.size +
                                                    row->result.size + 1);
    reeve_rc rc = room && entry && entry->memory
                      ? fill_entry(entry, row, list->env, err)
                      : reeve__fail_nomem(err);
    if (rc)
        entry_free(entry, list->env);
    else
        list->entries[list->count++] = entry;
    return rc;
}

size_t reeve_task_list_count(const reeve_task_list *list) {
    return list ? list->count : 0;
}

const reeve_task_info *reeve_task_list_get(const reeve_task_list *list,
                                           size_t index) {
    return list && index < list->count ? &list->entries[index]->info : NULL;
}

void reeve_task_list_free(reeve_task_list *list) {
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++)
        entry_free(list->entries[i], list->env);
    reeve__free(list->env, list->entries);
    reeve_env *env = list->env;
    reeve__free(env, list);
    reeve_env_free(env);
}

/* --- queues -------------------------------------------------------------- */

struct reeve_queue_list {
    reeve_env *env;
    reeve_queue_info **infos; /* one block each: the struct and its name */
    size_t count;
    size_t capacity;
};

static reeve_rc add_queue(void *ctx, const reeve_queue_info *info,
                          reeve_error *err) {
    reeve_queue_list *list = ctx;
    void **items = (void **)list->infos;
    bool room = grow(&items, &list->capacity, list->count, list->env);
    list->infos = (reeve_queue_info **)items;
    reeve_queue_info *copy =
        room ? reeve__alloc(list->env, sizeof *copy + info->name.size) : NULL;
    if (!copy)
        return reeve__fail_nomem(err);
    char *at = (char *)(copy + 1);
    *copy = *info;
    copy->name = put(&at, info->name);
    list->infos[list->count++] = copy;
    return 0;
}

static int by_name(const void *a, const void *b) {
    const reeve_queue_info *left = *(reeve_queue_info *const *)a;
    const reeve_queue_info *right = *(reeve_queue_info *const *)b;
    size_t shorter =
        left->name.size < right->name.size ? left->name.size : right->name.size;
    int order = memcmp(left->name.data, right->name.data, shorter);
    if (order)
        return order;
    return (left->name.size > right->name.size) -
           (left->name.size < right->name.size);
}

reeve_rc reeve_inspector_queues(reeve_queue_list **out,
                                reeve_inspector *inspector, reeve_error *err) {
    reeve__broker *broker = NULL;
    if (!out)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    *out = NULL;
    reeve_rc rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    reeve_queue_list *list =
        reeve__calloc(inspector->shared.env, 1, sizeof *list);
    if (list) {
        list->env = reeve__env_ref(inspector->shared.env);
        rc = broker->ops->queues(broker, add_queue, list, err);
    } else {
        rc = reeve__fail_nomem(err);
    }
    reeve__shared_give(&inspector->shared);
    if (rc) {
        reeve_queue_list_free(list);
        return rc;
    }
    if (list->count)
        qsort(list->infos, list->count, sizeof(reeve_queue_info *), by_name);
    *out = list;
    return 0;
}

size_t reeve_queue_list_count(const reeve_queue_list *list) {
    return list ? list->count : 0;
}

const reeve_queue_info *reeve_queue_list_get(const reeve_queue_list *list,
                                             size_t index) {
    return list && index < list->count ? list->infos[index] : NULL;
}

void reeve_queue_list_free(reeve_queue_list *list) {
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++)
        reeve__free(list->env, list->infos[i]);
    reeve__free(list->env, list->infos);
    reeve_env *env = list->env;
    reeve__free(env, list);
    reeve_env_free(env);
}

/* --- workers ------------------------------------------------------------- */

struct reeve_worker_list {
    reeve_env *env;
    reeve_worker_info **infos;
    size_t count;
    size_t capacity;
};

static reeve_rc add_worker(void *ctx, const reeve_worker_info *info,
                           reeve_error *err) {
    reeve_worker_list *list = ctx;
    void **items = (void **)list->infos;
    bool room = grow(&items, &list->capacity, list->count, list->env);
    list->infos = (reeve_worker_info **)items;
    reeve_worker_info *copy =
        room ? reeve__alloc(list->env, sizeof *copy + info->id.size +
                                           info->host.size + info->queues.size)
             : NULL;
    if (!copy)
        return reeve__fail_nomem(err);
    char *at = (char *)(copy + 1);
    *copy = *info;
    copy->id = put(&at, info->id);
    copy->host = put(&at, info->host);
    copy->queues = put(&at, info->queues);
    list->infos[list->count++] = copy;
    return 0;
}

reeve_rc reeve_inspector_workers(reeve_worker_list **out,
                                 reeve_inspector *inspector, reeve_error *err) {
    reeve__broker *broker = NULL;
    if (!out)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    *out = NULL;
    reeve_rc rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    reeve_worker_list *list =
        reeve__calloc(inspector->shared.env, 1, sizeof *list);
    if (list) {
        list->env = reeve__env_ref(inspector->shared.env);
        rc = broker->ops->workers(broker, add_worker, list, err);
    } else {
        rc = reeve__fail_nomem(err);
    }
    reeve__shared_give(&inspector->shared);
    if (rc)
        reeve_worker_list_free(list);
    else
        *out = list;
    return rc;
}

size_t reeve_worker_list_count(const reeve_worker_list *list) {
    return list ? list->count : 0;
}

const reeve_worker_info *reeve_worker_list_get(const reeve_worker_list *list,
                                               size_t index) {
    return list && index < list->count ? list->infos[index] : NULL;
}

void reeve_worker_list_free(reeve_worker_list *list) {
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++)
        reeve__free(list->env, list->infos[i]);
    reeve__free(list->env, list->infos);
    reeve_env *env = list->env;
    reeve__free(env, list);
    reeve_env_free(env);
}
