/*
 * Threads, locks, wake fds and the fork counter. Core threads block all
 * signals. No lock is held across I/O or a callback.
 */
#ifndef REEVE_SRC_BASE_THREAD_H
#define REEVE_SRC_BASE_THREAD_H

#include <pthread.h>
#include "base/env.h"

typedef pthread_mutex_t reeve__mutex;
typedef pthread_cond_t reeve__cond; /* monotonic clock */

reeve_rc reeve__mutex_init(reeve__mutex *mutex, reeve_error *err);
void reeve__mutex_dispose(reeve__mutex *mutex);
void reeve__lock(reeve__mutex *mutex);
void reeve__unlock(reeve__mutex *mutex);

reeve_rc reeve__cond_init(reeve__cond *cond, reeve_error *err);
void reeve__cond_dispose(reeve__cond *cond);
void reeve__signal(reeve__cond *cond);
void reeve__broadcast(reeve__cond *cond);
void reeve__wait(reeve__cond *cond, reeve__mutex *mutex);
/* False when by_ns (of env's monotonic clock; INT64_MAX = never) has passed.
 * True may be spurious, and is every real millisecond in a virtual env. */
bool reeve__wait_by(reeve__cond *cond, reeve__mutex *mutex, reeve_env *env,
                    int64_t by_ns);

typedef struct reeve__thread {
    pthread_t handle;
    bool started;
    /* Read by the thread when it begins. */
    void (*run)(void *arg);
    void *arg;
    const char *name;
} reeve__thread;

/* thread and name stay where they are until it is joined. name: at most 15
 * bytes. */
reeve_rc reeve__thread_start(reeve__thread *thread, const char *name,
                             void (*run)(void *arg), void *arg,
                             reeve_error *err);
void reeve__thread_join(reeve__thread *thread); /* no-op if not started */

/* A descriptor that becomes readable when rung; rings coalesce. */
typedef struct reeve__wakefd {
    int fd;       /* poll this for reading */
    int write_fd; /* the same as fd with eventfd */
} reeve__wakefd;

reeve_rc reeve__wakefd_open(reeve__wakefd *wake, reeve_error *err);
/* The same over a pipe, for systems without eventfd. */
reeve_rc reeve__wakefd_open_pipe(reeve__wakefd *wake, reeve_error *err);
void reeve__wakefd_close(reeve__wakefd *wake);
void reeve__wakefd_ring(const reeve__wakefd *wake); /* Thread: signal */
void reeve__wakefd_clear(const reeve__wakefd *wake);

/* What to give poll(2) so that it ends at by_ns: rounded up, -1 = for ever, one
 * at a time in a virtual env. */
int reeve__poll_span_ms(reeve_env *env, int64_t by_ns);

/*
 * poll(2) on up to two descriptors for reading (fd < 0 is left out) until
 * by_ns. Returns a bit mask: 1 = first readable, 2 = second, 0 = time is up.
 * Errors and hang-ups count as readable. In a virtual env it looks at the clock
 * every real millisecond.
 */
int reeve__poll_two(reeve_env *env, int first_fd, int second_fd, int64_t by_ns);

/* How often this process image has forked; objects compare it with the value
 * at their birth. */
uint32_t reeve__fork_count(void);
/* How long this process has used the library, or its parent before the fork,
 * in real time whatever the env's clock says. */
int64_t reeve__process_age_ms(void);

#endif
