/*
 * What is Redis's own: layout, stale copies, lost scripts, lost replies, what a
 * server must be, and a server that is killed under load. Verbs in general are
 * the contract suite's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis/redis.h"
#include "core/redis_proxy.h"
#include "support/redis_server.h"

#define LONG_MS 3600000
#define CRASH_BATCHES 600
#define CRASH_BATCH 8
#define CRASHES 3

static redis_server server;
static int prefix_serial;

static void check(reeve_rc rc, const reeve_error *err) {
    if (rc < 0) {
        fail_msg("%d %s", err->code, err->message);
    }
}

static reeve_rc open_at(reeve__broker **out, const char *url,
                        const char *prefix, int64_t timeout_ms,
                        reeve_error *err) {
    reeve__broker_options options = { .url = url,
                                      .prefix = prefix,
                                      .timeout_ms = timeout_ms };
    return reeve__broker_open(out, NULL, &options, err);
}

static reeve__broker *open_socket(const char *path, const char *prefix) {
    char url[160];
    reeve__broker *broker = NULL;
    reeve_error err;
    snprintf(url, sizeof(url), "redis+unix://%s", path);
    check(open_at(&broker, url, prefix, 0, &err), &err);
    return broker;
}

static const char *fresh_prefix(void) {
    static char prefix[32];
    snprintf(prefix, sizeof(prefix), "t%d", ++prefix_serial);
    return prefix;
}

static reeve__broker *open_fresh(void) {
    return open_socket(server.socket, fresh_prefix());
}

/* A plain command on the broker's own connection; "%" in a word stands for
 * "prefix:{mail}:". Text of the reply, or its integer as text. */
static const char *command(reeve__broker *broker, const char *words) {
    static char text[4096];
    reeve__redis *redis = (reeve__redis *)broker;
    reeve__engine *engine = &redis->main.engine;
    char copy[512], *save = NULL, *list[16];
    size_t count = 0;
    reeve_error err;
    snprintf(copy, sizeof(copy), "%s", words);
    for (char *word = strtok_r(copy, " ", &save); word;
         word = strtok_r(NULL, " ", &save)) {
        list[count++] = word;
    }
    reeve__call call;
    reeve__call_begin_command(&call, engine, count);
    for (size_t i = 0; i < count; i++) {
        char key[256];
        bool ours = list[i][0] == '%';
        snprintf(key, sizeof(key), "%s:{mail}:%s", redis->prefix, list[i] + 1);
        reeve__cmd_text(&engine->out, ours ? key : list[i]);
    }
    check(reeve__link_drive(&redis->main, &call.op, reeve__redis_by_ns(redis),
                            -1, &err),
          &err);
    check(reeve__op_result(&call.op, &err), &err);
    if (call.reply->type == REEVE__REPLY_INTEGER) {
        snprintf(text, sizeof(text), "%lld", (long long)call.reply->integer);
    } else {
        snprintf(text, sizeof(text), "%.*s", (int)call.reply->bytes.size,
                 call.reply->bytes.data ? call.reply->bytes.data : "");
    }
    reeve__call_dispose(&call);
    return text;
}

static reeve__enqueue_item item_of(const char *id) {
    return (reeve__enqueue_item){
        .queue = reeve_bytes_of("mail"),
        .id = reeve_bytes_of(id),
        .envelope = reeve_bytes_of("{\"v\":1,\"type\":\"t\"}\nbody"),
        .priority = REEVE_PRIORITY_DEFAULT,
    };
}

static void put(reeve__broker *broker, const char *id) {
    reeve__enqueue_item item = item_of(id);
    reeve_error err;
    check(broker->ops->enqueue(broker, &item, 1, &err), &err);
    assert_int_equal(item.code, 0);
}

/* Claimed ids, joined by spaces, and the settles that would end them. */
typedef struct claims {
    char ids[1024];
    char names[64][REEVE_ID_BYTES_MAX + 1];
    reeve__settle settles[64];
    size_t count;
} claims;

static reeve_rc on_claim(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)err;
    claims *to = ctx;
    size_t size = strlen(to->ids);
    snprintf(to->ids + size, sizeof(to->ids) - size, "%s%.*s", size ? " " : "",
             (int)row->id.size, row->id.data);
    snprintf(to->names[to->count], sizeof(to->names[0]), "%.*s",
             (int)row->id.size, row->id.data);
    to->settles[to->count] = (reeve__settle){
        .id = reeve_bytes_of(to->names[to->count]),
        .token = row->token,
        .priority = row->priority,
        .done = true,
    };
    to->count++;
    return REEVE_OK;
}

static reeve_rc turn(reeve__broker *broker, claims *out, reeve__settle *settles,
                     size_t settle_count, size_t max, reeve_error *err) {
    reeve__turn one = { .queue = reeve_bytes_of("mail"),
                        .settles = settles,
                        .settle_count = settle_count,
                        .claim_max = max,
                        .lease_ms = LONG_MS };
    memset(out, 0, sizeof(*out));
    return broker->ops->turn(broker, &one, 1, reeve_bytes_of("w1"), on_claim,
                             out, err);
}

static void claim(reeve__broker *broker, claims *out, size_t max) {
    reeve_error err;
    check(turn(broker, out, NULL, 0, max, &err), &err);
}

static int32_t act(reeve__broker *broker, const char *id, int32_t action,
                   int32_t from_state) {
    reeve_error err;
    reeve__act one = { .action = action,
                       .queue = reeve_bytes_of("mail"),
                       .id = reeve_bytes_of(id),
                       .from_state = from_state,
                       .priority = REEVE_PRIORITY_DEFAULT,
                       .retention_ms = LONG_MS };
    check(broker->ops->act(broker, &one, 1, &err), &err);
    return one.code;
}

/* ---- layout -------------------------------------------------------------- */

static void active_and_leases_are_no_lists(void **state) {
    (void)state;
    reeve__broker *broker = open_fresh();
    claims got;
    put(broker, "a");
    claim(broker, &got, 1);
    assert_string_equal(command(broker, "OBJECT ENCODING %active"),
                        "hashtable");
    assert_string_equal(command(broker, "OBJECT ENCODING %leases"), "skiplist");
    reeve__broker_close(broker);
}

static void nothing_is_left_of_what_is_done(void **state) {
    (void)state;
    reeve__broker *broker = open_fresh();
    claims got, none;
    reeve_error err;
    put(broker, "a");
    put(broker, "b");
    claim(broker, &got, 2);
    got.settles[1].last_of_token = true;
    check(turn(broker, &none, got.settles, 2, 1, &err), &err);
    assert_int_equal(none.count, 0);
    assert_string_equal(command(broker, "EXISTS %tasks %pending %bell"), "0");
    assert_string_equal(command(broker, "HLEN %active"), "1");
    assert_string_equal(command(broker, "ZCARD %leases"), "1");
    assert_string_equal(command(broker, "HGET %meta done"), "2");
    reeve__broker_close(broker);
}

static void stale_copies_are_passed_over(void **state) {
    (void)state;
    reeve__broker *broker = open_fresh();
    claims got;
    const char *const ids[] = { "z", "a", "b", "c", "d" };
    for (size_t i = 0; i < 5; i++) {
        put(broker, ids[i]);
    }
    int32_t pending = REEVE_STATE_PENDING;
    assert_int_equal(act(broker, "b", REEVE_ACTION_DELETE, pending), 0);
    assert_int_equal(act(broker, "b", REEVE_ACTION_DELETE, pending),
                     REEVE_E_NOT_FOUND);
    assert_int_equal(act(broker, "a", REEVE_ACTION_ARCHIVE, pending), 0);
    assert_string_equal(command(broker, "LLEN %pending"), "5");
    assert_string_equal(command(broker, "HGET %meta dead"), "2");
    put(broker, "b");
    assert_int_equal(act(broker, "a", REEVE_ACTION_RUN, REEVE_STATE_ARCHIVED),
                     0);
    assert_int_equal(act(broker, "b", REEVE_ACTION_DELETE, pending), 0);
    put(broker, "b");
    claim(broker, &got, 3);
    assert_string_equal(got.ids, "z c d");
    claim(broker, &got, 9);
    assert_string_equal(got.ids, "a b");
    assert_string_equal(command(broker, "HGET %meta dead"), "0");
    assert_string_equal(command(broker, "EXISTS %dead %pending"), "0");
    reeve__broker_close(broker);
}

/* So a bulk action that goes from the front leaves none behind. */
static void the_first_of_the_list_leaves_no_stale_copy(void **state) {
    (void)state;
    reeve__broker *broker = open_fresh();
    int32_t pending = REEVE_STATE_PENDING;
    put(broker, "a");
    put(broker, "b");
    put(broker, "c");
    assert_int_equal(act(broker, "b", REEVE_ACTION_DELETE, pending), 0);
    put(broker, "b");
    assert_int_equal(act(broker, "a", REEVE_ACTION_DELETE, pending), 0);
    assert_string_equal(command(broker, "LLEN %pending"), "3");
    /* Here the first is a stale copy of it. */
    assert_int_equal(act(broker, "b", REEVE_ACTION_DELETE, pending), 0);
    assert_string_equal(command(broker, "LLEN %pending"), "3");
    assert_string_equal(command(broker, "HGET %meta dead"), "2");
    claims got;
    claim(broker, &got, 9);
    assert_string_equal(got.ids, "c");
    assert_string_equal(command(broker, "EXISTS %dead %pending"), "0");
    reeve__broker_close(broker);
}

/* An active task whose lease vanished is found by the sweep. */
static void a_lost_lease_is_repaired(void **state) {
    (void)state;
    reeve__broker *broker = open_fresh();
    claims got;
    reeve_error err;
    size_t removed;
    int64_t next_at_ms;
    put(broker, "a");
    claim(broker, &got, 1);
    command(broker, "DEL %leases");
    char words[64];
    snprintf(words, sizeof(words), "HDEL %%active ~%lld",
             (long long)got.settles[0].token);
    assert_string_equal(command(broker, words), "1");
    check(
        broker->ops->sweep(broker, reeve_bytes_of("mail"), 10, &removed, &err),
        &err);
    memset(&got, 0, sizeof(got));
    check(broker->ops->reclaim(broker, reeve_bytes_of("mail"),
                               reeve_bytes_of(""), 10, on_claim, &got,
                               &next_at_ms, &err),
          &err);
    assert_string_equal(got.ids, "a");
    claims none;
    check(turn(broker, &none, got.settles, 1, 0, &err), &err);
    assert_int_equal(got.settles[0].code, 0);
    reeve__broker_close(broker);
}

/* A script that meets a key of another type changes nothing. */
static void scripts_validate_before_they_write(void **state) {
    (void)state;
    reeve__broker *broker = open_fresh();
    reeve__enqueue_item item = item_of("a");
    reeve_error err;
    command(broker, "SET %pending x");
    assert_int_equal(broker->ops->enqueue(broker, &item, 1, &err),
                     REEVE_E_SERVER);
    assert_non_null(strstr(err.message, "WRONGTYPE"));
    item.priority = 3;
    assert_int_equal(broker->ops->enqueue(broker, &item, 1, &err),
                     REEVE_E_SERVER);
    assert_string_equal(command(broker, "EXISTS %tasks %ranked %meta"), "0");
    reeve__broker_close(broker);
}

static void a_body_that_is_missing_is_delivered_empty(void **state) {
    (void)state;
    reeve__broker *broker = open_fresh();
    claims got, none;
    reeve_error err;
    put(broker, "a");
    command(broker, "HDEL %tasks a");
    claim(broker, &got, 1);
    assert_string_equal(got.ids, "a");
    check(turn(broker, &none, got.settles, 1, 0, &err), &err);
    assert_int_equal(got.settles[0].code, 0);
    reeve__broker_close(broker);
}

/* ---- scripts and replies that are lost ----------------------------------- */

static void lost_scripts_come_back(void **state) {
    (void)state;
    reeve__broker *broker = open_fresh();
    claims got;
    for (int i = 0; i < 3; i++) {
        char id[8];
        snprintf(id, sizeof(id), "t%d", i);
        command(broker, "SCRIPT FLUSH");
        put(broker, id);
        command(broker, "SCRIPT FLUSH");
        claim(broker, &got, 1);
        assert_string_equal(got.ids, id);
    }
    assert_int_equal(broker->reconnects, 0);
    reeve__broker_close(broker);
}

/* A broker whose answers go through a proxy. */
static reeve__broker *open_proxied(redis_proxy **proxy, char path[128]) {
    snprintf(path, 128, "%s/p%d", server.dir, prefix_serial);
    *proxy = redis_proxy_start(path, server.socket);
    return open_socket(path, fresh_prefix());
}

static void an_enqueue_survives_its_lost_reply(void **state) {
    (void)state;
    redis_proxy *proxy;
    char path[128];
    reeve__broker *broker = open_proxied(&proxy, path);
    reeve__enqueue_item items[3] = { item_of("a"), item_of("b"), item_of("c") };
    reeve_error err;
    items[1].idempotency_key = reeve_bytes_of("key");
    items[1].idempotency_ttl_ms = LONG_MS;
    items[2].delay_ms = LONG_MS;
    redis_proxy_swallow(proxy);
    check(broker->ops->enqueue(broker, items, 3, &err), &err);
    assert_int_equal(redis_proxy_swallowed(proxy), 1);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(items[i].code, 0);
        assert_false(items[i].existing);
        assert_memory_equal(items[i].out_id, items[i].id.data, 2);
    }
    assert_int_equal(items[2].state, REEVE_STATE_SCHEDULED);
    claims got;
    claim(broker, &got, 9);
    assert_string_equal(got.ids, "a b");
    reeve__broker_close(broker);
    redis_proxy_stop(proxy);
}

/* Tasks with ids of their own, as producers draw them. */
static void fresh_ids_survive_their_lost_reply(void **state) {
    (void)state;
    redis_proxy *proxy;
    char path[128];
    reeve__broker *broker = open_proxied(&proxy, path);
    reeve__enqueue_item items[2] = { item_of("a"), item_of("b") };
    claims got;
    reeve_error err;
    items[0].fresh = items[1].fresh = true;
    redis_proxy_swallow(proxy);
    check(broker->ops->enqueue(broker, items, 2, &err), &err);
    assert_int_equal(redis_proxy_swallowed(proxy), 1);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(items[i].code, 0);
        assert_int_equal(items[i].state, REEVE_STATE_PENDING);
        assert_memory_equal(items[i].out_id, items[i].id.data, 2);
    }
    claim(broker, &got, 9);
    assert_string_equal(got.ids, "a b");
    claim(broker, &got, 9);
    assert_int_equal(got.count, 0);
    reeve__broker_close(broker);
    redis_proxy_stop(proxy);
}

/* However many tasks come, the bell holds one ring, and wakes who waits. */
static void fresh_ids_ring_once(void **state) {
    (void)state;
    reeve__broker *broker = open_fresh();
    reeve__enqueue_item items[3] = { item_of("a"), item_of("b"), item_of("c") };
    const reeve_bytes mail = reeve_bytes_of("mail");
    ptrdiff_t rung = -1;
    claims got;
    reeve_error err;
    for (size_t i = 0; i < 3; i++) {
        items[i].fresh = true;
        check(broker->ops->enqueue(broker, &items[i], 1, &err), &err);
    }
    assert_string_equal(command(broker, "LLEN %bell"), "1");
    check(broker->ops->wait(broker, &mail, 1, -1, INT64_MAX, &rung, &err),
          &err);
    assert_int_equal(rung, 0);
    assert_string_equal(command(broker, "LLEN %bell"), "0");
    claim(broker, &got, 9);
    assert_string_equal(got.ids, "a b c");
    reeve__broker_close(broker);
}

static void a_lost_claim_is_told_and_found(void **state) {
    (void)state;
    redis_proxy *proxy;
    char path[128];
    reeve__broker *broker = open_proxied(&proxy, path);
    reeve_error err;
    claims got, lost;
    int64_t next_at_ms;
    put(broker, "a");
    put(broker, "b");
    put(broker, "c");
    claim(broker, &got, 1);
    redis_proxy_swallow(proxy);
    reeve__settle *settle = &got.settles[0];
    settle->last_of_token = true;
    assert_int_equal(turn(broker, &lost, settle, 1, 2, &err), REEVE_E_NET);
    assert_int_equal(lost.count, 0);
    /* The settle had happened: saying so again is not a lost lease. */
    settle->resent = true;
    check(turn(broker, &lost, settle, 1, 9, &err), &err);
    assert_int_equal(settle->code, 0);
    settle->resent = false;
    assert_int_equal(lost.count, 0);
    check(broker->ops->reclaim(broker, reeve_bytes_of("mail"),
                               reeve_bytes_of("w1"), 9, on_claim, &lost,
                               &next_at_ms, &err),
          &err);
    assert_string_equal(lost.ids, "b c");
    assert_string_equal(command(broker, "HGET %meta done"), "1");
    /* A second time it is a stale lease like any other. */
    check(turn(broker, &lost, settle, 1, 0, &err), &err);
    assert_int_equal(settle->code, REEVE_E_LEASE_LOST);
    assert_int_equal(broker->reconnects, 1);
    reeve__broker_close(broker);
    redis_proxy_stop(proxy);
}

static void a_settle_survives_its_lost_reply(void **state) {
    (void)state;
    static const int32_t states[] = {
        REEVE_STATE_NONE,  REEVE_STATE_SCHEDULED, REEVE_STATE_PENDING,
        REEVE_STATE_RETRY, REEVE_STATE_COMPLETED, REEVE_STATE_ARCHIVED,
    };
    redis_proxy *proxy;
    char path[128];
    reeve__broker *broker = open_proxied(&proxy, path);
    reeve_error err;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        char id[8];
        claims got, none;
        snprintf(id, sizeof(id), "t%zu", i);
        command(broker, "DEL %pending");
        put(broker, id);
        claim(broker, &got, 1);
        got.settles[0].to_state = states[i];
        got.settles[0].delay_ms = LONG_MS;
        got.settles[0].retention_ms = LONG_MS;
        redis_proxy_swallow(proxy);
        check(turn(broker, &none, got.settles, 1, 0, &err), &err);
        assert_int_equal(got.settles[0].code, 0);
        assert_int_equal(redis_proxy_swallowed(proxy), (int)i + 1);
    }
    assert_string_equal(command(broker, "HGET %meta done"), "6");
    reeve__broker_close(broker);
    redis_proxy_stop(proxy);
}

/* ---- what a server must be ----------------------------------------------- */

static void refused(const redis_server *at, const char *user,
                    const char *options, int32_t code, const char *message) {
    char url[256];
    reeve__broker *broker = NULL;
    reeve_error err = { 0, "" };
    snprintf(url, sizeof(url), "redis://%s127.0.0.1:%d%s", user, at->port,
             options);
    reeve_rc rc = open_at(&broker, url, NULL, 3000, &err);
    reeve__broker_close(broker);
    if (rc != code || !strstr(err.message, message)) {
        fail_msg("%s: %d %s", url, rc, err.message);
    }
    assert_null(strstr(err.message, "wrong-secret"));
}

static void an_evicting_server_is_refused(void **state) {
    (void)state;
    static const char *const args[] = { "--maxmemory", "100mb",
                                        "--maxmemory-policy", "allkeys-lru",
                                        NULL };
    redis_server evicting;
    redis_server_start(&evicting, args);
    refused(&evicting, "", "", REEVE_E_UNSAFE, "allkeys-lru");
    refused(&evicting, "", "?allow_eviction=yes", 0, "");
    redis_server_stop(&evicting);
}

static void a_replica_is_refused(void **state) {
    (void)state;
    char port[16];
    snprintf(port, sizeof(port), "%d", server.port);
    const char *const args[] = { "--replicaof", "127.0.0.1", port, NULL };
    redis_server replica;
    redis_server_start(&replica, args);
    refused(&replica, "", "", REEVE_E_UNSAFE, "replica");
    redis_server_stop(&replica);
}

static void wrong_words_are_told_plainly(void **state) {
    (void)state;
    static const char *const args[] = { "--requirepass", "secret", NULL };
    redis_server guarded;
    redis_server_start(&guarded, args);
    refused(&guarded, ":secret@", "", 0, "");
    refused(&guarded, ":wrong-secret@", "", REEVE_E_AUTH,
            "refused the password");
    refused(&guarded, "who:wrong-secret@", "", REEVE_E_AUTH, "user");
    refused(&guarded, "", "", REEVE_E_AUTH, "NOAUTH");
    refused(&guarded, ":secret@", "/99", REEVE_E_INVALID, "no database 99");
    redis_server_stop(&guarded);
}

static void a_user_without_info_may_work(void **state) {
    (void)state;
    static const char *const args[] = { "--user",  "worker", "on",
                                        ">secret", "~*",     "&*",
                                        "+@all",   "-info",  NULL };
    redis_server guarded;
    redis_server_start(&guarded, args);
    refused(&guarded, "worker:secret@", "", 0, "");
    redis_server_stop(&guarded);
}

static void nobody_there_is_told(void **state) {
    (void)state;
    redis_server gone = server;
    gone.port = 1;
    refused(&gone, "", "", REEVE_E_NET, "127.0.0.1:1");
}

/* ---- a server that is killed under load ---------------------------------- */

typedef struct crasher {
    redis_server server;
    atomic_int batches; /* acknowledged */
    atomic_bool done;
} crasher;

/* Kills the server whenever another part of the work is done. */
static void *crash(void *arg) {
    crasher *of = arg;
    for (int i = 1; i <= CRASHES; i++) {
        int at = i * CRASH_BATCHES / (CRASHES + 1);
        while (atomic_load(&of->batches) < at && !atomic_load(&of->done)) {
            poll(NULL, 0, 1);
        }
        redis_server_kill(&of->server);
        redis_server_again(&of->server);
    }
    return NULL;
}

/* Once more with the same ids and keys while the outcome is unknown. */
static void put_batch(reeve__broker *broker, int batch) {
    char ids[CRASH_BATCH][24];
    reeve__enqueue_item items[CRASH_BATCH];
    reeve_error err;
    for (int i = 0; i < CRASH_BATCH; i++) {
        snprintf(ids[i], sizeof(ids[i]), "t%d", batch * CRASH_BATCH + i);
        items[i] = item_of(ids[i]);
        items[i].idempotency_key = reeve_bytes_of(ids[i]);
        items[i].idempotency_ttl_ms = LONG_MS;
    }
    reeve_rc rc;
    do {
        rc = broker->ops->enqueue(broker, items, CRASH_BATCH, &err);
        for (int i = 0; i < CRASH_BATCH; i++) {
            items[i].resent = true;
        }
    } while (reeve_code_class(rc) == REEVE_CLASS_RETRY);
    check(rc, &err);
    for (int i = 0; i < CRASH_BATCH; i++) {
        assert_int_equal(items[i].code, 0);
        assert_string_equal(items[i].out_id, ids[i]);
    }
}

static void a_killed_server_loses_and_doubles_nothing(void **state) {
    (void)state;
    static const char *const args[] = { "--appendonly", "yes", "--appendfsync",
                                        "always", NULL };
    static crasher of;
    static unsigned char seen[CRASH_BATCHES * CRASH_BATCH];
    redis_server_start(&of.server, args);
    reeve__broker *broker = open_socket(of.server.socket, "crash");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, crash, &of), 0);
    for (int i = 0; i < CRASH_BATCHES; i++) {
        put_batch(broker, i);
        atomic_store(&of.batches, i + 1);
    }
    atomic_store(&of.done, true);
    pthread_join(thread, NULL);
    redis_server_wait(&of.server);
    claims got;
    reeve_error err;
    size_t total = 0;
    reeve_rc rc;
    do {
        rc = turn(broker, &got, NULL, 0, 64, &err);
        for (size_t i = 0; i < got.count; i++) {
            int number = atoi(got.names[i] + 1);
            assert_int_equal(seen[number], 0);
            seen[number] = 1;
            total++;
        }
    } while (got.count > 0 || rc == REEVE_E_NET);
    assert_int_equal(total, CRASH_BATCHES * CRASH_BATCH);
    assert_true(broker->reconnects >= 1);
    reeve__broker_close(broker);
    redis_server_stop(&of.server);
}

static int start(void **state) {
    (void)state;
    redis_server_start(&server, NULL);
    return 0;
}

static int stop(void **state) {
    (void)state;
    redis_server_stop(&server);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(active_and_leases_are_no_lists),
        cmocka_unit_test(nothing_is_left_of_what_is_done),
        cmocka_unit_test(stale_copies_are_passed_over),
        cmocka_unit_test(the_first_of_the_list_leaves_no_stale_copy),
        cmocka_unit_test(a_lost_lease_is_repaired),
        cmocka_unit_test(scripts_validate_before_they_write),
        cmocka_unit_test(a_body_that_is_missing_is_delivered_empty),
        cmocka_unit_test(lost_scripts_come_back),
        cmocka_unit_test(an_enqueue_survives_its_lost_reply),
        cmocka_unit_test(fresh_ids_survive_their_lost_reply),
        cmocka_unit_test(fresh_ids_ring_once),
        cmocka_unit_test(a_lost_claim_is_told_and_found),
        cmocka_unit_test(a_settle_survives_its_lost_reply),
        cmocka_unit_test(an_evicting_server_is_refused),
        cmocka_unit_test(a_replica_is_refused),
        cmocka_unit_test(wrong_words_are_told_plainly),
        cmocka_unit_test(a_user_without_info_may_work),
        cmocka_unit_test(nobody_there_is_told),
        cmocka_unit_test(a_killed_server_loses_and_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
