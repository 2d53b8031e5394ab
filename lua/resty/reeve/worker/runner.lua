-- The light threads that run handlers: each takes a ready task, calls its
-- handler, and leaves what came of it as a verdict.

local config_of = require "resty.reeve.config"

local core = config_of.core
local json_decode, json_encode = core.json_decode, core.json_encode
local now = ngx.now
local xpcall, type, tostring = xpcall, type, tostring
local traceback = debug.traceback

local _M = {}

-- ---- a task as its handler sees it -----------------------------------------

local task_methods = {}

local function seconds_of(seconds, what)
    if type(seconds) ~= "number" or seconds < 0 then
        error(what .. ": seconds must be a number from 0", 3)
    end
    return math.floor(seconds * 1000 + 0.5)
end

-- Each says what becomes of the task when the handler returns; they return
-- nothing, so that `return task:snooze(10)` reads well.

-- Runs it again after seconds; no attempt is used up.
function task_methods:snooze(seconds)
    self._outcome = { "snooze", { delay_ms = seconds_of(seconds, "snooze") } }
end

-- A failure with a delay of its own.
function task_methods:retry(seconds, why)
    self._outcome = { "retry", {
        delay_ms = seconds_of(seconds, "retry"),
        error_type = "Failure",
        error_message = why and tostring(why) or "the handler asked for a retry",
    } }
end

-- A failure that ends in the archive at once.
function task_methods:skip_retry(why)
    self._outcome = { "fatal", {
        error_type = "Failure",
        error_message = why and tostring(why) or "the handler gave up",
    } }
end

-- Gone without a trace.
function task_methods:discard()
    self._outcome = { "discard" }
end

-- Whether the lease was lost; what it does from now on counts for nothing.
function task_methods:is_lost()
    return self._entry.lost == true
end

local task_mt = {}

function task_mt.__index(task, name)
    if name == "payload" then
        local value, err = json_decode(task.body)
        if err then
            error("the payload is not JSON (task.body has its bytes): " .. err, 2)
        end
        rawset(task, "payload", value)
        return value
    end
    return task_methods[name]
end

-- ---- handlers --------------------------------------------------------------

-- A handler by what it was given as: a function, a module's name, or a module to
-- run in a thread pool.
local function handler_of(given)
    if type(given) == "function" then
        return given
    end
    if type(given) == "string" then
        local handler = require(given)
        if type(handler) ~= "function" then
            error("module '" .. given .. "' returned a " .. type(handler)
                .. ", not a function", 0)
        end
        return handler
    end
    local run = ngx.run_worker_thread
    if not run then
        error("this nginx has no ngx.run_worker_thread", 0)
    end
    return function(task)
        local ran, result, why = run(given.thread_pool, given.module,
            given.call or "run", task.body, task.id, task.attempt)
        if not ran then
            error("thread pool '" .. given.thread_pool .. "': "
                .. tostring(result), 0)
        end
        return result, why
    end
end

local function find_handler(state, task_type)
    local cache = state.handlers
    local handler = cache[task_type]
    if handler then
        return handler
    end
    local given = state.options.handlers
    local found = given[task_type] or given["*"]
    if not found then
        return nil
    end
    handler = handler_of(found)
    cache[task_type] = handler
    return handler
end

-- ---- one run ---------------------------------------------------------------

local function failure(error_type, message, trace)
    return "retry", {
        error_type = error_type,
        error_message = tostring(message),
        error_trace = trace,
    }
end

local function on_error(err)
    local message = tostring(err)
    return { message = message, trace = traceback(message, 2) }
end

local function outcome_of(task, ran, result, why)
    if not ran then
        return failure("LuaError", result.message, result.trace)
    end
    local asked = rawget(task, "_outcome")
    if asked then
        return asked[1], asked[2]
    end
    if why ~= nil and not result then
        return failure("Failure", why)
    end
    if result == nil then
        return "done"
    end
    local text, err = json_encode(result)
    if not text then
        return failure("ResultError", "the result has no JSON form: " .. err)
    end
    return "done", { result = text }
end

local function call(state, task)
    local handler = find_handler(state, task.type)
    if not handler then
        return failure("NoHandler", "no handler for type '" .. task.type .. "'")
    end
    return outcome_of(task, xpcall(handler, on_error, task))
end

local function run(state, entry)
    local task, err = entry.job:read()
    if not task then
        return state:settle(entry, failure("Unreadable", err))
    end
    task._entry = entry
    entry.started_at = now()
    if task.timeout then
        entry.timeout_at = entry.started_at + task.timeout
        entry.timeout_why = "the timeout of " .. task.timeout .. " s is over"
    end
    local deadline_at = task.deadline and task.deadline - state.offset_ms / 1000
    if deadline_at and deadline_at < (entry.timeout_at or math.huge) then
        entry.timeout_at = deadline_at
        entry.timeout_why = "its deadline has passed"
    end
    if entry.timeout_at then
        state:wake("main_wake")
    end
    -- xpcall also around what finds the handler: its module may not load
    local fine, kind, fields = xpcall(call, on_error, state,
        setmetatable(task, task_mt))
    if not fine then
        kind, fields = failure("LuaError", kind.message, kind.trace)
    end
    state:settle(entry, kind, fields)
end

-- The body of one light thread. slot is where the parent finds what it runs.
function _M.main(state, slot)
    while not state.closed do
        local entry = state:pop_ready()
        if entry then
            slot.entry = entry
            entry.slot = slot
            run(state, entry)
            slot.entry = nil
        else
            state.ready_wake:wait(60)
        end
    end
end

return _M
