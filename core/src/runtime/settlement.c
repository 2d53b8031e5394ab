/*
 * Outcome to settle; see settlement.h.
 */
#include "runtime/settlement.h"

#include <string.h>

#include "policy/settle.h"

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
                                  const reeve__settlement_input *in,
                                  reeve_error *err) {
    reeve__verdict verdict = decide(in);
    settle->to_state = verdict.to_state;
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
