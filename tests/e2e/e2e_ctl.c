/*
 * The inspector on the command line, one JSON line an object:
 *
 *   queues | workers | find QUEUE ID | tasks QUEUE STATE | weight QUEUE N |
 *   pause QUEUE 0|1 | reclaim WORKER | act ACTION QUEUE STATE
 */
#include "e2e.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ctl {
    e2e_args args;
    reeve_inspector *inspector;
    reeve_error err;
} ctl;

static reeve_bytes word(ctl *c, int index) {
    const char *text = e2e_word(&c->args, index);
    if (!text) {
        (void)fprintf(stderr, "word %d is missing\n", index);
        exit(2);
    }
    return reeve_bytes_of(text);
}

static int number(ctl *c, int index) {
    return atoi(word(c, index).data);
}

static reeve_rc show_queues(ctl *c) {
    reeve_queue_list *list = NULL;
    reeve_rc rc = reeve_inspector_queues(&list, c->inspector, &c->err);
    for (size_t i = 0; !rc && i < reeve_queue_list_count(list); i++) {
        const reeve_queue_info *q = reeve_queue_list_get(list, i);
        (void)printf("{\"queue\": ");
        e2e_json_text(q->name);
        (void)printf(", \"pending\": %lld, \"active\": %lld, "
                     "\"scheduled\": %lld, \"retry\": %lld, "
                     "\"completed\": %lld, \"archived\": %lld, \"done\": %lld, "
                     "\"failed\": %lld, \"latency_ms\": %lld, \"paused\": %d, "
                     "\"weight\": %d}\n",
                     (long long)q->pending, (long long)q->active,
                     (long long)q->scheduled, (long long)q->retry,
                     (long long)q->completed, (long long)q->archived,
                     (long long)q->done_total, (long long)q->failed_total,
                     (long long)q->latency_ms, (int)q->paused, (int)q->weight);
    }
    reeve_queue_list_free(list);
    return rc;
}

static reeve_rc show_workers(ctl *c) {
    reeve_worker_list *list = NULL;
    reeve_rc rc = reeve_inspector_workers(&list, c->inspector, &c->err);
    for (size_t i = 0; !rc && i < reeve_worker_list_count(list); i++) {
        const reeve_worker_info *w = reeve_worker_list_get(list, i);
        (void)printf("{\"worker\": ");
        e2e_json_text(w->id);
        (void)printf(", \"pid\": %lld, \"active\": %d, \"done\": %lld, "
                     "\"quiet\": %d, \"beat_at_ms\": %lld, \"queues\": ",
                     (long long)w->pid, (int)w->active, (long long)w->done,
                     (int)w->quiet, (long long)w->beat_at_ms);
        e2e_json_text(w->queues);
        (void)puts("}");
    }
    reeve_worker_list_free(list);
    return rc;
}

static void show_tasks(const reeve_task_list *list) {
    for (size_t i = 0; i < reeve_task_list_count(list); i++) {
        const reeve_task_info *t = reeve_task_list_get(list, i);
        (void)printf("{\"id\": ");
        e2e_json_text(t->id);
        (void)printf(", \"state\": \"%s\", \"attempts\": %d, \"crashes\": %d, "
                     "\"token\": %lld, \"due_at_ms\": %lld, \"reason\": ",
                     reeve_state_name(t->state), (int)t->attempts,
                     (int)t->crashes, (long long)t->token,
                     (long long)t->due_at_ms);
        e2e_json_text(t->reason);
        (void)printf(", \"result\": ");
        e2e_json_text(t->result);
        (void)puts("}");
    }
}

static reeve_rc show_find(ctl *c) {
    reeve_task_list *list = NULL;
    reeve_rc rc = reeve_inspector_find(&list, c->inspector, word(c, 1),
                                       word(c, 2), &c->err);
    show_tasks(list);
    reeve_task_list_free(list);
    return rc;
}

static reeve_rc show_pages(ctl *c) {
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.queue = word(c, 1);
    query.state = reeve_state_of(word(c, 2));
    query.limit = 1000;
    reeve_rc rc = 0;
    do {
        reeve_task_list *list = NULL;
        rc = reeve_inspector_tasks(&list, &query.cursor, c->inspector, &query,
                                   &c->err);
        show_tasks(list);
        reeve_task_list_free(list);
    } while (!rc && query.cursor);
    return rc;
}

static reeve_rc act_many(ctl *c) {
    size_t total = 0, count = 0;
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.queue = word(c, 2);
    query.state = reeve_state_of(word(c, 3));
    reeve_rc rc = 0;
    do {
        rc = reeve_inspector_act_page(&count, &query.cursor, c->inspector,
                                      number(c, 1), &query, &c->err);
        total += count;
    } while (!rc && query.cursor);
    (void)printf("{\"count\": %zu}\n", total);
    return rc;
}

static reeve_rc reclaim(ctl *c) {
    size_t count = 0;
    reeve_rc rc = reeve_inspector_reclaim_worker(&count, c->inspector,
                                                 word(c, 1), &c->err);
    (void)printf("{\"count\": %zu}\n", count);
    return rc;
}

static reeve_rc obey(ctl *c, const char *verb) {
    if (strcmp(verb, "queues") == 0)
        return show_queues(c);
    if (strcmp(verb, "workers") == 0)
        return show_workers(c);
    if (strcmp(verb, "find") == 0)
        return show_find(c);
    if (strcmp(verb, "tasks") == 0)
        return show_pages(c);
    if (strcmp(verb, "act") == 0)
        return act_many(c);
    if (strcmp(verb, "reclaim") == 0)
        return reclaim(c);
    if (strcmp(verb, "weight") == 0)
        return reeve_inspector_weight(c->inspector, word(c, 1), number(c, 2),
                                      &c->err);
    if (strcmp(verb, "pause") == 0)
        return reeve_inspector_pause(c->inspector, word(c, 1),
                                     number(c, 2) != 0, &c->err);
    (void)fprintf(stderr, "no such verb: %s\n", verb);
    exit(2);
}

int main(int argc, char **argv) {
    ctl c = { .args = e2e_args_of(argc, argv) };
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = e2e_text(&c.args, "url", NULL);
    options.prefix = e2e_text(&c.args, "prefix", NULL);
    options.timeout_ms = e2e_number(&c.args, "timeout-ms", 0);
    reeve_env *env =
        e2e_env((int32_t)e2e_number(&c.args, "log", REEVE_LOG_WARN));
    reeve_rc rc = reeve_inspector_open(&c.inspector, env, &options, &c.err);
    if (!rc)
        rc = obey(&c, word(&c, 0).data);
    if (rc)
        e2e_die(rc, &c.err);
    e2e_args_end(&c.args);
    reeve_inspector_close(c.inspector);
    reeve_env_free(env);
    return 0;
}
