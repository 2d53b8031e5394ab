/*
 * Jobs and pickers: what a worker decides, without the worker.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <reeve/sys/job.h>

#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1763600000500)

static const char fixed[] =
    "{\"v\":1,\"type\":\"t\",\"at\":1763600000000,\"lease_ms\":700,"
    "\"retention_ms\":9000,\"max_crashes\":2,\"retry\":{\"backoff\":\"fixed\","
    "\"jitter\":\"none\",\"max_attempts\":2,\"base_ms\":50}}\n{}";
static const char late[] =
    "{\"v\":1,\"type\":\"t\",\"deadline_at_ms\":1763600000400}\n{}";

static reeve_job *job_of(const char *message) {
    reeve_job *job = NULL;
    reeve_error err;
    const reeve_protocol_row row = {
        .id = reeve_bytes_of("x1"),
        .envelope = reeve_bytes_of(message),
        .token = 7,
        .now_at_ms = NOW,
        .priority = 3,
    };
    if (reeve_job_new(&job, NULL, &row, &err) < 0)
        fail_msg("%s", err.message);
    return job;
}

/* Settles with an outcome of this kind, or as crashed or handed back. */
static reeve_protocol_settle settle(reeve_job *job, int32_t kind,
                                    bool crashed) {
    reeve_protocol_settle out = REEVE_PROTOCOL_SETTLE_INIT;
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    reeve_job_end end = REEVE_JOB_END_INIT;
    reeve_error err;
    outcome.kind = kind;
    outcome.delay_ms = kind == REEVE_OUTCOME_SNOOZE ? 25 : 0;
    outcome.result = reeve_bytes_of("1");
    outcome.error_message = reeve_bytes_of("why");
    end.outcome = kind == REEVE_OUTCOME_REQUEUE ? NULL : &outcome;
    end.crashed = crashed;
    end.worker = reeve_bytes_of("w1");
    if (reeve_job_settle(&out, job, &end, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(out.token, 7);
    assert_memory_equal(out.id.data, "x1", 2);
    return out;
}

static void carries_what_is_stored(void **state) {
    (void)state;
    reeve_job *job = job_of(fixed);
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    assert_int_equal(reeve_job_read(&view, job, NULL), 0);
    assert_memory_equal(view.type.data, "t", 1);
    assert_memory_equal(view.payload.data, "{}", 2);
    assert_int_equal(view.attempt, 1);
    assert_int_equal(view.max_attempts, 2);
    assert_int_equal(view.claimed_at_ms, NOW);
    assert_int_equal(reeve_job_lease_ms(job), 700);
    assert_true(reeve_job_may_start(job, NOW));
    reeve_job_free(job);
    reeve_job_free(NULL);
}

static void settles_by_outcome(void **state) {
    (void)state;
    reeve_job *job = job_of(fixed);
    reeve_protocol_settle out = settle(job, REEVE_OUTCOME_DONE, false);
    assert_int_equal(out.to_state, REEVE_STATE_COMPLETED);
    assert_int_equal(out.retention_ms, 9000);
    assert_true(out.done && out.has_result);
    out = settle(job, REEVE_OUTCOME_RETRY, false);
    assert_int_equal(out.to_state, REEVE_STATE_RETRY);
    assert_int_equal(out.delay_ms, 50);
    assert_true(out.failed && out.envelope.size > 0);
    /* The second failure is the last that max_attempts allows. */
    char *again = strndup(out.envelope.data, out.envelope.size);
    reeve_job *second = job_of(again);
    out = settle(second, REEVE_OUTCOME_RETRY, false);
    assert_int_equal(out.to_state, REEVE_STATE_ARCHIVED);
    assert_int_equal(out.archive_count, 100000);
    reeve_job_free(second);
    free(again);
    out = settle(job, REEVE_OUTCOME_FATAL, false);
    assert_int_equal(out.to_state, REEVE_STATE_ARCHIVED);
    out = settle(job, REEVE_OUTCOME_SNOOZE, false);
    assert_int_equal(out.to_state, REEVE_STATE_SCHEDULED);
    assert_int_equal(out.delay_ms, 25);
    out = settle(job, REEVE_OUTCOME_DISCARD, false);
    assert_int_equal(out.to_state, REEVE_STATE_NONE);
    assert_false(out.done);
    out = settle(job, REEVE_OUTCOME_REQUEUE, false);
    assert_int_equal(out.to_state, REEVE_STATE_PENDING);
    assert_int_equal(out.envelope.size, 0);
    reeve_job_free(job);
}

static void counts_crashes(void **state) {
    (void)state;
    reeve_job *job = job_of(fixed);
    reeve_protocol_settle out = settle(job, REEVE_OUTCOME_DONE, true);
    assert_int_equal(out.to_state, REEVE_STATE_PENDING);
    char *again = strndup(out.envelope.data, out.envelope.size);
    reeve_job *second = job_of(again);
    out = settle(second, REEVE_OUTCOME_DONE, true);
    assert_int_equal(out.to_state, REEVE_STATE_ARCHIVED);
    reeve_job_free(second);
    reeve_job_free(job);
    free(again);
}

static void what_may_not_start_settles(void **state) {
    (void)state;
    reeve_job *job = job_of(late);
    assert_false(reeve_job_may_start(job, NOW));
    assert_int_equal(settle(job, REEVE_OUTCOME_DONE, false).to_state,
                     REEVE_STATE_ARCHIVED);
    reeve_job_free(job);
    job = job_of("damaged");
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    assert_int_equal(reeve_job_read(&view, job, NULL), REEVE_E_CORRUPT);
    assert_false(reeve_job_may_start(job, NOW));
    assert_int_equal(settle(job, REEVE_OUTCOME_DONE, false).to_state,
                     REEVE_STATE_ARCHIVED);
    assert_int_equal(settle(job, REEVE_OUTCOME_REQUEUE, false).to_state,
                     REEVE_STATE_PENDING);
    reeve_job_free(job);
    job = job_of(""); /* debris: an entry without a body */
    assert_int_equal(settle(job, REEVE_OUTCOME_DONE, false).to_state,
                     REEVE_STATE_NONE);
    reeve_job_free(job);
}

static void wrong_use_is_refused(void **state) {
    (void)state;
    reeve_job *job = NULL;
    assert_int_equal(reeve_job_new(&job, NULL, NULL, NULL), REEVE_E_USAGE);
    assert_null(job);
    job = job_of(fixed);
    reeve_protocol_settle out = REEVE_PROTOCOL_SETTLE_INIT;
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    reeve_job_end end = REEVE_JOB_END_INIT;
    outcome.kind = 9;
    end.outcome = &outcome;
    assert_int_equal(reeve_job_settle(&out, job, &end, NULL), REEVE_E_INVALID);
    end.size = 4;
    assert_int_equal(reeve_job_settle(&out, job, &end, NULL), REEVE_E_USAGE);
    reeve_job_free(job);
    reeve_picker *picker = NULL;
    reeve_worker_queue queue = { .weight = 1001 };
    assert_int_equal(reeve_picker_new(&picker, NULL, &queue, 1, 0, 0, NULL),
                     REEVE_E_INVALID);
    queue.weight = 1;
    assert_int_equal(reeve_picker_new(&picker, NULL, &queue, 0, 0, 0, NULL),
                     REEVE_E_INVALID);
    assert_int_equal(reeve_picker_new(&picker, NULL, &queue, 1, 5, 0, NULL),
                     REEVE_E_INVALID);
    assert_int_equal(reeve_picker_new(&picker, NULL, &queue, 1, 0, -2, NULL),
                     REEVE_E_INVALID);
}

static reeve_rc try_outcome(const reeve_outcome *outcome) {
    reeve_job *job = job_of(fixed);
    reeve_protocol_settle out = REEVE_PROTOCOL_SETTLE_INIT;
    reeve_job_end end = REEVE_JOB_END_INIT;
    end.outcome = outcome;
    reeve_rc rc = reeve_job_settle(&out, job, &end, NULL);
    reeve_job_free(job);
    return rc;
}

static void an_outcome_has_bounds(void **state) {
    (void)state;
    reeve_outcome outcome = REEVE_OUTCOME_INIT;
    outcome.kind = REEVE_OUTCOME_SNOOZE;
    outcome.delay_ms = REEVE_SPAN_MS_MAX;
    assert_int_equal(try_outcome(&outcome), 0);
    outcome.delay_ms++;
    assert_int_equal(try_outcome(&outcome), REEVE_E_INVALID);
    outcome.delay_ms = -1;
    assert_int_equal(try_outcome(&outcome), REEVE_E_INVALID);
    outcome = (reeve_outcome)REEVE_OUTCOME_INIT;
    outcome.result.data = ""; /* its end is not looked at */
    outcome.result.size = REEVE_PAYLOAD_BYTES_MAX;
    assert_int_equal(try_outcome(&outcome), 0);
    outcome.result.size++;
    assert_int_equal(try_outcome(&outcome), REEVE_E_TOO_BIG);
    outcome.result = (reeve_bytes){ NULL, 1 };
    assert_int_equal(try_outcome(&outcome), REEVE_E_USAGE);
    outcome.result.size = 0;
    outcome.error_message = (reeve_bytes){ NULL, 1 };
    assert_int_equal(try_outcome(&outcome), REEVE_E_USAGE);
}

static void picks_by_weight_and_leaves_dry_queues(void **state) {
    (void)state;
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.virtual_now_at_ms = NOW;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    const reeve_worker_queue queues[] = { { .weight = 3 }, { .weight = 1 } };
    reeve_picker *picker = NULL;
    assert_int_equal(reeve_picker_new(&picker, env, queues, 2, 0, 0, NULL), 0);
    const size_t *quotas;
    assert_int_equal(reeve_picker_wait_ms(picker), REEVE_NEVER);
    assert_int_equal(reeve_picker_plan(&quotas, picker, 8), 8);
    assert_int_equal(quotas[0], 6);
    reeve_picker_book(picker, (const size_t[]){ 0, 0 });
    assert_int_equal(reeve_picker_plan(&quotas, picker, 8), 0);
    assert_true(reeve_picker_wait_ms(picker) > 0);
    reeve_picker_wake(picker, 1);
    reeve_picker_wake(picker, 99);
    assert_int_equal(reeve_picker_plan(&quotas, picker, 8), 8);
    assert_int_equal(quotas[1], 8);
    assert_int_equal(reeve_env_advance(env, 1000, NULL), 0);
    assert_int_equal(reeve_picker_wait_ms(picker), 0);
    assert_true(reeve_lease_extend_ms(30000) == 10000);
    assert_true(reeve_lease_reclaim_ms(30000) == 500);
    assert_true(reeve_reconnect_ms(1, env) == 10);
    reeve_picker_free(picker);
    reeve_picker_free(NULL);
    reeve_env_free(env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_what_is_stored),
        cmocka_unit_test(settles_by_outcome),
        cmocka_unit_test(counts_crashes),
        cmocka_unit_test(what_may_not_start_settles),
        cmocka_unit_test(wrong_use_is_refused),
        cmocka_unit_test(an_outcome_has_bounds),
        cmocka_unit_test(picks_by_weight_and_leaves_dry_queues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
