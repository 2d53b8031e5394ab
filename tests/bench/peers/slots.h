/*
 * Counting and stamping for drivers in C, by the contract of
 * tests/bench/README.md: a slot a thread in a mapped file, one line a stamp.
 */
#ifndef BENCH_SLOTS_H
#define BENCH_SLOTS_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SLOTS_COUNT 512

static uint64_t *slots;
static int stamp_fd = -1;
static atomic_uint slots_used;

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Opens what the environment names; false with errno set. */
static int slots_open(void) {
    const char *folder = getenv("BENCH_COUNTERS");
    const char *stamps = getenv("BENCH_STAMPS");
    char path[4096];
    if (stamps) {
        stamp_fd = open(stamps, O_WRONLY | O_APPEND | O_CREAT, 0644);
        if (stamp_fd < 0)
            return 0;
    }
    if (!folder)
        return 1;
    (void)snprintf(path, sizeof path, "%s/%d", folder, (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0 || ftruncate(fd, SLOTS_COUNT * (off_t)sizeof *slots))
        return 0;
    slots = mmap(NULL, SLOTS_COUNT * sizeof *slots, PROT_READ | PROT_WRITE,
                 MAP_SHARED, fd, 0);
    (void)close(fd);
    return slots != MAP_FAILED;
}

/* Counts one run, in this thread's slot. The last slot is for all threads beyond
 * it. */
static void slots_hit(void) {
    static _Thread_local unsigned own; /* 0: none yet */
    if (!slots)
        return;
    if (!own)
        own = atomic_fetch_add(&slots_used, 1) + 1;
    if (own < SLOTS_COUNT)
        slots[own - 1]++;
    else
        (void)__atomic_fetch_add(&slots[SLOTS_COUNT - 1], 1, __ATOMIC_RELAXED);
}

/* Notes that a handler started; false when that could not be written. */
static int slots_stamp(int64_t sent_ns) {
    char line[64];
    int size = snprintf(line, sizeof line, "%lld %lld\n", (long long)sent_ns,
                        (long long)now_ns(CLOCK_MONOTONIC));
    return stamp_fd < 0 || write(stamp_fd, line, (size_t)size) == size;
}

/* A millisecond of this thread's CPU. */
static void slots_burn(void) {
    int64_t end = now_ns(CLOCK_THREAD_CPUTIME_ID) + 1000000;
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        continue;
}

#endif
