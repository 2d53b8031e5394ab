/*
 * Makes a state of the pool: the libraries, the script, its handlers. Runs on:
 * the thread that starts the worker, before any task.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

typedef struct setup {
    reeve_lua_runner *runner;
    const reeve_lua_recipe *recipe;
} setup;

/* How the two reach the protected function: a light userdata cannot carry every
 * address in LuaJIT. */
static _Thread_local setup *thread_setup;

reeve_lua_runner *reeve_lua_runner_of(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, REEVE_LUA_RUNNER_KEY);
    reeve_lua_runner **place = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return place ? *place : NULL;
}

#if LUA_VERSION_NUM >= 504
/* lua_Alloc with a bound; ud is the runner. Growing beyond it fails, which Lua
 * answers by collecting, then by an error. */
static void *bounded_alloc(void *ud, void *ptr, size_t old_bytes,
                           size_t new_bytes) {
    reeve_lua_runner *runner = ud;
    size_t before = ptr ? old_bytes : 0;
    if (!new_bytes) {
        free(ptr);
        runner->memory_bytes -= before;
        return NULL;
    }
    if (new_bytes > before &&
        new_bytes - before > runner->hub->memory_max - runner->memory_bytes)
        return NULL;
    void *grown = realloc(ptr, new_bytes);
    if (grown)
        runner->memory_bytes += new_bytes - before;
    return grown;
}

static lua_State *new_state(reeve_lua_runner *runner) {
    if (!runner->hub->memory_max)
        return luaL_newstate();
    return lua_newstate(bounded_alloc, runner);
}
#else
static lua_State *new_state(reeve_lua_runner *runner) {
    (void)runner; /* a bound is refused in worker.c */
    return luaL_newstate();
}
#endif

static void set_package(lua_State *L, const reeve_lua_recipe *recipe) {
    lua_getglobal(L, "package");
    lua_pushstring(L, recipe->path);
    lua_setfield(L, -2, "path");
    lua_pushstring(L, recipe->cpath);
    lua_setfield(L, -2, "cpath");
    lua_pop(L, 1);
}

static void set_arg(lua_State *L, const reeve_lua_recipe *recipe) {
    lua_createtable(L, (int)recipe->arg_count, 1);
    lua_pushstring(L, recipe->script);
    lua_rawseti(L, -2, 0);
    for (size_t i = 0; i < recipe->arg_count; i++) {
        reeve_lua_push_bytes(L, recipe->args[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setglobal(L, "arg");
}

/* Leaves the invoker as the only value. Protected. */
static int set_up(lua_State *L) {
    setup *with = thread_setup;
    luaL_openlibs(L);
    reeve_lua_runner **place = reeve_lua_newuserdata(L, sizeof *place);
    *place = with->runner;
    lua_setfield(L, LUA_REGISTRYINDEX, REEVE_LUA_RUNNER_KEY);
    set_package(L, with->recipe);
    set_arg(L, with->recipe);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "reeve.runner");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "load");
    lua_pushstring(L, with->recipe->script);
    lua_pushinteger(L, with->recipe->app);
    lua_pushstring(L, with->recipe->url); /* nil when NULL */
    lua_pushstring(L, with->recipe->prefix);
    lua_call(L, 4, REEVE_LUA_LOADED);
    reeve_lua_push_invoker(L);
    return 1;
}

static char *copy_message(lua_State *L) {
    const char *text = lua_tostring(L, -1);
    return strdup(text ? text : "the script raised something that is no text");
}

bool reeve_lua_state_make(reeve_lua_runner *runner,
                          const reeve_lua_recipe *recipe, char **out_message) {
    lua_State *L = new_state(runner);
    if (!L) {
        *out_message = strdup("no memory for a state");
        return false;
    }
    setup with = { .runner = runner, .recipe = recipe };
    thread_setup = &with;
    lua_pushcfunction(L, set_up);
    int status = lua_pcall(L, 0, 1, 0);
    thread_setup = NULL;
    if (status) {
        *out_message = copy_message(L);
        lua_close(L);
        return false;
    }
    runner->state = L;
    return true;
}
