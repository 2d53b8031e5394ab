--- reeve for plain Lua: producers, workers and operators on the C runtime.
-- Failures are `nil, message, code`; only a wrong type of argument raises.
-- In nginx use resty.reeve, which never blocks.
local core = require "reeve.core"

-- What this file expects of reeve/core.so. They are installed together; a
-- program that was running meanwhile may hold one of each.
local ABI = 3
if core.ABI ~= ABI then
  error(("reeve.lua is for interface %d, the loaded reeve.core has %s: both "
    .. "must be of one installation; restart the program (for nginx a reload "
    .. "is not enough)"):format(ABI, tostring(core.ABI)))
end

local reeve = {
  VERSION = core.VERSION,
  null = core.null,
  empty_array_mt = core.empty_array_mt,
  array = core.array,
  encode = core.json_encode,
  decode = core.json_decode,
  new_id = core.new_id,
  sleep = core.sleep,
  in_worker = core.child ~= nil, -- whether this state runs handlers
}

--- Ends a script at app:run where only its tasks are wanted: in the states of
-- a worker and under the launcher.
local STOP = setmetatable({}, {
  __tostring = function() return "app:run: this state only runs handlers" end,
})
reeve._STOP = STOP
reeve._apps = {} -- in the order of reeve.new
reeve._launcher = nil -- set by reeve.launcher

local App = {}
App.__index = App

local PREFETCH_MAX = 1000 -- the core's

-- What app:task takes; the rest belongs to one enqueue.
local TASK_OPTIONS = {
  queue = true, priority = true, retry = true, max_retries = true,
  timeout = true, expires = true, retention = true, lease = true,
  max_crashes = true,
}

-- One of a pair replaces the other when a call overrides its task.
local EXCLUDES = {
  delay = "at", at = "delay", expires = "deadline", deadline = "expires",
}

local function check_type(value, wanted, name, level)
  if type(value) ~= wanted then
    error(("%s must be a %s, not %s"):format(name, wanted, type(value)),
      (level or 1) + 2)
  end
end

--- An app: a broker and the tasks of this program. Opens nothing yet, but
-- refuses a url that could not be opened.
-- @tparam[opt] table options url, prefix, timeout, payload_max
function reeve.new(options)
  options = options == nil and {} or options
  check_type(options, "table", "options")
  local kept = {}
  for name, value in pairs(options) do kept[name] = value end
  if kept.url == nil then kept.url = os.getenv "REEVE_URL" end
  local ok, message, code = core.check_client(kept)
  if not ok then return nil, message, code end
  local app = setmetatable({
    _options = kept,
    _tasks = {},   -- type -> { options =, handler = }
    _types = {},   -- in the order of app:task
    _broken = nil, -- why app:run must not start
  }, App)
  reeve._apps[#reeve._apps + 1] = app
  app._number = #reeve._apps
  return app
end

local function refuse_task(app, name, message, code)
  message = ("task %s: %s"):format(name, message)
  app._broken = app._broken or { message, code }
  return nil, message, code
end

--- Says how tasks of a type are enqueued and who runs them.
-- app:task(type, handler) or app:task(type, options, handler)
function App:task(name, options, handler)
  if handler == nil and type(options) == "function" then
    options, handler = nil, options
  end
  check_type(name, "string", "type")
  if options ~= nil then check_type(options, "table", "options") end
  if handler ~= nil then check_type(handler, "function", "handler") end
  local kept = {}
  for key, value in pairs(options or {}) do
    kept[key] = value
    -- Unknown names are left to the check below, which knows the nearest.
    if not TASK_OPTIONS[key] and core.is_task_option(key) then
      return refuse_task(self, name,
        ("option '%s' belongs to an enqueue"):format(key), "usage")
    end
  end
  local ok, message, code = core.check_task(name, kept)
  if not ok then return refuse_task(self, name, message, code) end
  if self._tasks[name] then
    return refuse_task(self, name, "it is there already", "state")
  end
  self._tasks[name] = { options = kept, handler = handler }
  self._types[#self._types + 1] = name
  return true
end

--- The task's options with those of one call over them.
local function merged(app, name, options)
  local task = app._tasks[name]
  if not task or next(task.options) == nil then return options end
  if options == nil then return task.options end
  if type(options) ~= "table" then return options end -- refused in the core
  local all = {}
  for key, value in pairs(task.options) do all[key] = value end
  for key, value in pairs(options) do
    all[key] = value
    local other = EXCLUDES[key]
    if other and options[other] == nil then all[other] = nil end
  end
  return all
end

function App:_client_now()
  if not self._client then
    local client, message, code = core.client(self._options)
    if not client then return nil, message, code end
    self._client = client
  end
  return self._client
end

--- Stores one task. Gives { id =, state =, due_at =, existing = }.
function App:enqueue(name, payload, options)
  check_type(name, "string", "type")
  if options ~= nil then check_type(options, "table", "options") end
  local client, message, code = self:_client_now()
  if not client then return nil, message, code end
  return client:enqueue(name, payload, merged(self, name, options))
end

--- Stores many in one round trip a queue: { { type, payload, options }, … }.
-- Gives a list of infos; when items were refused also message and code of the
-- first, and each of them has its own.
function App:enqueue_many(items)
  check_type(items, "table", "items")
  local client, message, code = self:_client_now()
  if not client then return nil, message, code end
  local all = {}
  for i, item in ipairs(items) do
    check_type(item, "table", "item " .. i)
    check_type(item[1], "string", "type of item " .. i)
    all[i] = { item[1], item[2], merged(self, item[1], item[3]) }
  end
  return client:enqueue_many(all)
end

--- The broker's clock in Unix seconds.
function App:now()
  local client, message, code = self:_client_now()
  if not client then return nil, message, code end
  return client:now()
end

--- The operator's side, on a connection of its own.
function App:inspector()
  if not self._inspector or self._inspector:is_closed() then
    local inspector, message, code = core.inspector(self._options)
    if not inspector then return nil, message, code end
    self._inspector = inspector
  end
  return self._inspector
end

--- Closes what the app has opened; the next call opens it again.
function App:close()
  if self._client then self._client:close() end
  if self._inspector then self._inspector:close() end
  self._client, self._inspector = nil, nil
  return true
end
App.__close = App.close

--- The queues of this app's tasks, by name.
local function own_queues(app)
  local seen, names = {}, {}
  for _, name in ipairs(app._types) do
    local queue = app._tasks[name].options.queue or "default"
    if not seen[queue] then
      seen[queue] = true
      names[#names + 1] = queue
    end
  end
  table.sort(names)
  return names
end

--- { mail = 6 } or { "mail", { "default", 3 } } as { { "mail", 6 }, … }.
local function queue_list(queues, order)
  local list = {}
  for i, queue in ipairs(queues) do
    if type(queue) == "string" then queue = { queue, 1 } end
    if type(queue) ~= "table" or type(queue[1]) ~= "string" then
      return nil, ("queues[%d] must be a name or { name, weight }"):format(i)
    end
    list[i] = { queue[1], queue[2] or 1 }
  end
  local count = 0
  for _ in pairs(queues) do count = count + 1 end
  if count == #list then return list end
  if #list > 0 then return nil, "queues is a list and a map at once" end
  if order == "strict" then
    return nil, "order strict goes by the list's order: give queues as a list"
  end
  for name, weight in pairs(queues) do list[#list + 1] = { name, weight } end
  table.sort(list, function(a, b) return tostring(a[1]) < tostring(b[1]) end)
  return list
end

local function check_queues(list)
  if #list == 0 then return nil, "queues is empty" end
  for _, queue in ipairs(list) do
    local name, weight = queue[1], queue[2]
    if type(name) ~= "string" then
      return nil, "a queue's name must be a string, not " .. type(name)
    end
    if type(weight) ~= "number" or weight % 1 ~= 0 or weight < 1
      or weight > 1000 then
      return nil, ("weight of queue %s is %s; it must be 1 to 1000"):format(
        name, tostring(weight))
    end
  end
  return true
end

--- The queues to serve, as the core takes them.
local function queues_of(app, options)
  local queues = options.queues
  if queues == nil then queues = own_queues(app) end
  if type(queues) ~= "table" then
    return nil, "queues must be a table, not " .. type(queues)
  end
  local list, message = queue_list(queues, options.order)
  if not list then return nil, message end
  local good
  good, message = check_queues(list)
  return good and list, message
end

--- The file that every state loads.
local function script_of(options)
  if options.script then return options.script end
  local arg = rawget(_G, "arg")
  if type(arg) == "table" and type(arg[0]) == "string" then return arg[0] end
  return nil, "run needs the script's path: give script"
end

local function script_args()
  local args = {}
  for i, value in ipairs(rawget(_G, "arg") or {}) do args[i] = value end
  return args
end

--- Files whose change asks for a new start: the script and its modules.
function reeve._watched(script)
  local files, searchpath = { script }, package.searchpath
  for name in pairs(package.loaded) do
    local path = type(name) == "string" and searchpath
      and searchpath(name, package.path)
    if path then files[#files + 1] = path end
  end
  return files
end

local function recipe_of(app, script, options)
  local recipe = {
    app = app._number,
    args = script_args(),
    path = package.path,
    cpath = package.cpath,
    script = script,
    types = {},
    url = app._options.url,
    prefix = app._options.prefix,
  }
  for _, name in ipairs(app._types) do
    if app._tasks[name].handler then
      recipe.types[#recipe.types + 1] = name
    end
  end
  local message
  recipe.queues, message = queues_of(app, options)
  if not recipe.queues then return nil, message end
  return recipe
end

--- prefetch as the core takes it: 0 = as many as pay, -1 = none.
local function prefetch_of(value)
  if value == nil or value == "auto" then return 0 end
  if value == false then return -1 end
  if type(value) == "number" and value % 1 == 0 and value >= 1
    and value <= PREFETCH_MAX then
    return value
  end
  return nil, ('prefetch is %s; it must be "auto", false or an integer from 1 '
    .. "to %d"):format(tostring(value), PREFETCH_MAX)
end

function App:_start(options)
  if self._broken then return nil, self._broken[1], self._broken[2] end
  if #self._types == 0 then
    return nil, "no tasks: call app:task first", "usage"
  end
  local script, missing = script_of(options)
  if not script then return nil, missing, "usage" end
  local recipe, message = recipe_of(self, script, options)
  if not recipe then return nil, message, "invalid" end
  if #recipe.types == 0 then
    return nil, "no task has a handler: call app:task before app:run", "usage"
  end
  if reeve._launcher and reeve._launcher.watch then
    recipe.watch = reeve._watched(script)
  end
  local given = {}
  for name, value in pairs(options) do
    if name ~= "queues" and name ~= "script" then given[name] = value end
  end
  given.prefetch, message = prefetch_of(options.prefetch)
  if not given.prefetch then return nil, message, "invalid" end
  return core.run(given, recipe)
end

--- Runs tasks until SIGTERM or SIGINT; a second one stops at once. Each of the
-- concurrency states loads this script again, up to this call. Gives counters.
function App:run(options)
  options = options == nil and {} or options
  check_type(options, "table", "options")
  if core.child then error(STOP, 0) end
  if reeve._launcher then
    reeve._launcher.app, reeve._launcher.options = self, options
    error(STOP, 0)
  end
  return self:_start(options)
end

return reeve
