/*
 * The short way to read an envelope's line: nearly all of them are a flat
 * object of a type and a few numbers, in the form in which envelope_build
 * writes them. Used by task/envelope_decode.c only.
 */
#ifndef REEVE_SRC_TASK_ENVELOPE_PLAIN_H
#define REEVE_SRC_TASK_ENVELOPE_PLAIN_H

#include "task/envelope.h"

/* An integer member of an object, and where it goes. */
typedef struct reeve__int_member {
    const char *name;
    int64_t min;
    int64_t max;
    size_t offset;
    bool is_wide; /* int64_t, else int32_t */
} reeve__int_member;

/* Those of the line itself. */
#define REEVE__LINE_INTS_COUNT 10
extern const reeve__int_member reeve__line_ints[REEVE__LINE_INTS_COUNT];

/* Puts value where member says. */
void reeve__int_member_set(void *owner, const reeve__int_member *member,
                           int64_t value);

/*
 * Reads a line that has nothing but v, type and those numbers, once each,
 * without spaces, escapes or long numbers; type borrows from it. False when it
 * has anything else: then the line wants a real parser, and out's members are
 * what they may be.
 */
bool reeve__envelope_plain(reeve__envelope *out, reeve_bytes line);

#endif
