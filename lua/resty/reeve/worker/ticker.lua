-- The ticker: renews leases, moves what is due, takes over from workers that
-- died, deletes what is kept no longer, and shows that this worker lives.

local config_of = require "resty.reeve.config"
local conn_of = require "resty.reeve.conn"

local core = config_of.core
local log, WARN = ngx.log, ngx.WARN

local PROMOTE_MAX, PROMOTE_EVERY = 500, 0.5
local RECLAIM_MAX = 500
local SWEEP_MAX, SWEEP_EVERY = 500, 5
local BEAT_EVERY = 2
local WEIGHT_MAX = 1000
local WEIGHTS_EVERY = 30 -- should a message about them be lost
local DEAD_EVERY, DEAD_AFTER_MS = 60, 3600000 -- the core's bound for a beat
local FAIL_PAUSE = 0.25
local AGAIN_AFTER = 0.001 -- our estimate of the server's clock may be early

local _M = {}

local function host_name()
    local file = io.open("/proc/sys/kernel/hostname", "r")
    local name = file and file:read("*l")
    if file then
        file:close()
    end
    return name or "?"
end

-- ---- refusals ------------------------------------------------------------------

-- Whether a step failed by the server's word on it, which is logged, and the
-- others go on. Else the connection is of no use.
local function is_refused(state, what, err, code, good)
    if good then
        state:tell(what, err, code)
    end
    return good
end

-- Does a step of a role for each queue, whose name it gets; nil, message, code
-- when the connection broke.
local function each_queue(state, role, step)
    for queue, name in ipairs(state.names) do
        local done, err, code, good = step(name, queue)
        if not done and not is_refused(state, role .. " of queue " .. name, err,
            code, good) then
            return nil, err, code
        end
    end
    return true
end

-- ---- leases ------------------------------------------------------------------

-- Due entries of each queue and of each lease that they want, as lists.
local function due_leases(state, now)
    local due, nearest = {}, math.huge
    for entry in pairs(state.live) do
        if entry.extend_at <= now then
            local key = entry.queue .. " " .. entry.lease_ms
            local list = due[key]
            if not list then
                list = {}
                due[key] = list
            end
            list[#list + 1] = entry
        elseif entry.extend_at < nearest then
            nearest = entry.extend_at
        end
    end
    return due, nearest
end

local function lose(state, entry)
    log(WARN, "reeve: LEASE_LOST: task ", entry.job:id(), " in queue ",
        state.names[entry.queue], " is another worker's now; its handler is "
        .. "stopped")
    entry.lost = true
    state:drop(entry)
    state:wake("main_wake")
end

-- Extends leases of one queue and length; returns when to do it again.
local function extend_some(state, conn, entries, now)
    local lease_ms, jobs = entries[1].lease_ms, {}
    for i = 1, #entries do
        jobs[i] = entries[i].job
    end
    local result, err, code, good = conn:call(
        conn.protocol:extend(jobs, lease_ms))
    local after = core.lease_spans(lease_ms) / 1000
    if not result then
        local what = "extend of queue " .. state.names[entries[1].queue]
        if not is_refused(state, what, err, code, good) then
            return nil, err, code
        end
        after = math.min(lease_ms / 10000, FAIL_PAUSE)
    end
    for i = 1, #entries do
        entries[i].extend_at = now + after
    end
    for _, index in ipairs(result and result.lost or {}) do
        if state.live[entries[index]] then
            lose(state, entries[index])
        end
    end
    return now + after
end

local function extend(state, conn, now)
    local due, nearest = due_leases(state, now)
    for _, entries in pairs(due) do
        local at, err, code = extend_some(state, conn, entries, now)
        if not at then
            return nil, err, code
        end
        nearest = math.min(nearest, at)
    end
    return nearest
end

-- ---- queues ------------------------------------------------------------------

local function promote_one(state, conn, queue, now)
    local result, err, code, good = conn:call(
        conn.protocol:promote(state.names[queue], PROMOTE_MAX))
    if not result then
        state.promote_at[queue] = good and now + FAIL_PAUSE or 0
        return nil, err, code, good
    end
    state:note_time(conn.protocol)
    local at = now + PROMOTE_EVERY
    if result.next_at_ms then
        local due_at = (result.next_at_ms - state.offset_ms) / 1000
        at = math.min(at, math.max(due_at, ngx.now() + AGAIN_AFTER))
    end
    state.promote_at[queue] = at
    if result.moved > 0 then
        state.picker:wake(queue)
        state:wake("main_wake")
    end
    return true
end

local function promote(state, conn, now)
    local good, err, code = each_queue(state, "promote", function(_, queue)
        if state.promote_at[queue] > now then
            return true
        end
        -- a hint that comes meanwhile is not lost
        state.promote_at[queue] = math.huge
        return promote_one(state, conn, queue, now)
    end)
    return good and math.min(unpack(state.promote_at)), err, code
end

-- Tasks of one queue whose workers died: each counts a crash.
local function reclaim_one(state, conn, name)
    local result, err, code, good = conn:call(
        conn.protocol:reclaim(name, "", RECLAIM_MAX))
    if not result then
        return nil, err, code, good
    end
    local jobs = result.jobs
    if #jobs == 0 then
        return true
    end
    for i = 1, #jobs do
        jobs[i]:settle("crashed", jobs[i]:worker(), {
            now_ms = state:server_ms(),
            archive_ms = state.options.archive,
            archive_count = state.options.archive_count,
        })
    end
    result, err, code, good = conn:call(conn.protocol:turn(name, jobs, 0,
        state.lease_ms, state.id))
    if not result then
        return nil, err, code, good
    end
    log(WARN, "reeve: worker ", state.id, " took over ",
        #jobs - #(result.lost or {}), " tasks in queue ", name,
        " whose leases had lapsed")
    state.picker:wake(state.index_of[name])
    state:wake("main_wake")
    return true
end

local function reclaim(state, conn, now)
    local good, err, code = each_queue(state, "reclaim", function(name)
        return reclaim_one(state, conn, name)
    end)
    return good and now + state.reclaim_ms / 1000, err, code
end

local function sweep(state, conn, now)
    local again = SWEEP_EVERY
    local good, err, code = each_queue(state, "sweep", function(name)
        local result, why, which, answered = conn:call(
            conn.protocol:sweep(name, SWEEP_MAX))
        if result and result.moved >= SWEEP_MAX then
            again = FAIL_PAUSE / 10
        end
        return result, why, which, answered
    end)
    return good and now + again, err, code
end

-- ---- what all workers share ---------------------------------------------------

-- Weights that an operator has set; a queue without one has the worker's own.
local function read_weights(state, conn, now)
    local reply, err, code, good = conn:command("HGETALL",
        state.config.given.prefix .. ":weights")
    if not reply then
        return nil, err, code, good
    end
    local weights = {}
    for i = 1, #state.names do
        weights[i] = state.options.weights[i]
    end
    for i = 1, #reply, 2 do
        local index = state.index_of[reply[i]]
        local weight = tonumber(reply[i + 1])
        if index and weight and weight >= 1 and weight <= WEIGHT_MAX
            and weight % 1 == 0 then
            weights[index] = weight
        end
    end
    state:set_weights(weights)
    return now + WEIGHTS_EVERY
end

-- Entries of workers that have not been heard of for an hour. A beat is lines,
-- the third of them when it was.
local function sweep_beats(state, conn, now)
    local key = state.config.given.prefix .. ":workers"
    local reply, err, code, good = conn:command("HGETALL", key)
    if not reply then
        return nil, err, code, good
    end
    local oldest = state:server_ms() - DEAD_AFTER_MS
    for i = 1, #reply, 2 do
        local beat_at = tonumber(reply[i + 1]:match("^%d+\n%d+\n(%d+)\n"))
        if not beat_at or beat_at <= oldest then
            local gone
            gone, err, code, good = conn:command("HDEL", key, reply[i])
            if not gone then
                return nil, err, code, good
            end
        end
    end
    return now + DEAD_EVERY
end

-- ---- the worker itself ---------------------------------------------------------

local function info_of(state)
    local queues = {}
    for i, name in ipairs(state.names) do
        queues[i] = name .. "=" .. state.weights[i]
    end
    return {
        id = state.id,
        host = state.host,
        pid = ngx.worker.pid(),
        started_at_ms = state.started_at_ms,
        concurrency = state.concurrency,
        active = state.live_count,
        done = state.done,
        failed = state.failed,
        quiet = state.quiet and 1 or 0,
        queues = table.concat(queues, ","),
    }
end

local function beat(state, conn, now)
    state.started_at_ms = state.started_at_ms or state:server_ms()
    local result, err, code, good = conn:call(
        conn.protocol:beat(info_of(state), false))
    if not result then
        return nil, err, code, good
    end
    return now + BEAT_EVERY
end

-- ---- the loop ------------------------------------------------------------------

-- In this order: leases come first. Each returns when it wants to run again.
local roles = {
    { "extend", extend },
    { "promote", promote },
    { "reclaim", reclaim },
    { "sweep", sweep },
    { "beat", beat },
    { "weights", read_weights },
    { "dead beats", sweep_beats },
}

-- A role that only looks at what it is told runs each time.
local function is_due(state, name, now)
    return name == "extend" or name == "promote"
        or (state.role_at[name] or 0) <= now
end

local function round(state, conn)
    local nearest = math.huge
    for _, role in ipairs(roles) do
        local name, run = role[1], role[2]
        local now = conn_of.now()
        -- who leaves keeps its leases and no more
        local wanted = name == "extend" or not state:must_close()
        if wanted and is_due(state, name, now) then
            conn:set_by(now + state.config.timeout_ms / 1000)
            local at, err, code, good = run(state, conn, now)
            if not at then
                if not is_refused(state, name, err, code, good) then
                    return nil, name .. ": " .. err, code
                end
                at = now + BEAT_EVERY
            end
            state.role_at[name] = at
        end
        if wanted then
            nearest = math.min(nearest, state.role_at[name])
        end
    end
    return nearest
end

local function say_goodbye(state, conn)
    if conn then
        conn:set_by(conn_of.now() + 1)
        conn:call(conn.protocol:beat({ id = state.id }, true))
        conn:close()
    end
end

function _M.main(state)
    local conn
    state.host = host_name()
    while not state.closed do
        local at, err, code
        if not conn then
            conn, err, code = conn_of.open(state.config,
                conn_of.now() + state.config.timeout_ms / 1000, true)
            if conn then
                state.wear = state.wear + 1
                state:note_time(conn.protocol)
            end
        end
        if conn then
            at, err, code = round(state, conn)
        end
        if not at then
            if conn then
                conn:close()
                conn = nil
            end
            if not state.tick_failed then
                log(WARN, "reeve: worker ", state.id, ": ", err, " (", code,
                    "), trying again")
            end
            state.tick_failed = true
            at = conn_of.now() + FAIL_PAUSE
        else
            state.tick_failed = false
        end
        if not state.closed then
            state:wait("tick_wake", math.min(at - conn_of.now(), 1))
        end
    end
    say_goodbye(state, conn)
end

return _M
