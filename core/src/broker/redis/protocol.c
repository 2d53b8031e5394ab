/*
 * The public protocol object: life, bytes in and out, results in order.
 */
#include "broker/redis/protocol.h"

#include "base/bytes.h"

#include <string.h>

/* Each buffer that an idle protocol object keeps is no larger. */
#define SPARE_BYTES_MAX ((size_t)64 * 1024)

enum string_slot {
    STRING_PREFIX,
    STRING_USER,
    STRING_PASSWORD,
    STRING_NAME,
    STRING_LABEL,
    STRING_COUNT
};

/* Copies the strings of the options; defaults filled in. */
static reeve_rc copy_strings(reeve_protocol *protocol,
                             const reeve_protocol_options *options,
                             reeve_error *err) {
    const char *const given[STRING_COUNT] = {
        [STRING_PREFIX] = options->prefix ? options->prefix : "reeve",
        [STRING_USER] = options->user,
        [STRING_PASSWORD] = options->password,
        [STRING_NAME] = options->client_name ? options->client_name : "reeve",
        [STRING_LABEL] = options->label ? options->label : "redis",
    };
    for (size_t i = 0; i < STRING_COUNT; i++) {
        if (!given[i]) {
            continue;
        }
        protocol->strings[i] =
            reeve__strndup(protocol->env, given[i], strlen(given[i]));
        if (!protocol->strings[i]) {
            return reeve__fail_nomem(err);
        }
    }
    return REEVE_OK;
}

reeve_rc reeve_protocol_new(reeve_protocol **out, reeve_env *env,
                            const reeve_protocol_options *options,
                            reeve_error *err) {
    *out = NULL;
    reeve_protocol_options loaded;
    reeve_rc rc = reeve__struct_load(&loaded, sizeof(loaded), sizeof(loaded),
                                     options, "reeve_protocol_options", err);
    if (rc == REEVE_OK) {
        rc = reeve__prefix_check(
            reeve_bytes_of(loaded.prefix ? loaded.prefix : "reeve"), err);
    }
    if (rc == REEVE_OK && loaded.database < 0) {
        rc = reeve__fail(err, REEVE_E_INVALID, "database is %d, not 0 or more",
                         loaded.database);
    }
    if (rc < 0) {
        return rc;
    }
    reeve_protocol *protocol = reeve__calloc(env, 1, sizeof(*protocol));
    if (!protocol) {
        return reeve__fail_nomem(err);
    }
    protocol->env = reeve__env_ref(env);
    protocol->last = &protocol->first;
    reeve__buf_init(&protocol->known, protocol->env);
    rc = copy_strings(protocol, &loaded, err);
    if (rc == REEVE_OK) {
        rc = reeve__engine_init(&protocol->engine, env,
                                reeve_bytes_of(protocol->strings[0]),
                                protocol->strings[STRING_LABEL], err);
    }
    if (rc < 0) {
        reeve_protocol_free(protocol);
        return rc;
    }
    protocol->hello = (reeve__hello_options){
        .user = protocol->strings[STRING_USER],
        .password = protocol->strings[STRING_PASSWORD],
        .client_name = protocol->strings[STRING_NAME],
        .db = loaded.database,
        .check = true,
        .allow_eviction = loaded.allow_eviction != 0,
    };
    *out = protocol;
    return REEVE_OK;
}

static void job_destroy(reeve_env *env, reeve__job *job) {
    if (job) {
        reeve__buf_dispose(&job->bytes);
        reeve__buf_dispose(&job->slots);
        reeve__free(env, job);
    }
}

static void jobs_free(reeve_protocol *protocol) {
    while (protocol->first) {
        reeve__job *job = protocol->first;
        protocol->first = job->next;
        reeve__job_free(protocol, job);
    }
    protocol->last = &protocol->first;
    protocol->pending = 0;
    reeve__job_free(protocol, protocol->taken);
    protocol->taken = NULL;
}

void reeve_protocol_free(reeve_protocol *protocol) {
    if (!protocol) {
        return;
    }
    reeve_env *env = protocol->env;
    jobs_free(protocol);
    job_destroy(env, protocol->spare);
    reeve__engine_dispose(&protocol->engine);
    reeve__buf_dispose(&protocol->known);
    char *password = protocol->strings[STRING_PASSWORD];
    if (password) {
        memset(password, 0, strlen(password));
    }
    for (size_t i = 0; i < STRING_COUNT; i++) {
        reeve__free(env, protocol->strings[i]);
    }
    reeve__free(env, protocol);
    reeve_env_free(env);
}

reeve_rc reeve_protocol_reset(reeve_protocol *protocol, reeve_error *err) {
    jobs_free(protocol);
    reeve__buf_clear(&protocol->known); /* the next server may be another */
    return reeve__engine_reset(&protocol->engine, err);
}

reeve_bytes reeve_protocol_output(const reeve_protocol *protocol) {
    return reeve__buf_view(&protocol->engine.out);
}

void reeve_protocol_sent(reeve_protocol *protocol, size_t bytes) {
    reeve__buf *out = &protocol->engine.out;
    reeve__buf_drop(out, bytes < out->size ? bytes : out->size);
}

reeve_rc reeve_protocol_feed(reeve_protocol *protocol, reeve_bytes bytes,
                             reeve_error *err) {
    return bytes.size > 0 ? reeve__engine_feed(&protocol->engine, bytes, err)
                          : REEVE_OK;
}

/* A job with nothing more to come. */
static bool is_done(const reeve__job *job) {
    return job->op.base.waiting == 0 &&
           (!job->registers || job->directory.op.waiting == 0);
}

reeve_rc reeve_protocol_next(const reeve_protocol_result **out,
                             reeve_protocol *protocol, reeve_error *err) {
    *out = NULL;
    reeve__job_free(protocol, protocol->taken);
    protocol->taken = NULL;
    reeve__job **at = &protocol->first;
    while (*at && !is_done(*at)) {
        at = &(*at)->next;
    }
    reeve__job *job = *at;
    if (!job) {
        return REEVE_OK;
    }
    *at = job->next;
    if (!*at) {
        protocol->last = at;
    }
    job->next = NULL;
    protocol->pending--;
    protocol->taken = job;
    reeve_rc rc = reeve__job_finish(protocol, job, err);
    if (rc == REEVE_OK) {
        *out = &job->result;
    }
    return rc;
}

size_t reeve_protocol_pending(const reeve_protocol *protocol) {
    return protocol->pending;
}

int64_t reeve_protocol_now(const reeve_protocol *protocol) {
    return reeve__engine_now(&protocol->engine);
}

/* ---- jobs ---------------------------------------------------------------- */

reeve_rc reeve__job_new(reeve__job **out, reeve_protocol *protocol,
                        int32_t kind, reeve_error *err) {
    reeve__job *job = protocol->spare;
    reeve__buf bytes, slots;
    if (job) {
        protocol->spare = NULL;
        bytes = job->bytes;
        slots = job->slots;
    } else {
        job = reeve__alloc(protocol->env, sizeof(*job));
        reeve__buf_init(&bytes, protocol->env);
        reeve__buf_init(&slots, protocol->env);
    }
    *out = job;
    if (!job) {
        return reeve__fail_nomem(err);
    }
    memset(job, 0, sizeof(*job));
    job->kind = kind;
    job->bytes = bytes;
    job->slots = slots;
    reeve__buf_init(&job->rows, protocol->env);
    return REEVE_OK;
}

/* Empties a buffer of a spare job; a large one is given back. */
static void buf_spare(reeve__buf *buf) {
    if (buf->capacity > SPARE_BYTES_MAX) {
        reeve__buf_dispose(buf);
    } else {
        reeve__buf_clear(buf);
    }
}

void reeve__job_free(reeve_protocol *protocol, reeve__job *job) {
    if (!job) {
        return;
    }
    reeve_env *env = protocol->env;
    switch (job->kind) {
    case REEVE_PROTOCOL_TURN:
        reeve__op_turn_dispose(&job->op.turn);
        break;
    case REEVE_PROTOCOL_EXTEND:
        reeve__op_extend_dispose(&job->op.extend);
        break;
    case REEVE_PROTOCOL_RECLAIM:
        reeve__op_reclaim_dispose(&job->op.reclaim);
        break;
    case REEVE_PROTOCOL_PROMOTE:
    case REEVE_PROTOCOL_WAIT:
    case REEVE_PROTOCOL_RING:
    case REEVE_PROTOCOL_SWEEP:
    case REEVE_PROTOCOL_BEAT:
        reeve__call_dispose(&job->op.call);
        break;
    default:
        break;
    }
    reeve__call_dispose(&job->directory);
    while (job->kept) {
        reeve__kept *kept = job->kept;
        job->kept = kept->next;
        reeve__free(env, kept);
    }
    reeve__free(env, job->settles);
    reeve__free(env, job->refs);
    reeve__free(env, job->queues);
    reeve__free(env, job->codes);
    reeve__buf_dispose(&job->rows);
    if (protocol->spare) {
        job_destroy(env, job);
    } else {
        buf_spare(&job->bytes);
        buf_spare(&job->slots);
        protocol->spare = job; /* the next one needs the same */
    }
}

void reeve__job_start(uint64_t *out_op, reeve_protocol *protocol,
                      reeve__job *job) {
    job->number = ++protocol->last_number;
    *protocol->last = job;
    protocol->last = &job->next;
    protocol->pending++;
    *out_op = job->number;
}

bool reeve__job_keep(reeve_protocol *protocol, reeve__job *job,
                     reeve_bytes *bytes) {
    if (bytes->size == 0) {
        return true; /* nobody looks at its data */
    }
    reeve__kept *kept =
        reeve__alloc(protocol->env, sizeof(*kept) + bytes->size + 1);
    if (!kept) {
        return false;
    }
    kept->next = job->kept;
    job->kept = kept;
    memcpy(kept->data, bytes->data, bytes->size);
    kept->data[bytes->size] = '\0';
    bytes->data = kept->data;
    return true;
}
