/*
 * The short way to read an envelope's line gives what the parser gives, on
 * lines as they are built and on lines that are almost so.
 */
#include "task/envelope.h"

#include "base/bytes.h"
#include "core/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool same_text(reeve_bytes a, reeve_bytes b) {
    return reeve__bytes_equal(a, b);
}

/* Decodes both ways; returns whether the short one was taken. */
static bool decode_both(reeve_bytes bytes) {
    reeve__envelope fast;
    reeve__envelope slow;
    reeve_error fast_err = { 0 };
    reeve_error slow_err = { 0 };
    reeve_rc rc = reeve__envelope_decode(&fast, NULL, bytes, &fast_err);
    if (rc != reeve__envelope_parse(&slow, NULL, bytes, &slow_err))
        fail_msg("decode says %d, parse '%s', to: %.*s", rc, slow_err.message,
                 (int)bytes.size, bytes.data);
    assert_string_equal(fast_err.message, slow_err.message);
    if (rc != REEVE_OK)
        return false;
    assert_non_null(slow.tree);
    bool same = same_text(fast.type, slow.type) &&
                same_text(fast.payload, slow.payload) &&
                same_text(fast.reason, slow.reason) &&
                fast.enqueued_at_ms == slow.enqueued_at_ms &&
                fast.timeout_ms == slow.timeout_ms &&
                fast.deadline_at_ms == slow.deadline_at_ms &&
                fast.lease_ms == slow.lease_ms &&
                fast.retention_ms == slow.retention_ms &&
                fast.ended_at_ms == slow.ended_at_ms &&
                fast.priority == slow.priority &&
                fast.max_crashes == slow.max_crashes &&
                fast.failures == slow.failures &&
                fast.crashes == slow.crashes &&
                fast.header_count == slow.header_count &&
                fast.history_count == slow.history_count &&
                fast.retry.backoff == slow.retry.backoff &&
                fast.retry.max_attempts == slow.retry.max_attempts &&
                fast.retry.base_ms == slow.retry.base_ms;
    if (!same)
        fail_msg("read differently: %.*s", (int)bytes.size, bytes.data);
    bool is_short = fast.tree == NULL;
    reeve__envelope_dispose(&fast);
    reeve__envelope_dispose(&slow);
    return is_short;
}

static void usual_lines_go_the_short_way(void **state) {
    (void)state;
    const struct {
        const char *line;
        bool is_short;
    } rows[] = {
        { "{\"v\":1,\"type\":\"a:b\",\"at\":1763600000000}\npayload", true },
        { "{\"v\":1,\"type\":\"t\"}\n", true },
        { "{\"type\":\"t\",\"v\":1}\n", true },
        { "{\"v\":1,\"type\":\"t\",\"retention_ms\":-1,\"max_crashes\":-1}\n",
          true },
        { "{\"v\":1,\"type\":\"t\",\"priority\":0,\"timeout_ms\":5,"
          "\"deadline_at_ms\":9,\"lease_ms\":7,\"failures\":2,"
          "\"crashes\":1,\"ended_at\":3}\n",
          true },
        /* A later version's, and what builds do not write. */
        { "{\"v\":1,\"type\":\"t\",\"new\":1}\n", false },
        { "{\"v\":1,\"type\":\"t\",\"headers\":{\"a\":\"b\"}}\n", false },
        { "{\"v\":1, \"type\":\"t\"}\n", false },
        { " {\"v\":1,\"type\":\"t\"}\n", false },
        { "{\"v\":1,\"type\":\"t\"} \n", false },
        { "{\"v\":1,\"ty\\u0070e\":\"t\"}\n", false },
        { "{\"v\":1,\"type\":\"\\u0074\"}\n", false },
        { "{\"v\":1,\"type\":\"t\",\"at\":1234567890123456}\n", false },
        { "{\"v\":1,\"type\":\"t\",\"at\":9223372036854775807}\n", false },
        { "{\"v\":1,\"type\":\"t\",\"at\":1e3}\n", false },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (decode_both(reeve_bytes_of(rows[i].line)) != rows[i].is_short)
            fail_msg("not as expected: %s", rows[i].line);
    }
}

static void wrong_lines_are_refused_alike(void **state) {
    (void)state;
    static const char *const lines[] = {
        "",
        "{}\n",
        "{\"v\":1}\n",
        "{\"type\":\"t\"}\n",
        "{\"v\":2,\"type\":\"t\"}\n",
        "{\"v\":1,\"type\":\"t\"}",
        "{\"v\":1,\"type\":\"t\",}\n",
        "{\"v\":1,\"type\":\"t\"\n",
        "{\"v\":1,\"type\":\"t\"}}\n",
        "{\"v\":1,\"type\":\"\"}\n",
        "{\"v\":1,\"type\":\"a b\"}\n",
        "{\"v\":1,\"type\":\"a\x01\"}\n",
        "{\"v\":1,\"type\":\"\xff\"}\n",
        "{\"v\":1,\"type\":7}\n",
        "{\"v\":1,\"v\":1,\"type\":\"t\"}\n",
        "{\"v\":1,\"type\":\"t\",\"type\":\"u\"}\n",
        "{\"v\":1,\"type\":\"t\",\"at\":1,\"at\":1}\n",
        "{\"v\":1,\"type\":\"t\",\"at\":01}\n",
        "{\"v\":1,\"type\":\"t\",\"at\":-0}\n",
        "{\"v\":1,\"type\":\"t\",\"at\":-}\n",
        "{\"v\":1,\"type\":\"t\",\"at\":}\n",
        "{\"v\":1,\"type\":\"t\",\"at\":-1}\n",
        "{\"v\":1,\"type\":\"t\",\"priority\":10}\n",
        "{\"v\":1,\"type\":\"t\",\"crashes\":2147483648}\n",
        "{\"v\":1,\"type\":\"t\",\"retention_ms\":-2}\n",
        "{\"v\":1,\"type\":\"t\",\"at\":\"1\"}\n",
    };
    for (size_t i = 0; i < COUNT(lines); i++)
        assert_false(decode_both(reeve_bytes_of(lines[i])));
}

/* Lines of usual parts, in any order, with a byte changed here and there. */
static void any_line_reads_alike(void **state) {
    (void)state;
    static const char *const parts[] = {
        "\"v\":1",          "\"type\":\"mail:send\"", "\"at\":1763600000000",
        "\"priority\":9",   "\"timeout_ms\":1000",    "\"lease_ms\":0",
        "\"failures\":3",   "\"crashes\":1",          "\"max_crashes\":-1",
        "\"ended_at\":17",  "\"retention_ms\":-1",    "\"reason\":\"x\"",
        "\"other\":[1,{}]",
    };
    static const char bytes[] = "{}[]\",:\\0123456789-+.eEvt \n\x01\x80\xff";
    prng rng = prng_of(__func__, 0x5eed0901);
    int short_ones = 0;
    for (int i = 0; i < 20000; i++) {
        char text[512] = "{\"v\":1,\"type\":\"t\"";
        size_t size = strlen(text);
        for (size_t n = prng_below(&rng, 5); n > 0; n--)
            size += (size_t)snprintf(text + size, sizeof text - size, ",%s",
                                     parts[prng_below(&rng, COUNT(parts))]);
        size += (size_t)snprintf(text + size, sizeof text - size, "}\np");
        for (size_t n = prng_below(&rng, 3); n > 0; n--)
            text[prng_below(&rng, size)] =
                bytes[prng_below(&rng, sizeof bytes - 1)];
        short_ones += decode_both((reeve_bytes){ text, size });
    }
    assert_true(short_ones > 2000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_lines_go_the_short_way),
        cmocka_unit_test(wrong_lines_are_refused_alike),
        cmocka_unit_test(any_line_reads_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
