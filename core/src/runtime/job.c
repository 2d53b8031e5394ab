/*
 * A claimed task outside a worker: the public face of decoding and settling for
 * event loops of others. No I/O, no clock.
 */
#include <reeve/sys/job.h>

#include <string.h>

#include "base/bytes.h"
#include "policy/settle.h"
#include "runtime/settlement.h"

struct reeve_job {
    reeve_env *env; /* referenced */
    reeve__envelope envelope;
    bool readable;
    reeve_error why; /* not readable */
    reeve_bytes stored;
    reeve_bytes id;
    reeve__buf rewritten;
    int64_t token;
    int64_t claimed_at_ms;
    int32_t priority;
    char memory[]; /* id and stored message */
};

reeve_rc reeve_job_new(reeve_job **out, reeve_env *env,
                       const reeve_protocol_row *row, reeve_error *err) {
    *out = NULL;
    if (!row)
        return reeve__fail(err, REEVE_E_USAGE, "row is NULL");
    reeve_job *job =
        reeve__alloc(env, sizeof *job + row->id.size + row->envelope.size + 1);
    if (!job)
        return reeve__fail_nomem(err);
    memset(job, 0, sizeof *job);
    if (row->id.size)
        memcpy(job->memory, row->id.data, row->id.size);
    char *stored = job->memory + row->id.size;
    if (row->envelope.size)
        memcpy(stored, row->envelope.data, row->envelope.size);
    job->env = reeve__env_ref(env);
    job->id = (reeve_bytes){ job->memory, row->id.size };
    job->stored = (reeve_bytes){ stored, row->envelope.size };
    job->token = row->token;
    job->priority = row->priority;
    job->claimed_at_ms = row->now_at_ms;
    reeve__buf_init(&job->rewritten, env);
    reeve_rc rc =
        reeve__envelope_decode(&job->envelope, env, job->stored, &job->why);
    job->readable = rc == 0;
    if (rc == REEVE_E_NOMEM) {
        reeve_job_free(job);
        return reeve__fail_nomem(err);
    }
    *out = job;
    return 0;
}

void reeve_job_free(reeve_job *job) {
    if (!job)
        return;
    reeve_env *env = job->env;
    if (job->readable)
        reeve__envelope_dispose(&job->envelope);
    reeve__buf_dispose(&job->rewritten);
    reeve__free(env, job);
    reeve_env_free(env);
}

reeve_rc reeve_job_read(reeve_delivery_view *out, const reeve_job *job,
                        reeve_error *err) {
    if (!out || !job)
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL",
                           out ? "job" : "out");
    if (!job->readable)
        return reeve__fail(err, REEVE_E_CORRUPT, "%s",
                           job->stored.size ? job->why.message
                                            : "the task has no message");
    const reeve__envelope *envelope = &job->envelope;
    reeve_delivery_view view = {
        .size = (uint32_t)sizeof view,
        .attempt = envelope->failures + 1,
        .max_attempts = envelope->retry.max_attempts,
        .crashes = envelope->crashes,
        .priority = envelope->priority,
        .token = job->token,
        .id = job->id,
        .type = envelope->type,
        .payload = envelope->payload,
        .enqueued_at_ms = envelope->enqueued_at_ms,
        .claimed_at_ms = job->claimed_at_ms,
        .deadline_at_ms = envelope->deadline_at_ms,
        .timeout_ms = envelope->timeout_ms,
        .headers = envelope->headers,
        .header_count = envelope->header_count,
    };
    return reeve__struct_store(out, &view, sizeof view, "reeve_delivery_view",
                               err);
}

int64_t reeve_job_lease_ms(const reeve_job *job) {
    return job->readable ? job->envelope.lease_ms : 0;
}

bool reeve_job_may_start(const reeve_job *job, int64_t now_at_ms) {
    return job->readable && reeve__start_check(job->envelope.deadline_at_ms,
                                               now_at_ms) == REEVE__REASON_NONE;
}

/* ---- settling ------------------------------------------------------------ */

static void give(reeve_protocol_settle *out, const reeve__settle *settle) {
    *out = (reeve_protocol_settle){
        .size = (uint32_t)sizeof *out,
        .to_state = settle->to_state,
        .id = settle->id,
        .token = settle->token,
        .priority = settle->priority,
        .done = settle->done,
        .failed = settle->failed,
        .delay_ms = settle->delay_ms,
        .retention_ms = settle->retention_ms,
        .archive_count = settle->archive_count,
        .envelope = settle->envelope,
        .result = settle->result,
        .has_result = settle->has_result,
    };
}

static reeve_rc decide(reeve__settle *settle, reeve_job *job,
                       const reeve_job_end *end, reeve_error *err) {
    reeve__archive_bounds archive = {
        .keep_ms =
            end->archive_ms ? end->archive_ms : REEVE__ARCHIVE_MS_DEFAULT,
        .keep_count = end->archive_count ? end->archive_count
                                         : REEVE__ARCHIVE_COUNT_DEFAULT,
    };
    int64_t now_at_ms = end->now_at_ms ? end->now_at_ms : job->claimed_at_ms;
    bool handed_back = !end->outcome && !end->crashed;
    if (!job->stored.size)
        return 0; /* debris: an entry without a body goes */
    if (handed_back) {
        settle->to_state = REEVE_STATE_PENDING;
        return 0;
    }
    if (!job->readable)
        return reeve__settlement_unreadable(settle, &job->rewritten,
                                            job->stored, now_at_ms,
                                            job->why.message, &archive, err);
    bool late = !end->crashed && !reeve_job_may_start(job, job->claimed_at_ms);
    reeve__settlement_input in = {
        .env = job->env,
        .envelope = &job->envelope,
        .stored = job->stored,
        .outcome = end->crashed ? NULL : end->outcome,
        .started = !late,
        .reason = late ? REEVE__REASON_DEADLINE : REEVE__REASON_NONE,
        .worker = end->worker,
        .now_at_ms = now_at_ms,
        .archive = archive,
    };
    return reeve__settlement_decide(settle, &job->rewritten, NULL, &in, err);
}

reeve_rc reeve_job_settle(reeve_protocol_settle *out, reeve_job *job,
                          const reeve_job_end *end, reeve_error *err) {
    if (!out || !job)
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL",
                           out ? "job" : "out");
    reeve_job_end ours;
    reeve_outcome outcome;
    reeve_rc rc = reeve__struct_load(&ours, sizeof ours, sizeof ours, end,
                                     "reeve_job_end", err);
    if (!rc && ours.outcome) {
        rc = reeve__outcome_load(&outcome, ours.outcome, err);
        ours.outcome = &outcome;
    }
    if (rc)
        return rc;
    reeve__buf_clear(&job->rewritten);
    reeve__settle settle = { .id = job->id,
                             .token = job->token,
                             .priority = job->priority,
                             .to_state = REEVE_STATE_NONE };
    rc = decide(&settle, job, &ours, err);
    if (!rc)
        give(out, &settle);
    return rc;
}
