--- The Lua half of a worker's state: loads the script, runs its handlers.
-- Called by reeve.core alone, in states that it made.
local core = require "reeve.core"
local child = core.child

local runner = {}

-- Outcomes, as enum reeve_outcome_kind counts them.
local DONE, RETRY, FATAL, DISCARD, SNOOZE = 0, 1, 2, 3, 4

local said -- what a task said of itself: { kind, delay_ms, type, message }

local methods = {}

local function say(task, kind, delay_ms, error_type, message)
  if not child.is_running(task) then error("the task is over", 3) end
  if message ~= nil and type(message) ~= "string" then
    error("why must be a string, not " .. type(message), 3)
  end
  said = { kind, delay_ms, error_type, message }
  child.has_said()
  return said
end

--- Not now: run again after the span; burns no attempt.
function methods:snooze(span)
  return say(self, SNOOZE, child.span_ms(span, "snooze"))
end

--- Failed: run again after a span of its own instead of the policy's.
function methods:retry(span, why)
  return say(self, RETRY, child.span_ms(span, "retry"), "Error",
    why or "retry later")
end

--- Failed for good: to the archive at once.
function methods:skip_retry(why)
  return say(self, FATAL, 0, "SkipRetry", why or "skipped its retries")
end

--- Nothing to do: dropped, neither done nor failed.
function methods:discard()
  return say(self, DISCARD, 0)
end

--- Why the task has to stop ("timeout", "deadline", "lease lost", "stop");
-- nil while it may go on.
function methods:cancelled()
  if not child.is_running(self) then error("the task is over", 2) end
  return child.cancel_reason()
end

--- os.exit would end all other tasks, too.
local function no_exit()
  error("os.exit is not available in a worker's state; return nil and a "
    .. "reason instead", 2)
end

--- coroutine.wrap on top of the resume that keeps track.
local function make_wrap(resume)
  local create, status = coroutine.create, coroutine.status
  local close = coroutine.close
  return function(f)
    local co = create(f)
    local function finish(ok, ...)
      if ok then return ... end
      if close and status(co) == "dead" then close(co) end
      error((...), 0)
    end
    return function(...) return finish(resume(co, ...)) end
  end
end

--- LuaJIT's hooks belong to the whole state; others' to one coroutine.
local function track_coroutines()
  if rawget(_G, "jit") then return end
  coroutine.resume = child.track(coroutine.resume)
  coroutine.wrap = make_wrap(coroutine.resume)
end

local failure = {} -- of the handler that runs: type, message, trace

local function on_error(err)
  local message, error_type = err, "LuaError"
  if type(err) == "table" then
    local meta = getmetatable(err)
    if type(err.message) == "string" then message = err.message end
    if type(err.type) == "string" then error_type = err.type end
    if message == err and not (meta and meta.__tostring) then
      message = core.json_encode(err) or tostring(err)
    end
  end
  message = tostring(message)
  failure.type, failure.message = error_type, message
  local trace = debug.traceback(message, 2)
  -- Below the handler there is only what called it.
  failure.trace = trace:match("^(.*)\n%s*%[C%]: [^\n]*$") or trace
  return err
end

--- What a handler returned or raised, as kind, delay_ms, value, type, message,
-- trace. It is not asked about one that returned nothing and said nothing.
local function judge(ok, has_said, value, why, error_type)
  if not ok then
    -- Without memory or stack on_error was not called, or failed itself.
    local message = failure.message or tostring(value)
    local kind = failure.type or message == "not enough memory"
      and "MemoryError" or "LuaError"
    local trace = failure.trace
    failure.type, failure.message, failure.trace = nil, nil, nil
    return RETRY, 0, nil, kind, message, trace
  end
  if has_said and (value == nil or value == said) then
    return said[1], said[2], nil, said[3], said[4]
  end
  if not value and why ~= nil then
    return RETRY, 0, nil, type(error_type) == "string" and error_type
      or "Error", tostring(why)
  end
  return DONE, 0, value
end

local function load_script(script)
  local chunk, message = loadfile(script)
  if not chunk then error(message, 0) end
  local stop = require "reeve"._STOP
  local args = rawget(_G, "arg")
  local ok, err = xpcall(function()
    return chunk((table.unpack or unpack)(args))
  end, function(err)
    if err == stop then return err end
    return debug.traceback(tostring(err), 2)
  end)
  if not ok and err ~= stop then error(err, 0) end
end

--- Loads the script and gives what runs a task: the handlers by type, the message
-- handler, the judge. The broker is the one that the worker uses, should a command
-- line have named another.
function runner.load(script, number, url, prefix)
  track_coroutines()
  os.exit = no_exit
  load_script(script)
  local app = require "reeve"._apps[number]
  if not app then
    error(("%s made %d apps here but at least %d where it was started")
      :format(script, #require "reeve"._apps, number), 0)
  end
  app._options.url, app._options.prefix = url, prefix
  local handlers = {}
  for name, task in pairs(app._tasks) do handlers[name] = task.handler end
  child.set_methods(methods)
  return handlers, on_error, judge
end

return runner
