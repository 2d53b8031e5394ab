/*
 * A TCP or unix-socket server that misbehaves on cue. Each accepted connection
 * plays a script of steps, one connection at a time; the last script serves
 * every later connection. Used by the tests of wire and of the Redis broker.
 *
 *     static const fault_step cut[] = {
 *         FAULT_ANY, FAULT_TEXT("+PO"), FAULT_DROP};
 *     const fault_script script = FAULT_SCRIPT(cut);
 *     fault_server *server = fault_server_start(NULL, &script, 1);
 *     ... connect to 127.0.0.1:fault_server_port(server) ...
 *     fault_server_stop(server);
 *
 * Scripts must outlive the server. Failures of set-up are asserted.
 */
#ifndef REEVE_TESTS_FAULT_SERVER_H
#define REEVE_TESTS_FAULT_SERVER_H

#include <stddef.h>

enum fault_op {
    FAULT_OP_ANY = 1, /* read at least one byte, whatever it is */
    FAULT_OP_READ,    /* read exactly size bytes */
    FAULT_OP_SEND,    /* send size bytes of data */
    FAULT_OP_FILL,    /* send size bytes 'x'; reads nothing meanwhile */
    FAULT_OP_SLOW,    /* send data in writes of one byte */
    FAULT_OP_HOLD,    /* neither read nor write until the server is stopped;
                      later connections are not accepted then */
    FAULT_OP_DROP,    /* close in order */
    FAULT_OP_RESET,   /* close with a reset (TCP) */
    FAULT_OP_ECHO,    /* send back what comes until the client closes */
};

typedef struct fault_step {
    int op;
    const char *data;
    size_t size;
} fault_step;

typedef struct fault_script {
    const fault_step *steps; /* at their end the connection is closed */
    size_t count;
} fault_script;

#define FAULT_ANY                                                              \
    { .op = FAULT_OP_ANY }
#define FAULT_READ(bytes)                                                      \
    { .op = FAULT_OP_READ, .size = (bytes) }
#define FAULT_SEND(at, bytes)                                                  \
    { .op = FAULT_OP_SEND, .data = (at), .size = (bytes) }
#define FAULT_TEXT(text) FAULT_SEND(text, sizeof(text) - 1)
#define FAULT_FILL(bytes)                                                      \
    { .op = FAULT_OP_FILL, .size = (bytes) }
#define FAULT_SLOW(text)                                                       \
    { .op = FAULT_OP_SLOW, .data = (text), .size = sizeof(text) - 1 }
#define FAULT_HOLD                                                             \
    { .op = FAULT_OP_HOLD }
#define FAULT_DROP                                                             \
    { .op = FAULT_OP_DROP }
#define FAULT_RESET                                                            \
    { .op = FAULT_OP_RESET }
#define FAULT_ECHO                                                             \
    { .op = FAULT_OP_ECHO }
#define FAULT_SCRIPT(steps)                                                    \
    { (steps), sizeof(steps) / sizeof((steps)[0]) }

typedef struct fault_server fault_server;

/* New server; unix_path NULL = 127.0.0.1 and a free port. */
fault_server *fault_server_start(const char *unix_path,
                                 const fault_script *scripts, size_t count);
void fault_server_stop(fault_server *server); /* and frees; accepts NULL */
int fault_server_port(const fault_server *server);
/* Connections accepted so far. */
int fault_server_accepts(fault_server *server);

/* A port of 127.0.0.1 that nobody listens on. */
int fault_server_free_port(void);

#endif
