/*
 * One measured phase of the C library, through its public face; prints one JSON
 * line. tests/bench/run.py runs the phases and reads the server's own figures
 * around each.
 *
 *   bench_core URL enqueue COUNT BATCH        one thread, BATCH tasks a call
 *   bench_core URL work COUNT CONCURRENCY     C handlers that only count
 *   bench_core URL poll COUNT CONCURRENCY     the poll face, one thread
 *   bench_core URL idle COUNT                 start latency of an idle worker
 *
 * work and poll expect COUNT pending tasks and end when they have run.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <reeve.h>

#define PAYLOAD_BYTES 200
#define QUEUE "bench"

static void die(const char *what, const reeve_error *err) {
    (void)fprintf(stderr, "bench_core: %s: %s\n", what, err->message);
    exit(1);
}

static double wall_s(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_s(void) {
    struct rusage use;
    (void)getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

typedef struct span {
    double wall;
    double cpu;
} span;

static span span_start(void) {
    return (span){ wall_s(), cpu_s() };
}

static void span_print(span start, const char *phase, long count, long param) {
    double wall = wall_s() - start.wall;
    double cpu = cpu_s() - start.cpu;
    (void)printf("{\"phase\":\"%s\",\"count\":%ld,\"param\":%ld,"
                 "\"wall_s\":%.6f,\"cpu_s\":%.6f,\"per_s\":%.0f,"
                 "\"cpu_us\":%.3f}\n",
                 phase, count, param, wall, cpu, (double)count / wall,
                 cpu * 1e6 / (double)count);
}

static reeve_client *open_client(const char *url) {
    reeve_error err;
    reeve_client *client = NULL;
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = url;
    if (reeve_client_open(&client, NULL, &options, &err))
        die("open", &err);
    return client;
}

static reeve_worker *open_worker(const char *url, long concurrency,
                                 reeve_handler handler, void *user) {
    reeve_error err;
    reeve_worker *worker = NULL;
    reeve_worker_queue queue = { .name = { QUEUE, strlen(QUEUE) },
                                 .weight = 1 };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = url;
    options.queues = &queue;
    options.queue_count = 1;
    options.concurrency = (int32_t)concurrency;
    options.thread_count = 1;
    if (reeve_worker_new(&worker, NULL, &options, &err) ||
        (handler && reeve_worker_handle(worker, (reeve_bytes){ 0 }, handler,
                                        user, &err)) ||
        reeve_worker_start(worker, &err))
        die("worker", &err);
    return worker;
}

static void fill(reeve_enqueue_args *args, const char *payload) {
    *args = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
    args->type = reeve_bytes_of("bench:noop");
    args->queue = reeve_bytes_of(QUEUE);
    args->payload = (reeve_bytes){ payload, PAYLOAD_BYTES };
}

static void run_enqueue(const char *url, long count, long batch) {
    char payload[PAYLOAD_BYTES];
    memset(payload, 'x', sizeof payload);
    reeve_client *client = open_client(url);
    reeve_enqueue_args *args = calloc((size_t)batch, sizeof *args);
    for (long i = 0; args && i < batch; i++)
        fill(&args[i], payload);
    reeve_error err;
    span start = span_start();
    for (long left = count; left > 0; left -= batch) {
        size_t size = (size_t)(left < batch ? left : batch);
        if (reeve_client_enqueue_many(NULL, client, args, size, &err))
            die("enqueue", &err);
    }
    span_print(start, "enqueue", count, batch);
    free(args);
    reeve_client_close(client);
}

static reeve_rc count_down(reeve_outcome *outcome, reeve_delivery *delivery,
                           void *user, reeve_error *err) {
    (void)outcome;
    (void)delivery;
    (void)err;
    atomic_fetch_sub((atomic_long *)user, 1);
    return 0;
}

static void run_work(const char *url, long count, long concurrency) {
    atomic_long left = count;
    span start = span_start();
    reeve_worker *worker = open_worker(url, concurrency, count_down, &left);
    while (atomic_load(&left) > 0)
        (void)reeve_worker_join(worker, 1, NULL);
    reeve_worker_stop(worker);
    (void)reeve_worker_join(worker, REEVE_NEVER, NULL);
    span_print(start, "work", count, concurrency);
    reeve_worker_free(worker);
}

static void run_poll(const char *url, long count, long concurrency) {
    reeve_event events[256];
    reeve_completion items[256];
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    span start = span_start();
    reeve_worker *worker = open_worker(url, concurrency, NULL, NULL);
    for (long left = count; left > 0;) {
        size_t got = reeve_worker_poll(events, 256, worker, REEVE_NEVER);
        for (size_t i = 0; i < got; i++)
            items[i] = (reeve_completion){ events[i].delivery, &outcome };
        (void)reeve_worker_complete_many(worker, items, got, NULL);
        left -= (long)got;
    }
    reeve_worker_stop(worker);
    (void)reeve_worker_join(worker, REEVE_NEVER, NULL);
    span_print(start, "poll", count, concurrency);
    reeve_worker_free(worker);
}

static int by_value(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Enqueues one task at a time and takes the time until it is polled. */
static void run_idle(const char *url, long count) {
    char payload[PAYLOAD_BYTES];
    memset(payload, 'x', sizeof payload);
    double *us = calloc((size_t)count, sizeof *us);
    reeve_client *client = open_client(url);
    reeve_worker *worker = open_worker(url, 1, NULL, NULL);
    reeve_enqueue_args args;
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    reeve_error err;
    fill(&args, payload);
    for (long i = 0; us && i < count; i++) {
        /* Let the worker settle the last task and go to the doorbell. */
        (void)nanosleep(&(struct timespec){ .tv_nsec = 15000000 }, NULL);
        reeve_event event = { 0 };
        double start = wall_s();
        if (reeve_client_enqueue(NULL, client, &args, &err))
            die("enqueue", &err);
        while (event.kind != REEVE_EVENT_DELIVERY)
            (void)reeve_worker_poll(&event, 1, worker, REEVE_NEVER);
        us[i] = (wall_s() - start) * 1e6;
        (void)reeve_worker_complete(worker, event.delivery, &outcome, NULL);
    }
    if (us) {
        qsort(us, (size_t)count, sizeof *us, by_value);
        (void)printf("{\"phase\":\"idle\",\"count\":%ld,\"p50_us\":%.1f,"
                     "\"p99_us\":%.1f}\n",
                     count, us[count / 2], us[count * 99 / 100]);
    }
    free(us);
    reeve_worker_free(worker);
    reeve_client_close(client);
}

int main(int argc, char **argv) {
    long count = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    long param = argc > 4 ? strtol(argv[4], NULL, 10) : 1;
    if (count <= 0 || param <= 0) {
        (void)fprintf(stderr, "usage: bench_core URL enqueue|work|poll|idle "
                              "COUNT [BATCH|CONCURRENCY]\n");
        return 2;
    }
    if (!strcmp(argv[2], "enqueue"))
        run_enqueue(argv[1], count, param);
    else if (!strcmp(argv[2], "work"))
        run_work(argv[1], count, param);
    else if (!strcmp(argv[2], "poll"))
        run_poll(argv[1], count, param);
    else
        run_idle(argv[1], count);
    return 0;
}
