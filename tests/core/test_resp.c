/*
 * RESP: commands byte for byte, replies cut at every byte, bounds, and what
 * each server error means.
 */
#include "wire/resp.h"

#include "base/bytes.h"
#include "support/failing_alloc.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* ---- commands ------------------------------------------------------------ */

static void writes_commands(void **state) {
    (void)state;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    reeve__cmd_begin(&buf, 5);
    reeve__cmd_text(&buf, "SET");
    reeve__cmd_bytes(&buf, (reeve_bytes){ "a\0b\r\n", 5 });
    reeve__cmd_bytes(&buf, (reeve_bytes){ NULL, 0 });
    reeve__cmd_int(&buf, INT64_MIN);
    reeve__cmd_int(&buf, 0);
    static const char want[] = "*5\r\n$3\r\nSET\r\n$5\r\na\0b\r\n\r\n$0\r\n\r\n"
                               "$20\r\n-9223372036854775808\r\n$1\r\n0\r\n";
    assert_int_equal(buf.size, sizeof want - 1);
    assert_memory_equal(buf.data, want, buf.size);
    reeve__buf_clear(&buf);
    const reeve_bytes args[] = { { "GET", 3 }, { "k", 1 } };
    reeve__cmd_add(&buf, args, 2);
    assert_true(reeve__bytes_is(reeve__buf_view(&buf),
                                "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"));
    reeve__buf_dispose(&buf);
}

/* ---- replies ------------------------------------------------------------- */

static reeve__reply_reader *new_reader(const reeve__reply_limits *limits) {
    reeve__reply_reader *reader = NULL;
    assert_int_equal(reeve__reply_reader_new(&reader, NULL, limits, NULL), 0);
    return reader;
}

static void feed(reeve__reply_reader *reader, const char *data, size_t size) {
    assert_int_equal(
        reeve__reply_feed(reader, (reeve_bytes){ data, size }, NULL), 0);
}

static reeve__reply *next(reeve__reply_reader *reader) {
    reeve__reply *reply = NULL;
    reeve_error err;
    if (reeve__reply_next(&reply, reader, &err))
        fail_msg("%s", err.message);
    return reply;
}

static reeve__reply *parse(reeve__reply_reader *reader, const char *text) {
    feed(reader, text, strlen(text));
    reeve__reply *reply = next(reader);
    assert_non_null(reply);
    return reply;
}

static const char mixed[] = "*6\r\n:-42\r\n$-1\r\n$4\r\na\0\r\n\r\n+OK\r\n"
                            "*2\r\n$0\r\n\r\n*0\r\n-ERR x\r\n";

static void check_mixed(const reeve__reply *reply) {
    int64_t number = 0;
    assert_int_equal(reply->type, REEVE__REPLY_ARRAY);
    assert_int_equal(reply->count, 6);
    assert_true(reeve__reply_int(&number, reeve__reply_at(reply, 0)));
    assert_int_equal(number, -42);
    assert_int_equal(reeve__reply_at(reply, 1)->type, REEVE__REPLY_NIL);
    const reeve__reply *text = reeve__reply_at(reply, 2);
    assert_int_equal(text->type, REEVE__REPLY_STRING);
    assert_int_equal(text->bytes.size, 4);
    assert_memory_equal(text->bytes.data, "a\0\r\n", 5);
    assert_true(reeve__reply_is_status(reeve__reply_at(reply, 3), "OK"));
    const reeve__reply *inner = reeve__reply_at(reply, 4);
    assert_int_equal(inner->count, 2);
    assert_int_equal(reeve__reply_at(inner, 0)->bytes.size, 0);
    assert_int_equal(reeve__reply_at(inner, 1)->type, REEVE__REPLY_ARRAY);
    assert_int_equal(reeve__reply_at(inner, 1)->count, 0);
    assert_int_equal(reeve__reply_at(reply, 5)->type, REEVE__REPLY_ERROR);
    assert_null(reeve__reply_at(reply, 6));
    assert_null(reeve__reply_at(text, 0));
}

static void parses_a_reply_cut_at_every_byte(void **state) {
    (void)state;
    reeve__reply_reader *reader = new_reader(NULL);
    for (size_t cut = 0; cut < sizeof mixed; cut++) {
        feed(reader, mixed, cut);
        reeve__reply *reply = next(reader);
        if (cut < sizeof mixed - 1) {
            assert_null(reply);
            feed(reader, mixed + cut, sizeof mixed - 1 - cut);
            reply = next(reader);
        }
        check_mixed(reply);
        reeve__reply_free(reply);
        assert_null(next(reader));
    }
    reeve__reply_reader_free(reader);
}

static void parses_byte_by_byte(void **state) {
    (void)state;
    reeve__reply_reader *reader = new_reader(NULL);
    for (size_t i = 0; i + 1 < sizeof mixed; i++) {
        assert_null(next(reader));
        feed(reader, mixed + i, 1);
    }
    reeve__reply *reply = next(reader);
    check_mixed(reply);
    reeve__reply_free(reply);
    reeve__reply_reader_free(reader);
}

static void reads_integers(void **state) {
    (void)state;
    reeve__reply_reader *reader = new_reader(NULL);
    int64_t number = 0;
    reeve__reply *reply = parse(reader, ":9223372036854775807\r\n");
    assert_true(reeve__reply_int(&number, reply));
    assert_true(number == INT64_MAX);
    reeve__reply_free(reply);
    reply = parse(reader, "$2\r\n-7\r\n");
    assert_true(reeve__reply_int(&number, reply));
    assert_int_equal(number, -7);
    reeve__reply_free(reply);
    reply = parse(reader, "$2\r\n7x\r\n");
    assert_false(reeve__reply_int(&number, reply));
    reeve__reply_free(reply);
    reply = parse(reader, "-5\r\n");
    assert_false(reeve__reply_int(&number, reply));
    reeve__reply_free(reply);
    reply = parse(reader, "*-1\r\n");
    assert_int_equal(reply->type, REEVE__REPLY_NIL);
    assert_false(reeve__reply_int(&number, NULL));
    reeve__reply_reader_free(reader); /* frees reply too */
}

/* Replies stay valid while others come and go, in any order of release. */
static void keeps_replies_until_freed(void **state) {
    enum {
        COUNT = 1000
    };
    (void)state;
    static reeve__reply *held[COUNT];
    reeve__reply_reader *reader = new_reader(NULL);
    char text[64];
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof text, "*2\r\n:%d\r\n$4\r\n%04d\r\n", i, i);
        feed(reader, text, strlen(text));
    }
    for (int i = 0; i < COUNT; i++)
        held[i] = next(reader);
    assert_null(next(reader));
    for (int i = 0; i < COUNT; i += 2)
        reeve__reply_free(held[i]);
    assert_int_equal(reeve__reply_reader_reset(reader, NULL), 0);
    for (int i = 1; i < COUNT; i += 2) {
        snprintf(text, sizeof text, "%04d", i);
        assert_int_equal(held[i]->elements[0].integer, i);
        assert_true(reeve__bytes_is(held[i]->elements[1].bytes, text));
    }
    for (int i = COUNT - 1; i > 0; i -= 2)
        reeve__reply_free(held[i]);
    reeve__reply_free(NULL);
    reeve__reply_reader_free(reader);
}

static void grows_with_large_replies(void **state) {
    enum {
        COUNT = 5000,
        SIZE = 1000
    };
    (void)state;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    char block[SIZE];
    memset(block, 'p', SIZE);
    reeve__cmd_begin(&buf, COUNT); /* a command is an array of strings */
    for (int i = 0; i < COUNT; i++)
        reeve__cmd_bytes(&buf, (reeve_bytes){ block, SIZE });
    reeve__reply_reader *reader = new_reader(NULL);
    feed(reader, buf.data, buf.size);
    reeve__reply *reply = next(reader);
    assert_int_equal(reply->count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(reply->elements[i].bytes.size, SIZE);
        assert_memory_equal(reply->elements[i].bytes.data, block, SIZE);
    }
    reeve__reply_free(reply);
    reeve__reply_reader_free(reader);
    reeve__buf_dispose(&buf);
}

/* More than the parser is given at a time; then less, then a cut. */
static void takes_much_at_once(void **state) {
    enum {
        COUNT = 100000
    };
    (void)state;
    reeve__reply_reader *reader = new_reader(NULL);
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    for (int i = 0; i < COUNT; i++)
        reeve__buf_printf(&buf, ":%d\r\n", i);
    size_t half = buf.size / 2;
    feed(reader, buf.data, half);
    int seen = 0;
    for (reeve__reply *reply; (reply = next(reader)) != NULL; seen++) {
        assert_int_equal(reply->integer, seen);
        reeve__reply_free(reply);
        if (seen == 10) /* while the first half is still waiting */
            feed(reader, buf.data + half, buf.size - half);
    }
    assert_int_equal(seen, COUNT);
    feed(reader, buf.data, half); /* forgotten by reset */
    assert_int_equal(reeve__reply_reader_reset(reader, NULL), 0);
    assert_null(next(reader));
    reeve__reply_free(parse(reader, "+OK\r\n"));
    reeve__reply_reader_free(reader);
    reeve__buf_dispose(&buf);
}

/* ---- what is refused ----------------------------------------------------- */

static void assert_refused(const reeve__reply_limits *limits, const char *text,
                           const char *says) {
    reeve__reply_reader *reader = new_reader(limits);
    reeve__reply *reply = NULL;
    reeve_error err;
    feed(reader, text, strlen(text));
    reeve_rc rc = reeve__reply_next(&reply, reader, &err);
    if (rc != REEVE_E_NET || !strstr(err.message, says))
        fail_msg("'%.40s': %d %s", text, (int)rc, rc ? err.message : "");
    assert_null(reply);
    /* it stays so … */
    assert_int_equal(
        reeve__reply_feed(reader, (reeve_bytes){ ":1\r\n", 4 }, NULL),
        REEVE_E_NET);
    assert_int_equal(reeve__reply_next(&reply, reader, NULL), REEVE_E_NET);
    /* … until reset */
    assert_int_equal(reeve__reply_reader_reset(reader, NULL), 0);
    reeve__reply_free(parse(reader, ":1\r\n"));
    reeve__reply_reader_free(reader);
}

static void refuses_garbage(void **state) {
    (void)state;
    assert_refused(NULL, "HTTP/1.1 400 Bad Request\r\n", "protocol error: ");
    assert_refused(NULL, "*2\r\n:1\r\nx", "protocol error: ");
    assert_refused(NULL, "%1\r\n+a\r\n+b\r\n", "protocol error: ");
    assert_refused(NULL, "_\r\n*1\r\n,1.5\r\n", "protocol error: ");
}

static void holds_its_limits(void **state) {
    const reeve__reply_limits limits = { .bulk_bytes_max = 10,
                                         .reply_bytes_max = 8192,
                                         .element_count_max = 1000 };
    (void)state;
    assert_refused(&limits, "$11\r\n12345678901\r\n",
                   "a string has more than 10 bytes");
    assert_refused(&limits, "*1001\r\n", "a reply has more than 1000 elements");
    assert_refused(&limits, "*2\r\n*999\r\n", "more than 1000 elements");
    assert_refused(&limits, "*900\r\n", "a reply has more than 8192 bytes");
    assert_refused(NULL, "*4294967295\r\n", "protocol error");
    assert_refused(NULL,
                   "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
                   "nested more than 7 deep");
    reeve__reply_reader *reader = new_reader(&limits);
    reeve__reply_free(parse(reader, "$10\r\n1234567890\r\n"));
    reeve__reply_free(
        parse(reader, "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n"));
    reeve__reply_reader_free(reader);
}

/* An item that never ends must not be kept for ever. */
static void refuses_an_endless_item(void **state) {
    (void)state;
    const reeve__reply_limits limits = { .bulk_bytes_max = 100000 };
    char block[1000];
    memset(block, 'z', sizeof block);
    const char *const starts[] = { "+", "$1000000\r\n" };
    for (size_t kind = 0; kind < 2; kind++) {
        reeve__reply_reader *reader = new_reader(&limits);
        reeve__reply *reply = NULL;
        reeve_rc rc = 0;
        size_t fed = 0;
        feed(reader, starts[kind], strlen(starts[kind]));
        for (; !rc && fed < 1000000; fed += sizeof block) {
            feed(reader, block, sizeof block);
            rc = reeve__reply_next(&reply, reader, NULL);
        }
        assert_int_equal(rc, REEVE_E_NET);
        assert_true(fed <= (kind == 0 ? 67000 : 167000));
        reeve__reply_reader_free(reader);
    }
}

static void survives_lack_of_memory(void **state) {
    (void)state;
    failing_alloc fail;
    reeve_env *env = failing_alloc_env(&fail, NULL);
    bool done = false;
    for (long n = 0; !done; n++) {
        reeve__reply_reader *reader = NULL;
        reeve__reply *reply = NULL;
        char text[6000];
        int head = snprintf(text, sizeof text, "*2\r\n*1\r\n:1\r\n$5000\r\n");
        memset(text + head, 'm', 5000);
        memcpy(text + head + 5000, "\r\n", 2);
        failing_alloc_arm(&fail, n);
        reeve_rc rc = reeve__reply_reader_new(&reader, env, NULL, NULL);
        if (!rc)
            rc = reeve__reply_feed(
                reader, (reeve_bytes){ text, (size_t)head + 5002 }, NULL);
        if (!rc)
            rc = reeve__reply_next(&reply, reader, NULL);
        done = !failing_alloc_disarm(&fail);
        assert_int_equal(rc, done ? 0 : REEVE_E_NOMEM);
        reeve__reply_reader_free(reader);
        assert_int_equal(failing_alloc_live(&fail), 0);
        assert_true(n < 100);
    }
    reeve_env_free(env);
}

/* ---- error replies ------------------------------------------------------- */

static const struct {
    const char *text;
    int32_t error;
    int32_t code;
    const char *message;
} errors[] = {
    { "NOSCRIPT No matching script.", REEVE__REPLY_NOSCRIPT, REEVE_E_SERVER,
      "cmd: NOSCRIPT No matching script." },
    { "NOAUTH Authentication required.", REEVE__REPLY_AUTH, REEVE_E_AUTH,
      "cmd: " },
    { "WRONGPASS x", REEVE__REPLY_AUTH, REEVE_E_AUTH, "cmd: WRONGPASS x" },
    { "NOPERM x", REEVE__REPLY_AUTH, REEVE_E_AUTH, "cmd: " },
    { "ERR invalid password", REEVE__REPLY_AUTH, REEVE_E_AUTH, "cmd: " },
    { "ERR Client sent AUTH, but no password is set", REEVE__REPLY_AUTH,
      REEVE_E_AUTH, "cmd: " },
    { "LOADING x", REEVE__REPLY_BUSY, REEVE_E_BUSY, "cmd: LOADING x" },
    { "BUSY x", REEVE__REPLY_BUSY, REEVE_E_BUSY, "cmd: " },
    { "BUSYGROUP x", REEVE__REPLY_REFUSED, REEVE_E_SERVER, "cmd: " },
    { "TRYAGAIN", REEVE__REPLY_BUSY, REEVE_E_BUSY, "cmd: TRYAGAIN" },
    { "CLUSTERDOWN x", REEVE__REPLY_BUSY, REEVE_E_BUSY, "cmd: " },
    { "MASTERDOWN x", REEVE__REPLY_BUSY, REEVE_E_BUSY, "cmd: " },
    { "MISCONF x", REEVE__REPLY_BUSY, REEVE_E_BUSY, "cmd: " },
    { "NOREPLICAS x", REEVE__REPLY_BUSY, REEVE_E_BUSY, "cmd: " },
    { "ERR max number of clients reached", REEVE__REPLY_BUSY, REEVE_E_BUSY,
      "cmd: " },
    { "OOM command not allowed", REEVE__REPLY_OOM, REEVE_E_BUSY,
      "cmd: the server has reached maxmemory: OOM command" },
    { "READONLY You can't write", REEVE__REPLY_READONLY, REEVE_E_UNSAFE,
      "cmd: the server is a read-only replica: READONLY" },
    { "ERR Error running script (call to f_5c): @user_script:30: @user_script: "
      "30: -OOM command not allowed when used memory > 'maxmemory'.",
      REEVE__REPLY_OOM, REEVE_E_BUSY,
      "cmd: the server has reached maxmemory: ERR Error running script" },
    { "ERR Error running script (call to f_5c): @user_script:3: @user_script: "
      "3: -READONLY You can't write against a read only replica.",
      REEVE__REPLY_READONLY, REEVE_E_UNSAFE,
      "cmd: the server is a read-only replica: ERR Error running script" },
    { "ERR Error running script (call to f_5c): @user_script:3: x: -OOM",
      REEVE__REPLY_OOM, REEVE_E_BUSY, "cmd: the server has" },
    { "ERR Error running script (call to f_5c): @user_script:3: x-OOM",
      REEVE__REPLY_REFUSED, REEVE_E_SERVER, "cmd: ERR Error running" },
    { "ERR Error running script (call to f_5c): @user_script:3: x: -",
      REEVE__REPLY_REFUSED, REEVE_E_SERVER, "cmd: ERR Error running" },
    { "MOVED 1 h:1", REEVE__REPLY_MOVED, REEVE_E_UNSUPPORTED,
      "cmd: redis cluster is not in this version: MOVED 1 h:1" },
    { "ASK 1 h:1", REEVE__REPLY_ASK, REEVE_E_UNSUPPORTED,
      "cmd: redis cluster" },
    { "ASKING", REEVE__REPLY_REFUSED, REEVE_E_SERVER, "cmd: ASKING" },
    { "", REEVE__REPLY_REFUSED, REEVE_E_SERVER, "cmd: " },
    { "ERR a\tb\x01"
      "c\x1b[0m\xc3\xa9",
      REEVE__REPLY_REFUSED, REEVE_E_SERVER, "cmd: ERR a b c [0m\xc3\xa9" },
};

static reeve__reply error_reply(const char *text) {
    return (reeve__reply){ .type = REEVE__REPLY_ERROR,
                           .bytes = { text, strlen(text) } };
}

static void classifies_errors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        reeve__reply reply = error_reply(errors[i].text);
        reeve_error err;
        assert_int_equal(reeve__reply_error_of(&reply), errors[i].error);
        assert_int_equal(reeve__reply_fail(&reply, "cmd", &err),
                         errors[i].code);
        assert_int_equal(
            strncmp(err.message, errors[i].message, strlen(errors[i].message)),
            0);
    }
    reeve__reply fine = { .type = REEVE__REPLY_STATUS, .bytes = { "ERR", 3 } };
    assert_int_equal(reeve__reply_fail(&fine, "cmd", NULL), 0);
    assert_int_equal(reeve__reply_error_of(NULL), REEVE__REPLY_FINE);
}

static void shortens_long_error_texts(void **state) {
    (void)state;
    char text[4096];
    memset(text, 'e', sizeof text);
    reeve__reply reply = { .type = REEVE__REPLY_ERROR,
                           .bytes = { text, sizeof text } };
    reeve_error err;
    assert_int_equal(reeve__reply_fail(&reply, "cmd", &err), REEVE_E_SERVER);
    assert_int_equal(strlen(err.message), 5 + 160);
}

static void reads_redirections(void **state) {
    (void)state;
    reeve__redirect to;
    reeve__reply reply = error_reply("MOVED 3999 127.0.0.1:6381");
    assert_true(reeve__reply_redirect(&to, &reply));
    assert_false(to.ask);
    assert_int_equal(to.slot, 3999);
    assert_true(reeve__bytes_is(to.host, "127.0.0.1"));
    assert_int_equal(to.port, 6381);
    reply = error_reply("ASK 0 ::1:7");
    assert_true(reeve__reply_redirect(&to, &reply));
    assert_true(to.ask);
    assert_true(reeve__bytes_is(to.host, "::1"));
    reply = error_reply("MOVED 1 :6379"); /* same host, other port */
    assert_true(reeve__reply_redirect(&to, &reply));
    assert_int_equal(to.host.size, 0);
    static const char *const bad[] = {
        "MOVED",      "MOVED ",          "MOVED 1",      "MOVED 1 ",
        "MOVED 1 h",  "MOVED 16384 h:1", "MOVED -1 h:1", "MOVED 1 h:0",
        "MOVED 1 h:", "MOVED 1 h:65536", "ASK x h:1",    "ERR 1 h:1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        reply = error_reply(bad[i]);
        if (reeve__reply_redirect(&to, &reply))
            fail_msg("'%s' was taken for a redirection", bad[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_commands),
        cmocka_unit_test(parses_a_reply_cut_at_every_byte),
        cmocka_unit_test(parses_byte_by_byte),
        cmocka_unit_test(reads_integers),
        cmocka_unit_test(keeps_replies_until_freed),
        cmocka_unit_test(grows_with_large_replies),
        cmocka_unit_test(takes_much_at_once),
        cmocka_unit_test(refuses_garbage),
        cmocka_unit_test(holds_its_limits),
        cmocka_unit_test(refuses_an_endless_item),
        cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(classifies_errors),
        cmocka_unit_test(shortens_long_error_texts),
        cmocka_unit_test(reads_redirections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
