/*
 * The doorbell: one BLPOP over the bells of all queues on a connection of its
 * own. It ends by itself within a second; then the queues are looked at, so
 * that a ring lost with a dead worker delays nothing longer. A wait that was
 * interrupted stays under way; the next wait goes on with it, unwait ends it.
 *
 * With a claim, the turn script is sent right behind the BLPOP: the server runs
 * it as soon as the BLPOP ends, so whoever is rung has claimed by the time it
 * hears of it (docs/decisions/0106).
 */
#include "broker/redis/redis.h"

#include "base/bytes.h"
#include "base/thread.h"
#include "broker/check.h"

#include <stdio.h>
#include <string.h>

#define BELL_SECONDS_MAX 1.0
#define UNWAIT_CLOSE_MS 200

static const uint8_t bell_key[] = { REEVE__KEY_BELL };
static const uint8_t work_keys[] = { REEVE__KEY_PENDING, REEVE__KEY_RANKED };

static reeve_rc bell_open(reeve__redis *redis, reeve_error *err) {
    return redis->bell.route
               ? REEVE_OK
               : reeve__link_init(&redis->bell, redis, false, err);
}

static bool same_queues(const reeve__redis *redis, const reeve_bytes *queues,
                        size_t count) {
    const reeve__buf *names = &redis->bell_queues;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (at + queues[i].size >= names->size ||
            memcmp(names->data + at, queues[i].data, queues[i].size) != 0 ||
            names->data[at + queues[i].size] != '\0') {
            return false;
        }
        at += queues[i].size + 1;
    }
    return at == names->size;
}

/* What BLPOP is told, in seconds. A claim ends with it and costs a script, so
 * it is not ended before its time. */
static double bell_seconds(const reeve__redis *redis, int64_t by_ns,
                           bool claims) {
    double left = (double)(by_ns - reeve__mono_ns(redis->base.env)) / 1e9;
    if (claims || reeve__clock_is_virtual(redis->base.env) ||
        left > BELL_SECONDS_MAX) {
        return BELL_SECONDS_MAX;
    }
    return left < 0.001 ? 0.001 : left;
}

static reeve_rc bell_begin(reeve__redis *redis, const reeve_bytes *queues,
                           size_t count, reeve__bell_claim *claim,
                           int64_t by_ns, reeve_error *err) {
    reeve__engine *engine = &redis->bell.engine;
    reeve__buf_clear(&redis->bell_queues);
    for (size_t i = 0; i < count; i++) {
        reeve__buf_add_bytes(&redis->bell_queues, queues[i]);
        reeve__buf_add_char(&redis->bell_queues, '\0');
    }
    if (redis->bell_queues.failed) {
        return reeve__fail_nomem(err);
    }
    char text[32];
    snprintf(text, sizeof(text), "%.3f",
             bell_seconds(redis, by_ns, claim != NULL));
    reeve__call_begin_command(&redis->bell_call, engine, 2 + count);
    reeve__cmd_text(&engine->out, "BLPOP");
    for (size_t i = 0; i < count; i++) {
        reeve__engine_keys(engine, queues[i], bell_key, 1);
    }
    reeve__cmd_text(&engine->out, text);
    redis->bell_waits = true;
    if (!claim) {
        return REEVE_OK;
    }
    redis->bell_claim = claim;
    return reeve__op_turn_begin(&redis->bell_turn, engine, &claim->turn, 1,
                                claim->worker, false, err);
}

static void owe(reeve__redis *redis, reeve_bytes queue) {
    reeve__buf_clear(&redis->owed);
    reeve__buf_add_bytes(&redis->owed, queue);
}

/* Queue of a bell key: what stands in the braces behind the prefix. */
static reeve_bytes queue_of(const reeve__redis *redis, reeve_bytes key) {
    size_t before = strlen(redis->prefix) + 2, after = strlen("}:bell");
    if (key.size < before + after) {
        return (reeve_bytes){ NULL, 0 };
    }
    return (reeve_bytes){ key.data + before, key.size - before - after };
}

/* Takes the finished BLPOP's answer; true when it rang. A claim behind it has
 * used the ring. */
static bool bell_rang(reeve__redis *redis) {
    const reeve__reply *key = reeve__reply_at(redis->bell_call.reply, 0);
    redis->bell_waits = false;
    if (!redis->bell_claim && key && key->type == REEVE__REPLY_STRING) {
        owe(redis, queue_of(redis, key->bytes));
    }
    reeve__call_dispose(&redis->bell_call);
    return redis->owed.size > 0;
}

/* Delivers the finished claim. */
static reeve_rc bell_claimed(reeve__redis *redis, reeve_error *err) {
    reeve__bell_claim *claim = redis->bell_claim;
    reeve__op_turn *op = &redis->bell_turn;
    reeve_rc rc = reeve__op_turn_deliver(op, claim->on_claim, claim->ctx, err);
    if (rc == REEVE_OK) {
        rc = reeve__op_result(&op->op, err);
    }
    reeve__op_turn_dispose(op);
    redis->bell_claim = NULL;
    claim->done = true;
    return rc;
}

static bool bell_is_busy(const reeve__redis *redis) {
    return redis->bell_call.op.waiting > 0 ||
           (redis->bell_claim && redis->bell_turn.op.waiting > 0);
}

static ptrdiff_t index_of(const reeve_bytes *queues, size_t count,
                          reeve_bytes queue) {
    for (size_t i = 0; i < count; i++) {
        if (reeve__bytes_equal(queues[i], queue)) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

/* First queue with work and no ring for it, -1 = none. */
static reeve_rc look(ptrdiff_t *out_index, reeve__redis *redis,
                     const reeve_bytes *queues, size_t count, int64_t by_ns,
                     reeve_error *err) {
    reeve__engine *engine = &redis->bell.engine;
    reeve__call *calls = reeve__calloc(redis->base.env, count, sizeof(*calls));
    if (!calls) {
        return reeve__fail_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        reeve__call_begin_command(&calls[i], engine, 3);
        reeve__cmd_text(&engine->out, "EXISTS");
        reeve__engine_keys(engine, queues[i], work_keys, 2);
    }
    reeve_rc rc = REEVE_OK;
    for (size_t i = 0; i < count && rc == REEVE_OK; i++) {
        rc = reeve__link_drive(&redis->bell, &calls[i].op, by_ns, -1, err);
        if (rc == REEVE_OK && *out_index < 0 && calls[i].reply &&
            calls[i].reply->integer > 0) {
            *out_index = (ptrdiff_t)i;
        }
    }
    for (size_t i = 0; i < count; i++) {
        reeve__call_dispose(&calls[i]);
    }
    reeve__free(redis->base.env, calls);
    return rc;
}

/* The connection broke under the BLPOP. */
static void bell_lost(reeve__redis *redis) {
    redis->bell_waits = false;
    reeve__call_dispose(&redis->bell_call);
    if (redis->bell_claim) {
        reeve__op_turn_dispose(&redis->bell_turn);
    }
    redis->bell_claim = NULL;
}

/* One BLPOP, and the claim behind it, begun or gone on with. Once it has rung
 * the claim is read to its end. Returns WOKEN, TIMEOUT or what broke. */
static reeve_rc bell_step(reeve__redis *redis, const reeve_bytes *queues,
                          size_t count, reeve__bell_claim *claim, int wake_fd,
                          int64_t by_ns, reeve_error *err) {
    /* The first call connects, however short its wait. */
    bool first = redis->bell.route->connects == 0;
    int64_t least_ns = first ? reeve__redis_by_ns(redis) : by_ns;
    reeve_rc rc = reeve__link_connect(
        &redis->bell, by_ns > least_ns ? by_ns : least_ns, wake_fd, err);
    if (rc != REEVE_OK) {
        return rc;
    }
    if (!redis->bell_waits) {
        rc = bell_begin(redis, queues, count, claim, by_ns, err);
    }
    bool rung = false;
    while (rc == REEVE_OK && bell_is_busy(redis)) {
        if (!rung && redis->bell_call.op.waiting == 0) {
            rung = true;
            wake_fd = -1;
            by_ns = reeve__redis_by_ns(redis);
        }
        reeve_bytes bytes;
        rc = reeve__link_flush(&redis->bell, by_ns, wake_fd, err);
        if (rc == REEVE_OK) {
            rc =
                reeve__conn_read(&bytes, redis->bell.conn, by_ns, wake_fd, err);
        }
        if (rc == REEVE_OK) {
            rc = reeve__engine_feed(&redis->bell.engine, bytes, err);
        }
    }
    if (rung && rc == REEVE_E_TIMEOUT) {
        rc = reeve__fail(err, REEVE_E_NET, "%s did not answer a claim in time",
                         redis->url.label);
    }
    /* A timeout of the wait leaves the BLPOP under way. */
    if (rc < 0 && rc != REEVE_E_TIMEOUT) {
        reeve__link_break(&redis->bell);
        bell_lost(redis);
    }
    return rc;
}

/* The wait's time is up or somebody woke it: no error. */
static reeve_rc bell_ended(const reeve__redis *redis, reeve_rc rc,
                           int64_t by_ns, reeve_error *err) {
    bool time_is_up = reeve__mono_ns(redis->base.env) >= by_ns;
    if (rc == REEVE__WOKEN || (rc == REEVE_E_TIMEOUT && time_is_up)) {
        reeve__error_clear(err);
        rc = REEVE_OK;
    }
    return rc;
}

reeve_rc reeve__redis_wait(reeve__broker *broker, const reeve_bytes *queues,
                           size_t count, int wake_fd, int64_t by_ns,
                           ptrdiff_t *out_index, reeve_error *err) {
    reeve_rc rc;
    *out_index = -1;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    reeve__buf_clear(&redis->owed);
    if (count == 0) {
        reeve__poll_two(broker->env, -1, wake_fd, by_ns);
        return REEVE_OK;
    }
    rc = bell_open(redis, err);
    if (rc == REEVE_OK && redis->bell_waits &&
        (redis->bell_claim || !same_queues(redis, queues, count))) {
        rc = reeve__redis_unwait(broker, err);
    }
    while (rc == REEVE_OK && *out_index < 0) {
        rc = bell_step(redis, queues, count, NULL, wake_fd, by_ns, err);
        if (rc != REEVE_OK) {
            break;
        }
        if (bell_rang(redis)) {
            *out_index = index_of(queues, count, reeve__buf_view(&redis->owed));
        } else if (reeve__mono_ns(broker->env) < by_ns) {
            rc = look(out_index, redis, queues, count,
                      reeve__redis_by_ns(redis), err);
        } else {
            break;
        }
    }
    return bell_ended(redis, rc, by_ns, err);
}

reeve_rc reeve__redis_wait_claim(reeve__broker *broker,
                                 reeve__bell_claim *claim, int wake_fd,
                                 int64_t by_ns, reeve_error *err) {
    reeve_rc rc = reeve__turns_check(&claim->turn, 1, claim->worker, err);
    if (rc < 0) {
        return rc;
    }
    claim->done = false;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    reeve__buf_clear(&redis->owed);
    rc = bell_open(redis, err);
    if (rc == REEVE_OK && redis->bell_waits && redis->bell_claim != claim) {
        rc = reeve__redis_unwait(broker, err);
    }
    if (rc == REEVE_OK) {
        rc =
            bell_step(redis, &claim->turn.queue, 1, claim, wake_fd, by_ns, err);
    }
    if (rc != REEVE_OK) {
        return bell_ended(redis, rc, by_ns, err);
    }
    bell_rang(redis);
    return bell_claimed(redis, err);
}

/* CLIENT UNBLOCK by the main connection, then the BLPOP's answer. */
static reeve_rc withdraw(reeve__redis *redis, int64_t by_ns, reeve_error *err) {
    reeve_rc rc = reeve__link_connect(&redis->main, by_ns, -1, err);
    if (rc < 0) {
        return rc;
    }
    reeve__call call;
    reeve__engine *engine = &redis->main.engine;
    reeve__call_begin_command(&call, engine, 3);
    reeve__cmd_text(&engine->out, "CLIENT");
    reeve__cmd_text(&engine->out, "UNBLOCK");
    reeve__cmd_int(&engine->out, redis->bell.client_id);
    rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
    reeve__call_dispose(&call);
    if (rc == REEVE_OK) {
        rc = reeve__link_drive(&redis->bell, &redis->bell_call.op, by_ns, -1,
                               err);
    }
    if (rc == REEVE_OK && redis->bell_claim) {
        rc = reeve__link_drive(&redis->bell, &redis->bell_turn.op, by_ns, -1,
                               err);
    }
    if (rc < 0) {
        /* A closed connection waits for nothing. */
        reeve__link_break(&redis->bell);
        bell_lost(redis);
        return rc;
    }
    bell_rang(redis);
    return redis->bell_claim ? bell_claimed(redis, err) : REEVE_OK;
}

static reeve_rc unwait_by(reeve__redis *redis, int64_t by_ns,
                          reeve_error *err) {
    reeve_rc rc = redis->bell_waits ? withdraw(redis, by_ns, err) : REEVE_OK;
    if (redis->owed.size == 0) {
        return rc;
    }
    reeve_rc ring_rc = reeve__link_connect(&redis->main, by_ns, -1, err);
    if (ring_rc == REEVE_OK) {
        reeve__call call;
        reeve__call_ring(&call, &redis->main.engine,
                         reeve__buf_view(&redis->owed));
        ring_rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        reeve__call_dispose(&call);
    }
    reeve__buf_clear(&redis->owed);
    return rc < 0 ? rc : ring_rc;
}

reeve_rc reeve__redis_unwait(reeve__broker *broker, reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    return redis ? unwait_by(redis, reeve__redis_by_ns(redis), err) : rc;
}

void reeve__redis_bell_used(reeve__redis *redis, reeve_bytes queue) {
    if (reeve__bytes_equal(reeve__buf_view(&redis->owed), queue)) {
        reeve__buf_clear(&redis->owed);
    }
}

void reeve__redis_bell_dispose(reeve__redis *redis) {
    bool ours = redis->base.fork_count == reeve__fork_count();
    if (redis->bell_claim) { /* nobody takes it any more */
        reeve__link_break(&redis->bell);
        bell_lost(redis);
    }
    if (ours && redis->main.conn &&
        (redis->bell_waits || redis->owed.size > 0)) {
        reeve_error ignored;
        unwait_by(redis, reeve__by_ns(redis->base.env, UNWAIT_CLOSE_MS),
                  &ignored);
    }
    reeve__call_dispose(&redis->bell_call);
    reeve__link_dispose(&redis->bell);
    reeve__buf_dispose(&redis->bell_queues);
    reeve__buf_dispose(&redis->owed);
}
