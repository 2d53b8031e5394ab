/*
 * nothing → pending, scheduled. A flight is up to 16 chunks of bounded size.
 * Those without delays, priorities or keys take the short script; with ids that
 * were drawn for this call, a transaction, so that no body passes through Lua
 * (docs/decisions/0105).
 */
#include "base/bytes.h"
#include "broker/redis/ops.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_ITEMS ((size_t)256)
#define CHUNK_BYTES ((size_t)256 * 1024)
/* Of enqueue_any's reply: server time, then rows. */
#define ROW_FIELDS ((size_t)4)
/* Commands between MULTI and EXEC. */
#define FRESH_COMMANDS ((size_t)4)

/* What a reply answers: part = step * REEVE__ENQUEUE_CHUNKS_MAX + chunk. */
enum enqueue_step {
    STEP_SCRIPT,
    STEP_MULTI,
    STEP_QUEUED,
    STEP_EXEC,
    STEP_UNDO,
};

static const uint8_t plain_keys[] = { REEVE__KEY_TASKS, REEVE__KEY_PENDING,
                                      REEVE__KEY_BELL };
static const uint8_t undo_keys[] = { REEVE__KEY_TASKS, REEVE__KEY_PENDING };
static const uint8_t any_keys[] = {
    REEVE__KEY_TASKS,     REEVE__KEY_PENDING, REEVE__KEY_RANKED,
    REEVE__KEY_SCHEDULED, REEVE__KEY_META,    REEVE__KEY_BELL,
    REEVE__KEY_ACTIVE,    REEVE__KEY_RETRY,   REEVE__KEY_COMPLETED,
    REEVE__KEY_ARCHIVED,
};

static int by_queue(const void *left, const void *right) {
    const reeve__enqueue_item *a = *(reeve__enqueue_item *const *)left;
    const reeve__enqueue_item *b = *(reeve__enqueue_item *const *)right;
    size_t size = a->queue.size < b->queue.size ? a->queue.size : b->queue.size;
    int order = memcmp(a->queue.data, b->queue.data, size);
    if (order != 0) {
        return order;
    }
    if (a->queue.size != b->queue.size) {
        return a->queue.size < b->queue.size ? -1 : 1;
    }
    return a < b ? -1 : a > b;
}

void reeve__enqueue_sort(reeve__enqueue_item **items, size_t count) {
    for (size_t i = 1; i < count; i++) {
        if (!reeve__bytes_equal(items[i]->queue, items[0]->queue)) {
            qsort(items, count, sizeof(items[0]), by_queue);
            return;
        }
    }
}

static uint8_t way_of(const reeve__enqueue_item *item) {
    bool plain = item->priority == REEVE_PRIORITY_DEFAULT &&
                 item->delay_ms == 0 && item->due_at_ms == 0 &&
                 item->idempotency_key.size == 0 && !item->resent;
    return !plain        ? REEVE__ENQUEUE_ANY
           : item->fresh ? REEVE__ENQUEUE_FRESH
                         : REEVE__ENQUEUE_PLAIN;
}

/* The items of one queue that go into one script or transaction. */
static reeve__enqueue_chunk cut(const reeve__op_enqueue *op, size_t first,
                                size_t count) {
    reeve__enqueue_chunk chunk = { .first = first };
    chunk.way = op->resent ? REEVE__ENQUEUE_ANY : REEVE__ENQUEUE_FRESH;
    size_t bytes = 0;
    for (size_t i = first; i < count && chunk.count < CHUNK_ITEMS; i++) {
        const reeve__enqueue_item *item = op->items[i];
        bytes += item->envelope.size;
        if (chunk.count > 0 &&
            (bytes > CHUNK_BYTES ||
             !reeve__bytes_equal(item->queue, op->items[first]->queue))) {
            break;
        }
        uint8_t way = way_of(item);
        chunk.way = way > chunk.way ? way : chunk.way;
        chunk.count++;
    }
    return chunk;
}

/* One of a chunk's commands outside of scripts. */
static void begin_step(reeve__op_enqueue *op, reeve__engine *engine,
                       size_t chunk, enum enqueue_step step, const char *verb,
                       size_t argc) {
    reeve__engine_command(engine, &op->op,
                          step * REEVE__ENQUEUE_CHUNKS_MAX + chunk, 1 + argc);
    reeve__cmd_text(&engine->out, verb);
}

static void begin_queued(reeve__op_enqueue *op, reeve__engine *engine,
                         size_t chunk, const char *verb, uint8_t key,
                         size_t argc) {
    begin_step(op, engine, chunk, STEP_QUEUED, verb, 1 + argc);
    reeve__engine_keys(engine, op->items[op->chunks[chunk].first]->queue, &key,
                       1);
}

/* All or nothing; the bell keeps one ring at most, and waiters are served when
 * all has been done. */
static void send_fresh(reeve__op_enqueue *op, reeve__engine *engine,
                       size_t part) {
    const reeve__enqueue_chunk *chunk = &op->chunks[part];
    reeve__enqueue_item **items = op->items + chunk->first;
    reeve__buf *out = &engine->out;
    begin_step(op, engine, part, STEP_MULTI, "MULTI", 0);
    begin_queued(op, engine, part, "HSET", REEVE__KEY_TASKS, chunk->count * 2);
    for (size_t i = 0; i < chunk->count; i++) {
        reeve__cmd_bytes(out, items[i]->id);
        reeve__cmd_bytes(out, items[i]->envelope);
    }
    begin_queued(op, engine, part, "RPUSH", REEVE__KEY_PENDING, chunk->count);
    for (size_t i = 0; i < chunk->count; i++) {
        reeve__cmd_bytes(out, items[i]->id);
    }
    begin_queued(op, engine, part, "RPUSH", REEVE__KEY_BELL, 1);
    reeve__cmd_text(out, "1");
    begin_queued(op, engine, part, "LTRIM", REEVE__KEY_BELL, 2);
    reeve__cmd_text(out, "0");
    reeve__cmd_text(out, "0");
    begin_step(op, engine, part, STEP_EXEC, "EXEC", 0);
}

static void send_undo(reeve__op_enqueue *op, reeve__engine *engine,
                      size_t part) {
    const reeve__enqueue_chunk *chunk = &op->chunks[part];
    reeve__enqueue_item **items = op->items + chunk->first;
    reeve__engine_script(engine, &op->op,
                         STEP_UNDO * REEVE__ENQUEUE_CHUNKS_MAX + part,
                         REEVE__SCRIPT_UNDO, sizeof(undo_keys), chunk->count);
    reeve__engine_keys(engine, items[0]->queue, undo_keys, sizeof(undo_keys));
    for (size_t i = 0; i < chunk->count; i++) {
        reeve__cmd_bytes(&engine->out, items[i]->id);
    }
}

static void send_plain(reeve__op_enqueue *op, reeve__engine *engine,
                       size_t part) {
    const reeve__enqueue_chunk *chunk = &op->chunks[part];
    reeve__enqueue_item **items = op->items + chunk->first;
    reeve__engine_script(engine, &op->op, part, REEVE__SCRIPT_ENQUEUE,
                         sizeof(plain_keys), chunk->count * 2);
    reeve__engine_keys(engine, items[0]->queue, plain_keys, sizeof(plain_keys));
    for (size_t i = 0; i < chunk->count; i++) {
        reeve__cmd_bytes(&engine->out, items[i]->id);
        reeve__cmd_bytes(&engine->out, items[i]->envelope);
    }
}

static void send_any(reeve__op_enqueue *op, reeve__engine *engine,
                     size_t part) {
    const reeve__enqueue_chunk *chunk = &op->chunks[part];
    reeve__enqueue_item **items = op->items + chunk->first;
    size_t keyed = 0;
    for (size_t i = 0; i < chunk->count; i++) {
        keyed += items[i]->idempotency_key.size > 0;
    }
    reeve__engine_script(engine, &op->op, part, REEVE__SCRIPT_ENQUEUE_ANY,
                         sizeof(any_keys) + keyed, chunk->count * 8);
    reeve__engine_keys(engine, items[0]->queue, any_keys, sizeof(any_keys));
    for (size_t i = 0; i < chunk->count; i++) {
        if (items[i]->idempotency_key.size > 0) {
            reeve__key_add_once(&engine->out, engine->prefix, items[i]->queue,
                                items[i]->idempotency_key);
        }
    }
    size_t key = sizeof(any_keys);
    for (size_t i = 0; i < chunk->count; i++) {
        const reeve__enqueue_item *item = items[i];
        bool has_key = item->idempotency_key.size > 0;
        int64_t ttl_ms = item->idempotency_ttl_ms;
        key += has_key;
        reeve__cmd_bytes(&engine->out, item->id);
        reeve__cmd_bytes(&engine->out, item->envelope);
        reeve__cmd_int(&engine->out, item->priority);
        reeve__cmd_int(&engine->out, item->delay_ms);
        reeve__cmd_int(&engine->out, item->due_at_ms);
        reeve__cmd_int(&engine->out, op->resent || item->resent);
        reeve__cmd_int(&engine->out, has_key ? (int64_t)key : 0);
        reeve__cmd_int(&engine->out, ttl_ms > 0 ? ttl_ms : 1);
    }
}

static void enqueue_send(reeve__op *base, reeve__engine *engine, size_t part) {
    reeve__op_enqueue *op = (reeve__op_enqueue *)base;
    if (part >= STEP_UNDO * REEVE__ENQUEUE_CHUNKS_MAX) {
        send_undo(op, engine, part % REEVE__ENQUEUE_CHUNKS_MAX);
    } else if (op->chunks[part].way == REEVE__ENQUEUE_FRESH) {
        send_fresh(op, engine, part);
    } else if (op->chunks[part].way == REEVE__ENQUEUE_PLAIN) {
        send_plain(op, engine, part);
    } else {
        send_any(op, engine, part);
    }
}

static void set_own_id(reeve__enqueue_item *item) {
    memcpy(item->out_id, item->id.data, item->id.size);
    item->out_id[item->id.size] = '\0';
}

static void set_pending(reeve__enqueue_item **items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        items[i]->code = REEVE_OK;
        items[i]->answered = true;
        items[i]->state = REEVE_STATE_PENDING;
        items[i]->existing = false;
        items[i]->out_due_at_ms = 0;
        set_own_id(items[i]);
    }
}

static void set_unanswered(reeve__enqueue_item **items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        items[i]->answered = false;
    }
}

/* EXEC's reply: a key of another type fails its command alone. */
static void read_exec(reeve__op_enqueue *op, reeve__engine *engine, size_t part,
                      const reeve__reply *reply) {
    const reeve__enqueue_chunk *chunk = &op->chunks[part];
    if (reply->type != REEVE__REPLY_ARRAY || reply->count != FRESH_COMMANDS) {
        reeve__op_malformed(&op->op, engine, "enqueue");
        return;
    }
    for (size_t i = 0; i < FRESH_COMMANDS; i++) {
        if (reply->elements[i].type == REEVE__REPLY_ERROR) {
            reeve__op_refused(&op->op, engine, "enqueue", &reply->elements[i]);
            send_undo(op, engine, part);
            return;
        }
    }
    set_pending(op->items + chunk->first, chunk->count);
}

static void read_plain(reeve__op_enqueue *op, reeve__engine *engine,
                       const reeve__enqueue_chunk *chunk,
                       const reeve__reply *reply) {
    reeve__enqueue_item **items = op->items + chunk->first;
    if (reply->type != REEVE__REPLY_ARRAY) {
        reeve__op_malformed(&op->op, engine, "enqueue");
        return;
    }
    set_pending(items, chunk->count);
    for (size_t i = 0; i < reply->count; i++) {
        int64_t index;
        if (!reeve__reply_int(&index, &reply->elements[i]) || index < 0 ||
            (size_t)index >= chunk->count) {
            set_unanswered(items, chunk->count);
            reeve__op_malformed(&op->op, engine, "enqueue");
            return;
        }
        items[index]->code = REEVE_E_EXISTS;
    }
}

/* False when the row is malformed. */
static bool read_row(reeve__enqueue_item *item, const reeve__reply *row) {
    int64_t code, state, due_at_ms;
    if (!reeve__reply_int(&code, &row[0]) ||
        !reeve__reply_int(&state, &row[1]) ||
        !reeve__reply_int(&due_at_ms, &row[2]) ||
        row[3].type != REEVE__REPLY_STRING ||
        row[3].bytes.size > REEVE_ID_BYTES_MAX) {
        return false;
    }
    bool later = state == REEVE_STATE_SCHEDULED;
    item->code = code == 1 ? REEVE_E_EXISTS : REEVE_OK;
    item->answered = true;
    item->existing = code == 2;
    item->state = later ? REEVE_STATE_SCHEDULED : REEVE_STATE_PENDING;
    item->out_due_at_ms = later ? due_at_ms : 0;
    set_own_id(item);
    if (item->existing) {
        memcpy(item->out_id, row[3].bytes.data, row[3].bytes.size);
        item->out_id[row[3].bytes.size] = '\0';
    }
    return true;
}

static void read_any(reeve__op_enqueue *op, reeve__engine *engine,
                     const reeve__enqueue_chunk *chunk,
                     const reeve__reply *reply) {
    int64_t now_at_ms;
    bool good = reply->type == REEVE__REPLY_ARRAY &&
                reply->count == 1 + chunk->count * ROW_FIELDS &&
                reeve__reply_int(&now_at_ms, &reply->elements[0]);
    for (size_t i = 0; good && i < chunk->count; i++) {
        good = read_row(op->items[chunk->first + i],
                        &reply->elements[1 + i * ROW_FIELDS]);
    }
    if (good) {
        reeve__engine_saw_time(engine, now_at_ms);
    } else {
        set_unanswered(op->items + chunk->first, chunk->count);
        reeve__op_malformed(&op->op, engine, "enqueue_any");
    }
}

/* What was refused within a transaction is not done, nor is the rest of it;
 * what ran without one must go. */
static void read_refusal(reeve__op_enqueue *op, reeve__engine *engine,
                         size_t part, size_t step, const reeve__reply *reply) {
    reeve__enqueue_chunk *chunk = &op->chunks[part];
    reeve__op_refused(
        &op->op, engine,
        chunk->way == REEVE__ENQUEUE_ANY ? "enqueue_any" : "enqueue", reply);
    if (step == STEP_MULTI) {
        chunk->loose = true;
    } else if (step == STEP_EXEC && chunk->loose) {
        send_undo(op, engine, part);
    }
}

static void enqueue_on_reply(reeve__op *base, reeve__engine *engine,
                             size_t part, reeve__reply **reply) {
    reeve__op_enqueue *op = (reeve__op_enqueue *)base;
    size_t step = part / REEVE__ENQUEUE_CHUNKS_MAX;
    part %= REEVE__ENQUEUE_CHUNKS_MAX;
    const reeve__enqueue_chunk *chunk = &op->chunks[part];
    if ((*reply)->type == REEVE__REPLY_ERROR) {
        read_refusal(op, engine, part, step, *reply);
    } else if (step == STEP_EXEC) {
        read_exec(op, engine, part, *reply);
    } else if (step == STEP_SCRIPT && chunk->way == REEVE__ENQUEUE_PLAIN) {
        read_plain(op, engine, chunk, *reply);
    } else if (step == STEP_SCRIPT) {
        read_any(op, engine, chunk, *reply);
    }
}

size_t reeve__op_enqueue_take(reeve__op_enqueue *op,
                              reeve__enqueue_item **items, size_t count,
                              bool resent) {
    *op = (reeve__op_enqueue){
        .op = { .send = enqueue_send,
                .on_reply = enqueue_on_reply,
                .wants_errors = true },
        .items = items,
        .resent = resent,
    };
    size_t taken = 0;
    while (taken < count && op->chunk_count < REEVE__ENQUEUE_CHUNKS_MAX) {
        reeve__enqueue_chunk *chunk = &op->chunks[op->chunk_count++];
        *chunk = cut(op, taken, count);
        taken += chunk->count;
    }
    return taken;
}

void reeve__op_enqueue_send(reeve__op_enqueue *op, reeve__engine *engine) {
    for (size_t part = 0; part < op->chunk_count; part++) {
        enqueue_send(&op->op, engine, part);
    }
}

size_t reeve__op_enqueue_begin(reeve__op_enqueue *op, reeve__engine *engine,
                               reeve__enqueue_item **items, size_t count,
                               bool resent) {
    size_t taken = reeve__op_enqueue_take(op, items, count, resent);
    reeve__op_enqueue_send(op, engine);
    return taken;
}
