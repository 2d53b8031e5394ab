/*
 * One connection. Sending and receiving are written once over a "try" step that
 * is plain or TLS; waiting is reeve__socket_wait. While a write waits, arrived
 * bytes go into the stash, which later reads hand out first: so two peers that
 * both fill their buffers do not lock each other.
 */
#include "wire/conn.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "wire/socket.h"
#include "wire/tls.h"

#define INPUT_BYTES ((size_t)64 << 10)
#define STASH_BYTES_MAX ((size_t)1 << 30)
#define STASH_BYTES_KEPT ((size_t)1 << 20)

struct reeve__conn {
    reeve_env *env; /* referenced */
    int fd;
    bool broken;
    bool stash_is_out; /* the last read handed the stash out */
    uint32_t fork_count;
    reeve__tls *tls; /* NULL = plain */
    char *peer;
    reeve__buf stash;
    char input[INPUT_BYTES];
};

/* ---- one try ------------------------------------------------------------- */

static reeve_rc io_failed(const reeve__conn *conn, int error_number,
                          reeve_error *err) {
    char why[REEVE__WHY_BYTES];
    return reeve__fail(err, REEVE_E_NET, "redis at %s: %s", conn->peer,
                       reeve__socket_why(why, error_number));
}

static reeve_rc closed(reeve__conn *conn, reeve_error *err) {
    conn->broken = true;
    return reeve__fail(err, REEVE_E_NET, "redis at %s closed the connection",
                       conn->peer);
}

static reeve_rc try_send(int *want, size_t *done, reeve__conn *conn,
                         const char *data, size_t size, reeve_error *err) {
    *done = 0;
    *want = REEVE__WANT_NOTHING;
    if (conn->tls)
        return reeve__tls_write(want, done, conn->tls, data, size, err);
    ssize_t sent = reeve__socket_send(conn->fd, data, size);
    if (sent >= 0)
        *done = (size_t)sent;
    else if (reeve__socket_would_block(errno))
        *want = REEVE__WANT_WRITE;
    else
        return io_failed(conn, errno, err);
    return 0;
}

static reeve_rc try_receive(int *want, size_t *done, reeve__conn *conn,
                            char *data, size_t size, reeve_error *err) {
    *done = 0;
    *want = REEVE__WANT_NOTHING;
    if (conn->tls)
        return reeve__tls_read(want, done, conn->tls, data, size, err);
    ssize_t got = reeve__socket_recv(conn->fd, data, size);
    if (got > 0)
        *done = (size_t)got;
    else if (got == 0)
        *want = REEVE__WANT_EOF;
    else if (reeve__socket_would_block(errno))
        *want = REEVE__WANT_READ;
    else
        return io_failed(conn, errno, err);
    return 0;
}

static int mask_for(int want) {
    return want == REEVE__WANT_WRITE ? REEVE__WAIT_WRITE : REEVE__WAIT_READ;
}

/* ---- opening and closing ------------------------------------------------- */

static reeve_rc shake_hands(reeve__conn *conn, const reeve__url *url,
                            int64_t by_ns, int wake_fd, reeve_error *err) {
    reeve_rc rc =
        reeve__tls_new(&conn->tls, conn->env, url, conn->fd, conn->peer, err);
    while (!rc) {
        int want = REEVE__WANT_NOTHING;
        rc = reeve__tls_handshake(&want, conn->tls, err);
        if (rc || want == REEVE__WANT_NOTHING)
            break;
        if (want == REEVE__WANT_EOF)
            return closed(conn, err);
        int got = reeve__socket_wait(conn->env, conn->fd, mask_for(want),
                                     wake_fd, by_ns);
        if (got == REEVE__WAIT_WOKEN)
            return REEVE__WOKEN;
        if (got == 0)
            rc = reeve__fail(err, REEVE_E_TIMEOUT,
                             "connect to %s: no tls handshake in time",
                             conn->peer);
    }
    return rc;
}

reeve_rc reeve__conn_open(reeve__conn **out, reeve_env *env,
                          const reeve__url *url, int64_t by_ns, int wake_fd,
                          reeve_error *err) {
    *out = NULL;
    int64_t own_by_ns = reeve__by_ns(env, url->connect_timeout_ms);
    by_ns = own_by_ns < by_ns ? own_by_ns : by_ns;
    reeve__conn *conn = reeve__alloc(env, sizeof *conn);
    if (!conn)
        return reeve__fail_nomem(err);
    memset(conn, 0, offsetof(reeve__conn, input));
    conn->env = reeve__env_ref(env);
    conn->fd = -1;
    conn->fork_count = reeve__fork_count();
    reeve__buf_init(&conn->stash, env);
    conn->peer = reeve__strndup(env, url->label, strlen(url->label));
    reeve_rc rc = conn->peer ? 0 : reeve__fail_nomem(err);
    if (!rc)
        rc = reeve__socket_connect(&conn->fd, env, url, by_ns, wake_fd, err);
    if (!rc && url->tls)
        rc = shake_hands(conn, url, by_ns, wake_fd, err);
    if (rc) {
        conn->broken = true;
        reeve__conn_close(conn);
        return rc;
    }
    *out = conn;
    return 0;
}

void reeve__conn_close(reeve__conn *conn) {
    if (!conn)
        return;
    reeve_env *env = conn->env;
    bool ours = conn->fork_count == reeve__fork_count();
    reeve__tls_free(conn->tls, ours && !conn->broken);
    if (conn->fd >= 0)
        close(conn->fd);
    reeve__buf_dispose(&conn->stash);
    reeve__free(env, conn->peer);
    reeve__free(env, conn);
    reeve_env_free(env);
}

/* ---- using --------------------------------------------------------------- */

static reeve_rc check_usable(const reeve__conn *conn, reeve_error *err) {
    if (conn->fork_count != reeve__fork_count())
        return reeve__fail(err, REEVE_E_FORKED,
                           "the connection to %s was made before a fork",
                           conn->peer);
    if (conn->broken)
        return reeve__fail(err, REEVE_E_NET,
                           "the connection to %s has failed before",
                           conn->peer);
    return 0;
}

/* The caller is through with the stash that the last read gave it. */
static void retire_stash(reeve__conn *conn) {
    if (!conn->stash_is_out)
        return;
    conn->stash_is_out = false;
    if (conn->stash.capacity > STASH_BYTES_KEPT) {
        reeve__buf_dispose(&conn->stash);
        reeve__buf_init(&conn->stash, conn->env);
    } else {
        reeve__buf_clear(&conn->stash);
    }
}

/* Receives once into the stash. */
static reeve_rc fill_stash(reeve__conn *conn, reeve_error *err) {
    int want = REEVE__WANT_NOTHING;
    size_t got = 0;
    if (conn->stash.size >= STASH_BYTES_MAX)
        return reeve__fail(err, REEVE_E_NET,
                           "redis at %s sent more than %zu bytes of replies "
                           "that nobody read",
                           conn->peer, STASH_BYTES_MAX);
    char *room = reeve__buf_reserve(&conn->stash, INPUT_BYTES);
    if (!room)
        return reeve__fail_nomem(err);
    reeve_rc rc = try_receive(&want, &got, conn, room, INPUT_BYTES, err);
    if (rc)
        return rc;
    if (want == REEVE__WANT_EOF)
        return closed(conn, err);
    conn->stash.size += got;
    return 0;
}

/* Waits until sending may go on; takes in what arrives. */
static reeve_rc wait_to_send(reeve__conn *conn, int want, int64_t by_ns,
                             int wake_fd, reeve_error *err) {
    int got = reeve__socket_wait(
        conn->env, conn->fd, REEVE__WAIT_READ | mask_for(want), wake_fd, by_ns);
    if (got == REEVE__WAIT_WOKEN)
        return REEVE__WOKEN;
    if (got == 0)
        return reeve__fail(err, REEVE_E_TIMEOUT,
                           "redis at %s did not take the request in time",
                           conn->peer);
    return got & REEVE__WAIT_READ ? fill_stash(conn, err) : 0;
}

reeve_rc reeve__conn_write(size_t *sent, reeve__conn *conn, reeve_bytes bytes,
                           int64_t by_ns, int wake_fd, reeve_error *err) {
    reeve_rc rc = check_usable(conn, err);
    if (rc)
        return rc;
    retire_stash(conn);
    while (!rc && *sent < bytes.size) {
        int want = REEVE__WANT_NOTHING;
        size_t done = 0;
        rc = try_send(&want, &done, conn, bytes.data + *sent,
                      bytes.size - *sent, err);
        *sent += done;
        if (rc || want == REEVE__WANT_NOTHING)
            continue;
        rc = want == REEVE__WANT_EOF
                 ? closed(conn, err)
                 : wait_to_send(conn, want, by_ns, wake_fd, err);
    }
    if (rc < 0)
        conn->broken = true;
    return rc;
}

reeve_rc reeve__conn_read(reeve_bytes *out, reeve__conn *conn, int64_t by_ns,
                          int wake_fd, reeve_error *err) {
    *out = (reeve_bytes){ 0 };
    reeve_rc rc = check_usable(conn, err);
    if (rc)
        return rc;
    retire_stash(conn);
    if (conn->stash.size) {
        conn->stash_is_out = true;
        *out = reeve__buf_view(&conn->stash);
        return 0;
    }
    for (;;) {
        int want = REEVE__WANT_NOTHING;
        size_t got = 0;
        rc = try_receive(&want, &got, conn, conn->input, INPUT_BYTES, err);
        if (rc) {
            conn->broken = true;
            return rc;
        }
        if (want == REEVE__WANT_EOF)
            return closed(conn, err);
        if (got) {
            *out = (reeve_bytes){ conn->input, got };
            return 0;
        }
        int ready = reeve__socket_wait(conn->env, conn->fd, mask_for(want),
                                       wake_fd, by_ns);
        if (ready == REEVE__WAIT_WOKEN)
            return REEVE__WOKEN;
        if (ready == 0)
            return reeve__fail(err, REEVE_E_TIMEOUT,
                               "redis at %s did not answer in time",
                               conn->peer);
    }
}

/* Puts the peer in front of a reader's message. */
static reeve_rc reader_failed(reeve__conn *conn, const reeve_error *cause,
                              reeve_error *err) {
    conn->broken = true;
    if (cause->code == REEVE_E_NOMEM)
        return reeve__fail_nomem(err);
    return reeve__fail(err, cause->code, "redis at %s: %.160s", conn->peer,
                       cause->message);
}

reeve_rc reeve__conn_reply(reeve__reply **out, reeve__conn *conn,
                           reeve__reply_reader *reader, int64_t by_ns,
                           int wake_fd, reeve_error *err) {
    for (;;) {
        reeve_error cause;
        if (reeve__reply_next(out, reader, &cause))
            return reader_failed(conn, &cause, err);
        if (*out)
            return 0;
        reeve_bytes bytes;
        reeve_rc rc = reeve__conn_read(&bytes, conn, by_ns, wake_fd, err);
        if (rc)
            return rc;
        if (reeve__reply_feed(reader, bytes, &cause))
            return reader_failed(conn, &cause, err);
    }
}

int reeve__conn_fd(const reeve__conn *conn) {
    return conn->fd;
}

bool reeve__conn_has_data(const reeve__conn *conn) {
    return (conn->stash.size && !conn->stash_is_out) ||
           (conn->tls && reeve__tls_has_data(conn->tls));
}

const char *reeve__conn_peer(const reeve__conn *conn) {
    return conn->peer;
}

bool reeve__conn_is_broken(const reeve__conn *conn) {
    return conn->broken;
}

bool reeve__conn_is_tls(const reeve__conn *conn) {
    return conn->tls != NULL;
}
