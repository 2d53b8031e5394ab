/*
 * The single-server route: retries, backoff, what is final, reconnects; and the
 * whole of wire against a real redis-server, where there is one.
 */
#include "wire/route.h"

#include "base/bytes.h"
#include "base/thread.h"
#include "support/fault_server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define LONG_MS 60000

static const reeve_bytes no_tag = { NULL, 0 };

static int64_t in_ms(int64_t span_ms) {
    return reeve__by_ns(NULL, span_ms);
}

/* What on_connect does: fails with code while there are failures left. */
typedef struct greeter {
    int calls;
    int failures;
    reeve_rc code;
} greeter;

static reeve_rc greet(void *ctx, reeve__conn *conn, int64_t by_ns, int wake_fd,
                      reeve_error *err) {
    greeter *how = ctx;
    (void)by_ns;
    (void)wake_fd;
    assert_non_null(reeve__conn_peer(conn));
    how->calls++;
    if (how->calls > how->failures)
        return 0;
    reeve_error own = { .code = how->code, .message = "greeting failed" };
    if (err)
        *err = own;
    return how->code;
}

typedef struct fixture {
    fault_server *server;
    reeve__url url;
    greeter greeter;
    reeve__route *route;
} fixture;

static void set_up(fixture *f, reeve_env *env, const fault_script *script,
                   reeve__route_options options) {
    char text[64];
    f->server = fault_server_start(NULL, script, 1);
    snprintf(text, sizeof text, "redis://127.0.0.1:%d",
             fault_server_port(f->server));
    assert_int_equal(reeve__url_parse(&f->url, NULL, text, NULL, NULL), 0);
    options.url = &f->url;
    options.on_connect = greet;
    options.ctx = &f->greeter;
    assert_int_equal(reeve__route_open(&f->route, env, &options, NULL), 0);
}

static void tear_down(fixture *f) {
    reeve__route_close(f->route);
    reeve__url_dispose(&f->url);
    fault_server_stop(f->server);
}

static const fault_step hold_steps[] = { FAULT_HOLD };
static const fault_script hold = FAULT_SCRIPT(hold_steps);

/* ---- retries ------------------------------------------------------------- */

static void connects_once_and_keeps(void **state) {
    fixture f = { 0 };
    reeve__conn *first = NULL;
    reeve__conn *second = NULL;
    (void)state;
    set_up(&f, NULL, &hold, (reeve__route_options){ 0 });
    assert_int_equal(fault_server_accepts(f.server), 0); /* not by opening */
    assert_int_equal(
        reeve__route_conn(&first, f.route, no_tag, in_ms(LONG_MS), -1, NULL),
        0);
    assert_int_equal(reeve__route_conn(&second, f.route,
                                       reeve_bytes_of("other"), in_ms(LONG_MS),
                                       -1, NULL),
                     0);
    assert_ptr_equal(first, second);
    assert_int_equal(f.greeter.calls, 1);
    assert_int_equal(reeve__route_reconnects(f.route), 0);
    tear_down(&f);
}

static void retries_what_may_pass(void **state) {
    static const reeve_rc codes[] = { REEVE_E_NET, REEVE_E_BUSY,
                                      REEVE_E_TIMEOUT };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        fixture f = { .greeter = { .failures = 3, .code = codes[i] } };
        reeve__conn *conn = NULL;
        set_up(&f, NULL, &hold,
               (reeve__route_options){ .backoff_base_ms = 1,
                                       .backoff_cap_ms = 2 });
        assert_int_equal(
            reeve__route_conn(&conn, f.route, no_tag, in_ms(LONG_MS), -1, NULL),
            0);
        assert_int_equal(f.greeter.calls, 4);
        assert_int_equal(reeve__route_reconnects(f.route), 0);
        tear_down(&f);
    }
}

static void returns_what_is_final(void **state) {
    static const reeve_rc codes[] = { REEVE_E_AUTH,        REEVE_E_TLS,
                                      REEVE_E_SERVER,      REEVE_E_UNSAFE,
                                      REEVE_E_UNSUPPORTED, REEVE_E_NOMEM };
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        fixture f = { .greeter = { .failures = 3, .code = codes[i] } };
        reeve__conn *conn = NULL;
        reeve_error err;
        set_up(&f, NULL, &hold, (reeve__route_options){ 0 });
        assert_int_equal(
            reeve__route_conn(&conn, f.route, no_tag, in_ms(LONG_MS), -1, &err),
            codes[i]);
        assert_null(conn);
        assert_string_equal(err.message, "greeting failed");
        assert_int_equal(f.greeter.calls, 1);
        tear_down(&f);
    }
}

static void returns_the_last_failure_at_the_deadline(void **state) {
    fixture f = { .greeter = { .failures = 1000000, .code = REEVE_E_NET } };
    reeve__conn *conn = NULL;
    reeve_error err;
    (void)state;
    set_up(&f, NULL, &hold, (reeve__route_options){ 0 });
    assert_int_equal(
        reeve__route_conn(&conn, f.route, no_tag, in_ms(50), -1, &err),
        REEVE_E_NET);
    assert_string_equal(err.message, "greeting failed");
    assert_true(f.greeter.calls >= 1);
    tear_down(&f);
}

static void fails_fast_only_before_the_first_success(void **state) {
    fixture f = { .greeter = { .failures = 1, .code = REEVE_E_NET } };
    reeve__conn *conn = NULL;
    (void)state;
    set_up(&f, NULL, &hold,
           (reeve__route_options){ .fail_fast = true, .backoff_cap_ms = 20 });
    assert_int_equal(
        reeve__route_conn(&conn, f.route, no_tag, in_ms(LONG_MS), -1, NULL),
        REEVE_E_NET);
    assert_int_equal(f.greeter.calls, 1);
    assert_int_equal(
        reeve__route_conn(&conn, f.route, no_tag, in_ms(LONG_MS), -1, NULL), 0);
    reeve__route_failed(f.route, conn);
    f.greeter = (greeter){ .failures = 2, .code = REEVE_E_NET };
    assert_int_equal(
        reeve__route_conn(&conn, f.route, no_tag, in_ms(LONG_MS), -1, NULL), 0);
    assert_int_equal(f.greeter.calls, 3);
    assert_int_equal(reeve__route_reconnects(f.route), 1);
    tear_down(&f);
}

static void replaces_a_broken_connection(void **state) {
    static const fault_step steps[] = { FAULT_ANY, FAULT_DROP };
    const fault_script script = FAULT_SCRIPT(steps);
    fixture f = { 0 };
    (void)state;
    set_up(&f, NULL, &script, (reeve__route_options){ .backoff_cap_ms = 10 });
    for (int i = 0; i < 3; i++) {
        reeve__conn *conn = NULL;
        reeve_bytes bytes;
        size_t sent = 0;
        assert_int_equal(
            reeve__route_conn(&conn, f.route, no_tag, in_ms(LONG_MS), -1, NULL),
            0);
        assert_int_equal(reeve__conn_write(&sent, conn, reeve_bytes_of("X"),
                                           in_ms(LONG_MS), -1, NULL),
                         0);
        assert_int_equal(
            reeve__conn_read(&bytes, conn, in_ms(LONG_MS), -1, NULL),
            REEVE_E_NET);
        if (i == 1) /* reported or found out: both will do */
            reeve__route_failed(f.route, conn);
    }
    assert_int_equal(reeve__route_reconnects(f.route), 2);
    assert_int_equal(f.greeter.calls, 3);
    tear_down(&f);
}

/* ---- backoff ------------------------------------------------------------- */

/* With the clock stopped no second attempt is made; a wake fd ends the wait. */
static void waits_out_the_backoff(void **state) {
    fixture f = { .greeter = { .failures = 1000, .code = REEVE_E_NET } };
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    reeve_env *env = NULL;
    reeve__conn *conn = NULL;
    reeve__wakefd wake;
    (void)state;
    options.virtual_now_at_ms = 1000;
    options.random_seed = 7;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    assert_int_equal(reeve__wakefd_open(&wake, NULL), 0);
    set_up(&f, env, &hold, (reeve__route_options){ 0 });
    int64_t by_ns = reeve__by_ns(env, 3600000);
    reeve__wakefd_ring(&wake);
    for (int attempts = 1; attempts <= 8; attempts++) {
        reeve_rc rc;
        do { /* the wake may interrupt the connect, too */
            rc =
                reeve__route_conn(&conn, f.route, no_tag, by_ns, wake.fd, NULL);
            assert_int_equal(rc, REEVE__WOKEN);
        } while (f.greeter.calls < attempts);
        for (int again = 0; again < 3; again++)
            assert_int_equal(
                reeve__route_conn(&conn, f.route, no_tag, by_ns, wake.fd, NULL),
                REEVE__WOKEN);
        assert_int_equal(f.greeter.calls, attempts);
        assert_int_equal(reeve_env_advance(env, 500, NULL), 0); /* the cap */
    }
    /* a deadline inside the backoff: the caller learns why */
    reeve_error err;
    do {
        assert_int_equal(
            reeve__route_conn(&conn, f.route, no_tag, by_ns, wake.fd, NULL),
            REEVE__WOKEN);
    } while (f.greeter.calls < 9);
    assert_int_equal(reeve__route_conn(&conn, f.route, no_tag,
                                       reeve__mono_ns(env), -1, &err),
                     REEVE_E_TIMEOUT);
    assert_non_null(strstr(err.message, "still backing off after 9 failures"));
    tear_down(&f);
    reeve__wakefd_close(&wake);
    reeve_env_free(env);
}

static void checks_its_options(void **state) {
    reeve__url url;
    reeve__route *route = NULL;
    reeve_error err;
    (void)state;
    assert_int_equal(reeve__url_parse(&url, NULL, "redis://h", NULL, NULL), 0);
    reeve__route_options options = { .url = &url, .backoff_base_ms = -1 };
    assert_int_equal(reeve__route_open(&route, NULL, &options, &err),
                     REEVE_E_INVALID);
    options.backoff_base_ms = 1000;
    assert_int_equal(reeve__route_open(&route, NULL, &options, &err),
                     REEVE_E_INVALID);
    assert_string_equal(err.message,
                        "backoff_cap_ms is 500, at least backoff_base_ms 1000");
    reeve__route_close(NULL);
    reeve__url_dispose(&url);
}

static void refuses_redirections(void **state) {
    fixture f = { 0 };
    reeve__conn *conn = NULL;
    reeve_error err;
    const reeve__redirect to = { .slot = 5,
                                 .host = { "10.0.0.9", 8 },
                                 .port = 7001 };
    (void)state;
    set_up(&f, NULL, &hold, (reeve__route_options){ 0 });
    assert_int_equal(
        reeve__route_redirect(&conn, f.route, &to, in_ms(LONG_MS), &err),
        REEVE_E_UNSUPPORTED);
    assert_non_null(
        strstr(err.message, "sends us to 10.0.0.9:7001 for slot 5"));
    tear_down(&f);
}

/* ---- a real server ------------------------------------------------------- */

typedef struct redis {
    pid_t pid;
    char folder[64];
    char path[96];
    int port;
} redis;

static void start_redis(redis *server) {
    char port[16];
    strcpy(server->folder, "/tmp/reeve-test-route-XXXXXX");
    assert_non_null(mkdtemp(server->folder));
    snprintf(server->path, sizeof server->path, "%s/r.sock", server->folder);
    server->port = fault_server_free_port();
    snprintf(port, sizeof port, "%d", server->port);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        execlp("redis-server", "redis-server", "--port", port, "--bind",
               "127.0.0.1", "--unixsocket", server->path, "--dir",
               server->folder, "--save", "", "--requirepass", "pw%",
               "--loglevel", "warning", "--logfile", "/dev/null", (char *)NULL);
        _exit(127);
    }
}

static void stop_redis(redis *server) {
    int status = 0;
    kill(server->pid, SIGTERM);
    waitpid(server->pid, &status, 0);
    unlink(server->path);
    rmdir(server->folder);
}

static reeve_rc ask(reeve__reply **out, reeve__conn *conn,
                    reeve__reply_reader *reader, const reeve__buf *request,
                    reeve_error *err) {
    size_t sent = 0;
    reeve_rc rc = reeve__conn_write(&sent, conn, reeve__buf_view(request),
                                    in_ms(LONG_MS), -1, err);
    return rc ? rc
              : reeve__conn_reply(out, conn, reader, in_ms(LONG_MS), -1, err);
}

/* on_connect as a broker does it: AUTH over the new connection. */
static reeve_rc log_in(void *ctx, reeve__conn *conn, int64_t by_ns, int wake_fd,
                       reeve_error *err) {
    const reeve__url *url = ctx;
    reeve__reply_reader *reader = NULL;
    reeve__reply *reply = NULL;
    reeve__buf request;
    (void)by_ns;
    (void)wake_fd;
    reeve__buf_init(&request, NULL);
    reeve__cmd_begin(&request, 2);
    reeve__cmd_text(&request, "AUTH");
    reeve__cmd_text(&request, url->password);
    reeve_rc rc = reeve__reply_reader_new(&reader, NULL, NULL, err);
    if (!rc)
        rc = ask(&reply, conn, reader, &request, err);
    if (!rc)
        rc = reeve__reply_fail(reply, "auth", err);
    reeve__reply_reader_free(reader);
    reeve__buf_dispose(&request);
    return rc;
}

/* 10 MiB there and back: 20 values of 512 KiB set and got in one pipeline. */
static void exchange_much(reeve__conn *conn) {
    enum {
        COUNT = 20,
        SIZE = 512 << 10
    };
    reeve__reply_reader *reader = NULL;
    reeve__reply *reply = NULL;
    reeve__buf request;
    char *block = malloc(SIZE);
    reeve_error err;
    memset(block, 'v', SIZE);
    reeve__buf_init(&request, NULL);
    assert_int_equal(reeve__reply_reader_new(&reader, NULL, NULL, NULL), 0);
    for (int i = 0; i < COUNT; i++) {
        reeve__cmd_begin(&request, 3);
        reeve__cmd_text(&request, "SET");
        reeve__cmd_int(&request, i);
        reeve__cmd_bytes(&request, (reeve_bytes){ block, SIZE });
        reeve__cmd_begin(&request, 2);
        reeve__cmd_text(&request, "GET");
        reeve__cmd_int(&request, i);
    }
    if (ask(&reply, conn, reader, &request, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < 2 * COUNT; i++) {
        if (i &&
            reeve__conn_reply(&reply, conn, reader, in_ms(LONG_MS), -1, &err))
            fail_msg("reply %d: %s", i, err.message);
        if (i % 2 == 0) {
            assert_true(reeve__reply_is_status(reply, "OK"));
        } else {
            assert_int_equal(reply->bytes.size, SIZE);
            assert_memory_equal(reply->bytes.data, block, SIZE);
        }
        reeve__reply_free(reply);
    }
    reeve__reply_reader_free(reader);
    reeve__buf_dispose(&request);
    free(block);
}

static reeve_rc use_redis(const char *text, bool exchange, reeve_error *err) {
    reeve__url url;
    reeve__route *route = NULL;
    reeve__conn *conn = NULL;
    assert_int_equal(reeve__url_parse(&url, NULL, text, NULL, NULL), 0);
    const reeve__route_options options = { .url = &url,
                                           .on_connect = log_in,
                                           .ctx = &url };
    assert_int_equal(reeve__route_open(&route, NULL, &options, NULL), 0);
    /* the server is only just starting: the route's retries wait for it */
    reeve_rc rc =
        reeve__route_conn(&conn, route, no_tag, in_ms(LONG_MS), -1, err);
    if (!rc && exchange)
        exchange_much(conn);
    reeve__route_close(route);
    reeve__url_dispose(&url);
    return rc;
}

static bool have_redis(void) {
    return system("command -v redis-server >/dev/null 2>&1") == 0;
}

static void works_with_redis(void **state) {
    redis server;
    char text[160];
    reeve_error err = { 0 };
    (void)state;
    if (!have_redis())
        skip();
    start_redis(&server);
    snprintf(text, sizeof text, "redis://:pw%%25@127.0.0.1:%d", server.port);
    if (use_redis(text, true, &err))
        fail_msg("%s", err.message);
    snprintf(text, sizeof text, "redis+unix://:pw%%25@%s", server.path);
    if (use_redis(text, true, &err))
        fail_msg("%s", err.message);
    snprintf(text, sizeof text, "redis://:wrong@127.0.0.1:%d", server.port);
    assert_int_equal(use_redis(text, false, &err), REEVE_E_AUTH);
    assert_int_equal(strncmp(err.message, "auth: WRONGPASS", 15), 0);
    stop_redis(&server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_once_and_keeps),
        cmocka_unit_test(retries_what_may_pass),
        cmocka_unit_test(returns_what_is_final),
        cmocka_unit_test(returns_the_last_failure_at_the_deadline),
        cmocka_unit_test(fails_fast_only_before_the_first_success),
        cmocka_unit_test(replaces_a_broken_connection),
        cmocka_unit_test(waits_out_the_backoff),
        cmocka_unit_test(checks_its_options),
        cmocka_unit_test(refuses_redirections),
        cmocka_unit_test(works_with_redis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
