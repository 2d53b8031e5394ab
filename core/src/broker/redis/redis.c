/*
 * Opening and closing a Redis broker, and the directory of queues.
 */
#include "broker/redis/redis.h"

#include "base/bytes.h"
#include "base/thread.h"

#include <string.h>

/* Somebody may empty the server: the directory must come back by itself. */
#define KNOWN_FOR_MS 5000
/* The list is searched from end to end. */
#define KNOWN_BYTES ((size_t)8192)
#define TIMEOUT_MS_DEFAULT 5000
#define PREFIX_DEFAULT "reeve"

reeve__redis *reeve__redis_enter(reeve__broker *broker, reeve_rc *rc,
                                 reeve_error *err) {
    if (broker->fork_count != reeve__fork_count()) {
        *rc = reeve__fail(err, REEVE_E_FORKED,
                          "redis handle was opened before a fork");
        return NULL;
    }
    *rc = REEVE_OK;
    return (reeve__redis *)broker;
}

int64_t reeve__redis_by_ns(const reeve__redis *redis) {
    return reeve__by_ns(redis->base.env, redis->timeout_ms);
}

bool reeve__names_has(const reeve__buf *names, reeve_bytes name) {
    for (size_t at = 0; at < names->size;) {
        size_t size = strlen(names->data + at);
        if (size == name.size &&
            memcmp(names->data + at, name.data, size) == 0) {
            return true;
        }
        at += size + 1;
    }
    return false;
}

void reeve__names_add(reeve__buf *names, reeve_bytes name) {
    size_t before = names->size;
    reeve__buf_add_bytes(names, name);
    reeve__buf_add_char(names, '\0');
    if (names->failed) {
        names->size = before;
        names->failed = false;
    }
}

bool reeve__redis_register(reeve__redis *redis, reeve__call *call,
                           reeve_bytes queue) {
    int64_t now_ns = reeve__mono_ns(redis->base.env);
    if (redis->known_connects != redis->main.route->connects ||
        now_ns >= redis->known_until_ns || redis->known.size > KNOWN_BYTES) {
        reeve__buf_clear(&redis->known);
        redis->known_connects = redis->main.route->connects;
        redis->known_until_ns = reeve__by_ns(redis->base.env, KNOWN_FOR_MS);
    }
    if (reeve__names_has(&redis->known, queue)) {
        return false;
    }
    reeve__engine *engine = &redis->main.engine;
    reeve__call_begin_command(call, engine, 3);
    reeve__cmd_text(&engine->out, "SADD");
    reeve__key_add_global(&engine->out, engine->prefix, "queues");
    reeve__cmd_bytes(&engine->out, queue);
    return true;
}

void reeve__redis_registered(reeve__redis *redis, reeve_bytes queue) {
    if (redis->known_connects == redis->main.route->connects) {
        reeve__names_add(&redis->known, queue);
    }
}

static void redis_close(reeve__broker *broker) {
    reeve__redis *redis = (reeve__redis *)broker;
    reeve_env *env = broker->env;
    reeve__redis_bell_dispose(redis);
    reeve__link_dispose(&redis->main);
    reeve__link_dispose(&redis->control);
    reeve__reply_reader_free(redis->control_reader);
    reeve__buf_dispose(&redis->control_worker);
    reeve__buf_dispose(&redis->known);
    reeve__url_dispose(&redis->url);
    reeve__free(env, redis->prefix);
    reeve__free(env, redis);
    reeve_env_free(env);
}

static const reeve__broker_ops redis_ops = {
    .name = "redis",
    .caps = REEVE__CAP_SHARED | REEVE__CAP_DURABLE,
    .close = redis_close,
    .enqueue = reeve__redis_enqueue,
    .turn = reeve__redis_turn,
    .extend = reeve__redis_extend,
    .promote = reeve__redis_promote,
    .reclaim = reeve__redis_reclaim,
    .sweep = reeve__redis_sweep,
    .beat = reeve__redis_beat,
    .watch = reeve__redis_watch,
    .tell = reeve__redis_tell,
    .wait = reeve__redis_wait,
    .wait_claim = reeve__redis_wait_claim,
    .unwait = reeve__redis_unwait,
    .queues = reeve__redis_queues,
    .list = reeve__redis_list,
    .find = reeve__redis_find,
    .act = reeve__redis_act,
    .pause = reeve__redis_pause,
    .drop = reeve__redis_drop,
    .workers = reeve__redis_workers,
    .set_weight = reeve__redis_set_weight,
    .weights = reeve__redis_weights,
    .now = reeve__redis_now,
};

/* URL and prefix; then a connection that has passed the checks. */
static reeve_rc open_main(reeve__redis *redis,
                          const reeve__broker_options *options,
                          reeve_error *err) {
    static const char *const extras[] = { "allow_eviction", NULL };
    reeve_bytes prefix =
        reeve_bytes_of(options->prefix ? options->prefix : PREFIX_DEFAULT);
    reeve_rc rc = reeve__prefix_check(prefix, err);
    if (rc == REEVE_OK) {
        rc = reeve__url_parse(&redis->url, redis->base.env, options->url,
                              extras, err);
    }
    if (rc == REEVE_OK) {
        rc = reeve__url_extra_bool(&redis->main.hello.allow_eviction,
                                   &redis->url, "allow_eviction", false, err);
    }
    if (rc < 0) {
        return rc;
    }
    redis->main.hello.worker = options->worker;
    redis->prefix = reeve__strndup(redis->base.env, prefix.data, prefix.size);
    if (!redis->prefix) {
        return reeve__fail_nomem(err);
    }
    rc = reeve__link_init(&redis->main, redis, true, err);
    if (rc == REEVE_OK) {
        rc = reeve__link_connect(&redis->main, reeve__redis_by_ns(redis), -1,
                                 err);
        redis->main.hello.worker = false; /* said once, not at each reconnect */
    }
    return rc;
}

reeve_rc reeve__redis_open(reeve__broker **out, reeve_env *env,
                           const reeve__broker_options *options,
                           reeve_error *err) {
    *out = NULL;
    reeve__redis *redis = reeve__calloc(env, 1, sizeof(*redis));
    if (!redis) {
        return reeve__fail_nomem(err);
    }
    redis->base.ops = &redis_ops;
    redis->base.env = reeve__env_ref(env);
    redis->base.fork_count = reeve__fork_count();
    redis->timeout_ms =
        options->timeout_ms != 0 ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    reeve__buf_init(&redis->known, env);
    reeve__buf_init(&redis->bell_queues, env);
    reeve__buf_init(&redis->owed, env);
    reeve__buf_init(&redis->control_worker, env);
    reeve_rc rc = open_main(redis, options, err);
    if (rc < 0) {
        redis_close(&redis->base);
        return rc;
    }
    *out = &redis->base;
    return REEVE_OK;
}
