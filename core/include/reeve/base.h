/*
 * Words that every other header uses: export macro, byte view, return code,
 * units. Nothing here does anything.
 *
 * Conventions of the whole library:
 *   - Functions return reeve_rc: 0 is good, negative is an error.
 *   - Outputs come first, then the object, then inputs, options, and last a
 *     reeve_error that the caller owns (may be NULL).
 *   - Every quantity ends in its unit: _ms, _ns, _bytes, _count. A wall-clock
 *     point is _at_ms (Unix epoch). 0 means "the default", REEVE_NEVER "no
 *     limit".
 *   - Thread words: `any` (from any thread at any time), `one` (one thread at a
 *     time for this object), `setup` (before the object is started).
 *   - Ownership words: new (you must free), borrows (valid until the named
 *     thing dies or changes), copies, consumes (gone even if the call fails).
 */
#ifndef REEVE_BASE_H
#define REEVE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define REEVE_BEGIN_DECLS extern "C" {
#define REEVE_END_DECLS }
#else
#define REEVE_BEGIN_DECLS
#define REEVE_END_DECLS
#endif

#if defined(__GNUC__) || defined(__clang__)
#define REEVE_EXTERN __attribute__((visibility("default")))
#define REEVE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define REEVE_EXTERN
#define REEVE_PRINTF(fmt, args)
#endif

/* What the …_INIT macros are: everything zero but size. In C++ a function,
 * because designated initialisers came with C++20. */
#ifdef __cplusplus
template <typename T> inline T reeve__init() {
    T value = {};
    value.size = static_cast<uint32_t>(sizeof(T));
    return value;
}
#define REEVE__INIT(type) reeve__init<type>()
#else
#define REEVE__INIT(type)                                                      \
    { .size = (uint32_t)sizeof(type) }
#endif

/* "No limit" for counts and spans; a point in time that never comes. */
#define REEVE_NEVER (-1)

/* 0 is good; a negative value is one of enum reeve_code (error.h). */
typedef int32_t reeve_rc;

/* A view of bytes owned by somebody else. Not NUL-terminated. */
typedef struct reeve_bytes {
    const char *data;
    size_t size;
} reeve_bytes;

REEVE_BEGIN_DECLS

/* View of a NUL-terminated string; NULL gives an empty view. Thread: any. */
REEVE_EXTERN reeve_bytes reeve_bytes_of(const char *text);

/* Library version, "MAJOR.MINOR.PATCH". Thread: any. */
REEVE_EXTERN const char *reeve_version(void);

REEVE_END_DECLS

#endif
