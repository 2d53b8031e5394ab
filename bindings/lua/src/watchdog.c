/*
 * Interrupts handlers that were told to stop. A hook that is always set would
 * cost 70 %, so it is set when it is needed: the watchdog sends a signal to the
 * thread, whose signal handler calls lua_sethook, as the lua program does for
 * Ctrl-C; the hook raises an error.
 *
 * The first time it raises once, so that the handler can clean up; a second
 * later at every instruction, past any pcall.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "runtime.h"

#define TICK_NS INT64_C(10000000)
#define PATIENCE_NS INT64_C(1000000000)

/* Whom the signal of this thread concerns. */
static _Thread_local reeve_lua_runner *volatile thread_runner;

const char *reeve_lua_reason(int32_t reason) {
    switch (reason) {
    case REEVE_CANCEL_TIMEOUT:
        return "timeout";
    case REEVE_CANCEL_DEADLINE:
        return "deadline";
    case REEVE_CANCEL_LEASE_LOST:
        return "lease lost";
    default:
        return "stop";
    }
}

static void hook(lua_State *L, lua_Debug *record) {
    (void)record;
    reeve_lua_runner *runner = thread_runner;
    int interrupt = runner ? atomic_load(&runner->interrupt) : REEVE_LUA_RUN_ON;
    if (interrupt != REEVE_LUA_RAISE_ALWAYS)
        lua_sethook(L, NULL, 0, 0);
    if (interrupt == REEVE_LUA_RUN_ON)
        return; /* a coroutine that outlived the task it was meant for */
    int once = REEVE_LUA_RAISE_ONCE;
    atomic_compare_exchange_strong(&runner->interrupt, &once, REEVE_LUA_RUN_ON);
    luaL_error(
        L, "the task was cancelled: %s",
        reeve_lua_reason(reeve_delivery_cancel_reason(runner->delivery)));
}

void reeve_lua_arm(reeve_lua_runner *runner, lua_State *L) {
    if (atomic_load(&runner->interrupt) != REEVE_LUA_RUN_ON)
        lua_sethook(L, hook,
                    LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT,
                    1);
}

static void on_signal(int number) {
    (void)number;
    int saved = errno;
    reeve_lua_runner *runner = thread_runner;
    if (runner && runner->current)
        reeve_lua_arm(runner, runner->current);
    errno = saved;
}

/* The core's threads block all signals; ours is let through, once a thread. */
static void unblock(void) {
    static _Thread_local bool done;
    if (done)
        return;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, REEVE_LUA_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    done = true;
}

void reeve_lua_enter(reeve_lua_runner *runner) {
    atomic_store(&runner->interrupt, REEVE_LUA_RUN_ON);
    runner->current = runner->state;
    thread_runner = runner;
    unblock();
}

void reeve_lua_leave(reeve_lua_runner *runner) {
    thread_runner = NULL;
    runner->current = NULL;
    runner->task = NULL;
    lua_sethook(runner->state, NULL, 0, 0);
}

/* Holds: runner->mutex, so that the run cannot end meanwhile. */
static void look_at(reeve_lua_runner *runner, int64_t now_ns) {
    if (reeve_delivery_cancel_reason(runner->delivery) == REEVE_CANCEL_NONE)
        return;
    if (!runner->told_ns) {
        runner->told_ns = now_ns;
        atomic_store(&runner->interrupt, REEVE_LUA_RAISE_ONCE);
    } else if (now_ns - runner->told_ns < PATIENCE_NS) {
        return;
    } else {
        atomic_store(&runner->interrupt, REEVE_LUA_RAISE_ALWAYS);
    }
    pthread_kill(runner->thread, REEVE_LUA_SIGNAL);
}

/* Looks at all that run; gives how many do. */
static size_t look_at_all(reeve_lua_hub *hub) {
    int64_t now_ns = reeve_lua_now_ns();
    size_t busy = 0;
    for (size_t i = 0; i < hub->runner_count; i++) {
        reeve_lua_runner *runner = &hub->runners[i];
        pthread_mutex_lock(&runner->mutex);
        if (runner->delivery) {
            busy++;
            look_at(runner, now_ns);
        }
        pthread_mutex_unlock(&runner->mutex);
    }
    return busy;
}

/* Sleeps until somebody runs: who begins after the second look sees that it is
 * parked. */
static void park(reeve_lua_hub *hub) {
    atomic_store(&hub->parked, true);
    if (look_at_all(hub)) {
        atomic_store(&hub->parked, false);
        return;
    }
    while (atomic_load(&hub->parked) && !hub->ends)
        pthread_cond_wait(&hub->wake_cond, &hub->mutex);
}

static void wait_tick(reeve_lua_hub *hub) {
    int64_t by_ns = reeve_lua_now_ns() + TICK_NS;
    struct timespec by = { .tv_sec = (time_t)(by_ns / 1000000000),
                           .tv_nsec = (long)(by_ns % 1000000000) };
    pthread_cond_timedwait(&hub->wake_cond, &hub->mutex, &by);
}

static void *watch(void *user) {
    reeve_lua_hub *hub = user;
    pthread_mutex_lock(&hub->mutex);
    while (!hub->ends) {
        if (look_at_all(hub))
            wait_tick(hub);
        else
            park(hub);
    }
    pthread_mutex_unlock(&hub->mutex);
    return NULL;
}

reeve_rc reeve_lua_watchdog_start(reeve_lua_hub *hub, struct sigaction *before,
                                  reeve_error *err) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    sigaction(REEVE_LUA_SIGNAL, &action, before);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int number = pthread_create(&hub->watchdog, NULL, watch, hub);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!number) {
        hub->watchdog_runs = true;
        return 0;
    }
    sigaction(REEVE_LUA_SIGNAL, before, NULL);
    err->code = REEVE_E_SYSTEM;
    (void)strcpy(err->message, "cannot start the watchdog thread");
    return REEVE_E_SYSTEM;
}

void reeve_lua_watchdog_stop(reeve_lua_hub *hub,
                             const struct sigaction *before) {
    if (!hub->watchdog_runs)
        return;
    pthread_mutex_lock(&hub->mutex);
    hub->ends = true;
    pthread_cond_signal(&hub->wake_cond);
    pthread_mutex_unlock(&hub->mutex);
    pthread_join(hub->watchdog, NULL);
    hub->watchdog_runs = false;
    sigaction(REEVE_LUA_SIGNAL, before, NULL);
}
