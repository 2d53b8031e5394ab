/*
 * RESP encoder: commands as arrays of bulk strings, appended to a buffer.
 */
#include <string.h>

#include "wire/resp.h"

#define HEADER_BYTES 24 /* kind, 20 digits, CR, LF */

/* Writes a header that ends before end; where it begins. */
static char *put_header(char *end, char kind, size_t count) {
    *--end = '\n';
    *--end = '\r';
    do {
        *--end = (char)('0' + count % 10);
        count /= 10;
    } while (count);
    *--end = kind;
    return end;
}

void reeve__cmd_begin(reeve__buf *buf, size_t argc) {
    char text[HEADER_BYTES];
    char *at = put_header(text + sizeof text, '*', argc);
    reeve__buf_add(buf, at, (size_t)(text + sizeof text - at));
}

char *reeve__cmd_place(reeve__buf *buf, size_t size) {
    char text[HEADER_BYTES];
    const char *header = put_header(text + sizeof text, '$', size);
    size_t header_size = (size_t)(text + sizeof text - header);
    if (size > SIZE_MAX - HEADER_BYTES - 2) {
        buf->failed = true;
        return NULL;
    }
    char *at = reeve__buf_reserve(buf, header_size + size + 2);
    if (!at)
        return NULL;
    memcpy(at, header, header_size);
    at += header_size;
    memcpy(at + size, "\r\n", 2);
    buf->size += header_size + size + 2;
    return at;
}

void reeve__cmd_bytes(reeve__buf *buf, reeve_bytes arg) {
    char *at = reeve__cmd_place(buf, arg.size);
    if (at && arg.size)
        memcpy(at, arg.data, arg.size);
}

void reeve__cmd_text(reeve__buf *buf, const char *arg) {
    reeve__cmd_bytes(buf, reeve_bytes_of(arg));
}

void reeve__cmd_int(reeve__buf *buf, int64_t arg) {
    char text[20]; /* sign and 19 digits */
    char *at = text + sizeof text;
    uint64_t rest = arg < 0 ? 0 - (uint64_t)arg : (uint64_t)arg;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (arg < 0)
        *--at = '-';
    reeve__cmd_bytes(buf,
                     (reeve_bytes){ at, (size_t)(text + sizeof text - at) });
}

void reeve__cmd_add(reeve__buf *buf, const reeve_bytes *args, size_t count) {
    reeve__cmd_begin(buf, count);
    for (size_t i = 0; i < count; i++)
        reeve__cmd_bytes(buf, args[i]);
}
