-- The Lua side of tests/e2e/test_languages.py: echo.lua URL QUEUE put|work
local reeve = require "reeve"

local url, queue, what = arg[1], arg[2], arg[3]
local app = assert(reeve.new { url = url })
assert(app:task("echo", { queue = queue, retention = "forever" }, function(task)
  return task.payload.value
end))
assert(app:task("raw", { queue = queue, retention = "forever" }, function(task)
  return (task.body:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end))

local function put()
  local file = assert(io.open(os.getenv "REEVE_TESTS_DIR" .. "/vectors/values.json", "rb"))
  local vectors = assert(reeve.decode(file:read "*a"))
  file:close()
  local prefix = rawget(_G, "jit") and "luajit" or "lua"
  for _, vector in ipairs(vectors.values) do
    assert(app:enqueue("echo", { value = vector.json }, { id = prefix .. "." .. vector.name }))
  end
  for _, vector in ipairs(vectors.bytes) do
    local bytes = vector.hex:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end)
    assert(app:enqueue("raw", bytes, { id = prefix .. "." .. vector.name, raw = true }))
  end
end

if what == "put" then
  put()
else
  assert(app:run { concurrency = 2 })
end
