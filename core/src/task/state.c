/*
 * State names and the table of legal moves.
 */
#include "task/state.h"

#include "base/bytes.h"

#define STATE_COUNT (REEVE_STATE_ARCHIVED + 1)

static const char *const names[STATE_COUNT] = {
    [REEVE_STATE_SCHEDULED] = "scheduled",
    [REEVE_STATE_PENDING] = "pending",
    [REEVE_STATE_ACTIVE] = "active",
    [REEVE_STATE_RETRY] = "retry",
    [REEVE_STATE_BLOCKED] = "blocked",
    [REEVE_STATE_AGGREGATING] = "aggregating",
    [REEVE_STATE_WAITING] = "waiting",
    [REEVE_STATE_COMPLETED] = "completed",
    [REEVE_STATE_ARCHIVED] = "archived",
};

#define TO(state) (1U << REEVE_STATE_##state)

/* Bit n of row m: a task may go from m to n. Reserved states have no moves
 * until something uses them. */
static const uint32_t moves[STATE_COUNT] = {
    [REEVE_STATE_NONE] = TO(SCHEDULED) | TO(PENDING),
    [REEVE_STATE_SCHEDULED] = TO(PENDING) | TO(ARCHIVED) | TO(NONE),
    [REEVE_STATE_PENDING] = TO(ACTIVE) | TO(ARCHIVED) | TO(NONE),
    [REEVE_STATE_ACTIVE] = TO(COMPLETED) | TO(RETRY) | TO(SCHEDULED) |
                           TO(PENDING) | TO(ARCHIVED) | TO(NONE),
    [REEVE_STATE_RETRY] = TO(PENDING) | TO(ARCHIVED) | TO(NONE),
    [REEVE_STATE_COMPLETED] = TO(PENDING) | TO(NONE),
    [REEVE_STATE_ARCHIVED] = TO(PENDING) | TO(NONE),
};

bool reeve__state_may_move(int32_t from, int32_t to) {
    if (from < 0 || from >= STATE_COUNT || to < 0 || to >= STATE_COUNT)
        return false;
    return (moves[from] >> to & 1U) != 0;
}

const char *reeve_state_name(int32_t state) {
    if (state <= REEVE_STATE_NONE || state >= STATE_COUNT)
        return "unknown";
    return names[state];
}

int32_t reeve_state_of(reeve_bytes name) {
    for (int32_t i = REEVE_STATE_NONE + 1; i < STATE_COUNT; i++) {
        if (reeve__bytes_is(name, names[i]))
            return i;
    }
    return REEVE_STATE_NONE;
}
