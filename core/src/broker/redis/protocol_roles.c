/*
 * The public protocol object: waiting at the doorbell, ringing it, sweeping and
 * publishing a worker.
 */
#include "base/bytes.h"
#include "broker/check.h"
#include "broker/redis/protocol.h"
#include "task/id.h"

#include <stdio.h>
#include <string.h>

#define WAIT_QUEUES_MAX ((size_t)256)
#define WAIT_MS_MAX ((int64_t)3600 * 1000)

static const uint8_t bell_key[] = { REEVE__KEY_BELL };

/* ---- wait and ring ------------------------------------------------------- */

static reeve_rc keep_queues(reeve_protocol *protocol, reeve__job *job,
                            const reeve_bytes *queues, size_t count,
                            reeve_error *err) {
    job->count = count;
    job->queues = reeve__calloc(protocol->env, count, sizeof(*job->queues));
    if (!job->queues) {
        return reeve__fail_nomem(err);
    }
    for (size_t i = 0; i < count; i++) {
        job->queues[i] = queues[i];
        reeve_rc rc = reeve__name_check("queue", queues[i], err);
        if (rc < 0) {
            return rc;
        }
        if (!reeve__job_keep(protocol, job, &job->queues[i])) {
            return reeve__fail_nomem(err);
        }
    }
    return REEVE_OK;
}

static void send_wait(reeve_protocol *protocol, reeve__job *job,
                      int64_t timeout_ms) {
    reeve__engine *engine = &protocol->engine;
    char text[32];
    snprintf(text, sizeof(text), "%lld.%03d", (long long)(timeout_ms / 1000),
             (int)(timeout_ms % 1000));
    reeve__call_begin_command(&job->op.call, engine, 2 + job->count);
    reeve__cmd_text(&engine->out, "BLPOP");
    for (size_t i = 0; i < job->count; i++) {
        reeve__engine_keys(engine, job->queues[i], bell_key, 1);
    }
    reeve__cmd_text(&engine->out, text);
}

reeve_rc reeve_protocol_wait(uint64_t *out_op, reeve_protocol *protocol,
                             const reeve_bytes *queues, size_t count,
                             int64_t timeout_ms, reeve_error *err) {
    if (count < 1 || count > WAIT_QUEUES_MAX) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "count is %zu, not 1 to %zu queues", count,
                           WAIT_QUEUES_MAX);
    }
    if (timeout_ms < 1 || timeout_ms > WAIT_MS_MAX) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "timeout_ms is %lld, not 1 to %lld",
                           (long long)timeout_ms, (long long)WAIT_MS_MAX);
    }
    reeve__job *job;
    reeve_rc rc = reeve__job_new(&job, protocol, REEVE_PROTOCOL_WAIT, err);
    if (rc < 0) {
        return rc;
    }
    rc = keep_queues(protocol, job, queues, count, err);
    if (rc < 0) {
        reeve__job_free(protocol, job);
        return rc;
    }
    send_wait(protocol, job, timeout_ms);
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}

/* Queue of a bell key: what stands in the braces behind the prefix. */
static reeve_bytes queue_of(const reeve_protocol *protocol, reeve_bytes key) {
    size_t before = protocol->engine.prefix.size + 2, after = strlen("}:bell");
    if (key.size < before + after) {
        return (reeve_bytes){ NULL, 0 };
    }
    return (reeve_bytes){ key.data + before, key.size - before - after };
}

void reeve__job_finish_wait(reeve_protocol *protocol, reeve__job *job) {
    const reeve__reply *key = reeve__reply_at(job->op.call.reply, 0);
    job->result.rung = -1;
    if (!key || key->type != REEVE__REPLY_STRING) {
        return; /* time was up */
    }
    reeve_bytes queue = queue_of(protocol, key->bytes);
    for (size_t i = 0; i < job->count; i++) {
        if (reeve__bytes_equal(job->queues[i], queue)) {
            job->result.rung = (int32_t)i;
        }
    }
}

reeve_rc reeve_protocol_ring(uint64_t *out_op, reeve_protocol *protocol,
                             reeve_bytes queue, reeve_error *err) {
    reeve__job *job;
    reeve_bytes nobody = { NULL, 0 };
    reeve_rc rc = reeve__job_on_queue(&job, protocol, REEVE_PROTOCOL_RING,
                                      &queue, &nobody, err);
    if (rc < 0) {
        return rc;
    }
    reeve__call_ring(&job->op.call, &protocol->engine, queue);
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}

/* ---- sweep and beat ------------------------------------------------------ */

reeve_rc reeve_protocol_sweep(uint64_t *out_op, reeve_protocol *protocol,
                              reeve_bytes queue, size_t max, reeve_error *err) {
    reeve__job *job;
    reeve_bytes nobody = { NULL, 0 };
    reeve_rc rc = reeve__job_on_queue(&job, protocol, REEVE_PROTOCOL_SWEEP,
                                      &queue, &nobody, err);
    if (rc < 0) {
        return rc;
    }
    reeve__call_sweep(&job->op.call, &protocol->engine, queue, max);
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}

void reeve__job_finish_sweep(reeve_protocol *protocol, reeve__job *job) {
    job->result.moved =
        (size_t)reeve__call_int(&job->op.call, &protocol->engine, 1);
}

static void send_beat(reeve_protocol *protocol, reeve__job *job,
                      reeve_bytes worker, reeve_bytes text, bool gone) {
    reeve__engine *engine = &protocol->engine;
    reeve__call_begin_command(&job->op.call, engine, gone ? 3 : 4);
    reeve__cmd_text(&engine->out, gone ? "HDEL" : "HSET");
    reeve__key_add_global(&engine->out, engine->prefix, "workers");
    reeve__cmd_bytes(&engine->out, worker);
    if (!gone) {
        reeve__cmd_bytes(&engine->out, text);
    }
}

reeve_rc reeve_protocol_beat(uint64_t *out_op, reeve_protocol *protocol,
                             const reeve_worker_info *info, bool gone,
                             reeve_error *err) {
    reeve_rc rc = reeve__name_check("worker", info->id, err);
    reeve__job *job = NULL;
    if (rc == REEVE_OK) {
        rc = reeve__job_new(&job, protocol, REEVE_PROTOCOL_BEAT, err);
    }
    if (rc < 0) {
        return rc;
    }
    int64_t now_at_ms = info->beat_at_ms;
    if (now_at_ms == 0) {
        now_at_ms = reeve_protocol_now(protocol);
    }
    reeve__buf text;
    reeve__buf_init(&text, protocol->env);
    reeve__beat_write(&text, info, now_at_ms);
    if (text.failed) {
        reeve__buf_dispose(&text);
        reeve__job_free(protocol, job);
        return reeve__fail_nomem(err);
    }
    send_beat(protocol, job, info->id, reeve__buf_view(&text), gone);
    reeve__buf_dispose(&text);
    reeve__job_start(out_op, protocol, job);
    return reeve__job_check(protocol, err);
}
