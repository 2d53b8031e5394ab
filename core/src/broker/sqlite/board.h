/*
 * The bell board: who waits for what, across processes. A file of shared memory
 * in a private directory beside the database holds a slot for each waiting
 * handle; its bell is a datagram socket in the same directory, named by the
 * slot. Everything on the board is a hint: the truth is in the database, and a
 * slow look at it covers what gets lost when a process is killed between its
 * commit and its ring.
 *
 * Runs on: the handle's thread.
 */
#ifndef REEVE_SRC_BROKER_SQLITE_BOARD_H
#define REEVE_SRC_BROKER_SQLITE_BOARD_H

#include "broker/broker.h"

typedef struct reeve__board_map reeve__board_map;

typedef struct reeve__board {
    reeve_env *env; /* borrowed */
    char *path;     /* of the directory, owned */
    int dir_fd;
    int file_fd;
    int send_fd;
    int bell_fd; /* bound once the handle waits; -1 before */
    size_t slot; /* ours, with bell_fd */
    reeve__board_map *map;
    uint32_t owed; /* rung for us and not answered; 0 = none */
} reeve__board;

/* A queue's or a worker's name on the board, never 0. */
uint32_t reeve__board_hash(reeve_bytes name);

/* Makes the directory and the file if need be. Errors: SYSTEM, NOMEM. */
reeve_rc reeve__board_open(reeve__board *board, reeve_env *env,
                           const char *database_path, reeve_error *err);
/* inherited: after a fork, the slot is the parent's and stays. */
void reeve__board_close(reeve__board *board, bool inherited);

/* How often a queue has been rung, more or less: changes with every ring. */
uint64_t reeve__board_count(const reeve__board *board, uint32_t queue);
/* Counts, and wakes the one that has waited longest. */
void reeve__board_ring(reeve__board *board, uint32_t queue);

/* Says that a writer had to wait, and asks whether one had to just now. */
void reeve__board_contend(reeve__board *board);
bool reeve__board_is_contended(const reeve__board *board);

/* Takes a slot and binds its bell. Errors: SYSTEM, BUSY (no slot left). */
reeve_rc reeve__board_take(reeve__board *board, reeve_error *err);
/* Waits for these queues from now on. */
void reeve__board_wait(reeve__board *board, const uint32_t *queues,
                       size_t count);
/* The queue that was rung for us, 0 = none; ends the wait when end is set or a
 * ring has come. Empties the bell. */
uint32_t reeve__board_heard(reeve__board *board, bool end);

/* Listens for control messages to worker. */
void reeve__board_listen(reeve__board *board, uint32_t worker);
/* Takes a message, enum reeve__control. Empties the bell. */
int32_t reeve__board_message(reeve__board *board);
/* Leaves a message for a worker, 0 = all, and wakes it. */
void reeve__board_tell(reeve__board *board, uint32_t worker, int32_t control);

#endif
