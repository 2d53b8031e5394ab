/*
 * The choice among queues, and a worker's spans.
 */
#include <string.h>

#include "sansio.h"

#define TYPE "reeve.picker"

typedef struct picker {
    reeve_picker *picker;
    size_t count;
} picker;

static picker *check_picker(lua_State *L) {
    picker *self = luaL_checkudata(L, 1, TYPE);
    if (!self->picker)
        luaL_argerror(L, 1, "the picker is closed");
    return self;
}

static int picker_gc(lua_State *L) {
    picker *self = luaL_checkudata(L, 1, TYPE);
    reeve_picker_free(self->picker);
    self->picker = NULL;
    return 0;
}

/* picker(weights, order, ageing_ms): order "weighted" or "strict". */
static int picker_new(lua_State *L) {
    static const char *const orders[] = { "weighted", "strict", NULL };
    reeve_worker_queue queues[256];
    int64_t ageing_ms = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    int order = luaL_checkoption(L, 2, "weighted", orders);
    if (!lua_isnoneornil(L, 3) && !reeve_lua_get_int(L, 3, &ageing_ms))
        return luaL_argerror(L, 3, "must be an integer");
    size_t count = lua_rawlen(L, 1);
    if (count > sizeof queues / sizeof *queues)
        return reeve_lua_failf(L, REEVE_E_INVALID,
                               "there are %d queues, at most 256 allowed",
                               (int)count);
    memset(queues, 0, sizeof queues);
    for (size_t i = 0; i < count; i++) {
        int64_t weight = 0;
        lua_rawgeti(L, 1, (int)i + 1);
        if (!reeve_lua_get_int(L, lua_gettop(L), &weight) || weight < 1 ||
            weight > 1000)
            return reeve_lua_failf(L, REEVE_E_INVALID,
                                   "weight of queue %d must be an integer from "
                                   "1 to 1000",
                                   (int)i + 1);
        lua_pop(L, 1);
        queues[i].weight = (int32_t)weight;
    }
    picker *self = reeve_lua_newuserdata(L, sizeof *self);
    memset(self, 0, sizeof *self);
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    reeve_error err;
    reeve_rc rc =
        reeve_picker_new(&self->picker, NULL, queues, count,
                         order == 0 ? REEVE_ORDER_WEIGHTED : REEVE_ORDER_STRICT,
                         ageing_ms, &err);
    self->count = count;
    return rc < 0 ? reeve_lua_fail(L, rc, &err) : 1;
}

/* plan(slots, quotas): fills the table quotas; returns the sum. */
static int plan(lua_State *L) {
    picker *self = check_picker(L);
    int64_t slots = 0;
    const size_t *quotas;
    if (!reeve_lua_get_int(L, 2, &slots) || slots < 0)
        return luaL_argerror(L, 2, "must be a count of slots");
    luaL_checktype(L, 3, LUA_TTABLE);
    size_t sum = reeve_picker_plan(&quotas, self->picker, (size_t)slots);
    for (size_t i = 0; i < self->count; i++) {
        lua_pushinteger(L, (lua_Integer)quotas[i]);
        lua_rawseti(L, 3, (int)i + 1);
    }
    lua_pushinteger(L, (lua_Integer)sum);
    return 1;
}

/* book(taken): what each queue gave. */
static int book(lua_State *L) {
    picker *self = check_picker(L);
    size_t taken[256] = { 0 };
    luaL_checktype(L, 2, LUA_TTABLE);
    for (size_t i = 0; i < self->count; i++) {
        int64_t count = 0;
        lua_rawgeti(L, 2, (int)i + 1);
        if (reeve_lua_get_int(L, lua_gettop(L), &count) && count > 0)
            taken[i] = (size_t)count;
        lua_pop(L, 1);
    }
    reeve_picker_book(self->picker, taken);
    return 0;
}

/* wake(index): the bell of this queue rang. */
static int wake(lua_State *L) {
    picker *self = check_picker(L);
    int64_t index = 0;
    if (!reeve_lua_get_int(L, 2, &index) || index < 1 ||
        (uint64_t)index > self->count)
        return luaL_argerror(L, 2, "must be the index of a queue");
    reeve_picker_wake(self->picker, (size_t)index - 1);
    return 0;
}

/* lease_spans(lease_ms): extend after, look for lapsed ones every (ms). */
static int lease_spans(lua_State *L) {
    int64_t span_ms = 0;
    if (!reeve_lua_get_int(L, 1, &span_ms))
        return luaL_argerror(L, 1, "must be a span in ms");
    reeve_lua_push_int(L, reeve_lease_extend_ms(span_ms));
    reeve_lua_push_int(L, reeve_lease_reclaim_ms(span_ms));
    return 2;
}

/* span_ms(value, what): a span as everywhere in Lua, in ms. */
static int span_ms(lua_State *L) {
    int64_t span = 0;
    luaL_checkany(L, 1);
    if (!reeve_lua_read_span(L, &span, 1, 0, luaL_checkstring(L, 2)))
        return reeve_lua_failf(L, REEVE_E_INVALID, "%s", lua_tostring(L, -1));
    reeve_lua_push_int(L, span);
    return 1;
}

/* reconnect_ms(attempt): the pause before the attempt-th try in a row. */
static int reconnect_ms(lua_State *L) {
    int64_t attempt = 1;
    if (!reeve_lua_get_int(L, 1, &attempt) || attempt < 1)
        return luaL_argerror(L, 1, "must be a number from 1");
    reeve_lua_push_int(
        L, reeve_reconnect_ms(attempt > 100 ? 100 : (int32_t)attempt, NULL));
    return 1;
}

void reeve_lua_open_picker(lua_State *L) {
    static const luaL_Reg methods[] = {
        { "plan", plan }, { "book", book }, { "wake", wake }, { NULL, NULL }
    };
    static const luaL_Reg list[] = { { "picker", picker_new },
                                     { "lease_spans", lease_spans },
                                     { "reconnect_ms", reconnect_ms },
                                     { "span_ms", span_ms },
                                     { NULL, NULL } };
    reeve_lua_new_type(L, TYPE, methods, picker_gc);
    reeve_lua_register(L, list);
}
