/*
 * Redis URLs: what is understood, what is refused and in which words, and that
 * no message ever shows a password.
 */
#include "wire/url.h"

#include "support/failing_alloc.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const char *const extra_names[] = { "allow_eviction", "note", NULL };

static void assert_text(const char *got, const char *want) {
    if (!want) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    assert_string_equal(got, want);
}

typedef struct good_url {
    const char *text;
    const char *user;
    const char *password;
    const char *host;
    int port;
    const char *path;
    int db;
    const char *label;
    bool tls;
} good_url;

static const good_url good_urls[] = {
    { "redis://localhost", NULL, NULL, "localhost", 6379, NULL, 0,
      "localhost:6379", false },
    { "redis://h/", NULL, NULL, "h", 6379, NULL, 0, "h:6379", false },
    { "REDIS://10.0.0.1:7000/3", NULL, NULL, "10.0.0.1", 7000, NULL, 3,
      "10.0.0.1:7000", false },
    { "redis://h?db=65535", NULL, NULL, "h", 6379, NULL, 65535, "h:6379",
      false },
    { "redis://:pw@h:1", NULL, "pw", "h", 1, NULL, 0, "h:1", false },
    { "redis://me@h:65535", "me", NULL, "h", 65535, NULL, 0, "h:65535", false },
    { "redis://me:@h", "me", "", "h", 6379, NULL, 0, "h:6379", false },
    { "redis://a%3ab:p%40%2F%3f%25@h", "a:b", "p@/?%", "h", 6379, NULL, 0,
      "h:6379", false },
    { "redis://u:p@q:r@h", "u", "p@q:r", "h", 6379, NULL, 0, "h:6379", false },
    { "redis://@h", NULL, NULL, "h", 6379, NULL, 0, "h:6379", false },
    { "redis://:@h", NULL, NULL, "h", 6379, NULL, 0, "h:6379", false },
    { "rediss://[::1]:6390/1", NULL, NULL, "::1", 6390, NULL, 1, "[::1]:6390",
      true },
    { "redis://[fe80::1%25eth0]", NULL, NULL, "fe80::1%eth0", 6379, NULL, 0,
      "[fe80::1%eth0]:6379", false },
    { "redis+unix:///run/r.sock?db=2", NULL, NULL, NULL, 6379, "/run/r.sock", 2,
      "/run/r.sock", false },
    { "unix://u:p@/tmp/a%20b@c", "u", "p", NULL, 6379, "/tmp/a b@c", 0,
      "/tmp/a b@c", false },
};

static void understands(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof good_urls / sizeof good_urls[0]; i++) {
        const good_url *want = &good_urls[i];
        reeve__url url;
        reeve_error err;
        if (reeve__url_parse(&url, NULL, want->text, NULL, &err))
            fail_msg("%s: %s", want->text, err.message);
        assert_true(reeve__url_is_redis(want->text));
        assert_text(url.user, want->user);
        assert_text(url.password, want->password);
        assert_text(url.host, want->host);
        assert_text(url.path, want->path);
        assert_text(url.label, want->label);
        assert_int_equal(url.port, want->port);
        assert_int_equal(url.db, want->db);
        assert_int_equal(url.tls, want->tls);
        assert_true(url.tls_verify);
        assert_int_equal(url.connect_timeout_ms, 5000);
        reeve__url_dispose(&url);
        assert_null(url.block);
    }
}

static void reads_options(void **state) {
    (void)state;
    reeve__url url;
    assert_int_equal(
        reeve__url_parse(&url, NULL,
                         "rediss://h?client_name=w%2d1&connect_timeout_ms=250"
                         "&&tls_ca=/ca%20s&tls_cert=c&tls_key=k"
                         "&tls_server_name=r.example&tls_verify=no"
                         "&allow_eviction=yes&note=a%26b",
                         extra_names, NULL),
        0);
    assert_string_equal(url.client_name, "w-1");
    assert_int_equal(url.connect_timeout_ms, 250);
    assert_string_equal(url.tls_ca, "/ca s");
    assert_string_equal(url.tls_cert, "c");
    assert_string_equal(url.tls_key, "k");
    assert_string_equal(url.tls_server_name, "r.example");
    assert_false(url.tls_verify);
    assert_string_equal(reeve__url_extra_get(&url, "note"), "a&b");
    assert_null(reeve__url_extra_get(&url, "other"));
    bool flag = false;
    assert_int_equal(
        reeve__url_extra_bool(&flag, &url, "allow_eviction", false, NULL), 0);
    assert_true(flag);
    assert_int_equal(reeve__url_extra_bool(&flag, &url, "absent", true, NULL),
                     0);
    assert_true(flag);
    reeve_error err;
    assert_int_equal(reeve__url_extra_bool(&flag, &url, "note", true, &err),
                     REEVE_E_INVALID);
    assert_string_equal(err.message,
                        "redis url: option note is 'a&b', not yes or no");
    reeve__url_dispose(&url);
}

typedef struct bad_url {
    const char *text;
    int32_t code;
    const char *says;
} bad_url;

static const bad_url bad_urls[] = {
    { "http://h", REEVE_E_INVALID, "the scheme is not redis, rediss" },
    { "", REEVE_E_INVALID, "the scheme" },
    { NULL, REEVE_E_INVALID, "the scheme" },
    { "redis+sentinel://h/m", REEVE_E_UNSUPPORTED,
      "redis+sentinel:// is not in this version" },
    { "Redis+Cluster://h", REEVE_E_UNSUPPORTED,
      "redis+cluster:// is not in this version" },
    { "redis://", REEVE_E_INVALID, "no host" },
    { "redis://:6379", REEVE_E_INVALID, "no host" },
    { "redis://h:0", REEVE_E_INVALID, "port 0 is not from 1 to 65535" },
    { "redis://h:65536", REEVE_E_INVALID, "port 65536 is not from 1 to 65535" },
    { "redis://h:99999999999999999999", REEVE_E_INVALID, "is not from 1" },
    { "redis://h:", REEVE_E_INVALID, "the port is not a number" },
    { "redis://::1", REEVE_E_INVALID, "an ipv6 address needs brackets" },
    { "redis://[::1", REEVE_E_INVALID, "'[' without ']'" },
    { "redis://[::1]x", REEVE_E_INVALID, "only a port may follow ']'" },
    { "redis://[h]", REEVE_E_INVALID, "not an ipv6 address" },
    { "redis://h/x", REEVE_E_INVALID,
      "db 'x' is not a number from 0 to 65535" },
    { "redis://h/65536", REEVE_E_INVALID, "db '65536' is not a number" },
    { "redis://h/1/2", REEVE_E_INVALID, "db '1/2'" },
    { "redis://h/1?db=1", REEVE_E_INVALID, "db is given twice" },
    { "redis://h?db=1&db=1", REEVE_E_INVALID, "db is given twice" },
    { "redis://h?note=1&note=1", REEVE_E_INVALID, "note is given twice" },
    { "redis://h?color=red", REEVE_E_INVALID, "unknown option 'color'" },
    { "redis://h?db", REEVE_E_INVALID, "option 'db' has no value" },
    { "redis://h?tls_ca=/x", REEVE_E_INVALID, "tls_ca needs rediss://" },
    { "rediss://h?tls_cert=/x", REEVE_E_INVALID, "go together" },
    { "rediss://h?tls_verify=maybe", REEVE_E_INVALID,
      "option tls_verify is 'maybe', not yes or no" },
    { "redis://h?connect_timeout_ms=0", REEVE_E_INVALID,
      "connect_timeout_ms '0' is not a number from 1 to 600000" },
    { "redis://h?connect_timeout_ms=-1", REEVE_E_INVALID, "'-1' is not" },
    { "redis://h?client_name=a%20b", REEVE_E_INVALID,
      "'a%20b' is not printable" },
    { "redis://h?client_name=", REEVE_E_INVALID, "0 bytes, not 1 to 64" },
    { "redis://h%zz", REEVE_E_INVALID, "host has a '%'" },
    { "redis://h%0", REEVE_E_INVALID, "host has a '%'" },
    { "redis://:a%00b@h", REEVE_E_INVALID, "password has a '%'" },
    { "redis://h h", REEVE_E_INVALID, "control character at byte 9" },
    { "redis://h\n", REEVE_E_INVALID, "control character at byte 9" },
    { "redis://h\xc3\xa9", REEVE_E_INVALID, "no host name has" },
    { "redis://h#1", REEVE_E_INVALID, "'#' is written %23" },
    { "redis+unix://", REEVE_E_INVALID, "no socket path" },
    { "redis+unix:///", REEVE_E_INVALID, "no socket path" },
    { "unix://run/r.sock", REEVE_E_INVALID, "has no host" },
};

static void refuses(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_urls / sizeof bad_urls[0]; i++) {
        const bad_url *want = &bad_urls[i];
        reeve__url url;
        reeve_error err;
        reeve_rc rc =
            reeve__url_parse(&url, NULL, want->text, extra_names, &err);
        if (rc != want->code || !strstr(err.message, want->says))
            fail_msg("%s: %d %s", want->text ? want->text : "NULL", (int)rc,
                     err.message);
        reeve__url_dispose(&url);
    }
}

/* Every way of getting the separators wrong around a password. */
static void never_shows_a_password(void **state) {
    static const char *const texts[] = {
        "redis://:s3cret@",
        "redis://:s3cret",
        "redis://u:s3cret",
        "redis://u:x/s3cret@h",
        "redis://u:x?s3cret@h",
        "redis://u:x#s3cret@h",
        "redis://u:x@h:0?s3cret@h",
        "redis://u:s3cret%zz@h",
        "redis://u:s3cret@h:99999",
        "redis://u:s3cret@h?bad=1",
        "redis://u:s3cret@h/x",
        "redis://u:a@s3cret/b@h",
        "redis+unix://u:s3cret@",
        "redis+unix://u:s3cret@x/y",
        "redis+cluster://:s3cret@h",
        "redis://u:s3cret@h h",
        "redis://u:1/s3cret@h",
        "redis://u:1?s3cret@h",
        "redis://u:1?db=s3cret@h",
        "redis://u:a@b:s3cret/@h",
        "rediss://u:s3cret@h?tls_key=x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        reeve__url url;
        reeve_error err;
        assert_int_not_equal(reeve__url_parse(&url, NULL, texts[i], NULL, &err),
                             0);
        if (strstr(err.message, "s3cret"))
            fail_msg("%s: %s", texts[i], err.message);
        reeve__url_dispose(&url);
    }
}

static void holds_its_bounds(void **state) {
    (void)state;
    char text[REEVE__URL_BYTES_MAX + 2];
    reeve__url url;
    reeve_error err;
    memset(text, 'a', sizeof text);
    memcpy(text, "redis://", 8);
    text[sizeof text - 1] = '\0';
    assert_int_equal(reeve__url_parse(&url, NULL, text, NULL, &err),
                     REEVE_E_TOO_BIG);
    assert_string_equal(err.message, "redis url: 4097 bytes, at most 4096");
    reeve__url_dispose(&url);
    text[8 + 256] = '\0';
    assert_int_equal(reeve__url_parse(&url, NULL, text, NULL, &err),
                     REEVE_E_INVALID);
    assert_string_equal(err.message, "redis url: host has 256 bytes, at most "
                                     "255");
    reeve__url_dispose(&url);
    text[8 + 255] = '\0';
    assert_int_equal(reeve__url_parse(&url, NULL, text, NULL, &err), 0);
    reeve__url_dispose(&url);
    memcpy(text, "unix:///", 8);
    text[7 + 108] = '\0';
    assert_int_equal(reeve__url_parse(&url, NULL, text, NULL, &err),
                     REEVE_E_INVALID);
    reeve__url_dispose(&url);
    text[7 + 107] = '\0';
    assert_int_equal(reeve__url_parse(&url, NULL, text, NULL, &err), 0);
    reeve__url_dispose(&url);
}

static void holds_the_count_of_extras(void **state) {
    (void)state;
    char names[REEVE__URL_EXTRA_COUNT_MAX + 1][16];
    const char *known[REEVE__URL_EXTRA_COUNT_MAX + 2] = { 0 };
    char text[512] = "redis://h?";
    for (int i = 0; i <= REEVE__URL_EXTRA_COUNT_MAX; i++) {
        snprintf(names[i], sizeof names[i], "x%d", i);
        known[i] = names[i];
        strcat(text, names[i]);
        strcat(text, "=1&");
    }
    reeve__url url;
    reeve_error err;
    assert_int_equal(reeve__url_parse(&url, NULL, text, known, &err),
                     REEVE_E_TOO_BIG);
    reeve__url_dispose(&url);
}

static void survives_lack_of_memory(void **state) {
    (void)state;
    failing_alloc fail;
    reeve_env *env = failing_alloc_env(&fail, NULL);
    reeve__url url;
    failing_alloc_arm(&fail, 0);
    assert_int_equal(reeve__url_parse(&url, env, "redis://h", NULL, NULL),
                     REEVE_E_NOMEM);
    failing_alloc_disarm(&fail);
    reeve__url_dispose(&url);
    assert_int_equal(failing_alloc_live(&fail), 0);
    reeve_env_free(env);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(understands),
        cmocka_unit_test(reads_options),
        cmocka_unit_test(refuses),
        cmocka_unit_test(never_shows_a_password),
        cmocka_unit_test(holds_its_bounds),
        cmocka_unit_test(holds_the_count_of_extras),
        cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
