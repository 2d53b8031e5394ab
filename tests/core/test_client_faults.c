/*
 * The client against a broker that misbehaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <reeve.h>

#include "client/shared.h"
#include "support/fake_broker.h"

/* A call that failed has had its time: asking a broker that is away for the
 * time of day would take as long again. */
static void failed_call_takes_its_time_once(void **state) {
    (void)state;
    fake_plan plan;
    fake_plan_init(&plan);
    reeve_client *client = NULL;
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = "mem://client-faults";
    assert_int_equal(reeve_client_open(&client, NULL, &options, NULL), 0);
    reeve__shared *shared = (reeve__shared *)client; /* its first member */
    shared->broker = fake_wrap(&plan, shared->broker);
    assert_non_null(shared->broker);

    reeve_enqueue_args args = REEVE_ENQUEUE_ARGS_INIT;
    args.type = reeve_bytes_of("t");
    fake_fail(&plan, FAKE_ENQUEUE, REEVE_E_NET, 1);
    assert_int_equal(reeve_client_enqueue(NULL, client, &args, NULL),
                     REEVE_E_NET);
    assert_int_equal(fake_calls(&plan, FAKE_NOW), 0);
    assert_int_equal(reeve_client_enqueue(NULL, client, &args, NULL), 0);
    assert_int_equal(fake_calls(&plan, FAKE_NOW), 1);
    reeve_client_close(client);
    fake_plan_dispose(&plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_call_takes_its_time_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
