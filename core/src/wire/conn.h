/*
 * One connection: a non-blocking socket, TLS or not, with a deadline on every
 * operation and an optional wake fd in the same poll. Knows bytes, not RESP
 * (but for one helper). Raises no SIGPIPE and installs no handler.
 *
 * A point by_ns is of env's monotonic clock; INT64_MAX = no deadline. wake_fd
 * is -1 or a descriptor whose readability interrupts the wait: the call then
 * returns REEVE__WOKEN and may be repeated. The caller clears the wake fd.
 *
 * After NET, TIMEOUT (while writing) or TLS the connection is broken: close it.
 * A TIMEOUT of a read leaves it intact, but a reply may still be under way.
 *
 * Thread: one.
 */
#ifndef REEVE_SRC_WIRE_CONN_H
#define REEVE_SRC_WIRE_CONN_H

#include "wire/resp.h"
#include "wire/url.h"

/* Positive return: not an error, the wake fd rang first. */
#define REEVE__WOKEN 1

typedef struct reeve__conn reeve__conn;

/* Resolves, connects (every address in turn) and shakes TLS hands, within
 * by_ns and the url's connect_timeout_ms. The url is only borrowed for the
 * call. *out is NULL unless 0 is returned. Name resolution itself is the
 * system's and not interruptible.
 * Errors: NET, TIMEOUT, TLS, SYSTEM, NOMEM, INVALID (certificate files). */
reeve_rc reeve__conn_open(reeve__conn **out, reeve_env *env,
                          const reeve__url *url, int64_t by_ns, int wake_fd,
                          reeve_error *err);

/* Accepts NULL. In a forked child only releases memory and descriptor. */
void reeve__conn_close(reeve__conn *conn);

/*
 * Sends bytes from *sent on and advances *sent, which is 0 at first; done when
 * 0 is returned. Reads into the connection's stash meanwhile, so a peer whose
 * own output is stuck cannot deadlock us. After WOKEN call again with the same
 * *sent. Errors: NET, TIMEOUT, TLS, FORKED, NOMEM.
 */
reeve_rc reeve__conn_write(size_t *sent, reeve__conn *conn, reeve_bytes bytes,
                           int64_t by_ns, int wake_fd, reeve_error *err);

/* Waits for bytes; *out has at least one and borrows from conn until its next
 * call. Use all of it. by_ns in the past = only look.
 * Errors: NET, TIMEOUT, TLS, FORKED, NOMEM. */
reeve_rc reeve__conn_read(reeve_bytes *out, reeve__conn *conn, int64_t by_ns,
                          int wake_fd, reeve_error *err);

/* Next reply through reader, reading as needed. *out is new
 * (reeve__reply_free); NULL unless 0 is returned. A server's error reply is a
 * reply. Errors: as read, plus NET for a protocol error, naming the peer. */
reeve_rc reeve__conn_reply(reeve__reply **out, reeve__conn *conn,
                           reeve__reply_reader *reader, int64_t by_ns,
                           int wake_fd, reeve_error *err);

/* For an outer poll: wait for reading on fd unless data is buffered already. */
int reeve__conn_fd(const reeve__conn *conn);
bool reeve__conn_has_data(const reeve__conn *conn);

/* "127.0.0.1:6379" or the socket's path, for messages. Borrows from conn. */
const char *reeve__conn_peer(const reeve__conn *conn);
bool reeve__conn_is_broken(const reeve__conn *conn);
bool reeve__conn_is_tls(const reeve__conn *conn);

#endif
