/*
 * Promote, sweep and what operators ask for: pages, single tasks, counts,
 * moves.
 */
#include "base/bytes.h"
#include "broker/check.h"
#include "broker/redis/ops.h"

#define ACT_CHUNK ((size_t)64)
#define STEP_MAX ((size_t)500)
#define PAGE_MAX ((size_t)1000)

static const uint8_t promote_keys[] = {
    REEVE__KEY_PENDING, REEVE__KEY_RANKED,    REEVE__KEY_META,
    REEVE__KEY_BELL,    REEVE__KEY_SCHEDULED, REEVE__KEY_RETRY,
};
static const uint8_t sweep_keys[] = {
    REEVE__KEY_TASKS,   REEVE__KEY_COMPLETED, REEVE__KEY_ARCHIVED,
    REEVE__KEY_RESULTS, REEVE__KEY_ACTIVE,    REEVE__KEY_LEASES,
    REEVE__KEY_META,
};
static const uint8_t ring_keys[] = { REEVE__KEY_BELL };
static const uint8_t pause_keys[] = { REEVE__KEY_META, REEVE__KEY_BELL,
                                      REEVE__KEY_PENDING, REEVE__KEY_RANKED };
static const uint8_t count_keys[] = {
    REEVE__KEY_PENDING,   REEVE__KEY_RANKED, REEVE__KEY_ACTIVE,
    REEVE__KEY_SCHEDULED, REEVE__KEY_RETRY,  REEVE__KEY_COMPLETED,
    REEVE__KEY_ARCHIVED,  REEVE__KEY_META,   REEVE__KEY_TASKS,
    REEVE__KEY_LEASES,
};
static const uint8_t list_keys[] = {
    REEVE__KEY_TASKS,     REEVE__KEY_PENDING, REEVE__KEY_RANKED,
    REEVE__KEY_SCHEDULED, REEVE__KEY_META,    REEVE__KEY_DEAD,
    REEVE__KEY_ACTIVE,    REEVE__KEY_RETRY,   REEVE__KEY_COMPLETED,
    REEVE__KEY_ARCHIVED,  REEVE__KEY_LEASES,  REEVE__KEY_RESULTS,
};
static const uint8_t find_keys[] = {
    REEVE__KEY_TASKS,    REEVE__KEY_RANKED,  REEVE__KEY_SCHEDULED,
    REEVE__KEY_ACTIVE,   REEVE__KEY_RETRY,   REEVE__KEY_COMPLETED,
    REEVE__KEY_ARCHIVED, REEVE__KEY_RESULTS,
};
static const uint8_t act_keys[] = {
    REEVE__KEY_TASKS,     REEVE__KEY_PENDING, REEVE__KEY_RANKED,
    REEVE__KEY_SCHEDULED, REEVE__KEY_META,    REEVE__KEY_BELL,
    REEVE__KEY_ACTIVE,    REEVE__KEY_RETRY,   REEVE__KEY_COMPLETED,
    REEVE__KEY_ARCHIVED,  REEVE__KEY_RESULTS, REEVE__KEY_DEAD,
};

static size_t clamp(size_t value, size_t most) {
    return value < 1 ? 1 : value > most ? most : value;
}

void reeve__call_promote(reeve__call *call, reeve__engine *engine,
                         reeve_bytes queue, size_t max) {
    reeve__call_init(call, REEVE__SCRIPT_PROMOTE, queue, promote_keys,
                     sizeof(promote_keys));
    reeve__call_arg_int(call, (int64_t)clamp(max, STEP_MAX));
    reeve__call_begin(call, engine);
}

void reeve__call_sweep(reeve__call *call, reeve__engine *engine,
                       reeve_bytes queue, size_t max) {
    reeve__call_init(call, REEVE__SCRIPT_SWEEP, queue, sweep_keys,
                     sizeof(sweep_keys));
    reeve__call_arg_int(call, (int64_t)clamp(max, STEP_MAX));
    reeve__call_begin(call, engine);
}

void reeve__call_ring(reeve__call *call, reeve__engine *engine,
                      reeve_bytes queue) {
    reeve__call_init(call, REEVE__SCRIPT_RING, queue, ring_keys,
                     sizeof(ring_keys));
    reeve__call_begin(call, engine);
}

void reeve__call_pause(reeve__call *call, reeve__engine *engine,
                       reeve_bytes queue, bool paused) {
    reeve__call_init(call, REEVE__SCRIPT_PAUSE, queue, pause_keys,
                     sizeof(pause_keys));
    reeve__call_arg_int(call, paused);
    reeve__call_begin(call, engine);
}

void reeve__call_count(reeve__call *call, reeve__engine *engine,
                       reeve_bytes queue) {
    reeve__call_init(call, REEVE__SCRIPT_TALLY, queue, count_keys,
                     sizeof(count_keys));
    reeve__call_begin(call, engine);
}

void reeve__call_list(reeve__call *call, reeve__engine *engine,
                      reeve_bytes queue, int32_t state, uint64_t cursor,
                      size_t limit) {
    reeve__call_init(call, REEVE__SCRIPT_LIST, queue, list_keys,
                     sizeof(list_keys));
    reeve__call_arg_int(call, state);
    reeve__call_arg_int(call, (int64_t)(cursor & INT64_MAX));
    reeve__call_arg_int(call, (int64_t)clamp(limit, PAGE_MAX));
    reeve__call_begin(call, engine);
}

void reeve__call_find(reeve__call *call, reeve__engine *engine,
                      reeve_bytes queue, reeve_bytes id) {
    reeve__call_init(call, REEVE__SCRIPT_FIND, queue, find_keys,
                     sizeof(find_keys));
    reeve__call_arg(call, id);
    reeve__call_begin(call, engine);
}

/* ---- rows ---------------------------------------------------------------- */

static reeve_bytes text_of(const reeve__reply *reply) {
    return reply->type == REEVE__REPLY_STRING ? reply->bytes
                                              : (reeve_bytes){ NULL, 0 };
}

/* A score is what lib/expiry.lua and lib/place.lua say. */
static void read_score(reeve__row *row, int64_t score) {
    row->priority = (int32_t)(score % 10);
    switch (row->state) {
    case REEVE_STATE_SCHEDULED:
    case REEVE_STATE_RETRY:
        row->due_at_ms = score / 10;
        break;
    case REEVE_STATE_COMPLETED:
    case REEVE_STATE_ARCHIVED:
        row->expires_at_ms =
            score >= REEVE__SCORE_FOR_EVER ? REEVE_NEVER : score / 10;
        break;
    default:
        break;
    }
}

/* fields: body, score, token, worker, lease_ms, result. */
static bool read_row(reeve__row *row, const reeve__reply *fields) {
    int64_t score;
    if (!reeve__reply_int(&score, &fields[1]) ||
        !reeve__reply_int(&row->token, &fields[2]) ||
        !reeve__reply_int(&row->lease_ms, &fields[4])) {
        return false;
    }
    row->envelope = text_of(&fields[0]);
    row->worker = text_of(&fields[3]);
    if (reeve__bytes_is(row->worker, "-")) {
        row->worker.size = 0;
    }
    row->has_result = fields[5].type == REEVE__REPLY_STRING;
    row->result = text_of(&fields[5]);
    read_score(row, score);
    return true;
}

static reeve_rc call_error(const reeve__call *call, reeve_error *err) {
    if (err) {
        *err = call->op.err;
    }
    return call->op.rc;
}

reeve_rc reeve__call_list_rows(reeve__call *call, reeve__engine *engine,
                               int32_t state, uint64_t *out_cursor,
                               reeve__row_fn on_row, void *ctx,
                               reeve_error *err) {
    const size_t head = 2, fields = 7;
    int64_t now_at_ms = reeve__call_int(call, engine, 0);
    int64_t cursor = reeve__call_int(call, engine, 1);
    if (call->op.rc < 0) {
        return call_error(call, err);
    }
    *out_cursor = (uint64_t)cursor;
    reeve__engine_saw_time(engine, now_at_ms);
    for (size_t at = head; at + fields <= call->reply->count; at += fields) {
        const reeve__reply *elements = call->reply->elements + at;
        reeve__row row = { .queue = call->queue,
                           .id = text_of(&elements[0]),
                           .state = state,
                           .now_at_ms = now_at_ms };
        if (!read_row(&row, elements + 1)) {
            reeve__op_malformed(&call->op, engine, "list");
            return call_error(call, err);
        }
        reeve_rc rc = on_row(ctx, &row, err);
        if (rc < 0) {
            return rc;
        }
    }
    return REEVE_OK;
}

reeve_rc reeve__call_find_row(reeve__call *call, reeve__engine *engine,
                              reeve_bytes id, reeve__row_fn on_row, void *ctx,
                              reeve_error *err) {
    if (call->reply->type == REEVE__REPLY_ARRAY && call->reply->count == 0) {
        return REEVE_OK;
    }
    reeve__row row = { .queue = call->queue, .id = id };
    row.now_at_ms = reeve__call_int(call, engine, 0);
    row.state = (int32_t)reeve__call_int(call, engine, 1);
    if (call->op.rc == REEVE_OK &&
        (call->reply->count != 8 ||
         !read_row(&row, call->reply->elements + 2))) {
        reeve__op_malformed(&call->op, engine, "find");
    }
    if (call->op.rc < 0) {
        return call_error(call, err);
    }
    reeve__engine_saw_time(engine, row.now_at_ms);
    return on_row(ctx, &row, err);
}

/* ---- act ----------------------------------------------------------------- */

static size_t act_chunk(const reeve__op_act *op, size_t first) {
    size_t count = 1;
    while (first + count < op->count && count < ACT_CHUNK &&
           reeve__bytes_equal(op->acts[first + count].queue,
                              op->acts[first].queue)) {
        count++;
    }
    return count;
}

/* A part is named by its first act. */
static void act_send(reeve__op *base, reeve__engine *engine, size_t first) {
    reeve__op_act *op = (reeve__op_act *)base;
    size_t count = act_chunk(op, first);
    reeve__engine_script(engine, base, first, REEVE__SCRIPT_ACT,
                         sizeof(act_keys), count * 7);
    reeve__engine_keys(engine, op->acts[first].queue, act_keys,
                       sizeof(act_keys));
    for (size_t i = first; i < first + count; i++) {
        const reeve__act *act = &op->acts[i];
        int32_t to_state = REEVE_STATE_NONE;
        bool legal = reeve__act_target(&to_state, act->action, act->from_state);
        reeve__cmd_bytes(&engine->out, act->id);
        /* No task is ever active here: an illegal move finds no match. */
        reeve__cmd_int(&engine->out,
                       legal ? act->from_state : REEVE_STATE_ACTIVE);
        reeve__cmd_int(&engine->out, to_state);
        reeve__cmd_int(&engine->out, act->priority);
        reeve__cmd_int(&engine->out, act->retention_ms);
        reeve__cmd_int(&engine->out, act->envelope.size > 0);
        reeve__cmd_bytes(&engine->out, act->envelope);
    }
}

static void act_on_reply(reeve__op *base, reeve__engine *engine, size_t first,
                         reeve__reply **reply) {
    reeve__op_act *op = (reeve__op_act *)base;
    size_t count = act_chunk(op, first);
    if ((*reply)->type != REEVE__REPLY_ARRAY || (*reply)->count != count) {
        reeve__op_malformed(base, engine, "act");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t code = (*reply)->elements[i].integer;
        op->acts[first + i].code = code == 0   ? REEVE_OK
                                   : code == 1 ? REEVE_E_NOT_FOUND
                                               : REEVE_E_STATE;
    }
}

void reeve__op_act_begin(reeve__op_act *op, reeve__engine *engine,
                         reeve__act *acts, size_t count) {
    *op = (reeve__op_act){
        .op = { .send = act_send, .on_reply = act_on_reply },
        .acts = acts,
        .count = count,
    };
    for (size_t first = 0; first < count; first += act_chunk(op, first)) {
        act_send(&op->op, engine, first);
    }
}
