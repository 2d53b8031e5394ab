/*
 * Reload in development: files that change, and a new start of the program in
 * the same process.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime.h"

static struct timespec changed_at(const char *path) {
    struct stat info;
    memset(&info, 0, sizeof info);
    (void)stat(path, &info); /* a file that is gone is a change, too */
    return info.st_mtim;
}

size_t reeve_lua_watch(lua_State *L, reeve_lua_watched **out) {
    int table = lua_gettop(L);
    size_t count = lua_rawlen(L, table);
    reeve_lua_watched *files =
        reeve_lua_newuserdata(L, (count + 1) * sizeof *files);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, table, (int)i + 1);
        files[i].path = luaL_checkstring(L, -1); /* the list keeps it */
        files[i].changed = changed_at(files[i].path);
        lua_pop(L, 1);
    }
    *out = files;
    return count;
}

bool reeve_lua_any_changed(const reeve_lua_watched *files, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct timespec now = changed_at(files[i].path);
        if (now.tv_sec != files[i].changed.tv_sec ||
            now.tv_nsec != files[i].changed.tv_nsec)
            return true;
    }
    return false;
}

/* wait_change(paths): returns when one of the files has changed */
static int wait_change(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    reeve_lua_watched *files = NULL;
    size_t count = reeve_lua_watch(L, &files);
    struct timespec span = { .tv_nsec = REEVE_LUA_WATCH_MS * 1000000L };
    while (!reeve_lua_any_changed(files, count))
        nanosleep(&span, NULL);
    return 0;
}

/* exec(words): this process becomes that program; returns only when it cannot */
static int exec(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    size_t count = lua_rawlen(L, 1);
    luaL_argcheck(L, count > 0, 1, "is empty");
    char **words = reeve_lua_newuserdata(L, (count + 1) * sizeof *words);
    luaL_checkstack(L, (int)count + 1, "exec");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        size_t size = 0;
        const char *word = luaL_checklstring(L, -1, &size);
        words[i] = memcpy(reeve_lua_newuserdata(L, size + 1), word, size + 1);
    }
    words[count] = NULL;
    execvp(words[0], words);
    return reeve_lua_failf(L, REEVE_E_SYSTEM, "cannot start %s: %s", words[0],
                           strerror(errno));
}

void reeve_lua_open_dev(lua_State *L) {
    lua_pushcfunction(L, wait_change);
    lua_setfield(L, -2, "wait_change");
    lua_pushcfunction(L, exec);
    lua_setfield(L, -2, "exec");
}
