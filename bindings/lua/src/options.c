/*
 * Option tables, read by lists that name each option once. What is not in the
 * list is an error that names it.
 */
#include <math.h>
#include <string.h>

#include "glue.h"

#define NAME_BYTES_MAX 40
/* A beginning of this many letters is near, however much is missing. */
#define PREFIX_BYTES_MIN 3

/* Edits between two short names (Levenshtein); more than 40 bytes: far. */
static size_t edits_between(const char *a, const char *b) {
    size_t row[NAME_BYTES_MAX + 1];
    size_t a_size = strlen(a);
    size_t b_size = strlen(b);
    if (a_size > NAME_BYTES_MAX || b_size > NAME_BYTES_MAX)
        return NAME_BYTES_MAX;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t above = row[j];
            size_t best = corner + (a[i - 1] != b[j - 1]);
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            corner = above;
            row[j] = best;
        }
    }
    return row[b_size];
}

/* As edits_between, but one when either begins with the other. */
static size_t distance(const char *a, const char *b) {
    size_t a_size = strlen(a);
    size_t b_size = strlen(b);
    size_t size = a_size < b_size ? a_size : b_size;
    if (size >= PREFIX_BYTES_MIN && memcmp(a, b, size) == 0)
        return 1;
    return edits_between(a, b);
}

/* Pushes "what has no option 'name'; …". */
static void push_unknown(lua_State *L, const char *name,
                         const reeve_lua_option *list, const char *what) {
    char shown[NAME_BYTES_MAX + 1];
    reeve_lua_show(shown, sizeof shown, reeve_bytes_of(name));
    const reeve_lua_option *near = NULL;
    size_t least = strlen(name) / 3 + 1;
    for (const reeve_lua_option *option = list; option->name; option++) {
        size_t edits = distance(name, option->name);
        if (edits <= least && (!near || edits < least)) {
            near = option;
            least = edits;
        }
    }
    if (near) {
        lua_pushfstring(L, "%s has no option '%s'; did you mean '%s'?", what,
                        shown, near->name);
        return;
    }
    lua_pushfstring(L, "%s has no option '%s'; known are ", what, shown);
    for (const reeve_lua_option *option = list; option->name; option++) {
        lua_pushfstring(L, option == list ? "%s" : ", %s", option->name);
        lua_concat(L, 2);
    }
}

static bool wrong_type(lua_State *L, const char *name, const char *wanted,
                       int index) {
    lua_pushfstring(L, "%s must be %s, not %s", name, wanted,
                    luaL_typename(L, index));
    return false;
}

static bool out_of_bounds(lua_State *L, double value,
                          const reeve_lua_option *option) {
    char shown[REEVE_LUA_NUMBER_BYTES];
    char low[REEVE_LUA_NUMBER_BYTES];
    char high[REEVE_LUA_NUMBER_BYTES];
    lua_pushfstring(L, "%s is %s; it must be %s to %s", option->name,
                    reeve_lua_number(shown, value),
                    reeve_lua_number(low, (double)option->low),
                    reeve_lua_number(high, (double)option->high));
    return false;
}

static bool read_int(lua_State *L, int64_t *out, int index,
                     const reeve_lua_option *option) {
    if (lua_type(L, index) != LUA_TNUMBER)
        return wrong_type(L, option->name, "an integer", index);
    double number = lua_tonumber(L, index);
    if (option->kind == REEVE_LUA_COUNT && isinf(number) && number > 0) {
        *out = REEVE_NEVER;
        return true;
    }
    if (!reeve_lua_get_int(L, index, out)) {
        char shown[REEVE_LUA_NUMBER_BYTES];
        lua_pushfstring(L, "%s is %s; it must be an integer", option->name,
                        reeve_lua_number(shown, number));
        return false;
    }
    return (*out >= option->low && *out <= option->high) ||
           out_of_bounds(L, number, option);
}

static bool read_text(lua_State *L, void *member, int index,
                      const reeve_lua_option *option) {
    if (lua_type(L, index) != LUA_TSTRING)
        return wrong_type(L, option->name, "a string", index);
    reeve_bytes text = reeve_lua_bytes(L, index);
    if (text.size == 0) {
        lua_pushfstring(L, "%s is empty", option->name);
        return false;
    }
    if (option->kind == REEVE_LUA_BYTES) {
        *(reeve_bytes *)member = text;
        return true;
    }
    if (strlen(text.data) != text.size) {
        lua_pushfstring(L, "%s has a NUL byte", option->name);
        return false;
    }
    *(const char **)member = text.data;
    return true;
}

static bool read_flag(lua_State *L, int32_t *out, int index,
                      const reeve_lua_option *option) {
    if (lua_type(L, index) != LUA_TBOOLEAN)
        return wrong_type(L, option->name, "true or false", index);
    *out = lua_toboolean(L, index);
    return true;
}

static bool read_number(lua_State *L, double *out, int index,
                        const reeve_lua_option *option) {
    if (lua_type(L, index) != LUA_TNUMBER)
        return wrong_type(L, option->name, "a number", index);
    *out = lua_tonumber(L, index);
    return (*out >= (double)option->low && *out <= (double)option->high) ||
           out_of_bounds(L, *out, option);
}

/* The value at index into its member. */
static bool read_value(lua_State *L, void *out, int index,
                       const reeve_lua_option *option) {
    void *member = (char *)out + option->offset;
    int64_t value = 0;
    switch (option->kind) {
    case REEVE_LUA_TEXT:
    case REEVE_LUA_BYTES:
        return read_text(L, member, index, option);
    case REEVE_LUA_INT:
    case REEVE_LUA_COUNT:
        if (!read_int(L, &value, index, option))
            return false;
        *(int32_t *)member = (int32_t)value;
        return true;
    case REEVE_LUA_SIZE:
        if (!read_int(L, &value, index, option))
            return false;
        *(size_t *)member = (size_t)value;
        return true;
    case REEVE_LUA_LONG:
        return read_int(L, member, index, option);
    case REEVE_LUA_NUMBER:
        return read_number(L, member, index, option);
    case REEVE_LUA_SPAN:
        return reeve_lua_read_span(L, member, index, option->low, option->name);
    case REEVE_LUA_AT:
        return reeve_lua_read_at(L, member, index, option->name);
    case REEVE_LUA_FLAG:
        return read_flag(L, member, index, option);
    case REEVE_LUA_TABLE:
        return lua_istable(L, index) ||
               wrong_type(L, option->name, "a table", index);
    case REEVE_LUA_SEEN:
        *(int32_t *)member = 1;
        return true;
    default: /* ANY: the caller's */
        return true;
    }
}

bool reeve_lua_read_options(lua_State *L, void *out, reeve_rc *code, int index,
                            const reeve_lua_option *list, const char *what) {
    *code = REEVE_OK;
    if (lua_isnoneornil(L, index))
        return true;
    luaL_checkstack(L, 8, "options");
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            *code = REEVE_E_USAGE;
            lua_pushfstring(L, "%s: an option's name must be a string, not %s",
                            what, luaL_typename(L, -2));
            return false;
        }
        const char *name = lua_tostring(L, -2);
        const reeve_lua_option *option = list;
        while (option->name &&
               (option->name[0] != name[0] || strcmp(option->name, name) != 0))
            option++;
        if (!option->name) {
            *code = REEVE_E_USAGE;
            push_unknown(L, name, list, what);
            return false;
        }
        *code = REEVE_E_INVALID;
        if (!read_value(L, out, lua_gettop(L), option))
            return false;
        lua_pop(L, 1);
    }
    *code = REEVE_OK;
    return true;
}
