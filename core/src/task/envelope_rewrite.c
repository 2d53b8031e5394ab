/*
 * Bringing a stored envelope up to date after a run. Called on every verdict
 * but a plain "done"; keeps what it does not know.
 */
#include "task/envelope.h"

#include <string.h>

#include "base/bytes.h"
#include "task/json.h"

/* Members that a rewrite writes anew. */
static const char *const managed[] = { "failures", "crashes", "history",
                                       "reason", "ended_at" };
/* What an entry loses when it is no longer the last. */
static const char *const only_in_last[] = { "trace" };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* How much history goes in; tightened until the line fits. */
typedef struct fit {
    size_t dropped; /* oldest entries left out */
    bool with_entry;
    bool with_trace;
} fit;

typedef struct rewrite {
    const reeve__envelope *old;
    const struct cJSON *history; /* NULL = none */
    const reeve__envelope_end *end;
    /* the end's texts, made valid; borrow from texts */
    reeve_bytes worker;
    reeve_bytes error_type;
    reeve_bytes error_message;
    reeve_bytes error_trace;
    reeve__buf texts;
} rewrite;

static bool is_one_of(const char *name, const char *const *names,
                      size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* "{" and all members but the named ones; the caller closes it. */
static void open_without(reeve__buf *out, const struct cJSON *object,
                         const char *const *names, size_t count) {
    char lead = '{';
    for (const struct cJSON *item = reeve__json_first(object); item != NULL;
         item = reeve__json_next(item)) {
        const char *name = reeve__json_name(item);
        if (is_one_of(name, names, count))
            continue;
        reeve__buf_add_char(out, lead);
        reeve__json_add_string(out, reeve_bytes_of(name));
        reeve__buf_add_char(out, ':');
        reeve__json_print(out, item);
        lead = ',';
    }
    if (lead == '{')
        reeve__buf_add_char(out, lead);
}

static void add_text(reeve__buf *out, const char *lead, reeve_bytes text) {
    if (text.size == 0)
        return;
    reeve__buf_add_text(out, lead);
    reeve__json_add_string(out, text);
}

static void add_entry(reeve__buf *out, const rewrite *r, const fit *f) {
    const reeve__envelope_end *end = r->end;
    /* A failed run is counted in failures, a crashed one is not. */
    int64_t attempt = (int64_t)end->failures + (end->crash ? 1 : 0);
    reeve__buf_add_text(out, "{\"at\":");
    reeve__buf_add_int(out, end->at_ms);
    reeve__buf_add_text(out, ",\"attempt\":");
    reeve__buf_add_int(out, attempt < INT32_MAX ? attempt : INT32_MAX);
    if (end->crash)
        reeve__buf_add_text(out, ",\"crash\":true");
    add_text(out, ",\"worker\":", r->worker);
    add_text(out, ",\"type\":", r->error_type);
    add_text(out, ",\"message\":", r->error_message);
    if (f->with_trace)
        add_text(out, ",\"trace\":", r->error_trace);
    reeve__buf_add_char(out, '}');
}

static void add_history(reeve__buf *out, const rewrite *r, const fit *f) {
    size_t count = r->old->history_count;
    if (f->dropped == count && !f->with_entry)
        return;
    reeve__buf_add_text(out, ",\"history\":[");
    size_t at = 0;
    const struct cJSON *entry =
        r->history != NULL ? reeve__json_first(r->history) : NULL;
    for (; entry != NULL; entry = reeve__json_next(entry), at++) {
        if (at < f->dropped)
            continue;
        if (at > f->dropped)
            reeve__buf_add_char(out, ',');
        if (r->end->add_history) {
            open_without(out, entry, only_in_last, COUNT(only_in_last));
            reeve__buf_add_char(out, '}');
        } else {
            reeve__json_print(out, entry);
        }
    }
    if (f->with_entry) {
        if (f->dropped < count)
            reeve__buf_add_char(out, ',');
        add_entry(out, r, f);
    }
    reeve__buf_add_char(out, ']');
}

static void add_line(reeve__buf *out, const rewrite *r, const fit *f) {
    const reeve__envelope_end *end = r->end;
    open_without(out, r->old->tree, managed, COUNT(managed));
    if (end->failures != 0) {
        reeve__buf_add_text(out, ",\"failures\":");
        reeve__buf_add_int(out, end->failures);
    }
    if (end->crashes != 0) {
        reeve__buf_add_text(out, ",\"crashes\":");
        reeve__buf_add_int(out, end->crashes);
    }
    add_history(out, r, f);
    if (end->reason != NULL) {
        add_text(out, ",\"reason\":", reeve_bytes_of(end->reason));
        reeve__buf_add_text(out, ",\"ended_at\":");
        reeve__buf_add_int(out, end->at_ms);
    }
    reeve__buf_add_char(out, '}');
}

/* False when nothing is left to give up. */
static bool tighten(fit *f, size_t history_count) {
    if (f->dropped < history_count)
        f->dropped++;
    else if (f->with_trace)
        f->with_trace = false;
    else if (f->with_entry)
        f->with_entry = false;
    else
        return false;
    return true;
}

static reeve_rc add_fitting_line(reeve__buf *out, const rewrite *r,
                                 reeve_error *err) {
    size_t start = out->size;
    size_t count = r->old->history_count;
    size_t kept_max = REEVE__HISTORY_MAX - (r->end->add_history ? 1 : 0);
    fit f = { .dropped = count > kept_max ? count - kept_max : 0,
              .with_entry = r->end->add_history,
              .with_trace = r->end->add_history };
    for (;;) {
        add_line(out, r, &f);
        if (out->failed)
            return reeve__fail_nomem(err);
        size_t size = out->size - start;
        if (size <= REEVE__ENVELOPE_LINE_BYTES_MAX)
            return REEVE_OK;
        if (!tighten(&f, count))
            return reeve__fail(err, REEVE_E_CORRUPT,
                               "envelope: the line has %zu bytes, at most %zu "
                               "allowed",
                               size, REEVE__ENVELOPE_LINE_BYTES_MAX);
        out->size = start;
    }
}

/* Appends a valid form of text; the view is made when all are in. */
static size_t sanitize(reeve__buf *texts, reeve_bytes text, size_t max_bytes) {
    size_t before = texts->size;
    reeve__utf8_sanitize(texts, text, max_bytes);
    return texts->size - before;
}

static void sanitize_all(rewrite *r) {
    const reeve__envelope_end *end = r->end;
    r->worker.size = sanitize(&r->texts, end->worker, REEVE_ID_BYTES_MAX);
    r->error_type.size =
        sanitize(&r->texts, end->error_type, REEVE__ERROR_TYPE_BYTES_MAX);
    r->error_message.size =
        sanitize(&r->texts, end->error_message, REEVE__ERROR_MESSAGE_BYTES_MAX);
    r->error_trace.size =
        sanitize(&r->texts, end->error_trace, REEVE__ERROR_TRACE_BYTES_MAX);
    if (r->texts.size == 0)
        return;
    r->worker.data = r->texts.data;
    r->error_type.data = r->worker.data + r->worker.size;
    r->error_message.data = r->error_type.data + r->error_type.size;
    r->error_trace.data = r->error_message.data + r->error_message.size;
}

reeve_rc reeve__envelope_rewrite(reeve__buf *out, reeve_env *env,
                                 reeve_bytes stored,
                                 const reeve__envelope_end *end,
                                 const reeve_bytes *new_payload,
                                 reeve_error *err) {
    size_t start = out->size;
    reeve__envelope old;
    reeve_rc rc = reeve__envelope_parse(&old, env, stored, err);
    if (rc != REEVE_OK)
        return rc;
    rewrite r = { .old = &old,
                  .history = reeve__json_get(old.tree, "history"),
                  .end = end };
    reeve__buf_init(&r.texts, env);
    if (end->add_history)
        sanitize_all(&r);
    reeve_bytes payload = new_payload != NULL ? *new_payload : old.payload;
    reeve__buf_reserve(out, stored.size + payload.size + r.texts.size);
    rc = r.texts.failed ? reeve__fail_nomem(err)
                        : add_fitting_line(out, &r, err);
    if (rc == REEVE_OK) {
        reeve__buf_add_char(out, '\n');
        reeve__buf_add_bytes(out, payload);
        if (out->failed)
            rc = reeve__fail_nomem(err);
    }
    if (rc != REEVE_OK)
        out->size = start;
    reeve__buf_dispose(&r.texts);
    reeve__envelope_dispose(&old);
    return rc;
}
