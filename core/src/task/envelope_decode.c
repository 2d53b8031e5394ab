/*
 * Reading a stored envelope. On the path of every claimed task: most lines go
 * the short way (envelope_plain.h); the others take one parse, one walk over the
 * members, at most one block of their own.
 */
#include "task/envelope_plain.h"

#include <string.h>

#include "base/bytes.h"
#include "task/id.h"
#include "task/json.h"
#include "task/retry.h"

#define WIDE(owner, field) offsetof(owner, field), true
#define NARROW(owner, field) offsetof(owner, field), false

static const reeve__int_member retry_ints[] = {
    { "max_attempts", REEVE_NEVER, INT32_MAX,
      NARROW(reeve_retry_options, max_attempts) },
    { "base_ms", 0, REEVE_SPAN_MS_MAX, WIDE(reeve_retry_options, base_ms) },
    { "cap_ms", 0, REEVE_SPAN_MS_MAX, WIDE(reeve_retry_options, cap_ms) },
    { "max_elapsed_ms", 0, REEVE_SPAN_MS_MAX,
      WIDE(reeve_retry_options, max_elapsed_ms) },
};

static const reeve__int_member history_ints[] = {
    { "at", 0, INT64_MAX, WIDE(reeve_attempt_info, at_ms) },
    { "attempt", 0, INT32_MAX, NARROW(reeve_attempt_info, attempt) },
};

/* A text member of a history entry, and where it goes. */
typedef struct text_member {
    const char *name;
    size_t offset;
} text_member;

static const text_member history_texts[] = {
    { "worker", offsetof(reeve_attempt_info, worker) },
    { "type", offsetof(reeve_attempt_info, error_type) },
    { "message", offsetof(reeve_attempt_info, error_message) },
    { "trace", offsetof(reeve_attempt_info, error_trace) },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Members that need more than a look. */
typedef struct parts {
    const struct cJSON *version;
    const struct cJSON *retry;
    const struct cJSON *headers;
    const struct cJSON *history;
    const struct cJSON *delays; /* of retry */
} parts;

static reeve_rc not_a(const struct cJSON *item, const char *kind,
                      reeve_error *err) {
    const char *name = reeve__json_name(item);
    return reeve__fail(err, REEVE_E_CORRUPT, "envelope: %.64s is not %s",
                       name != NULL ? name : "an item", kind);
}

/* What a check of ours found wrong in stored data is not the caller's fault. */
static reeve_rc as_corrupt(reeve_rc rc, reeve_error *err) {
    if (rc != REEVE_E_INVALID)
        return rc;
    if (err != NULL)
        err->code = REEVE_E_CORRUPT;
    return REEVE_E_CORRUPT;
}

/* Reads item into owner when the table knows its name. */
static reeve_rc read_int(void *owner, const reeve__int_member *members,
                         size_t count, const struct cJSON *item, bool *found,
                         reeve_error *err) {
    const char *name = reeve__json_name(item);
    for (size_t i = 0; i < count; i++) {
        const reeve__int_member *member = &members[i];
        if (strcmp(name, member->name) != 0)
            continue;
        *found = true;
        int64_t value;
        if (!reeve__json_int(&value, item))
            return not_a(item, "a 64-bit integer", err);
        reeve_rc rc = reeve__range_check(member->name, value, member->min,
                                         member->max, err);
        reeve__int_member_set(owner, member, value);
        return as_corrupt(rc, err);
    }
    *found = false;
    return REEVE_OK;
}

static reeve_rc read_text(reeve_bytes *out, const struct cJSON *item,
                          reeve_error *err) {
    const char *text = reeve__json_text(item);
    if (text == NULL)
        return not_a(item, "a string", err);
    *out = reeve_bytes_of(text);
    return REEVE_OK;
}

static const struct cJSON **part_named(parts *p, const char *name) {
    if (strcmp(name, "v") == 0)
        return &p->version;
    if (strcmp(name, "retry") == 0)
        return &p->retry;
    if (strcmp(name, "headers") == 0)
        return &p->headers;
    return strcmp(name, "history") == 0 ? &p->history : NULL;
}

static reeve_rc read_member(reeve__envelope *out, parts *p,
                            const struct cJSON *item, reeve_error *err) {
    const char *name = reeve__json_name(item);
    if (strcmp(name, "type") == 0)
        return read_text(&out->type, item, err);
    if (strcmp(name, "reason") == 0)
        return read_text(&out->reason, item, err);
    const struct cJSON **part = part_named(p, name);
    if (part != NULL) {
        *part = item;
        return REEVE_OK;
    }
    bool found; /* unknown members are a later version's */
    return read_int(out, reeve__line_ints, REEVE__LINE_INTS_COUNT, item, &found,
                    err);
}

static reeve_rc read_line(reeve__envelope *out, parts *p, reeve_error *err) {
    if (reeve__json_kind(out->tree) != REEVE__JSON_OBJECT)
        return reeve__fail(err, REEVE_E_CORRUPT,
                           "envelope: the line is not an object");
    for (const struct cJSON *item = reeve__json_first(out->tree); item != NULL;
         item = reeve__json_next(item)) {
        reeve_rc rc = read_member(out, p, item, err);
        if (rc != REEVE_OK)
            return rc;
    }
    int64_t version;
    if (p->version == NULL || !reeve__json_int(&version, p->version))
        return reeve__fail(err, REEVE_E_CORRUPT, "envelope: v is missing");
    if (version != REEVE__ENVELOPE_VERSION)
        return reeve__fail(err, REEVE_E_CORRUPT,
                           "envelope: v %lld is not %d, the only one known",
                           (long long)version, REEVE__ENVELOPE_VERSION);
    return as_corrupt(reeve__name_check("type", out->type, err), err);
}

static reeve_rc read_word(int32_t *out, const struct cJSON *item,
                          const char *const *words, int32_t count,
                          reeve_error *err) {
    const char *text = reeve__json_text(item);
    if (text == NULL)
        return not_a(item, "a string", err);
    for (int32_t i = 1; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return REEVE_OK;
        }
    }
    return reeve__fail(err, REEVE_E_CORRUPT,
                       "envelope: retry %s '%.32s' is unknown",
                       reeve__json_name(item), text);
}

static reeve_rc read_retry_member(reeve_retry_options *retry, parts *p,
                                  const struct cJSON *item, reeve_error *err) {
    const char *name = reeve__json_name(item);
    if (strcmp(name, "backoff") == 0)
        return read_word(&retry->backoff, item, reeve__backoff_names,
                         REEVE__BACKOFF_COUNT, err);
    if (strcmp(name, "jitter") == 0)
        return read_word(&retry->jitter, item, reeve__jitter_names,
                         REEVE__JITTER_COUNT, err);
    if (strcmp(name, "factor") == 0)
        return reeve__json_number(&retry->factor, item)
                   ? REEVE_OK
                   : not_a(item, "a number", err);
    if (strcmp(name, "delays_ms") == 0) {
        p->delays = item;
        return reeve__json_kind(item) == REEVE__JSON_ARRAY
                   ? REEVE_OK
                   : not_a(item, "an array", err);
    }
    bool found;
    return read_int(retry, retry_ints, COUNT(retry_ints), item, &found, err);
}

static reeve_rc read_retry(reeve_retry_options *retry, parts *p,
                           reeve_error *err) {
    if (p->retry == NULL)
        return REEVE_OK;
    if (reeve__json_kind(p->retry) != REEVE__JSON_OBJECT)
        return not_a(p->retry, "an object", err);
    for (const struct cJSON *item = reeve__json_first(p->retry); item != NULL;
         item = reeve__json_next(item)) {
        reeve_rc rc = read_retry_member(retry, p, item, err);
        if (rc != REEVE_OK)
            return rc;
    }
    return REEVE_OK;
}

static reeve_rc read_delays(int64_t *out, const struct cJSON *delays,
                            reeve_error *err) {
    for (const struct cJSON *item = reeve__json_first(delays); item != NULL;
         item = reeve__json_next(item)) {
        if (!reeve__json_int(out++, item))
            return not_a(item, "a 64-bit integer", err);
    }
    return REEVE_OK;
}

static reeve_rc read_headers(reeve_header *out, const struct cJSON *headers,
                             reeve_error *err) {
    for (const struct cJSON *item = reeve__json_first(headers); item != NULL;
         item = reeve__json_next(item)) {
        out->name = reeve_bytes_of(reeve__json_name(item));
        reeve_rc rc = read_text(&out->value, item, err);
        if (rc != REEVE_OK)
            return rc;
        out++;
    }
    return REEVE_OK;
}

static reeve_rc read_entry_member(reeve_attempt_info *out,
                                  const struct cJSON *item, reeve_error *err) {
    const char *name = reeve__json_name(item);
    if (strcmp(name, "crash") == 0) {
        out->crash = reeve__json_is_true(item);
        return reeve__json_kind(item) == REEVE__JSON_BOOL
                   ? REEVE_OK
                   : not_a(item, "a boolean", err);
    }
    for (size_t i = 0; i < COUNT(history_texts); i++) {
        if (strcmp(name, history_texts[i].name) != 0)
            continue;
        reeve_bytes text;
        reeve_rc rc = read_text(&text, item, err);
        if (rc == REEVE_OK)
            memcpy((char *)out + history_texts[i].offset, &text, sizeof(text));
        return rc;
    }
    bool found;
    return read_int(out, history_ints, COUNT(history_ints), item, &found, err);
}

static reeve_rc read_history(reeve_attempt_info *out,
                             const struct cJSON *history, reeve_error *err) {
    for (const struct cJSON *entry = reeve__json_first(history); entry != NULL;
         entry = reeve__json_next(entry), out++) {
        if (reeve__json_kind(entry) != REEVE__JSON_OBJECT)
            return reeve__fail(err, REEVE_E_CORRUPT,
                               "envelope: a history entry is not an object");
        memset(out, 0, sizeof(*out));
        for (const struct cJSON *item = reeve__json_first(entry); item != NULL;
             item = reeve__json_next(item)) {
            reeve_rc rc = read_entry_member(out, item, err);
            if (rc != REEVE_OK)
                return rc;
        }
    }
    return REEVE_OK;
}

static size_t count_of(const struct cJSON *container) {
    return container == NULL ? 0 : reeve__json_count(container);
}

/* Headers, history and delays share one block. */
static reeve_rc read_lists(reeve__envelope *out, const parts *p,
                           reeve_error *err) {
    if (p->headers != NULL &&
        reeve__json_kind(p->headers) != REEVE__JSON_OBJECT)
        return not_a(p->headers, "an object", err);
    if (p->history != NULL && reeve__json_kind(p->history) != REEVE__JSON_ARRAY)
        return not_a(p->history, "an array", err);
    out->header_count = count_of(p->headers);
    out->history_count = count_of(p->history);
    out->retry.delay_count = count_of(p->delays);
    size_t headers_bytes = out->header_count * sizeof(reeve_header);
    size_t history_bytes = out->history_count * sizeof(reeve_attempt_info);
    size_t delays_bytes = out->retry.delay_count * sizeof(int64_t);
    size_t bytes = headers_bytes + history_bytes + delays_bytes;
    if (bytes == 0)
        return REEVE_OK;
    char *memory = reeve__alloc(out->env, bytes);
    if (memory == NULL)
        return reeve__fail_nomem(err);
    out->memory = memory;
    out->headers = (void *)memory;
    out->history = (void *)(memory + headers_bytes);
    int64_t *delays = (void *)(memory + headers_bytes + history_bytes);
    out->retry.delays_ms = delays;
    reeve_rc rc = REEVE_OK;
    if (p->headers != NULL)
        rc = read_headers(out->headers, p->headers, err);
    if (rc == REEVE_OK && p->history != NULL)
        rc = read_history(out->history, p->history, err);
    if (rc == REEVE_OK && p->delays != NULL)
        rc = read_delays(delays, p->delays, err);
    return rc;
}

/* The line in front of the payload, without its newline. */
static reeve_rc split(reeve_bytes *line, reeve_bytes *payload,
                      reeve_bytes bytes, reeve_error *err) {
    size_t most = bytes.size;
    if (most > REEVE__ENVELOPE_LINE_BYTES_MAX + 1)
        most = REEVE__ENVELOPE_LINE_BYTES_MAX + 1;
    const char *end = most == 0 ? NULL : memchr(bytes.data, '\n', most);
    if (end == NULL)
        return reeve__fail(err, REEVE_E_CORRUPT,
                           "envelope: no line end in the first %zu bytes",
                           most);
    line->data = bytes.data;
    line->size = (size_t)(end - bytes.data);
    payload->data = end + 1;
    payload->size = bytes.size - line->size - 1;
    return REEVE_OK;
}

static void start(reeve__envelope *out, reeve_env *env, reeve_bytes payload) {
    memset(out, 0, sizeof(*out));
    out->env = env;
    out->payload = payload;
    out->priority = REEVE_PRIORITY_DEFAULT;
    out->retry.size = (uint32_t)sizeof(out->retry);
}

/* What was left out. */
static void resolve(reeve__envelope *out) {
    reeve__retry_resolve(&out->retry);
    if (out->max_crashes == 0)
        out->max_crashes = REEVE_MAX_CRASHES_DEFAULT;
}

static reeve_rc parse(reeve__envelope *out, reeve_bytes line,
                      reeve_error *err) {
    reeve_rc rc = reeve__json_parse(&out->tree, out->env, line,
                                    REEVE__ENVELOPE_DEPTH_MAX, err);
    if (rc != REEVE_OK)
        return rc;
    parts p = { NULL, NULL, NULL, NULL, NULL };
    rc = read_line(out, &p, err);
    if (rc == REEVE_OK)
        rc = read_retry(&out->retry, &p, err);
    if (rc == REEVE_OK)
        rc = read_lists(out, &p, err);
    if (rc == REEVE_OK)
        rc = as_corrupt(reeve__retry_check(&out->retry, err), err);
    if (rc == REEVE_OK)
        resolve(out);
    else
        reeve__envelope_dispose(out);
    return rc;
}

reeve_rc reeve__envelope_parse(reeve__envelope *out, reeve_env *env,
                               reeve_bytes bytes, reeve_error *err) {
    reeve_bytes line;
    reeve_bytes payload = { 0 };
    reeve_rc rc = split(&line, &payload, bytes, err);
    start(out, env, payload);
    return rc != REEVE_OK ? rc : parse(out, line, err);
}

reeve_rc reeve__envelope_decode(reeve__envelope *out, reeve_env *env,
                                reeve_bytes bytes, reeve_error *err) {
    reeve_bytes line;
    reeve_bytes payload = { 0 };
    reeve_rc rc = split(&line, &payload, bytes, err);
    start(out, env, payload);
    if (rc != REEVE_OK)
        return rc;
    if (reeve__envelope_plain(out, line)) {
        resolve(out);
        return REEVE_OK;
    }
    start(out, env, payload);
    return parse(out, line, err);
}

void reeve__envelope_dispose(reeve__envelope *envelope) {
    reeve__free(envelope->env, envelope->memory);
    reeve__json_free(envelope->tree);
    memset(envelope, 0, sizeof(*envelope));
}
