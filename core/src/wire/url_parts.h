/*
 * What url.c and url_options.c share: the parser's state, pieces of raw text.
 */
#ifndef REEVE_SRC_WIRE_URL_PARTS_H
#define REEVE_SRC_WIRE_URL_PARTS_H

#include <string.h>

#include "wire/url.h"

/* A piece of the raw text. */
typedef struct reeve__span {
    const char *at;
    size_t size;
} reeve__span;

typedef struct reeve__url_parser {
    reeve__url *url;
    char *next; /* free part of url->block */
    const char *const *extra_names;
    uint32_t seen; /* bit per row of the option table */
    reeve_error *err;
} reeve__url_parser;

static inline reeve__span reeve__span_of(const char *at, const char *end) {
    return (reeve__span){ at, (size_t)(end - at) };
}

static inline const char *reeve__span_find(reeve__span in, char c) {
    return in.size ? memchr(in.at, c, in.size) : NULL;
}

/* How much of a value a message shows. */
static inline int reeve__span_shown(reeve__span raw) {
    return raw.size > 60 ? 60 : (int)raw.size;
}

/* Decodes raw into the url's block; part names it in messages. */
reeve_rc reeve__url_decode(const char **out, reeve__url_parser *p,
                           reeve__span raw, const char *part);
/* Decimal without sign, at most max. */
bool reeve__url_number(int64_t *out, reeve__span raw, int64_t max);
/* The db of a path; a db option would be the second one. */
reeve_rc reeve__url_path_db(reeve__url_parser *p, reeve__span raw);
reeve_rc reeve__url_query(reeve__url_parser *p, reeve__span query);

#endif
