/*
 * SQLite's batches: stored many a statement, told apart all the same, and whole
 * or not at all.
 */
#include "core/sqlite_store.h"
#include "support/forks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 100

/* Tasks "m0" to "m99" in turns for two queues, or each of one queue. */
static void fill_many(reeve__enqueue_item *items, char (*ids)[8], bool two) {
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "m%d", i);
        items[i] = (reeve__enqueue_item){
            .queue = reeve_bytes_of(two && i % 2 ? "news" : "mail"),
            .id = reeve_bytes_of(ids[i]),
            .envelope = reeve_bytes_of("{}\nbody"),
            .priority = 5
        };
    }
}

typedef struct claimed {
    size_t count;
    char ids[2 * MANY][8];
} claimed;

static reeve_rc on_claimed(void *ctx, const reeve__row *row, reeve_error *err) {
    claimed *all = ctx;
    (void)err;
    (void)snprintf(all->ids[all->count++], sizeof(all->ids[0]), "%.*s",
                   (int)row->id.size, row->id.data);
    return REEVE_OK;
}

static reeve_rc claim_all(reeve__broker *broker, const char *queue,
                          claimed *out, reeve_error *err) {
    reeve__turn turn = { .queue = reeve_bytes_of(queue),
                         .claim_max = 2 * MANY,
                         .lease_ms = 60000 };
    out->count = 0;
    return broker->ops->turn(broker, &turn, 1, reeve_bytes_of("w"), on_claimed,
                             out, err);
}

/* One id was there before and one comes twice: those two are told, the others
 * are stored, once and in order. */
static void taken_ids_in_a_batch_are_told_apart(void **state) {
    (void)state;
    static claimed all;
    char ids[MANY][8];
    reeve__enqueue_item items[MANY];
    reeve__broker *broker = sqlite_store_open(sqlite_store_url);
    assert_int_equal(sqlite_store_put(broker, "m50", NULL), REEVE_OK);
    fill_many(items, ids, true);
    items[70].id = reeve_bytes_of("m68");
    assert_int_equal(broker->ops->enqueue(broker, items, MANY, NULL), REEVE_OK);
    for (int i = 0; i < MANY; i++) {
        bool taken = i == 50 || i == 70;
        assert_int_equal(items[i].code, taken ? REEVE_E_EXISTS : REEVE_OK);
        assert_int_equal(items[i].state, REEVE_STATE_PENDING);
        assert_int_equal(strlen(items[i].out_id), items[i].id.size);
    }
    assert_int_equal(claim_all(broker, "mail", &all, NULL), REEVE_OK);
    assert_int_equal(all.count, MANY / 2 - 1);
    assert_string_equal(all.ids[0], "m50");
    for (size_t i = 1, at = 0; i < all.count; i++, at += 2) {
        at += at == 50 || at == 70 ? 2 : 0;
        assert_string_equal(all.ids[i], ids[at]);
    }
    assert_int_equal(claim_all(broker, "news", &all, NULL), REEVE_OK);
    assert_int_equal(all.count, MANY / 2);
    reeve__broker_close(broker);
}

/* Delayed ones and ones with a key stand among those that just pend. */
static void a_mixed_batch_is_stored_in_order(void **state) {
    (void)state;
    static claimed all;
    char ids[MANY][8];
    reeve__enqueue_item items[MANY];
    reeve__broker *broker = sqlite_store_open(sqlite_store_url);
    fill_many(items, ids, false);
    items[20].delay_ms = 60000;
    items[40].idempotency_key = reeve_bytes_of("key");
    items[40].idempotency_ttl_ms = 60000;
    items[90].idempotency_key = reeve_bytes_of("key");
    items[90].idempotency_ttl_ms = 60000;
    assert_int_equal(broker->ops->enqueue(broker, items, MANY, NULL), REEVE_OK);
    assert_int_equal(items[20].state, REEVE_STATE_SCHEDULED);
    assert_true(items[90].existing);
    assert_string_equal(items[90].out_id, "m40");
    assert_int_equal(claim_all(broker, "mail", &all, NULL), REEVE_OK);
    assert_int_equal(all.count, MANY - 2);
    for (size_t i = 0, at = 0; i < all.count; i++, at++) {
        at += at == 20 || at == 90;
        assert_string_equal(all.ids[i], ids[at]);
    }
    reeve__broker_close(broker);
}

/* A file may grow no further than it has: what a full disk does to claims. */
static int claim_without_space(void) {
    static claimed all;
    reeve__broker *own = NULL;
    reeve_error err;
    struct rlimit limit, none;
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    if (sqlite_store_try(&own, sqlite_store_url, &err) < 0 ||
        sigaction(SIGXFSZ, &ignore, NULL) < 0 ||
        getrlimit(RLIMIT_FSIZE, &limit) < 0) {
        return 1;
    }
    none = (struct rlimit){ .rlim_cur = 4096, .rlim_max = limit.rlim_max };
    if (setrlimit(RLIMIT_FSIZE, &none) < 0) {
        return 2;
    }
    reeve_rc rc = claim_all(own, "mail", &all, &err);
    if (rc != REEVE_E_SYSTEM || !strstr(err.message, sqlite_store_path) ||
        all.count != 0 ||
        sqlite_store_count(own, REEVE_STATE_PENDING) != MANY) {
        return 3;
    }
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0 ||
        claim_all(own, "mail", &all, &err) != REEVE_OK || all.count != MANY) {
        return 4;
    }
    reeve__broker_close(own);
    return 0;
}

/* Pending work outlives a full disk: told, nothing handed out, all there when
 * there is space again. */
static void a_full_disk_loses_no_pending_work(void **state) {
    (void)state;
    if (!forks_are_followed()) {
        skip();
    }
    char ids[MANY][8];
    reeve__enqueue_item items[MANY];
    reeve__broker *broker = sqlite_store_open(sqlite_store_url);
    fill_many(items, ids, false);
    assert_int_equal(broker->ops->enqueue(broker, items, MANY, NULL), REEVE_OK);
    pid_t child = fork();
    if (child == 0) {
        _exit(claim_without_space());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(sqlite_store_count(broker, REEVE_STATE_ACTIVE), MANY);
    reeve__broker_close(broker);
}

static reeve_rc on_queue(void *ctx, const reeve_queue_info *info,
                         reeve_error *err) {
    int64_t *pending = ctx;
    char name[8] = "";
    (void)err;
    assert_in_range(info->name.size, 2, sizeof(name) - 1);
    memcpy(name, info->name.data, info->name.size);
    assert_int_equal(name[0], 'q');
    pending[strtol(name + 1, NULL, 10)] = info->pending;
    return REEVE_OK;
}

#define QUEUES (MANY / 2)

/* Two tasks for each queue, "b0" and "b50" for "q0" and so on; "b0" is there. */
static void put_in_each(reeve__broker *broker) {
    char ids[MANY][8], names[MANY][8];
    reeve__enqueue_item items[MANY];
    fill_many(items, ids, false);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "q%d", i % QUEUES);
        items[i].queue = reeve_bytes_of(names[i]);
        ids[i][0] = 'b';
    }
    assert_int_equal(broker->ops->enqueue(broker, items, MANY, NULL), REEVE_OK);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(items[i].code, i == 0 ? REEVE_E_EXISTS : REEVE_OK);
    }
}

/* A handle knows more queues than it began with room for: each that a batch
 * names is stored, also when the batch starts over, and none with what was
 * undone. */
static void each_queue_of_a_batch_is_stored(void **state) {
    (void)state;
    static claimed all;
    int64_t pending[QUEUES];
    reeve__broker *broker = sqlite_store_open(sqlite_store_url);
    reeve__enqueue_item first = { .queue = reeve_bytes_of("q0"),
                                  .id = reeve_bytes_of("b0"),
                                  .envelope = reeve_bytes_of("{}\nbody"),
                                  .priority = 5 };
    assert_int_equal(broker->ops->enqueue(broker, &first, 1, NULL), REEVE_OK);
    put_in_each(broker); /* starts over */
    reeve__broker *other = sqlite_store_open(sqlite_store_url);
    assert_int_equal(other->ops->queues(other, on_queue, pending, NULL),
                     REEVE_OK);
    for (int i = 0; i < QUEUES; i++) {
        assert_int_equal(pending[i], 2);
    }
    assert_int_equal(claim_all(other, "q7", &all, NULL), REEVE_OK);
    assert_int_equal(claim_all(broker, "q7", &all, NULL), REEVE_OK);
    assert_int_equal(all.count, 0);
    assert_int_equal(claim_all(broker, "q49", &all, NULL), REEVE_OK);
    assert_int_equal(all.count, 2);
    assert_string_equal(all.ids[0], "b49");
    assert_string_equal(all.ids[1], "b99");
    assert_int_equal(other->ops->queues(other, on_queue, pending, NULL),
                     REEVE_OK);
    for (int i = 0; i < QUEUES; i++) {
        assert_int_equal(pending[i], i == 7 || i == 49 ? 0 : 2);
    }
    reeve__broker_close(other);
    reeve__broker_close(broker);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, sqlite_store_name)
    const struct CMUnitTest tests[] = {
        TEST(taken_ids_in_a_batch_are_told_apart),
        TEST(a_mixed_batch_is_stored_in_order),
        TEST(a_full_disk_loses_no_pending_work),
        TEST(each_queue_of_a_batch_is_stored),
    };
    return cmocka_run_group_tests(tests, sqlite_store_make,
                                  sqlite_store_remove);
}
