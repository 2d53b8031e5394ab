/*
 * Error codes and the error value: lookups over REEVE_ERROR_TABLE and the one
 * place that formats messages. Called by every floor; knows nothing but codes.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(reeve_error) == 256, "reeve_error is 256 bytes");

const char *reeve_code_slug(int32_t code) {
    switch (code) {
    case REEVE_OK:
        return "ok";
#define REEVE__X(name, number, slug, class_, text)                             \
    case number:                                                               \
        return slug;
        REEVE_ERROR_TABLE(REEVE__X)
#undef REEVE__X
    default:
        return "unknown";
    }
}

const char *reeve_code_text(int32_t code) {
    switch (code) {
    case REEVE_OK:
        return "no error";
#define REEVE__X(name, number, slug, class_, text)                             \
    case number:                                                               \
        return text;
        REEVE_ERROR_TABLE(REEVE__X)
#undef REEVE__X
    default:
        return "unknown error";
    }
}

int32_t reeve_code_class(int32_t code) {
    switch (code) {
#define REEVE__X(name, number, slug, class_, text)                             \
    case number:                                                               \
        return REEVE_CLASS_##class_;
        REEVE_ERROR_TABLE(REEVE__X)
#undef REEVE__X
    default:
        return REEVE_CLASS_NONE;
    }
}

/* A message is one line and UTF-8 stays whole: control bytes become '?', and a
 * sequence that the bound has cut is dropped. */
static void tidy(char *message, bool truncated) {
    size_t size = strlen(message);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)message[i];
        if (c < 0x20 || c == 0x7f)
            message[i] = '?';
    }
    if (!truncated)
        return;
    size_t start = size;
    while (start > 0 && ((unsigned char)message[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0 || (unsigned char)message[start - 1] < 0xc0)
        return;
    unsigned char lead = (unsigned char)message[start - 1];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (size - (start - 1) < want)
        message[start - 1] = '\0';
}

reeve_rc reeve__fail(reeve_error *err, int32_t code, const char *fmt, ...) {
    if (err == NULL)
        return code;
    /* Arguments may point into err->message (wrapping an earlier error). */
    char line[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    int size = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (size < 0)
        line[0] = '\0';
    tidy(line, size >= (int)sizeof line);
    memcpy(err->message, line, strlen(line) + 1);
    err->code = code;
    return code;
}

reeve_rc reeve__fail_nomem(reeve_error *err) {
    return reeve__fail(err, REEVE_E_NOMEM, "out of memory");
}

void reeve__error_clear(reeve_error *err) {
    if (err == NULL)
        return;
    err->code = REEVE_OK;
    err->message[0] = '\0';
}
