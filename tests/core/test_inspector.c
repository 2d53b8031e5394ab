/*
 * The operator's side over mem, SQLite and Redis: lists, pages, one task, every
 * action, switches of queues, dead workers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "inspect/inspector.h"
#include "stores.h"

typedef struct bench {
    store st;
    reeve_client *client;
    reeve_inspector *inspector;
    reeve_worker *worker; /* manual */
    reeve_error err;
} bench;

static void open_bench(bench *b, void **state) {
    memset(b, 0, sizeof *b);
    store_make(&b->st, *state);
    b->client = store_client(&b->st, NULL);
    b->inspector = store_inspector(&b->st, NULL);
    static const reeve_worker_queue queues[] = {
        { .name = { "q", 1 }, .weight = 2 },
        { .name = { "r", 1 }, .weight = 1 },
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b->st.url;
    options.id = "w1";
    options.manual = 1;
    options.concurrency = 4;
    options.queues = queues;
    options.queue_count = 2;
    must(reeve_worker_new(&b->worker, NULL, &options, &b->err), &b->err);
    must(reeve_worker_start(b->worker, &b->err), &b->err);
}

static void close_bench(bench *b) {
    reeve_worker_free(b->worker);
    reeve_inspector_close(b->inspector);
    reeve_client_close(b->client);
    store_remove(&b->st);
}

/* Changes what one task is, before it is stored. */
typedef void (*change_fn)(reeve_enqueue_args *args);

static void put(bench *b, const char *queue, const char *id, change_fn change) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    args.queue = reeve_bytes_of(queue);
    args.id = reeve_bytes_of(id);
    args.payload = reeve_bytes_of("{\"n\":1}");
    if (change)
        change(&args);
    must(reeve_client_enqueue(NULL, b->client, &args, &b->err), &b->err);
}

static void later(reeve_enqueue_args *args) {
    args->delay_ms = 3600000;
}

static void once(reeve_enqueue_args *args) {
    static const reeve_retry_options retry = {
        .size = (uint32_t)sizeof retry,
        .max_attempts = 1,
    };
    args->retry = &retry;
}

static void slowly(reeve_enqueue_args *args) {
    static const reeve_retry_options retry = {
        .size = (uint32_t)sizeof retry,
        .backoff = REEVE_BACKOFF_FIXED,
        .jitter = REEVE_JITTER_NONE,
        .base_ms = 3600000,
    };
    args->retry = &retry;
}

static void kept(reeve_enqueue_args *args) {
    args->retention_ms = 3600000;
}

static void step(bench *b) {
    must(reeve_worker_step(NULL, b->worker, &b->err), &b->err);
}

/* Runs what is pending, all with one outcome; how many. */
static int run_all(bench *b, int32_t kind) {
    int count = 0;
    reeve_event event;
    step(b);
    while (reeve_worker_poll(&event, 1, b->worker, 0)) {
        if (event.kind != REEVE_EVENT_DELIVERY)
            continue;
        reeve_outcome outcome = REEVE_OUTCOME_INIT;
        outcome.kind = kind;
        outcome.result = reeve_bytes_of("42");
        outcome.error_type = reeve_bytes_of("Boom");
        outcome.error_message = reeve_bytes_of("it broke");
        outcome.error_trace = reeve_bytes_of("line 1\nline 2");
        must(
            reeve_worker_complete(b->worker, event.delivery, &outcome, &b->err),
            &b->err);
        count++;
        step(b);
    }
    return count;
}

static int32_t state_of(bench *b, const char *id) {
    reeve_task_list *list = NULL;
    must(reeve_inspector_find(&list, b->inspector, reeve_bytes_of("q"),
                              reeve_bytes_of(id), &b->err),
         &b->err);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    int32_t state = info ? info->state : REEVE_STATE_NONE;
    reeve_task_list_free(list);
    return state;
}

static reeve_rc act(bench *b, int32_t action, const char *id) {
    return reeve_inspector_act(b->inspector, action, reeve_bytes_of("q"),
                               reeve_bytes_of(id), &b->err);
}

/* One task in each state that an operator meets. */
static void put_one_of_each(bench *b) {
    put(b, "q", "archived", once);
    assert_int_equal(run_all(b, REEVE_OUTCOME_RETRY), 1);
    put(b, "q", "retry", slowly);
    assert_int_equal(run_all(b, REEVE_OUTCOME_RETRY), 1);
    put(b, "q", "completed", kept);
    assert_int_equal(run_all(b, REEVE_OUTCOME_DONE), 1);
    put(b, "q", "active", NULL);
    step(b);
    put(b, "q", "scheduled", later);
    put(b, "q", "pending", NULL);
}

static const char *const all[] = { "scheduled", "retry",    "pending",
                                   "completed", "archived", "active" };

/* --- seeing ----------------------------------------------------------------- */

static void queues_are_counted_by_name(void **state) {
    bench b;
    open_bench(&b, state);
    reeve_queue_list *list = NULL;
    must(reeve_inspector_queues(&list, b.inspector, &b.err), &b.err);
    assert_int_equal(reeve_queue_list_count(list), 0);
    assert_null(reeve_queue_list_get(list, 0));
    reeve_queue_list_free(list);
    put_one_of_each(&b);
    put(&b, "a", "x", NULL);
    must(reeve_inspector_queues(&list, b.inspector, &b.err), &b.err);
    assert_int_equal(reeve_queue_list_count(list), 2);
    const reeve_queue_info *a = reeve_queue_list_get(list, 0);
    const reeve_queue_info *q = reeve_queue_list_get(list, 1);
    assert_true(reeve__bytes_is(a->name, "a"));
    assert_true(reeve__bytes_is(q->name, "q"));
    assert_int_equal(a->pending, 1);
    assert_int_equal(q->pending, 1);
    assert_int_equal(q->active, 1);
    assert_int_equal(q->scheduled, 1);
    assert_int_equal(q->retry, 1);
    assert_int_equal(q->completed, 1);
    assert_int_equal(q->archived, 1);
    assert_int_equal(q->done_total, 1);
    assert_int_equal(q->failed_total, 2);
    assert_int_equal(q->paused | q->weight, 0);
    assert_true(q->size_bytes > 0);
    reeve_queue_list_free(list);
    close_bench(&b);
}

static void one_task_is_seen_whole(void **state) {
    bench b;
    open_bench(&b, state);
    put_one_of_each(&b);
    reeve_task_list *list = NULL;
    must(reeve_inspector_find(&list, b.inspector, reeve_bytes_of("q"),
                              reeve_bytes_of("archived"), &b.err),
         &b.err);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    assert_int_equal(info->state, REEVE_STATE_ARCHIVED);
    assert_true(reeve__bytes_is(info->type, "t"));
    assert_true(reeve__bytes_is(info->payload, "{\"n\":1}"));
    assert_int_equal(info->attempts, 1);
    assert_true(info->reason.size > 0);
    assert_true(info->expires_at_ms > info->settled_at_ms);
    assert_int_equal(info->history_count, 1);
    assert_true(reeve__bytes_is(info->history[0].error_type, "Boom"));
    assert_true(reeve__bytes_is(info->history[0].error_message, "it broke"));
    assert_true(
        reeve__bytes_is(info->history[0].error_trace, "line 1\nline 2"));
    assert_true(reeve__bytes_is(info->history[0].worker, "w1"));
    reeve_task_list_free(list);
    must(reeve_inspector_find(&list, b.inspector, reeve_bytes_of("q"),
                              reeve_bytes_of("completed"), &b.err),
         &b.err);
    info = reeve_task_list_get(list, 0);
    assert_int_equal(info->has_result, 1);
    assert_true(reeve__bytes_is(info->result, "42"));
    reeve_task_list_free(list);
    must(reeve_inspector_find(&list, b.inspector, reeve_bytes_of("q"),
                              reeve_bytes_of("nobody"), &b.err),
         &b.err);
    assert_null(list);
    must(reeve_inspector_find(&list, b.inspector, reeve_bytes_of("nowhere"),
                              reeve_bytes_of("x"), &b.err),
         &b.err);
    assert_null(list);
    close_bench(&b);
}

static void pages_show_each_task_once_in_order(void **state) {
    bench b;
    open_bench(&b, state);
    for (int i = 0; i < 25; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "t%02d", i);
        put(&b, "q", id, NULL);
    }
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.queue = reeve_bytes_of("q");
    query.state = REEVE_STATE_PENDING;
    query.limit = 10;
    int seen = 0;
    do {
        reeve_task_list *list = NULL;
        must(reeve_inspector_tasks(&list, &query.cursor, b.inspector, &query,
                                   &b.err),
             &b.err);
        for (size_t i = 0; i < reeve_task_list_count(list); i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "t%02d", seen++);
            assert_true(reeve__bytes_is(reeve_task_list_get(list, i)->id, id));
        }
        reeve_task_list_free(list);
    } while (query.cursor);
    assert_int_equal(seen, 25);
    query.state = REEVE_STATE_ARCHIVED;
    reeve_task_list *none = NULL;
    must(reeve_inspector_tasks(&none, &query.cursor, b.inspector, &query,
                               &b.err),
         &b.err);
    assert_int_equal(reeve_task_list_count(none), 0);
    reeve_task_list_free(none);
    close_bench(&b);
}

static void workers_are_listed_with_their_load(void **state) {
    bench b;
    open_bench(&b, state);
    put_one_of_each(&b);
    step(&b);
    reeve_worker_list *list = NULL;
    must(reeve_inspector_workers(&list, b.inspector, &b.err), &b.err);
    assert_int_equal(reeve_worker_list_count(list), 1);
    const reeve_worker_info *info = reeve_worker_list_get(list, 0);
    assert_true(reeve__bytes_is(info->id, "w1"));
    assert_true(reeve__bytes_is(info->queues, "q=2,r=1"));
    assert_int_equal(info->concurrency, 4);
    assert_null(reeve_worker_list_get(list, 1));
    reeve_worker_list_free(list);
    close_bench(&b);
}

/* --- acting ------------------------------------------------------------------ */

/* Every action on every state: where it leads, or STATE and nothing changes. */
static void every_action_on_every_state(void **state) {
    static const struct {
        int32_t action;
        const char *verb;
        int32_t to[6]; /* in the order of all[]; -1 = refused */
    } rows[] = {
        { REEVE_ACTION_RUN,
          "run",
          { REEVE_STATE_PENDING, REEVE_STATE_PENDING, -1, REEVE_STATE_PENDING,
            REEVE_STATE_PENDING, -1 } },
        { REEVE_ACTION_ARCHIVE,
          "archive",
          { REEVE_STATE_ARCHIVED, REEVE_STATE_ARCHIVED, REEVE_STATE_ARCHIVED,
            -1, -1, -1 } },
        { REEVE_ACTION_DELETE,
          "delete",
          { REEVE_STATE_NONE, REEVE_STATE_NONE, REEVE_STATE_NONE,
            REEVE_STATE_NONE, REEVE_STATE_NONE, -1 } },
    };
    for (size_t row = 0; row < 3; row++) {
        bench b;
        open_bench(&b, state);
        put_one_of_each(&b);
        for (size_t i = 0; i < 6; i++) {
            int32_t before = state_of(&b, all[i]);
            reeve_rc rc = act(&b, rows[row].action, all[i]);
            if (rows[row].to[i] >= 0) {
                must(rc, &b.err);
                assert_int_equal(state_of(&b, all[i]), rows[row].to[i]);
            } else {
                must_fail(rc, REEVE_E_STATE, &b.err, rows[row].verb);
                assert_int_equal(state_of(&b, all[i]), before);
            }
        }
        must_fail(act(&b, rows[row].action, "nobody"), REEVE_E_NOT_FOUND,
                  &b.err, "'nobody'|queue 'q'");
        close_bench(&b);
    }
}

static void a_dead_letter_runs_afresh(void **state) {
    bench b;
    open_bench(&b, state);
    put(&b, "q", "x", once);
    assert_int_equal(run_all(&b, REEVE_OUTCOME_RETRY), 1);
    must(act(&b, REEVE_ACTION_RUN, "x"), &b.err);
    step(&b);
    reeve_event event;
    assert_int_equal(reeve_worker_poll(&event, 1, b.worker, 0), 1);
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    must(reeve_delivery_read(&view, event.delivery, &b.err), &b.err);
    assert_int_equal(view.attempt, 1);
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    must(reeve_worker_complete(b.worker, event.delivery, &outcome, &b.err),
         &b.err);
    step(&b);
    assert_int_equal(state_of(&b, "x"), REEVE_STATE_NONE);
    close_bench(&b);
}

static void many_are_acted_on_in_chunks(void **state) {
    bench b;
    open_bench(&b, state);
    for (int i = 0; i < 1200; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "t%d", i);
        put(&b, "q", id, NULL);
    }
    size_t count = 0;
    reeve_bytes q = reeve_bytes_of("q");
    must(reeve_inspector_act_many(&count, b.inspector, REEVE_ACTION_ARCHIVE, q,
                                  REEVE_STATE_PENDING, 7, &b.err),
         &b.err);
    assert_int_equal(count, 7);
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_ARCHIVED), 7);
    size_t calls = 0, total = count;
    do {
        must(reeve_inspector_act_many(&count, b.inspector, REEVE_ACTION_ARCHIVE,
                                      q, REEVE_STATE_PENDING, 100000, &b.err),
             &b.err);
        assert_true(count <= 500);
        total += count;
        calls++;
    } while (count);
    assert_int_equal(total, 1200);
    assert_int_equal(calls, 4);
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_ARCHIVED), 1200);
    must(reeve_inspector_act_many(&count, b.inspector, REEVE_ACTION_RUN, q,
                                  REEVE_STATE_ARCHIVED, 500, &b.err),
         &b.err);
    assert_int_equal(count, 500);
    must(reeve_inspector_act_many(&count, b.inspector, REEVE_ACTION_DELETE, q,
                                  REEVE_STATE_ARCHIVED, 500, &b.err),
         &b.err);
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_ARCHIVED), 200);
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_PENDING), 500);
    reeve_rc rc =
        reeve_inspector_act_many(&count, b.inspector, REEVE_ACTION_DELETE, q,
                                 REEVE_STATE_ACTIVE, 5, &b.err);
    must_fail(rc, REEVE_E_STATE, &b.err, "active|delete");
    close_bench(&b);
}

static void an_edited_task_runs_with_its_new_payload(void **state) {
    bench b;
    open_bench(&b, state);
    put_one_of_each(&b);
    reeve_bytes q = reeve_bytes_of("q");
    reeve_bytes payload = { "new\0\xff\n", 6 };
    for (size_t i = 0; i < 5; i++)
        must(reeve_inspector_edit(b.inspector, q, reeve_bytes_of(all[i]),
                                  payload, &b.err),
             &b.err);
    for (size_t i = 0; i < 5; i++) {
        reeve_task_list *list = NULL;
        must(reeve_inspector_find(&list, b.inspector, q, reeve_bytes_of(all[i]),
                                  &b.err),
             &b.err);
        const reeve_task_info *info = reeve_task_list_get(list, 0);
        assert_int_equal(info->state, REEVE_STATE_PENDING);
        assert_true(reeve__bytes_equal(info->payload, payload));
        assert_int_equal(info->attempts, 0);
        reeve_task_list_free(list);
    }
    must_fail(reeve_inspector_edit(b.inspector, q, reeve_bytes_of("active"),
                                   payload, &b.err),
              REEVE_E_STATE, &b.err, "'active'|active|edit");
    must_fail(reeve_inspector_edit(b.inspector, q, reeve_bytes_of("no"),
                                   payload, &b.err),
              REEVE_E_NOT_FOUND, &b.err, "'no'");
    must(reeve_inspector_edit(b.inspector, q, reeve_bytes_of("pending"),
                              (reeve_bytes){ 0 }, &b.err),
         &b.err);
    close_bench(&b);
}

/* --- forgetting a queue -------------------------------------------------------- */

static void a_queue_is_dropped_when_it_has_no_tasks(void **state) {
    bench b;
    open_bench(&b, state);
    reeve_bytes q = reeve_bytes_of("q");
    put(&b, "q", "x", NULL);
    must_fail(reeve_inspector_drop(b.inspector, q, &b.err), REEVE_E_STATE,
              &b.err, "queue 'q' has tasks");
    assert_int_equal(run_all(&b, REEVE_OUTCOME_DONE), 1);
    must(reeve_inspector_drop(b.inspector, q, &b.err), &b.err);
    must_fail(reeve_inspector_drop(b.inspector, q, &b.err), REEVE_E_NOT_FOUND,
              &b.err, "no queue 'q'");
    put(&b, "q", "y", NULL);
    assert_int_equal(run_all(&b, REEVE_OUTCOME_DONE), 1);
    close_bench(&b);
}

/* --- switches ------------------------------------------------------------------ */

static void a_paused_queue_gives_nothing(void **state) {
    bench b;
    open_bench(&b, state);
    put(&b, "q", "x", NULL);
    put(&b, "r", "y", NULL);
    must(reeve_inspector_pause(b.inspector, reeve_bytes_of("q"), true, &b.err),
         &b.err);
    assert_int_equal(run_all(&b, REEVE_OUTCOME_DONE), 1);
    assert_int_equal(state_of(&b, "x"), REEVE_STATE_PENDING);
    must(reeve_inspector_pause(b.inspector, reeve_bytes_of("q"), false, &b.err),
         &b.err);
    assert_int_equal(run_all(&b, REEVE_OUTCOME_DONE), 1);
    close_bench(&b);
}

static int32_t weight_of(bench *b, const char *queue) {
    reeve_queue_list *list = NULL;
    int32_t weight = -1;
    must(reeve_inspector_queues(&list, b->inspector, &b->err), &b->err);
    for (size_t i = 0; i < reeve_queue_list_count(list); i++) {
        const reeve_queue_info *info = reeve_queue_list_get(list, i);
        if (reeve__bytes_is(info->name, queue))
            weight = info->weight;
    }
    reeve_queue_list_free(list);
    return weight;
}

static void weights_are_set_and_taken_back(void **state) {
    bench b;
    open_bench(&b, state);
    put(&b, "q", "x", NULL);
    reeve_bytes q = reeve_bytes_of("q");
    must(reeve_inspector_weight(b.inspector, q, 1000, &b.err), &b.err);
    assert_int_equal(weight_of(&b, "q"), 1000);
    must(reeve_inspector_weight(b.inspector, q, 0, &b.err), &b.err);
    assert_int_equal(weight_of(&b, "q"), 0);
    must_fail(reeve_inspector_weight(b.inspector, q, 1001, &b.err),
              REEVE_E_INVALID, &b.err, "weight 1001|1000");
    must_fail(reeve_inspector_weight(b.inspector, q, -1, &b.err),
              REEVE_E_INVALID, &b.err, "weight -1");
    close_bench(&b);
}

static void a_dead_workers_tasks_come_back_at_once(void **state) {
    bench b;
    open_bench(&b, state);
    put(&b, "q", "x", NULL);
    put(&b, "r", "y", NULL);
    step(&b);
    assert_int_equal(state_of(&b, "x"), REEVE_STATE_ACTIVE);
    size_t count = 9;
    must(reeve_inspector_reclaim_worker(&count, b.inspector,
                                        reeve_bytes_of("other"), &b.err),
         &b.err);
    assert_int_equal(count, 0);
    must(reeve_inspector_reclaim_worker(&count, b.inspector,
                                        reeve_bytes_of("w1"), &b.err),
         &b.err);
    assert_int_equal(count, 2);
    reeve_task_list *list = NULL;
    must(reeve_inspector_find(&list, b.inspector, reeve_bytes_of("q"),
                              reeve_bytes_of("x"), &b.err),
         &b.err);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    assert_int_equal(info->state, REEVE_STATE_PENDING);
    assert_int_equal(info->crashes, 1);
    assert_int_equal(info->attempts, 0);
    reeve_task_list_free(list);
    close_bench(&b);
}

/* --- where a dead worker's tasks are looked for ---------------------------- */

static struct {
    const reeve__broker_ops *real;
    reeve__broker_ops ops;
    int queues;
    int reclaims;
} counted;

static reeve_rc count_queues(reeve__broker *broker, reeve__queue_fn on_queue,
                             void *ctx, reeve_error *err) {
    counted.queues++;
    return counted.real->queues(broker, on_queue, ctx, err);
}

static reeve_rc count_reclaim(reeve__broker *broker, reeve_bytes queue,
                              reeve_bytes worker, size_t max,
                              reeve__row_fn on_row, void *ctx,
                              int64_t *out_next_at_ms, reeve_error *err) {
    counted.reclaims++;
    return counted.real->reclaim(broker, queue, worker, max, on_row, ctx,
                                 out_next_at_ms, err);
}

static void only_the_queues_of_a_dead_worker_are_asked(void **state) {
    bench b;
    open_bench(&b, state);
    put(&b, "q", "x", NULL);
    put(&b, "r", "y", NULL);
    step(&b);
    for (int i = 0; i < 200; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "other%d", i);
        put(&b, name, name, later);
    }
    reeve__broker *broker = b.inspector->shared.broker;
    counted.real = broker->ops;
    counted.ops = *broker->ops;
    counted.ops.queues = count_queues;
    counted.ops.reclaim = count_reclaim;
    counted.queues = counted.reclaims = 0;
    broker->ops = &counted.ops;
    size_t count = 0;
    must(reeve_inspector_reclaim_worker(&count, b.inspector,
                                        reeve_bytes_of("w1"), &b.err),
         &b.err);
    assert_int_equal(count, 2);
    assert_int_equal(counted.queues, 0);
    assert_true(counted.reclaims <= 4);
    /* It is off the list now: its tasks may be anywhere. */
    must(reeve_inspector_reclaim_worker(&count, b.inspector,
                                        reeve_bytes_of("w1"), &b.err),
         &b.err);
    assert_int_equal(count, 0);
    assert_int_equal(counted.queues, 1);
    close_bench(&b);
}

/* Other front ends may say what they like. */
static void a_beat_without_queues_has_all_asked(void **state) {
    static const char *const said[] = { "", "some queues", "q=1,,r=2", "=3" };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        bench b;
        open_bench(&b, state);
        put(&b, "q", "x", NULL);
        step(&b);
        reeve__broker *broker = b.inspector->shared.broker;
        reeve_worker_info info = { .id = reeve_bytes_of("w1"),
                                   .queues = reeve_bytes_of(said[i]) };
        must(broker->ops->beat(broker, &info, false, &b.err), &b.err);
        size_t count = 0;
        must(reeve_inspector_reclaim_worker(&count, b.inspector,
                                            reeve_bytes_of("w1"), &b.err),
             &b.err);
        assert_int_equal(count, 1);
        close_bench(&b);
    }
}

#define OVER(kind, test)                                                       \
    { #test " (" kind ")", test, NULL, NULL, (void *)(uintptr_t)kind }
#define OVER_ALL(test)                                                         \
    OVER("mem", test), OVER("sqlite", test), OVER("redis", test)

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER_ALL(queues_are_counted_by_name),
        OVER_ALL(one_task_is_seen_whole),
        OVER_ALL(pages_show_each_task_once_in_order),
        OVER_ALL(workers_are_listed_with_their_load),
        OVER_ALL(every_action_on_every_state),
        OVER_ALL(a_dead_letter_runs_afresh),
        OVER_ALL(many_are_acted_on_in_chunks),
        OVER_ALL(an_edited_task_runs_with_its_new_payload),
        OVER_ALL(a_queue_is_dropped_when_it_has_no_tasks),
        OVER_ALL(a_paused_queue_gives_nothing),
        OVER_ALL(weights_are_set_and_taken_back),
        OVER_ALL(a_dead_workers_tasks_come_back_at_once),
        OVER_ALL(only_the_queues_of_a_dead_worker_are_asked),
        OVER_ALL(a_beat_without_queues_has_all_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
