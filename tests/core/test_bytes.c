/*
 * Byte views, UTF-8, integers, and the extensible-struct rule.
 */
#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define VIEW(literal) ((reeve_bytes){ literal, sizeof(literal) - 1 })

static void views_compare(void **state) {
    (void)state;
    reeve_bytes none = { NULL, 0 };
    assert_true(reeve__bytes_equal(none, VIEW("")));
    assert_true(reeve__bytes_equal(VIEW("a\0b"), VIEW("a\0b")));
    assert_false(reeve__bytes_equal(VIEW("a\0b"), VIEW("a\0c")));
    assert_false(reeve__bytes_equal(VIEW("ab"), VIEW("abc")));
    assert_true(reeve__bytes_is(VIEW("queue"), "queue"));
    assert_false(reeve__bytes_is(VIEW("queue\0"), "queue"));
    assert_true(reeve__bytes_is(none, ""));
    assert_true(reeve__bytes_is(none, NULL));
    assert_int_equal(reeve_bytes_of(NULL).size, 0);
    assert_int_equal(reeve_bytes_of("four").size, 4);
}

static void version_is_three_numbers(void **state) {
    (void)state;
    assert_string_equal(reeve_version(), "0.1.0");
}

static size_t encode(char *out, uint32_t point) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    static const unsigned char leads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    out[0] = (char)(leads[size] | point);
    return size;
}

/* Every code point, and every truncation of its sequence. */
static void utf8_accepts_exactly_the_scalar_values(void **state) {
    (void)state;
    for (uint32_t point = 0; point < 0x120000; point++) {
        char text[4];
        size_t size = encode(text, point);
        bool scalar =
            point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
        reeve_bytes view = { text, size };
        assert_int_equal(reeve__utf8_is_valid(view), scalar);
        for (view.size = 1; view.size < size; view.size++)
            assert_false(reeve__utf8_is_valid(view));
    }
}

static void utf8_refuses_malformed(void **state) {
    (void)state;
    static const reeve_bytes bad[] = {
        { "\x80", 1 },
        { "\xbf", 1 },
        { "\xc0\x80", 2 },
        { "\xc1\xbf", 2 },
        { "\xe0\x9f\xbf", 3 },
        { "\xf0\x8f\xbf\xbf", 4 },
        { "\xf4\x90\x80\x80", 4 },
        { "\xf5\x80\x80\x80", 4 },
        { "\xff", 1 },
        { "\xc3\x28", 2 },
        { "\xe2\x28\xa1", 3 },
        { "\xe2\x82\x28", 3 },
        { "\xf0\x90\x28\xbc", 4 },
        { "ok\xed\xa0\x80", 5 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(reeve__utf8_is_valid(bad[i]));
    assert_true(reeve__utf8_is_valid((reeve_bytes){ NULL, 0 }));
    assert_true(reeve__utf8_is_valid(VIEW("a\0b")));
}

static void integers_parse_whole(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {
        { "0", 0 },
        { "-0", 0 },
        { "7", 7 },
        { "-1", -1 },
        { "000123", 123 },
        { "9223372036854775807", INT64_MAX },
        { "-9223372036854775808", INT64_MIN },
        { "-9223372036854775807", INT64_MIN + 1 },
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t value = 99;
        assert_true(reeve__int_parse(&value, reeve_bytes_of(good[i].text)));
        assert_true(value == good[i].value);
    }
    static const char *const bad[] = {
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "0x1",
        "--1",
        "1-",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "1e3",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t value = 99;
        assert_false(reeve__int_parse(&value, reeve_bytes_of(bad[i])));
        assert_true(value == 99);
    }
    int64_t value;
    assert_false(reeve__int_parse(&value, VIEW("1\0")));
}

typedef struct options_old {
    uint32_t size;
    int32_t a;
} options_old;

typedef struct options_ours {
    uint32_t size;
    int32_t a;
    int64_t b;
} options_ours;

typedef struct options_newer {
    uint32_t size;
    int32_t a;
    int64_t b;
    int64_t c;
} options_newer;

static reeve_rc load(options_ours *out, const void *given, reeve_error *err) {
    return reeve__struct_load(out, sizeof *out, sizeof(options_old), given,
                              "options", err);
}

static void struct_load_reads_older_and_newer(void **state) {
    (void)state;
    options_ours ours;
    reeve_error err = { 0 };
    options_ours same = { sizeof same, 1, 2 };
    assert_int_equal(load(&ours, &same, &err), 0);
    assert_memory_equal(&ours, &same, sizeof ours);

    options_old old = { sizeof old, 5 };
    memset(&ours, 0xff, sizeof ours);
    assert_int_equal(load(&ours, &old, &err), 0);
    assert_int_equal(ours.size, sizeof ours);
    assert_int_equal(ours.a, 5);
    assert_int_equal(ours.b, 0);

    options_newer newer = { sizeof newer, 6, 7, 0 };
    assert_int_equal(load(&ours, &newer, &err), 0);
    assert_int_equal(ours.size, sizeof ours);
    assert_int_equal(ours.b, 7);
}

static void struct_load_refuses(void **state) {
    (void)state;
    options_ours ours;
    reeve_error err = { 0 };
    options_newer newer = { sizeof newer, 6, 7, 1 };
    assert_int_equal(load(&ours, &newer, &err), REEVE_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "options.size is 24"));
    options_ours unset = { 0, 1, 2 };
    assert_int_equal(load(&ours, &unset, &err), REEVE_E_USAGE);
    options_ours cut = { sizeof(options_old) - 1, 1, 2 };
    assert_int_equal(load(&ours, &cut, &err), REEVE_E_USAGE);
    assert_non_null(strstr(err.message, "options.size is 7"));
    memset(&ours, 0xff, sizeof ours);
    assert_int_equal(load(&ours, NULL, &err), REEVE_E_USAGE);
    assert_int_equal(ours.b, 0);
}

static void struct_store_respects_the_callers_size(void **state) {
    (void)state;
    reeve_error err = { 0 };
    options_ours ours = { sizeof ours, 8, 9 };
    options_newer newer = { sizeof newer, -1, -1, -1 };
    assert_int_equal(
        reeve__struct_store(&newer, &ours, sizeof ours, "view", &err), 0);
    assert_int_equal(newer.size, sizeof newer);
    assert_int_equal(newer.a, 8);
    assert_int_equal(newer.b, 9);
    assert_int_equal(newer.c, 0);

    options_ours room = { sizeof(options_old), -1, -1 };
    assert_int_equal(
        reeve__struct_store(&room, &ours, sizeof ours, "view", &err), 0);
    assert_int_equal(room.size, sizeof(options_old));
    assert_int_equal(room.a, 8);
    assert_int_equal(room.b, -1);

    room.size = 0;
    assert_int_equal(
        reeve__struct_store(&room, &ours, sizeof ours, "view", &err),
        REEVE_E_USAGE);
    assert_int_equal(
        reeve__struct_store(NULL, &ours, sizeof ours, "view", &err),
        REEVE_E_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(views_compare),
        cmocka_unit_test(version_is_three_numbers),
        cmocka_unit_test(utf8_accepts_exactly_the_scalar_values),
        cmocka_unit_test(utf8_refuses_malformed),
        cmocka_unit_test(integers_parse_whole),
        cmocka_unit_test(struct_load_reads_older_and_newer),
        cmocka_unit_test(struct_load_refuses),
        cmocka_unit_test(struct_store_respects_the_callers_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
