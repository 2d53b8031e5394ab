/*
 * What is mem://'s own: names, life times, virtual time, and its ordered sets
 * at a size where a slow structure would show.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/broker.h"
#include "broker/mem/table.h"
#include "broker/mem/tree.h"
#include "support/forks.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static reeve_rc try_open(reeve__broker **out, const char *url, reeve_env *env,
                         reeve_error *err) {
    reeve__broker_options options = { .url = url };
    *err = (reeve_error){ 0, "" };
    return reeve__broker_open(out, env, &options, err);
}

static reeve__broker *open_store(const char *url, reeve_env *env) {
    reeve__broker *broker = NULL;
    reeve_error err;
    if (try_open(&broker, url, env, &err) < 0) {
        fail_msg("%s: %s", url, err.message);
    }
    return broker;
}

static reeve_rc put(reeve__broker *broker, const char *id, reeve_error *err) {
    reeve__enqueue_item item = { .queue = reeve_bytes_of("mail"),
                                 .id = reeve_bytes_of(id),
                                 .envelope = reeve_bytes_of("{}\nbody"),
                                 .priority = 5 };
    reeve_rc rc = broker->ops->enqueue(broker, &item, 1, err);
    return rc < 0 ? rc : item.code;
}

static reeve_rc count_row(void *ctx, const reeve__row *row, reeve_error *err) {
    (void)row;
    (void)err;
    ++*(size_t *)ctx;
    return REEVE_OK;
}

static reeve_rc count_worker(void *ctx, const reeve_worker_info *info,
                             reeve_error *err) {
    (void)info;
    (void)err;
    ++*(size_t *)ctx;
    return REEVE_OK;
}

static size_t claim(reeve__broker *broker, size_t max, int64_t lease_ms) {
    size_t count = 0;
    reeve__turn turn = { .queue = reeve_bytes_of("mail"),
                         .claim_max = max,
                         .lease_ms = lease_ms };
    assert_int_equal(broker->ops->turn(broker, &turn, 1, reeve_bytes_of("w"),
                                       count_row, &count, NULL),
                     REEVE_OK);
    return count;
}

static void names_are_separate_stores(void **state) {
    (void)state;
    reeve__broker *one = open_store("mem://one", NULL);
    reeve__broker *two = open_store("mem://two", NULL);
    reeve__broker *nameless = open_store("mem://", NULL);
    reeve__broker *again = open_store("mem://one", NULL);
    assert_int_equal(put(one, "t1", NULL), REEVE_OK);
    assert_int_equal(put(again, "t1", NULL), REEVE_E_EXISTS);
    assert_int_equal(put(two, "t1", NULL), REEVE_OK);
    assert_int_equal(put(nameless, "t1", NULL), REEVE_OK);
    assert_int_equal(one->ops->caps, 0);
    reeve__broker_close(one);
    reeve__broker_close(two);
    reeve__broker_close(nameless);
    reeve__broker_close(again);
}

static void store_dies_with_its_last_handle(void **state) {
    (void)state;
    reeve__broker *one = open_store("mem://life", NULL);
    reeve__broker *two = open_store("mem://life", NULL);
    assert_int_equal(put(one, "t1", NULL), REEVE_OK);
    reeve__broker_close(one);
    assert_int_equal(put(two, "t1", NULL), REEVE_E_EXISTS);
    reeve__broker_close(two);
    one = open_store("mem://life", NULL);
    assert_int_equal(put(one, "t1", NULL), REEVE_OK);
    reeve__broker_close(one);
}

static void url_options_are_refused(void **state) {
    (void)state;
    reeve__broker *broker = NULL;
    reeve_error err;
    assert_int_equal(try_open(&broker, "mem://x?y=1", NULL, &err),
                     REEVE_E_INVALID);
    assert_null(broker);
}

/* Ten years in no time. */
static void virtual_clock_moves_due_times_and_leases(void **state) {
    (void)state;
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.virtual_now_at_ms = 1000;
    assert_int_equal(reeve_env_new(&env, &options, NULL), REEVE_OK);
    reeve__broker *broker = open_store("mem://clock", env);
    reeve__enqueue_item item = { .queue = reeve_bytes_of("mail"),
                                 .id = reeve_bytes_of("t1"),
                                 .envelope = reeve_bytes_of("{}\n"),
                                 .priority = 5,
                                 .delay_ms = REEVE_SPAN_MS_MAX };
    assert_int_equal(broker->ops->enqueue(broker, &item, 1, NULL), REEVE_OK);
    assert_int_equal(item.out_due_at_ms, 1000 + REEVE_SPAN_MS_MAX);
    size_t moved;
    int64_t next_at_ms;
    reeve_env_advance(env, REEVE_SPAN_MS_MAX - 1, NULL);
    broker->ops->promote(broker, item.queue, 10, &moved, &next_at_ms, NULL);
    assert_int_equal(moved, 0);
    reeve_env_advance(env, 1, NULL);
    broker->ops->promote(broker, item.queue, 10, &moved, &next_at_ms, NULL);
    assert_int_equal(moved, 1);
    assert_int_equal(claim(broker, 1, 500), 1);
    size_t lapsed = 0;
    reeve_env_advance(env, 499, NULL);
    broker->ops->reclaim(broker, item.queue, reeve_bytes_of(""), 10, count_row,
                         &lapsed, &next_at_ms, NULL);
    assert_int_equal(lapsed, 0);
    assert_int_equal(next_at_ms, 1000 + REEVE_SPAN_MS_MAX + 500);
    reeve_env_advance(env, 1, NULL);
    broker->ops->reclaim(broker, item.queue, reeve_bytes_of(""), 10, count_row,
                         &lapsed, &next_at_ms, NULL);
    assert_int_equal(lapsed, 1);
    reeve__broker_close(broker);
    reeve_env_free(env);
}

static void old_beats_are_swept(void **state) {
    (void)state;
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.virtual_now_at_ms = 1000;
    assert_int_equal(reeve_env_new(&env, &options, NULL), REEVE_OK);
    reeve__broker *broker = open_store("mem://beats", env);
    reeve_worker_info info = { .id = reeve_bytes_of("w1") };
    assert_int_equal(broker->ops->beat(broker, &info, false, NULL), REEVE_OK);
    reeve_env_advance(env, 24 * 3600 * 1000, NULL);
    info.id = reeve_bytes_of("w2");
    assert_int_equal(broker->ops->beat(broker, &info, false, NULL), REEVE_OK);
    size_t removed, left = 0;
    broker->ops->sweep(broker, reeve_bytes_of("mail"), 10, &removed, NULL);
    broker->ops->workers(broker, count_worker, &left, NULL);
    assert_int_equal(left, 1);
    reeve__broker_close(broker);
    reeve_env_free(env);
}

typedef struct budget {
    long left; /* allocations that still succeed; -1 = all */
} budget;

static void *limited(void *ctx, void *ptr, size_t bytes) {
    budget *all = ctx;
    if (bytes == 0) {
        free(ptr);
        return NULL;
    }
    if (all->left == 0) {
        return NULL;
    }
    all->left -= all->left > 0;
    return realloc(ptr, bytes);
}

/* Each allocation fails once: NOMEM is told, and the store stays whole. */
static void running_out_of_memory_is_told(void **state) {
    (void)state;
    budget all = { -1 };
    reeve_env *env = NULL;
    reeve_env_options options = REEVE_ENV_OPTIONS_INIT;
    options.alloc = limited;
    options.alloc_ctx = &all;
    assert_int_equal(reeve_env_new(&env, &options, NULL), REEVE_OK);
    reeve__broker *broker = NULL;
    reeve_error err;
    long fails = 0;
    for (all.left = 0; try_open(&broker, "mem://oom", env, &err) < 0;
         all.left = ++fails) {
        assert_int_equal(err.code, REEVE_E_NOMEM);
    }
    assert_true(fails > 0);
    reeve__enqueue_item item = { .queue = reeve_bytes_of("mail"),
                                 .id = reeve_bytes_of("t1"),
                                 .envelope = reeve_bytes_of("{}\nbody"),
                                 .idempotency_key = reeve_bytes_of("k"),
                                 .idempotency_ttl_ms = 1000,
                                 .priority = 5 };
    for (fails = 0, all.left = 0;
         broker->ops->enqueue(broker, &item, 1, &err) < 0; all.left = ++fails) {
        assert_int_equal(err.code, REEVE_E_NOMEM);
    }
    assert_true(fails > 0);
    assert_int_equal(item.code, REEVE_OK);
    size_t count = 0;
    reeve__turn turn = { .queue = reeve_bytes_of("mail"),
                         .claim_max = 5,
                         .lease_ms = 1000 };
    for (fails = 0, all.left = 0;
         broker->ops->turn(broker, &turn, 1, reeve_bytes_of("w"), count_row,
                           &count, &err) < 0;
         all.left = ++fails) {
        assert_int_equal(err.code, REEVE_E_NOMEM);
        assert_int_equal(count, 0);
    }
    assert_true(fails > 0);
    assert_int_equal(count, 1);
    all.left = -1;
    reeve__broker_close(broker);
    reeve_env_free(env);
}

static void a_fork_leaves_the_store_behind(void **state) {
    (void)state;
    if (!forks_are_followed())
        skip();
    reeve__broker *broker = open_store("mem://fork", NULL);
    assert_int_equal(put(broker, "t1", NULL), REEVE_OK);
    pid_t child = fork();
    if (child == 0) {
        reeve_error err = { 0, "" };
        int bad = put(broker, "t2", &err) != REEVE_E_FORKED;
        reeve__broker_close(broker);
        reeve__broker *own = NULL;
        bad |= try_open(&own, "mem://fork", NULL, &err) < 0;
        bad |= own && put(own, "t1", &err) < 0;
        reeve__broker_close(own);
        _exit(bad);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(put(broker, "t1", NULL), REEVE_E_EXISTS);
    reeve__broker_close(broker);
}

enum {
    MANY = 100000
};

static void tree_keeps_order_and_rank(void **state) {
    (void)state;
    reeve__mem_node *nodes = calloc(MANY, sizeof(*nodes));
    reeve__mem_node *root = NULL;
    assert_non_null(nodes);
    for (int64_t i = 0; i < MANY; i++) {
        nodes[i].owner = &nodes[i];
        nodes[i].major = i * 7919 % 100;
        nodes[i].minor = i;
        reeve__mem_tree_insert(&root, &nodes[i]);
    }
    assert_int_equal(reeve__mem_tree_count(root), MANY);
    for (int64_t i = 0; i < MANY; i += 2) {
        reeve__mem_tree_remove(&root, &nodes[i]);
    }
    assert_int_equal(reeve__mem_tree_count(root), MANY / 2);
    const reeve__mem_node *last = reeve__mem_tree_at(root, 0);
    for (size_t i = 1; i < MANY / 2; i++) {
        const reeve__mem_node *node = reeve__mem_tree_at(root, i);
        assert_true(last->major < node->major ||
                    (last->major == node->major && last->minor < node->minor));
        last = node;
    }
    assert_null(reeve__mem_tree_at(root, MANY / 2));
    for (void *first; (first = reeve__mem_tree_first(root));) {
        reeve__mem_tree_remove(&root, first);
    }
    assert_null(root);
    free(nodes);
}

static void table_finds_what_it_holds(void **state) {
    (void)state;
    typedef struct named {
        reeve__mem_entry entry;
        char name[16];
    } named;
    named *all = calloc(MANY, sizeof(*all));
    reeve__mem_table table;
    assert_non_null(all);
    reeve__mem_table_init(&table, NULL);
    assert_null(reeve__mem_table_find(&table, reeve_bytes_of("x")));
    for (size_t i = 0; i < MANY; i++) {
        int size = snprintf(all[i].name, sizeof(all[i].name), "%zu", i);
        all[i].entry.key = (reeve_bytes){ all[i].name, (size_t)size };
        all[i].entry.owner = &all[i];
        assert_true(reeve__mem_table_add(&table, &all[i].entry));
    }
    for (size_t i = 0; i < MANY; i += 3) {
        reeve__mem_table_remove(&table, &all[i].entry);
    }
    for (size_t i = 0; i < MANY; i++) {
        void *found =
            reeve__mem_table_find(&table, reeve_bytes_of(all[i].name));
        assert_ptr_equal(found, i % 3 == 0 ? NULL : &all[i]);
    }
    reeve__mem_table_dispose(&table);
    free(all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_separate_stores),
        cmocka_unit_test(store_dies_with_its_last_handle),
        cmocka_unit_test(url_options_are_refused),
        cmocka_unit_test(virtual_clock_moves_due_times_and_leases),
        cmocka_unit_test(old_beats_are_swept),
        cmocka_unit_test(running_out_of_memory_is_told),
        cmocka_unit_test(a_fork_leaves_the_store_behind),
        cmocka_unit_test(tree_keeps_order_and_rank),
        cmocka_unit_test(table_finds_what_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
