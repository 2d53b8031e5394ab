/*
 * The control thread: hears of changed weights and of quiet and resume, and
 * applies them to the running worker.
 */
#include "base/bytes.h"
#include "runtime/worker.h"

#define FAIL_PAUSE_MS 250
/* Weights are read this often even if no message came. */
#define REFRESH_MS 30000

typedef struct weight_reader {
    reeve_worker *worker;
    int32_t weights[REEVE__WORKER_QUEUES_MAX]; /* 0 = the worker's own */
} weight_reader;

static reeve_rc on_weight(void *ctx, reeve_bytes queue, int32_t weight,
                          reeve_error *err) {
    weight_reader *reader = ctx;
    (void)err;
    for (size_t q = 0; q < reader->worker->queue_count; q++) {
        if (reeve__bytes_is(queue, reader->worker->queues[q].name))
            reader->weights[q] = weight;
    }
    return 0;
}

reeve_rc reeve__weights_read(reeve_worker *worker, reeve__broker *broker,
                             reeve_error *err) {
    weight_reader reader = { .worker = worker };
    reeve_rc rc = broker->ops->weights(broker, on_weight, &reader, err);
    if (rc)
        return rc;
    reeve__lock(&worker->mutex);
    for (size_t q = 0; q < worker->queue_count; q++) {
        int32_t weight = reader.weights[q] ? reader.weights[q]
                                           : worker->queues[q].own_weight;
        if (weight != worker->select.queues[q].weight)
            reeve__select_set_weight(&worker->select, q, weight);
    }
    reeve__worker_unlock(worker);
    return 0;
}

static void pause_after(reeve_worker *worker, const char *what,
                        const reeve_error *err) {
    reeve__log(worker->env, REEVE_LOG_WARN, "worker %s: %s failed: %s",
               worker->id, what, err->message);
    (void)reeve__poll_two(worker->env, worker->control_wake.fd, -1,
                          reeve__by_ns(worker->env, FAIL_PAUSE_MS));
}

static bool is_over(reeve_worker *worker) {
    reeve__lock(&worker->mutex);
    bool over = worker->phase == REEVE__PHASE_STOPPED;
    reeve__worker_unlock(worker);
    return over;
}

void reeve__control_run(void *arg) {
    reeve_worker *worker = arg;
    reeve__broker *broker = worker->control_broker;
    int32_t message = REEVE__CONTROL_WEIGHTS; /* read them once at the start */
    while (!is_over(worker)) {
        reeve_error err = { 0 };
        if (message == REEVE__CONTROL_QUIET)
            reeve_worker_quiet(worker, true);
        else if (message == REEVE__CONTROL_RESUME)
            reeve_worker_quiet(worker, false);
        else if (reeve__weights_read(worker, broker, &err))
            pause_after(worker, "reading weights", &err);
        message = REEVE__CONTROL_NONE;
        if (broker->ops->watch(
                broker, reeve_bytes_of(worker->id), worker->control_wake.fd,
                reeve__by_ns(worker->env, REFRESH_MS), &message, &err))
            pause_after(worker, "listening for control", &err);
    }
    reeve__worker_thread_ends(worker);
}
