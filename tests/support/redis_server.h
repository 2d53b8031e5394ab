/*
 * A redis-server of the test's own: a free port of 127.0.0.1, a unix socket and
 * a directory that goes with it. Another program (Valkey, another version) by
 * the environment: REEVE_TEST_REDIS_SERVER. Failures of set-up are asserted.
 */
#ifndef REEVE_TESTS_REDIS_SERVER_H
#define REEVE_TESTS_REDIS_SERVER_H

#include <sys/types.h>

typedef struct redis_server {
    pid_t pid; /* 0 = not running */
    int port;
    char dir[64];
    char socket[96];
    const char *args[16]; /* further options, NULL-terminated; borrowed */
} redis_server;

/* args: "--name", "value", …, NULL; may be NULL. Waits until it answers. */
void redis_server_start(redis_server *server, const char *const *args);
/* Starts it again on the same port and directory; it must not be running.
 * Does not wait until it answers. */
void redis_server_again(redis_server *server);
void redis_server_wait(redis_server *server);
void redis_server_kill(redis_server *server); /* SIGKILL and wait */
void redis_server_stop(redis_server *server); /* kill, remove the directory */
/* CPU time of the server so far, ns. */
long long redis_server_cpu_ns(const redis_server *server);

#endif
