/*
 * Everything that may be wrong with a new task, said before anything is stored.
 * Called by the client for every enqueue; pure.
 */
#include "task/envelope.h"

#include <string.h>

#include "base/bytes.h"
#include "task/id.h"
#include "task/retry.h"

/* Shorter ones lapse before a busy ticker comes round; as a worker's own. */
#define LEASE_MS_MIN 100

static reeve_rc check_names(const reeve_enqueue_args *args, reeve_error *err) {
    reeve_rc rc = reeve__name_check("type", args->type, err);
    if (rc == REEVE_OK && args->queue.size > 0)
        rc = reeve__name_check("queue name", args->queue, err);
    if (rc == REEVE_OK && args->id.size > 0)
        rc = reeve__name_check("id", args->id, err);
    if (rc == REEVE_OK && args->idempotency_key.size > REEVE_ID_BYTES_MAX)
        rc = reeve__fail(err, REEVE_E_INVALID,
                         "idempotency_key has %zu bytes, at most %d allowed",
                         args->idempotency_key.size, REEVE_ID_BYTES_MAX);
    if (rc == REEVE_OK && args->idempotency_key.size > 0 &&
        args->idempotency_key.data == NULL)
        rc = reeve__fail(err, REEVE_E_USAGE,
                         "idempotency_key is null but has %zu bytes",
                         args->idempotency_key.size);
    return rc;
}

static reeve_rc check_ranges(const reeve_enqueue_args *args, reeve_error *err) {
    const struct {
        const char *what;
        int64_t value;
        int64_t min;
        int64_t max;
    } rows[] = {
        { "idempotency_ttl_ms", args->idempotency_ttl_ms, 0,
          REEVE_SPAN_MS_MAX },
        { "delay_ms", args->delay_ms, 0, REEVE_SPAN_MS_MAX },
        { "due_at_ms", args->due_at_ms, 0, REEVE_AT_MS_MAX },
        { "timeout_ms", args->timeout_ms, 0, REEVE_SPAN_MS_MAX },
        { "lease_ms", args->lease_ms, 0, REEVE_SPAN_MS_MAX },
        { "deadline_at_ms", args->deadline_at_ms, 0, REEVE_AT_MS_MAX },
        { "retention_ms", args->retention_ms, REEVE_NEVER, REEVE_SPAN_MS_MAX },
        { "max_crashes", args->max_crashes, REEVE_NEVER, INT32_MAX },
        { "reserved", args->reserved, 0, 0 },
    };
    /* REEVE_PRIORITY_LOWEST is level 0, which a caller cannot write as 0. */
    if (args->priority != REEVE_PRIORITY_LOWEST) {
        reeve_rc rc = reeve__range_check("priority", args->priority, 0, 9, err);
        if (rc != REEVE_OK)
            return rc;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].value < rows[i].min || rows[i].value > rows[i].max)
            return reeve__range_check(rows[i].what, rows[i].value, rows[i].min,
                                      rows[i].max, err);
    }
    if (args->lease_ms != 0 && args->lease_ms < LEASE_MS_MIN)
        return reeve__fail(err, REEVE_E_INVALID, "lease_ms %d is below %d",
                           (int)args->lease_ms, LEASE_MS_MIN);
    if (args->delay_ms != 0 && args->due_at_ms != 0)
        return reeve__fail(err, REEVE_E_INVALID,
                           "delay_ms and due_at_ms are both set, one allowed");
    return REEVE_OK;
}

/* As the worker judges a start: from its deadline on there is none. */
static reeve_rc check_due(const reeve_enqueue_args *args, int64_t now_at_ms,
                          reeve_error *err) {
    if (args->deadline_at_ms == 0)
        return REEVE_OK;
    int64_t due_at_ms = reeve__add_sat(now_at_ms, args->delay_ms);
    if (args->delay_ms != 0 && due_at_ms >= args->deadline_at_ms)
        return reeve__fail(err, REEVE_E_INVALID,
                           "delay_ms %lld makes it due at %lld, which is not "
                           "before deadline_at_ms %lld",
                           (long long)args->delay_ms, (long long)due_at_ms,
                           (long long)args->deadline_at_ms);
    if (args->due_at_ms >= args->deadline_at_ms)
        return reeve__fail(err, REEVE_E_INVALID,
                           "due_at_ms %lld is not before deadline_at_ms %lld",
                           (long long)args->due_at_ms,
                           (long long)args->deadline_at_ms);
    return REEVE_OK;
}

static reeve_rc check_header_text(const char *what, size_t index,
                                  reeve_bytes text, reeve_error *err) {
    if (text.size == 0)
        return REEVE_OK;
    if (text.data == NULL)
        return reeve__fail(err, REEVE_E_USAGE,
                           "header %zu's %s is null but has %zu bytes", index,
                           what, text.size);
    const char *nul = memchr(text.data, '\0', text.size);
    if (nul != NULL)
        return reeve__fail(err, REEVE_E_INVALID,
                           "header %zu's %s has a NUL byte at %zu", index, what,
                           (size_t)(nul - text.data));
    if (!reeve__utf8_is_valid(text))
        return reeve__fail(err, REEVE_E_INVALID,
                           "header %zu's %s is not valid UTF-8", index, what);
    return REEVE_OK;
}

static reeve_rc check_header(const reeve_enqueue_args *args, size_t index,
                             reeve_error *err) {
    const reeve_header *header = &args->headers[index];
    if (header->name.size == 0)
        return reeve__fail(err, REEVE_E_INVALID, "header %zu's name is empty",
                           index);
    reeve_rc rc = check_header_text("name", index, header->name, err);
    if (rc == REEVE_OK)
        rc = check_header_text("value", index, header->value, err);
    for (size_t i = 0; i < index && rc == REEVE_OK; i++) {
        if (reeve__bytes_equal(args->headers[i].name, header->name))
            rc =
                reeve__fail(err, REEVE_E_INVALID,
                            "headers %zu and %zu have the same name", i, index);
    }
    return rc;
}

static reeve_rc check_headers(const reeve_enqueue_args *args,
                              reeve_error *err) {
    if (args->header_count > REEVE_HEADERS_COUNT_MAX)
        return reeve__fail(err, REEVE_E_TOO_BIG,
                           "task has %zu headers, at most %d allowed",
                           args->header_count, REEVE_HEADERS_COUNT_MAX);
    if (args->header_count > 0 && args->headers == NULL)
        return reeve__fail(err, REEVE_E_USAGE,
                           "headers is null but header_count is %zu",
                           args->header_count);
    size_t left = REEVE_HEADERS_BYTES_MAX;
    for (size_t i = 0; i < args->header_count; i++) {
        const reeve_header *header = &args->headers[i];
        if (header->name.size > left ||
            header->value.size > left - header->name.size)
            return reeve__fail(err, REEVE_E_TOO_BIG,
                               "headers have more than %zu bytes, counted up "
                               "to header %zu",
                               REEVE_HEADERS_BYTES_MAX, i);
        left -= header->name.size + header->value.size;
    }
    for (size_t i = 0; i < args->header_count; i++) {
        reeve_rc rc = check_header(args, i, err);
        if (rc != REEVE_OK)
            return rc;
    }
    return REEVE_OK;
}

static reeve_rc check_retry(const reeve_enqueue_args *args, reeve_error *err) {
    if (args->retry == NULL)
        return REEVE_OK;
    reeve_retry_options retry;
    reeve_rc rc =
        reeve__struct_load(&retry, sizeof(retry), sizeof(reeve_retry_options),
                           args->retry, "reeve_retry_options", err);
    return rc == REEVE_OK ? reeve__retry_check(&retry, err) : rc;
}

reeve_rc reeve__enqueue_args_check(const reeve_enqueue_args *args,
                                   size_t payload_bytes_max, int64_t now_at_ms,
                                   reeve_error *err) {
    if (args->payload.size > payload_bytes_max)
        return reeve__fail(err, REEVE_E_TOO_BIG,
                           "payload has %zu bytes, at most %zu allowed",
                           args->payload.size, payload_bytes_max);
    if (args->payload.size > 0 && args->payload.data == NULL)
        return reeve__fail(err, REEVE_E_USAGE,
                           "payload is null but has %zu bytes",
                           args->payload.size);
    reeve_rc rc = check_names(args, err);
    if (rc == REEVE_OK)
        rc = check_ranges(args, err);
    if (rc == REEVE_OK)
        rc = check_due(args, now_at_ms, err);
    if (rc == REEVE_OK)
        rc = check_headers(args, err);
    if (rc == REEVE_OK)
        rc = check_retry(args, err);
    return rc;
}
