/*
 * Which queues the next free slots go to. Weighted is smooth weighted
 * round-robin (as in nginx's upstream module: each pick adds every weight to
 * its credit, takes the largest, subtracts the sum); strict takes the first
 * queue with work, with ageing. Pure: time comes in, no locks.
 */
#ifndef REEVE_SRC_POLICY_SELECT_H
#define REEVE_SRC_POLICY_SELECT_H

#include <reeve/worker.h>

#define REEVE__SELECT_QUEUES_MAX 256
#define REEVE__SELECT_SLOTS_MAX 10000
/* One weight is this many units of credit: what rounding loses when a queue
 * runs dry is then a negligible part of a pick. */
#define REEVE__SELECT_CREDIT_UNIT ((int64_t)1 << 16)

/* Zero but for weight is the start. */
typedef struct reeve__select_queue {
    int32_t weight; /* 1 … 1000 */
    int32_t reserved;
    int64_t credit;       /* weighted: smooth round-robin credit */
    int64_t dry_until_ns; /* found empty: not asked before this; 0 = not dry */
    int64_t dry_backoff_ns; /* grows while it stays empty */
    int64_t rest_until_ns;  /* left out until then, whatever rings; 0 = it is
                               not */
    int64_t served_by_ns; /* strict: last got a slot, or was first passed over,
                             then; 0 = not waiting */
} reeve__select_queue;

typedef struct reeve__select {
    int32_t order; /* enum reeve_order */
    int32_t reserved;
    int64_t ageing_ns;     /* INT64_MAX = none */
    int64_t credit_weight; /* credits are parts of a pick worth this; 0 at first
                            */
    reeve__select_queue *queues; /* borrowed array */
    size_t queue_count;
} reeve__select;

/*
 * Splits slots (at most SLOTS_MAX) over the queues that are neither dry nor at
 * rest at now_ns; quotas has queue_count (at most QUEUES_MAX) places. Does not change credits.
 * Returns the sum (0 when all are dry, else slots).
 */
size_t reeve__select_plan(size_t *quotas, const reeve__select *select,
                          size_t slots, int64_t now_ns);

/*
 * Books what the queues gave: taken[i] of quotas[i]. A queue that gave less
 * than asked is dry for a while (1 ms doubling to 5 ms); one that gave is not.
 * What the dry ones left is the others' in the next plan, and an empty queue
 * saves up no credit. now_ns is the time of the reply, or the plan's.
 */
void reeve__select_book(reeve__select *select, const size_t *quotas,
                        const size_t *taken, int64_t now_ns);

/* The doorbell of queue index rang, or something was promoted: not dry. */
void reeve__select_wake(reeve__select *select, size_t index);

/* Queue index is left out of plans until until_ns, whatever rings: its store
 * refused. 0 ends that. */
void reeve__select_rest(reeve__select *select, size_t index, int64_t until_ns);

/* Earliest moment a dry queue may be asked again (past ones included);
 * INT64_MAX when none is dry. */
int64_t reeve__select_next_ns(const reeve__select *select);

/* Changes a weight. What a queue lags behind is kept in picks, so shares move
 * smoothly. */
void reeve__select_set_weight(reeve__select *select, size_t index,
                              int32_t weight);

#endif
