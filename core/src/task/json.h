/*
 * cJSON behind guards: what it accepts too readily or prints inexactly is
 * refused before or carried around it. The only files that include cJSON are
 * here.
 */
#ifndef REEVE_SRC_TASK_JSON_H
#define REEVE_SRC_TASK_JSON_H

#include "base/buf.h"

struct cJSON;

/*
 * Parses one JSON value: strict grammar (RFC 8259), valid UTF-8, no raw control
 * characters, no \u0000, no lone surrogates, no duplicate member names, no
 * trailing garbage, depth <= depth_max (at most 64). Numbers other than plain
 * integers of up to 15 digits become cJSON_Raw, so printing gives them back
 * digit for digit. Errors: CORRUPT, NOMEM. Free with reeve__json_free.
 */
reeve_rc reeve__json_parse(struct cJSON **out, reeve_env *env, reeve_bytes text,
                           int depth_max, reeve_error *err);
void reeve__json_free(struct cJSON *json);

enum reeve__json_kind {
    REEVE__JSON_NULL = 0,
    REEVE__JSON_BOOL = 1,
    REEVE__JSON_NUMBER = 2,
    REEVE__JSON_STRING = 3,
    REEVE__JSON_ARRAY = 4,
    REEVE__JSON_OBJECT = 5,
};

/* Reading a tree. Views and items borrow from it. */
enum reeve__json_kind reeve__json_kind(const struct cJSON *item);
/* First item of a container and the one after an item; NULL when none. */
const struct cJSON *reeve__json_first(const struct cJSON *container);
const struct cJSON *reeve__json_next(const struct cJSON *item);
size_t reeve__json_count(const struct cJSON *container);
/* Name of a member; NULL when the item is not in an object. */
const char *reeve__json_name(const struct cJSON *item);
/* Text of a string item; NULL when it is none. */
const char *reeve__json_text(const struct cJSON *item);
bool reeve__json_is_true(const struct cJSON *item);
/* Member of an object, case-sensitive; NULL when absent. */
const struct cJSON *reeve__json_get(const struct cJSON *object,
                                    const char *name);
/* Exact integer of a number item; false when it is not an int64. */
bool reeve__json_int(int64_t *out, const struct cJSON *item);

/* Value of a number item; false when it is none, infinite, or longer than 90
 * characters. */
bool reeve__json_number(double *out, const struct cJSON *item);

/* Appends the value in one line, without spaces; integers exact. Nested at most
 * 64 deep. */
void reeve__json_print(reeve__buf *buf, const struct cJSON *json);
/* Appends a number in the fewest of 15 to 17 digits that read back as the same
 * double; null when it is not finite. */
void reeve__json_add_number(reeve__buf *buf, double value);
/* Appends a JSON string literal of valid UTF-8 text. */
void reeve__json_add_string(reeve__buf *buf, reeve_bytes text);
/* Appends text with invalid UTF-8 and NUL replaced by U+FFFD and cut at
 * max_bytes on a character boundary. */
void reeve__utf8_sanitize(reeve__buf *buf, reeve_bytes text, size_t max_bytes);

#endif
