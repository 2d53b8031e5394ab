/*
 * Every allocation of a Lua state fails once in turn, while the module is used:
 * whatever a call had opened by then must be closed by the state's end. What
 * the state holds is counted here, what the core holds by the leak checkers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

/* Counts allocations; from number fail_at on none succeeds. */
typedef struct limited {
    size_t count;
    size_t fail_at;
    size_t bytes;
} limited;

static void *limited_alloc(void *ud, void *ptr, size_t old_bytes,
                           size_t new_bytes) {
    limited *memory = ud;
    size_t before = ptr ? old_bytes : 0;
    if (!new_bytes) {
        free(ptr);
        memory->bytes -= before;
        return NULL;
    }
    if (new_bytes > before && memory->count++ >= memory->fail_at)
        return NULL;
    void *grown = realloc(ptr, new_bytes);
    if (grown)
        memory->bytes = memory->bytes - before + new_bytes;
    return grown;
}

static const char script[] =
    "local core, number = ...\n"
    "local url = 'mem://nomem' .. number\n"
    "local client = assert(core.client { url = url, timeout = '1s' })\n"
    "local options = { headers = { a = 'b', c = 'd' }, delay = '1h',\n"
    "  retry = { delays = { 1, 2 } }, max_retries = 3, queue = 'q' }\n"
    "assert(client:enqueue('t', { list = { 1, 2 }, text = 'x' }, options))\n"
    "assert(client:enqueue('t', 'raw', { raw = true, expires = 60 }))\n"
    "local items = {}\n"
    "for i = 1, 5 do items[i] = { 't', { n = i }, { queue = 'q' } } end\n"
    "assert(client:enqueue_many(items))\n"
    "assert(not client:enqueue('t', {}, { unknown = 1 }))\n"
    "assert(not client:enqueue('t', { f = print }))\n"
    "assert(client:now())\n"
    "local inspector = assert(core.inspector { url = url })\n"
    "assert(#inspector:queues() == 2)\n"
    "assert(#inspector:tasks('q', 'pending') == 5)\n"
    "assert(#inspector:tasks('q', 'scheduled') == 1)\n"
    "local task = inspector:tasks('q', 'pending')[1]\n"
    "assert(inspector:find('q', task.id))\n"
    "assert(inspector:edit('q', task.id, { more = { 1 } }))\n"
    "assert(inspector:act('archive', 'q', task.id))\n"
    "assert(inspector:workers())\n"
    "assert(core.new_id())\n"
    "assert(core.json_decode(core.json_encode { a = { 1, { b = 'c' } } }))\n"
    "assert(not core.run({}, { script = 'x' }))\n"
    "local protocol = assert(core.protocol {})\n"
    "if number % 2 == 0 then client:close() inspector:close() end\n";

/* The protocol object: what a turn gives lives and dies with its answer. */
static const char sansio_script[] =
    "local core = ...\n"
    "local protocol = assert(core.protocol { label = 'h', prefix = 'p' })\n"
    "local batch = assert(core.batch { { 't', { a = 1 } }, { 't', { b = {} },\n"
    "  { queue = 'q', headers = { x = 'y' }, retry = { delays = { 1 } } } } "
    "})\n"
    "assert(#batch:ids() == 2)\n"
    "assert(protocol:enqueue(batch))\n"
    "assert(protocol:output())\n"
    "assert(protocol:reset())\n"
    "assert(protocol:submit_task('t', { a = { 1 } }, { queue = 'q' }))\n"
    "assert(protocol:finish_task '*0\\r\\n:0\\r\\n')\n"
    "local body = '{\"v\":1,\"type\":\"t\",\"headers\":{\"a\":\"b\"}}\\n{}'\n"
    "local bulk = '$' .. #body .. '\\r\\n' .. body .. '\\r\\n'\n"
    "local claim = "
    "'*6\\r\\n:1763600000500\\r\\n:17\\r\\n:0\\r\\n:7\\r\\n'\n"
    "  .. '$1\\r\\nx\\r\\n' .. bulk\n"
    "assert(protocol:turn('q', {}, 1, 30000, 'w'))\n"
    "assert(protocol:output())\n"
    "assert(protocol:feed(claim))\n"
    "local result = assert(protocol:next())\n"
    "local job = result.jobs[1]\n"
    "assert(job:read().headers.a == 'b')\n"
    "assert(job:settle('done', 'w', { result = '{}' }))\n"
    "assert(job:settle('fatal', 'w', { error_type = 'E', error_message = 'm' "
    "}))\n"
    "assert(protocol:turn('q', { job }, 0, 30000, 'w'))\n"
    "assert(protocol:extend({ job }, 1000))\n"
    "assert(protocol:reclaim('q', '', 5))\n"
    "assert(protocol:promote('q', 5))\n"
    "assert(protocol:sweep('q', 5))\n"
    "assert(protocol:wait({ 'q', 'r' }, 5))\n"
    "assert(protocol:ring 'q')\n"
    "assert(protocol:beat({ id = 'w' }, false))\n"
    "assert(protocol:hello())\n"
    "assert(protocol:output())\n"
    "assert(not protocol:feed '!')\n"
    "local picker, quotas = assert(core.picker { 2, 1 }), {}\n"
    "assert(picker:plan(3, quotas) == 3)\n"
    "assert(core.redis_url 'rediss://u:p@h/1?tls_server_name=n')\n"
    "assert(not core.redis_url 'http://h')\n"
    "assert(not core.protocol { no = 1 })\n"
    "assert(not core.batch { { 't', print } })\n"
    "assert(not core.json_decode '{\"a\":[1,\"\\\\u00e9\",{\"b\":')\n"
    "assert(core.json_decode '[\"\\\\u00e9\",1.5,{\"b\":[]}]')\n"
    "assert(core.json_encode(core.array { ('x'):rep(2000), 0.1 }))\n";

static const char *const scripts[] = { script, sansio_script };

/* A state with the module in its registry. */
static lua_State *new_state(limited *memory, const char *text) {
    lua_State *L = lua_newstate(limited_alloc, memory);
    assert_non_null(L);
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_pushstring(L, REEVE_LUA_MODULES "/?.so");
    lua_setfield(L, -2, "cpath");
    lua_settop(L, 0);
    lua_getglobal(L, "require");
    lua_pushstring(L, "reeve.core");
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    if (luaL_loadstring(L, text) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_insert(L, 1);
    return L;
}

/* Runs a script; true when it met no failure. */
static bool run(const char *text, size_t fail_after) {
    limited memory = { .fail_at = SIZE_MAX };
    lua_State *L = new_state(&memory, text);
    lua_pushinteger(L, (lua_Integer)fail_after);
    memory.fail_at = memory.count + fail_after;
    int status = lua_pcall(L, 2, 0, 0);
    bool failed = memory.count > memory.fail_at;
    memory.fail_at = SIZE_MAX;
    if (status != LUA_OK && status != LUA_ERRMEM)
        fail_msg("allocation %zu: %s", fail_after, lua_tostring(L, -1));
    assert_true(status == LUA_OK || failed);
    lua_close(L);
    assert_int_equal(memory.bytes, 0);
    return !failed;
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        size_t count = 0;
        while (!run(scripts[i], count))
            count++;
        assert_true(count > 100);
        print_message("%zu allocations failed in turn\n", count);
    }
}

/* Loading the module itself. */
static void test_loading_may_fail(void **state) {
    (void)state;
    size_t failed = 0;
    for (size_t fail_after = 0;; fail_after++) {
        limited memory = { .fail_at = SIZE_MAX };
        lua_State *L = lua_newstate(limited_alloc, &memory);
        assert_non_null(L);
        luaL_openlibs(L);
        lua_getglobal(L, "package");
        lua_pushstring(L, REEVE_LUA_MODULES "/?.so");
        lua_setfield(L, -2, "cpath");
        lua_getglobal(L, "require");
        lua_pushstring(L, "reeve.core");
        memory.fail_at = memory.count + fail_after;
        int status = lua_pcall(L, 1, 1, 0);
        memory.fail_at = SIZE_MAX;
        lua_close(L);
        assert_int_equal(memory.bytes, 0);
        if (status == LUA_OK)
            break;
        failed++;
    }
    assert_true(failed > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_loading_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
