/*
 * Load without end through the public face: scale.py starts several, reads the
 * server's own counters over a window, and kills them.
 *
 *   scale_load URL produce QUEUE BATCH
 *   scale_load URL work QUEUE CONCURRENCY
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reeve.h>

#define PAYLOAD_BYTES 200
#define EVENTS 256

static void die(const char *what, const reeve_error *err) {
    (void)fprintf(stderr, "scale_load: %s: %s\n", what, err->message);
    exit(1);
}

static void produce(const char *url, const char *queue, size_t batch) {
    char payload[PAYLOAD_BYTES] = "{\"text\":\"";
    size_t head = strlen(payload);
    memset(payload + head, 'x', PAYLOAD_BYTES - head - 2);
    memcpy(payload + PAYLOAD_BYTES - 2, "\"}", 2);
    reeve_error err;
    reeve_client *client = NULL;
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = url;
    reeve_enqueue_args *args = calloc(batch, sizeof *args);
    if (!args)
        exit(1);
    if (reeve_client_open(&client, NULL, &options, &err))
        die("open", &err);
    for (size_t i = 0; i < batch; i++) {
        args[i] = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
        args[i].type = reeve_bytes_of("bench:noop");
        args[i].queue = reeve_bytes_of(queue);
        args[i].payload = (reeve_bytes){ payload, PAYLOAD_BYTES };
    }
    for (;;)
        if (reeve_client_enqueue_many(NULL, client, args, batch, &err))
            die("enqueue", &err);
}

static void work(const char *url, const char *queue, size_t concurrency) {
    reeve_error err;
    reeve_worker *worker = NULL;
    reeve_worker_queue served = { .name = reeve_bytes_of(queue), .weight = 1 };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = url;
    options.queues = &served;
    options.queue_count = 1;
    options.concurrency = (int32_t)concurrency;
    if (reeve_worker_new(&worker, NULL, &options, &err) ||
        reeve_worker_start(worker, &err))
        die("worker", &err);
    reeve_event events[EVENTS];
    reeve_completion items[EVENTS];
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    for (;;) {
        size_t got = reeve_worker_poll(events, EVENTS, worker, REEVE_NEVER);
        for (size_t i = 0; i < got; i++)
            items[i] = (reeve_completion){ events[i].delivery, &outcome };
        (void)reeve_worker_complete_many(worker, items, got, NULL);
    }
}

int main(int argc, char **argv) {
    size_t param = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;
    if (param == 0) {
        (void)fprintf(stderr, "usage: scale_load URL produce|work QUEUE BATCH|"
                              "CONCURRENCY\n");
        return 2;
    }
    if (!strcmp(argv[2], "produce"))
        produce(argv[1], argv[3], param);
    work(argv[1], argv[3], param);
    return 0;
}
