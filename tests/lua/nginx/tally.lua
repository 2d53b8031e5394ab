-- Counts runs in Redis, for tests in which nginx itself does not survive.
local core = require "reeve.core"

local _M = {}

-- HINCRBY on a pooled connection of its own.
function _M.count(url, hash, field)
    local parts = core.redis_url(url)
    local sock = ngx.socket.tcp()
    sock:settimeout(5000)
    assert(sock:connect(parts.host, parts.port))
    assert(sock:send("*4\r\n$7\r\nHINCRBY\r\n$" .. #hash .. "\r\n" .. hash .. "\r\n$"
        .. #field .. "\r\n" .. field .. "\r\n$1\r\n1\r\n"))
    local line = assert(sock:receive("*l"))
    sock:setkeepalive(60000, 100)
    return tonumber(line:sub(2))
end

return _M
