/*
 * Threads, mutexes and condition variables over pthreads, with the env's clock
 * for timed waits. Misuse of a lock is our own bug and is asserted.
 */
#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

#define NAME_BYTES_MAX 15
#define SECOND_NS ((int64_t)1000000000)

static reeve_rc fail_system(reeve_error *err, const char *what, int number) {
    return reeve__fail(err, number == ENOMEM ? REEVE_E_NOMEM : REEVE_E_SYSTEM,
                       "cannot make a %s: error %d", what, number);
}

reeve_rc reeve__mutex_init(reeve__mutex *mutex, reeve_error *err) {
    int number = pthread_mutex_init(mutex, NULL);
    return number == 0 ? REEVE_OK : fail_system(err, "mutex", number);
}

void reeve__mutex_dispose(reeve__mutex *mutex) {
    pthread_mutex_destroy(mutex);
}

void reeve__lock(reeve__mutex *mutex) {
    int number = pthread_mutex_lock(mutex);
    assert(number == 0);
    (void)number;
}

void reeve__unlock(reeve__mutex *mutex) {
    int number = pthread_mutex_unlock(mutex);
    assert(number == 0);
    (void)number;
}

reeve_rc reeve__cond_init(reeve__cond *cond, reeve_error *err) {
    pthread_condattr_t attr;
    int number = pthread_condattr_init(&attr);
    if (number != 0)
        return fail_system(err, "condition variable", number);
    number = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (number == 0)
        number = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    if (number != 0)
        return fail_system(err, "condition variable", number);
    return REEVE_OK;
}

void reeve__cond_dispose(reeve__cond *cond) {
    pthread_cond_destroy(cond);
}

void reeve__signal(reeve__cond *cond) {
    pthread_cond_signal(cond);
}

void reeve__broadcast(reeve__cond *cond) {
    pthread_cond_broadcast(cond);
}

void reeve__wait(reeve__cond *cond, reeve__mutex *mutex) {
    int number = pthread_cond_wait(cond, mutex);
    assert(number == 0);
    (void)number;
}

bool reeve__wait_by(reeve__cond *cond, reeve__mutex *mutex, reeve_env *env,
                    int64_t by_ns) {
    if (by_ns == INT64_MAX) {
        reeve__wait(cond, mutex);
        return true;
    }
    bool is_virtual = reeve__clock_is_virtual(env);
    for (;;) {
        if (reeve__mono_ns(env) >= by_ns)
            return false;
        int64_t until_ns = by_ns;
        if (is_virtual)
            until_ns = reeve__mono_ns(NULL) + REEVE__MS_NS;
        struct timespec until = {
            .tv_sec = (time_t)(until_ns / SECOND_NS),
            .tv_nsec = (long)(until_ns % SECOND_NS),
        };
        int number = pthread_cond_timedwait(cond, mutex, &until);
        if (number == 0)
            return true;
        assert(number == ETIMEDOUT);
        /* A signal may have met nobody while this thread, awake again, waited
         * for the mutex: only the caller can see whether it did. */
        if (is_virtual && reeve__mono_ns(env) < by_ns)
            return true;
    }
}

static void *thread_main(void *given) {
    const reeve__thread *thread = given;
#if defined(__linux__)
    prctl(PR_SET_NAME, (unsigned long)thread->name, 0, 0, 0);
#endif
    thread->run(thread->arg);
    return NULL;
}

/* The mask is inherited, so it is set around the birth: a signal can never
 * reach the new thread, not even before its first instruction. */
reeve_rc reeve__thread_start(reeve__thread *thread, const char *name,
                             void (*run)(void *arg), void *arg,
                             reeve_error *err) {
    assert(strlen(name) <= NAME_BYTES_MAX);
    *thread = (reeve__thread){ .run = run, .arg = arg, .name = name };
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int number = pthread_create(&thread->handle, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (number != 0)
        return reeve__fail(err, REEVE_E_SYSTEM,
                           "cannot start thread %s: error %d", name, number);
    thread->started = true;
    return REEVE_OK;
}

void reeve__thread_join(reeve__thread *thread) {
    if (!thread->started)
        return;
    int number = pthread_join(thread->handle, NULL);
    assert(number == 0);
    (void)number;
    thread->started = false;
}
