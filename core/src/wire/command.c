/*
 * RESP encoder: commands as arrays of bulk strings, appended to a buffer.
 */
#include <stdio.h>
#include <string.h>

#include "wire/resp.h"

static void add_header(reeve__buf *buf, char kind, size_t count) {
    char text[24];
    char *at = text + sizeof text;
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + count % 10);
        count /= 10;
    } while (count);
    *--at = kind;
    reeve__buf_add(buf, at, (size_t)(text + sizeof text - at));
}

void reeve__cmd_begin(reeve__buf *buf, size_t argc) {
    add_header(buf, '*', argc);
}

void reeve__cmd_bytes(reeve__buf *buf, reeve_bytes arg) {
    add_header(buf, '$', arg.size);
    char *at = reeve__buf_reserve(buf, arg.size + 2);
    if (!at)
        return;
    if (arg.size)
        memcpy(at, arg.data, arg.size);
    memcpy(at + arg.size, "\r\n", 2);
    buf->size += arg.size + 2;
}

void reeve__cmd_text(reeve__buf *buf, const char *arg) {
    reeve__cmd_bytes(buf, reeve_bytes_of(arg));
}

void reeve__cmd_int(reeve__buf *buf, int64_t arg) {
    char text[24];
    int size = snprintf(text, sizeof text, "%lld", (long long)arg);
    reeve__cmd_bytes(buf, (reeve_bytes){ text, (size_t)size });
}

void reeve__cmd_add(reeve__buf *buf, const reeve_bytes *args, size_t count) {
    reeve__cmd_begin(buf, count);
    for (size_t i = 0; i < count; i++)
        reeve__cmd_bytes(buf, args[i]);
}
