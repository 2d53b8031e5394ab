/*
 * The table of legal moves, row by row, and the names of states.
 */
#include "task/state.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* Row: from; column: to. As SEMANTICS has it, written a second time. */
static const char *const legal[] = {
    /*                to: N S P A R B G W C X */
    /* none        */ "0110000000",
    /* scheduled   */ "1010000001",
    /* pending     */ "1001000001",
    /* active      */ "1110100011",
    /* retry       */ "1010000001",
    /* blocked     */ "0000000000",
    /* aggregating */ "0000000000",
    /* waiting     */ "0000000000",
    /* completed   */ "1010000000",
    /* archived    */ "1010000000",
};

static void moves_are_those_of_the_table(void **state) {
    (void)state;
    for (int32_t from = 0; from < 10; from++) {
        for (int32_t to = 0; to < 10; to++) {
            if (reeve__state_may_move(from, to) != (legal[from][to] == '1'))
                fail_msg("%s to %s", reeve_state_name(from),
                         reeve_state_name(to));
        }
    }
}

static void moves_of_unknown_states_are_none(void **state) {
    (void)state;
    static const int32_t odd[] = { -1, 10, 32, INT32_MAX, INT32_MIN };
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        for (int32_t other = -1; other < 11; other++) {
            assert_false(reeve__state_may_move(odd[i], other));
            assert_false(reeve__state_may_move(other, odd[i]));
        }
    }
}

static void names_go_both_ways(void **state) {
    (void)state;
    static const char *const names[] = {
        "scheduled",   "pending", "active",    "retry",   "blocked",
        "aggregating", "waiting", "completed", "archived"
    };
    for (int32_t i = 0; i < 9; i++) {
        assert_string_equal(reeve_state_name(i + 1), names[i]);
        assert_int_equal(reeve_state_of(reeve_bytes_of(names[i])), i + 1);
    }
}

static void odd_names_are_unknown(void **state) {
    (void)state;
    assert_string_equal(reeve_state_name(REEVE_STATE_NONE), "unknown");
    assert_string_equal(reeve_state_name(-1), "unknown");
    assert_string_equal(reeve_state_name(10), "unknown");
    static const char *const odd[] = { "",         "Pending", "pendin",
                                       "pendingx", "unknown", "none" };
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        assert_int_equal(reeve_state_of(reeve_bytes_of(odd[i])),
                         REEVE_STATE_NONE);
    assert_int_equal(reeve_state_of((reeve_bytes){ NULL, 0 }),
                     REEVE_STATE_NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_are_those_of_the_table),
        cmocka_unit_test(moves_of_unknown_states_are_none),
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(odd_names_are_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
