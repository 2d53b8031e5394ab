/*
 * A fresh SQLite store for each test, shared by the tests of that broker.
 */
#ifndef REEVE_TESTS_SQLITE_STORE_H
#define REEVE_TESTS_SQLITE_STORE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/broker.h"

extern char sqlite_store_directory[];
extern char sqlite_store_path[256]; /* of this test's database */
extern char sqlite_store_url[300];

/* Group and test fixtures. */
int sqlite_store_make(void **state);
int sqlite_store_remove(void **state);
int sqlite_store_name(void **state);

/* Opens with a deadline of 200 ms. */
reeve_rc sqlite_store_try(reeve__broker **out, const char *at,
                          reeve_error *err);
reeve__broker *sqlite_store_open(const char *at);

/* Enqueues one small task; its code, or the verb's. */
reeve_rc sqlite_store_put(reeve__broker *broker, const char *id,
                          reeve_error *err);
/* A callback that counts into a size_t. */
reeve_rc sqlite_store_on_row(void *ctx, const reeve__row *row,
                             reeve_error *err);
size_t sqlite_store_count(reeve__broker *broker, int32_t state);

#endif
