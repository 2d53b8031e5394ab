/*
 * What differs between Lua 5.1 (LuaJIT) and Lua 5.4, so that one source serves
 * both. Everything else keeps to the API that they share.
 */
#ifndef REEVE_LUA_COMPAT_H
#define REEVE_LUA_COMPAT_H

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>

#if LUA_VERSION_NUM < 502
#define lua_rawlen(L, index) lua_objlen((L), (index))
#define reeve_lua_register(L, list) luaL_register((L), NULL, (list))
#else
#define reeve_lua_register(L, list) luaL_setfuncs((L), (list), 0)
#endif

/* A userdata with one value that it keeps alive. */
#if LUA_VERSION_NUM >= 504
#define reeve_lua_newuserdata(L, bytes) lua_newuserdatauv((L), (bytes), 1)
#define reeve_lua_getuservalue(L, index) lua_getiuservalue((L), (index), 1)
#define reeve_lua_setuservalue(L, index) lua_setiuservalue((L), (index), 1)
#elif LUA_VERSION_NUM >= 502
#define reeve_lua_newuserdata(L, bytes) lua_newuserdata((L), (bytes))
#define reeve_lua_getuservalue(L, index) lua_getuservalue((L), (index))
#define reeve_lua_setuservalue(L, index) lua_setuservalue((L), (index))
#else
#define reeve_lua_newuserdata(L, bytes) lua_newuserdata((L), (bytes))
#define reeve_lua_getuservalue(L, index) lua_getfenv((L), (index))
#define reeve_lua_setuservalue(L, index) lua_setfenv((L), (index))
#endif

#endif
