/* Hopping windows from inside; the method stands in window_hopping.c. */
#ifndef SLUICE_HOPPING_PRIV_H
#define SLUICE_HOPPING_PRIV_H

#include "hop_column.h"

#define HOP_ELEMENT_BYTES 16u /* logical, beside the cell */
#define HOP_PANE_BYTES 512u   /* logical, of an empty one */

/* An element: this, then the cell. */
struct hop_element {
	int64_t number : 56; /* of the pane */
	uint64_t cut : 8;    /* the cell is */
};

/* Value of a key; a cell follows: the prefix. Plain windows have struct hop_value, and make such keys of it
 * where it is saved and loaded. */
struct hop_key {
	uint8_t *element; /* room for so many; they begin at `first`, ascending by pane */
	uint32_t first, count, room;
	uint32_t ref;	      /* of the key's entry */
	int64_t prefix_block; /* the prefix is of this block; any other: empty */
	bool prefix_cut;
};

struct hop_pane {
	int64_t number;
	uint64_t elements;
	struct agg_arena *arena;
	struct hop_column column; /* plain */
};

/* A key in the order of keys. */
struct hop_place {
	uint64_t prefix; /* its first eight bytes, big endian */
	struct keytab_entry *entry;
	uint8_t more[8]; /* the next ones */
	uint32_t number; /* plain */
	uint16_t key_bytes;
	uint16_t flags; /* of the entry */
};

/* Elements by key, for a walk over all keys. */
struct hop_index {
	uint64_t *start; /* by number */
	uint32_t *pane;	 /* that have them: their places in hopping.pane */
};

struct hopping {
	struct stage_window w;
	int64_t panes;	/* of a window, and of a block */
	int64_t closed; /* windows that end with this pane or an earlier one are computed; STAGE_NO_TIME: none
			 */
	int64_t block, block_first; /* of `closed`: its block, the block's first pane */
	double panes_a_ms;
	uint32_t stride; /* of elements */
	bool plain;	 /* cells are of counts and decimal sums alone: hop_sum.c */
	uint64_t elements;
	struct huge_slab slab;	/* of keys' elements; class i has room for 2^i */
	struct hop_store store; /* plain */
	struct hop_index index; /* plain: while keys are saved */
	struct keytab keys;	/* value: struct hop_key, prefix; plain: struct hop_value */
	struct keytab_entry *other;
	struct hop_place *order; /* keys in order */
	size_t order_count, order_room;
	struct keysort_item *fresh; /* keys that are not in there yet */
	size_t fresh_count, fresh_room;
	struct hop_pane *pane; /* that have elements, ascending */
	uint32_t pane_count, pane_room;
	struct agg_arena *prefixes; /* of the block of `closed` */
	struct agg_arena *scratch;
	void *cell;	      /* with parts in scratch; plain: of use while keys are loaded */
	struct hop_key *view; /* plain: a key as it is saved, and its elements */
	size_t view_bytes;
	struct revisions revisions;
};

static inline struct hop_element *hop_element_at(const struct hopping *h, const struct hop_key *k, uint32_t i)
{
	return (struct hop_element *)(k->element + (size_t)(k->first + i) * h->stride);
}

static inline void *hop_element_cell(struct hop_element *e)
{
	return e + 1;
}

static inline void *hop_prefix_cell(struct hop_key *k)
{
	return k + 1;
}

/* Of a window that is computed: keys whose entries are fetched, and half as many whose elements are. */
#define HOP_AHEAD 16u

KEYTAB_PREFETCH void hop_element_prefetch(const struct hopping *h, const struct hop_key *k, uint32_t i)
{
	const uint8_t *e = (const uint8_t *)hop_element_at(h, k, i);

	__builtin_prefetch(e, 1);
	__builtin_prefetch(e + h->stride - 1, 1);
}

/* The key whose elements may be fetched now, where the window is at key i of the order; or NULL. */
static inline const struct hop_key *hop_key_prefetch(const struct hopping *h, size_t i)
{
	if (i + HOP_AHEAD < h->order_count)
		keytab_prefetch_entry(&h->keys, h->order[i + HOP_AHEAD].entry);
	return i + HOP_AHEAD / 2 < h->order_count ? keytab_value(h->order[i + HOP_AHEAD / 2].entry) : NULL;
}

static inline int64_t hop_block_of(const struct hopping *h, int64_t number)
{
	return stage_floor(number, h->panes) / h->panes;
}

/* Windows up to the one that ends with this pane are computed. */
static inline void hop_closed_set(struct hopping *h, int64_t number)
{
	h->closed = number;
	h->block = hop_block_of(h, number);
	h->block_first = h->block * h->panes;
}

/* The pane's memory, made if it is not there; valid until the next call. NULL: there are as many as may be. */
struct hop_pane *hop_pane_make(struct hopping *h, int64_t number);
static inline struct hop_pane *hop_pane_get(struct hopping *h, int64_t number)
{
	uint64_t guess = h->pane_count ? (uint64_t)(number - h->pane[0].number) : 0; /* if none is missing */

	return guess < h->pane_count && h->pane[guess].number == number ? &h->pane[guess]
									: hop_pane_make(h, number);
}
/* NULL: it is not there. */
struct hop_pane *hop_pane_find(struct hopping *h, int64_t number);
/* Forgets panes that no window needs any more: all their elements are gone. */
void hop_panes_expire(struct hopping *h);

/* The entry of a pick's key, or that of `other`; where the guess is not it. */
struct keytab_entry *hop_key_find(struct hopping *h, struct stage_pick *p);
static inline struct keytab_entry *hop_key_get(struct hopping *h, struct stage_pick *p)
{
	if (p->entry && !h->w.st->full && stage_key_is(&h->keys, p->entry, p))
		return p->entry;
	return hop_key_find(h, p);
}
/* A key that the table does not have. */
struct keytab_entry *hop_key_new(
	struct hopping *h, uint32_t tag, const uint8_t *key, uint32_t bytes, uint8_t flags);
/* Gives back what a key has, and its entry. */
void hop_key_drop(struct hopping *h, struct keytab_entry *e);
/* Sorts the new keys and merges them into the order. */
void hop_order_merge(struct hopping *h);

/* A key's element of a pane that is not closed, made if it is not there; until the next one is made. */
struct hop_element *hop_element_get(struct hopping *h, struct hop_key *k, int64_t number);
/* Adds an event to a cell; what has no memory: *cut. */
void hop_cell_add(struct hopping *h, void *cell, struct agg_arena *arena, const struct record *rec,
	const struct agg_order *order, bool *cut);
/* Adds an event to a closed pane of a key, and to what that pane has been folded into. */
void hop_key_add(struct hopping *h, struct hop_key *k, int64_t number, const struct record *rec,
	const struct agg_order *order);
/* Gives back a key's room for elements. */
void hop_room_give(struct hopping *h, struct hop_key *k);
/* A new, empty element before the one at i. */
struct hop_element *hop_element_insert(struct hopping *h, struct hop_key *k, uint32_t i, int64_t number);
/* The prefix, made empty if it is of another block than `block`. */
void *hop_prefix_get(struct hopping *h, struct hop_key *k, int64_t block);
/* Folds a key's elements of panes before `first` into suffixes. */
void hop_key_fold(struct hopping *h, struct hop_key *k, int64_t first);
/* Adds the key's element of the pane that closes to its prefix. */
void hop_prefix_fold(struct hopping *h, struct hop_key *k, int64_t number, int64_t block);
/* Drops elements that no window after the one that ends with pane `closed` needs. */
void hop_key_expire(struct hopping *h, struct hop_key *k, int64_t closed);

/* ---- plain windows: hop_sum.c ---- */

/* Adds the events of these picks, whose places among windows are known. */
void hop_sum_take(struct hopping *h, const struct stage_run *run, struct stage_pick *pick, uint32_t count);
/* Computes the window that ends with pane `number`, behind those before it. 0 or what emit returned. */
int hop_sum_close(struct hopping *h, int64_t number, int64_t step_ms);
/* The key has an element in this pane, which is there. */
bool hop_sum_has(struct hopping *h, const struct keytab_entry *e, int64_t number);
/* Makes h->index, of all elements; and undoes it. */
void hop_index_make(struct hopping *h);
void hop_index_free(struct hopping *h);
/* The key with suffixes and prefix, as it is saved, until the next one; with h->index. */
struct hop_key *hop_sum_view(struct hopping *h, const struct keytab_entry *e);
/* Adds the elements of a key in that form, which it loses, to a key: false if it cannot be that. */
bool hop_sum_add(struct hopping *h, struct keytab_entry *e, struct hop_key *k);
/* Of keys to which those of several states were added: false if one cannot be. */
bool hop_sum_usable(struct hopping *h);

void hop_save(const struct stage_window *w, struct bytes *out);
bool hop_load(struct stage_window *w, struct cursor *c);

#endif
