-- The client for OpenResty: enqueues over cosockets, with connections kept alive
-- between requests. See docs/openresty.md.
--
--     local client = require("resty.reeve").new { url = "redis://127.0.0.1" }
--     local info, err, code = client:enqueue("email:send", { to = "a@b.c" })

local config_of = require "resty.reeve.config"
local conn_of = require "resty.reeve.conn"

local core = config_of.core
local new_task, new_batch = core.task, core.batch
local reconnect_ms = core.reconnect_ms
local take_protocol, give_protocol = conn_of.take_protocol, conn_of.give_protocol
local connect, greet, fail = conn_of.connect, conn_of.greet, conn_of.fail
local now = ngx.now
local sleep = ngx.sleep
local type, error = type, error

-- Tasks of one operation; more are several operations of one round trip.
local BATCH_COUNT = 1000
local READ_BYTES = 65536

local _M = {
    VERSION = core.VERSION,
    null = core.null,
    array = core.array,
    empty_array_mt = core.empty_array_mt,
}
local mt = { __index = _M }

-- new{ url, prefix, timeout, … }: a client; does no I/O. Call it once for each
-- nginx worker, not for each request, and keep what it gives.
function _M.new(options)
    local config, err, code = config_of.new(options, nil, "resty.reeve")
    if not config then
        return nil, err, code
    end
    return setmetatable({ config = config }, mt)
end

-- Submits all batches; their operations as a list. A first hello, if the server's
-- time is needed and not known.
local function submit(conn, batches, resent)
    local protocol = conn.protocol
    local ops = {}
    for i = 1, #batches do
        local batch = batches[i]
        if batch:needs_clock() and protocol:now() == 0 then
            local good, err, code = conn:call(protocol:hello())
            if not good then
                return nil, err, code
            end
        end
        local op, err, code = protocol:enqueue(batch, resent)
        if not op then
            return nil, err, code
        end
        ops[i] = op
    end
    return ops
end

-- Whether the same call may succeed in a moment.
local function is_passing(code)
    return code == "network" or code == "busy"
end

-- One try: results by operation and the operations; or nil, message, code,
-- whether the tasks may have arrived.
local function try(config, batches, resent, by)
    local conn, err, code = conn_of.open(config, by)
    if not conn then
        return nil, err, code, false
    end
    local ops
    ops, err, code = submit(conn, batches, resent)
    if not ops then
        conn:close() -- some may have been submitted, none was sent
        return nil, err, code, false
    end
    local results
    results, err, code = conn:finish()
    if not results then
        conn:close()
        return nil, err, code, true
    end
    conn:keep()
    for i = 1, #ops do
        local result = results[ops[i]]
        if is_passing(result.code) then
            return nil, result.message, result.code, true
        end
    end
    return results, ops
end

-- Sends batches, again with the same ids when a connection broke, until it is
-- done, the attempts are used up or the time is over. first is 2 when one was
-- made before, resent when the tasks may have arrived.
local function send(config, batches, by, first, resent)
    for attempt = first, config.attempts do
        local results, ops, code, arrived = try(config, batches, resent, by)
        if results then
            return results, ops
        end
        resent = resent or arrived
        local pause = reconnect_ms(attempt) / 1000
        if not is_passing(code) or attempt == config.attempts
            or conn_of.now() + pause >= by then
            return nil, ops, code
        end
        sleep(pause)
    end
end

-- The infos of an operation that was answered; the protocol object gives ids
-- alone when each task is pending, new, and stored by its id.
local function items_of(result)
    local ids = result.ids
    if not ids then
        return result.items
    end
    for i = 1, #ids do
        ids[i] = { id = ids[i], state = "pending", existing = false }
    end
    return ids
end

-- One task over the connection of a batch.
local function send_one(config, by, first, resent, ...)
    local batch, err, code = new_task(...)
    if not batch then
        return nil, err, code
    end
    local results, ops
    results, ops, code = send(config, { batch }, by, first, resent)
    if not results then
        return nil, ops, code
    end
    local result = results[ops[1]]
    if result.code then
        return nil, result.message, result.code
    end
    local info = items_of(result)[1]
    if info.code then
        return nil, info.message, info.code
    end
    return info
end

-- Sends out and waits for the answer to its one task, which is stored by this id:
-- the info; nil, message, code, whether it was answered at all.
local function talk(config, sock, protocol, out, id)
    local info, err, code, answered
    repeat
        local good
        if out then
            good, err = sock:send(out)
            if not good then
                return fail(config, err)
            end
        end
        good, err = sock:receiveany(READ_BYTES)
        if not good then
            return fail(config, err)
        end
        info, err, code, answered = protocol:finish_task(good)
        out = info == false and protocol:output()
    until info ~= false
    if info == true then
        return { id = id, state = "pending", existing = false }
    end
    return info, err, code, answered
end

-- talk, and then the socket and the protocol object go where they belong. The
-- first value says whether that was the answer.
local function exchange_one(config, sock, protocol, out, id)
    local info, err, code, answered = talk(config, sock, protocol, out, id)
    local done = info or (answered and not is_passing(code))
    if done then
        sock:setkeepalive(config.idle_ms, config.pool_size)
    else
        sock:close()
        protocol:reset()
    end
    give_protocol(config, protocol)
    return done, info, err, code
end

-- Connects for a task that is ready to be sent as out: sock and out; or nil,
-- message, code. A new connection has to say hello first, so the task is
-- submitted once more.
local function connect_one(config, by, protocol, out, ...)
    local sock, reused, code = connect(config, by)
    if sock and reused then
        return sock, out
    end
    protocol:reset()
    if not sock then
        give_protocol(config, protocol)
        return nil, reused, code
    end
    local conn, err
    conn, err, code = greet(config, sock, protocol)
    if not conn then
        return nil, err, code
    end
    return sock, (protocol:submit_task(...))
end

-- enqueue(type, payload, options): the task's info { id, state, due_at,
-- existing }, or nil, message, code. It is safe to call again with the same
-- options.id or options.idempotency_key.
--
-- The straight way is a pooled connection that works: no table is made for it
-- but the info. Whatever else happens is left to send_one.
function _M:enqueue(task_type, payload, options)
    local config = self.config
    local protocol, err, code = take_protocol(config)
    if not protocol then
        return nil, err, code
    end
    local by = now() + config.timeout_ms / 1000
    local out, id
    out, id, code = protocol:submit_task(task_type, payload, options)
    if not out then
        give_protocol(config, protocol)
        if out == nil then
            return nil, id, code
        end
        return send_one(config, by, 1, false, task_type, payload, options)
    end
    local sock, done, info
    sock, out, code = connect_one(config, by, protocol, out, task_type, payload,
        options, id)
    if sock then
        done, info, err, code = exchange_one(config, sock, protocol, out, id)
    else
        err = out
    end
    if done or not is_passing(code) or config.attempts == 1
        or conn_of.now() >= by then
        return info, err, code
    end
    return send_one(config, by, 2, sock ~= nil, task_type, payload, options, id)
end

local function prepare(items)
    local batches = {}
    for first = 1, #items, BATCH_COUNT do
        local count = math.min(BATCH_COUNT, #items - first + 1)
        local batch, err, code = new_batch(items, first, count)
        if not batch then
            return nil, err, code
        end
        batches[#batches + 1] = batch
    end
    return batches
end

-- What is known when no answer came: each task's id and why.
local function unanswered(batches, message, code)
    local infos = {}
    for i = 1, #batches do
        for _, id in ipairs(batches[i]:ids()) do
            infos[#infos + 1] = { id = id, message = message, code = code }
        end
    end
    return infos
end

-- Infos of one operation behind infos; notes the first failure.
local function collect(infos, result, batch, failure)
    local items = result.code
        and unanswered({ batch }, result.message, result.code)
        or items_of(result)
    for i = 1, #items do
        local info = items[i]
        infos[#infos + 1] = info
        if info.code and not failure.code then
            failure.message, failure.code = info.message, info.code
        end
    end
end

-- enqueue_many{ { type, payload, options }, … } in one round trip: a list of
-- infos in the same order; when some failed, each of those has code and message,
-- and the first failure's message and code are returned besides. nil, message,
-- code when nothing was sent.
function _M:enqueue_many(items)
    if type(items) ~= "table" then
        error("items must be a list, not " .. type(items), 2)
    end
    if #items == 0 then
        return {}
    end
    local batches, err, code = prepare(items)
    if not batches then
        return nil, err, code
    end
    local results, ops
    results, ops, code = send(self.config, batches,
        now() + self.config.timeout_ms / 1000, 1, false)
    if not results then
        if code ~= "network" and code ~= "timeout" then
            return nil, ops, code
        end
        return unanswered(batches, ops, code), ops, code
    end
    local only = #ops == 1 and results[ops[1]]
    if only and not only.code and not only.failed then
        return items_of(only)
    end
    local infos, failure = {}, {}
    for i = 1, #ops do
        collect(infos, results[ops[i]], batches[i], failure)
    end
    return infos, failure.message, failure.code
end

return _M
