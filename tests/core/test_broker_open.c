/*
 * Choosing a broker by URL.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/broker.h"

#include <string.h>

static void refused(const char *url, int32_t code, const char *names) {
    reeve__broker *broker = (reeve__broker *)&broker;
    reeve_error err = { 0, "" };
    reeve__broker_options options = { .url = url };
    assert_int_equal(reeve__broker_open(&broker, NULL, &options, &err), code);
    assert_null(broker);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, names)) {
        fail_msg("\"%s\" does not name \"%s\"", err.message, names);
    }
}

static void unknown_schemes_are_named_with_the_known(void **state) {
    (void)state;
    refused("amqp://me:secret@host/", REEVE_E_INVALID, "amqp://");
    refused("amqp://me:secret@host/", REEVE_E_INVALID, "sqlite:///path");
    refused("", REEVE_E_INVALID, "no scheme");
    refused("just words", REEVE_E_INVALID, "mem://");
    refused("mem:", REEVE_E_INVALID, "no scheme");
}

static void passwords_are_not_shown(void **state) {
    (void)state;
    reeve__broker *broker = NULL;
    reeve_error err = { 0, "" };
    reeve__broker_options options = { .url = "amqp://me:secret@host/" };
    reeve__broker_open(&broker, NULL, &options, &err);
    assert_null(strstr(err.message, "secret"));
    options.url = "me:secret://x";
    reeve__broker_open(&broker, NULL, &options, &err);
    assert_null(strstr(err.message, "secret"));
}

static void url_chooses_the_broker(void **state) {
    (void)state;
    reeve__broker *broker = NULL;
    reeve__broker_options options = { .url = "mem://x" };
    assert_int_equal(reeve__broker_open(&broker, NULL, &options, NULL),
                     REEVE_OK);
    assert_string_equal(broker->ops->name, "mem");
    reeve__broker_close(broker);
    refused("sqlite://relative/x.db", REEVE_E_INVALID, "sqlite");
    refused("redis+cluster://h", REEVE_E_UNSUPPORTED, "cluster");
    reeve__broker_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_schemes_are_named_with_the_known),
        cmocka_unit_test(passwords_are_not_shown),
        cmocka_unit_test(url_chooses_the_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
