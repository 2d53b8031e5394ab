-- The options of resty.reeve and resty.reeve.worker, checked once: the URL in its
-- parts, time-outs in milliseconds, the name of the connection pool. Makes sure
-- that these files and the C module belong together. Does no I/O.

local ABI = 3 -- counted up together with REEVE_LUA_ABI in glue.h

local loaded, core = pcall(require, "reeve.core")
if not loaded then
    error("resty.reeve needs the C module reeve.core, which cannot be loaded: "
        .. tostring(core), 0)
end
if core.ABI ~= ABI then
    error(string.format("resty.reeve: the Lua files speak interface %d and the "
        .. "loaded reeve.core speaks %s (version %s): restart nginx, for a "
        .. "reload keeps the library that the master process has loaded",
        ABI, tostring(core.ABI), tostring(core.VERSION)), 0)
end

local md5 = ngx.md5
local format = string.format

local _M = { core = core }

-- name = { type, default, least, most }; an "integer" is a number without a
-- fraction, spans are in ms here, and as everywhere in Lua (seconds, or text like
-- "90s") where they are given
local CLIENT = {
    url = { "string" },
    prefix = { "string", "reeve" },
    timeout = { "span", 5000, 10, 3600000 },
    connect_timeout = { "span", nil, 10, 3600000 },
    pool_size = { "integer", 100, 1, 65535 },
    idle_timeout = { "span", 60000, 1, 86400000 },
    backlog = { "integer", nil, 0, 65535 },
    attempts = { "integer", 3, 1, 100 },
}

local function usage(...)
    return nil, format(...), "usage"
end

local function known(list)
    local names = {}
    for name in pairs(list) do
        names[#names + 1] = name
    end
    table.sort(names)
    return table.concat(names, ", ")
end

-- One value by its rule; nil, message when it is not good.
local function read_value(name, value, rule)
    local kind, least, most = rule[1], rule[3], rule[4]
    local whole = kind == "integer"
    local wanted = whole and "number" or kind
    if kind == "span" then
        local err
        value, err = core.span_ms(value, name)
        if not value then
            return nil, err
        end
    elseif type(value) ~= wanted then
        return nil, format("%s must be a %s, not a %s", name, wanted, type(value))
    end
    if least and not (value >= least and value <= most)
        or whole and value % 1 ~= 0 then
        return nil, format("%s is %s, not %s%s to %s%s", name, tostring(value),
            whole and "an integer from " or "", tostring(least), tostring(most),
            kind == "span" and " ms" or "")
    end
    return value
end

-- Copies options into a new table by a list like CLIENT; what is not in it, of
-- another type or out of bounds is an error.
function _M.read(options, list, what)
    local read = {}
    if type(options) ~= "table" then
        error(what .. ": options must be a table, not " .. type(options), 3)
    end
    for name, value in pairs(options) do
        local rule = list[name]
        if not rule then
            return usage("%s has no option '%s'; known are %s", what,
                tostring(name), known(list))
        end
        local good, err = read_value(name, value, rule)
        if good == nil then
            return usage("%s: %s", what, err)
        end
        read[name] = good
    end
    for name, rule in pairs(list) do
        if read[name] == nil then
            read[name] = rule[2]
        end
    end
    return read
end

-- Where connections are the same: server, user, password, database and TLS.
local function pool_name(url)
    local secret = md5(table.concat({ url.user or "", "\0", url.password or "",
        "\0", tostring(url.tls_server_name), "\0", tostring(url.tls_verify) }))
    return format("reeve %s %s/%d %s %s", url.tls and "tls" or "tcp", url.label,
        url.database, url.user or "default", secret)
end

local function check_url(url)
    if url.tls_ca then
        return nil, "redis url: nginx takes certificate authorities from its "
            .. "directive lua_ssl_trusted_certificate, not from tls_ca",
            "unsupported"
    end
    if url.tls_cert then
        return nil, "redis url: client certificates (tls_cert, tls_key) are not "
            .. "supported in nginx", "unsupported"
    end
    return true
end

local function lists_joined(more)
    local list = {}
    for name, rule in pairs(CLIENT) do
        list[name] = rule
    end
    for name, rule in pairs(more or {}) do
        list[name] = rule
    end
    return list
end

-- Options to a config; `more` names options beside the client's.
function _M.new(options, more, what)
    local given, err, code = _M.read(options, lists_joined(more), what)
    if not given then
        return nil, err, code
    end
    if not given.url then
        return usage("%s: url is missing, such as redis://127.0.0.1:6379/0", what)
    end
    local url
    url, err, code = core.redis_url(given.url)
    if not url then
        return nil, err, code
    end
    local good
    good, err, code = check_url(url)
    if not good then
        return nil, err, code
    end
    local timeout_ms = given.timeout
    local connect_ms = given.connect_timeout or url.connect_timeout_ms
    local name = pool_name(url)
    return {
        given = given,
        url = url,
        label = url.label,
        address = url.path and "unix:" .. url.path or url.host,
        port = not url.path and url.port or nil,
        tls_name = url.tls_server_name or url.host,
        timeout_ms = timeout_ms,
        connect_ms = math.min(connect_ms, timeout_ms),
        idle_ms = given.idle_timeout,
        attempts = given.attempts,
        pool_size = given.pool_size,
        pool = {
            pool = name,
            pool_size = given.pool_size,
            backlog = given.backlog,
        },
        no_pool = { pool = name .. " alone" }, -- nothing is ever put there
        protocol = {
            database = url.database,
            prefix = given.prefix,
            user = url.user,
            password = url.password,
            client_name = url.client_name,
            label = url.label,
            allow_eviction = url.allow_eviction,
        },
        free = {}, -- protocol objects that nobody uses
    }
end

return _M
