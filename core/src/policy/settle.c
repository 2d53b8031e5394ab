/*
 * The verdict on a run. Called by the runtime for outcomes and by the reclaimer
 * for crashes; numbers in, numbers out.
 */
#include "policy/settle.h"

#include <assert.h>

#include "base/env.h"
#include "policy/backoff.h"

const char *reeve__reason_text(int32_t reason) {
    switch (reason) {
    case REEVE__REASON_EXHAUSTED:
        return "attempts exhausted";
    case REEVE__REASON_FATAL:
        return "fatal error";
    case REEVE__REASON_ELAPSED:
        return "retry time is over";
    case REEVE__REASON_DEADLINE:
        return "deadline passed";
    case REEVE__REASON_POISON:
        return "worker crashed too often";
    case REEVE__REASON_UNREADABLE:
        return "message unreadable";
    case REEVE__REASON_OPERATOR:
        return "archived by hand";
    default:
        return "";
    }
}

int32_t reeve__start_check(int64_t deadline_at_ms, int64_t now_at_ms) {
    return deadline_at_ms != 0 && now_at_ms >= deadline_at_ms
               ? REEVE__REASON_DEADLINE
               : REEVE__REASON_NONE;
}

static int32_t count_up(int32_t count) {
    return count < INT32_MAX ? count + 1 : INT32_MAX;
}

static void archive(reeve__verdict *verdict, int32_t reason) {
    verdict->to_state = REEVE_STATE_ARCHIVED;
    verdict->reason = reason;
    verdict->delay_ms = 0;
}

static void decide_crash(reeve__verdict *verdict,
                         const reeve__settle_input *in) {
    verdict->crashes = count_up(in->crashes);
    if (in->max_crashes != REEVE_NEVER && verdict->crashes >= in->max_crashes)
        archive(verdict, REEVE__REASON_POISON);
    else if (reeve__start_check(in->deadline_at_ms, in->now_at_ms))
        archive(verdict, REEVE__REASON_DEADLINE);
    else
        verdict->to_state = REEVE_STATE_PENDING;
}

static void decide_done(reeve__verdict *verdict,
                        const reeve__settle_input *in) {
    verdict->done = true;
    if (in->retention_ms == 0)
        return;
    verdict->to_state = REEVE_STATE_COMPLETED;
    verdict->retention_ms = in->retention_ms;
}

/* Puts it off to a later time, unless that is too late. */
static void put_off(reeve__verdict *verdict, const reeve__settle_input *in,
                    int32_t to_state, int64_t delay_ms) {
    verdict->to_state = to_state;
    verdict->delay_ms = delay_ms > 0 ? delay_ms : 0;
    int64_t due_at_ms = reeve__add_sat(in->now_at_ms, verdict->delay_ms);
    if (reeve__start_check(in->deadline_at_ms, due_at_ms))
        archive(verdict, REEVE__REASON_DEADLINE);
}

static void decide_retry(reeve__verdict *verdict,
                         const reeve__settle_input *in) {
    const reeve_retry_options *retry = in->retry;
    if (retry->max_attempts != REEVE_NEVER &&
        verdict->failures >= retry->max_attempts) {
        archive(verdict, REEVE__REASON_EXHAUSTED);
        return;
    }
    int64_t delay_ms = in->own_delay_ms;
    if (delay_ms <= 0)
        delay_ms =
            reeve__backoff_delay_ms(retry, verdict->failures, in->random);
    put_off(verdict, in, REEVE_STATE_RETRY, delay_ms);
    if (verdict->to_state != REEVE_STATE_RETRY || retry->max_elapsed_ms == 0)
        return;
    int64_t due_at_ms = reeve__add_sat(in->now_at_ms, delay_ms);
    int64_t last_at_ms =
        reeve__add_sat(in->enqueued_at_ms, retry->max_elapsed_ms);
    if (due_at_ms > last_at_ms)
        archive(verdict, REEVE__REASON_ELAPSED);
}

static void decide_outcome(reeve__verdict *verdict,
                           const reeve__settle_input *in) {
    switch (in->outcome) {
    case REEVE_OUTCOME_DONE:
        decide_done(verdict, in);
        break;
    case REEVE_OUTCOME_FATAL:
        verdict->failed = true;
        verdict->failures = count_up(in->failures);
        archive(verdict, REEVE__REASON_FATAL);
        break;
    case REEVE_OUTCOME_DISCARD:
        break; /* NONE */
    case REEVE_OUTCOME_SNOOZE:
        put_off(verdict, in, REEVE_STATE_SCHEDULED, in->own_delay_ms);
        break;
    case REEVE_OUTCOME_REQUEUE:
        verdict->to_state = REEVE_STATE_PENDING;
        break;
    default:
        assert(in->outcome == REEVE_OUTCOME_RETRY); /* callers have checked */
        verdict->failed = true;
        verdict->failures = count_up(in->failures);
        decide_retry(verdict, in);
        break;
    }
}

reeve__verdict reeve__settle_decide(const reeve__settle_input *in) {
    reeve__verdict verdict = {
        .to_state = REEVE_STATE_NONE,
        .reason = REEVE__REASON_NONE,
        .failures = in->failures,
        .crashes = in->crashes,
    };
    if (!in->started)
        verdict.to_state = REEVE_STATE_PENDING;
    else if (in->crashed)
        decide_crash(&verdict, in);
    else
        decide_outcome(&verdict, in);
    return verdict;
}
