/*
 * Spans around leases and reconnects.
 */
#include "policy/lease.h"

#include "core/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void extension_leaves_two_more_tries(void **state) {
    (void)state;
    assert_int_equal(reeve__lease_extend_after_ms(30000), 10000);
    assert_int_equal(reeve__lease_extend_after_ms(100), 33);
    assert_int_equal(reeve__lease_extend_after_ms(1), 1);
    for (int64_t lease_ms = 3; lease_ms < 100000; lease_ms += 7)
        assert_true(3 * reeve__lease_extend_after_ms(lease_ms) <= lease_ms);
}

static void takeover_comes_within_lease_and_a_second(void **state) {
    (void)state;
    assert_int_equal(reeve__lease_reclaim_every_ms(1000), 250);
    assert_int_equal(reeve__lease_reclaim_every_ms(100), 25);
    assert_int_equal(reeve__lease_reclaim_every_ms(1), 25);
    assert_int_equal(reeve__lease_reclaim_every_ms(30000), 500);
    assert_int_equal(reeve__lease_reclaim_every_ms(INT64_MAX), 500);
}

static void reconnects_back_off_to_half_a_second(void **state) {
    (void)state;
    prng rng = prng_of(__func__, 0x5eed0101);
    static const int64_t most_ms[] = { 10, 20, 40, 80, 160, 320, 500, 500 };
    for (int32_t attempt = 2; attempt <= 8; attempt++) {
        int64_t longest_ms = 0;
        for (int i = 0; i < 20000; i++) {
            int64_t delay_ms =
                reeve__reconnect_delay_ms(attempt, prng_next(&rng));
            assert_in_range(delay_ms, 0, most_ms[attempt - 1]);
            longest_ms = delay_ms > longest_ms ? delay_ms : longest_ms;
        }
        assert_int_equal(longest_ms, most_ms[attempt - 1]);
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(reeve__reconnect_delay_ms(1, prng_next(&rng)), 10);
    assert_int_equal(reeve__reconnect_delay_ms(INT32_MAX, UINT64_MAX), 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extension_leaves_two_more_tries),
        cmocka_unit_test(takeover_comes_within_lease_and_a_second),
        cmocka_unit_test(reconnects_back_off_to_half_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
