/*
 * The guards around cJSON: what is refused, what is kept digit for digit, what
 * is printed; and every allocation failing.
 */
#include "task/json.h"

#include "base/bytes.h"
#include "core/prng.h"
#include "support/failing_alloc.h"
#include "task/scan.h"

#include <cjson/cJSON.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Text whose size is not strlen's may hold NULs. */
#define TEXT(literal)                                                          \
    { literal, sizeof(literal) - 1 }

/* A heap copy without a byte behind it, for the sanitizer to watch. */
static reeve_rc parse(cJSON **out, reeve_bytes text, int depth_max,
                      reeve_error *err) {
    char *copy = malloc(text.size > 0 ? text.size : 1);
    assert_non_null(copy);
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    reeve_rc rc = reeve__json_parse(out, NULL, (reeve_bytes){ copy, text.size },
                                    depth_max, err);
    free(copy);
    return rc;
}

static void refused_texts(void **state) {
    (void)state;
    static const struct {
        reeve_bytes text;
        const char *message;
    } rows[] = {
        { TEXT(""), "json has a premature end at byte 0" },
        { TEXT("  "), "json has a premature end at byte 2" },
        { TEXT("{"), "json has a premature end at byte 1" },
        { TEXT("[1,"), "json has a premature end at byte 3" },
        { TEXT("{\"a\""), "json has a premature end at byte 4" },
        { TEXT("{\"a\":"), "json has a premature end at byte 5" },
        { TEXT("\"a"), "json has a premature end at byte 2" },
        { TEXT("\"a\\"), "json has a premature end at byte 3" },
        { TEXT("tru"), "json has a premature end at byte 3" },
        { TEXT("-"), "json has a premature end at byte 1" },
        { TEXT("1."), "json has a premature end at byte 2" },
        { TEXT("1e"), "json has a premature end at byte 2" },
        { TEXT("1e+"), "json has a premature end at byte 3" },
        { TEXT("1 2"), "json has trailing bytes at byte 2" },
        { TEXT("{}\0"), "json has trailing bytes at byte 2" },
        { TEXT("{}x"), "json has trailing bytes at byte 2" },
        { TEXT("\xef\xbb\xbf{}"), "json has unexpected byte 0xef at byte 0" },
        { TEXT("01"), "json has trailing bytes at byte 1" },
        { TEXT("[01]"), "json has unexpected byte 0x31 at byte 2" },
        { TEXT("-x"), "json has unexpected byte 0x78 at byte 1" },
        { TEXT("1.e5"), "json has unexpected byte 0x65 at byte 2" },
        { TEXT(".5"), "json has unexpected byte 0x2e at byte 0" },
        { TEXT("+1"), "json has unexpected byte 0x2b at byte 0" },
        { TEXT("NaN"), "json has unexpected byte 0x4e at byte 0" },
        { TEXT("Infinity"), "json has unexpected byte 0x49 at byte 0" },
        { TEXT("True"), "json has unexpected byte 0x54 at byte 0" },
        { TEXT("nul1"), "json has unexpected byte 0x31 at byte 3" },
        { TEXT("[1,]"), "json has unexpected byte 0x5d at byte 3" },
        { TEXT("[,1]"), "json has unexpected byte 0x2c at byte 1" },
        { TEXT("[1 2]"), "json has unexpected byte 0x32 at byte 3" },
        { TEXT("[1}"), "json has unexpected byte 0x7d at byte 2" },
        { TEXT("{\"a\":1]"), "json has unexpected byte 0x5d at byte 6" },
        { TEXT("{,}"), "json has unexpected byte 0x2c at byte 1" },
        { TEXT("{\"a\":1,}"), "json has unexpected byte 0x7d at byte 7" },
        { TEXT("{\"a\" 1}"), "json has unexpected byte 0x31 at byte 5" },
        { TEXT("{\"a\":}"), "json has unexpected byte 0x7d at byte 5" },
        { TEXT("{a:1}"), "json has unexpected byte 0x61 at byte 1" },
        { TEXT("{1:1}"), "json has unexpected byte 0x31 at byte 1" },
        { TEXT("'a'"), "json has unexpected byte 0x27 at byte 0" },
        { TEXT("/*x*/1"), "json has unexpected byte 0x2f at byte 0" },
        { TEXT("[\v1]"), "json has unexpected byte 0x0b at byte 1" },
        { TEXT("\"a\nb\""), "json has a raw control character at byte 2" },
        { TEXT("\"a\0b\""), "json has a raw control character at byte 2" },
        { TEXT("\"\\u0000x\""), "json has a NUL character at byte 3" },
        { TEXT("\"\\ud800\""), "json has a lone surrogate at byte 7" },
        { TEXT("\"\\udc00\""), "json has a lone surrogate at byte 3" },
        { TEXT("\"\\ud800\\u0041\""), "json has a lone surrogate at byte 9" },
        { TEXT("\"\\ud800\\n1234\""), "json has a lone surrogate at byte 7" },
        { TEXT("\"\\ud800\\ud800\""), "json has a lone surrogate at byte 9" },
        { TEXT("\"\\u12g4\""), "json has a bad \\u escape at byte 3" },
        { TEXT("\"\\u12"), "json has a bad \\u escape at byte 3" },
        { TEXT("\"\\x41\""), "json has a bad escape at byte 2" },
        { TEXT("\"\\\0\""), "json has a bad escape at byte 2" },
        { TEXT("\"\xff\""),
          "json has invalid UTF-8 in the string that ends at byte 3" },
        { TEXT("\"\xc0\xaf\""),
          "json has invalid UTF-8 in the string that ends at byte 4" },
        { TEXT("\"\xed\xa0\x80\""),
          "json has invalid UTF-8 in the string that ends at byte 5" },
        { TEXT("\"\xf4\x90\x80\x80\""),
          "json has invalid UTF-8 in the string that ends at byte 6" },
        { TEXT("{\"\xc3\":1}"),
          "json has invalid UTF-8 in the string that ends at byte 4" },
        { TEXT("\"\xc3\\u0041\""),
          "json has invalid UTF-8 in the string that ends at byte 9" },
        { TEXT("{\"a\":1,\"a\":2}"), "json has the name 'a' twice" },
        { TEXT("{\"a\":1,\"\\u0061\":2}"), "json has the name 'a' twice" },
        { TEXT("[{\"x\":{\"\":1,\"\":2}}]"), "json has the name '' twice" },
        { TEXT("[[[[[1]]]]]"), "json is nested deeper than 4 at byte 4" },
        { TEXT("[[[{\"a\":[]}]]]"), "json is nested deeper than 4 at byte 8" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cJSON *json = NULL;
        reeve_error err = { 0 };
        reeve_rc rc = parse(&json, rows[i].text, 4, &err);
        if (rc != REEVE_E_CORRUPT || strcmp(err.message, rows[i].message) != 0)
            fail_msg("row %zu: rc %d, %s", i, rc, err.message);
        assert_null(json);
    }
}

static void check_print(reeve_bytes text, const char *want) {
    cJSON *json = NULL;
    reeve_error err = { 0 };
    if (parse(&json, text, REEVE__JSON_DEPTH_MAX, &err) != REEVE_OK)
        fail_msg("%.*s: %s", (int)text.size, text.data, err.message);
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    reeve__json_print(&buf, json);
    reeve__json_free(json);
    if (!reeve__bytes_is(reeve__buf_view(&buf), want))
        fail_msg("'%.*s' is not '%s'", (int)buf.size, buf.data, want);
    reeve__buf_dispose(&buf);
}

static void texts_come_back(void **state) {
    (void)state;
    static const struct {
        reeve_bytes text;
        const char *want; /* NULL = the same */
    } rows[] = {
        { TEXT("{}"), NULL },
        { TEXT("[]"), NULL },
        { TEXT("[[],{},[{}],\"\"]"), NULL },
        { TEXT("{\"a\":{\"b\":[1,2,{\"c\":null}],\"d\":true},\"e\":false}"),
          NULL },
        { TEXT(" \t\r\n[ 1 , 2 ] \n"), "[1,2]" },
        { TEXT("{ \"a\" : 1 , \"A\" : 2 }"), "{\"a\":1,\"A\":2}" },
        { TEXT("0"), NULL },
        { TEXT("-0"), NULL },
        { TEXT("-1"), NULL },
        { TEXT("2147483648"), NULL },
        { TEXT("1763600000000"), NULL },
        { TEXT("999999999999999"), NULL },
        { TEXT("9007199254740993"), NULL },
        { TEXT("9223372036854775807"), NULL },
        { TEXT("-9223372036854775808"), NULL },
        { TEXT("18446744073709551615"), NULL },
        { TEXT("123456789012345678901234567890123456789012345678901234567890"
               "12345678901234567890"),
          NULL },
        { TEXT("1.50"), NULL },
        { TEXT("0.1"), NULL },
        { TEXT("1E400"), NULL },
        { TEXT("[1e5,-0.0,1.7976931348623157e+308,1]"), NULL },
        { TEXT("{\"n\":12345678901234567,\"m\":[1.25]}"), NULL },
        { TEXT("\"\\u00e9\\/\\ud83d\\ude00\\u0041\""),
          "\"\xc3\xa9/\xf0\x9f\x98\x80"
          "A\"" },
        { TEXT("\"\\u0001\\u001f\\b\\f\\n\\r\\t\\\"\\\\\x7f\""), NULL },
        { TEXT("\"\xe2\x82\xac \xf4\x8f\xbf\xbf\xef\xbf\xbf\""), NULL },
        { TEXT("{\"\xc3\xa9\\n\":1}"), NULL },
        { TEXT("{\"\":0}"), NULL },
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check_print(rows[i].text,
                    rows[i].want != NULL ? rows[i].want : rows[i].text.data);
}

static void deepest_nesting_is_printed(void **state) {
    (void)state;
    char text[2 * REEVE__JSON_DEPTH_MAX + 3];
    size_t size = 0;
    for (int i = 0; i < REEVE__JSON_DEPTH_MAX; i++)
        text[size++] = '[';
    text[size++] = '1';
    for (int i = 0; i < REEVE__JSON_DEPTH_MAX; i++)
        text[size++] = ']';
    text[size] = '\0';
    check_print((reeve_bytes){ text, size }, text);
}

/* More members than are compared pair by pair. */
static void duplicates_are_found_among_many(void **state) {
    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        reeve__buf buf;
        reeve__buf_init(&buf, NULL);
        for (int i = 0; i < 300; i++)
            reeve__buf_printf(&buf, "%c\"n%d\":%d", i == 0 ? '{' : ',', i, i);
        reeve__buf_printf(&buf, ",\"n%d\":0}", twice ? 17 : 300);
        cJSON *json;
        reeve_error err = { 0 };
        reeve_rc rc = parse(&json, reeve__buf_view(&buf), 1, &err);
        assert_int_equal(rc, twice ? REEVE_E_CORRUPT : REEVE_OK);
        if (twice)
            assert_string_equal(err.message, "json has the name 'n17' twice");
        reeve__json_free(json);
        reeve__buf_dispose(&buf);
    }
}

static void integers_are_exact(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_int;
        int64_t value;
    } rows[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "-7", true, -7 },
        { "999999999999999", true, 999999999999999 },
        { "9007199254740993", true, 9007199254740993 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "1.0", false, 0 },
        { "1e3", false, 0 },
        { "\"1\"", false, 0 },
        { "null", false, 0 },
        { "true", false, 0 },
        { "[1]", false, 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cJSON *json;
        assert_int_equal(parse(&json, reeve_bytes_of(rows[i].text), 4, NULL),
                         0);
        int64_t value = 0;
        assert_int_equal(reeve__json_int(&value, json), rows[i].is_int);
        if (rows[i].is_int)
            assert_true(value == rows[i].value);
        reeve__json_free(json);
    }
    assert_false(reeve__json_int(&(int64_t){ 0 }, NULL));
    cJSON *half = cJSON_CreateNumber(0.5);
    cJSON *huge = cJSON_CreateNumber(1e300);
    cJSON *nan_item = cJSON_CreateNumber((double)NAN);
    assert_false(reeve__json_int(&(int64_t){ 0 }, half));
    assert_false(reeve__json_int(&(int64_t){ 0 }, huge));
    assert_false(reeve__json_int(&(int64_t){ 0 }, nan_item));
    cJSON_Delete(half);
    cJSON_Delete(huge);
    cJSON_Delete(nan_item);
}

static void members_are_found_by_exact_name(void **state) {
    (void)state;
    cJSON *json;
    assert_int_equal(parse(&json, reeve_bytes_of("{\"A\":1,\"a\":2}"), 4, NULL),
                     0);
    int64_t value;
    assert_true(reeve__json_int(&value, reeve__json_get(json, "a")));
    assert_int_equal(value, 2);
    assert_null(reeve__json_get(json, "b"));
    reeve__json_free(json);
}

static bool number_of(double *out, const char *text) {
    cJSON *json;
    assert_int_equal(parse(&json, reeve_bytes_of(text), 4, NULL), 0);
    bool is_number = reeve__json_number(out, json);
    reeve__json_free(json);
    return is_number;
}

static void check_doubles(void) {
    double value;
    assert_true(number_of(&value, "1.5") && value == 1.5);
    assert_true(number_of(&value, "-0.1e-3") && value == -0.1e-3);
    assert_true(number_of(&value, "42") && value == 42);
    assert_false(number_of(&value, "1e400"));
    assert_false(number_of(&value, "\"1.5\""));
    char text[120] = "1.";
    memset(text + 2, '3', 100);
    text[102] = '\0';
    assert_false(number_of(&value, text));
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        { 1.5, "1.5" },
        { 0.1, "0.1" },
        { 1.0 / 3, "0.3333333333333333" },
        { 2, "2" },
        { -2, "-2" },
        { 1e300, "1e+300" },
        { 5e-324, "4.94065645841247e-324" },
        { 9007199254740992.0, "9007199254740992" },
        { 9007199254740994.0, "9007199254740994" },
        { (double)NAN, "null" },
        { (double)INFINITY, "null" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        reeve__buf buf;
        reeve__buf_init(&buf, NULL);
        reeve__json_add_number(&buf, rows[i].value);
        if (!reeve__bytes_is(reeve__buf_view(&buf), rows[i].text))
            fail_msg("%.*s is not %s", (int)buf.size, buf.data, rows[i].text);
        reeve__buf_dispose(&buf);
    }
}

static void doubles_keep_their_full_stop(void **state) {
    (void)state;
    check_doubles();
    static const char *const with_comma[] = { "de_DE.UTF-8", "fr_FR.UTF-8",
                                              "de_DE", "fr_FR" };
    for (size_t i = 0; i < COUNT(with_comma); i++) {
        if (setlocale(LC_NUMERIC, with_comma[i]) == NULL)
            continue;
        check_doubles();
        setlocale(LC_NUMERIC, "C");
        return;
    }
    printf("no locale with a decimal comma is installed\n");
}

static void doubles_read_back_the_same(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0401);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = prng_next(&rng);
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        reeve__buf buf;
        reeve__buf_init(&buf, NULL);
        reeve__json_add_number(&buf, value);
        reeve__buf_add_char(&buf, '\0');
        double back;
        assert_true(number_of(&back, buf.data));
        assert_true(back == value);
        reeve__buf_dispose(&buf);
    }
}

static void sanitized(const char *given, size_t size, size_t max_bytes,
                      const char *want) {
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    reeve__utf8_sanitize(&buf, (reeve_bytes){ given, size }, max_bytes);
    if (!reeve__bytes_is(reeve__buf_view(&buf), want))
        fail_msg("'%.*s' is not '%s'", (int)buf.size, buf.data, want);
    reeve__buf_dispose(&buf);
}

#define BAD "\xef\xbf\xbd"

static void text_is_made_valid_and_cut(void **state) {
    (void)state;
    sanitized(NULL, 0, 10, "");
    sanitized("abc", 3, 10, "abc");
    sanitized("abc", 3, 2, "ab");
    sanitized("abc", 3, 0, "");
    sanitized("a\xff"
              "b",
              3, 10, "a" BAD "b");
    sanitized("a\0b", 3, 10, "a" BAD "b");
    sanitized("\xc3\xa9\xc3\xa9", 4, 3, "\xc3\xa9");
    sanitized("\xf0\x9f\x98\x80", 4, 4, "\xf0\x9f\x98\x80");
    sanitized("\xf0\x9f\x98\x80", 4, 3, "");
    sanitized("\xf0\x9f\x98", 3, 100, BAD BAD BAD);
    sanitized("\xed\xa0\x80", 3, 100, BAD BAD BAD);
    sanitized("\xff\xff", 2, 5, BAD);
    sanitized("ab\xff", 3, 4, "ab");
}

static void sanitized_noise_is_valid(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0402);
    for (int i = 0; i < 20000; i++) {
        char noise[64];
        size_t size = prng_below(&rng, sizeof(noise));
        for (size_t n = 0; n < size; n++)
            noise[n] = (char)(prng_below(&rng, 2) ? prng_next(&rng) | 0x80
                                                  : prng_next(&rng));
        size_t max_bytes = prng_below(&rng, 100);
        reeve__buf buf;
        reeve__buf_init(&buf, NULL);
        reeve__utf8_sanitize(&buf, (reeve_bytes){ noise, size }, max_bytes);
        assert_true(buf.size <= max_bytes);
        assert_true(reeve__utf8_is_valid(reeve__buf_view(&buf)));
        assert_true(buf.size == 0 || memchr(buf.data, 0, buf.size) == NULL);
        reeve__buf_dispose(&buf);
    }
}

/* cJSON takes its memory from malloc: its hooks fail here, ours in the env. */
static atomic_long cjson_grants;

static void *failing_malloc(size_t bytes) {
    return atomic_fetch_sub(&cjson_grants, 1) == 0 ? NULL : malloc(bytes);
}

static const char *const heavy =
    "{\"a\":[12345678901234567,\"x\\u00e9\",{\"b\":1.5}],\"c\":{\"d\":null},"
    "\"e1\":1,\"e2\":1,\"e3\":1,\"e4\":1,\"e5\":1,\"e6\":1,\"e7\":1,\"e8\":1,"
    "\"e9\":1,\"f1\":1,\"f2\":1,\"f3\":1,\"f4\":1,\"f5\":1,\"f6\":1,\"f7\":1}";

static void every_cjson_allocation_may_fail(void **state) {
    (void)state;
    cJSON_Hooks hooks = { failing_malloc, free };
    cJSON_InitHooks(&hooks);
    long n = 0;
    for (;; n++) {
        atomic_store(&cjson_grants, n);
        cJSON *json;
        reeve_error err = { 0 };
        reeve_rc rc =
            reeve__json_parse(&json, NULL, reeve_bytes_of(heavy), 8, &err);
        if (atomic_load(&cjson_grants) >= 0) {
            assert_int_equal(rc, REEVE_OK);
            reeve__json_free(json);
            break;
        }
        assert_int_equal(rc, REEVE_E_NOMEM);
        assert_null(json);
    }
    cJSON_InitHooks(NULL);
    assert_true(n > 20);
}

static void every_allocation_of_ours_may_fail(void **state) {
    (void)state;
    failing_alloc fail;
    reeve_env *env = failing_alloc_env(&fail, NULL);
    long n = 0;
    for (;; n++) {
        failing_alloc_arm(&fail, n);
        cJSON *json;
        reeve_error err = { 0 };
        reeve_rc rc =
            reeve__json_parse(&json, env, reeve_bytes_of(heavy), 8, &err);
        bool fired = failing_alloc_disarm(&fail);
        assert_int_equal(rc, fired ? REEVE_E_NOMEM : REEVE_OK);
        assert_int_equal(failing_alloc_live(&fail), 0);
        reeve__json_free(json);
        if (!fired)
            break;
    }
    assert_true(n >= 3); /* rewritten text, growing, sorted names */
    reeve_env_free(env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_texts),
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(deepest_nesting_is_printed),
        cmocka_unit_test(duplicates_are_found_among_many),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(members_are_found_by_exact_name),
        cmocka_unit_test(doubles_keep_their_full_stop),
        cmocka_unit_test(doubles_read_back_the_same),
        cmocka_unit_test(text_is_made_valid_and_cut),
        cmocka_unit_test(sanitized_noise_is_valid),
        cmocka_unit_test(every_cjson_allocation_may_fail),
        cmocka_unit_test(every_allocation_of_ours_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
