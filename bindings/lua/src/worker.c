/*
 * reeve.run: a worker of plain Lua from its start to its end. The calling
 * thread waits here; SIGTERM and SIGINT stop the worker, a second one at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

#define TYPE "reeve.run"
#define CONCURRENCY_MAX 1000
/* After the core has let go of its tasks, handlers get this long to come back;
 * the watchdog interrupts them for good after one second of it. */
#define LINGER_MS 2000

typedef struct run_options {
    reeve_worker_options worker;
    reeve_lua_recipe recipe;
    const char *order;
    const char *log;
} run_options;

/* Everything that must be freed, whatever raises. */
typedef struct run {
    reeve_lua_hub *hub;
    reeve_worker *worker;
    reeve_env *env;
    struct sigaction before_int;
    struct sigaction before_term;
    struct sigaction before_hook;
    bool signals_taken;
    char *message; /* of a state that could not be made */
} run;

/* The one worker that signals stop; also what keeps a second run out. */
static _Atomic(reeve_worker *) signalled_worker;
static atomic_flag run_is_taken = ATOMIC_FLAG_INIT;

static void on_stop_signal(int number) {
    (void)number;
    reeve_worker_stop(atomic_load(&signalled_worker));
}

#define WORKER(member) offsetof(run_options, worker.member)
/* What app:run takes. */
static const reeve_lua_option options_list[] = {
    { "ageing", REEVE_LUA_SPAN, WORKER(ageing_ms), REEVE_NEVER, 0 },
    { "archive", REEVE_LUA_SPAN, WORKER(archive_ms), 1, 0 },
    { "archive_count", REEVE_LUA_LONG, WORKER(archive_count), 1, INT32_MAX },
    { "concurrency", REEVE_LUA_INT, WORKER(concurrency), 1, CONCURRENCY_MAX },
    { "grace", REEVE_LUA_SPAN, WORKER(grace_ms), 1, 0 },
    { "id", REEVE_LUA_TEXT, WORKER(id), 0, 0 },
    { "lease", REEVE_LUA_SPAN, WORKER(lease_ms), 100, 0 },
    { "log", REEVE_LUA_TEXT, offsetof(run_options, log), 0, 0 },
    { "memory_max", REEVE_LUA_SIZE, offsetof(run_options, recipe.memory_max),
      1 << 20, INT64_C(1) << 46 },
    { "on_start", REEVE_LUA_ANY, 0, 0, 0 }, /* call_on_start */
    { "order", REEVE_LUA_TEXT, offsetof(run_options, order), 0, 0 },
    /* reeve.lua makes it a number */
    { "prefetch", REEVE_LUA_INT, WORKER(prefetch), REEVE_NEVER, 1000 },
    { "queues", REEVE_LUA_ANY, 0, 0, 0 }, /* reeve.lua reads these two */
    { "script", REEVE_LUA_ANY, 0, 0, 0 },
    { "settle_count", REEVE_LUA_INT, WORKER(settle_count), 1, 4096 },
    { "settle_delay", REEVE_LUA_SPAN, WORKER(settle_delay_ms), 0, 0 },
    { NULL, 0, 0, 0, 0 },
};

#define RECIPE(member) offsetof(run_options, recipe.member)
/* What reeve.lua adds. */
static const reeve_lua_option recipe_list[] = {
    { "app", REEVE_LUA_INT, RECIPE(app), 1, 1000000 },
    { "args", REEVE_LUA_TABLE, 0, 0, 0 },
    { "cpath", REEVE_LUA_TEXT, RECIPE(cpath), 0, 0 },
    { "path", REEVE_LUA_TEXT, RECIPE(path), 0, 0 },
    { "prefix", REEVE_LUA_TEXT, RECIPE(prefix), 0, 0 },
    { "queues", REEVE_LUA_TABLE, 0, 0, 0 },
    { "script", REEVE_LUA_TEXT, RECIPE(script), 0, 0 },
    { "types", REEVE_LUA_TABLE, 0, 0, 0 },
    { "url", REEVE_LUA_TEXT, RECIPE(url), 0, 0 },
    { "watch", REEVE_LUA_TABLE, 0, 0, 0 },
    { NULL, 0, 0, 0, 0 },
};
#undef WORKER
#undef RECIPE

/* --- options ----------------------------------------------------------- */

/* Number of name among names, from 1 on; 0 when it is none of them. */
static int32_t index_of(const char *name, const char *const *names) {
    for (int32_t i = 0; names[i]; i++) {
        if (strcmp(names[i], name) == 0)
            return i + 1;
    }
    return 0;
}

/* Pushes the recipe's list `name` (or an empty one) and gives its length. */
static size_t push_list(lua_State *L, const char *name) {
    lua_getfield(L, 2, name);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    return lua_rawlen(L, -1);
}

/* String number i + 1 of the list on top; it must stay in there. */
static reeve_bytes list_text(lua_State *L, const char *what, size_t i) {
    lua_rawgeti(L, -1, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "%s[%d] must be a string, not %s", what, (int)i + 1,
                   luaL_typename(L, -1));
    reeve_bytes text = reeve_lua_bytes(L, -1);
    lua_pop(L, 1);
    return text;
}

/* queues = { { "mail", 6 }, { "default", 3 } }, as reeve.lua writes them. */
static void read_queues(lua_State *L, reeve_worker_options *options) {
    size_t count = push_list(L, "queues");
    int table = lua_gettop(L);
    reeve_worker_queue *queues =
        reeve_lua_newuserdata(L, (count + 1) * sizeof *queues);
    memset(queues, 0, (count + 1) * sizeof *queues);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, table, (int)i + 1);
        luaL_checktype(L, -1, LUA_TTABLE);
        queues[i].name = list_text(L, "queue", 0);
        lua_rawgeti(L, -1, 2);
        queues[i].weight = (int32_t)luaL_checkinteger(L, -1);
        lua_pop(L, 2);
    }
    options->queues = queues;
    options->queue_count = count;
}

static void read_args(lua_State *L, reeve_lua_recipe *recipe) {
    size_t count = push_list(L, "args");
    int table = lua_gettop(L);
    recipe->args = reeve_lua_newuserdata(L, (count + 1) * sizeof(reeve_bytes));
    recipe->arg_count = count;
    lua_pushvalue(L, table);
    for (size_t i = 0; i < count; i++)
        recipe->args[i] = list_text(L, "args", i);
    lua_pop(L, 1);
}

/* What stays on the stack owns what options points to. False: pushed a
 * message. */
static bool read_run(lua_State *L, run_options *options, reeve_rc *code) {
    static const char *const orders[] = { "weighted", "strict", NULL };
    *options = (run_options){ .worker = REEVE_WORKER_OPTIONS_INIT };
    if (!reeve_lua_read_options(L, options, code, 1, options_list, "run") ||
        !reeve_lua_read_options(L, options, code, 2, recipe_list, "recipe"))
        return false;
    *code = REEVE_E_INVALID;
    const reeve_lua_recipe *recipe = &options->recipe;
    if (!recipe->script || !recipe->path || !recipe->cpath || !recipe->app) {
        lua_pushliteral(L, "the recipe needs script, path, cpath and app");
        return false;
    }
#if LUA_VERSION_NUM < 504
    if (recipe->memory_max) {
        *code = REEVE_E_UNSUPPORTED;
        lua_pushliteral(L, "memory_max needs Lua 5.4");
        return false;
    }
#endif
    if (options->order) {
        int32_t order = index_of(options->order, orders);
        if (!order) {
            lua_pushfstring(L, "order is '%s'; one of weighted, strict",
                            options->order);
            return false;
        }
        options->worker.order = order - 1;
    }
    if (!options->worker.concurrency)
        options->worker.concurrency = 10;
    options->worker.url = recipe->url;
    options->worker.prefix = recipe->prefix;
    read_queues(L, &options->worker);
    read_args(L, &options->recipe);
    *code = REEVE_OK;
    return true;
}

/* --- log --------------------------------------------------------------- */

static void log_line(void *ctx, int32_t level, const char *line) {
    static const char *const names[] = { "error", "warning", "info", "debug" };
    (void)ctx;
    (void)fprintf(stderr, "reeve: %s: %s\n",
                  names[level >= 1 && level <= 4 ? level - 1 : 0], line);
}

/* False: pushed a message. */
static bool open_log(lua_State *L, run *self, const char *log,
                     reeve_error *err) {
    static const char *const levels[] = { "error", "warning", "info", "debug",
                                          NULL };
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.log = log_line;
    options.log_level = log ? index_of(log, levels) : REEVE_LOG_WARN;
    if (!options.log_level) {
        lua_pushfstring(L, "log is '%s'; one of error, warning, info, debug",
                        log);
        err->code = REEVE_E_INVALID;
        return false;
    }
    if (reeve_env_new(&self->env, &options, err) == 0)
        return true;
    lua_pushstring(L, err->message);
    return false;
}

/* --- the end ----------------------------------------------------------- */

static void restore_signals(run *self) {
    if (!self->signals_taken)
        return;
    sigaction(SIGINT, &self->before_int, NULL);
    sigaction(SIGTERM, &self->before_term, NULL);
    atomic_store(&signalled_worker, NULL);
    self->signals_taken = false;
    atomic_flag_clear(&run_is_taken);
}

/* Frees what is there. A handler that is stuck in C keeps what it uses, for
 * nothing can end it; gives how many there are. */
static size_t dispose(run *self) {
    restore_signals(self);
    size_t stuck = 0;
    if (self->worker && self->hub)
        stuck = reeve_lua_wait_idle(self->hub, LINGER_MS);
    if (!stuck) {
        reeve_worker_free(self->worker);
        if (self->hub)
            reeve_lua_watchdog_stop(self->hub, &self->before_hook);
        reeve_lua_hub_free(self->hub);
        reeve_env_free(self->env);
    }
    free(self->message);
    *self = (run){ 0 };
    return stuck;
}

static int run_gc(lua_State *L) {
    run *self = luaL_checkudata(L, 1, TYPE);
    if (self->worker) { /* something raised while it ran */
        reeve_worker_stop(self->worker);
        reeve_worker_stop(self->worker);
        (void)reeve_worker_join(self->worker, REEVE_NEVER, NULL);
    }
    dispose(self);
    return 0;
}

/* --- the start --------------------------------------------------------- */

/* One handler for each type of the list, so that the core says itself which
 * types nobody handles. */
static reeve_rc handle_types(lua_State *L, run *self, reeve_error *err) {
    size_t count = push_list(L, "types");
    for (size_t i = 0; i < count; i++) {
        reeve_rc rc =
            reeve_worker_handle(self->worker, list_text(L, "types", i),
                                reeve_lua_run_task, self->hub, err);
        if (rc)
            return rc;
    }
    lua_pop(L, 1);
    return 0;
}

/* The states, and with them the first proof that the script loads. */
static reeve_rc make_states(run *self, const run_options *options,
                            reeve_error *err) {
    self->hub = reeve_lua_hub_new((size_t)options->worker.concurrency);
    if (!self->hub) {
        err->code = REEVE_E_NOMEM;
        return REEVE_E_NOMEM;
    }
    self->hub->memory_max = options->recipe.memory_max;
    for (size_t i = 0; i < self->hub->runner_count; i++) {
        if (!reeve_lua_state_make(&self->hub->runners[i], &options->recipe,
                                  &self->message))
            return REEVE_E_INVALID;
    }
    return 0;
}

static void take_signals(run *self) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_stop_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    atomic_store(&signalled_worker, self->worker);
    sigaction(SIGINT, &action, &self->before_int);
    sigaction(SIGTERM, &action, &self->before_term);
}

static reeve_rc start(lua_State *L, run *self, const run_options *options,
                      reeve_error *err) {
    reeve_rc rc = make_states(self, options, err);
    if (!rc)
        rc = reeve_worker_new(&self->worker, self->env, &options->worker, err);
    if (!rc)
        rc = handle_types(L, self, err);
    if (!rc)
        rc = reeve_lua_watchdog_start(self->hub, &self->before_hook, err);
    if (rc)
        return rc;
    take_signals(self);
    return reeve_worker_start(self->worker, err);
}

/* --- meanwhile --------------------------------------------------------- */

/* Until the worker has stopped; true when a file has changed. */
static bool wait_for_end(run *self, const reeve_lua_watched *files,
                         size_t count) {
    bool changed = false;
    int64_t span_ms = count ? REEVE_LUA_WATCH_MS : REEVE_NEVER;
    while (reeve_worker_join(self->worker, span_ms, NULL) == REEVE_E_TIMEOUT) {
        if (changed || !reeve_lua_any_changed(files, count))
            continue;
        changed = true;
        reeve_worker_stop(self->worker);
    }
    return changed;
}

static void push_stats(lua_State *L, const reeve_worker_stats *stats) {
    lua_createtable(L, 0, 9);
    reeve_lua_set_int(L, "claimed", stats->claimed);
    reeve_lua_set_int(L, "done", stats->done);
    reeve_lua_set_int(L, "retried", stats->retried);
    reeve_lua_set_int(L, "archived", stats->archived);
    reeve_lua_set_int(L, "requeued", stats->requeued);
    reeve_lua_set_int(L, "lease_lost", stats->lease_lost);
    reeve_lua_set_int(L, "stuck", stats->stuck);
    reeve_lua_set_int(L, "reclaimed", stats->reclaimed);
    reeve_lua_set_int(L, "reconnects", stats->reconnects);
}

static int refuse_start(lua_State *L, run *self, reeve_rc rc,
                        const reeve_error *err) {
    if (!self->message)
        return reeve_lua_fail(L, rc, err);
    lua_pushstring(L, self->message);
    return reeve_lua_refuse(L, rc);
}

/* options.on_start(worker's id), if there is one. False: it raised, and its
 * message is on top of the stack. */
static bool call_on_start(lua_State *L, run *self) {
    lua_getfield(L, 1, "on_start");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return true;
    }
    reeve_lua_push_bytes(L, reeve_worker_id(self->worker));
    return lua_pcall(L, 1, 0, 0) == 0;
}

/* The end of a run that had started. */
static int finish(lua_State *L, run *self, bool changed) {
    reeve_worker_stats stats = REEVE_WORKER_STATS_INIT;
    (void)reeve_worker_stats_read(&stats, self->worker, NULL);
    size_t stuck = dispose(self);
    if (stuck)
        return reeve_lua_failf(L, REEVE_E_TIMEOUT,
                               "%zu handlers did not end; their tasks have "
                               "been handed back",
                               stuck);
    push_stats(L, &stats);
    reeve_lua_set_bool(L, "changed", changed);
    return 1;
}

/* run(options, recipe) → counters, or nil, message, code */
static int run_worker(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    run_options options;
    reeve_rc rc = 0;
    if (!read_run(L, &options, &rc))
        return reeve_lua_refuse(L, rc);
    push_list(L, "watch");
    reeve_lua_watched *files = NULL;
    size_t file_count = reeve_lua_watch(L, &files);
    luaL_checkstack(L, 20, "run");
    run *self = reeve_lua_newuserdata(L, sizeof *self);
    *self = (run){ 0 };
    luaL_getmetatable(L, TYPE);
    lua_setmetatable(L, -2);
    reeve_error err = { 0 };
    if (!open_log(L, self, options.log, &err))
        return reeve_lua_refuse(L, err.code);
    if (atomic_flag_test_and_set(&run_is_taken))
        return reeve_lua_failf(L, REEVE_E_STATE,
                               "a worker runs in this process already");
    self->signals_taken = true;
    sigaction(SIGINT, NULL, &self->before_int);
    sigaction(SIGTERM, NULL, &self->before_term);
    rc = start(L, self, &options, &err);
    if (rc) {
        int count = refuse_start(L, self, rc, &err);
        dispose(self);
        return count;
    }
    if (call_on_start(L, self))
        return finish(L, self, wait_for_end(self, files, file_count));
    reeve_worker_stop(self->worker);
    (void)wait_for_end(self, files, file_count);
    dispose(self);
    return reeve_lua_refuse(L, REEVE_E_INVALID);
}

void reeve_lua_open_worker(lua_State *L) {
    reeve_lua_new_type(L, TYPE, NULL, run_gc);
    lua_pushcfunction(L, run_worker);
    lua_setfield(L, -2, "run");
    reeve_lua_open_run(L);
    reeve_lua_open_dev(L);
}
