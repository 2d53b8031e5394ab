/*
 * Error codes (slug, text, class, uniqueness of numbers) and reeve__fail.
 */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

typedef struct code_row {
    int32_t code;
    const char *slug;
    int32_t class_;
    const char *text;
} code_row;

static const code_row rows[] = {
#define ROW(name, number, slug, class_, text)                                  \
    { number, slug, REEVE_CLASS_##class_, text },
    REEVE_ERROR_TABLE(ROW)
#undef ROW
};
static const size_t row_count = sizeof rows / sizeof rows[0];

static void lookups_follow_the_table(void **state) {
    (void)state;
    for (size_t i = 0; i < row_count; i++) {
        assert_string_equal(reeve_code_slug(rows[i].code), rows[i].slug);
        assert_string_equal(reeve_code_text(rows[i].code), rows[i].text);
        assert_int_equal(reeve_code_class(rows[i].code), rows[i].class_);
    }
}

/* The numbers are ABI: a renumbered code breaks programs already built. */
static void numbers_are_frozen(void **state) {
    (void)state;
    static const struct {
        int32_t code;
        int32_t number;
        int32_t class_;
    } frozen[] = {
        { REEVE_E_USAGE, -1, 1 },      { REEVE_E_INVALID, -2, 1 },
        { REEVE_E_TOO_BIG, -3, 1 },    { REEVE_E_UNSUPPORTED, -4, 1 },
        { REEVE_E_STATE, -5, 1 },      { REEVE_E_NOMEM, -10, 2 },
        { REEVE_E_FORKED, -11, 2 },    { REEVE_E_SYSTEM, -12, 2 },
        { REEVE_E_NET, -20, 3 },       { REEVE_E_TIMEOUT, -21, 3 },
        { REEVE_E_BUSY, -22, 3 },      { REEVE_E_AUTH, -30, 4 },
        { REEVE_E_TLS, -31, 4 },       { REEVE_E_SERVER, -32, 4 },
        { REEVE_E_UNSAFE, -33, 4 },    { REEVE_E_EXISTS, -40, 4 },
        { REEVE_E_NOT_FOUND, -41, 4 }, { REEVE_E_LEASE_LOST, -42, 4 },
        { REEVE_E_CORRUPT, -43, 4 },   { REEVE_E_CANCELLED, -50, 5 },
        { REEVE_E_STOPPED, -51, 5 },
    };
    for (size_t i = 0; i < sizeof frozen / sizeof frozen[0]; i++) {
        assert_int_equal(frozen[i].code, frozen[i].number);
        assert_int_equal(reeve_code_class(frozen[i].number), frozen[i].class_);
    }
}

static void slugs_differ_and_are_lower_case(void **state) {
    (void)state;
    for (size_t i = 0; i < row_count; i++) {
        const char *slug = rows[i].slug;
        assert_int_equal(strspn(slug, "abcdefghijklmnopqrstuvwxyz-"),
                         strlen(slug));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(slug, rows[j].slug);
    }
}

static void unknown_codes_have_words_too(void **state) {
    (void)state;
    assert_string_equal(reeve_code_slug(0), "ok");
    assert_int_equal(reeve_code_class(0), REEVE_CLASS_NONE);
    static const int32_t unknown[] = { 1, -6, -999, INT32_MIN, INT32_MAX };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_string_equal(reeve_code_slug(unknown[i]), "unknown");
        assert_string_equal(reeve_code_text(unknown[i]), "unknown error");
        assert_int_equal(reeve_code_class(unknown[i]), REEVE_CLASS_NONE);
    }
}

static void fail_fills_the_error(void **state) {
    (void)state;
    reeve_error err;
    memset(&err, 0x7f, sizeof err);
    assert_int_equal(reeve__fail(&err, REEVE_E_NET, "port %d", 6379),
                     REEVE_E_NET);
    assert_int_equal(err.code, REEVE_E_NET);
    assert_string_equal(err.message, "port 6379");
    reeve__error_clear(&err);
    assert_int_equal(err.code, 0);
    assert_string_equal(err.message, "");
    assert_int_equal(reeve__fail_nomem(&err), REEVE_E_NOMEM);
    assert_string_equal(err.message, "out of memory");
}

static void fail_accepts_no_error(void **state) {
    (void)state;
    assert_int_equal(reeve__fail(NULL, REEVE_E_TLS, "%s", "x"), REEVE_E_TLS);
    assert_int_equal(reeve__fail_nomem(NULL), REEVE_E_NOMEM);
    reeve__error_clear(NULL);
}

static void message_may_quote_itself(void **state) {
    (void)state;
    reeve_error err;
    reeve__fail(&err, REEVE_E_NET, "refused");
    reeve__fail(&err, REEVE_E_TIMEOUT, "gave up after 3 tries: %s",
                err.message);
    assert_string_equal(err.message, "gave up after 3 tries: refused");
}

static void message_is_one_line(void **state) {
    (void)state;
    reeve_error err;
    reeve__fail(&err, REEVE_E_SERVER, "a%sb\r\nc\td\x7f", "\n");
    assert_string_equal(err.message, "a?b??c?d?");
}

/* Cut at every place inside a 2-, 3- and 4-byte sequence. */
static void truncation_keeps_sequences_whole(void **state) {
    (void)state;
    static const char *const sequences[] = { "é", "€", "🦀" };
    char text[400];
    for (size_t s = 0; s < 3; s++) {
        size_t width = strlen(sequences[s]);
        for (size_t lead = 240; lead <= 251; lead++) {
            memset(text, 'x', lead);
            memcpy(text + lead, sequences[s], width);
            memset(text + lead + width, 'y', 50);
            text[lead + width + 50] = '\0';
            reeve_error err;
            reeve__fail(&err, REEVE_E_INVALID, "%s", text);
            size_t size = strlen(err.message);
            if (lead + width <= 251)
                assert_int_equal(size, 251);
            else
                assert_int_equal(size, lead);
            assert_memory_equal(err.message, text, size);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookups_follow_the_table),
        cmocka_unit_test(numbers_are_frozen),
        cmocka_unit_test(slugs_differ_and_are_lower_case),
        cmocka_unit_test(unknown_codes_have_words_too),
        cmocka_unit_test(fail_fills_the_error),
        cmocka_unit_test(fail_accepts_no_error),
        cmocka_unit_test(message_may_quote_itself),
        cmocka_unit_test(message_is_one_line),
        cmocka_unit_test(truncation_keeps_sequences_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
