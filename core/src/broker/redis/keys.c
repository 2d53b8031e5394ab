/*
 * Key names, written straight into a command.
 */
#include "broker/redis/keys.h"

#include <string.h>

#include "wire/resp.h"

static const char *const names[REEVE__KEY_COUNT] = {
    [REEVE__KEY_TASKS] = "tasks",       [REEVE__KEY_PENDING] = "pending",
    [REEVE__KEY_RANKED] = "ranked",     [REEVE__KEY_ACTIVE] = "active",
    [REEVE__KEY_LEASES] = "leases",     [REEVE__KEY_SCHEDULED] = "scheduled",
    [REEVE__KEY_RETRY] = "retry",       [REEVE__KEY_COMPLETED] = "completed",
    [REEVE__KEY_ARCHIVED] = "archived", [REEVE__KEY_RESULTS] = "results",
    [REEVE__KEY_META] = "meta",         [REEVE__KEY_BELL] = "bell",
    [REEVE__KEY_DEAD] = "dead",
};

static bool is_safe(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || (c != '\0' && strchr("_-.:/@+", c));
}

reeve_rc reeve__prefix_check(reeve_bytes prefix, reeve_error *err) {
    if (prefix.size < 1 || prefix.size > REEVE__PREFIX_BYTES_MAX) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "prefix has %zu bytes, not 1 to %d", prefix.size,
                           REEVE__PREFIX_BYTES_MAX);
    }
    for (size_t i = 0; i < prefix.size; i++) {
        if (!is_safe(prefix.data[i])) {
            return reeve__fail(err, REEVE_E_INVALID,
                               "prefix has byte 0x%02x at %zu, allowed are "
                               "letters, digits and _-.:/@+",
                               (unsigned)(unsigned char)prefix.data[i], i);
        }
    }
    return REEVE_OK;
}

static char *put(char *at, const char *data, size_t size) {
    if (size > 0) {
        memcpy(at, data, size);
    }
    return at + size;
}

static void queue_key_add(reeve__buf *out, reeve_bytes prefix,
                          reeve_bytes queue, const char *name, size_t name_size,
                          reeve_bytes rest) {
    char *at = reeve__cmd_place(out, prefix.size + 2 + queue.size + 2 +
                                         name_size + rest.size);
    if (!at) {
        return;
    }
    at = put(at, prefix.data, prefix.size);
    at = put(at, ":{", 2);
    at = put(at, queue.data, queue.size);
    at = put(at, "}:", 2);
    at = put(at, name, name_size);
    put(at, rest.data, rest.size);
}

void reeve__key_add(reeve__buf *out, reeve_bytes prefix, reeve_bytes queue,
                    enum reeve__key key) {
    queue_key_add(out, prefix, queue, names[key], strlen(names[key]),
                  (reeve_bytes){ NULL, 0 });
}

void reeve__key_add_once(reeve__buf *out, reeve_bytes prefix, reeve_bytes queue,
                         reeve_bytes idempotency_key) {
    queue_key_add(out, prefix, queue, "once:", 5, idempotency_key);
}

void reeve__key_add_global(reeve__buf *out, reeve_bytes prefix,
                           const char *name) {
    size_t size = strlen(name);
    char *at = reeve__cmd_place(out, prefix.size + 1 + size);
    if (!at) {
        return;
    }
    at = put(at, prefix.data, prefix.size);
    *at++ = ':';
    put(at, name, size);
}
