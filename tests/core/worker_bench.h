/*
 * One worker, client and inspector on a mem store of their own, for the tests
 * of the runtime. Included after cmocka's own prerequisites.
 */
#ifndef REEVE_TESTS_WORKER_BENCH_H
#define REEVE_TESTS_WORKER_BENCH_H

#include <reeve.h>

#include "core/stores.h"

#define START_AT_MS 1763600000000

typedef struct bench {
    reeve_env *env;
    char url[64];
    reeve_client *client;
    reeve_worker *worker;
    reeve_inspector *inspector;
} bench;

/* manual: a virtual clock from START_AT_MS and a worker driven by step. given:
 * the other options, or NULL. */
void open_bench(bench *b, bool manual, const reeve_worker_options *given);
void close_bench(bench *b);
void start(bench *b);
void step(bench *b);

/* A task of type "t" for the default queue; put stores it and tells its id. */
reeve_enqueue_args plain(void);
void put(bench *b, reeve_enqueue_args args, char *id);

/* The next delivery that is there, or NULL. */
reeve_delivery *next_delivery(bench *b);
void complete(bench *b, reeve_delivery *dlv, reeve_outcome outcome);
/* With an error of type "Boom". */
reeve_outcome outcome_of(int32_t kind);

/* The only queue; a task's state; a list of the task, NULL when it is gone. */
reeve_queue_info queue_info(bench *b);
int32_t state_of(bench *b, const char *id);
reeve_task_list *find(bench *b, const char *id);

#endif
