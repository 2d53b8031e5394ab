/*
 * Failures as Lua sees them: nil, a message and the code's slug.
 */
#include <stdarg.h>
#include <stdio.h>

#include "glue.h"

int reeve_lua_fail(lua_State *L, reeve_rc rc, const reeve_error *err) {
    lua_pushnil(L);
    lua_pushstring(L,
                   err && *err->message ? err->message : reeve_code_text(rc));
    lua_pushstring(L, reeve_code_slug(rc));
    return 3;
}

int reeve_lua_failf(lua_State *L, reeve_rc rc, const char *format, ...) {
    reeve_error err = { .code = rc };
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err.message, sizeof err.message, format, args);
    va_end(args);
    return reeve_lua_fail(L, rc, &err);
}

int reeve_lua_refuse(lua_State *L, reeve_rc code) {
    int message = lua_gettop(L);
    lua_pushnil(L);
    lua_pushvalue(L, message);
    lua_pushstring(L, reeve_code_slug(code));
    return 3;
}
