/*
 * Stores that somebody else has damaged, and servers that are full: what a
 * script refuses it must leave as it was, and one queue's damage is its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <reeve.h>

#include "broker/redis/redis.h"
#include "support/redis_server.h"

#define LONG_MS 3600000

static redis_server server;
static int prefix_serial;
static reeve__broker *broker;

static void check(reeve_rc rc, const reeve_error *err) {
    if (rc < 0) {
        fail_msg("%d %s", err->code, err->message);
    }
}

static int open_fresh(void **state) {
    (void)state;
    char url[160], prefix[32];
    reeve_error err;
    snprintf(url, sizeof(url), "redis+unix://%s", server.socket);
    snprintf(prefix, sizeof(prefix), "d%d", ++prefix_serial);
    reeve__broker_options options = { .url = url, .prefix = prefix };
    check(reeve__broker_open(&broker, NULL, &options, &err), &err);
    return 0;
}

static int close_it(void **state) {
    (void)state;
    reeve__broker_close(broker);
    return 0;
}

/* A plain command; "%" at the start of a word stands for "prefix:{mail}:". */
static int64_t command(const char *words) {
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
        char key[512];
        bool ours = list[i][0] == '%';
        snprintf(key, sizeof(key), "%s:{mail}:%s", redis->prefix, list[i] + 1);
        reeve__cmd_text(&engine->out, ours ? key : list[i]);
    }
    check(reeve__link_drive(&redis->main, &call.op, reeve__redis_by_ns(redis),
                            -1, &err),
          &err);
    check(reeve__op_result(&call.op, &err), &err);
    int64_t value = call.reply->integer;
    reeve__call_dispose(&call);
    return value;
}

/* The same with a token at its end. */
static int64_t command_of(const char *start, int64_t token) {
    char words[128];
    snprintf(words, sizeof(words), "%s%lld", start, (long long)token);
    return command(words);
}

static reeve__enqueue_item item_of(const char *queue, const char *id,
                                   int32_t priority) {
    return (reeve__enqueue_item){
        .queue = reeve_bytes_of(queue),
        .id = reeve_bytes_of(id),
        .envelope = reeve_bytes_of("{\"v\":1,\"type\":\"t\"}\nbody"),
        .priority = priority,
    };
}

static void put(const char *queue, const char *id, int32_t priority) {
    reeve__enqueue_item item = item_of(queue, id, priority);
    reeve_error err;
    check(broker->ops->enqueue(broker, &item, 1, &err), &err);
    assert_int_equal(item.code, 0);
}

/* Claimed ids, joined by spaces, and the last one's settle. */
typedef struct claims {
    char ids[1024];
    char last[512];
    reeve__settle settle;
    bool answered[2];
} claims;

static reeve_rc on_row(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)err;
    claims *to = ctx;
    size_t size = strlen(to->ids);
    snprintf(to->ids + size, sizeof(to->ids) - size, "%s%.*s", size ? " " : "",
             (int)row->id.size, row->id.data);
    snprintf(to->last, sizeof(to->last), "%.*s", (int)row->id.size,
             row->id.data);
    to->settle = (reeve__settle){ .id = reeve_bytes_of(to->last),
                                  .token = row->token,
                                  .done = true };
    return REEVE_OK;
}

static reeve_rc turn(claims *out, const char *const *queues, size_t count,
                     size_t max, reeve_error *err) {
    reeve__turn turns[2];
    for (size_t i = 0; i < count; i++) {
        turns[i] = (reeve__turn){ .queue = reeve_bytes_of(queues[i]),
                                  .claim_max = max,
                                  .lease_ms = LONG_MS };
    }
    memset(out, 0, sizeof(*out));
    reeve_rc rc = broker->ops->turn(broker, turns, count, reeve_bytes_of("w1"),
                                    on_row, out, err);
    for (size_t i = 0; i < count; i++) {
        out->answered[i] = turns[i].answered;
    }
    return rc;
}

static reeve_rc claim(claims *out, size_t max, reeve_error *err) {
    static const char *const mail[] = { "mail" };
    return turn(out, mail, 1, max, err);
}

static void settle(claims *got, int32_t code) {
    reeve_error err;
    reeve__turn one = { .queue = reeve_bytes_of("mail"),
                        .settles = &got->settle,
                        .settle_count = 1 };
    check(broker->ops->turn(broker, &one, 1, reeve_bytes_of("w1"), on_row, NULL,
                            &err),
          &err);
    assert_int_equal(got->settle.code, code);
}

static size_t reclaim(claims *got) {
    int64_t next_at_ms;
    reeve_error err;
    memset(got, 0, sizeof(*got));
    check(broker->ops->reclaim(broker, reeve_bytes_of("mail"),
                               reeve_bytes_of(""), 9, on_row, got, &next_at_ms,
                               &err),
          &err);
    return strlen(got->ids);
}

/* ---- damage -------------------------------------------------------------- */

/* Plants something, sees the claim refused, takes it away. */
static void refuse_and_keep(const char *id, const char *plant,
                            const char *remove) {
    put("mail", id, 5);
    claims got;
    reeve_error err;
    int64_t active = command("HLEN %active");
    command(plant);
    assert_int_equal(claim(&got, 9, &err), REEVE_E_SERVER);
    assert_string_equal(got.ids, "");
    command(remove);
    assert_int_equal(command("HLEN %active"), active);
    check(claim(&got, 9, &err), &err);
    assert_string_equal(got.ids, id);
}

static void a_refused_claim_gives_tasks_back(void **state) {
    static const char *const keys[] = { "active",    "leases", "dead",
                                        "scheduled", "retry",  "pending" };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        for (int mixed = 0; mixed < 2; mixed++) {
            char plant[64], remove[64];
            claims got;
            reeve_error err;
            bool list = strcmp(keys[i], "pending") == 0;
            if ((!mixed && strcmp(keys[i], "dead") == 0) || (list && !mixed)) {
                continue; /* not looked at, or lost with the key */
            }
            if (!list) {
                put("mail", "a", 5);
                put("mail", "b", 5);
            }
            if (mixed) {
                put("mail", "first", 9);
                put("mail", "last", 1);
            }
            snprintf(plant, sizeof(plant), "SET %%%s x", keys[i]);
            snprintf(remove, sizeof(remove), "DEL %%%s", keys[i]);
            command(plant);
            assert_int_equal(claim(&got, 9, &err), REEVE_E_SERVER);
            assert_string_equal(got.ids, "");
            command(remove);
            check(claim(&got, 9, &err), &err);
            assert_string_equal(got.ids, list    ? "first last"
                                         : mixed ? "first a b last"
                                                 : "a b");
            close_it(state);
            open_fresh(state);
        }
    }
}

/* Who leaves work behind rings for it, and cannot; an empty queue's bell is
 * taken down, whatever it is. */
static void a_damaged_bell_keeps_nothing_back(void **state) {
    (void)state;
    claims got;
    reeve_error err;
    put("mail", "a", 5);
    put("mail", "b", 5);
    put("mail", "c", 5);
    command("SET %bell x");
    assert_int_equal(claim(&got, 2, &err), REEVE_E_SERVER);
    assert_int_equal(command("HLEN %active"), 0);
    check(claim(&got, 9, &err), &err);
    assert_string_equal(got.ids, "a b c");
    assert_int_equal(command("EXISTS %bell"), 0);
}

/* The list refuses the ids: their bodies do not stay. */
static void a_refused_enqueue_leaves_no_bodies(void **state) {
    (void)state;
    reeve__enqueue_item items[2] = { item_of("mail", "a", 5),
                                     item_of("mail", "b", 5) };
    reeve_error err;
    command("SET %pending x");
    assert_int_equal(broker->ops->enqueue(broker, items, 1, &err),
                     REEVE_E_SERVER);
    assert_int_equal(broker->ops->enqueue(broker, items, 2, &err),
                     REEVE_E_SERVER);
    assert_int_equal(command("EXISTS %tasks %bell"), 0);
}

/* Without a look first: what one key of another type lets through goes. */
/* Another queue's items of the same call are stored, and said to be. */
static void a_refused_queue_refuses_its_own_items(void **state) {
    (void)state;
    reeve_error err;
    command("SET %pending x");
    reeve__enqueue_item items[] = { item_of("mail", "a", 5),
                                    item_of("post", "b", 5),
                                    item_of("mail", "c", 7),
                                    item_of("post", "d", 7) };
    items[0].fresh = items[1].fresh = true;
    assert_int_equal(broker->ops->enqueue(broker, items, 4, &err),
                     REEVE_E_SERVER);
    assert_false(items[0].answered);
    assert_true(items[1].answered && items[1].code == 0);
    assert_false(items[2].answered);
    assert_true(items[3].answered && items[3].code == 0);
    command("DEL %pending");
    static const char *const post[] = { "post" };
    claims got;
    check(turn(&got, post, 1, 9, &err), &err);
    assert_string_equal(got.ids, "d b");
}

#define CALLERS 8
#define CALLS 50

typedef struct caller {
    pthread_t thread;
    reeve_client *client;
    const char *queue;
    int stored;
    int refused;
} caller;

static void *call_many(void *arg) {
    caller *self = arg;
    for (int i = 0; i < CALLS; i++) {
        reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
        args.type = reeve_bytes_of("t");
        args.queue = reeve_bytes_of(self->queue);
        reeve_error err;
        reeve_rc rc = reeve_client_enqueue(NULL, self->client, &args, &err);
        self->stored += rc == 0;
        self->refused += rc == REEVE_E_SERVER;
    }
    return NULL;
}

/* Callers whose calls go out together get each their own queue's answer. */
static void a_refused_queue_fails_its_own_callers(void **state) {
    (void)state;
    char url[160];
    reeve_error err;
    caller callers[CALLERS] = { 0 };
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    reeve_client *client = NULL;
    snprintf(url, sizeof(url), "redis+unix://%s", server.socket);
    options.url = url;
    options.prefix = ((reeve__redis *)broker)->prefix;
    check(reeve_client_open(&client, NULL, &options, &err), &err);
    command("SET %pending x");
    for (int i = 0; i < CALLERS; i++) {
        callers[i].client = client;
        callers[i].queue = i % 2 ? "mail" : "post";
        pthread_create(&callers[i].thread, NULL, call_many, &callers[i]);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].refused, i % 2 ? CALLS : 0);
        assert_int_equal(callers[i].stored, i % 2 ? 0 : CALLS);
    }
    reeve_client_close(client);
    command("DEL %pending");
}

/* The tasks are there; so is the next call's attempt to list them. */
static void a_directory_that_refuses_loses_no_task(void **state) {
    (void)state;
    char words[64];
    const char *prefix = ((reeve__redis *)broker)->prefix;
    snprintf(words, sizeof(words), "SET %s:queues x", prefix);
    command(words);
    put("mail", "a", 5);
    put("post", "b", 5);
    claims got;
    reeve_error err;
    check(claim(&got, 9, &err), &err);
    assert_string_equal(got.ids, "a");
}

static void a_refused_transaction_is_taken_back(void **state) {
    static const char *const keys[] = { "tasks", "pending", "bell" };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        reeve__enqueue_item items[2] = { item_of("mail", "a", 5),
                                         item_of("mail", "b", 5) };
        char words[64];
        claims got;
        reeve_error err;
        items[0].fresh = items[1].fresh = true;
        put("mail", "old", 5);
        command("RENAME %pending %kept");
        snprintf(words, sizeof(words), "SET %%%s x", keys[i]);
        command("RENAME %tasks %bodies");
        command(words);
        command("SCRIPT FLUSH");
        for (size_t count = 1; count <= 2; count++) {
            assert_int_equal(broker->ops->enqueue(broker, items, count, &err),
                             REEVE_E_SERVER);
            assert_non_null(strstr(err.message, "enqueue at"));
            assert_non_null(strstr(err.message, "WRONGTYPE"));
        }
        snprintf(words, sizeof(words), "DEL %%%s", keys[i]);
        command(words);
        assert_int_equal(command("EXISTS %tasks %pending"), 0);
        command("RENAME %kept %pending");
        command("RENAME %bodies %tasks");
        check(broker->ops->enqueue(broker, items, 2, &err), &err);
        check(claim(&got, 9, &err), &err);
        assert_string_equal(got.ids, "old a b");
        close_it(state);
        open_fresh(state);
    }
}

/* Who may not say MULTI: each command stood alone, and is taken back. */
static void without_transactions_nothing_stays(void **state) {
    (void)state;
    reeve__enqueue_item item = item_of("mail", "a", 5);
    reeve_error err;
    item.fresh = true;
    put("mail", "b", 5);
    command("ACL SETUSER default -multi");
    reeve_rc rc = broker->ops->enqueue(broker, &item, 1, &err);
    command("ACL SETUSER default +multi");
    assert_int_equal(rc, REEVE_E_AUTH);
    assert_non_null(strstr(err.message, "NOPERM"));
    assert_int_equal(command("HEXISTS %tasks a"), 0);
    assert_int_equal(command("LLEN %pending"), 1);
    assert_int_equal(command("HEXISTS %tasks b"), 1);
}

/* Of two tasks of one name the first is stored, in its place. */
static void a_name_used_twice_is_taken_once(void **state) {
    (void)state;
    reeve__enqueue_item items[4] = { item_of("mail", "a", 5),
                                     item_of("mail", "b", 5),
                                     item_of("mail", "a", 5),
                                     item_of("mail", "c", 5) };
    claims got;
    reeve_error err;
    items[2].envelope = reeve_bytes_of("{}\nlonger than the other one");
    check(broker->ops->enqueue(broker, items, 4, &err), &err);
    assert_int_equal(items[0].code, 0);
    assert_int_equal(items[2].code, REEVE_E_EXISTS);
    assert_int_equal(items[3].code, 0);
    assert_int_equal(command("HSTRLEN %tasks a"),
                     (int64_t)items[0].envelope.size);
    check(claim(&got, 9, &err), &err);
    assert_string_equal(got.ids, "a b c");
}

/* What a claim leaves beside its tasks goes when it has no lease any more. */
static void a_claim_without_a_lease_is_swept(void **state) {
    (void)state;
    claims got;
    size_t removed;
    reeve_error err;
    put("mail", "a", 5);
    check(claim(&got, 1, &err), &err);
    settle(&got, 0);
    command_of("ZREM %leases ", got.settle.token);
    assert_int_equal(command_of("HEXISTS %active ~", got.settle.token), 1);
    check(broker->ops->sweep(broker, reeve_bytes_of("mail"), 9, &removed, &err),
          &err);
    assert_int_equal(reclaim(&got), 0);
    assert_int_equal(command("HLEN %active"), 1);
    assert_int_equal(command("ZCARD %leases"), 1);
}

/* So stood what was under way when claims had a key of their own. */
static void a_lease_without_its_claim_gives_its_tasks_back(void **state) {
    (void)state;
    claims got;
    size_t removed;
    reeve_error err;
    put("mail", "a", 5);
    check(claim(&got, 1, &err), &err);
    command_of("HDEL %active ~", got.settle.token);
    settle(&got, 0);
    put("mail", "b", 5);
    check(claim(&got, 1, &err), &err);
    command_of("HDEL %active ~", got.settle.token);
    command_of("ZADD %leases 1 ", got.settle.token);
    assert_int_equal(reclaim(&got), 0);
    check(broker->ops->sweep(broker, reeve_bytes_of("mail"), 9, &removed, &err),
          &err);
    assert_int_equal(reclaim(&got), 1);
    assert_string_equal(got.ids, "b");
    settle(&got, 0);
}

/* A claim that fails half-way through the list gives each task back once. */
static void a_damaged_copy_doubles_nothing(void **state) {
    (void)state;
    claims got;
    reeve_error err;
    put("mail", "a", 5);
    put("mail", "b", 5);
    put("mail", "c", 5);
    command("HSET %meta dead 1");
    command("HSET %dead b x");
    assert_int_equal(claim(&got, 9, &err), REEVE_E_SERVER);
    assert_int_equal(command("LLEN %pending"), 3);
    command("DEL %dead");
    command("HDEL %meta dead");
    check(claim(&got, 9, &err), &err);
    assert_string_equal(got.ids, "a b c");
}

/* What is finished is stored, whatever the next claim would meet. */
static void a_lost_token_does_not_keep_ends_from_being_stored(void **state) {
    (void)state;
    claims got;
    reeve_error err;
    put("mail", "a", 5);
    check(claim(&got, 1, &err), &err);
    command("HSET %meta token x");
    settle(&got, 0);
    assert_int_equal(command("HEXISTS %tasks a"), 0);
}

static void counters_that_are_no_numbers_lose_nothing(void **state) {
    (void)state;
    refuse_and_keep("a", "HSET %meta token x", "HDEL %meta token");
    refuse_and_keep("b", "HSET %meta dead x", "HDEL %meta dead");
    refuse_and_keep("c", "HSET %meta token 9007199254740991",
                    "HDEL %meta token");
}

/* Lua writes 1e14 as "1e+14" unless told otherwise. */
static void high_tokens_fence(void **state) {
    (void)state;
    claims got, next;
    reeve_error err;
    put("mail", "a", 5);
    put("mail", "b", 5);
    command("HSET %meta token 123456789012345678");
    assert_int_equal(claim(&got, 1, &err), REEVE_E_SERVER);
    command("HSET %meta token 99999999999999 done x");
    check(claim(&got, 1, &err), &err);
    assert_true(got.settle.token == INT64_C(100000000000000));
    check(claim(&next, 1, &err), &err);
    assert_true(next.settle.token == INT64_C(100000000000001));
    got.settle.token++;
    settle(&got, REEVE_E_LEASE_LOST);
    got.settle.token--;
    settle(&got, 0);
    settle(&next, 0);
}

static void a_damaged_queue_leaves_others_alone(void **state) {
    (void)state;
    static const char *const queues[] = { "mail", "sound" };
    claims got;
    reeve_error err;
    put("sound", "a", 5);
    put("mail", "b", 5);
    command("SET %meta x");
    assert_int_equal(turn(&got, queues, 2, 9, &err), REEVE_E_SERVER);
    assert_string_equal(got.ids, "a");
    assert_false(got.answered[0]);
    assert_true(got.answered[1]);
}

static reeve_rc list_queue(void *ctx, const reeve_queue_info *info,
                           reeve_error *err) {
    char *text = ctx;
    (void)err;
    size_t size = strlen(text);
    snprintf(text + size, 256 - size, "%.*s %lld %s, ", (int)info->name.size,
             info->name.data, (long long)info->pending,
             info->error.size ? "damaged" : "well");
    return REEVE_OK;
}

static void a_damaged_queue_hides_no_other(void **state) {
    (void)state;
    char text[256] = "";
    reeve_error err;
    put("sound", "a", 5);
    put("mail", "b", 5);
    command("SET %meta x");
    check(broker->ops->queues(broker, list_queue, text, &err), &err);
    assert_string_equal(text, "mail 0 damaged, sound 1 well, ");
}

/* What a dead worker had elsewhere is handed back; the damage is told. */
static void a_damaged_queue_keeps_no_other_from_takeover(void **state) {
    (void)state;
    static const char *const queues[] = { "mail", "sound" };
    reeve__redis *redis = (reeve__redis *)broker;
    claims got;
    reeve_error err;
    put("sound", "a", 5);
    put("mail", "b", 5);
    check(turn(&got, queues, 2, 9, &err), &err);
    command("SET %meta x");
    char url[160];
    snprintf(url, sizeof(url), "redis+unix://%s", server.socket);
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = url;
    options.prefix = redis->prefix;
    reeve_inspector *inspector = NULL;
    check(reeve_inspector_open(&inspector, NULL, &options, &err), &err);
    size_t count = 0;
    assert_int_equal(reeve_inspector_reclaim_worker(&count, inspector,
                                                    reeve_bytes_of("w1"), &err),
                     REEVE_E_SERVER);
    assert_int_equal(count, 1);
    assert_int_equal(reeve_inspector_reclaim_worker(NULL, inspector,
                                                    reeve_bytes_of("w1"), NULL),
                     REEVE_E_SERVER);
    reeve_inspector_close(inspector);
}

/* Bodies that cannot be read are not taken for debris. */
static void unreadable_bodies_are_not_delivered(void **state) {
    (void)state;
    claims got;
    reeve_error err;
    put("mail", "a", 5);
    command("RENAME %tasks %away");
    command("SET %tasks x");
    assert_int_equal(claim(&got, 9, &err), REEVE_E_SERVER);
    assert_string_equal(got.ids, "");
}

static void any_id_can_be_taken_out(void **state) {
    (void)state;
    char words[512];
    claims got;
    reeve_error err;
    snprintf(words, sizeof(words), "RPUSH %%pending %0300d", 7);
    command(words);
    check(claim(&got, 1, &err), &err);
    assert_int_equal(strlen(got.ids), 300);
    got.settle.last_of_token = true;
    settle(&got, 0);
    assert_int_equal(command("HLEN %active"), 1);
}

static void odd_due_times_stop_nobody(void **state) {
    (void)state;
    size_t moved;
    int64_t next_at_ms;
    claims got;
    reeve_error err;
    command("ZADD %scheduled -inf a 7.5 b inf c");
    command("ZADD %retry 58 d");
    check(broker->ops->promote(broker, reeve_bytes_of("mail"), 10, &moved,
                               &next_at_ms, &err),
          &err);
    assert_int_equal(moved, 3);
    assert_int_equal(next_at_ms, 0);
    check(claim(&got, 9, &err), &err);
    assert_string_equal(got.ids, "d b a");
}

static void a_batch_is_refused_as_a_whole(void **state) {
    (void)state;
    reeve__enqueue_item items[2] = { item_of("mail", "a", 3),
                                     item_of("mail", "b", 5) };
    reeve_error err;
    items[1].idempotency_key = reeve_bytes_of("k");
    items[1].idempotency_ttl_ms = LONG_MS;
    command("RPUSH %once:k x");
    assert_int_equal(broker->ops->enqueue(broker, items, 2, &err),
                     REEVE_E_SERVER);
    assert_int_equal(command("EXISTS %tasks %ranked %pending"), 0);
}

static void a_sweep_finds_its_place_again(void **state) {
    (void)state;
    size_t removed;
    reeve_error err;
    command("HSET %meta scan x");
    check(broker->ops->sweep(broker, reeve_bytes_of("mail"), 9, &removed, &err),
          &err);
    assert_int_equal(removed, 0);
}

/* Who empties the server must not hide the queues that come after. */
static void an_emptied_directory_is_filled_again(void **state) {
    (void)state;
    char words[64];
    reeve__redis *redis = (reeve__redis *)broker;
    put("mail", "a", 5);
    snprintf(words, sizeof(words), "SREM %s:queues mail", redis->prefix);
    assert_int_equal(command(words), 1);
    put("mail", "b", 5);
    assert_int_equal(command(words), 0);
    redis->known_until_ns = reeve__mono_ns(NULL);
    put("mail", "c", 5);
    assert_int_equal(command(words), 1);
}

static reeve_rc add_weight(void *ctx, reeve_bytes queue, int32_t weight,
                           reeve_error *err) {
    (void)queue;
    (void)err;
    *(int64_t *)ctx += weight;
    return 0;
}

static void weights_out_of_bounds_count_as_none(void **state) {
    (void)state;
    char words[96];
    int64_t sum = 0;
    reeve_error err;
    const reeve__redis *redis = (reeve__redis *)broker;
    snprintf(words, sizeof(words),
             "HSET %s:weights a 7 b 1001 c 0 d -5 e many f 1000",
             redis->prefix);
    assert_int_equal(command(words), 6);
    check(broker->ops->weights(broker, add_weight, &sum, &err), &err);
    assert_int_equal(sum, 1007);
}

/* ---- a full server ------------------------------------------------------- */

static void a_full_server_lets_work_drain(void **state) {
    (void)state;
    claims got;
    size_t moved;
    int64_t next_at_ms;
    reeve_error err;
    put("mail", "a", 5);
    check(claim(&got, 1, &err), &err);
    command("ZADD %retry 15 b");
    command("CONFIG SET maxmemory 1");
    reeve__enqueue_item item = item_of("mail", "c", 5);
    for (int fresh = 0; fresh < 2; fresh++) {
        item.fresh = fresh;
        assert_int_equal(broker->ops->enqueue(broker, &item, 1, &err),
                         REEVE_E_BUSY);
        assert_int_equal(command("HEXISTS %tasks c"), 0);
        assert_int_equal(command("LLEN %pending"), 0);
    }
    reeve__lease_ref ref = { .queue = reeve_bytes_of("mail"),
                             .id = got.settle.id,
                             .token = got.settle.token };
    check(broker->ops->extend(broker, &ref, 1, LONG_MS, &err), &err);
    assert_false(ref.lost);
    check(broker->ops->promote(broker, reeve_bytes_of("mail"), 10, &moved,
                               &next_at_ms, &err),
          &err);
    assert_int_equal(moved, 1);
    check(broker->ops->pause(broker, reeve_bytes_of("mail"), true, &err), &err);
    check(broker->ops->pause(broker, reeve_bytes_of("mail"), false, &err),
          &err);
    settle(&got, 0);
    check(claim(&got, 1, &err), &err);
    assert_string_equal(got.ids, "b");
    settle(&got, 0);
    command("CONFIG SET maxmemory 0");
}

static void a_read_only_server_is_told(void **state) {
    (void)state;
    claims got;
    reeve_error err;
    put("mail", "a", 5);
    command("REPLICAOF 127.0.0.1 1");
    reeve_rc rc = claim(&got, 1, &err);
    command("REPLICAOF NO ONE");
    assert_int_equal(rc, REEVE_E_UNSAFE);
    check(claim(&got, 1, &err), &err);
    assert_string_equal(got.ids, "a");
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

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fresh, close_it)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_refused_claim_gives_tasks_back),
        CASE(a_damaged_bell_keeps_nothing_back),
        CASE(a_refused_enqueue_leaves_no_bodies),
        CASE(a_refused_queue_refuses_its_own_items),
        CASE(a_refused_queue_fails_its_own_callers),
        CASE(a_directory_that_refuses_loses_no_task),
        CASE(a_refused_transaction_is_taken_back),
        CASE(without_transactions_nothing_stays),
        CASE(a_name_used_twice_is_taken_once),
        CASE(a_claim_without_a_lease_is_swept),
        CASE(a_lease_without_its_claim_gives_its_tasks_back),
        CASE(a_damaged_copy_doubles_nothing),
        CASE(a_lost_token_does_not_keep_ends_from_being_stored),
        CASE(counters_that_are_no_numbers_lose_nothing),
        CASE(high_tokens_fence),
        CASE(a_damaged_queue_leaves_others_alone),
        CASE(a_damaged_queue_hides_no_other),
        CASE(a_damaged_queue_keeps_no_other_from_takeover),
        CASE(unreadable_bodies_are_not_delivered),
        CASE(any_id_can_be_taken_out),
        CASE(odd_due_times_stop_nobody),
        CASE(a_batch_is_refused_as_a_whole),
        CASE(a_sweep_finds_its_place_again),
        CASE(an_emptied_directory_is_filled_again),
        CASE(weights_out_of_bounds_count_as_none),
        CASE(a_full_server_lets_work_drain),
        CASE(a_read_only_server_is_told),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
