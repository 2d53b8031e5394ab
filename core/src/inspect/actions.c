/*
 * Acting: run, archive, delete, edit; one task or many in bounded chunks. The
 * broker checks the state again: what moved on meanwhile is left alone.
 */
#include "base/buf.h"
#include "base/bytes.h"
#include "inspect/inspector.h"
#include "policy/settle.h"
#include "runtime/settlement.h"
#include "task/id.h"
#include "task/state.h"

#define CHUNK_COUNT_MAX 500

/* Where an action takes a task. */
static int32_t action_target(int32_t action) {
    switch (action) {
    case REEVE_ACTION_ARCHIVE:
        return REEVE_STATE_ARCHIVED;
    case REEVE_ACTION_DELETE:
        return REEVE_STATE_NONE;
    default:
        return REEVE_STATE_PENDING;
    }
}

/* Running a dead or finished task again starts it afresh; archiving says by
 * whom. Others keep their envelope. */
static reeve_rc rewrite_for(reeve__buf *out, const reeve__task_entry *entry,
                            int32_t action, const reeve_bytes *payload,
                            int64_t now_at_ms, reeve_error *err) {
    bool afresh = action == REEVE__ACTION_EDIT ||
                  (action == REEVE_ACTION_RUN &&
                   (entry->info.state == REEVE_STATE_ARCHIVED ||
                    entry->info.state == REEVE_STATE_COMPLETED));
    if (!entry->readable && action == REEVE__ACTION_EDIT)
        return reeve__fail(err, REEVE_E_CORRUPT,
                           "task '%.*s' is unreadable: cannot edit it",
                           (int)entry->info.id.size, entry->info.id.data);
    if (!entry->readable || (!afresh && action != REEVE_ACTION_ARCHIVE))
        return 0;
    const reeve__envelope *envelope = &entry->envelope;
    reeve__envelope_end end = {
        .at_ms = now_at_ms,
        .failures = afresh ? 0 : envelope->failures,
        .crashes = afresh ? 0 : envelope->crashes,
        .reason = afresh ? NULL : reeve__reason_text(REEVE__REASON_OPERATOR),
    };
    return reeve__envelope_rewrite(out, out->env, entry->stored, &end, payload,
                                   err);
}

static reeve_rc fill_act(reeve__act *act, reeve__buf *rewritten,
                         const reeve__task_entry *entry, int32_t action,
                         const reeve_bytes *payload, int64_t now_at_ms,
                         reeve_error *err) {
    reeve_rc rc =
        rewrite_for(rewritten, entry, action, payload, now_at_ms, err);
    if (rc)
        return rc;
    *act = (reeve__act){
        .action = action,
        .queue = entry->info.queue,
        .id = entry->info.id,
        .from_state = entry->info.state,
        .priority = entry->info.priority,
        .envelope = reeve__buf_view(rewritten),
        .retention_ms = REEVE__ARCHIVE_MS_DEFAULT,
    };
    return 0;
}

static reeve_rc refuse(const reeve__task_entry *entry, const char *verb,
                       reeve_error *err) {
    return reeve__fail(err, REEVE_E_STATE, "task '%.*s' is %s: cannot %s it",
                       (int)entry->info.id.size, entry->info.id.data,
                       reeve_state_name(entry->info.state), verb);
}

static const char *action_verb(int32_t action) {
    switch (action) {
    case REEVE_ACTION_RUN:
        return "run";
    case REEVE_ACTION_ARCHIVE:
        return "archive";
    case REEVE_ACTION_DELETE:
        return "delete";
    default:
        return "edit";
    }
}

/* Which states an action starts from; see enum reeve_action. */
static bool action_fits(int32_t action, int32_t state) {
    if (state == REEVE_STATE_ACTIVE)
        return false;
    if (action == REEVE_ACTION_RUN || action == REEVE_ACTION_ARCHIVE)
        return state != action_target(action) &&
               reeve__state_may_move(state, action_target(action));
    return true;
}

/* Finds, checks, moves one task. */
static reeve_rc act_on(reeve__broker *broker, int32_t action, reeve_bytes queue,
                       reeve_bytes id, const reeve_bytes *payload,
                       reeve_error *err) {
    reeve_task_list *list = reeve__task_list_new(broker->env);
    if (!list)
        return reeve__fail_nomem(err);
    reeve__buf rewritten;
    reeve__buf_init(&rewritten, broker->env);
    reeve__act act = { 0 };
    int64_t now_at_ms = 0;
    reeve_rc rc =
        broker->ops->find(broker, queue, id, reeve__task_list_add, list, err);
    const reeve__task_entry *entry = reeve__task_list_entry(list, 0);
    if (!rc && !entry)
        rc = reeve__fail(err, REEVE_E_NOT_FOUND,
                         "no task '%.*s' in queue '%.*s'", (int)id.size,
                         id.data, (int)queue.size, queue.data);
    if (!rc && !action_fits(action, entry->info.state))
        rc = refuse(entry, action_verb(action), err);
    if (!rc)
        rc = broker->ops->now(broker, &now_at_ms, err);
    if (!rc)
        rc = fill_act(&act, &rewritten, entry, action, payload, now_at_ms, err);
    if (!rc)
        rc = broker->ops->act(broker, &act, 1, err);
    if (!rc && act.code)
        rc =
            reeve__fail(err, act.code, "task '%.*s': %s", (int)id.size, id.data,
                        act.code == REEVE_E_STATE ? "it changed state meanwhile"
                                                  : reeve_code_text(act.code));
    reeve__buf_dispose(&rewritten);
    reeve_task_list_free(list);
    return rc;
}

static reeve_rc check_action(int32_t action, reeve_bytes queue,
                             reeve_error *err) {
    if (action < REEVE_ACTION_RUN || action > REEVE_ACTION_DELETE)
        return reeve__fail(err, REEVE_E_INVALID, "action %d is outside %d..%d",
                           (int)action, REEVE_ACTION_RUN, REEVE_ACTION_DELETE);
    return reeve__name_check("queue name", queue, err);
}

reeve_rc reeve_inspector_act(reeve_inspector *inspector, int32_t action,
                             reeve_bytes queue, reeve_bytes id,
                             reeve_error *err) {
    reeve__broker *broker = NULL;
    reeve_rc rc = check_action(action, queue, err);
    if (!rc)
        rc = reeve__name_check("task id", id, err);
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    rc = act_on(broker, action, queue, id, NULL, err);
    reeve__shared_give(&inspector->shared);
    return rc;
}

reeve_rc reeve_inspector_edit(reeve_inspector *inspector, reeve_bytes queue,
                              reeve_bytes id, reeve_bytes payload,
                              reeve_error *err) {
    reeve__broker *broker = NULL;
    reeve_rc rc = reeve__name_check("queue name", queue, err);
    if (!rc)
        rc = reeve__name_check("task id", id, err);
    if (!rc && payload.size && !payload.data)
        rc = reeve__fail(err, REEVE_E_USAGE,
                         "payload is null but has %zu bytes", payload.size);
    if (!rc && payload.size > REEVE_PAYLOAD_BYTES_MAX)
        rc = reeve__fail(err, REEVE_E_TOO_BIG,
                         "payload of %zu bytes exceeds %zu", payload.size,
                         REEVE_PAYLOAD_BYTES_MAX);
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    rc = act_on(broker, REEVE__ACTION_EDIT, queue, id, &payload, err);
    reeve__shared_give(&inspector->shared);
    return rc;
}

/* --- many ----------------------------------------------------------------- */

static reeve_rc act_on_list(size_t *out_count, reeve__broker *broker,
                            const reeve_task_list *list, int32_t action,
                            reeve_error *err) {
    reeve_env *env = broker->env;
    size_t count = list->base.count;
    reeve__act *acts = reeve__calloc(env, count + 1, sizeof *acts);
    reeve__buf *bufs = reeve__calloc(env, count + 1, sizeof *bufs);
    int64_t now_at_ms = 0;
    reeve_rc rc = acts && bufs ? broker->ops->now(broker, &now_at_ms, err)
                               : reeve__fail_nomem(err);
    for (size_t i = 0; bufs && i < count; i++)
        reeve__buf_init(&bufs[i], env);
    for (size_t i = 0; !rc && i < count; i++)
        rc = fill_act(&acts[i], &bufs[i], reeve__task_list_entry(list, i),
                      action, NULL, now_at_ms, err);
    if (!rc && count)
        rc = broker->ops->act(broker, acts, count, err);
    for (size_t i = 0; !rc && i < count; i++)
        *out_count += acts[i].code == 0;
    for (size_t i = 0; bufs && i < count; i++)
        reeve__buf_dispose(&bufs[i]);
    reeve__free(env, bufs);
    reeve__free(env, acts);
    return rc;
}

static reeve_rc act_on_page(size_t *out_count, reeve__broker *broker,
                            int32_t action, reeve_bytes queue, int32_t state,
                            size_t max, reeve_error *err) {
    reeve_task_list *list = reeve__task_list_new(broker->env);
    if (!list)
        return reeve__fail_nomem(err);
    uint64_t cursor = 0;
    reeve_rc rc = broker->ops->list(broker, queue, state, 0, max, &cursor,
                                    reeve__task_list_add, list, err);
    if (!rc)
        rc = act_on_list(out_count, broker, list, action, err);
    reeve_task_list_free(list);
    return rc;
}

reeve_rc reeve_inspector_act_many(size_t *out_count, reeve_inspector *inspector,
                                  int32_t action, reeve_bytes queue,
                                  int32_t state, size_t max, reeve_error *err) {
    reeve__broker *broker = NULL;
    if (!out_count)
        return reeve__fail(err, REEVE_E_USAGE, "out_count is NULL");
    *out_count = 0;
    reeve_rc rc = check_action(action, queue, err);
    if (!rc && !max)
        rc = reeve__fail(err, REEVE_E_INVALID, "max 0 is outside 1..%d",
                         CHUNK_COUNT_MAX);
    if (!rc && (state < REEVE_STATE_SCHEDULED || state > REEVE_STATE_ARCHIVED))
        rc = reeve__fail(err, REEVE_E_INVALID, "state %d is outside %d..%d",
                         (int)state, REEVE_STATE_SCHEDULED,
                         REEVE_STATE_ARCHIVED);
    if (!rc && !action_fits(action, state))
        rc =
            reeve__fail(err, REEVE_E_STATE, "tasks that are %s: cannot %s them",
                        reeve_state_name(state), action_verb(action));
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    rc = act_on_page(out_count, broker, action, queue, state,
                     max < CHUNK_COUNT_MAX ? max : CHUNK_COUNT_MAX, err);
    reeve__shared_give(&inspector->shared);
    return rc;
}
