/*
 * Spans of time as people write them: seconds, or "500ms", "90s", "1h30m".
 */
#include <math.h>
#include <string.h>

#include "glue.h"

static bool is_space(char byte) {
    return byte == ' ' || byte == '\t';
}

static bool is_digit(char byte) {
    return byte >= '0' && byte <= '9';
}

/* Reads "12.5" at *at; false when there is no digit. */
static bool read_number(double *out, const char *text, size_t size,
                        size_t *at) {
    double value = 0;
    double unit = 1;
    bool any = false;
    bool fraction = false;
    for (; *at < size; (*at)++) {
        char byte = text[*at];
        if (byte == '.' && any && !fraction) {
            fraction = true;
            continue;
        }
        if (!is_digit(byte))
            break;
        any = true;
        value = value * 10 + (byte - '0');
        if (fraction)
            unit *= 10;
    }
    *out = value / unit;
    return any && !(*at && text[*at - 1] == '.');
}

/* Milliseconds of the unit at *at, 0 when there is none. */
static double read_unit(const char *text, size_t size, size_t *at) {
    static const struct {
        const char *name;
        double ms;
    } units[] = {
        { "ms", 1 },      { "s", 1000 },       { "m", 60000 },
        { "h", 3600000 }, { "d", 86400000.0 }, { "w", 604800000.0 },
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t length = strlen(units[i].name);
        if (size - *at >= length &&
            memcmp(text + *at, units[i].name, length) == 0) {
            *at += length;
            return units[i].ms;
        }
    }
    return 0;
}

static bool text_ms(double *out, reeve_bytes text) {
    double total = 0;
    size_t at = 0;
    size_t parts = 0;
    for (;;) {
        while (at < text.size && is_space(text.data[at]))
            at++;
        if (at == text.size)
            break;
        double number = 0;
        if (!read_number(&number, text.data, text.size, &at))
            return false;
        while (at < text.size && is_space(text.data[at]))
            at++;
        double unit = read_unit(text.data, text.size, &at);
        if (unit <= 0)
            return false;
        total += number * unit;
        parts++;
    }
    *out = total;
    return parts > 0;
}

/* Milliseconds at index, not yet rounded. False: pushed a message. */
static bool raw_ms(lua_State *L, double *out, int index, const char *what) {
    if (lua_type(L, index) == LUA_TNUMBER) {
        *out = lua_tonumber(L, index) * 1000;
        return true;
    }
    if (lua_type(L, index) == LUA_TSTRING) {
        char shown[64];
        reeve_bytes text = reeve_lua_bytes(L, index);
        if (text_ms(out, text))
            return true;
        lua_pushfstring(L,
                        "%s is '%s'; write seconds, or a number and a unit as "
                        "\"90s\", \"10m\", \"2h\"",
                        what, reeve_lua_show(shown, sizeof shown, text));
        return false;
    }
    lua_pushfstring(L, "%s must be seconds or text as \"90s\", not %s", what,
                    luaL_typename(L, index));
    return false;
}

static bool is_forever(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TNUMBER)
        return isinf(lua_tonumber(L, index)) && lua_tonumber(L, index) > 0;
    return lua_type(L, index) == LUA_TSTRING &&
           strcmp(lua_tostring(L, index), "forever") == 0;
}

bool reeve_lua_read_span(lua_State *L, int64_t *out, int index, int64_t low_ms,
                         const char *what) {
    if (low_ms == REEVE_NEVER) {
        if (is_forever(L, index)) {
            *out = REEVE_NEVER;
            return true;
        }
        low_ms = 0;
    }
    double ms = 0;
    if (!raw_ms(L, &ms, index, what))
        return false;
    /* Up, so that a tiny span is never nothing; not for 0.1 * 1000. */
    double whole = ceil(round(ms * 1000) / 1000);
    char shown[REEVE_LUA_NUMBER_BYTES];
    char least[REEVE_LUA_NUMBER_BYTES];
    reeve_lua_number(shown, ms / 1000);
    if (!(ms >= 0) || whole < (double)low_ms) {
        lua_pushfstring(L, "%s is %s s; it must be at least %s s", what, shown,
                        reeve_lua_number(least, (double)low_ms / 1000));
        return false;
    }
    if (whole > (double)REEVE_SPAN_MS_MAX) {
        lua_pushfstring(L, "%s is %s s; the longest span is ten years", what,
                        shown);
        return false;
    }
    *out = (int64_t)whole;
    return true;
}

bool reeve_lua_read_at(lua_State *L, int64_t *out, int index,
                       const char *what) {
    if (lua_type(L, index) != LUA_TNUMBER) {
        lua_pushfstring(L, "%s must be Unix seconds, not %s", what,
                        luaL_typename(L, index));
        return false;
    }
    double ms = round(lua_tonumber(L, index) * 1000);
    if (!(ms > 0 && ms < 9007199254740992.0)) {
        char shown[REEVE_LUA_NUMBER_BYTES];
        lua_pushfstring(L, "%s is %s; it must be Unix seconds after 1970", what,
                        reeve_lua_number(shown, lua_tonumber(L, index)));
        return false;
    }
    *out = (int64_t)ms;
    return true;
}
