-- What the light threads of one worker share: the tasks that it holds, where
-- verdicts wait to be stored, and the semaphores by which the threads wake each
-- other. All of it in one nginx process; no I/O here.

local semaphore = require "ngx.semaphore"
local config_of = require "resty.reeve.config"

local core = config_of.core
local reconnect_ms = core.reconnect_ms
local exiting = ngx.worker.exiting
local floor = math.floor

local TELL_EVERY = 30 -- seconds, of one trouble that does not end

local _M = {}
local mt = { __index = _M }

function _M.new(config, options)
    local names, weights = options.names, options.weights
    local picker, err, code = core.picker(weights, options.order)
    if not picker then
        return nil, err, code
    end
    local self = {
        config = config,
        options = options,
        id = core.new_id(),
        names = names,
        index_of = {},
        picker = picker,
        weights = weights,
        concurrency = options.concurrency,
        lease_ms = floor(options.lease),
        ready = {}, -- claimed, not started: entries first … last
        first = 1,
        last = 0,
        live = {}, -- every entry without a verdict → true
        live_count = 0,
        outbox = {}, -- queue index → entries with a verdict
        outbox_count = 0,
        under_way = {}, -- queue index → entries that were taken from there
        heir = nil, -- the state that stores instead, when the run has failed
        orphans_due = {}, -- queue index → true: unseen claims there may be
        refusals = {}, -- queue index → its refused turns in a row
        ask_at = {}, -- queue index → ngx.now() from which on it has turns
        offset_ms = 0, -- server's clock less ours
        rung = nil, -- index of a queue whose ring we hold
        closing = false,
        quiet = false, -- an operator wants that nothing is claimed
        closed = false,
        wear = 0, -- connections and killed threads of this timer
        done = 0,
        failed = 0,
        main_wake = semaphore.new(0),
        tick_wake = semaphore.new(0),
        bell_wake = semaphore.new(0),
        ready_wake = semaphore.new(0),
        woken = {},
        tell_at = {}, -- trouble → ngx.now() from which on it is logged again
        role_at = {}, -- role of the ticker → ngx.now() of its next run
        promote_at = {}, -- queue index → ngx.now() of the next promote
    }
    for i = 1, #names do
        self.index_of[names[i]] = i
        self.outbox[i] = {}
        self.refusals[i], self.ask_at[i] = 0, 0
        self.promote_at[i] = 0
    end
    return setmetatable(self, mt)
end

-- Wakes the thread that waits at self[name]; many calls are one.
function _M:wake(name)
    if not self.woken[name] then
        self.woken[name] = true
        self[name]:post(1)
    end
end

function _M:wait(name, seconds)
    self[name]:wait(seconds > 0.001 and seconds or 0.001)
    self.woken[name] = false
end

-- Logs what the server refused, once in a while.
function _M:tell(what, err, code)
    local now = ngx.now()
    if now >= (self.tell_at[what] or 0) then
        self.tell_at[what] = now + TELL_EVERY
        ngx.log(ngx.WARN, "reeve: worker ", self.id, ": ", what,
            " is refused: ", err, " (", code, "), trying again")
    end
end

-- The server refused a turn of this queue: it has none for a while.
function _M:hold_off(queue, err, code)
    self.refusals[queue] = self.refusals[queue] + 1
    self.ask_at[queue] = ngx.now() + reconnect_ms(self.refusals[queue]) / 1000
    self:tell("a turn of queue " .. self.names[queue], err, code)
end

function _M:is_held_off(queue)
    return self.ask_at[queue] > ngx.now()
end

-- The weights of the queues from now on. What is under way was planned by the
-- old ones.
function _M:set_weights(weights)
    local same = true
    for i = 1, #self.names do
        same = same and weights[i] == self.weights[i]
    end
    if same then
        return
    end
    local picker, err = core.picker(weights, self.options.order)
    if not picker then
        return ngx.log(ngx.WARN, "reeve: weights of queues: ", err)
    end
    self.picker, self.weights = picker, weights
    self:wake("main_wake")
end

-- Whether nothing new may begin: nginx wants to leave, or this timer is worn.
function _M:must_close()
    return self.closing or exiting()
end

function _M:server_ms()
    return floor(ngx.now() * 1000 + self.offset_ms)
end

-- Learns the server's clock from a connection that has just been answered.
function _M:note_time(protocol)
    ngx.update_time()
    local server_ms = protocol:now()
    if server_ms > 0 then
        self.offset_ms = server_ms - ngx.now() * 1000
    end
end

-- How many more tasks it may claim.
function _M:free_slots()
    if self.closing or self.quiet then
        return 0
    end
    local free = self.concurrency - self.live_count
    return free > 0 and free or 0
end

function _M:take_in(entry)
    self.live[entry] = true
    self.live_count = self.live_count + 1
    self.last = self.last + 1
    self.ready[self.last] = entry
    self.ready_wake:post(1)
end

-- The next task to start, nil when there is none.
function _M:pop_ready()
    while self.first <= self.last do
        local entry = self.ready[self.first]
        self.ready[self.first] = nil
        self.first = self.first + 1
        if self.live[entry] then
            return entry
        end
    end
end

-- No longer held: settled, or lost to somebody.
function _M:drop(entry)
    if self.live[entry] then
        self.live[entry] = nil
        self.live_count = self.live_count - 1
    end
end

-- The core's verdict on how a run ended; then it waits to be stored.
function _M:settle(entry, kind, fields)
    if not self.live[entry] and not entry.unstarted then
        return -- its lease was lost, or it was timed out
    end
    fields = fields or {}
    fields.now_ms = self:server_ms()
    fields.archive_ms = self.options.archive
    fields.archive_count = self.options.archive_count
    local state, failed = entry.job:settle(kind, self.id, fields)
    self:drop(entry)
    if not state then
        ngx.log(ngx.ERR, "reeve: no verdict on task ", entry.job:id(), ": ",
            failed, "; its lease will bring it back")
        return
    end
    if failed then
        self.failed = self.failed + 1
    elseif kind == "done" then
        self.done = self.done + 1
    end
    local keeper = self
    while keeper.heir do
        keeper = keeper.heir
    end
    local list = keeper.outbox[entry.queue]
    list[#list + 1] = entry
    keeper.outbox_count = keeper.outbox_count + 1
    keeper:wake("main_wake")
    return state
end

-- All verdicts of a queue that wait, which then are under way until they are
-- put back or stored.
function _M:take_outbox(queue)
    local list = self.outbox[queue]
    if #list > 0 then
        self.outbox[queue] = {}
        self.outbox_count = self.outbox_count - #list
        self.under_way[queue] = list
    end
    return list
end

-- Verdicts that may not have been stored go back to the front.
function _M:put_back(queue, entries)
    for i = 1, #entries do
        entries[i].resent = true
    end
    self.under_way[queue] = nil
    local later = self.outbox[queue]
    self.outbox_count = self.outbox_count + #entries
    for i = 1, #later do
        entries[#entries + 1] = later[i]
    end
    self.outbox[queue] = entries
end

-- Takes over from a state of the same queues whose run has ended what it has not
-- stored, and what its handlers come to later.
function _M:inherit(old)
    old:hand_back()
    for queue = 1, #self.names do
        if old.under_way[queue] then
            old:put_back(queue, old.under_way[queue])
        end
        self:put_back(queue, old:take_outbox(queue))
    end
    old.heir = self
end

-- What was not started goes back to the front of its queue.
function _M:hand_back()
    while true do
        local entry = self:pop_ready()
        if not entry then
            return
        end
        self:settle(entry, "requeue")
    end
end

return _M
