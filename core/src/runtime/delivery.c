/*
 * One claimed task: its memory, its view, its lists.
 */
#include <string.h>

#include "base/bytes.h"
#include "runtime/worker.h"

void reeve__list_push(reeve__delivery_list *list, reeve_delivery *dlv) {
    dlv->next = NULL;
    dlv->prev = list->last;
    if (list->last)
        list->last->next = dlv;
    else
        list->first = dlv;
    list->last = dlv;
    list->count++;
}

void reeve__list_remove(reeve__delivery_list *list, reeve_delivery *dlv) {
    if (dlv->prev)
        dlv->prev->next = dlv->next;
    else
        list->first = dlv->next;
    if (dlv->next)
        dlv->next->prev = dlv->prev;
    else
        list->last = dlv->prev;
    list->count--;
    dlv->prev = dlv->next = NULL;
}

reeve_delivery *reeve__list_pop(reeve__delivery_list *list) {
    reeve_delivery *dlv = list->first;
    if (dlv)
        reeve__list_remove(list, dlv);
    return dlv;
}

void reeve__list_prepend(reeve__delivery_list *list,
                         reeve__delivery_list *more) {
    if (!more->first)
        return;
    more->last->next = list->first;
    if (list->first)
        list->first->prev = more->last;
    else
        list->last = more->last;
    list->first = more->first;
    list->count += more->count;
    *more = (reeve__delivery_list){ 0 };
}

/* The deadline counts from the claim; a timeout from the hand-out. */
static void start_clock(reeve_delivery *dlv, const reeve__row *row) {
    dlv->timeout_by_ns = INT64_MAX;
    if (!dlv->readable || dlv->envelope.deadline_at_ms <= 0)
        return;
    int64_t now_ns = reeve__mono_ns(dlv->worker->env);
    int64_t left_ms = dlv->envelope.deadline_at_ms - row->now_at_ms;
    dlv->timeout_by_ns =
        reeve__add_sat(now_ns, reeve__mul_sat(left_ms, REEVE__MS_NS));
    dlv->deadline_first = true;
}

void reeve__delivery_free(reeve_delivery *dlv) {
    reeve_env *env = dlv->worker->env;
    while (dlv->extras) {
        reeve__extra *extra = dlv->extras;
        dlv->extras = extra->next;
        reeve__free(env, extra);
    }
    if (dlv->readable)
        reeve__envelope_dispose(&dlv->envelope);
    reeve__sealed_dispose(&dlv->sealed, env);
    reeve__free(env, dlv->claim);
    reeve__free(env, dlv);
}

bool reeve__delivery_part(reeve_delivery *dlv) {
    if (--dlv->refs > 0)
        return false;
    if (dlv->claim && --dlv->claim->members > 0)
        dlv->claim = NULL; /* the last member frees it */
    return true;
}

reeve_rc reeve__delivery_new(reeve_delivery **out, reeve_worker *worker,
                             size_t queue_index, const reeve__row *row,
                             reeve_error *why, reeve_error *err) {
    reeve_env *env = worker->env;
    reeve_delivery *dlv =
        reeve__alloc(env, sizeof *dlv + row->id.size + row->envelope.size);
    if (!dlv)
        return reeve__fail_nomem(err);
    memset(dlv, 0, sizeof *dlv);
    char *tail = (char *)(dlv + 1);
    memcpy(tail, row->id.data, row->id.size);
    if (row->envelope.size)
        memcpy(tail + row->id.size, row->envelope.data, row->envelope.size);
    dlv->worker = worker;
    dlv->queue_index = queue_index;
    dlv->id = (reeve_bytes){ tail, row->id.size };
    dlv->stored = (reeve_bytes){ tail + row->id.size, row->envelope.size };
    dlv->token = row->token;
    dlv->claimed_at_ms = row->now_at_ms;
    dlv->refs = 1;
    reeve__sealed_init(&dlv->sealed, env);
    reeve_rc rc = reeve__envelope_decode(&dlv->envelope, env, dlv->stored, why);
    dlv->readable = rc == 0;
    if (rc == REEVE_E_NOMEM) {
        reeve__delivery_free(dlv);
        return reeve__fail_nomem(err);
    }
    dlv->lease_ms = dlv->readable && dlv->envelope.lease_ms > 0
                        ? dlv->envelope.lease_ms
                        : worker->lease_ms;
    start_clock(dlv, row);
    *out = dlv;
    return 0;
}

void reeve__delivery_unref(reeve_delivery *dlv) {
    if (reeve__delivery_part(dlv))
        reeve__delivery_free(dlv);
}

reeve_rc reeve_delivery_read(reeve_delivery_view *out,
                             const reeve_delivery *dlv, reeve_error *err) {
    reeve__error_clear(err);
    if (!out || !dlv)
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL",
                           out ? "delivery" : "out");
    const reeve__envelope *envelope = &dlv->envelope;
    const char *queue = dlv->worker->queues[dlv->queue_index].name;
    reeve_delivery_view view = {
        .size = (uint32_t)sizeof view,
        .attempt = envelope->failures + 1,
        .max_attempts = envelope->retry.max_attempts,
        .crashes = envelope->crashes,
        .priority = envelope->priority,
        .serial = dlv->serial,
        .token = dlv->token,
        .id = dlv->id,
        .type = envelope->type,
        .queue = reeve_bytes_of(queue),
        .payload = envelope->payload,
        .enqueued_at_ms = envelope->enqueued_at_ms,
        .claimed_at_ms = dlv->claimed_at_ms,
        .deadline_at_ms = envelope->deadline_at_ms,
        .timeout_ms = envelope->timeout_ms,
        .headers = envelope->headers,
        .header_count = envelope->header_count,
    };
    return reeve__struct_store(out, &view, sizeof view, "reeve_delivery_view",
                               err);
}

int32_t reeve_delivery_cancel_reason(const reeve_delivery *delivery) {
    return delivery ? atomic_load_explicit(&delivery->cancel_reason,
                                           memory_order_acquire)
                    : REEVE_CANCEL_NONE;
}

void *reeve_delivery_alloc(reeve_delivery *delivery, size_t bytes) {
    if (!delivery || bytes > SIZE_MAX - sizeof(reeve__extra))
        return NULL;
    reeve__extra *extra =
        reeve__alloc(delivery->worker->env, sizeof *extra + bytes);
    if (!extra)
        return NULL;
    extra->next = delivery->extras;
    delivery->extras = extra;
    return extra->bytes;
}
