/*
 * Redis URL parser. Splits the raw text first and decodes parts afterwards, so
 * an encoded separator never separates. A value is shown in a message only when
 * it cannot be a piece of a badly written password.
 */
#include "wire/url.h"

#include <stdio.h>
#include <string.h>

#include "wire/url_parts.h"

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

static reeve_rc bad(reeve__url_parser *p, const char *what) {
    return reeve__fail(p->err, REEVE_E_INVALID, "redis url: %s", what);
}

static int hex_value(char c) {
    if (is_digit(c))
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

reeve_rc reeve__url_decode(const char **out, reeve__url_parser *p,
                           reeve__span raw, const char *part) {
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

static const char *find_last(reeve__span in, char c) {
    for (size_t i = in.size; i > 0; i--)
        if (in.at[i - 1] == c)
            return in.at + i - 1;
    return NULL;
}

bool reeve__url_number(int64_t *out, reeve__span raw, int64_t max) {
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

static bool all_digits(reeve__span raw) {
    for (size_t i = 0; i < raw.size; i++)
        if (!is_digit(raw.at[i]))
            return false;
    return raw.size > 0;
}

/* ---- authority ----------------------------------------------------------- */

static reeve_rc parse_userinfo(reeve__url_parser *p, reeve__span info) {
    const char *colon = reeve__span_find(info, ':');
    const char *end = info.at + info.size;
    reeve__span user = reeve__span_of(info.at, colon ? colon : end);
    reeve_rc rc = 0;
    if (user.size)
        rc = reeve__url_decode(&p->url->user, p, user, "user");
    if (!rc && colon && (user.size || colon + 1 < end))
        rc = reeve__url_decode(&p->url->password, p,
                               reeve__span_of(colon + 1, end), "password");
    return rc;
}

static reeve_rc parse_port(reeve__url_parser *p, reeve__span raw) {
    int64_t port = 0;
    if (reeve__url_number(&port, raw, 65535) && port > 0) {
        p->url->port = (int32_t)port;
        return 0;
    }
    if (!all_digits(raw)) /* might be a password without its "@host" */
        return bad(p, "the port is not a number from 1 to 65535");
    return reeve__fail(p->err, REEVE_E_INVALID,
                       "redis url: port %.*s is not from 1 to 65535",
                       reeve__span_shown(raw), raw.at);
}

static bool is_host_char(char c, bool v6) {
    if (is_digit(c) || c == '.')
        return true;
    if (v6 && (c == ':' || c == '%'))
        return true;
    c = lower(c);
    return (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

static reeve_rc set_host(reeve__url_parser *p, reeve__span raw, bool v6) {
    reeve_rc rc = reeve__url_decode(&p->url->host, p, raw, "host");
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

static reeve_rc parse_host_port(reeve__url_parser *p, reeve__span raw) {
    const char *end = raw.at + raw.size;
    const char *port_at = NULL;
    reeve_rc rc;
    if (raw.size && raw.at[0] == '[') {
        const char *close = reeve__span_find(raw, ']');
        if (!close)
            return bad(p, "the host has '[' without ']'");
        if (close + 1 < end && close[1] != ':')
            return bad(p, "only a port may follow ']'");
        port_at = close + 1 < end ? close + 2 : NULL;
        rc = set_host(p, reeve__span_of(raw.at + 1, close), true);
    } else {
        const char *colon = reeve__span_find(raw, ':');
        if (colon && colon != find_last(raw, ':'))
            return bad(p, "an ipv6 address needs brackets");
        port_at = colon ? colon + 1 : NULL;
        rc = set_host(p, reeve__span_of(raw.at, colon ? colon : end), false);
    }
    if (!rc && port_at)
        rc = parse_port(p, reeve__span_of(port_at, end));
    return rc;
}

static reeve_rc parse_tcp(reeve__url_parser *p, reeve__span host,
                          reeve__span path) {
    if (reeve__span_find(path, '@'))
        return bad(p, "'@' after the host: write / ? # and @ of a user or "
                      "password as %2F %3F %23 %40");
    reeve_rc rc = parse_host_port(p, host);
    if (rc)
        return rc;
    if (path.size > 1) {
        rc = reeve__url_path_db(
            p, reeve__span_of(path.at + 1, path.at + path.size));
    }
    return rc;
}

static reeve_rc parse_unix(reeve__url_parser *p, reeve__span host,
                           reeve__span path) {
    if (host.size)
        return bad(p, "a unix socket url has no host: three slashes, as in "
                      "redis+unix:///run/redis.sock");
    if (path.size < 2)
        return bad(p, "no socket path");
    reeve_rc rc = reeve__url_decode(&p->url->path, p, path, "socket path");
    if (!rc && strlen(p->url->path) > REEVE__URL_PATH_BYTES_MAX)
        rc = reeve__fail(p->err, REEVE_E_INVALID,
                         "redis url: socket path has %zu bytes, at most %d",
                         strlen(p->url->path), REEVE__URL_PATH_BYTES_MAX);
    return rc;
}

static void set_label(reeve__url_parser *p) {
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

static reeve_rc parse_rest(reeve__url_parser *p, int kind, const char *rest) {
    reeve__span all = reeve__span_of(rest, rest + strlen(rest));
    const char *end = all.at + all.size;
    const char *question = reeve__span_find(all, '?');
    const char *path_end = question ? question : end;
    const char *slash = reeve__span_find(reeve__span_of(rest, path_end), '/');
    const char *path = slash ? slash : path_end;
    reeve__span query = reeve__span_of(question ? question + 1 : end, end);
    const char *at = find_last(reeve__span_of(rest, path), '@');
    reeve_rc rc = 0;

    if (reeve__span_find(all, '#'))
        return bad(p, "'#' is written %23");
    if (reeve__span_find(query, '@'))
        return bad(p, "'@' after '?': write it as %40, and '?' in a user or "
                      "password as %3F");
    if (at)
        rc = parse_userinfo(p, reeve__span_of(rest, at));
    reeve__span host = reeve__span_of(at ? at + 1 : rest, path);
    if (!rc)
        rc = kind == KIND_UNIX
                 ? parse_unix(p, host, reeve__span_of(path, path_end))
                 : parse_tcp(p, host, reeve__span_of(path, path_end));
    if (!rc)
        rc = reeve__url_query(p, query);
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
    reeve__url_parser p = {
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
