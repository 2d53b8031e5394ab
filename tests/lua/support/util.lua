-- What the specs share: brokers that vanish with the test, scripts that run as
-- a worker does, a look into a queue.
local reeve = require "reeve"

local util = {}

local tests = assert(os.getenv "REEVE_TESTS_DIR", "REEVE_TESTS_DIR is not set")

util.tests = tests
util.interpreter = assert(os.getenv "REEVE_LUA", "REEVE_LUA is not set")
util.is_54 = _VERSION == "Lua 5.4"

local serial = 0

--- A broker in memory, which only this process sees.
function util.memory_url()
  serial = serial + 1
  return ("mem://spec%d"):format(serial)
end

--- A fresh SQLite file, and a function that removes it.
function util.file_url()
  local folder = assert(io.popen "mktemp -d /tmp/reeve-lua-XXXXXX"):read "*l"
    or error "no temporary folder"
  return "sqlite://" .. folder .. "/reeve.db", function()
    assert(os.execute("rm -rf " .. folder))
  end, folder
end

--- Runs a script of tests/lua/scripts; gives what it printed and whether it
-- ended with 0. Its errors go to its output.
function util.run_script(name, ...)
  local words = { util.interpreter, ("%s/lua/scripts/%s.lua"):format(tests, name), ... }
  for i, word in ipairs(words) do words[i] = "'" .. word:gsub("'", "'\\''") .. "'" end
  local line = "timeout -k 5 60 " .. table.concat(words, " ")
  local pipe = assert(io.popen(line .. " 2>&1; echo \"exit $?\""))
  local output = pipe:read "*a"
  pipe:close()
  local text, code = output:match "^(.*)exit (%d+)\n$"
  return text, tonumber(code)
end

--- The tasks of a queue in a state, by type.
function util.by_type(app, queue, state)
  local tasks = assert(assert(app:inspector()):tasks(queue, state, nil, 1000))
  local found = {}
  for _, task in ipairs(tasks) do found[task.type] = task end
  return found, #tasks
end

--- The queue's counters.
function util.queue(app, name)
  for _, queue in ipairs(assert(assert(app:inspector()):queues())) do
    if queue.name == name then return queue end
  end
end

util.reeve = reeve
return util
