/*
 * reeve.inspector: the operator's side for plain Lua.
 */
#include <string.h>

#include "glue.h"

#define TYPE "reeve.inspector"

static int inspector_gc(lua_State *L) {
    reeve_inspector **place = luaL_checkudata(L, 1, TYPE);
    reeve_inspector_close(*place);
    *place = NULL;
    return 0;
}

static int inspector_close(lua_State *L) {
    inspector_gc(L);
    lua_pushboolean(L, 1);
    return 1;
}

static int inspector_is_closed(lua_State *L) {
    reeve_inspector **place = luaL_checkudata(L, 1, TYPE);
    lua_pushboolean(L, *place == NULL);
    return 1;
}

static int inspector_new(lua_State *L) {
    lua_settop(L, 1);
    if (!lua_isnil(L, 1))
        luaL_checktype(L, 1, LUA_TTABLE);
    reeve_client_options options;
    reeve_rc rc = 0;
    if (!reeve_lua_read_client(L, &options, &rc, 1, "inspector"))
        return reeve_lua_refuse(L, rc);
    reeve_inspector **place = reeve_lua_newuserdata(L, sizeof *place);
    *place = NULL;
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    reeve_error err = { 0 };
    rc = reeve_inspector_open(place, NULL, &options, &err);
    return rc ? reeve_lua_fail(L, rc, &err) : 1;
}

/* The inspector at index 1, or NULL with nil, message, code pushed. */
static reeve_inspector *open_inspector(lua_State *L) {
    reeve_inspector **place = luaL_checkudata(L, 1, TYPE);
    if (!*place)
        reeve_lua_failf(L, REEVE_E_USAGE, "the inspector is closed");
    return *place;
}

/* true, or nil, message, code */
static int answer(lua_State *L, reeve_rc rc, const reeve_error *err) {
    if (rc)
        return reeve_lua_fail(L, rc, err);
    lua_pushboolean(L, 1);
    return 1;
}

static reeve_bytes check_bytes(lua_State *L, int index) {
    reeve_bytes bytes;
    bytes.data = luaL_checklstring(L, index, &bytes.size);
    return bytes;
}

/* REEVE_STATE_NONE with nil, message, code pushed when there is none such. */
static int32_t check_state(lua_State *L, int index) {
    reeve_bytes name = check_bytes(L, index);
    int32_t state = reeve_state_of(name);
    char shown[64];
    if (!state)
        reeve_lua_failf(L, REEVE_E_INVALID, "no state '%s'",
                        reeve_lua_show(shown, sizeof shown, name));
    return state;
}

/* 0 with nil, message, code pushed when there is none such. */
static int32_t check_action(lua_State *L, int index) {
    static const char *const names[] = { "run", "archive", "delete" };
    reeve_bytes name = check_bytes(L, index);
    for (int32_t i = 0; i < 3; i++) {
        if (strcmp(name.data, names[i]) == 0)
            return REEVE_ACTION_RUN + i;
    }
    char shown[64];
    reeve_lua_failf(L, REEVE_E_INVALID,
                    "no action '%s'; one of run, archive, delete",
                    reeve_lua_show(shown, sizeof shown, name));
    return 0;
}

/* inspector:queues() → list */
static int inspector_queues(lua_State *L) {
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    reeve_lua_list *list = reeve_lua_push_list(L);
    reeve_error err = { 0 };
    reeve_rc rc = reeve_inspector_queues(&list->queues, inspector, &err);
    if (rc)
        return reeve_lua_fail(L, rc, &err);
    size_t count = reeve_queue_list_count(list->queues);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        reeve_lua_push_queue(L, reeve_queue_list_get(list->queues, i));
        lua_rawseti(L, -2, (int)i + 1);
    }
    reeve_lua_free_list(list);
    return 1;
}

/* inspector:workers() → list */
static int inspector_workers(lua_State *L) {
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    reeve_lua_list *list = reeve_lua_push_list(L);
    reeve_error err = { 0 };
    reeve_rc rc = reeve_inspector_workers(&list->workers, inspector, &err);
    if (rc)
        return reeve_lua_fail(L, rc, &err);
    size_t count = reeve_worker_list_count(list->workers);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        reeve_lua_push_worker(L, reeve_worker_list_get(list->workers, i));
        lua_rawseti(L, -2, (int)i + 1);
    }
    reeve_lua_free_list(list);
    return 1;
}

/* A cursor is a string, since it may need 64 bits. */
static bool read_cursor(lua_State *L, uint64_t *out, int index) {
    if (lua_isnoneornil(L, index))
        return true;
    reeve_bytes text = check_bytes(L, index);
    uint64_t value = 0;
    bool good = text.size > 0 && text.size <= 20;
    for (size_t i = 0; i < text.size && good; i++) {
        unsigned digit = (unsigned)(text.data[i] - '0');
        good = digit <= 9 && value <= (UINT64_MAX - digit) / 10;
        value = value * 10 + digit;
    }
    char shown[64];
    if (!good)
        reeve_lua_failf(L, REEVE_E_INVALID, "'%s' is no cursor",
                        reeve_lua_show(shown, sizeof shown, text));
    *out = value;
    return good;
}

static void push_cursor(lua_State *L, uint64_t cursor) {
    char text[21];
    size_t at = sizeof text - 1;
    text[at] = '\0';
    for (; cursor; cursor /= 10)
        text[--at] = (char)('0' + cursor % 10);
    if (text[at])
        lua_pushstring(L, text + at);
    else
        lua_pushnil(L);
}

/* inspector:tasks(queue, state [, cursor [, limit]]) → list, next cursor or nil
 */
static int inspector_tasks(lua_State *L) {
    lua_settop(L, 5);
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.queue = check_bytes(L, 2);
    query.state = check_state(L, 3);
    if (!query.state || !read_cursor(L, &query.cursor, 4))
        return 3;
    lua_Integer limit = luaL_optinteger(L, 5, 50);
    if (limit < 1 || limit > 1000)
        return reeve_lua_failf(L, REEVE_E_INVALID,
                               "limit is %lld; it must be 1 to 1000",
                               (long long)limit);
    query.limit = (size_t)limit;
    reeve_lua_list *list = reeve_lua_push_list(L);
    reeve_error err = { 0 };
    uint64_t cursor = 0;
    reeve_rc rc =
        reeve_inspector_tasks(&list->tasks, &cursor, inspector, &query, &err);
    if (rc)
        return reeve_lua_fail(L, rc, &err);
    size_t count = reeve_task_list_count(list->tasks);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        reeve_lua_push_task(L, reeve_task_list_get(list->tasks, i));
        lua_rawseti(L, -2, (int)i + 1);
    }
    reeve_lua_free_list(list);
    push_cursor(L, cursor);
    return 2;
}

/* inspector:find(queue, id) → task; nil alone when there is none */
static int inspector_find(lua_State *L) {
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    reeve_bytes queue = check_bytes(L, 2);
    reeve_bytes id = check_bytes(L, 3);
    reeve_lua_list *list = reeve_lua_push_list(L);
    reeve_error err = { 0 };
    reeve_rc rc =
        reeve_inspector_find(&list->tasks, inspector, queue, id, &err);
    if (rc)
        return reeve_lua_fail(L, rc, &err);
    if (list->tasks)
        reeve_lua_push_task(L, reeve_task_list_get(list->tasks, 0));
    else
        lua_pushnil(L);
    reeve_lua_free_list(list);
    return 1;
}

/* inspector:act("run" | "archive" | "delete", queue, id) */
static int inspector_act(lua_State *L) {
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    int32_t action = check_action(L, 2);
    if (!action)
        return 3;
    reeve_error err = { 0 };
    reeve_rc rc = reeve_inspector_act(inspector, action, check_bytes(L, 3),
                                      check_bytes(L, 4), &err);
    return answer(L, rc, &err);
}

/* inspector:act_many(action, queue, state [, max [, cursor]])
 * → count, next cursor or nil */
static int inspector_act_many(lua_State *L) {
    lua_settop(L, 6);
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    int32_t action = check_action(L, 2);
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.queue = check_bytes(L, 3);
    query.state = action ? check_state(L, 4) : 0;
    if (!query.state || !read_cursor(L, &query.cursor, 6))
        return 3;
    lua_Integer max = luaL_optinteger(L, 5, 500);
    if (max < 1 || max > 500)
        return reeve_lua_failf(L, REEVE_E_INVALID,
                               "max is %lld; it must be 1 to 500",
                               (long long)max);
    query.limit = (size_t)max;
    reeve_error err = { 0 };
    size_t count = 0;
    uint64_t cursor = 0;
    reeve_rc rc = reeve_inspector_act_page(&count, &cursor, inspector, action,
                                           &query, &err);
    if (rc)
        return reeve_lua_fail(L, rc, &err);
    reeve_lua_push_int(L, (int64_t)count);
    push_cursor(L, cursor);
    return 2;
}

/* inspector:edit(queue, id, payload [, raw]) */
static int inspector_edit(lua_State *L) {
    lua_settop(L, 5);
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    reeve_bytes queue = check_bytes(L, 2);
    reeve_bytes id = check_bytes(L, 3);
    if (lua_toboolean(L, 5)) {
        luaL_checktype(L, 4, LUA_TSTRING);
        lua_pushvalue(L, 4);
    } else if (!reeve_lua_to_json(L, 4)) {
        lua_pushfstring(L, "payload: %s", lua_tostring(L, -1));
        return reeve_lua_refuse(L, REEVE_E_INVALID);
    }
    reeve_error err = { 0 };
    reeve_rc rc = reeve_inspector_edit(inspector, queue, id,
                                       reeve_lua_bytes(L, -1), &err);
    return answer(L, rc, &err);
}

static int set_paused(lua_State *L, bool paused) {
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    reeve_error err = { 0 };
    reeve_rc rc =
        reeve_inspector_pause(inspector, check_bytes(L, 2), paused, &err);
    return answer(L, rc, &err);
}

/* inspector:pause(queue), inspector:resume(queue) */
static int inspector_pause(lua_State *L) {
    return set_paused(L, true);
}

static int inspector_resume(lua_State *L) {
    return set_paused(L, false);
}

/* inspector:weight(queue, weight); 0 = each worker's own */
static int inspector_weight(lua_State *L) {
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    reeve_bytes queue = check_bytes(L, 2);
    lua_Integer weight = luaL_checkinteger(L, 3);
    if (weight < 0 || weight > 1000)
        return reeve_lua_failf(L, REEVE_E_INVALID,
                               "weight is %lld; it must be 0 to 1000",
                               (long long)weight);
    reeve_error err = { 0 };
    reeve_rc rc =
        reeve_inspector_weight(inspector, queue, (int32_t)weight, &err);
    return answer(L, rc, &err);
}

/* inspector:quiet([worker [, quiet]]); no worker = all */
static int inspector_quiet(lua_State *L) {
    lua_settop(L, 3);
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    reeve_bytes worker = { 0 };
    if (!lua_isnil(L, 2))
        worker = check_bytes(L, 2);
    bool quiet = lua_isnil(L, 3) || lua_toboolean(L, 3);
    reeve_error err = { 0 };
    reeve_rc rc = reeve_inspector_quiet(inspector, worker, quiet, &err);
    return answer(L, rc, &err);
}

/* inspector:reclaim_worker(worker) → count */
static int inspector_reclaim_worker(lua_State *L) {
    reeve_inspector *inspector = open_inspector(L);
    if (!inspector)
        return 3;
    reeve_error err = { 0 };
    size_t count = 0;
    reeve_rc rc = reeve_inspector_reclaim_worker(&count, inspector,
                                                 check_bytes(L, 2), &err);
    if (rc)
        return reeve_lua_fail(L, rc, &err);
    reeve_lua_push_int(L, (int64_t)count);
    return 1;
}

void reeve_lua_open_inspector(lua_State *L) {
    static const luaL_Reg methods[] = {
        { "act", inspector_act },
        { "act_many", inspector_act_many },
        { "close", inspector_close },
        { "edit", inspector_edit },
        { "find", inspector_find },
        { "is_closed", inspector_is_closed },
        { "pause", inspector_pause },
        { "queues", inspector_queues },
        { "quiet", inspector_quiet },
        { "reclaim_worker", inspector_reclaim_worker },
        { "resume", inspector_resume },
        { "tasks", inspector_tasks },
        { "weight", inspector_weight },
        { "workers", inspector_workers },
        { NULL, NULL },
    };
    reeve_lua_new_type(L, TYPE, methods, inspector_gc);
    reeve_lua_open_lists(L);
    lua_pushcfunction(L, inspector_new);
    lua_setfield(L, -2, "inspector");
}
