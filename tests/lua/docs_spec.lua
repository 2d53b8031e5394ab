-- What docs/lua.md shows is run: files are written, programs run, the worker
-- works until nothing is left; other Lua must compile.
local reeve = require "reeve"
local util = require "support.util"

local root = util.tests .. "/.."
local file = assert(io.open(root .. "/docs/lua.md"))
local page = file:read "*a"
file:close()

local function write(path, text)
  local out = assert(io.open(path, "w"))
  assert(out:write(text))
  out:close()
end

describe("docs/lua.md", function()
  it("has Lua that compiles", function()
    local count = 0
    for code in page:gmatch "```lua[^\n]*\n(.-)```" do
      assert((loadstring or load)(code))
      count = count + 1
    end
    assert.is_true(count >= 3)
  end)

  it("names every option and every method", function()
    local core = require "reeve.core"
    for word in page:gmatch "`([a-z_]+)`%*" do assert.is_true(core.is_task_option(word), word) end
    for _, name in ipairs { "client", "inspector" } do
      local object = assert(core[name] { url = util.memory_url() })
      for method in pairs(getmetatable(object).__index) do
        local said = page:find((name == "client" and "app" or name) .. ":" .. method, 1, true)
        assert.is_truthy(said, method)
      end
    end
  end)

  it("works as it says", function()
    local url, remove, folder = util.file_url()
    finally(remove)
    local prefix = ("cd '%s' && REEVE_URL='%s' "):format(folder, url)
    for name, code in page:gmatch "```lua file=(%S+)\n(.-)```" do
      write(folder .. "/" .. name, code)
    end
    for code in page:gmatch "```lua run\n(.-)```" do
      write(folder .. "/run.lua", code)
      assert(os.execute(prefix .. util.interpreter .. " run.lua > run.log 2>&1"))
    end
    local app = assert(reeve.new { url = url })
    assert.equal(2, util.queue(app, "mail").pending)
    assert.equal(1, util.queue(app, "mail").scheduled)
    -- --foreground: else timeout hands on the signal twice, and the second is one too many
    local start = prefix .. "exec timeout --foreground -k 5 60 " .. util.interpreter .. " " .. root
      .. "/bin/reeve-lua worker mail.lua --concurrency 1 > worker.log 2>&1"
    write(folder .. "/start.sh", start)
    local pipe = assert(io.popen("sh '" .. folder .. "/start.sh' & echo $!; wait $!; echo \"exit $?\""))
    local pid = pipe:read "*l"
    while util.queue(app, "mail").done_total < 2 do reeve.sleep(0.02) end
    os.execute("kill -TERM " .. pid)
    assert.equal("exit 0", pipe:read "*l")
    pipe:close()
    app:close()
  end)
end)
