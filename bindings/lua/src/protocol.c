/*
 * The Redis protocol without sockets: submit operations, send what output()
 * gives, feed() what came, take results by next(). One object for a connection.
 */
#include <string.h>

#include "sansio.h"

#define TYPE "reeve.protocol"
#define QUEUES_MAX 256

/* The user value is a table: operation → its queue's name. */
typedef struct holder {
    reeve_protocol *protocol;
    reeve_env *ids; /* of the Lua state, which outlives its calls */
} holder;

static const holder *check_holder(lua_State *L) {
    const holder *self = luaL_checkudata(L, 1, TYPE);
    if (!self->protocol)
        luaL_argerror(L, 1, "the protocol object is closed");
    return self;
}

reeve_protocol *reeve_lua_check_protocol(lua_State *L) {
    return check_holder(L)->protocol;
}

static int protocol_gc(lua_State *L) {
    holder *self = luaL_checkudata(L, 1, TYPE);
    reeve_protocol_free(self->protocol);
    self->protocol = NULL;
    return 0;
}

static int protocol_new(lua_State *L) {
    static const reeve_lua_option list[] = {
        { "database", REEVE_LUA_INT, offsetof(reeve_protocol_options, database),
          0, 65535 },
        { "prefix", REEVE_LUA_TEXT, offsetof(reeve_protocol_options, prefix), 0,
          0 },
        { "user", REEVE_LUA_TEXT, offsetof(reeve_protocol_options, user), 0,
          0 },
        { "password", REEVE_LUA_TEXT,
          offsetof(reeve_protocol_options, password), 0, 0 },
        { "client_name", REEVE_LUA_TEXT,
          offsetof(reeve_protocol_options, client_name), 0, 0 },
        { "label", REEVE_LUA_TEXT, offsetof(reeve_protocol_options, label), 0,
          0 },
        { "allow_eviction", REEVE_LUA_FLAG,
          offsetof(reeve_protocol_options, allow_eviction), 0, 0 },
        { NULL, 0, 0, 0, 0 },
    };
    reeve_protocol_options options = REEVE_PROTOCOL_OPTIONS_INIT;
    reeve_error err;
    reeve_rc rc;
    lua_settop(L, 1);
    if (!lua_isnil(L, 1))
        luaL_checktype(L, 1, LUA_TTABLE);
    if (!reeve_lua_read_options(L, &options, &rc, 1, list, "protocol"))
        return reeve_lua_failf(L, rc, "%s", lua_tostring(L, -1));
    holder *self = reeve_lua_newuserdata(L, sizeof *self);
    self->protocol = NULL;
    self->ids = reeve_lua_id_env(L);
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    lua_newtable(L);
    reeve_lua_setuservalue(L, -2);
    rc = reeve_protocol_new(&self->protocol, NULL, &options, &err);
    return rc < 0 ? reeve_lua_fail(L, rc, &err) : 1;
}

/* ---- submitting ---------------------------------------------------------- */

/* The operation's number, or why it was refused. */
static int submitted(lua_State *L, reeve_rc rc, uint64_t op,
                     const reeve_error *err) {
    if (rc < 0)
        return reeve_lua_fail(L, rc, err);
    reeve_lua_push_int(L, (int64_t)op);
    return 1;
}

/* The same, and remembers its queue, whose name is at index 2. */
static int submitted_on(lua_State *L, reeve_rc rc, uint64_t op,
                        const reeve_error *err) {
    if (rc < 0)
        return reeve_lua_fail(L, rc, err);
    reeve_lua_getuservalue(L, 1);
    reeve_lua_push_int(L, (int64_t)op);
    lua_pushvalue(L, 2);
    lua_rawset(L, -3);
    return submitted(L, rc, op, err);
}

static reeve_bytes check_bytes(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TSTRING);
    return reeve_lua_bytes(L, index);
}

static int64_t check_int(lua_State *L, int index) {
    int64_t value = 0;
    if (!reeve_lua_get_int(L, index, &value))
        luaL_argerror(L, index, "must be an integer");
    return value;
}

static size_t check_count(lua_State *L, int index) {
    int64_t value = check_int(L, index);
    if (value < 0)
        luaL_argerror(L, index, "must not be negative");
    return (size_t)value;
}

static int hello(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    uint64_t op = 0;
    reeve_error err;
    reeve_rc rc = reeve_protocol_hello(&op, protocol, &err);
    return submitted(L, rc, op, &err);
}

/* enqueue(batch, resent) */
static int enqueue(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    reeve_lua_batch *batch = reeve_lua_check_batch(L, 2);
    uint64_t op = 0;
    reeve_error err;
    if (batch->needs_clock) {
        int64_t now_at_ms = reeve_protocol_now(protocol);
        if (now_at_ms == 0)
            return reeve_lua_failf(L, REEVE_E_STATE,
                                   "the server's time is not known: say hello "
                                   "first");
        reeve_lua_batch_clock(batch, now_at_ms);
    }
    reeve_rc rc =
        reeve_protocol_enqueue(&op, protocol, batch->args, batch->count,
                               lua_toboolean(L, 3) != 0, &err);
    return submitted(L, rc, op, &err);
}

/* submit_task(type, payload, options, id, resent): one task without a batch: the
 * bytes to send and its id; false when it needs the server's clock, which is not
 * known yet; or nil, message, code. */
static int submit_task(lua_State *L) {
    const holder *self = check_holder(L);
    reeve_protocol *protocol = self->protocol;
    lua_settop(L, 6);
    reeve_lua_task task;
    reeve_rc rc;
    if (!reeve_lua_read_task(L, &task, &rc, 0, 2, 3, 4))
        return reeve_lua_failf(L, rc, "%s", lua_tostring(L, -1));
    char id[REEVE_ID_TEXT_BYTES];
    if (lua_type(L, 5) == LUA_TSTRING) {
        task.args.id = reeve_lua_bytes(L, 5);
    } else if (task.args.id.size == 0) {
        reeve_id_new(id, self->ids);
        task.args.id = reeve_bytes_of(id);
    }
    if (task.expires_ms > 0) {
        int64_t now_at_ms = reeve_protocol_now(protocol);
        if (now_at_ms == 0) {
            lua_pushboolean(L, 0);
            return 1;
        }
        task.args.deadline_at_ms = now_at_ms + task.expires_ms;
    }
    uint64_t op;
    reeve_error err;
    rc = reeve_protocol_enqueue(&op, protocol, &task.args, 1,
                                lua_toboolean(L, 6) != 0, &err);
    if (rc < 0)
        return reeve_lua_fail(L, rc, &err);
    reeve_bytes out = reeve_protocol_output(protocol);
    lua_pushlstring(L, out.data, out.size);
    reeve_protocol_sent(protocol, out.size);
    reeve_lua_push_bytes(L, task.args.id);
    return 2;
}

/* The verdict of the job at index, marked as its token's last when it is. */
static void take_settle(lua_State *L, reeve_protocol_settle *out, int index) {
    reeve_lua_job *job = reeve_lua_check_job(L, index);
    if (!job->settled)
        luaL_error(L, "a job of the turn is not settled");
    if (job->claim && !job->counted) {
        job->counted = true;
        job->settle.last = --job->claim->unsettled == 0;
    }
    *out = job->settle;
}

/* turn(queue, jobs, claim_max, lease_ms, worker) */
static int turn(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    reeve_bytes queue = check_bytes(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    size_t claim_max = check_count(L, 4);
    int64_t lease_ms = check_int(L, 5);
    reeve_bytes worker = check_bytes(L, 6);
    size_t count = lua_rawlen(L, 3);
    reeve_protocol_settle *settles =
        reeve_lua_newuserdata(L, (count + 1) * sizeof *settles);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 3, (int)i + 1);
        take_settle(L, &settles[i], lua_gettop(L));
        lua_pop(L, 1); /* stays in the list */
    }
    uint64_t op = 0;
    reeve_error err;
    reeve_rc rc = reeve_protocol_turn(&op, protocol, queue, settles, count,
                                      claim_max, lease_ms, worker, &err);
    return submitted_on(L, rc, op, &err);
}

/* extend(jobs, lease_ms) */
static int extend(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    int64_t lease_ms = check_int(L, 3);
    size_t count = lua_rawlen(L, 2);
    reeve_protocol_lease *leases =
        reeve_lua_newuserdata(L, (count + 1) * sizeof *leases);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 2, (int)i + 1);
        const reeve_lua_job *job = reeve_lua_check_job(L, lua_gettop(L));
        leases[i] = (reeve_protocol_lease)REEVE_PROTOCOL_LEASE_INIT;
        leases[i].queue = job->queue;
        leases[i].id = job->id;
        leases[i].token = job->token;
        lua_pop(L, 1);
    }
    uint64_t op = 0;
    reeve_error err;
    reeve_rc rc =
        reeve_protocol_extend(&op, protocol, leases, count, lease_ms, &err);
    return submitted(L, rc, op, &err);
}

/* promote(queue, max), sweep(queue, max) */
static int promote(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    uint64_t op = 0;
    reeve_error err;
    reeve_rc rc = reeve_protocol_promote(&op, protocol, check_bytes(L, 2),
                                         check_count(L, 3), &err);
    return submitted_on(L, rc, op, &err);
}

static int sweep(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    uint64_t op = 0;
    reeve_error err;
    reeve_rc rc = reeve_protocol_sweep(&op, protocol, check_bytes(L, 2),
                                       check_count(L, 3), &err);
    return submitted_on(L, rc, op, &err);
}

/* reclaim(queue, worker, max): worker "" = whose lease has lapsed */
static int reclaim(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    uint64_t op = 0;
    reeve_error err;
    reeve_rc rc =
        reeve_protocol_reclaim(&op, protocol, check_bytes(L, 2),
                               check_bytes(L, 3), check_count(L, 4), &err);
    return submitted_on(L, rc, op, &err);
}

/* wait(queues, timeout_ms) */
static int wait_bell(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    reeve_bytes queues[QUEUES_MAX];
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t count = lua_rawlen(L, 2);
    if (count > QUEUES_MAX)
        return luaL_argerror(L, 2, "has more than 256 queues");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 2, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            return luaL_argerror(L, 2, "must be a list of names");
        queues[i] = reeve_lua_bytes(L, -1);
        lua_pop(L, 1);
    }
    uint64_t op = 0;
    reeve_error err;
    reeve_rc rc = reeve_protocol_wait(&op, protocol, queues, count,
                                      check_int(L, 3), &err);
    return submitted(L, rc, op, &err);
}

static int ring(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    uint64_t op = 0;
    reeve_error err;
    reeve_rc rc = reeve_protocol_ring(&op, protocol, check_bytes(L, 2), &err);
    return submitted_on(L, rc, op, &err);
}

static int64_t field_int(lua_State *L, const char *name) {
    int64_t value = 0;
    lua_getfield(L, 2, name);
    (void)reeve_lua_get_int(L, lua_gettop(L), &value);
    lua_pop(L, 1);
    return value;
}

static reeve_bytes field_bytes(lua_State *L, const char *name) {
    reeve_bytes bytes = { "", 0 };
    lua_getfield(L, 2, name);
    if (lua_type(L, -1) == LUA_TSTRING)
        bytes = reeve_lua_bytes(L, -1);
    lua_pop(L, 1); /* stays in the table */
    return bytes;
}

/* beat(info, gone) */
static int beat(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    reeve_worker_info info = {
        .id = field_bytes(L, "id"),
        .host = field_bytes(L, "host"),
        .pid = field_int(L, "pid"),
        .started_at_ms = field_int(L, "started_at_ms"),
        .concurrency = (int32_t)field_int(L, "concurrency"),
        .active = (int32_t)field_int(L, "active"),
        .done = field_int(L, "done"),
        .failed = field_int(L, "failed"),
        .quiet = (int32_t)field_int(L, "quiet"),
        .queues = field_bytes(L, "queues"),
    };
    uint64_t op = 0;
    reeve_error err;
    reeve_rc rc = reeve_protocol_beat(&op, protocol, &info,
                                      lua_toboolean(L, 3) != 0, &err);
    return submitted(L, rc, op, &err);
}

/* ---- bytes --------------------------------------------------------------- */

/* output(): what to send, nil when there is nothing; it counts as sent. */
static int output(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    reeve_bytes out = reeve_protocol_output(protocol);
    if (out.size == 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushlstring(L, out.data, out.size);
    reeve_protocol_sent(protocol, out.size);
    return 1;
}

/* feed(bytes): true, or nil, message, code and the connection is of no use. */
static int feed(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    reeve_error err;
    reeve_rc rc = reeve_protocol_feed(protocol, check_bytes(L, 2), &err);
    if (rc < 0)
        return reeve_lua_fail(L, rc, &err);
    lua_pushboolean(L, 1);
    return 1;
}

static int pending(lua_State *L) {
    lua_pushinteger(
        L, (lua_Integer)reeve_protocol_pending(reeve_lua_check_protocol(L)));
    return 1;
}

/* now(): the server's clock in ms, 0 when it is not known yet. */
static int now(lua_State *L) {
    reeve_lua_push_int(L, reeve_protocol_now(reeve_lua_check_protocol(L)));
    return 1;
}

/* reset(): the connection is gone. */
static int reset(lua_State *L) {
    reeve_protocol *protocol = reeve_lua_check_protocol(L);
    reeve_error err;
    lua_newtable(L);
    reeve_lua_setuservalue(L, 1);
    reeve_rc rc = reeve_protocol_reset(protocol, &err);
    if (rc < 0)
        return reeve_lua_fail(L, rc, &err);
    lua_pushboolean(L, 1);
    return 1;
}

void reeve_lua_open_protocol(lua_State *L) {
    static const luaL_Reg methods[] = {
        { "submit_task", submit_task },
        { "finish_task", reeve_lua_finish_task },
        { "hello", hello },
        { "enqueue", enqueue },
        { "turn", turn },
        { "extend", extend },
        { "promote", promote },
        { "reclaim", reclaim },
        { "wait", wait_bell },
        { "ring", ring },
        { "sweep", sweep },
        { "beat", beat },
        { "output", output },
        { "feed", feed },
        { "next", reeve_lua_next_result },
        { "pending", pending },
        { "now", now },
        { "reset", reset },
        { "close", protocol_gc },
        { NULL, NULL },
    };
    reeve_lua_new_type(L, TYPE, methods, protocol_gc);
    lua_pushcfunction(L, protocol_new);
    lua_setfield(L, -2, "protocol");
    reeve_lua_open_batch(L);
    reeve_lua_open_job(L);
    reeve_lua_open_picker(L);
    reeve_lua_open_url(L);
}
