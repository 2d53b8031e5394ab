/*
 * The worker with its threads: both faces, handlers, control, identity, and
 * options that it refuses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "broker/broker.h"
#include "core/worker_bench.h"

/* --- threads ------------------------------------------------------------- */

static reeve_rc count_up(reeve_outcome *outcome, reeve_delivery *dlv,
                         void *user, reeve_error *err) {
    (void)outcome;
    (void)dlv;
    (void)err;
    atomic_fetch_add((atomic_int *)user, 1);
    return 0;
}

static void wait_until_empty(bench *b, atomic_int *count, int wanted) {
    reeve_error err;
    while (atomic_load(count) < wanted)
        (void)reeve_worker_join(b->worker, 5, &err);
}

static void c_handlers_run_every_task_once(void **state) {
    (void)state;
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.concurrency = 4;
    open_bench(&b, false, &options);
    atomic_int count = 0;
    must(reeve_worker_handle(b.worker, reeve_bytes_of("t"), count_up, &count,
                             NULL),
         NULL);
    start(&b);
    enum {
        N = 5000
    };
    static reeve_enqueue_args args[N];
    for (int i = 0; i < N; i++)
        args[i] = plain();
    must(reeve_client_enqueue_many(NULL, b.client, args, N, NULL), NULL);
    wait_until_empty(&b, &count, N);
    reeve_worker_stop(b.worker);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    assert_int_equal(atomic_load(&count), N);
    reeve_queue_info info = queue_info(&b);
    assert_int_equal(info.done_total, N);
    assert_int_equal(info.pending + info.active, 0);
    close_bench(&b);
}

static void polled_deliveries_from_the_fd(void **state) {
    (void)state;
    bench b;
    open_bench(&b, false, NULL);
    start(&b);
    enum {
        N = 500
    };
    for (int i = 0; i < N; i++)
        put(&b, plain(), NULL);
    int done = 0;
    while (done < N) {
        reeve_event events[16];
        size_t count = reeve_worker_poll(events, 16, b.worker, 1000);
        reeve_outcome outcome = outcome_of(REEVE_OUTCOME_DONE);
        reeve_completion items[16];
        for (size_t i = 0; i < count; i++)
            items[i] = (reeve_completion){ events[i].delivery, &outcome };
        must(reeve_worker_complete_many(b.worker, items, count, NULL), NULL);
        done += (int)count;
    }
    reeve_worker_stop(b.worker);
    reeve_event event = { 0 };
    while (event.kind != REEVE_EVENT_STOPPED)
        (void)reeve_worker_poll(&event, 1, b.worker, REEVE_NEVER);
    /* Whoever has seen the last event may leave: nothing is left to do. */
    reeve_worker_list *list = NULL;
    must(reeve_inspector_workers(&list, b.inspector, NULL), NULL);
    assert_int_equal(reeve_worker_list_count(list), 0);
    reeve_worker_list_free(list);
    must(reeve_worker_join(b.worker, 0, NULL), NULL);
    assert_int_equal(queue_info(&b).done_total, N);
    close_bench(&b);
}

static void no_handler_is_a_failed_run(void **state) {
    (void)state;
    bench b;
    open_bench(&b, false, NULL);
    atomic_int count = 0;
    must(reeve_worker_handle(b.worker, reeve_bytes_of("known"), count_up,
                             &count, NULL),
         NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    while (state_of(&b, id) != REEVE_STATE_RETRY)
        (void)reeve_worker_join(b.worker, 2, NULL);
    reeve_task_list *list = find(&b, id);
    const reeve_task_info *info = reeve_task_list_get(list, 0);
    assert_true(reeve__bytes_is(info->history[0].error_message,
                                "no handler for type 't'"));
    reeve_task_list_free(list);
    close_bench(&b);
}

static reeve_rc fail_with_error(reeve_outcome *outcome, reeve_delivery *dlv,
                                void *user, reeve_error *err) {
    (void)outcome;
    (void)dlv;
    (void)user;
    err->code = REEVE_E_NET;
    (void)strcpy(err->message, "partner says 503");
    return err->code;
}

static void a_handlers_error_is_kept_word_for_word(void **state) {
    (void)state;
    bench b;
    open_bench(&b, false, NULL);
    must(reeve_worker_handle(b.worker, (reeve_bytes){ 0 }, fail_with_error,
                             NULL, NULL),
         NULL);
    start(&b);
    char id[REEVE_ID_BYTES_MAX + 1];
    put(&b, plain(), id);
    while (state_of(&b, id) != REEVE_STATE_RETRY)
        (void)reeve_worker_join(b.worker, 2, NULL);
    reeve_task_list *list = find(&b, id);
    const reeve_attempt_info *run = &reeve_task_list_get(list, 0)->history[0];
    assert_true(reeve__bytes_is(run->error_type, "network"));
    assert_true(reeve__bytes_is(run->error_message, "partner says 503"));
    reeve_task_list_free(list);
    close_bench(&b);
}

static void central_weights_reach_a_running_worker(void **state) {
    (void)state;
    bench b;
    reeve_worker_queue queues[] = {
        { .name = reeve_bytes_of("a"), .weight = 1 },
        { .name = reeve_bytes_of("b"), .weight = 1 },
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.queues = queues;
    options.queue_count = 2;
    open_bench(&b, false, &options);
    start(&b);
    must(reeve_inspector_weight(b.inspector, reeve_bytes_of("a"), 7, NULL),
         NULL);
    bool seen = false;
    while (!seen) {
        reeve_worker_list *list = NULL;
        must(reeve_inspector_workers(&list, b.inspector, NULL), NULL);
        seen =
            reeve_worker_list_count(list) == 1 &&
            reeve__bytes_is(reeve_worker_list_get(list, 0)->queues, "a=7,b=1");
        reeve_worker_list_free(list);
        (void)reeve_worker_join(b.worker, 10, NULL);
    }
    close_bench(&b);
}

/* --- identity ------------------------------------------------------------ */

static void beat_as(bench *b, const char *id, const char *host, int64_t pid,
                    int64_t at_ms) {
    reeve__broker *broker = NULL;
    reeve__broker_options options = { .url = b->url };
    must(reeve__broker_open(&broker, b->env, &options, NULL), NULL);
    reeve_worker_info info = {
        .id = reeve_bytes_of(id),
        .host = reeve_bytes_of(host),
        .pid = pid,
        .beat_at_ms = at_ms,
    };
    must(broker->ops->beat(broker, &info, false, NULL), NULL);
    reeve__broker_close(broker);
}

static void an_id_in_use_is_refused(void **state) {
    (void)state;
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.id = "twin";
    open_bench(&b, false, &options);
    int64_t now_at_ms = reeve_env_now_at_ms(b.env);
    beat_as(&b, "twin", "elsewhere", 12, now_at_ms);
    reeve_error err;
    assert_int_equal(reeve_worker_start(b.worker, &err), REEVE_E_STATE);
    assert_non_null(strstr(err.message, "'twin' is in use by process 12 on "
                                        "elsewhere"));
    close_bench(&b);
}

static void the_id_of_a_dead_process_is_free(void **state) {
    (void)state;
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.id = "twin";
    open_bench(&b, false, &options);
    pid_t child = fork(); /* a process id that nobody has */
    if (child == 0)
        _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    beat_as(&b, "twin", host, child, reeve_env_now_at_ms(b.env));
    start(&b);
    close_bench(&b);
}

/* A container that was started again at once: same host, same number. */
static void the_id_of_one_before_this_process_is_free(void **state) {
    (void)state;
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    bench b;
    open_bench(&b, true, NULL);
    beat_as(&b, "twin", host, getpid(), START_AT_MS);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b.url;
    options.id = "twin";
    reeve_worker *twin = NULL;
    must(reeve_worker_new(&twin, b.env, &options, NULL), NULL);
    must(reeve_env_advance(b.env, 5900, NULL), NULL); /* not silent yet */
    must(reeve_worker_start(twin, NULL), NULL);
    reeve_worker_free(twin);
    close_bench(&b);
}

static void the_id_of_a_worker_of_this_process_is_refused(void **state) {
    (void)state;
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.id = "twin";
    open_bench(&b, false, &options);
    start(&b);
    int listed = 0;
    while (!listed) { /* its ticker's first step */
        reeve_worker_list *list = NULL;
        must(reeve_inspector_workers(&list, b.inspector, NULL), NULL);
        listed = (int)reeve_worker_list_count(list);
        reeve_worker_list_free(list);
        (void)reeve_worker_join(b.worker, 1, NULL);
    }
    options.url = b.url;
    reeve_worker *twin = NULL;
    must(reeve_worker_new(&twin, b.env, &options, NULL), NULL);
    reeve_error err;
    must_fail(reeve_worker_start(twin, &err), REEVE_E_STATE, &err,
              "'twin' is in use");
    reeve_worker_free(twin);
    close_bench(&b);
}

static void the_id_of_a_silent_worker_is_free(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    beat_as(&b, "twin", "elsewhere", 12, START_AT_MS);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b.url;
    options.id = "twin";
    reeve_worker *twin = NULL;
    must(reeve_worker_new(&twin, b.env, &options, NULL), NULL);
    must(reeve_env_advance(b.env, 6000, NULL), NULL);
    must(reeve_worker_start(twin, NULL), NULL);
    reeve_worker_free(twin);
    close_bench(&b);
}

static void a_reclaimed_worker_leaves_the_list(void **state) {
    (void)state;
    bench b;
    open_bench(&b, true, NULL);
    beat_as(&b, "gone", "elsewhere", 12, START_AT_MS);
    size_t count = 1;
    must(reeve_inspector_reclaim_worker(&count, b.inspector,
                                        reeve_bytes_of("gone"), NULL),
         NULL);
    assert_int_equal(count, 0);
    reeve_worker_list *list = NULL;
    must(reeve_inspector_workers(&list, b.inspector, NULL), NULL);
    assert_int_equal(reeve_worker_list_count(list), 0);
    reeve_worker_list_free(list);
    close_bench(&b);
}

/* --- bad input ----------------------------------------------------------- */

static void bad_options_name_thing_value_and_bound(void **state) {
    (void)state;
    struct {
        const char *want;
        reeve_worker_options options;
    } cases[] = {
        { "concurrency -3 is outside 1..10000", REEVE_WORKER_OPTIONS_INIT },
        { "lease_ms 5 is outside 100..86400000", REEVE_WORKER_OPTIONS_INIT },
        { "order 9 is outside 0..1", REEVE_WORKER_OPTIONS_INIT },
        { "settle_count 5000 is outside 1..1024", REEVE_WORKER_OPTIONS_INIT },
    };
    cases[0].options.concurrency = -3;
    cases[1].options.lease_ms = 5;
    cases[2].options.order = 9;
    cases[3].options.settle_count = 5000;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        reeve_error err;
        reeve_worker *worker = NULL;
        cases[i].options.url = "mem://bad";
        assert_int_equal(
            reeve_worker_new(&worker, NULL, &cases[i].options, &err),
            REEVE_E_INVALID);
        assert_null(worker);
        assert_string_equal(err.message, cases[i].want);
    }
}

static void queue_lists_are_checked(void **state) {
    (void)state;
    reeve_error err;
    reeve_worker *worker = NULL;
    reeve_worker_queue queues[] = {
        { .name = reeve_bytes_of("a"), .weight = 1 },
        { .name = reeve_bytes_of("a"), .weight = 1 },
    };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = "mem://bad";
    options.queues = queues;
    options.queue_count = 2;
    assert_int_equal(reeve_worker_new(&worker, NULL, &options, &err),
                     REEVE_E_INVALID);
    assert_string_equal(err.message, "queue 'a' is listed twice");
    queues[1].name = reeve_bytes_of("b c");
    assert_int_equal(reeve_worker_new(&worker, NULL, &options, &err),
                     REEVE_E_INVALID);
    queues[1].name = reeve_bytes_of("b");
    queues[1].weight = 1001;
    assert_int_equal(reeve_worker_new(&worker, NULL, &options, &err),
                     REEVE_E_INVALID);
    assert_non_null(strstr(err.message, "1001"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        /* First: it wants a young process. */
        cmocka_unit_test(the_id_of_one_before_this_process_is_free),
        cmocka_unit_test(c_handlers_run_every_task_once),
        cmocka_unit_test(polled_deliveries_from_the_fd),
        cmocka_unit_test(no_handler_is_a_failed_run),
        cmocka_unit_test(a_handlers_error_is_kept_word_for_word),
        cmocka_unit_test(central_weights_reach_a_running_worker),
        cmocka_unit_test(an_id_in_use_is_refused),
        cmocka_unit_test(the_id_of_a_dead_process_is_free),
        cmocka_unit_test(the_id_of_a_worker_of_this_process_is_refused),
        cmocka_unit_test(the_id_of_a_silent_worker_is_free),
        cmocka_unit_test(a_reclaimed_worker_leaves_the_list),
        cmocka_unit_test(bad_options_name_thing_value_and_bound),
        cmocka_unit_test(queue_lists_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
