/*
 * Task ids: format, order across threads and against a clock that steps back,
 * difference after a fork; and the check of names.
 */
#include "task/id.h"

#include "base/bytes.h"
#include "base/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

typedef char id_text[REEVE__UUID_TEXT_BYTES + 1];

static uint64_t hex_of(const char *text, size_t from, size_t size) {
    char digits[17] = { 0 };
    memcpy(digits, text + from, size);
    char *end;
    uint64_t value = strtoull(digits, &end, 16);
    assert_ptr_equal(end, digits + size);
    return value;
}

static int64_t ms_of(const char *id) {
    return (int64_t)(hex_of(id, 0, 8) << 16 | hex_of(id, 9, 4));
}

static void text_is_uuid_version_7(void **state) {
    (void)state;
    id_text id;
    /* Ahead of every other test's times, so that it is used as it is. */
    reeve__id_new(id, NULL, INT64_C(0x0123456789ab));
    assert_int_equal(strlen(id), REEVE__UUID_TEXT_BYTES);
    for (size_t i = 0; i < REEVE__UUID_TEXT_BYTES; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        assert_true(dash ? id[i] == '-'
                         : strchr("0123456789abcdef", id[i]) != NULL);
    }
    assert_int_equal(ms_of(id), INT64_C(0x0123456789ab));
    assert_int_equal(id[14], '7');
    assert_non_null(strchr("89ab", id[19]));
    assert_int_equal(reeve__name_check("id", reeve_bytes_of(id), NULL), 0);
}

static void order_survives_a_clock_that_steps_back(void **state) {
    (void)state;
    int64_t start_ms = INT64_C(0x012400000000);
    static const int64_t steps_ms[] = { 0, 0, 5, -1000, -1000, 6, 3, -1, 7, 0 };
    id_text before = "";
    for (int i = 0; i < 20000; i++) {
        id_text id;
        reeve__id_new(id, NULL, start_ms + i / 100 + steps_ms[i % 10]);
        assert_true(strcmp(before, id) < 0);
        memcpy(before, id, sizeof(id));
    }
    /* 4096 and more ids of one millisecond run into the next ones, not back. */
    int64_t drift_ms = ms_of(before) - start_ms;
    assert_in_range(drift_ms, 199, 230);
}

static void odd_times_are_clamped(void **state) {
    (void)state;
    id_text before;
    id_text id;
    reeve__id_new(before, NULL, -5);
    reeve__id_new(id, NULL, INT64_MIN);
    assert_true(strcmp(before, id) < 0);
    assert_int_equal(id[14], '7');
}

/* Each thread's own ids increase, and no two of any are alike. */
enum {
    THREADS = 8,
    EACH = 20000
};
static id_text made[THREADS][EACH];

static void make_ids(void *arg) {
    id_text *ids = arg;
    for (int i = 0; i < EACH; i++)
        reeve__id_new(ids[i], NULL, INT64_C(0x012500000000) + i / 1000);
}

static int compare_ids(const void *a, const void *b) {
    return strcmp(a, b);
}

static void threads_never_make_the_same(void **state) {
    (void)state;
    reeve__thread threads[THREADS] = { 0 };
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(
            reeve__thread_start(&threads[i], "ids", make_ids, made[i], NULL),
            0);
    for (int i = 0; i < THREADS; i++)
        reeve__thread_join(&threads[i]);
    for (int t = 0; t < THREADS; t++) {
        for (int i = 1; i < EACH; i++)
            assert_true(strcmp(made[t][i - 1], made[t][i]) < 0);
    }
    qsort(made, (size_t)THREADS * EACH, sizeof(id_text), compare_ids);
    id_text *all = made[0];
    for (size_t i = 1; i < (size_t)THREADS * EACH; i++) {
        /* Time and counter alone, before any random bit, tell them apart. */
        assert_true(strncmp(all[i - 1], all[i], 18) < 0);
    }
}

enum {
    CHILDREN = 4,
    FORKED = 200
};

static void child_makes(reeve_env *env, int fd) {
    id_text ids[FORKED];
    for (int i = 0; i < FORKED; i++)
        reeve__id_new(ids[i], env, INT64_C(0x012600000000));
    ssize_t wrote = write(fd, ids, sizeof(ids));
    _exit(wrote == (ssize_t)sizeof(ids) ? 0 : 1);
}

/* Parent and children of it share clock, counter and a fixed seed. */
static void forked_children_never_repeat(void **state) {
    (void)state;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.random_seed = 42;
    reeve_env *env;
    assert_int_equal(reeve_env_new(&env, &options, NULL), 0);
    static id_text ids[CHILDREN + 1][FORKED];
    reeve__id_new(ids[0][0], env, INT64_C(0x012600000000));
    for (int child = 0; child < CHILDREN; child++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t pid = fork();
        if (pid == 0)
            child_makes(env, fds[1]);
        assert_true(pid > 0);
        close(fds[1]);
        char *to = ids[child][0];
        size_t left = sizeof(ids[child]);
        while (left > 0) {
            ssize_t got = read(fds[0], to, left);
            assert_true(got > 0);
            to += got;
            left -= (size_t)got;
        }
        close(fds[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < FORKED; i++)
        reeve__id_new(ids[CHILDREN][i], env, INT64_C(0x012600000000));
    reeve_env_free(env);
    qsort(ids, (size_t)(CHILDREN + 1) * FORKED, sizeof(id_text), compare_ids);
    id_text *all = ids[0];
    for (size_t i = 1; i < (size_t)(CHILDREN + 1) * FORKED; i++)
        assert_string_not_equal(all[i - 1], all[i]);
}

static void every_byte_is_safe_or_not(void **state) {
    (void)state;
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz"
                               "0123456789_-.:/@+";
    for (int c = 0; c < 256; c++) {
        char name[3] = { 'a', (char)c, 'b' };
        reeve_error err = { 0 };
        reeve_rc rc = reeve__name_check("type", (reeve_bytes){ name, 3 }, &err);
        bool is_safe = c != 0 && strchr(safe, c) != NULL;
        assert_int_equal(rc, is_safe ? REEVE_OK : REEVE_E_INVALID);
        assert_int_equal(err.code, rc);
    }
}

static void wrong_names_are_named(void **state) {
    (void)state;
    char longest[REEVE_NAME_BYTES_MAX + 73];
    memset(longest, 'x', sizeof(longest));
    char odd[50];
    memset(odd, 'y', sizeof(odd));
    odd[1] = '\x07';
    odd[2] = '\xc3';
    const struct {
        const char *what;
        reeve_bytes name;
        reeve_rc rc;
        const char *message;
    } rows[] = {
        { "queue name", { "a", 1 }, REEVE_OK, "" },
        { "queue name", { longest, 128 }, REEVE_OK, "" },
        { "queue name",
          { longest, 129 },
          REEVE_E_INVALID,
          "queue name has 129 bytes, at most 128 allowed" },
        { "queue name",
          { longest, 200 },
          REEVE_E_INVALID,
          "queue name has 200 bytes, at most 128 allowed" },
        { "type", { NULL, 0 }, REEVE_E_INVALID, "type is empty" },
        { "type", { NULL, 3 }, REEVE_E_USAGE, "type is null but has 3 bytes" },
        { "queue name",
          { "a b", 3 },
          REEVE_E_INVALID,
          "queue name 'a b' has byte 0x20 at 1, allowed are A-Z a-z 0-9 _ - . "
          ": / @ +" },
        { "id",
          { odd, 50 },
          REEVE_E_INVALID,
          "id 'y\?\?yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy...' has byte 0x07 at 1, "
          "allowed are A-Z a-z 0-9 _ - . : / @ +" },
        { "id",
          { "\xc3\xa9", 2 },
          REEVE_E_INVALID,
          "id '\?\?' has byte 0xc3 at 0, allowed are A-Z a-z 0-9 _ - . : / @ "
          "+" },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        reeve_error err = { 0 };
        assert_int_equal(reeve__name_check(rows[i].what, rows[i].name, &err),
                         rows[i].rc);
        assert_string_equal(err.message, rows[i].message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_uuid_version_7),
        cmocka_unit_test(order_survives_a_clock_that_steps_back),
        cmocka_unit_test(odd_times_are_clamped),
        cmocka_unit_test(threads_never_make_the_same),
        cmocka_unit_test(forked_children_never_repeat),
        cmocka_unit_test(every_byte_is_safe_or_not),
        cmocka_unit_test(wrong_names_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
