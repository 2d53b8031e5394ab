/*
 * sqlite:///path: the default broker, one file for several processes on one
 * machine. Opening and closing handles, and the table of verbs.
 *
 *   sqlite:///absolute/path   sqlite:relative/path
 *   ?sync=normal   the default: no acknowledged task is lost when a process
 *                  dies; the last few may be when the machine loses power
 *   ?sync=full     nor then
 *
 * Each verb is one transaction. Local disks only: WAL needs shared memory.
 * Never open the file by other means inside a process that uses it; see
 * handle.h.
 */
#include "broker/sqlite/handle.h"

#include <string.h>

#define TIMEOUT_MS_DEFAULT 5000

static int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %XX in place. False: a bad escape, or a NUL. */
static bool decode(char *text) {
    char *out = text;
    for (; *text; text++) {
        if (*text != '%') {
            *out++ = *text;
            continue;
        }
        int high = hex_value(text[1]);
        int low = high >= 0 ? hex_value(text[2]) : -1;
        if (low < 0 || high * 16 + low == 0) {
            return false;
        }
        *out++ = (char)(high * 16 + low);
        text += 2;
    }
    *out = '\0';
    return true;
}

static reeve_rc read_option(reeve__sqlite *sq, const char *option, size_t size,
                            reeve_error *err) {
    if (size == 9 && memcmp(option, "sync=full", size) == 0) {
        sq->sync_full = true;
        return REEVE_OK;
    }
    if (size == 11 && memcmp(option, "sync=normal", size) == 0) {
        sq->sync_full = false;
        return REEVE_OK;
    }
    return reeve__fail(err, REEVE_E_INVALID,
                       "sqlite url: unknown option \"%.*s\", known are "
                       "sync=normal and sync=full",
                       size < 40 ? (int)size : 40, option);
}

/* Sets path and options. */
static reeve_rc read_url(reeve__sqlite *sq, const char *url, reeve_error *err) {
    const char *path = url + strlen("sqlite:");
    if (strncmp(path, "//", 2) == 0) {
        path += 2;
        if (path[0] != '/') {
            return reeve__fail(err, REEVE_E_INVALID,
                               "sqlite url: the path must be absolute after "
                               "sqlite://, as in sqlite:///var/lib/reeve.db");
        }
    }
    size_t size = strcspn(path, "?#");
    const char *options = path + size;
    if (size == 0) {
        return reeve__fail(err, REEVE_E_INVALID, "sqlite url: no path");
    }
    sq->path = reeve__strndup(sq->base.env, path, size);
    if (!sq->path) {
        return reeve__fail_nomem(err);
    }
    if (!decode(sq->path)) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "sqlite url: bad %%-escape in %.150s", path);
    }
    if (*options == '#') {
        return reeve__fail(err, REEVE_E_INVALID, "sqlite url: stray '#'");
    }
    while (*options) {
        options++;
        size = strcspn(options, "&");
        reeve_rc rc = read_option(sq, options, size, err);
        if (rc < 0) {
            return rc;
        }
        options += size;
    }
    return REEVE_OK;
}

reeve_rc reeve__sqlite_url_check(reeve_env *env, const char *url,
                                 reeve_error *err) {
    reeve__sqlite probe = { .base.env = env };
    reeve_rc rc = read_url(&probe, url, err);
    reeve__free(env, probe.path);
    return rc;
}

static void sqlite_close(reeve__broker *broker) {
    reeve__sqlite *sq = (reeve__sqlite *)broker;
    reeve_env *env = broker->env;
    bool inherited = broker->fork_count != reeve__fork_count();
    reeve__sqlite_delist(sq);
    /* A child has no connection: it was closed just before the fork. */
    reeve__sqlite_disconnect(sq);
    reeve__board_close(&sq->board, inherited);
    reeve__sqlite_queues_forget(sq);
    reeve__free(env, sq->path);
    reeve__mutex_dispose(&sq->mutex);
    reeve__free(env, sq);
    reeve_env_free(env);
}

static reeve_rc sqlite_now(reeve__broker *broker, int64_t *out_at_ms,
                           reeve_error *err) {
    if (broker->fork_count != reeve__fork_count()) {
        return reeve__fail(err, REEVE_E_FORKED,
                           "sqlite handle was opened before a fork");
    }
    *out_at_ms = reeve__now_at_ms(broker->env);
    return REEVE_OK;
}

static const reeve__broker_ops sqlite_ops = {
    .name = "sqlite",
    .caps = REEVE__CAP_SHARED | REEVE__CAP_DURABLE,
    .close = sqlite_close,
    .enqueue = reeve__sqlite_enqueue,
    .turn = reeve__sqlite_turn,
    .extend = reeve__sqlite_extend,
    .promote = reeve__sqlite_promote,
    .reclaim = reeve__sqlite_reclaim,
    .sweep = reeve__sqlite_sweep,
    .beat = reeve__sqlite_beat,
    .watch = reeve__sqlite_watch,
    .tell = reeve__sqlite_tell,
    .wait = reeve__sqlite_wait,
    .unwait = reeve__sqlite_unwait,
    .queues = reeve__sqlite_queues,
    .list = reeve__sqlite_list,
    .find = reeve__sqlite_find,
    .act = reeve__sqlite_act,
    .pause = reeve__sqlite_pause,
    .drop = reeve__sqlite_drop,
    .workers = reeve__sqlite_workers,
    .set_weight = reeve__sqlite_set_weight,
    .weights = reeve__sqlite_weights,
    .now = sqlite_now,
};

static reeve_rc connect_first(reeve__sqlite *sq, reeve_error *err) {
    sq->busy_by_ns = reeve__by_ns(NULL, sq->timeout_ms);
    reeve__lock(&sq->mutex); /* a fork elsewhere waits for it */
    reeve_rc rc = reeve__sqlite_connect(sq, err);
    reeve__unlock(&sq->mutex);
    return rc;
}

reeve_rc reeve__sqlite_open(reeve__broker **out, reeve_env *env,
                            const reeve__broker_options *options,
                            reeve_error *err) {
    *out = NULL;
    reeve__sqlite *sq = reeve__calloc(env, 1, sizeof(*sq));
    if (!sq) {
        return reeve__fail_nomem(err);
    }
    reeve_rc rc = reeve__mutex_init(&sq->mutex, err);
    if (rc < 0) {
        reeve__free(env, sq);
        return rc;
    }
    sq->base.ops = &sqlite_ops;
    sq->base.env = reeve__env_ref(env);
    sq->base.fork_count = reeve__fork_count();
    sq->serial = 1; /* 0: of a queue that was never loaded */
    sq->timeout_ms =
        options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
    sq->board = (reeve__board){
        .env = env, .dir_fd = -1, .file_fd = -1, .send_fd = -1, .bell_fd = -1
    };
    reeve__sqlite_enlist(sq);
    rc = read_url(sq, options->url, err);
    if (rc == REEVE_OK) {
        rc = connect_first(sq, err);
    }
    if (rc == REEVE_OK) {
        rc = reeve__board_open(&sq->board, env, sq->path, err);
    }
    if (rc < 0) {
        sqlite_close(&sq->base);
        return rc;
    }
    *out = &sq->base;
    return REEVE_OK;
}
