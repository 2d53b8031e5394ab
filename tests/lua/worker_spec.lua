local reeve = require "reeve"
local util = require "support.util"

describe("a worker", function()
  local app, url, remove
  before_each(function()
    url, remove = util.file_url()
    app = assert(reeve.new { url = url })
    -- As in the script: what a task is enqueued with is the producer's to say.
    for _, name in ipairs { "echo", "fields", "nothing", "no", "coroutines", "stale", "keep",
      "unsaid", "token", "meet", "unhooked", "snooze", "enqueue", "said", "bad_snooze" } do
      app:task(name, { queue = "q", max_retries = 0, retention = 60 })
    end
    app:task("discard", { queue = "q", retention = 60 })
  end)
  after_each(function()
    app:close()
    remove()
  end)

  --- Enqueues { type, payload, options }, runs a worker until it has done all
  -- of them, and gives its counters.
  local function run(items, options)
    for _, item in ipairs(items) do
      local all = { queue = "q" }
      if not app._tasks[item[1]] then all.max_retries = 0 end
      for name, value in pairs(item[3] or {}) do all[name] = value end
      assert(app:enqueue(item[1], item[2], all))
    end
    assert(app:enqueue("stop", nil, { queue = "q", priority = 0 }))
    local output, code = util.run_script("worker", url, options or "{ concurrency = 1 }")
    assert.equal(0, code, output)
    local last = output:match "([^\n]*)\n$"
    local report = assert(reeve.decode(last), output)
    return report.stats, report, output
  end

  local function failure(name)
    local task = assert(util.by_type(app, "q", "archived")[name], name .. " is not archived")
    return task.history[#task.history]
  end

  it("gives handlers the task and keeps what they return", function()
    local stats = run {
      { "echo", { to = "é", list = { 1, 2 }, none = reeve.null, big = reeve.decode "9007199254740993" } },
      { "fields", { a = 1 }, { headers = { h = "v" }, timeout = 5, priority = 7, id = "the-id" } },
      { "nothing" }, { "no" }, { "coroutines" },
    }
    assert.equal(6, stats.done)
    local done = util.by_type(app, "q", "completed")
    assert.same({ to = "é", list = { 1, 2 }, none = reeve.null, big = reeve.decode "9007199254740993" },
      done.echo.result)
    local fields = done.fields.result
    assert.equal("the-id", fields.id)
    assert.equal("fields", fields.type)
    assert.equal("q", fields.queue)
    assert.equal(1, fields.attempt)
    assert.equal(7, fields.priority)
    assert.equal(0, fields.max_retries)
    assert.equal(5, fields.timeout)
    assert.same({ h = "v" }, fields.headers)
    assert.equal('{"a":1}', fields.body)
    assert.is_true(fields.token > 0)
    assert.is_true(fields.enqueued)
    assert.is_nil(fields.cancelled)
    assert.is_nil(done.nothing.result)
    assert.is_false(done.no.result)
    assert.same({ 2, 42, false, "inside", false, "resumed" }, done.coroutines.result)
  end)

  it("turns every kind of failure into a failed task", function()
    local stats = run {
      { "why" }, { "refused" }, { "raise" }, { "raise_table" }, { "raise_object" }, { "raise_nil" },
      { "raise_in_tostring" }, { "deep" }, { "exit" }, { "bad_result" }, { "yield" },
      { "not_json", "{", { raw = true } }, { "raise_after" }, { "nobody" }, { "bad_snooze" },
      { "echo", {} },
    }
    assert.equal(2, stats.done) -- echo and stop
    local why = failure "why"
    assert.equal("UserError", why.error_type)
    assert.equal("no such user", why.error_message)
    assert.equal("refused", failure("refused").error_message)
    local raised = failure "raise"
    assert.equal("LuaError", raised.error_type)
    assert.matches("worker.lua:%d+: boom", raised.error_message)
    assert.matches("stack traceback:\n", raised.error_trace)
    assert.is_nil(raised.error_trace:find("runner.lua", 1, true))
    assert.equal("Busy", failure("raise_table").error_type)
    assert.equal("come back", failure("raise_table").error_message)
    assert.equal("an object", failure("raise_object").error_message)
    assert.equal("nil", failure("raise_nil").error_message)
    assert.is_string(failure("raise_in_tostring").error_type)
    -- LuaJIT may have no stack left to say it in.
    local deep = failure("deep").error_message
    assert.is_truthy(deep:find "stack overflow" or deep == "error in error handling", deep)
    assert.equal("LuaError", failure("deep").error_type)
    assert.matches("os.exit is not available", failure("exit").error_message)
    assert.equal("ResultError", failure("bad_result").error_type)
    assert.matches("the result has no JSON form", failure("bad_result").error_message)
    assert.matches("yield", failure("yield").error_message)
    assert.matches("the payload is not JSON", failure("not_json").error_message)
    assert.matches("after all", failure("raise_after").error_message)
    assert.equal("NoHandler", failure("nobody").error_type)
    assert.matches("snooze is %-1 s", failure("bad_snooze").error_message)
  end)

  it("does what tasks say of themselves", function()
    local stats = run {
      { "said" }, { "unsaid" }, { "later", nil, { max_retries = 3 } },
      { "skip", nil, { max_retries = 9 } }, { "discard" }, { "keep" }, { "stale" }, { "enqueue" },
    }
    assert.equal(2, stats.retried) -- a snooze counts, too
    local done = util.by_type(app, "q", "completed")
    assert.same({ done = true }, done.unsaid.result)
    assert.is_nil(done.discard)
    assert.is_nil(util.by_type(app, "q", "archived").discard)
    assert.equal("SkipRetry", failure("skip").error_type)
    assert.equal("bad", failure("skip").error_message)
    assert.is_table(util.by_type(app, "q", "scheduled").said)
    local later = util.by_type(app, "q", "retry").later
    assert.near(app:now() + 3600, later.due_at, 60)
    assert.equal("busy", later.history[1].error_message)
    local stale = done.stale.result
    assert.is_false(stale.ok)
    assert.matches("the task is over", stale.message)
    assert.is_false(stale.said)
    assert.equal(done.keep.id, stale.id) -- it was read while the task ran
    assert.matches("task.queue: the task is over", stale.unread)
    assert.equal("function", stale.method)
    assert.equal("pending", done.enqueue.result.state)
    -- stop may have been claimed before it came.
    local echo = done.echo or util.by_type(app, "q", "pending").echo
    assert.equal(done.enqueue.id, echo.payload.from)
  end)

  it("burns no attempt when it snoozes", function()
    assert(app:enqueue("snooze", nil, { queue = "q" }))
    -- Due after stop: the second worker finds it.
    run {}
    assert.equal(1, util.queue(app, "q").scheduled)
    assert(app:enqueue("stop", nil, { queue = "q", delay = 0.3 }))
    local output, code = util.run_script("worker", url, "{ concurrency = 1 }")
    assert.equal(0, code, output)
    assert.equal(0, util.queue(app, "q").scheduled)
  end)

  it("ends handlers that run too long", function()
    local names = { "napping", "polling", "loop", "many_coroutines", "stubborn", "in_coroutine", "hooked" }
    local items = {}
    for i, name in ipairs(names) do items[i] = { name, nil, { timeout = 0.1 } } end
    items[#items + 1] = { "unhooked" } -- what the last of them had is gone
    -- One after the other, so that stop comes when all have ended.
    local stats, report, output = run(items)
    assert.is_table(stats, report.message)
    assert.equal(#names, stats.archived, output)
    assert.equal(0, stats.stuck)
    for _, name in ipairs(names) do
      assert.equal("TimeoutError", failure(name).error_type)
    end
    assert.is_true(util.by_type(app, "q", "completed").unhooked.result)
  end)

  it("lets a handler clean up after its timeout", function()
    run { { "cleaning", nil, { timeout = 0.1 } } }
    local found = util.by_type(app, "q", "completed").echo or util.by_type(app, "q", "pending").echo
    assert.equal("timeout", found.payload.cleaned)
  end)

  it("keeps a state below its bound of memory", function()
    local stats, report = run({ { "hog" }, { "echo", { n = 1 } } },
      "{ concurrency = 1, memory_max = 8 * 1024 * 1024 }")
    if not util.is_54 then
      assert.is_nil(stats)
      assert.equal("memory_max needs Lua 5.4", report.message)
      assert.equal("unsupported", report.code)
      return
    end
    assert.equal("MemoryError", failure("hog").error_type)
    assert.same({ n = 1 }, util.by_type(app, "q", "completed").echo.result)
  end)

  it("runs on several threads", function()
    local items = {}
    for i = 1, 200 do items[i] = { "echo", { n = i } } end
    local stats = run(items, "{ concurrency = 4, settle_delay = 0 }")
    assert.equal(201, stats.done)
    local seen = {}
    for _, task in ipairs(assert(app:inspector():tasks("q", "completed", nil, 1000))) do
      assert.equal(task.payload.n, task.result.n)
      seen[task.payload.n] = true
    end
    assert.equal(200, #seen)
  end)

  --- Runs 300 tasks one after the other; gives the size of the largest claim,
  -- whose tasks share a token, and the number of claims.
  local function claims(options)
    local items = {}
    for i = 1, 300 do items[i] = { "token" } end
    assert.equal(301, run(items, options).done)
    local sizes, largest, count = {}, 0, 0
    for _, task in ipairs(assert(app:inspector():tasks("q", "completed", nil, 1000))) do
      if task.type == "token" then
        count = count + (sizes[task.result] and 0 or 1)
        sizes[task.result] = (sizes[task.result] or 0) + 1
        largest = math.max(largest, sizes[task.result])
      end
    end
    return largest, count
  end

  it("opens one client for the handlers of all states", function()
    local path = url:match "^sqlite://(.*)reeve.db$" .. "meeting"
    local function handles(states)
      os.remove(path)
      local items = {}
      for i = 1, states do items[i] = { "meet", { path = path, states = states } } end
      run(items, ("{ concurrency = %d, prefetch = false }"):format(states))
      os.remove(path)
      return util.by_type(app, "q", "completed").meet.result
    end
    local one = handles(1)
    assert.is_true(one > 0)
    assert.equal(one, handles(4))
  end)

  it("claims ahead by itself", function()
    local _, count = claims "{ concurrency = 1 }"
    assert.is_true(count < 200, count)
  end)

  it("claims ahead no more than it may", function()
    local largest, count = claims "{ concurrency = 1, prefetch = 3 }"
    assert.is_true(largest >= 2 and largest <= 4, largest)
    assert.is_true(count < 300, count)
  end)

  it("claims nothing ahead when told so", function()
    local largest = claims "{ concurrency = 1, prefetch = false }"
    assert.equal(1, largest)
  end)

  it("leaves a handler behind that waits in C for ever", function()
    local stats, report = run({ { "stuck" } }, "{ concurrency = 2, grace = 0.1 }")
    assert.is_nil(stats)
    assert.equal("1 handlers did not end; their tasks have been handed back", report.message)
    assert.equal("timeout", report.code)
    assert.is_table(util.by_type(app, "q", "pending").stuck)
  end)

  it("says when it runs, and stops when that fails", function()
    assert(app:enqueue("stop", nil, { queue = "q" }))
    local output, code = util.run_script("worker", url,
      "{ id = 'its-id', on_start = function(id) print('started ' .. id) end }")
    assert.equal(0, code)
    assert.matches("started its%-id\n", output)
    output, code = util.run_script("worker", url, "{ on_start = function() error('not today', 0) end }")
    assert.equal(0, code)
    local report = assert(reeve.decode(output:match "([^\n]*)\n$"), output)
    assert.equal("not today", report.message)
    assert.equal("invalid", report.code)
  end)

  local refused = {
    { "{ concurency = 1 }", "run has no option 'concurency'; did you mean 'concurrency'?", "usage" },
    { "{ app = 1 }", "run has no option 'app'", "usage" },
    { "{ concurrency = 0 }", "concurrency is 0; it must be 1 to 1000", "invalid" },
    { "{ queues = {} }", "queues is empty", "invalid" },
    { "{ queues = { q = 0 } }", "weight of queue q is 0; it must be 1 to 1000", "invalid" },
    { "{ queues = { 'q', x = 1 } }", "queues is a list and a map at once", "invalid" },
    { "{ queues = { q = 1 }, order = 'strict' }", "order strict goes by the list's order", "invalid" },
    { "{ queues = { 'a b' } }", "a b", "invalid" },
    { "{ order = 'odd' }", "order is 'odd'; one of weighted, strict", "invalid" },
    { "{ memory_max = 0.5 }", "memory_max is 0.5; it must be an integer", "invalid" },
    { "{ prefetch = true }", 'prefetch is true; it must be "auto", false or an integer from 1 to 1000', "invalid" },
    { "{ prefetch = 0 }", 'prefetch is 0; it must be "auto", false or', "invalid" },
    { "{ prefetch = 1.5 }", "prefetch is 1.5; it must be", "invalid" },
    { "{ prefetch = 1001 }", "prefetch is 1001; it must be", "invalid" },
    { "{ prefetch = 'off' }", "prefetch is off; it must be", "invalid" },
    { "{ log = 'loud' }", "log is 'loud'", "invalid" },
    { "{ lease = 0.01 }", "lease is 0.01 s; it must be at least 0.1 s", "invalid" },
    { "{ script = '/nowhere.lua' }", "nowhere.lua", "invalid" },
  }
  for _, case in ipairs(refused) do
    it("does not start with " .. case[1], function()
      local output, code = util.run_script("worker", url, case[1])
      assert.equal(0, code, output)
      local report = assert(reeve.decode(output:match "([^\n]*)\n$"), output)
      assert.is_nil(report.stats)
      assert.is_truthy(report.message:find(case[2], 1, true), report.message)
      assert.equal(case[3], report.code)
    end)
  end

  it("does not start without tasks", function()
    local empty = assert(reeve.new { url = url })
    for _, options in ipairs { {}, { queues = { "q" } } } do
      local stats, message, code = empty:run(options)
      assert.is_nil(stats)
      assert.equal("no tasks: call app:task first", message)
      assert.equal("usage", code)
    end
  end)

  it("does not start on a broker that is away", function()
    local output = util.run_script("worker", "redis://127.0.0.1:1")
    local report = assert(reeve.decode(output:match "([^\n]*)\n$"), output)
    assert.equal("network", report.code)
  end)
end)
