/*
 * Starting, killing and measuring a private redis-server.
 */
#include "support/redis_server.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 10000

#define SERVERS_MAX 32

/* A test that fails half-way leaves no server behind. */
static pid_t running[SERVERS_MAX];

static void kill_all(void) {
    for (size_t i = 0; i < SERVERS_MAX; i++) {
        if (running[i] > 0) {
            kill(running[i], SIGKILL);
        }
    }
}

static void remember(pid_t from, pid_t to) {
    static int registered;
    if (!registered) {
        registered = 1;
        atexit(kill_all);
    }
    for (size_t i = 0; i < SERVERS_MAX; i++) {
        if (running[i] == from) {
            running[i] = to;
            return;
        }
    }
}

/* Ends the test with a message, also under NDEBUG. */
static void need(int good, const char *what) {
    if (!good) {
        fprintf(stderr, "redis_server: %s: %s\n", what, strerror(errno));
        kill_all();
        abort();
    }
}

static int free_port(void) {
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    need(fd >= 0, "socket");
    need(bind(fd, (struct sockaddr *)&address, size) == 0, "bind");
    need(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "name");
    close(fd);
    return ntohs(address.sin_port);
}

/* Options are copied to keep argv's type; the child execs at once. */
static char *own(const char *text) {
    char *copy = strdup(text);
    need(copy != NULL, "memory");
    return copy;
}

void redis_server_again(redis_server *server) {
    const char *program = getenv("REEVE_TEST_REDIS_SERVER");
    char port[16], parent[16];
    snprintf(port, sizeof(port), "%d", server->port);
    snprintf(parent, sizeof(parent), "%d", (int)getpid());
    const char *const fixed[] = {
        program ? program : "redis-server",
        "--port",
        port,
        "--bind",
        "127.0.0.1",
        "--unixsocket",
        server->socket,
        "--dir",
        server->dir,
        "--save",
        "",
        "--daemonize",
        "no",
        "--logfile",
        "server.log",
        NULL,
    };
    char *argv[48];
    size_t count = 0;
    for (size_t i = 0; fixed[i]; i++) {
        argv[count++] = own(fixed[i]);
    }
    for (size_t i = 0; server->args[i]; i++) {
        argv[count++] = own(server->args[i]);
    }
    argv[count] = NULL;
    server->pid = fork();
    need(server->pid >= 0, "fork");
    if (server->pid == 0) {
        /* Whoever reads the test's output must not wait for the server. */
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[0], argv);
        _exit(127);
    }
    remember(0, server->pid);
    for (size_t i = 0; i < count; i++) {
        free(argv[i]);
    }
}

static int answers(const redis_server *server) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    need(fd >= 0, "socket");
    char reply[64];
    ssize_t got = -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        write(fd, "PING\r\n", 6) == 6) {
        got = read(fd, reply, sizeof(reply) - 1);
    }
    close(fd);
    reply[got > 0 ? got : 0] = '\0';
    /* LOADING is an answer to wait on; a password or a role is not. */
    return got > 0 && strncmp(reply, "-LOADING", 8) != 0;
}

void redis_server_wait(redis_server *server) {
    for (int i = 0; i < START_TRIES; i++) {
        if (answers(server)) {
            return;
        }
        int status;
        need(waitpid(server->pid, &status, WNOHANG) == 0,
             "redis-server ended; is it installed?");
        poll(NULL, 0, 2);
    }
    need(0, "redis-server does not answer");
}

void redis_server_start(redis_server *server, const char *const *args) {
    memset(server, 0, sizeof(*server));
    size_t count = 0;
    for (; args && args[count]; count++) {
        need(count < 15, "too many options");
        server->args[count] = args[count];
    }
    snprintf(server->dir, sizeof(server->dir), "/tmp/reeve-test-XXXXXX");
    need(mkdtemp(server->dir) != NULL, server->dir);
    snprintf(server->socket, sizeof(server->socket), "%s/s", server->dir);
    server->port = free_port();
    redis_server_again(server);
    redis_server_wait(server);
}

void redis_server_kill(redis_server *server) {
    if (server->pid > 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
        remember(server->pid, 0);
    }
    server->pid = 0;
}

/* Files, and one level of folders (appendonlydir). */
static void remove_tree(const char *path, int depth) {
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char name[1024];
        int size = snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.' || size >= (int)sizeof(name)) {
            continue;
        }
        if (unlink(name) < 0 && depth > 0) {
            remove_tree(name, depth - 1);
        }
    }
    if (dir) {
        closedir(dir);
    }
    rmdir(path);
}

void redis_server_stop(redis_server *server) {
    redis_server_kill(server);
    if (server->dir[0] != '\0') {
        remove_tree(server->dir, 1);
    }
    server->dir[0] = '\0';
}

long long redis_server_cpu_ns(const redis_server *server) {
    clockid_t clock;
    struct timespec spent;
    need(clock_getcpuclockid(server->pid, &clock) == 0, "cpu clock");
    need(clock_gettime(clock, &spent) == 0, "cpu clock");
    return (long long)spent.tv_sec * 1000000000LL + spent.tv_nsec;
}
