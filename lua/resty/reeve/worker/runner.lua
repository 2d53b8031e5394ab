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

-- Notes what the handler says of its task, and gives it back, so that
-- `return task:snooze(10)` reads well.
local function say(task, kind, fields)
    local outcome = { kind, fields }
    task._outcome = outcome
    return outcome
end

local function span_of(span, what)
    local ms, err = core.span_ms(span, what)
    return ms or error(err, 3)
end

local function check_why(why)
    if why ~= nil and type(why) ~= "string" then
        error("why must be a string, not " .. type(why), 3)
    end
end

-- Not now: run again after the span; burns no attempt.
function task_methods:snooze(span)
    return say(self, "snooze", { delay_ms = span_of(span, "snooze") })
end

-- Failed: run again after a span of its own instead of the policy's.
function task_methods:retry(span, why)
    check_why(why)
    return say(self, "retry", {
        delay_ms = span_of(span, "retry"),
        error_type = "Error",
        error_message = why or "retry later",
    })
end

-- Failed for good: to the archive at once.
function task_methods:skip_retry(why)
    check_why(why)
    return say(self, "fatal", {
        error_type = "SkipRetry",
        error_message = why or "skipped its retries",
    })
end

-- Nothing to do: dropped, neither done nor failed.
function task_methods:discard()
    return say(self, "discard")
end

-- Why it has to stop: nginx stops a handler that waits, so this is for those
-- that compute for long.
function task_methods:cancelled()
    local entry = self._entry
    if entry.lost then
        return "lease lost"
    end
    ngx.update_time()
    if entry.timeout_at and ngx.now() >= entry.timeout_at then
        return entry.timeout_is
    end
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
    local message, error_type = err, "LuaError"
    if type(err) == "table" then
        if type(err.message) == "string" then
            message = err.message
        end
        if type(err.type) == "string" then
            error_type = err.type
        end
        local meta = getmetatable(err)
        if message == err and not (meta and meta.__tostring) then
            message = json_encode(err) or tostring(err)
        end
    end
    message = tostring(message)
    return { type = error_type, message = message, trace = traceback(message, 2) }
end

local function outcome_of(task, ran, value, why, error_type)
    if not ran then
        return failure(value.type, value.message, value.trace)
    end
    local said = rawget(task, "_outcome")
    if said and (value == nil or value == said) then
        return said[1], said[2]
    end
    if not value and why ~= nil then
        return failure(type(error_type) == "string" and error_type or "Error", why)
    end
    if value == nil then
        return "done"
    end
    local text, err = json_encode(value)
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
        entry.timeout_is = "timeout"
        entry.timeout_why = "the timeout of " .. task.timeout .. " s is over"
    end
    local deadline_at = task.deadline and task.deadline - state.offset_ms / 1000
    if deadline_at and deadline_at < (entry.timeout_at or math.huge) then
        entry.timeout_at = deadline_at
        entry.timeout_is = "deadline"
        entry.timeout_why = "its deadline has passed"
    end
    if entry.timeout_at then
        state:wake("main_wake")
    end
    -- xpcall also around what finds the handler: its module may not load
    local fine, kind, fields = xpcall(call, on_error, state,
        setmetatable(task, task_mt))
    if not fine then
        kind, fields = failure(kind.type, kind.message, kind.trace)
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
