/*
 * What the end-to-end programs share: options, clocks, journals, JSON text.
 * They use the library's public face alone, as a stranger would; the driver
 * (prove.py) starts, kills and judges them.
 */
#ifndef REEVE_TESTS_E2E_H
#define REEVE_TESTS_E2E_H

#include <reeve.h>

/* The command line: --name value, and words before the first option. */
typedef struct e2e_args {
    int argc;
    char **argv;
    uint64_t used; /* bit i: argv[i] was asked for */
} e2e_args;

/* argc is at most 64. */
e2e_args e2e_args_of(int argc, char **argv);
const char *e2e_text(e2e_args *args, const char *name, const char *standard);
int64_t e2e_number(e2e_args *args, const char *name, int64_t standard);
/* The index-th word before the options; NULL when there is none. */
const char *e2e_word(e2e_args *args, int index);
/* Ends the program with 2 when something on the command line was not used. */
void e2e_args_end(const e2e_args *args);

int64_t e2e_mono_ns(void);
int64_t e2e_wall_ms(void);
void e2e_sleep_ns(int64_t ns);
/* A cheap random number in [0, bound); state is the caller's. */
uint64_t e2e_random(uint64_t *state, uint64_t bound);

/* Opens for appending; -1 for NULL. Ends the program on failure. */
int e2e_journal_open(const char *path);
/* One line in one write: it is there or it is not, whatever kills us. */
void e2e_journal_line(int fd, const char *fmt, ...) REEVE_PRINTF(2, 3);

/* Prints "slug: message" to stderr and ends the program with 1. */
void e2e_die(reeve_rc rc, const reeve_error *err);
/* Environment whose log goes to stderr. New. */
reeve_env *e2e_env(int32_t log_level);
/* Prints a JSON string of bytes; what is not ASCII text as \u00XX. */
void e2e_json_text(reeve_bytes text);

#endif
