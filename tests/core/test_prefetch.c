/*
 * Holding tasks beyond those that run: the policy as a table and on random
 * traces, then the worker on a virtual clock: what it hands out, what it gives
 * back, and how it treats tasks that a worker died with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "base/env.h"
#include "core/prng.h"
#include "core/worker_bench.h"
#include "policy/prefetch.h"
#include "runtime/worker.h"

#define MS REEVE__MS_NS

/* --- the policy ---------------------------------------------------------- */

static reeve__prefetch fresh(size_t limit) {
    return (reeve__prefetch){ .limit = limit };
}

/* done runs every step_ns until time_ns has passed. */
static int64_t run_for(reeve__prefetch *p, size_t concurrency, size_t done,
                       int64_t step_ns, int64_t start_ns, int64_t time_ns) {
    int64_t now_ns = start_ns;
    reeve__prefetch_plan(p, 0, concurrency, now_ns);
    while (now_ns < start_ns + time_ns) {
        now_ns += step_ns;
        reeve__prefetch_plan(p, done, concurrency, now_ns);
    }
    return now_ns;
}

static void a_steady_rate_gives_what_the_aim_holds(void **state) {
    (void)state;
    const struct {
        const char *what;
        size_t limit, concurrency, done;
        int64_t step_ns, round_ns;
        size_t hold;
    } rows[] = {
        { "idle", 1000, 10, 0, MS, 0, 0 },
        { "100 ms handlers", 1000, 10, 10, 100 * MS, 0, 0 },
        { "handlers as long as the aim", 1000, 10, 10, 2 * MS, 0, 0 },
        { "1 ms handlers", 1000, 10, 10, MS, 0, 10 },
        { "100 a ms", 1000, 10, 100, MS, 0, 190 },
        { "100 a ms, one slot", 1000, 1, 100, MS, 0, 199 },
        { "as many slots as the aim fills", 1000, 200, 100, MS, 0, 0 },
        { "three in 1 ms beside one", 1000, 1, 1, MS / 3, 0, 5 },
        { "bounded by itself", 1000, 1, 1000, MS, 0, 1000 },
        { "bounded by the option", 16, 1, 100, MS, 0, 16 },
        { "switched off", 0, 1, 100, MS, 0, 0 },
        { "a far broker", 1000, 10, 100, MS, 3 * MS, 590 },
        { "a very far broker", 1000, 10, 10, MS, 400 * MS, 190 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reeve__prefetch p = fresh(rows[i].limit);
        if (rows[i].round_ns)
            reeve__prefetch_turned(&p, rows[i].round_ns);
        (void)run_for(&p, rows[i].concurrency, rows[i].done, rows[i].step_ns,
                      MS, 3000 * MS);
        /* A third of a millisecond is no whole number of nanoseconds. */
        if (p.hold + 1 < rows[i].hold || p.hold > rows[i].hold + 1)
            fail_msg("%s: holds %zu, not %zu", rows[i].what, p.hold,
                     rows[i].hold);
    }
}

static void the_aim_is_two_rounds_within_bounds(void **state) {
    (void)state;
    const struct {
        int64_t round_ns, aim_ns;
    } rows[] = {
        { 0, 2 * MS },          { MS / 10, 2 * MS },  { MS, 2 * MS },
        { 4 * MS, 8 * MS },     { 10 * MS, 20 * MS }, { 500 * MS, 20 * MS },
        { INT64_MAX, 20 * MS },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reeve__prefetch p = fresh(1000);
        reeve__prefetch_turned(&p, rows[i].round_ns);
        assert_int_equal(reeve__prefetch_aim_ns(&p), rows[i].aim_ns);
    }
    reeve__prefetch p = fresh(1000);
    reeve__prefetch_turned(&p, 4 * MS);
    reeve__prefetch_turned(&p, -1); /* a clock that jumped */
    assert_int_equal(reeve__prefetch_aim_ns(&p), 8 * MS);
    for (int i = 0; i < 100; i++)
        reeve__prefetch_turned(&p, 2 * MS);
    assert_in_range(reeve__prefetch_aim_ns(&p), 4 * MS, 4 * MS + MS / 100);
}

static void it_doubles_at_most_and_falls_at_once(void **state) {
    (void)state;
    reeve__prefetch p = fresh(1000);
    int64_t now_ns = MS;
    reeve__prefetch_plan(&p, 0, 1, now_ns);
    for (size_t live = 1; live < 256; live *= 2) {
        now_ns += MS / 10; /* all that was live, in 0.1 ms */
        reeve__prefetch_plan(&p, live, 1, now_ns);
        assert_true(p.hold > 0);
        assert_true(p.hold + 1 <= 2 * live);
    }
    (void)run_for(&p, 1, 30, MS / 10, now_ns, 100 * MS);
    assert_true(p.hold > 500);
    reeve__prefetch_plan(&p, 0, 1, now_ns + 200 * MS); /* silence */
    assert_true(p.hold < 60);
}

static void a_clock_that_stands_still_is_no_rate(void **state) {
    (void)state;
    reeve__prefetch p = fresh(1000);
    for (int i = 0; i < 10; i++)
        reeve__prefetch_plan(&p, 50, 1, 7 * MS);
    assert_int_equal(p.hold, 0);
    reeve__prefetch_plan(&p, 0, 1, 12 * MS); /* 500 in 5 ms, known at last */
    assert_int_equal(p.hold, 0);             /* grows by runs that ended */
    reeve__prefetch_plan(&p, 20, 1, 12 * MS);
    assert_int_equal(p.hold, 20);
    reeve__prefetch_plan(&p, 20, 1, 11 * MS); /* not even backwards */
    assert_int_equal(p.hold, 40);
}

static void suspects_keep_it_from_holding(void **state) {
    (void)state;
    reeve__prefetch p = fresh(1000);
    int64_t now_ns = run_for(&p, 1, 100, MS, MS, 100 * MS);
    assert_in_range(p.hold, 198, 199);
    reeve__prefetch_claimed(&p, true);
    assert_int_equal(p.hold, 0);
    now_ns = run_for(&p, 1, 100, MS, now_ns, 100 * MS);
    assert_int_equal(p.hold, 0);
    reeve__prefetch_claimed(&p, false);
    (void)run_for(&p, 1, 100, MS, now_ns, 100 * MS);
    assert_in_range(p.hold, 198, 199);
}

/* Whatever happens: within the limit, grown by no more than ended, and at the
 * rate it has seen what is held is gone within the aim. */
static void any_trace_keeps_the_bounds(void **state) {
    (void)state;
    prng rng = prng_of("any_trace_keeps_the_bounds", 61);
    for (int trace = 0; trace < 200; trace++) {
        reeve__prefetch p = fresh(prng_below(&rng, 1001));
        size_t concurrency = 1 + prng_below(&rng, 300);
        int64_t now_ns = 1;
        for (int i = 0; i < 300; i++) {
            now_ns += (int64_t)prng_below(&rng, 1 << prng_below(&rng, 28));
            size_t done = prng_below(&rng, 1 << prng_below(&rng, 11));
            size_t before = p.hold;
            if (prng_below(&rng, 4) == 0)
                reeve__prefetch_turned(&p, (int64_t)prng_below(&rng, 9 * MS));
            reeve__prefetch_plan(&p, done, concurrency, now_ns);
            assert_true(p.hold <= p.limit);
            assert_true(p.hold <= before + done);
            double aim_ns = (double)reeve__prefetch_aim_ns(&p);
            if (p.hold)
                assert_true((double)(p.hold + concurrency) * p.span_ns <=
                            p.done * aim_ns + p.span_ns);
        }
    }
}

/* --- the worker ---------------------------------------------------------- */

#define FAST 20 /* runs a virtual millisecond */

static bench open_with(int32_t concurrency, int32_t prefetch) {
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.concurrency = concurrency;
    options.prefetch = prefetch;
    options.lease_ms = 100;
    open_bench(&b, true, &options);
    start(&b);
    return b;
}

static void put_many(bench *b, size_t count) {
    static reeve_enqueue_args args[4000];
    for (size_t i = 0; i < count; i++)
        args[i] = plain();
    must(reeve_client_enqueue_many(NULL, b->client, args, count, NULL), NULL);
}

static reeve_worker_stats stats_of(reeve_worker *worker) {
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    must(reeve_worker_stats_read(&stats, worker, NULL), NULL);
    return stats;
}

/* A millisecond of a worker whose handlers are fast. */
static void run_a_ms(bench *b) {
    for (int i = 0; i < FAST; i++) {
        reeve_delivery *dlv = next_delivery(b);
        if (!dlv)
            step(b);
        if (!dlv)
            dlv = next_delivery(b);
        if (!dlv)
            break;
        complete(b, dlv, outcome_of(REEVE_OUTCOME_DONE));
    }
    must(reeve_env_advance(b->env, 1, NULL), NULL);
    step(b);
}

/* A worker that holds some, with tasks left for others. */
static bench open_holding(int32_t concurrency) {
    bench b = open_with(concurrency, 0);
    put_many(&b, 4000);
    for (int i = 0; i < 40; i++)
        run_a_ms(&b);
    assert_in_range(stats_of(b.worker).held, 20, 2 * FAST);
    return b;
}

static void fast_handlers_find_the_next_at_once(void **state) {
    (void)state;
    bench b = open_holding(2);
    reeve_worker_stats before = stats_of(b.worker);
    reeve_delivery *first = next_delivery(&b);
    reeve_delivery *second = next_delivery(&b);
    assert_non_null(first);
    assert_non_null(second);
    assert_null(next_delivery(&b)); /* two at a time, whatever is held */
    assert_int_equal(stats_of(b.worker).held, before.held - 2);
    assert_int_equal(stats_of(b.worker).active, before.active);
    complete(&b, first, outcome_of(REEVE_OUTCOME_DONE));
    reeve_delivery *third = next_delivery(&b); /* without a turn */
    assert_non_null(third);
    assert_null(next_delivery(&b));
    complete(&b, second, outcome_of(REEVE_OUTCOME_DONE));
    complete(&b, third, outcome_of(REEVE_OUTCOME_DONE));
    close_bench(&b);
}

/* The fetcher went to sleep with enough held: whoever takes what makes it too
 * little wakes it, or the worker would wait for its outcomes to be due. */
static void taking_the_half_wakes_the_fetcher(void **state) {
    (void)state;
    bench b = open_holding(2);
    size_t half = b.worker->prefetch.hold / 2;
    assert_true(b.worker->ready.count > half + 2);
    bool woken = false;
    while (!woken) {
        b.worker->fetch_waits = true; /* asleep, and knows of enough */
        b.worker->fetch_low = false;
        reeve_delivery *dlv = next_delivery(&b);
        woken = !b.worker->fetch_waits;
        assert_int_equal(woken, b.worker->ready.count <= half);
        complete(&b, dlv, outcome_of(REEVE_OUTCOME_DONE));
    }
    close_bench(&b);
}

static bool is_readable(int fd) {
    struct pollfd one = { .fd = fd, .events = POLLIN };
    return poll(&one, 1, 0) == 1;
}

/* Also when events came before anybody asked for the descriptor, and when
 * completing is what lets the next one out. */
static void the_fd_tells_of_what_may_start(void **state) {
    (void)state;
    bench b = open_holding(1);
    int fd = reeve_worker_fd(b.worker);
    assert_true(is_readable(fd));
    reeve_delivery *dlv = next_delivery(&b);
    assert_null(next_delivery(&b));
    assert_false(is_readable(fd)); /* much is held, but nothing may start */
    complete(&b, dlv, outcome_of(REEVE_OUTCOME_DONE));
    assert_true(is_readable(fd));
    complete(&b, next_delivery(&b), outcome_of(REEVE_OUTCOME_DONE));
    assert_true(is_readable(fd));
    close_bench(&b);
}

static void never_more_than_its_option(void **state) {
    (void)state;
    const struct {
        int32_t prefetch;
        int32_t most;
    } rows[] = { { REEVE_NEVER, 0 }, { 3, 3 }, { 1000, 2 * FAST } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bench b = open_with(2, rows[i].prefetch);
        put_many(&b, 2000);
        int32_t most = 0;
        for (int ms = 0; ms < 40; ms++) {
            run_a_ms(&b);
            reeve_worker_stats stats = stats_of(b.worker);
            int32_t beyond = stats.active - 2;
            most = beyond > most ? beyond : most;
        }
        assert_true(most <= rows[i].most);
        assert_true(rows[i].most == 0 || most > 0);
        close_bench(&b);
    }
}

static void bad_options_are_refused(void **state) {
    (void)state;
    const struct {
        int32_t prefetch;
        const char *message;
    } rows[] = {
        { 1001, "prefetch 1001 is outside 1..1000" },
        { -2, "prefetch -2 is outside 1..1000" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
        options.url = "mem://prefetch-options";
        options.prefetch = rows[i].prefetch;
        reeve_worker *worker = NULL;
        reeve_error err;
        assert_int_equal(reeve_worker_new(&worker, NULL, &options, &err),
                         REEVE_E_INVALID);
        assert_string_equal(err.message, rows[i].message);
        assert_null(worker);
    }
}

static void slow_handlers_hold_nothing(void **state) {
    (void)state;
    bench b = open_with(4, 0);
    put_many(&b, 200);
    for (int round = 0; round < 20; round++) {
        step(&b);
        assert_int_equal(stats_of(b.worker).active, 4);
        must(reeve_env_advance(b.env, 5, NULL), NULL);
        for (int i = 0; i < 4; i++)
            complete(&b, next_delivery(&b), outcome_of(REEVE_OUTCOME_DONE));
        assert_null(next_delivery(&b));
    }
    close_bench(&b);
}

/* What one claim brings of several queues starts in their proportion. */
static void a_claim_of_many_keeps_the_shares_small(void **state) {
    (void)state;
    reeve_worker_queue queues[] = {
        { .name = reeve_bytes_of("a"), .weight = 6 },
        { .name = reeve_bytes_of("b"), .weight = 3 },
        { .name = reeve_bytes_of("c"), .weight = 1 },
    };
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.queues = queues;
    options.queue_count = 3;
    options.concurrency = 100;
    open_bench(&b, true, &options);
    start(&b);
    for (int i = 0; i < 300; i++) {
        reeve_enqueue_args args = plain();
        args.queue = queues[i % 3].name;
        put(&b, args, NULL);
    }
    step(&b);
    int runs[3] = { 0 };
    for (int i = 1; i <= 100; i++) {
        reeve_delivery *dlv = next_delivery(&b);
        reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
        must(reeve_delivery_read(&view, dlv, NULL), NULL);
        runs[*view.queue.data - 'a']++;
        assert_true(runs[0] >= i * 6 / 10 - 1 && runs[0] <= i * 6 / 10 + 1);
        assert_true(runs[2] >= i / 10 - 1 && runs[2] <= i / 10 + 1);
        complete(&b, dlv, outcome_of(REEVE_OUTCOME_DONE));
    }
    close_bench(&b);
}

/* Handlers that turn slow: an idle worker has the rest soon, in order, as if
 * nobody had ever claimed them. */
static void what_waits_too_long_is_anothers(void **state) {
    (void)state;
    bench b = open_holding(1);
    reeve_worker *idle = NULL;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b.url;
    options.manual = 1;
    options.concurrency = 10;
    must(reeve_worker_new(&idle, b.env, &options, NULL), NULL);
    must(reeve_worker_start(idle, NULL), NULL);
    reeve_delivery *slow = next_delivery(&b);
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    must(reeve_delivery_read(&view, slow, NULL), NULL);
    int64_t held = stats_of(b.worker).held;
    int64_t given_before = stats_of(b.worker).requeued;
    must(reeve_env_advance(b.env, 8, NULL), NULL); /* four aims */
    step(&b);
    assert_int_equal(stats_of(b.worker).held, 0);
    assert_int_equal(stats_of(b.worker).active, 1);
    assert_int_equal(stats_of(b.worker).requeued - given_before, held);
    must(reeve_worker_step(NULL, idle, NULL), NULL);
    reeve_event event;
    char last[REEVE_ID_BYTES_MAX + 1] = "";
    (void)memcpy(last, view.id.data, view.id.size);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(reeve_worker_poll(&event, 1, idle, 0), 1);
        must(reeve_delivery_read(&view, event.delivery, NULL), NULL);
        assert_int_equal(view.attempt, 1);
        assert_int_equal(view.crashes, 0);
        /* Ids of one producer grow with their order. */
        assert_true(strncmp(last, view.id.data, view.id.size) < 0);
        (void)memcpy(last, view.id.data, view.id.size);
        reeve_outcome done = outcome_of(REEVE_OUTCOME_DONE);
        must(reeve_worker_complete(idle, event.delivery, &done, NULL), NULL);
    }
    complete(&b, slow, outcome_of(REEVE_OUTCOME_DONE));
    reeve_worker_free(idle);
    close_bench(&b);
}

static void quiet_gives_back_what_is_not_started(void **state) {
    (void)state;
    bench b = open_holding(2);
    reeve_delivery *running = next_delivery(&b);
    reeve_worker_quiet(b.worker, true);
    step(&b);
    assert_int_equal(stats_of(b.worker).active, 1);
    assert_null(next_delivery(&b));
    assert_int_equal(queue_info(&b).active, 1);
    complete(&b, running, outcome_of(REEVE_OUTCOME_DONE));
    reeve_worker_quiet(b.worker, false);
    step(&b);
    complete(&b, next_delivery(&b), outcome_of(REEVE_OUTCOME_DONE));
    reeve_worker_stop(b.worker);
    reeve_worker_stop(b.worker);
    step(&b);
    assert_int_equal(queue_info(&b).active, 0);
    close_bench(&b);
}

/*
 * A worker dies with many; another, in full swing, takes them over. Each of
 * them may have been what killed it: it starts only when nothing else waits
 * here, so that at most what runs beside it can be blamed with it.
 */
static void suspects_start_with_nothing_held(void **state) {
    (void)state;
    bench b = open_holding(1);
    reeve_worker *dead = NULL;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.url = b.url;
    options.manual = 1;
    options.concurrency = 30;
    options.lease_ms = 100;
    must(reeve_worker_new(&dead, b.env, &options, NULL), NULL);
    must(reeve_worker_start(dead, NULL), NULL);
    must(reeve_worker_step(NULL, dead, NULL), NULL); /* and is not seen again */
    int suspects = 0;
    int32_t most_held = 0;
    for (int run = 0; run < 140 * FAST; run++) {
        if (run % FAST == 0)
            must(reeve_env_advance(b.env, 1, NULL), NULL);
        step(&b);
        reeve_delivery *dlv = next_delivery(&b);
        if (!dlv)
            continue;
        reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
        must(reeve_delivery_read(&view, dlv, NULL), NULL);
        reeve_worker_stats stats = stats_of(b.worker);
        if (view.crashes) {
            suspects++;
            assert_int_equal(view.crashes, 1);
            assert_int_equal(stats.active, 1);
            assert_int_equal(queue_info(&b).active, 1);
        } else if (suspects == 30 && stats.held > most_held) {
            most_held = stats.held;
        }
        complete(&b, dlv, outcome_of(REEVE_OUTCOME_DONE));
    }
    assert_int_equal(suspects, 30);
    assert_true(most_held > 0); /* and then goes on as before */
    reeve_worker_free(dead);
    close_bench(&b);
}

/* --- with threads -------------------------------------------------------- */

typedef struct counts {
    atomic_int running, most, runs;
} counts;

static reeve_rc count_running(reeve_outcome *outcome, reeve_delivery *dlv,
                              void *user, reeve_error *err) {
    (void)outcome;
    (void)dlv;
    (void)err;
    counts *c = user;
    int now = atomic_fetch_add(&c->running, 1) + 1;
    int most = atomic_load(&c->most);
    while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now))
        ;
    atomic_fetch_sub(&c->running, 1);
    atomic_fetch_add(&c->runs, 1);
    return 0;
}

static void threads_run_no_more_than_concurrency(void **state) {
    (void)state;
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.concurrency = 3;
    options.thread_count = 8;
    open_bench(&b, false, &options);
    counts c = { 0 };
    must(reeve_worker_handle(b.worker, reeve_bytes_of("t"), count_running, &c,
                             NULL),
         NULL);
    put_many(&b, 4000);
    start(&b);
    while (atomic_load(&c.runs) < 4000)
        (void)reeve_worker_join(b.worker, 1, NULL);
    reeve_worker_stop(b.worker);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    assert_true(atomic_load(&c.most) <= 3);
    assert_int_equal(atomic_load(&c.runs), 4000);
    assert_int_equal(queue_info(&b).done_total, 4000);
    close_bench(&b);
}

/* A stop in full swing loses nothing and repeats nothing. */
static void a_stop_gives_the_held_ones_back(void **state) {
    (void)state;
    bench b;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    options.concurrency = 2;
    open_bench(&b, false, &options);
    counts c = { 0 };
    must(reeve_worker_handle(b.worker, reeve_bytes_of("t"), count_running, &c,
                             NULL),
         NULL);
    for (int i = 0; i < 5; i++)
        put_many(&b, 4000);
    start(&b);
    while (atomic_load(&c.runs) < 5000)
        (void)reeve_worker_join(b.worker, 1,
                                NULL); /* a spin starves valgrind */
    reeve_worker_stop(b.worker);
    must(reeve_worker_join(b.worker, REEVE_NEVER, NULL), NULL);
    reeve_queue_info info = queue_info(&b);
    assert_int_equal(info.active, 0);
    assert_int_equal(info.done_total, atomic_load(&c.runs));
    assert_int_equal(info.pending, 20000 - atomic_load(&c.runs));
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_rate_gives_what_the_aim_holds),
        cmocka_unit_test(the_aim_is_two_rounds_within_bounds),
        cmocka_unit_test(it_doubles_at_most_and_falls_at_once),
        cmocka_unit_test(a_clock_that_stands_still_is_no_rate),
        cmocka_unit_test(suspects_keep_it_from_holding),
        cmocka_unit_test(any_trace_keeps_the_bounds),
        cmocka_unit_test(fast_handlers_find_the_next_at_once),
        cmocka_unit_test(taking_the_half_wakes_the_fetcher),
        cmocka_unit_test(the_fd_tells_of_what_may_start),
        cmocka_unit_test(never_more_than_its_option),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(slow_handlers_hold_nothing),
        cmocka_unit_test(a_claim_of_many_keeps_the_shares_small),
        cmocka_unit_test(what_waits_too_long_is_anothers),
        cmocka_unit_test(quiet_gives_back_what_is_not_started),
        cmocka_unit_test(suspects_start_with_nothing_held),
        cmocka_unit_test(threads_run_no_more_than_concurrency),
        cmocka_unit_test(a_stop_gives_the_held_ones_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
