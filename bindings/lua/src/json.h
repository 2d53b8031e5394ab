/*
 * What the two halves of JSON share: json.c reads, json_encode.c writes.
 */
#ifndef REEVE_LUA_JSON_H
#define REEVE_LUA_JSON_H

#include "glue.h"

#define REEVE_LUA_JSON_DEPTH_MAX 64
/* Up to here a double holds every integer. */
#define REEVE_LUA_EXACT_MAX INT64_C(9007199254740992)
/* Name in the registry of the metatable that marks arrays. */
#define REEVE_LUA_ARRAY_MT "reeve.array"

/* Bytes of the well-formed UTF-8 sequence at text (left > 0); 0 if none. */
size_t reeve_lua_utf8_bytes(const char *text, size_t left);

#endif
