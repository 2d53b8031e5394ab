/*
 * JSON text to Lua values. Strict (RFC 8259): UTF-8 checked, no duplicate
 * names, nothing after the value, depth and size bounded. No recursion and no
 * memory but Lua's, so that an error may unwind from anywhere. What goes the
 * other way is json_encode.c.
 */
#include <math.h>
#include <string.h>

#include "json.h"

enum {
    ARRAY,
    OBJECT
};

typedef struct json_reader {
    lua_State *L;
    const char *start;
    const char *at;
    const char *end;
    char *scratch;     /* room for a string without its escapes */
    int scratch_index; /* where on the stack it is anchored */
    const char *why;   /* what is wrong */
    int depth;
    int kind[REEVE_LUA_JSON_DEPTH_MAX];
    int count[REEVE_LUA_JSON_DEPTH_MAX]; /* of the array's items */
} json_reader;

static bool refuse(json_reader *reader, const char *why) {
    if (!reader->why)
        reader->why = why;
    return false;
}

static void skip_space(json_reader *reader) {
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' ||
            *reader->at == '\t'))
        reader->at++;
}

/* The next byte that is no space; 0 at the end. */
static char peek(json_reader *reader) {
    skip_space(reader);
    return reader->at < reader->end ? *reader->at : '\0';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Bytes of the well-formed sequence at text (RFC 3629); 0 when it is none. */
size_t reeve_lua_utf8_bytes(const char *text, size_t left) {
    const unsigned char *u = (const unsigned char *)text;
    size_t size = u[0] < 0x80 ? 1 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
    if (size == 1)
        return 1;
    if (u[0] < 0xc2 || u[0] > 0xf4 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((u[i] & 0xc0) != 0x80)
            return 0;
    }
    bool is_bad = (u[0] == 0xe0 && u[1] < 0xa0) ||
                  (u[0] == 0xed && u[1] > 0x9f) || /* surrogates */
                  (u[0] == 0xf0 && u[1] < 0x90) ||
                  (u[0] == 0xf4 && u[1] > 0x8f);
    return is_bad ? 0 : size;
}

/* ---- strings ------------------------------------------------------------- */

static bool read_hex(json_reader *reader, unsigned *out) {
    unsigned value = 0;
    if (reader->end - reader->at < 4)
        return refuse(reader, "a \\u escape is cut short");
    for (int i = 0; i < 4; i++) {
        char c = *reader->at++;
        unsigned digit = is_digit(c)              ? (unsigned)(c - '0')
                         : (c >= 'a' && c <= 'f') ? (unsigned)(c - 'a') + 10
                         : (c >= 'A' && c <= 'F') ? (unsigned)(c - 'A') + 10
                                                  : 16;
        if (digit == 16)
            return refuse(reader, "a \\u escape has no four hex digits");
        value = value * 16 + digit;
    }
    *out = value;
    return true;
}

/* Code point behind "\u", pairs joined. */
static bool read_code_point(json_reader *reader, unsigned *out) {
    unsigned high, low;
    if (!read_hex(reader, &high))
        return false;
    *out = high;
    if (high < 0xd800 || high > 0xdfff)
        return true;
    if (high > 0xdbff || reader->end - reader->at < 2 ||
        reader->at[0] != '\\' || reader->at[1] != 'u')
        return refuse(reader, "a \\u escape is half of a surrogate pair");
    reader->at += 2;
    if (!read_hex(reader, &low))
        return false;
    if (low < 0xdc00 || low > 0xdfff)
        return refuse(reader, "a \\u escape is half of a surrogate pair");
    *out = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

static char *put_utf8(char *to, unsigned point) {
    if (point < 0x80) {
        *to++ = (char)point;
    } else if (point < 0x800) {
        *to++ = (char)(0xc0 | point >> 6);
        *to++ = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        *to++ = (char)(0xe0 | point >> 12);
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    } else {
        *to++ = (char)(0xf0 | point >> 18);
        *to++ = (char)(0x80 | (point >> 12 & 0x3f));
        *to++ = (char)(0x80 | (point >> 6 & 0x3f));
        *to++ = (char)(0x80 | (point & 0x3f));
    }
    return to;
}

/* The escape after a backslash; never longer than what stood for it. */
static bool read_escape(json_reader *reader, char **to) {
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end)
        return refuse(reader, "a string is not closed");
    char c = *reader->at++;
    const char *found = c ? strchr(names, c) : NULL;
    if (found) {
        *(*to)++ = values[found - names];
        return true;
    }
    unsigned point = 0;
    if (c != 'u')
        return refuse(reader, "an escape is not known");
    if (!read_code_point(reader, &point))
        return false;
    *to = put_utf8(*to, point);
    return true;
}

/* Runs over plain bytes; false at a byte that may not be in a string. */
static bool run_plain(json_reader *reader) {
    while (reader->at < reader->end) {
        unsigned char c = (unsigned char)*reader->at;
        if (c == '"' || c == '\\')
            return true;
        if (c < 0x20)
            return refuse(reader, "a string has a raw control character");
        size_t size =
            c < 0x80 ? 1
                     : reeve_lua_utf8_bytes(reader->at,
                                            (size_t)(reader->end - reader->at));
        if (size == 0)
            return refuse(reader, "a string is not valid UTF-8");
        reader->at += size;
    }
    return refuse(reader, "a string is not closed");
}

/* A string with escapes: from start, of which the bytes up to at are plain. */
static bool push_escaped(json_reader *reader, const char *start) {
    lua_State *L = reader->L;
    if (!reader->scratch) {
        size_t room = (size_t)(reader->end - start);
        reader->scratch = reeve_lua_newuserdata(L, room);
        lua_replace(L, reader->scratch_index);
    }
    char *to = reader->scratch;
    for (;;) {
        size_t plain = (size_t)(reader->at - start);
        memcpy(to, start, plain);
        to += plain;
        if (*reader->at++ == '"')
            break;
        if (!read_escape(reader, &to))
            return false;
        start = reader->at;
        if (!run_plain(reader))
            return false;
    }
    lua_pushlstring(L, reader->scratch, (size_t)(to - reader->scratch));
    return true;
}

/* A string, whose quote is under at. */
static bool push_string(json_reader *reader) {
    const char *start = ++reader->at;
    if (!run_plain(reader))
        return false;
    if (*reader->at == '\\')
        return push_escaped(reader, start);
    lua_pushlstring(reader->L, start, (size_t)(reader->at - start));
    reader->at++;
    return true;
}

/* ---- numbers and words --------------------------------------------------- */

static bool skip_digits(json_reader *reader) {
    if (reader->at == reader->end || !is_digit(*reader->at))
        return refuse(reader, "a number has no digit where one must be");
    while (reader->at < reader->end && is_digit(*reader->at))
        reader->at++;
    return true;
}

/* Runs over a number; *is_integer: without fraction and exponent. */
static bool scan_number(json_reader *reader, bool *is_integer) {
    if (*reader->at == '-')
        reader->at++;
    bool is_zero = reader->at < reader->end && *reader->at == '0';
    const char *first = reader->at;
    if (!skip_digits(reader))
        return false;
    if (is_zero && reader->at - first > 1)
        return refuse(reader, "a number begins with 0");
    *is_integer = true;
    if (reader->at < reader->end && *reader->at == '.') {
        *is_integer = false;
        reader->at++;
        if (!skip_digits(reader))
            return false;
    }
    if (reader->at < reader->end && (*reader->at | 0x20) == 'e') {
        *is_integer = false;
        reader->at++;
        if (reader->at < reader->end &&
            (*reader->at == '+' || *reader->at == '-'))
            reader->at++;
        return skip_digits(reader);
    }
    return true;
}

/* Decimal text to an integer that Lua holds exactly. */
static bool exact_integer(int64_t *out, const char *text, size_t size) {
    bool negative = *text == '-';
    int64_t value = 0;
    for (size_t i = negative; i < size; i++) {
        int digit = text[i] - '0';
        if (value < (INT64_MIN + digit) / 10)
            return false;
        value = value * 10 - digit; /* below zero there is one more */
    }
    if (!negative && value == INT64_MIN)
        return false;
    *out = negative ? value : -value;
#if LUA_VERSION_NUM >= 503
    return true;
#else
    return value >= -REEVE_LUA_EXACT_MAX && value <= REEVE_LUA_EXACT_MAX;
#endif
}

static bool push_number(json_reader *reader) {
    lua_State *L = reader->L;
    const char *start = reader->at;
    bool is_integer;
    if (!scan_number(reader, &is_integer))
        return false;
    size_t size = (size_t)(reader->at - start);
    int64_t integer;
    if (is_integer && exact_integer(&integer, start, size)) {
        if (integer == 0 && *start == '-')
            lua_pushnumber(L, -0.0);
        else
            reeve_lua_push_int(L, integer);
        return true;
    }
    lua_pushlstring(L, start, size);
    if (is_integer)
        return true; /* its digits, for the number would be another one */
    lua_Number number = lua_tonumber(L, -1); /* by Lua: no locale */
    lua_pop(L, 1);
    if (!isfinite(number))
        return refuse(reader, "a number is out of range");
    lua_pushnumber(L, number);
    return true;
}

static bool take_word(json_reader *reader, const char *word) {
    size_t size = strlen(word);
    if ((size_t)(reader->end - reader->at) < size ||
        memcmp(reader->at, word, size) != 0)
        return refuse(reader, "a value is expected");
    reader->at += size;
    return true;
}

/* ---- containers ---------------------------------------------------------- */

static bool open_container(json_reader *reader, int kind) {
    if (reader->depth == REEVE_LUA_JSON_DEPTH_MAX)
        return refuse(reader, "it is nested too deeply (bound: 64)");
    reader->at++;
    reader->kind[reader->depth] = kind;
    reader->count[reader->depth++] = 0;
    lua_newtable(reader->L);
    return true;
}

static bool push_leaf(json_reader *reader) {
    lua_State *L = reader->L;
    switch (reader->at < reader->end ? *reader->at : '\0') {
    case '"':
        return push_string(reader);
    case 't':
        lua_pushboolean(L, 1);
        return take_word(reader, "true");
    case 'f':
        lua_pushboolean(L, 0);
        return take_word(reader, "false");
    case 'n':
        lua_pushlightuserdata(L, NULL);
        return take_word(reader, "null");
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return push_number(reader);
    default:
        return refuse(reader, "a value is expected");
    }
}

/* A member's name and colon. */
static bool push_name(json_reader *reader) {
    if (peek(reader) != '"')
        return refuse(reader, "a member's name is expected");
    if (!push_string(reader))
        return false;
    lua_pushvalue(reader->L, -1);
    lua_rawget(reader->L, -3);
    bool known = !lua_isnil(reader->L, -1);
    lua_pop(reader->L, 1);
    if (known)
        return refuse(reader, "an object has a name twice");
    if (peek(reader) != ':')
        return refuse(reader, "a colon is expected");
    reader->at++;
    return true;
}

/* Puts the value on top into its container; false when that is the end. */
static void store(json_reader *reader) {
    int top = reader->depth - 1;
    if (reader->kind[top] == OBJECT)
        lua_rawset(reader->L, -3);
    else
        lua_rawseti(reader->L, -2, ++reader->count[top]);
}

/* The container on top is complete. */
static void close_container(json_reader *reader) {
    int top = --reader->depth;
    reader->at++;
    if (reader->kind[top] == ARRAY && reader->count[top] == 0) {
        lua_getfield(reader->L, LUA_REGISTRYINDEX, REEVE_LUA_ARRAY_MT);
        lua_setmetatable(reader->L, -2);
    }
}

/* Reads one value up to a leaf or an empty container and leaves it on top. */
static bool push_down(json_reader *reader) {
    for (;;) {
        char c = peek(reader);
        if (c != '{' && c != '[')
            return push_leaf(reader);
        if (!open_container(reader, c == '{' ? OBJECT : ARRAY))
            return false;
        if (peek(reader) == (c == '{' ? '}' : ']')) {
            close_container(reader);
            return true;
        }
        if (c == '{' && !push_name(reader))
            return false;
    }
}

/* Stores what is on top, closes what ends; *more: another value follows. */
static bool climb(json_reader *reader, bool *more) {
    *more = false;
    while (reader->depth > 0) {
        bool is_object = reader->kind[reader->depth - 1] == OBJECT;
        store(reader);
        char c = peek(reader);
        if (c == ',') {
            reader->at++;
            *more = true;
            return !is_object || push_name(reader);
        }
        if (c != (is_object ? '}' : ']'))
            return refuse(reader, is_object ? "a comma or } is expected"
                                            : "a comma or ] is expected");
        close_container(reader);
    }
    return true;
}

static bool read_text(json_reader *reader) {
    bool more = true;
    while (more) {
        if (!push_down(reader) || !climb(reader, &more))
            return false;
    }
    return peek(reader) == '\0' && reader->at == reader->end
               ? true
               : refuse(reader, "something follows the value");
}

bool reeve_lua_push_json(lua_State *L, reeve_bytes text) {
    if (text.size > REEVE_PAYLOAD_BYTES_MAX) {
        lua_pushfstring(L, "json has %d bytes, at most %d are allowed",
                        (int)text.size, (int)REEVE_PAYLOAD_BYTES_MAX);
        return false;
    }
    luaL_checkstack(L, REEVE_LUA_JSON_DEPTH_MAX * 2 + 8, "json");
    int base = lua_gettop(L);
    lua_pushnil(L);
    json_reader reader = {
        .L = L,
        .start = text.data,
        .at = text.data,
        .end = text.data + text.size,
        .scratch_index = base + 1,
    };
    if (!read_text(&reader)) {
        lua_settop(L, base);
        lua_pushfstring(L, "json at byte %d: %s",
                        (int)(reader.at - reader.start), reader.why);
        return false;
    }
    lua_remove(L, base + 1);
    return true;
}

/* ---- the module's functions ---------------------------------------------- */

static int json_decode(lua_State *L) {
    size_t size;
    const char *data = luaL_checklstring(L, 1, &size);
    if (reeve_lua_push_json(L, (reeve_bytes){ data, size }))
        return 1;
    return reeve_lua_failf(L, REEVE_E_INVALID, "%s", lua_tostring(L, -1));
}

static int json_encode(lua_State *L) {
    luaL_checkany(L, 1);
    if (reeve_lua_to_json(L, 1))
        return 1;
    return reeve_lua_failf(L, REEVE_E_INVALID, "%s", lua_tostring(L, -1));
}

/* array(table): marks a table as an array, the empty one too. */
static int array(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, REEVE_LUA_ARRAY_MT);
    lua_setmetatable(L, 1);
    return 1;
}

void reeve_lua_open_json(lua_State *L) {
    static const luaL_Reg list[] = { { "json_decode", json_decode },
                                     { "json_encode", json_encode },
                                     { "array", array },
                                     { NULL, NULL } };
    reeve_lua_register(L, list);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    luaL_newmetatable(L, REEVE_LUA_ARRAY_MT);
    lua_setfield(L, -2, "empty_array_mt");
}
