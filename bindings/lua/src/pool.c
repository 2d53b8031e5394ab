/*
 * The hub: which states are free, which run what.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
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

static bool init_sync(reeve_lua_hub *hub) {
    if (pthread_mutex_init(&hub->mutex, NULL))
        return false;
    if (!init_cond(&hub->free_cond)) {
        pthread_mutex_destroy(&hub->mutex);
        return false;
    }
    if (!init_cond(&hub->wake_cond)) {
        pthread_cond_destroy(&hub->free_cond);
        pthread_mutex_destroy(&hub->mutex);
        return false;
    }
    return true;
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
    hub->runner_count = count;
    for (size_t i = 0; i < count; i++) {
        runners[i].hub = hub;
        runners[i].next_free = hub->free;
        hub->free = &runners[i];
    }
    return hub;
}

void reeve_lua_hub_free(reeve_lua_hub *hub) {
    if (!hub)
        return;
    for (size_t i = 0; i < hub->runner_count; i++) {
        if (hub->runners[i].state)
            lua_close(hub->runners[i].state);
    }
    pthread_cond_destroy(&hub->wake_cond);
    pthread_cond_destroy(&hub->free_cond);
    pthread_mutex_destroy(&hub->mutex);
    free(hub->runners);
    free(hub);
}

reeve_lua_runner *reeve_lua_take(reeve_lua_hub *hub, reeve_delivery *dlv) {
    pthread_mutex_lock(&hub->mutex);
    while (!hub->free)
        pthread_cond_wait(&hub->free_cond, &hub->mutex);
    reeve_lua_runner *runner = hub->free;
    hub->free = runner->next_free;
    hub->active++;
    runner->delivery = dlv;
    runner->thread = pthread_self();
    runner->told_ns = 0;
    if (hub->watchdog_parked) {
        hub->watchdog_parked = false;
        pthread_cond_signal(&hub->wake_cond);
    }
    pthread_mutex_unlock(&hub->mutex);
    return runner;
}

void reeve_lua_give(reeve_lua_hub *hub, reeve_lua_runner *runner) {
    pthread_mutex_lock(&hub->mutex);
    runner->delivery = NULL;
    runner->next_free = hub->free;
    hub->free = runner;
    hub->active--;
    pthread_cond_signal(&hub->free_cond);
    pthread_mutex_unlock(&hub->mutex);
}

size_t reeve_lua_wait_idle(reeve_lua_hub *hub, int64_t span_ms) {
    int64_t by_ns = reeve_lua_now_ns() + span_ms * 1000000;
    struct timespec by = { .tv_sec = (time_t)(by_ns / 1000000000),
                           .tv_nsec = (long)(by_ns % 1000000000) };
    pthread_mutex_lock(&hub->mutex);
    while (hub->active && pthread_cond_timedwait(&hub->free_cond, &hub->mutex,
                                                 &by) != ETIMEDOUT)
        ;
    size_t active = hub->active;
    pthread_mutex_unlock(&hub->mutex);
    return active;
}
