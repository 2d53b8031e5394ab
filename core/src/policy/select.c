/*
 * Splitting free slots over queues. Called by the worker's fetcher only; pure.
 *
 * Weighted: a plan is the simulation of that many picks on a copy of the
 * credits. Booking adds taken * weight to every queue that took part and
 * charges each what it gave, so that credits sum to zero. A pick costs the sum
 * of the weights; when that sum changes (a queue runs dry, a weight is set)
 * credits are scaled with it: what must be kept is the lag in picks.
 */
#include "policy/select.h"

#include <assert.h>
#include <string.h>

#include "base/env.h"

#define DRY_FIRST_NS REEVE__MS_NS
#define DRY_MAX_NS (5 * REEVE__MS_NS)

static bool is_dry(const reeve__select_queue *queue, int64_t now_ns) {
    return queue->dry_until_ns > now_ns || queue->rest_until_ns > now_ns;
}

/* A credit, when a pick is worth weight_sum. */
static int64_t scaled(const reeve__select *select, int64_t credit,
                      int64_t weight_sum) {
    if (select->credit_weight == 0 || select->credit_weight == weight_sum)
        return credit;
    return credit * weight_sum / select->credit_weight;
}

/* The queues that take part in a plan, packed. */
typedef struct race {
    size_t count;
    int64_t weight_sum; /* in credit units, as steps */
    int64_t weight_gcd; /* plain */
    size_t index[REEVE__SELECT_QUEUES_MAX];
    int64_t step[REEVE__SELECT_QUEUES_MAX];
    int64_t credit[REEVE__SELECT_QUEUES_MAX];
    size_t picks[REEVE__SELECT_QUEUES_MAX];
} race;

static int64_t gcd(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static void race_init(race *r, const reeve__select *select, int64_t now_ns) {
    r->count = 0;
    r->weight_sum = 0;
    r->weight_gcd = 0;
    for (size_t i = 0; i < select->queue_count; i++) {
        const reeve__select_queue *queue = &select->queues[i];
        if (is_dry(queue, now_ns))
            continue;
        size_t at = r->count++;
        r->index[at] = i;
        r->step[at] = queue->weight * REEVE__SELECT_CREDIT_UNIT;
        r->credit[at] = queue->credit;
        r->picks[at] = 0;
        r->weight_sum += r->step[at];
        r->weight_gcd = gcd(r->weight_gcd, queue->weight);
    }
    int64_t weight_sum = r->weight_sum / REEVE__SELECT_CREDIT_UNIT;
    for (size_t i = 0; i < r->count; i++)
        r->credit[i] = scaled(select, r->credit[i], weight_sum);
}

static void race_run(race *r, size_t picks) {
    while (picks-- > 0) {
        size_t best = 0;
        int64_t most = INT64_MIN;
        for (size_t i = 0; i < r->count; i++) {
            int64_t credit = r->credit[i] + r->step[i];
            r->credit[i] = credit;
            /* Without a branch: which queue leads cannot be predicted. */
            best = credit > most ? i : best;
            most = credit > most ? credit : most;
        }
        r->credit[best] -= r->weight_sum;
        r->picks[best]++;
    }
}

/*
 * Picks are a function of the credits alone, so once a round leaves them as
 * they were, every further round repeats it. A round is weight_sum / weight_gcd
 * picks: only multiples of it can bring the credits back.
 */
static void race_finish(race *r, size_t slots) {
    int64_t unit = REEVE__SELECT_CREDIT_UNIT * r->weight_gcd;
    size_t round = (size_t)(r->weight_sum / unit);
    int64_t credit_before[REEVE__SELECT_QUEUES_MAX];
    size_t picks_before[REEVE__SELECT_QUEUES_MAX];
    size_t credit_bytes = r->count * sizeof(credit_before[0]);
    while (slots > round) {
        memcpy(credit_before, r->credit, credit_bytes);
        memcpy(picks_before, r->picks, r->count * sizeof(picks_before[0]));
        race_run(r, round);
        slots -= round;
        if (memcmp(credit_before, r->credit, credit_bytes) != 0)
            continue;
        size_t repeats = slots / round;
        for (size_t i = 0; i < r->count; i++)
            r->picks[i] += repeats * (r->picks[i] - picks_before[i]);
        slots -= repeats * round;
    }
    race_run(r, slots);
}

static size_t plan_weighted(size_t *quotas, const reeve__select *select,
                            size_t slots, int64_t now_ns) {
    race r;
    race_init(&r, select, now_ns);
    if (r.count == 0)
        return 0;
    race_finish(&r, slots);
    for (size_t i = 0; i < r.count; i++)
        quotas[r.index[i]] = r.picks[i];
    return slots;
}

/* The queue that has waited longest among those passed over for ageing_ns and
 * not served by this plan; queue_count when there is none. */
static size_t most_aged(const size_t *quotas, const reeve__select *select,
                        size_t first, int64_t now_ns) {
    size_t found = select->queue_count;
    for (size_t i = first + 1; i < select->queue_count; i++) {
        const reeve__select_queue *queue = &select->queues[i];
        if (quotas[i] > 0 || is_dry(queue, now_ns) ||
            queue->served_by_ns == 0 ||
            now_ns - queue->served_by_ns < select->ageing_ns)
            continue;
        if (found == select->queue_count ||
            queue->served_by_ns < select->queues[found].served_by_ns)
            found = i;
    }
    return found;
}

/* The first queue keeps a slot unless there is but one. */
static size_t plan_strict(size_t *quotas, const reeve__select *select,
                          size_t slots, int64_t now_ns) {
    size_t first = 0;
    while (first < select->queue_count &&
           is_dry(&select->queues[first], now_ns))
        first++;
    if (first == select->queue_count)
        return 0;
    size_t left = slots;
    while (left > 1 || left == slots) {
        size_t aged = most_aged(quotas, select, first, now_ns);
        if (aged == select->queue_count)
            break;
        quotas[aged] = 1;
        left--;
    }
    quotas[first] = left;
    return slots;
}

size_t reeve__select_plan(size_t *quotas, const reeve__select *select,
                          size_t slots, int64_t now_ns) {
    assert(select->queue_count <= REEVE__SELECT_QUEUES_MAX);
    assert(slots <= REEVE__SELECT_SLOTS_MAX);
    for (size_t i = 0; i < select->queue_count; i++)
        quotas[i] = 0;
    if (slots == 0)
        return 0;
    if (select->order == REEVE_ORDER_STRICT)
        return plan_strict(quotas, select, slots, now_ns);
    return plan_weighted(quotas, select, slots, now_ns);
}

/* Every queue that took part gains its share of what was taken and pays for
 * what it gave. */
static void charge(reeve__select *select, const size_t *quotas,
                   const size_t *taken, int64_t now_ns) {
    int64_t weight_sum = 0;
    int64_t taken_sum = 0;
    for (size_t i = 0; i < select->queue_count; i++) {
        taken_sum += (int64_t)taken[i];
        if (quotas[i] > 0 || !is_dry(&select->queues[i], now_ns))
            weight_sum += select->queues[i].weight;
    }
    for (size_t i = 0; i < select->queue_count; i++) {
        reeve__select_queue *queue = &select->queues[i];
        if (quotas[i] == 0 && is_dry(queue, now_ns))
            continue; /* its credit is 0 */
        queue->credit = scaled(select, queue->credit, weight_sum);
        queue->credit +=
            (taken_sum * queue->weight - (int64_t)taken[i] * weight_sum) *
            REEVE__SELECT_CREDIT_UNIT;
    }
    if (weight_sum > 0)
        select->credit_weight = weight_sum;
}

static void mark_dry(reeve__select_queue *queue, bool gave, int64_t now_ns) {
    int64_t backoff_ns = queue->dry_backoff_ns * 2;
    if (gave || backoff_ns == 0)
        backoff_ns = DRY_FIRST_NS;
    if (backoff_ns > DRY_MAX_NS)
        backoff_ns = DRY_MAX_NS;
    queue->dry_backoff_ns = backoff_ns;
    queue->dry_until_ns = reeve__add_sat(now_ns, backoff_ns);
    queue->credit = 0;
    queue->served_by_ns = 0;
}

/* Brings the sum of the credits of those with work back to zero by shifting
 * each in proportion to its weight, which leaves their order of service among
 * themselves as it was. */
static void centre(reeve__select *select, int64_t now_ns) {
    int64_t weight_sum = 0;
    int64_t credit_sum = 0;
    for (size_t i = 0; i < select->queue_count; i++) {
        if (is_dry(&select->queues[i], now_ns))
            continue;
        weight_sum += select->queues[i].weight;
        credit_sum += select->queues[i].credit;
    }
    if (credit_sum == 0)
        return;
    for (size_t i = 0; i < select->queue_count; i++) {
        reeve__select_queue *queue = &select->queues[i];
        if (!is_dry(queue, now_ns))
            queue->credit -= credit_sum * queue->weight / weight_sum;
    }
}

void reeve__select_book(reeve__select *select, const size_t *quotas,
                        const size_t *taken, int64_t now_ns) {
    if (select->order == REEVE_ORDER_WEIGHTED)
        charge(select, quotas, taken, now_ns);
    int64_t served_by_ns = now_ns > 0 ? now_ns : 1; /* 0 is "not waiting" */
    for (size_t i = 0; i < select->queue_count; i++) {
        reeve__select_queue *queue = &select->queues[i];
        if (taken[i] < quotas[i]) {
            mark_dry(queue, taken[i] > 0, now_ns);
            continue;
        }
        if (taken[i] > 0) {
            reeve__select_wake(select, i);
            queue->served_by_ns = served_by_ns;
        } else if (queue->served_by_ns == 0 && !is_dry(queue, now_ns)) {
            queue->served_by_ns = served_by_ns;
        }
    }
    if (select->order == REEVE_ORDER_WEIGHTED)
        centre(select, now_ns);
}

void reeve__select_wake(reeve__select *select, size_t index) {
    select->queues[index].dry_until_ns = 0;
    select->queues[index].dry_backoff_ns = 0;
}

void reeve__select_rest(reeve__select *select, size_t index, int64_t until_ns) {
    reeve__select_queue *queue = &select->queues[index];
    queue->rest_until_ns = until_ns;
    queue->credit = 0;
    queue->served_by_ns = 0;
}

int64_t reeve__select_next_ns(const reeve__select *select) {
    int64_t next_ns = INT64_MAX;
    for (size_t i = 0; i < select->queue_count; i++) {
        int64_t dry_until_ns = select->queues[i].dry_until_ns;
        if (dry_until_ns != 0 && dry_until_ns < next_ns)
            next_ns = dry_until_ns;
    }
    return next_ns;
}

void reeve__select_set_weight(reeve__select *select, size_t index,
                              int32_t weight) {
    select->queues[index].weight = weight;
}
