/*
 * The extensible-struct rule: how options of an older or newer caller are read,
 * and how views are written back. Every such struct begins with uint32_t size.
 */
#include "base/bytes.h"

#include <string.h>

static uint32_t size_of_given(const void *given) {
    uint32_t size;
    memcpy(&size, given, sizeof size);
    return size;
}

static bool is_zero(const char *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] != 0)
            return false;
    }
    return true;
}

reeve_rc reeve__struct_load(void *out, size_t our_size, size_t min_size,
                            const void *given, const char *name,
                            reeve_error *err) {
    memset(out, 0, our_size);
    if (given == NULL)
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL", name);
    size_t size = size_of_given(given);
    if (size < min_size)
        return reeve__fail(err, REEVE_E_USAGE,
                           "%s.size is %zu, less than %zu; was it set by its "
                           "INIT macro?",
                           name, size, min_size);
    if (size > our_size &&
        !is_zero((const char *)given + our_size, size - our_size))
        return reeve__fail(err, REEVE_E_UNSUPPORTED,
                           "%s.size is %zu and sets options that this version "
                           "(%zu) does not know",
                           name, size, our_size);
    memcpy(out, given, size < our_size ? size : our_size);
    uint32_t loaded = (uint32_t)our_size;
    memcpy(out, &loaded, sizeof loaded);
    return REEVE_OK;
}

reeve_rc reeve__struct_store(void *out, const void *ours, size_t our_size,
                             const char *name, reeve_error *err) {
    if (out == NULL)
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL", name);
    size_t size = size_of_given(out);
    size_t head = sizeof(uint32_t);
    if (size < head)
        return reeve__fail(err, REEVE_E_USAGE,
                           "%s.size is %zu; was it set by its INIT macro?",
                           name, size);
    size_t shared = size < our_size ? size : our_size;
    memcpy((char *)out + head, (const char *)ours + head, shared - head);
    memset((char *)out + shared, 0, size - shared);
    return REEVE_OK;
}
