/*
 * The retry option: a number of retries, or a table.
 */
#include <math.h>
#include <string.h>

#include "glue.h"

/* Numbers of the names, from 1 on, as the enums count them. */
static int32_t index_of(const char *name, const char *const *names) {
    for (int32_t i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0)
            return i + 1;
    }
    return 0;
}

static bool read_name(lua_State *L, int32_t *out, const char *name,
                      const char *what, const char *const *names) {
    if (!name)
        return true;
    *out = index_of(name, names);
    if (*out)
        return true;
    char shown[64];
    lua_pushfstring(L, "retry.%s is '%s'; one of ", what,
                    reeve_lua_show(shown, sizeof shown, reeve_bytes_of(name)));
    for (int i = 0; names[i]; i++) {
        lua_pushfstring(L, i ? ", '%s'" : "'%s'", names[i]);
        lua_concat(L, 2);
    }
    return false;
}

/* retry.delays, a list of spans on top of the stack. */
static bool read_delays(lua_State *L, reeve_lua_task *task) {
    size_t count = lua_rawlen(L, -1);
    if (count < 1 || count > REEVE_DELAYS_COUNT_MAX) {
        lua_pushfstring(L, "retry.delays has %d entries; it must have 1 to %d",
                        (int)count, REEVE_DELAYS_COUNT_MAX);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        if (!reeve_lua_read_span(L, &task->delays_ms[i], lua_gettop(L), 0,
                                 "retry.delays"))
            return false;
        lua_pop(L, 1);
    }
    task->retry.backoff = REEVE_BACKOFF_LIST;
    task->retry.delays_ms = task->delays_ms;
    task->retry.delay_count = count;
    return true;
}

/* Runs in all, of a number of retries. */
static int32_t attempts_of(int32_t retries) {
    return retries == REEVE_NEVER ? REEVE_NEVER : retries + 1;
}

static bool read_table(lua_State *L, reeve_lua_task *task, reeve_rc *code,
                       int index) {
    static const char *const backoffs[] = { "exponential", "fixed", "linear",
                                            NULL };
    static const char *const jitters[] = { "full", "equal", "none", NULL };
    struct draft {
        reeve_retry_options retry;
        const char *backoff;
        const char *jitter;
        int32_t max_retries;
        int32_t reserved;
    } draft = { .retry = REEVE_RETRY_OPTIONS_INIT,
                .max_retries = REEVE_LUA_NOT_GIVEN };
#define AT(member) offsetof(struct draft, member)
    static const reeve_lua_option list[] = {
        { "backoff", REEVE_LUA_TEXT, AT(backoff), 0, 0 },
        { "base", REEVE_LUA_SPAN, AT(retry.base_ms), 1, 0 },
        { "cap", REEVE_LUA_SPAN, AT(retry.cap_ms), 1, 0 },
        { "delays", REEVE_LUA_TABLE, 0, 0, 0 },
        { "factor", REEVE_LUA_NUMBER, AT(retry.factor), 1, 100 },
        { "jitter", REEVE_LUA_TEXT, AT(jitter), 0, 0 },
        { "max_elapsed", REEVE_LUA_SPAN, AT(retry.max_elapsed_ms), 1, 0 },
        { "max_retries", REEVE_LUA_COUNT, AT(max_retries), 0,
          REEVE_LUA_RETRIES_MAX },
        { NULL, 0, 0, 0, 0 },
    };
#undef AT
    if (!reeve_lua_read_options(L, &draft, code, index, list, "retry"))
        return false;
    *code = REEVE_E_INVALID;
    task->retry = draft.retry;
    if (!read_name(L, &task->retry.backoff, draft.backoff, "backoff",
                   backoffs) ||
        !read_name(L, &task->retry.jitter, draft.jitter, "jitter", jitters))
        return false;
    if (draft.max_retries != REEVE_LUA_NOT_GIVEN)
        task->retry.max_attempts = attempts_of(draft.max_retries);
    lua_getfield(L, index, "delays");
    if (!lua_isnil(L, -1)) {
        if (draft.backoff) {
            lua_pushliteral(L, "retry: give backoff or delays, not both");
            return false;
        }
        if (!read_delays(L, task))
            return false;
    }
    lua_pop(L, 1);
    return true;
}

bool reeve_lua_read_retry(lua_State *L, reeve_lua_task *task, reeve_rc *code,
                          int index, int32_t max_retries) {
    *code = REEVE_E_INVALID;
    task->retry = (reeve_retry_options)REEVE_RETRY_OPTIONS_INIT;
    if (lua_istable(L, index)) {
        if (!read_table(L, task, code, index))
            return false;
    } else if (!lua_isnil(L, index)) {
        lua_pushfstring(L,
                        "retry must be a table, not %s; for a number of "
                        "retries there is max_retries",
                        luaL_typename(L, index));
        return false;
    }
    *code = REEVE_OK;
    if (max_retries != REEVE_LUA_NOT_GIVEN)
        task->retry.max_attempts = attempts_of(max_retries);
    return true;
}
