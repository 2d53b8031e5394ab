/*
 * The misbehaving server: one thread, blocking steps over poll, a pipe to stop.
 */
#include "support/fault_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct fault_server {
    const fault_script *scripts;
    size_t count;
    int listen_fd;
    int port;
    int stop_fds[2];
    atomic_int accepts;
    pthread_t thread;
};

/* Set-up that fails makes the test meaningless: end it. */
static void must(bool fine) {
    if (!fine)
        abort();
}

/* False when the server is being stopped. */
static bool await(const fault_server *server, int fd, short events) {
    struct pollfd polled[2] = { { .fd = fd, .events = events },
                                { .fd = server->stop_fds[0],
                                  .events = POLLIN } };
    while (poll(polled, 2, -1) < 0)
        must(errno == EINTR);
    return polled[1].revents == 0;
}

static bool read_exactly(const fault_server *server, int fd, size_t size) {
    static char sink[65536];
    while (size > 0) {
        if (!await(server, fd, POLLIN))
            return false;
        ssize_t got = recv(fd, sink, size < sizeof sink ? size : sizeof sink,
                           MSG_DONTWAIT);
        if (got <= 0)
            return false;
        size -= (size_t)got;
    }
    return true;
}

static bool send_all(const fault_server *server, int fd, const char *data,
                     size_t size) {
    while (size > 0) {
        if (!await(server, fd, POLLOUT))
            return false;
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
    }
    return true;
}

static bool fill(const fault_server *server, int fd, size_t size) {
    char block[4096];
    memset(block, 'x', sizeof block);
    for (size_t part; size > 0; size -= part) {
        part = size < sizeof block ? size : sizeof block;
        if (!send_all(server, fd, block, part))
            return false;
    }
    return true;
}

static bool send_slowly(const fault_server *server, int fd,
                        const fault_step *step) {
    for (size_t i = 0; i < step->size; i++)
        if (!send_all(server, fd, step->data + i, 1))
            return false;
    return true;
}

static bool echo(const fault_server *server, int fd) {
    char block[65536];
    for (;;) {
        if (!await(server, fd, POLLIN))
            return false;
        ssize_t got = recv(fd, block, sizeof block, MSG_DONTWAIT);
        if (got <= 0 || !send_all(server, fd, block, (size_t)got))
            return false;
    }
}

static bool play_step(const fault_server *server, int fd,
                      const fault_step *step) {
    struct linger linger = { .l_onoff = 1 };
    char one;
    switch (step->op) {
    case FAULT_OP_ANY:
        return await(server, fd, POLLIN) && recv(fd, &one, 1, 0) == 1;
    case FAULT_OP_READ:
        return read_exactly(server, fd, step->size);
    case FAULT_OP_SEND:
        return send_all(server, fd, step->data, step->size);
    case FAULT_OP_FILL:
        return fill(server, fd, step->size);
    case FAULT_OP_SLOW:
        return send_slowly(server, fd, step);
    case FAULT_OP_HOLD:
        return await(server, -1, 0);
    case FAULT_OP_RESET:
        must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) ==
             0);
        return false;
    case FAULT_OP_ECHO:
        return echo(server, fd);
    default: /* FAULT_OP_DROP */
        return false;
    }
}

/* Unread input would turn a close into a reset: for DROP, drain it first. */
static void drain(int fd) {
    char sink[4096];
    while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
        continue;
}

static void play(const fault_server *server, int fd,
                 const fault_script *script) {
    bool reset = false;
    for (size_t i = 0; i < script->count; i++) {
        reset = script->steps[i].op == FAULT_OP_RESET;
        if (!play_step(server, fd, &script->steps[i]))
            break;
    }
    if (!reset)
        drain(fd);
    close(fd);
}

static void *serve(void *arg) {
    fault_server *server = arg;
    size_t index = 0;
    while (await(server, server->listen_fd, POLLIN)) {
        int fd = accept(server->listen_fd, NULL, NULL);
        if (fd < 0)
            continue;
        atomic_fetch_add(&server->accepts, 1);
        play(server, fd, &server->scripts[index]);
        if (index + 1 < server->count)
            index++;
    }
    return NULL;
}

static int listen_tcp(int *out_port) {
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0);
    must(bind(fd, (const struct sockaddr *)&address, size) == 0);
    must(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    *out_port = ntohs(address.sin_port);
    return fd;
}

static int listen_unix(const char *path) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    must(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    must(fd >= 0);
    must(bind(fd, (const struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

fault_server *fault_server_start(const char *unix_path,
                                 const fault_script *scripts, size_t count) {
    fault_server *server = calloc(1, sizeof *server);
    must(server != NULL && count > 0);
    server->scripts = scripts;
    server->count = count;
    server->listen_fd =
        unix_path ? listen_unix(unix_path) : listen_tcp(&server->port);
    must(listen(server->listen_fd, 64) == 0);
    must(pipe(server->stop_fds) == 0);
    must(pthread_create(&server->thread, NULL, serve, server) == 0);
    return server;
}

void fault_server_stop(fault_server *server) {
    if (!server)
        return;
    must(write(server->stop_fds[1], "", 1) == 1);
    pthread_join(server->thread, NULL);
    close(server->listen_fd);
    close(server->stop_fds[0]);
    close(server->stop_fds[1]);
    free(server);
}

int fault_server_port(const fault_server *server) {
    return server->port;
}

int fault_server_accepts(fault_server *server) {
    return atomic_load(&server->accepts);
}

int fault_server_free_port(void) {
    int port = 0;
    close(listen_tcp(&port));
    return port;
}
