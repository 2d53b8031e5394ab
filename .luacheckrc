-- Lua 5.4, 5.1 and LuaJIT at once; what runs in nginx says so by its folder.
std = "lua54+lua51+luajit"
max_line_length = 100
include_files = { "**/*.lua", "bin/reeve-lua" }
-- Replaces functions in the states that it prepares.
files["lua/reeve/runner.lua"] = { globals = { "coroutine", "os" } }
-- Newer than luacheck's list.
files["lua/resty"] = {
  std = "+ngx_lua",
  read_globals = { ngx = { fields = { "run_worker_thread" }, other_fields = true } },
}
files["tests/lua/**/*_spec.lua"] = { std = "+busted" }
files["tests/lua/nginx"] = { std = "+ngx_lua", globals = { "ngx" } }
files["tests/bench/*.lua"] = { std = "+ngx_lua", globals = { "ngx" } }
files["docs/examples/openresty"] = { std = "+ngx_lua", globals = { "ngx" } }
files["tests/lua"] = { max_line_length = 120 }
