/*
 * The one suite that every broker passes. A backend brings stores up; the cases
 * see only broker.h. Each case runs on a fresh store with two handles, a and b,
 * and one queue name, "mail".
 *
 * Names on the command line choose cases (prefixes); --seed=N and --steps=N set
 * the random walk.
 */
#ifndef REEVE_TESTS_CONTRACT_H
#define REEVE_TESTS_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/broker.h"

#define CONTRACT_URL_BYTES 512
#define CONTRACT_LONG_MS ((int64_t)3600 * 1000)
#define CONTRACT_START_AT_MS INT64_C(1800000000000)

typedef struct contract_backend {
    const char *name;
    bool own_clock;             /* time is the server's: cases wait for it */
    int (*start)(void **state); /* once; 0 is good */
    int (*stop)(void **state);
    /* The url of a fresh, empty store. */
    void (*fresh)(char url[CONTRACT_URL_BYTES]);
    /* Takes a fresh store's files away; NULL = nothing to do. */
    void (*clean)(const char *url);
} contract_backend;

/* A row as it was seen, copied. */
typedef struct contract_seen {
    char queue[REEVE_NAME_BYTES_MAX + 1];
    char id[REEVE_ID_BYTES_MAX + 1];
    char worker[REEVE_ID_BYTES_MAX + 1];
    char *envelope;
    char *result;
    reeve__row row; /* views point to the copies above */
} contract_seen;

typedef struct contract_rows {
    contract_seen *rows;
    size_t count;
    size_t capacity;
} contract_rows;

typedef struct contract {
    const contract_backend *backend;
    reeve_env *env; /* virtual clock; NULL = the system's */
    reeve__broker *a;
    reeve__broker *b;
    char url[CONTRACT_URL_BYTES];
    char prefix[32];
    contract_rows seen; /* of the last claim, list, find or reclaim */
    reeve__turn turn;   /* of the last claim */
} contract;

typedef struct contract_case {
    const char *name;
    CMUnitTestFunction run;
} contract_case;

#define CONTRACT_CASE(function)                                                \
    { #function, function }

extern const contract_case contract_enqueue_cases[];
extern const contract_case contract_claim_cases[];
extern const contract_case contract_settle_cases[];
extern const contract_case contract_lease_cases[];
extern const contract_case contract_delay_cases[];
extern const contract_case contract_inspect_cases[];
extern const contract_case contract_act_cases[];
extern const contract_case contract_wait_cases[];
extern const contract_case contract_thread_cases[];
extern const contract_case contract_random_cases[];

/* Runs the suite; what main() returns. */
int contract_run(const contract_backend *backend, int argc, char **argv);

extern uint64_t contract_seed;
extern size_t contract_steps;

reeve_bytes text(const char *value);
#define MAIL text("mail")

/* A handle on the case's store; another thread's, or of another env. */
reeve__broker *contract_open(const contract *c, reeve_env *env);
/* Opens a and b anew under the system's clock, for cases with threads. */
void contract_use_real_clock(contract *c);
/* Lets span_ms pass on the clock that the broker goes by. */
void contract_pass(contract *c, int64_t span_ms);
int64_t contract_now(contract *c);

void contract_rows_clear(contract_rows *rows);
reeve_rc contract_on_row(void *ctx, const reeve__row *row, reeve_error *err);

/* An item for a pending task of priority 5 with a small envelope. */
reeve__enqueue_item contract_item(const char *id);
/* Enqueues; every code must be 0. */
void contract_put_items(contract *c, reeve__enqueue_item *items, size_t count);
void contract_put(contract *c, const char *id);
void contract_put_at(contract *c, const char *id, int32_t priority);
void contract_put_later(contract *c, const char *id, int64_t delay_ms);

/* Claims with a, for worker "w1", an hour's lease; rows are in c->seen. */
size_t contract_claim(contract *c, size_t max);
/* The same with everything said. */
size_t contract_claim_as(contract *c, reeve__broker *broker, const char *worker,
                         size_t max, int64_t lease_ms);
/* The claimed ids, joined by spaces, must be these. */
void contract_assert_ids(const contract *c, const char *ids);

/* A verdict on row index of c->seen. */
reeve__settle contract_verdict(const contract *c, size_t index,
                               int32_t to_state);
/* Settles in one turn without a claim; returns the first code. */
int32_t contract_settle(contract *c, reeve__settle *settles, size_t count);
/* Puts, claims and settles one task: it is then in that state. */
void contract_bring(contract *c, const char *id, int32_t state);

/* State by find; NONE when there is no such task. The row is in c->seen. */
int32_t contract_state(contract *c, const char *id);
/* All rows of a state, by pages of limit, into c->seen. */
size_t contract_list(contract *c, int32_t state, size_t limit);
reeve_queue_info contract_info(contract *c, const char *queue);

#define assert_ok(call)                                                        \
    do {                                                                       \
        reeve_error failed_ = { 0, "" };                                       \
        reeve_error *err = &failed_;                                           \
        if ((call) < 0) {                                                      \
            fail_msg("%s: %d %s", #call, failed_.code, failed_.message);       \
        }                                                                      \
    } while (0)

#endif
