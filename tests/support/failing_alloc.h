/*
 * An env whose n-th allocation fails, and which counts what is still live. Every
 * code path that allocates is tested with the same loop:
 *
 *     failing_alloc fail;
 *     reeve_env *env = failing_alloc_env(&fail, NULL);
 *     for (long n = 0;; n++) {
 *         failing_alloc_arm(&fail, n);
 *         reeve_rc rc = thing_new(&thing, env, &err);
 *         if (!failing_alloc_disarm(&fail)) {  // n-th was never asked for
 *             assert_int_equal(rc, 0);
 *             thing_free(thing);
 *             break;
 *         }
 *         assert_int_equal(rc, REEVE_E_NOMEM);
 *         assert_int_equal(failing_alloc_live(&fail), 0);
 *     }
 *     reeve_env_free(env);
 *
 * Only one allocation fails and later ones succeed again, which is harder on
 * error paths than running dry. Growing a block is an allocation too.
 * Thread: any.
 */
#ifndef REEVE_TESTS_FAILING_ALLOC_H
#define REEVE_TESTS_FAILING_ALLOC_H

#include <reeve/env.h>
#include <stdatomic.h>

typedef struct failing_alloc {
    atomic_long grants; /* allocations before the one that fails; < 0 = none */
    atomic_long fired;  /* failures since armed */
    atomic_long live;   /* blocks allocated and not freed */
} failing_alloc;

/* New env (reeve_env_free) whose allocator is *fail, disarmed; the env's own
 * block is not counted as live. *fail must outlive it. options: the other hooks,
 * or NULL. Asserts on failure. */
reeve_env *failing_alloc_env(failing_alloc *fail,
                             const reeve_env_options *options);

/* The allocation after the next `grants` ones fails, once. */
void failing_alloc_arm(failing_alloc *fail, long grants);

/* No more failures; true when one has happened since armed. */
bool failing_alloc_disarm(failing_alloc *fail);

/* Blocks that are not freed yet. */
long failing_alloc_live(failing_alloc *fail);

#endif
