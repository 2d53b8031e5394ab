/*
 * What a task is to its producers: states, retry options, enqueue arguments and
 * the per-item result.
 */
#ifndef REEVE_TASK_H
#define REEVE_TASK_H

#include <reeve/env.h>

/* Longest queue, type, group or key name, and longest id, in bytes. Allowed
 * bytes: A-Z a-z 0-9 and any of  _ - . : / @ +  */
#define REEVE_NAME_BYTES_MAX 128
#define REEVE_ID_BYTES_MAX 128
/* Default and hard bound of a payload or a stored result. */
#define REEVE_PAYLOAD_BYTES_MAX ((size_t)16 * 1024 * 1024)
/* Bounds of the JSON line in front of the payload. */
#define REEVE_HEADERS_COUNT_MAX 64
#define REEVE_HEADERS_BYTES_MAX ((size_t)8 * 1024)
#define REEVE_DELAYS_COUNT_MAX 32
/* Longest span (delay, timeout, retention, lease): ten years. */
#define REEVE_SPAN_MS_MAX ((int64_t)10 * 366 * 24 * 3600 * 1000)
/* The latest point of time: the last millisecond of the year 9999. */
#define REEVE_AT_MS_MAX INT64_C(253402300799999)
#define REEVE_BATCH_COUNT_MAX 100000

enum reeve_state {
    REEVE_STATE_NONE = 0,
    REEVE_STATE_SCHEDULED = 1,   /* due later */
    REEVE_STATE_PENDING = 2,     /* may run now */
    REEVE_STATE_ACTIVE = 3,      /* leased to a worker */
    REEVE_STATE_RETRY = 4,       /* failed, due later */
    REEVE_STATE_BLOCKED = 5,     /* reserved: limits */
    REEVE_STATE_AGGREGATING = 6, /* reserved: groups */
    REEVE_STATE_WAITING = 7,     /* reserved: dependencies */
    REEVE_STATE_COMPLETED = 8,   /* done, kept for its retention */
    REEVE_STATE_ARCHIVED = 9,    /* dead letter */
};

enum reeve_backoff {
    REEVE_BACKOFF_DEFAULT = 0,     /* exponential */
    REEVE_BACKOFF_EXPONENTIAL = 1, /* base * factor^(failures - 1), capped */
    REEVE_BACKOFF_FIXED = 2,       /* base */
    REEVE_BACKOFF_LINEAR = 3,      /* base * failures, capped */
    REEVE_BACKOFF_LIST = 4,        /* delays[failures - 1], the last repeats */
};

enum reeve_jitter {
    REEVE_JITTER_DEFAULT = 0, /* full */
    REEVE_JITTER_FULL = 1,    /* uniform in [0, d] */
    REEVE_JITTER_EQUAL = 2,   /* d/2 + uniform in [0, d/2] */
    REEVE_JITTER_NONE = 3,
};

#define REEVE_MAX_ATTEMPTS_DEFAULT 26 /* the first run and 25 retries */
#define REEVE_BACKOFF_BASE_MS_DEFAULT 1000
#define REEVE_BACKOFF_CAP_MS_DEFAULT 3600000
#define REEVE_MAX_CRASHES_DEFAULT 3
#define REEVE_LEASE_MS_DEFAULT 30000
#define REEVE_IDEMPOTENCY_TTL_MS_DEFAULT 86400000
#define REEVE_PRIORITY_DEFAULT 5
#define REEVE_PRIORITY_LOWEST (-1) /* level 0, because 0 means the default */

/* Jitter: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. */
typedef struct reeve_retry_options {
    uint32_t size;
    int32_t backoff;          /* enum reeve_backoff */
    int32_t jitter;           /* enum reeve_jitter; LIST defaults to none */
    int32_t max_attempts;     /* runs in all; 0 = 26, 1 = never retry,
                             REEVE_NEVER = no limit */
    int64_t base_ms;          /* 0 = 1 s */
    int64_t cap_ms;           /* 0 = 1 h */
    double factor;            /* 0 = 2; 1 … 100 */
    int64_t max_elapsed_ms;   /* since enqueue; 0 = no limit */
    const int64_t *delays_ms; /* LIST only */
    size_t delay_count;
} reeve_retry_options;

#define REEVE_RETRY_OPTIONS_INIT REEVE__INIT(reeve_retry_options)

/* One user header, carried beside the payload; both sides UTF-8. */
typedef struct reeve_header {
    reeve_bytes name;
    reeve_bytes value;
} reeve_header;

typedef struct reeve_enqueue_args {
    uint32_t size;
    int32_t priority;    /* 1 … 9, 0 = 5, REEVE_PRIORITY_LOWEST = level 0;
                            higher runs first */
    reeve_bytes type;    /* required */
    reeve_bytes queue;   /* empty = "default" */
    reeve_bytes payload; /* opaque bytes, 0 … 16 MiB */
    reeve_bytes id;      /* empty = a new UUIDv7 */
    reeve_bytes idempotency_key; /* empty = none; 1 … 128 bytes, any value */
    int64_t idempotency_ttl_ms;  /* how long the key is kept; 0 = 24 h */
    int64_t delay_ms;       /* due this long from now, on the server's clock */
    int64_t due_at_ms;      /* or at this Unix time; not both */
    int64_t timeout_ms;     /* per run; 0 = none */
    int64_t deadline_at_ms; /* never started or retried from then on, and
                               later than the task is due; 0 = none */
    int64_t lease_ms;       /* 0 = the worker's */
    int64_t retention_ms;   /* keep when done; 0 = delete, REEVE_NEVER = ever */
    int32_t max_crashes;    /* 0 = 3, REEVE_NEVER = no limit */
    uint32_t reserved;
    const reeve_retry_options *retry; /* NULL = defaults */
    const reeve_header *headers;
    size_t header_count;
} reeve_enqueue_args;

#define REEVE_ENQUEUE_ARGS_INIT REEVE__INIT(reeve_enqueue_args)

/* Outcome of one item; fixed layout, 192 bytes. */
typedef struct reeve_enqueue_result {
    int32_t code;      /* 0, or why this item was not stored */
    int32_t state;     /* PENDING or SCHEDULED */
    int64_t due_at_ms; /* server time; 0 when pending */
    int32_t existing;  /* 1: an earlier task with this idempotency key */
    char id[REEVE_ID_BYTES_MAX + 1];
    char reserved[43];
} reeve_enqueue_result;

REEVE_BEGIN_DECLS

/* "pending" for REEVE_STATE_PENDING; "unknown" otherwise. Thread: any. */
REEVE_EXTERN const char *reeve_state_name(int32_t state);

/* REEVE_STATE_NONE when the name is unknown. Thread: any. */
REEVE_EXTERN int32_t reeve_state_of(reeve_bytes name);

REEVE_END_DECLS

#endif
