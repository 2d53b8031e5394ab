/*
 * One task in one state: the delivery becomes a table, what the handler gave
 * becomes the outcome. Runs on: an executor thread.
 */
#include <errno.h>
#include <string.h>

#include "runtime.h"

#define TASK_METATABLE "reeve.task"

/* What runner.lua's function gives, in this order. */
enum {
    KIND = 1,
    DELAY,
    VALUE,
    ERROR_TYPE,
    ERROR_MESSAGE,
    ERROR_TRACE
};
#define RESULT_COUNT 6

static void set_at(lua_State *L, const char *name, int64_t at_ms) {
    if (at_ms) {
        lua_pushnumber(L, (lua_Number)at_ms / 1000);
        lua_setfield(L, -2, name);
    }
}

static void push_task(lua_State *L, const reeve_delivery_view *view) {
    lua_createtable(L, 0, 14);
    reeve_lua_set_bytes(L, "id", view->id);
    reeve_lua_set_bytes(L, "type", view->type);
    reeve_lua_set_bytes(L, "queue", view->queue);
    reeve_lua_set_int(L, "attempt", view->attempt);
    reeve_lua_set_int(L, "token", view->token);
    reeve_lua_set_int(L, "crashes", view->crashes);
    reeve_lua_set_int(L, "priority", view->priority);
    if (view->max_attempts != REEVE_NEVER)
        reeve_lua_set_int(L, "max_retries", view->max_attempts - 1);
    if (view->timeout_ms) {
        lua_pushnumber(L, (lua_Number)view->timeout_ms / 1000);
        lua_setfield(L, -2, "timeout");
    }
    set_at(L, "enqueued_at", view->enqueued_at_ms);
    set_at(L, "claimed_at", view->claimed_at_ms);
    set_at(L, "deadline", view->deadline_at_ms);
    luaL_getmetatable(L, TASK_METATABLE);
    lua_setmetatable(L, -2);
}

/* The invoker: upvalue 1 is runner.lua's function. Protected. */
static int invoke(lua_State *L) {
    reeve_lua_runner *runner = reeve_lua_runner_of(L);
    luaL_checkstack(L, 20, "task");
    lua_pushvalue(L, lua_upvalueindex(1));
    push_task(L, &runner->view);
    lua_call(L, 1, RESULT_COUNT);
    if (lua_tointeger(L, KIND) != REEVE_OUTCOME_DONE || lua_isnil(L, VALUE))
        return RESULT_COUNT;
    if (reeve_lua_to_json(L, VALUE)) {
        lua_replace(L, VALUE);
        return RESULT_COUNT;
    }
    lua_pushfstring(L, "the result has no JSON form: %s", lua_tostring(L, -1));
    lua_replace(L, ERROR_MESSAGE);
    lua_pushliteral(L, "ResultError");
    lua_replace(L, ERROR_TYPE);
    lua_pushinteger(L, REEVE_OUTCOME_RETRY);
    lua_replace(L, KIND);
    lua_settop(L, RESULT_COUNT);
    return RESULT_COUNT;
}

void reeve_lua_push_invoker(lua_State *L) {
    lua_pushcclosure(L, invoke, 1);
}

/* Copies the string at index into the delivery's memory; empty when it is
 * none. False without memory. */
static bool copy_bytes(lua_State *L, reeve_bytes *out, reeve_delivery *dlv,
                       int index, size_t bytes_max) {
    *out = (reeve_bytes){ 0 };
    if (lua_type(L, index) != LUA_TSTRING)
        return true;
    reeve_bytes text = reeve_lua_bytes(L, index);
    if (text.size > bytes_max)
        text.size = bytes_max;
    char *copy = reeve_delivery_alloc(dlv, text.size + 1);
    if (!copy)
        return false;
    memcpy(copy, text.data, text.size);
    *out = (reeve_bytes){ copy, text.size };
    return true;
}

/* What the core keeps of an error, and more than it keeps of a trace. */
#define MESSAGE_BYTES_MAX ((size_t)4096)
#define TRACE_BYTES_MAX ((size_t)64 * 1024)

/* Reads the results from `base` + 1 on. */
static reeve_rc read_outcome(lua_State *L, reeve_outcome *out,
                             reeve_delivery *dlv, int base) {
    out->kind = (int32_t)lua_tointeger(L, base + KIND);
    out->delay_ms = (int64_t)lua_tonumber(L, base + DELAY);
    bool good = copy_bytes(L, &out->error_type, dlv, base + ERROR_TYPE,
                           MESSAGE_BYTES_MAX) &&
                copy_bytes(L, &out->error_message, dlv, base + ERROR_MESSAGE,
                           MESSAGE_BYTES_MAX) &&
                copy_bytes(L, &out->error_trace, dlv, base + ERROR_TRACE,
                           TRACE_BYTES_MAX);
    if (good && out->kind == REEVE_OUTCOME_DONE)
        good = copy_bytes(L, &out->result, dlv, base + VALUE, SIZE_MAX);
    return good ? REEVE_OK : REEVE_E_NOMEM;
}

/* What escaped even runner.lua: no memory, or an interrupt on its way out. */
static reeve_rc read_escape(lua_State *L, reeve_outcome *out,
                            reeve_delivery *dlv, int status) {
    out->kind = REEVE_OUTCOME_RETRY;
    out->error_type =
        reeve_bytes_of(status == LUA_ERRMEM ? "MemoryError" : "LuaError");
    if (copy_bytes(L, &out->error_message, dlv, -1, MESSAGE_BYTES_MAX))
        return REEVE_OK;
    out->error_message = reeve_bytes_of("out of memory");
    return REEVE_OK;
}

reeve_rc reeve_lua_run_task(reeve_outcome *out, reeve_delivery *dlv, void *user,
                            reeve_error *err) {
    reeve_lua_hub *hub = user;
    reeve_lua_runner *runner = reeve_lua_take(hub, dlv);
    runner->view = (reeve_delivery_view)REEVE_DELIVERY_VIEW_INIT;
    reeve_rc rc = reeve_delivery_read(&runner->view, dlv, err);
    if (!rc) {
        lua_State *L = runner->state;
        reeve_lua_enter(runner);
        lua_pushvalue(L, 1); /* takes no memory: nothing raises out here */
        int status = lua_pcall(L, 0, RESULT_COUNT, 0);
        reeve_lua_leave(runner);
        rc = status ? read_escape(L, out, dlv, status)
                    : read_outcome(L, out, dlv, 1);
        lua_settop(L, 1);
    }
    reeve_lua_give(hub, runner);
    return rc;
}

/* --- what a handler may call ------------------------------------------------ */

/* task.payload, task.body, task.headers, made when they are asked for; else a
 * method from upvalue 1. */
static int task_index(lua_State *L) {
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (!lua_isnil(L, -1) || lua_type(L, 2) != LUA_TSTRING)
        return 1;
    const char *name = lua_tostring(L, 2);
    bool payload = strcmp(name, "payload") == 0;
    bool body = strcmp(name, "body") == 0;
    if (!payload && !body && strcmp(name, "headers") != 0)
        return 1;
    reeve_lua_runner *runner = reeve_lua_runner_of(L);
    lua_getfield(L, LUA_REGISTRYINDEX, TASK_METATABLE ".now");
    if (!lua_rawequal(L, 1, -1))
        return luaL_error(L, "task.%s: the task is over", name);
    if (body) {
        reeve_lua_push_bytes(L, runner->view.payload);
    } else if (!payload) {
        reeve_lua_push_headers(L, runner->view.headers,
                               runner->view.header_count);
    } else if (!reeve_lua_push_json(L, runner->view.payload)) {
        return luaL_error(L,
                          "the payload is not JSON (task.body has its "
                          "bytes): %s",
                          lua_tostring(L, -1));
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

/* set_task(methods): what tasks answer to. */
static int set_methods(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_newmetatable(L, TASK_METATABLE);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, task_index, 1);
    lua_setfield(L, -2, "__index");
    return 0;
}

/* set_current(task or nil): whom payload, body and headers belong to. */
static int set_current(lua_State *L) {
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, TASK_METATABLE ".now");
    return 0;
}

/* cancel_reason(): of the running task; nil while it may go on */
static int cancel_reason(lua_State *L) {
    reeve_lua_runner *runner = reeve_lua_runner_of(L);
    int32_t reason = reeve_delivery_cancel_reason(runner->delivery);
    if (reason == REEVE_CANCEL_NONE)
        lua_pushnil(L);
    else
        lua_pushstring(L, reeve_lua_reason(reason));
    return 1;
}

/* span_ms(span, what) → milliseconds, at least 1 */
static int span_ms(lua_State *L) {
    lua_settop(L, 2);
    int64_t ms = 0;
    if (!reeve_lua_read_span(L, &ms, 1, 1, luaL_checkstring(L, 2)))
        return lua_error(L);
    reeve_lua_push_int(L, ms);
    return 1;
}

/* sleep(span) → true; false when a cancellation ended it early */
static int nap(lua_State *L) {
    lua_settop(L, 1);
    int64_t ms = 0;
    if (!reeve_lua_read_span(L, &ms, 1, 0, "sleep"))
        return lua_error(L);
    struct timespec left = { .tv_sec = (time_t)(ms / 1000),
                             .tv_nsec = (long)(ms % 1000) * 1000000 };
    reeve_lua_runner *runner = reeve_lua_runner_of(L);
    bool whole = true;
    while (nanosleep(&left, &left) && errno == EINTR) {
        whole = !runner || !reeve_delivery_cancel_reason(runner->delivery);
        if (!whole)
            break;
    }
    lua_pushboolean(L, whole);
    return 1;
}

/* resume(co, …), as coroutine.resume (upvalue 1): an interrupt has to know
 * which coroutine runs, for hooks belong to one. */
static int resume(lua_State *L) {
    reeve_lua_runner *runner = reeve_lua_runner_of(L);
    lua_State *co = lua_tothread(L, 1);
    lua_State *before = runner->current;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    if (co && before)
        runner->current = co;
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    runner->current = before;
    reeve_lua_arm(runner, L); /* it may have been interrupted in there */
    return status ? lua_error(L) : lua_gettop(L);
}

/* track(resume) → a resume that keeps track */
static int track(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushcclosure(L, resume, 1);
    return 1;
}

void reeve_lua_open_run(lua_State *L) {
    static const luaL_Reg functions[] = {
        { "cancel_reason", cancel_reason },
        { "set_current", set_current },
        { "set_methods", set_methods },
        { "span_ms", span_ms },
        { "track", track },
        { NULL, NULL },
    };
    lua_pushcfunction(L, nap);
    lua_setfield(L, -2, "sleep");
    if (!reeve_lua_runner_of(L))
        return; /* a state of somebody else */
    lua_newtable(L);
    reeve_lua_register(L, functions);
    lua_setfield(L, -2, "child");
}
