/*
 * Contract: several threads, each with its own handle, on one store. No task is
 * lost, none is held twice at a time, each is finished once.
 */
#include "base/thread.h"
#include "contract/contract.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PRODUCERS = 2,
    WORKERS = 4,
    PER_PRODUCER = 500,
    BATCH = 8,
    TOTAL = PRODUCERS * PER_PRODUCER,
};

typedef struct shared {
    atomic_int held[TOTAL];    /* 1 while a worker has it */
    atomic_int started[TOTAL]; /* claims */
    atomic_size_t done;
    atomic_int failures;
} shared;

typedef struct member {
    reeve__thread thread;
    reeve__broker *broker;
    shared *all;
    size_t number;
    /* of a worker: what it holds */
    reeve__settle settles[BATCH];
    char ids[BATCH][16];
    size_t held_count;
} member;

static void complain(shared *all, const char *what, const reeve_error *err) {
    if (atomic_fetch_add(&all->failures, 1) == 0) {
        print_error("%s: %d %s\n", what, err->code, err->message);
    }
}

static void produce(void *arg) {
    member *self = arg;
    reeve_error err = { 0, "" };
    for (size_t i = 0; i < PER_PRODUCER; i += 10) {
        reeve__enqueue_item items[10];
        char ids[10][16];
        for (size_t k = 0; k < 10; k++) {
            snprintf(ids[k], sizeof(ids[k]), "%zu",
                     self->number * PER_PRODUCER + i + k);
            items[k] = contract_item(ids[k]);
            items[k].priority = (int32_t)(k % 10);
        }
        if (self->broker->ops->enqueue(self->broker, items, 10, &err) < 0) {
            complain(self->all, "enqueue", &err);
            return;
        }
    }
}

static reeve_rc hold(void *ctx, const reeve__row *row, reeve_error *err) {
    member *self = ctx;
    char *id = self->ids[self->held_count];
    memcpy(id, row->id.data, row->id.size);
    id[row->id.size] = '\0';
    size_t task = (size_t)atoi(id);
    if (task >= TOTAL || atomic_exchange(&self->all->held[task], 1) != 0) {
        complain(self->all, "held twice", err);
    }
    int first = atomic_fetch_add(&self->all->started[task], 1) == 0;
    bool again = first && task % 7 == 0;
    self->settles[self->held_count++] = (reeve__settle){
        .id = { id, row->id.size },
        .token = row->token,
        .to_state = again ? REEVE_STATE_PENDING : REEVE_STATE_NONE,
        .priority = row->priority,
        .done = !again,
    };
    return REEVE_OK;
}

/* What is handed back is free from just before the settle. */
static size_t let_go(member *self) {
    size_t done = 0;
    for (size_t i = 0; i < self->held_count; i++) {
        atomic_store(&self->all->held[atoi(self->ids[i])], 0);
        done += self->settles[i].done;
        self->settles[i].last_of_token = i + 1 == self->held_count;
    }
    return done;
}

static void work_once(member *self, int64_t by_ns) {
    reeve_error err = { 0, "" };
    reeve__settle settles[BATCH];
    char ids[BATCH][16];
    size_t count = self->held_count, done = let_go(self);
    memcpy(settles, self->settles, sizeof(settles));
    memcpy(ids, self->ids, sizeof(ids));
    for (size_t i = 0; i < count; i++) {
        settles[i].id.data = ids[i];
    }
    self->held_count = 0;
    reeve__turn turn = {
        .queue = MAIL,
        .settles = settles,
        .settle_count = count,
        .claim_max = BATCH,
        .lease_ms = CONTRACT_LONG_MS,
    };
    char name[16];
    snprintf(name, sizeof(name), "w%zu", self->number);
    if (self->broker->ops->turn(self->broker, &turn, 1, text(name), hold, self,
                                &err) < 0) {
        complain(self->all, "turn", &err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (settles[i].code != REEVE_OK) {
            err.code = settles[i].code;
            complain(self->all, "settle", &err);
        }
    }
    atomic_fetch_add(&self->all->done, done);
    reeve_bytes queue = MAIL;
    ptrdiff_t index;
    int64_t soon_ns = reeve__by_ns(NULL, 20); /* to see that all is done */
    if (turn.claimed == 0 &&
        self->broker->ops->wait(self->broker, &queue, 1, -1,
                                soon_ns < by_ns ? soon_ns : by_ns, &index,
                                &err) < 0) {
        complain(self->all, "wait", &err);
    }
}

static void work(void *arg) {
    member *self = arg;
    int64_t by_ns = reeve__by_ns(NULL, 120000);
    while (atomic_load(&self->all->done) < TOTAL &&
           atomic_load(&self->all->failures) == 0 &&
           reeve__mono_ns(NULL) < by_ns) {
        work_once(self, by_ns);
    }
}

static void threads_lose_and_double_nothing(void **state) {
    contract *c = *state;
    contract_use_real_clock(c);
    shared *all = calloc(1, sizeof(*all));
    member *members = calloc(PRODUCERS + WORKERS, sizeof(*members));
    assert_non_null(all);
    assert_non_null(members);
    for (size_t i = 0; i < PRODUCERS + WORKERS; i++) {
        members[i].all = all;
        members[i].number = i;
        members[i].broker = contract_open(c, NULL);
        assert_ok(reeve__thread_start(&members[i].thread, "member",
                                      i < PRODUCERS ? produce : work,
                                      &members[i], err));
    }
    for (size_t i = 0; i < PRODUCERS + WORKERS; i++) {
        reeve__thread_join(&members[i].thread);
        reeve__broker_close(members[i].broker);
    }
    assert_int_equal(atomic_load(&all->failures), 0);
    assert_int_equal(atomic_load(&all->done), TOTAL);
    for (int i = 0; i < TOTAL; i++) {
        assert_int_equal(atomic_load(&all->started[i]), i % 7 == 0 ? 2 : 1);
    }
    reeve_queue_info info = contract_info(c, "mail");
    assert_int_equal(info.pending, 0);
    assert_int_equal(info.active, 0);
    assert_int_equal(info.done_total, TOTAL);
    free(members);
    free(all);
}

const contract_case contract_thread_cases[] = {
    CONTRACT_CASE(threads_lose_and_double_nothing),
    { NULL, NULL },
};
