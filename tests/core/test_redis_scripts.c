/*
 * Rules for the scripts, checked in their sources: a header that names keys,
 * arguments, reply and moves; every key comes from KEYS, so that a cluster can
 * see what a script touches; no command that cannot run in one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 65536

static char text[TEXT_MAX];

static void read_script(const char *folder, const char *name) {
    char path[1024];
    snprintf(path, sizeof(path), "%s/../core/scripts/%s/%s",
             getenv("REEVE_TESTS_DIR") ? getenv("REEVE_TESTS_DIR") : "tests",
             folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    text[size] = '\0';
    fclose(file);
}

/* Names that a line may bind to a key: "local a, b = KEYS[1], KEYS[2]", or a
 * parameter that callers fill with one. */
static bool is_key_name(const char *word, size_t size) {
    static const char *const names[] = {
        "key",    "bell",   "scheduled", "retry", "tasks", "pending",
        "ranked", "active", "leases",    "meta",  "once",  "zset",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i]) == size && memcmp(names[i], word, size) == 0) {
            return true;
        }
    }
    return false;
}

/* The first argument after the command's name must be a key we were given. */
static bool key_is_declared(const char *argument) {
    size_t size = 0;
    while (isalnum((unsigned char)argument[size]) || argument[size] == '_') {
        size++;
    }
    char after = argument[size];
    if (size == 4 && memcmp(argument, "KEYS", 4) == 0 && after == '[') {
        const char *end = strchr(argument, ']');
        return end && (end[1] == ',' || end[1] == ')');
    }
    if (size == 1 && argument[0] == 'k' && after == '.') {
        return true;
    }
    if (size == 8 && memcmp(argument, "from_key", 8) == 0) {
        return after == '[';
    }
    return is_key_name(argument, size) && (after == ',' || after == ')');
}

/* The command of the next redis.call or redis.pcall, also by the names that
 * scripts have for them. */
static const char *next_command(const char *at) {
    const char *called = strstr(at, "call('"), *tried = strstr(at, "try('");
    const char *first = !called || (tried && tried < called) ? tried : called;
    return first ? strchr(first, '\'') + 1 : NULL;
}

static size_t check_calls(const char *name) {
    size_t calls = 0;
    for (const char *at = text; (at = next_command(at));) {
        const char *command = at;
        const char *end = strchr(command, '\'');
        assert_non_null(end);
        calls++;
        if (strncmp(command, "TIME'", 5) == 0) {
            continue;
        }
        const char *argument = end + 1;
        while (*argument == ',' || isspace((unsigned char)*argument)) {
            argument++;
        }
        if (!key_is_declared(argument)) {
            fail_msg("%s: key of %.40s is not declared", name, at);
        }
    }
    return calls;
}

static void check_header(const char *name) {
    static const char *const parts[] = { "-- KEYS", "-- Returns", "-- Moves" };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (!strstr(text, parts[i])) {
            fail_msg("%s: header lacks \"%s\"", name, parts[i]);
        }
    }
    if (strstr(text, "ARGV[") && !strstr(text, "-- ARGV")) {
        fail_msg("%s: header lacks \"-- ARGV\"", name);
    }
}

static size_t check_folder(const char *folder, bool headers) {
    char path[1024];
    size_t calls = 0;
    snprintf(path, sizeof(path), "%s/../core/scripts/%s",
             getenv("REEVE_TESTS_DIR") ? getenv("REEVE_TESTS_DIR") : "tests",
             folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".lua") != 0) {
            continue;
        }
        read_script(folder, entry->d_name);
        calls += check_calls(entry->d_name);
        if (headers) {
            check_header(entry->d_name);
        }
    }
    closedir(dir);
    return calls;
}

static void every_key_is_declared(void **state) {
    (void)state;
    assert_true(check_folder(".", true) > 60);
    assert_true(check_folder("lib", false) > 10);
}

static void the_check_can_fail(void **state) {
    (void)state;
    assert_true(key_is_declared("KEYS[1], x)"));
    assert_true(key_is_declared("k.tasks, id)"));
    assert_false(key_is_declared("KEYS[1] .. ':x', id)"));
    assert_false(key_is_declared("'reeve:tasks', id)"));
    assert_false(key_is_declared("ARGV[1])"));
    assert_false(key_is_declared("prefix .. id)"));
    assert_false(key_is_declared("tasks .. id)"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_declared),
        cmocka_unit_test(the_check_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
