-- A worker for worker_spec.lua: the broker's URL, then options of app:run as a
-- Lua table. Prints its counters as JSON at the end.
local reeve = require "reeve"

local app = assert(reeve.new { url = arg[1] })
local options = assert((loadstring or load)("return " .. (arg[2] or "{}")))()

local function task(name, handler)
  assert(app:task(name, { queue = "q", max_retries = 0, retention = 60 }, handler))
end

task("echo", function(t) return t.payload end)
task("fields", function(t)
  return {
    id = t.id, type = t.type, queue = t.queue, attempt = t.attempt, token = t.token,
    priority = t.priority, max_retries = t.max_retries, timeout = t.timeout,
    headers = t.headers, body = t.body, enqueued = t.enqueued_at ~= nil, nothing = t.nothing,
    cancelled = t:cancelled(),
  }
end)
task("nothing", function() end)
task("no", function() return false end)
task("why", function() return nil, "no such user", "UserError" end)
task("refused", function() return false, "refused" end)
task("raise", function() error "boom" end)
task("raise_table", function() error { type = "Busy", message = "come back" } end)
task("raise_object", function()
  error(setmetatable({}, { __tostring = function() return "an object" end }))
end)
task("raise_nil", function() error() end)
task("raise_in_tostring", function()
  error(setmetatable({}, { __tostring = function() error "no text" end }))
end)
task("deep", function() local function f() return 1 + f() end return f() end)
task("exit", function() os.exit(3) end)
task("bad_result", function() return { f = print } end)
task("yield", function() coroutine.yield() end)
task("not_json", function(t) return t.payload end)
task("snooze", function(t)
  if not rawget(_G, "snoozed") then
    rawset(_G, "snoozed", true)
    return t:snooze(0.05)
  end
  return { attempt = t.attempt }
end)
task("said", function(t) t:snooze(60) end)
task("unsaid", function(t) t:snooze(60) return { done = true } end)
task("bad_snooze", function(t) return t:snooze(-1) end)
assert(app:task("later", { queue = "q", max_retries = 3 }, function(t)
  return t:retry("1h", "busy")
end))
assert(app:task("skip", { queue = "q", max_retries = 9 }, function(t) return t:skip_retry "bad" end))
assert(app:task("discard", { queue = "q", retention = 60 }, function(t) return t:discard() end))
assert(app:task("raise_after", { queue = "q", max_retries = 0 }, function(t)
  t:discard()
  error "after all"
end))
task("keep", function(t)
  rawset(_G, "kept", t)
  return t.id
end)
task("stale", function()
  local kept = rawget(_G, "kept")
  local ok, message = pcall(function() return kept.payload end)
  local _, unread = pcall(function() return kept.queue end)
  local said, why = pcall(kept.snooze, kept, 1)
  return { ok = ok, message = message, said = said, why = why, id = kept.id,
    unread = unread, method = type(kept.snooze) }
end)
task("token", function(t) return t.token end)
-- Enqueues, waits until as many states have as payload.states says, and gives how
-- many handles of the database are open then.
task("meet", function(t)
  assert(app:enqueue("echo", {}))
  local file = assert(io.open(t.payload.path, "a"))
  file:write "here\n"
  file:close()
  repeat
    reeve.sleep(0.002)
    local count = 0
    for _ in io.lines(t.payload.path) do count = count + 1 end
  until count >= t.payload.states
  local pipe = assert(io.popen("ls -l /proc/$PPID/fd | grep -c 'reeve.db$'"))
  local handles = tonumber((pipe:read "*a"))
  pipe:close()
  return handles
end)
task("enqueue", function(t) return assert(app:enqueue("echo", { from = t.id })) end)
task("coroutines", function()
  local gen = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
  local first, second = gen(1), gen(21)
  local ok, message = pcall(coroutine.wrap(function() error "inside" end))
  local good, e = coroutine.resume(coroutine.create(function() error("resumed", 0) end))
  return { first, second, ok, message:match "inside", good, e }
end)

-- What does not end by itself; timeout says when.
local function endless(name, handler)
  assert(app:task(name, { queue = "q", max_retries = 0, timeout = 0.1 }, handler))
end
endless("loop", function() local n = 0 while true do n = n + #tostring(n) end end)
endless("stubborn", function()
  while true do pcall(function() local n = 0 while true do n = n + #tostring(n) end end) end
end)
endless("in_coroutine", function()
  local function spin() local n = 0 while true do n = n + #tostring(n) end end
  coroutine.wrap(function() coroutine.wrap(spin)() end)()
end)
endless("many_coroutines", function()
  while true do
    coroutine.resume(coroutine.create(function() local n = 0 for i = 1, 1000 do n = n + #tostring(i) end end))
  end
end)
endless("hooked", function()
  local n = 0
  debug.sethook(function() n = n + 1 end, "", 100)
  while true do n = n + #tostring(n) end
end)
task("unhooked", function()
  local hook, mask, count = debug.gethook() -- LuaJIT remembers the function
  return hook == nil or (mask == "" and count == 0)
end)
endless("napping", function() while reeve.sleep(30) do end end)
endless("polling", function(t) while not t:cancelled() do reeve.sleep(0.005) end end)
endless("cleaning", function(t)
  pcall(function() local n = 0 while true do n = n + #tostring(n) end end)
  assert(app:enqueue("echo", { cleaned = t:cancelled() }))
end)
assert(app:task("hog", { queue = "q", max_retries = 0 }, function()
  local kept = {}
  for i = 1, 1e9 do kept[i] = ("x"):rep(1000) .. i end
  return #kept
end))

task("stuck", function() os.execute "exec sleep 8 >/dev/null 2>&1" end)

-- The last task of a test. The worker is this process; the shell's parent.
assert(app:task("stop", { queue = "q", priority = 0 }, function() os.execute "kill -TERM $PPID" end))

local stats, message, code = app:run(options)
print(reeve.encode { stats = stats or nil, message = message, code = code })
