/*
 * The protocol object without a server: what it says, and what it makes of
 * answers whole, cut at every byte, wrong, or missing a script.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <reeve/sys/protocol.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_gen.h"

#define TEXT_MAX 65536

#define INFO_SERVER "redis_version:7.0.15\r\n"
#define INFO_ROLE "role:master\r\n"
#define INFO_MEMORY "maxmemory:0\r\nmaxmemory_policy:noeviction\r\n"

typedef struct stream {
    char text[TEXT_MAX];
    size_t size;
} stream;

static void add(stream *to, const char *text) {
    size_t size = strlen(text);
    assert_true(to->size + size < TEXT_MAX);
    memcpy(to->text + to->size, text, size + 1);
    to->size += size;
}

static void add_bulk(stream *to, const char *text) {
    char head[32];
    snprintf(head, sizeof(head), "$%zu\r\n", strlen(text));
    add(to, head);
    add(to, text);
    add(to, "\r\n");
}

/* A server's answer to hello; known: the scripts are there. */
static void add_hello(stream *to, const char *server, const char *role,
                      const char *memory, int known) {
    char head[32];
    add(to, "+OK\r\n");
    add(to, "*2\r\n$10\r\n1763600000\r\n$6\r\n250000\r\n");
    add_bulk(to, server);
    add_bulk(to, role);
    add_bulk(to, memory);
    snprintf(head, sizeof(head), "*%d\r\n", REEVE__SCRIPT_COUNT);
    add(to, head);
    for (int i = 0; i < REEVE__SCRIPT_COUNT; i++) {
        add(to, known ? ":1\r\n" : ":0\r\n");
    }
}

static reeve_protocol *protocol_in(reeve_env *env, const char *password,
                                   int allow_eviction) {
    reeve_protocol *protocol = NULL;
    reeve_protocol_options options = REEVE_PROTOCOL_OPTIONS_INIT;
    options.password = password;
    options.allow_eviction = allow_eviction;
    options.label = "host:1";
    assert_int_equal(reeve_protocol_new(&protocol, env, &options, NULL), 0);
    return protocol;
}

static reeve_protocol *protocol_new(const char *password, int allow_eviction) {
    return protocol_in(NULL, password, allow_eviction);
}

/* What it has to say, consumed. */
static const char *said(reeve_protocol *protocol) {
    static char text[TEXT_MAX * 4];
    reeve_bytes out = reeve_protocol_output(protocol);
    assert_true(out.size < sizeof(text));
    memcpy(text, out.data, out.size);
    text[out.size] = '\0';
    reeve_protocol_sent(protocol, out.size);
    return text;
}

static void feed(reeve_protocol *protocol, const char *text) {
    reeve_error err;
    if (reeve_protocol_feed(protocol, reeve_bytes_of(text), &err) < 0) {
        fail_msg("feed: %s", err.message);
    }
}

static const reeve_protocol_result *next(reeve_protocol *protocol) {
    const reeve_protocol_result *result = NULL;
    assert_int_equal(reeve_protocol_next(&result, protocol, NULL), 0);
    return result;
}

static uint64_t enqueue_one(reeve_protocol *protocol, const char *id) {
    uint64_t op = 0;
    reeve_error err;
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    args.queue = reeve_bytes_of("mail");
    args.id = reeve_bytes_of(id);
    args.payload = reeve_bytes_of("body");
    if (reeve_protocol_enqueue(&op, protocol, &args, 1, false, &err) < 0) {
        fail_msg("enqueue: %s", err.message);
    }
    return op;
}

static void turn_one(reeve_protocol *protocol) {
    uint64_t op;
    reeve_protocol_settle settles[2] = { REEVE_PROTOCOL_SETTLE_INIT,
                                         REEVE_PROTOCOL_SETTLE_INIT };
    settles[0].id = reeve_bytes_of("a");
    settles[0].token = 4;
    settles[0].done = 1;
    settles[1] = settles[0];
    settles[1].id = reeve_bytes_of("b");
    assert_int_equal(reeve_protocol_turn(&op, protocol, reeve_bytes_of("mail"),
                                         settles, 2, 2, 30000,
                                         reeve_bytes_of("w1"), NULL),
                     0);
}

static const char turn_reply[] =
    "*10\r\n:1763600000500\r\n:25\r\n:0\r\n:7\r\n:1\r\n:1\r\n"
    "$2\r\nx1\r\n$2\r\nx2\r\n$4\r\nB\r\n1\r\n$-1\r\n";

static void check_turn(const reeve_protocol_result *result) {
    assert_non_null(result);
    assert_int_equal(result->kind, REEVE_PROTOCOL_TURN);
    assert_int_equal(result->code, 0);
    assert_int_equal(result->code_count, 2);
    assert_int_equal(result->codes[0], 0);
    assert_int_equal(result->codes[1], REEVE_E_LEASE_LOST);
    assert_int_equal(result->row_count, 2);
    assert_memory_equal(result->rows[0].id.data, "x1", 2);
    assert_int_equal(result->rows[0].envelope.size, 4);
    assert_memory_equal(result->rows[0].envelope.data, "B\r\n1", 4);
    assert_int_equal(result->rows[1].envelope.size, 0);
    assert_int_equal(result->rows[1].token, 7);
    assert_int_equal(result->rows[1].priority, 5);
    assert_int_equal(result->more, 1);
}

static void hello_greets_and_passes(void **state) {
    (void)state;
    reeve_protocol *protocol = protocol_new("secret", 0);
    uint64_t op;
    assert_int_equal(reeve_protocol_hello(&op, protocol, NULL), 0);
    const char *text = said(protocol);
    assert_ptr_equal(strstr(text, "*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n"),
                     text);
    assert_non_null(strstr(text, "SETNAME"));
    stream reply = { .size = 0 };
    add(&reply, "+OK\r\n");
    add_hello(&reply, INFO_SERVER, INFO_ROLE, INFO_MEMORY, 1);
    feed(protocol, reply.text);
    const reeve_protocol_result *result = next(protocol);
    assert_non_null(result);
    assert_int_equal(result->op, op);
    assert_int_equal(result->code, 0);
    int64_t now_at_ms = reeve_protocol_now(protocol);
    assert_true(now_at_ms >= 1763600000250 && now_at_ms < 1763600060250);
    assert_int_equal(reeve_protocol_output(protocol).size, 0);
    reeve_protocol_free(protocol);
}

static void hello_loads_missing_scripts(void **state) {
    (void)state;
    reeve_protocol *protocol = protocol_new(NULL, 0);
    uint64_t op;
    assert_int_equal(reeve_protocol_hello(&op, protocol, NULL), 0);
    said(protocol);
    stream reply = { .size = 0 };
    add_hello(&reply, INFO_SERVER, INFO_ROLE, INFO_MEMORY, 0);
    feed(protocol, reply.text);
    assert_null(next(protocol));
    const char *text = said(protocol);
    int loads = 0;
    for (const char *at = text; (at = strstr(at, "$4\r\nLOAD\r\n")); at++) {
        loads++;
    }
    assert_int_equal(loads, REEVE__SCRIPT_COUNT);
    for (int i = 0; i < REEVE__SCRIPT_COUNT; i++) {
        assert_null(next(protocol));
        feed(protocol, "$4\r\nsha1\r\n");
    }
    assert_int_equal(next(protocol)->code, 0);
    reeve_protocol_free(protocol);
}

static void check_hello(const char *server, const char *role,
                        const char *memory, int allow, int32_t code,
                        const char *message) {
    reeve_protocol *protocol = protocol_new(NULL, allow);
    uint64_t op;
    assert_int_equal(reeve_protocol_hello(&op, protocol, NULL), 0);
    said(protocol);
    stream reply = { .size = 0 };
    add_hello(&reply, server, role, memory, 1);
    feed(protocol, reply.text);
    const reeve_protocol_result *result = next(protocol);
    assert_non_null(result);
    assert_int_equal(result->code, code);
    if (!strstr(result->message, message)) {
        fail_msg("\"%s\" is not in \"%s\"", message, result->message);
    }
    reeve_protocol_free(protocol);
}

static void hello_refuses_what_loses_tasks(void **state) {
    (void)state;
    const char *evicts = "maxmemory:1000\r\nmaxmemory_policy:allkeys-lru\r\n";
    check_hello("redis_version:5.0.7\r\n", INFO_ROLE, INFO_MEMORY, 0,
                REEVE_E_UNSUPPORTED, "redis 5.0.7 at host:1 is too old, 6.2");
    check_hello("redis_version:6.2.0\r\n", INFO_ROLE, INFO_MEMORY, 0, 0, "");
    check_hello(INFO_SERVER, "role:slave\r\n", INFO_MEMORY, 0, REEVE_E_UNSAFE,
                "replica");
    check_hello(INFO_SERVER, INFO_ROLE, evicts, 0, REEVE_E_UNSAFE,
                "allkeys-lru");
    check_hello(INFO_SERVER, INFO_ROLE, evicts, 1, 0, "");
    check_hello(INFO_SERVER, INFO_ROLE,
                "maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", 0, 0, "");
    check_hello("", "", "", 0, 0, "");
}

static void hello_error(const char *first, const char *rest, int32_t code,
                        const char *message) {
    reeve_protocol *protocol = protocol_new("p", 0);
    uint64_t op;
    assert_int_equal(reeve_protocol_hello(&op, protocol, NULL), 0);
    said(protocol);
    feed(protocol, first);
    for (int i = 0; i < 6; i++) {
        feed(protocol, rest);
    }
    const reeve_protocol_result *result = next(protocol);
    assert_non_null(result);
    assert_int_equal(result->code, code);
    assert_non_null(strstr(result->message, message));
    assert_null(strchr(result->message, '\n'));
    reeve_protocol_free(protocol);
}

static void hello_says_why_it_was_refused(void **state) {
    (void)state;
    hello_error("-WRONGPASS invalid username-password pair\r\n",
                "-NOAUTH Authentication required.\r\n", REEVE_E_AUTH,
                "refused the password");
    hello_error("+OK\r\n", "-LOADING Redis is loading\r\n", REEVE_E_BUSY,
                "LOADING");
    hello_error("+OK\r\n", "-NOPERM this user has no permissions\r\n",
                REEVE_E_AUTH, "NOPERM");
}

static void enqueue_speaks_evalsha(void **state) {
    (void)state;
    reeve_protocol *protocol = protocol_new(NULL, 0);
    uint64_t op = enqueue_one(protocol, "a");
    assert_int_equal(reeve_protocol_pending(protocol), 1);
    const char *text = said(protocol);
    char head[128];
    snprintf(head, sizeof(head), "*8\r\n$7\r\nEVALSHA\r\n$40\r\n%s\r\n",
             reeve__scripts[REEVE__SCRIPT_ENQUEUE].sha1);
    assert_ptr_equal(strstr(text, head), text);
    assert_non_null(strstr(text, "reeve:{mail}:tasks"));
    assert_non_null(strstr(text, "SADD"));
    feed(protocol, "*0\r\n");
    assert_null(next(protocol));
    feed(protocol, ":1\r\n");
    const reeve_protocol_result *result = next(protocol);
    assert_int_equal(result->op, op);
    assert_int_equal(result->enqueued_count, 1);
    assert_int_equal(result->enqueued[0].code, 0);
    assert_int_equal(result->enqueued[0].state, REEVE_STATE_PENDING);
    assert_string_equal(result->enqueued[0].id, "a");
    assert_null(next(protocol));
    assert_int_equal(reeve_protocol_pending(protocol), 0);
    enqueue_one(protocol, "a");
    feed(protocol, "*1\r\n:0\r\n");
    assert_int_equal(next(protocol)->enqueued[0].code, REEVE_E_EXISTS);
    reeve_protocol_free(protocol);
}

/* The server's answer to the transaction that stores ids drawn here. */
#define FRESH_QUEUED "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
#define FRESH_REPLY FRESH_QUEUED "*4\r\n:1\r\n:1\r\n:1\r\n+OK\r\n"

static void draws_in(reeve_env *env, bool resent, const char *id,
                     const char *first) {
    reeve_protocol *protocol = protocol_in(env, NULL, 0);
    uint64_t op;
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    args.id = reeve_bytes_of(id);
    assert_int_equal(
        reeve_protocol_enqueue(&op, protocol, &args, 1, resent, NULL), 0);
    const char *word = strchr(said(protocol), '$');
    assert_ptr_equal(strstr(word, first), word);
    reeve_protocol_free(protocol);
}

/* Bodies stay out of scripts when nobody else can have the id. */
static void only_ids_drawn_now_are_not_looked_for(void **state) {
    (void)state;
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.random_seed = 7;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    draws_in(NULL, false, "", "$5\r\nMULTI\r\n");
    draws_in(NULL, false, "a", "$7\r\nEVALSHA\r\n");
    draws_in(NULL, true, "", "$7\r\nEVALSHA\r\n");
    draws_in(env, false, "", "$7\r\nEVALSHA\r\n");
    reeve_env_free(env);
}

static void a_transaction_has_one_answer(void **state) {
    (void)state;
    static const struct {
        const char *reply;
        int32_t code;
        bool undone;
    } cases[] = {
        { FRESH_REPLY, 0, false },
        { FRESH_QUEUED "*4\r\n:1\r\n-WRONGTYPE x\r\n:1\r\n+OK\r\n",
          REEVE_E_SERVER, true },
        { FRESH_QUEUED "*3\r\n:1\r\n:1\r\n:1\r\n", REEVE_E_SERVER, false },
        { FRESH_QUEUED "*-1\r\n", REEVE_E_SERVER, false },
        { "+OK\r\n-OOM full\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n"
          "-EXECABORT because of previous errors\r\n",
          REEVE_E_BUSY, false },
        { "-NOPERM multi\r\n:1\r\n:1\r\n:1\r\n+OK\r\n-ERR EXEC\r\n",
          REEVE_E_AUTH, true },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reeve_protocol *protocol = protocol_new(NULL, 0);
        enqueue_one(protocol, "");
        said(protocol);
        feed(protocol, cases[i].reply);
        feed(protocol, ":1\r\n"); /* the directory's */
        bool undone = strstr(said(protocol),
                             reeve__scripts[REEVE__SCRIPT_UNDO].sha1) != NULL;
        assert_int_equal(undone, cases[i].undone);
        if (undone) {
            assert_null(next(protocol));
            feed(protocol, "-NOSCRIPT x\r\n");
            assert_non_null(strstr(said(protocol), "LREM"));
            feed(protocol, ":1\r\n");
        }
        const reeve_protocol_result *result = next(protocol);
        assert_non_null(result);
        assert_int_equal(result->code, cases[i].code);
        assert_int_equal(reeve_protocol_pending(protocol), 0);
        reeve_protocol_free(protocol);
    }
}

/* Whether an enqueue tells the directory of its queue; answered by reply. */
static bool registers(reeve_protocol *protocol, const char *reply) {
    enqueue_one(protocol, "a");
    bool tells = strstr(said(protocol), "SADD") != NULL;
    feed(protocol, "*0\r\n");
    if (tells) {
        feed(protocol, reply);
    }
    assert_non_null(next(protocol));
    return tells;
}

static void directory_is_told_when_it_may_lack_a_queue(void **state) {
    (void)state;
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.virtual_now_at_ms = 1;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    reeve_protocol *protocol = protocol_in(env, NULL, 0);
    assert_true(registers(protocol, "-OOM command not allowed\r\n"));
    assert_true(registers(protocol, ":1\r\n"));
    assert_false(registers(protocol, ":0\r\n"));
    assert_int_equal(reeve_env_advance(env, 4999, NULL), 0);
    assert_false(registers(protocol, ":0\r\n"));
    assert_int_equal(reeve_env_advance(env, 1, NULL), 0);
    assert_true(registers(protocol, ":0\r\n"));
    assert_int_equal(reeve_protocol_reset(protocol, NULL), 0);
    assert_true(registers(protocol, ":0\r\n"));
    assert_false(registers(protocol, ":0\r\n"));
    reeve_protocol_free(protocol);
    reeve_env_free(env);
}

static void noscript_is_answered_in_full_once(void **state) {
    (void)state;
    reeve_protocol *protocol = protocol_new(NULL, 0);
    enqueue_one(protocol, "a");
    said(protocol);
    feed(protocol, "-NOSCRIPT No matching script.\r\n:1\r\n");
    assert_null(next(protocol));
    const char *text = said(protocol);
    assert_ptr_equal(strstr(text, "*8\r\n$4\r\nEVAL\r\n"), text);
    assert_non_null(strstr(text, reeve__scripts[REEVE__SCRIPT_ENQUEUE].text));
    assert_non_null(strstr(text, "body"));
    feed(protocol, "*0\r\n");
    assert_int_equal(next(protocol)->code, 0);
    enqueue_one(protocol, "b");
    said(protocol);
    feed(protocol, "-NOSCRIPT x\r\n");
    said(protocol);
    feed(protocol, "-NOSCRIPT x\r\n");
    assert_int_equal(next(protocol)->code, REEVE_E_SERVER);
    reeve_protocol_free(protocol);
}

static void answers_may_be_cut_anywhere(void **state) {
    (void)state;
    stream reply = { .size = 0 };
    add_hello(&reply, INFO_SERVER, INFO_ROLE, INFO_MEMORY, 1);
    add(&reply, "*0\r\n:1\r\n" FRESH_REPLY ":1\r\n");
    add(&reply, turn_reply);
    for (size_t cut = 0; cut <= reply.size; cut++) {
        reeve_protocol *protocol = protocol_new(NULL, 0);
        uint64_t op;
        assert_int_equal(reeve_protocol_hello(&op, protocol, NULL), 0);
        enqueue_one(protocol, "a");
        enqueue_one(protocol, "");
        turn_one(protocol);
        said(protocol);
        reeve_bytes head = { reply.text, cut };
        reeve_bytes tail = { reply.text + cut, reply.size - cut };
        assert_int_equal(reeve_protocol_feed(protocol, head, NULL), 0);
        assert_int_equal(reeve_protocol_feed(protocol, tail, NULL), 0);
        assert_int_equal(next(protocol)->code, 0);
        assert_int_equal(next(protocol)->enqueued[0].code, 0);
        assert_int_equal(strlen(next(protocol)->enqueued[0].id), 36);
        check_turn(next(protocol));
        assert_null(next(protocol));
        reeve_protocol_free(protocol);
    }
}

/* Claims one task; its row's body has so many bytes. inlined: it was asked for
 * with the claim. */
static void claim_body(reeve_protocol *protocol, bool inlined, size_t bytes,
                       bool missing) {
    uint64_t op;
    stream reply = { .size = 0 };
    char head[64];
    static char body[TEXT_MAX];
    assert_true(bytes < sizeof(body));
    memset(body, 'x', bytes);
    body[bytes] = '\0';
    assert_int_equal(reeve_protocol_turn(&op, protocol, reeve_bytes_of("mail"),
                                         NULL, 0, 1, 30000,
                                         reeve_bytes_of("w1"), NULL),
                     0);
    snprintf(head, sizeof(head), "$5\r\n30000\r\n$1\r\n%d\r\n", inlined);
    assert_non_null(strstr(said(protocol), head));
    add(&reply, inlined ? "*6\r\n:1763600000500\r\n:16\r\n"
                        : "*5\r\n:1763600000500\r\n:0\r\n");
    add(&reply, ":0\r\n:7\r\n$2\r\nx1\r\n");
    if (!inlined) {
        feed(protocol, reply.text);
        assert_null(next(protocol));
        assert_non_null(strstr(said(protocol), "*3\r\n$5\r\nHMGET\r\n"));
        reply.size = 0;
        add(&reply, "*1\r\n");
    }
    if (missing) {
        add(&reply, "$-1\r\n");
    } else {
        add_bulk(&reply, body);
    }
    feed(protocol, reply.text);
    const reeve_protocol_result *result = next(protocol);
    assert_non_null(result);
    assert_int_equal(result->code, 0);
    assert_int_equal(result->row_count, 1);
    assert_memory_equal(result->rows[0].id.data, "x1", 2);
    assert_int_equal(result->rows[0].envelope.size, missing ? 0 : bytes);
}

/* The way through Lua costs more than a round trip does. */
static void large_bodies_come_after_their_claim(void **state) {
    (void)state;
    reeve_protocol *protocol = protocol_new(NULL, 0);
    claim_body(protocol, true, 100, false);
    claim_body(protocol, true, 60000, false);
    claim_body(protocol, true, 60000, false);
    claim_body(protocol, true, 60000, false);
    claim_body(protocol, false, 0, true); /* deleted meanwhile */
    claim_body(protocol, false, 60000, false);
    claim_body(protocol, false, 100, false);
    claim_body(protocol, true, 100, false);
    reeve_protocol_free(protocol);
}

static void error_replies_have_classes(void **state) {
    (void)state;
    static const struct {
        const char *reply;
        int32_t code;
    } cases[] = {
        { "-OOM command not allowed\r\n", REEVE_E_BUSY },
        { "-LOADING loading\r\n", REEVE_E_BUSY },
        { "-READONLY replica\r\n", REEVE_E_UNSAFE },
        { "-NOPERM no\r\n", REEVE_E_AUTH },
        { "-MOVED 1 h:1\r\n", REEVE_E_UNSUPPORTED },
        { "-WRONGTYPE key\r\n", REEVE_E_SERVER },
        { "-ERR odd\r\n", REEVE_E_SERVER },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reeve_protocol *protocol = protocol_new(NULL, 0);
        turn_one(protocol);
        said(protocol);
        feed(protocol, cases[i].reply);
        const reeve_protocol_result *result = next(protocol);
        assert_non_null(result);
        assert_int_equal(result->code, cases[i].code);
        assert_non_null(strstr(result->message, "host:1"));
        reeve_protocol_free(protocol);
    }
}

static void malformed_replies_are_told(void **state) {
    (void)state;
    static const char *const replies[] = {
        ":1\r\n",
        "*0\r\n",
        "*4\r\n:1\r\n:8\r\n:0\r\n:0\r\n",
        "*5\r\n:1\r\n:8\r\n:0\r\n:0\r\n:-1\r\n",
        "*5\r\n:1\r\n:8\r\n:0\r\n:0\r\n:1\r\n",
        "*6\r\n:1\r\n:8\r\n:0\r\n:0\r\n:1\r\n:9\r\n",
        "*8\r\n:1\r\n:8\r\n:0\r\n:0\r\n:3\r\n:0\r\n:1\r\n:1\r\n",
        "*5\r\n:1\r\n:16\r\n:0\r\n:1\r\n$1\r\nx\r\n",
        "*6\r\n:1\r\n:16\r\n:0\r\n:1\r\n:9\r\n$1\r\nx\r\n",
        ("*10\r\n:1\r\n:16\r\n:0\r\n:1\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\nz\r\n"
         "$-1\r\n$-1\r\n$-1\r\n"),
    };
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        reeve_protocol *protocol = protocol_new(NULL, 0);
        turn_one(protocol);
        said(protocol);
        feed(protocol, replies[i]);
        const reeve_protocol_result *result = next(protocol);
        assert_non_null(result);
        assert_int_equal(result->code, REEVE_E_SERVER);
        assert_non_null(strstr(result->message, "malformed"));
        reeve_protocol_free(protocol);
    }
}

static void garbage_breaks_the_stream(void **state) {
    (void)state;
    reeve_protocol *protocol = protocol_new(NULL, 0);
    reeve_error err;
    turn_one(protocol);
    assert_int_equal(
        reeve_protocol_feed(protocol, reeve_bytes_of("HTTP/1.1 400\r\n"), &err),
        REEVE_E_NET);
    assert_int_equal(reeve_protocol_reset(protocol, NULL), 0);
    assert_int_equal(reeve_protocol_pending(protocol), 0);
    assert_int_equal(reeve_protocol_output(protocol).size, 0);
    assert_int_equal(
        reeve_protocol_feed(protocol, reeve_bytes_of("+PONG\r\n"), &err),
        REEVE_E_NET);
    assert_non_null(strstr(err.message, "nobody asked"));
    assert_int_equal(reeve_protocol_reset(protocol, NULL), 0);
    turn_one(protocol);
    said(protocol);
    feed(protocol, turn_reply);
    check_turn(next(protocol));
    reeve_protocol_free(protocol);
}

/* Any single wrong byte: an error or another answer, never more than that. */
static void damaged_answers_do_no_harm(void **state) {
    (void)state;
    uint32_t random = 1;
    for (size_t at = 0; at < sizeof(turn_reply) - 1; at++) {
        for (int round = 0; round < 8; round++) {
            char damaged[sizeof(turn_reply)];
            memcpy(damaged, turn_reply, sizeof(damaged));
            random = random * 1664525 + 1013904223;
            damaged[at] = (char)(random >> 24);
            reeve_protocol *protocol = protocol_new(NULL, 0);
            turn_one(protocol);
            said(protocol);
            reeve_bytes bytes = { damaged, sizeof(turn_reply) - 1 };
            reeve_error err;
            reeve_rc rc = reeve_protocol_feed(protocol, bytes, &err);
            const reeve_protocol_result *result = next(protocol);
            assert_true(rc == 0 || rc == REEVE_E_NET || rc == REEVE_E_NOMEM);
            for (size_t i = 0; result && i < result->row_count; i++) {
                assert_true(result->rows[i].id.size <= REEVE_ID_BYTES_MAX);
            }
            reeve_protocol_free(protocol);
        }
    }
}

static void what_is_refused_says_nothing(void **state) {
    (void)state;
    reeve_protocol *protocol = protocol_new(NULL, 0);
    uint64_t op;
    reeve_error err;
    reeve_enqueue_args args[2] = { REEVE_ENQUEUE_ARGS_INIT,
                                   REEVE_ENQUEUE_ARGS_INIT };
    args[0].type = reeve_bytes_of("t");
    assert_int_equal(
        reeve_protocol_enqueue(&op, protocol, args, 2, false, &err),
        REEVE_E_INVALID);
    assert_int_equal(reeve_protocol_turn(&op, protocol,
                                         reeve_bytes_of("no good"), NULL, 0, 1,
                                         1000, reeve_bytes_of("w"), &err),
                     REEVE_E_INVALID);
    assert_int_equal(reeve_protocol_output(protocol).size, 0);
    assert_int_equal(reeve_protocol_pending(protocol), 0);
    reeve_protocol_free(protocol);
}

/* A task that is sent again was judged when it was sent first. */
static void only_a_new_task_must_be_due_before_its_deadline(void **state) {
    (void)state;
    reeve_protocol *protocol = protocol_new(NULL, 0);
    uint64_t op;
    reeve_error err;
    int64_t now_at_ms = reeve_env_now_at_ms(NULL);
    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    args.id = reeve_bytes_of("a");
    args.delay_ms = 60000;
    args.deadline_at_ms = now_at_ms + 60000;
    assert_int_equal(
        reeve_protocol_enqueue(&op, protocol, &args, 1, false, &err),
        REEVE_E_INVALID);
    assert_non_null(strstr(err.message, "delay_ms 60000 "));
    assert_int_equal(reeve_protocol_output(protocol).size, 0);
    assert_int_equal(
        reeve_protocol_enqueue(&op, protocol, &args, 1, true, &err), 0);
    reeve_protocol_free(protocol);
}

static void extend_promote_reclaim(void **state) {
    (void)state;
    reeve_protocol *protocol = protocol_new(NULL, 0);
    reeve_protocol_lease lease = REEVE_PROTOCOL_LEASE_INIT;
    reeve_bytes mail = reeve_bytes_of("mail");
    uint64_t op;
    lease.queue = mail;
    lease.id = reeve_bytes_of("a");
    lease.token = 3;
    assert_int_equal(
        reeve_protocol_extend(&op, protocol, &lease, 1, 1000, NULL), 0);
    assert_int_equal(reeve_protocol_promote(&op, protocol, mail, 10, NULL), 0);
    assert_int_equal(reeve_protocol_reclaim(&op, protocol, mail,
                                            reeve_bytes_of(""), 10, NULL),
                     0);
    said(protocol);
    feed(protocol, "*2\r\n:1763600000000\r\n:0\r\n"
                   "*3\r\n:1763600000000\r\n:4\r\n:1763600000777\r\n"
                   "*8\r\n:1763600000000\r\n:0\r\n:0\r\n$1\r\na\r\n$1\r\n3\r\n"
                   "$2\r\nw1\r\n$4\r\n1000\r\n:7\r\n");
    assert_int_equal(next(protocol)->codes[0], REEVE_E_LEASE_LOST);
    const reeve_protocol_result *result = next(protocol);
    assert_int_equal(result->moved, 4);
    assert_int_equal(result->next_at_ms, 1763600000777);
    assert_null(next(protocol));
    assert_non_null(strstr(said(protocol), "HMGET"));
    feed(protocol, "*1\r\n$1\r\nE\r\n");
    result = next(protocol);
    assert_int_equal(result->row_count, 1);
    assert_int_equal(result->rows[0].token, 3);
    assert_int_equal(result->rows[0].priority, 7);
    assert_memory_equal(result->rows[0].envelope.data, "E", 1);
    reeve_protocol_free(protocol);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_greets_and_passes),
        cmocka_unit_test(hello_loads_missing_scripts),
        cmocka_unit_test(hello_refuses_what_loses_tasks),
        cmocka_unit_test(hello_says_why_it_was_refused),
        cmocka_unit_test(enqueue_speaks_evalsha),
        cmocka_unit_test(only_ids_drawn_now_are_not_looked_for),
        cmocka_unit_test(a_transaction_has_one_answer),
        cmocka_unit_test(directory_is_told_when_it_may_lack_a_queue),
        cmocka_unit_test(noscript_is_answered_in_full_once),
        cmocka_unit_test(answers_may_be_cut_anywhere),
        cmocka_unit_test(large_bodies_come_after_their_claim),
        cmocka_unit_test(error_replies_have_classes),
        cmocka_unit_test(malformed_replies_are_told),
        cmocka_unit_test(garbage_breaks_the_stream),
        cmocka_unit_test(damaged_answers_do_no_harm),
        cmocka_unit_test(what_is_refused_says_nothing),
        cmocka_unit_test(only_a_new_task_must_be_due_before_its_deadline),
        cmocka_unit_test(extend_promote_reclaim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
