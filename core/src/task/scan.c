/*
 * The strict JSON scanner: a small state machine over bytes with a bit stack
 * for the containers. It builds nothing but the rewritten text.
 */
#include "task/scan.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"

/* What the grammar allows next. */
enum want {
    WANT_VALUE,
    WANT_FIRST_ELEMENT, /* a value or ']' */
    WANT_FIRST_NAME,    /* a name or '}' */
    WANT_NAME,
    WANT_SEPARATOR, /* ',', the closing bracket, or the end at depth 0 */
};

typedef struct scan {
    const char *data;
    size_t size;
    size_t at;
    int depth;
    int depth_max;
    uint64_t in_object; /* bit depth - 1: an object is open there */
    size_t copied;      /* bytes of the text already in rewritten */
    reeve__buf *rewritten;
    reeve_error *err;
} scan;

static reeve_rc fail(const scan *s, const char *what) {
    return reeve__fail(s->err, REEVE_E_CORRUPT, "json has %s at byte %zu", what,
                       s->at);
}

static reeve_rc fail_byte(const scan *s) {
    if (s->at >= s->size)
        return fail(s, "a premature end");
    unsigned char c = (unsigned char)s->data[s->at];
    return reeve__fail(s->err, REEVE_E_CORRUPT,
                       "json has unexpected byte 0x%02x at byte %zu", c, s->at);
}

static void skip_space(scan *s) {
    while (s->at < s->size &&
           (s->data[s->at] == ' ' || s->data[s->at] == '\t' ||
            s->data[s->at] == '\n' || s->data[s->at] == '\r'))
        s->at++;
}

/* Four hex digits at the cursor; -1 when there are none. */
static int32_t hex4(const scan *s) {
    if (s->size - s->at < 4)
        return -1;
    int32_t value = 0;
    for (size_t i = 0; i < 4; i++) {
        char c = s->data[s->at + i];
        int32_t digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10;
        else
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The cursor is behind "\u". */
static reeve_rc scan_unicode(scan *s) {
    int32_t unit = hex4(s);
    if (unit < 0)
        return fail(s, "a bad \\u escape");
    if (unit == 0)
        return fail(s, "a NUL character");
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return fail(s, "a lone surrogate");
    s->at += 4;
    if (unit < 0xd800 || unit > 0xdfff)
        return REEVE_OK;
    if (s->size - s->at < 6 || s->data[s->at] != '\\' ||
        s->data[s->at + 1] != 'u')
        return fail(s, "a lone surrogate");
    s->at += 2;
    unit = hex4(s);
    if (unit < 0xdc00 || unit > 0xdfff)
        return fail(s, "a lone surrogate");
    s->at += 4;
    return REEVE_OK;
}

/* The cursor is on a backslash. */
static reeve_rc scan_escape(scan *s) {
    s->at++;
    if (s->at >= s->size)
        return fail_byte(s);
    char c = s->data[s->at];
    if (c == '\0' || strchr("\"\\/bfnrtu", c) == NULL)
        return fail(s, "a bad escape");
    s->at++;
    return c == 'u' ? scan_unicode(s) : REEVE_OK;
}

/* The cursor is on the opening quote. */
static reeve_rc scan_string(scan *s) {
    size_t start = ++s->at;
    unsigned char seen = 0;
    for (;;) {
        if (s->at >= s->size)
            return fail_byte(s);
        unsigned char c = (unsigned char)s->data[s->at];
        if (c == '"')
            break;
        if (c < 0x20)
            return fail(s, "a raw control character");
        seen |= c;
        if (c != '\\') {
            s->at++;
            continue;
        }
        reeve_rc rc = scan_escape(s);
        if (rc != REEVE_OK)
            return rc;
    }
    reeve_bytes body = { s->data + start, s->at - start };
    s->at++;
    if (seen >= 0x80 && !reeve__utf8_is_valid(body))
        return fail(s, "invalid UTF-8 in the string that ends");
    return REEVE_OK;
}

static size_t skip_digits(scan *s) {
    size_t start = s->at;
    while (s->at < s->size && s->data[s->at] >= '0' && s->data[s->at] <= '9')
        s->at++;
    return s->at - start;
}

/* Copies what was passed over and the number from start on as a string. */
static void rewrite_number(scan *s, size_t start) {
    reeve__buf_add(s->rewritten, s->data + s->copied, start - s->copied);
    reeve__buf_add_char(s->rewritten, '"');
    reeve__buf_add_char(s->rewritten, REEVE__JSON_RAW_MARK);
    reeve__buf_add(s->rewritten, s->data + start, s->at - start);
    reeve__buf_add_char(s->rewritten, '"');
    s->copied = s->at;
}

static reeve_rc scan_number(scan *s) {
    size_t start = s->at;
    bool negative = s->data[s->at] == '-';
    if (negative)
        s->at++;
    bool zero = s->at < s->size && s->data[s->at] == '0';
    size_t digits = zero ? 1 : skip_digits(s);
    if (digits == 0)
        return fail_byte(s);
    if (zero)
        s->at++;
    bool exact = digits <= REEVE__JSON_EXACT_DIGITS && !(negative && zero);
    if (s->at < s->size && s->data[s->at] == '.') {
        exact = false;
        s->at++;
        if (skip_digits(s) == 0)
            return fail_byte(s);
    }
    if (s->at < s->size && (s->data[s->at] | 0x20) == 'e') {
        exact = false;
        s->at++;
        if (s->at < s->size && (s->data[s->at] == '+' || s->data[s->at] == '-'))
            s->at++;
        if (skip_digits(s) == 0)
            return fail_byte(s);
    }
    if (!exact)
        rewrite_number(s, start);
    return REEVE_OK;
}

static reeve_rc scan_word(scan *s, const char *word) {
    for (; *word != '\0'; word++, s->at++) {
        if (s->at >= s->size || s->data[s->at] != *word)
            return fail_byte(s);
    }
    return REEVE_OK;
}

static reeve_rc open_container(scan *s, bool is_object, enum want *want) {
    if (s->depth == s->depth_max)
        return reeve__fail(s->err, REEVE_E_CORRUPT,
                           "json is nested deeper than %d at byte %zu",
                           s->depth_max, s->at);
    uint64_t bit = UINT64_C(1) << s->depth++;
    s->in_object = is_object ? s->in_object | bit : s->in_object & ~bit;
    s->at++;
    *want = is_object ? WANT_FIRST_NAME : WANT_FIRST_ELEMENT;
    return REEVE_OK;
}

static bool is_in_object(const scan *s) {
    return (s->in_object >> (s->depth - 1) & 1) != 0;
}

static reeve_rc scan_value(scan *s, enum want *want) {
    char c = s->data[s->at];
    *want = WANT_SEPARATOR;
    switch (c) {
    case '{':
    case '[':
        return open_container(s, c == '{', want);
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        return scan_number(s);
    }
}

/* A member's name and its colon. */
static reeve_rc scan_name(scan *s, enum want *want) {
    if (s->data[s->at] != '"')
        return fail_byte(s);
    reeve_rc rc = scan_string(s);
    if (rc != REEVE_OK)
        return rc;
    skip_space(s);
    *want = WANT_VALUE;
    return scan_word(s, ":");
}

static void close_container(scan *s, enum want *want) {
    s->at++;
    s->depth--;
    *want = WANT_SEPARATOR;
}

static reeve_rc scan_separator(scan *s, enum want *want) {
    char c = s->data[s->at];
    if (s->depth == 0)
        return fail(s, "trailing bytes");
    bool is_object = is_in_object(s);
    if (c == (is_object ? '}' : ']')) {
        close_container(s, want);
        return REEVE_OK;
    }
    if (c != ',')
        return fail_byte(s);
    s->at++;
    *want = is_object ? WANT_NAME : WANT_VALUE;
    return REEVE_OK;
}

/* One token; the cursor is on its first byte. */
static reeve_rc scan_token(scan *s, enum want *want) {
    char c = s->data[s->at];
    if ((*want == WANT_FIRST_NAME && c == '}') ||
        (*want == WANT_FIRST_ELEMENT && c == ']')) {
        close_container(s, want);
        return REEVE_OK;
    }
    if (*want == WANT_SEPARATOR)
        return scan_separator(s, want);
    if (*want == WANT_NAME || *want == WANT_FIRST_NAME)
        return scan_name(s, want);
    return scan_value(s, want);
}

reeve_rc reeve__json_scan(reeve__buf *rewritten, reeve_bytes text,
                          int depth_max, reeve_error *err) {
    assert(depth_max <= REEVE__JSON_DEPTH_MAX);
    scan s = { .data = text.data,
               .size = text.size,
               .depth_max = depth_max,
               .rewritten = rewritten,
               .err = err };
    enum want want = WANT_VALUE;
    for (skip_space(&s); s.at < s.size; skip_space(&s)) {
        reeve_rc rc = scan_token(&s, &want);
        if (rc != REEVE_OK)
            return rc;
    }
    if (s.depth > 0 || want != WANT_SEPARATOR)
        return fail_byte(&s);
    if (s.copied > 0)
        reeve__buf_add(rewritten, s.data + s.copied, s.size - s.copied);
    return rewritten->failed ? reeve__fail_nomem(err) : REEVE_OK;
}
