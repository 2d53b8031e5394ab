/*
 * Redis connection URLs, parsed into one owned block of NUL-terminated strings.
 *
 *   redis://[user[:password]@]host[:port][/db][?options]
 *   rediss://…                                    the same over TLS
 *   redis+unix://[user:password@]/path.sock[?db=N]   alias unix://
 *
 * redis+sentinel:// and redis+cluster:// are recognised and refused by name.
 * Called by the Redis broker and by wire. Does no I/O. No message ever shows a
 * password.
 */
#ifndef REEVE_SRC_WIRE_URL_H
#define REEVE_SRC_WIRE_URL_H

#include "base/env.h"

#define REEVE__URL_BYTES_MAX 4096
#define REEVE__URL_HOST_BYTES_MAX 255
#define REEVE__URL_PATH_BYTES_MAX 107 /* sun_path less its NUL */
#define REEVE__URL_DB_MAX 65535
#define REEVE__URL_EXTRA_COUNT_MAX 16
#define REEVE__URL_PORT_DEFAULT 6379
#define REEVE__URL_CONNECT_TIMEOUT_MS_DEFAULT 5000
#define REEVE__URL_CONNECT_TIMEOUT_MS_MAX 600000

typedef struct reeve__url_extra {
    const char *name;
    const char *value;
} reeve__url_extra;

/* Every string lives in block; NULL = not given. */
typedef struct reeve__url {
    reeve_env *env; /* borrowed */
    char *block;
    size_t block_size;
    bool tls;
    bool tls_verify;  /* default true */
    const char *host; /* NULL with a unix socket; no brackets */
    int32_t port;
    const char *path; /* unix socket, NULL with TCP */
    const char *user;
    const char *password;
    int32_t db;
    const char *client_name;
    int64_t connect_timeout_ms; /* never 0 */
    const char *tls_ca;         /* file or directory */
    const char *tls_cert;       /* file, PEM; goes with tls_key */
    const char *tls_key;
    const char *tls_server_name; /* SNI and verified name; NULL = host */
    const char *label;           /* "h:6379", "[::1]:6379", "/path" */
    size_t extra_count;
    reeve__url_extra extras[REEVE__URL_EXTRA_COUNT_MAX];
} reeve__url;

/* Has one of the schemes above, the refused ones included. text may be NULL. */
bool reeve__url_is_redis(const char *text);

/*
 * Parses text into out (new; dispose even after an error). extra_names is a
 * NULL-terminated list of further options that the caller knows, or NULL; any
 * other option is an error. Errors: INVALID, TOO_BIG, UNSUPPORTED, NOMEM.
 */
reeve_rc reeve__url_parse(reeve__url *out, reeve_env *env, const char *text,
                          const char *const *extra_names, reeve_error *err);

/* Wipes and frees; a zeroed url is fine. */
void reeve__url_dispose(reeve__url *url);

/* Value of an extra option, NULL when absent. Borrows from url. */
const char *reeve__url_extra_get(const reeve__url *url, const char *name);

/* An extra that is yes or no (default fallback). Errors: INVALID. */
reeve_rc reeve__url_extra_bool(bool *out, const reeve__url *url,
                               const char *name, bool fallback,
                               reeve_error *err);

#endif
