/*
 * reeve from C, through its public face, by the contract of
 * tests/bench/README.md. Handlers run on the worker's own threads, as many as
 * tasks may run at a time; at the best setting, handlers that never sleep get a
 * thread a core.
 */
#include <signal.h>
#include <stdbool.h>
#include <string.h>

#include <reeve.h>

#include "../slots.h"

#define EXTRA_BYTES 96

typedef struct flags {
    const char *url;
    const char *handler;
    const char *setting;
    long count, batch, payload_bytes;
    long concurrency, processes; /* threads of one process serve for both */
    long delay_ms, spread_ms;
    double rate;
} flags;

static _Noreturn void die(const char *what, const char *why) {
    (void)fprintf(stderr, "reeve-c: %s: %s\n", what, why);
    exit(1);
}

/* ---- produce ------------------------------------------------------------ */

static double cpu_s(void) {
    return (double)now_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9;
}

static void pace(const flags *given, int64_t start_ns, long done) {
    if (given->rate <= 0)
        return;
    int64_t due_ns = start_ns + (int64_t)((double)done * 1e9 / given->rate);
    struct timespec due = { due_ns / 1000000000, due_ns % 1000000000 };
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

/* Writes the payload of task i into its place; borrows from it. */
static reeve_bytes put_payload(char *place, const flags *given, long i,
                               int64_t delay_ms) {
    bool timed =
        !strcmp(given->handler, "stamp") || !strcmp(given->handler, "hold");
    int head = snprintf(place, EXTRA_BYTES, "{\"n\":%ld,", i);
    if (timed)
        head +=
            snprintf(place + head, EXTRA_BYTES - (size_t)head, "\"t\":%lld,",
                     (long long)(now_ns(CLOCK_MONOTONIC) + delay_ms * 1000000));
    head += snprintf(place + head, EXTRA_BYTES - (size_t)head, "\"pad\":\"");
    long pad = given->payload_bytes - head - 2;
    if (pad < 0)
        pad = 0;
    memset(place + head, 'x', (size_t)pad);
    memcpy(place + head + pad, "\"}", 2);
    return (reeve_bytes){ place, (size_t)(head + pad + 2) };
}

static void store(reeve_client *client, reeve_enqueue_args *args, char *bytes,
                  const flags *given, long first, long size) {
    reeve_error err;
    size_t room = (size_t)given->payload_bytes + EXTRA_BYTES;
    for (long i = 0; i < size; i++) {
        int64_t delay_ms =
            given->delay_ms + (first + i) * given->spread_ms / given->count;
        args[i].delay_ms = delay_ms;
        args[i].payload =
            put_payload(bytes + (size_t)i * room, given, first + i, delay_ms);
    }
    if (reeve_client_enqueue_many(NULL, client, args, (size_t)size, &err))
        die("enqueue", err.message);
}

static void produce(const flags *given) {
    reeve_error err;
    reeve_client *client = NULL;
    reeve_client_options options = REEVE_CLIENT_OPTIONS_INIT;
    options.url = given->url;
    if (reeve_client_open(&client, NULL, &options, &err))
        die("open", err.message);
    size_t batch = (size_t)given->batch;
    reeve_enqueue_args *args = calloc(batch, sizeof *args);
    char *bytes = malloc(batch * ((size_t)given->payload_bytes + EXTRA_BYTES));
    if (!args || !bytes)
        die("produce", "no memory");
    for (size_t i = 0; i < batch; i++) {
        args[i] = (reeve_enqueue_args)REEVE_ENQUEUE_ARGS_INIT;
        args[i].type = reeve_bytes_of(given->handler);
    }
    int64_t start_ns = now_ns(CLOCK_MONOTONIC);
    double start_s = cpu_s();
    for (long first = 0; first < given->count; first += given->batch) {
        long left = given->count - first;
        pace(given, start_ns, first);
        store(client, args, bytes, given, first,
              left < given->batch ? left : given->batch);
    }
    (void)printf(
        "{\"count\":%ld,\"wall_s\":%.6f,\"cpu_s\":%.6f}\n", given->count,
        (double)(now_ns(CLOCK_MONOTONIC) - start_ns) / 1e9, cpu_s() - start_s);
    free(bytes);
    free(args);
    reeve_client_close(client);
}

/* ---- work --------------------------------------------------------------- */

static reeve_rc noop(reeve_outcome *outcome, reeve_delivery *delivery,
                     void *user, reeve_error *err) {
    (void)outcome;
    (void)delivery;
    (void)user;
    (void)err;
    slots_hit();
    return 0;
}

static void rest(long ms) {
    struct timespec span = { ms / 1000, ms % 1000 * 1000000 };
    (void)nanosleep(&span, NULL);
}

static reeve_rc nap(reeve_outcome *outcome, reeve_delivery *delivery,
                    void *user, reeve_error *err) {
    rest(1);
    return noop(outcome, delivery, user, err);
}

static reeve_rc burn(reeve_outcome *outcome, reeve_delivery *delivery,
                     void *user, reeve_error *err) {
    slots_burn();
    return noop(outcome, delivery, user, err);
}

static reeve_rc stamp(reeve_outcome *outcome, reeve_delivery *delivery,
                      void *user, reeve_error *err) {
    reeve_delivery_view view = REEVE_DELIVERY_VIEW_INIT;
    reeve_rc rc = reeve_delivery_read(&view, delivery, err);
    if (rc)
        return rc;
    char text[64] = { 0 };
    size_t size = view.payload.size < 63 ? view.payload.size : 63;
    memcpy(text, view.payload.data, size);
    const char *found = strstr(text, "\"t\":");
    if (!slots_stamp(found ? strtoll(found + 4, NULL, 10) : 0))
        die("stamp", "cannot write");
    return noop(outcome, delivery, user, err);
}

static reeve_rc hold(reeve_outcome *outcome, reeve_delivery *delivery,
                     void *user, reeve_error *err) {
    reeve_rc rc = stamp(outcome, delivery, user, err);
    rest(60000);
    return rc;
}

static void handle_all(reeve_worker *worker) {
    static const struct {
        const char *name;
        reeve_handler handler;
    } known[] = { { "noop", noop },
                  { "sleep", nap },
                  { "cpu", burn },
                  { "stamp", stamp },
                  { "hold", hold } };
    reeve_error err;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (reeve_worker_handle(worker, reeve_bytes_of(known[i].name),
                                known[i].handler, NULL, &err))
            die("handler", err.message);
}

static void work(const flags *given) {
    reeve_error err;
    reeve_worker *worker = NULL;
    reeve_worker_options options = REEVE_WORKER_OPTIONS_INIT;
    bool busy =
        !strcmp(given->handler, "noop") || !strcmp(given->handler, "cpu");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    options.url = given->url;
    long concurrency = given->concurrency * given->processes;
    options.concurrency = (int32_t)concurrency;
    if (busy && !strcmp(given->setting, "best") && cores < concurrency)
        options.thread_count = (int32_t)cores;
    sigset_t stops;
    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &stops, NULL);
    if (!slots_open())
        die("counters", "cannot open BENCH_COUNTERS or BENCH_STAMPS");
    if (reeve_worker_new(&worker, NULL, &options, &err))
        die("worker", err.message);
    handle_all(worker);
    if (reeve_worker_start(worker, &err))
        die("worker", err.message);
    (void)puts("ready");
    (void)fflush(stdout);
    int number = 0;
    (void)sigwait(&stops, &number);
    reeve_worker_stop(worker);
    (void)reeve_worker_join(worker, REEVE_NEVER, NULL);
    reeve_worker_free(worker);
}

/* ---- arguments ---------------------------------------------------------- */

static void print_versions(void) {
    (void)printf("{\"name\":\"reeve-c\",\"version\":\"%s\",\"runtime\":\"C11\","
                 "\"settings\":{\"default\":{\"threads\":\"concurrency\"},"
                 "\"best\":{\"threads\":\"a core each for handlers that never "
                 "wait (docs/c-api.md)\"}},"
                 "\"notes\":\"All guarantees in both: at least once, leases of "
                 "30 s with fencing.\","
                 "\"handlers\":[\"noop\",\"sleep\",\"cpu\",\"stamp\",\"hold\"]}"
                 "\n",
                 reeve_version());
}

static void take(flags *given, const char *name, const char *value) {
    const struct {
        const char *name;
        long *number;
    } numbers[] = { { "--count", &given->count },
                    { "--batch", &given->batch },
                    { "--payload", &given->payload_bytes },
                    { "--concurrency", &given->concurrency },
                    { "--delay-ms", &given->delay_ms },
                    { "--spread-ms", &given->spread_ms },
                    { "--processes", &given->processes } };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(numbers[i].name, name))
            continue;
        *numbers[i].number = strtol(value, NULL, 10);
        return;
    }
    if (!strcmp(name, "--url"))
        given->url = value;
    else if (!strcmp(name, "--handler"))
        given->handler = value;
    else if (!strcmp(name, "--setting"))
        given->setting = value;
    else if (!strcmp(name, "--rate"))
        given->rate = strtod(value, NULL);
    else
        die("no such option", name);
}

int main(int argc, char **argv) {
    flags given = { .handler = "noop",
                    .setting = "default",
                    .batch = 1,
                    .payload_bytes = 200,
                    .concurrency = 1,
                    .processes = 1 };
    for (int i = 2; i + 1 < argc; i += 2)
        take(&given, argv[i], argv[i + 1]);
    if (argc == 2 && !strcmp(argv[1], "versions"))
        print_versions();
    else if (argc > 2 && !strcmp(argv[1], "produce") && given.count > 0)
        produce(&given);
    else if (argc > 2 && !strcmp(argv[1], "work"))
        work(&given);
    else
        die("usage", "reeve-c produce|work|versions --url URL …");
    return 0;
}
