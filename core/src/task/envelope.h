/*
 * The stored form of a task: one JSON line, '\n', the payload's raw bytes.
 *
 * The line holds what must survive with the task: type, options, failures,
 * history. Defaults are left out. Unknown members of a line written by a later
 * version are preserved by a rewrite. The payload is never parsed. No I/O, no
 * clock.
 *
 *   {"v":1,"type":"email:send","at":1763600000000, …}\n<payload>
 *
 * Members (all but v and type optional):
 *   v int            format version, 1
 *   type string      task type
 *   at int           enqueued at, Unix ms, server time
 *   priority int     0 … 9
 *   timeout_ms, deadline_at_ms, lease_ms, retention_ms int
 *   max_crashes int
 *   retry object     backoff "exponential|fixed|linear|list", jitter
 *                    "full|equal|none", max_attempts, base_ms, cap_ms, factor,
 *                    max_elapsed_ms, delays_ms [..]; only what is not default
 *   headers object   string → string
 *   failures int     failed runs so far
 *   crashes int      workers that died holding it
 *   history array    the last REEVE__HISTORY_MAX ends: {at, attempt, crash
 *                    (true or left out), worker, type, message, trace}; trace
 *                    only in the last
 *   reason string    why it was archived
 *   ended_at int     archived at, Unix ms
 */
#ifndef REEVE_SRC_TASK_ENVELOPE_H
#define REEVE_SRC_TASK_ENVELOPE_H

#include <reeve/inspect.h>
#include "base/buf.h"

#define REEVE__ENVELOPE_VERSION 1
#define REEVE__HISTORY_MAX 5
#define REEVE__ERROR_MESSAGE_BYTES_MAX 1024
#define REEVE__ERROR_TRACE_BYTES_MAX 8192
#define REEVE__ERROR_TYPE_BYTES_MAX 128
/* Bound of the JSON line. */
#define REEVE__ENVELOPE_LINE_BYTES_MAX ((size_t)64 * 1024)
#define REEVE__ENVELOPE_DEPTH_MAX 16

/* A decoded envelope. Views borrow from the envelope's own memory or from the
 * bytes given to decode; texts do not end with NUL. */
typedef struct reeve__envelope {
    reeve_env *env; /* borrowed */
    reeve_bytes type;
    reeve_bytes payload; /* borrows from the bytes given to decode */
    int64_t enqueued_at_ms;
    int64_t timeout_ms;
    int64_t deadline_at_ms;
    int64_t lease_ms;     /* 0 = the worker's */
    int64_t retention_ms; /* 0 = none, REEVE_NEVER = for ever */
    int64_t ended_at_ms;
    int32_t priority;
    int32_t max_crashes; /* resolved */
    int32_t failures;
    int32_t crashes;
    reeve_retry_options retry; /* resolved: no zeros left; delays borrowed */
    reeve_header *headers;
    size_t header_count;
    reeve_attempt_info *history;
    size_t history_count;
    reeve_bytes reason;
    struct cJSON *tree; /* behind the texts; NULL when decode needed none */
    void *memory;       /* one block behind headers, history and delays */
} reeve__envelope;

/*
 * Validates args completely (names, sizes, ranges, UTF-8 of headers, retry) with
 * errors that name thing, value and bound. Header names are unique, header
 * texts hold no NUL. payload_bytes_max as in the client's options; now_at_ms is
 * the server's, for a delay that ends after the deadline. Nothing is stored before this has said yes. Errors: INVALID, TOO_BIG,
 * USAGE, UNSUPPORTED. args is already loaded (reeve__struct_load).
 */
reeve_rc reeve__enqueue_args_check(const reeve_enqueue_args *args,
                                   size_t payload_bytes_max, int64_t now_at_ms,
                                   reeve_error *err);

/* Appends the envelope of a checked new task, whose line always fits. Errors:
 * NOMEM; UNSUPPORTED when args->retry was never checked. */
reeve_rc reeve__envelope_build(reeve__buf *out, const reeve_enqueue_args *args,
                               int64_t enqueued_at_ms, reeve_error *err);

/*
 * Decodes stored bytes behind the guards: strict JSON, valid UTF-8, exact 64-bit
 * integers, no trailing garbage, bounded depth and size, no NUL in strings.
 * bytes must outlive out. Errors: CORRUPT (message says what is wrong), NOMEM.
 */
reeve_rc reeve__envelope_decode(reeve__envelope *out, reeve_env *env,
                                reeve_bytes bytes, reeve_error *err);
/* The same, and the line as a tree in any case. */
reeve_rc reeve__envelope_parse(reeve__envelope *out, reeve_env *env,
                               reeve_bytes bytes, reeve_error *err);
void reeve__envelope_dispose(reeve__envelope *envelope);

/* What a run's end adds to the line. */
typedef struct reeve__envelope_end {
    int64_t at_ms;
    int32_t failures; /* new value */
    int32_t crashes;  /* new value */
    bool add_history;
    bool crash;
    reeve_bytes worker;
    reeve_bytes error_type; /* any bytes: made valid UTF-8 and cut */
    reeve_bytes error_message;
    reeve_bytes error_trace;
    const char *reason; /* archived: why; NULL removes an old one */
} reeve__envelope_end;

/*
 * Appends a rewritten envelope: the stored line with failures, crashes, history
 * and reason brought up to date, unknown members kept; then payload (the stored
 * one, or new_payload when not NULL). When the line would pass its bound, the
 * oldest history goes first, then the new trace, then the new entry. Errors:
 * CORRUPT, NOMEM; out is then as before.
 */
reeve_rc reeve__envelope_rewrite(reeve__buf *out, reeve_env *env,
                                 reeve_bytes stored,
                                 const reeve__envelope_end *end,
                                 const reeve_bytes *new_payload,
                                 reeve_error *err);

/*
 * An envelope for stored bytes that cannot be read, so that they can be kept in
 * the archive: type "unreadable", reason, the original bytes as payload.
 */
reeve_rc reeve__envelope_wrap_unreadable(reeve__buf *out, reeve_bytes stored,
                                         int64_t at_ms, const char *why,
                                         reeve_error *err);

#endif
