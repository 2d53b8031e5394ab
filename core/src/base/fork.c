/*
 * The fork counter. Objects remember its value at their birth; a different
 * value later means that sockets and threads belong to another process. And
 * since when this process has been at work.
 */
#include "base/thread.h"

#include <stdatomic.h>
#include <time.h>

static atomic_uint fork_count;
static int64_t began_ms; /* monotonic, of the machine */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void count_fork(void) {
    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
}

static int64_t machine_ms(void) {
    struct timespec now = { 0 };
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void install(void) {
    began_ms = machine_ms();
    pthread_atfork(NULL, NULL, count_fork);
}

uint32_t reeve__fork_count(void) {
    pthread_once(&once, install);
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}

int64_t reeve__process_age_ms(void) {
    pthread_once(&once, install);
    return machine_ms() - began_ms;
}
