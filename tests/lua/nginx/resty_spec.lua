-- resty.reeve held to docs/openresty.md from inside nginx, over cosockets: what it
-- takes, stores and refuses. tests/support/busted_nginx.py runs it in a request and
-- in a timer and says which servers there are. Connections are in
-- resty_pool_spec.lua; what needs an nginx of another configuration is in
-- tests/e2e/test_openresty.py.

local reeve = require "resty.reeve"
local conn_of = require "resty.reeve.conn"
local core = require "reeve.core"
local bad = require "support.bad_input"
local given = require "given"
local probe = require "probe"

local client_of, redis, accepted = probe.client_of, probe.redis, probe.accepted
local has, fails, stored = probe.has, probe.fails, probe.stored

before_each(function()
    assert.equal("+OK", redis("FLUSHALL"))
end)

describe("resty.reeve.new", function()
    it("does no I/O", function()
        local before = accepted()
        assert.is_table(client_of(given.url))
        assert.is_table(client_of(given.down_url))
        assert.equal(before + 1, accepted())
    end)

    it("reads spans", function()
        assert.equal(500, client_of(given.url, { timeout = "500ms" }).config.timeout_ms)
        assert.equal(1500, client_of(given.url, { timeout = 1.5 }).config.timeout_ms)
        assert.equal(90000, client_of(given.url, { idle_timeout = "1m30s" }).config.idle_ms)
    end)

    it("connects no longer than a call may take", function()
        local config = client_of(given.url, { connect_timeout = 3, timeout = 2 }).config
        assert.equal(2000, config.connect_ms)
    end)

    for i, case in ipairs(bad.nginx_client) do
        it(("refuses option %d: %s"):format(i, case[2]), function()
            fails("usage", case[2], reeve.new(case[1]))
        end)
    end

    for i, case in ipairs(bad.nginx_worker) do
        it(("refuses a worker's option %d: %s"):format(i, case[2]), function()
            local options = { url = given.url, handlers = { noop = print } }
            for name, value in pairs(case[1]) do
                options[name] = value
            end
            fails("usage", case[2], require("resty.reeve.worker").start(options))
        end)
    end

    local urls = {
        { "http://x", "scheme", "invalid" },
        { "", "", "invalid" },
        { "redis://h:70000/0", "70000", "invalid" },
        { "redis://h/x", "x", "invalid" },
        { "redis://h/0?colour=red", "colour", "invalid" },
        { "rediss://h/0?tls_ca=/x", "lua_ssl_trusted_certificate", "unsupported" },
        { "rediss://h/0?tls_cert=/x&tls_key=/y", "client certificates", "unsupported" },
    }
    for _, case in ipairs(urls) do
        it("refuses the url '" .. case[1] .. "'", function()
            fails(case[3], case[2], reeve.new { url = case[1] })
        end)
    end

    it("raises for no table only", function()
        assert.error_matches(function()
            reeve.new("redis://h")
        end, "options must be a table, not string")
    end)

    it("asks for a restart when the library is of another version", function()
        local loaded = package.loaded["reeve.core"]
        local config = package.loaded["resty.reeve.config"]
        package.loaded["reeve.core"] = { ABI = 999, VERSION = "9.9.9" }
        package.loaded["resty.reeve.config"] = nil
        local good, message = pcall(require, "resty.reeve.config")
        package.loaded["reeve.core"] = loaded
        package.loaded["resty.reeve.config"] = config
        assert.is_false(good)
        has("restart nginx", message)
        has("9.9.9", message)
    end)
end)

describe("enqueue", function()
    local client = client_of(given.url)

    it("gives id, state and due time", function()
        local info = assert(client:enqueue("t:one", { to = "x", n = 7 }, { queue = "one" }))
        assert.equal(36, #info.id)
        assert.equal("pending", info.state)
        assert.is_nil(info.due_at)
        assert.is_false(info.existing)
        local envelope, body = stored("one", info.id)
        assert.equal("t:one", envelope.type)
        assert.same({ to = "x", n = 7 }, core.json_decode(body))
    end)

    it("stores every option", function()
        local at = ngx.time() + 1000
        local info = assert(client:enqueue("t", { n = 1 }, {
            queue = "all", priority = 0, id = "my-id", at = at, timeout = 30,
            deadline = at + 60, lease = "1m", retention = "forever",
            max_crashes = math.huge, headers = { trace = "x", ["é"] = "ü" },
            max_retries = 7, retry = { base = "2s", cap = "1m", factor = 3,
                jitter = "none", max_elapsed = 100 },
            idempotency_key = "key", idempotency_ttl = 10,
        }))
        assert.equal("my-id", info.id)
        assert.equal("scheduled", info.state)
        assert.equal(at, info.due_at)
        local envelope, body = stored("all", "my-id")
        assert.is_number(envelope.at)
        envelope.at = nil
        assert.same({
            v = 1, type = "t", priority = 0, timeout_ms = 30000,
            deadline_at_ms = (at + 60) * 1000, lease_ms = 60000, retention_ms = -1,
            max_crashes = -1, headers = { trace = "x", ["é"] = "ü" },
            retry = { jitter = "none", max_attempts = 8, base_ms = 2000,
                cap_ms = 60000, factor = 3, max_elapsed_ms = 100000 },
        }, envelope)
        assert.equal('{"n":1}', body)
        local left_ms = tonumber(redis("PTTL", "reeve:{all}:once:key"):sub(2))
        assert.is_true(left_ms > 0 and left_ms <= 10000)
    end)

    it("stores the other kinds of retries", function()
        local function retry_of(options)
            options.queue = "kinds"
            local info = assert(client:enqueue("t", {}, options))
            return (stored("kinds", info.id)).retry
        end
        assert.is_nil(retry_of {})
        assert.equal(1, retry_of({ max_retries = 0 }).max_attempts)
        assert.equal(-1, retry_of({ max_retries = math.huge }).max_attempts)
        assert.equal("linear", retry_of({ retry = { backoff = "linear" } }).backoff)
        assert.same({ 1000, 60000 }, retry_of({ retry = { delays = { 1, "1m" } } }).delays_ms)
    end)

    it("counts delay and expires from the server's now", function()
        local options = { queue = "later", delay = "1m" }
        local info = assert(client:enqueue("t", {}, options))
        assert.equal("scheduled", info.state)
        assert.near(ngx.time() + 60, info.due_at, 10)
        info = assert(client:enqueue("t", {}, { queue = "later", expires = 60 }))
        assert.equal("pending", info.state)
        local envelope = stored("later", info.id)
        assert.near(ngx.time() + 60, envelope.deadline_at_ms / 1000, 10)
    end)

    it("refuses an id that is taken", function()
        assert(client:enqueue("t", {}, { queue = "same", id = "a" }))
        fails("exists", "", client:enqueue("t", {}, { queue = "same", id = "a" }))
        assert.equal(":1", redis("LLEN", "reeve:{same}:pending"))
    end)

    it("gives the first task of an idempotency key", function()
        local options = { queue = "once", idempotency_key = "order 1" }
        local first = assert(client:enqueue("t", {}, options))
        local second = assert(client:enqueue("t", {}, options))
        assert.equal(first.id, second.id)
        assert.is_true(second.existing)
        assert.equal(":1", redis("LLEN", "reeve:{once}:pending"))
    end)

    it("writes below its prefix", function()
        assert(client_of(given.url, { prefix = "mine" }):enqueue("t", {}, { queue = "q" }))
        assert.equal(":1", redis("LLEN", "mine:{q}:pending"))
        assert.equal(":0", redis("EXISTS", "reeve:{q}:pending"))
    end)

    it("works in many light threads at once", function()
        local ids = {}
        probe.in_threads(64, function(i)
            local id = "c" .. i
            ids[id] = assert(client:enqueue("t", { i = i }, { queue = "conc", id = id })).id
        end)
        for id, got in pairs(ids) do
            assert.equal(id, got)
        end
        assert.equal(":64", redis("LLEN", "reeve:{conc}:pending"))
    end)

    it("says what the server says", function()
        redis("SET", "reeve:{wrong}:tasks", "x")
        fails("server", "WRONGTYPE", client:enqueue("t", {}, { queue = "wrong" }))
    end)
end)

describe("values", function()
    local client = client_of(given.url)
    local file = assert(io.open(given.tests .. "/vectors/values.json", "rb"))
    local vectors = assert(core.json_decode(file:read("*a")))
    file:close()

    -- What is stored of some.
    local literal = {
        null = "null", ["empty-array"] = "[]", ["empty-object"] = "{}", negative = "-17",
        ["utf8-3"] = '"日本語 €"', array = '[1,"two",3.5,false]', digits = '"00123"',
        ["array-of-null"] = "[null,1,null]", nested = '{"a":{"b":[{"c":{"d":[[1],[2,[3]]]}}]}}',
    }

    it("are all there", function()
        assert.is_true(#vectors.values >= 27)
        assert.is_true(#vectors.bytes >= 6)
    end)

    for _, vector in ipairs(vectors.values) do
        it("are stored as they are: " .. vector.name, function()
            assert(client:enqueue("t", vector.json, { queue = "v", id = "v" }))
            local _, body = stored("v", "v")
            local again = core.json_decode(body)
            assert.same(vector.json, again)
            assert.equal(literal[vector.name] or core.json_encode(vector.json), body)
            if vector.lua51 then
                assert.equal(vector.lua51, again)
            end
        end)
    end

    for _, vector in ipairs(vectors.bytes) do
        it("are stored as they are, raw: " .. vector.name, function()
            local bytes = vector.hex:gsub("..", function(pair)
                return string.char(tonumber(pair, 16))
            end)
            assert(client:enqueue("t", bytes, { queue = "b", id = "b", raw = true }))
            local _, body = stored("b", "b")
            assert.equal(bytes, body)
        end)
    end

    it("know the markers of nginx's Lua", function()
        local function body_of(payload)
            assert(client:enqueue("t", payload, { queue = "m", id = "m" }))
            local _, body = stored("m", "m")
            redis("FLUSHALL")
            return body
        end
        assert.equal(ngx.null, reeve.null)
        assert.equal("[]", body_of(reeve.array()))
        assert.equal("[]", body_of(setmetatable({}, reeve.empty_array_mt)))
        assert.equal("{}", body_of({}))
        assert.equal("{}", body_of(nil))
        assert.equal("null", body_of(ngx.null))
        assert.equal("9007199254740993", body_of(9007199254740993LL))
    end)
end)

describe("bad input", function()
    local client = client_of(given.url)

    local function scripts_run()
        return redis("INFO", "commandstats"):match("cmdstat_evalsha:calls=(%d+)")
    end

    -- Refused, and the server was not even asked.
    local function refused(part, codes, ...)
        local before = scripts_run()
        local value, message, code = client:enqueue(...)
        assert.is_nil(value)
        has(part, message)
        assert.is_true(codes[code], code)
        assert.equal(":0", redis("DBSIZE"))
        assert.equal(before, scripts_run())
    end

    local any = { invalid = true, usage = true, ["too-big"] = true }
    for i, case in ipairs(bad.options) do
        it(("refuses option %d: %s"):format(i, case[2]), function()
            refused(case[2], case[3] and { [case[3]] = true } or any, "t", {}, case[1])
        end)
    end

    for i, case in ipairs(bad.payloads) do
        it("refuses payload " .. i, function()
            refused(case[2], { invalid = true }, "t", case[1])
        end)
    end

    it("refuses types", function()
        for _, name in ipairs(bad.types) do
            refused("type", { invalid = true }, name)
        end
    end)

    it("refuses what is too big or too deep", function()
        refused("16777216", { ["too-big"] = true }, "t",
            ("x"):rep(16 * 1024 * 1024 + 1), { raw = true })
        local deep = {}
        for _ = 1, 100 do
            deep = { deep }
        end
        refused("deeper than 64", { invalid = true }, "t", deep)
        refused("hole", { invalid = true }, "t", { 1, 2, nil, 4 })
    end)

    it("refuses all of enqueue_many for one item", function()
        fails("invalid", "item 2", client:enqueue_many { { "t" }, { "t", { print } } })
        fails("usage", "item 2: enqueue has no option 'dely'; did you mean 'delay'?",
            client:enqueue_many { { "t" }, { "t", {}, { dely = 1 } } })
        fails("invalid", "a b", client:enqueue_many { { "t" }, { "a b" } })
        assert.equal(":0", redis("DBSIZE"))
    end)

    it("raises for a wrong type of argument only", function()
        assert.error_matches(function()
            client:enqueue(5)
        end, "type must be a string, not number")
        assert.error_matches(function()
            client:enqueue("t", {}, "options")
        end, "options must be a table, not string")
        assert.error_matches(function()
            client:enqueue_many("t")
        end, "items must be a list, not string")
        assert.error_matches(function()
            client:enqueue_many { 1 }
        end, "item 1 must be a table")
        assert(client:enqueue("t")) -- and what it raised out of is whole
    end)
end)

describe("enqueue_many", function()
    local client = client_of(given.url)

    it("stores all, in order, and says which were refused", function()
        local items = {}
        for i = 1, 2500 do
            local queue = i % 2 == 0 and "even" or "odd"
            items[i] = { "t", { n = i }, { queue = queue, id = "m" .. i } }
        end
        items[2501] = { "t", {}, { queue = "odd", id = "m1" } }
        local infos, message, code = client:enqueue_many(items)
        assert.equal(2501, #infos)
        for i = 1, 2500 do
            assert.equal("m" .. i, infos[i].id)
            assert.is_nil(infos[i].code)
        end
        assert.equal("exists", infos[2501].code)
        assert.equal("exists", code)
        assert.equal(infos[2501].message, message)
        assert.equal(":1250", redis("LLEN", "reeve:{even}:pending"))
        assert.equal(":1250", redis("LLEN", "reeve:{odd}:pending"))
    end)

    it("does nothing for nothing", function()
        local before = accepted()
        assert.same({}, client:enqueue_many {})
        assert.equal(before + 1, accepted())
    end)

    -- Counts what a call sends before it reads.
    local function watch(sock, counts)
        return setmetatable({
            send = function(_, ...)
                counts.sends = counts.sends + 1
                return sock:send(...)
            end,
            receiveany = function(_, ...)
                counts.before_read = counts.before_read or counts.sends
                return sock:receiveany(...)
            end,
        }, { __index = function(_, name)
            return function(_, ...)
                return sock[name](sock, ...)
            end
        end })
    end

    it("is one round trip", function()
        assert(client:enqueue("t", {}, { queue = "trip" })) -- handshake and scripts
        local items = {}
        for i = 1, 1500 do
            items[i] = { "t", {}, { queue = "trip" } }
        end
        local finish, trips, counts = conn_of.finish, 0, { sends = 0 }
        conn_of.finish = function(self)
            trips = trips + 1
            local sock = self.sock
            self.sock = watch(sock, counts)
            local results, message, code = finish(self)
            self.sock = sock
            return results, message, code
        end
        local ran, infos, message = pcall(client.enqueue_many, client, items)
        conn_of.finish = finish
        assert(ran, infos)
        assert.is_nil(message)
        assert.equal(1500, #infos)
        assert.equal(1, trips)
        assert.same({ sends = 1, before_read = 1 }, counts)
    end)
end)
