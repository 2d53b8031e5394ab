/*
 * What the files of reeve.core share. Glue only: values go in and out, every
 * decision is the core's, and the public headers are all it sees of the core.
 *
 * Rules here: nothing is static and mutable, for several states in several
 * threads load the module; a call of Lua's API may leave by longjmp, so what
 * must be freed lives in a userdata with __gc before the next such call;
 * failures are `nil, message, code`, only a wrong type of argument raises.
 */
#ifndef REEVE_LUA_GLUE_H
#define REEVE_LUA_GLUE_H

#include <reeve.h>
#include "compat.h"

/* What lua/reeve.lua and lua/resty expect of this file; both sides count up
 * when the interface between them changes. */
#define REEVE_LUA_ABI 3

#if defined(__GNUC__) || defined(__clang__)
#define REEVE_LUA_EXPORT __attribute__((visibility("default")))
#else
#define REEVE_LUA_EXPORT
#endif

/* errors.c */

/* Pushes nil, the message and the code's slug; returns 3. */
int reeve_lua_fail(lua_State *L, reeve_rc rc, const reeve_error *err);
/* The same with a message of our own. */
int reeve_lua_failf(lua_State *L, reeve_rc rc, const char *format, ...)
    REEVE_PRINTF(3, 4);

/* Makes the message on top of the stack nil, message, slug; returns 3. */
int reeve_lua_refuse(lua_State *L, reeve_rc code);

/* values.c */

/* View of the string at index (which must be a string and stays on the stack or
 * in a table as long as the view is used). */
reeve_bytes reeve_lua_bytes(lua_State *L, int index);
/* Pushes a copy. */
void reeve_lua_push_bytes(lua_State *L, reeve_bytes bytes);
/* Pushes an integer where there are any, else a number (exact to 2^53). */
void reeve_lua_push_int(lua_State *L, int64_t value);
/* table[name] = value, for the table on top. */
void reeve_lua_set_int(lua_State *L, const char *name, int64_t value);
void reeve_lua_set_bytes(lua_State *L, const char *name, reeve_bytes value);
void reeve_lua_set_bool(lua_State *L, const char *name, bool value);
/* The integer at index; false when it is no number or has a fraction. */
bool reeve_lua_get_int(lua_State *L, int index, int64_t *out);
/* Text of a number for a message: 10, not 10.0. Returns out. */
#define REEVE_LUA_NUMBER_BYTES 32
const char *reeve_lua_number(char out[REEVE_LUA_NUMBER_BYTES], double number);
/* A copy of text that may have NULs replaced for a message: at most size - 1
 * bytes, printable. Returns out. */
const char *reeve_lua_show(char *out, size_t size, reeve_bytes text);

/* json.c */

/* Pushes the value of a JSON text: null is lightuserdata NULL, an empty array
 * is told from an empty object, integers beyond what Lua holds exactly are
 * strings. False: pushed a message instead. */
bool reeve_lua_push_json(lua_State *L, reeve_bytes text);
/* Pushes the compact JSON of the value at index as a string. False: pushed a
 * message instead. */
bool reeve_lua_to_json(lua_State *L, int index);
/* Adds json_encode, json_decode, null, empty_array … to the module's table,
 * which is on top of the stack. */
void reeve_lua_open_json(lua_State *L);

/* protocol.c */

/* Adds protocol() to the module's table on top of the stack. */
void reeve_lua_open_protocol(lua_State *L);

/* options.c */

/* One option of a plain options table. */
enum reeve_lua_kind {
    REEVE_LUA_TEXT = 1, /* const char *, no NUL inside */
    REEVE_LUA_BYTES,    /* reeve_bytes */
    REEVE_LUA_INT,      /* int32_t, low … high */
    REEVE_LUA_SPAN,     /* int64_t milliseconds, given in seconds or as "90s" */
    REEVE_LUA_AT,       /* int64_t Unix milliseconds, given in seconds */
    REEVE_LUA_FLAG,     /* int32_t 0 or 1 */
    REEVE_LUA_COUNT,    /* as INT; math.huge is REEVE_NEVER */
    REEVE_LUA_SIZE,     /* size_t, low … high */
    REEVE_LUA_LONG,     /* int64_t, low … high */
    REEVE_LUA_NUMBER,   /* double, low … high */
    REEVE_LUA_TABLE,    /* checked to be one; the caller reads it */
    REEVE_LUA_ANY,      /* the caller's: checked and read there */
    REEVE_LUA_SEEN,     /* the same; int32_t 1: it is there */
};

typedef struct reeve_lua_option {
    const char *name;
    int32_t kind;
    size_t offset; /* of the member */
    int64_t low;   /* bounds; a SPAN's low is in ms, REEVE_NEVER there allows
                      "forever" and math.huge */
    int64_t high;
} reeve_lua_option;

/*
 * Fills the struct at out from the table at index (nil: nothing to do); list
 * ends with a NULL name. Views borrow from the table. An unknown key is an
 * error that names the nearest known one. index is absolute. False: pushed a
 * message (and left the stack as it was below).
 */
bool reeve_lua_read_options(lua_State *L, void *out, reeve_rc *code, int index,
                            const reeve_lua_option *list, const char *what);

/* span.c */

/* A span at index: seconds, or text as "1h30m"; at least low_ms, REEVE_NEVER
 * also allows "forever" and math.huge. False: pushed a message. */
bool reeve_lua_read_span(lua_State *L, int64_t *out, int index, int64_t low_ms,
                         const char *what);
/* A moment in Unix seconds. False: pushed a message. */
bool reeve_lua_read_at(lua_State *L, int64_t *out, int index, const char *what);

/* task.c */

/* One task to enqueue; the bytes that args points to are anchored by the
 * caller. */
typedef struct reeve_lua_task {
    reeve_enqueue_args args;
    reeve_retry_options retry;
    int64_t delays_ms[REEVE_DELAYS_COUNT_MAX];
    int64_t expires_ms; /* > 0: the deadline is that long from server now */
    bool raw;           /* the payload is taken as it is */
} reeve_lua_task;

/*
 * Reads one task: its type, its payload (any value, made JSON; with the option
 * raw = true a string, taken as it is) and its options (a table or nil; see
 * docs/lua.md). What is made here is appended to the table at anchor, so that
 * out stays valid while that table lives; anchor 0: it stays on the stack, and
 * out is valid as long. out is not to be moved (args.retry
 * points into it). Indices are absolute. False: pushed a message; *code says
 * which (REEVE_E_USAGE for an unknown option, REEVE_E_INVALID for a value).
 * Raises for a wrong type of type or options.
 */
bool reeve_lua_read_task(lua_State *L, reeve_lua_task *out, reeve_rc *code,
                         int anchor, int type, int payload, int options);
/* The same with the options of like, which were read from the same table. like
 * must live, where it is, as long as out. */
bool reeve_lua_read_like(lua_State *L, reeve_lua_task *out, reeve_rc *code,
                         int anchor, int type, int payload,
                         const reeve_lua_task *like);
/* Whether it is an option that reeve_lua_read_task knows. */
bool reeve_lua_is_task_option(const char *name);
/* Fills task->retry from the retry table at index (or nil) and the option
 * max_retries (or NOT_GIVEN), which wins. False: pushed a message. */
#define REEVE_LUA_NOT_GIVEN (-2)
#define REEVE_LUA_RETRIES_MAX 999999
bool reeve_lua_read_retry(lua_State *L, reeve_lua_task *task, reeve_rc *code,
                          int index, int32_t max_retries);
/* Pushes the info table of a stored task: id, state, due_at (Unix seconds, only when scheduled), existing. */
void reeve_lua_push_enqueued(lua_State *L, const reeve_enqueue_result *result);

/* ids.c */

/* Adds new_id() to the module's table on top of the stack. */
void reeve_lua_open_ids(lua_State *L);

/* client.c */

/* Options that clients and inspectors share. False: pushed a message. */
bool reeve_lua_read_client(lua_State *L, reeve_client_options *out,
                           reeve_rc *code, int index, const char *what);

/* lists.c */

/* One of them is set. */
typedef struct reeve_lua_list {
    reeve_queue_list *queues;
    reeve_task_list *tasks;
    reeve_worker_list *workers;
} reeve_lua_list;

/* Pushes an empty list; what is put there is freed with it. */
reeve_lua_list *reeve_lua_push_list(lua_State *L);
void reeve_lua_free_list(reeve_lua_list *list);
void reeve_lua_open_lists(lua_State *L);
/* Push one table. */
void reeve_lua_push_queue(lua_State *L, const reeve_queue_info *info);
void reeve_lua_push_task(lua_State *L, const reeve_task_info *info);
void reeve_lua_push_worker(lua_State *L, const reeve_worker_info *info);
void reeve_lua_push_headers(lua_State *L, const reeve_header *headers,
                            size_t count);

/* client.c, inspector.c, worker.c: types of plain Lua. Each adds its
 * constructor to the module's table on top of the stack. */
void reeve_lua_open_client(lua_State *L);
void reeve_lua_open_inspector(lua_State *L);
void reeve_lua_open_worker(lua_State *L);

/* module.c */

/* Makes a metatable called name with these methods, __gc and, where there is
 * such a thing, __close; methods may be NULL. Pushes nothing. */
void reeve_lua_new_type(lua_State *L, const char *name, const luaL_Reg *methods,
                        lua_CFunction gc);

REEVE_LUA_EXPORT int luaopen_reeve_core(lua_State *L);

#endif
