-- JSON and the protocol object of reeve.core, without a server.
local core = require "reeve.core"

local is_54 = _VERSION == "Lua 5.4"

describe("json", function()
  local function round(text)
    local value, err = core.json_decode(text)
    if value == nil then return nil, err end
    return assert(core.json_encode(value))
  end

  it("tells an empty array from an empty object", function()
    assert.equal("[]", round "[]")
    assert.equal("{}", round "{}")
    assert.equal("[]", core.json_encode(core.array {}))
    assert.equal("[]", core.json_encode(setmetatable({}, core.empty_array_mt)))
    assert.equal("[1]", core.json_encode(core.array { 1 }))
  end)

  it("takes lua-cjson's markers for its own", function()
    local empty = {}
    package.loaded["cjson"] = { empty_array_mt = empty }
    local text = core.json_encode(setmetatable({}, empty))
    package.loaded["cjson"] = nil
    assert.equal("[]", text)
  end)

  it("keeps integers to the last digit", function()
    local big = "9223372036854775807"
    assert.equal(is_54 and big or '"' .. big .. '"', round(big))
    assert.equal('"9223372036854775808"', round "9223372036854775808")
    assert.equal("9007199254740992", round "9007199254740992")
    if is_54 then
      assert.equal(math.maxinteger, core.json_decode(big))
      assert.equal("-9223372036854775808", core.json_encode(math.mininteger))
    else
      assert.equal("9007199254740993", core.json_decode "9007199254740993")
    end
  end)

  it("writes numbers that read back the same", function()
    for _, number in ipairs { 0.1, 1e300, -1.5, 1 / 3, 5e-324, 2 ^ 53 + 2 } do
      local text = assert(core.json_encode(number))
      assert.equal(number, tonumber(text))
    end
  end)

  it("refuses what is not JSON", function()
    for text, why in pairs {
      ['{"a":1,"a":2}'] = "name twice", ["[1,]"] = "value is expected", ["tru"] = "value",
      ['"\255"'] = "UTF%-8", ['"\237\160\128"'] = "UTF%-8", ["01"] = "begins with 0",
      ["1e999"] = "out of range", ["[1] x"] = "follows", [""] = "value", ['"abc'] = "not closed",
      ['"\\ud800"'] = "surrogate", ['"\\x"'] = "escape", ['"a\nb"'] = "control",
      ["{1:2}"] = "name", ['{"a" 1}'] = "colon", ["[1 2]"] = "comma", ["-"] = "digit",
      ["1."] = "digit", [("["):rep(65) .. ("]"):rep(65)] = "too deeply",
    } do
      local value, err, code = core.json_decode(text)
      assert.is_nil(value)
      assert.matches(why, err)
      assert.equal("invalid", code)
    end
    assert.is_not_nil(core.json_decode(("["):rep(64) .. ("]"):rep(64)))
  end)

  it("refuses what JSON cannot say", function()
    local cycle = {}
    cycle.me = cycle
    for _, case in ipairs {
      { { f = print }, "function %(member 'f'%)" }, { { 1, 2, nil, 4 }, "hole" },
      { { 1, a = 2 }, "neither" }, { { [1.5] = 1 }, "neither" }, { 0 / 0, "nan" },
      { "\255", "UTF%-8" }, { cycle, "cycle" }, { coroutine.create(print), "thread" },
    } do
      local text, err, code = core.json_encode(case[1])
      assert.is_nil(text)
      assert.matches(case[2], err)
      assert.equal("invalid", code)
    end
  end)

  it("reads escapes", function()
    assert.equal("é😀\n/\0", core.json_decode '"\\u00e9\\ud83d\\ude00\\n\\/\\u0000"')
  end)
end)

describe("protocol", function()
  local ENVELOPE = '{"v":1,"type":"t","max_crashes":2,"retry":{"max_attempts":2,"base_ms":5,'
    .. '"backoff":"fixed","jitter":"none"}}\n{"a":1}'
  local NOW = 1763600000500

  local function bulk(text) return "$" .. #text .. "\r\n" .. text .. "\r\n" end

  -- A protocol object to which a turn has given these tasks, of one token.
  local function claimed(bodies)
    local protocol = assert(core.protocol { label = "host:1" })
    assert(protocol:turn("mail", {}, #bodies, 30000, "w1"))
    assert.matches("EVALSHA", protocol:output())
    -- the time, flags (1: work is left, 16: bodies follow), no next due time, the token
    local reply = { "*", 4 + 2 * #bodies, "\r\n:", NOW, "\r\n:17\r\n:0\r\n:7\r\n" }
    for i = 1, #bodies do reply[#reply + 1] = bulk("id" .. i) end
    for _, body in ipairs(bodies) do reply[#reply + 1] = body and bulk(body) or "$-1\r\n" end
    assert(protocol:feed(table.concat(reply)))
    local result = assert(protocol:next())
    assert.equal("turn", result.kind)
    assert.equal("mail", result.queue)
    assert.is_true(result.more)
    return result.jobs, protocol
  end

  it("hands out jobs that outlive it", function()
    local jobs, protocol = claimed { ENVELOPE, ENVELOPE }
    protocol:close()
    protocol = nil -- luacheck: ignore
    collectgarbage()
    local task = assert(jobs[2]:read())
    assert.equal("id2", task.id)
    assert.equal("t", task.type)
    assert.equal("mail", task.queue)
    assert.equal(7, task.token)
    assert.equal(1, task.attempt)
    assert.equal(1, task.max_retries)
    assert.same({ a = 1 }, core.json_decode(task.body))
    assert.is_true(jobs[1]:may_start(NOW))
  end)

  it("settles by the core's policy", function()
    local failure = { now_ms = NOW, error_type = "E", error_message = "why" }
    local one, two = claimed { ENVELOPE, ENVELOPE, ENVELOPE }, claimed { ENVELOPE, "damaged", false }
    assert.same({ "none", false }, { one[1]:settle("done", "w1", {}) })
    assert.same({ "retry", true }, { one[2]:settle("retry", "w1", failure) })
    assert.same({ "archived", true }, { one[3]:settle("fatal", "w1", failure) })
    assert.same({ "scheduled", false }, { two[1]:settle("snooze", "w1", { delay_ms = 9 }) })
    assert.same({ "pending", false }, { two[1]:settle("requeue", "w1", {}) })
    assert.same({ "pending", false }, { two[1]:settle("crashed", "w1", {}) })
    assert.is_false(two[2]:may_start(NOW))
    assert.same({ "archived", false }, { two[2]:settle("discard", "w1", {}) })
    assert.same({ "none", false }, { two[3]:settle("discard", "w1", {}) })
  end)

  it("ends a token with its last task", function()
    local jobs, protocol = claimed { ENVELOPE, ENVELOPE }
    for _, job in ipairs(jobs) do assert(job:settle("done", "w1", {})) end
    assert(protocol:turn("mail", { jobs[1] }, 0, 30000, "w1"))
    local first = protocol:output()
    assert(protocol:turn("mail", { jobs[2] }, 0, 30000, "w1"))
    local second = protocol:output()
    -- the last argument: 8 for its one id, 1 drops the lease, 2 counts as done
    assert.matches("\r\n10\r\n$", first)
    assert.matches("\r\n11\r\n$", second)
  end)

  it("says which leases are lost", function()
    local jobs, protocol = claimed { ENVELOPE, ENVELOPE }
    assert(protocol:extend(jobs, 1000))
    protocol:output()
    assert(protocol:feed("*2\r\n:" .. NOW .. "\r\n:1\r\n"))
    assert.same({ 2 }, protocol:next().lost)
  end)

  it("sends a script in full when the server lost it", function()
    local protocol = assert(core.protocol {})
    local batch = assert(core.task("t", { a = 1 }, { id = "x" }))
    local op = assert(protocol:enqueue(batch))
    protocol:output()
    assert(protocol:feed "-NOSCRIPT No matching script.\r\n:1\r\n")
    assert.is_nil(protocol:next())
    assert.matches("EVAL\r\n", protocol:output())
    assert(protocol:feed "-ERR wrong\r\n")
    local result = protocol:next()
    assert.equal(op, result.op)
    assert.equal("server", result.code)
  end)

  it("sends again what a batch was made of, whatever became of it", function()
    local function made(text) -- a string that nobody else has
      return (string.rep(text .. "-", 15):gsub("-$", ""))
    end
    local options = { queue = made "q", headers = { [made "name"] = made "value" } }
    local items = { { made "type", made "payload", options } }
    local batch = assert(core.batch(items))
    items[1][1], items[1][2] = "other", "changed"
    options.queue, options.headers = nil, nil
    collectgarbage()
    collectgarbage()
    local garbage, size = {}, 0
    for i = 1, 2000 do
      garbage[i] = string.rep("z" .. i, 30)
      size = size + #garbage[i]
    end
    assert.is_true(size > 0)
    local protocol = assert(core.protocol {})
    assert(protocol:enqueue(batch))
    local sent = protocol:output()
    for _, text in ipairs { "type", "payload", "q", "name", "value" } do
      assert.truthy(sent:find(string.rep(text .. "-", 14) .. text, 1, true))
    end
  end)

  it("waits at bells and names the one that rang", function()
    local protocol = assert(core.protocol {})
    assert(protocol:wait({ "a", "b" }, 1500))
    assert.matches("BLPOP.*{a}:bell.*{b}:bell.*1%.500", protocol:output())
    assert(protocol:feed("*2\r\n" .. bulk "reeve:{b}:bell" .. bulk "1"))
    assert.equal(2, protocol:next().rung)
    assert(protocol:wait({ "a" }, 5))
    assert(protocol:feed "*-1\r\n")
    assert.is_nil(protocol:next().rung)
  end)

  it("refuses bytes that are no answer", function()
    local protocol = assert(core.protocol {})
    local good, err, code = protocol:feed "+PONG\r\n"
    assert.is_nil(good)
    assert.equal("network", code)
    assert.matches("nobody asked", err)
    assert(protocol:reset())
    assert.equal(0, protocol:pending())
  end)

  it("refuses wrong values with an error, wrong types by raising", function()
    local protocol = assert(core.protocol {})
    assert.equal("invalid", select(3, protocol:turn("no good", {}, 1, 30000, "w")))
    assert.equal("invalid", select(3, protocol:wait({}, 1)))
    assert.equal("usage", select(3, core.protocol { passwrd = "x" }))
    assert.has_error(function() protocol:turn("q", { 1 }, 1, 30000, "w") end)
    assert.has_error(function() protocol:enqueue {} end)
    assert.has_error(function() protocol:feed(5) end)
    protocol:close()
    assert.has_error(function() protocol:pending() end)
  end)

  it("never settles twice by mistake", function()
    local jobs, protocol = claimed { ENVELOPE }
    assert.has_error(function() protocol:turn("mail", jobs, 0, 30000, "w1") end)
  end)

  it("splits slots by weight", function()
    local picker, quotas = assert(core.picker { 6, 3, 1 }), {}
    assert.equal(20, picker:plan(20, quotas))
    assert.same({ 12, 6, 2 }, quotas)
    picker:book { 12, 6, 2 }
    picker:wake(2)
    assert.equal(10, picker:plan(10, quotas))
    assert.same({ 6, 3, 1 }, quotas)
    assert.equal("invalid", select(3, core.picker {}))
  end)

  it("takes a URL apart", function()
    local url = assert(core.redis_url "rediss://u:p@h:1/3?tls_server_name=n")
    assert.same({ "u", "p", "h", 1, 3, true, true, "n", "h:1" }, { url.user, url.password,
      url.host, url.port, url.database, url.tls, url.tls_verify, url.tls_server_name, url.label })
    assert.equal("invalid", select(3, core.redis_url "http://h"))
  end)
end)
