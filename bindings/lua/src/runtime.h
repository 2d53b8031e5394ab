/*
 * Inside of the embedded runtime of plain Lua: the core's executor threads run
 * handlers, each in a lua_State of its own that has loaded the same script.
 *
 *   worker.c    options, signals, the life of a run
 *   pool.c      the hub: states, who runs what
 *   state.c     making one state
 *   run.c       one task: from delivery to outcome
 *   shared.c    the clients of handlers
 *   watchdog.c  interrupts handlers that were told to stop
 *   dev.c       reload in development
 *
 * Nothing of this may be used inside nginx, which owns its threads and signals.
 */
#ifndef REEVE_LUA_RUNTIME_H
#define REEVE_LUA_RUNTIME_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "glue.h"

/* Ignored by default and used by nobody, as Go's preemption found, too. */
#define REEVE_LUA_SIGNAL SIGURG

typedef struct reeve_lua_hub reeve_lua_hub;
typedef struct reeve_lua_shared reeve_lua_shared;

enum reeve_lua_interrupt {
    REEVE_LUA_RUN_ON = 0,
    REEVE_LUA_RAISE_ONCE = 1, /* the handler may clean up after it */
    REEVE_LUA_RAISE_ALWAYS = 2,
};

/* One lua_State. It belongs to one executor thread, which binds it with its
 * first task. */
typedef struct reeve_lua_runner {
    reeve_lua_hub *hub;
    lua_State *state;
    size_t memory_bytes; /* used, when there is a bound */

    /* Guarded by mutex, which the thread and the watchdog share; the delivery
     * is NULL while nothing runs. */
    pthread_mutex_t mutex;
    reeve_delivery *delivery;
    pthread_t thread;
    int64_t told_ns; /* when it was interrupted; 0 = it was not */

    /* Of the thread that runs it, and of its signal handler. */
    lua_State *volatile current; /* the coroutine that runs */
    atomic_int interrupt;        /* enum reeve_lua_interrupt */
    reeve_delivery_view view;
    const void *task; /* the running task's table; NULL between tasks */
    bool said;        /* it has said something of itself */
} reeve_lua_runner;

/* What every state is made from; strings are the starter's. */
typedef struct reeve_lua_recipe {
    const char *script;
    const char *path;  /* package.path */
    const char *cpath; /* package.cpath */
    const char *url;   /* of the app, or NULL; also for what handlers enqueue */
    const char *prefix;
    reeve_bytes *args; /* arg[1] … */
    size_t arg_count;
    int32_t app; /* which reeve.new of the script, from 1 on */
    int32_t reserved;
    size_t memory_max; /* bytes a state may use; 0 = no bound */
} reeve_lua_recipe;

struct reeve_lua_hub {
    pthread_mutex_t mutex;
    pthread_cond_t idle_cond;   /* a runner came back while leaving */
    pthread_cond_t wake_cond;   /* for the watchdog */
    pthread_cond_t client_cond; /* a client was opened, or could not be */
    reeve_lua_runner *runners;
    size_t runner_count;
    size_t bound_count;  /* guarded by mutex: runners that have a thread */
    atomic_bool parked;  /* the watchdog sleeps until somebody runs */
    atomic_bool leaving; /* somebody waits for all to come back */
    pthread_t watchdog;
    bool watchdog_runs;
    bool ends; /* guarded by mutex */
    size_t memory_max;
    reeve_lua_shared *clients; /* guarded by mutex */
};

/* pool.c */

/* New hub with count runners that have no state yet; NULL without memory. */
reeve_lua_hub *reeve_lua_hub_new(size_t count);
/* Nothing may run. Accepts NULL. */
void reeve_lua_hub_free(reeve_lua_hub *hub);
/* The calling thread's runner, now busy with dlv; NULL when there are more
 * threads than runners. */
reeve_lua_runner *reeve_lua_take(reeve_lua_hub *hub, reeve_delivery *dlv);
void reeve_lua_give(reeve_lua_runner *runner);
/* Whether a task runs there. Holds: neither mutex. */
bool reeve_lua_is_busy(reeve_lua_runner *runner);
/* Waits until nothing runs, at most for span_ms; gives how many still do. */
size_t reeve_lua_wait_idle(reeve_lua_hub *hub, int64_t span_ms);
/* Monotonic time. */
int64_t reeve_lua_now_ns(void);

/* state.c */

/* Makes the runner's state: libraries, the script, its handlers. On failure
 * there is none, and a message (new, by malloc) in *out_message. */
bool reeve_lua_state_make(reeve_lua_runner *runner,
                          const reeve_lua_recipe *recipe, char **out_message);
/* Key of the registry for a userdata that points to the runner; there is one
 * only in states made here. */
#define REEVE_LUA_RUNNER_KEY "reeve.runner"
/* The runner that this state belongs to; NULL in states of others. */
reeve_lua_runner *reeve_lua_runner_of(lua_State *L);

/* run.c */

/* reeve_handler of every type; user is the hub. */
reeve_rc reeve_lua_run_task(reeve_outcome *out, reeve_delivery *dlv, void *user,
                            reeve_error *err);
/* Pushes the closure that runs a task, from what runner.lua's load gave (on
 * top, which it pops): index 1 of the state's stack from then on. */
#define REEVE_LUA_LOADED 3
void reeve_lua_push_invoker(lua_State *L);
/* task:cancelled() and the functions that runner.lua needs. */
void reeve_lua_open_run(lua_State *L);

/* shared.c */

/* The client of all states with these options, opened by the first who asks;
 * borrows from the hub. NULL: *err is filled. */
reeve_client *reeve_lua_shared_client(reeve_lua_hub *hub,
                                      const reeve_client_options *options,
                                      reeve_error *err);
/* Nothing may use them any more. */
void reeve_lua_shared_close(reeve_lua_hub *hub);

/* watchdog.c */

/* Starts the thread and takes REEVE_LUA_SIGNAL; *before is its old action. */
reeve_rc reeve_lua_watchdog_start(reeve_lua_hub *hub, struct sigaction *before,
                                  reeve_error *err);
void reeve_lua_watchdog_stop(reeve_lua_hub *hub,
                             const struct sigaction *before);
/* Around a run, in its thread: whom an interrupt of this thread concerns. */
void reeve_lua_enter(reeve_lua_runner *runner);
void reeve_lua_leave(reeve_lua_runner *runner);
/* Lets the state's running coroutine raise, if that is wanted. */
void reeve_lua_arm(reeve_lua_runner *runner, lua_State *L);
/* Why the task has to stop, for messages. */
const char *reeve_lua_reason(int32_t reason);

/* dev.c */

/* A file that is watched, and when it was changed. */
typedef struct reeve_lua_watched {
    const char *path;
    struct timespec changed;
} reeve_lua_watched;

/* How often files are looked at. */
#define REEVE_LUA_WATCH_MS 300

/* Files of the list of paths on top of the stack, where both stay. Gives their
 * number. */
size_t reeve_lua_watch(lua_State *L, reeve_lua_watched **out);
bool reeve_lua_any_changed(const reeve_lua_watched *files, size_t count);
/* Adds wait_change() and exec() to the module's table on top of the stack. */
void reeve_lua_open_dev(lua_State *L);

#endif
