/*
 * A worker inside somebody else's event loop: poll(2) watches the worker's
 * descriptor, deliveries are run here and completed in batches. No thread of
 * the library ever calls into this program.
 *
 *   poll_worker URL [QUEUE]
 */
#include <reeve.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>

#define BATCH_COUNT 64

/* reeve_worker_stop may be called in a signal handler. */
static reeve_worker *the_worker;

static void on_signal(int number) {
    (void)number;
    reeve_worker_stop(the_worker);
}

static reeve_outcome run(const reeve_delivery *delivery) {
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    (void)reeve_delivery_read(&view, delivery, NULL);
    printf("%.*s %.*s %.*s\n", (int)view.type.size, view.type.data,
           (int)view.id.size, view.id.data, (int)view.payload.size,
           view.payload.data);
    return outcome; /* zero is DONE */
}

/* Takes what waits and gives it back. Returns false after the last event. */
static bool turn(reeve_worker *worker) {
    reeve_event events[BATCH_COUNT];
    reeve_outcome outcomes[BATCH_COUNT];
    reeve_completion done[BATCH_COUNT];
    size_t done_count = 0;
    bool goes_on = true;
    size_t count = reeve_worker_poll(events, BATCH_COUNT, worker, 0);
    for (size_t i = 0; i < count; i++) {
        if (events[i].kind == REEVE_EVENT_STOPPED)
            goes_on = false;
        if (events[i].kind != REEVE_EVENT_DELIVERY)
            continue; /* CANCEL: what ran here has ended already */
        outcomes[done_count] = run(events[i].delivery);
        done[done_count] = (reeve_completion){
            .delivery = events[i].delivery,
            .outcome = &outcomes[done_count],
        };
        done_count++;
    }
    reeve_error err = { 0 };
    if (done_count > 0 &&
        reeve_worker_complete_many(worker, done, done_count, &err) != REEVE_OK)
        (void)fprintf(stderr, "poll_worker: %s\n", err.message);
    return goes_on;
}

static void loop(reeve_worker *worker) {
    struct pollfd fds[] = {
        { .fd = reeve_worker_fd(worker), .events = POLLIN },
        /* … the program's own descriptors … */
    };
    do {
        (void)poll(fds, sizeof fds / sizeof *fds, -1); /* EINTR: look, too */
    } while (turn(worker));
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3 || argv[1][0] == '-') {
        (void)fprintf(stderr, "usage: poll_worker URL [QUEUE]\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    reeve_worker_queue queue = {
        .name = reeve_bytes_of(argc == 3 ? argv[2] : "default"),
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = argv[1];
    options.queues = &queue;
    options.queue_count = 1;
    options.concurrency = BATCH_COUNT;

    reeve_error err = { 0 };
    reeve_rc rc = reeve_worker_new(&the_worker, NULL, &options, &err);
    if (rc == REEVE_OK)
        rc = reeve_worker_start(the_worker, &err);
    if (rc == REEVE_OK) {
        (void)signal(SIGTERM, on_signal);
        (void)signal(SIGINT, on_signal);
        printf("started\n");
        loop(the_worker);
        (void)signal(SIGTERM, SIG_IGN); /* nobody to stop from here on */
        (void)signal(SIGINT, SIG_IGN);
    } else {
        (void)fprintf(stderr, "poll_worker: %s: %s\n", reeve_code_slug(rc),
                      err.message);
    }
    reeve_worker_free(the_worker);
    return rc == REEVE_OK ? 0 : 1;
}
