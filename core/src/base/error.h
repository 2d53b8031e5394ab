/*
 * Filling a reeve_error in one expression. Used by every floor.
 */
#ifndef REEVE_SRC_BASE_ERROR_H
#define REEVE_SRC_BASE_ERROR_H

#include <reeve/error.h>

/* Writes code and message (truncated to fit; err may be NULL); returns code. */
reeve_rc reeve__fail(reeve_error *err, int32_t code, const char *fmt, ...)
    REEVE_PRINTF(3, 4);

/* The standard out-of-memory error; returns REEVE_E_NOMEM. */
reeve_rc reeve__fail_nomem(reeve_error *err);

/* Code 0, empty message. err may be NULL. */
void reeve__error_clear(reeve_error *err);

#endif
