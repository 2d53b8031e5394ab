/*
 * Takeover and hand-back; see takeover.h. Both list leases first and settle
 * after: a race with the owner or with another worker is decided by the fence.
 */
#include "runtime/takeover.h"

#include <string.h>

/* One listed task: its settle, with everything it borrows. */
typedef struct taken_task {
    char *memory; /* id and stored envelope */
    reeve__buf rewritten;
} taken_task;

typedef struct taken_batch {
    reeve__broker *broker;
    reeve_bytes queue;
    const reeve__archive_bounds *archive; /* NULL: hand back, no crash */
    reeve__lease_known_fn is_known;
    void *known_ctx;
    reeve__settle *settles;
    taken_task *tasks;
    size_t count;
} taken_batch;

static reeve_rc settle_crashed(reeve__settle *settle, taken_task *task,
                               const taken_batch *batch, reeve_bytes stored,
                               const reeve__row *row, reeve_error *err) {
    if (!stored.size) { /* debris: an entry without a body */
        settle->to_state = REEVE_STATE_NONE;
        return 0;
    }
    reeve_env *env = batch->broker->env;
    reeve__envelope envelope;
    reeve_error why = { 0 };
    reeve_rc rc = reeve__envelope_decode(&envelope, env, stored, &why);
    if (rc == REEVE_E_CORRUPT)
        return reeve__settlement_unreadable(settle, &task->rewritten, stored,
                                            row->now_at_ms, why.message,
                                            batch->archive, err);
    if (rc)
        return reeve__fail(err, rc, "%s", why.message);
    reeve__settlement_input in = {
        .env = env,
        .envelope = &envelope,
        .stored = stored,
        .started = true,
        .worker = row->worker,
        .now_at_ms = row->now_at_ms,
        .archive = *batch->archive,
    };
    rc = reeve__settlement_decide(settle, &task->rewritten, NULL, &in, err);
    reeve__envelope_dispose(&envelope);
    return rc;
}

/* Room for one step, made only when there is something to take. */
static reeve_rc batch_make_room(taken_batch *batch, reeve_error *err) {
    if (batch->settles)
        return 0;
    reeve_env *env = batch->broker->env;
    batch->settles =
        reeve__calloc(env, REEVE__TAKEOVER_COUNT_MAX, sizeof *batch->settles);
    batch->tasks =
        reeve__calloc(env, REEVE__TAKEOVER_COUNT_MAX, sizeof *batch->tasks);
    return batch->settles && batch->tasks ? 0 : reeve__fail_nomem(err);
}

static reeve_rc take_row(void *ctx, const reeve__row *row, reeve_error *err) {
    taken_batch *batch = ctx;
    if (batch->is_known &&
        batch->is_known(batch->known_ctx, batch->queue, row->id, row->token))
        return 0;
    if (batch->count == REEVE__TAKEOVER_COUNT_MAX)
        return 0;
    reeve_rc rc = batch_make_room(batch, err);
    if (rc)
        return rc;
    reeve_env *env = batch->broker->env;
    taken_task *task = &batch->tasks[batch->count];
    reeve__settle *settle = &batch->settles[batch->count];
    task->memory = reeve__alloc(env, row->id.size + row->envelope.size + 1);
    if (!task->memory)
        return reeve__fail_nomem(err);
    reeve__buf_init(&task->rewritten, env);
    batch->count++;
    memcpy(task->memory, row->id.data, row->id.size);
    reeve_bytes stored = { task->memory + row->id.size, row->envelope.size };
    if (stored.size)
        memcpy(task->memory + row->id.size, row->envelope.data, stored.size);
    settle->id = (reeve_bytes){ task->memory, row->id.size };
    settle->token = row->token;
    settle->priority = row->priority;
    if (batch->archive)
        return settle_crashed(settle, task, batch, stored, row, err);
    settle->to_state = REEVE_STATE_PENDING;
    return 0;
}

static void batch_dispose(taken_batch *batch) {
    reeve_env *env = batch->broker->env;
    for (size_t i = 0; i < batch->count; i++) {
        reeve__free(env, batch->tasks[i].memory);
        reeve__buf_dispose(&batch->tasks[i].rewritten);
    }
    reeve__free(env, batch->tasks);
    reeve__free(env, batch->settles);
}

static reeve_rc refuse_claim(void *ctx, const reeve__row *row,
                             reeve_error *err) {
    (void)ctx;
    (void)row;
    return reeve__fail(err, REEVE_E_STATE, "claimed without asking");
}

/* Lists, then settles what was listed. */
static reeve_rc run_batch(size_t *out_count, taken_batch *batch,
                          reeve_bytes worker, reeve_error *err) {
    reeve__broker *broker = batch->broker;
    *out_count = 0;
    int64_t next_at_ms = 0;
    reeve_rc rc = broker->ops->reclaim(
        broker, batch->queue, worker,
        batch->archive ? REEVE__TAKEOVER_COUNT_MAX : REEVE_BATCH_COUNT_MAX,
        take_row, batch, &next_at_ms, err);
    if (!rc && batch->count) {
        reeve__turn turn = {
            .queue = batch->queue,
            .settles = batch->settles,
            .settle_count = batch->count,
        };
        rc = broker->ops->turn(broker, &turn, 1, worker, refuse_claim, NULL,
                               err);
    }
    for (size_t i = 0; !rc && i < batch->count; i++)
        *out_count += batch->settles[i].code == 0;
    batch_dispose(batch);
    return rc;
}

reeve_rc reeve__takeover(size_t *out_count, reeve__broker *broker,
                         reeve_bytes queue, reeve_bytes worker,
                         const reeve__archive_bounds *archive,
                         reeve__lease_known_fn is_known, void *ctx,
                         reeve_error *err) {
    taken_batch batch = { .broker = broker,
                          .queue = queue,
                          .archive = archive,
                          .is_known = is_known,
                          .known_ctx = ctx };
    return run_batch(out_count, &batch, worker, err);
}

reeve_rc reeve__hand_back_orphans(size_t *out_count, reeve__broker *broker,
                                  reeve_bytes queue, reeve_bytes worker,
                                  reeve__lease_known_fn is_known, void *ctx,
                                  reeve_error *err) {
    taken_batch batch = {
        .broker = broker,
        .queue = queue,
        .is_known = is_known,
        .known_ctx = ctx,
    };
    return run_batch(out_count, &batch, worker, err);
}
