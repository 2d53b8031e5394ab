/*
 * A Redis URL as a table, for those who open the socket in Lua.
 */
#include "sansio.h"

#define TYPE "reeve.url"

typedef struct holder {
    reeve_redis_url *url;
} holder;

static int holder_gc(lua_State *L) {
    holder *self = luaL_checkudata(L, 1, TYPE);
    reeve_redis_url_free(self->url);
    self->url = NULL;
    return 0;
}

static void set_text(lua_State *L, const char *name, const char *text) {
    if (!text)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

/* redis_url(text): its parts, or nil, message, code. */
static int redis_url(lua_State *L) {
    const char *text = luaL_checkstring(L, 1);
    holder *self = reeve_lua_newuserdata(L, sizeof *self);
    self->url = NULL;
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    reeve_error err;
    reeve_redis_url_view view = REEVE_REDIS_URL_VIEW_INIT;
    reeve_rc rc = reeve_redis_url_parse(&self->url, NULL, text, &err);
    if (!rc)
        rc = reeve_redis_url_read(&view, self->url, &err);
    if (rc < 0)
        return reeve_lua_fail(L, rc, &err);
    lua_newtable(L);
    set_text(L, "host", view.host);
    set_text(L, "path", view.path);
    set_text(L, "label", view.label);
    set_text(L, "user", view.user);
    set_text(L, "password", view.password);
    set_text(L, "client_name", view.client_name);
    set_text(L, "tls_ca", view.tls_ca);
    set_text(L, "tls_cert", view.tls_cert);
    set_text(L, "tls_key", view.tls_key);
    set_text(L, "tls_server_name", view.tls_server_name);
    reeve_lua_set_int(L, "port", view.port);
    reeve_lua_set_int(L, "database", view.database);
    reeve_lua_set_int(L, "connect_timeout_ms", view.connect_timeout_ms);
    reeve_lua_set_bool(L, "tls", view.tls);
    reeve_lua_set_bool(L, "tls_verify", view.tls_verify);
    reeve_lua_set_bool(L, "allow_eviction", view.allow_eviction);
    return 1;
}

void reeve_lua_open_url(lua_State *L) {
    reeve_lua_new_type(L, TYPE, NULL, holder_gc);
    lua_pushcfunction(L, redis_url);
    lua_setfield(L, -2, "redis_url");
}
