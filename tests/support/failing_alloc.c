/*
 * The allocator behind failing_alloc.h: malloc with a countdown and a count of
 * live blocks.
 */
#include "support/failing_alloc.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* True when this allocation is the one to fail. */
static bool is_its_turn(failing_alloc *fail) {
    long grants = atomic_load(&fail->grants);
    while (grants >= 0) {
        if (atomic_compare_exchange_weak(&fail->grants, &grants, grants - 1)) {
            if (grants > 0)
                return false;
            atomic_fetch_add(&fail->fired, 1);
            return true;
        }
    }
    return false;
}

static void *alloc(void *ctx, void *ptr, size_t new_bytes) {
    failing_alloc *fail = ctx;
    if (new_bytes == 0) {
        if (ptr != NULL)
            atomic_fetch_sub(&fail->live, 1);
        free(ptr);
        return NULL;
    }
    if (is_its_turn(fail))
        return NULL;
    void *block = realloc(ptr, new_bytes);
    if (block != NULL && ptr == NULL)
        atomic_fetch_add(&fail->live, 1);
    return block;
}

reeve_env *failing_alloc_env(failing_alloc *fail,
                             const reeve_env_options *options) {
    atomic_init(&fail->grants, -1);
    atomic_init(&fail->fired, 0);
    atomic_init(&fail->live, 0);
    reeve_env_options ours = REEVE_ENV_OPTIONS_INIT;
    if (options != NULL)
        ours = *options;
    ours.alloc = alloc;
    ours.alloc_ctx = fail;
    reeve_env *env = NULL;
    assert_int_equal(reeve_env_new(&env, &ours, NULL), REEVE_OK);
    atomic_store(&fail->live, 0);
    return env;
}

void failing_alloc_arm(failing_alloc *fail, long grants) {
    atomic_store(&fail->fired, 0);
    atomic_store(&fail->grants, grants);
}

bool failing_alloc_disarm(failing_alloc *fail) {
    atomic_store(&fail->grants, -1);
    return atomic_load(&fail->fired) > 0;
}

long failing_alloc_live(failing_alloc *fail) {
    return atomic_load(&fail->live);
}
