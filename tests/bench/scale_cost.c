/*
 * What one task costs while much else is stored: through the broker interface,
 * with batches of one size, so that only the amount stored differs. scale.py
 * runs it and makes records of what it prints, one JSON line for each store.
 *
 *   scale_cost PHASE COUNT ROUNDS {URL PID DEPTH}…
 *
 *   backlog    enqueue and turn (end + claim) with DEPTH tasks pending; on
 *              Redis also what these move, by bare commands: the control
 *   active     turn, extend, reclaim with DEPTH tasks active, a lease each
 *   scheduled  store and promote with DEPTH tasks due later, each at its time
 *   queues     enqueue and turn in four of DEPTH queues; list all of them
 *
 * Each store is empty at first, is filled to its depth, and then takes its turn
 * in each round: figures of one round are pairs. The CPU is that of process
 * PID, the server; 0 = this one (SQLite, mem). Each figure is over COUNT tasks.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/redis/redis.h"

#define BATCH ((size_t)32)
#define FILL ((size_t)512)
#define FLIGHT ((size_t)8) /* bare batches under way at a time */
#define PAYLOAD_BYTES 260
#define SERVED 4
#define SERIES_MAX 4
#define ID_BYTES 40
#define LEASE_MS ((int64_t)3600 * 1000)

/* What is measured in a store, by name. */
typedef struct series {
    const char *name;
    double *cpu_us; /* a task, one for each round */
    double *wall_us;
} series;

typedef struct store {
    reeve__broker *broker;
    clockid_t clock; /* CPU of the server, or of this process */
    size_t depth;
    series all[SERIES_MAX];
    char (*ids)[ID_BYTES]; /* of what is active, and its tokens */
    int64_t *tokens;
} store;

static size_t rounds, round_at;
static int64_t next_id;
static char body[PAYLOAD_BYTES + 1];

static void need(reeve_rc rc, const reeve_error *err) {
    if (rc < 0) {
        (void)fprintf(stderr, "scale_cost: %s\n", err->message);
        exit(1);
    }
}

static void bug(const char *what) {
    (void)fprintf(stderr, "scale_cost: %s\n", what);
    exit(1);
}

/* ---- time ------------------------------------------------------------------ */

typedef struct span {
    double wall_us;
    double cpu_us; /* of the server, or of this process */
} span;

static double clock_us(clockid_t clock) {
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) {
        bug("the server's process has no clock: is it gone?");
    }
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static span span_start(const store *at) {
    return (span){ clock_us(CLOCK_MONOTONIC), clock_us(at->clock) };
}

static void span_add(span *sum, const store *at, span start) {
    sum->wall_us += clock_us(CLOCK_MONOTONIC) - start.wall_us;
    sum->cpu_us += clock_us(at->clock) - start.cpu_us;
}

static void *numbers(size_t count, size_t bytes) {
    void *made = calloc(count, bytes);
    if (!made) {
        bug("memory is short");
    }
    return made;
}

static void note(store *at, size_t index, const char *name, span cost,
                 size_t count) {
    series *to = &at->all[index];
    if (!to->name) {
        to->name = name;
        to->cpu_us = numbers(rounds, sizeof(double));
        to->wall_us = numbers(rounds, sizeof(double));
    }
    to->cpu_us[round_at] = cost.cpu_us / (double)count;
    to->wall_us[round_at] = cost.wall_us / (double)count;
}

static void sleep_ms(long ms) {
    struct timespec left = { ms / 1000, ms % 1000 * 1000000 };
    while (nanosleep(&left, &left) != 0) {
    }
}

/* ---- moves ----------------------------------------------------------------- */

typedef struct held {
    char ids[FILL][REEVE_ID_BYTES_MAX + 1];
    int64_t tokens[FILL];
    size_t count;
} held;

static held claimed; /* by the last claim */

static reeve_bytes name_queue(size_t index) {
    static char name[32];
    (void)snprintf(name, sizeof(name), "scale-%06zu", index);
    return reeve_bytes_of(name);
}

static void name_task(char out[ID_BYTES]) {
    (void)snprintf(out, ID_BYTES, "01940000-7abc-8def-%016" PRIx64,
                   (uint64_t)next_id++);
}

/* count tasks, each due step_ms after the one before when step_ms is not 0. */
static void enqueue(const store *at, reeve_bytes queue, size_t count,
                    int64_t delay_ms, int64_t step_ms) {
    static reeve__enqueue_item items[FILL];
    static char ids[FILL][ID_BYTES];
    reeve_error err = { 0, "" };
    for (size_t i = 0; i < count; i++) {
        name_task(ids[i]);
        items[i] = (reeve__enqueue_item){
            .queue = queue,
            .id = reeve_bytes_of(ids[i]),
            .envelope = { body, PAYLOAD_BYTES },
            .priority = REEVE_PRIORITY_DEFAULT,
            .fresh = true, /* as a client says of the ids it draws */
            .delay_ms = delay_ms + (int64_t)i * step_ms,
        };
    }
    need(at->broker->ops->enqueue(at->broker, items, count, &err), &err);
}

static reeve_rc on_row(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)err;
    held *to = ctx;
    if (to->count == FILL) {
        bug("more rows than asked for");
    }
    memcpy(to->ids[to->count], row->id.data, row->id.size);
    to->ids[to->count][row->id.size] = '\0';
    to->tokens[to->count++] = row->token;
    return REEVE_OK;
}

/* Ends what is held, then claims max tasks into it. */
static void turn(const store *at, reeve_bytes queue, size_t max,
                 int64_t lease_ms, int32_t to_state) {
    static reeve__settle settles[FILL];
    static held fresh; /* settles borrow the ids of what is held */
    reeve_error err = { 0, "" };
    size_t count = claimed.count;
    for (size_t i = 0; i < count; i++) {
        settles[i] = (reeve__settle){
            .id = reeve_bytes_of(claimed.ids[i]),
            .token = claimed.tokens[i],
            .to_state = to_state,
            .priority = REEVE_PRIORITY_DEFAULT,
            .done = to_state == REEVE_STATE_NONE,
            .last_of_token =
                i + 1 == count || claimed.tokens[i] != claimed.tokens[i + 1],
        };
    }
    reeve__turn one = { .queue = queue,
                        .settles = settles,
                        .settle_count = count,
                        .claim_max = max,
                        .lease_ms = lease_ms };
    fresh.count = 0;
    need(at->broker->ops->turn(at->broker, &one, 1, reeve_bytes_of("scale"),
                               on_row, &fresh, &err),
         &err);
    for (size_t i = 0; i < count; i++) {
        if (settles[i].code != REEVE_OK) {
            bug("a settle was refused");
        }
    }
    claimed.count = fresh.count;
    memcpy(claimed.ids, fresh.ids, fresh.count * sizeof(fresh.ids[0]));
    memcpy(claimed.tokens, fresh.tokens, fresh.count * sizeof(int64_t));
    if (claimed.count != max) {
        bug("a claim came back short");
    }
}

/* count tasks stored, then as many claimed and ended. */
static void cycle(span *in, span *out, const store *at, reeve_bytes queue,
                  size_t count) {
    span start = span_start(at);
    for (size_t i = 0; i < count; i += BATCH) {
        enqueue(at, queue, BATCH, 0, 0);
    }
    span_add(in, at, start);
    start = span_start(at);
    for (size_t i = 0; i < count; i += BATCH) {
        turn(at, queue, BATCH, LEASE_MS, REEVE_STATE_NONE);
    }
    turn(at, queue, 0, LEASE_MS, REEVE_STATE_NONE);
    span_add(out, at, start);
}

/* ---- a backlog ------------------------------------------------------------- */

static reeve_bytes scale_queue(void) {
    return reeve_bytes_of("scale");
}

static void fill_backlog(store *at) {
    for (size_t left = at->depth; left > 0;) {
        size_t count = left < FILL ? left : FILL;
        enqueue(at, scale_queue(), count, 0, 0);
        left -= count;
    }
}

/* The control: what enqueue and turn do to the hash of tasks and the list of
 * those pending, by bare commands on the same keys, without a script, a lease or
 * a count. What these cost more in a deep store is the store's, not ours. */
static void bare_begin(reeve__call *call, reeve__engine *engine,
                       const char *verb, uint8_t key, size_t arg_count) {
    reeve__call_begin_command(call, engine, 2 + arg_count);
    reeve__cmd_text(&engine->out, verb);
    reeve__engine_keys(engine, scale_queue(), &key, 1);
}

/* A batch of the ids in claimed. */
static void bare_ids(reeve__call *call, reeve__engine *engine, const char *verb,
                     uint8_t key, size_t first) {
    bare_begin(call, engine, verb, key, BATCH);
    for (size_t i = first; i < first + BATCH; i++) {
        reeve__cmd_text(&engine->out, claimed.ids[i]);
    }
}

/* Its reply is call->reply. */
static void bare_end(reeve__redis *redis, reeve__call *call) {
    reeve_error err = { 0, "" };
    need(reeve__link_drive(&redis->main, &call->op, INT64_MAX, -1, &err), &err);
    need(reeve__op_result(&call->op, &err), &err);
}

static void bare_enqueue(reeve__redis *redis) {
    reeve__engine *engine = &redis->main.engine;
    reeve__call set[FLIGHT], push[FLIGHT];
    for (size_t i = 0; i < FLIGHT; i++) {
        bare_begin(&set[i], engine, "HSET", REEVE__KEY_TASKS, 2 * BATCH);
        for (size_t j = i * BATCH; j < (i + 1) * BATCH; j++) {
            name_task(claimed.ids[j]);
            reeve__cmd_text(&engine->out, claimed.ids[j]);
            reeve__cmd_text(&engine->out, body);
        }
        bare_ids(&push[i], engine, "RPUSH", REEVE__KEY_PENDING, i * BATCH);
    }
    for (size_t i = 0; i < FLIGHT; i++) {
        bare_end(redis, &set[i]);
        bare_end(redis, &push[i]);
        if (set[i].reply->integer != (int64_t)BATCH) {
            bug("an id was there before");
        }
        reeve__call_dispose(&set[i]);
        reeve__call_dispose(&push[i]);
    }
}

static void bare_pop(reeve__redis *redis) {
    reeve__engine *engine = &redis->main.engine;
    reeve__call pop[FLIGHT];
    for (size_t i = 0; i < FLIGHT; i++) {
        bare_begin(&pop[i], engine, "LPOP", REEVE__KEY_PENDING, 1);
        reeve__cmd_int(&engine->out, (int64_t)BATCH);
    }
    claimed.count = 0;
    for (size_t i = 0; i < FLIGHT; i++) {
        bare_end(redis, &pop[i]);
        for (size_t j = 0; j < pop[i].reply->count; j++) {
            reeve__row row = { .id = pop[i].reply->elements[j].bytes };
            (void)on_row(&claimed, &row, NULL);
        }
        reeve__call_dispose(&pop[i]);
    }
    if (claimed.count != FLIGHT * BATCH) {
        bug("a pop came back short");
    }
    claimed.count = 0;
}

/* Takes ids from the list, reads and removes their bodies. */
static void bare_turn(reeve__redis *redis) {
    reeve__engine *engine = &redis->main.engine;
    reeve__call read[FLIGHT], remove[FLIGHT];
    bare_pop(redis);
    for (size_t i = 0; i < FLIGHT; i++) {
        bare_ids(&read[i], engine, "HMGET", REEVE__KEY_TASKS, i * BATCH);
        bare_ids(&remove[i], engine, "HDEL", REEVE__KEY_TASKS, i * BATCH);
    }
    for (size_t i = 0; i < FLIGHT; i++) {
        bare_end(redis, &read[i]);
        bare_end(redis, &remove[i]);
        if (remove[i].reply->integer != (int64_t)BATCH ||
            read[i].reply->elements[0].bytes.size != PAYLOAD_BYTES) {
            bug("what was taken is not there");
        }
        reeve__call_dispose(&read[i]);
        reeve__call_dispose(&remove[i]);
    }
}

static void measure_bare(store *at, size_t count) {
    reeve__redis *redis = (reeve__redis *)at->broker;
    span in = { 0, 0 }, out = { 0, 0 };
    span start = span_start(at);
    for (size_t i = 0; i < count; i += FLIGHT * BATCH) {
        bare_enqueue(redis);
    }
    span_add(&in, at, start);
    start = span_start(at);
    for (size_t i = 0; i < count; i += FLIGHT * BATCH) {
        bare_turn(redis);
    }
    span_add(&out, at, start);
    note(at, 2, "bare_enqueue", in, count);
    note(at, 3, "bare_turn", out, count);
}

static void measure_backlog(store *at, size_t count) {
    span in = { 0, 0 }, out = { 0, 0 };
    cycle(&in, &out, at, scale_queue(), count);
    note(at, 0, "enqueue", in, count);
    note(at, 1, "turn", out, count);
    if (!strcmp(at->broker->ops->name, "redis")) {
        measure_bare(at, count);
    }
}

/* ---- many active ----------------------------------------------------------- */

static void fill_active(store *at) {
    at->ids = numbers(at->depth, sizeof(*at->ids));
    at->tokens = numbers(at->depth, sizeof(*at->tokens));
    for (size_t i = 0; i < at->depth; i++) {
        enqueue(at, scale_queue(), 1, 0, 0);
        turn(at, scale_queue(), 1, LEASE_MS, REEVE_STATE_NONE);
        memcpy(at->ids[i], claimed.ids[0], sizeof(at->ids[i]));
        at->tokens[i] = claimed.tokens[0];
        claimed.count = 0;
    }
}

static span extend_some(const store *at, size_t count) {
    reeve__lease_ref refs[BATCH];
    reeve_error err = { 0, "" };
    span cost = { 0, 0 };
    for (size_t i = 0; i < count; i += BATCH) {
        for (size_t j = 0; j < BATCH; j++) {
            size_t which = (i + j) % at->depth;
            refs[j] = (reeve__lease_ref){ .queue = scale_queue(),
                                          .id = reeve_bytes_of(at->ids[which]),
                                          .token = at->tokens[which] };
        }
        span start = span_start(at);
        need(at->broker->ops->extend(at->broker, refs, BATCH, LEASE_MS, &err),
             &err);
        span_add(&cost, at, start);
        for (size_t j = 0; j < BATCH; j++) {
            if (refs[j].lost) {
                bug("a lease was lost");
            }
        }
    }
    return cost;
}

/* Lapsed claims of BATCH: found, and put back to pending. */
static span reclaim_some(const store *at, size_t count) {
    reeve_error err = { 0, "" };
    span cost = { 0, 0 };
    for (size_t i = 0; i < count; i += BATCH) {
        int64_t next_at_ms;
        enqueue(at, scale_queue(), BATCH, 0, 0);
        turn(at, scale_queue(), BATCH, 1, REEVE_STATE_NONE);
        sleep_ms(3);
        claimed.count = 0;
        span start = span_start(at);
        need(at->broker->ops->reclaim(at->broker, scale_queue(),
                                      (reeve_bytes){ NULL, 0 }, BATCH, on_row,
                                      &claimed, &next_at_ms, &err),
             &err);
        if (claimed.count != BATCH) {
            bug("lapsed leases were not found");
        }
        turn(at, scale_queue(), 0, LEASE_MS, REEVE_STATE_PENDING);
        span_add(&cost, at, start);
        turn(at, scale_queue(), BATCH, LEASE_MS, REEVE_STATE_NONE);
        turn(at, scale_queue(), 0, LEASE_MS, REEVE_STATE_NONE);
    }
    return cost;
}

static void measure_active(store *at, size_t count) {
    span in = { 0, 0 }, out = { 0, 0 };
    cycle(&in, &out, at, scale_queue(), count);
    note(at, 0, "turn", out, count);
    if (at->depth >= BATCH) { /* a lease is never twice in one call */
        note(at, 1, "extend", extend_some(at, count), count);
    }
    size_t some = (count / 8 / BATCH + 1) * BATCH; /* it sleeps */
    note(at, 2, "reclaim", reclaim_some(at, some), some);
}

/* ---- much scheduled -------------------------------------------------------- */

static void fill_scheduled(store *at) {
    for (size_t done = 0; done < at->depth;) {
        size_t left = at->depth - done, count = left < FILL ? left : FILL;
        enqueue(at, scale_queue(), count, LEASE_MS + (int64_t)done, 1);
        done += count;
    }
}

static void measure_scheduled(store *at, size_t count) {
    reeve_error err = { 0, "" };
    span in = { 0, 0 }, out = { 0, 0 };
    span start = span_start(at);
    for (size_t i = 0; i < count; i += BATCH) {
        enqueue(at, scale_queue(), BATCH, 1, 0);
    }
    span_add(&in, at, start);
    sleep_ms(5);
    size_t moved_all = 0, moved = 1;
    start = span_start(at);
    for (; moved > 0; moved_all += moved) {
        int64_t next_at_ms;
        need(at->broker->ops->promote(at->broker, scale_queue(), 500, &moved,
                                      &next_at_ms, &err),
             &err);
    }
    span_add(&out, at, start);
    if (moved_all != count) {
        bug("not all that was due was promoted");
    }
    for (size_t i = 0; i < count; i += BATCH) {
        turn(at, scale_queue(), BATCH, LEASE_MS, REEVE_STATE_NONE);
    }
    turn(at, scale_queue(), 0, LEASE_MS, REEVE_STATE_NONE);
    note(at, 0, "schedule", in, count);
    note(at, 1, "promote", out, count);
}

/* ---- many queues ----------------------------------------------------------- */

/* Each has had a task and is empty now. */
static void fill_queues(store *at) {
    for (size_t i = 0; i < at->depth; i++) {
        reeve_bytes queue = name_queue(i);
        enqueue(at, queue, 1, 0, 0);
        turn(at, queue, 1, LEASE_MS, REEVE_STATE_NONE);
        turn(at, queue, 0, LEASE_MS, REEVE_STATE_NONE);
    }
}

static reeve_rc on_queue(void *ctx, const reeve_queue_info *info,
                         reeve_error *err) {
    (void)info;
    (void)err;
    (*(size_t *)ctx)++;
    return REEVE_OK;
}

static void measure_queues(store *at, size_t count) {
    reeve_error err = { 0, "" };
    span in = { 0, 0 }, out = { 0, 0 }, listed = { 0, 0 };
    for (size_t i = 0; i < SERVED; i++) {
        cycle(&in, &out, at, name_queue(at->depth * i / SERVED),
              count / SERVED);
    }
    size_t seen = 0;
    span start = span_start(at);
    need(at->broker->ops->queues(at->broker, on_queue, &seen, &err), &err);
    span_add(&listed, at, start);
    if (seen != at->depth) {
        bug("the list of queues is not whole");
    }
    note(at, 0, "enqueue", in, count);
    note(at, 1, "turn", out, count);
    note(at, 2, "list", listed, at->depth);
}

/* ---- */

typedef struct phase {
    const char *name;
    void (*fill)(store *at);
    void (*measure)(store *at, size_t count);
} phase;

_Static_assert(FLIGHT % SERVED == 0, "whole batches for each queue served");

static const phase phases[] = {
    { "backlog", fill_backlog, measure_backlog },
    { "active", fill_active, measure_active },
    { "scheduled", fill_scheduled, measure_scheduled },
    { "queues", fill_queues, measure_queues },
};

static const phase *phase_of(const char *name) {
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        if (strcmp(phases[i].name, name) == 0) {
            return &phases[i];
        }
    }
    bug("no such phase");
    return NULL;
}

static void open_store(store *at, char **words) {
    reeve_error err = { 0, "" };
    long pid = strtol(words[1], NULL, 10);
    at->depth = strtoul(words[2], NULL, 10);
    at->clock = CLOCK_PROCESS_CPUTIME_ID;
    if (pid > 0 && clock_getcpuclockid((pid_t)pid, &at->clock) != 0) {
        bug("the server's process has no clock: is it gone?");
    }
    reeve__broker_options options = { .url = words[0], .timeout_ms = 60000 };
    reeve_env *env = NULL;
    need(reeve_env_new(&env, NULL, &err), &err);
    need(reeve__broker_open(&at->broker, env, &options, &err), &err);
    reeve_env_free(env);
}

static void put_numbers(const char *name, const double *values) {
    (void)printf("\"%s\": [", name);
    for (size_t i = 0; i < rounds; i++) {
        (void)printf("%s%.4f", i > 0 ? ", " : "", values[i]);
    }
    (void)printf("]");
}

/* Not of getrusage: that begins with what the parent had. */
static long rss_most_kb(void) {
    char line[128];
    long kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (!file) {
        bug("there is no /proc");
    }
    while (fgets(line, sizeof(line), file)) {
        if (!strncmp(line, "VmHWM:", 6)) {
            kb = strtol(line + 6, NULL, 10);
        }
    }
    (void)fclose(file);
    return kb;
}

static void put_store(const store *at) {
    (void)printf("{\"depth\": %zu, \"rss_kb\": %ld", at->depth, rss_most_kb());
    for (size_t i = 0; i < SERIES_MAX; i++) {
        if (at->all[i].name) {
            (void)printf(", \"%s\": {", at->all[i].name);
            put_numbers("cpu_us", at->all[i].cpu_us);
            (void)printf(", ");
            put_numbers("wall_us", at->all[i].wall_us);
            (void)printf("}");
        }
    }
    (void)printf("}\n");
}

static void free_store(store *at) {
    for (size_t i = 0; i < SERIES_MAX; i++) {
        free(at->all[i].cpu_us);
        free(at->all[i].wall_us);
    }
    free(at->ids);
    free(at->tokens);
    reeve__broker_close(at->broker);
}

int main(int argc, char **argv) {
    size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    rounds = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    if (argc < 7 || (argc - 4) % 3 != 0 || count == 0 || rounds == 0) {
        (void)fprintf(stderr, "usage: scale_cost backlog|active|scheduled|"
                              "queues COUNT ROUNDS {URL PID DEPTH}…\n");
        return 2;
    }
    const phase *run = phase_of(argv[1]);
    size_t block = FLIGHT * BATCH, amount = (size_t)(argc - 4) / 3;
    count = (count + block - 1) / block * block;
    memset(body, 'x', PAYLOAD_BYTES);
    store *stores = numbers(amount, sizeof(*stores));
    for (size_t i = 0; i < amount; i++) {
        open_store(&stores[i], argv + 4 + 3 * i);
        run->fill(&stores[i]);
    }
    for (round_at = 0; round_at < rounds; round_at++) {
        for (size_t i = 0; i < amount; i++) {
            run->measure(&stores[i], count);
        }
    }
    for (size_t i = 0; i < amount; i++) {
        put_store(&stores[i]);
        free_store(&stores[i]);
    }
    free(stores);
    return 0;
}
