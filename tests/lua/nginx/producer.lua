-- One client for each URL and nginx worker, as applications keep theirs.
local reeve = require "resty.reeve"

local clients = {}

return function(url)
    local client = clients[url]
    if not client then
        client = assert(reeve.new { url = url, timeout = 10 })
        clients[url] = client
    end
    return client
end
