/*
 * One task to enqueue: type, payload and options from Lua to the core's
 * arguments.
 */
#include <string.h>

#include "glue.h"

/* The options as they are read, before they mean something. */
typedef struct task_draft {
    reeve_enqueue_args args;
    int64_t expires_ms;
    int32_t priority;
    int32_t max_retries;
    int32_t raw;
    int32_t has_headers;
    int32_t has_retry;
} task_draft;

#define AT(member) offsetof(task_draft, member)
static const reeve_lua_option options_list[] = {
    { "at", REEVE_LUA_AT, AT(args.due_at_ms), 0, 0 },
    { "deadline", REEVE_LUA_AT, AT(args.deadline_at_ms), 0, 0 },
    { "delay", REEVE_LUA_SPAN, AT(args.delay_ms), 0, 0 },
    { "expires", REEVE_LUA_SPAN, AT(expires_ms), 1, 0 },
    { "headers", REEVE_LUA_SEEN, AT(has_headers), 0, 0 },
    { "id", REEVE_LUA_BYTES, AT(args.id), 0, 0 },
    { "idempotency_key", REEVE_LUA_BYTES, AT(args.idempotency_key), 0, 0 },
    { "idempotency_ttl", REEVE_LUA_SPAN, AT(args.idempotency_ttl_ms), 1, 0 },
    { "lease", REEVE_LUA_SPAN, AT(args.lease_ms), 1, 0 },
    { "max_crashes", REEVE_LUA_COUNT, AT(args.max_crashes), 1, 1000000 },
    { "max_retries", REEVE_LUA_COUNT, AT(max_retries), 0,
      REEVE_LUA_RETRIES_MAX },
    { "priority", REEVE_LUA_INT, AT(priority), 0, 9 },
    { "queue", REEVE_LUA_BYTES, AT(args.queue), 0, 0 },
    { "raw", REEVE_LUA_FLAG, AT(raw), 0, 0 },
    { "retention", REEVE_LUA_SPAN, AT(args.retention_ms), REEVE_NEVER, 0 },
    { "retry", REEVE_LUA_SEEN, AT(has_retry), 0, 0 },
    { "timeout", REEVE_LUA_SPAN, AT(args.timeout_ms), 1, 0 },
    { NULL, 0, 0, 0, 0 },
};
#undef AT

bool reeve_lua_is_task_option(const char *name) {
    const reeve_lua_option *option = options_list;
    while (option->name && strcmp(option->name, name) != 0)
        option++;
    return option->name != NULL;
}

/* Moves the value on top into the table at anchor, if there is one. */
static void keep(lua_State *L, int anchor) {
    if (anchor)
        lua_rawseti(L, anchor, (int)lua_rawlen(L, anchor) + 1);
}

/* The headers table on top of the stack. */
static bool read_headers(lua_State *L, reeve_lua_task *out, int anchor) {
    int table = lua_gettop(L);
    size_t count = 0;
    if (!lua_istable(L, table)) {
        lua_pushfstring(L, "headers must be a table, not %s",
                        luaL_typename(L, table));
        return false;
    }
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) {
            lua_pushfstring(L,
                            "headers must map strings to strings, not %s "
                            "to %s",
                            luaL_typename(L, -2), luaL_typename(L, -1));
            return false;
        }
        count++;
    }
    if (count > REEVE_HEADERS_COUNT_MAX) {
        lua_pushfstring(L, "headers has %d entries; at most %d", (int)count,
                        REEVE_HEADERS_COUNT_MAX);
        return false;
    }
    if (count == 0)
        return true;
    reeve_header *headers = reeve_lua_newuserdata(L, count * sizeof *headers);
    keep(L, anchor);
    size_t at = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        headers[at].name = reeve_lua_bytes(L, -2);
        headers[at].value = reeve_lua_bytes(L, -1);
        at++;
    }
    out->args.headers = headers;
    out->args.header_count = count;
    return true;
}

static bool read_payload(lua_State *L, reeve_lua_task *out, int anchor,
                         int payload) {
    if (out->raw) {
        if (lua_type(L, payload) != LUA_TSTRING) {
            lua_pushfstring(L, "payload must be a string when raw, not %s",
                            luaL_typename(L, payload));
            return false;
        }
        out->args.payload = reeve_lua_bytes(L, payload);
        return true;
    }
    if (lua_isnoneornil(L, payload)) {
        out->args.payload = reeve_bytes_of("{}");
        return true;
    }
    if (!reeve_lua_to_json(L, payload)) {
        lua_pushfstring(L, "payload: %s", lua_tostring(L, -1));
        return false;
    }
    out->args.payload = reeve_lua_bytes(L, -1);
    keep(L, anchor);
    return true;
}

/* What must not be said twice, and how things are called in the core. */
static bool settle_options(lua_State *L, task_draft *draft) {
    reeve_enqueue_args *args = &draft->args;
    const char *both = NULL;
    if (args->delay_ms && args->due_at_ms)
        both = "delay or at";
    else if (draft->expires_ms && args->deadline_at_ms)
        both = "expires or deadline";
    if (both) {
        lua_pushfstring(L, "give %s, not both", both);
        return false;
    }
    if (draft->priority != REEVE_LUA_NOT_GIVEN)
        args->priority =
            draft->priority ? draft->priority : REEVE_PRIORITY_LOWEST;
    return true;
}

/* The options that are tables. */
static bool read_nested(lua_State *L, reeve_lua_task *out, reeve_rc *code,
                        int anchor, int options, const task_draft *draft) {
    int base = lua_gettop(L);
    if (draft->has_retry || draft->max_retries != REEVE_LUA_NOT_GIVEN) {
        lua_getfield(L, options, "retry");
        if (!reeve_lua_read_retry(L, out, code, base + 1, draft->max_retries))
            return false;
        out->args.retry = &out->retry;
    }
    *code = REEVE_E_INVALID;
    if (draft->has_headers) {
        lua_getfield(L, options, "headers");
        if (!read_headers(L, out, anchor))
            return false;
    }
    if (anchor)
        lua_settop(L, base);
    return true;
}

/* The type and the payload; the rest of out is complete. */
static bool read_rest(lua_State *L, reeve_lua_task *out, reeve_rc *code,
                      int anchor, int type, int payload) {
    out->args.type = reeve_lua_bytes(L, type);
    *code = REEVE_E_INVALID;
    if (!read_payload(L, out, anchor, payload))
        return false;
    *code = REEVE_OK;
    return true;
}

static void check_type(lua_State *L, int type) {
    if (lua_type(L, type) != LUA_TSTRING)
        luaL_error(L, "type must be a string, not %s", luaL_typename(L, type));
}

bool reeve_lua_read_like(lua_State *L, reeve_lua_task *out, reeve_rc *code,
                         int anchor, int type, int payload,
                         const reeve_lua_task *like) {
    luaL_checkstack(L, 10, "task");
    check_type(L, type);
    out->args = like->args; /* its retry is like's */
    out->expires_ms = like->expires_ms;
    out->raw = like->raw;
    return read_rest(L, out, code, anchor, type, payload);
}

bool reeve_lua_read_task(lua_State *L, reeve_lua_task *out, reeve_rc *code,
                         int anchor, int type, int payload, int options) {
    luaL_checkstack(L, 10, "task");
    check_type(L, type);
    if (!lua_isnoneornil(L, options) && !lua_istable(L, options))
        return luaL_error(L, "options must be a table, not %s",
                          luaL_typename(L, options));
    task_draft draft = { .priority = REEVE_LUA_NOT_GIVEN,
                         .max_retries = REEVE_LUA_NOT_GIVEN };
    draft.args = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
    if (!reeve_lua_read_options(L, &draft, code, options, options_list,
                                "enqueue"))
        return false;
    *code = REEVE_E_INVALID;
    if (!settle_options(L, &draft))
        return false;
    out->args = draft.args;
    out->expires_ms = draft.expires_ms;
    out->raw = draft.raw != 0;
    return read_nested(L, out, code, anchor, options, &draft) &&
           read_rest(L, out, code, anchor, type, payload);
}

void reeve_lua_push_enqueued(lua_State *L, const reeve_enqueue_result *result) {
    lua_createtable(L, 0, 4);
    lua_pushstring(L, result->id);
    lua_setfield(L, -2, "id");
    lua_pushstring(L, reeve_state_name(result->state));
    lua_setfield(L, -2, "state");
    if (result->due_at_ms) {
        lua_pushnumber(L, (lua_Number)result->due_at_ms / 1000);
        lua_setfield(L, -2, "due_at");
    }
    reeve_lua_set_bool(L, "existing", result->existing);
}
