/*
 * Error codes and the error value that a caller owns.
 *
 * One table yields the enum, the slug, the default text and the class. Numbers
 * are part of the ABI and never reused.
 */
#ifndef REEVE_ERROR_H
#define REEVE_ERROR_H

#include <reeve/base.h>

/* X(name, number, slug, class, text) */
#define REEVE_ERROR_TABLE(X)                                                   \
    X(USAGE, -1, "usage", BUG, "wrong use of the library")                     \
    X(INVALID, -2, "invalid", BUG, "invalid value")                            \
    X(TOO_BIG, -3, "too-big", BUG, "value exceeds its bound")                  \
    X(UNSUPPORTED, -4, "unsupported", BUG, "not supported here")               \
    X(STATE, -5, "state", BUG, "not possible in this state")                   \
    X(NOMEM, -10, "no-memory", ENV, "out of memory")                           \
    X(FORKED, -11, "forked", ENV, "the process has forked since")              \
    X(SYSTEM, -12, "system", ENV, "the operating system refused")              \
    X(NET, -20, "network", RETRY, "network failure")                           \
    X(TIMEOUT, -21, "timeout", RETRY, "deadline passed")                       \
    X(BUSY, -22, "busy", RETRY, "the server or file is busy")                  \
    X(AUTH, -30, "auth", FINAL, "authentication refused")                      \
    X(TLS, -31, "tls", FINAL, "TLS verification failed")                       \
    X(SERVER, -32, "server", FINAL, "the server refused the command")          \
    X(UNSAFE, -33, "unsafe", FINAL, "the server may lose data")                \
    X(EXISTS, -40, "exists", FINAL, "a task with this id exists")              \
    X(NOT_FOUND, -41, "not-found", FINAL, "no such thing")                     \
    X(LEASE_LOST, -42, "lease-lost", FINAL, "the lease is no longer ours")     \
    X(CORRUPT, -43, "corrupt", FINAL, "stored data is unreadable")             \
    X(CANCELLED, -50, "cancelled", STOP, "cancelled")                          \
    X(STOPPED, -51, "stopped", STOP, "stopped")

enum reeve_code {
    REEVE_OK = 0,
#define REEVE__X(name, number, slug, class_, text) REEVE_E_##name = number,
    REEVE_ERROR_TABLE(REEVE__X)
#undef REEVE__X
};

/* What the caller should do about an error. */
enum reeve_error_class {
    REEVE_CLASS_NONE = 0,
    REEVE_CLASS_BUG = 1,   /* fix the calling code */
    REEVE_CLASS_ENV = 2,   /* memory, fork, operating system */
    REEVE_CLASS_RETRY = 3, /* the same call may succeed later */
    REEVE_CLASS_FINAL = 4, /* the same call will fail again */
    REEVE_CLASS_STOP = 5,  /* you asked us to stop */
};

/* 256 bytes, owned by the caller; message is one line, NUL-terminated. */
typedef struct reeve_error {
    int32_t code;
    char message[252];
} reeve_error;

REEVE_BEGIN_DECLS

/* "lease-lost" for REEVE_E_LEASE_LOST; "unknown" otherwise. Thread: any. */
REEVE_EXTERN const char *reeve_code_slug(int32_t code);

/* Default one-line text of a code. Thread: any. */
REEVE_EXTERN const char *reeve_code_text(int32_t code);

/* enum reeve_error_class of a code. Thread: any. */
REEVE_EXTERN int32_t reeve_code_class(int32_t code);

REEVE_END_DECLS

#endif
