/*
 * Whether a tool watches that does not follow a fork. ThreadSanitizer takes the
 * parent's threads for lost and the child's for their rivals; valgrind counts
 * what a child leaves to its parent as lost.
 */
#ifndef REEVE_TESTS_FORKS_H
#define REEVE_TESTS_FORKS_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN true
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN false
#endif

static inline bool forks_are_followed(void) {
    const char *preload = getenv("LD_PRELOAD");
    return !UNDER_TSAN && !(preload && strstr(preload, "vgpreload"));
}

#endif
