-- reeve from Lua 5.4, by the contract of tests/bench/README.md.
local reeve = require "reeve"
local slots = require "bench_slots"

local given = { batch = "1", payload = "200", concurrency = "1", processes = "1",
  ["delay-ms"] = "0", ["spread-ms"] = "0", rate = "0" }
for i = 2, #arg, 2 do given[arg[i]:sub(3)] = assert(arg[i + 1], arg[i] .. " lacks its value") end

local function number(name) return assert(math.tointeger(tonumber(given[name]))) end

if arg[1] == "versions" then
  print(reeve.encode {
    name = "reeve-lua", version = reeve.VERSION, runtime = _VERSION,
    settings = { default = { handlers = "as they are" }, best = { handlers = "as they are" } },
    notes = "All guarantees: at least once, leases of 30 s with fencing.",
    handlers = { "noop", "sleep", "cpu", "stamp", "hold" },
  })
  return
end

local app = assert(reeve.new { url = given.url, timeout = 30 })

app:task("noop", function() slots.hit() end)
app:task("sleep", function() slots.hit() reeve.sleep(0.001) end)
app:task("cpu", function() slots.hit() slots.burn() end)
app:task("stamp", function(task) slots.stamp(task.payload.t) slots.hit() end)
app:task("hold", function(task)
  slots.stamp(task.payload.t)
  slots.hit()
  reeve.sleep(60)
end)

local function work()
  assert(app:run {
    concurrency = number "concurrency" * number "processes", -- threads serve for both
    on_start = function()
      print "ready"
      io.stdout:flush()
    end,
  })
end

local pad = ("x"):rep(number "payload")
local timed = given.handler == "stamp" or given.handler == "hold"

local function payload_of(i, delay_ms)
  local left = #pad - #'{"n":,"pad":""}' - #tostring(i)
  if not timed then return { n = i, pad = pad:sub(1, left) } end
  local t = slots.now() + delay_ms * 1000000
  return { n = i, pad = pad:sub(1, math.max(left - #',"t":' - #tostring(t), 0)), t = t }
end

local function produce()
  local count, batch, rate = number "count", number "batch", tonumber(given.rate)
  local delay, spread = number "delay-ms", number "spread-ms"
  local handler, delayed = given.handler, delay + spread > 0
  local function item(i)
    local due = delay + i * spread // count
    return payload_of(i, due), delayed and { delay = due / 1000 } or nil
  end
  assert(app:now()) -- connected before the loop
  local start, cpu = slots.now(), slots.cpu()
  for first = 0, count - 1, batch do
    if rate > 0 then
      reeve.sleep(math.max((start - slots.now()) / 1e9 + first / rate, 0))
    end
    if batch == 1 then
      assert(app:enqueue(handler, item(first)))
    else
      local items = {}
      for i = first, math.min(first + batch, count) - 1 do
        items[#items + 1] = { handler, item(i) }
      end
      assert(app:enqueue_many(items))
    end
  end
  print(('{"count":%d,"wall_s":%.6f,"cpu_s":%.6f}'):format(count, (slots.now() - start) / 1e9,
    (slots.cpu() - cpu) / 1e9))
end

if arg[1] == "work" then work() else produce() end
