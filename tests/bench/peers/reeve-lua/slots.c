/*
 * What the Lua driver cannot do in Lua: count in shared memory, stamp with one
 * write, read the monotonic and CPU clocks. Module bench_slots.
 */
#include <lauxlib.h>
#include <lua.h>

#include "../slots.h"

static int hit(lua_State *L) {
    (void)L;
    slots_hit();
    return 0;
}

static int stamp(lua_State *L) {
    if (!slots_stamp((int64_t)luaL_checkinteger(L, 1)))
        return luaL_error(L, "cannot write the stamp");
    return 0;
}

static int burn(lua_State *L) {
    (void)L;
    slots_burn();
    return 0;
}

static int now(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)now_ns(CLOCK_MONOTONIC));
    return 1;
}

static int cpu(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)now_ns(CLOCK_PROCESS_CPUTIME_ID));
    return 1;
}

int luaopen_bench_slots(lua_State *L);

/* States of several threads load it; the first opens the files. */
int luaopen_bench_slots(lua_State *L) {
    static atomic_flag opened = ATOMIC_FLAG_INIT;
    static const luaL_Reg functions[] = {
        { "hit", hit }, { "stamp", stamp }, { "burn", burn },
        { "now", now }, { "cpu", cpu },     { NULL, NULL },
    };
    if (!atomic_flag_test_and_set(&opened) && !slots_open())
        return luaL_error(L, "cannot open BENCH_COUNTERS or BENCH_STAMPS");
    luaL_newlib(L, functions);
    return 1;
}
