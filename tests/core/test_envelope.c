/*
 * The stored form of a task: how it is read and rewritten, what is refused;
 * golden files of format 1; every allocation failing.
 */
#include "task/envelope.h"

#include "base/bytes.h"
#include "core/prng.h"
#include "support/failing_alloc.h"
#include "task/retry.h"

#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BYTES(literal) ((reeve_bytes){ literal, sizeof(literal) - 1 })
/* The same for static tables, whose initialisers may not be compound. */
#define TEXT(literal)                                                          \
    { literal, sizeof(literal) - 1 }
#define AT 1763600000000

static void assert_text(reeve_bytes got, const char *want) {
    if (!reeve__bytes_is(got, want))
        fail_msg("'%.*s' is not '%s'", (int)got.size, got.data, want);
}

static reeve_enqueue_args args_of(const char *type) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of(type);
    return args;
}

static reeve_rc check(const reeve_enqueue_args *args, reeve_error *err) {
    *err = (reeve_error){ 0 };
    return reeve__enqueue_args_check(args, REEVE_PAYLOAD_BYTES_MAX, AT, err);
}

static void build_text(reeve__buf *buf, const reeve_enqueue_args *args,
                       int64_t at_ms) {
    reeve_error err;
    assert_int_equal(check(args, &err), REEVE_OK);
    reeve__buf_init(buf, NULL);
    assert_int_equal(reeve__envelope_build(buf, args, at_ms, &err), REEVE_OK);
}

static void decode_gives_back_what_was_built(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0501);
    for (int i = 0; i < 5000; i++) {
        int64_t delays[4] = { 1, 2, 3, 4 };
        reeve_retry_options retry = REEVE_RETRY_OPTIONS_INIT;
        retry.backoff = (int32_t)prng_below(&rng, 5);
        retry.jitter = (int32_t)prng_below(&rng, 4);
        retry.max_attempts = (int32_t)prng_below(&rng, 5) - 1;
        retry.base_ms = (int64_t)prng_below(&rng, 3) * 5000000;
        retry.cap_ms = (int64_t)prng_below(&rng, 3) * 500;
        retry.factor =
            prng_below(&rng, 2) ? 0 : 1 + (double)prng_below(&rng, 1000) / 100;
        retry.max_elapsed_ms = (int64_t)prng_below(&rng, 2);
        retry.delays_ms = delays;
        retry.delay_count =
            retry.backoff == REEVE_BACKOFF_LIST ? 1 + prng_below(&rng, 4) : 0;
        reeve_header header = { BYTES("k\""), BYTES("v\\\xc3\xa9") };
        char payload[9];
        memcpy(payload, &(uint64_t){ prng_next(&rng) }, 8);
        reeve_enqueue_args args = args_of("a:b");
        args.priority = (int32_t)prng_below(&rng, 11) - 1;
        args.payload = (reeve_bytes){ payload, prng_below(&rng, 9) };
        args.timeout_ms = (int64_t)prng_below(&rng, 2) * 77;
        args.deadline_at_ms = (int64_t)(prng_next(&rng) >> 17);
        args.lease_ms = (int64_t)prng_below(&rng, 2) * 8800;
        args.retention_ms = (int64_t)prng_below(&rng, 3) - 1;
        args.max_crashes = (int32_t)prng_below(&rng, 5) - 1;
        args.retry = prng_below(&rng, 4) ? &retry : NULL;
        args.headers = &header;
        args.header_count = prng_below(&rng, 2);
        reeve__buf buf;
        build_text(&buf, &args, AT + i);
        reeve__envelope env;
        assert_int_equal(
            reeve__envelope_decode(&env, NULL, reeve__buf_view(&buf), NULL), 0);
        assert_text(env.type, "a:b");
        assert_true(reeve__bytes_equal(env.payload, args.payload));
        assert_int_equal(env.enqueued_at_ms, AT + i);
        assert_int_equal(env.priority, args.priority == -1  ? 0
                                       : args.priority == 0 ? 5
                                                            : args.priority);
        assert_int_equal(env.timeout_ms, args.timeout_ms);
        assert_int_equal(env.deadline_at_ms, args.deadline_at_ms);
        assert_int_equal(env.lease_ms, args.lease_ms);
        assert_int_equal(env.retention_ms, args.retention_ms);
        assert_int_equal(env.max_crashes,
                         args.max_crashes == 0 ? 3 : args.max_crashes);
        assert_int_equal(env.failures + env.crashes, 0);
        assert_int_equal(env.header_count, args.header_count);
        if (env.header_count > 0) {
            assert_true(reeve__bytes_equal(env.headers[0].name, header.name));
            assert_true(reeve__bytes_equal(env.headers[0].value, header.value));
        }
        reeve_retry_options want = { .size = (uint32_t)sizeof(want) };
        if (args.retry != NULL)
            want = retry;
        reeve__retry_resolve(&want);
        assert_int_equal(env.retry.backoff, want.backoff);
        assert_int_equal(env.retry.jitter, want.jitter);
        assert_int_equal(env.retry.max_attempts, want.max_attempts);
        assert_int_equal(env.retry.base_ms, want.base_ms);
        assert_int_equal(env.retry.cap_ms, want.cap_ms);
        assert_true(env.retry.factor == want.factor);
        assert_int_equal(env.retry.max_elapsed_ms, want.max_elapsed_ms);
        assert_int_equal(env.retry.delay_count, want.delay_count);
        if (want.delay_count > 0)
            assert_memory_equal(env.retry.delays_ms, delays,
                                want.delay_count * sizeof(delays[0]));
        reeve__envelope_dispose(&env);
        reeve__buf_dispose(&buf);
    }
}

static void wrong_lines_are_corrupt(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        const char *message;
    } rows[] = {
        { "", "envelope: no line end in the first 0 bytes" },
        { "{}", "envelope: no line end in the first 2 bytes" },
        { "\n", "json has a premature end at byte 0" },
        { "[]\n", "envelope: the line is not an object" },
        { "{}\n", "envelope: v is missing" },
        { "{\"v\":\"1\",\"type\":\"t\"}\n", "envelope: v is missing" },
        { "{\"v\":2,\"type\":\"t\"}\n",
          "envelope: v 2 is not 1, the only one known" },
        { "{\"v\":1}\n", "type is empty" },
        { "{\"v\":1,\"type\":5}\n", "envelope: type is not a string" },
        { "{\"v\":1,\"type\":\"a b\"}\n",
          "type 'a b' has byte 0x20 at 1, allowed are A-Z a-z 0-9 _ - . : / @ "
          "+" },
        { "{\"v\":1,\"type\":\"t\",\"at\":-1}\n", "at -1 is negative" },
        { "{\"v\":1,\"type\":\"t\",\"at\":1.5}\n",
          "envelope: at is not a 64-bit integer" },
        { "{\"v\":1,\"type\":\"t\",\"at\":9223372036854775808}\n",
          "envelope: at is not a 64-bit integer" },
        { "{\"v\":1,\"type\":\"t\",\"at\":null}\n",
          "envelope: at is not a 64-bit integer" },
        { "{\"v\":1,\"type\":\"t\",\"priority\":10}\n",
          "priority 10 is outside 0..9" },
        { "{\"v\":1,\"type\":\"t\",\"failures\":2147483648}\n",
          "failures 2147483648 is above 2147483647" },
        { "{\"v\":1,\"type\":\"t\",\"crashes\":-1}\n",
          "crashes -1 is negative" },
        { "{\"v\":1,\"type\":\"t\",\"retention_ms\":-2}\n",
          "retention_ms -2 is below -1" },
        { "{\"v\":1,\"type\":\"t\",\"reason\":1}\n",
          "envelope: reason is not a string" },
        { "{\"v\":1,\"type\":\"t\",\"headers\":[]}\n",
          "envelope: headers is not an object" },
        { "{\"v\":1,\"type\":\"t\",\"headers\":{\"a\":1}}\n",
          "envelope: a is not a string" },
        { "{\"v\":1,\"type\":\"t\",\"history\":{}}\n",
          "envelope: history is not an array" },
        { "{\"v\":1,\"type\":\"t\",\"history\":[1]}\n",
          "envelope: a history entry is not an object" },
        { "{\"v\":1,\"type\":\"t\",\"history\":[{\"crash\":1}]}\n",
          "envelope: crash is not a boolean" },
        { "{\"v\":1,\"type\":\"t\",\"history\":[{\"worker\":1}]}\n",
          "envelope: worker is not a string" },
        { "{\"v\":1,\"type\":\"t\",\"history\":[{\"attempt\":-1}]}\n",
          "attempt -1 is negative" },
        { "{\"v\":1,\"type\":\"t\",\"retry\":1}\n",
          "envelope: retry is not an object" },
        { "{\"v\":1,\"type\":\"t\",\"retry\":{\"backoff\":\"odd\"}}\n",
          "envelope: retry backoff 'odd' is unknown" },
        { "{\"v\":1,\"type\":\"t\",\"retry\":{\"jitter\":1}}\n",
          "envelope: jitter is not a string" },
        { "{\"v\":1,\"type\":\"t\",\"retry\":{\"factor\":\"2\"}}\n",
          "envelope: factor is not a number" },
        { "{\"v\":1,\"type\":\"t\",\"retry\":{\"factor\":0.5}}\n",
          "retry factor 0.5 is outside 1..100" },
        { "{\"v\":1,\"type\":\"t\",\"retry\":{\"base_ms\":-1}}\n",
          "base_ms -1 is negative" },
        { "{\"v\":1,\"type\":\"t\",\"retry\":{\"delays_ms\":1}}\n",
          "envelope: delays_ms is not an array" },
        { "{\"v\":1,\"type\":\"t\",\"retry\":{\"delays_ms\":[1]}}\n",
          "retry delays_ms are given but backoff is not list" },
        { "{\"v\":1,\"type\":\"t\",\"retry\":{\"backoff\":\"list\","
          "\"delays_ms\":[1.5]}}\n",
          "envelope: an item is not a 64-bit integer" },
        { "{\"v\":1,\"type\":\"t\",\"x\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}\n",
          "json is nested deeper than 16 at byte 37" },
        { "{\"v\":1,\"type\":\"t\"} x\n",
          "json has trailing bytes at byte 19" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        reeve__envelope env;
        reeve_error err = { 0 };
        reeve_rc rc = reeve__envelope_decode(
            &env, NULL, reeve_bytes_of(rows[i].bytes), &err);
        if (rc != REEVE_E_CORRUPT || err.code != REEVE_E_CORRUPT ||
            strcmp(err.message, rows[i].message) != 0)
            fail_msg("row %zu: rc %d, %s", i, rc, err.message);
        assert_int_equal(reeve__envelope_decode(
                             &env, NULL, reeve_bytes_of(rows[i].bytes), NULL),
                         REEVE_E_CORRUPT);
        reeve__buf out;
        reeve__buf_init(&out, NULL);
        reeve__envelope_end end = { .at_ms = 1 };
        assert_int_equal(reeve__envelope_rewrite(&out, NULL,
                                                 reeve_bytes_of(rows[i].bytes),
                                                 &end, NULL, NULL),
                         REEVE_E_CORRUPT);
        assert_int_equal(out.size, 0);
        reeve__buf_dispose(&out);
    }
}

static void lines_are_bounded(void **state) {
    (void)state;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    reeve__buf_add_text(&buf, "{\"v\":1,\"type\":\"t\",\"x\":\"");
    while (buf.size < REEVE__ENVELOPE_LINE_BYTES_MAX - 2)
        reeve__buf_add_char(&buf, 'x');
    reeve__buf_add_text(&buf, "\"}\n");
    reeve__envelope env;
    assert_int_equal(
        reeve__envelope_decode(&env, NULL, reeve__buf_view(&buf), NULL), 0);
    reeve__envelope_dispose(&env);
    /* It cannot take a failure count any more; nothing is appended. */
    reeve__buf out;
    reeve__buf_init(&out, NULL);
    reeve__buf_add_char(&out, '!');
    reeve_error err;
    reeve__envelope_end end = { .at_ms = 1, .failures = 1 };
    assert_int_equal(reeve__envelope_rewrite(&out, NULL, reeve__buf_view(&buf),
                                             &end, NULL, &err),
                     REEVE_E_CORRUPT);
    assert_string_equal(
        err.message,
        "envelope: the line has 65549 bytes, at most 65536 allowed");
    assert_text(reeve__buf_view(&out), "!");
    end.failures = 0;
    assert_int_equal(reeve__envelope_rewrite(&out, NULL, reeve__buf_view(&buf),
                                             &end, NULL, &err),
                     REEVE_OK);
    reeve__buf_dispose(&out);
    buf.size -= 3;
    reeve__buf_add_text(&buf, "x\"}\n");
    assert_int_equal(
        reeve__envelope_decode(&env, NULL, reeve__buf_view(&buf), &err),
        REEVE_E_CORRUPT);
    assert_string_equal(err.message,
                        "envelope: no line end in the first 65537 bytes");
    reeve__buf_dispose(&buf);
}

/* --- rewrite ------------------------------------------------------------ */

static void rewritten(reeve__buf *out, reeve_bytes stored,
                      const reeve__envelope_end *end) {
    reeve_error err = { 0 };
    reeve__buf_init(out, NULL);
    if (reeve__envelope_rewrite(out, NULL, stored, end, NULL, &err) != 0)
        fail_msg("%s", err.message);
}

static void history_keeps_the_last_five(void **state) {
    (void)state;
    reeve__buf stored;
    reeve__buf_init(&stored, NULL);
    reeve__buf_add_text(&stored, "{\"v\":1,\"type\":\"t\"}\np");
    for (int32_t run = 1; run <= 8; run++) {
        char message[16];
        snprintf(message, sizeof(message), "bad %d", run);
        reeve__envelope_end end = { .at_ms = AT + run,
                                    .failures = run,
                                    .add_history = true,
                                    .worker = BYTES("w"),
                                    .error_message = reeve_bytes_of(message),
                                    .error_trace = BYTES("trace") };
        reeve__buf out;
        rewritten(&out, reeve__buf_view(&stored), &end);
        reeve__buf_dispose(&stored);
        stored = out;
        reeve__envelope env;
        assert_int_equal(
            reeve__envelope_decode(&env, NULL, reeve__buf_view(&stored), NULL),
            0);
        size_t count = run < 5 ? (size_t)run : 5;
        assert_int_equal(env.history_count, count);
        assert_int_equal(env.failures, run);
        assert_text(env.payload, "p");
        for (size_t i = 0; i < count; i++) {
            const reeve_attempt_info *entry = &env.history[i];
            assert_int_equal(entry->attempt, run - (int32_t)(count - 1 - i));
            assert_int_equal(entry->at_ms, AT + entry->attempt);
            assert_text(entry->error_trace, i == count - 1 ? "trace" : "");
        }
        assert_text(env.history[count - 1].error_message, message);
        reeve__envelope_dispose(&env);
    }
    reeve__buf_dispose(&stored);
}

static void crash_is_the_attempt_after_the_failures(void **state) {
    (void)state;
    reeve__envelope_end end = { .at_ms = 5,
                                .failures = 2,
                                .crashes = 1,
                                .add_history = true,
                                .crash = true };
    reeve__buf out;
    rewritten(&out, BYTES("{\"v\":1,\"type\":\"t\",\"failures\":2}\n"), &end);
    assert_text(reeve__buf_view(&out),
                "{\"v\":1,\"type\":\"t\",\"failures\":2,\"crashes\":1,"
                "\"history\":[{\"at\":5,\"attempt\":3,\"crash\":true}]}\n");
    reeve__buf_dispose(&out);
}

static void reason_comes_and_goes(void **state) {
    (void)state;
    reeve__envelope_end end = { .at_ms = 5, .failures = 1, .reason = "why" };
    reeve__buf out;
    rewritten(&out, BYTES("{\"v\":1,\"type\":\"t\"}\np"), &end);
    assert_text(reeve__buf_view(&out),
                "{\"v\":1,\"type\":\"t\",\"failures\":1,\"reason\":\"why\","
                "\"ended_at\":5}\np");
    end = (reeve__envelope_end){ .at_ms = 6 };
    reeve__buf again;
    rewritten(&again, reeve__buf_view(&out), &end);
    assert_text(reeve__buf_view(&again), "{\"v\":1,\"type\":\"t\"}\np");
    reeve__buf_dispose(&out);
    reeve__buf_dispose(&again);
}

static void payload_is_replaced_when_given(void **state) {
    (void)state;
    reeve__envelope_end end = { .at_ms = 5 };
    reeve_bytes payload = BYTES("new\0\n");
    reeve__buf out;
    reeve__buf_init(&out, NULL);
    assert_int_equal(reeve__envelope_rewrite(
                         &out, NULL, BYTES("{\"v\":1,\"type\":\"t\"}\nold"),
                         &end, &payload, NULL),
                     0);
    assert_int_equal(out.size, 18 + 1 + 5);
    assert_memory_equal(out.data + out.size - 5, "new\0\n", 5);
    payload = BYTES("");
    reeve__buf_clear(&out);
    assert_int_equal(reeve__envelope_rewrite(
                         &out, NULL, BYTES("{\"v\":1,\"type\":\"t\"}\nold"),
                         &end, &payload, NULL),
                     0);
    assert_text(reeve__buf_view(&out), "{\"v\":1,\"type\":\"t\"}\n");
    reeve__buf_dispose(&out);
}

static void error_texts_are_cut_and_made_valid(void **state) {
    (void)state;
    static char noise[20000];
    memset(noise, '\xff', sizeof(noise));
    reeve_bytes all = { noise, sizeof(noise) };
    reeve__envelope_end end = { .at_ms = 5,
                                .failures = 1,
                                .add_history = true,
                                .worker = all,
                                .error_type = all,
                                .error_message = all,
                                .error_trace = all };
    reeve__buf out;
    rewritten(&out, BYTES("{\"v\":1,\"type\":\"t\"}\n"), &end);
    reeve__envelope env;
    assert_int_equal(
        reeve__envelope_decode(&env, NULL, reeve__buf_view(&out), NULL), 0);
    const reeve_attempt_info *entry = &env.history[0];
    /* U+FFFD is three bytes. */
    assert_int_equal(entry->worker.size, 126);
    assert_int_equal(entry->error_type.size, 126);
    assert_int_equal(entry->error_message.size, 1023);
    assert_int_equal(entry->error_trace.size, 8190);
    reeve__envelope_dispose(&env);
    reeve__buf_dispose(&out);
}

/* A line with `size` bytes in an unknown member and three old entries. */
static void stored_with(reeve__buf *stored, size_t size) {
    reeve__buf_init(stored, NULL);
    reeve__buf_add_text(stored, "{\"v\":1,\"type\":\"t\",\"x\":\"");
    while (size-- > 0)
        reeve__buf_add_char(stored, 'x');
    reeve__buf_add_text(stored, "\",\"history\":[{\"at\":1,\"attempt\":1},"
                                "{\"at\":2,\"attempt\":2},"
                                "{\"at\":3,\"attempt\":3}]}\n");
}

static void a_full_line_gives_up_history_step_by_step(void **state) {
    (void)state;
    static char trace[REEVE__ERROR_TRACE_BYTES_MAX];
    memset(trace, 't', sizeof(trace));
    static char message[REEVE__ERROR_MESSAGE_BYTES_MAX];
    memset(message, 'm', sizeof(message));
    static const struct {
        size_t filler;
        size_t entries; /* after */
        size_t trace;   /* bytes in the last */
    } rows[] = {
        { 100, 4, sizeof(trace) },
        { 65536 - 8192 - 1024 - 150, 3, sizeof(trace) },
        { 65536 - 8192 - 1024 - 100, 1, sizeof(trace) },
        { 65536 - 1024 - 100, 1, 0 },
        { 65536 - 105, 0, 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        reeve__buf stored;
        stored_with(&stored, rows[i].filler);
        reeve__envelope_end end = { .at_ms = 5,
                                    .failures = 4,
                                    .add_history = true,
                                    .error_message = { message,
                                                       sizeof(message) },
                                    .error_trace = { trace, sizeof(trace) } };
        reeve__buf out;
        rewritten(&out, reeve__buf_view(&stored), &end);
        reeve__envelope env;
        assert_int_equal(
            reeve__envelope_decode(&env, NULL, reeve__buf_view(&out), NULL), 0);
        if (env.history_count != rows[i].entries)
            fail_msg("row %zu: %zu entries", i, env.history_count);
        if (env.history_count > 0) {
            const reeve_attempt_info *last =
                &env.history[env.history_count - 1];
            assert_int_equal(last->attempt, 4);
            assert_int_equal(last->error_trace.size, rows[i].trace);
        }
        reeve__envelope_dispose(&env);
        reeve__buf_dispose(&out);
        reeve__buf_dispose(&stored);
    }
}

static void unreadable_bytes_are_kept(void **state) {
    (void)state;
    static const char stored[] = "\x00\xff{garbage\n";
    reeve__buf out;
    reeve__buf_init(&out, NULL);
    assert_int_equal(reeve__envelope_wrap_unreadable(&out, BYTES(stored), AT,
                                                     "json \"has\" \xff", NULL),
                     0);
    reeve__envelope env;
    assert_int_equal(
        reeve__envelope_decode(&env, NULL, reeve__buf_view(&out), NULL), 0);
    assert_text(env.type, "unreadable");
    assert_text(env.reason, "json \"has\" \xef\xbf\xbd");
    assert_int_equal(env.ended_at_ms, AT);
    assert_true(reeve__bytes_equal(env.payload, BYTES(stored)));
    reeve__envelope_dispose(&env);
    reeve__buf_dispose(&out);
}

/* --- golden files ------------------------------------------------------- */

static void load(reeve__buf *buf, const char *name) {
    const char *tests = getenv("REEVE_TESTS_DIR");
    char path[512];
    snprintf(path, sizeof(path), "%s/core/golden/%s",
             tests != NULL ? tests : "tests", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("cannot open %s", path);
    reeve__buf_init(buf, NULL);
    char *place = reeve__buf_reserve(buf, 65536);
    buf->size = fread(place, 1, 65536, file);
    fclose(file);
}

static void check_minimal(const reeve__envelope *env) {
    assert_text(env->type, "email:send");
    assert_text(env->payload, "");
    assert_int_equal(env->enqueued_at_ms, 0);
    assert_int_equal(env->priority, 5);
    assert_int_equal(env->max_crashes, 3);
    assert_int_equal(env->retry.max_attempts, 26);
    assert_int_equal(env->retry.backoff, REEVE_BACKOFF_EXPONENTIAL);
    assert_int_equal(env->header_count + env->history_count, 0);
}

static void check_full(const reeve__envelope *env) {
    assert_text(env->type, "report/build@2");
    assert_text(env->payload, "{\"to\":\"a@example.org\"}");
    assert_int_equal(env->enqueued_at_ms, AT);
    assert_int_equal(env->priority, 9);
    assert_int_equal(env->timeout_ms, 60000);
    assert_int_equal(env->deadline_at_ms, 1763700000000);
    assert_int_equal(env->lease_ms, 45000);
    assert_int_equal(env->retention_ms, REEVE_NEVER);
    assert_int_equal(env->max_crashes, REEVE_NEVER);
    assert_int_equal(env->failures, 2);
    assert_int_equal(env->crashes, 1);
    assert_text(env->reason, "attempts exhausted");
    assert_int_equal(env->ended_at_ms, AT + 9000);
    const reeve_retry_options *retry = &env->retry;
    assert_int_equal(retry->backoff, REEVE_BACKOFF_LIST);
    assert_int_equal(retry->jitter, REEVE_JITTER_EQUAL);
    assert_int_equal(retry->max_attempts, REEVE_NEVER);
    assert_int_equal(retry->base_ms, 50);
    assert_int_equal(retry->cap_ms, 9000);
    assert_true(retry->factor == 1.5);
    assert_int_equal(retry->max_elapsed_ms, 3600000);
    assert_int_equal(retry->delay_count, 3);
    assert_int_equal(retry->delays_ms[2], REEVE_SPAN_MS_MAX);
    assert_int_equal(env->header_count, 2);
    assert_text(env->headers[0].name, "trace-id");
    assert_text(env->headers[0].value, "00-4bf92f");
    assert_text(env->headers[1].value, "");
}

static void check_history(const reeve__envelope *env) {
    assert_int_equal(env->history_count, 5);
    assert_int_equal(env->failures, 4);
    assert_int_equal(env->crashes, 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(env->history[i].attempt, i + 1);
        assert_int_equal(env->history[i].at_ms, AT + (i + 1) * 1000);
        assert_int_equal(env->history[i].crash, 0);
    }
    assert_text(env->history[0].worker, "w-1");
    assert_text(env->history[0].error_type, "ValueError");
    assert_text(env->history[0].error_message, "bad 1");
    assert_int_equal(env->history[4].crash, 1);
    assert_text(env->history[4].error_trace, "a.py:1\na.py:2");
}

static void check_unknown(const reeve__envelope *env) {
    assert_text(env->type, "t");
    assert_int_equal(env->retry.base_ms, 7);
    assert_int_equal(env->history_count, 1);
    assert_text(env->history[0].error_trace, "x");
}

static void check_unicode(const reeve__envelope *env) {
    assert_text(env->headers[0].name, "gr\xc3\xb6\xc3\x9f"
                                      "e");
    assert_text(env->headers[0].value, "\xf0\x9f\x98\x80 na\xc3\xafve \"q\" \\ "
                                       "\x01\t");
    assert_text(env->headers[1].name, "\xe6\x97\xa5\xe6\x9c\xac");
    assert_text(env->reason, "\xc3\x84rger");
    assert_text(env->payload, "\xc3\xbc"
                              "ber");
}

static void check_binary(const reeve__envelope *env) {
    assert_int_equal(env->payload.size, 256 + 9);
    for (int i = 0; i < 256; i++)
        assert_int_equal((unsigned char)env->payload.data[i], i);
}

/* Byte for byte: what a rewrite makes of a stored line is read by others. */
static void check_rewrite(const char *name, reeve_bytes stored) {
    reeve__envelope_end end = { .at_ms = AT + 60000,
                                .failures = 7,
                                .crashes = 1,
                                .add_history = true,
                                .worker = BYTES("w-9"),
                                .error_type = BYTES("KeyError"),
                                .error_message = BYTES("'\xc3\xa9'\n\xff"),
                                .error_trace = BYTES("b.py:1\nb.py:2"),
                                .reason = "fatal error" };
    reeve__buf got;
    rewritten(&got, stored, &end);
    char path[512];
    snprintf(path, sizeof(path), "%s.rewritten", name);
    reeve__buf want;
    load(&want, path);
    if (!reeve__bytes_equal(reeve__buf_view(&got), reeve__buf_view(&want)))
        fail_msg("%s:\n%.*s", path, (int)got.size, got.data);
    reeve__buf_dispose(&got);
    reeve__buf_dispose(&want);
}

static void stored_format_1_is_read_and_rewritten(void **state) {
    (void)state;
    static const struct {
        const char *name;
        void (*check)(const reeve__envelope *env);
    } files[] = {
        { "minimal.v1", check_minimal }, { "full.v1", check_full },
        { "history.v1", check_history }, { "unknown.v1", check_unknown },
        { "unicode.v1", check_unicode }, { "binary.v1", check_binary },
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        reeve__buf stored;
        load(&stored, files[i].name);
        reeve__envelope env;
        reeve_error err = { 0 };
        if (reeve__envelope_decode(&env, NULL, reeve__buf_view(&stored), &err))
            fail_msg("%s: %s", files[i].name, err.message);
        files[i].check(&env);
        reeve__envelope_dispose(&env);
        check_rewrite(files[i].name, reeve__buf_view(&stored));
        reeve__buf_dispose(&stored);
    }
}

/* --- memory ------------------------------------------------------------- */

static const char *const rich =
    "{\"v\":1,\"type\":\"t\",\"big\":12345678901234567890,\"retry\":{"
    "\"backoff\":\"list\",\"delays_ms\":[1,2]},\"headers\":{\"a\":\"b\"},"
    "\"history\":[{\"at\":1,\"attempt\":1}]}\npayload";

static reeve_rc all_of_the_codec(reeve_env *env) {
    reeve__buf out;
    reeve__buf wrapped;
    reeve__envelope decoded;
    reeve_error err;
    reeve__buf_init(&out, env);
    reeve__buf_init(&wrapped, env);
    reeve_enqueue_args args = args_of("t");
    args.payload = reeve_bytes_of(rich);
    reeve__envelope_end end = { .failures = 1,
                                .add_history = true,
                                .error_message = BYTES("bad") };
    reeve_rc rc = reeve__envelope_build(&out, &args, AT, &err);
    if (rc == REEVE_OK)
        rc = reeve__envelope_rewrite(&out, env, reeve_bytes_of(rich), &end,
                                     NULL, &err);
    if (rc == REEVE_OK)
        rc = reeve__envelope_wrap_unreadable(&wrapped, reeve_bytes_of(rich), AT,
                                             "why", &err);
    if (rc == REEVE_OK) {
        rc = reeve__envelope_decode(&decoded, env, reeve_bytes_of(rich), &err);
        reeve__envelope_dispose(&decoded);
    }
    reeve__buf_dispose(&out);
    reeve__buf_dispose(&wrapped);
    return rc;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    failing_alloc fail;
    reeve_env *env = failing_alloc_env(&fail, NULL);
    long n = 0;
    for (;; n++) {
        failing_alloc_arm(&fail, n);
        reeve_rc rc = all_of_the_codec(env);
        bool fired = failing_alloc_disarm(&fail);
        assert_int_equal(rc, fired ? REEVE_E_NOMEM : REEVE_OK);
        assert_int_equal(failing_alloc_live(&fail), 0);
        if (!fired)
            break;
    }
    assert_true(n >= 8);
    reeve_env_free(env);
}

static atomic_long cjson_grants;

static void *failing_malloc(size_t bytes) {
    return atomic_fetch_sub(&cjson_grants, 1) == 0 ? NULL : malloc(bytes);
}

static void every_allocation_of_cjson_may_fail(void **state) {
    (void)state;
    cJSON_Hooks hooks = { failing_malloc, free };
    cJSON_InitHooks(&hooks);
    long n = 0;
    for (;; n++) {
        atomic_store(&cjson_grants, n);
        reeve_rc rc = all_of_the_codec(NULL);
        bool fired = atomic_load(&cjson_grants) < 0;
        assert_int_equal(rc, fired ? REEVE_E_NOMEM : REEVE_OK);
        if (!fired)
            break;
    }
    cJSON_InitHooks(NULL);
    assert_true(n >= 40);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_gives_back_what_was_built),
        cmocka_unit_test(wrong_lines_are_corrupt),
        cmocka_unit_test(lines_are_bounded),
        cmocka_unit_test(history_keeps_the_last_five),
        cmocka_unit_test(crash_is_the_attempt_after_the_failures),
        cmocka_unit_test(reason_comes_and_goes),
        cmocka_unit_test(payload_is_replaced_when_given),
        cmocka_unit_test(error_texts_are_cut_and_made_valid),
        cmocka_unit_test(a_full_line_gives_up_history_step_by_step),
        cmocka_unit_test(unreadable_bytes_are_kept),
        cmocka_unit_test(stored_format_1_is_read_and_rewritten),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_allocation_of_cjson_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
