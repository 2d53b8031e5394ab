/*
 * What a verdict says in the log: which attempt failed, what follows, and why;
 * or that a task did not start. Called by reeve__seal, once for each verdict.
 */
#include <stdio.h>

#include "policy/settle.h"
#include "runtime/worker.h"

/* The line is for reading: the whole message is in the task's history. */
#define MESSAGE_BYTES 512
/* From here on milliseconds say nothing. */
#define IN_SECONDS_MS 10000

static void print_attempt(char *out, size_t size,
                          const reeve__envelope *envelope) {
    long long attempt = (long long)envelope->failures + 1;
    int32_t most = envelope->retry.max_attempts;
    if (most == REEVE_NEVER)
        (void)snprintf(out, size, "attempt %lld", attempt);
    else
        (void)snprintf(out, size, "attempt %lld of %d", attempt, (int)most);
}

static void print_next(char *out, size_t size, const reeve__settle *settle,
                       int32_t reason) {
    long long delay_ms = (long long)settle->delay_ms;
    if (settle->to_state == REEVE_STATE_ARCHIVED)
        (void)snprintf(out, size, "dead (%s)", reeve__reason_text(reason));
    else if (delay_ms < IN_SECONDS_MS)
        (void)snprintf(out, size, "again in %lld ms", delay_ms);
    else
        (void)snprintf(out, size, "again in %lld s", delay_ms / 1000);
}

static int shown(reeve_bytes text) {
    return (int)(text.size < MESSAGE_BYTES ? text.size : MESSAGE_BYTES);
}

void reeve__log_verdict(const reeve_delivery *dlv, const reeve__settle *settle,
                        int32_t reason, const reeve_outcome *outcome,
                        bool started) {
    reeve_env *env = dlv->worker->env;
    bool dead = settle->to_state == REEVE_STATE_ARCHIVED;
    int32_t level = dead && started ? REEVE_LOG_ERROR : REEVE_LOG_WARN;
    if ((!dead && !settle->failed) || !reeve__log_is_on(env, level))
        return;
    const char *queue = dlv->worker->queues[dlv->queue_index].name;
    reeve_bytes type = dlv->envelope.type;
    if (!started) {
        reeve__log(env, level,
                   "task %.*s of %.*s in queue %s is dead before it started: "
                   "%s",
                   (int)dlv->id.size, dlv->id.data, (int)type.size, type.data,
                   queue, reeve__reason_text(reason));
        return;
    }
    char attempt[48];
    char next[64];
    print_attempt(attempt, sizeof attempt, &dlv->envelope);
    print_next(next, sizeof next, settle, reason);
    reeve_bytes error = outcome->error_type;
    reeve_bytes message = outcome->error_message;
    reeve__log(env, level, "task %.*s of %.*s in queue %s: %s, %s: %.*s%s%.*s",
               (int)dlv->id.size, dlv->id.data, (int)type.size, type.data,
               queue, attempt, next, shown(error), error.size ? error.data : "",
               error.size && message.size ? ": " : "", shown(message),
               message.size ? message.data : "");
}
