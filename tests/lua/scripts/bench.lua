-- The Lua side of tests/bench/lua_bench.py: bench.lua URL MODE NUMBER [NUMBER]
--   one COUNT          enqueues one task a call
--   many COUNT BATCH   enqueues batches
--   work COUNT THREADS runs what is there with a handler that does nothing
-- Prints seconds and CPU seconds.
local reeve = require "reeve"

local url, mode, count, size = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local app = assert(reeve.new { url = url, timeout = 30 })
local payload = { text = ("x"):rep(180), n = 1 }

assert(app:task("noop", function() end))
assert(app:task("last", function() os.execute "kill -TERM $PPID" end))

local function report(start, cpu)
  print(("%.6f %.6f"):format(app:now() - start, os.clock() - cpu))
end

if mode == "work" then
  -- The states load this script, too.
  if not reeve.in_worker then assert(app:enqueue("last", nil, { priority = 0 })) end
  local start, cpu
  local stats = assert(app:run {
    concurrency = size,
    on_start = function() start, cpu = app:now(), os.clock() end,
  })
  assert(stats.done > count, "not every task was run")
  report(start, cpu)
elseif mode == "many" then
  local items = {}
  for i = 1, size do items[i] = { "noop", payload } end
  local start, cpu = app:now(), os.clock()
  for _ = 1, count / size do assert(app:enqueue_many(items)) end
  report(start, cpu)
else
  local start, cpu = app:now(), os.clock()
  for _ = 1, count do assert(app:enqueue("noop", payload)) end
  report(start, cpu)
end
