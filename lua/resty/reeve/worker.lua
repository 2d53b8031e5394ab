-- The worker for OpenResty: runs tasks in nginx's own event loop, in light
-- threads of one timer. See docs/openresty.md.
--
--     init_worker_by_lua_block {
--         require("resty.reeve.worker").start {
--             url = "redis://127.0.0.1",
--             handlers = { ["email:send"] = function(task) … end },
--         }
--     }

local config_of = require "resty.reeve.config"
local core = config_of.core
local state_of = require "resty.reeve.worker.state"
local fetcher = require "resty.reeve.worker.fetcher"
local runner = require "resty.reeve.worker.runner"
local ticker = require "resty.reeve.worker.ticker"
local bell = require "resty.reeve.worker.bell"
local control = require "resty.reeve.worker.control"

local log, ERR = ngx.log, ngx.ERR
local exiting = ngx.worker.exiting
local spawn, kill, wait = ngx.thread.spawn, ngx.thread.kill, ngx.thread.wait

local FAR = 86400 * 20 -- a timer that fires early when nginx leaves
local RESTART_AFTER = 1

local _M = {}

local OPTIONS = {
    handlers = { "table" },
    queues = { "table" },
    order = { "string", "weighted" },
    concurrency = { "integer", 10, 1, 10000 },
    lease = { "span", 30000, 100, 86400000 },
    grace = { "span", 25000, 0, 86400000 },
    archive = { "span", nil, 1000, 316224000000 },
    archive_count = { "integer", nil, 1, 2 ^ 31 - 1 },
    processes = { "integer", nil, 1, 1024 },
}

-- ---- options ----------------------------------------------------------------

local function usage(...)
    return nil, "resty.reeve.worker: " .. string.format(...), "usage"
end

-- { "a", "b" } or { a = 6, b = 1 } to names and weights.
local function read_queues(queues)
    local names, weights = {}, {}
    for i, name in ipairs(queues) do
        names[i], weights[i] = name, 1
    end
    if #names == 0 then
        for name in pairs(queues) do
            names[#names + 1] = name
        end
        table.sort(names, function(a, b)
            return tostring(a) < tostring(b)
        end)
        for i, name in ipairs(names) do
            weights[i] = queues[name]
        end
    end
    for _, name in ipairs(names) do
        if type(name) ~= "string" then
            return usage("queues must be a list of names or map names to weights")
        end
    end
    if #names == 0 then
        return { "default" }, { 1 }
    end
    return names, weights
end

-- nil when it may be a handler, or why it may not.
local function check_handler(given)
    if type(given) == "function" or type(given) == "string" then
        return nil
    end
    if type(given) ~= "table" then
        return "handler of '%s' must be a function, a module's name or a table"
    end
    if type(given.thread_pool) ~= "string" or type(given.module) ~= "string" then
        return "handler of '%s': a table must name its thread_pool and module"
    end
    if not ngx.run_worker_thread then
        return "handler of '%s': this nginx has no ngx.run_worker_thread (it "
            .. "needs nginx built with threads and lua-nginx-module 0.10.23)"
    end
end

local function check_handlers(handlers)
    if not handlers or next(handlers) == nil then
        return usage("handlers is missing: a table of task types")
    end
    for task_type, given in pairs(handlers) do
        local why = check_handler(given)
        if why then
            return usage(why, tostring(task_type))
        end
    end
    return true
end

local function new_state(options)
    local config, err, code = config_of.new(options, OPTIONS, "resty.reeve.worker")
    if not config then
        return nil, err, code
    end
    local given = config.given
    local good
    good, err, code = check_handlers(given.handlers)
    if not good then
        return nil, err, code
    end
    if given.order ~= "weighted" and given.order ~= "strict" then
        return usage("order is '%s', not 'weighted' or 'strict'", given.order)
    end
    given.names, given.weights, code = read_queues(given.queues or {})
    if not given.names then
        return nil, given.weights, code
    end
    local state
    state, err, code = state_of.new(config, given)
    if not state then
        return nil, err, code
    end
    state.extend_ms, state.reclaim_ms = core.lease_spans(state.lease_ms)
    state.handlers = {}
    return state
end

-- ---- life --------------------------------------------------------------------

local function spawn_runners(state)
    state.slots = {}
    state.respawn = function(slot)
        slot.thread = spawn(runner.main, state, slot)
    end
    for i = 1, state.concurrency do
        local slot = {}
        state.slots[i] = slot
        state.respawn(slot)
    end
end

-- Leaves the doorbell. A ring may have been lost with the connection.
local function leave_bell(state, thread)
    kill(thread)
    if state.bell_conn then
        pcall(state.bell_conn.close, state.bell_conn)
        state.bell_conn = nil
    end
    if state.bell_out then
        state.bell_out = false
        state.rung = 1
    end
end

local function leave_control(state, thread)
    kill(thread)
    if state.control_conn then
        pcall(state.control_conn.close, state.control_conn)
        state.control_conn = nil
    end
end

local previous -- the state of a timer before: it may have verdicts to store

local function run(state)
    local old = previous
    previous = state
    if old then
        state:inherit(old)
    end
    local bell_thread = spawn(bell.main, state)
    local control_thread = spawn(control.main, state)
    local tick_thread = spawn(ticker.main, state)
    state.stop_listening = function()
        leave_bell(state, bell_thread)
        leave_control(state, control_thread)
    end
    spawn_runners(state)
    fetcher.main(state)
    state.closed = true
    state:wake("tick_wake")
    state.ready_wake:post(#state.slots)
    wait(tick_thread)
    for _, slot in ipairs(state.slots) do
        if slot.entry then
            kill(slot.thread) -- gave up: its lease brings it back
        else
            wait(slot.thread)
        end
    end
end

local current -- the state of the worker of this process
local is_quiet = false -- as an operator left it when its timer ended

local begin

local function main(premature, options)
    if premature or exiting() then
        return
    end
    local state, err = new_state(options)
    if not state then
        return log(ERR, "reeve: worker cannot start: ", err)
    end
    current = state
    state.quiet = is_quiet
    local good
    good, err = xpcall(run, debug.traceback, state)
    current = nil
    is_quiet = state.quiet
    if not good then
        log(ERR, "reeve: worker failed and starts again: ", err)
        state.closing, state.closed = true, true
        if state.stop_listening then
            state.stop_listening()
        end
    end
    if not exiting() then
        begin(good and 0 or RESTART_AFTER, options)
    end
end

begin = function(after, options)
    local good, err = ngx.timer.at(after, main, options)
    if not good then
        log(ERR, "reeve: worker cannot start: ", err)
    end
    return good, err
end

-- Fires early, when nginx wants to leave: nothing else would wake who waits.
local function on_exit(premature)
    if not premature then
        return ngx.timer.at(FAR, on_exit)
    end
    if current then
        current:wake("main_wake")
        current:wake("tick_wake")
        -- nginx looks at semaphores when it wakes next: let that be soon
        ngx.sleep(0.001)
    end
end

-- start(options): starts the worker of this nginx process; call it once, in
-- init_worker_by_lua. true, or nil, message, code. Nothing blocks: connecting
-- and everything after happen in a timer.
function _M.start(options)
    local state, err, code = new_state(options)
    if not state then
        log(ERR, "reeve: ", err)
        return nil, err, code
    end
    local processes = state.options.processes
    local number = ngx.worker.id()
    if not number or (processes and number >= processes) then
        return true -- a helper process, or not one of the first
    end
    local good
    good, err = begin(0, options)
    if good then
        good, err = ngx.timer.at(FAR, on_exit)
    end
    if not good then
        return nil, err, "system"
    end
    return true
end

-- status(): what the worker of this process does now, nil when there is none.
function _M.status()
    local state = current
    if not state then
        return nil
    end
    return {
        id = state.id,
        active = state.live_count,
        waiting = state.last - state.first + 1,
        unstored = state.outbox_count,
        done = state.done,
        failed = state.failed,
        quiet = state.quiet,
        closing = state:must_close(),
    }
end

return _M
