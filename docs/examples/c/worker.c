/*
 * A worker with C handlers. SIGTERM or SIGINT: it claims no more and finishes
 * what runs; again: it hands back what runs, at once.
 *
 *   worker --url URL [--queues mail=6,default=3] [--concurrency 8]
 */
#include <reeve.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUES_MAX 16

static reeve_delivery_view view_of(const reeve_delivery *delivery) {
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    (void)reeve_delivery_read(&view, delivery, NULL);
    return view;
}

/* Done, or failed for good: no retry makes a bad address good. */
static reeve_rc send_mail(reeve_outcome *outcome, reeve_delivery *delivery,
                          void *user, reeve_error *err) {
    (void)user, (void)err;
    reeve_delivery_view view = view_of(delivery);
    if (!memchr(view.payload.data, '@', view.payload.size)) {
        outcome->kind = REEVE_OUTCOME_FATAL;
        outcome->error_message = reeve_bytes_of("no @ in the address");
    } else {
        printf("email:send %.*s\n", (int)view.payload.size, view.payload.data);
    }
    return REEVE_OK;
}

/* Not yet: run again in 100 ms, without burning an attempt. */
static reeve_rc build_report(reeve_outcome *outcome, reeve_delivery *delivery,
                             void *user, reeve_error *err) {
    (void)user, (void)err;
    reeve_delivery_view view = view_of(delivery);
    if (view.claimed_at_ms - view.enqueued_at_ms < 700) {
        outcome->kind = REEVE_OUTCOME_SNOOZE;
        outcome->delay_ms = 100;
    }
    printf("report:build %s\n", outcome->delay_ms ? "snoozes" : "is built");
    return REEVE_OK;
}

/* Fails twice: a returned error code is retried by the task's policy. */
static reeve_rc call_partner(reeve_outcome *outcome, reeve_delivery *delivery,
                             void *user, reeve_error *err) {
    (void)user;
    reeve_delivery_view view = view_of(delivery);
    printf("partner:call attempt %d\n", view.attempt);
    if (view.attempt < 3) {
        (void)snprintf(err->message, sizeof err->message, "partner says 503");
        return REEVE_E_NET;
    }
    outcome->result = reeve_bytes_of("{\"status\":200}");
    return REEVE_OK;
}

static reeve_rc count_one(reeve_outcome *outcome, reeve_delivery *delivery,
                          void *user, reeve_error *err) {
    (void)outcome, (void)user, (void)err;
    reeve_delivery_view view = view_of(delivery);
    printf("count:one %.*s\n", (int)view.id.size, view.id.data);
    return REEVE_OK;
}

/* "mail=6,default=3" to an array; the views borrow from text. */
static size_t parse_queues(reeve_worker_queue *out, const char *text) {
    size_t count = 0;
    for (; *text && count < QUEUES_MAX; text += *text == ',', count++) {
        out[count].name = (reeve_bytes){ text, strcspn(text, "=,") };
        text += out[count].name.size;
        if (*text == '=')
            out[count].weight = (int32_t)strtol(text + 1, NULL, 10);
        text += strcspn(text, ",");
    }
    return count;
}

static reeve_rc set_up(reeve_worker *worker, reeve_error *err) {
    const char *types[] = { "email:send", "report:build", "partner:call",
                            "count:one" };
    const reeve_handler handlers[] = { send_mail, build_report, call_partner,
                                       count_one };
    reeve_rc rc = REEVE_OK;
    for (size_t i = 0; rc == REEVE_OK && i < sizeof types / sizeof *types; i++)
        rc = reeve_worker_handle(worker, reeve_bytes_of(types[i]), handlers[i],
                                 NULL, err);
    return rc;
}

/* The signals are blocked everywhere, so only this wait sees them. */
static void run_until_told(reeve_worker *worker, const sigset_t *signals) {
    const struct timespec now = { 0 };
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    printf("started\n");
    (void)sigwaitinfo(signals, NULL);
    reeve_worker_stop(worker);
    while (reeve_worker_join(worker, 100, NULL) == REEVE_E_TIMEOUT) {
        if (sigtimedwait(signals, NULL, &now) > 0)
            reeve_worker_stop(worker);
    }
    (void)reeve_worker_stats_read(&stats, worker, NULL);
    printf("done %lld\n", (long long)stats.done);
}

int main(int argc, char **argv) {
    reeve_worker_queue queues[QUEUES_MAX] = { 0 };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.queues = queues;
    bool good = argc % 2 == 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--url") == 0)
            options.url = argv[i + 1];
        else if (strcmp(argv[i], "--queues") == 0)
            options.queue_count = parse_queues(queues, argv[i + 1]);
        else if (strcmp(argv[i], "--concurrency") == 0)
            options.concurrency = (int32_t)strtol(argv[i + 1], NULL, 10);
        else
            good = false;
    }
    if (!good) {
        (void)fputs("usage: worker --url URL [--queues mail=6,default=3] "
                    "[--concurrency 8]\n",
                    stderr);
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL); /* threads inherit it */
    reeve_worker *worker = NULL;
    reeve_error err = { 0 };
    reeve_rc rc = reeve_worker_new(&worker, NULL, &options, &err);
    if (rc == REEVE_OK)
        rc = set_up(worker, &err);
    if (rc == REEVE_OK)
        rc = reeve_worker_start(worker, &err);
    if (rc == REEVE_OK)
        run_until_told(worker, &signals);
    else
        (void)fprintf(stderr, "worker: %s: %s\n", reeve_code_slug(rc),
                      err.message);
    reeve_worker_free(worker);
    return rc == REEVE_OK ? 0 : 1;
}
