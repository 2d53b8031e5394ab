/*
 * The producer over mem, SQLite and Redis: results of each item, ids, idempotency,
 * combining from threads, forks, deadlines, sizes of structs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "stores.h"
#include "support/forks.h"

/* Each case runs with state = the kind of store. */
typedef struct bench {
    store st;
    reeve_client *client;
} bench;

static void open_bench(bench *b, void **state) {
    store_make(&b->st, *state);
    b->client = store_client(&b->st, NULL);
}

static void close_bench(bench *b) {
    reeve_client_close(b->client);
    store_remove(&b->st);
}

static reeve_enqueue_args args_of(const char *queue, const char *id) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    args.queue = reeve_bytes_of(queue);
    args.id = reeve_bytes_of(id);
    return args;
}

/* --- items ---------------------------------------------------------------- */

static void every_item_has_its_result(void **state) {
    bench b;
    open_bench(&b, state);
    reeve_error err;
    reeve_enqueue_args args[3] = { args_of("a", "one"), args_of("b", NULL),
                                   args_of(NULL, "three") };
    args[1].delay_ms = 60000;
    reeve_enqueue_result results[3];
    memset(results, 0xff, sizeof results);
    must(reeve_client_enqueue_many(results, b.client, args, 3, &err), &err);
    assert_string_equal(results[0].id, "one");
    assert_int_equal(results[0].state, REEVE_STATE_PENDING);
    assert_int_equal(results[0].due_at_ms, 0);
    assert_int_equal(strlen(results[1].id), 36);
    assert_int_equal(results[1].state, REEVE_STATE_SCHEDULED);
    int64_t now_at_ms = 0;
    must(reeve_client_now(&now_at_ms, b.client, &err), &err);
    assert_true(results[1].due_at_ms > now_at_ms);
    assert_true(results[1].due_at_ms <= now_at_ms + 60000);
    assert_string_equal(results[2].id, "three");
    for (int i = 0; i < 3; i++)
        assert_int_equal(results[i].code | results[i].existing, 0);
    assert_int_equal(store_count(&b.st, "a", REEVE_STATE_PENDING), 1);
    assert_int_equal(store_count(&b.st, "b", REEVE_STATE_SCHEDULED), 1);
    assert_int_equal(store_count(&b.st, "default", REEVE_STATE_PENDING), 1);
    close_bench(&b);
}

static void a_taken_id_is_refused_alone(void **state) {
    bench b;
    open_bench(&b, state);
    reeve_error err;
    reeve_enqueue_args args[4] = { args_of("q", "x"), args_of("q", "y"),
                                   args_of("q", "x"), args_of("r", "x") };
    reeve_enqueue_result results[4];
    reeve_rc rc = reeve_client_enqueue_many(results, b.client, args, 4, &err);
    must_fail(rc, REEVE_E_EXISTS, &err, "'x'|queue 'q'");
    assert_int_equal(results[0].code, 0);
    assert_int_equal(results[1].code, 0);
    assert_int_equal(results[2].code, REEVE_E_EXISTS);
    assert_int_equal(results[3].code, 0); /* ids are of a queue */
    rc = reeve_client_enqueue(NULL, b.client, &args[1], &err);
    must_fail(rc, REEVE_E_EXISTS, &err, "'y'|queue 'q'");
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_PENDING), 2);
    close_bench(&b);
}

static void an_idempotency_key_gives_the_first_task(void **state) {
    bench b;
    open_bench(&b, state);
    reeve_error err;
    reeve_enqueue_args args[3] = { args_of("q", NULL), args_of("q", NULL),
                                   args_of("q", NULL) };
    args[0].idempotency_key = (reeve_bytes){ "k\0\xff", 3 };
    args[1].idempotency_key = (reeve_bytes){ "k\0\xff", 3 };
    args[2].idempotency_key = (reeve_bytes){ "k", 1 };
    reeve_enqueue_result results[3], again;
    must(reeve_client_enqueue_many(results, b.client, args, 3, &err), &err);
    assert_int_equal(results[0].existing, 0);
    assert_int_equal(results[1].existing, 1);
    assert_string_equal(results[0].id, results[1].id);
    assert_int_equal(results[2].existing, 0);
    assert_string_not_equal(results[0].id, results[2].id);
    must(reeve_client_enqueue(&again, b.client, &args[0], &err), &err);
    assert_int_equal(again.existing, 1);
    assert_string_equal(again.id, results[0].id);
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_PENDING), 2);
    close_bench(&b);
}

static void an_empty_batch_is_nothing(void **state) {
    bench b;
    open_bench(&b, state);
    reeve_error err;
    must(reeve_client_enqueue_many(NULL, b.client, NULL, 0, &err), &err);
    assert_int_equal(store_queue_count(&b.st), 0);
    close_bench(&b);
}

static void a_bad_item_is_named_and_nothing_is_stored(void **state) {
    bench b;
    open_bench(&b, state);
    reeve_error err;
    reeve_enqueue_args args[3] = { args_of("q", "a"), args_of("q q", "b"),
                                   args_of("q", "c") };
    reeve_enqueue_result results[3];
    memset(results, 0xff, sizeof results);
    reeve_rc rc = reeve_client_enqueue_many(results, b.client, args, 3, &err);
    must_fail(rc, REEVE_E_INVALID, &err, "item 1: |queue name 'q q'");
    assert_int_equal(results[0].code, REEVE_E_CANCELLED);
    assert_int_equal(results[0].state, REEVE_STATE_NONE);
    assert_int_equal(results[1].code, REEVE_E_INVALID);
    assert_int_equal(results[2].code, REEVE_E_CANCELLED);
    assert_int_equal(results[2].state, REEVE_STATE_NONE);
    assert_int_equal(store_queue_count(&b.st), 0);
    close_bench(&b);
}

/* Counted from the server's now, which is the stores' own. */
static void a_delay_beyond_the_deadline_is_refused(void **state) {
    bench b;
    open_bench(&b, state);
    reeve_error err;
    int64_t now_at_ms = 0;
    must(reeve_client_now(&now_at_ms, b.client, &err), &err);
    reeve_enqueue_args args = args_of("q", "a");
    args.delay_ms = 3 * 3600000;
    args.deadline_at_ms = now_at_ms + 3600000;
    reeve_rc rc = reeve_client_enqueue(NULL, b.client, &args, &err);
    must_fail(rc, REEVE_E_INVALID, &err, "delay_ms 10800000|deadline_at_ms");
    assert_int_equal(store_queue_count(&b.st), 0);
    args.deadline_at_ms = now_at_ms + 4 * 3600000;
    must(reeve_client_enqueue(NULL, b.client, &args, &err), &err);
    close_bench(&b);
}

/* --- threads --------------------------------------------------------------- */

#define THREADS 16
#define CALLS 200

typedef struct caller {
    pthread_t thread;
    reeve_client *client;
    int number;
    int wrong;
} caller;

/* Batches of 1 … 3; one item of each call is a duplicate of its own. */
static void *call_many(void *arg) {
    caller *c = arg;
    for (int i = 0; i < CALLS; i++) {
        char ids[3][32];
        reeve_enqueue_args args[4];
        size_t count = (size_t)(i % 3) + 1;
        for (size_t k = 0; k < count; k++) {
            (void)snprintf(ids[k], sizeof ids[k], "%d-%d-%zu", c->number, i, k);
            args[k] = args_of("q", ids[k]);
        }
        args[count] = args_of("q", ids[0]);
        reeve_enqueue_result results[4];
        reeve_error err;
        reeve_rc rc = reeve_client_enqueue_many(results, c->client, args,
                                                count + 1, &err);
        c->wrong += rc != REEVE_E_EXISTS || !strstr(err.message, ids[0]);
        c->wrong += results[count].code != REEVE_E_EXISTS;
        for (size_t k = 0; k < count; k++)
            c->wrong += results[k].code || strcmp(results[k].id, ids[k]) != 0;
    }
    return NULL;
}

static void callers_of_one_client_get_their_own_results(void **state) {
    bench b;
    open_bench(&b, state);
    caller callers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (caller){ .client = b.client, .number = i };
        assert_int_equal(
            pthread_create(&callers[i].thread, NULL, call_many, &callers[i]),
            0);
    }
    int64_t expected = 0;
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].wrong, 0);
        for (int k = 0; k < CALLS; k++)
            expected += k % 3 + 1;
    }
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_PENDING), expected);
    close_bench(&b);
}

/* --- forks ------------------------------------------------------------------ */

static void put_some(reeve_client *client, const char *label, int count) {
    for (int i = 0; i < count; i++) {
        char id[32];
        reeve_error err;
        (void)snprintf(id, sizeof id, "%s-%d", label, i);
        reeve_enqueue_args args = args_of("q", id);
        must(reeve_client_enqueue(NULL, client, &args, &err), &err);
    }
}

/* While other threads are in the middle of calls, so that the child inherits
 * locks that nobody holds. */
static void a_forked_child_has_a_client_of_its_own(void **state) {
    if (!forks_are_followed())
        skip();
    bench b;
    open_bench(&b, state);
    put_some(b.client, "before", 10);
    caller busy = { .client = b.client, .number = 0 };
    assert_int_equal(pthread_create(&busy.thread, NULL, call_many, &busy), 0);
    for (int i = 0; i < 8; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            char label[16];
            (void)snprintf(label, sizeof label, "child%d", i);
            put_some(b.client, label, 10);
            reeve_client_close(b.client);
            _exit(0);
        }
        char label[16];
        (void)snprintf(label, sizeof label, "parent%d", i);
        put_some(b.client, label, 10);
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    (void)pthread_join(busy.thread, NULL);
    assert_int_equal(busy.wrong, 0);
    int64_t threads = 0;
    for (int k = 0; k < CALLS; k++)
        threads += k % 3 + 1;
    bool shared = strcmp(b.st.kind, "mem") != 0; /* mem: the child's is gone */
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_PENDING),
                     10 + threads + 80 + (shared ? 80 : 0));
    close_bench(&b);
}

/* --- deadlines --------------------------------------------------------------- */

static void a_silent_server_is_a_timeout(void **state) {
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = { .sin_family = AF_INET };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    char url[64];
    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%d",
                   (int)ntohs(at.sin_port));
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = url;
    options.timeout_ms = 50;
    reeve_client *client = NULL;
    reeve_error err;
    reeve_rc rc = reeve_client_open(&client, NULL, &options, &err);
    must_fail(rc, REEVE_E_TIMEOUT, &err, "127.0.0.1");
    assert_null(client);
    (void)close(fd);
}

/* Whoever does not know whether its task was stored can ask again by its id. */
static void a_failed_call_names_its_ids(void **state) {
    bench b;
    store_make(&b.st, *state);
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = b.st.url;
    options.timeout_ms = 50;
    reeve_error err;
    must(reeve_client_open(&b.client, NULL, &options, &err), &err);
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(b.st.url + strlen("sqlite://"), &other), 0);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL),
                     0);
    reeve_enqueue_args args[2] = { args_of("q", NULL), args_of("q", "mine") };
    reeve_enqueue_result results[2];
    memset(results, 0xff, sizeof results);
    reeve_rc rc = reeve_client_enqueue_many(results, b.client, args, 2, &err);
    assert_int_equal(reeve_code_class(rc), REEVE_CLASS_RETRY);
    assert_int_equal(results[0].code, rc);
    assert_int_equal(strlen(results[0].id), 36);
    assert_int_equal(results[1].code, rc);
    assert_string_equal(results[1].id, "mine");
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), 0);
    (void)sqlite3_close(other);
    args[0].id = reeve_bytes_of(results[0].id);
    must(reeve_client_enqueue_many(NULL, b.client, args, 2, &err), &err);
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_PENDING), 2);
    close_bench(&b);
}

#define CROWD 8
#define CROWD_BATCH 3000 /* two do not fit one combined call */

static atomic_int crowd_waited, crowd_timed_out;

static void *call_huge(void *arg) {
    reeve_enqueue_args *args = calloc(CROWD_BATCH, sizeof *args);
    assert_non_null(args);
    for (int i = 0; i < CROWD_BATCH; i++)
        args[i] = args_of("q", NULL);
    reeve_error err;
    reeve_rc rc = reeve_client_enqueue_many(NULL, arg, args, CROWD_BATCH, &err);
    if (reeve_code_class(rc) == REEVE_CLASS_RETRY)
        atomic_fetch_add(&crowd_timed_out, 1);
    if (rc == REEVE_E_TIMEOUT && strstr(err.message, "nothing was sent"))
        atomic_fetch_add(&crowd_waited, 1);
    free(args);
    return NULL;
}

/* Callers that cannot be combined do not wait for one deadline after another. */
static void a_callers_deadline_counts_while_others_are_served(void **state) {
    bench b;
    store_make(&b.st, *state);
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = b.st.url;
    options.timeout_ms = 300;
    reeve_error err;
    must(reeve_client_open(&b.client, NULL, &options, &err), &err);
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(b.st.url + strlen("sqlite://"), &other), 0);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL),
                     0);
    pthread_t crowd[CROWD];
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&crowd[i], NULL, call_huge, b.client),
                         0);
    for (int i = 0; i < CROWD; i++)
        (void)pthread_join(crowd[i], NULL);
    assert_int_equal(atomic_load(&crowd_timed_out), CROWD);
    assert_true(atomic_load(&crowd_waited) > 0);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), 0);
    (void)sqlite3_close(other);
    assert_int_equal(store_queue_count(&b.st), 0);
    put_some(b.client, "after", 3);
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_PENDING), 3);
    close_bench(&b);
}

/* --- sizes of structs --------------------------------------------------------- */

typedef struct longer_args {
    reeve_enqueue_args args;
    int64_t tail;
} longer_args;

static void a_newer_callers_structs_are_read(void **state) {
    bench b;
    open_bench(&b, state);
    reeve_error err;
    longer_args many[2];
    memset(many, 0, sizeof many);
    for (int i = 0; i < 2; i++) {
        many[i].args = args_of("q", i ? "b" : "a");
        many[i].args.size = (uint32_t)sizeof many[i];
    }
    must(reeve_client_enqueue_many(NULL, b.client, &many[0].args, 2, &err),
         &err);
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_PENDING), 2);
    many[1].args.id = many[0].args.id = (reeve_bytes){ 0 };
    many[1].tail = 1;
    reeve_rc rc =
        reeve_client_enqueue_many(NULL, b.client, &many[0].args, 2, &err);
    must_fail(rc, REEVE_E_UNSUPPORTED, &err, "reeve_enqueue_args.size");
    many[0].args.size = 0;
    rc = reeve_client_enqueue(NULL, b.client, &many[0].args, &err);
    must_fail(rc, REEVE_E_USAGE, &err, "reeve_enqueue_args.size is 0|INIT");
    many[0].args.size = (uint32_t)sizeof many[0].args - 8;
    rc = reeve_client_enqueue(NULL, b.client, &many[0].args, &err);
    must_fail(rc, REEVE_E_USAGE, &err, "reeve_enqueue_args.size|INIT");
    assert_int_equal(store_count(&b.st, "q", REEVE_STATE_PENDING), 2);
    close_bench(&b);
}

static void client_options_follow_the_same_rule(void **state) {
    (void)state;
    struct {
        reeve_client_options options;
        int64_t tail;
    } longer;
    memset(&longer, 0, sizeof longer);
    longer.options.size = (uint32_t)sizeof longer;
    longer.options.url = "mem://longer";
    reeve_client *client = NULL;
    reeve_error err;
    must(reeve_client_open(&client, NULL, &longer.options, &err), &err);
    reeve_client_close(client);
    longer.tail = 1;
    reeve_rc rc = reeve_client_open(&client, NULL, &longer.options, &err);
    must_fail(rc, REEVE_E_UNSUPPORTED, &err, "reeve_client_options.size");
    longer.options.size = 4;
    rc = reeve_client_open(&client, NULL, &longer.options, &err);
    must_fail(rc, REEVE_E_USAGE, &err, "reeve_client_options.size is 4");
    reeve_inspector *inspector = NULL;
    rc = reeve_inspector_open(&inspector, NULL, &longer.options, &err);
    must_fail(rc, REEVE_E_USAGE, &err, "reeve_client_options.size is 4");
}

#define OVER(kind, test)                                                       \
    { #test " (" kind ")", test, NULL, NULL, (void *)(uintptr_t)kind }

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER("mem", every_item_has_its_result),
        OVER("sqlite", every_item_has_its_result),
        OVER("redis", every_item_has_its_result),
        OVER("mem", a_taken_id_is_refused_alone),
        OVER("sqlite", a_taken_id_is_refused_alone),
        OVER("redis", a_taken_id_is_refused_alone),
        OVER("mem", an_idempotency_key_gives_the_first_task),
        OVER("sqlite", an_idempotency_key_gives_the_first_task),
        OVER("redis", an_idempotency_key_gives_the_first_task),
        OVER("mem", an_empty_batch_is_nothing),
        OVER("sqlite", an_empty_batch_is_nothing),
        OVER("redis", an_empty_batch_is_nothing),
        OVER("mem", a_bad_item_is_named_and_nothing_is_stored),
        OVER("sqlite", a_bad_item_is_named_and_nothing_is_stored),
        OVER("redis", a_bad_item_is_named_and_nothing_is_stored),
        OVER("mem", a_delay_beyond_the_deadline_is_refused),
        OVER("sqlite", a_delay_beyond_the_deadline_is_refused),
        OVER("redis", a_delay_beyond_the_deadline_is_refused),
        OVER("mem", callers_of_one_client_get_their_own_results),
        OVER("sqlite", callers_of_one_client_get_their_own_results),
        OVER("redis", callers_of_one_client_get_their_own_results),
        OVER("mem", a_forked_child_has_a_client_of_its_own),
        OVER("sqlite", a_forked_child_has_a_client_of_its_own),
        OVER("redis", a_forked_child_has_a_client_of_its_own),
        cmocka_unit_test(a_silent_server_is_a_timeout),
        OVER("sqlite", a_failed_call_names_its_ids),
        OVER("sqlite", a_callers_deadline_counts_while_others_are_served),
        OVER("mem", a_newer_callers_structs_are_read),
        OVER("sqlite", a_newer_callers_structs_are_read),
        OVER("redis", a_newer_callers_structs_are_read),
        cmocka_unit_test(client_options_follow_the_same_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
