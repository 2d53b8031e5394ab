/*
 * Argument checks and the table of operator's moves.
 */
#include "broker/check.h"

#include "task/id.h"
#include "task/state.h"

static reeve_rc priority_check(int32_t priority, reeve_error *err) {
    if (priority < 0 || priority > REEVE__PRIORITY_MAX) {
        return reeve__fail(err, REEVE_E_INVALID, "priority is %d, not 0 … %d",
                           priority, REEVE__PRIORITY_MAX);
    }
    return REEVE_OK;
}

reeve_rc reeve__enqueue_items_check(const reeve__enqueue_item *items,
                                    size_t count, reeve_error *err) {
    for (size_t i = 0; i < count; i++) {
        reeve_rc rc = reeve__name_check("queue", items[i].queue, err);
        if (rc == REEVE_OK && !items[i].fresh) { /* or it is our own making */
            rc = reeve__name_check("task id", items[i].id, err);
        }
        if (rc == REEVE_OK) {
            rc = priority_check(items[i].priority, err);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return REEVE_OK;
}

static reeve_rc settle_check(const reeve__settle *settle, reeve_error *err) {
    if (!reeve__state_may_move(REEVE_STATE_ACTIVE, settle->to_state)) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "an active task cannot be settled to state %d",
                           settle->to_state);
    }
    return priority_check(settle->priority, err);
}

reeve_rc reeve__turns_check(const reeve__turn *turns, size_t count,
                            reeve_bytes worker, reeve_error *err) {
    if (worker.size > REEVE_ID_BYTES_MAX) {
        return reeve__fail(err, REEVE_E_INVALID,
                           "worker id has %zu bytes, at most %d", worker.size,
                           REEVE_ID_BYTES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < turns[i].settle_count; k++) {
            reeve_rc rc = settle_check(&turns[i].settles[k], err);
            if (rc < 0) {
                return rc;
            }
        }
    }
    return REEVE_OK;
}

reeve_rc reeve__acts_check(const reeve__act *acts, size_t count,
                           reeve_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (acts[i].action < REEVE_ACTION_RUN ||
            acts[i].action > REEVE__ACTION_EDIT) {
            return reeve__fail(err, REEVE_E_INVALID, "no such action: %d",
                               acts[i].action);
        }
        reeve_rc rc = priority_check(acts[i].priority, err);
        if (rc < 0) {
            return rc;
        }
    }
    return REEVE_OK;
}

bool reeve__act_target(int32_t *out_state, int32_t action, int32_t from_state) {
    bool delayed =
        from_state == REEVE_STATE_SCHEDULED || from_state == REEVE_STATE_RETRY;
    bool finished = from_state == REEVE_STATE_COMPLETED ||
                    from_state == REEVE_STATE_ARCHIVED;
    bool pending = from_state == REEVE_STATE_PENDING;
    switch (action) {
    case REEVE_ACTION_RUN:
        *out_state = REEVE_STATE_PENDING;
        return delayed || finished;
    case REEVE_ACTION_ARCHIVE:
        *out_state = REEVE_STATE_ARCHIVED;
        return delayed || pending;
    case REEVE_ACTION_DELETE:
        *out_state = REEVE_STATE_NONE;
        return delayed || pending || finished;
    case REEVE__ACTION_EDIT:
        *out_state = REEVE_STATE_PENDING;
        return delayed || pending || finished;
    default:
        return false;
    }
}

reeve_rc reeve__drop_fail(int32_t code, reeve_bytes queue, reeve_error *err) {
    return code == REEVE_E_STATE
               ? reeve__fail(err, code,
                             "queue '%.*s' has tasks: cannot drop it",
                             (int)queue.size, queue.data)
               : reeve__fail(err, code, "no queue '%.*s'", (int)queue.size,
                             queue.data);
}
