/*
 * Worker beats: "<prefix>:workers", HASH id → fields separated by newlines in
 * the order of reeve__beat_write.
 */
#include "broker/redis/redis.h"

#include "base/bytes.h"
#include "broker/check.h"

#include <string.h>

#define BEAT_FIELDS 10

void reeve__beat_write(reeve__buf *out, const reeve_worker_info *info,
                       int64_t beat_at_ms) {
    const int64_t numbers[] = { info->pid,    info->started_at_ms,
                                beat_at_ms,   info->concurrency,
                                info->active, info->done,
                                info->failed, info->quiet };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        reeve__buf_add_int(out, numbers[i]);
        reeve__buf_add_char(out, '\n');
    }
    for (size_t i = 0; i < info->host.size; i++) {
        char c = info->host.data[i];
        reeve__buf_add_char(out, c == '\n' ? ' ' : c);
    }
    reeve__buf_add_char(out, '\n');
    reeve__buf_add_bytes(out, info->queues);
}

/* False when it is not a beat. Views borrow from text. */
static bool read_beat(reeve_worker_info *out, reeve_bytes id,
                      reeve_bytes text) {
    reeve_bytes fields[BEAT_FIELDS];
    for (size_t i = 0, at = 0; i < BEAT_FIELDS; i++) {
        if (at > text.size) {
            return false;
        }
        const char *start = text.data + at;
        const char *end = memchr(start, '\n', text.size - at);
        size_t size = end ? (size_t)(end - start) : text.size - at;
        fields[i] = (reeve_bytes){ start, size };
        at += size + 1;
    }
    int64_t numbers[8];
    for (size_t i = 0; i < 8; i++) {
        if (!reeve__int_parse(&numbers[i], fields[i])) {
            return false;
        }
    }
    *out = (reeve_worker_info){
        .id = id,
        .host = fields[8],
        .pid = numbers[0],
        .started_at_ms = numbers[1],
        .beat_at_ms = numbers[2],
        .concurrency = (int32_t)numbers[3],
        .active = (int32_t)numbers[4],
        .done = numbers[5],
        .failed = numbers[6],
        .quiet = (int32_t)numbers[7],
        .queues = fields[9],
    };
    return true;
}

/* A command on the directory of workers, sent again over a new connection. */
static reeve_rc workers_command(reeve__redis *redis, reeve__call *call,
                                const char *verb, const reeve_bytes *args,
                                size_t count, int64_t by_ns, reeve_error *err) {
    reeve_rc rc;
    do {
        rc = reeve__link_connect(&redis->main, by_ns, -1, err);
        if (rc < 0) {
            return rc;
        }
        reeve__engine *engine = &redis->main.engine;
        reeve__call_begin_command(call, engine, 2 + count);
        reeve__cmd_text(&engine->out, verb);
        reeve__key_add_global(&engine->out, engine->prefix, "workers");
        for (size_t i = 0; i < count; i++) {
            reeve__cmd_bytes(&engine->out, args[i]);
        }
        rc = reeve__link_drive(&redis->main, &call->op, by_ns, -1, err);
    } while (reeve__is_retryable(rc) && !redis->main.conn);
    return rc < 0 ? rc : reeve__op_result(&call->op, err);
}

reeve_rc reeve__redis_beat(reeve__broker *broker, const reeve_worker_info *info,
                           bool gone, reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    int64_t now_at_ms = 0;
    rc = gone ? REEVE_OK : reeve__redis_now(broker, &now_at_ms, err);
    if (rc < 0) {
        return rc;
    }
    reeve__buf text;
    reeve__buf_init(&text, broker->env);
    reeve__beat_write(&text, info, now_at_ms);
    reeve__call call = { .reply = NULL };
    const reeve_bytes args[] = { info->id, reeve__buf_view(&text) };
    rc = text.failed
             ? reeve__fail_nomem(err)
             : workers_command(redis, &call, gone ? "HDEL" : "HSET", args,
                               gone ? 1 : 2, reeve__redis_by_ns(redis), err);
    reeve__call_dispose(&call);
    reeve__buf_dispose(&text);
    return rc;
}

reeve_rc reeve__redis_workers(reeve__broker *broker, reeve__worker_fn on_worker,
                              void *ctx, reeve_error *err) {
    reeve_rc rc;
    reeve__redis *redis = reeve__redis_enter(broker, &rc, err);
    if (!redis) {
        return rc;
    }
    reeve__call call = { .reply = NULL };
    rc = workers_command(redis, &call, "HGETALL", NULL, 0,
                         reeve__redis_by_ns(redis), err);
    size_t count = rc == REEVE_OK ? call.reply->count : 0;
    for (size_t i = 0; i + 1 < count && rc == REEVE_OK; i += 2) {
        reeve_worker_info info;
        if (read_beat(&info, call.reply->elements[i].bytes,
                      call.reply->elements[i + 1].bytes)) {
            rc = on_worker(ctx, &info, err);
        }
    }
    reeve__call_dispose(&call);
    return rc;
}

reeve_rc reeve__redis_workers_sweep(reeve__redis *redis, int64_t by_ns,
                                    reeve_error *err) {
    int64_t now_at_ms;
    reeve_rc rc = reeve__redis_now(&redis->base, &now_at_ms, err);
    reeve__call all = { .reply = NULL };
    if (rc == REEVE_OK) {
        rc = workers_command(redis, &all, "HGETALL", NULL, 0, by_ns, err);
    }
    size_t count = rc == REEVE_OK ? all.reply->count : 0;
    for (size_t i = 0; i + 1 < count && rc == REEVE_OK; i += 2) {
        reeve_worker_info info;
        reeve_bytes id = all.reply->elements[i].bytes;
        if (read_beat(&info, id, all.reply->elements[i + 1].bytes) &&
            info.beat_at_ms + REEVE__BEAT_KEEP_MS > now_at_ms) {
            continue;
        }
        reeve__call call = { .reply = NULL };
        rc = workers_command(redis, &call, "HDEL", &id, 1, by_ns, err);
        reeve__call_dispose(&call);
    }
    reeve__call_dispose(&all);
    return rc;
}
