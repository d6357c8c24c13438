/* A hash table of nodes that stand inside the things that it finds: retained windows, groups of baselines.
 * Whoever looks compares the keys; the order of nodes in it must never be seen outside. One owner. */
#ifndef SLUICE_MERGE_TABLE_H
#define SLUICE_MERGE_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct merge_node {
	struct merge_node *next;
	uint64_t hash;
};

struct merge_table {
	struct merge_node **slot;
	size_t slots, count; /* slots: a power of two, or 0 */
};

/* First of a chain; its nodes may have other hashes. */
static inline struct merge_node *merge_table_chain(const struct merge_table *t, uint64_t hash)
{
	return t->slots ? t->slot[hash & (t->slots - 1)] : NULL;
}

/* Room for one node more; false: no memory. */
static inline bool merge_table_room(struct merge_table *t)
{
	size_t slots = t->slots ? t->slots * 2 : 64;
	struct merge_node **slot;

	if (t->count < t->slots)
		return true;
	slot = calloc(slots, sizeof(struct merge_node *));
	if (!slot)
		return false;
	for (size_t i = 0; i < t->slots; i++)
		for (struct merge_node *n = t->slot[i], *next; n; n = next) {
			next = n->next;
			n->next = slot[n->hash & (slots - 1)];
			slot[n->hash & (slots - 1)] = n;
		}
	free(t->slot);
	t->slot = slot;
	t->slots = slots;
	return true;
}

/* After merge_table_room(). */
static inline void merge_table_put(struct merge_table *t, struct merge_node *n)
{
	struct merge_node **chain = &t->slot[n->hash & (t->slots - 1)];

	n->next = *chain;
	*chain = n;
	t->count++;
}

static inline void merge_table_remove(struct merge_table *t, struct merge_node *n)
{
	struct merge_node **at = &t->slot[n->hash & (t->slots - 1)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->count--;
}

#endif
