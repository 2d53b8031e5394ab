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

/*
 * Where a bulk action goes on. What it moves leaves the list, so it lists from
 * the same place again; it passes over what stays: tasks that came after it
 * began and what a listing only skips. Others take tasks away meanwhile, and
 * what was passed over may then be more than what is there: passes are made
 * until one moves nothing. A cursor is the three in 64 bits, never 0.
 */
typedef struct bulk_place {
    int64_t began_at_ms; /* server; 0 = not yet */
    uint64_t offset;
    bool moved; /* in this pass */
} bulk_place;

#define OFFSET_BITS 25
#define OFFSET_MAX (((uint64_t)1 << OFFSET_BITS) - 1)
#define BEGAN_UNIT_MS 16
/* A page of which others took every task is listed again so often. */
#define TRIES_MAX 3

static bulk_place place_read(uint64_t cursor) {
    return (bulk_place){
        .began_at_ms = (int64_t)(cursor >> (OFFSET_BITS + 1)) * BEGAN_UNIT_MS,
        .offset = cursor & OFFSET_MAX,
        .moved = cursor >> OFFSET_BITS & 1,
    };
}

static uint64_t place_write(const bulk_place *place) {
    uint64_t began = (uint64_t)(place->began_at_ms / BEGAN_UNIT_MS);
    return began << (OFFSET_BITS + 1) | (uint64_t)place->moved << OFFSET_BITS |
           place->offset;
}

/* What a page of it came to. */
typedef struct bulk_page {
    uint64_t next;  /* the listing's; 0 = it saw the end */
    size_t leading; /* newcomers before the first that was acted on */
    size_t tried;
    size_t moved;
} bulk_page;

/* Rounded up: the same moment is not after it. */
static reeve_rc begin(bulk_place *place, reeve__broker *broker,
                      reeve_error *err) {
    if (place->began_at_ms)
        return 0;
    int64_t now_at_ms = 0;
    reeve_rc rc = broker->ops->now(broker, &now_at_ms, err);
    place->began_at_ms =
        (now_at_ms + BEGAN_UNIT_MS - 1) / BEGAN_UNIT_MS * BEGAN_UNIT_MS;
    return rc;
}

/* Whether a task came into its state after the action began, by what is known.
 * What would come from the future was stamped before a clock was set back. */
static bool is_newcomer(const reeve_task_info *info, int64_t began_at_ms,
                        int64_t now_at_ms) {
    int64_t at_ms = info->enqueued_at_ms;
    if (info->settled_at_ms > at_ms)
        at_ms = info->settled_at_ms;
    size_t runs = info->history_count;
    if (runs && info->history[runs - 1].at_ms > at_ms)
        at_ms = info->history[runs - 1].at_ms;
    return at_ms > began_at_ms && at_ms <= now_at_ms;
}

static reeve_rc act_on_list(bulk_page *page, reeve__broker *broker,
                            const reeve_task_list *list, int32_t action,
                            int64_t began_at_ms, reeve_error *err) {
    reeve_env *env = broker->env;
    size_t count = list->base.count, tried = 0;
    reeve__act *acts = reeve__calloc(env, count + 1, sizeof *acts);
    reeve__buf *bufs = reeve__calloc(env, count + 1, sizeof *bufs);
    int64_t now_at_ms = 0;
    reeve_rc rc = acts && bufs ? broker->ops->now(broker, &now_at_ms, err)
                               : reeve__fail_nomem(err);
    for (size_t i = 0; bufs && i < count; i++)
        reeve__buf_init(&bufs[i], env);
    for (size_t i = 0; !rc && i < count; i++) {
        const reeve__task_entry *entry = reeve__task_list_entry(list, i);
        if (is_newcomer(&entry->info, began_at_ms, now_at_ms))
            page->leading += !tried;
        else
            rc = fill_act(&acts[tried++], &bufs[i], entry, action, NULL,
                          now_at_ms, err);
    }
    if (!rc && tried)
        rc = broker->ops->act(broker, acts, tried, err);
    for (size_t i = 0; !rc && i < tried; i++)
        page->moved += acts[i].code == 0;
    page->tried = tried;
    for (size_t i = 0; bufs && i < count; i++)
        reeve__buf_dispose(&bufs[i]);
    reeve__free(env, bufs);
    reeve__free(env, acts);
    return rc;
}

static reeve_rc act_on_page(bulk_page *page, bulk_place *place,
                            reeve__broker *broker, int32_t action,
                            const reeve_task_query *query, reeve_error *err) {
    reeve_task_list *list = reeve__task_list_new(broker->env);
    if (!list)
        return reeve__fail_nomem(err);
    *page = (bulk_page){ .next = 0 };
    reeve_rc rc = broker->ops->list(broker, query->queue, query->state,
                                    place->offset, query->limit, &page->next,
                                    reeve__task_list_add, list, err);
    if (!rc) /* only now: the listing's reply tells the server's time */
        rc = begin(place, broker, err);
    if (!rc)
        rc = act_on_list(page, broker, list, action, place->began_at_ms, err);
    reeve_task_list_free(list);
    return rc;
}

/* After a page; the cursor of the next one, 0 when all is done. */
static uint64_t place_next(bulk_place *place, const bulk_page *page) {
    bool passed = place->offset > 0;
    place->moved = place->moved || page->moved;
    place->offset = page->moved ? place->offset + page->leading : page->next;
    if (!page->next || place->offset > OFFSET_MAX) {
        if (!passed || !place->moved)
            return 0;
        place->offset = 0;
        place->moved = false;
    }
    return place_write(place);
}

static reeve_rc check_bulk(int32_t action, const reeve_task_query *query,
                           reeve_error *err) {
    reeve_rc rc = check_action(action, query->queue, err);
    if (rc)
        return rc;
    if (query->state < REEVE_STATE_SCHEDULED ||
        query->state > REEVE_STATE_ARCHIVED)
        return reeve__fail(err, REEVE_E_INVALID, "state %d is outside %d..%d",
                           (int)query->state, REEVE_STATE_SCHEDULED,
                           REEVE_STATE_ARCHIVED);
    if (!action_fits(action, query->state))
        return reeve__fail(err, REEVE_E_STATE,
                           "tasks that are %s: cannot %s them",
                           reeve_state_name(query->state), action_verb(action));
    return 0;
}

reeve_rc reeve_inspector_act_page(size_t *out_count, uint64_t *out_cursor,
                                  reeve_inspector *inspector, int32_t action,
                                  const reeve_task_query *query,
                                  reeve_error *err) {
    reeve_task_query loaded;
    reeve__broker *broker = NULL;
    if (!out_count || !out_cursor)
        return reeve__fail(err, REEVE_E_USAGE, "%s is NULL",
                           out_count ? "out_cursor" : "out_count");
    *out_count = 0;
    reeve_rc rc = reeve__struct_load(&loaded, sizeof loaded, sizeof loaded,
                                     query, "reeve_task_query", err);
    *out_cursor = 0; /* may be the query's own: it is loaded by now */
    if (!rc)
        rc = check_bulk(action, &loaded, err);
    if (!rc)
        rc = reeve__inspector_take(&broker, inspector, err);
    if (rc)
        return rc;
    if (!loaded.limit || loaded.limit > CHUNK_COUNT_MAX)
        loaded.limit = CHUNK_COUNT_MAX;
    bulk_place place = place_read(loaded.cursor);
    bulk_page page = { .next = 0 };
    int tries = 0;
    do
        rc = act_on_page(&page, &place, broker, action, &loaded, err);
    while (!rc && page.next && page.tried && !page.moved &&
           ++tries < TRIES_MAX);
    reeve__shared_give(&inspector->shared);
    if (rc)
        return rc;
    *out_count = page.moved;
    *out_cursor = place_next(&place, &page);
    return 0;
}

reeve_rc reeve_inspector_act_many(size_t *out_count, reeve_inspector *inspector,
                                  int32_t action, reeve_bytes queue,
                                  int32_t state, size_t max, reeve_error *err) {
    uint64_t cursor = 0;
    reeve_task_query query = REEVE_TASK_QUERY_INIT;
    query.queue = queue;
    query.state = state;
    query.limit = max;
    if (!max)
        return reeve__fail(err, REEVE_E_INVALID, "max 0 is outside 1..%d",
                           CHUNK_COUNT_MAX);
    return reeve_inspector_act_page(out_count, &cursor, inspector, action,
                                    &query, err);
}
