-- One connection to Redis: a cosocket and the protocol object that says what to
-- send and reads what comes. Never blocks the process: whoever calls these
-- functions yields. Knows nothing of tasks.

local config_of = require "resty.reeve.config"

local new_protocol = config_of.core.protocol
local tcp = ngx.socket.tcp
local now, update_time = ngx.now, ngx.update_time
local setmetatable, pcall, tostring = setmetatable, pcall, tostring

local READ_BYTES = 65536
-- After an error with one of these a new connection is wanted: it says who we
-- are again and looks what the server is.
local USELESS = { auth = true, unsafe = true, ["no-memory"] = true }

local _M = {}
local mt = { __index = _M }

-- nil, message, code of a cosocket's error
local function fail(config, err)
    local code = "network"
    if err == "timeout" then
        code = "timeout"
    elseif err and err:find("certificate", 1, true) then
        code = "tls"
    end
    return nil, "redis at " .. config.label .. ": " .. tostring(err), code
end

_M.fail = fail

-- A protocol object that nobody uses; nil, message, code without memory.
function _M.take_protocol(config)
    local free = config.free
    local count = #free
    if count > 0 then
        local protocol = free[count]
        free[count] = nil
        return protocol
    end
    return new_protocol(config.protocol)
end

-- Gives it back; nothing of it may be under way.
function _M.give_protocol(config, protocol)
    local free = config.free
    local count = #free
    if count < config.pool_size then
        free[count + 1] = protocol
    end
end

-- Milliseconds until a point of ngx.now(), at least 1.
local function left_ms(by)
    local left = (by - now()) * 1000
    return left > 1 and left or 1
end

local function handshake(self)
    local config, sock = self.config, self.sock
    local url = config.url
    if url.tls then
        local good, err = sock:sslhandshake(false, config.tls_name,
            url.tls_verify)
        if not good then
            local _, message = fail(config, err)
            return nil, message, err == "timeout" and "timeout" or "tls"
        end
        -- When the handshake ends without a wait, lua-nginx-module 0.10.23 says
        -- that it went well even if the certificate did not: it only closes.
        if url.tls_verify and not sock:getreusedtimes() then
            return nil, "redis at " .. config.label .. ": its certificate was "
                .. "refused", "tls"
        end
    end
    return self:call(self.protocol:hello())
end

-- A connected socket and whether it is from the pool: Redis knows us there.
function _M.connect(config, by, alone)
    local allowed, sock = pcall(tcp)
    if not allowed then
        return nil, "there are no cosockets in this phase of nginx: "
            .. tostring(sock), "usage"
    end
    local read_ms = left_ms(by)
    local connect_ms = config.connect_ms
    sock:settimeouts(connect_ms < read_ms and connect_ms or read_ms, read_ms,
        read_ms)
    local good, err
    local pool = alone and config.no_pool or config.pool
    if config.port then
        good, err = sock:connect(config.address, config.port, pool)
    else
        good, err = sock:connect(config.address, pool)
    end
    if not good then
        return fail(config, err)
    end
    return sock, sock:getreusedtimes() > 0
end

-- Makes a connection of a socket and a protocol object; a new one says hello.
function _M.greet(config, sock, protocol, reused)
    local self = setmetatable({
        config = config,
        sock = sock,
        protocol = protocol,
    }, mt)
    if reused then
        return self
    end
    local good, message, code = handshake(self)
    if not good then
        self:close()
        return nil, message, code
    end
    return self
end

-- A connection whose Redis knows us: from the pool, or a new one. by is the
-- point of ngx.now() at which everything must have ended. alone: not from the
-- pool and not back into it.
function _M.open(config, by, alone)
    local sock, reused, code = _M.connect(config, by, alone)
    if not sock then
        return nil, reused, code
    end
    local protocol, message
    protocol, message, code = _M.take_protocol(config)
    if not protocol then
        sock:close()
        return nil, message, code
    end
    return _M.greet(config, sock, protocol, reused)
end

-- Sends what was submitted and waits until everything is answered: a table of
-- results by operation, or nil, message, code and the connection is of no use.
function _M:finish()
    local sock, protocol = self.sock, self.protocol
    local results = {}
    repeat
        local out = protocol:output()
        if out then
            local sent, err = sock:send(out)
            if not sent then
                return fail(self.config, err)
            end
        end
        local bytes, err = sock:receiveany(READ_BYTES)
        if not bytes then
            return fail(self.config, err)
        end
        local good, message, code = protocol:feed(bytes)
        if not good then
            return nil, message, code
        end
        repeat
            local result
            result, message, code = protocol:next()
            if result then
                results[result.op] = result
            elseif code then
                return nil, message, code
            end
        until not result
    until protocol:pending() == 0
    return results
end

-- Whether an error with this code concerns what was asked alone.
function _M.is_refusal(code)
    return not USELESS[code]
end

-- Finishes one operation: its result; nil, message, code when it was not
-- submitted, failed as a whole, or the connection broke. The fourth value is
-- true when the connection is still good.
function _M:call(op, message, code)
    if not op then
        return nil, message, code, _M.is_refusal(code)
    end
    local results
    results, message, code = self:finish()
    if not results then
        return nil, message, code
    end
    local result = results[op]
    if result.code then
        return nil, result.message, result.code, _M.is_refusal(result.code)
    end
    return result
end

-- ---- single commands, where the protocol object has no operation --------------

-- Sends one command; true, or nil, message, code.
function _M:say(...)
    local out = { "*" .. select("#", ...) .. "\r\n" }
    for i = 1, select("#", ...) do
        local word = select(i, ...)
        out[i + 1] = "$" .. #word .. "\r\n" .. word .. "\r\n"
    end
    local sent, err = self.sock:send(out)
    if not sent then
        return fail(self.config, err)
    end
    return true
end

local function read_reply(self, depth)
    local sock = self.sock
    local line, err = sock:receive("*l")
    if not line then
        return fail(self.config, err)
    end
    local kind, rest = line:sub(1, 1), line:sub(2)
    local count = tonumber(rest)
    if kind == "+" or kind == ":" then
        return rest
    elseif kind == "-" then
        return nil, "redis at " .. self.config.label .. ": " .. rest, "server",
            true
    elseif kind == "$" and count == -1 then
        return false
    elseif kind == "$" and count then
        local text
        text, err = sock:receive(count + 2)
        if not text then
            return fail(self.config, err)
        end
        return text:sub(1, count)
    elseif kind ~= "*" or not count or depth > 1 then
        return nil, "redis at " .. self.config.label .. " answers in an unknown "
            .. "way: " .. line, "network"
    end
    local list = {}
    for i = 1, count do
        local value, code
        value, err, code = read_reply(self, depth + 1)
        if value == nil then
            return nil, err, code
        end
        list[i] = value
    end
    return list
end

-- The next reply: text, false for none, or a list; nil, message, code, and true
-- when the connection is still good.
function _M:reply()
    return read_reply(self, 0)
end

-- One command and its reply, as above; nothing else may be under way.
function _M:command(...)
    local good, err, code = self:say(...)
    if not good then
        return nil, err, code
    end
    return self:reply()
end

-- From now on reads and writes end by this point of ngx.now().
function _M:set_by(by)
    local span_ms = left_ms(by)
    self.sock:settimeouts(span_ms, span_ms, span_ms)
end

-- Gives the connection to the pool; everything must have been answered.
function _M:keep()
    local config = self.config
    self.sock:setkeepalive(config.idle_ms, config.pool_size)
    _M.give_protocol(config, self.protocol)
    self.protocol = nil
end

-- Whether everything of ours is answered.
function _M:is_clean()
    return self.protocol:pending() == 0
end

function _M:close()
    local protocol, config = self.protocol, self.config
    self.protocol = nil
    self.sock:close()
    if protocol and protocol:reset() then
        _M.give_protocol(config, protocol)
    end
end

-- ngx.now() after a look at the clock.
function _M.now()
    update_time()
    return now()
end

return _M
