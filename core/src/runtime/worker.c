/*
 * A worker's life: made, started, stopped, joined, freed.
 */
#include "runtime/worker.h"

#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "runtime/options.h"

int64_t reeve__worker_server_now(const reeve_worker *worker) {
    return reeve__mono_ns(worker->env) / REEVE__MS_NS +
           atomic_load_explicit(&worker->offset_ms, memory_order_relaxed);
}

void reeve__worker_note_time(reeve_worker *worker, reeve__broker *broker) {
    int64_t now_at_ms = 0;
    if (broker->ops->now(broker, &now_at_ms, NULL) == 0)
        atomic_store_explicit(&worker->offset_ms,
                              now_at_ms -
                                  reeve__mono_ns(worker->env) / REEVE__MS_NS,
                              memory_order_relaxed);
}

reeve_rc reeve__worker_open_broker(reeve__broker **out, reeve_worker *worker,
                                   reeve_error *err) {
    reeve__broker_options options = {
        .url = worker->url,
        .prefix = worker->prefix,
        .worker = !worker->fetch_broker, /* the first handle checks */
    };
    return worker->open_broker(out, worker->env, &options, err);
}

reeve_rc reeve__worker_check(const reeve_worker *worker, reeve_error *err) {
    if (!worker)
        return reeve__fail(err, REEVE_E_USAGE, "worker is NULL");
    if (worker->fork_count != reeve__fork_count())
        return reeve__fail(err, REEVE_E_FORKED,
                           "worker %s belongs to another process", worker->id);
    return 0;
}

static bool is_of(const reeve_delivery *dlv, reeve_bytes queue, reeve_bytes id,
                  int64_t token) {
    return dlv->token == token && reeve__bytes_equal(dlv->id, id) &&
           reeve__bytes_is(queue, dlv->worker->queues[dlv->queue_index].name);
}

bool reeve__worker_has(void *ctx, reeve_bytes queue, reeve_bytes id,
                       int64_t token) {
    reeve_worker *worker = ctx;
    const reeve__fetch_scratch *scratch = &worker->scratch;
    bool found = false;
    reeve__lock(&worker->mutex);
    const reeve_delivery *dlv;
    for (dlv = worker->live_first; dlv && !found; dlv = dlv->live_next)
        found = is_of(dlv, queue, id, token);
    for (dlv = worker->outbox.first; dlv && !found; dlv = dlv->next)
        found = is_of(dlv, queue, id, token);
    for (dlv = worker->refused.first; dlv && !found; dlv = dlv->next)
        found = is_of(dlv, queue, id, token);
    for (size_t i = 0; i < scratch->sending_count && !found; i++)
        found = is_of(scratch->sending[i], queue, id, token);
    reeve__worker_unlock(worker);
    return found;
}

void reeve__worker_unlock(reeve_worker *worker) {
    bool waiter = worker->waiter_due;
    bool fetcher = worker->fetcher_due;
    worker->waiter_due = worker->fetcher_due = false;
    reeve__unlock(&worker->mutex);
    if (waiter)
        reeve__signal(&worker->ready_cond);
    if (fetcher)
        reeve__wakefd_ring(&worker->fetch_wake);
}

void reeve__worker_thread_ends(reeve_worker *worker) {
    reeve__lock(&worker->mutex);
    worker->threads_running--;
    reeve__broadcast(&worker->done_cond);
    if (!worker->threads_running) { /* STOPPED may be told now */
        reeve__broadcast(&worker->ready_cond);
        reeve__events_ring(worker);
    }
    reeve__worker_unlock(worker);
}

static reeve_rc init_sync(reeve_worker *worker, reeve_error *err) {
    /* Not descriptor 0, should one of them fail to open. */
    worker->fetch_wake = worker->control_wake = worker->event_wake =
        (reeve__wakefd){ .fd = -1, .write_fd = -1 };
    reeve_rc rc = 0;
    (void)((rc = reeve__wakefd_open(&worker->fetch_wake, err)) ||
           (rc = reeve__wakefd_open(&worker->control_wake, err)) ||
           (rc = reeve__wakefd_open(&worker->event_wake, err)) ||
           (rc = reeve__mutex_init(&worker->mutex, err)) ||
           (rc = reeve__cond_init(&worker->ready_cond, err)) ||
           (rc = reeve__cond_init(&worker->tick_cond, err)) ||
           (rc = reeve__cond_init(&worker->done_cond, err)));
    return rc;
}

static void init_clocks(reeve_worker *worker) {
    int64_t now_ns = reeve__mono_ns(worker->env);
    worker->next_extend_ns = INT64_MAX;
    worker->next_timeout_ns = INT64_MAX;
    worker->tick_by_ns = INT64_MAX;
    worker->started_at_ms = reeve__worker_server_now(worker);
    /* Sweeps of several workers spread out by themselves: start with one. */
    for (size_t q = 0; q < worker->queue_count; q++)
        worker->queues[q].sweep_by_ns = now_ns;
    if (gethostname(worker->host, sizeof worker->host - 1))
        (void)strcpy(worker->host, "unknown");
}

reeve_rc reeve_worker_new(reeve_worker **out, reeve_env *env,
                          const reeve_worker_options *options,
                          reeve_error *err) {
    reeve__error_clear(err);
    if (!out)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    *out = NULL;
    reeve_worker *worker = reeve__calloc(env, 1, sizeof *worker);
    if (!worker)
        return reeve__fail_nomem(err);
    worker->self = worker;
    worker->env = reeve__env_ref(env);
    worker->open_broker = reeve__broker_open;
    worker->fork_count = reeve__fork_count();
    reeve_rc rc = init_sync(worker, err);
    if (!rc)
        rc = reeve__worker_options_load(worker, options, err);
    if (!rc)
        rc = reeve__fetch_scratch_init(worker, err);
    if (!rc)
        rc = reeve__worker_open_broker(&worker->fetch_broker, worker, err);
    if (rc) {
        reeve_worker_free(worker);
        return rc;
    }
    reeve__worker_note_time(worker, worker->fetch_broker);
    init_clocks(worker);
    *out = worker;
    return 0;
}

reeve_rc reeve_worker_handle(reeve_worker *worker, reeve_bytes type,
                             reeve_handler handler, void *user,
                             reeve_error *err) {
    reeve__error_clear(err);
    if (!worker || !handler)
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL",
                           worker ? "handler" : "worker");
    if (worker->phase != REEVE__PHASE_NEW)
        return reeve__fail(err, REEVE_E_STATE,
                           "worker %s has started: handlers come before",
                           worker->id);
    reeve_rc rc = type.size ? reeve__name_check("task type", type, err) : 0;
    if (rc)
        return rc;
    for (size_t i = 0; i < worker->handler_count; i++) {
        if (reeve__bytes_is(type, worker->handlers[i].type))
            return reeve__fail(err, REEVE_E_STATE,
                               "type '%.*s' has a handler already",
                               (int)type.size, type.data);
    }
    reeve__handler *grown =
        reeve__realloc(worker->env, worker->handlers,
                       (worker->handler_count + 1) * sizeof *grown);
    if (!grown)
        return reeve__fail_nomem(err);
    worker->handlers = grown;
    char *name = reeve__strndup(worker->env, type.data, type.size);
    if (!name)
        return reeve__fail_nomem(err);
    worker->handlers[worker->handler_count++] = (reeve__handler){
        .type = name, .type_size = type.size, .run = handler, .user = user
    };
    return 0;
}

static reeve_rc start_thread(reeve_worker *worker, reeve__thread *thread,
                             const char *name, void (*run)(void *),
                             reeve_error *err) {
    reeve__lock(&worker->mutex);
    worker->threads_running++;
    reeve__worker_unlock(worker);
    reeve_rc rc = reeve__thread_start(thread, name, run, worker, err);
    if (rc)
        reeve__worker_thread_ends(worker);
    return rc;
}

static reeve_rc start_threads(reeve_worker *worker, reeve_error *err) {
    reeve_rc rc = 0;
    (void)((rc = reeve__identity_check(worker, err)) ||
           (rc =
                reeve__worker_open_broker(&worker->tick_broker, worker, err)) ||
           (rc = reeve__worker_open_broker(&worker->control_broker, worker,
                                           err)) ||
           (rc = start_thread(worker, &worker->tick_thread, "reeve-tick",
                              reeve__tick_run, err)) ||
           (rc = start_thread(worker, &worker->control_thread, "reeve-control",
                              reeve__control_run, err)) ||
           (rc = reeve__executor_start(worker, err)) ||
           (rc = start_thread(worker, &worker->fetch_thread, "reeve-fetch",
                              reeve__fetch_run, err)));
    return rc;
}

/* Without a fetcher nobody drains: end the other threads by hand. */
static void abandon_start(reeve_worker *worker) {
    reeve__lock(&worker->mutex);
    worker->phase = REEVE__PHASE_STOPPED;
    worker->tick_ends = true;
    reeve__broadcast(&worker->tick_cond);
    reeve__broadcast(&worker->ready_cond);
    reeve__broadcast(&worker->done_cond);
    reeve__wakefd_ring(&worker->control_wake);
    reeve__worker_unlock(worker);
}

reeve_rc reeve_worker_start(reeve_worker *worker, reeve_error *err) {
    reeve__error_clear(err);
    reeve_rc rc = reeve__worker_check(worker, err);
    if (rc)
        return rc;
    if (worker->phase != REEVE__PHASE_NEW)
        return reeve__fail(err, REEVE_E_STATE, "worker %s has been started",
                           worker->id);
    reeve__lock(&worker->mutex); /* a poller may wait already */
    worker->phase = REEVE__PHASE_RUN;
    reeve__worker_unlock(worker);
    if (worker->manual) {
        worker->tick_broker = worker->control_broker = worker->fetch_broker;
        return 0;
    }
    rc = start_threads(worker, err);
    if (rc)
        abandon_start(worker);
    return rc;
}

void reeve_worker_stop(reeve_worker *worker) {
    if (!worker)
        return;
    atomic_fetch_add(&worker->stop_requests, 1);
    reeve__wakefd_ring(&worker->fetch_wake);
}

void reeve_worker_quiet(reeve_worker *worker, bool quiet) {
    if (!worker || worker->fork_count != reeve__fork_count())
        return;
    reeve__lock(&worker->mutex);
    worker->quiet = quiet;
    reeve__fetch_ring(worker);
    reeve__worker_unlock(worker);
}

reeve_rc reeve_worker_join(reeve_worker *worker, int64_t timeout_ms,
                           reeve_error *err) {
    reeve__error_clear(err);
    reeve_rc rc = reeve__worker_check(worker, err);
    if (rc)
        return rc;
    int64_t by_ns = reeve__by_ns(worker->env, timeout_ms);
    reeve__lock(&worker->mutex);
    bool in_time = true;
    while (worker->threads_running && in_time)
        in_time = reeve__wait_by(&worker->done_cond, &worker->mutex,
                                 worker->env, by_ns);
    bool running = worker->threads_running > 0;
    reeve__worker_unlock(worker);
    if (running)
        return reeve__fail(err, REEVE_E_TIMEOUT,
                           "worker %s still runs after %lld ms", worker->id,
                           (long long)timeout_ms);
    return 0;
}

reeve_bytes reeve_worker_id(const reeve_worker *worker) {
    return reeve_bytes_of(worker ? worker->id : NULL);
}

reeve_rc reeve_worker_stats_read(reeve_worker_stats *out, reeve_worker *worker,
                                 reeve_error *err) {
    reeve__error_clear(err);
    if (!out)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    reeve_rc rc = reeve__worker_check(worker, err);
    if (rc)
        return rc;
    reeve__lock(&worker->mutex);
    reeve_worker_stats stats = worker->stats;
    stats.active = (int32_t)worker->live_count;
    stats.held = (int32_t)worker->ready.count;
    reeve__worker_unlock(worker);
    stats.size = (uint32_t)sizeof stats;
    return reeve__struct_store(out, &stats, sizeof stats, "reeve_worker_stats",
                               err);
}

/* --- manual workers ---------------------------------------------------- */

static void fetch_all(reeve_worker *worker) {
    int64_t by_ns = 0;
    reeve__lock(&worker->mutex);
    for (size_t q = 0; q < worker->queue_count; q++)
        reeve__select_wake(&worker->select, q);
    reeve__worker_unlock(worker);
    while (reeve__fetch_step(worker, &by_ns) == REEVE__FETCH_AGAIN &&
           !worker->failures_in_row)
        ;
}

reeve_rc reeve_worker_step(int64_t *out_next_at_ms, reeve_worker *worker,
                           reeve_error *err) {
    reeve__error_clear(err);
    reeve_rc rc = reeve__worker_check(worker, err);
    if (rc)
        return rc;
    if (!worker->manual || worker->phase == REEVE__PHASE_NEW)
        return reeve__fail(err, REEVE_E_STATE,
                           "worker %s is not a started "
                           "manual worker",
                           worker->id);
    rc = reeve__weights_read(worker, worker->fetch_broker, err);
    if (rc)
        return rc;
    worker->away_until_ns = 0; /* the caller says when to ask again */
    reeve__lock(&worker->mutex);
    reeve__refused_ask_again(worker, reeve__mono_ns(worker->env));
    reeve__worker_unlock(worker);
    fetch_all(worker); /* settles first, so that promote sees the retries */
    (void)reeve__tick_step(worker, reeve__mono_ns(worker->env));
    fetch_all(worker);
    if (worker->failures_in_row)
        return reeve__fail(err, REEVE_E_NET,
                           "worker %s: the broker does not answer", worker->id);
    int64_t next_at_ms = 0;
    for (size_t q = 0; q < worker->queue_count; q++) {
        int64_t due_at_ms = worker->queues[q].next_due_at_ms;
        if (due_at_ms && (!next_at_ms || due_at_ms < next_at_ms))
            next_at_ms = due_at_ms;
    }
    if (out_next_at_ms)
        *out_next_at_ms = next_at_ms;
    if (worker->refused_seen)
        return reeve__fail(err, REEVE_E_SERVER,
                           "worker %s: the broker refuses a queue", worker->id);
    return 0;
}

/* --- the end ----------------------------------------------------------- */

static void end_running(reeve_worker *worker) {
    if (worker->phase == REEVE__PHASE_NEW)
        return;
    reeve_worker_stop(worker);
    reeve_worker_stop(worker);
    if (worker->manual) {
        if (worker->phase != REEVE__PHASE_STOPPED)
            fetch_all(worker);
        reeve__beat_send(worker, true);
        return;
    }
    reeve__thread_join(&worker->fetch_thread);
    reeve__thread_join(&worker->tick_thread);
    reeve__thread_join(&worker->control_thread);
    reeve__executor_join(worker);
}

static void drop_deliveries(reeve_worker *worker) {
    reeve_delivery *dlv;
    while ((dlv = worker->cancel_first) != NULL) {
        worker->cancel_first = dlv->cancel_next;
        reeve__delivery_unref(dlv);
    }
    while ((dlv = worker->overrun_first) != NULL) {
        worker->overrun_first = dlv->overrun_next;
        reeve__delivery_unref(dlv);
    }
    reeve__list_prepend(&worker->outbox, &worker->refused);
    while ((dlv = reeve__list_pop(&worker->outbox)) != NULL)
        reeve__delivery_unref(dlv);
    while ((dlv = worker->live_first) != NULL) {
        reeve__live_remove(worker, dlv);
        reeve__delivery_unref(dlv);
    }
}

static void close_brokers(reeve_worker *worker) {
    if (worker->tick_broker != worker->fetch_broker)
        reeve__broker_close(worker->tick_broker);
    if (worker->control_broker != worker->fetch_broker)
        reeve__broker_close(worker->control_broker);
    reeve__broker_close(worker->fetch_broker);
}

void reeve_worker_free(reeve_worker *worker) {
    if (!worker)
        return;
    reeve_env *env = worker->env;
    bool ours = worker->fork_count == reeve__fork_count();
    if (ours) { /* lists that a parent's thread was changing are left alone */
        end_running(worker);
        drop_deliveries(worker);
    }
    close_brokers(worker);
    for (size_t i = 0; i < worker->handler_count; i++)
        reeve__free(env, worker->handlers[i].type);
    reeve__free(env, worker->handlers);
    reeve__fetch_scratch_dispose(worker);
    reeve__worker_options_dispose(worker);
    reeve__wakefd_close(&worker->fetch_wake);
    reeve__wakefd_close(&worker->control_wake);
    reeve__wakefd_close(&worker->event_wake);
    if (ours) { /* a forked child's copies may be held by nobody: leave them */
        reeve__cond_dispose(&worker->ready_cond);
        reeve__cond_dispose(&worker->tick_cond);
        reeve__cond_dispose(&worker->done_cond);
        reeve__mutex_dispose(&worker->mutex);
    }
    reeve__free(env, worker);
    reeve_env_free(env);
}
