/*
 * Lua values to JSON text. Arrays and objects are told apart by their keys and
 * by the array's metatable; what JSON cannot say is refused, never guessed. No
 * recursion and no memory but Lua's, so that an error may unwind from anywhere.
 */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

#define FIRST_BYTES 1024
#define CDATA 10 /* LuaJIT's type of FFI values */

typedef struct frame {
    int table;     /* index on the stack; an object's key is above it */
    size_t length; /* of an array */
    size_t next;   /* item of it to come */
    bool is_array;
    bool has_items;
} frame;

typedef struct json_writer {
    lua_State *L;
    int buffer_index; /* userdata behind data, once first is too small */
    char *data;
    size_t size;
    size_t capacity;
    char why[160];
    int depth;
    char first[FIRST_BYTES];
    frame frames[REEVE_LUA_JSON_DEPTH_MAX];
} json_writer;

/* ---- output -------------------------------------------------------------- */

static bool refuse(json_writer *writer, const char *why) {
    lua_State *L = writer->L;
    const frame *top =
        writer->depth ? &writer->frames[writer->depth - 1] : NULL;
    char where[64] = "";
    if (top && top->is_array)
        snprintf(where, sizeof where, " (item %zu)", top->next);
    else if (top && lua_gettop(L) > top->table &&
             lua_type(L, top->table + 1) == LUA_TSTRING) {
        char shown[40];
        reeve_lua_show(shown, sizeof shown, reeve_lua_bytes(L, top->table + 1));
        snprintf(where, sizeof where, " (member '%s')", shown);
    }
    snprintf(writer->why, sizeof writer->why, "%s%s", why, where);
    return false;
}

/* Room for more bytes at the end. */
static bool reserve(json_writer *writer, size_t more) {
    if (writer->capacity - writer->size >= more)
        return true;
    if (writer->size + more > REEVE_PAYLOAD_BYTES_MAX)
        return refuse(writer, "the json text exceeds 16777216 bytes");
    size_t capacity = writer->capacity * 2;
    if (capacity < writer->size + more)
        capacity = writer->size + more;
    char *data = reeve_lua_newuserdata(writer->L, capacity);
    memcpy(data, writer->data, writer->size);
    lua_replace(writer->L, writer->buffer_index);
    writer->data = data;
    writer->capacity = capacity;
    return true;
}

static bool add(json_writer *writer, const char *data, size_t size) {
    if (!reserve(writer, size))
        return false;
    memcpy(writer->data + writer->size, data, size);
    writer->size += size;
    return true;
}

static bool add_char(json_writer *writer, char c) {
    if (!reserve(writer, 1))
        return false;
    writer->data[writer->size++] = c;
    return true;
}

static bool add_escape(json_writer *writer, unsigned char c) {
    static const char from[] = "\b\t\n\f\r\"\\";
    static const char names[] = "btnfr\"\\";
    const char *found = c ? strchr(from, c) : NULL;
    char text[8];
    if (found) {
        text[0] = '\\';
        text[1] = names[found - from];
        return add(writer, text, 2);
    }
    snprintf(text, sizeof text, "\\u%04x", c);
    return add(writer, text, 6);
}

#define ONES UINT64_C(0x0101010101010101)

/* Whether eight bytes stand for themselves: one below ' ', a quote, a backslash
 * or one of 0x80 and above sets the highest bit of its lane in one of the four
 * terms. */
static bool are_plain(uint64_t lanes) {
    uint64_t found = lanes | (lanes - ONES * ' ') |
                     ((lanes ^ ONES * '"') - ONES) |
                     ((lanes ^ ONES * '\\') - ONES);
    return !(found & ONES * 0x80);
}

/* Where the bytes from at that stand for themselves end, as far as eight at a
 * time can tell. */
static size_t skip_plain(reeve_bytes text, size_t at) {
    uint64_t lanes;
    for (; text.size - at >= sizeof lanes; at += sizeof lanes) {
        memcpy(&lanes, text.data + at, sizeof lanes);
        if (!are_plain(lanes))
            return at;
    }
    lanes = ONES * 'a';
    memcpy(&lanes, text.data + at, text.size - at);
    return are_plain(lanes) ? text.size : at;
}

static bool add_string(json_writer *writer, reeve_bytes text) {
    size_t start = 0, at = skip_plain(text, 0);
    if (!reserve(writer, text.size + 2))
        return false;
    writer->data[writer->size++] = '"';
    if (at == text.size) {
        memcpy(writer->data + writer->size, text.data, text.size);
        writer->size += text.size;
        writer->data[writer->size++] = '"';
        return true;
    }
    while (at < text.size) {
        unsigned char c = (unsigned char)text.data[at];
        if (c >= 0x80) {
            size_t size = reeve_lua_utf8_bytes(text.data + at, text.size - at);
            if (size == 0)
                return refuse(writer, "a string is not valid UTF-8");
            at += size;
            continue;
        }
        if (c >= 0x20 && c != '"' && c != '\\') {
            at++;
            continue;
        }
        if (!add(writer, text.data + start, at - start) ||
            !add_escape(writer, c))
            return false;
        start = ++at;
        at = skip_plain(text, at);
    }
    return add(writer, text.data + start, text.size - start) &&
           add(writer, "\"", 1);
}

static bool add_integer(json_writer *writer, int64_t value) {
    char text[24];
    char *at = text + sizeof text;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0)
        *--at = '-';
    return add(writer, at, (size_t)(text + sizeof text - at));
}

/* The fewest digits that read back as the same number. */
static bool add_number(json_writer *writer, double value) {
    if (!isfinite(value))
        return refuse(writer, "json has no number like nan or inf");
    if (fabs(value) <= (double)REEVE_LUA_EXACT_MAX && floor(value) == value &&
        !(value == 0 && signbit(value)))
        return add_integer(writer, (int64_t)value);
    char text[64];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    const char *point = localeconv()->decimal_point;
    const char *found = strstr(text, point);
    if (!found)
        return add(writer, text, strlen(text));
    const char *rest = found + strlen(point);
    return add(writer, text, (size_t)(found - text)) && add(writer, ".", 1) &&
           add(writer, rest, strlen(rest));
}

/* ---- values -------------------------------------------------------------- */

/* LuaJIT's int64 and uint64 print as digits with LL or ULL behind. */
static bool add_cdata(json_writer *writer, int index) {
    lua_State *L = writer->L;
    lua_getglobal(L, "tostring");
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    const char *text = lua_tostring(L, -1);
    size_t digits = text ? strspn(text, "-0123456789") : 0;
    const char *rest = text ? text + digits : "";
    bool good = digits > 0 &&
                (strcmp(rest, "LL") == 0 || strcmp(rest, "ULL") == 0) &&
                add(writer, text, digits);
    lua_pop(L, 1);
    return good || refuse(writer, "json has no value like this cdata");
}

/* Whether the value at index is module[name] of a loaded lua-cjson. */
static bool is_cjsons(lua_State *L, int index, const char *module,
                      const char *name) {
    int top = lua_gettop(L);
    bool is = false;
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, module);
        if (lua_istable(L, -1)) {
            lua_pushstring(L, name);
            lua_rawget(L, -2);
            is = !lua_isnil(L, -1) && lua_rawequal(L, -1, index);
        }
    }
    lua_settop(L, top);
    return is;
}

static bool is_cjsons_any(lua_State *L, int index, const char *name) {
    return is_cjsons(L, index, "cjson", name) ||
           is_cjsons(L, index, "cjson.safe", name);
}

/* Whether the table at index is marked as an array, by us or by lua-cjson. */
static bool is_marked(lua_State *L, int index) {
    if (!lua_getmetatable(L, index))
        return false;
    int mt = lua_gettop(L);
    lua_getfield(L, LUA_REGISTRYINDEX, REEVE_LUA_ARRAY_MT);
    bool is = lua_rawequal(L, mt, -1) != 0;
    lua_settop(L, mt);
    is = is || is_cjsons_any(L, mt, "empty_array_mt") ||
         is_cjsons_any(L, mt, "array_mt");
    lua_settop(L, mt - 1);
    return is;
}

/* Whether the table at index has keys 1 … length and no other. */
static bool check_array(json_writer *writer, int index, size_t length) {
    lua_State *L = writer->L;
    size_t count = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        int64_t key;
        count++;
        if (lua_type(L, -1) != LUA_TNUMBER ||
            !reeve_lua_get_int(L, lua_gettop(L), &key) || key < 1 ||
            (uint64_t)key > length) {
            lua_pop(L, 1);
            return refuse(writer, "a table is neither an array without holes "
                                  "nor an object of string keys");
        }
    }
    return count == length || refuse(writer, "an array has a hole (use null)");
}

static bool open_table(json_writer *writer, int index) {
    lua_State *L = writer->L;
    size_t length = lua_rawlen(L, index);
    bool is_array = length > 0 || is_marked(L, index);
    if (writer->depth == REEVE_LUA_JSON_DEPTH_MAX)
        return refuse(writer, "tables are nested deeper than 64 (a cycle?)");
    if (is_array && !check_array(writer, index, length))
        return false;
    writer->frames[writer->depth++] = (frame){
        .table = index,
        .length = length,
        .is_array = is_array,
    };
    if (!is_array)
        lua_pushnil(L);
    return add_char(writer, is_array ? '[' : '{');
}

/* The value on top; a table is opened and stays, others are popped. */
static bool add_value(json_writer *writer) {
    lua_State *L = writer->L;
    int index = lua_gettop(L);
    int type = lua_type(L, index);
    bool good = true;
    switch (type) {
    case LUA_TTABLE:
        return open_table(writer, index);
    case LUA_TNIL:
        good = add(writer, "null", 4);
        break;
    case LUA_TBOOLEAN:
        good = lua_toboolean(L, index) ? add(writer, "true", 4)
                                       : add(writer, "false", 5);
        break;
    case LUA_TSTRING:
        good = add_string(writer, reeve_lua_bytes(L, index));
        break;
    case LUA_TNUMBER:
#if LUA_VERSION_NUM >= 503
        if (lua_isinteger(L, index)) {
            good = add_integer(writer, (int64_t)lua_tointeger(L, index));
            break;
        }
#endif
        good = add_number(writer, (double)lua_tonumber(L, index));
        break;
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, index))
            good = add(writer, "null", 4);
        else if (is_cjsons_any(L, index, "empty_array"))
            good = add(writer, "[]", 2);
        else
            good = refuse(writer, "json has no value like a pointer");
        break;
    case CDATA:
        good = add_cdata(writer, index);
        break;
    default: {
        char why[64];
        snprintf(why, sizeof why, "json has no value like a %s",
                 lua_typename(L, type));
        good = refuse(writer, why);
    }
    }
    lua_pop(L, 1);
    return good;
}

/* Pushes the next item of the open table, its name written; *more: there is
 * one. */
static bool next_item(json_writer *writer, bool *more) {
    lua_State *L = writer->L;
    frame *top = &writer->frames[writer->depth - 1];
    if (top->is_array) {
        *more = top->next < top->length;
        if (!*more)
            return true;
        top->next++;
        lua_rawgeti(L, top->table, (int)top->next);
        return top->next == 1 || add_char(writer, ',');
    }
    *more = lua_next(L, top->table) != 0;
    if (!*more)
        return true;
    if (lua_type(L, -2) != LUA_TSTRING)
        return refuse(writer, "a table is neither an array without holes nor "
                              "an object of string keys");
    bool first = !top->has_items;
    top->has_items = true;
    return (first || add_char(writer, ',')) &&
           add_string(writer, reeve_lua_bytes(L, lua_gettop(L) - 1)) &&
           add_char(writer, ':');
}

static bool write_value(json_writer *writer) {
    if (!add_value(writer))
        return false;
    while (writer->depth > 0) {
        bool more;
        if (!next_item(writer, &more))
            return false;
        if (more) {
            if (!add_value(writer))
                return false;
            continue;
        }
        bool is_array = writer->frames[--writer->depth].is_array;
        lua_pop(writer->L, 1); /* the table; lua_next took the key */
        if (!add_char(writer, is_array ? ']' : '}'))
            return false;
    }
    return true;
}

bool reeve_lua_to_json(lua_State *L, int index) {
    if (index < 0 && index > LUA_REGISTRYINDEX)
        index = lua_gettop(L) + 1 + index;
    luaL_checkstack(L, REEVE_LUA_JSON_DEPTH_MAX * 2 + 12, "json");
    int base = lua_gettop(L);
    json_writer writer; /* not to be cleared: it is large */
    writer.L = L;
    writer.buffer_index = base + 1;
    writer.data = writer.first;
    writer.size = 0;
    writer.capacity = sizeof writer.first;
    writer.depth = 0;
    lua_pushnil(L);
    lua_pushvalue(L, index);
    bool good = write_value(&writer);
    if (good)
        lua_pushlstring(L, writer.data, writer.size);
    else
        lua_pushstring(L, writer.why);
    lua_replace(L, base + 1);
    lua_settop(L, base + 1);
    return good;
}
