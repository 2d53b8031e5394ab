/*
 * Holding tasks beyond those that run. Called by the worker's fetcher only;
 * pure.
 *
 * The rate is a quotient of two sums that fade together, so that the first
 * samples count in full and silence counts as soon as it lasts.
 */
#include "policy/prefetch.h"

/* Samples fade to half in about this. */
#define MEMORY_NS (8.0 * 1000 * 1000)
/* A round trip counts for one part in this many. */
#define ROUND_PARTS 8

void reeve__prefetch_turned(reeve__prefetch *prefetch, int64_t span_ns) {
    if (span_ns < 0)
        return;
    if (prefetch->round_ns)
        prefetch->round_ns += (span_ns - prefetch->round_ns) / ROUND_PARTS;
    else
        prefetch->round_ns = span_ns;
}

int64_t reeve__prefetch_aim_ns(const reeve__prefetch *prefetch) {
    if (prefetch->round_ns < REEVE__PREFETCH_AIM_MIN_NS / 2)
        return REEVE__PREFETCH_AIM_MIN_NS;
    if (prefetch->round_ns > REEVE__PREFETCH_AIM_MAX_NS / 2)
        return REEVE__PREFETCH_AIM_MAX_NS;
    return prefetch->round_ns * 2;
}

static void sample(reeve__prefetch *prefetch, size_t done, int64_t now_ns) {
    prefetch->unseen += done;
    if (!prefetch->sampled)
        prefetch->seen_ns = now_ns;
    prefetch->sampled = true;
    if (now_ns <= prefetch->seen_ns)
        return; /* a rate needs time */
    double span_ns = (double)(now_ns - prefetch->seen_ns);
    double kept = MEMORY_NS / (MEMORY_NS + span_ns);
    prefetch->done = prefetch->done * kept + (double)prefetch->unseen;
    prefetch->span_ns = prefetch->span_ns * kept + span_ns;
    prefetch->seen_ns = now_ns;
    prefetch->unseen = 0;
}

/* What completes within the aim, less what runs. */
static size_t wanted(const reeve__prefetch *prefetch, size_t concurrency) {
    if (prefetch->wary || prefetch->span_ns <= 0.0)
        return 0;
    double live = prefetch->done / prefetch->span_ns *
                  (double)reeve__prefetch_aim_ns(prefetch);
    double hold = live - (double)concurrency;
    if (hold <= 0.0)
        return 0;
    return hold < (double)prefetch->limit ? (size_t)hold : prefetch->limit;
}

void reeve__prefetch_plan(reeve__prefetch *prefetch, size_t done,
                          size_t concurrency, int64_t now_ns) {
    sample(prefetch, done, now_ns);
    size_t most = prefetch->hold + done;
    size_t hold = wanted(prefetch, concurrency);
    prefetch->hold = hold < most ? hold : most;
}

void reeve__prefetch_reset(reeve__prefetch *prefetch) {
    prefetch->hold = 0;
    prefetch->done = 0.0;
    prefetch->span_ns = 0.0;
    prefetch->unseen = 0;
}

void reeve__prefetch_claimed(reeve__prefetch *prefetch, bool suspects) {
    prefetch->wary = suspects;
    if (suspects)
        reeve__prefetch_reset(prefetch);
}
