/*
 * One case of what a task costs, for tests/bench/check.py, which runs it plainly
 * and under callgrind and strace. All but idle happens in one thread, so that
 * counts say nothing about the machine's mood.
 *
 *   check_cost about                      what this program was built by
 *   check_cost CASE URL COUNT BATCH       COUNT tasks, BATCH at a time
 *
 *   enqueue   the client's call
 *   turn      a broker's turns: each settles a batch and claims the next
 *   work      a manual worker's steps, on a virtual clock
 *   build, decode, select, settle         pure functions; no URL is looked at
 *   idle      starts a worker with nothing to do, says so, runs until killed
 *
 * What is counted is what happens inside check_region: callgrind collects there
 * only, strace's lines are those between two calls of getppid, and the env's
 * allocator counts from there on. Prints one JSON line.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#include <reeve.h>
#include <sqlite3.h>

#include "broker/broker.h"
#include "client/shared.h"
#include "policy/select.h"
#include "policy/settle.h"
#include "task/envelope.h"
#include "task/retry.h"

#define START_AT_MS 1763600000000
#define PAYLOAD_BYTES 200
#define BATCH_MAX 1000
#define COUNT_MAX 4000
#define FILL_BATCH 1000
#define SELECT_QUEUES 8
#define QUEUE "check"

/* Each block carries its size before it, in 16 bytes for alignment. */
#define HEAD_BYTES 16

typedef struct counts {
    long long calls;
    long long bytes;
    long long live_bytes;
    long long peak_bytes; /* above what was live when counting began */
    long long base_bytes;
} counts;

typedef struct lease {
    char id[REEVE_ID_BYTES_MAX + 1];
    int64_t token;
} lease;

typedef struct run {
    counts allocs;
    const char *url;
    size_t count;
    size_t batch;
    reeve_env *env;
    reeve_client *client;
    reeve_worker *worker;
    reeve__broker *broker;
    lease leases[BATCH_MAX]; /* of the last turn */
    size_t lease_count;
    reeve_enqueue_args args[BATCH_MAX];
    reeve__buf buf;
    char payload[PAYLOAD_BYTES];
} run;

typedef struct check_case {
    const char *name;
    void (*prepare)(run *r);
    void (*body)(run *r);
    bool is_virtual; /* the clock stands still */
} check_case;

static void must(reeve_rc rc, const reeve_error *err) {
    if (rc < 0) {
        (void)fprintf(stderr, "check_cost: %s\n", err->message);
        exit(1);
    }
}

static void *count_alloc(void *ctx, void *ptr, size_t new_bytes) {
    counts *c = ctx;
    char *block = ptr ? (char *)ptr - HEAD_BYTES : NULL;
    size_t old_bytes = 0;
    if (block)
        memcpy(&old_bytes, block, sizeof old_bytes);
    if (!new_bytes) {
        free(block);
        c->live_bytes -= (long long)old_bytes;
        return NULL;
    }
    block = realloc(block, HEAD_BYTES + new_bytes);
    if (!block)
        return NULL;
    memcpy(block, &new_bytes, sizeof new_bytes);
    c->calls++;
    c->bytes += (long long)new_bytes;
    c->live_bytes += (long long)new_bytes - (long long)old_bytes;
    if (c->live_bytes - c->base_bytes > c->peak_bytes)
        c->peak_bytes = c->live_bytes - c->base_bytes;
    return block + HEAD_BYTES;
}

/* Named in check.py. */
__attribute__((noinline)) void check_region(void (*body)(run *r), run *r);
__attribute__((noinline)) void check_region(void (*body)(run *r), run *r) {
    (void)getppid();
    body(r);
    (void)getppid();
}

static void fill_args(run *r, size_t count) {
    for (size_t i = 0; i < count; i++) {
        r->args[i] = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
        r->args[i].type = reeve_bytes_of("email:send");
        r->args[i].queue = reeve_bytes_of(QUEUE);
        r->args[i].payload = (reeve_bytes){ r->payload, PAYLOAD_BYTES };
    }
}

static void enqueue(run *r, size_t count, size_t batch) {
    reeve_error err = { 0, "" };
    for (size_t left = count; left;) {
        size_t now = left < batch ? left : batch;
        must(now == 1 ? reeve_client_enqueue(NULL, r->client, r->args, &err)
                      : reeve_client_enqueue_many(NULL, r->client, r->args, now,
                                                  &err),
             &err);
        left -= now;
    }
}

/* The env's seed makes counts repeatable; ids of such an env are looked for by
 * the broker, those of producers are not. */
static const reeve__broker_ops *seeded_ops;

static reeve_rc enqueue_fresh(reeve__broker *broker, reeve__enqueue_item *items,
                              size_t count, reeve_error *err) {
    for (size_t i = 0; i < count; i++)
        items[i].fresh = true;
    return seeded_ops->enqueue(broker, items, count, err);
}

static void open_client(run *r) {
    static reeve__broker_ops ops;
    reeve_error err = { 0, "" };
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = r->url;
    must(reeve_client_open(&r->client, r->env, &options, &err), &err);
    reeve__shared *shared = (reeve__shared *)r->client; /* its first member */
    seeded_ops = shared->broker->ops;
    ops = *seeded_ops;
    ops.enqueue = enqueue_fresh;
    shared->broker->ops = &ops;
    fill_args(r, BATCH_MAX);
    enqueue(r, 1, 1); /* the queue is made, scripts and statements are ready */
}

static void do_enqueue(run *r) {
    enqueue(r, r->count, r->batch);
}

static void check_claimed(size_t got, size_t wanted) {
    if (got != wanted) {
        (void)fprintf(stderr, "check_cost: %zu claimed, not %zu\n", got,
                      wanted);
        exit(1);
    }
}

/* As many for any count, so that the difference of two counts is that of what
 * is measured. The first batch is claimed before counting begins, and the last
 * is not settled. */
static void fill_queue(run *r) {
    open_client(r);
    enqueue(r, COUNT_MAX + r->batch - 1, FILL_BATCH);
}

static reeve_rc keep_lease(void *ctx, const reeve__row *row, reeve_error *err) {
    run *r = ctx;
    lease *it = &r->leases[r->lease_count++];
    (void)err;
    memcpy(it->id, row->id.data, row->id.size);
    it->id[row->id.size] = '\0';
    it->token = row->token;
    return REEVE_OK;
}

static void turn(run *r) {
    reeve__settle settles[BATCH_MAX];
    reeve_error err = { 0, "" };
    size_t count = r->lease_count;
    for (size_t i = 0; i < count; i++) {
        settles[i] = (reeve__settle){ .id = reeve_bytes_of(r->leases[i].id),
                                      .token = r->leases[i].token,
                                      .to_state = REEVE_STATE_NONE,
                                      .done = true,
                                      .last_of_token = i + 1 == count };
    }
    reeve__turn one = { .queue = reeve_bytes_of(QUEUE),
                        .settles = settles,
                        .settle_count = count,
                        .claim_max = r->batch,
                        .lease_ms = 30000 };
    lease before[BATCH_MAX]; /* what settles borrows from */
    memcpy(before, r->leases, count * sizeof *before);
    for (size_t i = 0; i < count; i++)
        settles[i].id.data = before[i].id;
    r->lease_count = 0;
    must(r->broker->ops->turn(r->broker, &one, 1, reeve_bytes_of("check"),
                              keep_lease, r, &err),
         &err);
    check_claimed(r->lease_count, r->batch);
    for (size_t i = 0; i < count; i++)
        must(settles[i].code, &err);
}

static void open_broker(run *r) {
    reeve_error err = { 0, "" };
    reeve__broker_options options = { .url = r->url, .worker = true };
    fill_queue(r);
    must(reeve__broker_open(&r->broker, r->env, &options, &err), &err);
    turn(r);
}

static void do_turn(run *r) {
    for (size_t left = r->count; left; left -= r->batch)
        turn(r);
}

/* Everything that was claimed is done. */
static void step(run *r) {
    static const reeve_outcome done = REEVE_OUTCOME_INIT;
    reeve_event events[BATCH_MAX];
    reeve_completion items[BATCH_MAX];
    reeve_error err = { 0, "" };
    must(reeve_worker_step(NULL, r->worker, &err), &err);
    size_t got = reeve_worker_poll(events, r->batch, r->worker, 0);
    check_claimed(got, r->batch);
    for (size_t i = 0; i < got; i++)
        items[i] = (reeve_completion){ events[i].delivery, &done };
    must(reeve_worker_complete_many(r->worker, items, got, &err), &err);
}

static void open_worker(run *r, bool manual) {
    reeve_error err = { 0, "" };
    reeve_worker_queue queue = { .name = reeve_bytes_of(QUEUE), .weight = 1 };
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = r->url;
    options.queues = &queue;
    options.queue_count = 1;
    options.concurrency = (int32_t)r->batch;
    options.manual = manual;
    options.settle_delay_ms = manual ? REEVE_NEVER : 0;
    must(reeve_worker_new(&r->worker, r->env, &options, &err), &err);
    must(reeve_worker_start(r->worker, &err), &err);
}

static void open_manual(run *r) {
    fill_queue(r);
    open_worker(r, true);
    step(r);
}

static void do_work(run *r) {
    for (size_t left = r->count; left; left -= r->batch)
        step(r);
}

static void be_idle(run *r) {
    open_worker(r, false);
    (void)puts("idle");
    (void)fflush(stdout);
    (void)reeve_worker_join(r->worker, REEVE_NEVER, NULL);
}

static void do_build(run *r) {
    reeve_error err = { 0, "" };
    for (size_t i = 0; i < r->count; i++) {
        reeve__buf_clear(&r->buf);
        must(reeve__enqueue_args_check(r->args, REEVE_PAYLOAD_BYTES_MAX,
                                       START_AT_MS, &err),
             &err);
        must(reeve__envelope_build(&r->buf, r->args, START_AT_MS, &err), &err);
    }
}

static void prepare_envelope(run *r) {
    reeve_error err = { 0, "" };
    fill_args(r, 1);
    reeve__buf_init(&r->buf, r->env);
    must(reeve__envelope_build(&r->buf, r->args, START_AT_MS, &err), &err);
}

static void do_decode(run *r) {
    reeve_error err = { 0, "" };
    reeve_bytes stored = { r->buf.data, r->buf.size };
    for (size_t i = 0; i < r->count; i++) {
        reeve__envelope envelope;
        must(reeve__envelope_decode(&envelope, r->env, stored, &err), &err);
        reeve__envelope_dispose(&envelope);
    }
}

/* Eight queues of which one in turn is dry. */
static void do_select(run *r) {
    reeve__select_queue queues[SELECT_QUEUES];
    size_t quotas[SELECT_QUEUES];
    memset(queues, 0, sizeof queues);
    for (int i = 0; i < SELECT_QUEUES; i++)
        queues[i].weight = 1 + i;
    reeve__select select = { .order = REEVE_ORDER_WEIGHTED,
                             .queues = queues,
                             .queue_count = SELECT_QUEUES };
    for (size_t i = 0; i < r->count; i++) {
        int64_t now_ns = (int64_t)i * 10000000;
        (void)reeve__select_plan(quotas, &select, r->batch, now_ns);
        size_t taken[SELECT_QUEUES];
        memcpy(taken, quotas, sizeof taken);
        taken[i % SELECT_QUEUES] = 0;
        reeve__select_book(&select, quotas, taken, now_ns);
    }
}

/* Failed runs, which draw a delay. */
static void do_settle(run *r) {
    reeve_retry_options retry = REEVE_RETRY_OPTIONS_INIT;
    reeve__retry_resolve(&retry);
    int64_t sum_ms = 0;
    for (size_t i = 0; i < r->count; i++) {
        const reeve__settle_input in = {
            .outcome = REEVE_OUTCOME_RETRY,
            .started = true,
            .failures = (int32_t)(i % 8),
            .max_crashes = 3,
            .enqueued_at_ms = START_AT_MS,
            .now_at_ms = START_AT_MS + 1000,
            .random = i * UINT64_C(0x9E3779B97F4A7C15),
            .retry = &retry,
        };
        sum_ms += reeve__settle_decide(&in).delay_ms;
    }
    if (sum_ms <= 0) {
        (void)fprintf(stderr, "check_cost: no delay was drawn\n");
        exit(1);
    }
}

static void nothing(run *r) {
    (void)r;
}

static const check_case cases[] = {
    { "enqueue", open_client, do_enqueue, false },
    { "turn", open_broker, do_turn, false },
    { "work", open_manual, do_work, true },
    { "build", prepare_envelope, do_build, true },
    { "decode", prepare_envelope, do_decode, true },
    { "select", nothing, do_select, true },
    { "settle", nothing, do_settle, true },
    { "idle", be_idle, nothing, false },
};

static int about(void) {
#if defined(__clang__)
    const char *compiler = "clang";
    int major = __clang_major__;
#else
    const char *compiler = "gcc";
    int major = __GNUC__;
#endif
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) &&                 \
    !defined(__SANITIZE_THREAD__)
    bool plain = true;
#else
    bool plain = false;
#endif
#if defined(NDEBUG)
    bool asserts = false;
#else
    bool asserts = true;
#endif
    (void)printf("{\"compiler\":\"%s %d\",\"sqlite\":\"%s\","
                 "\"hiredis\":\"%d.%d\",\"plain\":%s,\"asserts\":%s}\n",
                 compiler, major, sqlite3_libversion(), HIREDIS_MAJOR,
                 HIREDIS_MINOR, plain ? "true" : "false",
                 asserts ? "true" : "false");
    return 0;
}

static const check_case *find_case(const char *name) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!strcmp(cases[i].name, name))
            return &cases[i];
    }
    return NULL;
}

int main(int argc, char **argv) {
    static run r;
    if (argc == 2 && !strcmp(argv[1], "about"))
        return about();
    const check_case *it = argc == 5 ? find_case(argv[1]) : NULL;
    r.count = it ? strtoul(argv[3], NULL, 10) : 0;
    r.batch = it ? strtoul(argv[4], NULL, 10) : 0;
    if (!r.batch || r.batch > BATCH_MAX || !r.count || r.count % r.batch) {
        (void)fprintf(stderr,
                      "usage: check_cost CASE URL COUNT BATCH, COUNT a "
                      "multiple of BATCH, BATCH 1 to %d\n",
                      BATCH_MAX);
        return 2;
    }
    r.url = argv[2];
    memset(r.payload, 'x', sizeof r.payload);
    reeve_error err = { 0, "" };
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.alloc = count_alloc;
    options.alloc_ctx = &r.allocs;
    options.random_seed = 7;
    options.virtual_now_at_ms = it->is_virtual ? START_AT_MS : 0;
    must(reeve_env_new(&r.env, &options, &err), &err);
    it->prepare(&r);
    r.allocs.calls = r.allocs.bytes = r.allocs.peak_bytes = 0;
    r.allocs.base_bytes = r.allocs.live_bytes;
    check_region(it->body, &r);
    (void)printf("{\"allocs\":%lld,\"alloc_bytes\":%lld,\"peak_bytes\":%lld}\n",
                 r.allocs.calls, r.allocs.bytes, r.allocs.peak_bytes);
    /* What is still claimed or open goes with the process. */
    (void)fflush(stdout);
    _exit(0);
}
