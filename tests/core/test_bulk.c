/*
 * Bulk actions over mem, SQLite and Redis: they do all that was there, whoever
 * moves tasks meanwhile, and they end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "inspect/inspector.h"
#include "stores.h"

#define BATCH 500
#define MANY 12000

typedef struct bench {
    store st;
    reeve_client *client;
    reeve_inspector *inspector;
    reeve_inspector *other; /* another operator */
    reeve_error err;
} bench;

static void open_bench(bench *b, void **state) {
    memset(b, 0, sizeof *b);
    store_make(&b->st, *state);
    b->client = store_client(&b->st, NULL);
    b->inspector = store_inspector(&b->st, NULL);
    b->other = store_inspector(&b->st, NULL);
}

static void close_bench(bench *b) {
    reeve_inspector_close(b->other);
    reeve_inspector_close(b->inspector);
    reeve_client_close(b->client);
    store_remove(&b->st);
}

/* Tasks "<letter><number>" of queue q. */
static void put_many(bench *b, char letter, int count, int32_t priority) {
    static char ids[BATCH][16];
    static reeve_enqueue_args args[BATCH];
    for (int first = 0; first < count; first += BATCH) {
        int some = count - first < BATCH ? count - first : BATCH;
        for (int i = 0; i < some; i++) {
            (void)snprintf(ids[i], sizeof ids[i], "%c%d", letter, first + i);
            args[i] = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
            args[i].type = reeve_bytes_of("t");
            args[i].queue = reeve_bytes_of("q");
            args[i].id = reeve_bytes_of(ids[i]);
            args[i].priority = priority;
        }
        must(reeve_client_enqueue_many(NULL, b->client, args, (size_t)some,
                                       &b->err),
             &b->err);
    }
}

static int64_t pending(const bench *b) {
    return store_count(&b->st, "q", REEVE_STATE_PENDING);
}

static int64_t archived(const bench *b) {
    return store_count(&b->st, "q", REEVE_STATE_ARCHIVED);
}

static reeve_task_query all_in(int32_t state) {
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.queue = reeve_bytes_of("q");
    query.state = state;
    return query;
}

/* One chunk; how many moved. */
static size_t go_on(bench *b, int32_t action, reeve_task_query *query) {
    size_t count = 0;
    must(reeve_inspector_act_page(&count, &query->cursor, b->inspector, action,
                                  query, &b->err),
         &b->err);
    return count;
}

/* The chunks that are left; how many moved. */
static size_t finish(bench *b, int32_t action, reeve_task_query *query) {
    size_t total = 0;
    for (int calls = 0; query->cursor; calls++) {
        if (calls == 100)
            fail_msg("no end after %zu", total);
        total += go_on(b, action, query);
    }
    return total;
}

static size_t act_on_all(bench *b, int32_t action, int32_t state) {
    reeve_task_query query = all_in(state);
    size_t count = go_on(b, action, &query);
    return count + finish(b, action, &query);
}

/* Newcomers are told by the clock. */
static void let_time_pass(void) {
    struct timespec span = { .tv_nsec = 40000000 };
    (void)nanosleep(&span, NULL);
}

static void all_of_many_are_acted_on(void **state) {
    bench b;
    open_bench(&b, state);
    put_many(&b, 't', MANY, 5);
    assert_int_equal(act_on_all(&b, REEVE_ACTION_ARCHIVE, REEVE_STATE_PENDING),
                     MANY);
    assert_int_equal(pending(&b), 0);
    assert_int_equal(act_on_all(&b, REEVE_ACTION_RUN, REEVE_STATE_ARCHIVED),
                     MANY);
    assert_int_equal(archived(&b), 0);
    assert_int_equal(act_on_all(&b, REEVE_ACTION_DELETE, REEVE_STATE_PENDING),
                     MANY);
    assert_int_equal(pending(&b), 0);
    close_bench(&b);
}

/* In Redis each leaves a stale copy before those that are left. */
static void also_behind_many_that_were_deleted_singly(void **state) {
    bench b;
    open_bench(&b, state);
    put_many(&b, 't', MANY, 5);
    for (int i = MANY / 2 - 1; i >= 0; i--) {
        char id[16];
        (void)snprintf(id, sizeof id, "t%d", i);
        must(reeve_inspector_act(b.other, REEVE_ACTION_DELETE,
                                 reeve_bytes_of("q"), reeve_bytes_of(id),
                                 &b.err),
             &b.err);
    }
    assert_int_equal(act_on_all(&b, REEVE_ACTION_DELETE, REEVE_STATE_PENDING),
                     MANY / 2);
    assert_int_equal(pending(&b), 0);
    close_bench(&b);
}

/* --- others in between ------------------------------------------------------ */

/* What happens after the inspector has listed a page, before it acts. */
static struct {
    bench *b;
    const reeve__broker_ops *real;
    reeve__broker_ops ops;
    size_t each;  /* so many of a page are taken away; 0 = all */
    size_t pages; /* of so many pages */
    size_t taken;
} thief;

static reeve_rc list_and_take(reeve__broker *broker, reeve_bytes queue,
                              int32_t state, uint64_t cursor, size_t limit,
                              uint64_t *out_cursor, reeve__row_fn on_row,
                              void *ctx, reeve_error *err) {
    reeve_rc rc = thief.real->list(broker, queue, state, cursor, limit,
                                   out_cursor, on_row, ctx, err);
    const reeve_task_list *list = ctx;
    size_t count = reeve_task_list_count(list);
    size_t some = thief.each && thief.each < count ? thief.each : count;
    for (size_t i = 0; i < some && thief.pages; i++, thief.taken++)
        must(reeve_inspector_act(thief.b->other, REEVE_ACTION_DELETE, queue,
                                 reeve_task_list_get(list, i)->id, err),
             err);
    thief.pages -= thief.pages > 0;
    return rc;
}

static void let_steal(bench *b, size_t each, size_t pages) {
    reeve__broker *broker = b->inspector->shared.broker;
    thief.b = b;
    thief.real = broker->ops;
    thief.ops = *broker->ops;
    thief.ops.list = list_and_take;
    thief.each = each;
    thief.pages = pages;
    thief.taken = 0;
    broker->ops = &thief.ops;
}

static void one_of_a_page_taken_away_leaves_no_rest(void **state) {
    bench b;
    open_bench(&b, state);
    put_many(&b, 't', MANY, 5);
    let_steal(&b, 1, 1000);
    size_t count = act_on_all(&b, REEVE_ACTION_ARCHIVE, REEVE_STATE_PENDING);
    assert_true(thief.taken >= MANY / BATCH);
    assert_int_equal(count + thief.taken, MANY);
    assert_int_equal(pending(&b), 0);
    assert_int_equal(archived(&b), count);
    close_bench(&b);
}

static void a_whole_page_taken_away_leaves_no_rest(void **state) {
    bench b;
    open_bench(&b, state);
    put_many(&b, 't', 2 * BATCH + 1, 5);
    let_steal(&b, 0, 1);
    assert_int_equal(act_on_all(&b, REEVE_ACTION_DELETE, REEVE_STATE_PENDING),
                     BATCH + 1);
    assert_int_equal(thief.taken, BATCH);
    assert_int_equal(pending(&b), 0);
    close_bench(&b);
}

/* More of them than a page holds stand before the rest. */
static void newcomers_are_left_alone(void **state) {
    bench b;
    open_bench(&b, state);
    put_many(&b, 't', 3 * BATCH, 5);
    reeve_task_query query = all_in(REEVE_STATE_PENDING);
    size_t count = go_on(&b, REEVE_ACTION_DELETE, &query);
    assert_int_equal(count, BATCH);
    let_time_pass();
    put_many(&b, 'n', BATCH + 7, 9);
    put_many(&b, 'm', 3, 5);
    count += finish(&b, REEVE_ACTION_DELETE, &query);
    assert_int_equal(count, 3 * BATCH);
    assert_int_equal(pending(&b), BATCH + 10);
    close_bench(&b);
}

static void what_comes_back_is_left_alone(void **state) {
    bench b;
    open_bench(&b, state);
    put_many(&b, 't', 3 * BATCH, 5);
    (void)act_on_all(&b, REEVE_ACTION_ARCHIVE, REEVE_STATE_PENDING);
    reeve_task_query query = all_in(REEVE_STATE_ARCHIVED);
    size_t count = go_on(&b, REEVE_ACTION_RUN, &query);
    let_time_pass();
    assert_int_equal(act_on_all(&b, REEVE_ACTION_ARCHIVE, REEVE_STATE_PENDING),
                     BATCH);
    count += finish(&b, REEVE_ACTION_RUN, &query);
    assert_int_equal(count, 3 * BATCH);
    assert_int_equal(archived(&b), BATCH);
    close_bench(&b);
}

#define OVER(kind, test)                                                       \
    { #test " (" kind ")", test, NULL, NULL, (void *)(uintptr_t)kind }
#define OVER_ALL(test)                                                         \
    OVER("mem", test), OVER("sqlite", test), OVER("redis", test)

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER_ALL(all_of_many_are_acted_on),
        OVER_ALL(also_behind_many_that_were_deleted_singly),
        OVER_ALL(one_of_a_page_taken_away_leaves_no_rest),
        OVER_ALL(a_whole_page_taken_away_leaves_no_rest),
        OVER_ALL(newcomers_are_left_alone),
        OVER_ALL(what_comes_back_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
