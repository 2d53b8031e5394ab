/*
 * The hub: which thread runs which state, and what.
 */
#include <stdlib.h>
#include <time.h>

#include "runtime.h"

int64_t reeve_lua_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool init_cond(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr))
        return false;
    bool good = !pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) &&
                !pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return good;
}

static void dispose_sync(reeve_lua_hub *hub) {
    pthread_cond_destroy(&hub->client_cond);
    pthread_cond_destroy(&hub->wake_cond);
    pthread_cond_destroy(&hub->idle_cond);
    pthread_mutex_destroy(&hub->mutex);
}

static bool init_sync(reeve_lua_hub *hub) {
    if (pthread_mutex_init(&hub->mutex, NULL))
        return false;
    bool idle = init_cond(&hub->idle_cond);
    bool wake = init_cond(&hub->wake_cond);
    bool client = init_cond(&hub->client_cond);
    if (idle && wake && client)
        return true;
    if (idle)
        pthread_cond_destroy(&hub->idle_cond);
    if (wake)
        pthread_cond_destroy(&hub->wake_cond);
    if (client)
        pthread_cond_destroy(&hub->client_cond);
    pthread_mutex_destroy(&hub->mutex);
    return false;
}

reeve_lua_hub *reeve_lua_hub_new(size_t count) {
    reeve_lua_hub *hub = calloc(1, sizeof *hub);
    reeve_lua_runner *runners = calloc(count, sizeof *runners);
    if (!hub || !runners || !init_sync(hub)) {
        free(runners);
        free(hub);
        return NULL;
    }
    hub->runners = runners;
    for (; hub->runner_count < count; hub->runner_count++) {
        reeve_lua_runner *runner = &runners[hub->runner_count];
        runner->hub = hub;
        if (pthread_mutex_init(&runner->mutex, NULL)) {
            reeve_lua_hub_free(hub);
            return NULL;
        }
    }
    return hub;
}

void reeve_lua_hub_free(reeve_lua_hub *hub) {
    if (!hub)
        return;
    for (size_t i = 0; i < hub->runner_count; i++) {
        if (hub->runners[i].state)
            lua_close(hub->runners[i].state);
        pthread_mutex_destroy(&hub->runners[i].mutex);
    }
    reeve_lua_shared_close(hub);
    dispose_sync(hub);
    free(hub->runners);
    free(hub);
}

/* A thread keeps its runner: states are not handed around, and taking one
 * meets nobody else's lock. */
static reeve_lua_runner *bind_thread(reeve_lua_hub *hub) {
    pthread_mutex_lock(&hub->mutex);
    reeve_lua_runner *runner = NULL;
    if (hub->bound_count < hub->runner_count)
        runner = &hub->runners[hub->bound_count++];
    pthread_mutex_unlock(&hub->mutex);
    return runner;
}

/* Whoever reads a flag of these two after having released its runner's mutex,
 * and finds it unset, is seen by him who sets it and then takes that mutex. */
static void unpark(reeve_lua_hub *hub) {
    pthread_mutex_lock(&hub->mutex);
    atomic_store(&hub->parked, false);
    pthread_cond_signal(&hub->wake_cond);
    pthread_mutex_unlock(&hub->mutex);
}

reeve_lua_runner *reeve_lua_take(reeve_lua_hub *hub, reeve_delivery *dlv) {
    static _Thread_local reeve_lua_runner *own;
    if (!own)
        own = bind_thread(hub);
    reeve_lua_runner *runner = own;
    if (!runner)
        return NULL;
    pthread_mutex_lock(&runner->mutex);
    runner->delivery = dlv;
    runner->thread = pthread_self();
    runner->told_ns = 0;
    pthread_mutex_unlock(&runner->mutex);
    if (atomic_load(&hub->parked))
        unpark(hub);
    return runner;
}

void reeve_lua_give(reeve_lua_runner *runner) {
    reeve_lua_hub *hub = runner->hub;
    pthread_mutex_lock(&runner->mutex);
    runner->delivery = NULL;
    pthread_mutex_unlock(&runner->mutex);
    if (!atomic_load(&hub->leaving))
        return;
    pthread_mutex_lock(&hub->mutex);
    pthread_cond_signal(&hub->idle_cond);
    pthread_mutex_unlock(&hub->mutex);
}

bool reeve_lua_is_busy(reeve_lua_runner *runner) {
    pthread_mutex_lock(&runner->mutex);
    bool busy = runner->delivery != NULL;
    pthread_mutex_unlock(&runner->mutex);
    return busy;
}

static size_t count_busy(reeve_lua_hub *hub) {
    size_t count = 0;
    for (size_t i = 0; i < hub->runner_count; i++)
        count += reeve_lua_is_busy(&hub->runners[i]);
    return count;
}

size_t reeve_lua_wait_idle(reeve_lua_hub *hub, int64_t span_ms) {
    int64_t by_ns = reeve_lua_now_ns() + span_ms * 1000000;
    struct timespec by = { .tv_sec = (time_t)(by_ns / 1000000000),
                           .tv_nsec = (long)(by_ns % 1000000000) };
    pthread_mutex_lock(&hub->mutex);
    atomic_store(&hub->leaving, true);
    size_t busy = count_busy(hub);
    int failed = 0;
    while (busy && !failed) {
        failed = pthread_cond_timedwait(&hub->idle_cond, &hub->mutex, &by);
        busy = count_busy(hub);
    }
    pthread_mutex_unlock(&hub->mutex);
    return busy;
}
