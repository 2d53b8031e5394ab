/*
 * A claim behind the doorbell: whom it rings for has the tasks already. What
 * becomes of it when it is withdrawn, when its connection breaks, and when the
 * worker stops or goes quiet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "broker/redis/redis.h"
#include "core/stores.h"

#define LONG_MS ((int64_t)600000)
#define ROUNDS 40
#define CUTS 8

static store place;

static int open_place(void **state) {
    (void)state;
    store_make(&place, "redis");
    return 0;
}

static int close_place(void **state) {
    (void)state;
    store_remove(&place);
    return 0;
}

/* A number out of the reply of a command, behind word; of the reply itself when
 * word is NULL. On a connection of its own. */
static long long ask(const char *command, const char *word) {
    reeve__broker_options options = { .url = place.url };
    reeve__broker *broker = NULL;
    reeve_error err;
    must(reeve__broker_open(&broker, NULL, &options, &err), &err);
    reeve__redis *redis = (reeve__redis *)broker;
    char copy[256], *save = NULL, *words[16];
    size_t count = 0;
    snprintf(copy, sizeof(copy), "%s", command);
    for (char *at = strtok_r(copy, " ", &save); at;
         at = strtok_r(NULL, " ", &save)) {
        words[count++] = at;
    }
    reeve__call call;
    reeve__call_begin_command(&call, &redis->main.engine, count);
    for (size_t i = 0; i < count; i++) {
        reeve__cmd_text(&redis->main.engine.out, words[i]);
    }
    must(reeve__link_drive(&redis->main, &call.op, reeve__redis_by_ns(redis),
                           -1, &err),
         &err);
    must(reeve__op_result(&call.op, &err), &err);
    long long number = call.reply->integer;
    if (word) {
        const char *found = strstr(call.reply->bytes.data, word);
        assert_non_null(found);
        assert_int_equal(sscanf(found + strlen(word), "%lld", &number), 1);
    }
    reeve__call_dispose(&call);
    reeve__broker_close(broker);
    return number;
}

static void wait_for_blocked(long long count) {
    while (ask("INFO clients", "blocked_clients:") != count) {
        sched_yield();
    }
}

/* ---- the verb ------------------------------------------------------------ */

typedef struct claimed {
    char ids[512];
    int64_t token;
} claimed;

static reeve_rc on_claim(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)err;
    claimed *to = ctx;
    size_t size = strlen(to->ids);
    snprintf(to->ids + size, sizeof(to->ids) - size, "%s%.*s", size ? " " : "",
             (int)row->id.size, row->id.data);
    to->token = row->token;
    return REEVE_OK;
}

typedef struct waiter {
    reeve__broker *broker;
    reeve__bell_claim claim;
    claimed got;
} waiter;

static void open_waiter(waiter *w, const char *queue, size_t max) {
    reeve__broker_options options = { .url = place.url };
    reeve_error err;
    memset(w, 0, sizeof(*w));
    must(reeve__broker_open(&w->broker, NULL, &options, &err), &err);
    w->claim = (reeve__bell_claim){
        .turn = { .queue = reeve_bytes_of(queue),
                  .claim_max = max,
                  .lease_ms = LONG_MS },
        .worker = reeve_bytes_of("w1"),
        .on_claim = on_claim,
        .ctx = &w->got,
    };
}

static reeve_rc wait_claim(waiter *w, int64_t span_ms, reeve_error *err) {
    return w->broker->ops->wait_claim(w->broker, &w->claim, -1,
                                      reeve__by_ns(NULL, span_ms), err);
}

static void put(const char *queue, const char *id) {
    reeve__broker_options options = { .url = place.url };
    reeve__broker *broker = NULL;
    reeve_error err;
    reeve__enqueue_item item = {
        .queue = reeve_bytes_of(queue),
        .id = reeve_bytes_of(id),
        .envelope = reeve_bytes_of("{\"v\":1,\"type\":\"t\"}\nbody"),
        .priority = REEVE_PRIORITY_DEFAULT,
    };
    must(reeve__broker_open(&broker, NULL, &options, &err), &err);
    must(broker->ops->enqueue(broker, &item, 1, &err), &err);
    assert_int_equal(item.code, 0);
    reeve__broker_close(broker);
}

static void a_ring_brings_its_tasks(void **state) {
    (void)state;
    waiter w;
    reeve_error err;
    open_waiter(&w, "brings", 9);
    must(wait_claim(&w, 0, &err), &err);
    assert_false(w.claim.done);
    put("brings", "a");
    must(wait_claim(&w, LONG_MS, &err), &err);
    assert_true(w.claim.done);
    assert_int_equal(w.claim.turn.claimed, 1);
    assert_string_equal(w.got.ids, "a");
    assert_true(w.got.token > 0);
    /* What rang is used up. */
    must(w.broker->ops->unwait(w.broker, &err), &err);
    assert_int_equal(ask("LLEN reeve:{brings}:bell", NULL), 0);
    reeve__broker_close(w.broker);
}

/* Its bodies come by HMGET, and who leaves work behind rings again. */
static void a_ring_brings_as_many_as_were_asked_for(void **state) {
    (void)state;
    waiter w;
    reeve_error err;
    char id[8], all[64] = "";
    for (int i = 0; i < 9; i++) {
        snprintf(id, sizeof(id), "m%d", i);
        put("many", id);
        snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
                 i > 0 && i < 8 ? " " : "", i < 8 ? id : "");
    }
    open_waiter(&w, "many", 8);
    must(wait_claim(&w, LONG_MS, &err), &err);
    assert_true(w.claim.done);
    assert_true(w.claim.turn.more);
    assert_string_equal(w.got.ids, all);
    assert_int_equal(ask("LLEN reeve:{many}:bell", NULL), 1);
    reeve__broker_close(w.broker);
}

static void a_claim_without_work_ends_by_itself(void **state) {
    (void)state;
    waiter w;
    reeve_error err;
    open_waiter(&w, "idle", 9);
    must(wait_claim(&w, LONG_MS, &err), &err);
    assert_true(w.claim.done);
    assert_int_equal(w.claim.turn.claimed, 0);
    reeve__broker_close(w.broker);
}

static void a_withdrawn_claim_takes_nothing_more(void **state) {
    (void)state;
    waiter w;
    reeve_error err;
    open_waiter(&w, "left", 9);
    must(wait_claim(&w, 0, &err), &err);
    must(w.broker->ops->unwait(w.broker, &err), &err);
    assert_true(w.claim.done);
    put("left", "a");
    assert_int_equal(ask("HLEN reeve:{left}:active", NULL), 0);
    assert_int_equal(ask("LLEN reeve:{left}:bell", NULL), 1);
    reeve__broker_close(w.broker);
}

static void what_was_claimed_before_it_was_withdrawn_is_told(void **state) {
    (void)state;
    waiter w;
    reeve_error err;
    open_waiter(&w, "told", 9);
    must(wait_claim(&w, 0, &err), &err);
    wait_for_blocked(1);
    put("told", "a");
    wait_for_blocked(0);
    must(w.broker->ops->unwait(w.broker, &err), &err);
    assert_true(w.claim.done);
    assert_string_equal(w.got.ids, "a");
    reeve__broker_close(w.broker);
}

static void a_plain_wait_may_follow(void **state) {
    (void)state;
    waiter w;
    reeve_error err;
    ptrdiff_t index = -1;
    open_waiter(&w, "plain", 9);
    must(wait_claim(&w, 0, &err), &err);
    must(w.broker->ops->wait(w.broker, &w.claim.turn.queue, 1, -1, 0, &index,
                             &err),
         &err);
    assert_true(w.claim.done);
    put("plain", "a");
    must(w.broker->ops->wait(w.broker, &w.claim.turn.queue, 1, -1,
                             reeve__by_ns(NULL, LONG_MS), &index, &err),
         &err);
    assert_int_equal(index, 0);
    assert_int_equal(ask("HGET reeve:{plain}:active a", NULL), 0);
    reeve__broker_close(w.broker);
}

static void a_broken_claim_is_an_error(void **state) {
    (void)state;
    waiter w;
    reeve_error err;
    open_waiter(&w, "broken", 9);
    must(wait_claim(&w, 0, &err), &err);
    wait_for_blocked(1);
    char command[64];
    snprintf(command, sizeof(command), "CLIENT KILL ID %lld",
             (long long)((reeve__redis *)w.broker)->bell.client_id);
    assert_int_equal(ask(command, NULL), 1);
    assert_int_equal(wait_claim(&w, LONG_MS, &err), REEVE_E_NET);
    assert_false(w.claim.done);
    /* The next one is as good as new. */
    put("broken", "a");
    must(wait_claim(&w, LONG_MS, &err), &err);
    assert_string_equal(w.got.ids, "a");
    reeve__broker_close(w.broker);
}

static void a_damaged_queue_is_told(void **state) {
    (void)state;
    waiter w;
    reeve_error err;
    put("damaged", "a");
    ask("SET reeve:{damaged}:active x", NULL);
    open_waiter(&w, "damaged", 9);
    assert_int_equal(wait_claim(&w, LONG_MS, &err), REEVE_E_SERVER);
    assert_int_equal(w.claim.turn.claimed, 0);
    assert_int_equal(ask("LLEN reeve:{damaged}:pending", NULL), 1);
    ask("DEL reeve:{damaged}:active", NULL);
    reeve__broker_close(w.broker);
}

/* ---- the worker ---------------------------------------------------------- */

typedef struct crew {
    reeve_worker *worker;
    atomic_int runs;
} crew;

static reeve_rc count_up(reeve_outcome *outcome, reeve_delivery *dlv,
                         void *user, reeve_error *err) {
    (void)outcome;
    (void)dlv;
    (void)err;
    atomic_fetch_add((atomic_int *)user, 1);
    return 0;
}

static void hire(crew *c, const char *queue) {
    reeve_error err;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    reeve_worker_queue queues[] = { { .name = reeve_bytes_of(queue),
                                      .weight = 1 } };
    options.url = place.url;
    options.queues = queues;
    options.queue_count = 1;
    options.concurrency = 4;
    atomic_store(&c->runs, 0);
    must(reeve_worker_new(&c->worker, NULL, &options, &err), &err);
    must(reeve_worker_handle(c->worker, reeve_bytes_of("t"), count_up, &c->runs,
                             &err),
         &err);
    must(reeve_worker_start(c->worker, &err), &err);
}

static void dismiss(crew *c) {
    reeve_worker_stop(c->worker);
    must(reeve_worker_join(c->worker, REEVE_NEVER, NULL), NULL);
    reeve_worker_free(c->worker);
}

static void enqueue(reeve_client *client, const char *queue) {
    reeve_error err;
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    args.queue = reeve_bytes_of(queue);
    must(reeve_client_enqueue(NULL, client, &args, &err), &err);
}

static void until(atomic_int *runs, int count) {
    while (atomic_load(runs) < count) {
        sched_yield();
    }
}

static void an_idle_worker_claims_with_the_ring(void **state) {
    (void)state;
    crew c;
    reeve_client *client = store_client(&place, NULL);
    hire(&c, "rung");
    wait_for_blocked(1);
    for (int i = 0; i < ROUNDS; i++) {
        enqueue(client, "rung");
        until(&c.runs, i + 1);
    }
    dismiss(&c);
    assert_int_equal(store_count(&place, "rung", REEVE_STATE_NONE), ROUNDS);
    assert_int_equal(atomic_load(&c.runs), ROUNDS);
    reeve_client_close(client);
}

static void a_quiet_worker_offers_nothing(void **state) {
    (void)state;
    crew quiet, other;
    reeve_client *client = store_client(&place, NULL);
    hire(&quiet, "hush");
    wait_for_blocked(1);
    reeve_worker_quiet(quiet.worker, true);
    wait_for_blocked(0);
    enqueue(client, "hush");
    hire(&other, "hush");
    until(&other.runs, 1);
    reeve_worker_quiet(quiet.worker, false);
    dismiss(&other);
    enqueue(client, "hush");
    until(&quiet.runs, 1);
    dismiss(&quiet);
    assert_int_equal(store_count(&place, "hush", REEVE_STATE_NONE), 2);
    reeve_client_close(client);
}

/* A task that comes with the stop runs, or it is handed back: none is left with
 * a worker that has gone. */
static void a_stop_leaves_nothing_claimed(void **state) {
    (void)state;
    reeve_client *client = store_client(&place, NULL);
    int runs = 0;
    for (int i = 0; i < ROUNDS; i++) {
        crew c;
        hire(&c, "stop");
        if (i % 2 == 0) {
            wait_for_blocked(1);
        }
        enqueue(client, "stop");
        dismiss(&c);
        runs += atomic_load(&c.runs);
        assert_int_equal(store_count(&place, "stop", REEVE_STATE_ACTIVE), 0);
        assert_int_equal(store_count(&place, "stop", REEVE_STATE_PENDING) +
                             store_count(&place, "stop", REEVE_STATE_NONE),
                         i + 1);
    }
    assert_int_equal(store_count(&place, "stop", REEVE_STATE_NONE), runs);
    reeve_client_close(client);
}

/* A claim whose connection broke is handed back without a crash or a second
 * run. */
static void broken_claims_are_handed_back(void **state) {
    (void)state;
    crew c;
    reeve_client *client = store_client(&place, NULL);
    hire(&c, "cut");
    for (int i = 0; i < CUTS; i++) {
        enqueue(client, "cut");
        ask("CLIENT KILL TYPE normal SKIPME yes", NULL);
        enqueue(client, "cut");
    }
    until(&c.runs, 2 * CUTS);
    dismiss(&c);
    assert_int_equal(store_count(&place, "cut", REEVE_STATE_NONE), 2 * CUTS);
    assert_int_equal(store_count(&place, "cut", REEVE_STATE_ACTIVE), 0);
    assert_int_equal(atomic_load(&c.runs), 2 * CUTS);
    reeve_client_close(client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ring_brings_its_tasks),
        cmocka_unit_test(a_ring_brings_as_many_as_were_asked_for),
        cmocka_unit_test(a_claim_without_work_ends_by_itself),
        cmocka_unit_test(a_withdrawn_claim_takes_nothing_more),
        cmocka_unit_test(what_was_claimed_before_it_was_withdrawn_is_told),
        cmocka_unit_test(a_plain_wait_may_follow),
        cmocka_unit_test(a_broken_claim_is_an_error),
        cmocka_unit_test(a_damaged_queue_is_told),
        cmocka_unit_test(an_idle_worker_claims_with_the_ring),
        cmocka_unit_test(a_quiet_worker_offers_nothing),
        cmocka_unit_test(a_stop_leaves_nothing_claimed),
        cmocka_unit_test(broken_claims_are_handed_back),
    };
    return cmocka_run_group_tests(tests, open_place, close_place);
}
