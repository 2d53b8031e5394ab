/*
 * What the inspector shows, as tables. A list of the core waits in a userdata,
 * so that it is freed also when making the tables fails.
 */
#include "glue.h"

#define TYPE "reeve.list"

void reeve_lua_free_list(reeve_lua_list *list) {
    reeve_queue_list_free(list->queues);
    reeve_task_list_free(list->tasks);
    reeve_worker_list_free(list->workers);
    *list = (reeve_lua_list){ 0 };
}

static int list_gc(lua_State *L) {
    reeve_lua_free_list(luaL_checkudata(L, 1, TYPE));
    return 0;
}

reeve_lua_list *reeve_lua_push_list(lua_State *L) {
    reeve_lua_list *list = reeve_lua_newuserdata(L, sizeof *list);
    *list = (reeve_lua_list){ 0 };
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    return list;
}

void reeve_lua_open_lists(lua_State *L) {
    reeve_lua_new_type(L, TYPE, NULL, list_gc);
}

/* Seconds, of Unix time or of a span; left out when 0. */
static void set_at(lua_State *L, const char *name, int64_t at_ms) {
    if (at_ms) {
        lua_pushnumber(L, (lua_Number)at_ms / 1000);
        lua_setfield(L, -2, name);
    }
}

/* Left out when empty. */
static void set_text(lua_State *L, const char *name, reeve_bytes text) {
    if (text.size)
        reeve_lua_set_bytes(L, name, text);
}

void reeve_lua_push_queue(lua_State *L, const reeve_queue_info *info) {
    lua_createtable(L, 0, 14);
    reeve_lua_set_bytes(L, "name", info->name);
    reeve_lua_set_int(L, "pending", info->pending);
    reeve_lua_set_int(L, "active", info->active);
    reeve_lua_set_int(L, "scheduled", info->scheduled);
    reeve_lua_set_int(L, "retry", info->retry);
    reeve_lua_set_int(L, "completed", info->completed);
    reeve_lua_set_int(L, "archived", info->archived);
    reeve_lua_set_int(L, "done_total", info->done_total);
    reeve_lua_set_int(L, "failed_total", info->failed_total);
    lua_pushnumber(L, (lua_Number)info->latency_ms / 1000);
    lua_setfield(L, -2, "latency");
    reeve_lua_set_int(L, "size_bytes", info->size_bytes);
    reeve_lua_set_bool(L, "paused", info->paused);
    if (info->weight)
        reeve_lua_set_int(L, "weight", info->weight);
    set_text(L, "error", info->error);
}

void reeve_lua_push_headers(lua_State *L, const reeve_header *headers,
                            size_t count) {
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        reeve_lua_push_bytes(L, headers[i].name);
        reeve_lua_push_bytes(L, headers[i].value);
        lua_rawset(L, -3);
    }
}

static void push_history(lua_State *L, const reeve_task_info *info) {
    lua_createtable(L, (int)info->history_count, 0);
    for (size_t i = 0; i < info->history_count; i++) {
        const reeve_attempt_info *attempt = &info->history[i];
        lua_createtable(L, 0, 7);
        set_at(L, "at", attempt->at_ms);
        reeve_lua_set_int(L, "attempt", attempt->attempt);
        reeve_lua_set_bool(L, "crash", attempt->crash);
        set_text(L, "worker", attempt->worker);
        set_text(L, "error_type", attempt->error_type);
        set_text(L, "error_message", attempt->error_message);
        set_text(L, "error_trace", attempt->error_trace);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* field = the JSON value, or nothing when it is none (body has the bytes). */
static void set_json(lua_State *L, const char *field, reeve_bytes text) {
    if (reeve_lua_push_json(L, text))
        lua_setfield(L, -2, field);
    else
        lua_pop(L, 1);
}

void reeve_lua_push_task(lua_State *L, const reeve_task_info *info) {
    luaL_checkstack(L, 10, "task");
    lua_createtable(L, 0, 25);
    reeve_lua_set_bytes(L, "id", info->id);
    reeve_lua_set_bytes(L, "queue", info->queue);
    set_text(L, "type", info->type);
    lua_pushstring(L, reeve_state_name(info->state));
    lua_setfield(L, -2, "state");
    reeve_lua_set_bytes(L, "body", info->payload);
    set_json(L, "payload", info->payload);
    if (info->has_result)
        set_json(L, "result", info->result);
    set_text(L, "reason", info->reason);
    set_text(L, "worker", info->worker);
    reeve_lua_set_int(L, "priority", info->priority);
    reeve_lua_set_int(L, "failures", info->attempts);
    reeve_lua_set_int(L, "crashes", info->crashes);
    if (info->max_attempts != REEVE_NEVER)
        reeve_lua_set_int(L, "max_retries", info->max_attempts - 1);
    set_at(L, "enqueued_at", info->enqueued_at_ms);
    set_at(L, "due_at", info->due_at_ms);
    set_at(L, "settled_at", info->settled_at_ms);
    if (info->expires_at_ms > 0)
        set_at(L, "expires_at", info->expires_at_ms);
    if (info->token)
        reeve_lua_set_int(L, "token", info->token);
    set_at(L, "timeout", info->timeout_ms);
    set_at(L, "deadline", info->deadline_at_ms);
    set_at(L, "lease", info->lease_ms);
    if (info->retention_ms != REEVE_NEVER)
        set_at(L, "retention", info->retention_ms);
    if (info->max_crashes != REEVE_NEVER)
        reeve_lua_set_int(L, "max_crashes", info->max_crashes);
    reeve_lua_push_headers(L, info->headers, info->header_count);
    lua_setfield(L, -2, "headers");
    push_history(L, info);
    lua_setfield(L, -2, "history");
}

void reeve_lua_push_worker(lua_State *L, const reeve_worker_info *info) {
    lua_createtable(L, 0, 11);
    reeve_lua_set_bytes(L, "id", info->id);
    reeve_lua_set_bytes(L, "host", info->host);
    reeve_lua_set_int(L, "pid", info->pid);
    set_at(L, "started_at", info->started_at_ms);
    set_at(L, "beat_at", info->beat_at_ms);
    reeve_lua_set_int(L, "concurrency", info->concurrency);
    reeve_lua_set_int(L, "active", info->active);
    reeve_lua_set_int(L, "done", info->done);
    reeve_lua_set_int(L, "failed", info->failed);
    reeve_lua_set_bool(L, "quiet", info->quiet);
    reeve_lua_set_bytes(L, "queues", info->queues);
}
