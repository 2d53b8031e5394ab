/*
 * See e2e.h.
 */
#include "e2e.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS ((int64_t)1000000000)
#define ARGS_MAX 64

/* --- options ------------------------------------------------------------- */

e2e_args e2e_args_of(int argc, char **argv) {
    if (argc > ARGS_MAX) {
        (void)fprintf(stderr, "%d arguments exceed %d\n", argc, ARGS_MAX);
        exit(2);
    }
    return (e2e_args){ .argc = argc, .argv = argv, .used = 1 };
}

const char *e2e_text(e2e_args *args, const char *name, const char *standard) {
    for (int i = 1; i + 1 < args->argc; i++) {
        const char *arg = args->argv[i];
        if (strncmp(arg, "--", 2) == 0 && strcmp(arg + 2, name) == 0) {
            args->used |= UINT64_C(3) << i;
            return args->argv[i + 1];
        }
    }
    return standard;
}

int64_t e2e_number(e2e_args *args, const char *name, int64_t standard) {
    const char *text = e2e_text(args, name, NULL);
    if (!text)
        return standard;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end) {
        (void)fprintf(stderr, "--%s is not a number: %s\n", name, text);
        exit(2);
    }
    return value;
}

const char *e2e_word(e2e_args *args, int index) {
    for (int i = 1; i <= index + 1; i++) {
        if (i >= args->argc || strncmp(args->argv[i], "--", 2) == 0)
            return NULL;
    }
    args->used |= UINT64_C(1) << (index + 1);
    return args->argv[index + 1];
}

void e2e_args_end(const e2e_args *args) {
    for (int i = 1; i < args->argc; i++) {
        if (!(args->used >> i & 1)) {
            (void)fprintf(stderr, "unknown argument: %s\n", args->argv[i]);
            exit(2);
        }
    }
}

/* --- time and chance ------------------------------------------------------ */

int64_t e2e_mono_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

int64_t e2e_wall_ms(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void e2e_sleep_ns(int64_t ns) {
    struct timespec left = {
        .tv_sec = (time_t)(ns / SECOND_NS),
        .tv_nsec = (long)(ns % SECOND_NS),
    };
    while (ns > 0 && nanosleep(&left, &left) && errno == EINTR)
        ;
}

/* splitmix64 (Steele, Lea, Flood, 2014). */
uint64_t e2e_random(uint64_t *state, uint64_t bound) {
    uint64_t x = (*state += UINT64_C(0x9e3779b97f4a7c15));
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return bound ? x % bound : 0;
}

/* --- journals -------------------------------------------------------------- */

int e2e_journal_open(const char *path) {
    if (!path)
        return -1;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

void e2e_journal_line(int fd, const char *fmt, ...) {
    char line[512];
    if (fd < 0)
        return;
    va_list args;
    va_start(args, fmt);
    int size = vsnprintf(line, sizeof line - 1, fmt, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof line - 1)
        abort();
    line[size++] = '\n';
    if (write(fd, line, (size_t)size) != size) {
        perror("journal");
        abort();
    }
}

/* --- words ----------------------------------------------------------------- */

void e2e_die(reeve_rc rc, const reeve_error *err) {
    (void)fprintf(stderr, "%s: %s\n", reeve_code_slug(rc), err->message);
    exit(1);
}

static void log_line(void *ctx, int32_t level, const char *line) {
    (void)ctx;
    (void)fprintf(stderr, "%lld %d %s\n", (long long)(e2e_mono_ns() / 1000000),
                  (int)level, line);
}

reeve_env *e2e_env(int32_t log_level) {
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.log = log_line;
    options.log_level = log_level;
    reeve_env *env = NULL;
    reeve_error err;
    reeve_rc rc = reeve_env_new(&env, &options, &err);
    if (rc)
        e2e_die(rc, &err);
    return env;
}

void e2e_json_text(reeve_bytes text) {
    (void)putchar('"');
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            (void)printf("\\u%04x", c);
        else
            (void)putchar(c);
    }
    (void)putchar('"');
}
