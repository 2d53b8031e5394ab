/*
 * Writing JSON: strings, numbers, whole trees. Called by the codec; locale
 * independent, no recursion.
 */
#include <assert.h>
#include <cjson/cJSON.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "task/json.h"
#include "task/scan.h"

#define EXACT_MAX 9007199254740992.0

static void add_escape(reeve__buf *buf, unsigned char c) {
    static const char short_forms[] = "\b\t\n\f\r\"\\";
    static const char letters[] = "btnfr\"\\";
    const char *found = c == '\0' ? NULL : strchr(short_forms, c);
    char text[6] = { '\\',
                     'u',
                     '0',
                     '0',
                     "0123456789abcdef"[c >> 4],
                     "0123456789abcdef"[c & 15] };
    if (found == NULL) {
        reeve__buf_add(buf, text, sizeof(text));
        return;
    }
    text[1] = letters[found - short_forms];
    reeve__buf_add(buf, text, 2);
}

void reeve__json_add_string(reeve__buf *buf, reeve_bytes text) {
    size_t start = 0;
    reeve__buf_add_char(buf, '"');
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        reeve__buf_add(buf, text.data + start, i - start);
        add_escape(buf, c);
        start = i + 1;
    }
    if (start < text.size)
        reeve__buf_add(buf, text.data + start, text.size - start);
    reeve__buf_add_char(buf, '"');
}

/* Puts a full stop where printf put the locale's decimal point. */
static void add_double_text(reeve__buf *buf, const char *text) {
    const char *point = localeconv()->decimal_point;
    const char *found = strstr(text, point);
    if (found == NULL) {
        reeve__buf_add_text(buf, text);
        return;
    }
    reeve__buf_add(buf, text, (size_t)(found - text));
    reeve__buf_add_char(buf, '.');
    reeve__buf_add_text(buf, found + strlen(point));
}

void reeve__json_add_number(reeve__buf *buf, double value) {
    if (!isfinite(value)) {
        reeve__buf_add_text(buf, "null");
        return;
    }
    if (fabs(value) <= EXACT_MAX && (double)(int64_t)value == value) {
        reeve__buf_add_int(buf, (int64_t)value);
        return;
    }
    char text[64];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    add_double_text(buf, text);
}

/* Everything but containers. */
static void print_leaf(reeve__buf *buf, const cJSON *item) {
    if (cJSON_IsString(item))
        reeve__json_add_string(buf, reeve_bytes_of(item->valuestring));
    else if (cJSON_IsNumber(item))
        reeve__json_add_number(buf, item->valuedouble);
    else if (cJSON_IsRaw(item))
        reeve__buf_add_text(buf, item->valuestring);
    else if (cJSON_IsBool(item))
        reeve__buf_add_text(buf, cJSON_IsTrue(item) ? "true" : "false");
    else
        reeve__buf_add_text(buf, "null");
}

static bool is_container(const cJSON *item) {
    return cJSON_IsObject(item) || cJSON_IsArray(item);
}

static void close_container(reeve__buf *buf, const cJSON *item) {
    reeve__buf_add_char(buf, cJSON_IsObject(item) ? '}' : ']');
}

/* Name (inside an object) and value, or the opening bracket of one. */
static void print_item(reeve__buf *buf, const cJSON *parent,
                       const cJSON *item) {
    if (parent != NULL && cJSON_IsObject(parent)) {
        reeve__json_add_string(buf, reeve_bytes_of(item->string));
        reeve__buf_add_char(buf, ':');
    }
    if (!is_container(item))
        print_leaf(buf, item);
    else
        reeve__buf_add_char(buf, cJSON_IsObject(item) ? '{' : '[');
}

void reeve__json_print(reeve__buf *buf, const struct cJSON *json) {
    const cJSON *parents[REEVE__JSON_DEPTH_MAX];
    size_t depth = 0;
    for (const cJSON *item = json;;) {
        print_item(buf, depth > 0 ? parents[depth - 1] : NULL, item);
        if (is_container(item)) {
            if (item->child != NULL) {
                assert(depth < REEVE__JSON_DEPTH_MAX);
                parents[depth++] = item;
                item = item->child;
                continue;
            }
            close_container(buf, item);
        }
        while (depth > 0 && item->next == NULL) {
            item = parents[--depth];
            close_container(buf, item);
        }
        if (depth == 0)
            return;
        reeve__buf_add_char(buf, ',');
        item = item->next;
    }
}

/* Size that a sequence with this lead byte has when it is well-formed. */
static size_t sequence_bytes(unsigned char lead) {
    if (lead < 0x80)
        return 1;
    return lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
}

void reeve__utf8_sanitize(reeve__buf *buf, reeve_bytes text, size_t max_bytes) {
    static const reeve_bytes replacement = { "\xef\xbf\xbd", 3 };
    size_t used = 0;
    for (size_t at = 0; at < text.size;) {
        size_t size = sequence_bytes((unsigned char)text.data[at]);
        reeve_bytes piece = { text.data + at, size };
        if (size > text.size - at || text.data[at] == '\0' ||
            !reeve__utf8_is_valid(piece)) {
            piece = replacement;
            size = 1;
        }
        if (piece.size > max_bytes - used)
            return;
        reeve__buf_add_bytes(buf, piece);
        used += piece.size;
        at += size;
    }
}
