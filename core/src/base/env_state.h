/*
 * What a reeve_env is made of; only env.c and random.c look inside.
 */
#ifndef REEVE_SRC_BASE_ENV_STATE_H
#define REEVE_SRC_BASE_ENV_STATE_H

#include <stdatomic.h>
#include "base/env.h"

struct reeve_env {
    reeve_env_options options; /* alloc is never NULL; constant after birth */
    atomic_uint ref_count;
    _Atomic int64_t virtual_now_at_ms;
    _Atomic uint64_t random_state; /* used when seeded */
};

#endif
