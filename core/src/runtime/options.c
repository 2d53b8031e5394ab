/*
 * Loading a worker's options; see options.h.
 */
#include "runtime/options.h"

#include <string.h>

#include "base/bytes.h"

#define CONCURRENCY_DEFAULT 10
#define CONCURRENCY_MAX 10000
#define LEASE_MS_MIN 100
#define LEASE_MS_MAX ((int64_t)24 * 3600 * 1000)
#define SETTLE_DELAY_MS_DEFAULT 5
#define SETTLE_DELAY_MS_MAX 10000
#define SETTLE_COUNT_DEFAULT 64
#define GRACE_MS_DEFAULT 25000
#define AGEING_MS_DEFAULT 1000
#define WEIGHT_MAX 1000

/* A bounded option: 0 stands for the default. */
static reeve_rc take_int(int64_t *out, const char *name, int64_t value,
                         int64_t least, int64_t most, int64_t standard,
                         reeve_error *err) {
    *out = value ? value : standard;
    if (value && (value < least || value > most))
        return reeve__fail(err, REEVE_E_INVALID,
                           "%s %lld is outside %lld..%lld", name,
                           (long long)value, (long long)least, (long long)most);
    return 0;
}

static reeve_rc take_numbers(reeve_worker *worker,
                             const reeve_worker_options *given,
                             reeve_error *err) {
    int64_t concurrency, threads, settle_count, settle_ms, ageing_ms, prefetch;
    int64_t unused;
    int64_t prefetch_given =
        given->prefetch == REEVE_NEVER ? 0 : given->prefetch;
    int64_t settle_given =
        given->settle_delay_ms == REEVE_NEVER ? 0 : given->settle_delay_ms;
    int64_t ageing_given =
        given->ageing_ms == REEVE_NEVER ? 0 : given->ageing_ms;
    reeve_rc rc = 0;
    (void)((rc = take_int(&concurrency, "concurrency", given->concurrency, 1,
                          CONCURRENCY_MAX, CONCURRENCY_DEFAULT, err)) ||
           (rc = take_int(&threads, "thread_count", given->thread_count, 1,
                          CONCURRENCY_MAX, concurrency, err)) ||
           (rc = take_int(&worker->lease_ms, "lease_ms", given->lease_ms,
                          LEASE_MS_MIN, LEASE_MS_MAX, REEVE_LEASE_MS_DEFAULT,
                          err)) ||
           (rc = take_int(&settle_ms, "settle_delay_ms", settle_given, 1,
                          SETTLE_DELAY_MS_MAX, SETTLE_DELAY_MS_DEFAULT, err)) ||
           (rc = take_int(&settle_count, "settle_count", given->settle_count, 1,
                          REEVE__SEND_MAX, SETTLE_COUNT_DEFAULT, err)) ||
           (rc = take_int(&ageing_ms, "ageing_ms", ageing_given, 1,
                          REEVE_SPAN_MS_MAX, AGEING_MS_DEFAULT, err)) ||
           (rc = take_int(&prefetch, "prefetch", prefetch_given, 1,
                          REEVE__PREFETCH_MAX, REEVE__PREFETCH_MAX, err)) ||
           (rc =
                take_int(&unused, "reserved", given->reserved, 0, 0, 0, err)) ||
           (rc = take_int(&worker->grace_ms, "grace_ms", given->grace_ms, 1,
                          REEVE_SPAN_MS_MAX, GRACE_MS_DEFAULT, err)) ||
           (rc = take_int(&worker->archive.keep_ms, "archive_ms",
                          given->archive_ms, 1, REEVE_SPAN_MS_MAX,
                          REEVE__ARCHIVE_MS_DEFAULT, err)) ||
           (rc = take_int(&worker->archive.keep_count, "archive_count",
                          given->archive_count, 1, INT32_MAX,
                          REEVE__ARCHIVE_COUNT_DEFAULT, err)));
    if (rc)
        return rc;
    worker->concurrency = (size_t)concurrency;
    worker->thread_count = (size_t)threads;
    worker->settle_count = (size_t)settle_count;
    worker->prefetch.limit =
        given->prefetch == REEVE_NEVER ? 0 : (size_t)prefetch;
    worker->settle_delay_ns =
        given->settle_delay_ms == REEVE_NEVER ? 0 : settle_ms * REEVE__MS_NS;
    worker->select.ageing_ns =
        given->ageing_ms == REEVE_NEVER ? INT64_MAX : ageing_ms * REEVE__MS_NS;
    return 0;
}

static reeve_rc take_queue(reeve_worker *worker, size_t index,
                           const reeve_worker_queue *given, reeve_error *err) {
    reeve_rc rc = reeve__name_check("queue name", given->name, err);
    if (rc)
        return rc;
    if (given->weight < 0 || given->weight > WEIGHT_MAX)
        return reeve__fail(err, REEVE_E_INVALID,
                           "weight %d of queue '%.*s' is outside 1..%d",
                           (int)given->weight, (int)given->name.size,
                           given->name.data, WEIGHT_MAX);
    for (size_t i = 0; i < index; i++) {
        if (reeve__bytes_is(given->name, worker->queues[i].name))
            return reeve__fail(err, REEVE_E_INVALID,
                               "queue '%.*s' is listed twice",
                               (int)given->name.size, given->name.data);
    }
    reeve__worker_queue *queue = &worker->queues[index];
    queue->own_weight = given->weight ? given->weight : 1;
    worker->select.queues[index].weight = queue->own_weight;
    queue->name =
        reeve__strndup(worker->env, given->name.data, given->name.size);
    return queue->name ? 0 : reeve__fail_nomem(err);
}

static reeve_rc take_queues(reeve_worker *worker,
                            const reeve_worker_options *given,
                            reeve_error *err) {
    static const reeve_worker_queue standard = {
        .name = { .data = "default", .size = 7 },
    };
    const reeve_worker_queue *queues =
        given->queue_count ? given->queues : &standard;
    size_t count = given->queue_count ? given->queue_count : 1;
    if (count > REEVE__WORKER_QUEUES_MAX)
        return reeve__fail(err, REEVE_E_INVALID, "%zu queues exceed %d", count,
                           REEVE__WORKER_QUEUES_MAX);
    if (!queues)
        return reeve__fail(err, REEVE_E_USAGE, "queues is NULL");
    worker->queues = reeve__calloc(worker->env, count, sizeof *worker->queues);
    worker->select.queues =
        reeve__calloc(worker->env, count, sizeof *worker->select.queues);
    if (!worker->queues || !worker->select.queues)
        return reeve__fail_nomem(err);
    worker->queue_count = worker->select.queue_count = count;
    reeve_rc rc = 0;
    for (size_t i = 0; !rc && i < count; i++)
        rc = take_queue(worker, i, &queues[i], err);
    return rc;
}

static reeve_rc take_text(char **out, reeve_worker *worker, const char *text,
                          reeve_error *err) {
    if (!text)
        return 0;
    *out = reeve__strndup(worker->env, text, strlen(text));
    return *out ? 0 : reeve__fail_nomem(err);
}

static reeve_rc take_id(reeve_worker *worker, const char *id,
                        reeve_error *err) {
    if (!id) {
        reeve__id_new(worker->id, worker->env, reeve__now_at_ms(worker->env));
        return 0;
    }
    reeve_rc rc = reeve__name_check("worker id", reeve_bytes_of(id), err);
    if (!rc)
        memcpy(worker->id, id, strlen(id) + 1);
    return rc;
}

reeve_rc reeve__worker_options_load(reeve_worker *worker,
                                    const reeve_worker_options *options,
                                    reeve_error *err) {
    reeve_worker_options given = REEVE_WORKER_OPTIONS_INIT;
    reeve_rc rc = 0;
    if (options)
        rc = reeve__struct_load(&given, sizeof given, sizeof given, options,
                                "reeve_worker_options", err);
    if (rc)
        return rc;
    if (given.order < REEVE_ORDER_WEIGHTED || given.order > REEVE_ORDER_STRICT)
        return reeve__fail(err, REEVE_E_INVALID, "order %d is outside %d..%d",
                           (int)given.order, REEVE_ORDER_WEIGHTED,
                           REEVE_ORDER_STRICT);
    worker->select.order = given.order;
    worker->manual = given.manual != 0;
    (void)((rc = take_numbers(worker, &given, err)) ||
           (rc = take_queues(worker, &given, err)) ||
           (rc = take_text(&worker->url, worker, given.url, err)) ||
           (rc = take_text(&worker->prefix, worker, given.prefix, err)) ||
           (rc = take_id(worker, given.id, err)));
    return rc;
}

void reeve__worker_options_dispose(reeve_worker *worker) {
    for (size_t q = 0; q < worker->queue_count; q++)
        reeve__free(worker->env, worker->queues[q].name);
    reeve__free(worker->env, worker->queues);
    reeve__free(worker->env, worker->select.queues);
    reeve__free(worker->env, worker->url);
    reeve__free(worker->env, worker->prefix);
}
