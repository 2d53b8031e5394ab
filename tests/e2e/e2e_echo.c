/*
 * The C side of tests/e2e/test_languages.py:
 *
 *   e2e_echo work --url U --queue Q     every handler gives its payload back as
 *                                       the result; SIGTERM ends it
 *   e2e_echo put --url U --queue Q      enqueues the lines of standard input:
 *                                       "type id hex-payload"
 */
#include "e2e.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX 65536

static reeve_rc echo(reeve_outcome *outcome, reeve_delivery *delivery,
                     void *user, reeve_error *err) {
    (void)user;
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    reeve_rc rc = reeve_delivery_read(&view, delivery, err);
    outcome->result = view.payload;
    return rc;
}

static int work(const char *url, const char *queue) {
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    reeve_worker_queue name = { .name = reeve_bytes_of(queue) };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = url;
    options.queues = &name;
    options.queue_count = 1;
    options.concurrency = 2;
    reeve_worker *worker = NULL;
    reeve_error err;
    reeve_rc rc = reeve_worker_new(&worker, NULL, &options, &err);
    if (!rc)
        rc = reeve_worker_handle(worker, (reeve_bytes){ 0 }, echo, NULL, &err);
    if (!rc)
        rc = reeve_worker_start(worker, &err);
    if (rc)
        e2e_die(rc, &err);
    int number = 0;
    (void)sigwait(&signals, &number);
    reeve_worker_stop(worker);
    (void)reeve_worker_join(worker, REEVE_NEVER, NULL);
    reeve_worker_free(worker);
    return 0;
}

static int digit(char byte) {
    return byte <= '9' ? byte - '0' : byte - 'a' + 10;
}

/* In place; gives the bytes. */
static size_t from_hex(char *text) {
    size_t size = strlen(text) / 2;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
    return size;
}

static int put(const char *url, const char *queue) {
    static char line[LINE_BYTES_MAX];
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = url;
    reeve_client *client = NULL;
    reeve_error err;
    reeve_rc rc = reeve_client_open(&client, NULL, &options, &err);
    while (!rc && fgets(line, sizeof line, stdin)) {
        char *rest = NULL;
        const char *type = strtok_r(line, " \n", &rest);
        const char *id = strtok_r(NULL, " \n", &rest);
        char *payload = strtok_r(NULL, " \n", &rest);
        reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
        args.type = reeve_bytes_of(type);
        args.id = reeve_bytes_of(id);
        args.queue = reeve_bytes_of(queue);
        args.retention_ms = REEVE_NEVER;
        if (payload)
            args.payload = (reeve_bytes){ payload, from_hex(payload) };
        rc = reeve_client_enqueue(NULL, client, &args, &err);
    }
    if (rc)
        e2e_die(rc, &err);
    reeve_client_close(client);
    return 0;
}

int main(int argc, char **argv) {
    e2e_args args = e2e_args_of(argc, argv);
    const char *what = e2e_word(&args, 0);
    const char *url = e2e_text(&args, "url", NULL);
    const char *queue = e2e_text(&args, "queue", "default");
    e2e_args_end(&args);
    if (what && strcmp(what, "work") == 0)
        return work(url, queue);
    if (what && strcmp(what, "put") == 0)
        return put(url, queue);
    (void)fprintf(stderr, "e2e_echo work|put\n");
    return 2;
}
