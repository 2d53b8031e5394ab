/*
 * reeve.client: the producer of plain Lua. Calls block, so nginx must not use
 * it; there is protocol() for it.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

#define TYPE "reeve.client"

typedef struct holder {
    reeve_client *client;
    bool is_shared; /* it is the worker's, and stays open */
} holder;

static const reeve_lua_option options_list[] = {
    { "payload_max", REEVE_LUA_SIZE,
      offsetof(reeve_client_options, payload_bytes_max), 1,
      (int64_t)REEVE_PAYLOAD_BYTES_MAX },
    { "prefix", REEVE_LUA_TEXT, offsetof(reeve_client_options, prefix), 0, 0 },
    { "timeout", REEVE_LUA_SPAN, offsetof(reeve_client_options, timeout_ms), 1,
      0 },
    { "url", REEVE_LUA_TEXT, offsetof(reeve_client_options, url), 0, 0 },
    { NULL, 0, 0, 0, 0 },
};

bool reeve_lua_read_client(lua_State *L, reeve_client_options *out,
                           reeve_rc *code, int index, const char *what) {
    *out = (reeve_client_options)REEVE_CLIENT_OPTIONS_INIT;
    return reeve_lua_read_options(L, out, code, index, options_list, what);
}

static int client_gc(lua_State *L) {
    holder *self = luaL_checkudata(L, 1, TYPE);
    if (!self->is_shared)
        reeve_client_close(self->client);
    self->client = NULL;
    return 0;
}

static int client_close(lua_State *L) {
    client_gc(L);
    lua_pushboolean(L, 1);
    return 1;
}

static int client_new(lua_State *L) {
    lua_settop(L, 1);
    if (!lua_isnil(L, 1))
        luaL_checktype(L, 1, LUA_TTABLE);
    reeve_client_options options;
    reeve_rc rc = 0;
    if (!reeve_lua_read_client(L, &options, &rc, 1, "client"))
        return reeve_lua_refuse(L, rc);
    holder *self = reeve_lua_newuserdata(L, sizeof *self);
    *self = (holder){ 0 };
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    reeve_error err = { 0 };
    reeve_lua_runner *runner = reeve_lua_runner_of(L);
    self->is_shared = runner != NULL;
    if (runner)
        self->client = reeve_lua_shared_client(runner->hub, &options, &err);
    else
        (void)reeve_client_open(&self->client, NULL, &options, &err);
    return self->client ? 1 : reeve_lua_fail(L, err.code, &err);
}

/* The client at index 1, or NULL with nil, message, code pushed. */
static reeve_client *open_client(lua_State *L) {
    const holder *self = luaL_checkudata(L, 1, TYPE);
    if (!self->client)
        reeve_lua_failf(L, REEVE_E_USAGE, "the client is closed");
    return self->client;
}

/* A deadline that is a span from the server's now. */
static reeve_rc place_deadline(reeve_lua_task *task, reeve_client *client,
                               reeve_error *err) {
    if (!task->expires_ms)
        return 0;
    int64_t now_at_ms = 0;
    reeve_rc rc = reeve_client_now(&now_at_ms, client, err);
    task->args.deadline_at_ms = now_at_ms + task->expires_ms;
    return rc;
}

/* client:enqueue(type, payload, options) → info */
static int client_enqueue(lua_State *L) {
    lua_settop(L, 4);
    reeve_client *client = open_client(L);
    if (!client)
        return 3;
    lua_newtable(L);
    reeve_lua_task task;
    reeve_rc rc = 0;
    if (!reeve_lua_read_task(L, &task, &rc, 5, 2, 3, 4))
        return reeve_lua_refuse(L, rc);
    reeve_error err = { 0 };
    reeve_enqueue_result result;
    rc = place_deadline(&task, client, &err);
    if (!rc)
        rc = reeve_client_enqueue(&result, client, &task.args, &err);
    if (rc)
        return reeve_lua_fail(L, rc, &err);
    reeve_lua_push_enqueued(L, &result);
    return 1;
}

/* Reads item number `number` of the list at 2: { type, payload, options }. */
static bool read_item(lua_State *L, reeve_lua_task *task, reeve_rc *code,
                      int anchor, int number) {
    lua_rawgeti(L, 2, number);
    if (!lua_istable(L, -1))
        return luaL_error(L, "item %d must be a table, not %s", number,
                          luaL_typename(L, -1));
    int item = lua_gettop(L);
    lua_rawgeti(L, item, 1);
    lua_rawgeti(L, item, 2);
    lua_rawgeti(L, item, 3);
    if (!reeve_lua_read_task(L, task, code, anchor, item + 1, item + 2,
                             item + 3)) {
        lua_pushfstring(L, "item %d: %s", number, lua_tostring(L, -1));
        return false;
    }
    lua_settop(L, item - 1);
    return true;
}

/* One result for each: an info table, whose code and message say why an item
 * was not stored. */
static void push_results(lua_State *L, const reeve_enqueue_result *results,
                         size_t count) {
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        reeve_lua_push_enqueued(L, &results[i]);
        if (results[i].code) {
            lua_pushstring(L, reeve_code_slug(results[i].code));
            lua_setfield(L, -2, "code");
            lua_pushstring(L, reeve_code_text(results[i].code));
            lua_setfield(L, -2, "message");
            lua_pushnil(L);
            lua_setfield(L, -2, "state");
        }
        lua_rawseti(L, -2, (int)i + 1);
    }
}

static reeve_rc place_deadlines(reeve_lua_task *tasks, size_t count,
                                reeve_client *client, reeve_error *err) {
    int64_t now_at_ms = 0;
    for (size_t i = 0; i < count; i++) {
        if (!tasks[i].expires_ms)
            continue;
        reeve_rc rc = now_at_ms ? 0 : reeve_client_now(&now_at_ms, client, err);
        if (rc)
            return rc;
        tasks[i].args.deadline_at_ms = now_at_ms + tasks[i].expires_ms;
    }
    return 0;
}

/* client:enqueue_many{ { type, payload, options }, … } → results; after a
 * failure that concerns items alone also message and code of the first. */
static int client_enqueue_many(lua_State *L) {
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TTABLE);
    reeve_client *client = open_client(L);
    if (!client)
        return 3;
    size_t count = lua_rawlen(L, 2);
    if (count > REEVE_BATCH_COUNT_MAX)
        return reeve_lua_failf(L, REEVE_E_TOO_BIG,
                               "%zu tasks in one call; at most %d", count,
                               REEVE_BATCH_COUNT_MAX);
    lua_newtable(L);
    size_t places = count ? count : 1;
    reeve_lua_task *tasks = reeve_lua_newuserdata(L, places * sizeof *tasks);
    reeve_enqueue_args *args = reeve_lua_newuserdata(L, places * sizeof *args);
    reeve_enqueue_result *results =
        reeve_lua_newuserdata(L, places * sizeof *results);
    memset(results, 0, places * sizeof *results);
    reeve_rc rc = 0;
    for (size_t i = 0; i < count; i++) {
        if (!read_item(L, &tasks[i], &rc, 3, (int)i + 1))
            return reeve_lua_refuse(L, rc);
    }
    reeve_error err = { 0 };
    rc = place_deadlines(tasks, count, client, &err);
    for (size_t i = 0; i < count; i++)
        args[i] = tasks[i].args;
    if (!rc && count)
        rc = reeve_client_enqueue_many(results, client, args, count, &err);
    /* Nothing came of any: the call as a whole is refused. */
    if (rc && !*results[0].id)
        return reeve_lua_fail(L, rc, &err);
    push_results(L, results, count);
    if (!rc)
        return 1;
    lua_pushstring(L, *err.message ? err.message : reeve_code_text(rc));
    lua_pushstring(L, reeve_code_slug(rc));
    return 3;
}

/* client:now() → the broker's clock, Unix seconds */
static int client_now(lua_State *L) {
    reeve_client *client = open_client(L);
    if (!client)
        return 3;
    reeve_error err = { 0 };
    int64_t now_at_ms = 0;
    reeve_rc rc = reeve_client_now(&now_at_ms, client, &err);
    if (rc)
        return reeve_lua_fail(L, rc, &err);
    lua_pushnumber(L, (lua_Number)now_at_ms / 1000);
    return 1;
}

/* check_client(options) → true: what client() would refuse of
 * them, without opening */
static int check_client(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    reeve_client_options options;
    reeve_rc rc = 0;
    if (!reeve_lua_read_client(L, &options, &rc, 1, "reeve.new"))
        return reeve_lua_refuse(L, rc);
    reeve_error err = { 0 };
    rc = reeve_url_check(NULL, options.url, &err);
    if (rc)
        return reeve_lua_fail(L, rc, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* check_task(type, options) → true: what enqueue would refuse of them */
static int check_task(lua_State *L) {
    lua_settop(L, 2);
    lua_pushnil(L);
    lua_newtable(L);
    reeve_lua_task task;
    reeve_rc rc = 0;
    if (!reeve_lua_read_task(L, &task, &rc, 4, 1, 3, 2))
        return reeve_lua_refuse(L, rc);
    lua_pushboolean(L, 1);
    return 1;
}

/* is_task_option(name) → whether enqueue knows it */
static int is_task_option(lua_State *L) {
    lua_pushboolean(L, lua_type(L, 1) == LUA_TSTRING &&
                           reeve_lua_is_task_option(lua_tostring(L, 1)));
    return 1;
}

void reeve_lua_open_client(lua_State *L) {
    static const luaL_Reg methods[] = {
        { "close", client_close },
        { "enqueue", client_enqueue },
        { "enqueue_many", client_enqueue_many },
        { "now", client_now },
        { NULL, NULL },
    };
    reeve_lua_new_type(L, TYPE, methods, client_gc);
    static const luaL_Reg functions[] = {
        { "check_client", check_client },
        { "check_task", check_task },
        { "client", client_new },
        { "is_task_option", is_task_option },
        { NULL, NULL },
    };
    reeve_lua_register(L, functions);
}
