/*
 * A claimed task as Lua sees it: what it carries, and what becomes of it. The
 * verdict is the core's and stays here, in C, until a turn sends it.
 */
#include <stdio.h>
#include <string.h>

#include "sansio.h"

#define TYPE "reeve.job"

reeve_lua_job *reeve_lua_check_job(lua_State *L, int index) {
    reeve_lua_job *job = luaL_checkudata(L, index, TYPE);
    if (!job->job)
        luaL_argerror(L, index, "the job is closed");
    return job;
}

/* ---- birth --------------------------------------------------------------- */

/* Moves the value on top into the table at index, which keeps it alive. */
static void keep(lua_State *L, int index) {
    lua_rawseti(L, index, (int)lua_rawlen(L, index) + 1);
}

static reeve_bytes keep_bytes(lua_State *L, int index, reeve_bytes bytes) {
    reeve_lua_push_bytes(L, bytes);
    reeve_bytes kept = reeve_lua_bytes(L, -1);
    keep(L, index);
    return kept;
}

/* Row i as a new job on top. */
static bool push_job(lua_State *L, const reeve_protocol_row *row,
                     reeve_lua_claim *claim, reeve_bytes queue, int shared,
                     reeve_error *err) {
    reeve_lua_job *job = reeve_lua_newuserdata(L, sizeof *job);
    memset(job, 0, sizeof *job);
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, shared);
    reeve_lua_setuservalue(L, -2);
    if (reeve_job_new(&job->job, NULL, row, err) < 0)
        return false;
    job->claim = claim;
    job->queue = queue;
    job->token = row->token;
    job->id = keep_bytes(L, shared, row->id);
    job->worker = keep_bytes(L, shared, row->worker);
    if (claim)
        claim->unsettled++;
    return true;
}

bool reeve_lua_push_jobs(lua_State *L, const reeve_protocol_result *result,
                         int queue, reeve_error *err) {
    int base = lua_gettop(L);
    const reeve_protocol_row *rows = result->rows;
    lua_createtable(L, (int)result->row_count, 0);
    lua_newtable(L);
    int shared = base + 2;
    reeve_bytes name = keep_bytes(L, shared, reeve_lua_bytes(L, queue));
    reeve_lua_claim *claim = NULL;
    for (size_t i = 0; i < result->row_count; i++) {
        bool fresh = i == 0 || rows[i].token != rows[i - 1].token;
        if (result->kind == REEVE_PROTOCOL_TURN && fresh) {
            claim = reeve_lua_newuserdata(L, sizeof *claim);
            claim->unsettled = 0;
            keep(L, shared);
        }
        if (!push_job(L, &rows[i], claim, name, shared, err)) {
            lua_settop(L, base);
            return false;
        }
        lua_rawseti(L, base + 1, (int)i + 1);
    }
    lua_settop(L, base + 1);
    return true;
}

static int job_gc(lua_State *L) {
    reeve_lua_job *job = luaL_checkudata(L, 1, TYPE);
    reeve_job_free(job->job);
    job->job = NULL;
    return 0;
}

/* ---- reading ------------------------------------------------------------- */

static int id(lua_State *L) {
    reeve_lua_push_bytes(L, reeve_lua_check_job(L, 1)->id);
    return 1;
}

/* A string: tokens may pass what a number holds. */
static int token(lua_State *L) {
    char text[24];
    (void)snprintf(text, sizeof text, "%lld",
                   (long long)reeve_lua_check_job(L, 1)->token);
    lua_pushstring(L, text);
    return 1;
}

static int queue(lua_State *L) {
    reeve_lua_push_bytes(L, reeve_lua_check_job(L, 1)->queue);
    return 1;
}

static int lease_ms(lua_State *L) {
    reeve_lua_push_int(L, reeve_job_lease_ms(reeve_lua_check_job(L, 1)->job));
    return 1;
}

static int may_start(lua_State *L) {
    reeve_lua_job *job = reeve_lua_check_job(L, 1);
    int64_t now_at_ms = 0;
    if (!reeve_lua_get_int(L, 2, &now_at_ms))
        return luaL_argerror(L, 2, "must be the server's time in ms");
    lua_pushboolean(L, reeve_job_may_start(job->job, now_at_ms));
    return 1;
}

static void set_headers(lua_State *L, const reeve_delivery_view *view) {
    lua_createtable(L, 0, (int)view->header_count);
    for (size_t i = 0; i < view->header_count; i++) {
        reeve_lua_push_bytes(L, view->headers[i].name);
        reeve_lua_push_bytes(L, view->headers[i].value);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "headers");
}

static void set_seconds(lua_State *L, const char *name, int64_t ms) {
    if (ms == 0)
        return;
    lua_pushnumber(L, (lua_Number)ms / 1000);
    lua_setfield(L, -2, name);
}

/* read(): what it carries as a table, or nil, message, code. */
static int read_job(lua_State *L) {
    const reeve_lua_job *job = reeve_lua_check_job(L, 1);
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    reeve_error err;
    reeve_rc rc = reeve_job_read(&view, job->job, &err);
    if (rc < 0)
        return reeve_lua_fail(L, rc, &err);
    lua_createtable(L, 0, 16);
    reeve_lua_set_bytes(L, "id", view.id);
    reeve_lua_set_bytes(L, "type", view.type);
    reeve_lua_set_bytes(L, "queue", job->queue);
    reeve_lua_set_bytes(L, "body", view.payload);
    reeve_lua_set_int(L, "attempt", view.attempt);
    reeve_lua_set_int(L, "token", view.token);
    reeve_lua_set_int(L, "crashes", view.crashes);
    reeve_lua_set_int(L, "priority", view.priority);
    if (view.max_attempts != REEVE_NEVER)
        reeve_lua_set_int(L, "max_retries", view.max_attempts - 1);
    set_seconds(L, "timeout", view.timeout_ms);
    set_seconds(L, "enqueued_at", view.enqueued_at_ms);
    set_seconds(L, "claimed_at", view.claimed_at_ms);
    set_seconds(L, "deadline", view.deadline_at_ms);
    set_headers(L, &view);
    return 1;
}

/* ---- settling ------------------------------------------------------------ */

static const char *const kinds[] = { "done",   "retry",   "fatal",   "discard",
                                     "snooze", "requeue", "crashed", NULL };
_Static_assert(REEVE_OUTCOME_DONE == 0 && REEVE_OUTCOME_REQUEUE == 5,
               "names stand in the order of enum reeve_outcome_kind");
#define KIND_CRASHED 6

static void field_bytes(lua_State *L, reeve_bytes *out, const char *name) {
    lua_getfield(L, 4, name);
    if (lua_type(L, -1) == LUA_TSTRING)
        *out = reeve_lua_bytes(L, -1);
    lua_pop(L, 1); /* stays in the table */
}

static void field_int(lua_State *L, int64_t *out, const char *name) {
    lua_getfield(L, 4, name);
    (void)reeve_lua_get_int(L, -1, out);
    lua_pop(L, 1);
}

/* Keeps the result's bytes as long as the job. */
static void keep_result(lua_State *L, const reeve_lua_job *job) {
    if (!job->settle.has_result)
        return;
    reeve_lua_getuservalue(L, 1);
    int shared = lua_gettop(L);
    lua_getfield(L, 4, "result");
    keep(L, shared);
    lua_pop(L, 1);
}

/* settle(kind, worker, fields): decides what becomes of the task and returns
 * the state it goes to and whether that counts as a failed run. fields: now_ms
 * (server), result, delay_ms, error_type, error_message, error_trace,
 * archive_ms, archive_count. */
static int settle(lua_State *L) {
    reeve_lua_job *job = reeve_lua_check_job(L, 1);
    int kind = luaL_checkoption(L, 2, NULL, kinds);
    luaL_checktype(L, 3, LUA_TSTRING);
    luaL_checktype(L, 4, LUA_TTABLE);
    lua_settop(L, 4);
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    reeve_job_end end = REEVE_JOB_END_INIT;
    outcome.kind = kind;
    end.crashed = kind == KIND_CRASHED;
    end.worker = reeve_lua_bytes(L, 3);
    field_int(L, &end.now_at_ms, "now_ms");
    field_int(L, &end.archive_ms, "archive_ms");
    field_int(L, &end.archive_count, "archive_count");
    field_int(L, &outcome.delay_ms, "delay_ms");
    field_bytes(L, &outcome.result, "result");
    field_bytes(L, &outcome.error_type, "error_type");
    field_bytes(L, &outcome.error_message, "error_message");
    field_bytes(L, &outcome.error_trace, "error_trace");
    /* REQUEUE is what was not started. */
    if (kind != REEVE_OUTCOME_REQUEUE && kind != KIND_CRASHED)
        end.outcome = &outcome;
    reeve_error err;
    job->settle = (reeve_protocol_settle)REEVE_PROTOCOL_SETTLE_INIT;
    reeve_rc rc = reeve_job_settle(&job->settle, job->job, &end, &err);
    if (rc < 0)
        return reeve_lua_fail(L, rc, &err);
    job->settled = true;
    keep_result(L, job);
    lua_pushstring(L, job->settle.to_state == REEVE_STATE_NONE
                          ? "none"
                          : reeve_state_name(job->settle.to_state));
    lua_pushboolean(L, job->settle.failed);
    return 2;
}

/* worker(): who held it, of a reclaimed job. */
static int worker(lua_State *L) {
    reeve_lua_push_bytes(L, reeve_lua_check_job(L, 1)->worker);
    return 1;
}

void reeve_lua_open_job(lua_State *L) {
    static const luaL_Reg methods[] = {
        { "id", id },         { "token", token },
        { "queue", queue },   { "lease_ms", lease_ms },
        { "read", read_job }, { "may_start", may_start },
        { "settle", settle }, { "worker", worker },
        { NULL, NULL },
    };
    reeve_lua_new_type(L, TYPE, methods, job_gc);
}
