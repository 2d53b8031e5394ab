/*
 * The wake-up alone, across two processes, for `make prove T=wakeup`:
 *
 *   check_wakeup URL COUNT      sqlite: the bell of the board; redis: its bell
 *   check_wakeup floor COUNT    a datagram between two processes, nothing else
 *
 * The waiter is a child that does nothing but wait for a queue. For each sample
 * the ringer lets it fall asleep, reads the clock, rings, and the waiter reads
 * the clock when its wait has returned. Both read CLOCK_MONOTONIC, which is one
 * for all processes. Prints the spans in microseconds as one JSON list.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "broker/redis/redis.h"
#include "broker/sqlite/handle.h"

#define QUEUE "check"
#define ASLEEP_NS 2000000 /* the waiter is certainly in its wait then */

typedef struct bench {
    const char *url;       /* NULL: the floor */
    reeve__broker *broker; /* of this process */
    int said[2];           /* pipe: when the waiter's waits returned */
    int bell[2];           /* of the floor */
} bench;

static void must(reeve_rc rc, const reeve_error *err) {
    if (rc < 0) {
        (void)fprintf(stderr, "check_wakeup: %s\n", err->message);
        _exit(1);
    }
}

static void must_be(bool good, const char *what) {
    if (!good) {
        (void)fprintf(stderr, "check_wakeup: %s failed\n", what);
        _exit(1);
    }
}

static void open_broker(bench *b) {
    reeve_error err = { 0, "" };
    reeve__broker_options options = { .url = b->url };
    if (b->url)
        must(reeve__broker_open(&b->broker, NULL, &options, &err), &err);
}

static void wait_once(bench *b, int64_t by_ns) {
    if (!b->url) {
        char byte;
        struct pollfd one = { .fd = b->bell[0], .events = POLLIN };
        must_be(poll(&one, 1, by_ns ? -1 : 0) >= 0, "poll");
        must_be(!by_ns || recv(b->bell[0], &byte, 1, 0) == 1, "recv");
        return;
    }
    reeve_error err = { 0, "" };
    reeve_bytes queue = reeve_bytes_of(QUEUE);
    ptrdiff_t index = -1;
    while (index < 0) {
        must(
            b->broker->ops->wait(b->broker, &queue, 1, -1, by_ns, &index, &err),
            &err);
        if (!by_ns)
            return;
    }
}

static void wait_for_ever(bench *b) {
    open_broker(b);
    wait_once(b, 0); /* slot, socket, connection */
    int64_t now_ns = 0;
    while (write(b->said[1], &now_ns, sizeof now_ns) == sizeof now_ns) {
        wait_once(b, INT64_MAX);
        now_ns = reeve__mono_ns(NULL);
    }
}

static void ring(bench *b) {
    reeve_error err = { 0, "" };
    if (!b->url) {
        must_be(send(b->bell[1], "", 1, 0) == 1, "send");
    } else if (!strcmp(b->broker->ops->name, "sqlite")) {
        reeve__sqlite *sq = (reeve__sqlite *)b->broker;
        reeve__board_ring(&sq->board, reeve__board_hash(reeve_bytes_of(QUEUE)));
    } else {
        reeve__redis *redis = (reeve__redis *)b->broker;
        reeve__buf_clear(&redis->owed);
        reeve__buf_add_text(&redis->owed, QUEUE);
        must(b->broker->ops->unwait(b->broker, &err), &err);
    }
}

static void measure(bench *b, long count) {
    int64_t back_ns = 0;
    must_be(read(b->said[0], &back_ns, sizeof back_ns) == sizeof back_ns,
            "the waiter's start");
    (void)printf("[");
    for (long i = 0; i < count; i++) {
        (void)nanosleep(&(struct timespec){ .tv_nsec = ASLEEP_NS }, NULL);
        int64_t start_ns = reeve__mono_ns(NULL);
        ring(b);
        must_be(read(b->said[0], &back_ns, sizeof back_ns) == sizeof back_ns,
                "the waiter");
        (void)printf("%s%.1f", i ? "," : "",
                     (double)(back_ns - start_ns) / 1000);
    }
    (void)puts("]");
}

int main(int argc, char **argv) {
    bench b = { .url = argc == 3 && strcmp(argv[1], "floor") ? argv[1] : NULL };
    long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (count <= 0) {
        (void)fprintf(stderr, "usage: check_wakeup URL|floor COUNT\n");
        return 2;
    }
    must_be(pipe(b.said) == 0, "pipe");
    must_be(socketpair(AF_UNIX, SOCK_DGRAM, 0, b.bell) == 0, "socketpair");
    pid_t waiter = fork();
    must_be(waiter >= 0, "fork");
    if (waiter == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(b.said[0]);
        wait_for_ever(&b);
        _exit(0);
    }
    close(b.said[1]);
    open_broker(&b);
    measure(&b, count);
    reeve__broker_close(b.broker);
    (void)kill(waiter, SIGKILL);
    (void)waitpid(waiter, NULL, 0);
    return 0;
}
