/*
 * Control messages by pub/sub: a subscribed connection per watching handle, and
 * PUBLISH from whoever tells.
 */
#include "broker/redis/redis.h"

#include "base/bytes.h"
#include "task/id.h"

#include <string.h>

static const struct {
    int32_t control;
    const char *word;
} words[] = {
    { REEVE__CONTROL_WEIGHTS, "weights" },
    { REEVE__CONTROL_QUIET, "quiet" },
    { REEVE__CONTROL_RESUME, "resume" },
};

static int32_t control_of(reeve_bytes word) {
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (reeve__bytes_is(word, words[i].word)) {
            return words[i].control;
        }
    }
    return REEVE__CONTROL_NONE;
}

/* "control" or "control:<worker>", NUL-terminated in out. */
static void channel_name(char out[REEVE_ID_BYTES_MAX + 16],
                         reeve_bytes worker) {
    memcpy(out, "control", sizeof("control"));
    if (worker.size > 0) {
        out[7] = ':';
        memcpy(out + 8, worker.data, worker.size);
        out[8 + worker.size] = '\0';
    }
}

/* Until the server has confirmed: what is told after that is heard. */
static reeve_rc subscribe(reeve__redis *redis, reeve_bytes worker,
                          int64_t by_ns, reeve_error *err) {
    size_t channels = worker.size > 0 ? 2 : 1;
    char name[REEVE_ID_BYTES_MAX + 16];
    reeve__engine *engine = &redis->control.engine;
    reeve__cmd_begin(&engine->out, 1 + channels);
    reeve__cmd_text(&engine->out, "SUBSCRIBE");
    channel_name(name, (reeve_bytes){ NULL, 0 });
    reeve__key_add_global(&engine->out, engine->prefix, name);
    if (worker.size > 0) {
        channel_name(name, worker);
        reeve__key_add_global(&engine->out, engine->prefix, name);
    }
    reeve_rc rc = reeve__link_flush(&redis->control, by_ns, -1, err);
    while (channels-- > 0 && rc == REEVE_OK) {
        reeve__reply *reply = NULL;
        rc = reeve__conn_reply(&reply, redis->control.conn,
                               redis->control_reader, by_ns, -1, err);
        if (rc == REEVE_OK) {
            rc = reeve__reply_fail(reply, "subscribe", err);
        }
        reeve__reply_free(reply);
    }
    return rc;
}

static void control_break(reeve__redis *redis) {
    reeve__link_break(&redis->control);
    reeve_error ignored;
    reeve__reply_reader_reset(redis->control_reader, &ignored);
}

/* Connects and subscribes; *again when an earlier subscription was lost. */
static reeve_rc control_connect(reeve__redis *redis, reeve_bytes worker,
                                int wake_fd, int64_t by_ns, bool *again,
                                reeve_error *err) {
    reeve_rc rc = REEVE_OK;
    if (!redis->control_reader) {
        rc = reeve__reply_reader_new(&redis->control_reader, redis->base.env,
                                     NULL, err);
    }
    if (rc == REEVE_OK && !redis->control.route) {
        rc = reeve__link_init(&redis->control, redis, false, err);
    }
    reeve__buf *name = &redis->control_worker;
    if (rc == REEVE_OK && redis->control.conn &&
        !reeve__bytes_equal(reeve__buf_view(name), worker)) {
        control_break(redis);
    }
    if (rc == REEVE_OK) {
        /* The first call subscribes, however short its wait. */
        int64_t least_ns =
            redis->control_connects == 0 ? reeve__redis_by_ns(redis) : by_ns;
        rc = reeve__link_connect(
            &redis->control, by_ns > least_ns ? by_ns : least_ns, wake_fd, err);
    }
    int64_t connects =
        redis->control.route ? redis->control.route->connects : 0;
    if (rc != REEVE_OK || redis->control_connects == connects) {
        return rc;
    }
    int64_t again_connects = redis->control_connects;
    *again = again_connects != 0;
    redis->control_connects = connects;
    reeve__buf_clear(name);
    reeve__buf_add_bytes(name, worker);
    rc = subscribe(redis, worker, reeve__redis_by_ns(redis), err);
    if (rc < 0) {
        redis->control_connects = again_connects;
        control_break(redis);
    }
    return rc;
}

/* The payload of a message, NONE for anything else. */
static int32_t read_message(const reeve__reply *reply) {
    const reeve__reply *kind = reeve__reply_at(reply, 0);
    const reeve__reply *payload = reeve__reply_at(reply, 2);
    bool message = kind && payload && kind->type == REEVE__REPLY_STRING &&
                   payload->type == REEVE__REPLY_STRING &&
                   reeve__bytes_is(kind->bytes, "message");
    return message ? control_of(payload->bytes) : REEVE__CONTROL_NONE;
}

static reeve_rc watch_once(reeve__redis *redis, reeve_bytes worker, int wake_fd,
                           int64_t by_ns, int32_t *out, reeve_error *err) {
    bool again = false;
    reeve_rc rc = control_connect(redis, worker, wake_fd, by_ns, &again, err);
    if (rc == REEVE_OK && again) {
        *out = REEVE__CONTROL_WEIGHTS;
        return rc;
    }
    while (rc == REEVE_OK && *out == REEVE__CONTROL_NONE) {
        reeve__reply *reply = NULL;
        rc = reeve__conn_reply(&reply, redis->control.conn,
                               redis->control_reader, by_ns, wake_fd, err);
        if (rc == REEVE_OK && reply->type == REEVE__REPLY_ERROR) {
            rc = reeve__reply_fail(reply, "subscribe", err);
        } else if (rc == REEVE_OK) {
            *out = read_message(reply);
        }
        reeve__reply_free(reply);
    }
    if (rc < 0 && rc != REEVE_E_TIMEOUT) {
        control_break(redis);
    }
    return rc;
}

reeve_rc reeve__redis_watch(reeve__broker *broker, reeve_bytes worker,
                            int wake_fd, int64_t by_ns, int32_t *out,
                            reeve_error *err) {
    reeve_rc rc;
    *out = REEVE__CONTROL_NONE;
    if (worker.size > 0) {
        rc = reeve__name_check("worker", worker, err);
        if (rc < 0) {
            return rc;
        }
    }
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    do {
        rc = watch_once(redis, worker, wake_fd, by_ns, out, err);
    } while (reeve__is_retryable(rc) && reeve__mono_ns(broker->env) < by_ns);
    bool time_is_up = reeve__mono_ns(broker->env) >= by_ns;
    if (rc == REEVE__WOKEN || (rc == REEVE_E_TIMEOUT && time_is_up)) {
        reeve__error_clear(err);
        rc = REEVE_OK;
    }
    return rc;
}

reeve_rc reeve__redis_tell(reeve__broker *broker, reeve_bytes worker,
                           int32_t control, reeve_error *err) {
    reeve_rc rc;
    const char *word = NULL;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        word = words[i].control == control ? words[i].word : word;
    }
    if (!word || worker.size > REEVE_ID_BYTES_MAX) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "no such control message: %d to a worker id of %zu "
                           "bytes",
                           control, worker.size);
    }
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    char name[REEVE_ID_BYTES_MAX + 16];
    channel_name(name, worker);
    int64_t by_ns = reeve__redis_by_ns(redis);
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__call call;
        reeve__engine *engine = &redis->main.engine;
        reeve__call_begin_command(&call, engine, 3);
        reeve__cmd_text(&engine->out, "PUBLISH");
        reeve__key_add_global(&engine->out, engine->prefix, name);
        reeve__cmd_text(&engine->out, word);
        rc = reeve__link_drive(&redis->main, &call.op, by_ns, -1, err);
        if (rc == REEVE_OK) {
            rc = reeve__op_result(&call.op, err);
        }
        reeve__call_dispose(&call);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    return rc;
}
