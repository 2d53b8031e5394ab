/*
 * Dispatch to a route's operations, and the route to a single server: one
 * connection, made on demand, remade with backoff.
 *
 * Backoff after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015),
 * full jitter: the n-th wait is uniform in [0, min(cap, base * 2^(n-1))].
 */
#include "wire/route.h"

#include "wire/socket.h"

#define BACKOFF_BASE_MS 10
#define BACKOFF_CAP_MS 500

typedef struct single {
    reeve__route base; /* first */
    reeve__route_options options;
    reeve__conn *conn;
    int32_t failures;      /* in a row */
    int64_t not_before_ns; /* of the next attempt */
    int64_t connected_ns;
} single;

/* ---- backoff ------------------------------------------------------------- */

static int64_t backoff_ns(const single *route) {
    const reeve__route_options *options = &route->options;
    int64_t bound_ms = options->backoff_base_ms;
    for (int32_t i = 1; i < route->failures; i++) {
        if (bound_ms >= options->backoff_cap_ms)
            break;
        bound_ms = reeve__mul_sat(bound_ms, 2);
    }
    if (bound_ms > options->backoff_cap_ms)
        bound_ms = options->backoff_cap_ms;
    int64_t bound_ns = reeve__mul_sat(bound_ms, REEVE__MS_NS);
    return (int64_t)reeve__random_below(route->base.env, (uint64_t)bound_ns);
}

static void note_failure(single *route) {
    if (route->failures < INT32_MAX)
        route->failures++;
    route->not_before_ns =
        reeve__add_sat(reeve__mono_ns(route->base.env), backoff_ns(route));
}

/* Waits for the next attempt's time. True when it has come, false when by_ns
 * or the wake fd (then *woken) was first. */
static bool wait_turn(bool *woken, single *route, int64_t by_ns, int wake_fd) {
    reeve_env *env = route->base.env;
    int64_t until_ns =
        route->not_before_ns < by_ns ? route->not_before_ns : by_ns;
    *woken = false;
    if (reeve__mono_ns(env) < until_ns &&
        reeve__socket_wait(env, -1, 0, wake_fd, until_ns) ==
            REEVE__WAIT_WOKEN) {
        *woken = true;
        return false;
    }
    return route->not_before_ns <= by_ns;
}

/* ---- the single server --------------------------------------------------- */

static void drop(single *route) {
    reeve__conn_close(route->conn);
    route->conn = NULL;
}

static void single_close(reeve__route *base) {
    single *route = (single *)base;
    reeve_env *env = base->env;
    drop(route);
    reeve__free(env, route);
    reeve_env_free(env);
}

/* One attempt; the connection is kept only when on_connect is content. */
static reeve_rc attempt(single *route, int64_t by_ns, int wake_fd,
                        reeve_error *err) {
    const reeve__route_options *options = &route->options;
    reeve_rc rc = reeve__conn_open(&route->conn, route->base.env, options->url,
                                   by_ns, wake_fd, err);
    if (!rc && options->on_connect)
        rc =
            options->on_connect(options->ctx, route->conn, by_ns, wake_fd, err);
    if (rc) {
        drop(route);
        return rc;
    }
    route->base.connects++;
    route->connected_ns = reeve__mono_ns(route->base.env);
    return 0;
}

static bool is_final(const single *route, reeve_rc rc) {
    return reeve_code_class(rc) != REEVE_CLASS_RETRY ||
           (route->options.fail_fast && route->base.connects == 0);
}

static reeve_rc too_early(const single *route, reeve_error *err) {
    return reeve__fail(err, REEVE_E_TIMEOUT,
                       "connect to %s: still backing off after %d failures",
                       route->options.url->label, (int)route->failures);
}

static reeve_rc single_conn(reeve__conn **out, reeve__route *base,
                            reeve_bytes tag, int64_t by_ns, int wake_fd,
                            reeve_error *err) {
    single *route = (single *)base;
    reeve_rc last = 0;
    (void)tag; /* one server serves every key */
    if (route->conn && reeve__conn_is_broken(route->conn))
        base->ops->failed(base, route->conn);
    while (!route->conn) {
        bool woken = false;
        if (!wait_turn(&woken, route, by_ns, wake_fd))
            return woken ? REEVE__WOKEN : last ? last : too_early(route, err);
        last = attempt(route, by_ns, wake_fd, err);
        if (last == REEVE__WOKEN)
            return last;
        if (last)
            note_failure(route);
        if (last &&
            (is_final(route, last) || reeve__mono_ns(base->env) >= by_ns))
            return last;
    }
    *out = route->conn;
    return 0;
}

static void single_failed(reeve__route *base, reeve__conn *conn) {
    single *route = (single *)base;
    if (!conn || conn != route->conn)
        return;
    int64_t lived_ns = reeve__mono_ns(base->env) - route->connected_ns;
    if (lived_ns >= reeve__mul_sat(route->options.backoff_cap_ms, REEVE__MS_NS))
        route->failures = 0;
    drop(route);
    note_failure(route);
}

static reeve_rc single_redirect(reeve__conn **out, reeve__route *base,
                                const reeve__redirect *to, int64_t by_ns,
                                reeve_error *err) {
    single *route = (single *)base;
    (void)by_ns;
    *out = NULL;
    return reeve__fail(err, REEVE_E_UNSUPPORTED,
                       "redis at %s sends us to %.*s:%d for slot %d: redis "
                       "cluster is not in this version",
                       route->options.url->label,
                       to->host.size > 100 ? 100 : (int)to->host.size,
                       to->host.data, (int)to->port, (int)to->slot);
}

static const reeve__route_ops single_ops = {
    .name = "single",
    .close = single_close,
    .conn = single_conn,
    .failed = single_failed,
    .redirect = single_redirect,
};

/* ---- any route ----------------------------------------------------------- */

static reeve_rc check_options(reeve__route_options *options, reeve_error *err) {
    if (options->backoff_base_ms == 0)
        options->backoff_base_ms = BACKOFF_BASE_MS;
    if (options->backoff_cap_ms == 0)
        options->backoff_cap_ms = BACKOFF_CAP_MS;
    if (options->backoff_base_ms < 0)
        return reeve__fail(err, REEVE_E_INVALID,
                           "backoff_base_ms is %lld, at least 0",
                           (long long)options->backoff_base_ms);
    if (options->backoff_cap_ms < options->backoff_base_ms)
        return reeve__fail(err, REEVE_E_INVALID,
                           "backoff_cap_ms is %lld, at least backoff_base_ms "
                           "%lld",
                           (long long)options->backoff_cap_ms,
                           (long long)options->backoff_base_ms);
    return 0;
}

reeve_rc reeve__route_open(reeve__route **out, reeve_env *env,
                           const reeve__route_options *options,
                           reeve_error *err) {
    *out = NULL;
    reeve__route_options loaded = *options;
    reeve_rc rc = check_options(&loaded, err);
    if (rc)
        return rc;
    single *route = reeve__calloc(env, 1, sizeof *route);
    if (!route)
        return reeve__fail_nomem(err);
    route->base.ops = &single_ops;
    route->base.env = reeve__env_ref(env);
    route->options = loaded;
    *out = &route->base;
    return 0;
}

void reeve__route_close(reeve__route *route) {
    if (route)
        route->ops->close(route);
}

reeve_rc reeve__route_conn(reeve__conn **out, reeve__route *route,
                           reeve_bytes tag, int64_t by_ns, int wake_fd,
                           reeve_error *err) {
    *out = NULL;
    return route->ops->conn(out, route, tag, by_ns, wake_fd, err);
}

void reeve__route_failed(reeve__route *route, reeve__conn *conn) {
    route->ops->failed(route, conn);
}

reeve_rc reeve__route_redirect(reeve__conn **out, reeve__route *route,
                               const reeve__redirect *to, int64_t by_ns,
                               reeve_error *err) {
    return route->ops->redirect(out, route, to, by_ns, err);
}

int64_t reeve__route_reconnects(const reeve__route *route) {
    return route->connects > 1 ? route->connects - 1 : 0;
}
