/*
 * Plain sockets. Every wait is one poll with a deadline of env's monotonic
 * clock; addresses of a name are tried in turn, each with its share of the time
 * that is left, so one dead address cannot use it up.
 */
#include "wire/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/thread.h"
#include "wire/conn.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* SO_NOSIGPIPE is set instead */
#endif

/* Finds a dead peer within a minute, when idle and when sending. */
#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBE_COUNT 3
#define USER_TIMEOUT_MS 60000

const char *reeve__socket_why(char out[REEVE__WHY_BYTES], int error_number) {
    if (strerror_r(error_number, out, REEVE__WHY_BYTES) != 0)
        snprintf(out, REEVE__WHY_BYTES, "error %d", error_number);
    if (out[0] >= 'A' && out[0] <= 'Z')
        out[0] = (char)(out[0] - 'A' + 'a');
    return out;
}

bool reeve__socket_would_block(int error_number) {
#if EAGAIN != EWOULDBLOCK
    if (error_number == EWOULDBLOCK)
        return true;
#endif
    return error_number == EAGAIN;
}

ssize_t reeve__socket_send(int fd, const char *data, size_t size) {
    ssize_t done;
    do {
        done = send(fd, data, size, MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    return done;
}

ssize_t reeve__socket_recv(int fd, char *data, size_t size) {
    ssize_t done;
    do {
        done = recv(fd, data, size, 0);
    } while (done < 0 && errno == EINTR);
    return done;
}

/* ---- waiting ------------------------------------------------------------- */

static int mask_of(const struct pollfd *polled) {
    int mask = 0;
    bool odd = (polled->revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    if ((polled->events & POLLIN) && (odd || (polled->revents & POLLIN)))
        mask |= REEVE__WAIT_READ;
    if ((polled->events & POLLOUT) && (odd || (polled->revents & POLLOUT)))
        mask |= REEVE__WAIT_WRITE;
    return mask;
}

int reeve__socket_wait(reeve_env *env, int fd, int mask, int wake_fd,
                       int64_t by_ns) {
    for (;;) {
        struct pollfd polled[2] = { { .fd = fd }, { .fd = wake_fd } };
        polled[0].events = (short)((mask & REEVE__WAIT_READ ? POLLIN : 0) |
                                   (mask & REEVE__WAIT_WRITE ? POLLOUT : 0));
        polled[1].events = POLLIN;
        int wait_ms = reeve__poll_span_ms(env, by_ns);
        int ready = poll(polled, 2, wait_ms);
        if (ready > 0) {
            int got = mask_of(&polled[0]);
            return got ? got : REEVE__WAIT_WOKEN;
        }
        /* EINTR and a passing shortage of kernel memory: look again */
        if (wait_ms == 0)
            return 0;
    }
}

/* ---- connecting ---------------------------------------------------------- */

typedef struct dial {
    reeve_env *env;
    const char *label;
    int64_t by_ns;
    int wake_fd;
    reeve_error *err;
} dial;

static void set_option(int fd, int level, int name, int value) {
    /* best effort: a kernel without the option still serves */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

static void set_tcp_options(int fd) {
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#ifdef TCP_KEEPIDLE
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
#endif
#ifdef TCP_KEEPINTVL
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBE_COUNT);
#endif
#ifdef TCP_USER_TIMEOUT
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
#endif
}

static int new_socket(int family) {
#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd >= 0 && (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
                    fcntl(fd, F_SETFL, O_NONBLOCK) < 0)) {
        close(fd);
        return -1;
    }
#endif
#ifdef SO_NOSIGPIPE
    if (fd >= 0)
        set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
    return fd;
}

static reeve_rc connect_failed(const dial *d, int error_number) {
    char why[REEVE__WHY_BYTES];
    bool refused = error_number == EACCES || error_number == EPERM;
    return reeve__fail(d->err, refused ? REEVE_E_SYSTEM : REEVE_E_NET,
                       "connect to %s: %s", d->label,
                       reeve__socket_why(why, error_number));
}

/* 0, REEVE__WOKEN or an error; the deadline of this address is by_ns. */
static reeve_rc finish_connect(const dial *d, int fd, int64_t by_ns) {
    int got =
        reeve__socket_wait(d->env, fd, REEVE__WAIT_WRITE, d->wake_fd, by_ns);
    if (got == REEVE__WAIT_WOKEN)
        return REEVE__WOKEN;
    if (got == 0)
        return reeve__fail(d->err, REEVE_E_TIMEOUT,
                           "connect to %s: no answer in time", d->label);
    int error_number = 0;
    socklen_t size = sizeof error_number;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &size) < 0)
        error_number = errno;
    return error_number ? connect_failed(d, error_number) : 0;
}

static reeve_rc try_address(int *out_fd, const dial *d,
                            const struct sockaddr *address, socklen_t size,
                            int64_t by_ns) {
    char why[REEVE__WHY_BYTES];
    int fd = new_socket(address->sa_family);
    if (fd < 0)
        return reeve__fail(d->err, REEVE_E_SYSTEM, "open a socket to %s: %s",
                           d->label, reeve__socket_why(why, errno));
    if (address->sa_family != AF_UNIX)
        set_tcp_options(fd);
    reeve_rc rc = 0;
    if (connect(fd, address, size) < 0)
        rc = errno == EINPROGRESS || errno == EINTR
                 ? finish_connect(d, fd, by_ns)
                 : connect_failed(d, errno);
    if (rc)
        close(fd);
    else
        *out_fd = fd;
    return rc;
}

static reeve_rc connect_unix(int *out_fd, const dial *d, const char *path) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t size = strlen(path);
    if (size >= sizeof address.sun_path)
        return reeve__fail(d->err, REEVE_E_INVALID,
                           "socket path has %zu bytes, at most %zu", size,
                           sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, size + 1);
    return try_address(out_fd, d, (const struct sockaddr *)&address,
                       (socklen_t)sizeof address, d->by_ns);
}

static reeve_rc resolve(struct addrinfo **out, const dial *d,
                        const reeve__url *url) {
    struct addrinfo hints = { .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICSERV };
    char why[REEVE__WHY_BYTES];
    char port[16];
    snprintf(port, sizeof port, "%d", (int)url->port);
    int code = getaddrinfo(url->host, port, &hints, out);
    if (code == 0)
        return 0;
    *out = NULL;
    if (code == EAI_MEMORY)
        return reeve__fail_nomem(d->err);
    if (code == EAI_SYSTEM)
        return reeve__fail(d->err, REEVE_E_NET, "resolve %s: %s", url->host,
                           reeve__socket_why(why, errno));
    snprintf(why, sizeof why, "%s", gai_strerror(code));
    if (why[0] >= 'A' && why[0] <= 'Z')
        why[0] = (char)(why[0] - 'A' + 'a');
    return reeve__fail(d->err, REEVE_E_NET, "resolve %s: %s", url->host, why);
}

/* The point at which this address has had its share of the time left. */
static int64_t share_by_ns(const dial *d, int64_t addresses_left) {
    if (d->by_ns == INT64_MAX || addresses_left <= 1)
        return d->by_ns;
    int64_t now_ns = reeve__mono_ns(d->env);
    return d->by_ns <= now_ns ? d->by_ns
                              : now_ns + (d->by_ns - now_ns) / addresses_left;
}

static reeve_rc connect_tcp(int *out_fd, const dial *d, const reeve__url *url) {
    struct addrinfo *addresses = NULL;
    int64_t left = 0;
    reeve_rc rc = resolve(&addresses, d, url);
    for (struct addrinfo *at = addresses; at; at = at->ai_next)
        left++;
    for (struct addrinfo *at = addresses; at; at = at->ai_next, left--) {
        rc = try_address(out_fd, d, at->ai_addr, at->ai_addrlen,
                         share_by_ns(d, left));
        if (rc == 0 || rc == REEVE__WOKEN)
            break;
    }
    if (addresses)
        freeaddrinfo(addresses);
    return rc;
}

reeve_rc reeve__socket_connect(int *out_fd, reeve_env *env,
                               const reeve__url *url, int64_t by_ns,
                               int wake_fd, reeve_error *err) {
    dial d = { env, url->label, by_ns, wake_fd, err };
    *out_fd = -1;
    return url->path ? connect_unix(out_fd, &d, url->path)
                     : connect_tcp(out_fd, &d, url);
}
