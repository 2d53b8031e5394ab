/*
 * Ids, for calls that may have to be repeated.
 */
#include "glue.h"

static int new_id(lua_State *L) {
    char id[REEVE_ID_TEXT_BYTES];
    reeve_id_new(id, NULL);
    lua_pushstring(L, id);
    return 1;
}

void reeve_lua_open_ids(lua_State *L) {
    lua_pushcfunction(L, new_id);
    lua_setfield(L, -2, "new_id");
}
