-- The locations of nginx_bench.py. The floor sends the same bytes each time and
-- does not look at the answer; lua-resty-redis sends the same commands.
local core = require "reeve.core"
local reeve = require "resty.reeve"

local _M = {}

local PAYLOAD = {
    to = "somebody@example.org",
    subject = "Your order has been sent",
    order = 48151623,
    lines = { "one thing", "another thing", "a third thing" },
    text = string.rep("x", 80),
}
local OPTIONS = { queue = "bench" }
local RAW_OPTIONS = { queue = "bench", raw = true }
local POOL = { pool = "floor", pool_size = 100 }

local url, parts, client, bytes, many_bytes, commands, items, raw, raw_items
local one_batch, many_batch

-- What is sent for a batch once the server's directory has its queue: the second
-- time, the first one answered as Redis does.
local function output_of(batch)
    local protocol = assert(core.protocol {})
    assert(protocol:enqueue(batch))
    protocol:output()
    assert(protocol:feed("*0\r\n:1\r\n"))
    assert(protocol:next())
    assert(protocol:enqueue(batch))
    return protocol:output()
end

-- The words of each command in bytes.
local function words_of(text)
    local found, at = {}, 1
    while at <= #text do
        local count, next_at = text:match("^%*(%d+)\r\n()", at)
        local words = {}
        at = next_at
        for i = 1, tonumber(count) do
            local size, from = text:match("^%$(%d+)\r\n()", at)
            words[i] = text:sub(from, from + size - 1)
            at = from + size + 2
        end
        found[#found + 1] = words
    end
    return found
end

function _M.init(given)
    url = given
    parts = assert(core.redis_url(url))
    client = assert(reeve.new { url = url })
    raw = assert(core.json_encode(PAYLOAD))
    items, raw_items = {}, {}
    for i = 1, 20 do
        items[i] = { "email:send", PAYLOAD, OPTIONS }
        raw_items[i] = { "email:send", raw, RAW_OPTIONS }
    end
    one_batch = assert(core.task("email:send", PAYLOAD, OPTIONS))
    many_batch = assert(core.batch(items))
    bytes, many_bytes = output_of(one_batch), output_of(many_batch)
    commands = words_of(bytes)
end

local function answer(good)
    if not good then
        ngx.status = 500
    end
    ngx.print("done")
end

-- A function that gives text with new ids in place of those of batch; the server
-- stores each, as it does for those who do not send the same again.
local function renewed(text, batch)
    local pieces, slots = {}, {}
    local at = 1
    for _, id in ipairs(batch:ids()) do
        local from, to = text:find(id, at, true)
        pieces[#pieces + 1] = text:sub(at, from - 1)
        pieces[#pieces + 1] = id
        slots[#slots + 1] = #pieces
        at = to + 1
    end
    pieces[#pieces + 1] = text:sub(at)
    local number = 0
    return function()
        for i = 1, #slots do
            number = number + 1
            pieces[slots[i]] = string.format("id-%033d", number)
        end
        return pieces
    end
end

local function floor_of(text)
    return function()
        local sock = ngx.socket.tcp()
        sock:settimeouts(5000, 5000, 5000)
        assert(sock:connect(parts.host, parts.port, POOL))
        assert(sock:send(type(text) == "string" and text or text()))
        local good = sock:receiveany(65536)
        sock:setkeepalive(60000, 100)
        answer(good)
    end
end

function _M.none()
    ngx.print("done")
end

function _M.floor()
    _M.floor = floor_of(bytes)
    _M.floor()
end

function _M.floor20()
    _M.floor20 = floor_of(many_bytes)
    _M.floor20()
end

function _M.stored()
    _M.stored = floor_of(renewed(bytes, one_batch))
    _M.stored()
end

function _M.stored20()
    _M.stored20 = floor_of(renewed(many_bytes, many_batch))
    _M.stored20()
end

function _M.reeve()
    answer(client:enqueue("email:send", PAYLOAD, OPTIONS))
end

function _M.reeve20()
    answer(client:enqueue_many(items))
end

function _M.raw()
    answer(client:enqueue("email:send", raw, RAW_OPTIONS))
end

function _M.raw20()
    answer(client:enqueue_many(raw_items))
end

-- As a user of lua-resty-redis would write it, with the arguments at hand.
function _M.resty()
    local found, redis = pcall(require, "resty.redis")
    if not found then
        redis = require "nginx.redis"
    end
    _M.resty = function()
        local red = redis:new()
        red:set_timeout(5000)
        assert(red:connect(parts.host, parts.port))
        local results = red:evalsha(unpack(commands[1], 2))
        red:set_keepalive(60000, 100)
        answer(results)
    end
    _M.resty()
end

return _M
