/*
 * Waiting on the board: the doorbell of queues and the control channel of
 * workers. The handle's lock is not held while it polls.
 */
#include "broker/sqlite/handle.h"

#include <unistd.h>

/* How often a waiter looks by itself, for rings that died with their ringer. */
#define LOOK_FIRST_MS 250
#define LOOK_LAST_MS 1000
/* How often a watcher copies the log back into the file, while others write
 * and while nothing moves. */
#define CHECKPOINT_EVERY_MS 100
#define CHECKPOINT_IDLE_MS 1000

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Whether another connection has written since the last look. */
static bool has_changed(reeve__sqlite *sq) {
    int64_t version =
        reeve__sqlite_int(sq, reeve__sqlite_use(sq, REEVE__SQL_DATA_VERSION));
    bool changed = version != sq->data_version;
    sq->data_version = version;
    return changed;
}

/* The first queue with work to claim, -1 = none. */
static ptrdiff_t look_for_work(reeve__sqlite *sq, const reeve_bytes *queues,
                               size_t count) {
    ptrdiff_t found = -1;
    reeve__sqlite_begin(sq, false);
    for (size_t i = 0; i < count && found < 0; i++) {
        const reeve__sqlite_queue *queue =
            reeve__sqlite_queue_find(sq, queues[i]);
        if (queue && !queue->paused && queue->counts[REEVE_STATE_PENDING] > 0) {
            found = (ptrdiff_t)i;
        }
    }
    reeve_rc rc = reeve__sqlite_end(sq, NULL);
    return rc == REEVE_OK ? found : -1;
}

/* A queue rung since this handle's last short claim, -1 = none. */
static ptrdiff_t rung_before(reeve__sqlite *sq, const reeve_bytes *queues,
                             size_t count) {
    for (size_t i = 0; i < count; i++) {
        reeve__sqlite_queue *queue = reeve__sqlite_queue_meet(sq, queues[i]);
        if (!queue) {
            continue;
        }
        uint64_t now = reeve__board_count(&sq->board, queue->hash);
        if (now != queue->heard) {
            queue->heard = now;
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

static ptrdiff_t index_of(const uint32_t *hashes, size_t count, uint32_t hash) {
    for (size_t i = 0; i < count; i++) {
        if (hashes[i] == hash) {
            return (ptrdiff_t)i;
        }
    }
    return -1;
}

/* Polls until the bell, the wake fd, or by_ns; looks by itself in between. */
static ptrdiff_t poll_bell(reeve__sqlite *sq, const reeve_bytes *queues,
                           const uint32_t *hashes, size_t count, int wake_fd,
                           int64_t by_ns) {
    reeve_env *env = sq->base.env;
    int64_t look_ms = LOOK_FIRST_MS;
    has_changed(sq);
    for (;;) {
        /* A virtual clock does not move by itself: no looks by its time. */
        int64_t until_ns = reeve__clock_is_virtual(env)
                               ? by_ns
                               : earlier(by_ns, reeve__by_ns(env, look_ms));
        reeve__sqlite_leave(sq);
        int ready = reeve__poll_two(env, sq->board.bell_fd, wake_fd, until_ns);
        reeve__lock(&sq->mutex);
        bool end = (ready & 2) != 0 || (ready == 0 && until_ns == by_ns);
        uint32_t rung = reeve__board_heard(&sq->board, end);
        if (rung != 0) {
            sq->board.owed = rung;
            return index_of(hashes, count, rung);
        }
        if (end) {
            return -1;
        }
        if (ready == 0 && sq->db && has_changed(sq)) {
            ptrdiff_t found = look_for_work(sq, queues, count);
            if (found >= 0) {
                uint32_t late = reeve__board_heard(&sq->board, true);
                sq->board.owed = late ? late : hashes[found];
                return found;
            }
        }
        look_ms = earlier(look_ms * 2, LOOK_LAST_MS);
    }
}

static void note_heard(reeve__sqlite *sq, reeve_bytes name) {
    reeve__sqlite_queue *queue = reeve__sqlite_queue_meet(sq, name);
    if (queue) {
        queue->heard = reeve__board_count(&sq->board, queue->hash);
    }
}

reeve_rc reeve__sqlite_wait(reeve__broker *broker, const reeve_bytes *queues,
                            size_t count, int wake_fd, int64_t by_ns,
                            ptrdiff_t *out_index, reeve_error *err) {
    reeve_rc rc;
    *out_index = -1;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    uint32_t *hashes = reeve__alloc(broker->env, (count + 1) * sizeof(*hashes));
    rc = hashes ? reeve__board_take(&sq->board, err) : reeve__fail_nomem(err);
    if (rc == REEVE_OK) {
        for (size_t i = 0; i < count; i++) {
            hashes[i] = reeve__board_hash(queues[i]);
        }
        sq->board.owed = 0;
        reeve__board_wait(&sq->board, hashes, count);
        *out_index = rung_before(sq, queues, count);
        if (*out_index >= 0) {
            uint32_t rung = reeve__board_heard(&sq->board, true);
            sq->board.owed = rung ? rung : hashes[*out_index];
        } else {
            *out_index = poll_bell(sq, queues, hashes, count, wake_fd, by_ns);
        }
        if (*out_index >= 0) {
            note_heard(sq, queues[*out_index]);
        }
    }
    reeve__free(broker->env, hashes);
    reeve__sqlite_leave(sq);
    return rc;
}

reeve_rc reeve__sqlite_unwait(reeve__broker *broker, reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    if (sq->board.owed != 0) {
        reeve__board_ring(&sq->board, sq->board.owed);
        sq->board.owed = 0;
    }
    reeve__sqlite_leave(sq);
    return REEVE_OK;
}

/* Copies what others have committed from the log into the file. Done here,
 * where nobody waits: a commit that has to do it takes its fsync, tens of
 * milliseconds. Being in somebody's way, or they in ours, is no failure. */
static bool checkpoint(reeve__sqlite *sq) {
    if (!sq->db || !has_changed(sq)) {
        return false;
    }
    (void)sqlite3_wal_checkpoint_v2(sq->db, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                    NULL, NULL);
    return true;
}

/* Polls for a control message until the wake fd or by_ns. */
static int32_t wait_for_message(reeve__sqlite *sq, int wake_fd, int64_t by_ns) {
    reeve_env *env = sq->base.env;
    int64_t every_ms = CHECKPOINT_EVERY_MS;
    for (;;) {
        int32_t message = reeve__board_message(&sq->board);
        if (message != REEVE__CONTROL_NONE) {
            return message;
        }
        int64_t until_ns = reeve__clock_is_virtual(env)
                               ? by_ns
                               : earlier(by_ns, reeve__by_ns(env, every_ms));
        reeve__sqlite_leave(sq);
        int ready = reeve__poll_two(env, sq->board.bell_fd, wake_fd, until_ns);
        reeve__lock(&sq->mutex);
        if ((ready & 2) != 0 || (ready == 0 && until_ns == by_ns)) {
            return REEVE__CONTROL_NONE;
        }
        if (ready == 0) {
            every_ms =
                checkpoint(sq) ? CHECKPOINT_EVERY_MS : CHECKPOINT_IDLE_MS;
        }
    }
}

reeve_rc reeve__sqlite_watch(reeve__broker *broker, reeve_bytes worker,
                             int wake_fd, int64_t by_ns, int32_t *out,
                             reeve_error *err) {
    reeve_rc rc;
    *out = REEVE__CONTROL_NONE;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    rc = reeve__board_take(&sq->board, err);
    if (rc < 0) {
        reeve__sqlite_leave(sq);
        return rc;
    }
    reeve__board_listen(&sq->board, reeve__board_hash(worker));
    *out = wait_for_message(sq, wake_fd, by_ns);
    if (*out == REEVE__CONTROL_NONE) {
        *out = reeve__board_message(&sq->board);
    }
    reeve__sqlite_leave(sq);
    return REEVE_OK;
}

reeve_rc reeve__sqlite_tell(reeve__broker *broker, reeve_bytes worker,
                            int32_t control, reeve_error *err) {
    reeve_rc rc;
    reeve__sqlite *sq = reeve__sqlite_enter(broker, &rc, err);
    if (!sq) {
        return rc;
    }
    reeve__board_tell(&sq->board,
                      worker.size > 0 ? reeve__board_hash(worker) : 0, control);
    reeve__sqlite_leave(sq);
    return REEVE_OK;
}
