--- Workers from the shell: `reeve-lua worker script.lua`, and with reload in
-- development `reeve-lua dev script.lua`.
local core = require "reeve.core"
local reeve = require "reeve"

local launcher = {}

local HELP = [[
reeve-lua worker SCRIPT [OPTIONS] [-- ARGUMENTS]   run the script's tasks
reeve-lua dev SCRIPT [OPTIONS] [-- ARGUMENTS]      the same; starts again when
                                                   a file of it changes
reeve-lua version, --version
reeve-lua help, --help, -h

Options stand before or after SCRIPT. What is given here goes before what the
script gives reeve.new and app:run.

  --url URL            broker
  --prefix NAME        of every Redis key
  --queues LIST        mail=6,default=3 or mail,default
  --order ORDER        weighted, strict
  --concurrency N      tasks at a time
  --prefetch COUNT     claimed ahead at most; auto, none
  --lease SPAN         of a claim: 30, 90s, 1h
  --grace SPAN         a stop waits this long for handlers
  --memory-max MB      of each state (Lua 5.4)
  --log LEVEL          error, warning, info, debug
  --id ID              of the worker
]]

local function fail(message)
  io.stderr:write("reeve-lua: ", message, "\n")
  return 2
end

local function help()
  io.write(HELP)
  return 0
end

--- "mail=6,default" as app:run takes it.
local function parse_queues(text)
  local queues = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local name, weight = part:match "^([^=]+)=(%d+)$"
    if not name then name, weight = part:match "^([^=]+)$", "1" end
    if not name then return nil, "--queues: cannot read '" .. part .. "'" end
    queues[#queues + 1] = { name, tonumber(weight) }
  end
  return queues
end

local function parse_number(text, name)
  local value = tonumber(text)
  if not value then return nil, ("%s: '%s' is no number"):format(name, text) end
  return value
end

local function as_text(text) return text end

--- A number is seconds, anything else a span that the core reads.
local function parse_span(text) return tonumber(text) or text end

--- A count, "auto" or "none"; app:run checks it.
local function parse_prefetch(text)
  if text == "none" then return false end
  return tonumber(text) or text
end

local function parse_megabytes(text, name)
  local value, message = parse_number(text, name)
  return value and value * 1024 * 1024, message
end

-- flag -> { where it goes, its name there, how it is read }
local FLAGS = {
  ["--url"] = { "broker", "url", as_text },
  ["--prefix"] = { "broker", "prefix", as_text },
  ["--queues"] = { "run", "queues", parse_queues },
  ["--order"] = { "run", "order", as_text },
  ["--concurrency"] = { "run", "concurrency", parse_number },
  ["--prefetch"] = { "run", "prefetch", parse_prefetch },
  ["--lease"] = { "run", "lease", parse_span },
  ["--grace"] = { "run", "grace", parse_span },
  ["--memory-max"] = { "run", "memory_max", parse_megabytes },
  ["--log"] = { "run", "log", as_text },
  ["--id"] = { "run", "id", as_text },
}

--- Reads the option at a place into given: how many words it takes, or nil and
-- a message.
local function parse_option(given, words, at)
  local flag, value = words[at]:match "^([^=]*)=(.*)$"
  local taken = flag and 1 or 2
  if not flag then flag, value = words[at], words[at + 1] end
  local rule = FLAGS[flag]
  if not rule then return nil, "no option " .. flag .. "; see reeve-lua help" end
  if value == nil or taken == 2 and value:find "^%-%-" then
    return nil, flag .. " needs a value"
  end
  local read, message = rule[3](value, flag)
  if read == nil then return nil, message end
  given[rule[1]][rule[2]] = read
  return taken
end

--- Reads words from the second on: the script, options on either side of it;
-- gives { script =, broker =, run =, args =, help = }.
local function parse(words)
  local given = { broker = {}, run = {}, args = {} }
  local at = 2
  while words[at] do
    local word = words[at]
    if word == "--" then
      for i = at + 1, #words do given.args[#given.args + 1] = words[i] end
      break
    elseif word == "--help" or word == "-h" then
      given.help = true
      return given
    elseif word:find "^%-" then
      local taken, message = parse_option(given, words, at)
      if not taken then return nil, message end
      at = at + taken
    elseif given.script then
      return nil, ("one script, not %s and %s; the script's own arguments "
        .. "follow --"):format(given.script, word)
    else
      given.script = word
      at = at + 1
    end
  end
  if not given.script then return nil, words[1] .. " needs a script" end
  return given
end

--- The app to run: the one whose run was called, or the only one.
local function app_of()
  if reeve._launcher.app then return reeve._launcher.app end
  if #reeve._apps == 1 then return reeve._apps[1] end
  if #reeve._apps == 0 then return nil, "the script makes no app" end
  return nil, ("the script makes %d apps: call app:run of the one to run")
    :format(#reeve._apps)
end

--- Runs the script up to its app:run. True, or nil and a message.
local function load_script(script, args)
  local chunk, message = loadfile(script)
  if not chunk then return nil, message end
  args[0] = script
  _G.arg = args -- luacheck: ignore 122
  local ok, err = xpcall(function()
    return chunk((table.unpack or unpack)(args))
  end, function(err)
    if err == reeve._STOP then return err end
    return debug.traceback(tostring(err), 2)
  end)
  if not ok and err ~= reeve._STOP then return nil, err end
  return true
end

--- Counters, or nil and a message.
local function run(given)
  local script = given.script
  local loaded, message = load_script(script, given.args)
  if not loaded then return nil, message end
  local app
  app, message = app_of()
  if not app then return nil, message end
  local options = {}
  for name, value in pairs(reeve._launcher.options or {}) do
    options[name] = value
  end
  for name, value in pairs(given.run) do options[name] = value end
  for name, value in pairs(given.broker) do app._options[name] = value end
  options.script = script
  return app:_start(options)
end

--- The words this process was started with, interpreter first.
local function own_words(words)
  local first = 0
  while words[first - 1] do first = first - 1 end
  local all = {}
  for i = first, #words do all[#all + 1] = words[i] end
  return all
end

local function start_again(words)
  io.stderr:write("reeve-lua: a file has changed, starting again\n")
  io.stdout:flush()
  local _, message = core.exec(own_words(words))
  return fail(message)
end

local function develop(words, given)
  local stats, message = run(given)
  if not stats then
    io.stderr:write("reeve-lua: ", message, "\n")
    core.wait_change(reeve._watched(given.script))
  elseif not stats.changed then
    return 0
  end
  return start_again(words)
end

local function work(given)
  local stats, message = run(given)
  return stats and 0 or fail(message)
end

--- Runs a command line; gives the exit code.
function launcher.main(words)
  local command = words[1]
  if command == "version" or command == "--version" then
    print(core.VERSION)
    return 0
  end
  if command == "help" or command == "--help" or command == "-h" then
    return help()
  end
  if command ~= "worker" and command ~= "dev" then
    return fail(command and "no command " .. command
      or "no command; see reeve-lua help")
  end
  local given, message = parse(words)
  if not given then return fail(message) end
  if given.help then return help() end
  reeve._launcher = { watch = command == "dev" }
  if command == "dev" then return develop(words, given) end
  return work(given)
end

return launcher
