/*
 * The embedded scripts: what the library holds is what Redis will hash.
 */
#include "scripts_gen.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void sha1_is_of_the_text(void **state) {
    (void)state;
    for (size_t i = 0; i < REEVE__SCRIPT_COUNT; i++) {
        const reeve__script *script = &reeve__scripts[i];
        unsigned char digest[EVP_MAX_MD_SIZE];
        unsigned size = 0;
        assert_int_equal(EVP_Digest(script->text, script->text_bytes, digest,
                                    &size, EVP_sha1(), NULL),
                         1);
        assert_int_equal(size, 20);
        char hex[41];
        for (size_t j = 0; j < 20; j++)
            snprintf(hex + 2 * j, 3, "%02x", digest[j]);
        assert_string_equal(script->sha1, hex);
    }
}

static void text_is_whole_and_stripped(void **state) {
    (void)state;
    for (size_t i = 0; i < REEVE__SCRIPT_COUNT; i++) {
        const reeve__script *script = &reeve__scripts[i];
        assert_int_equal(strlen(script->text), script->text_bytes);
        assert_true(script->text_bytes > 0);
        assert_int_equal(script->text[script->text_bytes - 1], '\n');
        assert_null(strstr(script->text, "\n--"));
        assert_null(strstr(script->text, "\n "));
        assert_null(strstr(script->text, "\n\n"));
    }
}

static void names_differ_and_the_table_ends(void **state) {
    (void)state;
    for (size_t i = 0; i < REEVE__SCRIPT_COUNT; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(reeve__scripts[i].name,
                                    reeve__scripts[j].name);
            assert_string_not_equal(reeve__scripts[i].sha1,
                                    reeve__scripts[j].sha1);
        }
    }
    assert_string_equal(reeve__scripts[REEVE__SCRIPT_TURN].name, "turn");
    assert_null(reeve__scripts[REEVE__SCRIPT_COUNT].name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1_is_of_the_text),
        cmocka_unit_test(text_is_whole_and_stripped),
        cmocka_unit_test(names_differ_and_the_table_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
