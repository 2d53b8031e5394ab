/*
 * Byte views: comparison, UTF-8 and integer checks. Pure functions for every
 * floor; nothing here allocates.
 */
#include "base/bytes.h"

#include <string.h>

reeve_bytes reeve_bytes_of(const char *text) {
    reeve_bytes view = { text, text == NULL ? 0 : strlen(text) };
    return view;
}

bool reeve__bytes_equal(reeve_bytes a, reeve_bytes b) {
    /* memcmp must not see NULL, which an empty view may hold. */
    return a.size == b.size &&
           (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool reeve__bytes_is(reeve_bytes a, const char *text) {
    return reeve__bytes_equal(a, reeve_bytes_of(text));
}

/* Size of the well-formed sequence at p, 0 if there is none. Table 3-7 of the
 * Unicode Standard: only the second byte's range depends on the first. */
static size_t utf8_sequence_bytes(const unsigned char *p, size_t left) {
    unsigned char lead = p[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (left < size)
        return 0;
    unsigned char low = 0x80;
    unsigned char high = 0xbf;
    if (lead == 0xe0)
        low = 0xa0; /* shorter form exists */
    else if (lead == 0xed)
        high = 0x9f; /* surrogates */
    else if (lead == 0xf0)
        low = 0x90; /* shorter form exists */
    else if (lead == 0xf4)
        high = 0x8f; /* beyond U+10FFFF */
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    return size;
}

bool reeve__utf8_is_valid(reeve_bytes text) {
    const unsigned char *p = (const unsigned char *)text.data;
    size_t at = 0;
    while (at < text.size) {
        size_t size = utf8_sequence_bytes(p + at, text.size - at);
        if (size == 0)
            return false;
        at += size;
    }
    return true;
}

bool reeve__int_parse(int64_t *out, reeve_bytes text) {
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t at = negative ? 1 : 0;
    if (at == text.size)
        return false;
    /* Counted downwards: INT64_MIN has no positive twin. */
    int64_t value = 0;
    for (; at < text.size; at++) {
        if (text.data[at] < '0' || text.data[at] > '9')
            return false;
        int digit = text.data[at] - '0';
        if (value < (INT64_MIN + digit) / 10)
            return false;
        value = value * 10 - digit;
    }
    if (!negative && value == INT64_MIN)
        return false;
    *out = negative ? value : -value;
    return true;
}
