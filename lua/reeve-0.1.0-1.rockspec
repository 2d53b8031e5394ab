-- luarocks make lua/reeve-0.1.0-1.rockspec, in the top folder. Needs a C
-- compiler, CMake, pkg-config and the development files of hiredis, cJSON,
-- OpenSSL and SQLite; nothing is downloaded.
rockspec_format = "3.0"
package = "reeve"
version = "0.1.0-1"
source = { url = "." }
description = {
  summary = "Distributed task queue on Redis or SQLite",
  detailed = [[
Producers, workers and operators for plain Lua (5.4, 5.1, LuaJIT) and for
nginx with lua-nginx-module, on the C core that Python and C use, too.]],
  license = "Apache-2.0",
}
dependencies = { "lua >= 5.1, < 5.5" }
build = {
  type = "command",
  build_command = [[
cmake -S . -B build-rock -DCMAKE_BUILD_TYPE=Release -DREEVE_WERROR=OFF \
  -DREEVE_TESTS=OFF -DREEVE_LUA=ON -DREEVE_LUA_INCDIR="$(LUA_INCDIR)" &&
cmake --build build-rock --target reeve_lua]],
  install = {
    lib = { ["reeve.core"] = "build-rock/lua/reeve/core.so" },
    lua = {
      ["reeve"] = "lua/reeve.lua",
      ["reeve.launcher"] = "lua/reeve/launcher.lua",
      ["reeve.runner"] = "lua/reeve/runner.lua",
      ["resty.reeve"] = "lua/resty/reeve.lua",
      ["resty.reeve.config"] = "lua/resty/reeve/config.lua",
      ["resty.reeve.conn"] = "lua/resty/reeve/conn.lua",
      ["resty.reeve.worker"] = "lua/resty/reeve/worker.lua",
      ["resty.reeve.worker.bell"] = "lua/resty/reeve/worker/bell.lua",
      ["resty.reeve.worker.control"] = "lua/resty/reeve/worker/control.lua",
      ["resty.reeve.worker.fetcher"] = "lua/resty/reeve/worker/fetcher.lua",
      ["resty.reeve.worker.runner"] = "lua/resty/reeve/worker/runner.lua",
      ["resty.reeve.worker.state"] = "lua/resty/reeve/worker/state.lua",
      ["resty.reeve.worker.ticker"] = "lua/resty/reeve/worker/ticker.lua",
    },
    bin = { ["reeve-lua"] = "bin/reeve-lua" },
  },
}
