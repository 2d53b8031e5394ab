/*
 * One task in one state: the delivery becomes a table, what the handler gave
 * becomes the outcome. Runs on: an executor thread.
 */
#include <errno.h>
#include <string.h>

#include "runtime.h"

#define TASK_METATABLE "reeve.task"

/* The invoker's upvalues. */
enum {
    PLACE = 1, /* userdata that points to the runner */
    METATABLE, /* of tasks */
    HANDLERS,  /* type → function */
    ON_ERROR,  /* message handler */
    JUDGE,     /* (ok, has_said, value, why, error_type) → as below */
    UPVALUES = JUDGE
};

/* What an invocation gives, in this order; none at all is DONE without a
 * result. */
enum {
    KIND = 1,
    DELAY,
    VALUE,
    ERROR_TYPE,
    ERROR_MESSAGE,
    ERROR_TRACE
};
#define RESULT_COUNT 6
_Static_assert(REEVE_OUTCOME_DONE == 0, "a missing kind is DONE");

/* Values of a handler's call on the stack of invoke. */
enum {
    AT_ON_ERROR = 1,
    AT_TASK, /* keeps it alive */
    AT_VALUE,
    AT_WHY
};

static reeve_lua_runner *runner_at(lua_State *L, int index) {
    reeve_lua_runner **place = lua_touserdata(L, index);
    return *place;
}

/* Calls the handler: false when it raised; then the error is at AT_VALUE. */
static bool call_handler(lua_State *L, reeve_lua_runner *runner) {
    lua_pushvalue(L, lua_upvalueindex(ON_ERROR));
    lua_createtable(L, 0, 0);
    lua_pushvalue(L, lua_upvalueindex(METATABLE));
    lua_setmetatable(L, AT_TASK);
    runner->task = lua_topointer(L, AT_TASK);
    runner->said = false;
    reeve_lua_push_bytes(L, runner->view.type);
    lua_rawget(L, lua_upvalueindex(HANDLERS));
    lua_pushvalue(L, AT_TASK);
    return lua_pcall(L, 1, 3, AT_ON_ERROR) == 0;
}

/* The result at VALUE becomes its JSON, or the outcome a failure. */
static void encode_result(lua_State *L) {
    if (reeve_lua_to_json(L, VALUE)) {
        lua_replace(L, VALUE);
        return;
    }
    lua_pushfstring(L, "the result has no JSON form: %s", lua_tostring(L, -1));
    lua_replace(L, ERROR_MESSAGE);
    lua_pushliteral(L, "ResultError");
    lua_replace(L, ERROR_TYPE);
    lua_pushinteger(L, REEVE_OUTCOME_RETRY);
    lua_replace(L, KIND);
    lua_settop(L, RESULT_COUNT);
}

/* The invoker. Protected. A handler that just ends is not judged. */
static int invoke(lua_State *L) {
    reeve_lua_runner *runner = runner_at(L, lua_upvalueindex(PLACE));
    bool good = call_handler(L, runner);
    if (good && !runner->said && lua_isnil(L, AT_VALUE) && lua_isnil(L, AT_WHY))
        return 0;
    lua_pushvalue(L, lua_upvalueindex(JUDGE));
    lua_replace(L, AT_ON_ERROR);
    lua_pushboolean(L, good);
    lua_replace(L, AT_TASK);
    lua_pushboolean(L, runner->said);
    lua_insert(L, AT_VALUE);
    lua_call(L, lua_gettop(L) - 1, RESULT_COUNT);
    if (lua_tointeger(L, KIND) == REEVE_OUTCOME_DONE && !lua_isnil(L, VALUE))
        encode_result(L);
    return RESULT_COUNT;
}

void reeve_lua_push_invoker(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, REEVE_LUA_RUNNER_KEY);
    luaL_getmetatable(L, TASK_METATABLE);
    lua_insert(L, -2 - REEVE_LUA_LOADED);
    lua_insert(L, -2 - REEVE_LUA_LOADED);
    lua_pushcclosure(L, invoke, UPVALUES);
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
    reeve_lua_runner *runner = reeve_lua_take(user, dlv);
    if (!runner) {
        err->code = REEVE_E_STATE;
        (void)strcpy(err->message, "there are more threads than Lua states");
        return REEVE_E_STATE;
    }
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
    reeve_lua_give(runner);
    return rc;
}

/* --- what a handler may call ------------------------------------------------ */

enum field {
    FIELD_ATTEMPT,
    FIELD_BODY,
    FIELD_CLAIMED_AT,
    FIELD_CRASHES,
    FIELD_DEADLINE,
    FIELD_ENQUEUED_AT,
    FIELD_HEADERS,
    FIELD_ID,
    FIELD_MAX_RETRIES,
    FIELD_PAYLOAD,
    FIELD_PRIORITY,
    FIELD_QUEUE,
    FIELD_TIMEOUT,
    FIELD_TOKEN,
    FIELD_TYPE,
    FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
    "attempt",     "body",    "claimed_at", "crashes",     "deadline",
    "enqueued_at", "headers", "id",         "max_retries", "payload",
    "priority",    "queue",   "timeout",    "token",       "type"
};

/* FIELD_COUNT when it is none. */
static int find_field(const char *name) {
    int field = 0;
    while (field < FIELD_COUNT && (field_names[field][0] != name[0] ||
                                   strcmp(field_names[field], name) != 0))
        field++;
    return field;
}

/* nil when it is not given. */
static void push_seconds(lua_State *L, int64_t ms) {
    if (ms)
        lua_pushnumber(L, (lua_Number)ms / 1000);
    else
        lua_pushnil(L);
}

static void push_payload(lua_State *L, const reeve_delivery_view *view) {
    if (!reeve_lua_push_json(L, view->payload))
        luaL_error(L, "the payload is not JSON (task.body has its bytes): %s",
                   lua_tostring(L, -1));
}

static void push_field(lua_State *L, const reeve_delivery_view *view,
                       int field) {
    switch (field) {
    case FIELD_ATTEMPT:
        reeve_lua_push_int(L, view->attempt);
        break;
    case FIELD_BODY:
        reeve_lua_push_bytes(L, view->payload);
        break;
    case FIELD_CLAIMED_AT:
        push_seconds(L, view->claimed_at_ms);
        break;
    case FIELD_CRASHES:
        reeve_lua_push_int(L, view->crashes);
        break;
    case FIELD_DEADLINE:
        push_seconds(L, view->deadline_at_ms);
        break;
    case FIELD_ENQUEUED_AT:
        push_seconds(L, view->enqueued_at_ms);
        break;
    case FIELD_HEADERS:
        reeve_lua_push_headers(L, view->headers, view->header_count);
        break;
    case FIELD_ID:
        reeve_lua_push_bytes(L, view->id);
        break;
    case FIELD_MAX_RETRIES:
        if (view->max_attempts == REEVE_NEVER)
            lua_pushnil(L);
        else
            reeve_lua_push_int(L, view->max_attempts - 1);
        break;
    case FIELD_PAYLOAD:
        push_payload(L, view);
        break;
    case FIELD_PRIORITY:
        reeve_lua_push_int(L, view->priority);
        break;
    case FIELD_QUEUE:
        reeve_lua_push_bytes(L, view->queue);
        break;
    case FIELD_TIMEOUT:
        push_seconds(L, view->timeout_ms);
        break;
    case FIELD_TOKEN:
        reeve_lua_push_int(L, view->token);
        break;
    default:
        reeve_lua_push_bytes(L, view->type);
        break;
    }
}

/* task.name: a field is made when it is asked for, and stays; else a method
 * from upvalue 1. Upvalue 2 points to the runner. */
static int task_index(lua_State *L) {
    lua_settop(L, 2);
    int field = lua_type(L, 2) == LUA_TSTRING ? find_field(lua_tostring(L, 2))
                                              : FIELD_COUNT;
    if (field == FIELD_COUNT) {
        lua_rawget(L, lua_upvalueindex(1));
        return 1;
    }
    const reeve_lua_runner *runner = runner_at(L, lua_upvalueindex(2));
    if (lua_topointer(L, 1) != runner->task)
        return luaL_error(L, "task.%s: the task is over", field_names[field]);
    push_field(L, &runner->view, field);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

/* set_methods(methods): what tasks answer to. */
static int set_methods(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_newmetatable(L, TASK_METATABLE);
    lua_pushvalue(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, REEVE_LUA_RUNNER_KEY);
    lua_pushcclosure(L, task_index, 2);
    lua_setfield(L, -2, "__index");
    return 0;
}

/* is_running(task) → whether it is the one that runs */
static int is_running(lua_State *L) {
    const reeve_lua_runner *runner = reeve_lua_runner_of(L);
    lua_pushboolean(L,
                    lua_istable(L, 1) && lua_topointer(L, 1) == runner->task);
    return 1;
}

/* has_said(): the running task has said what becomes of it. */
static int has_said(lua_State *L) {
    reeve_lua_runner_of(L)->said = true;
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
        { "has_said", has_said },
        { "is_running", is_running },
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
