/*
 * Treap by split and merge (Seidel and Aragon, "Randomized Search Trees",
 * 1996). Depth is logarithmic whatever the keys, so recursion is shallow. The
 * heap key is a hash of the minor key: the shape is reproducible.
 */
#include "broker/mem/tree.h"

#include <stdbool.h>

/* Finaliser of splitmix64 (Steele, Lea, Flood, 2014). */
static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static bool is_before(const reeve__mem_node *a, const reeve__mem_node *b) {
    return a->major != b->major ? a->major < b->major : a->minor < b->minor;
}

size_t reeve__mem_tree_count(const reeve__mem_node *root) {
    return root ? root->count : 0;
}

static reeve__mem_node *counted(reeve__mem_node *node) {
    node->count = 1 + reeve__mem_tree_count(node->left) +
                  reeve__mem_tree_count(node->right);
    return node;
}

/* Nodes before key go to *low, the rest to *high. */
static void split(reeve__mem_node *root, const reeve__mem_node *key,
                  reeve__mem_node **low, reeve__mem_node **high) {
    if (!root) {
        *low = *high = NULL;
    } else if (is_before(root, key)) {
        split(root->right, key, &root->right, high);
        *low = counted(root);
    } else {
        split(root->left, key, low, &root->left);
        *high = counted(root);
    }
}

static reeve__mem_node *merge(reeve__mem_node *low, reeve__mem_node *high) {
    if (!low || !high) {
        return low ? low : high;
    }
    if (low->heap > high->heap) {
        low->right = merge(low->right, high);
        return counted(low);
    }
    high->left = merge(low, high->left);
    return counted(high);
}

void reeve__mem_tree_insert(reeve__mem_node **root, reeve__mem_node *node) {
    reeve__mem_node *low, *high;
    node->left = node->right = NULL;
    node->count = 1;
    node->heap = mix((uint64_t)node->minor ^ mix((uint64_t)node->major));
    split(*root, node, &low, &high);
    *root = merge(merge(low, node), high);
}

void reeve__mem_tree_remove(reeve__mem_node **root, reeve__mem_node *node) {
    reeve__mem_node **at = root;
    while (*at != node) {
        (*at)->count--;
        at = is_before(node, *at) ? &(*at)->left : &(*at)->right;
    }
    *at = merge(node->left, node->right);
}

reeve__mem_node *reeve__mem_tree_at(reeve__mem_node *root, size_t rank) {
    while (root) {
        size_t before = reeve__mem_tree_count(root->left);
        if (rank == before) {
            return root;
        }
        if (rank < before) {
            root = root->left;
        } else {
            rank -= before + 1;
            root = root->right;
        }
    }
    return NULL;
}

void *reeve__mem_tree_first(reeve__mem_node *root) {
    reeve__mem_node *node = reeve__mem_tree_at(root, 0);
    return node ? node->owner : NULL;
}
