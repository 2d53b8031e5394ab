/*
 * The least that speaks to Redis: one blocking connection, calls written into a
 * buffer, replies read from another. Any error ends the program with one line.
 */
#ifndef LIMIT_H
#define LIMIT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct wire {
    int socket;
    volatile sig_atomic_t *stopped; /* or NULL; ends a read that waits */
    char *out;
    size_t out_size, out_room;
    char *in;
    size_t in_at, in_size, in_room;
} wire;

/* Prints "limit: what: which" and exits with 1. */
_Noreturn void fail(const char *what, const char *which);

/* Connects to redis://HOST:PORT[/DB]. */
void wire_open(wire *conn, const char *url, volatile sig_atomic_t *stopped);
void wire_close(wire *conn);

void wire_put(wire *conn, const char *data, size_t size);
void wire_fill(wire *conn, char with, size_t size);
/* The line that begins a list (*) or a string ($). */
void wire_number(wire *conn, char type, size_t number);
void wire_flush(wire *conn);

/* Reads a reply that is a number. */
long long wire_integer(wire *conn);

/*
 * Reads a list of strings, inside a list after a key if keyed, and gives each
 * to the function; returns how many, 0 for no list. Once stopped, a read that
 * waits returns 0.
 */
size_t wire_strings(wire *conn, bool keyed,
                    void (*each)(void *ctx, const char *, size_t), void *ctx);

#endif
