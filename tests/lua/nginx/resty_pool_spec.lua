-- The connections of resty.reeve inside nginx: kept, kept apart, lost, refused,
-- and what a call says then. Runs as resty_spec.lua does.

local conn_of = require "resty.reeve.conn"
local given = require "given"
local probe = require "probe"

local client_of, redis, accepted = probe.client_of, probe.redis, probe.accepted
local has, fails, connected = probe.has, probe.fails, probe.connected

before_each(function()
    assert.equal("+OK", redis("FLUSHALL"))
end)

describe("the pool", function()
    it("keeps a connection and its scripts", function()
        local client = client_of(given.url)
        assert(client:enqueue("t"))
        local before = accepted()
        for _ = 1, 50 do
            assert(client:enqueue("t"))
        end
        assert(client_of(given.url):enqueue("t")) -- the same server: the same pool
        for _ = 1, 5 do
            assert.equal(2, #client:enqueue_many { { "t" }, { "t" } })
        end
        assert.equal(before + 1, accepted())
    end)

    it("is another for another database", function()
        local one = client_of("redis://" .. given.server .. "/1")
        local two = client_of("redis://" .. given.server .. "/2")
        for _ = 1, 3 do
            assert(one:enqueue("t", {}, { queue = "pools" }))
            assert(two:enqueue("t", {}, { queue = "pools" }))
        end
        assert.equal(1, connected(" db=1 "))
        assert.equal(1, connected(" db=2 "))
        local keyspace = redis("INFO", "keyspace")
        has("db1:", keyspace)
        has("db2:", keyspace)
        assert.is_nil(keyspace:find("db0:", 1, true))
    end)

    it("is another for another user and password", function()
        redis("ACL", "SETUSER", "alice", "on", ">alice-word", "~*", "&*", "+@all")
        local function url(user)
            return "redis://" .. user .. given.server .. "/3"
        end
        local plain, alice = client_of(url("")), client_of(url("alice:alice-word@"))
        for _ = 1, 3 do
            assert(plain:enqueue("t"))
            assert(alice:enqueue("t"))
        end
        assert.equal(2, connected(" db=3 "))
        assert.equal(1, connected(" user=alice "))
        local mallory = client_of(url("alice:guess@"))
        fails("auth", "", mallory:enqueue("t")) -- not over alice's connection
        local before = accepted()
        assert(alice:enqueue("t"))
        assert(plain:enqueue("t"))
        assert.equal(before + 1, accepted())
    end)

    it("is as large as pool_size and queues as many as backlog", function()
        local client = client_of("redis://" .. given.server .. "/4",
            { pool_size = 1, backlog = 32 })
        local before = accepted()
        probe.in_threads(20, function()
            assert(client:enqueue("t", {}, { queue = "narrow" }))
        end)
        assert.is_true(accepted() - before <= 2)
        assert.equal(1, connected(" db=4 "))
    end)

    it("closes what idles longer than idle_timeout", function()
        local client = client_of("redis://" .. given.server .. "/5", { idle_timeout = "20ms" })
        assert(client:enqueue("t"))
        local by = ngx.now() + 10
        while connected(" db=5 ") > 0 do
            assert.is_true(ngx.now() < by, "it is still open")
            ngx.sleep(0.005)
        end
        assert(client:enqueue("t"))
    end)

    it("is left clean by a thread that is killed", function()
        local client = client_of(given.url)
        local thread = ngx.thread.spawn(function()
            client:enqueue("t", {}, { queue = "abort" })
        end)
        ngx.thread.kill(thread) -- in the middle: it waits for the answer
        for i = 1, 5 do
            local options = { queue = "abort", id = "k" .. i }
            assert.equal("k" .. i, assert(client:enqueue("t", {}, options)).id)
        end
    end)
end)

describe("a server that forgets or hangs up", function()
    local client = client_of(given.url)

    it("gets its scripts again", function()
        assert(client:enqueue("t", {}, { queue = "flush" }))
        assert.equal("+OK", redis("SCRIPT", "FLUSH"))
        local before = accepted()
        assert(client:enqueue("t", {}, { queue = "flush" }))
        assert.equal("+OK", redis("SCRIPT", "FLUSH"))
        assert.is_nil(select(2, client:enqueue_many { { "t", {}, { queue = "flush" } } }))
        assert.equal(before + 2, accepted()) -- over the same connection
        assert.equal(":3", redis("LLEN", "reeve:{flush}:pending"))
    end)

    it("is connected again", function()
        for _ = 1, 5 do
            assert(client:enqueue("t", {}, { queue = "lost" }))
            redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        end
        assert.equal(":5", redis("LLEN", "reeve:{lost}:pending"))
    end)

    it("stores once what it did not answer", function()
        local before = accepted()
        local cut = client_of(given.cutting_url, { attempts = 20, timeout = 20 })
        for i = 1, 400 do
            local info = assert(cut:enqueue("t", { n = i }, { queue = "cut" }))
            assert.equal("pending", info.state)
        end
        assert.is_true(accepted() - before > 5) -- many were cut
        assert.equal(":400", redis("LLEN", "reeve:{cut}:pending"))
        assert.equal(":400", redis("HLEN", "reeve:{cut}:tasks"))
    end)

    it("stores a batch once, too", function()
        local cut = client_of(given.cutting_url, { attempts = 100, timeout = 20 })
        for _ = 1, 40 do
            local items = {}
            for i = 1, 5 do
                items[i] = { "t", {}, { queue = "cuts" } }
            end
            local infos, message = cut:enqueue_many(items)
            assert.is_nil(message)
            assert.equal(5, #infos)
        end
        assert.equal(":200", redis("LLEN", "reeve:{cuts}:pending"))
    end)

    it("is an error with one attempt, and the same id makes sure", function()
        local cut = client_of(given.cutting_url, { attempts = 1 })
        local count, code = 0, nil
        while not code and count < 400 do
            count = count + 1
            code = select(3, cut:enqueue("t", {}, { queue = "single", id = "s" .. count }))
        end
        assert.equal("network", code)
        local options = { queue = "single", id = "s" .. count }
        local info, _, again = client:enqueue("t", {}, options)
        assert.is_true(info ~= nil or again == "exists")
        assert.equal(":" .. count, redis("LLEN", "reeve:{single}:pending"))
    end)
end)

describe("a server that cannot be had", function()
    it("is an error in time", function()
        local client = client_of(given.down_url, { timeout = 1, attempts = 3 })
        local start = conn_of.now()
        fails("network", "refused", client:enqueue("t"))
        local infos, message, code = client:enqueue_many { { "t" }, { "t" } }
        assert.equal("network", code)
        has("refused", message)
        assert.equal(2, #infos)
        for _, info in ipairs(infos) do
            assert.equal("network", info.code)
            assert.equal(36, #info.id)
        end
        assert.is_true(conn_of.now() - start < 4)
    end)

    it("is an error in time when it says nothing", function()
        local client = client_of(given.silent_url, { timeout = 0.3 })
        local start = conn_of.now()
        fails("timeout", "timeout", client:enqueue("t"))
        local took = conn_of.now() - start
        assert.is_true(took > 0.2 and took < 2, took)
    end)

    it("is named without its password", function()
        local url = given.down_url:gsub("//", "//u:hush@")
        local _, message = client_of(url):enqueue("t")
        has(given.down_url:match("127.+"), message)
        assert.is_nil(message:find("hush", 1, true))
    end)
end)

describe("a password", function()
    local function url(secret)
        return "redis://" .. secret .. given.locked .. "/0"
    end
    local right = client_of(url(":" .. given.right_password .. "@"))
    local wrong = client_of(url(":" .. given.wrong_password .. "@"))

    it("is needed", function()
        fails("auth", "", client_of(url("")):enqueue("t"))
        fails("auth", "", client_of(url("")):enqueue("t")) -- not from a pool, either
    end)

    it("has to be right", function()
        fails("auth", "", wrong:enqueue("t"))
        assert(right:enqueue("t"))
        fails("auth", "", wrong:enqueue("t")) -- not over the other's connection
        fails("auth", "", wrong:enqueue_many { { "t" } })
        assert(right:enqueue("t"))
    end)

    it("is in no log", function()
        fails("auth", "", wrong:enqueue("t"))
        ngx.log(ngx.WARN, "the spec looks into this log")
        local file = assert(io.open(given.log, "rb"))
        local log = file:read("*a")
        file:close()
        has("the spec looks into this log", log)
        assert.is_nil(log:find(given.right_password, 1, true))
        assert.is_nil(log:find(given.wrong_password, 1, true))
    end)
end)

describe("a transport", function()
    it("is a unix socket", function()
        assert(client_of(given.unix_url):enqueue("t", {}, { queue = "unix" }))
        assert.equal(":1", redis("LLEN", "reeve:{unix}:pending"))
    end)

    it("is TLS, verified, from the pool too", function()
        local client = client_of(given.tls_url .. "?tls_server_name=localhost")
        assert(client:enqueue("t", { a = 1 }))
        assert(client:enqueue("t", { a = 2 }))
    end)

    it("is no TLS with a certificate for another name", function()
        assert(client_of(given.tls_url .. "?tls_server_name=localhost"):enqueue("t"))
        -- In pools of their own: not over the connection from above.
        fails("tls", "certificate", client_of(given.tls_url):enqueue("t"))
        fails("tls", "certificate",
            client_of(given.tls_url .. "?tls_server_name=other.test"):enqueue("t"))
        assert(client_of(given.tls_url .. "?tls_verify=no"):enqueue("t"))
        fails("tls", "certificate", client_of(given.tls_url):enqueue("t"))
    end)
end)
