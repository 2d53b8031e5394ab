/*
 * Puts tasks into queues: one, one later, one with its own retry policy, and
 * many in one call.
 *
 *   producer URL [COUNT]      producer sqlite:////tmp/reeve.db 20
 */
#include <reeve.h>

#include <stdio.h>
#include <stdlib.h>

/* One task whose caller may repeat the call: the key keeps it single. */
static reeve_rc send_mail(reeve_client *client, const char *order,
                          reeve_error *err) {
    const reeve_header headers[] = {
        { reeve_bytes_of("trace-id"), reeve_bytes_of("4bf92f3577b34da6") },
    };
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("email:send");
    args.queue = reeve_bytes_of("mail");
    args.payload = reeve_bytes_of("{\"to\":\"a@b.c\"}");
    args.headers = headers;
    args.header_count = sizeof headers / sizeof *headers;
    args.idempotency_key = reeve_bytes_of(order);

    reeve_enqueue_result result;
    reeve_rc rc = reeve_client_enqueue(&result, client, &args, err);
    if (rc == REEVE_OK)
        printf("email:send %s %s\n", result.id,
               result.existing ? "was there already" : "enqueued");
    return rc;
}

/* Due half a second from now, on the server's clock. */
static reeve_rc build_report(reeve_client *client, reeve_error *err) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("report:build");
    args.delay_ms = 500;
    args.timeout_ms = 10000;

    reeve_enqueue_result result;
    reeve_rc rc = reeve_client_enqueue(&result, client, &args, err);
    if (rc == REEVE_OK)
        printf("report:build %s is %s\n", result.id,
               reeve_state_name(result.state));
    return rc;
}

/* Five runs at most, 100 ms, 200 ms, 400 ms … apart, each cut by jitter. */
static reeve_rc call_partner(reeve_client *client, reeve_error *err) {
    reeve_retry_options retry = REEVE_RETRY_OPTIONS_INIT;
    retry.max_attempts = 5;
    retry.base_ms = 100;
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("partner:call");
    args.retry = &retry;
    args.retention_ms = 3600000; /* keep it and its result for an hour */

    reeve_enqueue_result result;
    reeve_rc rc = reeve_client_enqueue(&result, client, &args, err);
    if (rc == REEVE_OK)
        printf("partner:call %s enqueued\n", result.id);
    return rc;
}

/* Many in one round trip a queue. Each has an id of its own, so that running
 * this twice shows what becomes of ids that are taken. */
static reeve_rc count_many(reeve_client *client, size_t count,
                           reeve_error *err) {
    reeve_enqueue_args *args = calloc(count, sizeof *args);
    reeve_enqueue_result *results = calloc(count, sizeof *results);
    char(*ids)[32] = calloc(count, sizeof *ids);
    reeve_rc rc = REEVE_E_NOMEM;
    if (!args || !results || !ids)
        goto done;
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "count-%zu", i);
        args[i] = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
        args[i].type = reeve_bytes_of("count:one");
        args[i].id = reeve_bytes_of(ids[i]);
    }
    rc = reeve_client_enqueue_many(results, client, args, count, err);
    if (rc == REEVE_OK || rc == REEVE_E_EXISTS) {
        size_t stored = 0;
        for (size_t i = 0; i < count; i++)
            stored += results[i].code == REEVE_OK;
        printf("count:one %zu enqueued, %zu ids were taken\n", stored,
               count - stored);
        rc = REEVE_OK;
    }
done:
    free(ids);
    free(results);
    free(args);
    return rc;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3 || argv[1][0] == '-') {
        (void)fprintf(stderr, "usage: producer URL [COUNT]\n");
        return 2;
    }
    size_t count = argc == 3 ? strtoul(argv[2], NULL, 10) : 10;
    reeve_client *client = NULL;
    reeve_error err = { 0 };
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = argv[1];

    reeve_rc rc = reeve_client_open(&client, NULL, &options, &err);
    if (rc == REEVE_OK)
        rc = send_mail(client, "order-1017", &err);
    if (rc == REEVE_OK)
        rc = build_report(client, &err);
    if (rc == REEVE_OK)
        rc = call_partner(client, &err);
    if (rc == REEVE_OK && count > 0)
        rc = count_many(client, count, &err);
    if (rc != REEVE_OK)
        (void)fprintf(stderr, "producer: %s: %s\n", reeve_code_slug(rc),
                      err.message);
    reeve_client_close(client);
    return rc == REEVE_OK ? 0 : 1;
}
