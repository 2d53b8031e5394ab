/*
 * Outcome to settle; see settlement.h.
 */
#include "runtime/settlement.h"

#include <string.h>

#include "base/bytes.h"
#include "policy/settle.h"

static reeve_rc check_bytes(const reeve_outcome *outcome, reeve_error *err) {
    const struct {
        const char *what;
        reeve_bytes bytes;
    } rows[] = {
        { "result", outcome->result },
        { "error_type", outcome->error_type },
        { "error_message", outcome->error_message },
        { "error_trace", outcome->error_trace },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].bytes.size && !rows[i].bytes.data)
            return reeve__fail(err, REEVE_E_USAGE,
                               "outcome %s is null but has %zu bytes",
                               rows[i].what, rows[i].bytes.size);
    }
    return 0;
}

reeve_rc reeve__outcome_load(reeve_outcome *out, const reeve_outcome *given,
                             reeve_error *err) {
    reeve_rc rc = reeve__struct_load(out, sizeof *out, sizeof *out, given,
                                     "reeve_outcome", err);
    if (rc)
        return rc;
    if (out->kind < REEVE_OUTCOME_DONE || out->kind > REEVE_OUTCOME_REQUEUE)
        return reeve__fail(err, REEVE_E_INVALID,
                           "outcome kind %d is outside %d..%d", (int)out->kind,
                           REEVE_OUTCOME_DONE, REEVE_OUTCOME_REQUEUE);
    if (out->delay_ms < 0 || out->delay_ms > REEVE_SPAN_MS_MAX)
        return reeve__fail(
            err, REEVE_E_INVALID, "outcome delay_ms %lld is outside 0..%lld",
            (long long)out->delay_ms, (long long)REEVE_SPAN_MS_MAX);
    if (out->result.size > REEVE_PAYLOAD_BYTES_MAX)
        return reeve__fail(err, REEVE_E_TOO_BIG,
                           "result of %zu bytes exceeds %zu", out->result.size,
                           REEVE_PAYLOAD_BYTES_MAX);
    return check_bytes(out, err);
}

/* Only a retry has a random delay; drawing is a call of the system. */
static uint64_t chance(const reeve__settlement_input *in) {
    bool draws = in->outcome && in->outcome->kind == REEVE_OUTCOME_RETRY;
    return draws ? reeve__random(in->env) : 0;
}

static reeve__verdict decide(const reeve__settlement_input *in) {
    const reeve__envelope *envelope = in->envelope;
    reeve__settle_input numbers = {
        .outcome = in->outcome ? in->outcome->kind : REEVE_OUTCOME_REQUEUE,
        .crashed = !in->outcome,
        .started = in->started,
        .failures = envelope->failures,
        .crashes = envelope->crashes,
        .max_crashes = envelope->max_crashes,
        .own_delay_ms = in->outcome ? in->outcome->delay_ms : 0,
        .enqueued_at_ms = envelope->enqueued_at_ms,
        .deadline_at_ms = envelope->deadline_at_ms,
        .retention_ms = envelope->retention_ms,
        .now_at_ms = in->now_at_ms,
        .random = chance(in),
        .retry = &envelope->retry,
    };
    if (in->reason == REEVE__REASON_NONE)
        return reeve__settle_decide(&numbers);
    return (reeve__verdict){
        .to_state = REEVE_STATE_ARCHIVED,
        .reason = in->reason,
        .failures = envelope->failures,
        .crashes = envelope->crashes,
    };
}

static reeve_rc rewrite(reeve__buf *out, const reeve__settlement_input *in,
                        const reeve__verdict *verdict, reeve_error *err) {
    const reeve_outcome *outcome = in->outcome;
    bool crash = verdict->crashes > in->envelope->crashes;
    reeve__envelope_end end = {
        .at_ms = in->now_at_ms,
        .failures = verdict->failures,
        .crashes = verdict->crashes,
        .add_history = verdict->failed || crash,
        .crash = crash,
        .worker = in->worker,
    };
    if (outcome && verdict->failed) {
        end.error_type = outcome->error_type;
        end.error_message = outcome->error_message;
        end.error_trace = outcome->error_trace;
    } else if (crash) {
        end.error_type = reeve_bytes_of("WorkerCrashed");
        end.error_message = reeve_bytes_of("the worker died while it held "
                                           "the task");
    }
    if (verdict->to_state == REEVE_STATE_ARCHIVED)
        end.reason = reeve__reason_text(verdict->reason);
    return reeve__envelope_rewrite(out, in->env, in->stored, &end, NULL, err);
}

static bool needs_rewrite(const reeve__settlement_input *in,
                          const reeve__verdict *verdict) {
    if (verdict->to_state == REEVE_STATE_NONE ||
        verdict->to_state == REEVE_STATE_COMPLETED)
        return false;
    return verdict->failures != in->envelope->failures ||
           verdict->crashes != in->envelope->crashes ||
           verdict->to_state == REEVE_STATE_ARCHIVED;
}

reeve_rc reeve__settlement_decide(reeve__settle *settle, reeve__buf *rewritten,
                                  int32_t *reason,
                                  const reeve__settlement_input *in,
                                  reeve_error *err) {
    reeve__verdict verdict = decide(in);
    settle->to_state = verdict.to_state;
    if (reason)
        *reason = verdict.reason;
    settle->priority = in->envelope->priority;
    settle->delay_ms = verdict.delay_ms;
    settle->retention_ms = verdict.retention_ms;
    settle->done = verdict.done;
    settle->failed = verdict.failed;
    if (verdict.to_state == REEVE_STATE_ARCHIVED) {
        settle->retention_ms = in->archive.keep_ms;
        settle->archive_count = in->archive.keep_count;
    }
    if (verdict.to_state == REEVE_STATE_COMPLETED && in->outcome) {
        settle->result = in->outcome->result;
        settle->has_result = in->outcome->result.data != NULL;
    }
    if (!needs_rewrite(in, &verdict))
        return 0;
    size_t start = rewritten->size;
    reeve_rc rc = rewrite(rewritten, in, &verdict, err);
    if (!rc)
        settle->envelope =
            (reeve_bytes){ rewritten->data + start, rewritten->size - start };
    return rc;
}

reeve_rc reeve__settlement_unreadable(reeve__settle *settle,
                                      reeve__buf *rewritten, reeve_bytes stored,
                                      int64_t now_at_ms, const char *why,
                                      const reeve__archive_bounds *archive,
                                      reeve_error *err) {
    settle->to_state = REEVE_STATE_ARCHIVED;
    settle->priority = REEVE_PRIORITY_DEFAULT;
    settle->retention_ms = archive->keep_ms;
    settle->archive_count = archive->keep_count;
    size_t start = rewritten->size;
    reeve_rc rc =
        reeve__envelope_wrap_unreadable(rewritten, stored, now_at_ms, why, err);
    if (!rc)
        settle->envelope =
            (reeve_bytes){ rewritten->data + start, rewritten->size - start };
    return rc;
}
