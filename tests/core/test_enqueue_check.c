/*
 * A new task: what is checked before it is stored, with what words, and the
 * envelope that is built of it.
 */
#include "task/envelope.h"

#include "base/bytes.h"

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

static void refused(const reeve_enqueue_args *args, reeve_rc rc,
                    const char *message) {
    reeve_error err;
    assert_int_equal(check(args, &err), rc);
    assert_int_equal(err.code, rc);
    assert_string_equal(err.message, message);
}

static void numbers_out_of_bounds_are_named(void **state) {
    (void)state;
    static const struct {
        reeve_enqueue_args args;
        const char *message; /* NULL = accepted */
    } rows[] = {
        { { .priority = 0 }, NULL },
        { { .priority = 9 }, NULL },
        { { .priority = REEVE_PRIORITY_LOWEST }, NULL },
        { { .priority = 12 }, "priority 12 is outside 0..9" },
        { { .priority = -2 }, "priority -2 is outside 0..9" },
        { { .timeout_ms = -5 }, "timeout_ms -5 is negative" },
        { { .timeout_ms = REEVE_SPAN_MS_MAX }, NULL },
        { { .timeout_ms = REEVE_SPAN_MS_MAX + 1 },
          "timeout_ms 316224000001 is above 316224000000" },
        { { .delay_ms = -1 }, "delay_ms -1 is negative" },
        { { .due_at_ms = -1 }, "due_at_ms -1 is negative" },
        { { .due_at_ms = REEVE_AT_MS_MAX }, NULL },
        { { .due_at_ms = REEVE_AT_MS_MAX + 1 },
          "due_at_ms 253402300800000 is above 253402300799999" },
        { { .deadline_at_ms = REEVE_AT_MS_MAX + 1 },
          "deadline_at_ms 253402300800000 is above 253402300799999" },
        { { .delay_ms = 1, .due_at_ms = 1 },
          "delay_ms and due_at_ms are both set, one allowed" },
        { { .deadline_at_ms = -1 }, "deadline_at_ms -1 is negative" },
        { { .lease_ms = -1 }, "lease_ms -1 is negative" },
        { { .retention_ms = REEVE_NEVER }, NULL },
        { { .retention_ms = -2 }, "retention_ms -2 is below -1" },
        { { .max_crashes = REEVE_NEVER }, NULL },
        { { .max_crashes = -2 }, "max_crashes -2 is below -1" },
        { { .idempotency_ttl_ms = -1 }, "idempotency_ttl_ms -1 is negative" },
        { { .reserved = 1 }, "reserved 1 is outside 0..0" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        reeve_enqueue_args args = rows[i].args;
        args.type = BYTES("t");
        reeve_error err;
        reeve_rc rc = check(&args, &err);
        assert_int_equal(rc, rows[i].message ? REEVE_E_INVALID : REEVE_OK);
        assert_string_equal(err.message,
                            rows[i].message ? rows[i].message : "");
    }
}

static void a_task_is_due_before_its_deadline(void **state) {
    (void)state;
    static const struct {
        reeve_enqueue_args args;
        const char *message; /* NULL = accepted */
    } rows[] = {
        { { .delay_ms = 999, .deadline_at_ms = AT + 1000 }, NULL },
        { { .delay_ms = 1000, .deadline_at_ms = AT + 1000 },
          "delay_ms 1000 makes it due at 1763600001000, which is not before "
          "deadline_at_ms 1763600001000" },
        { { .delay_ms = 1, .deadline_at_ms = AT - 1 },
          "delay_ms 1 makes it due at 1763600000001, which is not before "
          "deadline_at_ms 1763599999999" },
        { { .due_at_ms = AT + 5, .deadline_at_ms = AT + 6 }, NULL },
        { { .due_at_ms = AT + 5, .deadline_at_ms = AT + 5 },
          "due_at_ms 1763600000005 is not before deadline_at_ms "
          "1763600000005" },
        { { .due_at_ms = REEVE_AT_MS_MAX, .deadline_at_ms = 1 },
          "due_at_ms 253402300799999 is not before deadline_at_ms 1" },
        /* too late already: a worker archives it, and says so */
        { { .deadline_at_ms = AT - 1 }, NULL },
        { { .due_at_ms = AT - 2, .deadline_at_ms = AT - 1 }, NULL },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        reeve_enqueue_args args = rows[i].args;
        args.type = BYTES("t");
        reeve_error err;
        reeve_rc rc = check(&args, &err);
        assert_int_equal(rc, rows[i].message ? REEVE_E_INVALID : REEVE_OK);
        assert_string_equal(err.message,
                            rows[i].message ? rows[i].message : "");
    }
}

static void names_and_bytes_are_checked(void **state) {
    (void)state;
    reeve_error err;
    char longest[200];
    memset(longest, 'q', sizeof(longest));
    reeve_enqueue_args args = args_of("");
    refused(&args, REEVE_E_INVALID, "type is empty");
    args = args_of("t");
    assert_int_equal(check(&args, &err), REEVE_OK);
    args.queue = (reeve_bytes){ longest, 200 };
    refused(&args, REEVE_E_INVALID,
            "queue name has 200 bytes, at most 128 allowed");
    args.queue = BYTES("a b");
    refused(&args, REEVE_E_INVALID,
            "queue name 'a b' has byte 0x20 at 1, allowed are A-Z a-z 0-9 _ - "
            ". : / @ +");
    args.queue = BYTES("mail");
    args.id = BYTES("x\n");
    refused(&args, REEVE_E_INVALID,
            "id 'x?' has byte 0x0a at 1, allowed are A-Z a-z 0-9 _ - . : / @ "
            "+");
    args.id = BYTES("x");
    args.idempotency_key = (reeve_bytes){ longest, 129 };
    refused(&args, REEVE_E_INVALID,
            "idempotency_key has 129 bytes, at most 128 allowed");
    args.idempotency_key = (reeve_bytes){ NULL, 1 };
    refused(&args, REEVE_E_USAGE, "idempotency_key is null but has 1 bytes");
    args.idempotency_key = BYTES("any\0 value \xff");
    args.payload = (reeve_bytes){ longest, 101 };
    assert_int_equal(check(&args, &err), REEVE_OK);
    assert_int_equal(reeve__enqueue_args_check(&args, 100, AT, &err),
                     REEVE_E_TOO_BIG);
    assert_string_equal(err.message,
                        "payload has 101 bytes, at most 100 allowed");
    assert_int_equal(reeve__enqueue_args_check(&args, 101, AT, &err), REEVE_OK);
    args.payload = (reeve_bytes){ NULL, 5 };
    refused(&args, REEVE_E_USAGE, "payload is null but has 5 bytes");
}

static void headers_are_checked(void **state) {
    (void)state;
    static char big[REEVE_HEADERS_BYTES_MAX];
    memset(big, 'v', sizeof(big));
    static const struct {
        reeve_header headers[2];
        reeve_rc rc;
        const char *message;
    } rows[] = {
        { { { TEXT("a"), TEXT("") }, { TEXT("A"), TEXT("\xc3\xa9") } },
          REEVE_OK,
          "" },
        { { { TEXT("a"), TEXT("1") }, { TEXT(""), TEXT("2") } },
          REEVE_E_INVALID,
          "header 1's name is empty" },
        { { { TEXT("a"), TEXT("1") }, { TEXT("a"), TEXT("2") } },
          REEVE_E_INVALID,
          "headers 0 and 1 have the same name" },
        { { { TEXT("a"), TEXT("1") }, { TEXT("b"), TEXT("\xff") } },
          REEVE_E_INVALID,
          "header 1's value is not valid UTF-8" },
        { { { TEXT("\xc3"), TEXT("1") }, { TEXT("b"), TEXT("") } },
          REEVE_E_INVALID,
          "header 0's name is not valid UTF-8" },
        { { { TEXT("a"), TEXT("1\0") }, { TEXT("b"), TEXT("") } },
          REEVE_E_INVALID,
          "header 0's value has a NUL byte at 1" },
        { { { TEXT("a"), { NULL, 2 } }, { TEXT("b"), TEXT("") } },
          REEVE_E_USAGE,
          "header 0's value is null but has 2 bytes" },
        { { { TEXT("a"), { big, sizeof(big) - 2 } }, { TEXT("b"), { 0 } } },
          REEVE_OK,
          "" },
        { { { TEXT("a"), { big, sizeof(big) - 1 } }, { TEXT("b"), { 0 } } },
          REEVE_E_TOO_BIG,
          "headers have more than 8192 bytes, counted up to header 1" },
        { { { TEXT("a"), { big, SIZE_MAX } }, { TEXT("b"), { 0 } } },
          REEVE_E_TOO_BIG,
          "headers have more than 8192 bytes, counted up to header 0" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        reeve_enqueue_args args = args_of("t");
        args.headers = rows[i].headers;
        args.header_count = 2;
        refused(&args, rows[i].rc, rows[i].message);
    }
    reeve_enqueue_args args = args_of("t");
    args.header_count = 1;
    refused(&args, REEVE_E_USAGE, "headers is null but header_count is 1");
    args.header_count = 65;
    refused(&args, REEVE_E_TOO_BIG, "task has 65 headers, at most 64 allowed");
}

static void retry_options_are_checked(void **state) {
    (void)state;
    reeve_retry_options retry = REEVE_RETRY_OPTIONS_INIT;
    reeve_enqueue_args args = args_of("t");
    args.retry = &retry;
    refused(&args, REEVE_OK, "");
    retry.factor = 1000;
    refused(&args, REEVE_E_INVALID, "retry factor 1000 is outside 1..100");
    retry.size = 0;
    reeve_error err;
    assert_int_equal(check(&args, &err), REEVE_E_USAGE);
}

static void build_text(reeve__buf *buf, const reeve_enqueue_args *args,
                       int64_t at_ms) {
    reeve_error err;
    assert_int_equal(check(args, &err), REEVE_OK);
    reeve__buf_init(buf, NULL);
    assert_int_equal(reeve__envelope_build(buf, args, at_ms, &err), REEVE_OK);
}

static void assert_builds(const reeve_enqueue_args *args, int64_t at_ms,
                          const char *want) {
    reeve__buf buf;
    build_text(&buf, args, at_ms);
    assert_text(reeve__buf_view(&buf), want);
    reeve__buf_dispose(&buf);
}

static void defaults_are_left_out(void **state) {
    (void)state;
    reeve_enqueue_args args = args_of("t");
    assert_builds(&args, 0, "{\"v\":1,\"type\":\"t\"}\n");
    args.payload = BYTES("{}");
    assert_builds(&args, AT,
                  "{\"v\":1,\"type\":\"t\",\"at\":1763600000000}\n{}");
    reeve_retry_options retry = REEVE_RETRY_OPTIONS_INIT;
    args.retry = &retry;
    args.priority = REEVE_PRIORITY_DEFAULT;
    args.max_crashes = REEVE_MAX_CRASHES_DEFAULT;
    retry.backoff = REEVE_BACKOFF_EXPONENTIAL;
    retry.jitter = REEVE_JITTER_FULL;
    retry.max_attempts = REEVE_MAX_ATTEMPTS_DEFAULT;
    retry.base_ms = REEVE_BACKOFF_BASE_MS_DEFAULT;
    retry.cap_ms = REEVE_BACKOFF_CAP_MS_DEFAULT;
    retry.factor = 2;
    assert_builds(&args, 0, "{\"v\":1,\"type\":\"t\"}\n{}");
    retry.max_attempts = 3;
    assert_builds(
        &args, 0,
        "{\"v\":1,\"type\":\"t\",\"retry\":{\"max_attempts\":3}}\n{}");
}

static void everything_is_written(void **state) {
    (void)state;
    static const int64_t delays[] = { 0, 10, REEVE_SPAN_MS_MAX };
    reeve_retry_options retry = REEVE_RETRY_OPTIONS_INIT;
    retry.backoff = REEVE_BACKOFF_LIST;
    retry.jitter = REEVE_JITTER_EQUAL;
    retry.max_attempts = REEVE_NEVER;
    retry.base_ms = 50;
    retry.cap_ms = 9000;
    retry.factor = 1.5;
    retry.max_elapsed_ms = 3600000;
    retry.delays_ms = delays;
    retry.delay_count = 3;
    static const reeve_header headers[] = {
        { TEXT("a\"b"), TEXT("line\nend\x01") },
        { TEXT("\xc3\xa9"), TEXT("") },
    };
    reeve_enqueue_args args = args_of("report/build@2");
    args.priority = REEVE_PRIORITY_LOWEST;
    args.timeout_ms = 60000;
    args.deadline_at_ms = AT + 1;
    args.lease_ms = 45000;
    args.retention_ms = REEVE_NEVER;
    args.max_crashes = REEVE_NEVER;
    args.retry = &retry;
    args.headers = headers;
    args.header_count = 2;
    assert_builds(
        &args, AT,
        "{\"v\":1,\"type\":\"report/build@2\",\"at\":1763600000000,"
        "\"priority\":0,\"timeout_ms\":60000,\"deadline_at_ms\":1763600000001,"
        "\"lease_ms\":45000,\"retention_ms\":-1,\"max_crashes\":-1,"
        "\"retry\":{\"backoff\":\"list\",\"jitter\":\"equal\","
        "\"max_attempts\":-1,\"base_ms\":50,\"cap_ms\":9000,\"factor\":1.5,"
        "\"max_elapsed_ms\":3600000,\"delays_ms\":[0,10,316224000000]},"
        "\"headers\":{\"a\\\"b\":\"line\\nend\\u0001\",\"\xc3\xa9\":\"\"}}\n");
}

/* The longest line that checked arguments can make still fits and is read. */
static void worst_case_fits_the_line(void **state) {
    (void)state;
    static char controls[REEVE_HEADERS_BYTES_MAX];
    memset(controls, '\x01', sizeof(controls));
    reeve_header headers[REEVE_HEADERS_COUNT_MAX];
    size_t value_bytes = sizeof(controls) / REEVE_HEADERS_COUNT_MAX - 2;
    char made[REEVE_HEADERS_COUNT_MAX][2];
    for (size_t i = 0; i < REEVE_HEADERS_COUNT_MAX; i++) {
        made[i][0] = (char)(0x10 + i % 8);
        made[i][1] = (char)(0x10 + i / 8);
        headers[i].name = (reeve_bytes){ made[i], 2 };
        headers[i].value = (reeve_bytes){ controls, value_bytes };
    }
    int64_t delays[REEVE_DELAYS_COUNT_MAX];
    for (size_t i = 0; i < REEVE_DELAYS_COUNT_MAX; i++)
        delays[i] = REEVE_SPAN_MS_MAX;
    reeve_retry_options retry = REEVE_RETRY_OPTIONS_INIT;
    retry.backoff = REEVE_BACKOFF_LIST;
    retry.delays_ms = delays;
    retry.delay_count = REEVE_DELAYS_COUNT_MAX;
    char type[REEVE_NAME_BYTES_MAX + 1] = { 0 };
    memset(type, 't', REEVE_NAME_BYTES_MAX);
    reeve_enqueue_args args = args_of(type);
    args.headers = headers;
    args.header_count = REEVE_HEADERS_COUNT_MAX;
    args.retry = &retry;
    reeve__buf buf;
    build_text(&buf, &args, AT);
    assert_true(buf.size > REEVE_HEADERS_BYTES_MAX * 5);
    reeve__envelope env;
    reeve_error err;
    assert_int_equal(
        reeve__envelope_decode(&env, NULL, reeve__buf_view(&buf), &err), 0);
    assert_int_equal(env.header_count, REEVE_HEADERS_COUNT_MAX);
    assert_true(reeve__bytes_equal(env.headers[63].value, headers[63].value));
    assert_int_equal(env.retry.delay_count, REEVE_DELAYS_COUNT_MAX);
    reeve__envelope_dispose(&env);
    reeve__buf_dispose(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_out_of_bounds_are_named),
        cmocka_unit_test(a_task_is_due_before_its_deadline),
        cmocka_unit_test(names_and_bytes_are_checked),
        cmocka_unit_test(headers_are_checked),
        cmocka_unit_test(retry_options_are_checked),
        cmocka_unit_test(defaults_are_left_out),
        cmocka_unit_test(everything_is_written),
        cmocka_unit_test(worst_case_fits_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
