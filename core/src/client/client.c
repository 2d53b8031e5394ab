/*
 * The producer: checks arguments, builds envelopes, hands them to the broker.
 *
 * Concurrent callers are combined: each queues its items; the one that gets the
 * broker handle stores everything that is queued in one call and tells the
 * others. Nobody waits for more callers to come.
 */
#include <reeve/client.h>

#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "client/shared.h"
#include "task/envelope.h"
#include "task/id.h"

/* Most items one combined call may carry, so that a leader is not kept long. */
#define COMBINE_COUNT_MAX 4096
/* Random bits are drawn for this many ids at once. */
#define CHANCE_COUNT 32
#define INLINE_COUNT 8
/* As the brokers' own. */
#define TIMEOUT_MS_DEFAULT 5000

/* One caller's items on their way through the broker. Lives on its stack. */
typedef struct pending_call {
    struct pending_call *next;
    reeve__enqueue_item *items;
    size_t count;
    reeve_rc rc;
    reeve_error error;
    bool done;
    bool leads; /* woken to take over as leader */
    bool taken; /* a leader is storing it */
    reeve__cond woken;
} pending_call;

struct reeve_client {
    reeve__shared shared;
    size_t payload_bytes_max;
    /* Guarded by shared.mutex. */
    pending_call *first;
    pending_call *last;
    bool leading;
    /* Server time minus monotonic time, ms. */
    _Atomic int64_t offset_ms;
};

static int64_t mono_ms(reeve_env *env) {
    return reeve__mono_ns(env) / REEVE__MS_NS;
}

/* After a call that went well only: a broker that is away would be waited for
 * once more. */
static void note_server_time(reeve_client *client, reeve__broker *broker) {
    int64_t now_at_ms = 0;
    if (broker->ops->now(broker, &now_at_ms, NULL) == 0)
        atomic_store_explicit(&client->offset_ms,
                              now_at_ms - mono_ms(client->shared.env),
                              memory_order_relaxed);
}

static int64_t server_now(reeve_client *client) {
    return mono_ms(client->shared.env) +
           atomic_load_explicit(&client->offset_ms, memory_order_relaxed);
}

/* The parent's callers are not ours: shared is the client's first member. */
static void forget_calls(reeve__shared *shared) {
    reeve_client *client = (reeve_client *)shared;
    client->first = client->last = NULL;
    client->leading = false;
}

reeve_rc reeve_client_open(reeve_client **out, reeve_env *env,
                           const reeve_client_options *options,
                           reeve_error *err) {
    reeve__error_clear(err);
    if (!out)
        return reeve__fail(err, REEVE_E_USAGE, "out is NULL");
    *out = NULL;
    reeve_client_options loaded = REEVE_CLIENT_OPTIONS_INIT;
    reeve_rc rc = 0;
    if (options)
        rc = reeve__struct_load(&loaded, sizeof loaded, sizeof loaded, options,
                                "reeve_client_options", err);
    if (rc)
        return rc;
    if (loaded.payload_bytes_max > REEVE_PAYLOAD_BYTES_MAX)
        return reeve__fail(err, REEVE_E_INVALID,
                           "payload_bytes_max %zu exceeds %zu",
                           loaded.payload_bytes_max, REEVE_PAYLOAD_BYTES_MAX);
    reeve_client *client = reeve__calloc(env, 1, sizeof *client);
    if (!client)
        return reeve__fail_nomem(err);
    client->payload_bytes_max = loaded.payload_bytes_max
                                    ? loaded.payload_bytes_max
                                    : REEVE_PAYLOAD_BYTES_MAX;
    rc = reeve__shared_open(&client->shared, env, &loaded, err);
    if (rc) {
        reeve__free(env, client);
        return rc;
    }
    client->shared.on_heal = forget_calls;
    note_server_time(client, client->shared.broker);
    *out = client;
    return 0;
}

void reeve_client_close(reeve_client *client) {
    if (!client)
        return;
    reeve_env *env = reeve__env_ref(client->shared.env);
    reeve__shared_close(&client->shared);
    reeve__free(env, client);
    reeve_env_free(env);
}

/* --- combining ---------------------------------------------------------- */

static void queue_call(reeve_client *client, pending_call *call) {
    if (client->last)
        client->last->next = call;
    else
        client->first = call;
    client->last = call;
}

static void unqueue_call(reeve_client *client, const pending_call *call) {
    pending_call *before = NULL;
    pending_call **link = &client->first;
    while (*link != call) {
        before = *link;
        link = &before->next;
    }
    *link = call->next;
    if (client->last == call)
        client->last = before;
}

/* Unlinks calls from the front, as many as fit one batch. */
static pending_call *take_calls(reeve_client *client, size_t *out_count) {
    pending_call *head = client->first;
    pending_call *tail = head;
    size_t total = head->count;
    head->taken = true;
    while (tail->next && total + tail->next->count <= COMBINE_COUNT_MAX) {
        tail = tail->next;
        tail->taken = true;
        total += tail->count;
    }
    client->first = tail->next;
    if (!client->first)
        client->last = NULL;
    tail->next = NULL;
    *out_count = total;
    return head;
}

static bool is_answered(const pending_call *call) {
    for (size_t i = 0; i < call->count; i++) {
        if (!call->items[i].answered)
            return false;
    }
    return true;
}

static void share_failure(pending_call *head, reeve_rc rc,
                          const reeve_error *error) {
    for (pending_call *call = head; call; call = call->next) {
        call->rc = rc;
        call->error = *error;
    }
}

/* Stores a chain of calls in one broker call. */
static void store_calls(reeve_client *client, reeve__broker *broker,
                        pending_call *head, size_t total) {
    reeve_error error = { 0 };
    if (!head->next) {
        head->rc = broker->ops->enqueue(broker, head->items, head->count,
                                        &head->error);
        if (!head->rc)
            note_server_time(client, broker);
        return;
    }
    reeve_env *env = client->shared.env;
    reeve__enqueue_item *all = reeve__calloc(env, total, sizeof *all);
    if (!all) {
        share_failure(head, reeve__fail_nomem(&error), &error);
        return;
    }
    size_t at = 0;
    for (pending_call *call = head; call; call = call->next) {
        memcpy(all + at, call->items, call->count * sizeof *all);
        at += call->count;
    }
    reeve_rc rc = broker->ops->enqueue(broker, all, total, &error);
    share_failure(head, rc, &error);
    at = 0;
    for (pending_call *call = head; call; call = call->next) {
        memcpy(call->items, all + at, call->count * sizeof *all);
        at += call->count;
        if (rc && is_answered(call)) { /* what failed was another's */
            call->rc = 0;
            reeve__error_clear(&call->error);
        }
    }
    reeve__free(env, all);
    if (!rc)
        note_server_time(client, broker);
}

/* Takes the handle, stores what is queued, wakes its callers. Holds: nothing
 * on entry and exit; client->leading is ours. */
static void lead(reeve_client *client) {
    reeve_error error = { 0 };
    reeve__broker *broker = NULL;
    reeve_rc rc = reeve__shared_take(&broker, &client->shared, &error);
    reeve__lock(&client->shared.mutex);
    size_t total = 0;
    pending_call *head = take_calls(client, &total);
    reeve__unlock(&client->shared.mutex);
    if (rc) {
        share_failure(head, rc, &error);
    } else {
        store_calls(client, broker, head, total);
        reeve__shared_give(&client->shared);
    }
    reeve__lock(&client->shared.mutex);
    while (head) {
        pending_call *call = head;
        head = call->next; /* call may be gone once done is seen */
        call->done = true;
        reeve__signal(&call->woken);
    }
    reeve__unlock(&client->shared.mutex);
}

/* Waits for a leader, until by_ns unless one has taken the call: then the
 * broker's own deadline ends it. Holds: mutex. */
static void follow(reeve_client *client, pending_call *call, int64_t by_ns) {
    reeve__mutex *mutex = &client->shared.mutex;
    bool in_time = true;
    if (call->taken)
        reeve__wait(&call->woken, mutex);
    else
        in_time =
            reeve__wait_by(&call->woken, mutex, client->shared.env, by_ns);
    if (in_time || call->taken || call->leads || call->done)
        return;
    unqueue_call(client, call);
    call->done = true;
    call->rc = reeve__fail(&call->error, REEVE_E_TIMEOUT,
                           "nothing was sent: other callers of this client "
                           "kept the broker busy beyond the deadline");
}

/* Sends items through the broker, together with those of other callers. */
static reeve_rc send_items(reeve_client *client, reeve__enqueue_item *items,
                           size_t count, reeve_error *err) {
    reeve__shared_heal(&client->shared);
    pending_call call = { .items = items, .count = count };
    reeve_rc rc = reeve__cond_init(&call.woken, err);
    if (rc)
        return rc;
    int64_t timeout_ms = client->shared.timeout_ms;
    int64_t by_ns = reeve__by_ns(client->shared.env,
                                 timeout_ms ? timeout_ms : TIMEOUT_MS_DEFAULT);
    reeve__mutex *mutex = &client->shared.mutex;
    reeve__lock(mutex);
    queue_call(client, &call);
    while (!call.done) {
        if (client->leading && !call.leads) {
            follow(client, &call, by_ns);
            continue;
        }
        client->leading = true;
        call.leads = false;
        reeve__unlock(mutex);
        lead(client);
        reeve__lock(mutex);
        if (client->first) { /* the next in line leads; leading stays set */
            client->first->leads = true;
            reeve__signal(&client->first->woken);
        } else {
            client->leading = false;
        }
    }
    reeve__unlock(mutex);
    reeve__cond_dispose(&call.woken);
    if (call.rc && err)
        *err = call.error;
    return call.rc;
}

/* --- arguments ---------------------------------------------------------- */

/* Everything one enqueue call needs besides its arguments. */
typedef struct prepared {
    reeve_env *env;
    size_t count;
    reeve__enqueue_item *items;
    char (*ids)[REEVE__UUID_TEXT_BYTES + 1];
    reeve__buf envelopes;
    uint64_t chances[CHANCE_COUNT]; /* for ids, drawn together */
    size_t chances_left;
    reeve__enqueue_item inline_items[INLINE_COUNT];
    char inline_ids[INLINE_COUNT][REEVE__UUID_TEXT_BYTES + 1];
} prepared;

static void prepared_dispose(prepared *prep) {
    if (prep->items != prep->inline_items)
        reeve__free(prep->env, prep->items);
    if (prep->ids != prep->inline_ids)
        reeve__free(prep->env, prep->ids);
    reeve__buf_dispose(&prep->envelopes);
}

/* Random bits for one id of the left ones still to come. */
static uint64_t next_chance(prepared *prep, size_t left) {
    if (!prep->chances_left) {
        prep->chances_left = left < CHANCE_COUNT ? left : CHANCE_COUNT;
        reeve__random_fill(prep->chances, prep->chances_left, prep->env);
    }
    return prep->chances[--prep->chances_left];
}

static reeve_rc prepared_init(prepared *prep, reeve_env *env, size_t count,
                              reeve_error *err) {
    prep->env = env;
    prep->chances_left = 0;
    prep->count = count;
    reeve__buf_init(&prep->envelopes, env);
    if (count <= INLINE_COUNT) {
        memset(prep->inline_items, 0, sizeof prep->inline_items);
        prep->items = prep->inline_items;
        prep->ids = prep->inline_ids;
        return 0;
    }
    prep->items = reeve__calloc(env, count, sizeof *prep->items);
    prep->ids = reeve__calloc(env, count, sizeof *prep->ids);
    if (prep->items && prep->ids)
        return 0;
    return reeve__fail_nomem(err);
}

/* Fills one item; its envelope's place is known by offset until the buffer
 * stops growing. */
static reeve_rc prepare_item(prepared *prep, size_t index, reeve_client *client,
                             const reeve_enqueue_args *args, reeve_error *err) {
    int64_t now_at_ms = server_now(client);
    reeve_rc rc = reeve__enqueue_args_check(args, client->payload_bytes_max,
                                            now_at_ms, err);
    if (rc)
        return rc;
    reeve__enqueue_item *item = &prep->items[index];
    item->queue = args->queue.size ? args->queue : reeve_bytes_of("default");
    item->id = args->id;
    if (!item->id.size) {
        reeve__id_make(prep->ids[index], client->shared.env, now_at_ms,
                       next_chance(prep, prep->count - index));
        item->id = (reeve_bytes){ prep->ids[index], REEVE__UUID_TEXT_BYTES };
        item->fresh = !reeve__random_is_seeded(client->shared.env);
    }
    item->idempotency_key = args->idempotency_key;
    item->idempotency_ttl_ms = args->idempotency_ttl_ms
                                   ? args->idempotency_ttl_ms
                                   : REEVE_IDEMPOTENCY_TTL_MS_DEFAULT;
    item->delay_ms = args->delay_ms;
    item->due_at_ms = args->due_at_ms;
    item->priority = args->priority == REEVE_PRIORITY_LOWEST ? 0
                     : args->priority                        ? args->priority
                                      : REEVE_PRIORITY_DEFAULT;
    size_t start = prep->envelopes.size;
    rc = reeve__envelope_build(&prep->envelopes, args, now_at_ms, err);
    item->envelope.size = prep->envelopes.size - start;
    return rc;
}

static void place_envelopes(prepared *prep, size_t count) {
    const char *at = prep->envelopes.data;
    for (size_t i = 0; i < count; i++) {
        prep->items[i].envelope.data = at;
        at += prep->items[i].envelope.size;
    }
}

/* After a failed call (rc) nobody knows what was stored: each item says so and
 * keeps its id, so that the caller can ask again by it. */
static void give_results(reeve_enqueue_result *results, const prepared *prep,
                         size_t count, reeve_rc rc) {
    for (size_t i = 0; results && i < count; i++) {
        const reeve__enqueue_item *item = &prep->items[i];
        reeve_enqueue_result *out = &results[i];
        memset(out, 0, sizeof *out);
        bool failed = rc && !item->answered;
        out->code = failed ? rc : item->code;
        if (failed) {
            memcpy(out->id, item->id.data, item->id.size);
            continue;
        }
        out->state = item->state;
        out->due_at_ms = item->out_due_at_ms;
        out->existing = item->existing;
        if (item->existing)
            memcpy(out->id, item->out_id, sizeof out->id);
        else
            memcpy(out->id, item->id.data, item->id.size);
    }
}

/* The first item that was refused, as the call's own error. */
static reeve_rc first_failure(const prepared *prep, size_t count,
                              reeve_error *err) {
    for (size_t i = 0; i < count; i++) {
        const reeve__enqueue_item *item = &prep->items[i];
        if (item->code == REEVE_E_EXISTS)
            return reeve__fail(err, item->code,
                               "task id '%.*s' exists in queue '%.*s'",
                               (int)item->id.size, item->id.data,
                               (int)item->queue.size, item->queue.data);
        if (item->code)
            return reeve__fail(err, item->code, "item %zu: %s", i,
                               reeve_code_text(item->code));
    }
    return 0;
}

/* Nothing was stored, because of one item: the others are cancelled. */
static reeve_rc refuse_item(reeve_enqueue_result *results, size_t count,
                            size_t index, const reeve_error *why,
                            reeve_error *err) {
    if (results) {
        memset(results, 0, count * sizeof *results);
        for (size_t i = 0; i < count; i++)
            results[i].code = i == index ? why->code : REEVE_E_CANCELLED;
    }
    if (count == 1)
        return reeve__fail(err, why->code, "%s", why->message);
    return reeve__fail(err, why->code, "item %zu: %s", index, why->message);
}

/* Loads the caller's structs one by one, so that arrays of an older, shorter
 * struct still work: the first element's size is the stride. */
static reeve_rc prepare_all(prepared *prep, reeve_enqueue_result *results,
                            reeve_client *client,
                            const reeve_enqueue_args *args, size_t count,
                            reeve_error *err) {
    const char *at = (const char *)args;
    size_t stride = args->size;
    for (size_t i = 0; i < count; i++, at += stride) {
        reeve_error why = { 0 };
        reeve_enqueue_args loaded;
        reeve_rc rc = reeve__struct_load(&loaded, sizeof loaded, sizeof loaded,
                                         at, "reeve_enqueue_args", &why);
        if (!rc)
            rc = prepare_item(prep, i, client, &loaded, &why);
        if (rc)
            return refuse_item(results, count, i, &why, err);
    }
    if (prep->envelopes.failed)
        return reeve__fail_nomem(err);
    place_envelopes(prep, count);
    return 0;
}

reeve_rc reeve_client_enqueue_many(reeve_enqueue_result *results,
                                   reeve_client *client,
                                   const reeve_enqueue_args *args, size_t count,
                                   reeve_error *err) {
    reeve__error_clear(err);
    if (!client || (!args && count))
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL",
                           client ? "args" : "client");
    if (count > REEVE_BATCH_COUNT_MAX)
        return reeve__fail(err, REEVE_E_TOO_BIG,
                           "batch of %zu tasks exceeds %d", count,
                           REEVE_BATCH_COUNT_MAX);
    if (!count)
        return 0;
    prepared prep;
    reeve_rc rc = prepared_init(&prep, client->shared.env, count, err);
    if (!rc)
        rc = prepare_all(&prep, results, client, args, count, err);
    if (!rc) {
        rc = send_items(client, prep.items, count, err);
        give_results(results, &prep, count, rc);
        if (!rc)
            rc = first_failure(&prep, count, err);
    }
    prepared_dispose(&prep);
    return rc;
}

reeve_rc reeve_client_enqueue(reeve_enqueue_result *out, reeve_client *client,
                              const reeve_enqueue_args *args,
                              reeve_error *err) {
    return reeve_client_enqueue_many(out, client, args, 1, err);
}

reeve_rc reeve_client_now(int64_t *out_at_ms, reeve_client *client,
                          reeve_error *err) {
    reeve__error_clear(err);
    if (!client || !out_at_ms)
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL",
                           client ? "out_at_ms" : "client");
    *out_at_ms = server_now(client);
    return 0;
}
