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

static const reeve__broker_ops *real;
static bool fresh[2];

static reeve_rc spy_enqueue(reeve__broker *broker, reeve__enqueue_item *items,
                            size_t count, reeve_error *err) {
    assert_int_equal(count, 2);
    fresh[0] = items[0].fresh;
    fresh[1] = items[1].fresh;
    return real->enqueue(broker, items, count, err);
}

/* The broker may store an id unseen only where nobody else can have it. */
static void ids_are_fresh(reeve_env *env, bool drawn) {
    reeve_client *client = NULL;
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = "mem://client-fresh";
    assert_int_equal(reeve_client_open(&client, env, &options, NULL), 0);
    reeve__shared *shared = (reeve__shared *)client; /* its first member */
    real = shared->broker->ops;
    reeve__broker_ops spied = *real;
    spied.enqueue = spy_enqueue;
    shared->broker->ops = &spied;
    reeve_enqueue_args args[2] = { REEVE_ENQUEUE_ARGS_INIT,
                                   REEVE_ENQUEUE_ARGS_INIT };
    args[0].type = args[1].type = reeve_bytes_of("t");
    args[1].id = reeve_bytes_of(env ? "theirs" : "ours");
    assert_int_equal(reeve_client_enqueue_many(NULL, client, args, 2, NULL), 0);
    shared->broker->ops = real;
    assert_int_equal(fresh[0], drawn);
    assert_false(fresh[1]);
    reeve_client_close(client);
}

static void only_ids_drawn_at_random_are_fresh(void **state) {
    (void)state;
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.random_seed = 7;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    ids_are_fresh(NULL, true);
    ids_are_fresh(env, false);
    reeve_env_free(env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_call_takes_its_time_once),
        cmocka_unit_test(only_ids_drawn_at_random_are_fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
