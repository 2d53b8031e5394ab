/*
 * Enqueues and journals what was acknowledged:
 *
 *   A id before_ns after_ns due_at_ms existing index queue
 *   F index code message                     given up: its outcome is unknown
 *
 * Calls that fail with a RETRY class are repeated with the same id (or the same
 * idempotency key) for --retry-ms. At its end it prints its counts.
 */
#include "e2e.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH_MAX 100000
#define QUEUES_MAX 64

typedef struct plan {
    reeve_client *client;
    int acks;
    const char *label;
    const char *type;
    char *queues[QUEUES_MAX];
    size_t queue_count;
    int64_t count; /* of tasks, shared by all threads */
    int64_t batch;
    int64_t delay_ms;
    int64_t delay_max_ms;
    int64_t gap_max_us; /* random pause before each call */
    int64_t retry_ms;
    int64_t retention_ms;
    int64_t max_crashes;
    int64_t ids; /* 1: ids are label-index; 0: the library makes them */
    int64_t idempotent;
    char *payload;
    size_t payload_bytes;
    _Atomic int64_t next; /* index to take */
    _Atomic int64_t acked;
    _Atomic int64_t existing;
    _Atomic int64_t given_up;
    _Atomic int64_t retries;
    _Atomic int64_t slowest_ns;
} plan;

/* Memory of one thread's calls. */
typedef struct lane {
    plan *p;
    uint64_t random;
    reeve_enqueue_args *args;
    reeve_enqueue_result *results;
    char (*names)[REEVE_ID_BYTES_MAX + 1];
} lane;

static void fill(lane *l, int64_t first, int64_t count) {
    plan *p = l->p;
    for (int64_t i = 0; i < count; i++) {
        reeve_enqueue_args *args = &l->args[i];
        *args = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
        (void)snprintf(l->names[i], sizeof l->names[i], "%s-%lld", p->label,
                       (long long)(first + i));
        args->type = reeve_bytes_of(p->type);
        args->queue =
            reeve_bytes_of(p->queues[(size_t)(first + i) % p->queue_count]);
        args->payload = (reeve_bytes){ p->payload, p->payload_bytes };
        if (p->ids)
            args->id = reeve_bytes_of(l->names[i]);
        if (p->idempotent)
            args->idempotency_key = reeve_bytes_of(l->names[i]);
        args->retention_ms = p->retention_ms;
        args->max_crashes = (int32_t)p->max_crashes;
        args->delay_ms = p->delay_ms;
        if (p->delay_max_ms)
            args->delay_ms +=
                (int64_t)e2e_random(&l->random, (uint64_t)p->delay_max_ms);
    }
}

static void note_slowest(plan *p, int64_t ns) {
    int64_t slowest = atomic_load(&p->slowest_ns);
    while (ns > slowest &&
           !atomic_compare_exchange_weak(&p->slowest_ns, &slowest, ns))
        ;
}

static void journal(lane *l, int64_t first, int64_t count, int64_t before_ns) {
    plan *p = l->p;
    int64_t after_ns = e2e_mono_ns();
    note_slowest(p, after_ns - before_ns);
    for (int64_t i = 0; i < count; i++) {
        const reeve_enqueue_result *result = &l->results[i];
        atomic_fetch_add(&p->existing, result->existing);
        e2e_journal_line(p->acks, "A %s %lld %lld %lld %d %lld %.*s",
                         result->id, (long long)before_ns, (long long)after_ns,
                         (long long)result->due_at_ms, (int)result->existing,
                         (long long)(first + i), (int)l->args[i].queue.size,
                         l->args[i].queue.data);
    }
    atomic_fetch_add(&p->acked, count);
}

/* Stores one batch, again and again while that may help. */
static void store(lane *l, int64_t first, int64_t count) {
    plan *p = l->p;
    int64_t give_up_ns = e2e_mono_ns() + p->retry_ms * 1000000;
    for (bool again = false;; again = true) {
        reeve_error err;
        int64_t before_ns = e2e_mono_ns();
        reeve_rc rc = reeve_client_enqueue_many(l->results, p->client, l->args,
                                                (size_t)count, &err);
        if (rc == REEVE_E_EXISTS && again)
            rc = 0; /* stored by the call whose reply was lost */
        if (!rc) {
            journal(l, first, count, before_ns);
            return;
        }
        if (reeve_code_class(rc) != REEVE_CLASS_RETRY ||
            e2e_mono_ns() > give_up_ns) {
            for (int64_t i = 0; i < count; i++)
                e2e_journal_line(p->acks, "F %lld %s %s",
                                 (long long)(first + i), reeve_code_slug(rc),
                                 err.message);
            (void)fprintf(stderr, "%s: %s\n", reeve_code_slug(rc), err.message);
            atomic_fetch_add(&p->given_up, count);
            return;
        }
        atomic_fetch_add(&p->retries, 1);
        e2e_sleep_ns(5000000);
    }
}

static void *produce(void *arg) {
    lane *l = arg;
    plan *p = l->p;
    for (;;) {
        int64_t first = atomic_fetch_add(&p->next, p->batch);
        if (first >= p->count)
            return NULL;
        int64_t count =
            p->count - first < p->batch ? p->count - first : p->batch;
        if (p->gap_max_us)
            e2e_sleep_ns((int64_t)e2e_random(&l->random,
                                             (uint64_t)p->gap_max_us * 1000));
        fill(l, first, count);
        store(l, first, count);
    }
}

static void run_threads(plan *p, size_t thread_count) {
    lane *lanes = calloc(thread_count, sizeof *lanes);
    pthread_t *threads = calloc(thread_count, sizeof *threads);
    atomic_store(&p->next, 0);
    for (size_t i = 0; i < thread_count; i++) {
        size_t batch = (size_t)p->batch;
        lanes[i].p = p;
        lanes[i].random = (uint64_t)e2e_mono_ns() * (i + 1);
        lanes[i].args = calloc(batch, sizeof *lanes[i].args);
        lanes[i].results = calloc(batch, sizeof *lanes[i].results);
        lanes[i].names = calloc(batch, sizeof *lanes[i].names);
        if (pthread_create(&threads[i], NULL, produce, &lanes[i]))
            abort();
    }
    for (size_t i = 0; i < thread_count; i++) {
        (void)pthread_join(threads[i], NULL);
        free(lanes[i].args);
        free(lanes[i].results);
        free(lanes[i].names);
    }
    free(threads);
    free(lanes);
}

/* Before a fork, in the child and in the parent after it, with one client. */
static int run_forked(plan *p, size_t thread_count) {
    char label[64];
    const char *base = p->label;
    run_threads(p, thread_count);
    pid_t child = fork();
    if (child < 0)
        abort();
    (void)snprintf(label, sizeof label, "%s-%s", base,
                   child ? "parent" : "child");
    p->label = label;
    run_threads(p, thread_count);
    int status = 0;
    if (child && (waitpid(child, &status, 0) != child || status))
        return 1;
    p->label = base;
    if (!child)
        (void)puts("child done");
    return child ? 0 : -1;
}

static void open_client(plan *p, e2e_args *args, reeve_env *env) {
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = e2e_text(args, "url", NULL);
    options.prefix = e2e_text(args, "prefix", NULL);
    options.timeout_ms = e2e_number(args, "timeout-ms", 0);
    e2e_args_end(args);
    reeve_error err;
    reeve_rc rc = reeve_client_open(&p->client, env, &options, &err);
    if (rc)
        e2e_die(rc, &err);
}

static void load_plan(plan *p, e2e_args *args) {
    p->label = e2e_text(args, "label", "t");
    p->count = e2e_number(args, "count", 1);
    p->batch = e2e_number(args, "batch", 1);
    if (p->batch < 1 || p->batch > BATCH_MAX)
        exit(2);
    p->delay_ms = e2e_number(args, "delay-ms", 0);
    p->delay_max_ms = e2e_number(args, "delay-max-ms", 0);
    p->gap_max_us = e2e_number(args, "gap-max-us", 0);
    p->retry_ms = e2e_number(args, "retry-ms", 0);
    p->retention_ms = e2e_number(args, "retention-ms", 0);
    p->max_crashes = e2e_number(args, "max-crashes", 0);
    p->ids = e2e_number(args, "ids", 1);
    p->idempotent = e2e_number(args, "idempotent", 0);
    p->type = e2e_text(args, "type", "e2e");
    const char *payload = e2e_text(args, "payload", NULL);
    p->payload_bytes = payload ? strlen(payload)
                               : (size_t)e2e_number(args, "payload-bytes", 32);
    p->payload = calloc(p->payload_bytes + 1, 1);
    if (p->payload && payload)
        memcpy(p->payload, payload, p->payload_bytes);
    else if (p->payload)
        memset(p->payload, 'x', p->payload_bytes);
    p->acks = e2e_journal_open(e2e_text(args, "acks", NULL));
}

int main(int argc, char **argv) {
    static plan p;
    e2e_args args = e2e_args_of(argc, argv);
    load_plan(&p, &args);
    char *queues = strdup(e2e_text(&args, "queues", "default"));
    char *save = NULL;
    for (char *part = strtok_r(queues, ",", &save);
         part && p.queue_count < QUEUES_MAX; part = strtok_r(NULL, ",", &save))
        p.queues[p.queue_count++] = part;
    size_t thread_count = (size_t)e2e_number(&args, "threads", 1);
    bool forks = e2e_number(&args, "fork", 0) != 0;
    reeve_env *env = e2e_env((int32_t)e2e_number(&args, "log", REEVE_LOG_WARN));
    open_client(&p, &args, env);
    int64_t start_ns = e2e_mono_ns();
    int code = 0;
    if (forks)
        code = run_forked(&p, thread_count);
    else
        run_threads(&p, thread_count);
    if (code >= 0)
        (void)printf("{\"acked\": %lld, \"existing\": %lld, \"given_up\": %lld,"
                     " \"retries\": %lld, \"slowest_ms\": %.3f, "
                     "\"seconds\": %.6f}\n",
                     (long long)p.acked, (long long)p.existing,
                     (long long)p.given_up, (long long)p.retries,
                     (double)p.slowest_ns / 1e6,
                     (double)(e2e_mono_ns() - start_ns) / 1e9);
    reeve_client_close(p.client);
    reeve_env_free(env);
    free(p.payload);
    free(queues);
    if (p.acks >= 0)
        (void)close(p.acks);
    return code > 0;
}
