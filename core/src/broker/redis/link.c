/*
 * A connection and its engine: connect, shake hands, write, read, feed.
 */
#include "broker/redis/redis.h"

#include <string.h>

/* ctx is the link: a fresh connection introduces itself. */
static reeve_rc on_connect(void *ctx, reeve__conn *conn, int64_t by_ns,
                           int wake_fd, reeve_error *err) {
    reeve__link *link = ctx;
    reeve_rc rc = reeve__engine_reset(&link->engine, err);
    if (rc < 0) {
        return rc;
    }
    reeve__op_hello hello;
    reeve__op_hello_begin(&hello, &link->engine, &link->hello);
    link->conn = conn;
    (void)wake_fd; /* a handshake is short: it is not interrupted */
    rc = reeve__link_drive(link, &hello.op, by_ns, -1, err);
    link->conn = NULL;
    if (rc == REEVE_OK) {
        rc = reeve__op_result(&hello.op, err);
    }
    link->client_id = hello.client_id;
    return rc;
}

reeve_rc reeve__link_init(reeve__link *link, reeve__redis *redis, bool main,
                          reeve_error *err) {
    bool check = link->hello.check;
    *link = (reeve__link){ .env = redis->base.env, .hello = link->hello };
    link->hello.check = main || check;
    link->hello.user = redis->url.user;
    link->hello.password = redis->url.password;
    link->hello.db = redis->url.db;
    link->hello.client_name =
        redis->url.client_name ? redis->url.client_name : "reeve";
    reeve_rc rc = reeve__engine_init(&link->engine, redis->base.env,
                                     reeve_bytes_of(redis->prefix),
                                     redis->url.label, err);
    if (rc < 0) {
        return rc;
    }
    reeve__route_options options = { .url = &redis->url,
                                     .on_connect = on_connect,
                                     .ctx = link,
                                     .fail_fast = main };
    return reeve__route_open(&link->route, redis->base.env, &options, err);
}

void reeve__link_dispose(reeve__link *link) {
    reeve__route_close(link->route);
    if (link->env || link->engine.reader) {
        reeve__engine_dispose(&link->engine);
    }
    link->route = NULL;
    link->conn = NULL;
}

reeve_rc reeve__link_connect(reeve__link *link, int64_t by_ns, int wake_fd,
                             reeve_error *err) {
    if (link->conn) {
        return REEVE_OK;
    }
    reeve__conn *conn = NULL;
    reeve_rc rc = reeve__route_conn(
        &conn, link->route, (reeve_bytes){ NULL, 0 }, by_ns, wake_fd, err);
    if (rc == REEVE_OK) {
        link->conn = conn;
    }
    return rc;
}

void reeve__link_break(reeve__link *link) {
    if (link->conn && link->route) {
        reeve__route_failed(link->route, link->conn);
    }
    link->conn = NULL;
}

reeve_rc reeve__link_flush(reeve__link *link, int64_t by_ns, int wake_fd,
                           reeve_error *err) {
    reeve__buf *out = &link->engine.out;
    if (out->failed) {
        return reeve__fail_nomem(err);
    }
    size_t sent = 0;
    reeve_rc rc = REEVE_OK;
    while (sent < out->size && rc == REEVE_OK) {
        rc = reeve__conn_write(&sent, link->conn, reeve__buf_view(out), by_ns,
                               wake_fd, err);
    }
    reeve__buf_drop(out, sent);
    return rc;
}

static reeve_rc drive(reeve__link *link, reeve__op *op, int64_t by_ns,
                      int wake_fd, reeve_error *err) {
    reeve_rc rc = REEVE_OK;
    do {
        rc = reeve__link_flush(link, by_ns, wake_fd, err);
        if (rc == REEVE_OK && op->waiting > 0) {
            reeve_bytes bytes;
            rc = reeve__conn_read(&bytes, link->conn, by_ns, wake_fd, err);
            if (rc == REEVE_OK) {
                rc = reeve__engine_feed(&link->engine, bytes, err);
            }
        }
    } while (rc == REEVE_OK && op->waiting > 0);
    return rc;
}

reeve_rc reeve__link_drive(reeve__link *link, reeve__op *op, int64_t by_ns,
                           int wake_fd, reeve_error *err) {
    reeve_rc rc = drive(link, op, by_ns, wake_fd, err);
    if (rc < 0) {
        reeve__link_break(link);
        reeve_error ignored;
        reeve__engine_reset(&link->engine, &ignored);
    }
    return rc;
}

reeve_rc reeve__op_result(const reeve__op *op, reeve_error *err) {
    if (op->rc < 0 && err) {
        *err = op->err;
    }
    return op->rc;
}

bool reeve__is_retryable(reeve_rc rc) {
    return rc == REEVE_E_NET;
}
