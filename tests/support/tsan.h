/*
 * Whether ThreadSanitizer watches. It does not follow a fork of a process with
 * threads: it takes the parent's for lost and the child's for their rivals.
 */
#ifndef REEVE_TESTS_TSAN_H
#define REEVE_TESTS_TSAN_H

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

#endif
