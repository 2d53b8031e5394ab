/*
 * The shared broker handle; see shared.h.
 */
#include "client/shared.h"

#include <sched.h>
#include <string.h>

#define HEALING UINT32_MAX

static reeve_rc open_broker(reeve__shared *shared, reeve_error *err) {
    reeve__broker_options options = {
        .url = shared->url,
        .prefix = shared->prefix,
        .timeout_ms = shared->timeout_ms,
    };
    return reeve__broker_open(&shared->broker, shared->env, &options, err);
}

static reeve_rc copy_text(char **out, reeve_env *env, const char *text,
                          reeve_error *err) {
    if (!text)
        return 0;
    *out = reeve__strndup(env, text, strlen(text));
    return *out ? 0 : reeve__fail_nomem(err);
}

reeve_rc reeve__shared_open(reeve__shared *shared, reeve_env *env,
                            const reeve_client_options *options,
                            reeve_error *err) {
    memset(shared, 0, sizeof *shared);
    if (options->timeout_ms < 0 || options->timeout_ms > REEVE_SPAN_MS_MAX)
        return reeve__fail(
            err, REEVE_E_INVALID, "timeout_ms %lld is outside 0..%lld",
            (long long)options->timeout_ms, (long long)REEVE_SPAN_MS_MAX);
    reeve_rc rc = reeve__mutex_init(&shared->mutex, err);
    if (rc)
        return rc;
    rc = reeve__cond_init(&shared->freed, err);
    if (rc) {
        reeve__mutex_dispose(&shared->mutex);
        return rc;
    }
    shared->env = reeve__env_ref(env);
    shared->timeout_ms = options->timeout_ms;
    atomic_init(&shared->fork_count, reeve__fork_count());
    rc = copy_text(&shared->url, env, options->url, err);
    if (!rc)
        rc = copy_text(&shared->prefix, env, options->prefix, err);
    if (!rc)
        rc = open_broker(shared, err);
    if (rc)
        reeve__shared_close(shared);
    return rc;
}

void reeve__shared_close(reeve__shared *shared) {
    reeve__shared_heal(shared);
    reeve__broker_close(shared->broker);
    shared->broker = NULL;
    reeve__cond_dispose(&shared->freed);
    reeve__mutex_dispose(&shared->mutex);
    reeve__free(shared->env, shared->url);
    reeve__free(shared->env, shared->prefix);
    reeve_env_free(shared->env);
}

/*
 * The parent's other threads do not exist in the child: whatever they held is
 * held for ever, so the locks are made anew rather than unlocked.
 */
void reeve__shared_heal(reeve__shared *shared) {
    uint32_t now = reeve__fork_count();
    unsigned seen =
        atomic_load_explicit(&shared->fork_count, memory_order_acquire);
    while (seen != now) {
        if (seen != HEALING && atomic_compare_exchange_strong(
                                   &shared->fork_count, &seen, HEALING)) {
            /* Initialisation of plain mutexes cannot fail on Linux. */
            (void)reeve__mutex_init(&shared->mutex, NULL);
            (void)reeve__cond_init(&shared->freed, NULL);
            shared->busy = false;
            reeve__broker_close(shared->broker);
            shared->broker = NULL;
            if (shared->on_heal)
                shared->on_heal(shared);
            atomic_store_explicit(&shared->fork_count, now,
                                  memory_order_release);
            return;
        }
        sched_yield();
        seen = atomic_load_explicit(&shared->fork_count, memory_order_acquire);
    }
}

reeve_rc reeve__shared_take(reeve__broker **out, reeve__shared *shared,
                            reeve_error *err) {
    reeve__shared_heal(shared);
    reeve__lock(&shared->mutex);
    while (shared->busy)
        reeve__wait(&shared->freed, &shared->mutex);
    shared->busy = true;
    reeve__unlock(&shared->mutex);
    if (!shared->broker) {
        reeve_rc rc = open_broker(shared, err);
        if (rc) {
            reeve__shared_give(shared);
            return rc;
        }
    }
    *out = shared->broker;
    return 0;
}

void reeve__shared_give(reeve__shared *shared) {
    reeve__lock(&shared->mutex);
    shared->busy = false;
    reeve__signal(&shared->freed);
    reeve__unlock(&shared->mutex);
}
