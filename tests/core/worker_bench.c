/*
 * The bench; see worker_bench.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/worker_bench.h"

void open_bench(bench *b, bool manual, const reeve_worker_options *given) {
    static atomic_int serial;
    reeve_error err;
    memset(b, 0, sizeof *b);
    reeve_env_options env_options = REEVE_ENV_OPTIONS_INIT;
    env_options.random_seed = 7;
    env_options.virtual_now_at_ms = manual ? START_AT_MS : 0;
    must(reeve_env_new(&b->env, &env_options, &err), &err);
    (void)snprintf(b->url, sizeof b->url, "mem://worker-%d",
                   atomic_fetch_add(&serial, 1));
    reeve_client_options client_options = REEVE_CLIENT_OPTIONS_INIT;
    client_options.url = b->url;
    must(reeve_client_open(&b->client, b->env, &client_options, &err), &err);
    must(reeve_inspector_open(&b->inspector, b->env, &client_options, &err),
         &err);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    if (given)
        options = *given;
    options.url = b->url;
    options.manual = manual;
    must(reeve_worker_new(&b->worker, b->env, &options, &err), &err);
}

void close_bench(bench *b) {
    reeve_worker_free(b->worker);
    reeve_inspector_close(b->inspector);
    reeve_client_close(b->client);
    reeve_env_free(b->env);
}

void put(bench *b, reeve_enqueue_args args, char *id) {
    reeve_error err;
    reeve_enqueue_result result;
    if (!args.type.size)
        args.type = reeve_bytes_of("t");
    must(reeve_client_enqueue(&result, b->client, &args, &err), &err);
    if (id)
        (void)strcpy(id, result.id);
}

void step(bench *b) {
    reeve_error err;
    must(reeve_worker_step(NULL, b->worker, &err), &err);
}

reeve_delivery *next_delivery(bench *b) {
    reeve_event event;
    while (reeve_worker_poll(&event, 1, b->worker, 0)) {
        if (event.kind == REEVE_EVENT_DELIVERY)
            return event.delivery;
    }
    return NULL;
}

void complete(bench *b, reeve_delivery *dlv, reeve_outcome outcome) {
    reeve_error err;
    must(reeve_worker_complete(b->worker, dlv, &outcome, &err), &err);
}

reeve_outcome outcome_of(int32_t kind) {
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    outcome.kind = kind;
    outcome.error_type = reeve_bytes_of("Boom");
    outcome.error_message = reeve_bytes_of("it broke");
    return outcome;
}

reeve_queue_info queue_info(bench *b) {
    reeve_error err;
    reeve_queue_list *list = NULL;
    must(reeve_inspector_queues(&list, b->inspector, &err), &err);
    assert_int_equal(reeve_queue_list_count(list), 1);
    reeve_queue_info info = *reeve_queue_list_get(list, 0);
    reeve_queue_list_free(list);
    return info;
}

reeve_task_list *find(bench *b, const char *id) {
    reeve_error err;
    reeve_task_list *list = NULL;
    must(reeve_inspector_find(&list, b->inspector, reeve_bytes_of("default"),
                              reeve_bytes_of(id), &err),
         &err);
    return list;
}

int32_t state_of(bench *b, const char *id) {
    reeve_task_list *list = find(b, id);
    int32_t state =
        list ? reeve_task_list_get(list, 0)->state : REEVE_STATE_NONE;
    reeve_task_list_free(list);
    return state;
}

reeve_enqueue_args plain(void) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    return args;
}

void start(bench *b) {
    reeve_error err;
    must(reeve_worker_start(b->worker, &err), &err);
}
