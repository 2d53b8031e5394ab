/*
 * An ordered set of places: a treap whose nodes live inside the things they
 * order, so that moving a task never allocates. Keys are (major, minor), unique
 * in a tree. Counts make paging by rank cheap.
 */
#ifndef REEVE_SRC_BROKER_MEM_TREE_H
#define REEVE_SRC_BROKER_MEM_TREE_H

#include <stddef.h>
#include <stdint.h>

typedef struct reeve__mem_node {
    struct reeve__mem_node *left;
    struct reeve__mem_node *right;
    void *owner;
    size_t count; /* nodes in this subtree */
    uint64_t heap;
    int64_t major;
    int64_t minor;
} reeve__mem_node;

/* Puts a node, whose owner, major and minor are set, into the tree. */
void reeve__mem_tree_insert(reeve__mem_node **root, reeve__mem_node *node);
/* Takes a node that is in the tree out of it. */
void reeve__mem_tree_remove(reeve__mem_node **root, reeve__mem_node *node);
size_t reeve__mem_tree_count(const reeve__mem_node *root);
/* The node with rank others before it; NULL when there are not so many. */
reeve__mem_node *reeve__mem_tree_at(reeve__mem_node *root, size_t rank);
/* Owner of the first node; NULL when the tree is empty. */
void *reeve__mem_tree_first(reeve__mem_node *root);

#endif
