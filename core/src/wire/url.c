/*
 * Redis URL parser. Splits the raw text first and decodes parts afterwards, so
 * an encoded separator never separates. A value is shown in a message only when
 * it cannot be a piece of a badly written password.
 */
#include "wire/url.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

#define CLIENT_NAME_BYTES_MAX 64

typedef struct span {
    const char *at;
    size_t size;
} span;

typedef struct parser {
    reeve__url *url;
    char *next; /* free part of url->block */
    const char *const *extra_names;
    uint32_t seen; /* bit per row of the option table */
    reeve_error *err;
} parser;

enum scheme_kind {
    KIND_TCP,
    KIND_TLS,
    KIND_UNIX,
    KIND_REFUSED
};

static const struct scheme {
    const char *prefix;
    int kind;
} schemes[] = {
    { "redis://", KIND_TCP },
    { "rediss://", KIND_TLS },
    { "redis+unix://", KIND_UNIX },
    { "unix://", KIND_UNIX },
    { "redis+sentinel://", KIND_REFUSED },
    { "rediss+sentinel://", KIND_REFUSED },
    { "redis+cluster://", KIND_REFUSED },
    { "rediss+cluster://", KIND_REFUSED },
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool starts_with(const char *text, const char *prefix) {
    for (; *prefix; text++, prefix++)
        if (lower(*text) != *prefix)
            return false;
    return true;
}

static const struct scheme *scheme_of(const char *text) {
    for (size_t i = 0; text && i < sizeof schemes / sizeof schemes[0]; i++)
        if (starts_with(text, schemes[i].prefix))
            return &schemes[i];
    return NULL;
}

bool reeve__url_is_redis(const char *text) {
    return scheme_of(text) != NULL;
}

static reeve_rc bad(parser *p, const char *what) {
    return reeve__fail(p->err, REEVE_E_INVALID, "redis url: %s", what);
}

static int hex_value(char c) {
    if (is_digit(c))
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes raw into the block; part names it in messages. */
static reeve_rc decode(const char **out, parser *p, span raw,
                       const char *part) {
    char *start = p->next;
    for (size_t i = 0; i < raw.size; i++) {
        char c = raw.at[i];
        if (c == '%') {
            bool whole = raw.size - i > 2;
            int high = whole ? hex_value(raw.at[i + 1]) : -1;
            int low = whole ? hex_value(raw.at[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return reeve__fail(p->err, REEVE_E_INVALID,
                                   "redis url: %s has a '%%' that is not "
                                   "followed by two hex digits from 01 to ff",
                                   part);
            c = (char)(high * 16 + low);
            i += 2;
        }
        *p->next++ = c;
    }
    *p->next++ = '\0';
    *out = start;
    return 0;
}

static span span_of(const char *at, const char *end) {
    return (span){ at, (size_t)(end - at) };
}

static const char *find(span in, char c) {
    return in.size ? memchr(in.at, c, in.size) : NULL;
}

static const char *find_last(span in, char c) {
    for (size_t i = in.size; i > 0; i--)
        if (in.at[i - 1] == c)
            return in.at + i - 1;
    return NULL;
}

/* Decimal without sign. */
static bool parse_number(int64_t *out, span raw, int64_t max) {
    int64_t value = 0;
    if (raw.size == 0 || raw.size > 10)
        return false;
    for (size_t i = 0; i < raw.size; i++) {
        if (!is_digit(raw.at[i]))
            return false;
        value = value * 10 + (raw.at[i] - '0');
    }
    *out = value;
    return value <= max;
}

static bool all_digits(span raw) {
    for (size_t i = 0; i < raw.size; i++)
        if (!is_digit(raw.at[i]))
            return false;
    return raw.size > 0;
}

static int shown(span raw) {
    return raw.size > 60 ? 60 : (int)raw.size;
}

/* ---- options ------------------------------------------------------------- */

typedef reeve_rc (*set_fn)(parser *p, span raw, const char *value);

static reeve_rc set_db(parser *p, span raw, const char *value) {
    int64_t db = 0;
    (void)value;
    if (!parse_number(&db, raw, REEVE__URL_DB_MAX))
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: db '%.*s' is not a number from 0 to %d",
                           shown(raw), raw.at, REEVE__URL_DB_MAX);
    p->url->db = (int32_t)db;
    return 0;
}

static reeve_rc set_client_name(parser *p, span raw, const char *value) {
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
                               shown(raw), raw.at);
    p->url->client_name = value;
    return 0;
}

static reeve_rc set_connect_timeout(parser *p, span raw, const char *value) {
    int64_t span_ms = 0;
    (void)value;
    if (!parse_number(&span_ms, raw, REEVE__URL_CONNECT_TIMEOUT_MS_MAX) ||
        span_ms == 0)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: connect_timeout_ms '%.*s' is not a "
                           "number from 1 to %d",
                           shown(raw), raw.at,
                           REEVE__URL_CONNECT_TIMEOUT_MS_MAX);
    p->url->connect_timeout_ms = span_ms;
    return 0;
}

static reeve_rc set_text(const char **out, parser *p, const char *name,
                         const char *value) {
    if (!p->url->tls)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: option %s needs rediss://", name);
    if (!*value)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: option %s is empty", name);
    *out = value;
    return 0;
}

static reeve_rc set_tls_ca(parser *p, span raw, const char *value) {
    (void)raw;
    return set_text(&p->url->tls_ca, p, "tls_ca", value);
}

static reeve_rc set_tls_cert(parser *p, span raw, const char *value) {
    (void)raw;
    return set_text(&p->url->tls_cert, p, "tls_cert", value);
}

static reeve_rc set_tls_key(parser *p, span raw, const char *value) {
    (void)raw;
    return set_text(&p->url->tls_key, p, "tls_key", value);
}

static reeve_rc set_tls_server_name(parser *p, span raw, const char *value) {
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

static reeve_rc set_tls_verify(parser *p, span raw, const char *value) {
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
    { "db", set_db }, /* index 0 is also what a path's db marks */
    { "client_name", set_client_name },
    { "connect_timeout_ms", set_connect_timeout },
    { "tls_ca", set_tls_ca },
    { "tls_cert", set_tls_cert },
    { "tls_key", set_tls_key },
    { "tls_server_name", set_tls_server_name },
    { "tls_verify", set_tls_verify },
};

static bool span_is(span raw, const char *text) {
    return raw.size == strlen(text) && memcmp(raw.at, text, raw.size) == 0;
}

static reeve_rc twice(parser *p, const char *name) {
    return reeve__fail(p->err, REEVE_E_INVALID, "redis url: %s is given twice",
                       name);
}

static reeve_rc add_extra(parser *p, const char *name, const char *value) {
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

static reeve_rc set_option(parser *p, span name, span raw) {
    const char *value = NULL;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (!span_is(name, options[i].name))
            continue;
        if (p->seen & (1u << i))
            return twice(p, options[i].name);
        p->seen |= 1u << i;
        reeve_rc rc = decode(&value, p, raw, options[i].name);
        return rc ? rc : options[i].set(p, raw, value);
    }
    for (const char *const *known = p->extra_names; known && *known; known++) {
        if (!span_is(name, *known))
            continue;
        const char *own = NULL;
        reeve_rc rc = decode(&own, p, name, "option");
        rc = rc ? rc : decode(&value, p, raw, *known);
        return rc ? rc : add_extra(p, own, value);
    }
    return reeve__fail(p->err, REEVE_E_INVALID,
                       "redis url: unknown option '%.*s'", shown(name),
                       name.at);
}

static reeve_rc parse_query(parser *p, span query) {
    const char *at = query.at;
    const char *end = query.at + query.size;
    while (at < end) {
        const char *stop = find(span_of(at, end), '&');
        span item = span_of(at, stop ? stop : end);
        at = stop ? stop + 1 : end;
        if (item.size == 0)
            continue;
        const char *equals = find(item, '=');
        if (!equals)
            return reeve__fail(p->err, REEVE_E_INVALID,
                               "redis url: option '%.*s' has no value",
                               shown(item), item.at);
        reeve_rc rc = set_option(p, span_of(item.at, equals),
                                 span_of(equals + 1, item.at + item.size));
        if (rc)
            return rc;
    }
    if (!p->url->tls_cert != !p->url->tls_key)
        return bad(p, "tls_cert and tls_key go together");
    return 0;
}

/* ---- authority ----------------------------------------------------------- */

static reeve_rc parse_userinfo(parser *p, span info) {
    const char *colon = find(info, ':');
    const char *end = info.at + info.size;
    span user = span_of(info.at, colon ? colon : end);
    reeve_rc rc = 0;
    if (user.size)
        rc = decode(&p->url->user, p, user, "user");
    if (!rc && colon && (user.size || colon + 1 < end))
        rc = decode(&p->url->password, p, span_of(colon + 1, end), "password");
    return rc;
}

static reeve_rc parse_port(parser *p, span raw) {
    int64_t port = 0;
    if (parse_number(&port, raw, 65535) && port > 0) {
        p->url->port = (int32_t)port;
        return 0;
    }
    if (!all_digits(raw)) /* might be a password without its "@host" */
        return bad(p, "the port is not a number from 1 to 65535");
    return reeve__fail(p->err, REEVE_E_INVALID,
                       "redis url: port %.*s is not from 1 to 65535",
                       shown(raw), raw.at);
}

static bool is_host_char(char c, bool v6) {
    if (is_digit(c) || c == '.')
        return true;
    if (v6 && (c == ':' || c == '%'))
        return true;
    c = lower(c);
    return (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

static reeve_rc set_host(parser *p, span raw, bool v6) {
    reeve_rc rc = decode(&p->url->host, p, raw, "host");
    if (rc)
        return rc;
    const char *host = p->url->host;
    size_t size = strlen(host);
    if (size == 0)
        return bad(p, "no host");
    if (size > REEVE__URL_HOST_BYTES_MAX)
        return reeve__fail(p->err, REEVE_E_INVALID,
                           "redis url: host has %zu bytes, at most %d", size,
                           REEVE__URL_HOST_BYTES_MAX);
    for (size_t i = 0; i < size; i++)
        if (!is_host_char(host[i], v6))
            return bad(p, "the host has a character that no host name has");
    if (v6 && !strchr(host, ':'))
        return bad(p, "the host in brackets is not an ipv6 address");
    return 0;
}

static reeve_rc parse_host_port(parser *p, span raw) {
    const char *end = raw.at + raw.size;
    const char *port_at = NULL;
    reeve_rc rc;
    if (raw.size && raw.at[0] == '[') {
        const char *close = find(raw, ']');
        if (!close)
            return bad(p, "the host has '[' without ']'");
        if (close + 1 < end && close[1] != ':')
            return bad(p, "only a port may follow ']'");
        port_at = close + 1 < end ? close + 2 : NULL;
        rc = set_host(p, span_of(raw.at + 1, close), true);
    } else {
        const char *colon = find(raw, ':');
        if (colon && colon != find_last(raw, ':'))
            return bad(p, "an ipv6 address needs brackets");
        port_at = colon ? colon + 1 : NULL;
        rc = set_host(p, span_of(raw.at, colon ? colon : end), false);
    }
    if (!rc && port_at)
        rc = parse_port(p, span_of(port_at, end));
    return rc;
}

static reeve_rc parse_tcp(parser *p, span host, span path) {
    if (find(path, '@'))
        return bad(p, "'@' after the host: write / ? # and @ of a user or "
                      "password as %2F %3F %23 %40");
    reeve_rc rc = parse_host_port(p, host);
    if (rc)
        return rc;
    if (path.size > 1) {
        p->seen |= 1u; /* a db option would be the second */
        rc = set_db(p, span_of(path.at + 1, path.at + path.size), NULL);
    }
    return rc;
}

static reeve_rc parse_unix(parser *p, span host, span path) {
    if (host.size)
        return bad(p, "a unix socket url has no host: three slashes, as in "
                      "redis+unix:///run/redis.sock");
    if (path.size < 2)
        return bad(p, "no socket path");
    reeve_rc rc = decode(&p->url->path, p, path, "socket path");
    if (!rc && strlen(p->url->path) > REEVE__URL_PATH_BYTES_MAX)
        rc = reeve__fail(p->err, REEVE_E_INVALID,
                         "redis url: socket path has %zu bytes, at most %d",
                         strlen(p->url->path), REEVE__URL_PATH_BYTES_MAX);
    return rc;
}

static void set_label(parser *p) {
    reeve__url *url = p->url;
    if (url->path) {
        url->label = url->path;
        return;
    }
    bool v6 = strchr(url->host, ':') != NULL;
    size_t room = (size_t)(url->block + url->block_size - p->next);
    int size = snprintf(p->next, room, v6 ? "[%s]:%d" : "%s:%d", url->host,
                        (int)url->port);
    url->label = p->next;
    p->next += size + 1;
}

static reeve_rc parse_rest(parser *p, int kind, const char *rest) {
    span all = span_of(rest, rest + strlen(rest));
    const char *end = all.at + all.size;
    const char *question = find(all, '?');
    const char *path_end = question ? question : end;
    const char *slash = find(span_of(rest, path_end), '/');
    const char *path = slash ? slash : path_end;
    span query = span_of(question ? question + 1 : end, end);
    const char *at = find_last(span_of(rest, path), '@');
    reeve_rc rc = 0;

    if (find(all, '#'))
        return bad(p, "'#' is written %23");
    if (find(query, '@'))
        return bad(p, "'@' after '?': write it as %40, and '?' in a user or "
                      "password as %3F");
    if (at)
        rc = parse_userinfo(p, span_of(rest, at));
    span host = span_of(at ? at + 1 : rest, path);
    if (!rc)
        rc = kind == KIND_UNIX ? parse_unix(p, host, span_of(path, path_end))
                               : parse_tcp(p, host, span_of(path, path_end));
    if (!rc)
        rc = parse_query(p, query);
    if (!rc)
        set_label(p);
    return rc;
}

static reeve_rc check_text(const char *text, reeve_error *err) {
    size_t size = text ? strlen(text) : 0;
    if (size > REEVE__URL_BYTES_MAX)
        return reeve__fail(err, REEVE_E_TOO_BIG,
                           "redis url: %zu bytes, at most %d", size,
                           REEVE__URL_BYTES_MAX);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return reeve__fail(err, REEVE_E_INVALID,
                               "redis url: space or control character at byte "
                               "%zu",
                               i);
    return 0;
}

reeve_rc reeve__url_parse(reeve__url *out, reeve_env *env, const char *text,
                          const char *const *extra_names, reeve_error *err) {
    *out = (reeve__url){
        .env = env,
        .tls_verify = true,
        .port = REEVE__URL_PORT_DEFAULT,
        .connect_timeout_ms = REEVE__URL_CONNECT_TIMEOUT_MS_DEFAULT,
    };
    reeve_rc rc = check_text(text, err);
    if (rc)
        return rc;
    const struct scheme *scheme = scheme_of(text);
    if (!scheme)
        return reeve__fail(err, REEVE_E_INVALID,
                           "redis url: the scheme is not redis, rediss, "
                           "redis+unix or unix");
    if (scheme->kind == KIND_REFUSED)
        return reeve__fail(err, REEVE_E_UNSUPPORTED,
                           "redis url: %s is not in this version",
                           scheme->prefix);
    /* Each byte lands at most twice (host and label); 64 for the rest. */
    out->block_size = 2 * strlen(text) + 64;
    out->block = reeve__calloc(env, 1, out->block_size);
    if (!out->block)
        return reeve__fail_nomem(err);
    out->tls = scheme->kind == KIND_TLS;
    parser p = {
        .url = out,
        .next = out->block,
        .extra_names = extra_names,
        .err = err,
    };
    return parse_rest(&p, scheme->kind, text + strlen(scheme->prefix));
}

void reeve__url_dispose(reeve__url *url) {
    /* volatile: the wipe must survive the optimiser */
    volatile char *wipe = url->block;
    for (size_t i = 0; wipe && i < url->block_size; i++)
        wipe[i] = 0;
    reeve__free(url->env, url->block);
    *url = (reeve__url){ 0 };
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
