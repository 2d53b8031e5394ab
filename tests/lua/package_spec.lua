-- The module and what is installed around it.
local util = require "support.util"

local root = util.tests .. "/.."

local function output_of(line)
  local pipe = assert(io.popen(line .. " 2>&1"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

local function module_path()
  for template in package.cpath:gmatch "[^;]+" do
    local path = template:gsub("%?", "reeve/core")
    local file = io.open(path)
    if file then
      file:close()
      return path
    end
  end
  error "reeve/core.so is not on package.cpath"
end

describe("reeve.core", function()
  it("shows nothing but its entry and links no Lua", function()
    local names = {}
    for name in output_of("nm -D --defined-only '" .. module_path() .. "'"):gmatch "%x+ %a (%S+)" do
      -- Sanitized builds add names of their own.
      if not name:find "^_*[ast]san" and not name:find "^__" then names[#names + 1] = name end
    end
    assert.same({ "luaopen_reeve_core" }, names)
    assert.is_nil(output_of("ldd '" .. module_path() .. "'"):find "liblua")
  end)

  it("says so when it and the Lua files do not fit", function()
    local core = require "reeve.core"
    local fake = setmetatable({ ABI = core.ABI + 1 }, { __index = core })
    local loaded = package.loaded["reeve.core"]
    package.loaded["reeve.core"] = fake
    finally(function() package.loaded["reeve.core"] = loaded end)
    local ok, message = pcall(assert((loadfile(root .. "/lua/reeve.lua"))))
    assert.is_false(ok)
    assert.matches("both must be of one installation; restart the program", message)
  end)

  it("does nothing when it is loaded", function()
    local before = output_of "ls /proc/$PPID/task | wc -l; ls /proc/$PPID/fd | wc -l"
    package.loaded["reeve.core"] = nil
    require "reeve.core"
    assert.equal(before, output_of "ls /proc/$PPID/task | wc -l; ls /proc/$PPID/fd | wc -l")
  end)
end)

describe("the rockspec", function()
  local rock = {}
  local chunk = assert(loadfile(root .. "/lua/reeve-0.1.0-1.rockspec", "t", rock))
  if setfenv then setfenv(chunk, rock) end -- luacheck: ignore 113
  chunk()

  it("is of the module's version", function()
    assert.equal(require("reeve").VERSION .. "-1", rock.version)
  end)

  it("installs every Lua file", function()
    local listed = {}
    for _, path in pairs(rock.build.install.lua) do listed[#listed + 1] = path end
    table.sort(listed)
    local there = {}
    for path in output_of("cd '" .. root .. "' && find lua -name '*.lua'"):gmatch "[^\n]+" do
      there[#there + 1] = path
    end
    table.sort(there)
    assert.same(there, listed)
    for name, path in pairs(rock.build.install.lua) do
      assert.equal("lua/" .. name:gsub("%.", "/") .. ".lua", path)
    end
  end)
end)

describe("reeve-lua", function()
  local function run(words)
    local line = util.interpreter .. " " .. root .. "/bin/reeve-lua " .. words .. " 2>&1; echo \"exit $?\""
    return output_of("sh -c '" .. line .. "'")
  end

  it("helps and says its version", function()
    for _, words in ipairs { "help", "--help", "-h", "worker -h", "dev --help", "worker x.lua --url u -h" } do
      assert.matches("^reeve%-lua worker SCRIPT.*exit 0\n$", run(words))
    end
    for _, words in ipairs { "version", "--version" } do
      assert.equal(require("reeve").VERSION .. "\nexit 0\n", run(words))
    end
  end)

  it("names what is wrong", function()
    local cases = {
      { "", "no command; see reeve-lua help" }, { "wrk", "no command wrk" },
      { "worker", "worker needs a script" }, { "worker x.lua --speed 9", "no option --speed" },
      { "worker --bogus x.lua", "no option --bogus;" }, { "worker -x", "no option -x;" },
      { "worker --bogus=1 x.lua", "no option --bogus;" },
      { "dev --queues a=2 --url mem://x", "dev needs a script" },
      { "worker x.lua y.lua", "one script, not x.lua and y.lua; the script" },
      { "worker --url --id w x.lua", "--url needs a value" },
      { "worker x.lua --url", "--url needs a value" },
      { "worker x.lua --concurrency many", "--concurrency: 'many' is no number" },
      { "worker x.lua --queues a=b", "--queues: cannot read 'a=b'" },
      { "worker /nowhere.lua", "nowhere.lua" },
    }
    for _, case in ipairs(cases) do
      local text = run((case[1]:gsub("'", "")))
      assert.is_truthy(text:find(case[2], 1, true), text)
      assert.matches("exit 2\n$", text)
    end
  end)
end)
