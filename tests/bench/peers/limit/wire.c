/*
 * The connection of the bare limit: buffers around one blocking socket. It
 * parses only the replies of LPUSH, RPOP, BLMPOP and SELECT.
 */
#define _GNU_SOURCE
#include "limit.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_BYTES 65536

_Noreturn void fail(const char *what, const char *which) {
    fprintf(stderr, "limit: %s: %s\n", what, which);
    exit(1);
}

/* ---- out ------------------------------------------------------------------- */

static char *room_for(wire *conn, size_t size) {
    if (conn->out_size + size > conn->out_room) {
        conn->out_room = 2 * (conn->out_size + size);
        conn->out = realloc(conn->out, conn->out_room);
        if (!conn->out) {
            fail("no memory for", "calls");
        }
    }
    char *at = conn->out + conn->out_size;
    conn->out_size += size;
    return at;
}

void wire_put(wire *conn, const char *data, size_t size) {
    memcpy(room_for(conn, size), data, size);
}

void wire_fill(wire *conn, char with, size_t size) {
    memset(room_for(conn, size), with, size);
}

void wire_number(wire *conn, char type, size_t number) {
    char text[32];
    int used = snprintf(text, sizeof(text), "%c%zu\r\n", type, number);
    wire_put(conn, text, (size_t)used);
}

void wire_flush(wire *conn) {
    for (size_t at = 0; at < conn->out_size;) {
        ssize_t sent = send(conn->socket, conn->out + at, conn->out_size - at,
                            MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            fail("cannot write to redis", strerror(errno));
        }
        at += sent > 0 ? (size_t)sent : 0;
    }
    conn->out_size = 0;
}

/* ---- in -------------------------------------------------------------------- */

/* Reads more; false: stopped while it waited. */
static bool refill(wire *conn) {
    if (conn->in_at > 0) {
        conn->in_size -= conn->in_at;
        memmove(conn->in, conn->in + conn->in_at, conn->in_size);
        conn->in_at = 0;
    }
    if (conn->in_room - conn->in_size < IN_BYTES) {
        conn->in_room += 2 * IN_BYTES;
        conn->in = realloc(conn->in, conn->in_room);
        if (!conn->in) {
            fail("no memory for", "replies");
        }
    }
    for (;;) {
        ssize_t got = recv(conn->socket, conn->in + conn->in_size,
                           conn->in_room - conn->in_size, 0);
        if (got > 0) {
            conn->in_size += (size_t)got;
            return true;
        }
        if (got == 0 || errno != EINTR) {
            fail("redis closed the connection",
                 got == 0 ? "end of stream" : strerror(errno));
        }
        if (conn->stopped && *conn->stopped) {
            return false;
        }
    }
}

/* A line's start after its type, the number there; false: stopped. */
static bool read_number(wire *conn, char *type, long long *number) {
    char *end;
    while ((end = memchr(conn->in + conn->in_at, '\n',
                         conn->in_size - conn->in_at)) == NULL) {
        if (!refill(conn)) {
            return false;
        }
    }
    char *line = conn->in + conn->in_at;
    end[-1] = '\0';
    if (*line == '-') {
        fail("redis answered", line + 1);
    }
    *type = *line;
    *number = atoll(line + 1);
    conn->in_at = (size_t)(end + 1 - conn->in);
    return true;
}

long long wire_integer(wire *conn) {
    char type;
    long long number = 0;
    read_number(conn, &type, &number);
    return number;
}

/* One string, borrowed from the buffer until the next read. */
static const char *read_string(wire *conn, size_t size) {
    while (conn->in_size - conn->in_at < size + 2) {
        if (!refill(conn)) {
            return NULL;
        }
    }
    const char *at = conn->in + conn->in_at;
    conn->in_at += size + 2;
    return at;
}

/* A list's length; 0 for none, and once stopped. */
static long long read_list(wire *conn) {
    char type;
    long long number = 0;
    return read_number(conn, &type, &number) && number > 0 ? number : 0;
}

size_t wire_strings(wire *conn, bool keyed,
                    void (*each)(void *ctx, const char *, size_t), void *ctx) {
    char type;
    long long size;
    if (keyed && (read_list(conn) == 0 || !read_number(conn, &type, &size) ||
                  !read_string(conn, (size_t)size))) {
        return 0;
    }
    long long count = read_list(conn);
    for (long long i = 0; i < count; i++) {
        const char *data = read_number(conn, &type, &size)
                               ? read_string(conn, (size_t)size)
                               : NULL;
        if (!data) {
            return 0;
        }
        each(ctx, data, (size_t)size);
    }
    return (size_t)count;
}

/* ---- open ------------------------------------------------------------------ */

static int connect_to(const char *host, const char *port) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        fail("no such host", host);
    }
    int one = 1, made = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0 || connect(made, found->ai_addr, found->ai_addrlen) < 0) {
        fail("cannot connect to redis", strerror(errno));
    }
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    freeaddrinfo(found);
    return made;
}

void wire_open(wire *conn, const char *url, volatile sig_atomic_t *stopped) {
    char host[128], port[8] = "6379", database[8] = "0";
    *conn = (wire){ .stopped = stopped, .in = malloc(IN_BYTES) };
    if (!conn->in) {
        fail("no memory for", "replies");
    }
    conn->in_room = IN_BYTES;
    if (sscanf(url, "redis://%127[^:/]:%7[0-9]/%7[0-9]", host, port, database) <
        1) {
        fail("not redis://HOST:PORT/DB", url);
    }
    conn->socket = connect_to(host, port);
    char call[64];
    int used =
        snprintf(call, sizeof(call), "*2\r\n$6\r\nSELECT\r\n$%zu\r\n%s\r\n",
                 strlen(database), database);
    wire_put(conn, call, (size_t)used);
    wire_flush(conn);
    wire_integer(conn);
}

void wire_close(wire *conn) {
    close(conn->socket);
    free(conn->out);
    free(conn->in);
}
