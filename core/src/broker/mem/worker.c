/*
 * The workers that mem:// knows of, by their beats.
 */
#include "broker/mem/store.h"

#include "base/bytes.h"
#include "broker/check.h"

#include <string.h>

static void worker_free(reeve_env *env, reeve__mem_worker *worker) {
    reeve__free(env, worker->text);
    reeve__free(env, worker);
}

/* One block with the three texts that info points into. */
static char *info_copy(reeve_env *env, reeve_worker_info *out,
                       const reeve_worker_info *info) {
    *out = *info;
    reeve_bytes *views[] = { &out->id, &out->host, &out->queues };
    char *text = reeve__alloc(env, info->id.size + info->host.size +
                                       info->queues.size + 1);
    char *at = text;
    for (size_t i = 0; text && i < 3; i++) {
        if (views[i]->size > 0) {
            memcpy(at, views[i]->data, views[i]->size);
        }
        views[i]->data = at;
        at += views[i]->size;
    }
    return text;
}

static void worker_remove(reeve__mem_store *store, reeve_bytes id) {
    for (reeve__mem_worker **at = &store->workers; *at; at = &(*at)->next) {
        reeve__mem_worker *worker = *at;
        if (reeve__bytes_equal(worker->info.id, id)) {
            *at = worker->next;
            worker_free(store->env, worker);
            return;
        }
    }
}

reeve_rc reeve__mem_beat(reeve__broker *broker, const reeve_worker_info *info,
                         bool gone, reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__mem_store *store = mem->store;
    reeve__mem_worker *worker = NULL;
    if (!gone) {
        worker = reeve__calloc(store->env, 1, sizeof(*worker));
        if (worker) {
            worker->text = info_copy(store->env, &worker->info, info);
        }
        if (!worker || !worker->text) {
            reeve__free(store->env, worker);
            reeve__mem_leave(mem);
            return reeve__fail_nomem(err);
        }
        worker->info.beat_at_ms = reeve__now_at_ms(broker->env);
    }
    worker_remove(store, info->id);
    if (worker) {
        worker->next = store->workers;
        store->workers = worker;
    }
    reeve__mem_leave(mem);
    return REEVE_OK;
}

void reeve__mem_workers_sweep(reeve__mem_store *store, int64_t now_at_ms) {
    reeve__mem_worker **at = &store->workers;
    while (*at) {
        reeve__mem_worker *worker = *at;
        if (worker->info.beat_at_ms + REEVE__BEAT_KEEP_MS > now_at_ms) {
            at = &worker->next;
            continue;
        }
        *at = worker->next;
        worker_free(store->env, worker);
    }
}

typedef struct worker_copy {
    reeve_worker_info info;
    char *text;
} worker_copy;

reeve_rc reeve__mem_workers(reeve__broker *broker, reeve__worker_fn on_worker,
                            void *ctx, reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    reeve__buf copies;
    reeve__buf_init(&copies, broker->env);
    bool failed = false;
    for (reeve__mem_worker *worker = mem->store->workers; worker && !failed;
         worker = worker->next) {
        worker_copy copy;
        copy.text = info_copy(broker->env, &copy.info, &worker->info);
        failed = !copy.text;
        if (!failed) {
            reeve__buf_add(&copies, &copy, sizeof(copy));
            if (copies.failed) {
                reeve__free(broker->env, copy.text);
                failed = true;
            }
        }
    }
    reeve__mem_leave(mem);
    rc = failed ? reeve__fail_nomem(err) : REEVE_OK;
    for (size_t i = 0; i < copies.size / sizeof(worker_copy); i++) {
        worker_copy copy;
        memcpy(&copy, copies.data + i * sizeof(copy), sizeof(copy));
        if (rc == REEVE_OK) {
            rc = on_worker(ctx, &copy.info, err);
        }
        reeve__free(broker->env, copy.text);
    }
    reeve__buf_dispose(&copies);
    return rc;
}
