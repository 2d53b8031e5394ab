/*
 * Small helpers over reeve_bytes views and options structs.
 */
#ifndef REEVE_SRC_BASE_BYTES_H
#define REEVE_SRC_BASE_BYTES_H

#include "base/error.h"

bool reeve__bytes_equal(reeve_bytes a, reeve_bytes b);
bool reeve__bytes_is(reeve_bytes a, const char *text);
/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool reeve__utf8_is_valid(reeve_bytes text);
/* Whole text is a decimal int64 (optional '-'); false otherwise. */
bool reeve__int_parse(int64_t *out, reeve_bytes text);
/*
 * Loads a caller's extensible struct into ours, which is zeroed first: shorter
 * than min_size is USAGE, longer with a non-zero tail UNSUPPORTED. Every struct
 * begins with uint32_t size.
 */
reeve_rc reeve__struct_load(void *out, size_t our_size, size_t min_size,
                            const void *given, const char *name,
                            reeve_error *err);
/* Copies ours into a caller's out struct of given->size bytes (views, stats);
 * the size field is kept. */
reeve_rc reeve__struct_store(void *out, const void *ours, size_t our_size,
                             const char *name, reeve_error *err);

#endif
