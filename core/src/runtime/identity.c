/*
 * One id, one worker: leases and control messages are addressed by id, so two
 * live workers must not share one. A predecessor that is known to be dead is
 * none: its process is gone, or had our process id before us.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/bytes.h"
#include "runtime/worker.h"

/* A worker that has missed so many beats is dead. */
#define BEATS_MISSED 3

/* In a container every process is number 1. One before us has not beaten since
 * we began; who has is a worker of this process, or of another container. */
static bool is_here_and_dead(const reeve_worker *worker,
                             const reeve_worker_info *other,
                             int64_t now_at_ms) {
    pid_t pid = (pid_t)other->pid;
    if (!reeve__bytes_is(other->host, worker->host) || pid <= 0)
        return false;
    if (pid == getpid())
        return other->beat_at_ms < now_at_ms - reeve__process_age_ms();
    return kill(pid, 0) && errno == ESRCH;
}

static reeve_rc on_worker(void *ctx, const reeve_worker_info *other,
                          reeve_error *err) {
    const reeve_worker *worker = ctx;
    int64_t now_at_ms = reeve__worker_server_now(worker);
    int64_t silent_ms = now_at_ms - other->beat_at_ms;
    if (!reeve__bytes_is(other->id, worker->id) ||
        silent_ms >= BEATS_MISSED * REEVE__BEAT_EVERY_MS ||
        is_here_and_dead(worker, other, now_at_ms))
        return 0;
    return reeve__fail(err, REEVE_E_STATE,
                       "worker id '%s' is in use by process %lld on %.*s, "
                       "heard of %lld ms ago",
                       worker->id, (long long)other->pid, (int)other->host.size,
                       other->host.data, (long long)silent_ms);
}

reeve_rc reeve__identity_check(reeve_worker *worker, reeve_error *err) {
    reeve__broker *broker = worker->fetch_broker;
    return broker->ops->workers(broker, on_worker, worker, err);
}
