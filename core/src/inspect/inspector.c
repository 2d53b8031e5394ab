/*
 * Seeing: open, page through tasks, find one; and the switches of a queue.
 */
#include "inspect/inspector.h"

#include <string.h>

#include "base/bytes.h"
#include "runtime/takeover.h"
#include "task/id.h"

#define PAGE_COUNT_DEFAULT 50
#define PAGE_COUNT_MAX 1000

reeve_rc reeve_inspector_open(reeve_inspector **out, reeve_env *env,
                              const reeve_client_options *options,
                              reeve_error *err) {
    reeve__error_clear(err);
    if (!out)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    *out = NULL;
    reeve_client_options loaded = REEVE_CLIENT_OPTIONS_INIT;
    reeve_rc rc = 0;
    if (options)
        rc = reeve__struct_load(&loaded, sizeof loaded, sizeof loaded, options,
                                "reeve_client_options", err);
    if (rc)
        return rc;
    reeve_inspector *inspector = reeve__calloc(env, 1, sizeof *inspector);
    if (!inspector)
        return reeve__fail_nomem(err);
    rc = reeve__shared_open(&inspector->shared, env, &loaded, err);
    if (rc)
        reeve__free(env, inspector);
    else
        *out = inspector;
    return rc;
}

void reeve_inspector_close(reeve_inspector *inspector) {
    if (!inspector)
        return;
    reeve_env *env = reeve__env_ref(inspector->shared.env);
    reeve__shared_close(&inspector->shared);
    reeve__free(env, inspector);
    reeve_env_free(env);
}

reeve_rc reeve__inspector_take(reeve__broker **out, reeve_inspector *inspector,
                               reeve_error *err) {
    reeve__error_clear(err);
    if (!inspector)
        return reeve__fail(err, REEVE_E_USAGE, "inspector is NULL");
    return reeve__shared_take(out, &inspector->shared, err);
}

/* --- tasks --------------------------------------------------------------- */

static reeve_rc check_query(const reeve_task_query *query, reeve_error *err) {
    reeve_rc rc = reeve__name_check("queue name", query->queue, err);
    if (rc)
        return rc;
    if (query->state < REEVE_STATE_SCHEDULED ||
        query->state > REEVE_STATE_ARCHIVED)
        return reeve__fail(err, REEVE_E_INVALID, "state %d is outside %d..%d",
                           (int)query->state, REEVE_STATE_SCHEDULED,
                           REEVE_STATE_ARCHIVED);
    if (query->limit > PAGE_COUNT_MAX)
        return reeve__fail(err, REEVE_E_INVALID, "limit %zu exceeds %d",
                           query->limit, PAGE_COUNT_MAX);
    return 0;
}

reeve_rc reeve_inspector_tasks(reeve_task_list **out, uint64_t *out_cursor,
                               reeve_inspector *inspector,
                               const reeve_task_query *query,
                               reeve_error *err) {
    reeve_task_query loaded;
    reeve__broker *broker = NULL;
    if (!out || !out_cursor)
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL",
                           out ? "out_cursor" : "out");
    *out = NULL;
    reeve_rc rc = reeve__struct_load(&loaded, sizeof loaded, sizeof loaded,
                                     query, "reeve_task_query", err);
    *out_cursor = 0; /* may be the query's own: it is loaded by now */
    if (!rc)
        rc = check_query(&loaded, err);
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    reeve_task_list *list = reeve__task_list_new(inspector->shared.env);
    if (list)
        rc =
            broker->ops->list(broker, loaded.queue, loaded.state, loaded.cursor,
                              loaded.limit ? loaded.limit : PAGE_COUNT_DEFAULT,
                              out_cursor, reeve__task_list_add, list, err);
    else
        rc = reeve__fail_nomem(err);
    reeve__shared_give(&inspector->shared);
    if (rc)
        reeve_task_list_free(list);
    else
        *out = list;
    return rc;
}

reeve_rc reeve_inspector_find(reeve_task_list **out, reeve_inspector *inspector,
                              reeve_bytes queue, reeve_bytes id,
                              reeve_error *err) {
    reeve__broker *broker = NULL;
    if (!out)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    *out = NULL;
    reeve_rc rc = reeve__name_check("queue name", queue, err);
    if (!rc)
        rc = reeve__name_check("task id", id, err);
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    reeve_task_list *list = reeve__task_list_new(inspector->shared.env);
    if (list)
        rc = broker->ops->find(broker, queue, id, reeve__task_list_add, list,
                               err);
    else
        rc = reeve__fail_nomem(err);
    reeve__shared_give(&inspector->shared);
    if (rc || !list->base.count)
        reeve_task_list_free(list);
    else
        *out = list;
    return rc;
}

/* --- switches ------------------------------------------------------------ */

reeve_rc reeve_inspector_pause(reeve_inspector *inspector, reeve_bytes queue,
                               bool paused, reeve_error *err) {
    reeve__broker *broker = NULL;
    reeve_rc rc = reeve__name_check("queue name", queue, err);
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    rc = broker->ops->pause(broker, queue, paused, err);
    reeve__shared_give(&inspector->shared);
    return rc;
}

reeve_rc reeve_inspector_drop(reeve_inspector *inspector, reeve_bytes queue,
                              reeve_error *err) {
    reeve__broker *broker = NULL;
    reeve_rc rc = reeve__name_check("queue name", queue, err);
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    rc = broker->ops->drop(broker, queue, err);
    reeve__shared_give(&inspector->shared);
    return rc;
}

reeve_rc reeve_inspector_weight(reeve_inspector *inspector, reeve_bytes queue,
                                int32_t weight, reeve_error *err) {
    reeve__broker *broker = NULL;
    reeve_rc rc = reeve__name_check("queue name", queue, err);
    if (!rc && (weight < 0 || weight > REEVE__WEIGHT_MAX))
        rc = reeve__fail(err, REEVE_E_INVALID, "weight %d is outside 0..%d",
                         (int)weight, REEVE__WEIGHT_MAX);
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    rc = broker->ops->set_weight(broker, queue, weight, err);
    if (!rc)
        rc = broker->ops->tell(broker, (reeve_bytes){ 0 },
                               REEVE__CONTROL_WEIGHTS, err);
    reeve__shared_give(&inspector->shared);
    return rc;
}

reeve_rc reeve_inspector_quiet(reeve_inspector *inspector, reeve_bytes worker,
                               bool quiet, reeve_error *err) {
    reeve__broker *broker = NULL;
    reeve_rc rc = worker.size ? reeve__name_check("worker id", worker, err) : 0;
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    rc = broker->ops->tell(broker, worker,
                           quiet ? REEVE__CONTROL_QUIET : REEVE__CONTROL_RESUME,
                           err);
    reeve__shared_give(&inspector->shared);
    return rc;
}

/* --- dead workers --------------------------------------------------------- */

/* Where a dead worker's tasks may be; each name with a NUL. */
typedef struct dead_worker {
    reeve_bytes id;
    reeve__buf names;
} dead_worker;

static void add_name(reeve__buf *names, reeve_bytes name) {
    reeve__buf_add_bytes(names, name);
    reeve__buf_add_char(names, '\0');
}

static reeve_rc add_queue(void *ctx, const reeve_queue_info *info,
                          reeve_error *err) {
    dead_worker *dead = ctx;
    add_name(&dead->names, info->name);
    return dead->names.failed ? reeve__fail_nomem(err) : 0;
}

/* From its beat: "mail=6,default=3". What is none leaves no names. */
static reeve_rc add_beat(void *ctx, const reeve_worker_info *info,
                         reeve_error *err) {
    dead_worker *dead = ctx;
    reeve_bytes rest = info->queues;
    if (!reeve__bytes_equal(info->id, dead->id))
        return 0;
    while (rest.size) {
        const char *comma = memchr(rest.data, ',', rest.size);
        size_t size = comma ? (size_t)(comma - rest.data) : rest.size;
        const char *weight = memchr(rest.data, '=', size);
        reeve_bytes name = { rest.data,
                             weight ? (size_t)(weight - rest.data) : size };
        if (reeve__name_check("queue name", name, NULL)) {
            reeve__buf_clear(&dead->names);
            return 0;
        }
        add_name(&dead->names, name);
        size += comma != NULL;
        rest = (reeve_bytes){ rest.data + size, rest.size - size };
    }
    return dead->names.failed ? reeve__fail_nomem(err) : 0;
}

/* All queues only when no beat names those it had: there may be thousands. */
static reeve_rc find_queues(dead_worker *dead, reeve__broker *broker,
                            reeve_error *err) {
    reeve_rc rc = broker->ops->workers(broker, add_beat, dead, err);
    if (!rc && !dead->names.size)
        rc = broker->ops->queues(broker, add_queue, dead, err);
    return rc;
}

static reeve_rc reclaim_queues(size_t *out_count, reeve__broker *broker,
                               reeve_bytes worker, const reeve__buf *names,
                               reeve_error *err) {
    static const reeve__archive_bounds archive = {
        .keep_ms = REEVE__ARCHIVE_MS_DEFAULT,
        .keep_count = REEVE__ARCHIVE_COUNT_DEFAULT,
    };
    reeve_error first = { 0 };
    size_t at = 0;
    while (at < names->size) {
        reeve_bytes queue = reeve_bytes_of(names->data + at);
        size_t count = 0;
        reeve_error own = { 0 };
        reeve_rc rc = 0;
        do {
            rc = reeve__takeover(&count, broker, queue, worker, &archive, NULL,
                                 NULL, &own);
            *out_count += rc ? 0 : count;
        } while (!rc && count);
        if (rc && !first.code)
            first = own;
        if (rc && rc != REEVE_E_SERVER) /* a damaged queue stops no other */
            break;
        at += queue.size + 1;
    }
    if (first.code && err)
        *err = first;
    return first.code;
}

reeve_rc reeve_inspector_reclaim_worker(size_t *out_count,
                                        reeve_inspector *inspector,
                                        reeve_bytes worker, reeve_error *err) {
    reeve__broker *broker = NULL;
    size_t count = 0;
    reeve_rc rc = reeve__name_check("worker id", worker, err);
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    dead_worker dead = { .id = worker };
    reeve__buf_init(&dead.names, inspector->shared.env);
    rc = find_queues(&dead, broker, err);
    if (!rc)
        rc = reclaim_queues(&count, broker, worker, &dead.names, err);
    if (!rc) { /* it is dead: it leaves the list; a live one beats again */
        reeve_worker_info gone = { .id = worker };
        rc = broker->ops->beat(broker, &gone, true, err);
    }
    reeve__buf_dispose(&dead.names);
    reeve__shared_give(&inspector->shared);
    if (out_count)
        *out_count = count;
    return rc;
}
