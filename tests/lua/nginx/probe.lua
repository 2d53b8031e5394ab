-- What the specs of resty.reeve share: clients, what failures look like, a look
-- into the server.

local reeve = require "resty.reeve"
local core = require "reeve.core"
local given = require "given"
local assert = require "luassert"

local _M = {}

function _M.client_of(url, more)
    local options = { url = url, timeout = 2 }
    for name, value in pairs(more or {}) do
        options[name] = value
    end
    return assert(reeve.new(options))
end

function _M.has(part, text)
    assert.is_string(text)
    assert.is_truthy(text:find(part, 1, true), "'" .. text .. "' has no '" .. part .. "'")
end

-- nil, a message with that part, that code
function _M.fails(code, part, value, message, got_code)
    assert.is_nil(value)
    _M.has(part, message)
    assert.equal(code, got_code)
end

-- One command to the server over a connection of its own; the reply's line or
-- bulk string.
function _M.redis(...)
    local url = assert(core.redis_url(given.url))
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

-- Connections that the server has accepted; the one that asks is one more.
function _M.accepted()
    return tonumber(_M.redis("INFO", "stats"):match("total_connections_received:(%d+)"))
end

-- How many connections the server has whose line in CLIENT LIST has a part.
function _M.connected(part)
    local count = 0
    for line in _M.redis("CLIENT", "LIST"):gmatch("[^\n]+") do
        count = count + (line:find(part, 1, true) and 1 or 0)
    end
    return count
end

-- A stored task: its envelope and its payload's bytes.
function _M.stored(queue, id)
    local text = _M.redis("HGET", "reeve:{" .. queue .. "}:tasks", id)
    local line, body = text:match("^(.-)\n(.*)$")
    return assert(core.json_decode(line)), body
end

-- Runs a function in so many light threads and waits for all.
function _M.in_threads(count, what)
    local threads = {}
    for i = 1, count do
        threads[i] = ngx.thread.spawn(what, i)
    end
    for _, thread in ipairs(threads) do
        assert(ngx.thread.wait(thread))
    end
end

return _M
