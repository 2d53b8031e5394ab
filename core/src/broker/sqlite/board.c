/*
 * The bell board: slots in shared memory, one socket a slot. A slot is taken
 * under a file lock and freed by its owner, or by whoever finds its socket dead.
 *
 * Lost rings are excluded by the order of two sequentially consistent steps: a
 * waiter first marks its slot, then reads the count (handle.c compares it with
 * what it last heard); a ringer first counts, then looks for marked slots.
 */
#include "broker/sqlite/board.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    SLOTS = 1024,
    COUNTERS = 1024,
    QUEUES_MAX = 256, /* more than that: any ring is for us */
    SPARE_MAX = sizeof(((struct sockaddr_un *)0)->sun_path),
};

/* A slot's word: state below, the queue that was rung above. */
enum slot_state {
    SLOT_FREE = 0,
    SLOT_IDLE = 1,
    SLOT_WAITING = 2,
    SLOT_RUNG = 3,
};
#define STATE_OF(word) ((word)&3U)
#define RUNG_WORD(queue) ((uint64_t)(queue) << 32 | SLOT_RUNG)

#define CONTROL_WEIGHTS_BIT 16U
#define CONTENDED_FOR_MS 2

typedef struct board_slot {
    _Atomic uint64_t word;
    _Atomic uint64_t ticket; /* when it began to wait */
    _Atomic uint32_t worker; /* listens for control messages; 0 = does not */
    _Atomic uint32_t control;
    _Atomic uint32_t queue_count;
    _Atomic uint32_t queues[QUEUES_MAX];
} board_slot;

struct reeve__board_map {
    _Atomic uint64_t tickets;
    _Atomic int64_t contended_ns; /* a writer waited then */
    _Atomic uint32_t used;        /* slots at or above this were never taken */
    _Atomic uint64_t counts[COUNTERS];
    board_slot slots[SLOTS];
};

uint32_t reeve__board_hash(reeve_bytes name) {
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a */
    for (size_t i = 0; i < name.size; i++) {
        hash = (hash ^ (unsigned char)name.data[i]) * UINT32_C(16777619);
    }
    return hash ? hash : 1;
}

static reeve_rc fail(const reeve__board *board, const char *what,
                     reeve_error *err) {
    return reeve__fail(err, REEVE_E_SYSTEM, "%s %.150s: %s", what, board->path,
                       strerror(errno));
}

/* The directory must be a real one and closed to others. */
static reeve_rc open_directory(reeve__board *board, reeve_error *err) {
    if (mkdir(board->path, 0700) < 0 && errno != EEXIST) {
        return fail(board, "cannot make", err);
    }
    board->dir_fd =
        open(board->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat info;
    if (board->dir_fd < 0 || fstat(board->dir_fd, &info) < 0) {
        return fail(board, "cannot open", err);
    }
    if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return reeve__fail(err, REEVE_E_UNSAFE,
                           "%.180s is writable by others (mode %o)",
                           board->path, (unsigned)(info.st_mode & 0777));
    }
    return REEVE_OK;
}

/* The file has its size and its blocks before it is mapped: a hole that the
 * disk cannot fill would end the process by SIGBUS. It only ever grows, to one
 * size: racing openers do the same. False: errno says why. */
static bool reserve(int fd, const struct stat *info) {
    off_t size = sizeof(reeve__board_map);
    if (info->st_size >= size && (off_t)info->st_blocks * 512 >= size) {
        return true;
    }
    int code = posix_fallocate(fd, 0, size);
    if (code == EINVAL || code == EOPNOTSUPP) { /* not of this file system */
        return info->st_size >= size || ftruncate(fd, size) == 0;
    }
    errno = code;
    return code == 0;
}

static reeve_rc open_map(reeve__board *board, reeve_error *err) {
    board->file_fd =
        openat(board->dir_fd, "board", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat info;
    if (board->file_fd < 0 || fstat(board->file_fd, &info) < 0) {
        return fail(board, "cannot open the board in", err);
    }
    if (!reserve(board->file_fd, &info)) {
        return fail(board, "cannot size the board in", err);
    }
    void *map = mmap(NULL, sizeof(reeve__board_map), PROT_READ | PROT_WRITE,
                     MAP_SHARED, board->file_fd, 0);
    if (map == MAP_FAILED) {
        return fail(board, "cannot map the board in", err);
    }
    board->map = map;
    return REEVE_OK;
}

static int new_socket(void) {
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd >= 0 && (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
                    fcntl(fd, F_SETFL, O_NONBLOCK) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

reeve_rc reeve__board_open(reeve__board *board, reeve_env *env,
                           const char *database_path, reeve_error *err) {
    *board = (reeve__board){
        .env = env, .dir_fd = -1, .file_fd = -1, .send_fd = -1, .bell_fd = -1
    };
    size_t size = strlen(database_path);
    board->path = reeve__alloc(env, size + sizeof(".d"));
    if (!board->path) {
        return reeve__fail_nomem(err);
    }
    memcpy(board->path, database_path, size);
    memcpy(board->path + size, ".d", sizeof(".d"));
    reeve_rc rc = open_directory(board, err);
    if (rc == REEVE_OK) {
        rc = open_map(board, err);
    }
    if (rc == REEVE_OK) {
        board->send_fd = new_socket();
        if (board->send_fd < 0) {
            rc = fail(board, "cannot make a socket for", err);
        }
    }
    return rc;
}

/* Address of a slot's bell. A path too long for sun_path goes through the
 * directory's descriptor. */
static bool address_of(struct sockaddr_un *out, const reeve__board *board,
                       size_t slot) {
    *out = (struct sockaddr_un){ .sun_family = AF_UNIX };
    int size = snprintf(out->sun_path, SPARE_MAX, "%s/s%zu", board->path, slot);
    if (size >= SPARE_MAX) {
        size = snprintf(out->sun_path, SPARE_MAX, "/proc/self/fd/%d/s%zu",
                        board->dir_fd, slot);
    }
    return size < SPARE_MAX;
}

/* False: nobody is there any more. A full socket is awake already. */
static bool strike(const reeve__board *board, size_t slot) {
    struct sockaddr_un address;
    if (!address_of(&address, board, slot)) {
        return false;
    }
    ssize_t sent = sendto(board->send_fd, "", 1, MSG_NOSIGNAL,
                          (const struct sockaddr *)&address, sizeof(address));
    return sent >= 0 || (errno != ECONNREFUSED && errno != ENOENT);
}

static void unlink_bell(const reeve__board *board, size_t slot) {
    char name[16];
    snprintf(name, sizeof(name), "s%zu", slot);
    unlinkat(board->dir_fd, name, 0);
}

/* Holds the board's lock; the holder needs microseconds. */
static reeve_rc lock_board(const reeve__board *board, reeve_error *err) {
    for (int tries = 0; flock(board->file_fd, LOCK_EX | LOCK_NB) < 0; tries++) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return fail(board, "cannot lock the board in", err);
        }
        if (tries == 2000) {
            return reeve__fail(err, REEVE_E_BUSY,
                               "the board in %.150s is locked since 2 s",
                               board->path);
        }
        struct timespec span = { 0, 1000000 };
        nanosleep(&span, NULL);
    }
    return REEVE_OK;
}

/* Under the lock no slot is half taken: one whose bell is dead is free. */
static bool is_free(const reeve__board *board, size_t slot) {
    uint64_t word = atomic_load(&board->map->slots[slot].word);
    return STATE_OF(word) == SLOT_FREE || !strike(board, slot);
}

static reeve_rc bind_slot(reeve__board *board, size_t slot, reeve_error *err) {
    struct sockaddr_un address;
    board->bell_fd = new_socket();
    unlink_bell(board, slot);
    if (board->bell_fd >= 0 && !address_of(&address, board, slot)) {
        errno = ENAMETOOLONG;
    } else if (board->bell_fd >= 0 &&
               bind(board->bell_fd, (const struct sockaddr *)&address,
                    sizeof(address)) == 0) {
        return REEVE_OK;
    }
    reeve_rc rc = fail(board, "cannot bind a socket in", err);
    if (board->bell_fd >= 0) {
        close(board->bell_fd);
        board->bell_fd = -1;
    }
    return rc;
}

static reeve_rc take_slot(reeve__board *board, reeve_error *err) {
    size_t slot = 0;
    while (slot < SLOTS && !is_free(board, slot)) {
        slot++;
    }
    if (slot == SLOTS) {
        return reeve__fail(err, REEVE_E_BUSY,
                           "%d handles wait on %.150s already", SLOTS,
                           board->path);
    }
    reeve_rc rc = bind_slot(board, slot, err);
    if (rc < 0) {
        return rc;
    }
    board_slot *mine = &board->map->slots[slot];
    atomic_store(&mine->worker, 0);
    atomic_store(&mine->control, 0);
    atomic_store(&mine->word, SLOT_IDLE);
    if (atomic_load(&board->map->used) <= slot) {
        atomic_store(&board->map->used, (uint32_t)slot + 1);
    }
    board->slot = slot;
    return REEVE_OK;
}

reeve_rc reeve__board_take(reeve__board *board, reeve_error *err) {
    if (board->bell_fd >= 0) {
        return REEVE_OK;
    }
    reeve_rc rc = lock_board(board, err);
    if (rc == REEVE_OK) {
        rc = take_slot(board, err);
        flock(board->file_fd, LOCK_UN);
    }
    return rc;
}

void reeve__board_close(reeve__board *board, bool inherited) {
    if (board->owed != 0 && !inherited) {
        reeve__board_ring(board, board->owed);
    }
    if (board->bell_fd >= 0 && !inherited) {
        unlink_bell(board, board->slot);
        atomic_store(&board->map->slots[board->slot].worker, 0);
        uint64_t word =
            atomic_exchange(&board->map->slots[board->slot].word, SLOT_FREE);
        if (STATE_OF(word) == SLOT_RUNG) {
            reeve__board_ring(board, (uint32_t)(word >> 32));
        }
    }
    const int fds[] = { board->bell_fd, board->send_fd, board->file_fd,
                        board->dir_fd };
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (board->map) {
        munmap(board->map, sizeof(*board->map));
    }
    reeve__free(board->env, board->path);
    *board = (reeve__board){ .bell_fd = -1 };
}

/* A time and not a count: one who is killed while waiting leaves no trace. The
 * monotonic clock is the same for all processes of a machine. */
void reeve__board_contend(reeve__board *board) {
    atomic_store_explicit(&board->map->contended_ns, reeve__mono_ns(NULL),
                          memory_order_relaxed);
}

bool reeve__board_is_contended(const reeve__board *board) {
    int64_t then_ns =
        atomic_load_explicit(&board->map->contended_ns, memory_order_relaxed);
    return then_ns != 0 &&
           reeve__mono_ns(NULL) - then_ns < CONTENDED_FOR_MS * REEVE__MS_NS;
}

uint64_t reeve__board_count(const reeve__board *board, uint32_t queue) {
    return atomic_load(&board->map->counts[queue % COUNTERS]);
}

static bool waits_for(const board_slot *slot, uint32_t queue) {
    uint32_t count = atomic_load(&slot->queue_count);
    if (count > QUEUES_MAX) {
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (atomic_load(&slot->queues[i]) == queue) {
            return true;
        }
    }
    return false;
}

/* Slot that has waited longest for the queue, or SLOTS. */
static size_t longest_waiter(const reeve__board *board, uint32_t queue) {
    size_t found = SLOTS, used = atomic_load(&board->map->used);
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < used && i < SLOTS; i++) {
        const board_slot *slot = &board->map->slots[i];
        if (atomic_load(&slot->word) == SLOT_WAITING &&
            atomic_load(&slot->ticket) < first && waits_for(slot, queue)) {
            first = atomic_load(&slot->ticket);
            found = i;
        }
    }
    return found;
}

void reeve__board_ring(reeve__board *board, uint32_t queue) {
    atomic_fetch_add(&board->map->counts[queue % COUNTERS], 1);
    for (size_t slot; (slot = longest_waiter(board, queue)) < SLOTS;) {
        _Atomic uint64_t *word = &board->map->slots[slot].word;
        uint64_t expected = SLOT_WAITING;
        if (!atomic_compare_exchange_strong(word, &expected,
                                            RUNG_WORD(queue))) {
            continue; /* it woke by itself, or for another */
        }
        if (strike(board, slot)) {
            return;
        }
        /* Its process is gone; the file is taken away by the next owner. */
        expected = RUNG_WORD(queue);
        atomic_compare_exchange_strong(word, &expected, SLOT_FREE);
    }
}

static void empty_bell(const reeve__board *board) {
    char bytes[8];
    while (recv(board->bell_fd, bytes, sizeof(bytes), 0) >= 0) {
    }
}

void reeve__board_wait(reeve__board *board, const uint32_t *queues,
                       size_t count) {
    board_slot *mine = &board->map->slots[board->slot];
    for (size_t i = 0; i < count && i < QUEUES_MAX; i++) {
        atomic_store(&mine->queues[i], queues[i]);
    }
    atomic_store(&mine->queue_count,
                 count > QUEUES_MAX ? UINT32_MAX : (uint32_t)count);
    atomic_store(&mine->ticket, atomic_fetch_add(&board->map->tickets, 1));
    atomic_store(&mine->word, SLOT_WAITING);
}

uint32_t reeve__board_heard(reeve__board *board, bool end) {
    _Atomic uint64_t *word = &board->map->slots[board->slot].word;
    empty_bell(board);
    uint64_t now = atomic_load(word);
    if (now == SLOT_WAITING && end) {
        atomic_compare_exchange_strong(word, &now, SLOT_IDLE);
    }
    if (STATE_OF(now) != SLOT_RUNG) {
        return 0;
    }
    atomic_store(word, SLOT_IDLE);
    return (uint32_t)(now >> 32);
}

void reeve__board_listen(reeve__board *board, uint32_t worker) {
    atomic_store(&board->map->slots[board->slot].worker, worker);
}

int32_t reeve__board_message(reeve__board *board) {
    _Atomic uint32_t *control = &board->map->slots[board->slot].control;
    empty_bell(board);
    /* Weights first: they do not stop anything. */
    if ((atomic_fetch_and(control, ~CONTROL_WEIGHTS_BIT) &
         CONTROL_WEIGHTS_BIT) != 0) {
        return REEVE__CONTROL_WEIGHTS;
    }
    return (int32_t)atomic_exchange(control, 0);
}

/* The last of QUIET and RESUME counts; WEIGHTS is kept beside them. */
static void leave_message(board_slot *slot, int32_t control) {
    if (control == REEVE__CONTROL_WEIGHTS) {
        atomic_fetch_or(&slot->control, CONTROL_WEIGHTS_BIT);
        return;
    }
    uint32_t now = atomic_load(&slot->control);
    while (!atomic_compare_exchange_weak(&slot->control, &now,
                                         (now & CONTROL_WEIGHTS_BIT) |
                                             (uint32_t)control)) {
    }
}

void reeve__board_tell(reeve__board *board, uint32_t worker, int32_t control) {
    size_t used = atomic_load(&board->map->used);
    for (size_t i = 0; i < used && i < SLOTS; i++) {
        board_slot *slot = &board->map->slots[i];
        uint32_t listens = atomic_load(&slot->worker);
        if (listens != 0 && (worker == 0 || worker == listens)) {
            leave_message(slot, control);
            strike(board, i);
        }
    }
}
