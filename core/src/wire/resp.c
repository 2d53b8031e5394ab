/*
 * RESP decoder around hiredis's reader, and the only file that sees hiredis.
 * The reader's object callbacks build our views straight into one arena a
 * reply, so a reply costs a handful of allocations, is freed at once, and every
 * bound is checked before memory is spent. Same source for hiredis 0.14 and
 * 1.x; RESP3 types are refused (we never say HELLO 3).
 */
#include "wire/resp.h"

#include <hiredis/hiredis.h>
#include <limits.h>
#include <stdalign.h>
#include <string.h>

#include "base/bytes.h"

#define BULK_BYTES_DEFAULT ((size_t)64 << 20)
#define BULK_BYTES_MAX ((size_t)1 << 30) /* hiredis 0.14 counts in int */
#define REPLY_BYTES_DEFAULT ((size_t)1 << 30)
#define ELEMENT_COUNT_DEFAULT ((size_t)1 << 20)
/* hiredis moves its unread bytes down after every KiB it has read, so it is
 * fed little at a time: a MiB at once costs ten times as much. */
#define SLICE_BYTES ((size_t)4 << 10)
#define PENDING_BYTES_KEPT ((size_t)1 << 20)
#define LINE_BYTES_MAX ((size_t)64 << 10)
#define CHUNK_BYTES_MIN ((size_t)4 << 10)
#define CHUNK_BYTES_MAX ((size_t)256 << 10)
#define ALIGNMENT alignof(max_align_t)

typedef struct chunk {
    struct chunk *next;
    size_t size; /* of data */
    size_t used;
    alignas(max_align_t) char data[];
} chunk;

/* Lives in its own first chunk. */
typedef struct root {
    reeve__reply view; /* first: a reeve__reply is its root */
    reeve__reply_reader *reader;
    struct root *previous;
    struct root *next;
    chunk *chunks; /* newest first */
    size_t bytes;
    size_t elements;
} root;

enum fault {
    FAULT_NONE,
    FAULT_NOMEM,
    FAULT_BULK,
    FAULT_BYTES,
    FAULT_ELEMENTS,
    FAULT_DEPTH,
    FAULT_LINE,
    FAULT_TYPE,
};

struct reeve__reply_reader {
    reeve_env *env; /* borrowed */
    redisReader *parser;
    reeve__reply_limits limits;
    int fault;
    root *building;
    root *handed_out;
    reeve__buf pending;  /* fed, not yet given to parser */
    size_t pending_done; /* of pending, already given */
    chunk *spare; /* one smallest chunk, so that small replies reuse it */
};

/* ---- arena --------------------------------------------------------------- */

static void free_chunk(reeve__reply_reader *reader, chunk *piece) {
    if (!reader->spare && piece->size == CHUNK_BYTES_MIN) {
        piece->used = 0;
        piece->next = NULL;
        reader->spare = piece;
        return;
    }
    reeve__free(reader->env, piece);
}

static chunk *new_chunk(reeve__reply_reader *reader, size_t size) {
    chunk *piece = reader->spare;
    if (piece && size == piece->size) {
        reader->spare = NULL;
        return piece;
    }
    piece = reeve__alloc(reader->env, sizeof *piece + size);
    if (piece)
        *piece = (chunk){ .size = size };
    return piece;
}

/* Chunks double the reply's memory, up to a bound, within the limit. */
static chunk *add_chunk(root *top, size_t wanted) {
    reeve__reply_reader *reader = top->reader;
    size_t room = reader->limits.reply_bytes_max - top->bytes;
    size_t size = top->bytes < CHUNK_BYTES_MAX ? top->bytes : CHUNK_BYTES_MAX;
    if (wanted > room) {
        reader->fault = FAULT_BYTES;
        return NULL;
    }
    size = size < wanted ? wanted : size;
    size = size < room ? size : room;
    chunk *piece = new_chunk(reader, size);
    if (!piece) {
        reader->fault = FAULT_NOMEM;
        return NULL;
    }
    piece->next = top->chunks;
    top->chunks = piece;
    top->bytes += piece->size;
    return piece;
}

static void *take(root *top, size_t size) {
    chunk *piece = top->chunks;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (size > piece->size - piece->used) {
        piece = add_chunk(top, size);
        if (!piece)
            return NULL;
    }
    void *at = piece->data + piece->used;
    piece->used += size;
    return at;
}

static root *new_root(reeve__reply_reader *reader) {
    chunk *piece = new_chunk(reader, CHUNK_BYTES_MIN);
    if (!piece) {
        reader->fault = FAULT_NOMEM;
        return NULL;
    }
    root *top = (root *)(void *)piece->data;
    piece->used = (sizeof *top + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *top = (root){
        .reader = reader,
        .next = reader->handed_out,
        .chunks = piece,
        .bytes = piece->size,
    };
    if (top->next)
        top->next->previous = top;
    reader->handed_out = top;
    return top;
}

void reeve__reply_free(reeve__reply *reply) {
    if (!reply)
        return;
    root *top = (root *)reply;
    reeve__reply_reader *reader = top->reader;
    if (top->previous)
        top->previous->next = top->next;
    else
        reader->handed_out = top->next;
    if (top->next)
        top->next->previous = top->previous;
    if (reader->building == top)
        reader->building = NULL;
    for (chunk *piece = top->chunks, *next; piece; piece = next) {
        next = piece->next; /* the last one holds top itself */
        free_chunk(reader, piece);
    }
}

/* ---- callbacks of hiredis's reader --------------------------------------- */

/* The place of a task's value: the root, or a slot in its parent. */
static reeve__reply *place(const redisReadTask *task) {
    reeve__reply_reader *reader = task->privdata;
    if (task->parent) {
        reeve__reply *parent = task->parent->obj;
        return &parent->elements[task->idx];
    }
    reader->building = new_root(reader);
    return reader->building ? &reader->building->view : NULL;
}

static void *refuse(const redisReadTask *task, int fault) {
    reeve__reply_reader *reader = task->privdata;
    reader->fault = fault;
    return NULL;
}

static int32_t string_type(int type) {
    switch (type) {
    case REDIS_REPLY_STRING:
        return REEVE__REPLY_STRING;
    case REDIS_REPLY_STATUS:
        return REEVE__REPLY_STATUS;
    case REDIS_REPLY_ERROR:
        return REEVE__REPLY_ERROR;
    default:
        return 0;
    }
}

static void *create_string(const redisReadTask *task, char *data, size_t size) {
    reeve__reply_reader *reader = task->privdata;
    int32_t type = string_type(task->type);
    if (!type)
        return refuse(task, FAULT_TYPE);
    if (size > reader->limits.bulk_bytes_max)
        return refuse(task, FAULT_BULK);
    reeve__reply *reply = place(task);
    char *copy = reply ? take(reader->building, size + 1) : NULL;
    if (!copy)
        return NULL;
    if (size)
        memcpy(copy, data, size);
    copy[size] = '\0';
    *reply = (reeve__reply){ .type = type, .bytes = { copy, size } };
    return reply;
}

static int depth_of(const redisReadTask *task) {
    int depth = 1;
    for (; task->parent; task = task->parent)
        depth++;
    return depth;
}

static void *add_array(const redisReadTask *task, size_t count) {
    reeve__reply_reader *reader = task->privdata;
    if (task->type != REDIS_REPLY_ARRAY)
        return refuse(task, FAULT_TYPE);
    if (depth_of(task) > REEVE__REPLY_DEPTH_MAX)
        return refuse(task, FAULT_DEPTH);
    reeve__reply *reply = place(task);
    if (!reply)
        return NULL;
    root *top = reader->building;
    if (count > reader->limits.element_count_max - top->elements)
        return refuse(task, FAULT_ELEMENTS);
    reeve__reply *elements = NULL;
    if (count) {
        elements = take(top, count * sizeof *elements);
        if (!elements)
            return NULL;
        memset(elements, 0, count * sizeof *elements);
    }
    top->elements += count;
    *reply = (reeve__reply){ .type = REEVE__REPLY_ARRAY,
                             .elements = elements,
                             .count = count };
    return reply;
}

static void *create_integer(const redisReadTask *task, long long value) {
    if (task->type != REDIS_REPLY_INTEGER)
        return refuse(task, FAULT_TYPE);
    reeve__reply *reply = place(task);
    if (reply)
        *reply =
            (reeve__reply){ .type = REEVE__REPLY_INTEGER, .integer = value };
    return reply;
}

/* "$-1" and "*-1"; RESP3's own null has a type of its own. */
static void *create_nil(const redisReadTask *task) {
    if (task->type != REDIS_REPLY_STRING && task->type != REDIS_REPLY_ARRAY)
        return refuse(task, FAULT_TYPE);
    reeve__reply *reply = place(task);
    if (reply)
        *reply = (reeve__reply){ .type = REEVE__REPLY_NIL };
    return reply;
}

static void free_object(void *object) {
    reeve__reply_free(object); /* hiredis only ever frees the root */
}

#if HIREDIS_MAJOR >= 1
static void *create_array(const redisReadTask *task, size_t count) {
    return add_array(task, count);
}

static void *create_double(const redisReadTask *task, double value, char *text,
                           size_t size) {
    (void)value;
    (void)text;
    (void)size;
    return refuse(task, FAULT_TYPE);
}

static void *create_bool(const redisReadTask *task, int value) {
    (void)value;
    return refuse(task, FAULT_TYPE);
}
#else
static void *create_array(const redisReadTask *task, int count) {
    return add_array(task, count > 0 ? (size_t)count : 0);
}
#endif

/* Not const: hiredis takes a plain pointer. It only reads. */
static redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
#if HIREDIS_MAJOR >= 1
    .createDouble = create_double,
    .createBool = create_bool,
#endif
    .createNil = create_nil,
    .freeObject = free_object,
};

/* ---- reader -------------------------------------------------------------- */

static void drop_pending(reeve__reply_reader *reader) {
    reader->pending_done = 0;
    if (reader->pending.capacity > PENDING_BYTES_KEPT) {
        reeve__buf_dispose(&reader->pending);
        reeve__buf_init(&reader->pending, reader->env);
    } else {
        reeve__buf_clear(&reader->pending);
    }
}

static size_t limit_of(size_t given, size_t fallback, size_t most) {
    given = given ? given : fallback;
    return given < most ? given : most;
}

static redisReader *new_parser(reeve__reply_reader *reader) {
    redisReader *parser = redisReaderCreateWithFunctions(&functions);
    if (parser)
        parser->privdata = reader;
    return parser;
}

reeve_rc reeve__reply_reader_new(reeve__reply_reader **out, reeve_env *env,
                                 const reeve__reply_limits *limits,
                                 reeve_error *err) {
    reeve__reply_limits given = limits ? *limits : (reeve__reply_limits){ 0 };
    *out = NULL;
    reeve__reply_reader *reader = reeve__calloc(env, 1, sizeof *reader);
    if (!reader)
        return reeve__fail_nomem(err);
    reader->env = env;
    reeve__buf_init(&reader->pending, env);
    reader->limits.bulk_bytes_max =
        limit_of(given.bulk_bytes_max, BULK_BYTES_DEFAULT, BULK_BYTES_MAX);
    reader->limits.reply_bytes_max =
        limit_of(given.reply_bytes_max, REPLY_BYTES_DEFAULT, SIZE_MAX / 2);
    if (reader->limits.reply_bytes_max < CHUNK_BYTES_MIN)
        reader->limits.reply_bytes_max = CHUNK_BYTES_MIN;
    reader->limits.element_count_max =
        limit_of(given.element_count_max, ELEMENT_COUNT_DEFAULT,
                 INT_MAX / (int)sizeof(reeve__reply));
    reader->parser = new_parser(reader);
    if (!reader->parser) {
        reeve__free(env, reader);
        return reeve__fail_nomem(err);
    }
    *out = reader;
    return 0;
}

void reeve__reply_reader_free(reeve__reply_reader *reader) {
    if (!reader)
        return;
    redisReaderFree(reader->parser); /* with a reply in the making */
    while (reader->handed_out)
        reeve__reply_free(&reader->handed_out->view);
    reeve__buf_dispose(&reader->pending);
    reeve__free(reader->env, reader->spare);
    reeve__free(reader->env, reader);
}

reeve_rc reeve__reply_reader_reset(reeve__reply_reader *reader,
                                   reeve_error *err) {
    redisReader *parser = new_parser(reader);
    if (!parser)
        return reeve__fail_nomem(err);
    redisReaderFree(reader->parser);
    if (reader->building)
        reeve__reply_free(&reader->building->view);
    reader->parser = parser;
    reader->fault = FAULT_NONE;
    drop_pending(reader);
    return 0;
}

static reeve_rc parse_failed(const reeve__reply_reader *reader,
                             reeve_error *err) {
    const reeve__reply_limits *limits = &reader->limits;
    switch (reader->fault) {
    case FAULT_NOMEM:
        return reeve__fail_nomem(err);
    case FAULT_BULK:
        return reeve__fail(err, REEVE_E_NET,
                           "protocol error: a string has more than %zu bytes",
                           limits->bulk_bytes_max);
    case FAULT_BYTES:
        return reeve__fail(err, REEVE_E_NET,
                           "protocol error: a reply has more than %zu bytes",
                           limits->reply_bytes_max);
    case FAULT_ELEMENTS:
        return reeve__fail(err, REEVE_E_NET,
                           "protocol error: a reply has more than %zu elements",
                           limits->element_count_max);
    case FAULT_DEPTH:
        return reeve__fail(err, REEVE_E_NET,
                           "protocol error: arrays are nested more than %d "
                           "deep",
                           REEVE__REPLY_DEPTH_MAX);
    case FAULT_LINE:
        return reeve__fail(err, REEVE_E_NET,
                           "protocol error: a line has more than %zu bytes",
                           LINE_BYTES_MAX);
    case FAULT_TYPE:
        return reeve__fail(err, REEVE_E_NET,
                           "protocol error: the reply is not resp2");
    default:
        if (reader->parser->err == REDIS_ERR_OOM)
            return reeve__fail_nomem(err);
        return reeve__fail(err, REEVE_E_NET, "protocol error: %s",
                           reader->parser->errstr);
    }
}

static reeve_rc give(reeve__reply_reader *reader, const char *data, size_t size,
                     reeve_error *err) {
    if (redisReaderFeed(reader->parser, data, size) != REDIS_OK)
        return parse_failed(reader, err);
    return 0;
}

reeve_rc reeve__reply_feed(reeve__reply_reader *reader, reeve_bytes bytes,
                           reeve_error *err) {
    if (reader->fault)
        return parse_failed(reader, err);
    if (reader->pending.size == 0 && bytes.size <= SLICE_BYTES)
        return give(reader, bytes.data, bytes.size, err);
    reeve__buf_add_bytes(&reader->pending, bytes);
    if (reader->pending.failed) {
        reader->fault = FAULT_NOMEM;
        return parse_failed(reader, err);
    }
    return 0;
}

/* Gives the parser its next slice; *more is false when there is none. */
static reeve_rc give_slice(bool *more, reeve__reply_reader *reader,
                           reeve_error *err) {
    size_t left = reader->pending.size - reader->pending_done;
    size_t size = left < SLICE_BYTES ? left : SLICE_BYTES;
    *more = left > 0;
    if (!left)
        return 0;
    reeve_rc rc =
        give(reader, reader->pending.data + reader->pending_done, size, err);
    reader->pending_done += size;
    if (reader->pending_done == reader->pending.size)
        drop_pending(reader);
    return rc;
}

/*
 * An unfinished item must not pile up without end: a string is as long as its
 * header allows, a line (and that header) has its CR early.
 */
static int check_unread(const reeve__reply_reader *reader) {
    const redisReader *parser = reader->parser;
    size_t unread = parser->len - parser->pos;
    if (unread <= LINE_BYTES_MAX)
        return FAULT_NONE;
    if (!memchr(parser->buf + parser->pos, '\r', LINE_BYTES_MAX))
        return FAULT_LINE;
    if (unread - LINE_BYTES_MAX > reader->limits.bulk_bytes_max)
        return FAULT_BULK;
    return FAULT_NONE;
}

reeve_rc reeve__reply_next(reeve__reply **out, reeve__reply_reader *reader,
                           reeve_error *err) {
    void *reply = NULL;
    bool more = true;
    *out = NULL;
    if (reader->fault)
        return parse_failed(reader, err);
    while (!reply && more) {
        if (redisReaderGetReply(reader->parser, &reply) != REDIS_OK)
            return parse_failed(reader, err);
        if (reply)
            break;
        reader->fault = check_unread(reader);
        if (reader->fault)
            return parse_failed(reader, err);
        reeve_rc rc = give_slice(&more, reader, err);
        if (rc)
            return rc;
    }
    if (reply)
        reader->building = NULL;
    *out = reply;
    return 0;
}
