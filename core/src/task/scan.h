/*
 * Strict check of a JSON text (RFC 8259) in one pass, without recursion. It
 * stands before cJSON, which accepts too much and rounds numbers. Used by
 * task/json.c only.
 */
#ifndef REEVE_SRC_TASK_SCAN_H
#define REEVE_SRC_TASK_SCAN_H

#include "base/buf.h"

/* Deepest nesting that any caller may ask for. */
#define REEVE__JSON_DEPTH_MAX 64
/* Integers of up to this many digits are exact in a double. */
#define REEVE__JSON_EXACT_DIGITS 15
/* Begins a string that stands for a number's text; no UTF-8 has this byte. */
#define REEVE__JSON_RAW_MARK '\xff'

/*
 * Checks that text is one JSON value: grammar, UTF-8, escapes (no \u0000, no
 * lone surrogates), depth, nothing after it. Every number but a plain integer
 * of up to EXACT_DIGITS is copied to rewritten as "\xff<digits>"; rewritten
 * stays empty when there was none, and is otherwise the whole text. Duplicate
 * names are not its business. Errors: CORRUPT (what and where), NOMEM.
 */
reeve_rc reeve__json_scan(reeve__buf *rewritten, reeve_bytes text,
                          int depth_max, reeve_error *err);

#endif
