/*
 * From an outcome (or a crash) to a verdict: what happens to the task now.
 * Pure: numbers in, numbers out.
 */
#ifndef REEVE_SRC_POLICY_SETTLE_H
#define REEVE_SRC_POLICY_SETTLE_H

#include <reeve/worker.h>

/* Why a task was archived; the slug is stored and shown. */
enum reeve__reason {
    REEVE__REASON_NONE = 0,
    REEVE__REASON_EXHAUSTED = 1,  /* "attempts exhausted" */
    REEVE__REASON_FATAL = 2,      /* "fatal error" */
    REEVE__REASON_ELAPSED = 3,    /* "retry time is over" (max_elapsed_ms) */
    REEVE__REASON_DEADLINE = 4,   /* "deadline passed" */
    REEVE__REASON_POISON = 5,     /* "worker crashed too often" */
    REEVE__REASON_UNREADABLE = 6, /* "message unreadable" */
    REEVE__REASON_OPERATOR = 7,   /* "archived by hand" */
};
const char *reeve__reason_text(int32_t reason);

typedef struct reeve__settle_input {
    int32_t outcome;      /* enum reeve_outcome_kind; ignored when crashed */
    bool crashed;         /* the worker died holding the lease */
    bool started;         /* false: handed back before a handler saw it */
    int32_t failures;     /* before this outcome */
    int32_t crashes;      /* before this outcome */
    int32_t max_crashes;  /* resolved; REEVE_NEVER = no limit */
    int64_t own_delay_ms; /* RETRY, SNOOZE: the handler's, 0 = none */
    int64_t enqueued_at_ms;
    int64_t deadline_at_ms; /* 0 = none */
    int64_t retention_ms;   /* of the task */
    int64_t now_at_ms;      /* server time */
    uint64_t random;
    const reeve_retry_options *retry; /* resolved */
} reeve__settle_input;

/*
 * Where the task goes: COMPLETED (done, kept), NONE (done or discarded, gone),
 * RETRY or SCHEDULED (due after delay_ms; SCHEDULED is a snooze), PENDING (back
 * to the front of its queue) or ARCHIVED.
 */
typedef struct reeve__verdict {
    int32_t to_state; /* enum reeve_state */
    int32_t reason;
    int32_t failures;     /* after */
    int32_t crashes;      /* after */
    int64_t delay_ms;     /* RETRY, SNOOZE */
    int64_t retention_ms; /* COMPLETED: kept this long; REEVE_NEVER = ever */
    bool done;            /* counts as done */
    bool failed;          /* counts as a failed run */
} reeve__verdict;

reeve__verdict reeve__settle_decide(const reeve__settle_input *in);

/* Whether a claimed task may start: REASON_NONE, or REASON_DEADLINE. */
int32_t reeve__start_check(int64_t deadline_at_ms, int64_t now_at_ms);

#endif
