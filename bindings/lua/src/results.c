/*
 * What operations of the protocol object came to, as Lua tables.
 */
#include "sansio.h"

static const char *const kind_names[] = {
    [REEVE_PROTOCOL_HELLO] = "hello",     [REEVE_PROTOCOL_ENQUEUE] = "enqueue",
    [REEVE_PROTOCOL_TURN] = "turn",       [REEVE_PROTOCOL_EXTEND] = "extend",
    [REEVE_PROTOCOL_PROMOTE] = "promote", [REEVE_PROTOCOL_RECLAIM] = "reclaim",
    [REEVE_PROTOCOL_WAIT] = "wait",       [REEVE_PROTOCOL_RING] = "ring",
    [REEVE_PROTOCOL_SWEEP] = "sweep",     [REEVE_PROTOCOL_BEAT] = "beat",
};

/* Stored as pending by its own id, as nearly all are. */
static bool is_plain(const reeve_enqueue_result *item) {
    return item->code == 0 && item->state == REEVE_STATE_PENDING &&
           !item->existing && item->due_at_ms == 0;
}

/* ids: the id of each task when all are plain; Lua makes infos of them from a
 * template, which costs less than a table's fields set one by one. */
static void set_ids(lua_State *L, const reeve_protocol_result *result) {
    lua_createtable(L, (int)result->enqueued_count, 0);
    for (size_t i = 0; i < result->enqueued_count; i++) {
        lua_pushstring(L, result->enqueued[i].id);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "ids");
}

/* items: for each task its info; one that was refused has code and message, and
 * then failed is set, too. */
static void set_items(lua_State *L, const reeve_protocol_result *result) {
    luaL_checkstack(L, 8, "items");
    lua_createtable(L, (int)result->enqueued_count, 0);
    bool failed = false;
    for (size_t i = 0; i < result->enqueued_count; i++) {
        const reeve_enqueue_result *item = &result->enqueued[i];
        failed = failed || item->code < 0;
        reeve_lua_push_enqueued(L, item);
        if (item->code < 0) {
            lua_pushstring(L, reeve_code_slug(item->code));
            lua_setfield(L, -2, "code");
            lua_pushstring(L, reeve_code_text(item->code));
            lua_setfield(L, -2, "message");
        }
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, "items");
    if (failed)
        reeve_lua_set_bool(L, "failed", true);
}

/* Whether all are plain, which is when ids say everything. */
static bool are_plain(const reeve_protocol_result *result) {
    size_t plain = 0;
    while (plain < result->enqueued_count && is_plain(&result->enqueued[plain]))
        plain++;
    return plain == result->enqueued_count;
}

/* lost: indices of what is no longer ours; nil when all is. */
static void set_lost(lua_State *L, const reeve_protocol_result *result) {
    bool any = false;
    for (size_t i = 0; i < result->code_count && !any; i++)
        any = result->codes[i] < 0;
    if (!any)
        return;
    int count = 0;
    lua_newtable(L);
    for (size_t i = 0; i < result->code_count; i++) {
        if (result->codes[i] >= 0)
            continue;
        lua_pushinteger(L, (lua_Integer)i + 1);
        lua_rawseti(L, -2, ++count);
    }
    lua_setfield(L, -2, "lost");
}

/* Fields of the table on top that only some kinds have. */
static void set_rest(lua_State *L, const reeve_protocol_result *result) {
    switch (result->kind) {
    case REEVE_PROTOCOL_ENQUEUE:
        if (are_plain(result))
            set_ids(L, result);
        else
            set_items(L, result);
        break;
    case REEVE_PROTOCOL_TURN:
        reeve_lua_set_bool(L, "more", result->more != 0);
        reeve_lua_set_bool(L, "paused", result->paused != 0);
        set_lost(L, result);
        break;
    case REEVE_PROTOCOL_EXTEND:
        set_lost(L, result);
        break;
    case REEVE_PROTOCOL_PROMOTE:
    case REEVE_PROTOCOL_SWEEP:
        reeve_lua_set_int(L, "moved", (int64_t)result->moved);
        break;
    case REEVE_PROTOCOL_WAIT:
        if (result->rung >= 0)
            reeve_lua_set_int(L, "rung", (int64_t)result->rung + 1);
        break;
    default:
        break;
    }
    if (result->next_at_ms != 0)
        reeve_lua_set_int(L, "next_at_ms", result->next_at_ms);
}

/* Pushes the queue of an operation and forgets it. */
static void take_queue(lua_State *L, uint64_t op) {
    reeve_lua_getuservalue(L, 1);
    int table = lua_gettop(L);
    reeve_lua_push_int(L, (int64_t)op);
    lua_rawget(L, table);
    reeve_lua_push_int(L, (int64_t)op);
    lua_pushnil(L);
    lua_rawset(L, table);
    lua_remove(L, table);
}

static bool has_queue(const reeve_protocol_result *result) {
    return result->kind != REEVE_PROTOCOL_HELLO &&
           result->kind != REEVE_PROTOCOL_ENQUEUE &&
           result->kind != REEVE_PROTOCOL_EXTEND &&
           result->kind != REEVE_PROTOCOL_WAIT &&
           result->kind != REEVE_PROTOCOL_BEAT;
}

/* next(): the next result as a table, nil when there is none yet; nil,
 * message, code when the object is of no use. */
int reeve_lua_next_result(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    const reeve_protocol_result *result;
    reeve_error err;
    lua_settop(L, 1);
    reeve_rc rc = reeve_protocol_next(&result, protocol, &err);
    if (rc < 0)
        return reeve_lua_fail(L, rc, &err);
    if (!result) {
        lua_pushnil(L);
        return 1;
    }
    lua_createtable(L, 0, 6);
    reeve_lua_set_int(L, "op", (int64_t)result->op);
    lua_pushstring(L, kind_names[result->kind]);
    lua_setfield(L, 2, "kind");
    if (has_queue(result)) {
        take_queue(L, result->op);
        lua_pushvalue(L, -1);
        lua_setfield(L, 2, "queue");
    }
    if (result->code < 0) {
        lua_settop(L, 2);
        lua_pushstring(L, reeve_code_slug(result->code));
        lua_setfield(L, 2, "code");
        lua_pushstring(L, result->message);
        lua_setfield(L, 2, "message");
        return 1;
    }
    if (result->kind == REEVE_PROTOCOL_TURN ||
        result->kind == REEVE_PROTOCOL_RECLAIM) {
        if (!reeve_lua_push_jobs(L, result, 3, &err))
            return reeve_lua_fail(L, REEVE_E_NOMEM, &err);
        lua_setfield(L, 2, "jobs");
    }
    lua_settop(L, 2);
    set_rest(L, result);
    return 1;
}

/* finish_task(bytes): what submit_task's task came to: true when it is stored,
 * pending, new, by the id that submit_task gave; its info when it is another
 * way; false when more
 * has to come (or to be sent); or nil, message, code and, when it was answered
 * all the same, true. */
int reeve_lua_finish_task(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    const reeve_protocol_result *result;
    reeve_error err;
    luaL_checktype(L, 2, LUA_TSTRING);
    reeve_rc rc = reeve_protocol_feed(protocol, reeve_lua_bytes(L, 2), &err);
    if (!rc)
        rc = reeve_protocol_next(&result, protocol, &err);
    if (rc < 0)
        return reeve_lua_fail(L, rc, &err);
    if (!result) {
        lua_pushboolean(L, 0);
        return 1;
    }
    if (result->code == 0 && is_plain(&result->enqueued[0])) {
        lua_pushboolean(L, 1);
        return 1;
    }
    if (result->code == 0 && result->enqueued[0].code == 0) {
        reeve_lua_push_enqueued(L, &result->enqueued[0]);
        return 1;
    }
    rc = result->code ? result->code : result->enqueued[0].code;
    lua_pushnil(L);
    lua_pushstring(L, result->code ? result->message : reeve_code_text(rc));
    lua_pushstring(L, reeve_code_slug(rc));
    lua_pushboolean(L, 1);
    return 4;
}
