/*
 * A hash table of bytes whose entries live inside the things they name. Only
 * the slots are allocated; when they cannot grow, chains do.
 */
#ifndef REEVE_SRC_BROKER_MEM_TABLE_H
#define REEVE_SRC_BROKER_MEM_TABLE_H

#include "base/env.h"

typedef struct reeve__mem_entry {
    struct reeve__mem_entry *next;
    uint64_t hash;
    reeve_bytes key; /* borrows from the owner */
    void *owner;
} reeve__mem_entry;

typedef struct reeve__mem_table {
    reeve_env *env; /* borrowed */
    reeve__mem_entry **slots;
    size_t slot_count; /* 0 or a power of two */
    size_t count;
} reeve__mem_table;

void reeve__mem_table_init(reeve__mem_table *table, reeve_env *env);
/* Frees the slots, not the entries. */
void reeve__mem_table_dispose(reeve__mem_table *table);
/* Owner of the key; NULL when it is not there. */
void *reeve__mem_table_find(const reeve__mem_table *table, reeve_bytes key);
/* Adds an entry whose key and owner are set and whose key is not there. False:
 * out of memory, nothing changed. */
bool reeve__mem_table_add(reeve__mem_table *table, reeve__mem_entry *entry);
void reeve__mem_table_remove(reeve__mem_table *table, reeve__mem_entry *entry);

#endif
