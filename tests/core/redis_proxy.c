/*
 * One thread: accept, then carry bytes both ways until one side closes.
 */
#include "core/redis_proxy.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct redis_proxy {
    pthread_t thread;
    char server_path[108];
    int listen_fd;
    int stop_fds[2];
    atomic_bool swallow;
    atomic_int swallowed;
};

static void need(int good, const char *what) {
    if (!good) {
        perror(what);
        abort();
    }
}

static struct sockaddr_un address_of(const char *path) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return address;
}

static int carry(int from, int to) {
    char bytes[65536];
    ssize_t got = read(from, bytes, sizeof(bytes));
    for (ssize_t sent = 0, put; sent < got; sent += put) {
        put = send(to, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (put <= 0) {
            return 0;
        }
    }
    return got > 0;
}

static void serve(redis_proxy *proxy, int client) {
    struct sockaddr_un address = address_of(proxy->server_path);
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    need(server >= 0, "socket");
    int good =
        connect(server, (struct sockaddr *)&address, sizeof(address)) == 0;
    while (good) {
        struct pollfd fds[] = { { .fd = client, .events = POLLIN },
                                { .fd = server, .events = POLLIN },
                                { .fd = proxy->stop_fds[0],
                                  .events = POLLIN } };
        poll(fds, 3, -1);
        good = fds[2].revents == 0;
        if (good && fds[0].revents) {
            good = carry(client, server);
        }
        if (good && fds[1].revents) {
            if (atomic_exchange(&proxy->swallow, false)) {
                atomic_fetch_add(&proxy->swallowed, 1);
                break;
            }
            good = carry(server, client);
        }
    }
    close(server);
    close(client);
}

static void *proxy_main(void *arg) {
    redis_proxy *proxy = arg;
    for (;;) {
        struct pollfd fds[] = { { .fd = proxy->listen_fd, .events = POLLIN },
                                { .fd = proxy->stop_fds[0],
                                  .events = POLLIN } };
        poll(fds, 2, -1);
        if (fds[1].revents) {
            return NULL;
        }
        int client = accept(proxy->listen_fd, NULL, NULL);
        if (client >= 0) {
            serve(proxy, client);
        }
    }
}

redis_proxy *redis_proxy_start(const char *path, const char *server_path) {
    redis_proxy *proxy = calloc(1, sizeof(*proxy));
    struct sockaddr_un address = address_of(path);
    need(proxy != NULL, "memory");
    snprintf(proxy->server_path, sizeof(proxy->server_path), "%s", server_path);
    proxy->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    need(proxy->listen_fd >= 0, "socket");
    need(bind(proxy->listen_fd, (struct sockaddr *)&address, sizeof(address)) ==
             0,
         "bind");
    need(listen(proxy->listen_fd, 8) == 0, "listen");
    need(pipe(proxy->stop_fds) == 0, "pipe");
    need(pthread_create(&proxy->thread, NULL, proxy_main, proxy) == 0,
         "thread");
    return proxy;
}

void redis_proxy_swallow(redis_proxy *proxy) {
    atomic_store(&proxy->swallow, true);
}

int redis_proxy_swallowed(redis_proxy *proxy) {
    return atomic_load(&proxy->swallowed);
}

void redis_proxy_stop(redis_proxy *proxy) {
    need(write(proxy->stop_fds[1], "x", 1) == 1, "write");
    pthread_join(proxy->thread, NULL);
    close(proxy->listen_fd);
    close(proxy->stop_fds[0]);
    close(proxy->stop_fds[1]);
    free(proxy);
}
