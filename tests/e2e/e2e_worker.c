/*
 * A worker whose every run is in a journal that survives SIGKILL:
 *
 *   S id token worker attempt mono_ns wall_ms queue     a handler starts
 *   E id token worker attempt mono_ns wall_ms queue     it ends (C = it was
 *                                                       told to stop)
 *
 * Prints "ready" when it has started. SIGTERM stops it with its grace, a
 * second one at once; SIGUSR1 prints its counters; at its end it prints them
 * too and leaves with 0.
 */
#include "e2e.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUES_MAX 64

typedef struct job {
    int journal;
    const char *worker;
    int64_t work_ns;       /* each run takes this long */
    int64_t work_max_ns;   /* plus a random part below this */
    uint64_t fail_percent; /* of the first runs fail */
    reeve_bytes deadly;    /* tasks of this type kill the worker */
    _Atomic uint64_t random;
} job;

static void note(const job *j, char what, const reeve_delivery_view *view) {
    e2e_journal_line(j->journal, "%c %.*s %lld %s %d %lld %lld %.*s", what,
                     (int)view->id.size, view->id.data, (long long)view->token,
                     j->worker, (int)view->attempt, (long long)e2e_mono_ns(),
                     (long long)e2e_wall_ms(), (int)view->queue.size,
                     view->queue.data);
}

static reeve_rc run(reeve_outcome *outcome, reeve_delivery *delivery,
                    void *user, reeve_error *err) {
    job *j = user;
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    reeve_rc rc = reeve_delivery_read(&view, delivery, err);
    if (rc)
        return rc;
    note(j, 'S', &view);
    if (view.type.size == j->deadly.size && j->deadly.size &&
        memcmp(view.type.data, j->deadly.data, view.type.size) == 0)
        (void)raise(SIGKILL);
    uint64_t seed = atomic_fetch_add(&j->random, 1);
    int64_t work_ns = j->work_ns;
    if (j->work_max_ns)
        work_ns += (int64_t)e2e_random(&seed, (uint64_t)j->work_max_ns);
    if (work_ns)
        e2e_sleep_ns(work_ns);
    bool cancelled = reeve_delivery_cancel_reason(delivery) != 0;
    note(j, cancelled ? 'C' : 'E', &view);
    if (view.attempt == 1 && e2e_random(&seed, 100) < j->fail_percent)
        return REEVE_E_BUSY;
    char *result = reeve_delivery_alloc(delivery, 256);
    if (!result)
        return REEVE_E_NOMEM;
    int size =
        snprintf(result, 256, "%s %lld", j->worker, (long long)view.token);
    outcome->result = (reeve_bytes){ result, (size_t)size };
    return 0;
}

/* "a=6,b=3,c" in place. */
static size_t parse_queues(reeve_worker_queue *queues, char *text) {
    size_t count = 0;
    char *save = NULL;
    for (char *part = strtok_r(text, ",", &save); part && count < QUEUES_MAX;
         part = strtok_r(NULL, ",", &save)) {
        char *weight = strchr(part, '=');
        if (weight)
            *weight++ = '\0';
        queues[count++] = (reeve_worker_queue){
            .name = reeve_bytes_of(part),
            .weight = weight ? atoi(weight) : 0,
        };
    }
    return count;
}

static void print_stats(reeve_worker *worker) {
    reeve_worker_stats s = REEVE_WORKER_STATS_INIT;
    if (reeve_worker_stats_read(&s, worker, NULL))
        return;
    (void)printf("{\"worker\": \"%s\", \"claimed\": %lld, \"done\": %lld, "
                 "\"retried\": %lld, \"archived\": %lld, \"requeued\": %lld, "
                 "\"lease_lost\": %lld, \"stuck\": %lld, \"reclaimed\": %lld, "
                 "\"reconnects\": %lld, \"active\": %d}\n",
                 reeve_worker_id(worker).data, (long long)s.claimed,
                 (long long)s.done, (long long)s.retried, (long long)s.archived,
                 (long long)s.requeued, (long long)s.lease_lost,
                 (long long)s.stuck, (long long)s.reclaimed,
                 (long long)s.reconnects, (int)s.active);
    (void)fflush(stdout);
}

/* Waits for signals and does what they say; returns when all has ended. */
static void serve(reeve_worker *worker, const sigset_t *signals) {
    bool stopping = false;
    for (;;) {
        struct timespec patience = { .tv_sec = stopping ? 0 : 3600,
                                     .tv_nsec = stopping ? 10000000 : 0 };
        int number = sigtimedwait(signals, NULL, &patience);
        if (number == SIGUSR1)
            print_stats(worker);
        if (number == SIGTERM || number == SIGINT) {
            stopping = true;
            reeve_worker_stop(worker);
        }
        if (stopping && reeve_worker_join(worker, 1, NULL) == 0)
            return;
    }
}

int main(int argc, char **argv) {
    e2e_args args = e2e_args_of(argc, argv);
    static job j;
    static reeve_worker_queue queues[QUEUES_MAX];
    char *queue_text = strdup(e2e_text(&args, "queues", "default"));
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = e2e_text(&args, "url", NULL);
    options.prefix = e2e_text(&args, "prefix", NULL);
    options.id = e2e_text(&args, "id", NULL);
    options.queues = queues;
    options.queue_count = queue_text ? parse_queues(queues, queue_text) : 0;
    options.order = (int32_t)e2e_number(&args, "strict", 0);
    options.ageing_ms = e2e_number(&args, "ageing-ms", 0);
    options.concurrency = (int32_t)e2e_number(&args, "concurrency", 0);
    options.thread_count = (int32_t)e2e_number(&args, "threads", 0);
    options.lease_ms = e2e_number(&args, "lease-ms", 0);
    options.settle_delay_ms = e2e_number(&args, "settle-ms", 0);
    options.settle_count = (int32_t)e2e_number(&args, "settle-count", 0);
    options.grace_ms = e2e_number(&args, "grace-ms", 0);
    j.journal = e2e_journal_open(e2e_text(&args, "journal", NULL));
    j.work_ns = e2e_number(&args, "work-us", 0) * 1000;
    j.work_max_ns = e2e_number(&args, "work-max-us", 0) * 1000;
    j.deadly = reeve_bytes_of(e2e_text(&args, "deadly-type", NULL));
    j.fail_percent = (uint64_t)e2e_number(&args, "fail-percent", 0);
    int32_t log_level = (int32_t)e2e_number(&args, "log", REEVE_LOG_WARN);
    e2e_args_end(&args);
    atomic_store(&j.random, (uint64_t)e2e_mono_ns());

    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);

    reeve_env *env = e2e_env(log_level);
    reeve_worker *worker = NULL;
    reeve_error err;
    reeve_rc rc = reeve_worker_new(&worker, env, &options, &err);
    if (rc)
        e2e_die(rc, &err);
    j.worker = reeve_worker_id(worker).data;
    rc = reeve_worker_handle(worker, (reeve_bytes){ 0 }, run, &j, &err);
    if (!rc)
        rc = reeve_worker_start(worker, &err);
    if (rc)
        e2e_die(rc, &err);
    (void)puts("ready");
    (void)fflush(stdout);
    serve(worker, &signals);
    print_stats(worker);
    reeve_worker_free(worker);
    reeve_env_free(env);
    free(queue_text);
    if (j.journal >= 0)
        (void)close(j.journal);
    return 0;
}
