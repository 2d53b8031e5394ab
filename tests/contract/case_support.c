/*
 * What the cases of the contract suite share: stores, handles, clocks, and one
 * word for each thing that a case does all the time.
 */
#include "contract/contract.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CASES_MAX 256

uint64_t contract_seed;
size_t contract_steps = 2000;

static const contract_backend *backend_in_use;

reeve_bytes text(const char *value) {
    return reeve_bytes_of(value);
}

reeve__broker *contract_open(const contract *c, reeve_env *env) {
    reeve__broker *broker = NULL;
    reeve__broker_options options = { .url = c->url, .prefix = c->prefix };
    assert_ok(reeve__broker_open(&broker, env, &options, err));
    return broker;
}

static int case_setup(void **state) {
    static int serial;
    contract *c = calloc(1, sizeof(*c));
    c->backend = backend_in_use;
    c->backend->fresh(c->url);
    snprintf(c->prefix, sizeof(c->prefix), "case%d", ++serial);
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.random_seed = 1;
    if (!c->backend->own_clock) {
        options.virtual_now_at_ms = CONTRACT_START_AT_MS;
    }
    assert_ok(reeve_env_new(&c->env, &options, err));
    c->a = contract_open(c, c->env);
    c->b = contract_open(c, c->env);
    *state = c;
    return 0;
}

static int case_teardown(void **state) {
    contract *c = *state;
    contract_rows_clear(&c->seen);
    free(c->seen.rows);
    reeve__broker_close(c->a);
    reeve__broker_close(c->b);
    reeve_env_free(c->env);
    if (c->backend->clean) {
        c->backend->clean(c->url);
    }
    free(c);
    return 0;
}

static bool is_chosen(const char *name, int argc, char **argv) {
    bool any = false;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            continue;
        }
        any = true;
        if (strncmp(name, argv[i], strlen(argv[i])) == 0) {
            return true;
        }
    }
    return !any;
}

static void read_options(int argc, char **argv) {
    contract_seed = UINT64_C(20260901);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--seed=", 7) == 0) {
            contract_seed = strtoull(argv[i] + 7, NULL, 10);
        } else if (strncmp(argv[i], "--steps=", 8) == 0) {
            contract_steps = (size_t)strtoull(argv[i] + 8, NULL, 10);
        }
    }
}

int contract_run(const contract_backend *backend, int argc, char **argv) {
    const contract_case *const lists[] = {
        contract_enqueue_cases, contract_claim_cases, contract_settle_cases,
        contract_lease_cases,   contract_delay_cases, contract_inspect_cases,
        contract_act_cases,     contract_wait_cases,  contract_thread_cases,
        contract_random_cases,
    };
    static struct CMUnitTest tests[CASES_MAX];
    size_t count = 0;
    read_options(argc, argv);
    backend_in_use = backend;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (const contract_case *it = lists[i]; it->name; it++) {
            if (count < CASES_MAX && is_chosen(it->name, argc, argv)) {
                tests[count++] = (struct CMUnitTest){
                    it->name, it->run, case_setup, case_teardown, NULL,
                };
            }
        }
    }
    return _cmocka_run_group_tests(backend->name, tests, count, backend->start,
                                   backend->stop);
}

void contract_use_real_clock(contract *c) {
    reeve__broker_close(c->a);
    reeve__broker_close(c->b);
    reeve_env_free(c->env);
    c->env = NULL;
    c->a = contract_open(c, NULL);
    c->b = contract_open(c, NULL);
}

int64_t contract_now(contract *c) {
    int64_t at_ms = 0;
    assert_ok(c->a->ops->now(c->a, &at_ms, err));
    return at_ms;
}

void contract_pass(contract *c, int64_t span_ms) {
    if (!c->backend->own_clock && c->env) {
        assert_ok(reeve_env_advance(c->env, span_ms, err));
        return;
    }
    /* A real clock cannot be moved: look at it until it has. */
    int64_t start_at_ms = contract_now(c);
    while (contract_now(c) < start_at_ms + span_ms) {
        poll(NULL, 0, 1);
    }
}

void contract_rows_clear(contract_rows *rows) {
    for (size_t i = 0; i < rows->count; i++) {
        free(rows->rows[i].envelope);
        free(rows->rows[i].result);
    }
    rows->count = 0;
}

static char *copy(reeve_bytes *view) {
    char *data = malloc(view->size + 1);
    assert_non_null(data);
    if (view->size > 0) {
        memcpy(data, view->data, view->size);
    }
    view->data = data;
    return data;
}

static void copy_name(char *out, reeve_bytes *view) {
    assert_true(view->size <= REEVE_ID_BYTES_MAX);
    if (view->size > 0) {
        memcpy(out, view->data, view->size);
    }
    out[view->size] = '\0';
}

reeve_rc contract_on_row(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)err;
    contract_rows *rows = ctx;
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity ? rows->capacity * 2 : 64;
        rows->rows = realloc(rows->rows, rows->capacity * sizeof(*rows->rows));
        assert_non_null(rows->rows);
    }
    contract_seen *seen = &rows->rows[rows->count++];
    memset(seen, 0, sizeof(*seen));
    seen->row = *row;
    copy_name(seen->queue, &seen->row.queue);
    copy_name(seen->id, &seen->row.id);
    copy_name(seen->worker, &seen->row.worker);
    seen->envelope = copy(&seen->row.envelope);
    seen->result = copy(&seen->row.result);
    return REEVE_OK;
}

reeve__enqueue_item contract_item(const char *id) {
    return (reeve__enqueue_item){
        .queue = MAIL,
        .id = text(id),
        .envelope = text("{\"v\":1,\"type\":\"t\"}\nbody"),
        .idempotency_ttl_ms = CONTRACT_LONG_MS,
        .priority = REEVE_PRIORITY_DEFAULT,
    };
}

void contract_put_items(contract *c, reeve__enqueue_item *items, size_t count) {
    assert_ok(c->a->ops->enqueue(c->a, items, count, err));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(items[i].code, REEVE_OK);
    }
}

void contract_put(contract *c, const char *id) {
    contract_put_at(c, id, REEVE_PRIORITY_DEFAULT);
}

void contract_put_at(contract *c, const char *id, int32_t priority) {
    reeve__enqueue_item item = contract_item(id);
    item.priority = priority;
    contract_put_items(c, &item, 1);
    assert_int_equal(item.state, REEVE_STATE_PENDING);
}

void contract_put_later(contract *c, const char *id, int64_t delay_ms) {
    reeve__enqueue_item item = contract_item(id);
    item.delay_ms = delay_ms;
    contract_put_items(c, &item, 1);
    assert_int_equal(item.state, REEVE_STATE_SCHEDULED);
}

size_t contract_claim_as(contract *c, reeve__broker *broker, const char *worker,
                         size_t max, int64_t lease_ms) {
    contract_rows_clear(&c->seen);
    c->turn =
        (reeve__turn){ .queue = MAIL, .claim_max = max, .lease_ms = lease_ms };
    assert_ok(broker->ops->turn(broker, &c->turn, 1, text(worker),
                                contract_on_row, &c->seen, err));
    assert_int_equal(c->turn.claimed, c->seen.count);
    return c->seen.count;
}

size_t contract_claim(contract *c, size_t max) {
    return contract_claim_as(c, c->a, "w1", max, CONTRACT_LONG_MS);
}

void contract_assert_ids(const contract *c, const char *ids) {
    char line[4096];
    size_t used = 0;
    line[0] = '\0';
    for (size_t i = 0; i < c->seen.count && used < sizeof(line); i++) {
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s",
                                 i > 0 ? " " : "", c->seen.rows[i].id);
    }
    assert_string_equal(line, ids);
}

reeve__settle contract_verdict(const contract *c, size_t index,
                               int32_t to_state) {
    assert_true(index < c->seen.count);
    return (reeve__settle){
        .id = text(c->seen.rows[index].id),
        .token = c->seen.rows[index].row.token,
        .to_state = to_state,
        .priority = REEVE_PRIORITY_DEFAULT,
        .delay_ms = CONTRACT_LONG_MS,
        .retention_ms = CONTRACT_LONG_MS,
        .last_of_token = c->seen.count == 1,
    };
}

int32_t contract_settle(contract *c, reeve__settle *settles, size_t count) {
    reeve__turn turn = { .queue = MAIL,
                         .settles = settles,
                         .settle_count = count };
    assert_ok(c->a->ops->turn(c->a, &turn, 1, text("w1"), contract_on_row,
                              &c->seen, err));
    assert_int_equal(turn.claimed, 0);
    return settles[0].code;
}

void contract_bring(contract *c, const char *id, int32_t state) {
    if (state == REEVE_STATE_SCHEDULED) {
        contract_put_later(c, id, CONTRACT_LONG_MS);
        return;
    }
    contract_put_at(c, id, 9);
    if (state == REEVE_STATE_PENDING) {
        return;
    }
    assert_int_equal(contract_claim(c, 1), 1);
    assert_string_equal(c->seen.rows[0].id, id);
    if (state != REEVE_STATE_ACTIVE) {
        reeve__settle settle = contract_verdict(c, 0, state);
        assert_int_equal(contract_settle(c, &settle, 1), REEVE_OK);
    }
}

int32_t contract_state(contract *c, const char *id) {
    contract_rows_clear(&c->seen);
    assert_ok(
        c->b->ops->find(c->b, MAIL, text(id), contract_on_row, &c->seen, err));
    if (c->seen.count == 0) {
        return REEVE_STATE_NONE;
    }
    assert_int_equal(c->seen.count, 1);
    assert_string_equal(c->seen.rows[0].id, id);
    return c->seen.rows[0].row.state;
}

size_t contract_list(contract *c, int32_t state, size_t limit) {
    contract_rows_clear(&c->seen);
    uint64_t cursor = 0;
    do {
        assert_ok(c->b->ops->list(c->b, MAIL, state, cursor, limit, &cursor,
                                  contract_on_row, &c->seen, err));
    } while (cursor != 0);
    return c->seen.count;
}

typedef struct wanted_queue {
    const char *name;
    reeve_queue_info info;
} wanted_queue;

static reeve_rc on_queue(void *ctx, const reeve_queue_info *info,
                         reeve_error *err) {
    (void)err;
    wanted_queue *wanted = ctx;
    if (info->name.size == strlen(wanted->name) &&
        memcmp(info->name.data, wanted->name, info->name.size) == 0) {
        wanted->info = *info;
    }
    return REEVE_OK;
}

reeve_queue_info contract_info(contract *c, const char *queue) {
    wanted_queue wanted = { .name = queue };
    assert_ok(c->b->ops->queues(c->b, on_queue, &wanted, err));
    return wanted.info;
}
