/*
 * Fresh stores for tests of the floors above the broker: the same case runs
 * over mem://, over an SQLite file and over a redis-server of its own.
 */
#ifndef REEVE_TESTS_STORES_H
#define REEVE_TESTS_STORES_H

#include <reeve.h>

#include "support/redis_server.h"

typedef struct store {
    const char *kind; /* "mem", "sqlite" or "redis" */
    char url[128];
    char dir[64]; /* "" = none */
    redis_server server;
} store;

/* A store that nobody has seen before. kind: one of the three. */
void store_make(store *st, const char *kind);
/* Removes its files, ends its server; every handle must be closed. */
void store_remove(store *st);

/* Fails the test with the error's words unless rc is 0. */
void must(reeve_rc rc, const reeve_error *err);
/* Fails unless rc is code and the message has every word of the list, which is
 * separated by '|', and is one line. */
void must_fail(reeve_rc rc, reeve_rc code, const reeve_error *err,
               const char *words);

/* Client, inspector of a store; asserted. New. */
reeve_client *store_client(const store *st, reeve_env *env);
reeve_inspector *store_inspector(const store *st, reeve_env *env);

/* Tasks in a state of a queue (NONE: done_total); -1 when there is no such
 * queue. */
int64_t store_count(const store *st, const char *queue, int32_t state);
/* How many queues exist. */
size_t store_queue_count(const store *st);

#endif
