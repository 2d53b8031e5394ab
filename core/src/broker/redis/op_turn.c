/*
 * active → its verdict, then pending → active, for several queues in one
 * flight. Verdicts other than a plain end go by settle scripts in front; the
 * turn script ends the rest, drops leases and claims. Bodies come with a small
 * claim and by HMGET after a large one.
 */
#include "base/bytes.h"
#include "broker/redis/ops.h"

#include <string.h>

#define SETTLE_CHUNK ((size_t)64)
#define SETTLE_CHUNK_BYTES ((size_t)512 * 1024)
#define END_CHUNK ((size_t)500)
/* When no more tasks come than this, and their bodies should have so many bytes
 * at most in all, the script returns them itself: one round trip less against
 * the way through Lua, which costs the server over 1 ns a byte
 * (docs/decisions/0102). */
#define INLINE_MAX ((size_t)4) /* as in turn.lua */
#define INLINE_BYTES ((size_t)32 * 1024)
#define BODY_PARTS (REEVE__CLAIM_CHUNK / REEVE__BODIES_CHUNK)

#define SEEN_WORDS ((size_t)64)

#define FLAG_MORE 1
#define FLAG_PAUSED 2
#define FLAG_PRIORITIES 4
#define FLAG_LOST 8
#define FLAG_BODIES 16
#define HEAD_FIELDS ((size_t)4)

struct reeve__turn_part {
    size_t turn;
    bool settle;  /* settle.lua, else turn.lua */
    size_t first; /* in order */
    size_t count;
    size_t drop_first; /* turn.lua: moved settles that may end a token */
    size_t drop_count;
    size_t claim;
    bool inlined;  /* bodies come with the claim; asked for, then answered */
    bool last;     /* the queue's last claim: reports what is left */
    bool answered; /* well */
    size_t ids_at; /* in reply, after a claim */
    size_t claimed;
    reeve__reply *reply;
    reeve__reply *bodies[BODY_PARTS];
};

static const uint8_t turn_keys[] = {
    REEVE__KEY_TASKS,  REEVE__KEY_PENDING,   REEVE__KEY_RANKED,
    REEVE__KEY_ACTIVE, REEVE__KEY_LEASES,    REEVE__KEY_META,
    REEVE__KEY_BELL,   REEVE__KEY_SCHEDULED, REEVE__KEY_RETRY,
    REEVE__KEY_DEAD,
};
static const uint8_t settle_keys[] = {
    REEVE__KEY_TASKS,     REEVE__KEY_PENDING, REEVE__KEY_RANKED,
    REEVE__KEY_ACTIVE,    REEVE__KEY_META,    REEVE__KEY_BELL,
    REEVE__KEY_SCHEDULED, REEVE__KEY_RETRY,   REEVE__KEY_COMPLETED,
    REEVE__KEY_ARCHIVED,  REEVE__KEY_RESULTS, REEVE__KEY_DEAD,
};
static const uint8_t tasks_key[] = { REEVE__KEY_TASKS };

/* ---- out ----------------------------------------------------------------- */

static void send_settle(reeve__op_turn *op, reeve__engine *engine,
                        size_t index) {
    const reeve__turn_part *part = &op->parts[index];
    reeve__engine_script(engine, &op->op, index, REEVE__SCRIPT_SETTLE,
                         sizeof(settle_keys), 1 + part->count * 10);
    reeve__engine_keys(engine, op->turns[part->turn].queue, settle_keys,
                       sizeof(settle_keys));
    reeve__cmd_int(&engine->out, op->resent);
    for (size_t i = 0; i < part->count; i++) {
        const reeve__settle *settle = op->order[part->first + i];
        bool completed = settle->to_state == REEVE_STATE_COMPLETED;
        int flags = (settle->envelope.size > 0 ? 1 : 0) +
                    (settle->has_result && completed ? 2 : 0) +
                    (settle->done ? 4 : 0) + (settle->failed ? 8 : 0);
        reeve__cmd_bytes(&engine->out, settle->id);
        reeve__cmd_int(&engine->out, settle->token);
        reeve__cmd_int(&engine->out, settle->to_state);
        reeve__cmd_int(&engine->out, settle->priority);
        reeve__cmd_int(&engine->out, settle->delay_ms);
        reeve__cmd_int(&engine->out, settle->retention_ms);
        reeve__cmd_int(&engine->out, settle->archive_count);
        reeve__cmd_int(&engine->out, flags);
        reeve__cmd_bytes(&engine->out, settle->envelope);
        reeve__cmd_bytes(&engine->out, settle->result);
    }
}

static int end_flags(const reeve__settle *settle) {
    return (settle->last_of_token ? 1 : 0) + (settle->done ? 2 : 0) +
           (settle->failed ? 4 : 0);
}

/* Length of the run of plain ends at index: one token, one set of counters;
 * the token's last closes it. */
static size_t run_length(const reeve__turn_part *part,
                         reeve__settle *const *ends, size_t index) {
    size_t length = 1;
    while (index + length < part->count) {
        const reeve__settle *last = ends[index + length - 1];
        const reeve__settle *next = ends[index + length];
        if (last->last_of_token || next->token != last->token ||
            (end_flags(next) & ~1) != (end_flags(last) & ~1)) {
            break;
        }
        length++;
    }
    return length;
}

static void send_turn(reeve__op_turn *op, reeve__engine *engine, size_t index) {
    const reeve__turn_part *part = &op->parts[index];
    const reeve__turn *turn = &op->turns[part->turn];
    reeve__settle **ends = op->order + part->first;
    reeve__settle **moved = op->order + part->drop_first;
    size_t runs = 0;
    for (size_t i = 0; i < part->count; i += run_length(part, ends, i)) {
        runs++;
    }
    for (size_t i = 0; i < part->drop_count; i++) {
        runs += moved[i]->last_of_token;
    }
    reeve__engine_script(engine, &op->op, index, REEVE__SCRIPT_TURN,
                         sizeof(turn_keys), 5 + part->count + runs * 2);
    reeve__engine_keys(engine, turn->queue, turn_keys, sizeof(turn_keys));
    /* No worker is "-": a claim's first word. */
    reeve__cmd_bytes(&engine->out,
                     op->worker.size > 0 ? op->worker : reeve_bytes_of("-"));
    reeve__cmd_int(&engine->out, (int64_t)part->claim);
    reeve__cmd_int(&engine->out, turn->lease_ms);
    reeve__cmd_int(&engine->out,
                   (part->inlined ? 1 : 0) + (op->resent ? 2 : 0));
    reeve__cmd_int(&engine->out, (int64_t)part->count);
    for (size_t i = 0; i < part->count; i++) {
        reeve__cmd_bytes(&engine->out, ends[i]->id);
    }
    for (size_t i = 0, length; i < part->count; i += length) {
        length = run_length(part, ends, i);
        reeve__cmd_int(&engine->out, ends[i]->token);
        reeve__cmd_int(&engine->out,
                       (int64_t)length * 8 + end_flags(ends[i + length - 1]));
    }
    for (size_t i = 0; i < part->drop_count; i++) {
        if (moved[i]->last_of_token) {
            reeve__cmd_int(&engine->out, moved[i]->token);
            reeve__cmd_int(&engine->out, 1);
        }
    }
}

static void turn_send(reeve__op *base, reeve__engine *engine, size_t index) {
    reeve__op_turn *op = (reeve__op_turn *)base;
    if (op->parts[index].settle) {
        send_settle(op, engine, index);
    } else {
        send_turn(op, engine, index);
    }
}

/* ---- in ------------------------------------------------------------------ */

/* Bodies are asked for as parts after the last real one. */
static size_t bodies_part(const reeve__op_turn *op, size_t index, size_t slot) {
    return op->part_count + index * BODY_PARTS + slot;
}

static void ask_bodies(reeve__op_turn *op, reeve__engine *engine,
                       size_t index) {
    const reeve__turn_part *part = &op->parts[index];
    const reeve__reply *ids = part->reply->elements + part->ids_at;
    for (size_t at = 0, slot = 0; at < part->claimed; slot++) {
        size_t count = part->claimed - at;
        count = count < REEVE__BODIES_CHUNK ? count : REEVE__BODIES_CHUNK;
        reeve__engine_command(engine, &op->op, bodies_part(op, index, slot),
                              2 + count);
        reeve__cmd_text(&engine->out, "HMGET");
        reeve__engine_keys(engine, op->turns[part->turn].queue, tasks_key, 1);
        for (size_t i = 0; i < count; i++) {
            reeve__cmd_bytes(&engine->out, ids[at + i].bytes);
        }
        at += count;
    }
}

static bool read_lost(reeve__settle **settles, size_t count,
                      const reeve__reply *indices, size_t index_count) {
    for (size_t i = 0; i < count; i++) {
        settles[i]->code = REEVE_OK;
    }
    for (size_t i = 0; i < index_count; i++) {
        int64_t index;
        if (!reeve__reply_int(&index, &indices[i]) || index < 0 ||
            (size_t)index >= count) {
            return false;
        }
        settles[index]->code = REEVE_E_LEASE_LOST;
    }
    return true;
}

static bool ids_are_good(const reeve__reply *ids, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (ids[i].type != REEVE__REPLY_STRING) {
            return false;
        }
    }
    return true;
}

/* The number of lost ids that stands in front of their indices. */
static bool count_lost(size_t *out_count, size_t *out_at,
                       const reeve__reply *reply, size_t most) {
    int64_t count;
    if (reply->count <= HEAD_FIELDS ||
        !reeve__reply_int(&count, &reply->elements[HEAD_FIELDS]) || count < 0 ||
        (uint64_t)count > most ||
        (size_t)count > reply->count - HEAD_FIELDS - 1) {
        return false;
    }
    *out_count = (size_t)count;
    *out_at = HEAD_FIELDS + 1;
    return true;
}

/* Reads the numbers in front; false when the reply is malformed. */
static bool read_turn(reeve__op_turn *op, reeve__engine *engine, size_t index) {
    reeve__turn_part *part = &op->parts[index];
    reeve__turn *turn = &op->turns[part->turn];
    const reeve__reply *reply = part->reply;
    int64_t head[HEAD_FIELDS];
    if (reply->type != REEVE__REPLY_ARRAY || reply->count < HEAD_FIELDS) {
        return false;
    }
    for (size_t i = 0; i < HEAD_FIELDS; i++) {
        if (!reeve__reply_int(&head[i], &reply->elements[i])) {
            return false;
        }
    }
    size_t lost_at = HEAD_FIELDS, lost = 0;
    if ((head[1] & FLAG_LOST) != 0 &&
        !count_lost(&lost, &lost_at, reply, part->count)) {
        return false;
    }
    part->inlined = (head[1] & FLAG_BODIES) != 0;
    size_t columns = 1;
    columns += (head[1] & FLAG_PRIORITIES) != 0;
    columns += part->inlined;
    part->ids_at = lost_at + lost;
    size_t rest = reply->count - part->ids_at;
    if (rest % columns != 0 || rest / columns > part->claim ||
        !read_lost(op->order + part->first, part->count,
                   reply->elements + lost_at, lost) ||
        !ids_are_good(reply->elements + part->ids_at, rest / columns)) {
        return false;
    }
    part->claimed = rest / columns;
    reeve__engine_saw_time(engine, head[0]);
    turn->claimed += part->claimed;
    if (part->last) {
        turn->more = (head[1] & FLAG_MORE) != 0;
        turn->paused = (head[1] & FLAG_PAUSED) != 0;
        turn->next_due_at_ms = head[2];
    }
    return true;
}

/* A mean with a memory of some claims. */
static void note_bodies(reeve__engine *engine, const reeve__reply *bodies,
                        size_t count) {
    size_t bytes = 0, found = 0;
    for (size_t i = 0; i < count; i++) {
        if (bodies[i].type == REEVE__REPLY_STRING) {
            bytes += bodies[i].bytes.size;
            found++;
        }
    }
    if (found > 0) {
        size_t mean = bytes / found;
        engine->body_bytes =
            engine->body_bytes ? (engine->body_bytes * 3 + mean) / 4 : mean;
    }
}

static void turn_on_reply(reeve__op *base, reeve__engine *engine, size_t index,
                          reeve__reply **reply) {
    reeve__op_turn *op = (reeve__op_turn *)base;
    if (index >= op->part_count) {
        index -= op->part_count;
        reeve__turn_part *part = &op->parts[index / BODY_PARTS];
        part->bodies[index % BODY_PARTS] = *reply;
        note_bodies(engine, (*reply)->elements, (*reply)->count);
        *reply = NULL;
        return;
    }
    reeve__turn_part *part = &op->parts[index];
    if (part->settle) {
        part->answered = (*reply)->type == REEVE__REPLY_ARRAY &&
                         read_lost(op->order + part->first, part->count,
                                   (*reply)->elements, (*reply)->count);
        if (!part->answered) {
            reeve__op_malformed(base, engine, "settle");
        }
        return;
    }
    part->reply = *reply;
    *reply = NULL;
    part->answered = read_turn(op, engine, index);
    if (!part->answered) {
        reeve__op_malformed(base, engine, "turn");
    } else if (part->claimed > 0 && !part->inlined) {
        ask_bodies(op, engine, index);
    } else {
        const reeve__reply *all = part->reply;
        note_bodies(engine, all->elements + all->count - part->claimed,
                    part->claimed);
    }
}

/* ---- plan ---------------------------------------------------------------- */

static reeve__turn_part *part_add(reeve__op_turn *op) {
    if (op->part_count == op->part_capacity) {
        size_t capacity = op->part_capacity ? op->part_capacity * 2 : 4;
        reeve__turn_part *parts =
            reeve__realloc(op->env, op->parts, capacity * sizeof(*parts));
        if (!parts) {
            return NULL;
        }
        op->parts = parts;
        op->part_capacity = capacity;
    }
    reeve__turn_part *part = &op->parts[op->part_count++];
    memset(part, 0, sizeof(*part));
    return part;
}

/* Settle scripts for the moved verdicts in order[first …]. */
static bool plan_moved(reeve__op_turn *op, size_t turn, size_t first,
                       size_t count) {
    while (count > 0) {
        reeve__turn_part *part = part_add(op);
        if (!part) {
            return false;
        }
        part->turn = turn;
        part->settle = true;
        part->first = first;
        size_t bytes = 0;
        while (part->count < count && part->count < SETTLE_CHUNK) {
            const reeve__settle *settle = op->order[first + part->count];
            bytes += settle->envelope.size + settle->result.size;
            if (part->count > 0 && bytes > SETTLE_CHUNK_BYTES) {
                break;
            }
            part->count++;
        }
        first += part->count;
        count -= part->count;
    }
    return true;
}

/* Turn scripts: plain ends, leases to drop, claims. */
static bool plan_turns(reeve__op_turn *op, const reeve__engine *engine,
                       size_t turn, size_t first, size_t moved, size_t ends) {
    size_t claim = op->turns[turn].claim_max;
    size_t end_at = first + moved;
    size_t drop_at = first;
    bool drops = false;
    for (size_t i = 0; i < moved; i++) {
        drops = drops || op->order[first + i]->last_of_token;
    }
    moved = drops ? moved : 0;
    do {
        reeve__turn_part *part = part_add(op);
        if (!part) {
            return false;
        }
        part->turn = turn;
        part->first = end_at;
        part->count = ends < END_CHUNK ? ends : END_CHUNK;
        part->drop_first = drop_at;
        part->drop_count = moved < END_CHUNK ? moved : END_CHUNK;
        end_at += part->count;
        ends -= part->count;
        drop_at += part->drop_count;
        moved -= part->drop_count;
        if (moved == 0 && ends == 0) {
            part->claim =
                claim < REEVE__CLAIM_CHUNK ? claim : REEVE__CLAIM_CHUNK;
            size_t few = part->claim < INLINE_MAX ? part->claim : INLINE_MAX;
            part->inlined = few * engine->body_bytes <= INLINE_BYTES;
            claim -= part->claim;
            part->last = claim == 0;
        }
    } while (moved > 0 || ends > 0 || claim > 0);
    return true;
}

static size_t slot_of(reeve_bytes id) {
    uint32_t hash = UINT32_C(0x811c9dc5); /* FNV-1a */
    for (size_t i = 0; i < id.size; i++) {
        hash = (hash ^ (unsigned char)id.data[i]) * UINT32_C(0x01000193);
    }
    return (hash ^ hash >> 16) % (SEEN_WORDS * 64);
}

/* Whether a task may be named both by a plain end and by another verdict: the
 * first of them must win, so they take one script. False alarms are harmless. */
static bool may_meet(const reeve__turn *turn) {
    size_t moved = 0;
    for (size_t i = 0; i < turn->settle_count; i++) {
        moved += turn->settles[i].to_state != REEVE_STATE_NONE;
    }
    if (moved == 0 || moved == turn->settle_count) {
        return false;
    }
    uint64_t seen[SEEN_WORDS] = { 0 };
    bool meet = false;
    for (size_t i = 0; i < turn->settle_count; i++) {
        size_t slot = slot_of(turn->settles[i].id);
        if (turn->settles[i].to_state != REEVE_STATE_NONE) {
            seen[slot / 64] |= UINT64_C(1) << slot % 64;
        }
    }
    for (size_t i = 0; i < turn->settle_count && !meet; i++) {
        size_t slot = slot_of(turn->settles[i].id);
        meet = turn->settles[i].to_state == REEVE_STATE_NONE &&
               (seen[slot / 64] >> slot % 64 & 1) != 0;
    }
    return meet;
}

static bool plan(reeve__op_turn *op, const reeve__engine *engine) {
    size_t first = 0;
    for (size_t t = 0; t < op->count; t++) {
        reeve__turn *turn = &op->turns[t];
        turn->answered = false;
        turn->claimed = 0;
        turn->more = false;
        turn->paused = false;
        turn->next_due_at_ms = 0;
        size_t moved = 0, ends = 0;
        bool together = may_meet(turn);
        for (size_t i = 0; i < turn->settle_count; i++) {
            if (together || turn->settles[i].to_state != REEVE_STATE_NONE) {
                op->order[first + moved++] = &turn->settles[i];
            }
        }
        for (size_t i = 0; i < turn->settle_count; i++) {
            if (!together && turn->settles[i].to_state == REEVE_STATE_NONE) {
                op->order[first + moved + ends++] = &turn->settles[i];
            }
        }
        if (!plan_moved(op, t, first, moved) ||
            !plan_turns(op, engine, t, first, moved, ends)) {
            return false;
        }
        first += turn->settle_count;
    }
    return true;
}

reeve_rc reeve__op_turn_begin(reeve__op_turn *op, reeve__engine *engine,
                              reeve__turn *turns, size_t count,
                              reeve_bytes worker, bool resent,
                              reeve_error *err) {
    *op = (reeve__op_turn){
        .op = { .send = turn_send, .on_reply = turn_on_reply },
        .env = engine->env,
        .turns = turns,
        .count = count,
        .worker = worker,
        .resent = resent,
    };
    size_t settles = 0;
    for (size_t i = 0; i < count; i++) {
        settles += turns[i].settle_count;
    }
    if (settles > 0) {
        op->order = reeve__calloc(op->env, settles, sizeof(*op->order));
        if (!op->order) {
            return reeve__fail_nomem(err);
        }
    }
    if (!plan(op, engine)) {
        return reeve__fail_nomem(err);
    }
    for (size_t i = 0; i < op->part_count; i++) {
        turn_send(&op->op, engine, i);
    }
    return REEVE_OK;
}

/* ---- rows ---------------------------------------------------------------- */

/* Body of the i-th claimed task; empty when it is missing. */
static reeve_bytes body_of(const reeve__turn_part *part, bool priorities,
                           size_t i) {
    const reeve__reply *body;
    if (part->inlined) {
        body = &part->reply->elements[part->ids_at +
                                      part->claimed * (priorities ? 2 : 1) + i];
    } else {
        body = reeve__reply_at(part->bodies[i / REEVE__BODIES_CHUNK],
                               i % REEVE__BODIES_CHUNK);
    }
    return body && body->type == REEVE__REPLY_STRING ? body->bytes
                                                     : (reeve_bytes){ NULL, 0 };
}

static reeve_rc deliver_part(const reeve__op_turn *op,
                             const reeve__turn_part *part,
                             reeve__row_fn on_claim, void *ctx,
                             reeve_error *err) {
    const reeve__reply *elements = part->reply->elements;
    const reeve__turn *turn = &op->turns[part->turn];
    bool priorities = (elements[1].integer & FLAG_PRIORITIES) != 0;
    reeve_rc rc = REEVE_OK;
    for (size_t i = 0; i < part->claimed && rc == REEVE_OK; i++) {
        int64_t priority = REEVE_PRIORITY_DEFAULT;
        if (priorities) {
            reeve__reply_int(&priority,
                             &elements[part->ids_at + part->claimed + i]);
        }
        reeve__row row = {
            .turn_index = part->turn,
            .queue = turn->queue,
            .id = elements[part->ids_at + i].bytes,
            .envelope = body_of(part, priorities, i),
            .state = REEVE_STATE_ACTIVE,
            .priority = (int32_t)priority,
            .token = elements[3].integer,
            .lease_ms = turn->lease_ms,
            .now_at_ms = elements[0].integer,
            .worker = op->worker,
        };
        rc = on_claim(ctx, &row, err);
    }
    return rc;
}

/* A body that the server refused to read is not one that is missing. */
static bool has_bodies(const reeve__turn_part *part) {
    for (size_t i = 0;
         !part->inlined && i * REEVE__BODIES_CHUNK < part->claimed; i++) {
        if (!part->bodies[i]) {
            return false;
        }
    }
    return true;
}

/* A queue that refuses has failed alone. */
static void note_answers(const reeve__op_turn *op) {
    for (size_t i = 0; i < op->count; i++) {
        op->turns[i].answered = true;
    }
    for (size_t i = 0; i < op->part_count; i++) {
        const reeve__turn_part *part = &op->parts[i];
        if (!part->answered || !has_bodies(part)) {
            op->turns[part->turn].answered = false;
        }
    }
}

reeve_rc reeve__op_turn_deliver(const reeve__op_turn *op,
                                reeve__row_fn on_claim, void *ctx,
                                reeve_error *err) {
    reeve_rc rc = REEVE_OK;
    for (size_t i = 0; i < op->part_count && rc == REEVE_OK; i++) {
        if (op->parts[i].claimed > 0 && has_bodies(&op->parts[i])) {
            rc = deliver_part(op, &op->parts[i], on_claim, ctx, err);
        }
    }
    if (rc == REEVE_OK) {
        note_answers(op);
    }
    return rc;
}

void reeve__op_turn_dispose(reeve__op_turn *op) {
    for (size_t i = 0; i < op->part_count; i++) {
        reeve__reply_free(op->parts[i].reply);
        for (size_t slot = 0; slot < BODY_PARTS; slot++) {
            reeve__reply_free(op->parts[i].bodies[slot]);
        }
    }
    reeve__free(op->env, op->parts);
    reeve__free(op->env, op->order);
    op->parts = NULL;
    op->order = NULL;
    op->part_count = 0;
}
