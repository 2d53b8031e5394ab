/*
 * RESP: commands out, replies in. Commands are appended to a buffer by hand;
 * replies are parsed by hiredis's reader (nothing else of hiredis is used and
 * no other file sees its types) into reeve__reply views. Does no I/O, so fuzz
 * targets, cosockets and our own sockets share it.
 */
#ifndef REEVE_SRC_WIRE_RESP_H
#define REEVE_SRC_WIRE_RESP_H

#include "base/buf.h"

/* ---- commands ---------------------------------------------------------- */

/* Appends "*argc"; exactly argc reeve__cmd_* calls must follow. Failure sticks
 * in buf (buf->failed). */
void reeve__cmd_begin(reeve__buf *buf, size_t argc);
void reeve__cmd_bytes(reeve__buf *buf, reeve_bytes arg);
/* An argument of size bytes that the caller writes there; NULL without memory. */
char *reeve__cmd_place(reeve__buf *buf, size_t size);
void reeve__cmd_text(reeve__buf *buf, const char *arg);
void reeve__cmd_int(reeve__buf *buf, int64_t arg); /* decimal */
/* Whole command at once. */
void reeve__cmd_add(reeve__buf *buf, const reeve_bytes *args, size_t count);

/* ---- replies ----------------------------------------------------------- */

enum reeve__reply_type {
    REEVE__REPLY_NIL = 1,
    REEVE__REPLY_INTEGER = 2,
    REEVE__REPLY_STRING = 3, /* bulk */
    REEVE__REPLY_STATUS = 4, /* +OK */
    REEVE__REPLY_ERROR = 5,
    REEVE__REPLY_ARRAY = 6,
};

/* A reply or an element of one. Views borrow from the top reply. */
typedef struct reeve__reply {
    int32_t type; /* enum reeve__reply_type */
    int64_t integer;
    reeve_bytes bytes;             /* STRING, STATUS, ERROR; a NUL follows */
    struct reeve__reply *elements; /* ARRAY */
    size_t count;
} reeve__reply;

#define REEVE__REPLY_DEPTH_MAX 7

typedef struct reeve__reply_limits {
    size_t bulk_bytes_max;    /* one string; 0 = 64 MiB */
    size_t reply_bytes_max;   /* memory of one reply; 0 = 1 GiB */
    size_t element_count_max; /* in all of one reply; 0 = 1 Mi */
} reeve__reply_limits;

typedef struct reeve__reply_reader reeve__reply_reader;

/* New reader; limits NULL = defaults. Thread: one. Errors: NOMEM. */
reeve_rc reeve__reply_reader_new(reeve__reply_reader **out, reeve_env *env,
                                 const reeve__reply_limits *limits,
                                 reeve_error *err);
/* Frees its replies too; accepts NULL. */
void reeve__reply_reader_free(reeve__reply_reader *reader);
/* Forgets unread bytes and a parse error; for a new connection. Replies that
 * were handed out stay valid. Errors: NOMEM. */
reeve_rc reeve__reply_reader_reset(reeve__reply_reader *reader,
                                   reeve_error *err);

/* Copies bytes in. Errors: NET (earlier protocol error), NOMEM. */
reeve_rc reeve__reply_feed(reeve__reply_reader *reader, reeve_bytes bytes,
                           reeve_error *err);
/* *out is a new reply, or NULL when more bytes are needed. Errors: NET
 * (protocol error or a limit exceeded: the stream is lost, stays so until
 * reset), NOMEM (the same). */
reeve_rc reeve__reply_next(reeve__reply **out, reeve__reply_reader *reader,
                           reeve_error *err);
/* Gives a reply of reeve__reply_next back (any order); accepts NULL. */
void reeve__reply_free(reeve__reply *reply);

bool reeve__reply_is_status(const reeve__reply *reply, const char *text);
/* Element index of an ARRAY, NULL when not an array or out of range. */
const reeve__reply *reeve__reply_at(const reeve__reply *reply, size_t index);
/* INTEGER, or STRING/STATUS holding a decimal int64; false otherwise. */
bool reeve__reply_int(int64_t *out, const reeve__reply *reply);

/* ---- error replies ------------------------------------------------------ */

/* What a server's error asks of us, and reeve__reply_fail's code. */
enum reeve__reply_error {
    REEVE__REPLY_FINE = 0, /* not an error reply */
    REEVE__REPLY_NOSCRIPT, /* SERVER; load the script and repeat */
    REEVE__REPLY_AUTH,     /* AUTH: NOAUTH, WRONGPASS, NOPERM, DENIED */
    REEVE__REPLY_BUSY,     /* BUSY: LOADING, BUSY, TRYAGAIN, CLUSTERDOWN … */
    REEVE__REPLY_OOM,      /* BUSY: maxmemory is reached */
    REEVE__REPLY_READONLY, /* UNSAFE: a replica */
    REEVE__REPLY_MOVED,    /* UNSUPPORTED (single-server route) */
    REEVE__REPLY_ASK,      /* UNSUPPORTED */
    REEVE__REPLY_REFUSED,  /* SERVER: every other error */
};
int32_t reeve__reply_error_of(const reeve__reply *reply);

/* For an ERROR reply fills err with "what: server's text on one line" and
 * returns its code; 0 for any other reply. what names the command and peer,
 * e.g. "hello at localhost:6379". */
reeve_rc reeve__reply_fail(const reeve__reply *reply, const char *what,
                           reeve_error *err);

/* Target of a MOVED or ASK reply; false when it is none or is malformed. */
typedef struct reeve__redirect {
    bool ask;
    int32_t slot;
    reeve_bytes host; /* borrows from the reply; empty = the same host */
    int32_t port;
} reeve__redirect;
bool reeve__reply_redirect(reeve__redirect *out, const reeve__reply *reply);

#endif
