/*
 * From an outcome to what the broker stores: asks policy/settle for the verdict
 * and rewrites the envelope where the task lives on. Used by the worker and by
 * takeovers of dead workers' tasks. No I/O, no clock.
 */
#ifndef REEVE_SRC_RUNTIME_SETTLEMENT_H
#define REEVE_SRC_RUNTIME_SETTLEMENT_H

#include "base/buf.h"
#include "broker/broker.h"
#include "task/envelope.h"

/* Loads what a handler made of its task. Errors: USAGE; INVALID, an unknown
 * kind or a delay out of bounds; TOO_BIG, the result. */
reeve_rc reeve__outcome_load(reeve_outcome *out, const reeve_outcome *given,
                             reeve_error *err);

/* Bounds of the dead letter, given to every archive move. */
typedef struct reeve__archive_bounds {
    int64_t keep_ms;
    int64_t keep_count;
} reeve__archive_bounds;

#define REEVE__ARCHIVE_MS_DEFAULT ((int64_t)90 * 24 * 3600 * 1000)
#define REEVE__ARCHIVE_COUNT_DEFAULT 100000

typedef struct reeve__settlement_input {
    reeve_env *env;
    const reeve__envelope *envelope; /* decoded */
    reeve_bytes stored;              /* its bytes */
    const reeve_outcome *outcome;    /* NULL: the worker crashed */
    bool started;
    int32_t reason;     /* not NONE: archive for this, whatever the outcome */
    reeve_bytes worker; /* whose run it was */
    int64_t now_at_ms;  /* 0 will do for what is simply done */
    reeve__archive_bounds archive;
} reeve__settlement_input;

/*
 * Fills what the verdict decides in settle (id, token and last_of_token are the
 * caller's) and appends a rewritten envelope to rewritten where there is one;
 * settle->envelope and ->result borrow from rewritten and the outcome. reason
 * may be NULL, else *reason is why it is archived, for the log. When the rewrite
 * fails the move is still made, with the stored envelope unchanged, and the
 * error is returned for the log.
 */
reeve_rc reeve__settlement_decide(reeve__settle *settle, reeve__buf *rewritten,
                                  int32_t *reason,
                                  const reeve__settlement_input *in,
                                  reeve_error *err);

/* A stored message that cannot be read goes to the archive as it is. */
reeve_rc reeve__settlement_unreadable(reeve__settle *settle,
                                      reeve__buf *rewritten, reeve_bytes stored,
                                      int64_t now_at_ms, const char *why,
                                      const reeve__archive_bounds *archive,
                                      reeve_error *err);

#endif
