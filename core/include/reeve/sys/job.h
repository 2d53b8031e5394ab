/*
 * Second tier: what a worker decides, without the worker's threads, for event
 * loops that carry reeve/sys/protocol.h themselves. A job is one claimed task:
 * it reads the stored message and turns what a handler made of it into the
 * settle of the next turn, by the same policies as reeve_worker. A picker
 * splits free slots over queues.
 *
 *     for each row of a turn:    reeve_job_new(&job, env, &row, err)
 *     if reeve_job_may_start:    run the handler
 *     reeve_job_settle(&settle, job, &end, err)   → settles of a turn
 *     reeve_job_free(job)        when that turn is stored
 *
 * Since 0.1. Thread: one, for every function here.
 */
#ifndef REEVE_SYS_JOB_H
#define REEVE_SYS_JOB_H

#include <reeve/sys/protocol.h>
#include <reeve/worker.h>

typedef struct reeve_job reeve_job;
typedef struct reeve_picker reeve_picker;

/* Why a run ended. */
typedef struct reeve_job_end {
    uint32_t size;
    int32_t crashed; /* 1: its worker died; outcome is not looked at */
    const reeve_outcome *outcome; /* NULL: handed back, not started */
    reeve_bytes worker;           /* whose run it was */
    int64_t now_at_ms;            /* server time; 0 = of the row */
    int64_t archive_ms;           /* dead letters are kept for; 0 = 90 days */
    int64_t archive_count; /* and at most this many a queue; 0 = 100000 */
} reeve_job_end;

#define REEVE_JOB_END_INIT REEVE__INIT(reeve_job_end)

REEVE_BEGIN_DECLS

/* New job; copies the row. A message that cannot be read makes a job, too, that
 * may not start and settles into the archive. Errors: USAGE, NOMEM. */
REEVE_EXTERN reeve_rc reeve_job_new(reeve_job **out, reeve_env *env,
                                    const reeve_protocol_row *row,
                                    reeve_error *err);
/* Accepts NULL. */
REEVE_EXTERN void reeve_job_free(reeve_job *job);

/* Fills out (set out->size first); views borrow from job; queue is empty and
 * serial 0. Errors: USAGE, CORRUPT when the message cannot be read. */
REEVE_EXTERN reeve_rc reeve_job_read(reeve_delivery_view *out,
                                     const reeve_job *job, reeve_error *err);

/* The lease that the task asks for, 0 = the worker's. */
REEVE_EXTERN int64_t reeve_job_lease_ms(const reeve_job *job);

/* Whether a handler may see it at now_at_ms (server time): not when it is
 * unreadable, debris, or past its deadline; settle it then at once with an
 * empty outcome. */
REEVE_EXTERN bool reeve_job_may_start(const reeve_job *job, int64_t now_at_ms);

/* Fills out (set out->size first) but for last, which is the caller's. Views
 * borrow from job and outcome. A job that may not start settles as its state
 * says, unless it is handed back. Errors: USAGE, INVALID (unknown outcome, delay
 * out of bounds), TOO_BIG (result), NOMEM; then settle it with a FATAL one. */
REEVE_EXTERN reeve_rc reeve_job_settle(reeve_protocol_settle *out,
                                       reeve_job *job, const reeve_job_end *end,
                                       reeve_error *err);

/* New picker over queues (at least one; weights of 0 are 1), in the order of
 * enum reeve_order; ageing_ms as in reeve_worker_options. The names are not
 * looked at. Errors: INVALID, NOMEM. */
REEVE_EXTERN reeve_rc reeve_picker_new(reeve_picker **out, reeve_env *env,
                                       const reeve_worker_queue *queues,
                                       size_t count, int32_t order,
                                       int64_t ageing_ms, reeve_error *err);
/* Accepts NULL. */
REEVE_EXTERN void reeve_picker_free(reeve_picker *picker);

/* Splits slots over the queues that may have work; quotas has a place for each
 * and borrows from picker. Returns the sum. */
REEVE_EXTERN size_t reeve_picker_plan(const size_t **quotas,
                                      reeve_picker *picker, size_t slots);

/* What the queues gave of their quotas in the last plan: taken has a place for
 * each. */
REEVE_EXTERN void reeve_picker_book(reeve_picker *picker, const size_t *taken);

/* The doorbell of a queue rang, or tasks of it came due. */
REEVE_EXTERN void reeve_picker_wake(reeve_picker *picker, size_t index);

/* How long until a queue found empty may be asked again, 0 = now, REEVE_NEVER
 * when none waits. */
REEVE_EXTERN int64_t reeve_picker_wait_ms(const reeve_picker *picker);

/* Spans of a worker with this lease: after how long to extend it, and how often
 * to look for lapsed ones. */
REEVE_EXTERN int64_t reeve_lease_extend_ms(int64_t lease_ms);
REEVE_EXTERN int64_t reeve_lease_reclaim_ms(int64_t lease_ms);
/* Delay before the attempt-th (from 1) connection in a row: 10 to 500 ms. */
REEVE_EXTERN int64_t reeve_reconnect_ms(int32_t attempt, reeve_env *env);

REEVE_END_DECLS

#endif
