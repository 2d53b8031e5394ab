/*
 * A batch: tasks checked and made ready once, so that they can be sent again
 * with the same ids when an answer was lost.
 */
#include <stdlib.h>
#include <string.h>

#include "sansio.h"

#define TYPE "reeve.batch"
#define ENV_TYPE "reeve.env"
#define COUNT_MAX 4096

/* ---- the environment of ids ----------------------------------------------- */

typedef struct env_holder {
    reeve_env *env;
} env_holder;

reeve_env *reeve_lua_id_env(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, ENV_TYPE ".ids");
    const env_holder *holder = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return holder ? holder->env : NULL;
}

static int env_gc(lua_State *L) {
    env_holder *holder = luaL_checkudata(L, 1, ENV_TYPE);
    reeve_env_free(holder->env);
    holder->env = NULL;
    return 0;
}

/* The random digits of an id of the process: 62 bits of the system's. */
static uint64_t random_seed(void) {
    char id[REEVE_ID_TEXT_BYTES];
    char digits[17] = "";
    reeve_id_new(id, NULL);
    memcpy(digits, id + 19, 4);
    memcpy(digits + 4, id + 24, 12);
    return strtoull(digits, NULL, 16) | 1;
}

static void open_env(lua_State *L) {
    env_holder *holder = reeve_lua_newuserdata(L, sizeof *holder);
    holder->env = NULL;
    reeve_lua_new_type(L, ENV_TYPE, NULL, env_gc);
    luaL_getmetatable(L, ENV_TYPE);
    lua_setmetatable(L, -2);
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.random_seed = random_seed();
    (void)reeve_env_new(&holder->env, &options, NULL);
    lua_setfield(L, LUA_REGISTRYINDEX, ENV_TYPE ".ids");
}

/* ---- batches --------------------------------------------------------------- */

reeve_lua_batch *reeve_lua_check_batch(lua_State *L, int index) {
    return luaL_checkudata(L, index, TYPE);
}

void reeve_lua_batch_clock(reeve_lua_batch *batch, int64_t now_at_ms) {
    for (size_t i = 0; i < batch->count && batch->needs_clock; i++) {
        int64_t expires_ms = batch->expires_ms[i];
        if (expires_ms > 0)
            batch->args[i].deadline_at_ms = now_at_ms + expires_ms;
    }
    batch->needs_clock = false;
}

/* A new batch on top, its strings' table in its user value and at anchor. */
static reeve_lua_batch *push_batch(lua_State *L, size_t count) {
    size_t item_bytes =
        sizeof(reeve_enqueue_args) + sizeof(int64_t) + REEVE_ID_TEXT_BYTES;
    reeve_lua_batch *batch =
        reeve_lua_newuserdata(L, sizeof *batch + count * item_bytes);
    batch->count = count;
    batch->needs_clock = false;
    batch->args = (reeve_enqueue_args *)(void *)(batch + 1);
    batch->expires_ms = (int64_t *)(void *)(batch->args + count);
    batch->ids = (char(*)[REEVE_ID_TEXT_BYTES])(batch->expires_ms + count);
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    reeve_lua_setuservalue(L, -3);
    return batch;
}

/* Keeps the strings of a value at index, and of the tables in it down to depth:
 * the caller's tables may change while a batch waits to be sent again. */
static void keep_strings(lua_State *L, int anchor, int index, int depth) {
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        lua_rawseti(L, anchor, (int)lua_rawlen(L, anchor) + 1);
    } else if (lua_istable(L, index) && depth > 0) {
        luaL_checkstack(L, 4, "options");
        lua_pushnil(L);
        while (lua_next(L, index) != 0) {
            int value = lua_gettop(L);
            keep_strings(L, anchor, value - 1, 0);
            keep_strings(L, anchor, value, depth - 1);
            lua_settop(L, value - 1);
        }
    }
}

/* Item i from the values at type, payload and options as a new task, kept at
 * anchor. False: message pushed. */
static bool read_first(lua_State *L, reeve_lua_batch *batch, size_t i,
                       int anchor, int type, const reeve_lua_task **out,
                       reeve_rc *code) {
    reeve_lua_task *task = reeve_lua_newuserdata(L, sizeof *task);
    lua_rawseti(L, anchor, (int)lua_rawlen(L, anchor) + 1);
    keep_strings(L, anchor, type, 0);
    keep_strings(L, anchor, type + 1, 0);
    keep_strings(L, anchor, type + 2, 2);
    if (!reeve_lua_read_task(L, task, code, anchor, type, type + 1, type + 2))
        return false;
    batch->args[i] = task->args;
    *out = task;
    return true;
}

/* Item i with the options of like. Its payload's bytes go to place i + 1 of the
 * table at payloads, which needs no search for its end. */
static bool read_next(lua_State *L, reeve_lua_batch *batch, size_t i,
                      int anchor, int payloads, int type,
                      const reeve_lua_task *like, reeve_rc *code) {
    reeve_lua_task task;
    if (!reeve_lua_read_like(L, &task, code, 0, type, type + 1, like))
        return false;
    batch->args[i] = task.args;
    if (task.args.type.data != like->args.type.data)
        keep_strings(L, anchor, type, 0);
    if (lua_isnil(L, type + 1) && !task.raw)
        return true; /* nobody's string */
    if (task.raw)
        lua_pushvalue(L, type + 1);
    lua_rawseti(L, payloads, (int)i + 1);
    return true;
}

/* Gives item i an id, if it has none, and its deadline's span. */
static void complete_item(reeve_lua_batch *batch, size_t i,
                          const reeve_lua_task *like, reeve_env *env) {
    reeve_enqueue_args *args = &batch->args[i];
    if (args->id.size == 0) {
        reeve_id_new(batch->ids[i], env);
        args->id = reeve_bytes_of(batch->ids[i]);
    }
    batch->expires_ms[i] = like->expires_ms;
    if (like->expires_ms > 0)
        batch->needs_clock = true;
}

/* task(type, payload, options, id): a batch of one; id, if given, is its id. */
static int task(lua_State *L) {
    lua_settop(L, 4);
    reeve_lua_batch *batch = push_batch(L, 1);
    for (int i = 1; i <= 4; i++) {
        if (lua_isnil(L, i))
            continue;
        lua_pushvalue(L, i);
        lua_rawseti(L, 6, (int)lua_rawlen(L, 6) + 1);
    }
    const reeve_lua_task *like = NULL;
    reeve_rc code;
    if (!read_first(L, batch, 0, 6, 1, &like, &code))
        return reeve_lua_failf(L, code, "%s", lua_tostring(L, -1));
    complete_item(batch, 0, like, reeve_lua_id_env(L));
    if (lua_type(L, 4) == LUA_TSTRING)
        batch->args[0].id = reeve_lua_bytes(L, 4);
    lua_settop(L, 5);
    return 1;
}

/* Puts item i of the list at 1 on the stack: type, payload, options. */
static void push_item(lua_State *L, int i) {
    lua_rawgeti(L, 1, i);
    if (!lua_istable(L, -1))
        luaL_error(L,
                   "item %d must be a table {type, payload, options}, not "
                   "%s",
                   i, luaL_typename(L, -1));
    int item = lua_gettop(L);
    for (int field = 1; field <= 3; field++)
        lua_rawgeti(L, item, field);
    lua_remove(L, item);
}

/* batch(items, first, count): of items[first] and those behind it. */
static int batch_new(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    int64_t first = 1, count = (int64_t)lua_rawlen(L, 1);
    if (!lua_isnoneornil(L, 2) && !reeve_lua_get_int(L, 2, &first))
        return luaL_argerror(L, 2, "must be an integer");
    if (!lua_isnoneornil(L, 3) && !reeve_lua_get_int(L, 3, &count))
        return luaL_argerror(L, 3, "must be an integer");
    if (count < 1 || count > COUNT_MAX || first < 1)
        return reeve_lua_failf(L, REEVE_E_INVALID,
                               "a batch has %lld tasks; it must be 1 to %d",
                               (long long)count, COUNT_MAX);
    lua_settop(L, 3);
    reeve_lua_batch *batch = push_batch(L, (size_t)count);
    reeve_env *env = reeve_lua_id_env(L);
    luaL_checkstack(L, 16, "batch");
    lua_createtable(L, (int)count, 0); /* at 6: payloads, kept by the anchor */
    lua_pushvalue(L, 6);
    lua_rawseti(L, 5, 1);
    lua_pushnil(L); /* at 7: the options of the item before */
    const reeve_lua_task *like = NULL;
    for (int i = 0; i < (int)count; i++) {
        reeve_rc code;
        push_item(L, (int)first + i);
        bool same = like && lua_rawequal(L, 7, 10);
        if (same ? !read_next(L, batch, (size_t)i, 5, 6, 8, like, &code)
                 : !read_first(L, batch, (size_t)i, 5, 8, &like, &code))
            return reeve_lua_failf(L, code, "item %d: %s", (int)first + i,
                                   lua_tostring(L, -1));
        complete_item(batch, (size_t)i, like, env);
        lua_settop(L, 10);
        lua_replace(L, 7);
        lua_settop(L, 7);
    }
    lua_settop(L, 4);
    return 1;
}

/* ids(): the ids as a list. */
static int ids(lua_State *L) {
    const reeve_lua_batch *batch = reeve_lua_check_batch(L, 1);
    lua_createtable(L, (int)batch->count, 0);
    for (size_t i = 0; i < batch->count; i++) {
        reeve_lua_push_bytes(L, batch->args[i].id);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* needs_clock(): a deadline waits for the server's time. */
static int needs_clock(lua_State *L) {
    lua_pushboolean(L, reeve_lua_check_batch(L, 1)->needs_clock);
    return 1;
}

static int batch_gc(lua_State *L) {
    (void)L; /* all of it is Lua's memory */
    return 0;
}

void reeve_lua_open_batch(lua_State *L) {
    static const luaL_Reg methods[] = { { "ids", ids },
                                        { "needs_clock", needs_clock },
                                        { NULL, NULL } };
    static const luaL_Reg list[] = { { "task", task },
                                     { "batch", batch_new },
                                     { NULL, NULL } };
    open_env(L);
    reeve_lua_new_type(L, TYPE, methods, batch_gc);
    reeve_lua_register(L, list);
}
