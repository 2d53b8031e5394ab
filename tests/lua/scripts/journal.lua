-- The worker of the proofs in Lua: the options and the journal of
-- tests/e2e/e2e_worker.c, in whose place it stands.
local reeve = require "reeve"

local given = {}
for i = 1, #arg, 2 do given[arg[i]:gsub("^%-%-", "")] = arg[i + 1] end
local function number(name) return given[name] and tonumber(given[name]) end
local function seconds(name, unit) return number(name) and number(name) / unit end

local id = given.id or reeve.new_id()
local journal = reeve.in_worker and assert(io.open(given.journal, "a"))
local uptime = reeve.in_worker and assert(io.open "/proc/uptime")

--- Monotonic time in nanoseconds, to 10 ms.
local function mono()
  uptime:seek "set"
  return ("%.0f"):format(uptime:read "*n" * 1e9)
end

--- One line in one write: it is there or it is not, whatever kills us.
local function note(what, task)
  journal:write(("%s %s %.0f %s %d %s %d000 %s\n"):format(what, task.id, task.token, given.id or "lua",
    task.attempt, mono(), os.time(), task.queue))
  journal:flush()
end

local app = assert(reeve.new { url = given.url })
if reeve.in_worker then uptime:setvbuf "no" end
math.randomseed(tonumber(reeve.new_id():sub(-8), 16))

assert(app:task("e2e", function(task)
  note("S", task)
  local work = (seconds("work-us", 1e6) or 0) + math.random() * (seconds("work-max-us", 1e6) or 0)
  if work > 0 then reeve.sleep(work) end
  note(task:cancelled() and "C" or "E", task)
  if task.attempt == 1 and math.random(100) <= (number "fail-percent" or 0) then
    return nil, "fails now and then"
  end
  return { worker = given.id }
end))

local queues = {}
for queue in (given.queues or "default"):gmatch "[^,]+" do queues[#queues + 1] = queue end
local stats, message = app:run {
  queues = queues, id = id, concurrency = number "concurrency", lease = seconds("lease-ms", 1e3),
  on_start = function() print "ready" io.stdout:flush() end,
  settle_count = number "settle-count", grace = seconds("grace-ms", 1e3),
}
if not stats then error(message) end
print(reeve.encode(stats))
