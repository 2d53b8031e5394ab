-- What a task costs in Lua, for tests/bench/check.py: check_cost.lua CASE COUNT
--   enqueue   app:enqueue, one task a call, into memory
--   many      app:enqueue_many, 32 tasks a call, into memory
--   encode    what nginx does before it sends one task: checks, message, command
local core = require "reeve.core"
local reeve = require "reeve"

local case, count = arg[1], tonumber(arg[2])
local BATCH = 32
local payload = { text = ("x"):rep(180), n = 1 }

local function open()
  local app = assert(reeve.new { url = "mem://check" })
  assert(app:task("noop", function() end))
  return app
end

local run = {
  enqueue = function()
    local app = open()
    for _ = 1, count do assert(app:enqueue("noop", payload)) end
  end,
  many = function()
    local app, items = open(), {}
    for i = 1, BATCH do items[i] = { "noop", payload } end
    for _ = 1, count / BATCH do assert(app:enqueue_many(items)) end
  end,
  encode = function()
    local protocol = assert(core.protocol {})
    for _ = 1, count do
      assert(protocol:submit_task("noop", payload))
      assert(protocol:reset())
    end
  end,
}
run[case]()
