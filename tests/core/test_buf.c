/*
 * The growing buffer: contents, growth, and its sticky failure.
 */
#include "base/buf.h"

#include "base/bytes.h"
#include "support/failing_alloc.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void assert_holds(const reeve__buf *buf, const char *text) {
    assert_true(reeve__bytes_is(reeve__buf_view(buf), text));
}

static void starts_empty(void **state) {
    (void)state;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    assert_int_equal(reeve__buf_view(&buf).size, 0);
    assert_false(buf.failed);
    reeve__buf_drop(&buf, 10);
    reeve__buf_clear(&buf);
    reeve__buf_dispose(&buf);
    reeve__buf_dispose(&buf);
}

static void appends_of_all_kinds(void **state) {
    (void)state;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    reeve__buf_add(&buf, "ab", 2);
    reeve__buf_add(&buf, NULL, 0);
    reeve__buf_add_bytes(&buf, (reeve_bytes){ "cd!", 2 });
    reeve__buf_add_bytes(&buf, (reeve_bytes){ NULL, 0 });
    reeve__buf_add_text(&buf, "ef");
    reeve__buf_add_char(&buf, ' ');
    reeve__buf_add_int(&buf, -42);
    reeve__buf_printf(&buf, " %s=%d", "x", 7);
    reeve__buf_printf(&buf, "%s", "");
    assert_holds(&buf, "abcdef -42 x=7");
    reeve__buf_dispose(&buf);
}

static void integers_at_the_edges(void **state) {
    (void)state;
    static const struct {
        int64_t value;
        const char *text;
    } rows[] = {
        { 0, "0" },
        { 9, "9" },
        { 10, "10" },
        { -1, "-1" },
        { INT64_MAX, "9223372036854775807" },
        { INT64_MIN, "-9223372036854775808" },
    };
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        reeve__buf_clear(&buf);
        reeve__buf_add_int(&buf, rows[i].value);
        assert_holds(&buf, rows[i].text);
    }
    reeve__buf_dispose(&buf);
}

/* Many sizes around the powers of two at which the buffer grows. */
static void grows_without_losing_bytes(void **state) {
    (void)state;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    for (int i = 0; i < 5000; i++)
        reeve__buf_printf(&buf, "%d,", i);
    const char *p = buf.data;
    char want[16];
    for (int i = 0; i < 5000; i++) {
        int size = snprintf(want, sizeof want, "%d,", i);
        assert_memory_equal(p, want, (size_t)size);
        p += size;
    }
    assert_ptr_equal(p, buf.data + buf.size);
    assert_true(buf.capacity >= buf.size);
    reeve__buf_dispose(&buf);
}

static void drop_keeps_the_rest(void **state) {
    (void)state;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    reeve__buf_add_text(&buf, "0123456789");
    reeve__buf_drop(&buf, 0);
    assert_holds(&buf, "0123456789");
    reeve__buf_drop(&buf, 7);
    assert_holds(&buf, "789");
    reeve__buf_drop(&buf, 3);
    assert_holds(&buf, "");
    reeve__buf_add_text(&buf, "again");
    reeve__buf_drop(&buf, SIZE_MAX);
    assert_holds(&buf, "");
    reeve__buf_dispose(&buf);
}

static void reserve_gives_a_place_to_write(void **state) {
    (void)state;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    reeve__buf_add_text(&buf, "a");
    char *place = reeve__buf_reserve(&buf, 1000);
    assert_non_null(place);
    memset(place, 'b', 1000);
    buf.size += 1000;
    assert_int_equal(buf.data[0], 'a');
    assert_int_equal(buf.data[1000], 'b');
    assert_non_null(reeve__buf_reserve(&buf, 0));
    reeve__buf_dispose(&buf);
}

static void impossible_size_fails(void **state) {
    (void)state;
    reeve__buf buf;
    reeve__buf_init(&buf, NULL);
    reeve__buf_add_text(&buf, "a");
    assert_null(reeve__buf_reserve(&buf, SIZE_MAX));
    assert_true(buf.failed);
    reeve__buf_dispose(&buf);
}

static void write_all(reeve__buf *buf) {
    for (int i = 0; i < 40; i++) {
        reeve__buf_add_text(buf, "some text ");
        reeve__buf_add_int(buf, i);
        reeve__buf_printf(buf, "%d%s", i, "and more");
    }
}

/* Whichever allocation fails: failed is set, nothing is written after it, the
 * memory is intact, and clear makes the buffer good again. */
static void failure_sticks_until_cleared(void **state) {
    (void)state;
    failing_alloc fail;
    reeve_env *env = failing_alloc_env(&fail, NULL);
    for (long n = 0;; n++) {
        reeve__buf buf;
        reeve__buf_init(&buf, env);
        failing_alloc_arm(&fail, n);
        write_all(&buf);
        bool hit = failing_alloc_disarm(&fail);
        assert_int_equal(buf.failed, hit);
        if (hit) {
            size_t size = buf.size;
            reeve__buf_add_text(&buf, "x");
            assert_int_equal(buf.size, size);
            reeve__buf_clear(&buf);
            reeve__buf_add_text(&buf, "x");
            assert_holds(&buf, "x");
        }
        reeve__buf_dispose(&buf);
        assert_int_equal(failing_alloc_live(&fail), 0);
        if (!hit) {
            assert_true(n > 2);
            break;
        }
    }
    reeve_env_free(env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_empty),
        cmocka_unit_test(appends_of_all_kinds),
        cmocka_unit_test(integers_at_the_edges),
        cmocka_unit_test(grows_without_losing_bytes),
        cmocka_unit_test(drop_keeps_the_rest),
        cmocka_unit_test(reserve_gives_a_place_to_write),
        cmocka_unit_test(impossible_size_fails),
        cmocka_unit_test(failure_sticks_until_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
