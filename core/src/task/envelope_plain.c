/*
 * The short way to read a line; see envelope_plain.h. It knows less than JSON
 * and says so: what it accepts, the parser accepts with the same result.
 */
#include "task/envelope_plain.h"

#include <string.h>

#include "base/bytes.h"
#include "task/id.h"

#define WIDE(field) offsetof(reeve__envelope, field), true
#define NARROW(field) offsetof(reeve__envelope, field), false

const reeve__int_member reeve__line_ints[REEVE__LINE_INTS_COUNT] = {
    { "at", 0, INT64_MAX, WIDE(enqueued_at_ms) },
    { "priority", 0, 9, NARROW(priority) },
    { "timeout_ms", 0, REEVE_SPAN_MS_MAX, WIDE(timeout_ms) },
    { "deadline_at_ms", 0, INT64_MAX, WIDE(deadline_at_ms) },
    { "lease_ms", 0, REEVE_SPAN_MS_MAX, WIDE(lease_ms) },
    { "retention_ms", REEVE_NEVER, REEVE_SPAN_MS_MAX, WIDE(retention_ms) },
    { "max_crashes", REEVE_NEVER, INT32_MAX, NARROW(max_crashes) },
    { "failures", 0, INT32_MAX, NARROW(failures) },
    { "crashes", 0, INT32_MAX, NARROW(crashes) },
    { "ended_at", 0, INT64_MAX, WIDE(ended_at_ms) },
};

/* Members beside the numbers, as bits of what was seen. */
#define TYPE_BIT (1u << REEVE__LINE_INTS_COUNT)
#define VERSION_BIT (TYPE_BIT << 1)
/* Integers of up to this many digits need no check for overflow. */
#define DIGITS_MAX 15

void reeve__int_member_set(void *owner, const reeve__int_member *member,
                           int64_t value) {
    char *to = (char *)owner + member->offset;
    int32_t narrow = (int32_t)value;
    if (member->is_wide)
        memcpy(to, &value, sizeof value);
    else
        memcpy(to, &narrow, sizeof narrow);
}

typedef struct cursor {
    const char *at;
    const char *end;
} cursor;

static bool take(cursor *c, char wanted) {
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

/* A string that cannot hold anything but itself: its end is the next quote. */
static bool take_string(reeve_bytes *out, cursor *c) {
    if (!take(c, '"'))
        return false;
    const char *quote = memchr(c->at, '"', (size_t)(c->end - c->at));
    if (!quote)
        return false;
    *out = (reeve_bytes){ c->at, (size_t)(quote - c->at) };
    c->at = quote + 1;
    return true;
}

static bool take_int(int64_t *out, cursor *c) {
    bool negative = take(c, '-');
    const char *start = c->at;
    int64_t value = 0;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9' &&
           c->at - start <= DIGITS_MAX)
        value = value * 10 + (*c->at++ - '0');
    ptrdiff_t digits = c->at - start;
    if (digits < 1 || digits > DIGITS_MAX ||
        (*start == '0' && (digits > 1 || negative)))
        return false;
    *out = negative ? -value : value;
    return true;
}

static bool take_number(reeve__envelope *out, unsigned *bit, cursor *c,
                        reeve_bytes name) {
    int64_t value;
    if (!take_int(&value, c))
        return false;
    if (name.size == 1 && *name.data == 'v') {
        *bit = VERSION_BIT;
        return value == REEVE__ENVELOPE_VERSION;
    }
    for (size_t i = 0; i < REEVE__LINE_INTS_COUNT; i++) {
        const reeve__int_member *member = &reeve__line_ints[i];
        if (!reeve__bytes_is(name, member->name))
            continue;
        *bit = 1u << i;
        reeve__int_member_set(out, member, value);
        return value >= member->min && value <= member->max;
    }
    return false;
}

static bool take_member(reeve__envelope *out, unsigned *seen, cursor *c) {
    reeve_bytes name;
    unsigned bit = TYPE_BIT;
    if (!take_string(&name, c) || !take(c, ':'))
        return false;
    bool good = reeve__bytes_is(name, "type") ? take_string(&out->type, c)
                                              : take_number(out, &bit, c, name);
    if (!good || *seen & bit)
        return false;
    *seen |= bit;
    return true;
}

bool reeve__envelope_plain(reeve__envelope *out, reeve_bytes line) {
    cursor c = { line.data, line.data + line.size };
    unsigned seen = 0;
    if (!take(&c, '{'))
        return false;
    do {
        if (!take_member(out, &seen, &c))
            return false;
    } while (take(&c, ','));
    /* Bytes that a string would have to escape are no name's. */
    return take(&c, '}') && c.at == c.end && seen & TYPE_BIT &&
           seen & VERSION_BIT &&
           reeve__name_check("type", out->type, NULL) == REEVE_OK;
}
