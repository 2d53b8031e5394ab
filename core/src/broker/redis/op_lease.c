/*
 * active → active: renewing leases and listing those that have lapsed.
 */
#include "base/bytes.h"
#include "broker/redis/ops.h"

#include <stdlib.h>
#include <string.h>

#define EXTEND_CHUNK ((size_t)1000)
#define RECLAIM_MAX ((size_t)1000)
#define RECLAIM_HEAD ((size_t)3)
#define RECLAIM_FIELDS ((size_t)5)

static const uint8_t extend_keys[] = { REEVE__KEY_ACTIVE, REEVE__KEY_LEASES };
static const uint8_t reclaim_keys[] = { REEVE__KEY_ACTIVE, REEVE__KEY_LEASES };
static const uint8_t tasks_key[] = { REEVE__KEY_TASKS };

/* ---- extend -------------------------------------------------------------- */

static int by_token(const void *left, const void *right) {
    const reeve__lease_ref *a = *(reeve__lease_ref *const *)left;
    const reeve__lease_ref *b = *(reeve__lease_ref *const *)right;
    if (a->queue.size != b->queue.size) {
        return a->queue.size < b->queue.size ? -1 : 1;
    }
    int order = memcmp(a->queue.data, b->queue.data, a->queue.size);
    if (order != 0) {
        return order;
    }
    return a->token < b->token ? -1 : a->token > b->token;
}

/* How many refs from first on go into one script. */
static size_t extend_chunk(const reeve__op_extend *op, size_t first) {
    size_t count = 1;
    while (first + count < op->count && count < EXTEND_CHUNK &&
           reeve__bytes_equal(op->refs[first + count]->queue,
                              op->refs[first]->queue)) {
        count++;
    }
    return count;
}

static size_t token_run(const reeve__op_extend *op, size_t at, size_t end) {
    size_t count = 1;
    while (at + count < end &&
           op->refs[at + count]->token == op->refs[at]->token) {
        count++;
    }
    return count;
}

/* A part is named by its first ref. */
static void extend_send(reeve__op *base, reeve__engine *engine, size_t first) {
    reeve__op_extend *op = (reeve__op_extend *)base;
    size_t count = extend_chunk(op, first), runs = 0;
    for (size_t i = first; i < first + count;
         i += token_run(op, i, first + count)) {
        runs++;
    }
    reeve__engine_script(engine, base, first, REEVE__SCRIPT_EXTEND,
                         sizeof(extend_keys), 1 + runs * 2 + count);
    reeve__engine_keys(engine, op->refs[first]->queue, extend_keys,
                       sizeof(extend_keys));
    reeve__cmd_int(&engine->out, op->lease_ms);
    for (size_t i = first, run; i < first + count; i += run) {
        run = token_run(op, i, first + count);
        reeve__cmd_int(&engine->out, op->refs[i]->token);
        reeve__cmd_int(&engine->out, (int64_t)run);
        for (size_t k = i; k < i + run; k++) {
            reeve__cmd_bytes(&engine->out, op->refs[k]->id);
        }
    }
}

static void extend_on_reply(reeve__op *base, reeve__engine *engine,
                            size_t first, reeve__reply **reply) {
    reeve__op_extend *op = (reeve__op_extend *)base;
    size_t count = extend_chunk(op, first);
    int64_t now_at_ms;
    if (!reeve__reply_at(*reply, 0) ||
        !reeve__reply_int(&now_at_ms, &(*reply)->elements[0])) {
        reeve__op_malformed(base, engine, "extend");
        return;
    }
    reeve__engine_saw_time(engine, now_at_ms);
    for (size_t i = 0; i < count; i++) {
        op->refs[first + i]->lost = false;
    }
    for (size_t i = 1; i < (*reply)->count; i++) {
        int64_t index;
        if (!reeve__reply_int(&index, &(*reply)->elements[i]) || index < 0 ||
            (size_t)index >= count) {
            reeve__op_malformed(base, engine, "extend");
            return;
        }
        op->refs[first + (size_t)index]->lost = true;
    }
}

reeve_rc reeve__op_extend_begin(reeve__op_extend *op, reeve__engine *engine,
                                reeve__lease_ref *refs, size_t count,
                                int64_t lease_ms, reeve_error *err) {
    *op = (reeve__op_extend){
        .op = { .send = extend_send, .on_reply = extend_on_reply },
        .env = engine->env,
        .count = count,
        .lease_ms = lease_ms,
    };
    op->refs = reeve__calloc(op->env, count, sizeof(reeve__lease_ref *));
    if (!op->refs) {
        return reeve__fail_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        op->refs[i] = &refs[i];
    }
    qsort(op->refs, count, sizeof(op->refs[0]), by_token);
    for (size_t first = 0; first < count; first += extend_chunk(op, first)) {
        extend_send(&op->op, engine, first);
    }
    return REEVE_OK;
}

void reeve__op_extend_dispose(reeve__op_extend *op) {
    reeve__free(op->env, op->refs);
    op->refs = NULL;
}

/* ---- reclaim ------------------------------------------------------------- */

static size_t listed(const reeve__op_reclaim *op) {
    return (op->call.reply->count - RECLAIM_HEAD) / RECLAIM_FIELDS;
}

static const reeve__reply *listed_at(const reeve__op_reclaim *op,
                                     size_t index) {
    return &op->call.reply->elements[RECLAIM_HEAD + index * RECLAIM_FIELDS];
}

static bool rows_are_good(const reeve__op_reclaim *op) {
    const reeve__reply *reply = op->call.reply;
    if (reply->type != REEVE__REPLY_ARRAY || reply->count < RECLAIM_HEAD ||
        (reply->count - RECLAIM_HEAD) % RECLAIM_FIELDS != 0 ||
        listed(op) > op->max) {
        return false;
    }
    for (size_t i = 0; i < listed(op); i++) {
        const reeve__reply *row = listed_at(op, i);
        if (row[0].type != REEVE__REPLY_STRING ||
            row[2].type != REEVE__REPLY_STRING) {
            return false;
        }
    }
    return true;
}

static void ask_bodies(reeve__op_reclaim *op, reeve__engine *engine) {
    size_t count = listed(op);
    for (size_t at = 0; at < count; at += REEVE__BODIES_CHUNK) {
        size_t ids = count - at;
        ids = ids < REEVE__BODIES_CHUNK ? ids : REEVE__BODIES_CHUNK;
        reeve__engine_command(engine, &op->call.op, 1 + op->bodies_count,
                              2 + ids);
        op->bodies_count++;
        reeve__cmd_text(&engine->out, "HMGET");
        reeve__engine_keys(engine, op->call.queue, tasks_key, 1);
        for (size_t i = at; i < at + ids; i++) {
            reeve__cmd_bytes(&engine->out, listed_at(op, i)[0].bytes);
        }
    }
}

static void reclaim_on_reply(reeve__op *base, reeve__engine *engine,
                             size_t part, reeve__reply **reply) {
    reeve__op_reclaim *op = (reeve__op_reclaim *)base;
    if (part > 0) {
        op->bodies[part - 1] = *reply;
        *reply = NULL;
        return;
    }
    op->call.reply = *reply;
    *reply = NULL;
    if (!rows_are_good(op)) {
        reeve__op_malformed(base, engine, "reclaim");
        return;
    }
    ask_bodies(op, engine);
}

void reeve__op_reclaim_begin(reeve__op_reclaim *op, reeve__engine *engine,
                             reeve_bytes queue, reeve_bytes worker,
                             size_t max) {
    memset(op, 0, sizeof(*op));
    reeve__call_init(&op->call, REEVE__SCRIPT_RECLAIM, queue, reclaim_keys,
                     sizeof(reclaim_keys));
    op->call.op.on_reply = reclaim_on_reply;
    op->worker = worker;
    op->max = max < RECLAIM_MAX ? max : RECLAIM_MAX;
    op->max = op->max > 0 ? op->max : 1;
    reeve__call_arg_int(&op->call, (int64_t)op->max);
    reeve__call_arg(&op->call, worker);
    reeve__call_begin(&op->call, engine);
}

reeve_rc reeve__op_reclaim_deliver(reeve__op_reclaim *op,
                                   const reeve__engine *engine,
                                   int64_t *out_next_at_ms,
                                   reeve__row_fn on_row, void *ctx,
                                   reeve_error *err) {
    int64_t now_at_ms = reeve__call_int(&op->call, engine, 0);
    int64_t next_at_ms = reeve__call_int(&op->call, engine, 1);
    bool full = reeve__call_int(&op->call, engine, 2) != 0;
    /* What did not fit has lapsed already: look again at once. */
    *out_next_at_ms = full ? now_at_ms : next_at_ms;
    reeve_rc rc = REEVE_OK;
    for (size_t i = 0; i < listed(op) && rc == REEVE_OK; i++) {
        const reeve__reply *fields = listed_at(op, i);
        const reeve__reply *body = reeve__reply_at(
            op->bodies[i / REEVE__BODIES_CHUNK], i % REEVE__BODIES_CHUNK);
        int64_t token = 0, lease_ms = 0, priority = REEVE_PRIORITY_DEFAULT;
        reeve__reply_int(&token, &fields[1]);
        reeve__reply_int(&lease_ms, &fields[3]);
        reeve__reply_int(&priority, &fields[4]);
        bool anonymous = reeve__bytes_is(fields[2].bytes, "-");
        reeve__row row = {
            .queue = op->call.queue,
            .id = fields[0].bytes,
            .envelope = body && body->type == REEVE__REPLY_STRING
                            ? body->bytes
                            : (reeve_bytes){ NULL, 0 },
            .state = REEVE_STATE_ACTIVE,
            .priority = (int32_t)priority,
            .token = token,
            .lease_ms = lease_ms,
            .now_at_ms = now_at_ms,
            .worker = anonymous ? (reeve_bytes){ NULL, 0 } : fields[2].bytes,
        };
        rc = on_row(ctx, &row, err);
    }
    return rc;
}

void reeve__op_reclaim_dispose(reeve__op_reclaim *op) {
    reeve__call_dispose(&op->call);
    for (size_t i = 0; i < op->bodies_count; i++) {
        reeve__reply_free(op->bodies[i]);
    }
    op->bodies_count = 0;
}
