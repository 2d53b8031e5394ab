/*
 * The operator's verbs: queues, pages, single tasks, moves, pause, weights.
 */
#include "broker/redis/redis.h"

#include "base/bytes.h"
#include "broker/check.h"
#include "task/envelope.h"

#include <stdlib.h>
#include <string.h>

/* Of tally's reply; bodies follow. */
#define TALLY_NUMBERS ((size_t)10)
#define QUEUES_A_FLIGHT ((size_t)64)

static const uint8_t tasks_key[] = { REEVE__KEY_TASKS };

/* ---- pages and tasks ----------------------------------------------------- */

reeve_rc reeve__redis_list(reeve__broker *broker, reeve_bytes queue,
                           int32_t state, uint64_t cursor, size_t limit,
                           uint64_t *out_cursor, reeve__row_fn on_row,
                           void *ctx, reeve_error *err) {
    reeve_rc rc;
    *out_cursor = 0;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis || limit == 0) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    for (bool again = true; again;) {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__call call;
        reeve__engine *engine = &redis->main.engine;
        reeve__call_list(&call, engine, queue, state, cursor, limit);
        rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        again = reeve__is_retryable(rc);
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&call.op, err);
        }
        if (rc == REEVE_OK) {
            rc = reeve__call_list_rows(&call, engine, state, out_cursor, on_row,
                                       ctx, err);
        }
        reeve__call_dispose(&call);
    }
    return rc;
}

reeve_rc reeve__redis_find(reeve__broker *broker, reeve_bytes queue,
                           reeve_bytes id, reeve__row_fn on_row, void *ctx,
                           reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    for (bool again = true; again;) {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__call call;
        reeve__engine *engine = &redis->main.engine;
        reeve__call_find(&call, engine, queue, id);
        rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        again = reeve__is_retryable(rc);
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&call.op, err);
        }
        if (rc == REEVE_OK) {
            rc = reeve__call_find_row(&call, engine, id, on_row, ctx, err);
        }
        reeve__call_dispose(&call);
    }
    return rc;
}

reeve_rc reeve__redis_act(reeve__broker *broker, reeve__act *acts, size_t count,
                          reeve_error *err) {
    reeve_rc rc = reeve__acts_check(acts, count, err);
    if (rc < 0) {
        return rc;
    }
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis || count == 0) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    rc = reeve__link_connect(&redis->main, by_ns, -1, err);
    if (rc < 0) {
        return rc;
    }
    reeve__op_act op;
    reeve__op_act_begin(&op, &redis->main.engine, acts, count);
    rc = reeve__link_drive(&redis->main, &op.op, by_ns, -1, err);
    return rc < 0 ? rc : reeve__op_result(&op.op, err);
}

/* ---- pause and weights --------------------------------------------------- */

reeve_rc reeve__redis_pause(reeve__broker *broker, reeve_bytes queue,
                            bool paused, reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__call call, directory = { .reply = NULL };
        bool registers = reeve__redis_register(redis, &directory, queue);
        reeve__call_pause(&call, &redis->main.engine, queue, paused);
        rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&call.op, err);
        }
        if (rc == REEVE_OK && registers) {
            rc = reeve__op_result(&directory.op, err);
        }
        if (rc == REEVE_OK && registers) {
            reeve__redis_registered(redis, queue);
        }
        reeve__call_dispose(&directory);
        reeve__call_dispose(&call);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    return rc;
}

reeve_rc reeve__redis_set_weight(reeve__broker *broker, reeve_bytes queue,
                                 int32_t weight, reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__engine *engine = &redis->main.engine;
        reeve__call call, directory = { .reply = NULL };
        bool registers = reeve__redis_register(redis, &directory, queue);
        reeve__call_begin_command(&call, engine, weight != 0 ? 4 : 3);
        reeve__cmd_text(&engine->out, weight != 0 ? "HSET" : "HDEL");
        reeve__key_add_global(&engine->out, engine->prefix, "weights");
        reeve__cmd_bytes(&engine->out, queue);
        if (weight != 0) {
            reeve__cmd_int(&engine->out, weight);
        }
        rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&call.op, err);
        }
        if (rc == REEVE_OK && registers) {
            rc = reeve__op_result(&directory.op, err);
        }
        if (rc == REEVE_OK && registers) {
            reeve__redis_registered(redis, queue);
        }
        reeve__call_dispose(&directory);
        reeve__call_dispose(&call);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    return rc;
}

/* Every key of the queue, and the two that name it. */
static void drop_send(reeve__op *op, reeve__engine *engine, size_t part) {
    reeve__call *call = (reeve__call *)op;
    reeve__engine_script(engine, op, part, REEVE__SCRIPT_DROP,
                         REEVE__KEY_COUNT + 2, 1);
    reeve__key_add(&engine->out, engine->prefix, call->queue, REEVE__KEY_TASKS);
    reeve__key_add_global(&engine->out, engine->prefix, "queues");
    reeve__key_add_global(&engine->out, engine->prefix, "weights");
    for (int key = 0; key < REEVE__KEY_COUNT; key++) {
        if (key != REEVE__KEY_TASKS) {
            reeve__key_add(&engine->out, engine->prefix, call->queue,
                           (enum reeve__key)key);
        }
    }
    reeve__cmd_bytes(&engine->out, call->queue);
}

reeve_rc reeve__redis_drop(reeve__broker *broker, reeve_bytes queue,
                           reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    int64_t answer = 0, by_ns = reeve__redis_by_ns(redis);
    bool sent = false, resent = false;
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__call call;
        resent = sent;
        reeve__call_init(&call, REEVE__SCRIPT_DROP, queue, NULL, 0);
        call.op.send = drop_send;
        drop_send(&call.op, &redis->main.engine, 0);
        sent = true;
        rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&call.op, err);
        }
        if (rc == REEVE_OK) {
            answer = call.reply->integer;
        }
        reeve__call_dispose(&call);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    reeve__buf_clear(&redis->known); /* it is no longer in the directory */
    bool gone = answer == 0 || (answer == 1 && resent);
    return rc < 0 || gone ? rc
                          : reeve__drop_fail(answer == 1 ? REEVE_E_NOT_FOUND
                                                         : REEVE_E_STATE,
                                             queue, err);
}

/* A global key read whole: SMEMBERS queues, HGETALL weights. */
static reeve_rc read_global(reeve__redis *redis, reeve__call *call,
                            const char *verb, const char *key, int64_t by_ns,
                            reeve_error *err) {
    reeve_rc rc;
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__engine *engine = &redis->main.engine;
        reeve__call_begin_command(call, engine, 2);
        reeve__cmd_text(&engine->out, verb);
        reeve__key_add_global(&engine->out, engine->prefix, key);
        rc = reeve__link_drive(&redis->main, &call->op, by_ns, -1, err);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    return rc < 0 ? rc : reeve__op_result(&call->op, err);
}

static int by_text(const void *left, const void *right) {
    const reeve__reply *a = left, *b = right;
    size_t size = a->bytes.size < b->bytes.size ? a->bytes.size : b->bytes.size;
    int order = memcmp(a->bytes.data, b->bytes.data, size);
    return order != 0 ? order
                      : (a->bytes.size > b->bytes.size) -
                            (a->bytes.size < b->bytes.size);
}

/* Sorted elements, width at a time, by the first. */
static void sort_reply(reeve__reply *reply, size_t width) {
    if (reply->count > 0) {
        qsort(reply->elements, reply->count / width,
              width * sizeof(*reply->elements), by_text);
    }
}

reeve_rc reeve__redis_weights(reeve__broker *broker, reeve__weight_fn on_weight,
                              void *ctx, reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    reeve__call call = { .reply = NULL };
    rc = read_global(redis, &call, "HGETALL", "weights",
                     reeve__redis_by_ns(redis), err);
    if (rc == REEVE_OK) {
        sort_reply(call.reply, 2);
    }
    size_t count = rc == REEVE_OK ? call.reply->count : 0;
    for (size_t i = 0; i + 1 < count && rc == REEVE_OK; i += 2) {
        int64_t weight;
        if (reeve__reply_int(&weight, &call.reply->elements[i + 1]) &&
            weight > 0 && weight <= REEVE__WEIGHT_MAX) {
            rc = on_weight(ctx, call.reply->elements[i].bytes, (int32_t)weight,
                           err);
        }
    }
    reeve__call_dispose(&call);
    return rc;
}

/* ---- queues -------------------------------------------------------------- */

/* Age by its envelope; 0 when that says nothing. */
static int64_t age_of(reeve_env *env, reeve_bytes body, int64_t now_at_ms) {
    reeve__envelope envelope;
    reeve_error ignored;
    if (body.size == 0 ||
        reeve__envelope_decode(&envelope, env, body, &ignored) < 0) {
        return 0;
    }
    int64_t age_ms =
        envelope.enqueued_at_ms > 0 ? now_at_ms - envelope.enqueued_at_ms : 0;
    reeve__envelope_dispose(&envelope);
    return age_ms;
}

/* Age of the oldest among those that are next, 0 when there is none. */
static int64_t latency_of(reeve_env *env, const reeve__reply *tally,
                          int64_t now_at_ms) {
    int64_t oldest_ms = 0;
    for (size_t i = TALLY_NUMBERS; i < tally->count; i++) {
        int64_t age_ms = age_of(env, tally->elements[i].bytes, now_at_ms);
        oldest_ms = age_ms > oldest_ms ? age_ms : oldest_ms;
    }
    return oldest_ms;
}

/* Of sorted pairs; 0 when there is none. */
static int32_t weight_of(const reeve__reply *weights, reeve_bytes queue) {
    reeve__reply key = { .bytes = queue };
    const reeve__reply *found = NULL;
    int64_t weight;
    if (weights->count > 1) {
        found = bsearch(&key, weights->elements, weights->count / 2,
                        2 * sizeof(key), by_text);
    }
    return found && reeve__reply_int(&weight, found + 1) && weight > 0 &&
                   weight <= REEVE__WEIGHT_MAX
               ? (int32_t)weight
               : 0;
}

/* The two calls that tell of one queue. */
typedef struct look {
    reeve__call tally;
    reeve__call size;
} look;

static void look_begin(look *at, reeve__engine *engine, reeve_bytes queue) {
    reeve__call_begin_command(&at->size, engine, 3);
    reeve__cmd_text(&engine->out, "MEMORY");
    reeve__cmd_text(&engine->out, "USAGE");
    reeve__engine_keys(engine, queue, tasks_key, 1);
    reeve__call_count(&at->tally, engine, queue);
}

/* A queue that refuses does not hide the others. */
static reeve_rc look_end(reeve_queue_info *out, look *at, reeve__redis *redis,
                         reeve_bytes queue, reeve_error *err) {
    reeve__engine *engine = &redis->main.engine;
    if (at->tally.op.rc == REEVE_E_SERVER) {
        *out = (reeve_queue_info){
            .name = queue,
            .error = reeve_bytes_of(at->tally.op.err.message),
        };
        return REEVE_OK;
    }
    reeve_rc rc = reeve__op_result(&at->tally.op, err);
    if (rc < 0) {
        return rc;
    }
    int64_t numbers[TALLY_NUMBERS];
    for (size_t i = 0; i < TALLY_NUMBERS; i++) {
        numbers[i] = reeve__call_int(&at->tally, engine, i);
    }
    bool refused = at->size.op.rc < 0 || !at->size.reply;
    *out = (reeve_queue_info){
        .name = queue,
        .pending = numbers[1],
        .active = numbers[2],
        .scheduled = numbers[3],
        .retry = numbers[4],
        .completed = numbers[5],
        .archived = numbers[6],
        .done_total = numbers[7],
        .failed_total = numbers[8],
        .latency_ms = latency_of(redis->base.env, at->tally.reply, numbers[0]),
        .size_bytes = refused ? 0 : at->size.reply->integer,
        .paused = (int32_t)numbers[9],
    };
    return reeve__op_result(&at->tally.op, err);
}

/* Counts and sizes of some queues in one flight, each flight with the verb's
 * whole time: how long all take depends on how many there are. */
static reeve_rc read_some(reeve__redis *redis, const reeve__reply *names,
                          size_t count, const reeve__reply *weights,
                          reeve__queue_fn on_queue, void *ctx,
                          reeve_error *err) {
    look looks[QUEUES_A_FLIGHT];
    int64_t by_ns = reeve__redis_by_ns(redis);
    reeve_rc rc = reeve__link_connect(&redis->main, by_ns, -1, err);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        look_begin(&looks[i], &redis->main.engine, names[i].bytes);
    }
    /* Replies come in order: with the last one all are here. */
    rc = reeve__link_drive(&redis->main, &looks[count - 1].tally.op, by_ns, -1,
                           err);
    for (size_t i = 0; i < count; i++) {
        reeve_queue_info info;
        if (rc == REEVE_OK) {
            rc = look_end(&info, &looks[i], redis, names[i].bytes, err);
        }
        if (rc == REEVE_OK) {
            info.weight = weight_of(weights, info.name);
            rc = on_queue(ctx, &info, err);
        }
        reeve__call_dispose(&looks[i].tally);
        reeve__call_dispose(&looks[i].size);
    }
    return rc;
}

reeve_rc reeve__redis_queues(reeve__broker *broker, reeve__queue_fn on_queue,
                             void *ctx, reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    reeve__call names = { .reply = NULL }, weights = { .reply = NULL };
    rc = read_global(redis, &weights, "HGETALL", "weights", by_ns, err);
    if (rc == REEVE_OK) {
        rc = read_global(redis, &names, "SMEMBERS", "queues", by_ns, err);
    }
    if (rc == REEVE_OK) {
        sort_reply(weights.reply, 2);
        sort_reply(names.reply, 1);
    }
    size_t count = rc == REEVE_OK ? names.reply->count : 0;
    for (size_t at = 0; at < count && rc == REEVE_OK; at += QUEUES_A_FLIGHT) {
        size_t some = count - at;
        some = some < QUEUES_A_FLIGHT ? some : QUEUES_A_FLIGHT;
        rc = read_some(redis, names.reply->elements + at, some, weights.reply,
                       on_queue, ctx, err);
    }
    reeve__call_dispose(&names);
    reeve__call_dispose(&weights);
    return rc;
}
