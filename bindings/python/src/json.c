/*
 * What JSON text holds that needs care, found in one pass: readers and writers
 * that differ in such corners are kept away from them (see _codec.py). Does not
 * check the text; whoever parses it does.
 */
#include <string.h>
#include "glue.h"

#define LONG_DIGITS 19 /* an integer of so many may not fit 64 bits */

/* Behind the string that starts at p. */
static const char *skip_string(unsigned *traits, const char *p,
                               const char *end) {
    for (;;) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        if (quote == NULL)
            return end;
        const char *escape = memchr(p, '\\', (size_t)(quote - p));
        if (escape == NULL)
            return quote + 1;
        if (end - escape < 3)
            return end;
        if (escape[1] == 'u' && (escape[2] == 'd' || escape[2] == 'D'))
            *traits |= GLUE_JSON_SURROGATE;
        p = escape + 2;
    }
}

unsigned glue_json_traits(const char *p, size_t size) {
    const char *end = p + size;
    unsigned traits = 0;
    size_t depth = 0;
    size_t digits = 0;
    while (p < end) {
        char c = *p++;
        if (c >= '0' && c <= '9') {
            if (++digits >= LONG_DIGITS)
                traits |= GLUE_JSON_LONG;
            continue;
        }
        if (digits > 0 && (c == 'e' || c == 'E'))
            traits |= GLUE_JSON_EXPONENT;
        if (digits > 0 && c == '.' && end - p >= 4 && !memcmp(p, "0000", 4))
            traits |= GLUE_JSON_EXPONENT;
        digits = 0;
        if (c == '"')
            p = skip_string(&traits, p, end);
        else if (c == 'n')
            traits |= GLUE_JSON_NULL;
        else if (c == '[' || c == '{')
            traits |= ++depth > GLUE_JSON_DEPTH_MAX ? GLUE_JSON_DEEP : 0u;
        else if ((c == ']' || c == '}') && depth > 0)
            depth--;
    }
    return traits;
}
