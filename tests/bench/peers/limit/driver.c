/*
 * The bare limit: a list of the bytes that a task takes, variadic LPUSH and
 * RPOP of many, nothing kept of what was popped. It has no guarantee at all and
 * obeys the contract of the peers' drivers (tests/bench/README.md), so that the
 * harness measures it as it measures them.
 *
 *   limit produce --url U --count N --batch B --payload BYTES [--handler H]
 *                 [--rate R] [--setting default|best]
 *   limit work --url U --concurrency C [--processes P] [--handler noop|stamp]
 *   limit versions
 *
 * Setting default has one call in flight, best several.
 */
#define _GNU_SOURCE
#include "limit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEY "limit:tasks"
#define KEY_WORDS "$11\r\n" KEY "\r\n"
#define LPUSH_WORDS "$5\r\nLPUSH\r\n" KEY_WORDS
#define SLOTS_BYTES 4096
/* What an envelope adds to its payload: type, id, time, counts. */
#define ENVELOPE_EXTRA_BYTES 155

typedef struct run_settings {
    const char *url;
    const char *handler;
    size_t count, batch, payload_bytes, concurrency, processes;
    double rate;
    bool best;
} run_settings;

typedef struct worker {
    wire conn;
    uint64_t volatile *counter; /* a mapped slot, or one of our own */
    int stamps;                 /* -1: nothing to stamp */
    char *claim;                /* RPOP of a batch */
    char *wait;                 /* BLMPOP of a batch */
} worker;

static volatile sig_atomic_t stopped;

static void on_term(int number) {
    (void)number;
    stopped = 1;
}

static int64_t mono_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* Calls in flight: as many tasks on the way whatever the batch. */
static size_t depth_of(const run_settings *run, size_t batch) {
    if (!run->best) {
        return 1;
    }
    return batch == 1 ? 64 : batch <= 8 ? 16 : 8;
}

/* ---- produce --------------------------------------------------------------- */

/* One element of LPUSH: the payload inside as many bytes as an envelope has. */
static void put_envelope(const run_settings *run, wire *conn, size_t number) {
    char head[96];
    int used = snprintf(head, sizeof(head), "{\"n\":%zu", number);
    if (strcmp(run->handler, "stamp") == 0) {
        used += snprintf(head + used, sizeof(head) - (size_t)used,
                         ",\"t\":%lld", (long long)mono_ns());
    }
    used += snprintf(head + used, sizeof(head) - (size_t)used, ",\"pad\":\"");
    size_t size = run->payload_bytes + ENVELOPE_EXTRA_BYTES;
    size_t least = (size_t)used + 2;
    wire_number(conn, '$', size < least ? least : size);
    wire_put(conn, head, (size_t)used);
    wire_fill(conn, 'x', size < least ? 0 : size - least);
    wire_put(conn, "\"}\r\n", 4);
}

static void pace(const run_settings *run, int64_t start_ns, size_t sent) {
    if (run->rate > 0) {
        int64_t due_ns = start_ns + (int64_t)((double)sent * 1e9 / run->rate);
        struct timespec due = { due_ns / 1000000000, due_ns % 1000000000 };
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    }
}

static int produce(const run_settings *run) {
    wire conn;
    wire_open(&conn, run->url, NULL);
    size_t depth = depth_of(run, run->batch), flying = 0;
    int64_t start_ns = mono_ns();
    double start_cpu_s = cpu_s();
    for (size_t sent = 0; sent < run->count;) {
        size_t left = run->count - sent;
        size_t count = left < run->batch ? left : run->batch;
        pace(run, start_ns, sent);
        wire_number(&conn, '*', count + 2);
        wire_put(&conn, LPUSH_WORDS, strlen(LPUSH_WORDS));
        for (size_t i = 0; i < count; i++) {
            put_envelope(run, &conn, sent + i);
        }
        sent += count;
        flying++;
        /* Half of the calls come back before as many leave again. */
        if (flying == depth || sent == run->count || run->rate > 0) {
            size_t keep = sent == run->count ? 0 : depth / 2;
            for (wire_flush(&conn); flying > keep; flying--) {
                wire_integer(&conn);
            }
        }
    }
    printf("{\"count\":%zu,\"wall_s\":%.6f,\"cpu_s\":%.6f}\n", run->count,
           (double)(mono_ns() - start_ns) / 1e9, cpu_s() - start_cpu_s);
    wire_close(&conn);
    return 0;
}

/* ---- work ------------------------------------------------------------------ */

static uint64_t *map_counter(void) {
    static uint64_t own;
    const char *folder = getenv("BENCH_COUNTERS");
    if (!folder) {
        return &own;
    }
    char path[512];
    snprintf(path, sizeof(path), "%s/%d", folder, (int)getpid());
    int file = open(path, O_RDWR | O_CREAT, 0644);
    if (file < 0 || ftruncate(file, SLOTS_BYTES) < 0) {
        fail("cannot create the counters", path);
    }
    void *map =
        mmap(NULL, SLOTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map == MAP_FAILED) {
        fail("cannot map the counters", path);
    }
    return map;
}

static int open_stamps(const run_settings *run) {
    const char *path = getenv("BENCH_STAMPS");
    if (!path || strcmp(run->handler, "stamp") != 0) {
        return -1;
    }
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0) {
        fail("cannot open the stamps", path);
    }
    return file;
}

static void stamp(const worker *self, const char *data, size_t size) {
    int64_t started_ns = mono_ns();
    const char *found = memmem(data, size, "\"t\":", 4);
    char line[64];
    int used = snprintf(line, sizeof(line), "%lld %lld\n",
                        found ? atoll(found + 4) : 0, (long long)started_ns);
    if (write(self->stamps, line, (size_t)used) != used) {
        fail("cannot write to BENCH_STAMPS", line);
    }
}

/* Runs a task: the element's bytes, valid until the next read. */
static void handle(void *ctx, const char *data, size_t size) {
    worker *self = ctx;
    if (self->stamps >= 0) {
        stamp(self, data, size);
    }
    ++*self->counter;
}

static void make_calls(const run_settings *run, worker *self) {
    char digits[24];
    int used = snprintf(digits, sizeof(digits), "%zu", run->concurrency);
    if (asprintf(&self->claim, "*3\r\n$4\r\nRPOP\r\n" KEY_WORDS "$%d\r\n%s\r\n",
                 used, digits) < 0 ||
        asprintf(&self->wait,
                 "*7\r\n$6\r\nBLMPOP\r\n$1\r\n0\r\n$1\r\n1\r\n" KEY_WORDS
                 "$5\r\nRIGHT\r\n$5\r\nCOUNT\r\n$%d\r\n%s\r\n",
                 used, digits) < 0) {
        fail("no memory for", "calls");
    }
}

/* Claims until the list is empty, then waits in Redis for the next task. */
static void work_on(const run_settings *run, worker *self) {
    size_t depth = depth_of(run, run->concurrency), flying = 0;
    while (!stopped) {
        for (; flying < depth; flying++) {
            wire_put(&self->conn, self->claim, strlen(self->claim));
        }
        wire_flush(&self->conn);
        size_t taken = wire_strings(&self->conn, false, handle, self);
        flying--;
        if (taken > 0) {
            continue;
        }
        for (; flying > 0; flying--) {
            taken += wire_strings(&self->conn, false, handle, self);
        }
        if (taken == 0) {
            wire_put(&self->conn, self->wait, strlen(self->wait));
            wire_flush(&self->conn);
            wire_strings(&self->conn, true, handle, self);
        }
    }
}

static void work_one(const run_settings *run, int ready) {
    worker self = { .counter = map_counter(), .stamps = open_stamps(run) };
    make_calls(run, &self);
    wire_open(&self.conn, run->url, &stopped);
    if (write(ready, "r", 1) != 1) {
        fail("cannot tell the parent", "ready");
    }
    work_on(run, &self);
    wire_close(&self.conn);
    free(self.claim);
    free(self.wait);
}

static int work(const run_settings *run) {
    int pipes[2];
    pid_t children[64];
    struct sigaction action = { .sa_handler = on_term };
    sigaction(SIGTERM, &action, NULL);
    if (pipe(pipes) < 0 || run->processes > 64) {
        fail("cannot start so many processes", "64 at most");
    }
    for (size_t i = 0; i < run->processes; i++) {
        children[i] = fork();
        if (children[i] < 0) {
            fail("cannot start a process", "fork");
        }
        if (children[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            work_one(run, pipes[1]);
            exit(0);
        }
    }
    close(pipes[1]);
    char byte;
    for (size_t i = 0; i < run->processes; i++) {
        if (read(pipes[0], &byte, 1) != 1) {
            fail("a process ended before it was", "ready");
        }
    }
    puts("ready");
    fflush(stdout);
    while (!stopped && waitpid(-1, NULL, 0) > 0) {
    }
    for (size_t i = 0; i < run->processes; i++) {
        kill(children[i], SIGTERM);
    }
    while (wait(NULL) > 0) {
    }
    return 0;
}

static int versions(void) {
    puts("{\"name\":\"limit\",\"version\":\"1\",\"runtime\":\"C\","
         "\"settings\":{\"default\":{\"calls_in_flight\":1},"
         "\"best\":{\"calls_in_flight\":\"64 of 1 task, 16 of 2 to 8, "
         "8 of more\"}},"
         "\"notes\":\"LPUSH and RPOP of many, BLMPOP when idle; a task that "
         "was popped is gone, whatever happens to the process\","
         "\"handlers\":[\"noop\",\"stamp\"]}");
    return 0;
}

/* ---- arguments ------------------------------------------------------------- */

static void read_flag(run_settings *run, const char *name, const char *value) {
    if (strcmp(name, "--url") == 0) {
        run->url = value;
    } else if (strcmp(name, "--handler") == 0) {
        run->handler = value;
    } else if (strcmp(name, "--count") == 0) {
        run->count = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--batch") == 0) {
        run->batch = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--payload") == 0) {
        run->payload_bytes = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--concurrency") == 0) {
        run->concurrency = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--processes") == 0) {
        run->processes = strtoull(value, NULL, 10);
    } else if (strcmp(name, "--rate") == 0) {
        run->rate = strtod(value, NULL);
    } else if (strcmp(name, "--delay-ms") == 0 ||
               strcmp(name, "--spread-ms") == 0) {
        fail("a list keeps no due times, so there is no", name);
    } else if (strcmp(name, "--setting") == 0) {
        run->best = strcmp(value, "best") == 0;
    } else {
        fail("unknown option", name);
    }
}

int main(int argc, char **argv) {
    run_settings run = { .url = "redis://127.0.0.1:6379",
                         .handler = "noop",
                         .batch = 1,
                         .payload_bytes = 200,
                         .concurrency = 1,
                         .processes = 1 };
    if (argc % 2 != 0) {
        fail("an option lacks its value", argv[argc - 1]);
    }
    for (int i = 2; i + 1 < argc; i += 2) {
        read_flag(&run, argv[i], argv[i + 1]);
    }
    if (strcmp(run.handler, "noop") != 0 && strcmp(run.handler, "stamp") != 0) {
        fail("a handler this has not", run.handler);
    }
    if (run.batch == 0 || run.concurrency == 0 || run.processes == 0) {
        fail("batch, concurrency and processes begin at", "1");
    }
    if (argc > 1 && strcmp(argv[1], "produce") == 0) {
        return produce(&run);
    }
    if (argc > 1 && strcmp(argv[1], "work") == 0) {
        return work(&run);
    }
    if (argc == 2 && strcmp(argv[1], "versions") == 0) {
        return versions();
    }
    fail("unknown verb", argc > 1 ? argv[1] : "(none)");
}
