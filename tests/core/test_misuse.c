/*
 * Every public function with NULL, empty, huge, malformed and out-of-range
 * arguments: an error that names the thing, the value and the bound, and
 * nothing stored.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "stores.h"

#define LONG_NAME                                                              \
    "0123456789012345678901234567890123456789012345678901234567890123456789"   \
    "012345678901234567890123456789012345678901234567890123456789"

/* --- enqueue: one wrong thing in an otherwise good task -------------------- */

static reeve_enqueue_args good(void) {
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    args.queue = reeve_bytes_of("q");
    return args;
}

static reeve_header headers[REEVE_HEADERS_COUNT_MAX + 1];
static const int64_t delays[] = { 1, -5 };
static char *huge; /* REEVE_PAYLOAD_BYTES_MAX + 1 bytes */

typedef struct wrong {
    const char *what;
    reeve_rc code;
    const char *words; /* that the message must have, by '|' */
    reeve_enqueue_args args;
} wrong;

#define ROW(code, words, ...)                                                  \
    do {                                                                       \
        reeve_enqueue_args args = good();                                      \
        __VA_ARGS__;                                                           \
        rows[count++] = (wrong){ #__VA_ARGS__, REEVE_E_##code, words, args };  \
    } while (0)

static size_t wrong_names(wrong *rows, size_t count) {
    ROW(INVALID, "type|empty", args.type.size = 0);
    ROW(USAGE, "type|null|3", args.type = ((reeve_bytes){ NULL, 3 }));
    ROW(INVALID, "type|130|128", args.type = reeve_bytes_of(LONG_NAME));
    ROW(INVALID, "type|0x00|at 1", args.type = ((reeve_bytes){ "a\0b", 3 }));
    ROW(INVALID, "type|0xff", args.type = reeve_bytes_of("a\xff"));
    ROW(INVALID, "type|0x0a", args.type = reeve_bytes_of("a\nb"));
    ROW(INVALID, "queue name|'a b'|0x20", args.queue = reeve_bytes_of("a b"));
    ROW(INVALID, "queue name|0x7b", args.queue = reeve_bytes_of("{q}"));
    ROW(INVALID, "queue name|130|128", args.queue = reeve_bytes_of(LONG_NAME));
    ROW(USAGE, "queue name|null", args.queue = ((reeve_bytes){ NULL, 1 }));
    ROW(INVALID, "id|0xc3", args.id = reeve_bytes_of("\xc3\xa9"));
    ROW(INVALID, "id|130|128", args.id = reeve_bytes_of(LONG_NAME));
    ROW(INVALID, "idempotency_key|130|128",
        args.idempotency_key = reeve_bytes_of(LONG_NAME));
    ROW(USAGE, "idempotency_key|null",
        args.idempotency_key = ((reeve_bytes){ NULL, 4 }));
    return count;
}

static size_t wrong_numbers(wrong *rows, size_t count) {
    ROW(INVALID, "priority|10|0..9", args.priority = 10);
    ROW(INVALID, "priority|-2", args.priority = -2);
    ROW(INVALID, "delay_ms|-1", args.delay_ms = -1);
    ROW(INVALID, "delay_ms|316224000000", args.delay_ms = INT64_MAX);
    ROW(INVALID, "due_at_ms|-1", args.due_at_ms = -1);
    ROW(INVALID, "delay_ms|due_at_ms", args.delay_ms = args.due_at_ms = 1);
    ROW(INVALID, "timeout_ms|-1", args.timeout_ms = -1);
    ROW(INVALID, "timeout_ms|316224000000",
        args.timeout_ms = REEVE_SPAN_MS_MAX + 1);
    ROW(INVALID, "deadline_at_ms|-3", args.deadline_at_ms = -3);
    ROW(INVALID, "lease_ms|-1", args.lease_ms = -1);
    ROW(INVALID, "lease_ms 1 is below 100", args.lease_ms = 1);
    ROW(INVALID, "lease_ms|316224000000",
        args.lease_ms = REEVE_SPAN_MS_MAX + 1);
    ROW(INVALID, "retention_ms|-2", args.retention_ms = -2);
    ROW(INVALID, "max_crashes|-2", args.max_crashes = -2);
    ROW(INVALID, "idempotency_ttl_ms|-1", args.idempotency_ttl_ms = -1);
    ROW(INVALID, "reserved|1", args.reserved = 1);
    return count;
}

static size_t wrong_parts(wrong *rows, size_t count) {
    ROW(TOO_BIG, "payload|16777217|16777216",
        args.payload = ((reeve_bytes){ huge, REEVE_PAYLOAD_BYTES_MAX + 1 }));
    ROW(USAGE, "payload|null|9", args.payload = ((reeve_bytes){ NULL, 9 }));
    ROW(TOO_BIG, "65 headers|64", args.headers = headers;
        args.header_count = REEVE_HEADERS_COUNT_MAX + 1);
    ROW(USAGE, "headers|null|1", args.header_count = 1);
    ROW(INVALID, "header 0|empty", args.headers = headers;
        args.header_count = 1);
    ROW(INVALID, "header 1|UTF-8", args.headers = headers + 1;
        args.header_count = 2);
    ROW(INVALID, "same name", args.headers = headers + 3;
        args.header_count = 2);
    ROW(TOO_BIG, "headers|8192|header 0", args.headers = headers + 5;
        args.header_count = 1);
    return count;
}

static size_t wrong_retries(wrong *rows, reeve_retry_options *options,
                            size_t count) {
    static const reeve_retry_options fresh = REEVE_RETRY_OPTIONS_INIT;
    size_t n = 0;
#define RETRY(code, words, ...)                                                \
    do {                                                                       \
        reeve_retry_options *r = &options[n++];                                \
        *r = fresh;                                                            \
        __VA_ARGS__;                                                           \
        ROW(code, words, args.retry = r);                                      \
    } while (0)
    RETRY(USAGE, "reeve_retry_options.size", r->size = 0);
    RETRY(INVALID, "backoff|5", r->backoff = 5);
    RETRY(INVALID, "jitter|-1", r->jitter = -1);
    RETRY(INVALID, "max_attempts|-2", r->max_attempts = -2);
    RETRY(INVALID, "base_ms|-1", r->base_ms = -1);
    RETRY(INVALID, "cap_ms|-1", r->cap_ms = -1);
    RETRY(INVALID, "factor|0.5", r->factor = 0.5);
    RETRY(INVALID, "factor|101", r->factor = 101);
    RETRY(INVALID, "max_elapsed_ms|-1", r->max_elapsed_ms = -1);
    RETRY(INVALID, "delays", r->backoff = REEVE_BACKOFF_LIST);
    RETRY(INVALID, "delays|-5", r->backoff = REEVE_BACKOFF_LIST;
          r->delays_ms = delays; r->delay_count = 2);
#undef RETRY
    return count;
}

static void fill_headers(void) {
    for (size_t i = 0; i <= REEVE_HEADERS_COUNT_MAX; i++)
        headers[i] = (reeve_header){ reeve_bytes_of("h"), { 0 } };
    headers[0].name.size = 0;
    headers[1].name = reeve_bytes_of("good");
    headers[2] =
        (reeve_header){ reeve_bytes_of("bad"), reeve_bytes_of("\xc0\x80") };
    headers[5].value = (reeve_bytes){ huge, 8192 };
}

static void each_wrong_task_is_refused_whole(void **state) {
    store st;
    store_make(&st, *state);
    reeve_client *client = store_client(&st, NULL);
    static wrong rows[96];
    static reeve_retry_options options[16];
    size_t count = wrong_names(rows, 0);
    count = wrong_numbers(rows, count);
    count = wrong_parts(rows, count);
    count = wrong_retries(rows, options, count);
    int broken = 0;
    for (size_t i = 0; i < count; i++) {
        reeve_error err = { 0 };
        reeve_rc rc = reeve_client_enqueue(NULL, client, &rows[i].args, &err);
        if (rc != rows[i].code) {
            print_error("%s: %s (%s)\n", rows[i].what, reeve_code_slug(rc),
                        err.message);
            broken++;
            continue;
        }
        must_fail(rc, rows[i].code, &err, rows[i].words);
        /* The error may be left out, and a batch names the item. */
        assert_int_equal(
            reeve_client_enqueue(NULL, client, &rows[i].args, NULL), rc);
        reeve_enqueue_args pair[2] = { good(), rows[i].args };
        rc = reeve_client_enqueue_many(NULL, client, pair, 2, &err);
        must_fail(rc, rows[i].code, &err, "item 1: ");
    }
    assert_int_equal(broken, 0);
    assert_int_equal(store_queue_count(&st), 0);
    reeve_client_close(client);
    store_remove(&st);
}

static void a_clients_own_payload_bound_holds(void **state) {
    (void)state;
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = "mem://bound";
    options.payload_bytes_max = 10;
    reeve_client *client = NULL;
    reeve_error err;
    must(reeve_client_open(&client, NULL, &options, &err), &err);
    reeve_enqueue_args args = good();
    args.payload = reeve_bytes_of("0123456789");
    must(reeve_client_enqueue(NULL, client, &args, &err), &err);
    args.payload = reeve_bytes_of("0123456789a");
    must_fail(reeve_client_enqueue(NULL, client, &args, &err), REEVE_E_TOO_BIG,
              &err, "payload|11|10");
    reeve_client_close(client);
    options.payload_bytes_max = REEVE_PAYLOAD_BYTES_MAX + 1;
    must_fail(reeve_client_open(&client, NULL, &options, &err), REEVE_E_INVALID,
              &err, "payload_bytes_max|16777217|16777216");
    options.payload_bytes_max = 0;
    options.timeout_ms = -1;
    must_fail(reeve_client_open(&client, NULL, &options, &err), REEVE_E_INVALID,
              &err, "timeout_ms|-1");
}

/* --- NULL and empty, function by function ----------------------------------- */

static void client_functions_check_their_arguments(void **state) {
    (void)state;
    reeve_error err;
    reeve_enqueue_args args = good();
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = "mem://null";
    reeve_client *client = NULL;
    int64_t now_at_ms;
    must_fail(reeve_client_open(NULL, NULL, &options, &err), REEVE_E_USAGE,
              &err, "out is NULL");
    must(reeve_client_open(&client, NULL, &options, &err), &err);
    must_fail(reeve_client_enqueue(NULL, NULL, &args, &err), REEVE_E_USAGE,
              &err, "client is NULL");
    must_fail(reeve_client_enqueue(NULL, client, NULL, &err), REEVE_E_USAGE,
              &err, "args is NULL");
    must_fail(reeve_client_enqueue_many(NULL, client, &args,
                                        REEVE_BATCH_COUNT_MAX + 1, &err),
              REEVE_E_TOO_BIG, &err, "100001|100000");
    must_fail(reeve_client_now(NULL, client, &err), REEVE_E_USAGE, &err,
              "out_at_ms is NULL");
    must_fail(reeve_client_now(&now_at_ms, NULL, &err), REEVE_E_USAGE, &err,
              "client is NULL");
    assert_int_equal(reeve_client_now(NULL, NULL, NULL), REEVE_E_USAGE);
    reeve_client_close(client);
    reeve_client_close(NULL);
}

static void urls_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *url;
        const char *words;
    } rows[] = {
        { "", "scheme" },          { "redis", "scheme" },
        { "http://x", "http://" }, { "redis://h:99999", "port" },
        { "redis://h/x", "" },     { "mem://a?b=c", "options" },
        { "sqlite://", "" },       { "redis://h?no_such=1", "no_such" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
        options.url = rows[i].url;
        reeve_client *client = NULL;
        reeve_inspector *inspector = NULL;
        reeve_error err = { 0 };
        must_fail(reeve_url_check(NULL, rows[i].url, &err), REEVE_E_INVALID,
                  &err, rows[i].words);
        must_fail(reeve_client_open(&client, NULL, &options, &err),
                  REEVE_E_INVALID, &err, rows[i].words);
        assert_null(client);
        must_fail(reeve_inspector_open(&inspector, NULL, &options, &err),
                  REEVE_E_INVALID, &err, rows[i].words);
        reeve_worker_options worker_options = REEVE_WORKER_OPTIONS_INIT;
        worker_options.url = rows[i].url;
        reeve_worker *worker = NULL;
        must_fail(reeve_worker_new(&worker, NULL, &worker_options, &err),
                  REEVE_E_INVALID, &err, rows[i].words);
        assert_null(worker);
    }
}

/* Said of the text alone: nobody is there. */
static void good_urls_are_not_opened(void **state) {
    (void)state;
    static const char *const good[] = {
        NULL,
        "redis://nobody.invalid:1/3?allow_eviction=yes",
        "redis+unix:///no/such/socket",
        "sqlite:///no/such/folder/x.db?sync=full",
        "sqlite:x.db",
        "mem://x",
    };
    reeve_error err = { 0 };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        must(reeve_url_check(NULL, good[i], &err), &err);
    must_fail(reeve_url_check(NULL, "redis+sentinel://h/m", &err),
              REEVE_E_UNSUPPORTED, &err, "not in this version");
    assert_int_equal(reeve_url_check(NULL, "redis://h/x", NULL),
                     REEVE_E_INVALID);
}

static void inspector_functions_check_their_arguments(void **state) {
    (void)state;
    reeve_error err;
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = "mem://null-inspector";
    reeve_inspector *it = NULL;
    reeve_task_list *tasks = NULL;
    reeve_queue_list *queues = NULL;
    reeve_worker_list *workers = NULL;
    uint64_t cursor = 0;
    size_t count = 0;
    reeve_bytes q = reeve_bytes_of("q"), none = { 0 };
    reeve_bytes bad = reeve_bytes_of("a b");
    must_fail(reeve_inspector_open(NULL, NULL, &options, &err), REEVE_E_USAGE,
              &err, "out is NULL");
    must(reeve_inspector_open(&it, NULL, &options, &err), &err);
#define BAD(code, words, call) must_fail(call, REEVE_E_##code, &err, words)
    BAD(USAGE, "out is NULL", reeve_inspector_queues(NULL, it, &err));
    BAD(USAGE, "inspector is NULL",
        reeve_inspector_queues(&queues, NULL, &err));
    BAD(USAGE, "out is NULL", reeve_inspector_workers(NULL, it, &err));
    BAD(USAGE, "inspector is NULL",
        reeve_inspector_workers(&workers, NULL, &err));
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.queue = q;
    query.state = REEVE_STATE_PENDING;
    BAD(USAGE, "out is NULL",
        reeve_inspector_tasks(NULL, &cursor, it, &query, &err));
    BAD(USAGE, "out_cursor is NULL",
        reeve_inspector_tasks(&tasks, NULL, it, &query, &err));
    BAD(USAGE, "inspector is NULL",
        reeve_inspector_tasks(&tasks, &cursor, NULL, &query, &err));
    BAD(USAGE, "reeve_task_query is NULL",
        reeve_inspector_tasks(&tasks, &cursor, it, NULL, &err));
    query.limit = 1001;
    BAD(INVALID, "limit|1001|1000",
        reeve_inspector_tasks(&tasks, &cursor, it, &query, &err));
    query.limit = 0;
    query.state = 10;
    BAD(INVALID, "state 10|1..9",
        reeve_inspector_tasks(&tasks, &cursor, it, &query, &err));
    query.state = 0;
    BAD(INVALID, "state 0|1..9",
        reeve_inspector_tasks(&tasks, &cursor, it, &query, &err));
    query.queue = none;
    BAD(INVALID, "queue name|empty",
        reeve_inspector_tasks(&tasks, &cursor, it, &query, &err));
    BAD(USAGE, "out is NULL", reeve_inspector_find(NULL, it, q, q, &err));
    BAD(INVALID, "queue name|empty",
        reeve_inspector_find(&tasks, it, none, q, &err));
    BAD(INVALID, "task id|'a b'",
        reeve_inspector_find(&tasks, it, q, bad, &err));
    BAD(USAGE, "inspector is NULL",
        reeve_inspector_find(&tasks, NULL, q, q, &err));
    BAD(INVALID, "action 4|1..3", reeve_inspector_act(it, 4, q, q, &err));
    BAD(INVALID, "action 0|1..3", reeve_inspector_act(it, 0, q, q, &err));
    BAD(INVALID, "task id|empty", reeve_inspector_act(it, 1, q, none, &err));
    BAD(USAGE, "inspector is NULL", reeve_inspector_act(NULL, 1, q, q, &err));
    BAD(USAGE, "out_count is NULL",
        reeve_inspector_act_many(NULL, it, 1, q, 1, 5, &err));
    BAD(INVALID, "max 0|1..500",
        reeve_inspector_act_many(&count, it, 3, q, 2, 0, &err));
    BAD(INVALID, "action 9",
        reeve_inspector_act_many(&count, it, 9, q, 2, 1, &err));
    BAD(INVALID, "state 99",
        reeve_inspector_act_many(&count, it, 3, q, 99, 1, &err));
    BAD(USAGE, "inspector is NULL",
        reeve_inspector_act_many(&count, NULL, 3, q, 2, 1, &err));
    BAD(USAGE, "out_count is NULL",
        reeve_inspector_act_page(NULL, &cursor, it, 3, &query, &err));
    BAD(USAGE, "out_cursor is NULL",
        reeve_inspector_act_page(&count, NULL, it, 3, &query, &err));
    BAD(USAGE, "reeve_task_query",
        reeve_inspector_act_page(&count, &cursor, it, 3, NULL, &err));
    BAD(INVALID, "queue name|'a b'",
        reeve_inspector_edit(it, bad, q, none, &err));
    BAD(TOO_BIG, "payload|16777217|16777216",
        reeve_inspector_edit(it, q, q,
                             (reeve_bytes){ huge, REEVE_PAYLOAD_BYTES_MAX + 1 },
                             &err));
    BAD(USAGE, "payload|null|4",
        reeve_inspector_edit(it, q, q, (reeve_bytes){ NULL, 4 }, &err));
    BAD(USAGE, "inspector is NULL",
        reeve_inspector_edit(NULL, q, q, none, &err));
    BAD(INVALID, "queue name|empty",
        reeve_inspector_pause(it, none, true, &err));
    BAD(USAGE, "inspector is NULL", reeve_inspector_pause(NULL, q, true, &err));
    BAD(INVALID, "queue name|empty", reeve_inspector_drop(it, none, &err));
    BAD(NOT_FOUND, "no queue 'nowhere'",
        reeve_inspector_drop(it, reeve_bytes_of("nowhere"), &err));
    BAD(USAGE, "inspector is NULL", reeve_inspector_drop(NULL, q, &err));
    BAD(INVALID, "weight 1001|0..1000",
        reeve_inspector_weight(it, q, 1001, &err));
    BAD(USAGE, "inspector is NULL", reeve_inspector_weight(NULL, q, 1, &err));
    BAD(INVALID, "worker id|'a b'", reeve_inspector_quiet(it, bad, true, &err));
    BAD(USAGE, "inspector is NULL",
        reeve_inspector_quiet(NULL, none, true, &err));
    BAD(INVALID, "worker id|empty",
        reeve_inspector_reclaim_worker(&count, it, none, &err));
    BAD(USAGE, "inspector is NULL",
        reeve_inspector_reclaim_worker(&count, NULL, q, &err));
#undef BAD
    assert_int_equal(reeve_queue_list_count(NULL), 0);
    assert_null(reeve_queue_list_get(NULL, 0));
    assert_int_equal(reeve_task_list_count(NULL), 0);
    assert_null(reeve_task_list_get(NULL, 0));
    assert_int_equal(reeve_worker_list_count(NULL), 0);
    assert_null(reeve_worker_list_get(NULL, 0));
    reeve_queue_list_free(NULL);
    reeve_task_list_free(NULL);
    reeve_worker_list_free(NULL);
    must(reeve_inspector_queues(&queues, it, &err), &err);
    assert_int_equal(reeve_queue_list_count(queues), 0);
    reeve_queue_list_free(queues);
    reeve_inspector_close(it);
    reeve_inspector_close(NULL);
}

static reeve_rc do_nothing(reeve_outcome *outcome, reeve_delivery *delivery,
                           void *user, reeve_error *err) {
    (void)outcome;
    (void)delivery;
    (void)user;
    (void)err;
    return 0;
}

static void worker_functions_check_their_arguments(void **state) {
    (void)state;
    reeve_error err;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = "mem://null-worker";
    options.manual = 1;
    reeve_worker *worker = NULL;
    reeve_event event;
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    reeve_bytes t = reeve_bytes_of("t");
#define BAD(code, words, call) must_fail(call, REEVE_E_##code, &err, words)
    BAD(USAGE, "out is NULL", reeve_worker_new(NULL, NULL, &options, &err));
    must(reeve_worker_new(&worker, NULL, &options, &err), &err);
    BAD(USAGE, "worker is NULL",
        reeve_worker_handle(NULL, t, do_nothing, NULL, &err));
    BAD(USAGE, "handler is NULL",
        reeve_worker_handle(worker, t, NULL, NULL, &err));
    BAD(INVALID, "task type|'a b'",
        reeve_worker_handle(worker, reeve_bytes_of("a b"), do_nothing, NULL,
                            &err));
    BAD(STATE, "manual", reeve_worker_step(NULL, worker, &err));
    BAD(USAGE, "worker is NULL", reeve_worker_start(NULL, &err));
    must(reeve_worker_start(worker, &err), &err);
    BAD(STATE, "started", reeve_worker_start(worker, &err));
    BAD(STATE, "started",
        reeve_worker_handle(worker, t, do_nothing, NULL, &err));
    BAD(USAGE, "worker is NULL", reeve_worker_step(NULL, NULL, &err));
    BAD(USAGE, "worker is NULL", reeve_worker_join(NULL, 0, &err));
    BAD(USAGE, "out is NULL", reeve_worker_stats_read(NULL, worker, &err));
    BAD(USAGE, "worker is NULL", reeve_worker_stats_read(&stats, NULL, &err));
    stats.size = 2;
    BAD(USAGE, "reeve_worker_stats.size is 2",
        reeve_worker_stats_read(&stats, worker, &err));
    BAD(USAGE, "worker is NULL",
        reeve_worker_complete(NULL, NULL, &outcome, &err));
    BAD(USAGE, "delivery 0 is NULL",
        reeve_worker_complete(worker, NULL, &outcome, &err));
    BAD(USAGE, "items is NULL",
        reeve_worker_complete_many(worker, NULL, 3, &err));
    BAD(USAGE, "out is NULL", reeve_delivery_read(NULL, NULL, &err));
    BAD(USAGE, "delivery is NULL", reeve_delivery_read(&view, NULL, &err));
#undef BAD
    assert_int_equal(reeve_worker_poll(NULL, 1, worker, 0), 0);
    assert_int_equal(reeve_worker_poll(&event, 0, worker, 0), 0);
    assert_int_equal(reeve_worker_poll(&event, 1, NULL, 0), 0);
    assert_int_equal(reeve_worker_fd(NULL), -1);
    assert_int_equal(reeve_worker_id(NULL).size, 0);
    assert_int_equal(reeve_delivery_cancel_reason(NULL), REEVE_CANCEL_NONE);
    assert_null(reeve_delivery_alloc(NULL, 8));
    reeve_worker_stop(NULL);
    reeve_worker_quiet(NULL, true);
    reeve_worker_free(NULL);
    reeve_worker_free(worker);
}

/* Bytes that say they are there and are not: a failed run, not a crash. */
static void outcomes_without_their_bytes_are_refused(void **state) {
    (void)state;
    reeve_error err;
    reeve_client_options client_options = REEVE_CLIENT_OPTIONS_INIT;
    client_options.url = "mem://null-outcome";
    reeve_client *client = NULL;
    must(reeve_client_open(&client, NULL, &client_options, &err), &err);
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = client_options.url;
    options.manual = 1;
    reeve_worker *worker = NULL;
    must(reeve_worker_new(&worker, NULL, &options, &err), &err);
    must(reeve_worker_start(worker, &err), &err);
    static const size_t places[] = {
        offsetof(reeve_outcome, result),
        offsetof(reeve_outcome, error_type),
        offsetof(reeve_outcome, error_message),
        offsetof(reeve_outcome, error_trace),
    };
    static const char *const names[] = { "result", "error_type",
                                         "error_message", "error_trace" };
    for (size_t i = 0; i < 4; i++) {
        reeve_enqueue_args args = good();
        args.queue = reeve_bytes_of(NULL);
        must(reeve_client_enqueue(NULL, client, &args, &err), &err);
        must(reeve_worker_step(NULL, worker, &err), &err);
        reeve_event event;
        assert_int_equal(reeve_worker_poll(&event, 1, worker, 0), 1);
        reeve_outcome outcome = REEVE_OUTCOME_INIT;
        outcome.kind = i ? REEVE_OUTCOME_RETRY : REEVE_OUTCOME_DONE;
        reeve_bytes missing = { NULL, 5 };
        memcpy((char *)&outcome + places[i], &missing, sizeof missing);
        reeve_rc rc =
            reeve_worker_complete(worker, event.delivery, &outcome, &err);
        must_fail(rc, REEVE_E_USAGE, &err, names[i]);
        must(reeve_worker_step(NULL, worker, &err), &err);
    }
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    must(reeve_worker_stats_read(&stats, worker, &err), &err);
    assert_int_equal(stats.archived, 4);
    reeve_worker_free(worker);
    reeve_client_close(client);
}

static void env_functions_check_their_arguments(void **state) {
    (void)state;
    reeve_error err;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    must_fail(reeve_env_new(NULL, &options, &err), REEVE_E_USAGE, &err, "out");
    reeve_env *env = NULL;
    options.log_level = 9;
    must_fail(reeve_env_new(&env, &options, &err), REEVE_E_INVALID, &err,
              "log_level|9");
    must_fail(reeve_env_advance(NULL, 1, &err), REEVE_E_USAGE, &err, "clock");
    assert_int_equal(reeve_bytes_of(NULL).size, 0);
    assert_string_equal(reeve_code_slug(12345), "unknown");
    assert_string_equal(reeve_state_name(77), "unknown");
    assert_int_equal(reeve_state_of(reeve_bytes_of("nonsense")),
                     REEVE_STATE_NONE);
    reeve_env_free(NULL);
}

/* --- no descriptors left -------------------------------------------------------- */

/* A worker that cannot be made leaves the process's descriptors alone. */
static void a_worker_without_descriptors_fails_cleanly(void **state) {
    (void)state;
    struct rlimit old, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int first = dup(0);
    assert_true(first >= 0);
    for (int spare = 0; spare < 4; spare++) {
        none = old;
        none.rlim_cur = (rlim_t)(first + 1 + spare);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
        options.url = "mem://fd";
        reeve_worker *worker = NULL;
        reeve_error err;
        reeve_rc rc = reeve_worker_new(&worker, NULL, &options, &err);
        reeve_worker_free(worker);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        if (spare < 3)
            assert_int_equal(rc, REEVE_E_SYSTEM);
        for (int fd = 0; fd <= 2; fd++)
            assert_true(fcntl(fd, F_GETFD) >= 0);
        assert_true(fcntl(first, F_GETFD) >= 0);
    }
    (void)close(first);
}

#define OVER(kind, test)                                                       \
    { #test " (" kind ")", test, NULL, NULL, (void *)(uintptr_t)kind }

int main(void) {
    const struct CMUnitTest tests[] = {
        OVER("mem", each_wrong_task_is_refused_whole),
        OVER("sqlite", each_wrong_task_is_refused_whole),
        OVER("redis", each_wrong_task_is_refused_whole),
        cmocka_unit_test(a_clients_own_payload_bound_holds),
        cmocka_unit_test(client_functions_check_their_arguments),
        cmocka_unit_test(urls_are_checked),
        cmocka_unit_test(good_urls_are_not_opened),
        cmocka_unit_test(inspector_functions_check_their_arguments),
        cmocka_unit_test(worker_functions_check_their_arguments),
        cmocka_unit_test(outcomes_without_their_bytes_are_refused),
        cmocka_unit_test(env_functions_check_their_arguments),
        cmocka_unit_test(a_worker_without_descriptors_fails_cleanly),
    };
    huge = malloc(REEVE_PAYLOAD_BYTES_MAX + 1);
    if (!huge)
        return 1;
    memset(huge, 'x', REEVE_PAYLOAD_BYTES_MAX + 1);
    fill_headers();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(huge);
    return failed;
}
