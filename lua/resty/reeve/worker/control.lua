-- What an operator tells the worker while it runs: quiet and resume, and that
-- weights of queues have changed. Listens on a connection of its own; a light
-- thread that its parent kills.

local config_of = require "resty.reeve.config"
local conn_of = require "resty.reeve.conn"

local reconnect_ms = config_of.core.reconnect_ms
local log, WARN = ngx.log, ngx.WARN

local QUIET_AFTER_MS = 30000 -- without a message: is the server still there?
local PONG_MS = 5000

local _M = {}

local actions = {
    quiet = function(state)
        state.quiet = true
    end,
    resume = function(state)
        state.quiet = false
        state:wake("main_wake")
    end,
    weights = function(state)
        state.role_at.weights = 0
        state:wake("tick_wake")
    end,
}

-- Acts on a reply of a subscribed connection; others confirm something.
local function take(state, reply)
    local act = reply[1] == "message" and actions[reply[3]]
    if act then
        act(state)
    end
end

-- Listens until the connection breaks: why, code, whether anything was heard.
local function listen(state, conn)
    local prefix = state.config.given.prefix
    conn:set_by(conn_of.now() + state.config.timeout_ms / 1000)
    local good, err, code = conn:say("SUBSCRIBE", prefix .. ":control",
        prefix .. ":control:" .. state.id)
    local asked, heard = false, false
    while good do
        local reply
        reply, err, code = conn:reply()
        if reply then
            asked, heard = false, true
            take(state, reply)
            conn.sock:settimeouts(PONG_MS, PONG_MS, QUIET_AFTER_MS)
        elseif code == "timeout" and not asked then
            asked = true
            conn.sock:settimeouts(PONG_MS, PONG_MS, PONG_MS)
            good, err, code = conn:say("PING")
        else
            good = nil
        end
    end
    return err, code, heard
end

function _M.main(state)
    local failures = 0
    while not state:must_close() do
        local by = conn_of.now() + state.config.timeout_ms / 1000
        local conn, err, code = conn_of.open(state.config, by, true)
        local heard = false
        if conn then
            state.control_conn = conn
            state.wear = state.wear + 1
            actions.weights(state) -- what was told meanwhile was not heard
            err, code, heard = listen(state, conn)
            state.control_conn = nil
            conn:close()
        end
        failures = heard and 1 or failures % 100 + 1
        if failures == 1 then
            log(WARN, "reeve: worker ", state.id, ": listening for control: ",
                err, " (", code, "), trying again")
        end
        ngx.sleep(reconnect_ms(failures) / 1000)
    end
end

return _M
