/*
 * Growing byte buffer with a sticky failure. Once an append has failed, later
 * ones do nothing, so callers check once at the end.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAPACITY_BYTES 64

void reeve__buf_init(reeve__buf *buf, reeve_env *env) {
    *buf = (reeve__buf){ .env = env };
}

void reeve__buf_dispose(reeve__buf *buf) {
    reeve__free(buf->env, buf->data);
    *buf = (reeve__buf){ .env = buf->env };
}

void reeve__buf_clear(reeve__buf *buf) {
    buf->size = 0;
    buf->failed = false;
}

char *reeve__buf_reserve(reeve__buf *buf, size_t more_bytes) {
    if (buf->failed)
        return NULL;
    if (more_bytes > SIZE_MAX - buf->size) {
        buf->failed = true;
        return NULL;
    }
    size_t want = buf->size + more_bytes;
    if (want > buf->capacity || buf->data == NULL) {
        size_t capacity = buf->capacity < FIRST_CAPACITY_BYTES
                              ? FIRST_CAPACITY_BYTES
                              : buf->capacity;
        while (capacity < want)
            capacity = capacity > SIZE_MAX / 2 ? want : capacity * 2;
        char *data = reeve__realloc(buf->env, buf->data, capacity);
        if (data == NULL) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->capacity = capacity;
    }
    return buf->data + buf->size;
}

void reeve__buf_add(reeve__buf *buf, const void *data, size_t size) {
    char *place = reeve__buf_reserve(buf, size);
    if (place == NULL || size == 0)
        return;
    memcpy(place, data, size);
    buf->size += size;
}

void reeve__buf_add_bytes(reeve__buf *buf, reeve_bytes bytes) {
    reeve__buf_add(buf, bytes.data, bytes.size);
}

void reeve__buf_add_text(reeve__buf *buf, const char *text) {
    reeve__buf_add(buf, text, strlen(text));
}

void reeve__buf_add_char(reeve__buf *buf, char c) {
    reeve__buf_add(buf, &c, 1);
}

void reeve__buf_add_int(reeve__buf *buf, int64_t value) {
    char digits[20]; /* sign and 19 digits */
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0)
        digits[--at] = '-';
    reeve__buf_add(buf, digits + at, sizeof digits - at);
}

void reeve__buf_printf(reeve__buf *buf, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    /* vsnprintf also writes a NUL, which is not counted. */
    char *place = size < 0 ? NULL : reeve__buf_reserve(buf, (size_t)size + 1);
    if (place == NULL) {
        buf->failed = true;
    } else {
        vsnprintf(place, (size_t)size + 1, fmt, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}

void reeve__buf_drop(reeve__buf *buf, size_t count) {
    if (count >= buf->size) {
        buf->size = 0;
        return;
    }
    if (count == 0)
        return;
    memmove(buf->data, buf->data + count, buf->size - count);
    buf->size -= count;
}

reeve_bytes reeve__buf_view(const reeve__buf *buf) {
    reeve_bytes view = { buf->data, buf->size };
    return view;
}
