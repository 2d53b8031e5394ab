/*
 * The fork counter. Objects remember its value at their birth; a different
 * value later means that sockets and threads belong to another process.
 */
#include "base/thread.h"

#include <stdatomic.h>

static atomic_uint fork_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void count_fork(void) {
    atomic_fetch_add_explicit(&fork_count, 1, memory_order_relaxed);
}

static void install(void) {
    pthread_atfork(NULL, NULL, count_fork);
}

uint32_t reeve__fork_count(void) {
    pthread_once(&once, install);
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}
