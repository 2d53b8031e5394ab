/*
 * The handshake of a new connection, one flight: who we are, which database,
 * whether the server is one that may hold tasks, and its scripts.
 */
#include "base/bytes.h"
#include "broker/redis/ops.h"

#include <stdio.h>
#include <stdarg.h>
#include <string.h>

#define VERSION_MIN 602 /* major * 100 + minor: LPOP with a count, LPOS */
#define VERSION_MIN_TEXT "6.2"

enum hello_part {
    PART_AUTH,
    PART_SELECT,
    PART_NAME,
    PART_TIME,
    PART_ID,
    PART_SERVER,
    PART_REPLICATION,
    PART_MEMORY,
    PART_PERSISTENCE,
    PART_SCRIPTS,
    PART_LOAD,
};

static void command(reeve__op_hello *op, reeve__engine *engine, size_t part,
                    const char *const *words, size_t count) {
    reeve__engine_command(engine, &op->op, part, count);
    for (size_t i = 0; i < count; i++) {
        reeve__cmd_text(&engine->out, words[i]);
    }
}

static void ask_info(reeve__op_hello *op, reeve__engine *engine, size_t part,
                     const char *section) {
    command(op, engine, part, (const char *const[]){ "INFO", section }, 2);
}

static void ask_identity(reeve__op_hello *op, reeve__engine *engine) {
    const reeve__hello_options *options = op->options;
    if (options->password) {
        size_t argc = options->user ? 3 : 2;
        reeve__engine_command(engine, &op->op, PART_AUTH, argc);
        reeve__cmd_text(&engine->out, "AUTH");
        if (options->user) {
            reeve__cmd_text(&engine->out, options->user);
        }
        reeve__cmd_text(&engine->out, options->password);
    }
    if (options->db != 0) {
        reeve__engine_command(engine, &op->op, PART_SELECT, 2);
        reeve__cmd_text(&engine->out, "SELECT");
        reeve__cmd_int(&engine->out, options->db);
    }
    command(op, engine, PART_NAME,
            (const char *const[]){ "CLIENT", "SETNAME", options->client_name },
            3);
}

static void ask_checks(reeve__op_hello *op, reeve__engine *engine) {
    command(op, engine, PART_TIME, (const char *const[]){ "TIME" }, 1);
    ask_info(op, engine, PART_SERVER, "server");
    ask_info(op, engine, PART_REPLICATION, "replication");
    ask_info(op, engine, PART_MEMORY, "memory");
    if (op->options->worker) {
        ask_info(op, engine, PART_PERSISTENCE, "persistence");
    }
    reeve__engine_command(engine, &op->op, PART_SCRIPTS,
                          2 + REEVE__SCRIPT_COUNT);
    reeve__cmd_text(&engine->out, "SCRIPT");
    reeve__cmd_text(&engine->out, "EXISTS");
    for (size_t i = 0; i < REEVE__SCRIPT_COUNT; i++) {
        reeve__cmd_text(&engine->out, reeve__scripts[i].sha1);
    }
}

static void fail(reeve__op_hello *op, int32_t code, const char *fmt, ...)
    REEVE_PRINTF(3, 4);

static void fail(reeve__op_hello *op, int32_t code, const char *fmt, ...) {
    char text[sizeof(((reeve_error *)NULL)->message)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    reeve_error err;
    reeve__fail(&err, code, "%s", text);
    reeve__op_fail(&op->op, &err);
}

/* "name:value\r\n" of an INFO reply; empty when absent. */
static reeve_bytes info_get(reeve_bytes info, const char *name) {
    size_t size = strlen(name);
    for (size_t at = 0; at < info.size;) {
        const char *line = info.data + at;
        const char *end = memchr(line, '\n', info.size - at);
        size_t length = end ? (size_t)(end - line) : info.size - at;
        at += length + 1;
        length -= length > 0 && line[length - 1] == '\r';
        if (length > size && line[size] == ':' &&
            memcmp(line, name, size) == 0) {
            return (reeve_bytes){ line + size + 1, length - size - 1 };
        }
    }
    return (reeve_bytes){ NULL, 0 };
}

/* A value cut to what fits into a message. */
static int shown(reeve_bytes value) {
    return value.size < 64 ? (int)value.size : 64;
}

static void check_version(reeve__op_hello *op, const reeve__engine *engine,
                          reeve_bytes info) {
    reeve_bytes version = info_get(info, "redis_version");
    int major = 0, minor = 0;
    char text[32] = "";
    snprintf(text, sizeof(text), "%.*s", shown(version),
             version.data ? version.data : "");
    if (sscanf(text, "%d.%d", &major, &minor) != 2) {
        reeve__log(engine->env, REEVE_LOG_WARN,
                   "redis at %s does not tell its version", engine->label);
    } else if (major * 100 + minor < VERSION_MIN) {
        fail(op, REEVE_E_UNSUPPORTED,
             "redis %s at %s is too old, " VERSION_MIN_TEXT
             " or newer is needed",
             text, engine->label);
    }
}

static void check_role(reeve__op_hello *op, const reeve__engine *engine,
                       reeve_bytes info) {
    if (reeve__bytes_is(info_get(info, "role"), "slave")) {
        fail(op, REEVE_E_UNSAFE,
             "redis at %s is a replica and takes no tasks; name its primary",
             engine->label);
    }
}

static void check_memory(reeve__op_hello *op, const reeve__engine *engine,
                         reeve_bytes info) {
    reeve_bytes policy = info_get(info, "maxmemory_policy");
    int64_t limit_bytes = 0;
    if (!reeve__int_parse(&limit_bytes, info_get(info, "maxmemory")) ||
        limit_bytes == 0 || policy.size == 0 ||
        reeve__bytes_is(policy, "noeviction")) {
        return;
    }
    if (op->options->allow_eviction) {
        reeve__log(engine->env, REEVE_LOG_WARN,
                   "redis at %s may evict tasks: maxmemory-policy is %.*s",
                   engine->label, shown(policy), policy.data);
        return;
    }
    fail(op, REEVE_E_UNSAFE,
         "redis at %s evicts keys when memory is full (maxmemory-policy "
         "%.*s), which loses tasks; set noeviction, or add "
         "?allow_eviction=yes to the url",
         engine->label, shown(policy), policy.data);
}

static void check_persistence(const reeve__engine *engine, reeve_bytes info,
                              const reeve__reply *reply) {
    if (reply->type == REEVE__REPLY_STRING &&
        reeve__bytes_is(info_get(info, "aof_enabled"), "0")) {
        reeve__log(engine->env, REEVE_LOG_INFO,
                   "redis at %s has no append-only file: a crash of the "
                   "server loses what came since its last snapshot",
                   engine->label);
    }
}

static void on_info(reeve__op_hello *op, reeve__engine *engine, size_t part,
                    const reeve__reply *reply) {
    if (reply->type != REEVE__REPLY_STRING) {
        if (part == PART_SERVER && op->op.rc == REEVE_OK) {
            reeve__log(engine->env, REEVE_LOG_WARN,
                       "redis at %s refuses INFO: its version, role and "
                       "eviction policy are not checked",
                       engine->label);
        }
        return;
    }
    switch (part) {
    case PART_SERVER:
        check_version(op, engine, reply->bytes);
        break;
    case PART_REPLICATION:
        check_role(op, engine, reply->bytes);
        break;
    case PART_MEMORY:
        check_memory(op, engine, reply->bytes);
        break;
    default:
        check_persistence(engine, reply->bytes, reply);
        break;
    }
}

static void on_time(reeve__op_hello *op, reeve__engine *engine,
                    const reeve__reply *reply) {
    int64_t seconds, micros;
    if (!reeve__reply_at(reply, 1) ||
        !reeve__reply_int(&seconds, &reply->elements[0]) ||
        !reeve__reply_int(&micros, &reply->elements[1])) {
        reeve__op_malformed(&op->op, engine, "TIME");
        return;
    }
    reeve__engine_saw_time(engine, seconds * 1000 + micros / 1000);
}

static void on_scripts(reeve__op_hello *op, reeve__engine *engine,
                       const reeve__reply *reply) {
    for (size_t i = 0; i < REEVE__SCRIPT_COUNT; i++) {
        const reeve__reply *known = reeve__reply_at(reply, i);
        if (known && known->integer == 1) {
            continue;
        }
        reeve__engine_command(engine, &op->op, PART_LOAD, 3);
        reeve__cmd_text(&engine->out, "SCRIPT");
        reeve__cmd_text(&engine->out, "LOAD");
        reeve__cmd_bytes(&engine->out,
                         (reeve_bytes){ reeve__scripts[i].text,
                                        reeve__scripts[i].text_bytes });
    }
}

/* AUTH and SELECT, with words of our own for what users get wrong. */
static void on_refused(reeve__op_hello *op, const reeve__engine *engine,
                       size_t part, const reeve__reply *reply) {
    char what[160];
    int32_t error = reeve__reply_error_of(reply);
    if (part == PART_AUTH && error != REEVE__REPLY_BUSY) {
        fail(op, REEVE_E_AUTH, "redis at %s refused the %s: %.*s",
             engine->label, op->options->user ? "user or password" : "password",
             shown(reply->bytes), reply->bytes.data);
        return;
    }
    if (part == PART_SELECT && error == REEVE__REPLY_REFUSED) {
        fail(op, REEVE_E_INVALID, "redis at %s has no database %d: %.*s",
             engine->label, op->options->db, shown(reply->bytes),
             reply->bytes.data);
        return;
    }
    snprintf(what, sizeof(what), "hello at %s", engine->label);
    reeve_error err;
    reeve__reply_fail(reply, what, &err);
    reeve__op_fail(&op->op, &err);
}

static void hello_on_reply(reeve__op *base, reeve__engine *engine, size_t part,
                           reeve__reply **reply) {
    reeve__op_hello *op = (reeve__op_hello *)base;
    int32_t error = reeve__reply_error_of(*reply);
    bool serious = part == PART_AUTH || part == PART_SELECT ||
                   part == PART_TIME || error == REEVE__REPLY_BUSY;
    if (error != REEVE__REPLY_FINE && serious) {
        on_refused(op, engine, part, *reply);
        return;
    }
    switch (part) {
    case PART_TIME:
        on_time(op, engine, *reply);
        break;
    case PART_ID:
        op->client_id = (*reply)->integer;
        break;
    case PART_SERVER:
    case PART_REPLICATION:
    case PART_MEMORY:
    case PART_PERSISTENCE:
        on_info(op, engine, part, *reply);
        break;
    case PART_SCRIPTS:
        if (op->op.rc == REEVE_OK && error == REEVE__REPLY_FINE) {
            on_scripts(op, engine, *reply);
        }
        break;
    default: /* a name that is refused, a script that is loaded later */
        break;
    }
}

void reeve__op_hello_begin(reeve__op_hello *op, reeve__engine *engine,
                           const reeve__hello_options *options) {
    *op = (reeve__op_hello){
        .op = { .on_reply = hello_on_reply, .wants_errors = true },
        .options = options,
    };
    ask_identity(op, engine);
    if (options->check) {
        ask_checks(op, engine);
    } else {
        command(op, engine, PART_ID, (const char *const[]){ "CLIENT", "ID" },
                2);
    }
}
