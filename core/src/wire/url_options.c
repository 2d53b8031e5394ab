/*
 * Options of a Redis URL: one table of those wire knows, and the further ones
 * that the caller declares.
 */
#include "wire/url_parts.h"

#define CLIENT_NAME_BYTES_MAX 64

typedef reeve_rc (*set_fn)(reeve__url_parser *p, reeve__span raw,
                           const char *value);

static reeve_rc set_db(reeve__url_parser *p, reeve__span raw,
                       const char *value) {
    int64_t db = 0;
    (void)value;
    if (!reeve__url_number(&db, raw, REEVE__URL_DB_MAX))
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: db '%.*s' is not a number from 0 to %d",
                           reeve__span_shown(raw), raw.at, REEVE__URL_DB_MAX);
    p->url->db = (int32_t)db;
    return 0;
}

static reeve_rc set_client_name(reeve__url_parser *p, reeve__span raw,
                                const char *value) {
    size_t size = strlen(value);
    if (size == 0 || size > CLIENT_NAME_BYTES_MAX)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: client_name has %zu bytes, not 1 to %d",
                           size, CLIENT_NAME_BYTES_MAX);
    for (const char *c = value; *c; c++)
        if (*c < '!' || *c > '~')
            return reeve__fail(p->err, REEVE_E_INVALID,
                               "redis url: client_name '%.*s' is not printable "
                               "ascii without spaces",
                               reeve__span_shown(raw), raw.at);
    p->url->client_name = value;
    return 0;
}

static reeve_rc set_connect_timeout(reeve__url_parser *p, reeve__span raw,
                                    const char *value) {
    int64_t span_ms = 0;
    (void)value;
    if (!reeve__url_number(&span_ms, raw, REEVE__URL_CONNECT_TIMEOUT_MS_MAX) ||
        span_ms == 0)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: connect_timeout_ms '%.*s' is not a "
                           "number from 1 to %d",
                           reeve__span_shown(raw), raw.at,
                           REEVE__URL_CONNECT_TIMEOUT_MS_MAX);
    p->url->connect_timeout_ms = span_ms;
    return 0;
}

static reeve_rc set_text(const char **out, reeve__url_parser *p,
                         const char *name, const char *value) {
    if (!p->url->tls)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: option %s needs rediss://", name);
    if (!*value)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: option %s is empty", name);
    *out = value;
    return 0;
}

static reeve_rc set_tls_ca(reeve__url_parser *p, reeve__span raw,
                           const char *value) {
    (void)raw;
    return set_text(&p->url->tls_ca, p, "tls_ca", value);
}

static reeve_rc set_tls_cert(reeve__url_parser *p, reeve__span raw,
                             const char *value) {
    (void)raw;
    return set_text(&p->url->tls_cert, p, "tls_cert", value);
}

static reeve_rc set_tls_key(reeve__url_parser *p, reeve__span raw,
                            const char *value) {
    (void)raw;
    return set_text(&p->url->tls_key, p, "tls_key", value);
}

static reeve_rc set_tls_server_name(reeve__url_parser *p, reeve__span raw,
                                    const char *value) {
    (void)raw;
    if (strlen(value) > REEVE__URL_HOST_BYTES_MAX)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: tls_server_name has %zu bytes, at most "
                           "%d",
                           strlen(value), REEVE__URL_HOST_BYTES_MAX);
    return set_text(&p->url->tls_server_name, p, "tls_server_name", value);
}

static reeve_rc parse_bool(bool *out, const char *name, const char *value,
                           reeve_error *err) {
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return reeve__fail(err, REEVE_E_INVALID,
                           "redis url: option %s is '%.60s', not yes or no",
                           name, value);
    *out = yes;
    return 0;
}

static reeve_rc set_tls_verify(reeve__url_parser *p, reeve__span raw,
                               const char *value) {
    const char *ignored = NULL;
    reeve_rc rc = set_text(&ignored, p, "tls_verify", value);
    (void)raw;
    return rc ? rc
              : parse_bool(&p->url->tls_verify, "tls_verify", value, p->err);
}

static const struct option {
    const char *name;
    set_fn set;
} options[] = {
    { "db", set_db }, /* row 0: see reeve__url_path_db */
    { "client_name", set_client_name },
    { "connect_timeout_ms", set_connect_timeout },
    { "tls_ca", set_tls_ca },
    { "tls_cert", set_tls_cert },
    { "tls_key", set_tls_key },
    { "tls_server_name", set_tls_server_name },
    { "tls_verify", set_tls_verify },
};

static bool span_is(reeve__span raw, const char *text) {
    return raw.size == strlen(text) && memcmp(raw.at, text, raw.size) == 0;
}

static reeve_rc twice(reeve__url_parser *p, const char *name) {
    return reeve__fail(p->err, REEVE_E_INVALID, "redis url: %s is given twice",
                       name);
}

static reeve_rc add_extra(reeve__url_parser *p, const char *name,
                          const char *value) {
    reeve__url *url = p->url;
    if (reeve__url_extra_get(url, name))
        return twice(p, name);
    if (url->extra_count == REEVE__URL_EXTRA_COUNT_MAX)
        return reeve__fail(p->err, REEVE_E_TOO_BIG,
                           "redis url: more than %d further options",
                           REEVE__URL_EXTRA_COUNT_MAX);
    url->extras[url->extra_count++] = (reeve__url_extra){ name, value };
    return 0;
}

static reeve_rc set_option(reeve__url_parser *p, reeve__span name,
                           reeve__span raw) {
    const char *value = NULL;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (!span_is(name, options[i].name))
            continue;
        if (p->seen & (1u << i))
            return twice(p, options[i].name);
        p->seen |= 1u << i;
        reeve_rc rc = reeve__url_decode(&value, p, raw, options[i].name);
        return rc ? rc : options[i].set(p, raw, value);
    }
    for (const char *const *known = p->extra_names; known && *known; known++) {
        if (!span_is(name, *known))
            continue;
        const char *own = NULL;
        reeve_rc rc = reeve__url_decode(&own, p, name, "option");
        rc = rc ? rc : reeve__url_decode(&value, p, raw, *known);
        return rc ? rc : add_extra(p, own, value);
    }
    return reeve__fail(p->err, REEVE_E_INVALID,
                       "redis url: unknown option '%.*s'",
                       reeve__span_shown(name), name.at);
}

reeve_rc reeve__url_query(reeve__url_parser *p, reeve__span query) {
    const char *at = query.at;
    const char *end = query.at + query.size;
    while (at < end) {
        const char *stop = reeve__span_find(reeve__span_of(at, end), '&');
        reeve__span item = reeve__span_of(at, stop ? stop : end);
        at = stop ? stop + 1 : end;
        if (item.size == 0)
            continue;
        const char *equals = reeve__span_find(item, '=');
        if (!equals)
            return reeve__fail(p->err, REEVE_E_INVALID,
                               "redis url: option '%.*s' has no value",
                               reeve__span_shown(item), item.at);
        reeve_rc rc =
            set_option(p, reeve__span_of(item.at, equals),
                       reeve__span_of(equals + 1, item.at + item.size));
        if (rc)
            return rc;
    }
    if (!p->url->tls_cert != !p->url->tls_key)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: tls_cert and tls_key go together");
    return 0;
}

reeve_rc reeve__url_path_db(reeve__url_parser *p, reeve__span raw) {
    p->seen |= 1u; /* row 0 of options */
    return set_db(p, raw, NULL);
}

const char *reeve__url_extra_get(const reeve__url *url, const char *name) {
    for (size_t i = 0; i < url->extra_count; i++)
        if (strcmp(url->extras[i].name, name) == 0)
            return url->extras[i].value;
    return NULL;
}

reeve_rc reeve__url_extra_bool(bool *out, const reeve__url *url,
                               const char *name, bool fallback,
                               reeve_error *err) {
    const char *value = reeve__url_extra_get(url, name);
    *out = fallback;
    return value ? parse_bool(out, name, value, err) : 0;
}
