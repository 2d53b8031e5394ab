-- Assertions that run inside a request of nginx; tests/e2e/test_openresty.py asks
-- for each by its name. `env` has url, the URL of a server, and what else the
-- query says.

local reeve = require "resty.reeve"
local core = require "reeve.core"

local cases = {}

local function client_of(env, more)
    local options = { url = env.url, timeout = 2 }
    for name, value in pairs(more or {}) do
        options[name] = value
    end
    return assert(reeve.new(options))
end

local function equal(wanted, got, what)
    if wanted ~= got then
        error((what or "value") .. ": wanted " .. tostring(wanted) .. ", got "
            .. tostring(got), 2)
    end
end

local function fails(code, pattern, value, err, got_code)
    equal(nil, value)
    equal(code, got_code, "code of '" .. tostring(err) .. "'")
    if not err:find(pattern) then
        error("the message '" .. err .. "' has no '" .. pattern .. "'", 2)
    end
end

-- One command over a connection of its own; its first reply line.
local function redis(env, ...)
    local url = assert(core.redis_url(env.url))
    local sock = ngx.socket.tcp()
    sock:settimeout(2000)
    assert(sock:connect(url.host, url.port))
    local words = { ... }
    local out = { "*" .. #words .. "\r\n" }
    for _, word in ipairs(words) do
        out[#out + 1] = "$" .. #word .. "\r\n" .. word .. "\r\n"
    end
    assert(sock:send(out))
    local line = assert(sock:receive("*l"))
    if line:sub(1, 1) == "$" and line ~= "$-1" then
        line = assert(sock:receive(tonumber(line:sub(2))))
    end
    sock:close()
    return line
end

function cases.enqueue(env)
    local client = client_of(env)
    local info = assert(client:enqueue("t:one", { to = "x", n = 7 }, {
        queue = "one", id = "id-1", headers = { trace = "abc" } }))
    equal("id-1", info.id)
    equal("pending", info.state)
    equal(false, info.existing)
    local stored = redis(env, "HGET", "reeve:{one}:tasks", "id-1")
    local line, body = stored:match("^(.-)\n(.*)$")
    local envelope = assert(core.json_decode(line))
    equal("t:one", envelope.type)
    equal("abc", envelope.headers.trace)
    local payload = assert(core.json_decode(body))
    equal("x", payload.to)
    equal(7, payload.n)
end

function cases.raw(env)
    local client = client_of(env)
    assert(client:enqueue("t", "\0\255bytes", { queue = "raw", id = "r", raw = true }))
    local stored = redis(env, "HGET", "reeve:{raw}:tasks", "r")
    equal("\0\255bytes", stored:match("\n(.*)$"))
end

function cases.delayed(env)
    local client = client_of(env)
    local info = assert(client:enqueue("t", {}, { queue = "later", delay = 60 }))
    equal("scheduled", info.state)
    local left = info.due_at - ngx.time()
    assert(left > 50 and left < 70, left)
    info = assert(client:enqueue("t", {}, { queue = "later", expires = 60 }))
    equal("pending", info.state)
    local stored = redis(env, "HGET", "reeve:{later}:tasks", info.id)
    local envelope = core.json_decode(stored:match("^(.-)\n"))
    left = envelope.deadline_at_ms / 1000 - ngx.time()
    assert(left > 50 and left < 70, left)
end

function cases.same_id_is_refused(env)
    local client = client_of(env)
    assert(client:enqueue("t", {}, { queue = "same", id = "a" }))
    fails("exists", "", client:enqueue("t", {}, { queue = "same", id = "a" }))
end

function cases.idempotency(env)
    local client = client_of(env)
    local options = { queue = "once", idempotency_key = "order 1" }
    local first = assert(client:enqueue("t", {}, options))
    local second = assert(client:enqueue("t", {}, options))
    equal(first.id, second.id)
    equal(true, second.existing)
end

function cases.many(env)
    local client = client_of(env)
    local items = {}
    for i = 1, 2500 do
        items[i] = { "t", { n = i }, { queue = i % 2 == 0 and "even" or "odd",
            id = "m" .. i } }
    end
    items[2501] = { "t", {}, { queue = "odd", id = "m1" } }
    local infos, err, code = client:enqueue_many(items)
    equal(2501, #infos)
    equal("exists", code)
    assert(err)
    equal("m2500", infos[2500].id)
    equal(nil, infos[2500].code)
    equal("exists", infos[2501].code)
    equal(":1250", redis(env, "LLEN", "reeve:{even}:pending"))
    equal(0, #client:enqueue_many({}))
end

-- All of a call travels at once: with a server that answers nothing until it has
-- seen the last task, it could not end otherwise.
function cases.many_is_one_round_trip(env)
    local client = client_of(env)
    assert(client:enqueue("t", {}, { queue = "trip" })) -- handshake and scripts
    local conn_of = require "resty.reeve.conn"
    local finish, trips = conn_of.finish, 0
    conn_of.finish = function(self)
        trips = trips + 1
        local sock, sends, sent_all = self.sock, 0, nil
        self.sock = setmetatable({
            send = function(_, ...)
                sends = sends + 1
                return sock:send(...)
            end,
            receiveany = function(_, ...)
                sent_all = sent_all or sends
                return sock:receiveany(...)
            end,
        }, { __index = function(_, name)
            return function(_, ...)
                return sock[name](sock, ...)
            end
        end })
        local results, err, code = finish(self)
        equal(1, sends, "sends")
        equal(1, sent_all, "sends before the first receive")
        self.sock = sock
        return results, err, code
    end
    local items = {}
    for i = 1, 1500 do
        items[i] = { "t", {}, { queue = "trip" } }
    end
    local ran, infos, err = pcall(client.enqueue_many, client, items)
    conn_of.finish = finish
    assert(ran, infos)
    equal(nil, err)
    equal(1500, #infos)
    equal(1, trips)
end

function cases.bad_input(env)
    local client = client_of(env)
    local function bad(code, pattern, ...)
        fails(code, pattern, client:enqueue(...))
    end
    bad("invalid", "function", "t", { f = print })
    bad("invalid", "UTF%-8", "t", { s = "\255" })
    bad("invalid", "hole", "t", { 1, 2, nil, 4 })
    local deep = {}
    for _ = 1, 100 do
        deep = { deep }
    end
    bad("invalid", "deeper than 64", "t", deep)
    bad("usage", "did you mean 'queue'", "t", {}, { queu = "x" })
    bad("invalid", "queue", "t", {}, { queue = "no spaces" })
    bad("invalid", "priority", "t", {}, { priority = 11 })
    bad("invalid", "not both", "t", {}, { delay = 1, at = 2 })
    bad("too-big", "", "t", string.rep("x", 17 * 1024 * 1024), { raw = true })
    fails("invalid", "item 2", client:enqueue_many { { "t" }, { "t", { print } } })
    equal(false, (pcall(client.enqueue, client, 5)))
    equal(false, (pcall(client.enqueue, client, "t", {}, "options")))
    equal(false, (pcall(client.enqueue_many, client, { 1 })))
    fails("usage", "no option 'ulr'", reeve.new { ulr = "x" })
    fails("usage", "url is missing", reeve.new {})
    fails("usage", "timeout", reeve.new { url = env.url, timeout = "soon" })
    fails("usage", "not 10 to 3600000 ms", reeve.new { url = env.url, timeout = "2h" })
    assert(reeve.new { url = env.url, timeout = "500ms" })
    fails("invalid", "scheme", reeve.new { url = "http://x" })
    fails("unsupported", "lua_ssl_trusted_certificate",
        reeve.new { url = "rediss://h/0?tls_ca=/x" })
end

function cases.markers(env)
    equal(ngx.null, reeve.null)
    equal("[]", core.json_encode(reeve.array()))
    equal("[]", core.json_encode(setmetatable({}, reeve.empty_array_mt)))
    equal("{}", core.json_encode({}))
    equal("null", core.json_encode(ngx.null))
    equal("9007199254740993", core.json_encode(9007199254740993LL))
    equal("9007199254740993", core.json_decode("9007199254740993"))
    equal(9007199254740991, core.json_decode("9007199254740991"))
    local cjson = env.cjson and require "cjson"
    if cjson and cjson.empty_array_mt then
        equal("[]", core.json_encode(setmetatable({}, cjson.empty_array_mt)))
    end
end

function cases.redis_down(env)
    local client = client_of(env, { timeout = 1, attempts = 3 })
    local start = ngx.now()
    fails("network", "refused", client:enqueue("t", {}))
    local infos, err, code = client:enqueue_many { { "t" }, { "t" } }
    equal(2, #infos)
    equal("network", code)
    equal("network", infos[1].code)
    assert(infos[1].id and err)
    ngx.update_time()
    assert(ngx.now() - start < 4, "it took too long")
end

-- A server that accepts and says nothing.
function cases.redis_hangs(env)
    local client = client_of(env, { timeout = 0.3 })
    local start = ngx.now()
    fails("timeout", "timeout", client:enqueue("t", {}))
    ngx.update_time()
    local took = ngx.now() - start
    assert(took > 0.2 and took < 2, took)
end

function cases.wrong_password(env)
    local client = client_of(env)
    fails("auth", "", client:enqueue("t", {}))
    fails("auth", "", client:enqueue("t", {})) -- not from a pool, either
end

function cases.right_password(env)
    local client = client_of(env)
    assert(client:enqueue("t", {}))
    local wrong = client_of({ url = env.wrong_url })
    fails("auth", "", wrong:enqueue("t", {}))
    assert(client:enqueue("t", {}))
end

function cases.tls(env)
    assert(client_of(env):enqueue("t", { a = 1 }))
    assert(client_of(env):enqueue("t", { a = 2 })) -- over the pooled connection
end

function cases.tls_refused(env)
    fails("tls", env.why, client_of(env):enqueue("t", {}))
end

function cases.tls_name_given(env)
    assert(client_of(env):enqueue("t", {}))
end

local function connections(env)
    return tonumber(redis(env, "INFO", "stats")
        :match("total_connections_received:(%d+)"))
end

function cases.keepalive(env)
    local client = client_of(env)
    assert(client:enqueue("t", {}))
    local before = connections(env)
    for _ = 1, 50 do
        assert(client:enqueue("t", {}))
    end
    local other = client_of(env) -- the same server: the same pool
    assert(other:enqueue("t", {}))
    equal(before + 1, connections(env)) -- the one that asks
end

function cases.pools_by_database(env)
    local url = env.url:gsub("/0$", "")
    local one, two = client_of({ url = url .. "/1" }), client_of({ url = url .. "/2" })
    for _ = 1, 3 do
        assert(one:enqueue("t", {}, { queue = "pools" }))
        assert(two:enqueue("t", {}, { queue = "pools" }))
    end
    local keyspace = redis(env, "INFO", "keyspace")
    assert(keyspace:find("db1:") and keyspace:find("db2:"), keyspace)
    equal(":0", redis(env, "EXISTS", "reeve:{pools}:pending"))
end

function cases.script_flush(env)
    local client = client_of(env)
    assert(client:enqueue("t", {}, { queue = "flush" }))
    equal("+OK", redis(env, "SCRIPT", "FLUSH"))
    local before = connections(env)
    assert(client:enqueue("t", {}, { queue = "flush" }))
    equal(before + 1, connections(env))
    equal(":2", redis(env, "LLEN", "reeve:{flush}:pending"))
end

function cases.lost_connection(env)
    local client = client_of(env)
    for _ = 1, 5 do
        assert(client:enqueue("t", {}, { queue = "lost" }))
        redis(env, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    end
    equal(":5", redis(env, "LLEN", "reeve:{lost}:pending"))
end

-- The proxy before the server passes requests on and swallows some answers.
function cases.lost_answers(env)
    local client = client_of(env, { attempts = 20, timeout = 20 })
    for i = 1, 400 do
        local info = assert(client:enqueue("t", { n = i }, { queue = "answers" }))
        equal("pending", info.state)
    end
    equal(":400", redis({ url = env.direct }, "LLEN", "reeve:{answers}:pending"))
end

function cases.aborted_request_leaves_clean_pool(env)
    local client = client_of(env)
    local thread = ngx.thread.spawn(function()
        client:enqueue("t", {}, { queue = "abort" })
    end)
    ngx.thread.kill(thread) -- in the middle: it waits for the answer
    for i = 1, 5 do
        equal("k" .. i, assert(client:enqueue("t", {}, {
            queue = "abort", id = "k" .. i })).id)
    end
end

function cases.unix_socket(env)
    assert(client_of(env):enqueue("t", {}))
end

function cases.wrong_type_of_key(env)
    redis(env, "SET", "reeve:{wrong}:tasks", "x")
    fails("server", "WRONGTYPE", client_of(env):enqueue("t", {}, { queue = "wrong" }))
end

-- The library of another version than the Lua files.
function cases.version_skew()
    local loaded = package.loaded["reeve.core"]
    local config = package.loaded["resty.reeve.config"]
    package.loaded["reeve.core"] = { ABI = 999, VERSION = "9.9.9" }
    package.loaded["resty.reeve.config"] = nil
    local good, err = pcall(require, "resty.reeve.config")
    package.loaded["reeve.core"] = loaded
    package.loaded["resty.reeve.config"] = config
    equal(false, good)
    assert(err:find("restart nginx", 1, true), err)
    assert(err:find("9.9.9", 1, true), err)
end

return cases
