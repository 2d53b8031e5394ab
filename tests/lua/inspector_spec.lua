local core = require "reeve.core"
local reeve = require "reeve"
local util = require "support.util"

describe("the inspector", function()
  local app, inspector
  before_each(function()
    app = assert(reeve.new { url = util.memory_url() })
    inspector = assert(app:inspector())
  end)
  after_each(function() app:close() end)

  it("shows queues", function()
    assert.same({}, assert(inspector:queues()))
    assert(app:enqueue("t", {}, { queue = "b" }))
    assert(app:enqueue("t", {}, { queue = "a", delay = 60 }))
    local queues = assert(inspector:queues())
    assert.equal("a", queues[1].name)
    assert.equal(1, queues[1].scheduled)
    assert.equal("b", queues[2].name)
    assert.equal(1, queues[2].pending)
    assert.is_false(queues[2].paused)
    assert.is_nil(queues[2].weight)
    assert.is_number(queues[2].latency)
  end)

  it("shows tasks page by page", function()
    local items = {}
    for i = 1, 25 do items[i] = { "t", { n = i }, { id = "id" .. i } } end
    assert(app:enqueue_many(items))
    local seen, cursor, pages = {}, nil, 0
    repeat
      local tasks
      tasks, cursor = assert(inspector:tasks("default", "pending", cursor, 10))
      for _, task in ipairs(tasks) do seen[#seen + 1] = task.payload.n end
      pages = pages + 1
    until not cursor
    assert.equal(25, #seen)
    for i = 1, 25 do assert.equal(i, seen[i]) end
    assert.is_true(pages >= 3)
  end)

  it("finds one task, or nil alone", function()
    assert(app:enqueue("t", { a = 1 }, { id = "x", headers = { h = "v" } }))
    local task = assert(inspector:find("default", "x"))
    assert.equal("pending", task.state)
    assert.same({ a = 1 }, task.payload)
    assert.same({ h = "v" }, task.headers)
    assert.same({}, task.history)
    local count = select("#", inspector:find("default", "y"))
    assert.equal(1, count)
    assert.is_nil(inspector:find("default", "y"))
  end)

  it("acts on one and on many", function()
    for i = 1, 5 do assert(app:enqueue("t", {}, { id = "id" .. i })) end
    assert.is_true(inspector:act("archive", "default", "id1"))
    assert.equal("archived", inspector:find("default", "id1").state)
    assert.is_true(inspector:act("run", "default", "id1"))
    assert.equal("pending", inspector:find("default", "id1").state)
    assert.is_true(inspector:act("delete", "default", "id1"))
    assert.is_nil(inspector:find("default", "id1"))
    local good, _, code = inspector:act("run", "default", "id1")
    assert.is_nil(good)
    assert.equal("not-found", code)
    good, _, code = inspector:act("run", "default", "id2")
    assert.is_nil(good)
    assert.equal("state", code)
    assert.equal(4, inspector:act_many("archive", "default", "pending"))
    local count, cursor = inspector:act_many("delete", "default", "archived", 2)
    assert.equal(2, count)
    count, cursor = inspector:act_many("delete", "default", "archived", 2, cursor)
    assert.equal(2, count)
    assert.is_nil(cursor)
  end)

  it("edits a payload, as a value and as bytes", function()
    assert(app:enqueue("t", { a = 1 }, { id = "x" }))
    assert.is_true(inspector:edit("default", "x", { a = 2 }))
    assert.same({ a = 2 }, inspector:find("default", "x").payload)
    assert.is_true(inspector:edit("default", "x", "\0raw", true))
    assert.equal("\0raw", inspector:find("default", "x").body)
    local good, message, code = inspector:edit("default", "x", { f = print })
    assert.is_nil(good)
    assert.matches("^payload: ", message)
    assert.equal("invalid", code)
  end)

  it("pauses, weighs, quiets", function()
    assert(app:enqueue("t"))
    assert.is_true(inspector:pause "default")
    assert.is_true(util.queue(app, "default").paused)
    assert.is_true(inspector:resume "default")
    assert.is_false(util.queue(app, "default").paused)
    assert.is_true(inspector:weight("default", 7))
    assert.equal(7, util.queue(app, "default").weight)
    assert.is_true(inspector:weight("default", 0))
    assert.is_nil(util.queue(app, "default").weight)
    assert.is_true(inspector:quiet())
    assert.is_true(inspector:quiet("some-worker", false))
    assert.same({}, assert(inspector:workers()))
    assert.equal(0, inspector:reclaim_worker "nobody")
  end)

  local bad = {
    { "tasks", { "q", "odd" }, "no state 'odd'" },
    { "tasks", { "q", "pending", "x1" }, "'x1' is no cursor" },
    { "tasks", { "q", "pending", "99999999999999999999" }, "is no cursor" },
    { "tasks", { "q", "pending", nil, 0 }, "limit is 0; it must be 1 to 1000" },
    { "tasks", { "q", "pending", nil, 1001 }, "limit is 1001" },
    { "tasks", { "a b", "pending" }, "a b" },
    { "act", { "explode", "q", "x" }, "no action 'explode'; one of run, archive, delete" },
    { "act_many", { "run", "q", "odd" }, "no state 'odd'" },
    { "act_many", { "run", "q", "retry", 501 }, "max is 501; it must be 1 to 500" },
    { "act_many", { "run", "q", "retry", 5, "x" }, "'x' is no cursor" },
    { "weight", { "q", 1001 }, "weight is 1001; it must be 0 to 1000" },
    { "pause", { "" }, "" },
  }
  for i, case in ipairs(bad) do
    it("refuses bad call " .. i .. " of " .. case[1], function()
      local words = case[2]
      local call = inspector[case[1]]
      local good, message, code = call(inspector, words[1], words[2], words[3], words[4], words[5])
      assert.is_nil(good)
      assert.is_truthy(message:find(case[3], 1, true), message)
      assert.equal("invalid", code)
    end)
  end

  it("raises for a wrong type of argument", function()
    assert.error(function() inspector:find({}, "x") end)
    assert.error(function() inspector:tasks "q" end)
    assert.error(function() inspector:weight("q", "heavy") end)
    assert.error(function() inspector.find({}, "q", "x") end)
  end)

  it("shows what a task was enqueued with", function()
    assert(app:enqueue("t", {}, { id = "one", timeout = 9, lease = 5, retention = 60, max_crashes = 7 }))
    local task = assert(inspector:find("default", "one"))
    assert.same({ 9, 5, 60, 7 }, { task.timeout, task.lease, task.retention, task.max_crashes })
    assert.is_nil(task.deadline)
  end)

  it("is closed for good", function()
    local own = assert(core.inspector { url = util.memory_url() })
    assert.is_true(own:close())
    local found, message, code = own:queues()
    assert.is_nil(found)
    assert.equal("the inspector is closed", message)
    assert.equal("usage", code)
  end)

  it("is opened anew by its app", function()
    assert.is_false(inspector:is_closed())
    inspector:close()
    assert.is_true(inspector:is_closed())
    assert.same({}, assert(app:inspector()):queues())
  end)
end)
