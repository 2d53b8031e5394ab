/*
 * Reading replies: values, and what a server's error means: class, message,
 * redirection. The words are those of Redis and Valkey (src/server.c,
 * createSharedObjects).
 */
#include <string.h>

#include "base/bytes.h"
#include "wire/resp.h"

#define TEXT_BYTES_MAX 160

bool reeve__reply_is_status(const reeve__reply *reply, const char *text) {
    return reply && reply->type == REEVE__REPLY_STATUS &&
           reeve__bytes_is(reply->bytes, text);
}

const reeve__reply *reeve__reply_at(const reeve__reply *reply, size_t index) {
    if (!reply || reply->type != REEVE__REPLY_ARRAY || index >= reply->count)
        return NULL;
    return &reply->elements[index];
}

bool reeve__reply_int(int64_t *out, const reeve__reply *reply) {
    if (!reply)
        return false;
    if (reply->type == REEVE__REPLY_INTEGER) {
        *out = reply->integer;
        return true;
    }
    return (reply->type == REEVE__REPLY_STRING ||
            reply->type == REEVE__REPLY_STATUS) &&
           reeve__int_parse(out, reply->bytes);
}

/* ---- error replies ------------------------------------------------------- */

static const struct meaning {
    const char *prefix; /* whole words */
    int32_t error;
} meanings[] = {
    { "NOSCRIPT", REEVE__REPLY_NOSCRIPT },
    { "NOAUTH", REEVE__REPLY_AUTH },
    { "WRONGPASS", REEVE__REPLY_AUTH },
    { "NOPERM", REEVE__REPLY_AUTH },
    { "DENIED", REEVE__REPLY_AUTH },
    { "ERR invalid password", REEVE__REPLY_AUTH },
    { "ERR AUTH", REEVE__REPLY_AUTH },
    { "ERR Client sent AUTH,", REEVE__REPLY_AUTH },
    { "ERR max number of clients", REEVE__REPLY_BUSY },
    { "LOADING", REEVE__REPLY_BUSY },
    { "BUSY", REEVE__REPLY_BUSY },
    { "TRYAGAIN", REEVE__REPLY_BUSY },
    { "CLUSTERDOWN", REEVE__REPLY_BUSY },
    { "MASTERDOWN", REEVE__REPLY_BUSY },
    { "NOREPLICAS", REEVE__REPLY_BUSY },
    { "MISCONF", REEVE__REPLY_BUSY },
    { "OOM", REEVE__REPLY_OOM },
    { "READONLY", REEVE__REPLY_READONLY },
    { "MOVED", REEVE__REPLY_MOVED },
    { "ASK", REEVE__REPLY_ASK },
};

static bool has_prefix(reeve_bytes text, const char *prefix) {
    size_t size = strlen(prefix);
    if (text.size < size || memcmp(text.data, prefix, size) != 0)
        return false;
    return text.size == size || text.data[size] == ' ';
}

/* Redis before 7 wraps the error of a command in a script: "ERR Error running
 * script (call to f_…): @user_script: 30: -OOM command not allowed". */
static reeve_bytes cause_of(reeve_bytes text) {
    if (!has_prefix(text, "ERR Error running script"))
        return text;
    for (size_t at = 3; at < text.size; at++)
        if (memcmp(text.data + at - 3, ": -", 3) == 0)
            return (reeve_bytes){ text.data + at, text.size - at };
    return text;
}

int32_t reeve__reply_error_of(const reeve__reply *reply) {
    if (!reply || reply->type != REEVE__REPLY_ERROR)
        return REEVE__REPLY_FINE;
    reeve_bytes text = cause_of(reply->bytes);
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (has_prefix(text, meanings[i].prefix))
            return meanings[i].error;
    return REEVE__REPLY_REFUSED;
}

/* One printable line; UTF-8 stays as it is. */
static void one_line(char *out, size_t room, reeve_bytes text) {
    size_t size = text.size < room - 1 ? text.size : room - 1;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        out[i] = c < ' ' || c == 0x7f ? ' ' : text.data[i];
    }
    out[size] = '\0';
}

static reeve_rc code_of(int32_t error) {
    switch (error) {
    case REEVE__REPLY_AUTH:
        return REEVE_E_AUTH;
    case REEVE__REPLY_BUSY:
    case REEVE__REPLY_OOM:
        return REEVE_E_BUSY;
    case REEVE__REPLY_READONLY:
        return REEVE_E_UNSAFE;
    case REEVE__REPLY_MOVED:
    case REEVE__REPLY_ASK:
        return REEVE_E_UNSUPPORTED;
    default:
        return REEVE_E_SERVER;
    }
}

static const char *remark_of(int32_t error) {
    switch (error) {
    case REEVE__REPLY_OOM:
        return "the server has reached maxmemory: ";
    case REEVE__REPLY_READONLY:
        return "the server is a read-only replica: ";
    case REEVE__REPLY_MOVED:
    case REEVE__REPLY_ASK:
        return "redis cluster is not in this version: ";
    default:
        return "";
    }
}

reeve_rc reeve__reply_fail(const reeve__reply *reply, const char *what,
                           reeve_error *err) {
    char text[TEXT_BYTES_MAX + 1];
    int32_t error = reeve__reply_error_of(reply);
    if (error == REEVE__REPLY_FINE)
        return 0;
    one_line(text, sizeof text, reply->bytes);
    return reeve__fail(err, code_of(error), "%s: %s%s", what, remark_of(error),
                       text);
}

/* "MOVED 3999 127.0.0.1:6381"; an IPv6 address has no brackets there. */
bool reeve__reply_redirect(reeve__redirect *out, const reeve__reply *reply) {
    int32_t error = reeve__reply_error_of(reply);
    if (error != REEVE__REPLY_MOVED && error != REEVE__REPLY_ASK)
        return false;
    const char *end = reply->bytes.data + reply->bytes.size;
    const char *slot_at =
        reply->bytes.data + (error == REEVE__REPLY_ASK ? 3 : 5);
    if (slot_at == end)
        return false;
    slot_at++;
    const char *space = memchr(slot_at, ' ', (size_t)(end - slot_at));
    if (!space)
        return false;
    const char *colon = end;
    while (colon > space + 1 && colon[-1] != ':')
        colon--;
    if (colon == space + 1)
        return false;
    int64_t slot = 0;
    int64_t port = 0;
    if (!reeve__int_parse(
            &slot, (reeve_bytes){ slot_at, (size_t)(space - slot_at) }) ||
        !reeve__int_parse(&port, (reeve_bytes){ colon, (size_t)(end - colon) }))
        return false;
    if (slot < 0 || slot > 16383 || port < 1 || port > 65535)
        return false;
    *out = (reeve__redirect){
        .ask = error == REEVE__REPLY_ASK,
        .slot = (int32_t)slot,
        .host = { space + 1, (size_t)(colon - 1 - (space + 1)) },
        .port = (int32_t)port,
    };
    return true;
}
