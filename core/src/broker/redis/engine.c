/*
 * Output, the ring of expected replies, NOSCRIPT and the server's clock.
 */
#include "broker/redis/engine.h"

#include <stdio.h>

#define RING_MIN ((size_t)64)

reeve_rc reeve__engine_init(reeve__engine *engine, reeve_env *env,
                            reeve_bytes prefix, const char *label,
                            reeve_error *err) {
    *engine = (reeve__engine){ .env = env, .prefix = prefix, .label = label };
    reeve__buf_init(&engine->out, env);
    return reeve__reply_reader_new(&engine->reader, env, NULL, err);
}

void reeve__engine_dispose(reeve__engine *engine) {
    reeve__buf_dispose(&engine->out);
    reeve__reply_reader_free(engine->reader);
    reeve__free(engine->env, engine->ring);
    engine->reader = NULL;
    engine->ring = NULL;
}

reeve_rc reeve__engine_reset(reeve__engine *engine, reeve_error *err) {
    reeve__buf_clear(&engine->out);
    engine->ring_first = 0;
    engine->ring_count = 0;
    engine->in_full = false;
    return reeve__reply_reader_reset(engine->reader, err);
}

void reeve__op_fail(reeve__op *op, const reeve_error *err) {
    if (op->rc == REEVE_OK) {
        op->rc = err->code;
        op->err = *err;
    }
}

void reeve__op_malformed(reeve__op *op, const reeve__engine *engine,
                         const char *what) {
    reeve_error err;
    reeve__fail(&err, REEVE_E_SERVER, "reply of redis at %s to %s is malformed",
                engine->label, what);
    reeve__op_fail(op, &err);
}

static bool ring_grow(reeve__engine *engine) {
    size_t capacity = engine->ring_capacity * 2;
    capacity = capacity < RING_MIN ? RING_MIN : capacity;
    reeve__expected *ring = reeve__calloc(engine->env, capacity, sizeof(*ring));
    if (!ring) {
        return false;
    }
    for (size_t i = 0; i < engine->ring_count; i++) {
        ring[i] =
            engine
                ->ring[(engine->ring_first + i) & (engine->ring_capacity - 1)];
    }
    reeve__free(engine->env, engine->ring);
    engine->ring = ring;
    engine->ring_capacity = capacity;
    engine->ring_first = 0;
    return true;
}

static void expect(reeve__engine *engine, reeve__op *op, size_t part,
                   int script) {
    op->waiting++;
    if (engine->ring_count == engine->ring_capacity && !ring_grow(engine)) {
        engine->out.failed = true;
        return;
    }
    size_t at = (engine->ring_first + engine->ring_count++) &
                (engine->ring_capacity - 1);
    engine->ring[at] = (reeve__expected){ .op = op,
                                          .part = (uint32_t)part,
                                          .script = (int16_t)script,
                                          .in_full = engine->in_full };
}

void reeve__engine_command(reeve__engine *engine, reeve__op *op, size_t part,
                           size_t argc) {
    expect(engine, op, part, -1);
    reeve__cmd_begin(&engine->out, argc);
}

void reeve__engine_script(reeve__engine *engine, reeve__op *op, size_t part,
                          int script, size_t key_count, size_t arg_count) {
    const reeve__script *text = &reeve__scripts[script];
    expect(engine, op, part, script);
    reeve__cmd_begin(&engine->out, 3 + key_count + arg_count);
    if (engine->in_full) {
        reeve__cmd_text(&engine->out, "EVAL");
        reeve__cmd_bytes(&engine->out,
                         (reeve_bytes){ text->text, text->text_bytes });
    } else {
        reeve__cmd_text(&engine->out, "EVALSHA");
        reeve__cmd_bytes(&engine->out, (reeve_bytes){ text->sha1, 40 });
    }
    reeve__cmd_int(&engine->out, (int64_t)key_count);
}

void reeve__engine_keys(reeve__engine *engine, reeve_bytes queue,
                        const uint8_t *keys, size_t count) {
    for (size_t i = 0; i < count; i++) {
        reeve__key_add(&engine->out, engine->prefix, queue,
                       (enum reeve__key)keys[i]);
    }
}

void reeve__op_refused(reeve__op *op, const reeve__engine *engine,
                       const char *what, const reeve__reply *reply) {
    char where[160];
    snprintf(where, sizeof(where), "%s at %s", what, engine->label);
    reeve_error err;
    reeve__reply_fail(reply, where, &err);
    reeve__op_fail(op, &err);
}

/* A script that the server lost: once more, in full. */
static bool send_again(reeve__engine *engine, const reeve__expected *expected,
                       const reeve__reply *reply) {
    if (expected->script < 0 || expected->in_full ||
        reeve__reply_error_of(reply) != REEVE__REPLY_NOSCRIPT) {
        return false;
    }
    engine->in_full = true;
    expected->op->send(expected->op, engine, expected->part);
    engine->in_full = false;
    return true;
}

static void dispatch(reeve__engine *engine, const reeve__expected *expected,
                     reeve__reply **reply) {
    reeve__op *op = expected->op;
    bool is_error = (*reply)->type == REEVE__REPLY_ERROR;
    if (!is_error || !send_again(engine, expected, *reply)) {
        if (is_error && !op->wants_errors) {
            reeve__op_refused(op, engine,
                              expected->script >= 0
                                  ? reeve__scripts[expected->script].name
                                  : "command",
                              *reply);
        } else {
            op->on_reply(op, engine, expected->part, reply);
        }
    }
    if (--op->waiting == 0 && op->on_done) {
        op->on_done(op, engine);
    }
}

reeve_rc reeve__engine_feed(reeve__engine *engine, reeve_bytes bytes,
                            reeve_error *err) {
    reeve_rc rc = reeve__reply_feed(engine->reader, bytes, err);
    while (rc == REEVE_OK) {
        reeve__reply *reply = NULL;
        rc = reeve__reply_next(&reply, engine->reader, err);
        if (rc < 0 || !reply) {
            break;
        }
        if (engine->ring_count == 0) {
            rc = reeve__fail(err, REEVE_E_NET,
                             "redis at %s sent a reply nobody asked for",
                             engine->label);
        } else {
            reeve__expected expected = engine->ring[engine->ring_first];
            engine->ring_first =
                (engine->ring_first + 1) & (engine->ring_capacity - 1);
            engine->ring_count--;
            dispatch(engine, &expected, &reply);
        }
        reeve__reply_free(reply);
        if (rc == REEVE_OK && engine->out.failed) {
            rc = reeve__fail_nomem(err);
        }
    }
    return rc;
}

void reeve__engine_saw_time(reeve__engine *engine, int64_t server_at_ms) {
    engine->server_at_ms = server_at_ms;
    engine->server_by_ns = reeve__mono_ns(engine->env);
}

int64_t reeve__engine_now(const reeve__engine *engine) {
    if (engine->server_by_ns == 0) {
        return 0;
    }
    int64_t passed_ns = reeve__mono_ns(engine->env) - engine->server_by_ns;
    return engine->server_at_ms + passed_ns / REEVE__MS_NS;
}
