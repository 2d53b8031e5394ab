/*
 * Any bytes as a stored envelope. What decodes must survive a rewrite with
 * every member kept; what does not must survive being wrapped; and bytes taken
 * as enqueue arguments either fail the check or come back from a decode.
 */
#include "task/envelope.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition)                                                     \
    do {                                                                       \
        if (!(condition))                                                      \
            abort();                                                           \
    } while (0)

static void decoded(reeve__envelope *env, const reeve__buf *buf) {
    REQUIRE(!buf->failed);
    REQUIRE(reeve__envelope_decode(env, NULL, reeve__buf_view(buf), NULL) ==
            REEVE_OK);
}

static void check_same_task(const reeve__envelope *a,
                            const reeve__envelope *b) {
    REQUIRE(reeve__bytes_equal(a->type, b->type));
    REQUIRE(reeve__bytes_equal(a->payload, b->payload));
    REQUIRE(a->enqueued_at_ms == b->enqueued_at_ms);
    REQUIRE(a->timeout_ms == b->timeout_ms);
    REQUIRE(a->deadline_at_ms == b->deadline_at_ms);
    REQUIRE(a->lease_ms == b->lease_ms);
    REQUIRE(a->retention_ms == b->retention_ms);
    REQUIRE(a->priority == b->priority);
    REQUIRE(a->max_crashes == b->max_crashes);
    REQUIRE(a->retry.backoff == b->retry.backoff);
    REQUIRE(a->retry.jitter == b->retry.jitter);
    REQUIRE(a->retry.max_attempts == b->retry.max_attempts);
    REQUIRE(a->retry.base_ms == b->retry.base_ms);
    REQUIRE(a->retry.cap_ms == b->retry.cap_ms);
    REQUIRE(a->retry.factor == b->retry.factor);
    REQUIRE(a->retry.max_elapsed_ms == b->retry.max_elapsed_ms);
    REQUIRE(a->retry.delay_count == b->retry.delay_count);
    REQUIRE(a->header_count == b->header_count);
    for (size_t i = 0; i < a->header_count; i++) {
        REQUIRE(reeve__bytes_equal(a->headers[i].name, b->headers[i].name));
        REQUIRE(reeve__bytes_equal(a->headers[i].value, b->headers[i].value));
    }
}

static void check_rewrite(reeve_bytes stored, const reeve__envelope *old) {
    bool add = old->failures % 2 == 0;
    reeve__envelope_end end = {
        .at_ms = 7,
        .failures = old->failures,
        .crashes = old->crashes,
        .add_history = add,
        .crash = old->crashes % 2 != 0,
        .worker = old->type,
        .error_message = stored,
        .error_trace = old->payload,
        .reason = old->reason.size > 0 ? "why" : NULL,
    };
    reeve__buf out;
    reeve__buf_init(&out, NULL);
    reeve_error err;
    reeve_rc rc = reeve__envelope_rewrite(&out, NULL, stored, &end, NULL, &err);
    if (rc != REEVE_OK) {
        /* Canonical escapes may be longer than the stored ones. */
        REQUIRE(rc == REEVE_E_CORRUPT && out.size == 0);
        reeve__buf_dispose(&out);
        return;
    }
    reeve__envelope env;
    decoded(&env, &out);
    check_same_task(old, &env);
    REQUIRE(env.failures == old->failures && env.crashes == old->crashes);
    REQUIRE(env.history_count <= REEVE__HISTORY_MAX);
    REQUIRE((env.reason.size > 0) == (old->reason.size > 0));
    reeve__envelope_dispose(&env);
    reeve__buf_dispose(&out);
}

static void check_wrap(reeve_bytes stored, const char *why) {
    reeve__buf out;
    reeve__buf_init(&out, NULL);
    REQUIRE(reeve__envelope_wrap_unreadable(&out, stored, 5, why, NULL) ==
            REEVE_OK);
    reeve__envelope env;
    decoded(&env, &out);
    REQUIRE(reeve__bytes_equal(env.payload, stored));
    reeve__envelope_dispose(&env);
    reeve__buf_dispose(&out);
}

/* Takes bytes off the front of the input. */
static reeve_bytes take(reeve_bytes *input, size_t size) {
    if (size > input->size)
        size = input->size;
    reeve_bytes piece = { input->data, size };
    input->data += size;
    input->size -= size;
    return piece;
}

static int64_t take_int(reeve_bytes *input) {
    int64_t value = 0;
    reeve_bytes piece = take(
        input, 1 + (input->size > 0 ? (unsigned char)input->data[0] % 8u : 0));
    if (piece.size > 0)
        memcpy(&value, piece.data, piece.size);
    return value;
}

static void check_build(reeve_bytes input) {
    reeve_retry_options retry = REEVE_RETRY_OPTIONS_INIT;
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    reeve_header headers[2];
    args.type = reeve_bytes_of("fuzz");
    args.priority = (int32_t)take_int(&input) % 11;
    args.timeout_ms = take_int(&input);
    args.deadline_at_ms = take_int(&input);
    args.lease_ms = take_int(&input);
    args.retention_ms = take_int(&input);
    args.max_crashes = (int32_t)take_int(&input);
    retry.backoff = (int32_t)take_int(&input) % 4;
    retry.max_attempts = (int32_t)take_int(&input);
    retry.base_ms = take_int(&input);
    retry.cap_ms = take_int(&input);
    retry.factor = 1 + (double)(take_int(&input) % 990) / 10;
    args.retry = &retry;
    for (size_t i = 0; i < 2; i++) {
        headers[i].name = take(&input, (size_t)take_int(&input) % 16);
        headers[i].value = take(&input, (size_t)take_int(&input) % 64);
    }
    args.headers = headers;
    args.header_count = 2;
    args.payload = input;
    if (reeve__enqueue_args_check(&args, SIZE_MAX, 9, NULL) != REEVE_OK)
        return;
    reeve__buf out;
    reeve__buf_init(&out, NULL);
    REQUIRE(reeve__envelope_build(&out, &args, 9, NULL) == REEVE_OK);
    reeve__envelope env;
    decoded(&env, &out);
    REQUIRE(reeve__bytes_equal(env.payload, args.payload));
    REQUIRE(env.timeout_ms == args.timeout_ms);
    REQUIRE(env.header_count == 2);
    REQUIRE(reeve__bytes_equal(env.headers[0].value, headers[0].value));
    REQUIRE(reeve__bytes_equal(env.headers[1].name, headers[1].name));
    REQUIRE(env.retry.factor == retry.factor);
    reeve__envelope_dispose(&env);
    reeve__buf_dispose(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    reeve_bytes stored = { (const char *)data, size };
    reeve__envelope env;
    reeve_error err = { 0 };
    reeve_rc rc = reeve__envelope_decode(&env, NULL, stored, &err);
    REQUIRE(rc == REEVE_OK || rc == REEVE_E_CORRUPT);
    REQUIRE(err.code == rc);
    if (rc == REEVE_OK) {
        check_rewrite(stored, &env);
        reeve__envelope_dispose(&env);
    } else {
        check_wrap(stored, err.message);
    }
    check_build(stored);
    return 0;
}
