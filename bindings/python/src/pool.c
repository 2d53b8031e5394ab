/*
 * The threads that run plain handlers, as far as C goes: they take deliveries
 * from here and give outcomes back in the same call, without a queue in Python.
 *
 * One thread, the watcher, waits at the core's descriptor without the GIL; the
 * others sleep. A thread that got work calls the next watcher before it runs
 * it, so cancellations are heard while every handler is busy, and at most one
 * thread at a time wants the GIL of the one that runs: quick handlers run one
 * after another in one thread, those that block let the next thread in.
 *
 * What is not for threads (coroutines, cancellations, the end) is kept for the
 * event loop, which is woken by a pipe.
 *
 * Nobody waits for the GIL while holding the mutex.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "glue.h"

#define ABSORB_COUNT 64

typedef struct fifo {
    reeve_event *items;
    size_t first;
    size_t count;
    size_t capacity;
} fifo;

struct glue_pool {
    reeve_worker *worker; /* borrowed; freed after the pool */
    const glue_tasks *tasks;
    size_t idle_max;
    int bell[2]; /* readable while the loop has events */
    int wake[2]; /* readable when the watcher is to look again */
    pthread_mutex_t mutex;
    pthread_cond_t idle_cond;
    /* Guarded by mutex. */
    fifo ready;    /* for threads */
    fifo loop;     /* for the event loop */
    size_t idle;   /* threads on idle_cond */
    bool called;   /* one of them was woken and is not here yet */
    bool starting; /* a new thread is not here yet */
    bool watched;  /* a thread waits at the descriptor, or comes from there */
    bool polling;  /* that thread is in poll(2): only a descriptor wakes it */
    bool rung;     /* bell is readable */
    bool nudged;   /* wake is readable */
    bool over;     /* closed, or the worker has ended */
};

static bool fifo_reserve(fifo *f, size_t more) {
    if (f->count + more <= f->capacity)
        return true;
    size_t capacity = (f->count + more) * 2;
    reeve_event *items = malloc(capacity * sizeof *items);
    if (items == NULL)
        return false;
    for (size_t i = 0; i < f->count; i++)
        items[i] = f->items[(f->first + i) % f->capacity];
    free(f->items);
    *f = (fifo){ items, 0, f->count, capacity };
    return true;
}

static void fifo_push(fifo *f, reeve_event event) {
    f->items[(f->first + f->count++) % f->capacity] = event;
}

static bool fifo_pop(reeve_event *out, fifo *f) {
    if (f->count == 0)
        return false;
    *out = f->items[f->first];
    f->first = (f->first + 1) % f->capacity;
    f->count--;
    return true;
}

/* Back to its queue; one that has a verdict already is only let go. */
static void hand_back(reeve_worker *worker, reeve_delivery *delivery) {
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    outcome.kind = REEVE_OUTCOME_REQUEUE;
    reeve_worker_complete(worker, delivery, &outcome, NULL);
}

static void fifo_dispose(fifo *f, reeve_worker *worker) {
    reeve_event event;
    while (fifo_pop(&event, f)) {
        if (event.kind == REEVE_EVENT_DELIVERY)
            hand_back(worker, event.delivery);
    }
    free(f->items);
    *f = (fifo){ 0 };
}

static int open_pipe(int fds[2]) {
    if (pipe(fds) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        fcntl(fds[i], F_SETFL, O_NONBLOCK);
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    }
    return 0;
}

static void close_pipe(const int fds[2]) {
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
}

/* rung says whether there is a byte in the pipe. Holds: the mutex. */
static void ring(const int fds[2], bool *rung) {
    if (!*rung)
        *rung = write(fds[1], "", 1) == 1;
}

static void unring(const int fds[2], bool *rung) {
    char byte;
    if (*rung)
        *rung = read(fds[0], &byte, 1) != 1;
}

glue_pool *glue_pool_new(reeve_worker *worker, const glue_tasks *tasks,
                         size_t idle_max) {
    glue_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->worker = worker;
    pool->tasks = tasks;
    pool->idle_max = idle_max;
    pool->bell[0] = pool->bell[1] = pool->wake[0] = pool->wake[1] = -1;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->idle_cond, NULL);
    if (open_pipe(pool->bell) < 0 || open_pipe(pool->wake) < 0) {
        int error = errno;
        glue_pool_free(pool);
        errno = error;
        return NULL;
    }
    return pool;
}

void glue_pool_free(glue_pool *pool) {
    if (pool == NULL)
        return;
    fifo_dispose(&pool->ready, pool->worker);
    fifo_dispose(&pool->loop, pool->worker);
    close_pipe(pool->bell);
    close_pipe(pool->wake);
    pthread_cond_destroy(&pool->idle_cond);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

int glue_pool_fd(const glue_pool *pool) {
    return pool->bell[0];
}

void glue_pool_close(glue_pool *pool) {
    reeve_event event;
    pthread_mutex_lock(&pool->mutex);
    pool->over = true;
    while (fifo_pop(&event, &pool->ready))
        hand_back(pool->worker, event.delivery);
    pthread_cond_broadcast(&pool->idle_cond);
    ring(pool->wake, &pool->nudged);
    pthread_mutex_unlock(&pool->mutex);
}

static bool is_for_threads(const glue_pool *pool, const reeve_event *event) {
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    if (event->kind != REEVE_EVENT_DELIVERY ||
        reeve_delivery_read(&view, event->delivery, NULL) < 0)
        return false;
    const glue_task *task = glue_task_find(pool->tasks, view.type);
    return task != NULL && task->is_plain;
}

/* Takes what the core has; false when there is no memory to take it to.
 * Holds: the mutex. */
static bool absorb(glue_pool *pool) {
    if (!fifo_reserve(&pool->ready, ABSORB_COUNT) ||
        !fifo_reserve(&pool->loop, ABSORB_COUNT))
        return false;
    reeve_event events[ABSORB_COUNT];
    size_t count = reeve_worker_poll(events, ABSORB_COUNT, pool->worker, 0);
    for (size_t i = 0; i < count; i++) {
        fifo_push(is_for_threads(pool, &events[i]) ? &pool->ready : &pool->loop,
                  events[i]);
        if (events[i].kind == REEVE_EVENT_STOPPED) {
            pool->over = true;
            pthread_cond_broadcast(&pool->idle_cond);
        }
    }
    return true;
}

/* What another thread took from the core rings at the core's descriptor no
 * more. Holds: the mutex. */
static void nudge_watcher(glue_pool *pool) {
    if (pool->polling && pool->ready.count > 0)
        ring(pool->wake, &pool->nudged);
}

/* The loop looks for itself what the core has, so that it need not be woken for
 * what follows a completion. Then the watcher hears of what is for threads. */
size_t glue_pool_poll(reeve_event *out, size_t max, glue_pool *pool) {
    size_t count = 0;
    pthread_mutex_lock(&pool->mutex);
    if (pool->loop.count == 0 && !pool->over) {
        (void)absorb(pool);
        nudge_watcher(pool);
    }
    while (count < max && fifo_pop(&out[count], &pool->loop))
        count++;
    if (pool->loop.count == 0)
        unring(pool->bell, &pool->rung);
    else
        ring(pool->bell, &pool->rung);
    pthread_mutex_unlock(&pool->mutex);
    return count;
}

/* As the watcher: until there is work for a thread. Holds: the mutex, but not
 * while waiting; no GIL. */
static void watch(glue_pool *pool) {
    while (!pool->over && pool->ready.count == 0) {
        struct pollfd fds[2] = {
            { .fd = reeve_worker_fd(pool->worker), .events = POLLIN },
            { .fd = pool->wake[0], .events = POLLIN },
        };
        pool->polling = true;
        pthread_mutex_unlock(&pool->mutex);
        (void)poll(fds, 2, -1);
        pthread_mutex_lock(&pool->mutex);
        pool->polling = false;
        unring(pool->wake, &pool->nudged);
        if (!absorb(pool)) {
            pthread_mutex_unlock(&pool->mutex);
            (void)poll(NULL, 0, 10);
            pthread_mutex_lock(&pool->mutex);
        }
        if (pool->loop.count > 0)
            ring(pool->bell, &pool->rung);
    }
}

/* Sleeps until there may be work for this thread. Holds: the mutex and the
 * GIL, both not while waiting. */
static void wait_for_work(glue_pool *pool) {
    pthread_mutex_unlock(&pool->mutex);
    bool was_watcher = false;
    Py_BEGIN_ALLOW_THREADS pthread_mutex_lock(&pool->mutex);
    while (pool->watched && !pool->over) {
        pool->idle++;
        pthread_cond_wait(&pool->idle_cond, &pool->mutex);
        pool->idle--;
        pool->called = false;
    }
    if (!pool->over) {
        was_watcher = pool->watched = true;
        watch(pool);
    }
    pthread_mutex_unlock(&pool->mutex);
    Py_END_ALLOW_THREADS pthread_mutex_lock(&pool->mutex);
    if (was_watcher)
        pool->watched = false;
}

/* Sees to it that somebody watches while the caller runs a handler. True when
 * that needs a new thread. Holds: the mutex. */
static bool call_watcher(glue_pool *pool) {
    if (pool->watched || pool->called || pool->starting || pool->over)
        return false;
    if (pool->idle == 0)
        return pool->starting = true;
    pool->called = true;
    pthread_cond_signal(&pool->idle_cond);
    return false;
}

void glue_pool_arrived(glue_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    pool->starting = false;
    pthread_mutex_unlock(&pool->mutex);
}

reeve_delivery *glue_pool_take(bool *wants_thread, glue_pool *pool) {
    reeve_event event = { 0 };
    *wants_thread = false;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        if (pool->ready.count == 0 && !pool->over && absorb(pool) &&
            pool->loop.count > 0)
            ring(pool->bell, &pool->rung);
        if (fifo_pop(&event, &pool->ready)) {
            if (!reeve_delivery_cancel_reason(event.delivery))
                break;
            hand_back(pool->worker, event.delivery); /* too late to begin */
            event.delivery = NULL;
        } else if (pool->over ||
                   (pool->watched && pool->idle >= pool->idle_max)) {
            break; /* the end, or too many wait already */
        } else {
            wait_for_work(pool);
        }
    }
    if (event.delivery != NULL)
        *wants_thread = call_watcher(pool);
    nudge_watcher(pool);
    pthread_mutex_unlock(&pool->mutex);
    return event.delivery;
}
