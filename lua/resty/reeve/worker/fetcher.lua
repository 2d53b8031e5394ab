-- The fetcher: one round trip stores what is finished and claims what is next.
-- The worker's main light thread, so it also stops handlers that run too long:
-- only the parent of a light thread may kill it.

local config_of = require "resty.reeve.config"
local conn_of = require "resty.reeve.conn"

local core = config_of.core
local reconnect_ms = core.reconnect_ms
local sleep = ngx.sleep
local log, WARN, INFO = ngx.log, ngx.WARN, ngx.INFO

local SLOW_POLL = 1 -- seconds
local CLOSING_FAILURES = 4
local ORPHANS_MAX = 1000
local WEAR_MAX = 2000 -- connections and killed threads until the timer is renewed

local _M = {}

local function timeout_by(state)
    return conn_of.now() + state.config.timeout_ms / 1000
end

-- The connection for turns; nil, message, code when there is none.
local function connection(state)
    local conn = state.conn
    if conn then
        conn:set_by(timeout_by(state))
        return conn
    end
    local err, code
    conn, err, code = conn_of.open(state.config, timeout_by(state), true)
    if conn then
        state.conn = conn
        state.wear = state.wear + 1
    end
    return conn, err, code
end

local function drop_connection(state)
    if state.conn then
        state.conn:close()
        state.conn = nil
    end
end

local function hold_off(state, err, code)
    state.failures = (state.failures or 0) + 1
    local pause = reconnect_ms(state.failures) / 1000
    if state.failures == 1 or state.failures % 20 == 0 then
        log(WARN, "reeve: worker ", state.id, ": ", err, " (", code,
            "), trying again")
    end
    sleep(pause)
end

-- ---- what comes -------------------------------------------------------------

local function take_jobs(state, queue, jobs)
    local now = ngx.now()
    local server_ms = state:server_ms()
    for i = 1, #jobs do
        local job = jobs[i]
        local own_ms = job:lease_ms()
        local entry = {
            job = job,
            queue = queue,
            lease_ms = own_ms > 0 and own_ms or state.lease_ms,
        }
        if not job:may_start(server_ms) then
            -- past its deadline, unreadable, or without a body
            entry.unstarted = true
            local id = job:id()
            local to = state:settle(entry, "discard")
            log(WARN, "reeve: task ", id, " in queue ", state.names[queue],
                " may not start and goes to: ", to)
        else
            -- the claim got the worker's lease: another one is stored at once
            entry.extend_at = entry.lease_ms == state.lease_ms
                and now + state.extend_ms / 1000 or 0
            state:take_in(entry)
            if entry.extend_at == 0 then
                state:wake("tick_wake")
            end
        end
    end
end

-- The server no longer knows us as the holder of these.
local function log_lost(state, entries, lost)
    for i = 1, #lost do
        local entry = entries[lost[i]]
        if not entry.resent then
            log(WARN, "reeve: LEASE_LOST: the outcome of task ",
                entry.job:id(), " in queue ", state.names[entry.queue],
                " is refused, another worker has it")
        end
    end
end

-- ---- what goes ---------------------------------------------------------------

local function jobs_of(entries)
    local jobs = {}
    for i = 1, #entries do
        jobs[i] = entries[i].job
    end
    return jobs
end

-- Submits the turns that verdicts and quotas ask for, but for queues that are
-- held off: a list of parts; then message and code when it ended before its time
-- and a new connection is wanted.
local function submit(state, protocol, quotas)
    local parts = {}
    for queue = 1, #state.names do
        local quota = quotas[queue]
        local wanted = not state:is_held_off(queue)
            and (quota > 0 or #state.outbox[queue] > 0)
        if wanted then
            local entries = state:take_outbox(queue)
            local op, err, code = protocol:turn(state.names[queue], jobs_of(entries),
                quota, state.lease_ms, state.id)
            if op then
                parts[#parts + 1] = {
                    op = op,
                    queue = queue,
                    entries = entries,
                    claims = quota > 0,
                }
            else
                state:put_back(queue, entries)
                state:hold_off(queue, err, code)
                if not conn_of.is_refusal(code) then
                    return parts, err, code
                end
            end
        end
    end
    return parts
end

-- A ring that we cannot use goes to another worker, unless its queue is held
-- off: it would come back. Who leaves does not know whose it was.
local function pass_ring_on(state, protocol, quotas)
    local rung = state.rung
    state.rung = nil
    for queue = 1, rung and #state.names or 0 do
        local is_ours = queue == rung and not state:is_held_off(queue)
        if quotas[queue] == 0 and (is_ours or state.closing) then
            protocol:ring(state.names[queue])
        end
    end
end

local function book_part(state, part, result, taken)
    if result.lost then
        log_lost(state, part.entries, result.lost)
    end
    taken[part.queue] = #result.jobs
    take_jobs(state, part.queue, result.jobs)
    if result.next_at_ms then
        local at = (result.next_at_ms - state.offset_ms) / 1000
        if at < state.promote_at[part.queue] then
            state.promote_at[part.queue] = at
            state:wake("tick_wake")
        end
    end
end

local function put_all_back(state, parts)
    for i = 1, #parts do
        local part = parts[i]
        if #part.entries > 0 then
            state:put_back(part.queue, part.entries)
        end
        if part.claims then
            state.orphans_due[part.queue] = true
        end
    end
end

-- Books what each part came to. One queue's refusal is its own; nil, message,
-- code when it asks for a new connection.
local function book_parts(state, parts, results, taken)
    local err, code
    for i = 1, #parts do
        local part = parts[i]
        local result = results[part.op]
        if not result.code then
            state.refusals[part.queue] = 0
            state.under_way[part.queue] = nil
            book_part(state, part, result, taken)
        else
            put_all_back(state, { part })
            state:hold_off(part.queue, result.message, result.code)
            if not conn_of.is_refusal(result.code) then
                err, code = result.message, result.code
            end
        end
    end
    if err then
        return nil, err, code
    end
    state.failures = 0
    return true
end

-- Sends turns and books what they bring, also in taken; nil, message, code when
-- the connection is of no use.
local function exchange(state, conn, quotas, taken)
    local parts, err, code = submit(state, conn.protocol, quotas)
    if not err and conn:is_clean() then
        return true -- for all are held off
    end
    local results
    if not err then
        results, err, code = conn:finish()
    end
    if not results then
        put_all_back(state, parts)
        return nil, err, code
    end
    state:note_time(conn.protocol)
    return book_parts(state, parts, results, taken)
end

-- One round trip; false when it failed. picker: whose plan the quotas are.
local function turn(state, quotas, picker)
    local conn, err, code = connection(state)
    if not conn then
        hold_off(state, err, code)
        return false
    end
    pass_ring_on(state, conn.protocol, quotas)
    local taken = {}
    local good
    good, err, code = exchange(state, conn, quotas, taken)
    if not good then
        drop_connection(state)
        hold_off(state, err, code)
        return false
    end
    if picker then
        picker:book(taken)
    end
    return true
end

-- ---- claims that we never saw ------------------------------------------------

local function key_of(job)
    return job:queue() .. " " .. job:token() .. " " .. job:id()
end

local function known_keys(state)
    local known = {}
    for entry in pairs(state.live) do
        known[key_of(entry.job)] = true
    end
    for queue = 1, #state.names do
        for _, entry in ipairs(state.outbox[queue]) do
            known[key_of(entry.job)] = true
        end
    end
    return known
end

-- Hands back what is leased to us in one queue and not known; true, or nil,
-- message, code when the connection is of no use.
local function return_from(state, conn, queue, known)
    local name = state.names[queue]
    local result, err, code, good = conn:call(
        conn.protocol:reclaim(name, state.id, ORPHANS_MAX))
    local unknown = {}
    for _, job in ipairs(result and result.jobs or {}) do
        if not known[key_of(job)] then
            job:settle("requeue", state.id, {})
            unknown[#unknown + 1] = job
        end
    end
    if #unknown > 0 then
        log(INFO, "reeve: worker ", state.id, " hands back ", #unknown,
            " tasks whose claim it never saw")
        result, err, code, good = conn:call(conn.protocol:turn(name, unknown, 0,
            state.lease_ms, state.id))
    end
    if result then
        state.orphans_due[queue] = nil
    elseif good then
        state:hold_off(queue, err, code)
    end
    return result and true or good, err, code
end

-- After a lost answer, tasks may be leased to us that we do not know of.
local function return_orphans(state)
    local conn, err, code = connection(state)
    if not conn then
        return hold_off(state, err, code)
    end
    local known = known_keys(state)
    for queue in pairs(state.orphans_due) do
        if not state:is_held_off(queue) then
            local good
            good, err, code = return_from(state, conn, queue, known)
            if not good then
                drop_connection(state)
                return hold_off(state, err, code)
            end
            state.failures = 0
        end
    end
end

-- ---- handlers that run too long -----------------------------------------------

-- Stops the light thread of a slot; false when nginx cannot right now.
local function kill(state, slot)
    local killed = ngx.thread.kill(slot.thread)
    if not killed then
        return false
    end
    state.wear = state.wear + 1
    slot.entry = nil
    state.respawn(slot)
    return true
end

-- Ends what has run out of time; returns seconds until the next does.
local function check_timeouts(state)
    local now = ngx.now()
    local nearest = SLOW_POLL
    for _, slot in ipairs(state.slots) do
        local entry = slot.entry
        local at = entry and entry.timeout_at
        if entry and (entry.lost or (at and at <= now)) then
            if not entry.lost then
                state:settle(entry, "retry", {
                    error_type = "Timeout",
                    error_message = entry.timeout_why,
                })
            end
            if not kill(state, slot) then
                nearest = math.min(nearest, 0.05)
            end
        elseif at and at - now < nearest then
            nearest = at - now
        end
    end
    return nearest
end

-- ---- the loop -------------------------------------------------------------------

-- Handlers that are still running when the grace is over go back to their queues.
local function requeue_running(state)
    for _, slot in ipairs(state.slots) do
        local entry = slot.entry
        if entry then
            state:settle(entry, "requeue")
            kill(state, slot)
        end
    end
    for entry in pairs(state.live) do
        state:settle(entry, "requeue")
    end
end

local function begin_to_close(state)
    state.closing = true
    state.grace_by = conn_of.now() + state.options.grace / 1000
    state.stop_listening()
    state:hand_back()
end

-- Whether something waits for the server that it may still take.
local function has_hope(state)
    if (state.failures or 0) >= CLOSING_FAILURES then
        return false
    end
    for queue = 1, #state.names do
        local waits = #state.outbox[queue] > 0 or state.orphans_due[queue]
        if waits and state.refusals[queue] < CLOSING_FAILURES then
            return true
        end
    end
    return state.live_count > 0 or state.rung
end

-- Whether all is done that can be done before leaving.
local function is_done(state)
    if not state.grace_by then
        return false
    end
    if ngx.now() >= state.grace_by and state.live_count > 0 then
        requeue_running(state)
    end
    return not has_hope(state)
end

-- Whether a verdict may be stored now; else seconds until a queue that is held
-- off may be asked again.
local function look_at_queues(state)
    local now, nearest = ngx.now(), SLOW_POLL
    for queue = 1, #state.names do
        local left = state.ask_at[queue] - now
        if left > 0 then
            nearest = math.min(nearest, left)
        elseif #state.outbox[queue] > 0 then
            return true, 0
        end
    end
    return false, nearest
end

-- One step; returns false when the loop is over.
local function step(state, quotas)
    local nearest = check_timeouts(state)
    if state.wear > WEAR_MAX then
        state.closing = true
    end
    if state:must_close() and not state.grace_by then
        begin_to_close(state)
    end
    if is_done(state) then
        return false
    end
    if next(state.orphans_due) then
        return_orphans(state)
    end
    local slots, picker = state:free_slots(), state.picker
    local sum = 0
    if slots > 0 then
        sum = picker:plan(slots, quotas)
    end
    if sum == 0 then
        for i = 1, #state.names do
            quotas[i] = 0
        end
    end
    local may_store, again_after = look_at_queues(state)
    if sum > 0 or may_store or state.rung then
        turn(state, quotas, sum > 0 and picker)
        return true
    end
    state.idle = slots > 0
    if state.idle then
        state:wake("bell_wake")
    end
    state:wait("main_wake", math.min(nearest, again_after))
    state.idle = false
    return true
end

-- Runs until nginx leaves or the timer is worn.
function _M.main(state)
    local quotas = {}
    while step(state, quotas) do
        ngx.update_time()
    end
    drop_connection(state)
end

return _M
