local bad = require "support.bad_input"
local core = require "reeve.core"
local reeve = require "reeve"
local util = require "support.util"

local HUGE = math.huge

describe("reeve.new", function()
  it("opens nothing", function()
    local app = assert(reeve.new { url = "redis://127.0.0.1:1" })
    assert.is_table(app)
    local info, message, code = app:enqueue("a")
    assert.is_nil(info)
    assert.matches("127.0.0.1:1", message)
    assert.equal("network", code)
  end)

  it("names an unknown option, a wrong value, a wrong scheme", function()
    local app, message, code = reeve.new { ulr = "x" }
    assert.is_nil(app)
    assert.equal("reeve.new has no option 'ulr'; did you mean 'url'?", message)
    assert.equal("usage", code)
    app, message, code = reeve.new { timeout = "soon" }
    assert.is_nil(app)
    assert.matches("timeout is 'soon'", message)
    assert.equal("invalid", code)
    app, message, code = reeve.new { url = "foo://x" }
    assert.is_nil(app)
    assert.matches("foo://", message, 1, true)
    assert.equal("invalid", code)
    app, message, code = reeve.new { url = "redis+sentinel://x/main" }
    assert.is_nil(app)
    assert.matches("not in this version", message, 1, true)
    assert.equal("unsupported", code)
    app, message = reeve.new { url = false }
    assert.is_nil(app)
    assert.equal("url must be a string, not boolean", message)
  end)

  it("raises for a wrong type of argument only", function()
    assert.error_matches(function() reeve.new(5) end, "options must be a table, not number")
    local app = assert(reeve.new { url = util.memory_url() })
    assert.error_matches(function() app:enqueue(5) end, "type must be a string, not number")
    assert.error_matches(function() app:enqueue("a", {}, 5) end,
      "options must be a table, not number")
    assert.error_matches(function() app:task("a", 5) end, "options must be a table, not number")
    assert.error_matches(function() app:task("a", {}, 5) end,
      "handler must be a function, not number")
    assert.error_matches(function() app:enqueue_many { 5 } end, "item 1 must be a table")
    assert.error_matches(function() app:enqueue_many { { 5 } } end,
      "type of item 1 must be a string")
  end)
end)

describe("enqueue", function()
  local app
  before_each(function() app = assert(reeve.new { url = util.memory_url() }) end)
  after_each(function() app:close() end)

  local function stored(info)
    return assert(app:inspector():find("default", info.id))
  end

  it("gives id, state and due time", function()
    local info = assert(app:enqueue("email:send", { to = "a@b.c" }))
    assert.equal(36, #info.id)
    assert.equal("pending", info.state)
    assert.is_nil(info.due_at)
    assert.is_false(info.existing)
    info = assert(app:enqueue("email:send", {}, { delay = "1m" }))
    assert.equal("scheduled", info.state)
    assert.near(app:now() + 60, info.due_at, 5)
  end)

  it("stores every option", function()
    local at = math.floor(app:now()) + 1000
    local task = stored(assert(app:enqueue("t", { n = 1 }, {
      priority = 0, id = "my-id", at = at, timeout = 30, deadline = at + 60, lease = 60,
      retention = "forever", max_crashes = HUGE, headers = { trace = "x", ["é"] = "ü" },
      max_retries = 7, retry = { base = "2s", cap = "1m", factor = 3, jitter = "none" },
      idempotency_key = "key", idempotency_ttl = 10,
    })))
    assert.equal("my-id", task.id)
    assert.equal("scheduled", task.state)
    assert.equal(0, task.priority)
    assert.equal(7, task.max_retries)
    assert.equal(at, task.due_at)
    assert.same({ trace = "x", ["é"] = "ü" }, task.headers)
    assert.same({ n = 1 }, task.payload)
    assert.equal('{"n":1}', task.body)
  end)

  it("counts retries, so that 0 is one run", function()
    assert.equal(0, stored(assert(app:enqueue("t", {}, { max_retries = 0 }))).max_retries)
    assert.equal(25, stored(assert(app:enqueue("t"))).max_retries)
    assert.is_nil(stored(assert(app:enqueue("t", {}, { max_retries = HUGE }))).max_retries)
    local in_table = assert(app:enqueue("t", {}, { retry = { max_retries = 3 } }))
    assert.equal(3, stored(in_table).max_retries)
    local both = assert(app:enqueue("t", {}, { max_retries = 2, retry = { max_retries = 3 } }))
    assert.equal(2, stored(both).max_retries)
  end)

  it("stores raw bytes as they are", function()
    local bytes = "\0\255\n{not json"
    local task = stored(assert(app:enqueue("t", bytes, { raw = true })))
    assert.equal(bytes, task.body)
    assert.is_nil(task.payload)
    assert.equal('"text"', stored(assert(app:enqueue("t", "text"))).body)
    assert.equal("{}", stored(assert(app:enqueue("t"))).body)
    assert.equal("null", stored(assert(app:enqueue("t", reeve.null))).body)
  end)

  it("knows a repeated idempotency key and a taken id", function()
    local first = assert(app:enqueue("t", {}, { idempotency_key = "k" }))
    local again = assert(app:enqueue("t", {}, { idempotency_key = "k" }))
    assert.equal(first.id, again.id)
    assert.is_true(again.existing)
    assert(app:enqueue("t", {}, { id = "one" }))
    local info, message, code = app:enqueue("t", {}, { id = "one" })
    assert.is_nil(info)
    assert.is_string(message)
    assert.equal("exists", code)
  end)

  it("takes options of the task under those of the call", function()
    assert(app:task("mail", { queue = "mail", max_retries = 5, expires = 60 }))
    local info = assert(app:enqueue("mail", {}, { max_retries = 1 }))
    local task = assert(app:inspector():find("mail", info.id))
    assert.equal(1, task.max_retries)
    -- deadline replaces the task's expires instead of quarrelling with it
    assert(app:enqueue("mail", {}, { deadline = app:now() + 5 }))
  end)

  for i, case in ipairs(bad.options) do
    it(("refuses bad option %d: %s"):format(i, case[2]), function()
      local info, message, code = app:enqueue("t", {}, case[1])
      assert.is_nil(info)
      assert.is_truthy(message:find(case[2], 1, true), message)
      if case[3] then assert.equal(case[3], code) end
      assert.is_truthy(code == "invalid" or code == "usage" or code == "too-big", code)
      assert.same({}, assert(app:inspector():queues()))
    end)
  end

  for i, case in ipairs(bad.payloads) do
    it("refuses bad payload " .. i, function()
      local info, message, code = app:enqueue("t", case[1])
      assert.is_nil(info)
      assert.matches("^payload: ", message)
      assert.is_truthy(message:find(case[2], 1, true), message)
      assert.equal("invalid", code)
    end)
  end

  it("refuses what is too big", function()
    local info, _, code = app:enqueue("t", ("x"):rep(16 * 1024 * 1024 + 1), { raw = true })
    assert.is_nil(info)
    assert.equal("too-big", code)
  end)

  it("refuses bad types", function()
    for _, name in ipairs(bad.types) do
      local info, message, code = app:enqueue(name)
      assert.is_nil(info)
      assert.matches("type", message)
      assert.equal("invalid", code)
    end
  end)
end)

describe("enqueue_many", function()
  local app
  before_each(function() app = assert(reeve.new { url = util.memory_url() }) end)
  after_each(function() app:close() end)

  it("stores all and gives their infos in order", function()
    local items = {}
    for i = 1, 1000 do items[i] = { "t", { n = i }, { id = "id" .. i } } end
    local infos = assert(app:enqueue_many(items))
    assert.equal(1000, #infos)
    assert.equal("id1000", infos[1000].id)
    assert.equal(1000, util.queue(app, "default").pending)
    assert.same({}, assert(app:enqueue_many {}))
  end)

  it("says which were refused", function()
    assert(app:enqueue("t", {}, { id = "b" }))
    local infos, message, code = app:enqueue_many {
      { "t", {}, { id = "a" } }, { "t", {}, { id = "b" } }, { "t", {}, { id = "c" } },
    }
    assert.equal("pending", infos[1].state)
    assert.equal("exists", infos[2].code)
    assert.is_string(infos[2].message)
    assert.is_nil(infos[2].state)
    assert.equal("pending", infos[3].state)
    assert.is_string(message)
    assert.equal("exists", code)
  end)

  it("stores nothing when an item is wrong", function()
    local infos, message, code = app:enqueue_many { { "t" }, { "t", {}, { dely = 1 } } }
    assert.is_nil(infos)
    assert.equal("item 2: enqueue has no option 'dely'; did you mean 'delay'?", message)
    assert.equal("usage", code)
    infos, message, code = app:enqueue_many { { "t" }, { "a b" } }
    assert.is_nil(infos)
    assert.matches("a b", message)
    assert.equal("invalid", code)
    assert.same({}, assert(app:inspector():queues()))
  end)
end)

describe("spans", function()
  local app = assert(reeve.new { url = util.memory_url() })
  for text, seconds in pairs {
    ["90s"] = 90, ["1h30m"] = 5400, ["1.5m"] = 90, ["2 h"] = 7200, ["1d"] = 86400, ["1w"] = 604800,
    ["500ms"] = 0.5,
  } do
    it("reads " .. text, function()
      local info = assert(app:enqueue("t", {}, { delay = text }))
      assert.near(app:now() + seconds, info.due_at, 5)
    end)
  end
end)

describe("ids", function()
  it("grow", function()
    local before = reeve.new_id()
    for _ = 1, 1000 do
      local id = reeve.new_id()
      assert.is_true(id > before)
      before = id
    end
  end)
end)

describe("closing", function()
  it("is final for a client, not for an app", function()
    local client = assert(core.client { url = util.memory_url() })
    assert.is_true(client:close())
    assert.is_true(client:close())
    local info, message, code = client:enqueue("t")
    assert.is_nil(info)
    assert.equal("the client is closed", message)
    assert.equal("usage", code)
    local app = assert(reeve.new { url = util.memory_url() })
    assert(app:enqueue("t"))
    app:close()
    assert(app:enqueue("t"))
  end)

  it("refuses objects of another type", function()
    local client = assert(core.client { url = util.memory_url() })
    assert.error(function() client.enqueue({}, "t") end)
    assert.error(function() client.enqueue(io.stdout, "t") end)
  end)

  if util.is_54 then
    it("happens at the end of a block", function()
      local url, kept = util.memory_url(), nil
      assert(load([[
        local core, url, keep = ...
        local client <close> = assert(core.client { url = url })
        keep(client)
      ]]))(core, url, function(client) kept = client end)
      assert.equal("the client is closed", (select(2, kept:enqueue("t"))))
    end)
  end
end)
