-- Runs a busted spec inside nginx, in the phase that calls it, where it may use
-- cosockets. busted's own runner ends the process with os.exit, so its parts are
-- put together here instead. tests/support/busted_nginx.py asks for it.

local core = require "reeve.core"

local function read_file(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

-- Runs the spec with report.lua as output: its text; the counts go to a file.
local function execute(args)
    local lines = {}
    local busted = require "busted.core" ()
    require "busted" (busted)
    require "busted.modules.output_handler_loader" () (busted, args.output, {
        defaultOutput = "plainTerminal",
        language = "en",
        arguments = { args.report },
        print = function(text)
            lines[#lines + 1] = tostring(text) .. "\n"
        end,
    })
    require "busted.modules.test_file_loader" (busted, { "lua" })(
        { args.spec }, {}, { excludes = {} })
    require "busted.execute" (busted) (1, {})
    busted.publish({ "exit" })
    return table.concat(lines)
end

-- Calls it in a timer's phase and waits for its end: as pcall.
local function in_timer(what, args)
    local semaphore = assert(require "ngx.semaphore".new())
    local good, text = false, "the timer did not run"
    assert(ngx.timer.at(0, function()
        good, text = xpcall(what, debug.traceback, args)
        semaphore:post()
    end))
    assert(semaphore:wait(args.timeout))
    return good, text
end

-- The query names the spec, busted's output and its file, the phase and a file
-- that says which servers there are; specs find that as the module "given".
return function()
    local args = ngx.req.get_uri_args()
    args.timeout = tonumber(args.timeout)
    package.loaded.given = assert(core.json_decode(read_file(args.given)))
    local run = args.phase == "timer" and in_timer or function(what, ...)
        return xpcall(what, debug.traceback, ...)
    end
    local good, text = run(execute, args)
    ngx.status = good and 200 or 500
    ngx.print(text)
end
