-- Waits at the doorbell of all queues while there is nothing to do: a blocking
-- pop on a connection of its own. It ends by itself within a second; then the
-- queues are looked at, so that a ring lost with somebody delays nothing longer.

local config_of = require "resty.reeve.config"
local conn_of = require "resty.reeve.conn"

local reconnect_ms = config_of.core.reconnect_ms

local WAIT_MS = 1000

local _M = {}

local function wait(state, conn)
    local by = conn_of.now() + WAIT_MS / 1000 + state.config.timeout_ms / 1000
    conn:set_by(by)
    state.bell_out = true
    local result, err, code, good = conn:call(
        conn.protocol:wait(state.names, WAIT_MS))
    state.bell_out = false
    if not result then
        if good then
            state:tell("the doorbell", err, code)
        end
        return nil
    end
    if result.rung then
        state.rung = result.rung
        state.picker:wake(result.rung)
    else
        for i = 1, #state.names do
            state.picker:wake(i)
        end
    end
    state:wake("main_wake")
    return true
end

function _M.main(state)
    local failures = 0
    while not state:must_close() do
        if not state.idle then
            state:wait("bell_wake", 1)
        elseif not state.bell_conn then
            local by = conn_of.now() + state.config.timeout_ms / 1000
            local conn = conn_of.open(state.config, by, true)
            if conn then
                state.bell_conn = conn
                state.wear = state.wear + 1
            else
                failures = failures + 1
                ngx.sleep(reconnect_ms(failures) / 1000)
            end
        elseif wait(state, state.bell_conn) then
            failures = 0
        else
            state.bell_conn:close()
            state.bell_conn = nil
            failures = failures + 1
            ngx.sleep(reconnect_ms(failures) / 1000)
        end
    end
end

return _M
