/*
 * The public protocol object: what is submitted becomes an operation, what an
 * operation brought becomes a result.
 */
#include "base/bytes.h"
#include "broker/check.h"
#include "broker/redis/protocol.h"
#include "broker/redis/redis.h"
#include "task/envelope.h"
#include "task/id.h"

#include <string.h>

#define ENQUEUE_MAX ((size_t)4096)
/* How long, and how many bytes of names, the directory is believed to have its
 * queues: as in redis.c, somebody may empty the server. */
#define KNOWN_FOR_MS 5000
#define KNOWN_BYTES ((size_t)8192)

/* ---- hello --------------------------------------------------------------- */

reeve_rc reeve__job_check(reeve_protocol *protocol, reeve_error *err) {
    return protocol->engine.out.failed ? reeve__fail_nomem(err) : REEVE_OK;
}

reeve_rc reeve_protocol_hello(uint64_t *out_op, reeve_protocol *protocol,
                              reeve_error *err) {
    reeve__job *job;
    reeve_rc rc = reeve__job_new(&job, protocol, REEVE_PROTOCOL_HELLO, err);
    if (rc < 0) {
        return rc;
    }
    reeve__op_hello_begin(&job->op.hello, &protocol->engine, &protocol->hello);
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}

/* ---- enqueue ------------------------------------------------------------- */

/* Checks one task and copies it behind job->bytes. Its views have their sizes,
 * place_tasks gives them their place. */
static reeve_rc take_task(reeve_protocol *protocol, reeve__job *job,
                          reeve__enqueue_item *item,
                          const reeve_enqueue_args *given, int64_t now_at_ms,
                          reeve_error *err) {
    reeve_enqueue_args args;
    reeve_rc rc = reeve__struct_load(&args, sizeof(args), sizeof(args), given,
                                     "reeve_enqueue_args", err);
    if (rc == REEVE_OK) {
        /* one sent again was judged when it was due that much sooner */
        rc = reeve__enqueue_args_check(&args, REEVE_PAYLOAD_BYTES_MAX,
                                       item->resent ? 0 : now_at_ms, err);
    }
    if (rc < 0) {
        return rc;
    }
    char id[REEVE__UUID_TEXT_BYTES + 1];
    if (args.id.size == 0) {
        reeve__id_new(id, protocol->env, now_at_ms);
        args.id = reeve_bytes_of(id);
        item->fresh = !reeve__random_is_seeded(protocol->env);
    }
    item->queue = args.queue.size > 0 ? args.queue : reeve_bytes_of("default");
    item->id = args.id;
    item->idempotency_key = args.idempotency_key;
    item->idempotency_ttl_ms = args.idempotency_ttl_ms > 0
                                   ? args.idempotency_ttl_ms
                                   : REEVE_IDEMPOTENCY_TTL_MS_DEFAULT;
    item->delay_ms = args.delay_ms;
    item->due_at_ms = args.due_at_ms;
    item->priority = args.priority == REEVE_PRIORITY_LOWEST ? 0
                     : args.priority == 0 ? REEVE_PRIORITY_DEFAULT
                                          : args.priority;
    reeve__buf *bytes = &job->bytes;
    reeve__buf_add_bytes(bytes, item->queue);
    reeve__buf_add_bytes(bytes, item->id);
    reeve__buf_add_bytes(bytes, item->idempotency_key);
    size_t before = bytes->size;
    rc = reeve__envelope_build(bytes, &args, now_at_ms, err);
    item->envelope.size = bytes->size - before;
    return rc;
}

/* Now that job->bytes stays where it is, the items point into it. */
static void place_tasks(reeve__job *job) {
    const char *at = job->bytes.data;
    for (size_t i = 0; i < job->count; i++) {
        reeve__enqueue_item *item = &job->items[i];
        reeve_bytes *const views[] = { &item->queue, &item->id,
                                       &item->idempotency_key,
                                       &item->envelope };
        for (size_t k = 0; k < sizeof(views) / sizeof(views[0]); k++) {
            views[k]->data = at;
            at += views[k]->size;
        }
    }
}

/* Whether item i is the first of its queue and the directory may lack that. */
static bool is_unknown(const reeve_protocol *protocol, const reeve__job *job,
                       size_t i) {
    reeve_bytes queue = job->order[i]->queue;
    return (i == 0 || !reeve__bytes_equal(queue, job->order[i - 1]->queue)) &&
           !reeve__names_has(&protocol->known, queue);
}

/* SADD of queues, as far as an answer has not said lately that they are there. */
static void send_directory(reeve_protocol *protocol, reeve__job *job) {
    reeve__engine *engine = &protocol->engine;
    int64_t now_ns = reeve__mono_ns(protocol->env);
    if (now_ns >= protocol->known_until_ns ||
        protocol->known.size > KNOWN_BYTES) {
        reeve__buf_clear(&protocol->known);
        protocol->known_until_ns = reeve__by_ns(protocol->env, KNOWN_FOR_MS);
    }
    size_t queues = 0;
    for (size_t i = 0; i < job->count; i++) {
        queues += is_unknown(protocol, job, i);
    }
    if (queues == 0) {
        return;
    }
    reeve__call_begin_command(&job->directory, engine, 2 + queues);
    reeve__cmd_text(&engine->out, "SADD");
    reeve__key_add_global(&engine->out, engine->prefix, "queues");
    for (size_t i = 0; i < job->count; i++) {
        if (is_unknown(protocol, job, i)) {
            reeve__cmd_bytes(&engine->out, job->order[i]->queue);
        }
    }
    job->registers = true;
}

/* The directory has them now. */
static void note_directory(reeve_protocol *protocol, const reeve__job *job) {
    for (size_t i = 0;
         job->registers && job->directory.op.rc == REEVE_OK && i < job->count;
         i++) {
        if (is_unknown(protocol, job, i)) {
            reeve__names_add(&protocol->known, job->order[i]->queue);
        }
    }
}

static reeve_rc take_tasks(reeve_protocol *protocol, reeve__job *job,
                           const reeve_enqueue_args *args, size_t count,
                           bool resent, reeve_error *err) {
    size_t items_bytes = count * sizeof(*job->items);
    size_t enqueued_bytes = count * sizeof(*job->enqueued);
    char *slots =
        reeve__buf_reserve(&job->slots, items_bytes + enqueued_bytes +
                                            count * sizeof(*job->order));
    if (!slots) {
        return reeve__fail_nomem(err);
    }
    memset(slots, 0, items_bytes + enqueued_bytes);
    job->count = count;
    job->items = (reeve__enqueue_item *)(void *)slots;
    job->enqueued = (reeve_enqueue_result *)(void *)(slots + items_bytes);
    job->order =
        (reeve__enqueue_item **)(void *)(slots + items_bytes + enqueued_bytes);
    int64_t now_at_ms = reeve__engine_now(&protocol->engine);
    now_at_ms = now_at_ms > 0 ? now_at_ms : reeve__now_at_ms(protocol->env);
    reeve_rc rc = REEVE_OK;
    for (size_t i = 0; i < count && rc == REEVE_OK; i++) {
        reeve__enqueue_item *item = &job->items[i];
        item->resent = resent;
        rc = take_task(protocol, job, item, &args[i], now_at_ms, err);
        job->order[i] = item;
    }
    if (rc == REEVE_OK) {
        place_tasks(job);
    }
    return rc;
}

reeve_rc reeve_protocol_enqueue(uint64_t *out_op, reeve_protocol *protocol,
                                const reeve_enqueue_args *args, size_t count,
                                bool resent, reeve_error *err) {
    if (count < 1 || count > ENQUEUE_MAX) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "count is %zu, not 1 to %zu tasks", count,
                           ENQUEUE_MAX);
    }
    reeve__job *job;
    reeve_rc rc = reeve__job_new(&job, protocol, REEVE_PROTOCOL_ENQUEUE, err);
    if (rc == REEVE_OK) {
        rc = take_tasks(protocol, job, args, count, resent, err);
    }
    if (rc == REEVE_OK) {
        reeve__enqueue_sort(job->order, count);
        size_t taken =
            reeve__op_enqueue_take(&job->op.enqueue, job->order, count, resent);
        if (taken < count) {
            rc = reeve__fail(err, REEVE_E_TOO_BIG,
                             "%zu of %zu tasks fit into one operation", taken,
                             count);
        }
    }
    if (rc < 0) {
        reeve__job_free(protocol, job);
        return rc;
    }
    reeve__op_enqueue_send(&job->op.enqueue, &protocol->engine);
    send_directory(protocol, job);
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}

static void finish_enqueue(reeve_protocol *protocol, reeve__job *job) {
    note_directory(protocol, job);
    for (size_t i = 0; i < job->count; i++) {
        const reeve__enqueue_item *item = &job->items[i];
        reeve_enqueue_result *result = &job->enqueued[i];
        result->code = item->code;
        result->state = item->state;
        result->due_at_ms = item->out_due_at_ms;
        result->existing = item->existing;
        memcpy(result->id, item->out_id, sizeof(result->id));
    }
    job->result.enqueued = job->enqueued;
    job->result.enqueued_count = job->count;
}

/* ---- turn ---------------------------------------------------------------- */

static reeve_rc take_settle(reeve_protocol *protocol, reeve__job *job,
                            reeve__settle *out,
                            const reeve_protocol_settle *given,
                            reeve_error *err) {
    reeve_protocol_settle settle;
    reeve_rc rc = reeve__struct_load(&settle, sizeof(settle), sizeof(settle),
                                     given, "reeve_protocol_settle", err);
    if (rc < 0) {
        return rc;
    }
    *out = (reeve__settle){
        .id = settle.id,
        .token = settle.token,
        .to_state = settle.to_state,
        .priority = settle.priority,
        .delay_ms = settle.delay_ms,
        .retention_ms = settle.retention_ms,
        .archive_count = settle.archive_count,
        .envelope = settle.envelope,
        .result = settle.result,
        .has_result = settle.has_result != 0,
        .done = settle.done != 0,
        .failed = settle.failed != 0,
        .last_of_token = settle.last != 0,
    };
    bool kept = reeve__job_keep(protocol, job, &out->id) &&
                reeve__job_keep(protocol, job, &out->envelope) &&
                reeve__job_keep(protocol, job, &out->result);
    return kept ? REEVE_OK : reeve__fail_nomem(err);
}

static reeve_rc take_turn(reeve_protocol *protocol, reeve__job *job,
                          const reeve_protocol_settle *settles, size_t count,
                          reeve_bytes *worker, reeve_error *err) {
    job->count = count;
    job->settles =
        reeve__calloc(protocol->env, count + 1, sizeof(*job->settles));
    job->codes = reeve__calloc(protocol->env, count + 1, sizeof(*job->codes));
    if (!job->settles || !job->codes ||
        !reeve__job_keep(protocol, job, &job->one.queue) ||
        !reeve__job_keep(protocol, job, worker)) {
        return reeve__fail_nomem(err);
    }
    reeve_rc rc = REEVE_OK;
    for (size_t i = 0; i < count && rc == REEVE_OK; i++) {
        rc = take_settle(protocol, job, &job->settles[i], &settles[i], err);
    }
    job->one.settles = job->settles;
    job->one.settle_count = count;
    return rc < 0 ? rc : reeve__turns_check(&job->one, 1, *worker, err);
}

reeve_rc reeve_protocol_turn(uint64_t *out_op, reeve_protocol *protocol,
                             reeve_bytes queue,
                             const reeve_protocol_settle *settles,
                             size_t settle_count, size_t claim_max,
                             int64_t lease_ms, reeve_bytes worker,
                             reeve_error *err) {
    reeve_rc rc = reeve__name_check("queue", queue, err);
    if (rc == REEVE_OK) {
        rc = reeve__name_check("worker", worker, err);
    }
    reeve__job *job = NULL;
    if (rc == REEVE_OK) {
        rc = reeve__job_new(&job, protocol, REEVE_PROTOCOL_TURN, err);
    }
    if (rc < 0) {
        return rc;
    }
    job->one = (reeve__turn){ .queue = queue,
                              .claim_max = claim_max,
                              .lease_ms = lease_ms };
    rc = take_turn(protocol, job, settles, settle_count, &worker, err);
    if (rc == REEVE_OK) {
        rc = reeve__op_turn_begin(&job->op.turn, &protocol->engine, &job->one,
                                  1, worker, false, err);
    }
    if (rc < 0) {
        reeve__job_free(protocol, job);
        return rc;
    }
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}

static reeve_rc add_row(void *ctx, const reeve__row *row, reeve_error *err) {
    reeve__job *job = ctx;
    const reeve_protocol_row made = {
        .id = row->id,
        .envelope = row->envelope,
        .worker = row->worker,
        .token = row->token,
        .lease_ms = row->lease_ms,
        .now_at_ms = row->now_at_ms,
        .priority = row->priority,
    };
    reeve__buf_add(&job->rows, &made, sizeof(made));
    return job->rows.failed ? reeve__fail_nomem(err) : REEVE_OK;
}

static void show_rows(reeve__job *job) {
    job->result.rows = (const reeve_protocol_row *)(void *)job->rows.data;
    job->result.row_count = job->rows.size / sizeof(reeve_protocol_row);
}

static reeve_rc finish_turn(reeve__job *job, reeve_error *err) {
    for (size_t i = 0; i < job->count; i++) {
        job->codes[i] = job->settles[i].code;
    }
    job->result.codes = job->codes;
    job->result.code_count = job->count;
    job->result.more = job->one.more;
    job->result.paused = job->one.paused;
    job->result.next_at_ms = job->one.next_due_at_ms;
    reeve_rc rc = reeve__op_turn_deliver(&job->op.turn, add_row, job, err);
    show_rows(job);
    return rc;
}

/* ---- extend, promote, reclaim -------------------------------------------- */

static reeve_rc take_leases(reeve_protocol *protocol, reeve__job *job,
                            const reeve_protocol_lease *leases, size_t count,
                            reeve_error *err) {
    job->count = count;
    job->refs = reeve__calloc(protocol->env, count, sizeof(*job->refs));
    job->codes = reeve__calloc(protocol->env, count, sizeof(*job->codes));
    if (!job->refs || !job->codes) {
        return reeve__fail_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        reeve_protocol_lease lease;
        reeve_rc rc =
            reeve__struct_load(&lease, sizeof(lease), sizeof(lease), &leases[i],
                               "reeve_protocol_lease", err);
        if (rc < 0) {
            return rc;
        }
        job->refs[i] = (reeve__lease_ref){ .queue = lease.queue,
                                           .id = lease.id,
                                           .token = lease.token };
        if (!reeve__job_keep(protocol, job, &job->refs[i].queue) ||
            !reeve__job_keep(protocol, job, &job->refs[i].id)) {
            return reeve__fail_nomem(err);
        }
    }
    return REEVE_OK;
}

reeve_rc reeve_protocol_extend(uint64_t *out_op, reeve_protocol *protocol,
                               const reeve_protocol_lease *leases, size_t count,
                               int64_t lease_ms, reeve_error *err) {
    if (count < 1) {
        return reeve__fail(err, REEVE_E_INVALID, "no lease to extend");
    }
    reeve__job *job;
    reeve_rc rc = reeve__job_new(&job, protocol, REEVE_PROTOCOL_EXTEND, err);
    if (rc < 0) {
        return rc;
    }
    rc = take_leases(protocol, job, leases, count, err);
    if (rc == REEVE_OK) {
        rc = reeve__op_extend_begin(&job->op.extend, &protocol->engine,
                                    job->refs, count, lease_ms, err);
    }
    if (rc < 0) {
        reeve__job_free(protocol, job);
        return rc;
    }
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}

static void finish_extend(reeve__job *job) {
    for (size_t i = 0; i < job->count; i++) {
        job->codes[i] = job->refs[i].lost ? REEVE_E_LEASE_LOST : REEVE_OK;
    }
    job->result.codes = job->codes;
    job->result.code_count = job->count;
}

reeve_rc reeve__job_on_queue(reeve__job **out, reeve_protocol *protocol,
                             int32_t kind, reeve_bytes *queue,
                             reeve_bytes *worker, reeve_error *err) {
    *out = NULL;
    reeve_rc rc = reeve__name_check("queue", *queue, err);
    if (rc == REEVE_OK && worker->size > 0) {
        rc = reeve__name_check("worker", *worker, err);
    }
    if (rc == REEVE_OK) {
        rc = reeve__job_new(out, protocol, kind, err);
    }
    if (rc == REEVE_OK && (!reeve__job_keep(protocol, *out, queue) ||
                           !reeve__job_keep(protocol, *out, worker))) {
        reeve__job_free(protocol, *out);
        rc = reeve__fail_nomem(err);
    }
    return rc;
}

reeve_rc reeve_protocol_promote(uint64_t *out_op, reeve_protocol *protocol,
                                reeve_bytes queue, size_t max,
                                reeve_error *err) {
    reeve__job *job;
    reeve_bytes nobody = { NULL, 0 };
    reeve_rc rc = reeve__job_on_queue(&job, protocol, REEVE_PROTOCOL_PROMOTE,
                                      &queue, &nobody, err);
    if (rc < 0) {
        return rc;
    }
    reeve__call_promote(&job->op.call, &protocol->engine, queue, max);
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}

reeve_rc reeve_protocol_reclaim(uint64_t *out_op, reeve_protocol *protocol,
                                reeve_bytes queue, reeve_bytes worker,
                                size_t max, reeve_error *err) {
    reeve__job *job;
    reeve_rc rc = reeve__job_on_queue(&job, protocol, REEVE_PROTOCOL_RECLAIM,
                                      &queue, &worker, err);
    if (rc < 0) {
        return rc;
    }
    reeve__op_reclaim_begin(&job->op.reclaim, &protocol->engine, queue, worker,
                            max);
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}

static reeve_rc finish_reclaim(reeve_protocol *protocol, reeve__job *job,
                               reeve_error *err) {
    reeve_rc rc =
        reeve__op_reclaim_deliver(&job->op.reclaim, &protocol->engine,
                                  &job->result.next_at_ms, add_row, job, err);
    show_rows(job);
    return rc;
}

static void finish_promote(reeve_protocol *protocol, reeve__job *job) {
    reeve__call *call = &job->op.call;
    reeve__engine_saw_time(&protocol->engine,
                           reeve__call_int(call, &protocol->engine, 0));
    job->result.moved = (size_t)reeve__call_int(call, &protocol->engine, 1);
    job->result.next_at_ms = reeve__call_int(call, &protocol->engine, 2);
}

/* ---- results ------------------------------------------------------------- */

reeve_rc reeve__job_finish(reeve_protocol *protocol, reeve__job *job,
                           reeve_error *err) {
    reeve__op *op = &job->op.base;
    reeve_rc rc = REEVE_OK;
    job->result.op = job->number;
    job->result.kind = job->kind;
    if (job->registers && job->directory.op.rc < 0) {
        reeve__log(protocol->env, REEVE_LOG_WARN,
                   "a queue has tasks but is not listed: %s",
                   job->directory.op.err.message);
    }
    if (op->rc == REEVE_OK) {
        switch (job->kind) {
        case REEVE_PROTOCOL_ENQUEUE:
            finish_enqueue(protocol, job);
            break;
        case REEVE_PROTOCOL_TURN:
            rc = finish_turn(job, err);
            break;
        case REEVE_PROTOCOL_EXTEND:
            finish_extend(job);
            break;
        case REEVE_PROTOCOL_PROMOTE:
            finish_promote(protocol, job);
            break;
        case REEVE_PROTOCOL_RECLAIM:
            rc = finish_reclaim(protocol, job, err);
            break;
        case REEVE_PROTOCOL_WAIT:
            reeve__job_finish_wait(protocol, job);
            break;
        case REEVE_PROTOCOL_SWEEP:
            reeve__job_finish_sweep(protocol, job);
            break;
        default:
            break;
        }
    }
    job->result.code = op->rc;
    job->result.message = op->rc < 0 ? op->err.message : "";
    return rc;
}
