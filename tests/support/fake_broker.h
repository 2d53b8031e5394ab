/*
 * A broker that misbehaves on demand: mem:// behind a script of faults. Verbs
 * of clients and workers only. A test wraps the worker's own handle and lets it open the
 * others through fake_open.
 */
#ifndef REEVE_TESTS_FAKE_BROKER_H
#define REEVE_TESTS_FAKE_BROKER_H

#include <stdatomic.h>

#include "base/thread.h"
#include "broker/broker.h"

enum fake_verb {
    FAKE_TURN,
    FAKE_EXTEND,
    FAKE_PROMOTE,
    FAKE_RECLAIM,
    FAKE_SWEEP,
    FAKE_BEAT,
    FAKE_WAIT,
    FAKE_UNWAIT,
    FAKE_NOW,
    FAKE_ENQUEUE,
    FAKE_VERB_COUNT,
};

/* What the next calls of one verb meet. */
typedef struct fake_fault {
    int calls;     /* so many more; -1 = all */
    reeve_rc code; /* returned */
    bool applied;  /* the store has moved before the error */
    size_t rows;   /* applied: so many rows are still seen */
    bool held;     /* calls stop before they begin, until released */
} fake_fault;

typedef struct fake_plan {
    reeve__mutex mutex;
    reeve__cond moved;
    /* Guarded by mutex. */
    fake_fault faults[FAKE_VERB_COUNT];
    int calls[FAKE_VERB_COUNT]; /* begun */
    int last_count;             /* settles that ended their token's lease */

    atomic_bool leases_lost;       /* extend says so of each */
    _Atomic int64_t clock_lag_ms;  /* now is so far behind */
    _Atomic(const char *) refused; /* turns and reclaims of this queue fail */
    atomic_bool only_verdicts;     /* not turns without them */
    atomic_int refused_waits;      /* waits at its bell */
} fake_plan;

void fake_plan_init(fake_plan *plan);
void fake_plan_dispose(fake_plan *plan);

/* The next calls (-1 = all) fail and change nothing. */
void fake_fail(fake_plan *plan, int verb, reeve_rc code, int calls);
/* The next call is done, but its reply breaks off after so many rows. */
void fake_lose_reply(fake_plan *plan, int verb, size_t rows);
void fake_hold(fake_plan *plan, int verb);
void fake_release(fake_plan *plan, int verb);
int fake_calls(fake_plan *plan, int verb);
/* Waits until so many calls of a verb have begun. */
void fake_await(fake_plan *plan, int verb, int calls);

/* Puts plan in front of inner (consumed); NULL when memory is short. */
reeve__broker *fake_wrap(fake_plan *plan, reeve__broker *inner);
/* Opens by URL, behind the plan that was wrapped last. */
reeve_rc fake_open(reeve__broker **out, reeve_env *env,
                   const reeve__broker_options *options, reeve_error *err);

#endif
