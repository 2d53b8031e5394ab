/*
 * Arbitrary bytes as the settings a caller gives: enqueue arguments and retry
 * options, worker options and queues. Whatever passes the checks keeps their
 * bounds; whatever is refused has a message of one line; and what a producer was
 * allowed to build, a worker can read.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <reeve.h>

#include "policy/backoff.h"
#include "runtime/options.h"
#include "task/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes values from the input, zeros when it is used up. */
typedef struct source {
    const uint8_t *at;
    size_t left;
} source;

static void take(void *out, source *from, size_t size) {
    size_t have = size < from->left ? size : from->left;
    memset(out, 0, size);
    if (have)
        memcpy(out, from->at, have);
    from->at += have;
    from->left -= have;
}

/* Small values, huge ones and everything between, by the first byte. */
static int64_t take_int(source *from) {
    uint8_t kind = 0;
    int64_t value = 0;
    take(&kind, from, 1);
    take(&value, from, kind % 8 + 1);
    return kind & 0x40 && value != INT64_MIN ? -value : value;
}

static reeve_bytes take_text(source *from) {
    uint8_t size = 0;
    take(&size, from, 1);
    size_t have = size < from->left ? size : from->left;
    reeve_bytes text = { (const char *)from->at, have };
    from->at += have;
    from->left -= have;
    return text;
}

static void expect_message(reeve_rc rc, const reeve_error *err) {
    if (rc && (!err->message[0] || strchr(err->message, '\n') ||
               !memchr(err->message, '\0', sizeof err->message)))
        abort();
}

static void take_retry(reeve_retry_options *retry, int64_t delays[4],
                       source *from) {
    *retry = (reeve_retry_options)REEVE_RETRY_OPTIONS_INIT;
    retry->backoff = (int32_t)take_int(from);
    retry->jitter = (int32_t)take_int(from);
    retry->max_attempts = (int32_t)take_int(from);
    retry->base_ms = take_int(from);
    retry->cap_ms = take_int(from);
    retry->max_elapsed_ms = take_int(from);
    take(&retry->factor, from, sizeof retry->factor);
    for (int i = 0; i < 4; i++)
        delays[i] = take_int(from);
    retry->delays_ms = delays;
    retry->delay_count = (size_t)take_int(from) % 5;
}

static void check_decoded(const reeve__buf *buf,
                          const reeve_enqueue_args *args) {
    reeve__envelope envelope;
    reeve_error err = { 0 };
    if (reeve__envelope_decode(&envelope, NULL, reeve__buf_view(buf), &err))
        abort();
    if (envelope.type.size != args->type.size ||
        envelope.header_count != args->header_count ||
        envelope.payload.size != args->payload.size)
        abort();
    int64_t delay_ms =
        reeve__backoff_delay_ms(&envelope.retry, INT32_MAX, UINT64_MAX);
    if (delay_ms < 0 || delay_ms > REEVE_SPAN_MS_MAX)
        abort();
    reeve__envelope_dispose(&envelope);
}

static void fuzz_args(source *from) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    reeve_retry_options retry;
    int64_t delays[4];
    take_retry(&retry, delays, from);
    args.retry = &retry;
    args.type = take_text(from);
    args.queue = take_text(from);
    args.id = take_text(from);
    args.idempotency_key = take_text(from);
    args.payload = take_text(from);
    reeve_header headers[3];
    for (int i = 0; i < 3; i++)
        headers[i] = (reeve_header){ take_text(from), take_text(from) };
    args.headers = headers;
    args.header_count = (size_t)take_int(from) % 4;
    args.priority = (int32_t)take_int(from);
    args.idempotency_ttl_ms = take_int(from);
    args.delay_ms = take_int(from);
    args.due_at_ms = take_int(from);
    args.timeout_ms = take_int(from);
    args.deadline_at_ms = take_int(from);
    args.lease_ms = take_int(from);
    args.retention_ms = take_int(from);
    args.max_crashes = (int32_t)take_int(from);
    reeve_error err = { 0 };
    reeve_rc rc = reeve__enqueue_args_check(&args, 100, 1763600000000, &err);
    expect_message(rc, &err);
    if (rc)
        return;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    rc = reeve__envelope_build(&buf, &args, 1763600000000, &err);
    expect_message(rc, &err);
    if (!rc)
        check_decoded(&buf, &args);
    reeve__buf_dispose(&buf);
}

static void fuzz_worker(source *from) {
    reeve_worker_queue queues[3];
    for (int i = 0; i < 3; i++)
        queues[i] = (reeve_worker_queue){ .name = take_text(from),
                                          .weight = (int32_t)take_int(from) };
    char id[64] = { 0 };
    take(id, from, sizeof id - 1);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = "mem://";
    options.id = id[0] ? id : NULL;
    options.queues = queues;
    options.queue_count = (size_t)take_int(from) % 4;
    options.order = (int32_t)take_int(from);
    options.concurrency = (int32_t)take_int(from);
    options.thread_count = (int32_t)take_int(from);
    options.lease_ms = take_int(from);
    options.ageing_ms = take_int(from);
    options.settle_delay_ms = take_int(from);
    options.settle_count = (int32_t)take_int(from);
    options.grace_ms = take_int(from);
    options.archive_ms = take_int(from);
    options.archive_count = take_int(from);
    reeve_worker worker;
    memset(&worker, 0, sizeof worker);
    reeve_error err = { 0 };
    reeve_rc rc = reeve__worker_options_load(&worker, &options, &err);
    expect_message(rc, &err);
    if (!rc && (worker.concurrency < 1 || worker.concurrency > 10000 ||
                worker.lease_ms < 100 || worker.settle_count < 1 ||
                worker.queue_count < 1 || !worker.id[0]))
        abort();
    reeve__worker_options_dispose(&worker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    source from = { data, size };
    uint8_t which = 0;
    take(&which, &from, 1);
    if (which & 1)
        fuzz_args(&from);
    else
        fuzz_worker(&from);
    return 0;
}
