-- What every front end must refuse: client_spec.lua asks the blocking client,
-- nginx/resty_spec.lua the one in nginx. Rows are { what is wrong, a part of the
-- message, the code }; without a code it is one of "invalid", "usage", "too-big".
local HUGE = math.huge

local cycle = {}
cycle.self = cycle

return {
  types = { "", "a b", ("t"):rep(129), "\0" },

  options = {
    { { unique = {} }, "enqueue has no option 'unique'; known are at, deadline", "usage" },
    { { tags = {} }, "no option 'tags'", "usage" },
    { { dealy = 1 }, "enqueue has no option 'dealy'; did you mean 'delay'?", "usage" },
    { { "x" }, "an option's name must be a string, not number" },
    { { delay = -1 }, "delay is -1 s; it must be at least 0 s" },
    { { delay = 0 / 0 }, "delay is" },
    { { delay = "1x" }, "delay is '1x'; write seconds" },
    { { delay = "" }, "delay is ''; write seconds" },
    { { delay = {} }, "delay must be seconds or text" },
    { { delay = "4000d" }, "the longest span is ten years" },
    { { delay = 1, at = 2e9 }, "give delay or at, not both" },
    { { expires = 1, deadline = 2e9 }, "give expires or deadline, not both" },
    { { at = -5 }, "at is -5; it must be Unix seconds" },
    { { at = "tomorrow" }, "at must be Unix seconds, not string" },
    { { timeout = 0 }, "timeout is 0 s; it must be at least 0.001 s" },
    { { priority = 10 }, "priority is 10; it must be 0 to 9" },
    { { priority = 1.5 }, "priority is 1.5; it must be an integer" },
    { { priority = "high" }, "priority must be an integer, not string" },
    { { queue = "" }, "queue is empty" },
    { { queue = 5 }, "queue must be a string, not number" },
    { { queue = "a b" }, "queue name 'a b'" },
    { { queue = ("q"):rep(129) }, "queue name" },
    { { id = "" }, "id is empty" },
    { { id = "sp ace" }, "id 'sp ace'" },
    { { idempotency_key = "" }, "idempotency_key is empty" },
    { { idempotency_key = ("k"):rep(129) }, "idempotency_key has 129 bytes" },
    { { headers = { [1] = "x" } }, "headers must map strings to strings" },
    { { headers = { a = 1 } }, "headers must map strings to strings" },
    { { headers = { a = "\0" } }, "NUL byte" },
    { { headers = { a = "\255" } }, "not valid UTF-8" },
    { { headers = "x" }, "headers must be a table, not string" },
    { { lease = 0.01 }, "lease_ms 10 is below 100" },
    { { max_retries = -1 }, "max_retries is -1; it must be 0 to 999999" },
    { { max_crashes = 0 }, "max_crashes is 0; it must be 1 to 1000000" },
    { { retention = "ever" }, "retention is 'ever'" },
    { { raw = 1 }, "raw must be true or false, not number" },
    { { raw = true }, "payload must be a string when raw, not table" },
    { { retry = 3 }, "retry must be a table, not number; for a number of retries there is" },
    { { retry = { bse = 1 } }, "retry has no option 'bse'; did you mean 'base'?", "usage" },
    { { retry = { backoff = "fast" } }, "retry.backoff is 'fast'; one of 'exponential'" },
    { { retry = { jitter = "some" } }, "retry.jitter is 'some'" },
    { { retry = { factor = 0.5 } }, "factor is 0.5; it must be 1 to 100" },
    { { retry = { delays = {} } }, "retry.delays has 0 entries; it must have 1 to 32" },
    { { retry = { delays = { 1, "x" } } }, "retry.delays is 'x'" },
    { { retry = { delays = { 1 }, backoff = "fixed" } }, "give backoff or delays" },
  },

  -- The message begins with "payload: ", the code is "invalid".
  payloads = {
    { function() end, "function" }, { { f = print }, "function" }, { coroutine.create(function() end), "thread" },
    { cycle, "deep" }, { 0 / 0, "" }, { HUGE, "" }, { { [{}] = 1 }, "key" }, { "\255", "UTF-8" },
  },
}
