/*
 * What a task costs the Redis server: CPU µs by INFO, for enqueue and for turn
 * (settle + claim), at several batch sizes, with several operations in flight:
 * first with all tasks queued before the first is claimed, then with as many
 * queued as are in flight; against variadic LPUSH and RPOP, and bytes per
 * queued task. Every run checks
 * that each task was claimed once.
 *
 *   redis_cost [--url=redis://127.0.0.1:6379] [--tasks=N] [--payload=BYTES]
 *              [--batch=N] [--checked] [--json]
 *
 * With --checked, as with ids that callers choose, the server looks whether ids
 * are taken; without, as with those that are drawn for the call, it need not.
 * The server should be idle otherwise; keys are under a prefix of their own and
 * removed at the end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/redis/redis.h"

#define LANES_MAX 64

typedef struct settings {
    const char *url;
    size_t tasks;
    size_t payload_bytes;
    size_t batch; /* 0 = 1, 8, 32, 128 */
    bool checked;
    bool json;
} settings;

typedef struct figures {
    size_t batch;
    double enqueue_us, turn_us; /* server CPU a task */
    double push_us, pop_us;     /* LPUSH, RPOP */
    double tasks_s;             /* enqueue + turn, wall clock */
    double cycle_us;            /* enqueue + turn, hardly any backlog */
    double bytes;               /* a queued task */
} figures;

static settings run = {
    "redis://127.0.0.1:6379", 100000, 200, 0, false, false
};
static reeve__redis *redis;
static char prefix[32];
static char *payload;

static void need(reeve_rc rc, const reeve_error *err) {
    if (rc < 0) {
        fprintf(stderr, "redis_cost: %s\n", err->message);
        exit(1);
    }
}

static void drive(reeve__op *op) {
    reeve_error err = { 0, "" };
    need(reeve__link_drive(&redis->main, op, INT64_MAX, -1, &err), &err);
    need(reeve__op_result(op, &err), &err);
}

/* A number of an INFO section. */
static double info(const char *section, const char *name) {
    reeve__call call;
    reeve__engine *engine = &redis->main.engine;
    reeve__call_begin_command(&call, engine, 2);
    reeve__cmd_text(&engine->out, "INFO");
    reeve__cmd_text(&engine->out, section);
    drive(&call.op);
    const char *at = strstr(call.reply->bytes.data, name);
    double value = at ? strtod(at + strlen(name) + 1, NULL) : 0;
    reeve__call_dispose(&call);
    return value;
}

static double server_cpu_s(void) {
    return info("cpu", "used_cpu_sys") + info("cpu", "used_cpu_user");
}

/* ---- our own --------------------------------------------------------------- */

typedef struct store {
    reeve__enqueue_item *items;
    reeve__enqueue_item **order;
    char (*ids)[40];
} store;

static store store_new(size_t count) {
    store made = { calloc(count, sizeof(reeve__enqueue_item)),
                   calloc(count, sizeof(reeve__enqueue_item *)),
                   calloc(count, 40) };
    if (!made.items || !made.order || !made.ids) {
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        snprintf(made.ids[i], 40, "0194%08x-7abc-8def-0123456789ab",
                 (unsigned)i);
        made.ids[i][36] = '\0';
        made.items[i] = (reeve__enqueue_item){
            .queue = { "bench", 5 },
            .id = { made.ids[i], 36 },
            .envelope = { payload, strlen(payload) },
            .priority = REEVE_PRIORITY_DEFAULT,
            .fresh = !run.checked,
        };
        made.order[i] = &made.items[i];
    }
    return made;
}

static void enqueue_all(const store *all, size_t batch, size_t lanes) {
    reeve__op_enqueue ops[LANES_MAX];
    for (size_t at = 0; at < run.tasks;) {
        size_t begun = 0;
        for (; begun < lanes && at < run.tasks; begun++) {
            size_t count = run.tasks - at < batch ? run.tasks - at : batch;
            reeve__op_enqueue_begin(&ops[begun], &redis->main.engine,
                                    all->order + at, count, false);
            at += count;
        }
        for (size_t i = 0; i < begun; i++) {
            drive(&ops[i].op);
        }
    }
}

/* One worker's slot: what it holds, and the turn that ends it. */
typedef struct lane {
    reeve__op_turn op;
    reeve__turn turn;
    reeve__settle *settles;
    char (*ids)[40];
    size_t held;
} lane;

static reeve_rc on_claim(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)err;
    lane *to = ctx;
    memcpy(to->ids[to->held], row->id.data, row->id.size);
    to->settles[to->held] = (reeve__settle){
        .id = { to->ids[to->held], row->id.size },
        .token = row->token,
        .priority = REEVE_PRIORITY_DEFAULT,
        .done = true,
    };
    to->held++;
    return row->envelope.size > 0 ? REEVE_OK : REEVE_E_CORRUPT;
}

static size_t turn_lane(lane *one) {
    reeve_error err = { 0, "" };
    drive(&one->op.op);
    size_t ended = one->held;
    for (size_t i = 0; i < one->held; i++) {
        need(one->settles[i].code, &err);
    }
    one->held = 0;
    need(reeve__op_turn_deliver(&one->op, on_claim, one, &err), &err);
    if (one->held > 0) {
        one->settles[one->held - 1].last_of_token = true;
    }
    reeve__op_turn_dispose(&one->op);
    return ended;
}

static void lanes_new(lane *all, size_t batch, size_t lanes) {
    for (size_t i = 0; i < lanes; i++) {
        all[i].settles = calloc(batch, sizeof(reeve__settle));
        all[i].ids = calloc(batch, 40);
    }
}

static void lanes_free(lane *all, size_t lanes, size_t ended) {
    for (size_t i = 0; i < lanes; i++) {
        free(all[i].settles);
        free(all[i].ids);
    }
    if (ended != run.tasks) {
        fprintf(stderr, "redis_cost: %zu tasks ended, %zu enqueued\n", ended,
                run.tasks);
        exit(1);
    }
}

static void turn_begin(lane *one, size_t batch) {
    reeve_error err = { 0, "" };
    one->turn = (reeve__turn){ .queue = { "bench", 5 },
                               .settles = one->settles,
                               .settle_count = one->held,
                               .claim_max = batch,
                               .lease_ms = 30000 };
    need(reeve__op_turn_begin(&one->op, &redis->main.engine, &one->turn, 1,
                              reeve_bytes_of("w1"), false, &err),
         &err);
}

static void turn_all(size_t batch, size_t lanes) {
    lane all[LANES_MAX] = { 0 };
    lanes_new(all, batch, lanes);
    size_t ended = 0;
    while (ended < run.tasks) {
        for (size_t i = 0; i < lanes; i++) {
            turn_begin(&all[i], batch);
        }
        for (size_t i = 0; i < lanes; i++) {
            ended += turn_lane(&all[i]);
        }
    }
    lanes_free(all, lanes, ended);
}

/* Each lane puts a batch, ends what it holds and claims. */
static void cycle_all(const store *tasks, size_t batch, size_t lanes) {
    lane all[LANES_MAX] = { 0 };
    reeve__op_enqueue puts[LANES_MAX];
    lanes_new(all, batch, lanes);
    size_t ended = 0, at = 0;
    while (ended < run.tasks) {
        size_t begun = 0;
        for (size_t i = 0; i < lanes; i++) {
            if (at < run.tasks) {
                size_t count = run.tasks - at < batch ? run.tasks - at : batch;
                reeve__op_enqueue_begin(&puts[begun++], &redis->main.engine,
                                        tasks->order + at, count, false);
                at += count;
            }
            turn_begin(&all[i], batch);
        }
        for (size_t i = 0; i < lanes; i++) {
            if (i < begun) {
                drive(&puts[i].op);
            }
            ended += turn_lane(&all[i]);
        }
    }
    lanes_free(all, lanes, ended);
}

/* ---- the bare list --------------------------------------------------------- */

static void bare(const char *verb, size_t batch, size_t lanes) {
    reeve__engine *engine = &redis->main.engine;
    reeve__call calls[LANES_MAX];
    bool push = strcmp(verb, "LPUSH") == 0;
    for (size_t at = 0; at < run.tasks;) {
        size_t begun = 0;
        for (; begun < lanes && at < run.tasks; begun++, at += batch) {
            reeve__call_begin_command(&calls[begun], engine,
                                      push ? 2 + batch : 3);
            reeve__cmd_text(&engine->out, verb);
            reeve__key_add_global(&engine->out, engine->prefix, "bare");
            for (size_t i = 0; push && i < batch; i++) {
                reeve__cmd_text(&engine->out, payload);
            }
            if (!push) {
                reeve__cmd_int(&engine->out, (int64_t)batch);
            }
        }
        for (size_t i = 0; i < begun; i++) {
            drive(&calls[i].op);
            reeve__call_dispose(&calls[i]);
        }
    }
}

static void delete_all(void) {
    reeve__engine *engine = &redis->main.engine;
    reeve__call call;
    reeve__call_begin_command(&call, engine, 2 + REEVE__KEY_COUNT);
    reeve__cmd_text(&engine->out, "UNLINK");
    for (uint8_t key = 0; key < REEVE__KEY_COUNT; key++) {
        reeve__engine_keys(engine, reeve_bytes_of("bench"), &key, 1);
    }
    reeve__key_add_global(&engine->out, engine->prefix, "bare");
    drive(&call.op);
    reeve__call_dispose(&call);
}

static figures measure(const store *all, size_t batch) {
    size_t lanes = batch == 1 ? 64 : batch <= 8 ? 16 : 8;
    double per = 1e6 / (double)run.tasks;
    figures found = { .batch = batch };
    double cpu = server_cpu_s();
    bare("LPUSH", batch, lanes);
    found.push_us = (server_cpu_s() - cpu) * per;
    cpu = server_cpu_s();
    bare("RPOP", batch, lanes);
    found.pop_us = (server_cpu_s() - cpu) * per;
    double memory = info("memory", "used_memory");
    int64_t start_ns = reeve__mono_ns(NULL);
    cpu = server_cpu_s();
    enqueue_all(all, batch, lanes);
    int64_t half_ns = reeve__mono_ns(NULL) - start_ns;
    found.enqueue_us = (server_cpu_s() - cpu) * per;
    found.bytes = (info("memory", "used_memory") - memory) / (double)run.tasks;
    cpu = server_cpu_s();
    start_ns = reeve__mono_ns(NULL);
    turn_all(batch, lanes);
    found.turn_us = (server_cpu_s() - cpu) * per;
    double wall_s = (double)(reeve__mono_ns(NULL) - start_ns + half_ns) / 1e9;
    found.tasks_s = (double)run.tasks / wall_s;
    cpu = server_cpu_s();
    cycle_all(all, batch, lanes);
    found.cycle_us = (server_cpu_s() - cpu) * per;
    delete_all();
    return found;
}

static void print(const figures *f, bool first) {
    if (run.json) {
        printf("%s{\"batch\":%zu,\"enqueue_us\":%.3f,\"turn_us\":%.3f,"
               "\"cycle_us\":%.3f,\"bare_us\":%.3f,\"tasks_s\":%.0f,"
               "\"bytes\":%.0f}",
               first ? "" : ",", f->batch, f->enqueue_us, f->turn_us,
               f->cycle_us, f->push_us + f->pop_us, f->tasks_s, f->bytes);
        return;
    }
    printf("batch %4zu: %.2f us/task; all queued first: enqueue %.2f + turn "
           "%.2f us, %.0f tasks/s, %.0f B/task; bare list %.2f + %.2f us\n",
           f->batch, f->cycle_us, f->enqueue_us, f->turn_us, f->tasks_s,
           f->bytes, f->push_us, f->pop_us);
}

static void read_args(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--url=", 6) == 0) {
            run.url = argv[i] + 6;
        } else if (strncmp(argv[i], "--tasks=", 8) == 0) {
            run.tasks = strtoull(argv[i] + 8, NULL, 10);
        } else if (strncmp(argv[i], "--payload=", 10) == 0) {
            run.payload_bytes = strtoull(argv[i] + 10, NULL, 10);
        } else if (strncmp(argv[i], "--batch=", 8) == 0) {
            run.batch = strtoull(argv[i] + 8, NULL, 10);
        } else if (strcmp(argv[i], "--checked") == 0) {
            run.checked = true;
        } else if (strcmp(argv[i], "--json") == 0) {
            run.json = true;
        } else {
            fprintf(stderr, "redis_cost: unknown option %s\n", argv[i]);
            exit(2);
        }
    }
    /* Whole batches only, so that the bare list holds as many. */
    run.tasks -= run.tasks % 128;
}

int main(int argc, char **argv) {
    static const char line[] =
        "{\"v\":1,\"type\":\"email:send\",\"at\":1763600000000}\n";
    static const size_t batches[] = { 1, 8, 32, 128 };
    read_args(argc, argv);
    payload = calloc(1, sizeof(line) + run.payload_bytes);
    memcpy(payload, line, sizeof(line) - 1);
    memset(payload + sizeof(line) - 1, 'x', run.payload_bytes);
    snprintf(prefix, sizeof(prefix), "cost-%d", (int)getpid());
    reeve__broker_options options = { .url = run.url, .prefix = prefix };
    reeve_error err = { 0, "" };
    reeve__broker *broker = NULL;
    need(reeve__broker_open(&broker, NULL, &options, &err), &err);
    redis = (reeve__redis *)broker;
    store all = store_new(run.tasks);
    printf("%s", run.json ? "[" : "");
    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
        bool chosen = run.batch == 0 || run.batch == batches[i];
        if (chosen) {
            figures found = measure(&all, batches[i]);
            print(&found, i == 0 || run.batch != 0);
        }
    }
    printf("%s", run.json ? "]\n" : "");
    reeve__broker_close(broker);
    free(all.items);
    free(all.order);
    free(all.ids);
    free(payload);
    return 0;
}
