/*
 * Ids for those who must know them before they enqueue.
 */
#include <reeve/client.h>

#include "task/id.h"

_Static_assert(REEVE_ID_TEXT_BYTES == REEVE__UUID_TEXT_BYTES + 1,
               "the public bound is what the maker writes");

void reeve_id_new(char out[REEVE_ID_TEXT_BYTES], reeve_env *env) {
    reeve__id_new(out, env, reeve__now_at_ms(env));
}
