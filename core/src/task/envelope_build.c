/*
 * Writing the envelope of a new task, and of stored bytes that nobody can read.
 * On the path of every enqueue: no tree, no allocation but the buffer's.
 */
#include "task/envelope.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "task/json.h"
#include "task/retry.h"

/* Room for a plain line, so that the buffer grows once. */
#define LINE_BYTES_TYPICAL 512

static void add_int(reeve__buf *out, const char *lead, int64_t value,
                    int64_t unless) {
    if (value == unless)
        return;
    reeve__buf_add_text(out, lead);
    reeve__buf_add_int(out, value);
}

static void add_word(reeve__buf *out, const char *lead,
                     const char *const *words, int32_t value, int32_t unless) {
    if (value == unless)
        return;
    reeve__buf_add_text(out, lead);
    reeve__buf_add_text(out, words[value]);
    reeve__buf_add_char(out, '"');
}

static void add_delays(reeve__buf *out, const reeve_retry_options *retry) {
    if (retry->delay_count == 0)
        return;
    reeve__buf_add_text(out, ",\"delays_ms\":[");
    for (size_t i = 0; i < retry->delay_count; i++) {
        if (i > 0)
            reeve__buf_add_char(out, ',');
        reeve__buf_add_int(out, retry->delays_ms[i]);
    }
    reeve__buf_add_char(out, ']');
}

/* Only what differs from what would be read if it were left out. */
static void add_retry(reeve__buf *out, const reeve_retry_options *given) {
    reeve_retry_options retry = *given;
    reeve__retry_resolve(&retry);
    reeve_retry_options unset = { .backoff = retry.backoff,
                                  .base_ms = retry.base_ms };
    reeve__retry_resolve(&unset);
    size_t before = out->size;
    reeve__buf_add_text(out, ",\"retry\":{");
    size_t start = out->size;
    add_word(out, ",\"backoff\":\"", reeve__backoff_names, retry.backoff,
             REEVE_BACKOFF_EXPONENTIAL);
    add_word(out, ",\"jitter\":\"", reeve__jitter_names, retry.jitter,
             unset.jitter);
    add_int(out, ",\"max_attempts\":", retry.max_attempts, unset.max_attempts);
    add_int(out, ",\"base_ms\":", retry.base_ms, REEVE_BACKOFF_BASE_MS_DEFAULT);
    add_int(out, ",\"cap_ms\":", retry.cap_ms, unset.cap_ms);
    if (retry.factor != unset.factor) {
        reeve__buf_add_text(out, ",\"factor\":");
        reeve__json_add_number(out, retry.factor);
    }
    add_int(out, ",\"max_elapsed_ms\":", retry.max_elapsed_ms, 0);
    add_delays(out, &retry);
    if (out->failed)
        return;
    if (out->size == start) {
        out->size = before;
        return;
    }
    /* The first member needs no comma: close the gap. */
    memmove(out->data + start, out->data + start + 1, out->size - start - 1);
    out->data[out->size - 1] = '}';
}

static void add_headers(reeve__buf *out, const reeve_enqueue_args *args) {
    if (args->header_count == 0)
        return;
    reeve__buf_add_text(out, ",\"headers\":{");
    for (size_t i = 0; i < args->header_count; i++) {
        if (i > 0)
            reeve__buf_add_char(out, ',');
        reeve__json_add_string(out, args->headers[i].name);
        reeve__buf_add_char(out, ':');
        reeve__json_add_string(out, args->headers[i].value);
    }
    reeve__buf_add_char(out, '}');
}

static int32_t priority_of(const reeve_enqueue_args *args) {
    if (args->priority == REEVE_PRIORITY_LOWEST)
        return 0;
    return args->priority == 0 ? REEVE_PRIORITY_DEFAULT : args->priority;
}

reeve_rc reeve__envelope_build(reeve__buf *out, const reeve_enqueue_args *args,
                               int64_t enqueued_at_ms, reeve_error *err) {
    reeve_retry_options retry;
    if (args->retry != NULL) {
        reeve_rc rc = reeve__struct_load(
            &retry, sizeof(retry), sizeof(reeve_retry_options), args->retry,
            "reeve_retry_options", err);
        if (rc != REEVE_OK)
            return rc;
    }
    size_t start = out->size;
    reeve__buf_reserve(out, args->payload.size + LINE_BYTES_TYPICAL);
    reeve__buf_add_text(out, "{\"v\":1,\"type\":\"");
    reeve__buf_add_bytes(out, args->type);
    reeve__buf_add_char(out, '"');
    add_int(out, ",\"at\":", enqueued_at_ms, 0);
    add_int(out, ",\"priority\":", priority_of(args), REEVE_PRIORITY_DEFAULT);
    add_int(out, ",\"timeout_ms\":", args->timeout_ms, 0);
    add_int(out, ",\"deadline_at_ms\":", args->deadline_at_ms, 0);
    add_int(out, ",\"lease_ms\":", args->lease_ms, 0);
    add_int(out, ",\"retention_ms\":", args->retention_ms, 0);
    if (args->max_crashes != 0)
        add_int(out, ",\"max_crashes\":", args->max_crashes,
                REEVE_MAX_CRASHES_DEFAULT);
    if (args->retry != NULL)
        add_retry(out, &retry);
    add_headers(out, args);
    reeve__buf_add(out, "}\n", 2);
    (void)start; /* only asserted */
    assert(out->size - start <= REEVE__ENVELOPE_LINE_BYTES_MAX);
    reeve__buf_add_bytes(out, args->payload);
    return out->failed ? reeve__fail_nomem(err) : REEVE_OK;
}

reeve_rc reeve__envelope_wrap_unreadable(reeve__buf *out, reeve_bytes stored,
                                         int64_t at_ms, const char *why,
                                         reeve_error *err) {
    reeve__buf reason;
    reeve__buf_init(&reason, out->env);
    reeve__utf8_sanitize(&reason, reeve_bytes_of(why),
                         REEVE__ERROR_MESSAGE_BYTES_MAX);
    reeve__buf_reserve(out, stored.size + LINE_BYTES_TYPICAL);
    reeve__buf_add_text(out, "{\"v\":1,\"type\":\"unreadable\",\"reason\":");
    reeve__json_add_string(out, reeve__buf_view(&reason));
    reeve__buf_add_text(out, ",\"ended_at\":");
    reeve__buf_add_int(out, at_ms);
    reeve__buf_add_text(out, "}\n");
    reeve__buf_add_bytes(out, stored);
    bool failed = out->failed || reason.failed;
    reeve__buf_dispose(&reason);
    return failed ? reeve__fail_nomem(err) : REEVE_OK;
}
