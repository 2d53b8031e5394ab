/*
 * The verbs of producers and workers. What may be repeated is sent again over a
 * new connection until the verb's deadline; a turn that claims is not, for its
 * lost reply may have named tasks: the caller hears NET and finds them by
 * reclaim.
 */
#include "broker/redis/redis.h"

#include "base/bytes.h"
#include "broker/check.h"

#include <string.h>

#define WORKERS_SWEEP_MS 60000
/* A clock sample older than this is taken anew. */
#define CLOCK_KEEP_MS 10000

/* ---- enqueue ------------------------------------------------------------- */

/* Puts the flight's queues into the directory; their calls are in *calls. */
static size_t register_all(reeve__redis *redis, reeve__call *calls,
                           const reeve__op_enqueue *op) {
    size_t count = 0;
    for (size_t i = 0; i < op->chunk_count; i++) {
        reeve_bytes queue = op->items[op->chunks[i].first]->queue;
        bool repeated =
            i > 0 && reeve__bytes_equal(
                         queue, op->items[op->chunks[i - 1].first]->queue);
        if (!repeated && reeve__redis_register(redis, &calls[count], queue)) {
            calls[count++].queue = queue;
        }
    }
    return count;
}

/* The tasks are stored, whatever became of the listing of their queue; it is
 * tried again when what is known of the directory has grown old. */
static void note_registered(reeve__redis *redis, const reeve__call *call) {
    if (call->op.rc < 0) {
        reeve__log(redis->base.env, REEVE_LOG_WARN,
                   "queue %.*s has tasks but is not listed: %s",
                   (int)call->queue.size, call->queue.data,
                   call->op.err.message);
    }
    reeve__redis_registered(redis, call->queue);
}

/* One flight; *taken items of it. *refused: all were answered, some by no. */
static reeve_rc enqueue_flight(reeve__redis *redis, reeve__enqueue_item **items,
                               size_t count, bool resent, int64_t by_ns,
                               size_t *taken, bool *refused, reeve_error *err) {
    reeve__op_enqueue op;
    reeve__call calls[REEVE__ENQUEUE_CHUNKS_MAX];
    reeve_rc rc = reeve__link_connect(&redis->main, by_ns, -1, err);
    if (rc < 0) {
        return rc;
    }
    reeve__engine *engine = &redis->main.engine;
    *taken = reeve__op_enqueue_begin(&op, engine, items, count, resent);
    size_t registered = register_all(redis, calls, &op);
    rc = reeve__link_drive(&redis->main, &op.op, by_ns, -1, err);
    for (size_t i = 0; i < registered && rc == REEVE_OK; i++) {
        rc = reeve__link_drive(&redis->main, &calls[i].op, by_ns, -1, err);
        if (rc == REEVE_OK) {
            note_registered(redis, &calls[i]);
        }
    }
    for (size_t i = 0; i < registered; i++) {
        reeve__call_dispose(&calls[i]);
    }
    *refused = rc == REEVE_OK && op.op.rc < 0;
    return rc < 0 ? rc : reeve__op_result(&op.op, err);
}

static reeve_rc enqueue_sorted(reeve__redis *redis, reeve__enqueue_item **items,
                               size_t count, reeve_error *err) {
    int64_t by_ns = reeve__redis_by_ns(redis);
    bool resent = false;
    reeve_rc first_rc = REEVE_OK;
    reeve_error first_err;
    while (count > 0) {
        size_t taken = 0;
        bool connected = redis->main.conn != NULL, refused = false;
        reeve_rc rc = enqueue_flight(redis, items, count, resent, by_ns, &taken,
                                     &refused, err);
        if (rc == REEVE_OK || refused) {
            if (rc < 0 && first_rc == REEVE_OK) {
                first_rc = rc;
                first_err = *err;
            }
            items += taken;
            count -= taken;
            resent = false;
        } else if (!reeve__is_retryable(rc) || (!connected && taken == 0)) {
            return rc;
        } else {
            resent = true;
        }
    }
    if (first_rc < 0) { /* it stops none of its neighbours */
        *err = first_err;
    }
    return first_rc;
}

reeve_rc reeve__redis_enqueue(reeve__broker *broker, reeve__enqueue_item *items,
                              size_t count, reeve_error *err) {
    reeve_rc rc = reeve__enqueue_items_check(items, count, err);
    if (rc < 0) {
        return rc;
    }
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis || count == 0) {
        return rc;
    }
    reeve__enqueue_item *single = items;
    reeve__enqueue_item **sorted = &single;
    if (count > 1) {
        sorted = reeve__calloc(broker->env, count, sizeof(*sorted));
        if (!sorted) {
            return reeve__fail_nomem(err);
        }
        for (size_t i = 0; i < count; i++) {
            sorted[i] = &items[i];
        }
        reeve__enqueue_sort(sorted, count);
    }
    rc = enqueue_sorted(redis, sorted, count, err);
    if (count > 1) {
        reeve__free(broker->env, sorted);
    }
    return rc;
}

/* ---- turn ---------------------------------------------------------------- */

static bool has_resent(const reeve__turn *turns, size_t count) {
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < turns[i].settle_count; k++) {
            if (turns[i].settles[k].resent) {
                return true;
            }
        }
    }
    return false;
}

static reeve_rc turn_once(reeve__redis *redis, reeve__turn *turns, size_t count,
                          reeve_bytes worker, bool resent, int64_t by_ns,
                          reeve__row_fn on_claim, void *ctx, reeve_error *err) {
    reeve__op_turn op;
    reeve_rc rc = reeve__op_turn_begin(&op, &redis->main.engine, turns, count,
                                       worker, resent, err);
    if (rc == REEVE_OK) {
        rc = reeve__link_drive(&redis->main, &op.op, by_ns, -1, err);
    }
    /* A queue that is damaged must not stop its neighbours. */
    if (rc == REEVE_OK) {
        rc = reeve__op_turn_deliver(&op, on_claim, ctx, err);
    }
    if (rc == REEVE_OK) {
        rc = reeve__op_result(&op.op, err);
    }
    reeve__op_turn_dispose(&op);
    return rc;
}

reeve_rc reeve__redis_turn(reeve__broker *broker, reeve__turn *turns,
                           size_t count, reeve_bytes worker,
                           reeve__row_fn on_claim, void *ctx,
                           reeve_error *err) {
    reeve_rc rc = reeve__turns_check(turns, count, worker, err);
    if (rc < 0) {
        return rc;
    }
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    bool claims = false;
    for (size_t i = 0; i < count; i++) {
        claims = claims || turns[i].claim_max > 0;
        if (turns[i].claim_max > 0) {
            reeve__redis_bell_used(redis, turns[i].queue);
        }
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    bool resent = has_resent(turns, count);
    for (;;) {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        rc = turn_once(redis, turns, count, worker, resent, by_ns, on_claim,
                       ctx, err);
        resent = true;
        broker->reconnects = reeve__route_reconnects(redis->main.route);
        if (rc == REEVE_OK || claims || redis->main.conn ||
            !reeve__is_retryable(rc)) {
            return rc;
        }
    }
}

/* ---- leases and maintenance ---------------------------------------------- */

reeve_rc reeve__redis_extend(reeve__broker *broker, reeve__lease_ref *refs,
                             size_t count, int64_t lease_ms, reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis || count == 0) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__op_extend op;
        rc = reeve__op_extend_begin(&op, &redis->main.engine, refs, count,
                                    lease_ms, err);
        if (rc == REEVE_OK) {
            rc = reeve__link_drive(&redis->main, &op.op, by_ns, -1, err);
        }
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&op.op, err);
        }
        reeve__op_extend_dispose(&op);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    return rc;
}

reeve_rc reeve__redis_promote(reeve__broker *broker, reeve_bytes queue,
                              size_t max, size_t *out_moved,
                              int64_t *out_next_due_at_ms, reeve_error *err) {
    reeve_rc rc;
    *out_moved = 0;
    *out_next_due_at_ms = 0;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis || max == 0) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__call call;
        reeve__engine *engine = &redis->main.engine;
        reeve__call_promote(&call, engine, queue, max);
        rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        if (rc == REEVE_OK && call.op.rc == REEVE_OK) {
            reeve__engine_saw_time(engine, reeve__call_int(&call, engine, 0));
            *out_moved = (size_t)reeve__call_int(&call, engine, 1);
            *out_next_due_at_ms = reeve__call_int(&call, engine, 2);
        }
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&call.op, err);
        }
        reeve__call_dispose(&call);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    return rc;
}

reeve_rc reeve__redis_reclaim(reeve__broker *broker, reeve_bytes queue,
                              reeve_bytes worker, size_t max,
                              reeve__row_fn on_row, void *ctx,
                              int64_t *out_next_at_ms, reeve_error *err) {
    reeve_rc rc;
    *out_next_at_ms = 0;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis || max == 0) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    for (bool again = true; again;) {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__op_reclaim op;
        reeve__op_reclaim_begin(&op, &redis->main.engine, queue, worker, max);
        rc = reeve__link_drive(&redis->main, &op.call.op, by_ns, -1, err);
        again = reeve__is_retryable(rc);
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&op.call.op, err);
        }
        if (rc == REEVE_OK) {
            rc = reeve__op_reclaim_deliver(&op, &redis->main.engine,
                                           out_next_at_ms, on_row, ctx, err);
        }
        reeve__op_reclaim_dispose(&op);
    }
    return rc;
}

reeve_rc reeve__redis_sweep(reeve__broker *broker, reeve_bytes queue,
                            size_t max, size_t *out_removed, reeve_error *err) {
    reeve_rc rc;
    *out_removed = 0;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis || max == 0) {
        return rc;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__call call;
        reeve__engine *engine = &redis->main.engine;
        reeve__call_sweep(&call, engine, queue, max);
        rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        if (rc == REEVE_OK && call.op.rc == REEVE_OK) {
            *out_removed = (size_t)reeve__call_int(&call, engine, 1);
        }
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&call.op, err);
        }
        reeve__call_dispose(&call);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    int64_t now_ns = reeve__mono_ns(broker->env);
    if (rc == REEVE_OK &&
        (!redis->workers_swept || now_ns >= redis->workers_swept_by_ns)) {
        redis->workers_swept = true;
        redis->workers_swept_by_ns =
            reeve__by_ns(broker->env, WORKERS_SWEEP_MS);
        rc = reeve__redis_workers_sweep(redis, by_ns, err);
    }
    return rc;
}

reeve_rc reeve__redis_now(reeve__broker *broker, int64_t *out_at_ms,
                          reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    reeve__engine *engine = &redis->main.engine;
    int64_t age_ns = reeve__mono_ns(broker->env) - engine->server_by_ns;
    if (engine->server_by_ns != 0 && !reeve__clock_is_virtual(broker->env) &&
        age_ns < CLOCK_KEEP_MS * REEVE__MS_NS) {
        *out_at_ms = reeve__engine_now(engine);
        return REEVE_OK;
    }
    int64_t by_ns = reeve__redis_by_ns(redis);
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__call call;
        reeve__call_begin_command(&call, engine, 1);
        reeve__cmd_text(&engine->out, "TIME");
        rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        if (rc == REEVE_OK && call.op.rc == REEVE_OK) {
            reeve__engine_saw_time(
                engine, reeve__call_int(&call, engine, 0) * 1000 +
                            reeve__call_int(&call, engine, 1) / 1000);
            *out_at_ms = engine->server_at_ms;
        }
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&call.op, err);
        }
        reeve__call_dispose(&call);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    return rc;
}
