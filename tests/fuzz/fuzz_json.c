/*
 * Any bytes through the JSON guards. What is accepted must print to text that
 * parses to the same print again, hold no trace of the number mark, and be
 * refused with anything behind it.
 */
#include "task/json.h"

#include "base/bytes.h"
#include "task/scan.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition)                                                     \
    do {                                                                       \
        if (!(condition))                                                      \
            abort();                                                           \
    } while (0)

static void print_of(reeve__buf *out, reeve_bytes text) {
    struct cJSON *json;
    reeve_error err;
    reeve__buf_init(out, NULL);
    REQUIRE(reeve__json_parse(&json, NULL, text, REEVE__JSON_DEPTH_MAX, &err) ==
            REEVE_OK);
    reeve__json_print(out, json);
    reeve__json_free(json);
}

static void check_accepted(reeve_bytes text) {
    reeve__buf first;
    reeve__buf second;
    print_of(&first, text);
    REQUIRE(reeve__utf8_is_valid(reeve__buf_view(&first)));
    REQUIRE(memchr(first.data, '\n', first.size) == NULL);
    print_of(&second, reeve__buf_view(&first));
    REQUIRE(
        reeve__bytes_equal(reeve__buf_view(&first), reeve__buf_view(&second)));
    reeve__buf_add_char(&first, 'x');
    struct cJSON *json;
    REQUIRE(reeve__json_parse(&json, NULL, reeve__buf_view(&first),
                              REEVE__JSON_DEPTH_MAX, NULL) == REEVE_E_CORRUPT);
    reeve__buf_dispose(&first);
    reeve__buf_dispose(&second);
}

static void check_texts(reeve_bytes text) {
    reeve__buf clean;
    reeve__buf literal;
    reeve__buf_init(&clean, NULL);
    reeve__buf_init(&literal, NULL);
    reeve__utf8_sanitize(&clean, text, text.size);
    REQUIRE(clean.size <= text.size);
    reeve__json_add_string(&literal, reeve__buf_view(&clean));
    struct cJSON *json;
    REQUIRE(reeve__json_parse(&json, NULL, reeve__buf_view(&literal), 1,
                              NULL) == REEVE_OK);
    reeve__json_free(json);
    reeve__buf_dispose(&clean);
    reeve__buf_dispose(&literal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    reeve_bytes text = { (const char *)data, size };
    struct cJSON *json;
    reeve_error err = { 0 };
    reeve_rc rc =
        reeve__json_parse(&json, NULL, text, REEVE__JSON_DEPTH_MAX, &err);
    REQUIRE(rc == REEVE_OK || rc == REEVE_E_CORRUPT);
    REQUIRE((rc == REEVE_OK) == (json != NULL));
    REQUIRE(err.code == rc);
    reeve__json_free(json);
    if (rc == REEVE_OK)
        check_accepted(text);
    check_texts(text);
    return 0;
}
