/*
 * Values between Lua and the core: bytes, integers, fields of tables.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "glue.h"

reeve_bytes reeve_lua_bytes(lua_State *L, int index) {
    reeve_bytes bytes;
    bytes.data = lua_tolstring(L, index, &bytes.size);
    return bytes;
}

void reeve_lua_push_bytes(lua_State *L, reeve_bytes bytes) {
    lua_pushlstring(L, bytes.size ? bytes.data : "", bytes.size);
}

void reeve_lua_push_int(lua_State *L, int64_t value) {
#if LUA_VERSION_NUM >= 503
    lua_pushinteger(L, value);
#else
    lua_pushnumber(L, (lua_Number)value);
#endif
}

void reeve_lua_set_int(lua_State *L, const char *name, int64_t value) {
    reeve_lua_push_int(L, value);
    lua_setfield(L, -2, name);
}

void reeve_lua_set_bytes(lua_State *L, const char *name, reeve_bytes value) {
    reeve_lua_push_bytes(L, value);
    lua_setfield(L, -2, name);
}

void reeve_lua_set_bool(lua_State *L, const char *name, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

bool reeve_lua_get_int(lua_State *L, int index, int64_t *out) {
    if (lua_type(L, index) != LUA_TNUMBER)
        return false;
#if LUA_VERSION_NUM >= 503
    if (lua_isinteger(L, index)) {
        *out = lua_tointeger(L, index);
        return true;
    }
#endif
    lua_Number number = lua_tonumber(L, index);
    /* 2^63 itself is one too many; NaN compares false. */
    if (!(number >= -9223372036854775808.0 && number < 9223372036854775808.0))
        return false;
    if (floor(number) < number)
        return false;
    *out = (int64_t)number;
    return true;
}

const char *reeve_lua_show(char *out, size_t size, reeve_bytes text) {
    size_t count = text.size < size - 1 ? text.size : size - 1;
    for (size_t i = 0; i < count; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        out[i] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
    out[count] = '\0';
    return out;
}

const char *reeve_lua_number(char out[REEVE_LUA_NUMBER_BYTES], double number) {
    (void)snprintf(out, REEVE_LUA_NUMBER_BYTES, "%.14g", number);
    return out;
}
