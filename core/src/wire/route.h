/*
 * Which connection serves a key. The broker asks a route for a connection by
 * hash tag, reports failures, and the route reconnects with backoff (doubling
 * from base to cap, full jitter; it starts over once a connection has outlived
 * the cap). One implementation now: a single server.
 * Sentinel and Cluster fit behind the same operations.
 *
 * Thread: one.
 */
#ifndef REEVE_SRC_WIRE_ROUTE_H
#define REEVE_SRC_WIRE_ROUTE_H

#include "wire/conn.h"

typedef struct reeve__route reeve__route;

/* Runs once for each new connection, before anybody else uses it: AUTH, SELECT,
 * checks. Its error closes the connection; a RETRY-class error (NET, TIMEOUT,
 * BUSY) is tried again within the deadline, any other is returned. */
typedef reeve_rc (*reeve__on_connect_fn)(void *ctx, reeve__conn *conn,
                                         int64_t by_ns, int wake_fd,
                                         reeve_error *err);

typedef struct reeve__route_options {
    const reeve__url *url;           /* borrowed until close */
    reeve__on_connect_fn on_connect; /* NULL = none */
    void *ctx;
    int64_t backoff_base_ms; /* 0 = 10 */
    int64_t backoff_cap_ms;  /* 0 = 500 */
    bool fail_fast; /* until connected once, return the first failure */
} reeve__route_options;

typedef struct reeve__route_ops {
    const char *name; /* "single" */
    void (*close)(reeve__route *route);
    reeve_rc (*conn)(reeve__conn **out, reeve__route *route, reeve_bytes tag,
                     int64_t by_ns, int wake_fd, reeve_error *err);
    void (*failed)(reeve__route *route, reeve__conn *conn);
    reeve_rc (*redirect)(reeve__conn **out, reeve__route *route,
                         const reeve__redirect *to, int64_t by_ns,
                         reeve_error *err);
} reeve__route_ops;

/* Implementations embed this as their first member. */
struct reeve__route {
    const reeve__route_ops *ops;
    reeve_env *env;   /* referenced */
    int64_t connects; /* successful ones; reconnects are connects - 1 */
};

/* New route for the url's topology. Connects nothing. Errors: INVALID,
 * NOMEM. */
reeve_rc reeve__route_open(reeve__route **out, reeve_env *env,
                           const reeve__route_options *options,
                           reeve_error *err);
/* Closes its connections; accepts NULL. Safe in a forked child. */
void reeve__route_close(reeve__route *route);

/* Connection that serves tag (the part in braces; empty = any), connecting and
 * waiting out the backoff as needed. *out is borrowed from route until it is
 * reported failed or the route is closed. Returns the last failure when by_ns
 * comes first. Errors: as reeve__conn_open and on_connect; REEVE__WOKEN. */
reeve_rc reeve__route_conn(reeve__conn **out, reeve__route *route,
                           reeve_bytes tag, int64_t by_ns, int wake_fd,
                           reeve_error *err);

/* Closes conn; the next reeve__route_conn reconnects after the backoff. Call it
 * after any failure of I/O and after a reply that was not waited for. */
void reeve__route_failed(reeve__route *route, reeve__conn *conn);

/* Connection named by MOVED or ASK. A single server refuses: UNSUPPORTED. */
reeve_rc reeve__route_redirect(reeve__conn **out, reeve__route *route,
                               const reeve__redirect *to, int64_t by_ns,
                               reeve_error *err);

/* Successful connects after the first. */
int64_t reeve__route_reconnects(const reeve__route *route);

#endif
