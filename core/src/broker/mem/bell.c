/*
 * Waiting: the doorbell of queues and the control channel of workers. Whoever
 * rings marks one handle under the lock and rings its descriptor; the waiter
 * polls without the lock, so that its own wake descriptor counts as well.
 */
#include "broker/mem/store.h"

#include <string.h>

void reeve__mem_ring(reeve__mem_store *store, reeve__mem_queue *queue) {
    for (reeve__mem_broker *mem = store->handles; mem; mem = mem->next) {
        if (!mem->wait_queues || mem->rung >= 0) {
            continue;
        }
        for (size_t i = 0; i < mem->wait_count; i++) {
            if (reeve__mem_queue_find(store, mem->wait_queues[i]) == queue) {
                mem->rung = (ptrdiff_t)i;
                reeve__wakefd_ring(&mem->wake);
                return;
            }
        }
    }
    queue->bell = true;
}

/* A ring that came while nobody waited. */
static ptrdiff_t take_bell(const reeve__mem_broker *mem,
                           const reeve_bytes *queues, size_t count) {
    for (size_t i = 0; i < count; i++) {
        reeve__mem_queue *queue = reeve__mem_queue_find(mem->store, queues[i]);
        if (queue && queue->bell) {
            queue->bell = false;
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

/* To the end of the handles: who waits longest is woken first. */
static void line_up(reeve__mem_broker *mem) {
    reeve__mem_broker **at = &mem->store->handles;
    while (*at != mem) {
        at = &(*at)->next;
    }
    *at = mem->next;
    while (*at) {
        at = &(*at)->next;
    }
    mem->next = NULL;
    *at = mem;
}

static void poll_bell(reeve__mem_broker *mem, int wake_fd, int64_t by_ns) {
    for (bool done = false; !done;) {
        reeve__unlock(&mem->store->mutex);
        int ready =
            reeve__poll_two(mem->base.env, mem->wake.fd, wake_fd, by_ns);
        if (ready & 1) {
            reeve__wakefd_clear(&mem->wake);
        }
        reeve__lock(&mem->store->mutex);
        /* Only our own descriptor, and for something else: a control. */
        done = mem->rung >= 0 || ready != 1;
    }
}

reeve_rc reeve__mem_wait(reeve__broker *broker, const reeve_bytes *queues,
                         size_t count, int wake_fd, int64_t by_ns,
                         ptrdiff_t *out_index, reeve_error *err) {
    reeve_rc rc;
    *out_index = -1;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    mem->owed = NULL;
    mem->rung = take_bell(mem, queues, count);
    if (mem->rung < 0) {
        line_up(mem);
        mem->wait_queues = queues;
        mem->wait_count = count;
        poll_bell(mem, wake_fd, by_ns);
        mem->wait_queues = NULL;
    }
    *out_index = mem->rung;
    if (mem->rung >= 0) {
        mem->owed = reeve__mem_queue_find(mem->store, queues[mem->rung]);
    }
    reeve__mem_leave(mem);
    return REEVE_OK;
}

reeve_rc reeve__mem_unwait(reeve__broker *broker, reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    if (mem->owed) {
        reeve__mem_ring(mem->store, mem->owed);
        mem->owed = NULL;
    }
    reeve__mem_leave(mem);
    return REEVE_OK;
}

/* Takes one message; weights first, they do not stop anything. */
static int32_t take_control(reeve__mem_broker *mem) {
    if (mem->weights_told) {
        mem->weights_told = false;
        return REEVE__CONTROL_WEIGHTS;
    }
    int32_t control = mem->quiet_told;
    mem->quiet_told = REEVE__CONTROL_NONE;
    return control;
}

reeve_rc reeve__mem_watch(reeve__broker *broker, reeve_bytes worker,
                          int wake_fd, int64_t by_ns, int32_t *out,
                          reeve_error *err) {
    reeve_rc rc;
    *out = REEVE__CONTROL_NONE;
    if (worker.size > REEVE_ID_BYTES_MAX) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "worker id has %zu bytes, at most %d", worker.size,
                           REEVE_ID_BYTES_MAX);
    }
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    if (worker.size > 0) {
        memcpy(mem->watch_worker, worker.data, worker.size);
    }
    mem->watch_worker[worker.size] = '\0';
    mem->watching = true;
    for (;;) {
        *out = take_control(mem);
        if (*out != REEVE__CONTROL_NONE) {
            break;
        }
        reeve__unlock(&mem->store->mutex);
        int ready = reeve__poll_two(broker->env, mem->wake.fd, wake_fd, by_ns);
        if (ready & 1) {
            reeve__wakefd_clear(&mem->wake);
        }
        reeve__lock(&mem->store->mutex);
        if (ready != 1) {
            *out = take_control(mem);
            break;
        }
    }
    reeve__mem_leave(mem);
    return REEVE_OK;
}

reeve_rc reeve__mem_tell(reeve__broker *broker, reeve_bytes worker,
                         int32_t control, reeve_error *err) {
    reeve_rc rc;
    reeve__mem_broker *mem = reeve__mem_enter(broker, &rc, err);
    if (!mem) {
        return rc;
    }
    for (reeve__mem_broker *to = mem->store->handles; to; to = to->next) {
        size_t size = strlen(to->watch_worker);
        bool meant = worker.size == 0 ||
                     (worker.size == size &&
                      memcmp(to->watch_worker, worker.data, size) == 0);
        if (!to->watching || !meant) {
            continue;
        }
        if (control == REEVE__CONTROL_WEIGHTS) {
            to->weights_told = true;
        } else {
            to->quiet_told = control;
        }
        reeve__wakefd_ring(&to->wake);
    }
    reeve__mem_leave(mem);
    return REEVE_OK;
}
