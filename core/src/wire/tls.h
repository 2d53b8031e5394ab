/*
 * TLS over a connected non-blocking socket by OpenSSL >= 1.1.1. Internal to
 * wire: only conn.c calls it. TLS 1.2 or later; the peer's certificate and name
 * are verified unless the url says tls_verify=no. Writes with MSG_NOSIGNAL.
 *
 * Thread: one.
 */
#ifndef REEVE_SRC_WIRE_TLS_H
#define REEVE_SRC_WIRE_TLS_H

#include "wire/socket.h"

typedef struct reeve__tls reeve__tls;

/* New session on fd (borrowed). url and peer ("h:p", for messages) outlive it.
 * Errors: INVALID (certificate files, name), NOMEM. */
reeve_rc reeve__tls_new(reeve__tls **out, reeve_env *env, const reeve__url *url,
                        int fd, const char *peer, reeve_error *err);
/* Accepts NULL. notify sends close_notify if it fits into the socket. */
void reeve__tls_free(reeve__tls *tls, bool notify);

/* Each sets *want (enum reeve__want) and returns 0, or fails.
 * Errors: TLS, NET. */
reeve_rc reeve__tls_handshake(int *want, reeve__tls *tls, reeve_error *err);
reeve_rc reeve__tls_read(int *want, size_t *out_bytes, reeve__tls *tls,
                         char *data, size_t size, reeve_error *err);
reeve_rc reeve__tls_write(int *want, size_t *out_bytes, reeve__tls *tls,
                          const char *data, size_t size, reeve_error *err);
/* Decrypted bytes are waiting. */
bool reeve__tls_has_data(const reeve__tls *tls);

#endif
