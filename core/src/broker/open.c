/*
 * Choosing a broker by URL scheme, and the default one: an SQLite file in the
 * user's state directory. The library reads no environment variables: the home
 * directory comes from the user database.
 */
#include <reeve/client.h>
#include <reeve/sys/protocol.h>

#include "base/buf.h"
#include "broker/broker.h"
#include "wire/url.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KNOWN_SCHEMES                                                          \
    "redis://, rediss://, redis+unix://, sqlite:///path, mem://name"
#define PASSWD_BYTES_MAX ((size_t)1024 * 1024)

/* Appends the user's home directory. */
static reeve_rc add_home(reeve__buf *out, reeve_env *env, reeve_error *err) {
    struct passwd entry, *found = NULL;
    reeve__buf text;
    reeve__buf_init(&text, env);
    int code = ERANGE;
    for (size_t size = 1024; code == ERANGE && size <= PASSWD_BYTES_MAX;
         size *= 2) {
        char *memory = reeve__buf_reserve(&text, size);
        if (!memory) {
            break;
        }
        code = getpwuid_r(getuid(), &entry, memory, size, &found);
    }
    reeve_rc rc = REEVE_OK;
    if (text.failed) {
        rc = reeve__fail_nomem(err);
    } else if (!found || !found->pw_dir || found->pw_dir[0] != '/') {
        rc = reeve__fail(err, REEVE_E_SYSTEM,
                         "user %ld has no home directory; name a broker url",
                         (long)getuid());
    } else {
        reeve__buf_add_text(out, found->pw_dir);
    }
    reeve__buf_dispose(&text);
    return rc;
}

/* Appends a directory to the path and makes it, for the user alone. */
static reeve_rc add_directory(reeve__buf *path, const char *name,
                              reeve_error *err) {
    reeve__buf_add_text(path, name);
    reeve__buf_add_char(path, '\0');
    if (path->failed) {
        return reeve__fail_nomem(err);
    }
    path->size--;
    if (mkdir(path->data, 0700) < 0 && errno != EEXIST) {
        return reeve__fail(err, REEVE_E_SYSTEM, "cannot make directory %s: %s",
                           path->data, strerror(errno));
    }
    return REEVE_OK;
}

/* Appends sqlite://HOME/.local/state/reeve/reeve.db, directories made. */
static reeve_rc default_url(reeve__buf *out, reeve_env *env, reeve_error *err) {
    static const char *const parts[] = { "/.local", "/state", "/reeve" };
    reeve__buf path;
    reeve__buf_init(&path, env);
    reeve_rc rc = add_home(&path, env, err);
    for (size_t i = 0; i < 3 && rc == REEVE_OK; i++) {
        rc = add_directory(&path, parts[i], err);
    }
    if (rc == REEVE_OK) {
        reeve__buf_add_text(out, "sqlite://");
        for (size_t i = 0; i < path.size; i++) {
            if (path.data[i] == '%' || path.data[i] == '?' ||
                path.data[i] == '#') {
                reeve__buf_printf(out, "%%%02X", (unsigned)path.data[i]);
            } else {
                reeve__buf_add_char(out, path.data[i]);
            }
        }
        reeve__buf_add_text(out, "/reeve.db");
        reeve__buf_add_char(out, '\0');
        rc = out->failed ? reeve__fail_nomem(err) : REEVE_OK;
    }
    reeve__buf_dispose(&path);
    return rc;
}

static bool starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static reeve_rc refuse_scheme(const char *url, reeve_error *err) {
    /* Only the scheme is shown: the rest may hold a password. */
    int shown = (int)strspn(url, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
    if (shown > 0 && shown <= 32 && strncmp(url + shown, "://", 3) == 0) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "unknown broker scheme %.*s://, known are %s", shown,
                           url, KNOWN_SCHEMES);
    }
    return reeve__fail(err, REEVE_E_INVALID,
                       "broker url has no scheme, known are %s", KNOWN_SCHEMES);
}

static reeve_rc open_url(reeve__broker **out, reeve_env *env,
                         const reeve__broker_options *options,
                         reeve_error *err) {
    const char *url = options->url;
    if (reeve__url_is_redis(url)) {
        return reeve__redis_open(out, env, options, err);
    }
    if (starts_with(url, "sqlite:")) {
        return reeve__sqlite_open(out, env, options, err);
    }
    if (starts_with(url, "mem://")) {
        return reeve__mem_open(out, env, options, err);
    }
    return refuse_scheme(url, err);
}

static reeve_rc check_redis_url(reeve_env *env, const char *url,
                                reeve_error *err) {
    reeve_redis_url *parts = NULL;
    reeve_rc rc = reeve_redis_url_parse(&parts, env, url, err);
    reeve_redis_url_free(parts);
    return rc;
}

reeve_rc reeve_url_check(reeve_env *env, const char *url, reeve_error *err) {
    reeve__error_clear(err);
    if (!url) {
        return REEVE_OK;
    }
    if (reeve__url_is_redis(url)) {
        return check_redis_url(env, url, err);
    }
    if (starts_with(url, "sqlite:")) {
        return reeve__sqlite_url_check(env, url, err);
    }
    if (starts_with(url, "mem://")) {
        return reeve__mem_url_check(url, err);
    }
    return refuse_scheme(url, err);
}

reeve_rc reeve__broker_open(reeve__broker **out, reeve_env *env,
                            const reeve__broker_options *options,
                            reeve_error *err) {
    *out = NULL;
    if (options->url) {
        return open_url(out, env, options, err);
    }
    reeve__buf url;
    reeve__buf_init(&url, env);
    reeve_rc rc = default_url(&url, env, err);
    if (rc == REEVE_OK) {
        reeve__broker_options with_url = *options;
        with_url.url = url.data;
        rc = open_url(out, env, &with_url, err);
    }
    reeve__buf_dispose(&url);
    return rc;
}

void reeve__broker_close(reeve__broker *broker) {
    if (broker) {
        broker->ops->close(broker);
    }
}
