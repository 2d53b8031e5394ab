/*
 * A growing byte buffer whose failure sticks: append freely, check once.
 */
#ifndef REEVE_SRC_BASE_BUF_H
#define REEVE_SRC_BASE_BUF_H

#include "base/env.h"

typedef struct reeve__buf {
    reeve_env *env; /* borrowed */
    char *data;
    size_t size;
    size_t capacity;
    bool failed; /* an append ran out of memory; data is incomplete */
} reeve__buf;

void reeve__buf_init(reeve__buf *buf, reeve_env *env);
void reeve__buf_dispose(reeve__buf *buf);
void reeve__buf_clear(reeve__buf *buf); /* keeps the memory, clears failed */
/* Room for more bytes; returns the place to write or NULL (failed is set). */
char *reeve__buf_reserve(reeve__buf *buf, size_t more_bytes);
void reeve__buf_add(reeve__buf *buf, const void *data, size_t size);
void reeve__buf_add_bytes(reeve__buf *buf, reeve_bytes bytes);
void reeve__buf_add_text(reeve__buf *buf, const char *text);
void reeve__buf_add_char(reeve__buf *buf, char c);
void reeve__buf_add_int(reeve__buf *buf, int64_t value); /* decimal */
void reeve__buf_printf(reeve__buf *buf, const char *fmt, ...)
    REEVE_PRINTF(2, 3);
/* Drops the first count bytes. */
void reeve__buf_drop(reeve__buf *buf, size_t count);
reeve_bytes reeve__buf_view(const reeve__buf *buf);

#endif
