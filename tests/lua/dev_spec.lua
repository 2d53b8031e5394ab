-- reeve-lua dev: a changed file is a new start, a broken one waits for the next
-- change.
local reeve = require "reeve"
local util = require "support.util"

local SCRIPT = [[
local reeve = require "reeve"
local app = assert(reeve.new { url = arg[1] })
app:task("say", { queue = "q" }, function() return require "words" end)
app:run { concurrency = 1 }
]]

local function write(path, text)
  local out = assert(io.open(path, "w"))
  assert(out:write(text))
  out:close()
end

describe("reeve-lua dev", function()
  it("starts again when the script or a module changes", function()
    local url, remove, folder = util.file_url()
    finally(remove)
    local app = assert(reeve.new { url = url })
    write(folder .. "/script.lua", "require 'words'\n" .. SCRIPT)
    write(folder .. "/words.lua", "return 'one'")
    local start = "cd '%s' && LUA_PATH='./?.lua;%s' exec timeout --foreground -k 5 60 %s"
      .. " %s/../bin/reeve-lua dev script.lua -- '%s' >log 2>&1"
    write(folder .. "/start.sh", start:format(folder, package.path, util.interpreter, util.tests, url))
    local pipe = assert(io.popen("sh '" .. folder .. "/start.sh' & echo $!; wait $!; echo \"exit $?\""))
    local pid = pipe:read "*l"

    --- What the worker that runs now answers; the one before has stopped.
    local function answer()
      local info = assert(app:enqueue("say", nil, { queue = "q", retention = 60 }))
      while true do
        local task = assert(app:inspector():find("q", info.id))
        if task.state == "completed" then return task.result end
        reeve.sleep(0.02)
      end
    end

    --- Waits for a line of the log that was not there before.
    local function wait_log(pattern, count)
      while true do
        local file = assert(io.open(folder .. "/log"))
        local _, found = file:read("*a"):gsub(pattern, "")
        file:close()
        if found >= count then return end
        reeve.sleep(0.02)
      end
    end

    assert.equal("one", answer())
    write(folder .. "/words.lua", "return 'two'")
    wait_log("starting again", 1)
    assert.equal("two", answer())
    write(folder .. "/script.lua", "this is no Lua")
    wait_log("script.lua:1:", 1)
    write(folder .. "/script.lua", "require 'words'\n" .. SCRIPT)
    wait_log("starting again", 3)
    assert.equal("two", answer())

    os.execute("kill -TERM " .. pid)
    assert.equal("exit 0", pipe:read "*l")
    pipe:close()
    app:close()
  end)
end)

describe("reeve-lua worker", function()
  --- Runs the worker of worker_spec.lua with one task and words before `--`,
  -- others before the script.
  local function run(words, first)
    local url, remove = util.file_url()
    finally(remove)
    local app = assert(reeve.new { url = url })
    assert(app:enqueue("token", nil, { queue = "q", max_retries = 0, retention = 60 }))
    assert(app:enqueue("stop", nil, { queue = "q", priority = 0, retention = 60 }))
    local line = "timeout -k 5 60 %s %s/../bin/reeve-lua worker %s %s/lua/scripts/worker.lua --url %s %s -- %s 2>&1"
    line = line:format(util.interpreter, util.tests, first or "", util.tests, url, words, url)
    local pipe = assert(io.popen(line .. '; echo "exit $?"'))
    local output = pipe:read "*a"
    pipe:close()
    local done = util.by_type(app, "q", "completed")
    app:close()
    return output, done
  end

  it("takes prefetch", function()
    for _, value in ipairs { "auto", "none", "3" } do
      local output, done = run("--concurrency 1 --prefetch " .. value)
      assert.matches("exit 0\n$", output)
      assert.is_table(done.token, output)
    end
  end)

  it("takes options on either side of the script", function()
    local output, done = run("--prefetch 1", "--concurrency 1 --queues q=2 --lease=30")
    assert.matches("exit 0\n$", output)
    assert.is_table(done.token, output)
    output = run("", "--concurrency 0")
    assert.matches("concurrency is 0", output)
    assert.matches("exit 2\n$", output)
  end)

  it("refuses a prefetch that is none", function()
    for _, value in ipairs { "many", "0", "1001", "false" } do
      local output = run("--prefetch=" .. value)
      assert.is_truthy(output:find("prefetch is " .. value .. '; it must be "auto", false or', 1, true), output)
      assert.matches("exit 2\n$", output)
    end
  end)
end)
