/*
 * Wake descriptors (eventfd, else a pipe) and waiting on two descriptors by the
 * env's clock. Ringing is safe in a signal handler.
 */
#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/eventfd.h>
#endif

static bool set_flags(int fd) {
    int status = fcntl(fd, F_GETFL);
    return status >= 0 && fcntl(fd, F_SETFL, status | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

reeve_rc reeve__wakefd_open(reeve__wakefd *wake, reeve_error *err) {
#if defined(__linux__)
    wake->fd = wake->write_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake->fd >= 0)
        return REEVE_OK;
#endif
    return reeve__wakefd_open_pipe(wake, err);
}

reeve_rc reeve__wakefd_open_pipe(reeve__wakefd *wake, reeve_error *err) {
    wake->fd = wake->write_fd = -1;
    int ends[2];
    if (pipe(ends) != 0)
        return reeve__fail(err, REEVE_E_SYSTEM,
                           "cannot open a wake descriptor: error %d", errno);
    wake->fd = ends[0];
    wake->write_fd = ends[1];
    if (set_flags(ends[0]) && set_flags(ends[1]))
        return REEVE_OK;
    int number = errno;
    reeve__wakefd_close(wake);
    return reeve__fail(err, REEVE_E_SYSTEM,
                       "cannot set up a wake descriptor: error %d", number);
}

void reeve__wakefd_close(reeve__wakefd *wake) {
    if (wake->write_fd >= 0 && wake->write_fd != wake->fd)
        close(wake->write_fd);
    if (wake->fd >= 0)
        close(wake->fd);
    wake->fd = wake->write_fd = -1;
}

void reeve__wakefd_ring(const reeve__wakefd *wake) {
    /* An eventfd takes 8 bytes, a pipe any. EAGAIN: full, so it is readable
     * already, which is all a ring means. */
    int saved = errno;
    uint64_t one = 1;
    while (write(wake->write_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    errno = saved;
}

void reeve__wakefd_clear(const reeve__wakefd *wake) {
    uint64_t sink[16];
    for (;;) {
        ssize_t got = read(wake->fd, sink, sizeof sink);
        /* One read empties an eventfd; a pipe is empty at a short read. */
        if (got == (ssize_t)sizeof sink || (got < 0 && errno == EINTR))
            continue;
        return;
    }
}

int reeve__poll_span_ms(reeve_env *env, int64_t by_ns) {
    if (by_ns == INT64_MAX)
        return -1;
    int64_t now_ns = reeve__mono_ns(env);
    if (by_ns <= now_ns) /* compared first: by_ns may be INT64_MIN */
        return 0;
    if (reeve__clock_is_virtual(env))
        return 1;
    int64_t left_ms = (by_ns - now_ns - 1) / REEVE__MS_NS + 1;
    return left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
}

int reeve__poll_two(reeve_env *env, int first_fd, int second_fd,
                    int64_t by_ns) {
    struct pollfd fds[2] = {
        { .fd = first_fd, .events = POLLIN },
        { .fd = second_fd, .events = POLLIN },
    };
    for (;;) {
        int span_ms = reeve__poll_span_ms(env, by_ns);
        int ready = poll(fds, 2, span_ms);
        if (ready > 0)
            return (fds[0].revents != 0 ? 1 : 0) |
                   (fds[1].revents != 0 ? 2 : 0);
        /* EINTR, or a kernel out of memory: look at the clock again. */
        if (span_ms == 0)
            return 0;
    }
}
