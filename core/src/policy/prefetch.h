/*
 * How many tasks a worker may hold beyond those that run. What is live (running
 * or held) is what completes within an aim of two round trips, so a held task
 * waits about that long and the next claim arrives before the last is used up.
 * Slow handlers and idle workers hold nothing. Pure: time comes in, no locks.
 * See docs/decisions/0103-adaptive-prefetch.md.
 */
#ifndef REEVE_SRC_POLICY_PREFETCH_H
#define REEVE_SRC_POLICY_PREFETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most that is ever held: about what one claim brings. */
#define REEVE__PREFETCH_MAX 1000
/* The aim is two round trips within these bounds. */
#define REEVE__PREFETCH_AIM_MIN_NS ((int64_t)2 * 1000 * 1000)
#define REEVE__PREFETCH_AIM_MAX_NS ((int64_t)20 * 1000 * 1000)

/* Zero but for limit is the start. */
typedef struct reeve__prefetch {
    size_t limit;     /* 0 … PREFETCH_MAX; 0 = never hold any */
    size_t hold;      /* out: what may be held now */
    bool wary;        /* a suspect came: hold none until a claim brings none */
    bool sampled;     /* seen_ns is known */
    int64_t seen_ns;  /* when the last sample ended */
    size_t unseen;    /* completions since */
    int64_t round_ns; /* mean round trip of a turn */
    double done;      /* completions, the old ones fading */
    double span_ns;   /* the time that they took, fading alike */
} reeve__prefetch;

/* A turn took span_ns. */
void reeve__prefetch_turned(reeve__prefetch *prefetch, int64_t span_ns);

/* How long a held task may wait; at four times of it, it is given back. */
int64_t reeve__prefetch_aim_ns(const reeve__prefetch *prefetch);

/*
 * done runs have ended since the last call; sets hold for a worker of
 * concurrency. Grows by at most one for each run that ended, so it doubles at
 * most in the time that everything live takes; falls at once.
 */
void reeve__prefetch_plan(reeve__prefetch *prefetch, size_t done,
                          size_t concurrency, int64_t now_ns);

/* A held task waited far beyond the aim: holds none, and learns anew. */
void reeve__prefetch_reset(reeve__prefetch *prefetch);

/* A claim brought tasks: any that a worker died with makes it hold none until
 * one comes without. */
void reeve__prefetch_claimed(reeve__prefetch *prefetch, bool suspects);

#endif
