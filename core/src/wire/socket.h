/*
 * Plain sockets: name resolution, connecting within a deadline, options, one
 * poll for socket and wake fd. Internal to wire; conn.c and tls.c call it.
 */
#ifndef REEVE_SRC_WIRE_SOCKET_H
#define REEVE_SRC_WIRE_SOCKET_H

#include <sys/types.h>

#include "wire/url.h"

/* Why an operation stopped short of its end. */
enum reeve__want {
    REEVE__WANT_NOTHING = 0, /* it is done */
    REEVE__WANT_READ = 1,
    REEVE__WANT_WRITE = 2,
    REEVE__WANT_EOF = 3, /* the peer has closed */
};

/* Result of reeve__socket_wait, a mask; 0 = by_ns has passed. */
#define REEVE__WAIT_READ 1
#define REEVE__WAIT_WRITE 2
#define REEVE__WAIT_WOKEN 4

/* Polls fd for the wanted mask (READ, WRITE) and wake_fd (-1 = none) until
 * by_ns. Errors and hang-ups of fd count as what was wanted; WOKEN comes alone.
 * A virtual clock is looked at every real millisecond. */
int reeve__socket_wait(reeve_env *env, int fd, int mask, int wake_fd,
                       int64_t by_ns);

/* New non-blocking close-on-exec socket, connected. 0, an error, or
 * REEVE__WOKEN (wire/conn.h). Errors: NET, TIMEOUT, SYSTEM, NOMEM. */
reeve_rc reeve__socket_connect(int *out_fd, reeve_env *env,
                               const reeve__url *url, int64_t by_ns,
                               int wake_fd, reeve_error *err);

/* send and recv that never raise SIGPIPE and retry EINTR; -1 sets errno. */
ssize_t reeve__socket_send(int fd, const char *data, size_t size);
ssize_t reeve__socket_recv(int fd, char *data, size_t size);
bool reeve__socket_would_block(int error_number);

#define REEVE__WHY_BYTES 96
/* The system's words for an errno, lower-case first letter. Returns out. */
const char *reeve__socket_why(char out[REEVE__WHY_BYTES], int error_number);

#endif
