/*
 * Chained hash table, FNV-1a (Fowler, Noll, Vo), load factor at most one.
 */
#include "broker/mem/table.h"

#include "base/bytes.h"

#define SLOTS_MIN ((size_t)16)

static uint64_t hash_of(reeve_bytes key) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < key.size; i++) {
        hash = (hash ^ (unsigned char)key.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash ^ (hash >> 32);
}

void reeve__mem_table_init(reeve__mem_table *table, reeve_env *env) {
    *table = (reeve__mem_table){ .env = env };
}

void reeve__mem_table_dispose(reeve__mem_table *table) {
    reeve__free(table->env, table->slots);
    *table = (reeve__mem_table){ .env = table->env };
}

void *reeve__mem_table_find(const reeve__mem_table *table, reeve_bytes key) {
    if (table->count == 0) {
        return NULL;
    }
    uint64_t hash = hash_of(key);
    reeve__mem_entry *entry = table->slots[hash & (table->slot_count - 1)];
    while (entry &&
           (entry->hash != hash || !reeve__bytes_equal(entry->key, key))) {
        entry = entry->next;
    }
    return entry ? entry->owner : NULL;
}

static void chain(reeve__mem_table *table, reeve__mem_entry *entry) {
    reeve__mem_entry **slot =
        &table->slots[entry->hash & (table->slot_count - 1)];
    entry->next = *slot;
    *slot = entry;
}

static void grow(reeve__mem_table *table) {
    reeve__mem_table wider = *table;
    wider.slot_count = table->slot_count ? table->slot_count * 2 : SLOTS_MIN;
    wider.slots =
        reeve__calloc(table->env, wider.slot_count, sizeof(*wider.slots));
    if (!wider.slots) {
        return;
    }
    for (size_t i = 0; i < table->slot_count; i++) {
        for (reeve__mem_entry *entry = table->slots[i], *next; entry;
             entry = next) {
            next = entry->next;
            chain(&wider, entry);
        }
    }
    reeve__free(table->env, table->slots);
    *table = wider;
}

bool reeve__mem_table_add(reeve__mem_table *table, reeve__mem_entry *entry) {
    if (table->count >= table->slot_count) {
        grow(table);
    }
    if (table->slot_count == 0) {
        return false;
    }
    entry->hash = hash_of(entry->key);
    chain(table, entry);
    table->count++;
    return true;
}

void reeve__mem_table_remove(reeve__mem_table *table, reeve__mem_entry *entry) {
    reeve__mem_entry **at =
        &table->slots[entry->hash & (table->slot_count - 1)];
    while (*at != entry) {
        at = &(*at)->next;
    }
    *at = entry->next;
    table->count--;
}
