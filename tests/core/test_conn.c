/*
 * Connections against a misbehaving server: cuts, silence, floods, resets, wake
 * fd, fork. Time is only ever asserted as "this returned TIMEOUT".
 */
#include "wire/conn.h"

#include "base/bytes.h"
#include "base/thread.h"
#include "support/failing_alloc.h"
#include "support/fault_server.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define LONG_MS 60000 /* "does not happen" */
#define SHORT_MS 20   /* "will happen" */
#define FLOOD_BYTES ((size_t)10 << 20)

static int64_t in_ms(int64_t span_ms) {
    return reeve__by_ns(NULL, span_ms);
}

static reeve_rc dial(reeve__conn **out, reeve_env *env, int port,
                     reeve_error *err) {
    char text[64];
    reeve__url url;
    snprintf(text, sizeof text, "redis://127.0.0.1:%d", port);
    reeve_rc rc = reeve__url_parse(&url, env, text, NULL, err);
    if (!rc)
        rc = reeve__conn_open(out, env, &url, in_ms(LONG_MS), -1, err);
    reeve__url_dispose(&url);
    return rc;
}

static reeve__conn *connected(const fault_server *server) {
    reeve__conn *conn = NULL;
    reeve_error err;
    if (dial(&conn, NULL, fault_server_port(server), &err))
        fail_msg("%s", err.message);
    return conn;
}

static void say(reeve__conn *conn, const char *text) {
    size_t sent = 0;
    reeve_error err;
    if (reeve__conn_write(&sent, conn, reeve_bytes_of(text), in_ms(LONG_MS), -1,
                          &err))
        fail_msg("%s", err.message);
    assert_int_equal(sent, strlen(text));
}

static reeve__reply_reader *new_reader(void) {
    reeve__reply_reader *reader = NULL;
    assert_int_equal(reeve__reply_reader_new(&reader, NULL, NULL, NULL), 0);
    return reader;
}

/* ---- opening ------------------------------------------------------------- */

static void names_a_refused_connection(void **state) {
    (void)state;
    reeve__conn *conn = NULL;
    reeve_error err;
    char want[80];
    int port = fault_server_free_port();
    assert_int_equal(dial(&conn, NULL, port, &err), REEVE_E_NET);
    assert_null(conn);
    snprintf(want, sizeof want, "connect to 127.0.0.1:%d: connection refused",
             port);
    assert_string_equal(err.message, want);
}

static reeve_rc open_url(const char *text, int64_t by_ns, reeve_error *err) {
    reeve__url url;
    reeve__conn *conn = NULL;
    assert_int_equal(reeve__url_parse(&url, NULL, text, NULL, NULL), 0);
    reeve_rc rc = reeve__conn_open(&conn, NULL, &url, by_ns, -1, err);
    assert_true(rc || conn);
    reeve__conn_close(conn);
    reeve__url_dispose(&url);
    return rc;
}

static void names_what_cannot_be_reached(void **state) {
    (void)state;
    reeve_error err;
    assert_int_equal(open_url("unix:///nowhere/r.sock", in_ms(LONG_MS), &err),
                     REEVE_E_NET);
    assert_string_equal(
        err.message, "connect to /nowhere/r.sock: no such file or directory");
    assert_int_equal(open_url("redis://nowhere.invalid", in_ms(LONG_MS), &err),
                     REEVE_E_NET);
    assert_int_equal(strncmp(err.message, "resolve nowhere.invalid: ", 25), 0);
}

static void tries_every_address(void **state) {
    static const fault_step hold[] = { FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(hold);
    (void)state;
    /* localhost is ::1 too on most machines; only 127.0.0.1 listens */
    fault_server *server = fault_server_start(NULL, &script, 1);
    char text[64];
    reeve_error err;
    snprintf(text, sizeof text, "redis://localhost:%d",
             fault_server_port(server));
    if (open_url(text, in_ms(LONG_MS), &err))
        fail_msg("%s", err.message);
    fault_server_stop(server);
}

/* A listener whose queue is full drops what knocks: the black hole. */
typedef struct black_hole {
    int fd;
    int port;
    reeve__conn *queued[16];
    int count;
} black_hole;

static reeve_rc knock(black_hole *hole, int wake_fd, reeve_error *err) {
    char text[64];
    reeve__url url;
    reeve__conn *conn = NULL;
    snprintf(text, sizeof text, "redis://127.0.0.1:%d", hole->port);
    assert_int_equal(reeve__url_parse(&url, NULL, text, NULL, NULL), 0);
    reeve_rc rc =
        reeve__conn_open(&conn, NULL, &url, in_ms(SHORT_MS), wake_fd, err);
    reeve__url_dispose(&url);
    if (!rc)
        hole->queued[hole->count++] = conn;
    return rc;
}

static void names_a_black_hole(void **state) {
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    black_hole hole = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
    reeve__wakefd wake;
    reeve_error err;
    reeve_rc rc = 0;
    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(hole.fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(hole.fd, 0), 0);
    assert_int_equal(getsockname(hole.fd, (struct sockaddr *)&address, &size),
                     0);
    hole.port = ntohs(address.sin_port);
    while (!rc && hole.count < 16)
        rc = knock(&hole, -1, &err);
    assert_int_equal(rc, REEVE_E_TIMEOUT);
    assert_non_null(strstr(err.message, ": no answer in time"));
    assert_int_equal(reeve__wakefd_open(&wake, NULL), 0);
    reeve__wakefd_ring(&wake);
    assert_int_equal(knock(&hole, wake.fd, &err), REEVE__WOKEN);
    reeve__wakefd_close(&wake);
    while (hole.count > 0)
        reeve__conn_close(hole.queued[--hole.count]);
    close(hole.fd);
}

/* ---- replies ------------------------------------------------------------- */

static const char long_reply[] = "*3\r\n$5\r\nhello\r\n:12345\r\n*1\r\n+OK\r\n";

static void survives_a_cut_at_every_byte(void **state) {
    (void)state;
    for (size_t cut = 0; cut < sizeof long_reply - 1; cut++) {
        const fault_step steps[] = { FAULT_ANY, FAULT_SEND(long_reply, cut),
                                     FAULT_DROP };
        const fault_script script = FAULT_SCRIPT(steps);
        fault_server *server = fault_server_start(NULL, &script, 1);
        reeve__conn *conn = connected(server);
        reeve__reply_reader *reader = new_reader();
        reeve__reply *reply = NULL;
        reeve_error err;
        say(conn, "X");
        assert_int_equal(
            reeve__conn_reply(&reply, conn, reader, in_ms(LONG_MS), -1, &err),
            REEVE_E_NET);
        assert_null(reply);
        assert_non_null(strstr(err.message, " closed the connection"));
        assert_non_null(strstr(err.message, reeve__conn_peer(conn)));
        assert_true(reeve__conn_is_broken(conn));
        reeve__reply_reader_free(reader);
        reeve__conn_close(conn);
        fault_server_stop(server);
    }
}

static void takes_slow_bytes(void **state) {
    static const fault_step steps[] = {
        FAULT_ANY, FAULT_SLOW("*3\r\n$5\r\nhello\r\n:12345\r\n*1\r\n+OK\r\n"),
        FAULT_HOLD
    };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    reeve__reply_reader *reader = new_reader();
    reeve__reply *reply = NULL;
    say(conn, "X");
    assert_int_equal(
        reeve__conn_reply(&reply, conn, reader, in_ms(LONG_MS), -1, NULL), 0);
    assert_int_equal(reply->count, 3);
    assert_int_equal(reply->elements[1].integer, 12345);
    reeve__reply_reader_free(reader);
    reeve__conn_close(conn);
    fault_server_stop(server);
}

static void names_the_peer_of_garbage(void **state) {
    static const fault_step steps[] = { FAULT_TEXT("HTTP/1.1 400\r\n"),
                                        FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    reeve__reply_reader *reader = new_reader();
    reeve__reply *reply = NULL;
    reeve_error err;
    char want[80];
    snprintf(want, sizeof want, "redis at 127.0.0.1:%d: protocol error: ",
             fault_server_port(server));
    assert_int_equal(
        reeve__conn_reply(&reply, conn, reader, in_ms(LONG_MS), -1, &err),
        REEVE_E_NET);
    assert_int_equal(strncmp(err.message, want, strlen(want)), 0);
    assert_true(reeve__conn_is_broken(conn));
    reeve__reply_reader_free(reader);
    reeve__conn_close(conn);
    fault_server_stop(server);
}

static void reports_a_reset(void **state) {
    static const fault_step steps[] = { FAULT_ANY, FAULT_RESET };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    reeve_bytes bytes;
    reeve_error err;
    say(conn, "X");
    assert_int_equal(reeve__conn_read(&bytes, conn, in_ms(LONG_MS), -1, &err),
                     REEVE_E_NET);
    assert_int_equal(bytes.size, 0);
    assert_non_null(strstr(err.message, "connection reset by peer"));
    /* it stays broken, says so, and no SIGPIPE has ended us */
    size_t sent = 0;
    assert_int_equal(reeve__conn_write(&sent, conn, reeve_bytes_of("Y"),
                                       in_ms(LONG_MS), -1, &err),
                     REEVE_E_NET);
    assert_non_null(strstr(err.message, "has failed before"));
    reeve__conn_close(conn);
    fault_server_stop(server);
}

static void raises_no_sigpipe(void **state) {
    static const fault_step steps[] = { FAULT_DROP };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    reeve_rc rc = 0;
    while (!rc) { /* the default action of SIGPIPE would end the process */
        size_t sent = 0;
        rc = reeve__conn_write(&sent, conn, reeve_bytes_of("PING\r\n"),
                               in_ms(LONG_MS), -1, NULL);
    }
    assert_int_equal(rc, REEVE_E_NET);
    reeve__conn_close(conn);
    fault_server_stop(server);
}

/* ---- deadlines and waking ------------------------------------------------ */

static void times_out_on_silence(void **state) {
    static const fault_step steps[] = { FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    reeve_bytes bytes;
    reeve_error err;
    const int64_t points[] = { INT64_MIN, 0, in_ms(SHORT_MS) };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(reeve__conn_read(&bytes, conn, points[i], -1, &err),
                         REEVE_E_TIMEOUT);
        assert_non_null(strstr(err.message, "did not answer in time"));
    }
    assert_false(reeve__conn_is_broken(conn)); /* a late answer may come */
    reeve__conn_close(conn);
    fault_server_stop(server);
}

static void times_out_when_nothing_is_taken(void **state) {
    static const fault_step steps[] = { FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    char *block = calloc(1, FLOOD_BYTES);
    size_t sent = 0;
    reeve_error err;
    assert_int_equal(reeve__conn_write(&sent, conn,
                                       (reeve_bytes){ block, FLOOD_BYTES },
                                       in_ms(SHORT_MS), -1, &err),
                     REEVE_E_TIMEOUT);
    assert_non_null(strstr(err.message, "did not take the request in time"));
    assert_true(sent < FLOOD_BYTES);
    assert_true(reeve__conn_is_broken(conn));
    free(block);
    reeve__conn_close(conn);
    fault_server_stop(server);
}

/* A virtual clock owns deadlines: nothing but its advance ends the wait. */
static void obeys_a_virtual_clock(void **state) {
    static const fault_step steps[] = { FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.virtual_now_at_ms = 1000;
    reeve_env *env = NULL;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = NULL;
    reeve_bytes bytes;
    assert_int_equal(dial(&conn, env, fault_server_port(server), NULL), 0);
    int64_t by_ns = reeve__by_ns(env, 3600000);
    assert_int_equal(reeve_env_advance(env, 3600000, NULL), 0);
    assert_int_equal(reeve__conn_read(&bytes, conn, by_ns, -1, NULL),
                     REEVE_E_TIMEOUT);
    reeve__conn_close(conn);
    fault_server_stop(server);
    reeve_env_free(env);
}

static void ring_soon(void *arg) {
    reeve__wakefd_ring(arg);
}

static void wakes_a_reader(void **state) {
    static const fault_step steps[] = { FAULT_ANY, FAULT_TEXT("+OK\r\n"),
                                        FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    reeve__wakefd wake;
    reeve__thread thread = { 0 };
    reeve_bytes bytes;
    assert_int_equal(reeve__wakefd_open(&wake, NULL), 0);
    assert_int_equal(
        reeve__thread_start(&thread, "ringer", ring_soon, &wake, NULL), 0);
    assert_int_equal(
        reeve__conn_read(&bytes, conn, in_ms(LONG_MS), wake.fd, NULL),
        REEVE__WOKEN);
    assert_int_equal(bytes.size, 0);
    reeve__thread_join(&thread);
    reeve__wakefd_clear(&wake);
    assert_false(reeve__conn_is_broken(conn));
    say(conn, "X"); /* and goes on */
    assert_int_equal(
        reeve__conn_read(&bytes, conn, in_ms(LONG_MS), wake.fd, NULL), 0);
    assert_true(bytes.size > 0);
    reeve__wakefd_close(&wake);
    reeve__conn_close(conn);
    fault_server_stop(server);
}

/* A writer that was woken goes on where it stopped. */
static void wakes_a_writer(void **state) {
    static const fault_step steps[] = { FAULT_ANY, FAULT_FILL(FLOOD_BYTES),
                                        FAULT_READ(FLOOD_BYTES - 1),
                                        FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    reeve__wakefd wake;
    char *block = calloc(1, FLOOD_BYTES);
    size_t sent = 0;
    reeve_rc rc;
    assert_int_equal(reeve__wakefd_open(&wake, NULL), 0);
    reeve__wakefd_ring(&wake);
    do { /* the wake fd stays readable; progress is made all the same */
        rc = reeve__conn_write(&sent, conn, (reeve_bytes){ block, FLOOD_BYTES },
                               in_ms(LONG_MS), wake.fd, NULL);
    } while (rc == REEVE__WOKEN);
    assert_int_equal(rc, 0);
    assert_int_equal(sent, FLOOD_BYTES);
    free(block);
    reeve__wakefd_close(&wake);
    reeve__conn_close(conn);
    fault_server_stop(server);
}

/* ---- floods -------------------------------------------------------------- */

static void read_flood(reeve__conn *conn, size_t size) {
    reeve_error err;
    for (size_t got = 0; got < size;) {
        reeve_bytes bytes;
        if (reeve__conn_read(&bytes, conn, in_ms(LONG_MS), -1, &err))
            fail_msg("after %zu bytes: %s", got, err.message);
        for (size_t i = 0; i < bytes.size; i++)
            if (bytes.data[i] != 'x')
                fail_msg("byte %zu is wrong", got + i);
        got += bytes.size;
        assert_true(got <= size);
    }
    assert_false(reeve__conn_has_data(conn));
}

/* The peer reads nothing until all of its own 10 MiB are taken. */
static void does_not_deadlock_on_two_floods(void **state) {
    static const fault_step steps[] = { FAULT_ANY, FAULT_FILL(FLOOD_BYTES),
                                        FAULT_READ(FLOOD_BYTES - 1),
                                        FAULT_FILL(3), FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    char *block = calloc(1, FLOOD_BYTES);
    size_t sent = 0;
    reeve_error err;
    if (reeve__conn_write(&sent, conn, (reeve_bytes){ block, FLOOD_BYTES },
                          in_ms(LONG_MS), -1, &err))
        fail_msg("%s", err.message);
    assert_true(reeve__conn_has_data(conn)); /* stashed meanwhile */
    read_flood(conn, FLOOD_BYTES + 3);
    free(block);
    reeve__conn_close(conn);
    fault_server_stop(server);
}

static void echoes_a_pipeline(void **state) {
    static const fault_step steps[] = { FAULT_ECHO };
    const fault_script script = FAULT_SCRIPT(steps);
    enum {
        COUNT = 20000,
        SIZE = 500
    };
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    reeve__reply_reader *reader = new_reader();
    reeve__buf buf;
    char block[SIZE];
    size_t sent = 0;
    memset(block, 'p', SIZE);
    reeve__buf_init(&buf, NULL);
    for (int i = 0; i < COUNT; i++) {
        reeve__cmd_begin(&buf, 2);
        reeve__cmd_int(&buf, i);
        reeve__cmd_bytes(&buf, (reeve_bytes){ block, SIZE });
    }
    assert_int_equal(reeve__conn_write(&sent, conn, reeve__buf_view(&buf),
                                       in_ms(LONG_MS), -1, NULL),
                     0);
    for (int i = 0; i < COUNT; i++) {
        reeve__reply *reply = NULL;
        int64_t number = -1;
        assert_int_equal(
            reeve__conn_reply(&reply, conn, reader, in_ms(LONG_MS), -1, NULL),
            0);
        assert_true(reeve__reply_int(&number, reeve__reply_at(reply, 0)));
        assert_int_equal(number, i);
        assert_int_equal(reply->elements[1].bytes.size, SIZE);
        reeve__reply_free(reply);
    }
    reeve__buf_dispose(&buf);
    reeve__reply_reader_free(reader);
    reeve__conn_close(conn);
    fault_server_stop(server);
}

/* ---- fork, memory -------------------------------------------------------- */

static void refuses_after_fork(void **state) {
    static const fault_step steps[] = { FAULT_ANY, FAULT_TEXT("+OK\r\n"),
                                        FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    reeve__conn *conn = connected(server);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        size_t sent = 0;
        reeve_bytes bytes;
        bool fine =
            reeve__conn_write(&sent, conn, reeve_bytes_of("X"), 0, -1, NULL) ==
                REEVE_E_FORKED &&
            reeve__conn_read(&bytes, conn, 0, -1, NULL) == REEVE_E_FORKED;
        reeve__conn_close(conn);
        _exit(fine ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    reeve_bytes bytes; /* the parent's connection has not suffered */
    say(conn, "X");
    assert_int_equal(reeve__conn_read(&bytes, conn, in_ms(LONG_MS), -1, NULL),
                     0);
    reeve__conn_close(conn);
    fault_server_stop(server);
}

static void survives_lack_of_memory(void **state) {
    static const fault_step steps[] = { FAULT_HOLD };
    const fault_script script = FAULT_SCRIPT(steps);
    (void)state;
    fault_server *server = fault_server_start(NULL, &script, 1);
    failing_alloc fail;
    reeve_env *env = failing_alloc_env(&fail, NULL);
    bool done = false;
    for (long n = 0; !done; n++) {
        reeve__conn *conn = NULL;
        failing_alloc_arm(&fail, n);
        reeve_rc rc = dial(&conn, env, fault_server_port(server), NULL);
        done = !failing_alloc_disarm(&fail);
        assert_int_equal(rc, done ? 0 : REEVE_E_NOMEM);
        reeve__conn_close(conn);
        assert_int_equal(failing_alloc_live(&fail), 0);
        assert_true(n < 20);
    }
    reeve_env_free(env);
    fault_server_stop(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_a_refused_connection),
        cmocka_unit_test(names_what_cannot_be_reached),
        cmocka_unit_test(tries_every_address),
        cmocka_unit_test(names_a_black_hole),
        cmocka_unit_test(survives_a_cut_at_every_byte),
        cmocka_unit_test(takes_slow_bytes),
        cmocka_unit_test(names_the_peer_of_garbage),
        cmocka_unit_test(reports_a_reset),
        cmocka_unit_test(raises_no_sigpipe),
        cmocka_unit_test(times_out_on_silence),
        cmocka_unit_test(times_out_when_nothing_is_taken),
        cmocka_unit_test(obeys_a_virtual_clock),
        cmocka_unit_test(wakes_a_reader),
        cmocka_unit_test(wakes_a_writer),
        cmocka_unit_test(does_not_deadlock_on_two_floods),
        cmocka_unit_test(echoes_a_pipeline),
        cmocka_unit_test(refuses_after_fork),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
