/*
 * Rows copied while a store is locked or a transaction is open, handed to the
 * callback after that. Used by the brokers that live in this process.
 */
#ifndef REEVE_SRC_BROKER_ROWS_H
#define REEVE_SRC_BROKER_ROWS_H

#include "base/buf.h"
#include "broker/broker.h"

typedef struct reeve__rows {
    reeve__buf bytes; /* what the views point into */
    reeve__buf heads; /* reeve__row, views still as offsets */
} reeve__rows;

void reeve__rows_init(reeve__rows *rows, reeve_env *env);
void reeve__rows_dispose(reeve__rows *rows);
/* Keeps the memory. */
void reeve__rows_clear(reeve__rows *rows);

size_t reeve__rows_count(const reeve__rows *rows);
/* Copies row and its bytes; a failure sticks. */
void reeve__rows_add(reeve__rows *rows, const reeve__row *row);
bool reeve__rows_failed(const reeve__rows *rows);
/* Calls on_row for each in order; ends with the first error. */
reeve_rc reeve__rows_deliver(const reeve__rows *rows, reeve__row_fn on_row,
                             void *ctx, reeve_error *err);

#endif
