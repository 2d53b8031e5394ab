/*
 * reeve.core: the module's table. Loading it starts no thread, opens no socket
 * and touches no signal, for nginx loads it before it forks.
 */
#include "glue.h"

void reeve_lua_new_type(lua_State *L, const char *name, const luaL_Reg *methods,
                        lua_CFunction gc) {
    if (!luaL_newmetatable(L, name)) {
        lua_pop(L, 1);
        return;
    }
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
#if LUA_VERSION_NUM >= 504
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__close");
#endif
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    if (methods) {
        lua_newtable(L);
        reeve_lua_register(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}

int luaopen_reeve_core(lua_State *L) {
    lua_newtable(L);
    lua_pushinteger(L, REEVE_LUA_ABI);
    lua_setfield(L, -2, "ABI");
    lua_pushstring(L, reeve_version());
    lua_setfield(L, -2, "VERSION");
    reeve_lua_open_json(L);
    reeve_lua_open_ids(L);
    reeve_lua_open_protocol(L);
    reeve_lua_open_client(L);
    reeve_lua_open_inspector(L);
    reeve_lua_open_worker(L);
    return 1;
}
