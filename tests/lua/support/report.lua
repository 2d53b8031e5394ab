-- busted's output for tests/run.py: failures as text, the counts as JSON in the
-- file that is named by -Xoutput. options.print: for nginx, where there is no
-- standard output.
return function(options)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.base" ()
  local print = options.print or print

  local function tell(kind, list)
    for _, item in ipairs(list) do
      local message = item.message
      if type(message) ~= "string" then message = tostring(message) end
      print(("%s: %s\n%s"):format(kind, item.name or "?", message))
      if item.trace and item.trace.traceback then print(item.trace.traceback) end
    end
  end

  handler.suiteEnd = function()
    tell("failure", handler.failures)
    tell("error", handler.errors)
    local file = assert(io.open(options.arguments[1], "w"))
    assert(file:write(('{"passed": %d, "failed": %d, "skipped": %d}\n'):format(
      handler.successesCount, handler.failuresCount + handler.errorsCount,
      handler.pendingsCount)))
    file:close()
    return nil, true
  end

  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
