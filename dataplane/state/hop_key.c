/* Keys of hopping windows: their elements, suffixes and prefixes; see window_hopping.c. State thread of a
 * partition. */
#include <assert.h>

#include "hopping_priv.h"

/* ---- panes: their cells' memory ---- */
static uint32_t pane_place(const struct hopping *h, int64_t number)
{
	return stage_first_from(h->pane, h->pane_count, sizeof *h->pane, number);
}

struct hop_pane *hop_pane_make(struct hopping *h, int64_t number)
{
	uint32_t at;

	at = pane_place(h, number);
	if (at == h->pane_count || h->pane[at].number != number) {
		if (h->pane_count >= h->w.st->panes_max)
			return NULL;
		if (h->pane_count == h->pane_room) {
			h->pane_room = h->pane_room * 2 + 16;
			h->pane = must_realloc(h->pane, h->pane_room, sizeof *h->pane);
		}
		memmove(h->pane + at + 1, h->pane + at, (h->pane_count - at) * sizeof *h->pane);
		h->pane[at] = (struct hop_pane){.number = number, .arena = stage_arena_take(h->w.st)};
		h->pane_count++;
	}
	return &h->pane[at];
}

struct hop_pane *hop_pane_find(struct hopping *h, int64_t number)
{
	uint32_t at = pane_place(h, number);

	return at < h->pane_count && h->pane[at].number == number ? &h->pane[at] : NULL;
}

/* Forgets panes that no window needs any more: all their elements are gone. */
void hop_panes_expire(struct hopping *h)
{
	uint32_t gone = 0;

	while (gone < h->pane_count && h->pane[gone].number + h->panes - 1 <= h->closed) {
		assert(!h->pane[gone].elements);
		hop_column_free(&h->store, &h->pane[gone].column);
		stage_arena_give(h->w.st, h->pane[gone++].arena);
	}
	h->pane_count -= gone;
	if (gone)
		memmove(h->pane, h->pane + gone, h->pane_count * sizeof *h->pane);
}

/* ---- keys ---- */
static void fresh_put(struct hopping *h, struct keytab_entry *e)
{
	if (h->fresh_count == h->fresh_room) {
		h->fresh_room = h->fresh_room * 2 + 64;
		h->fresh = must_realloc(h->fresh, h->fresh_room, sizeof *h->fresh);
	}
	h->fresh[h->fresh_count++].entry = e;
}

struct keytab_entry *hop_key_new(
	struct hopping *h, uint32_t tag, const uint8_t *key, uint32_t bytes, uint8_t flags)
{
	struct keytab_entry *e;
	struct hop_key *k;
	uint32_t ref;

	if (flags & KEYTAB_F_OTHER)
		h->other = e = keytab_add_aside(&h->keys, "", 0, KEYTAB_F_OTHER, &ref);
	else
		e = keytab_add(&h->keys, tag, key, bytes, &ref);
	fresh_put(h, e);
	if (h->plain) {
		((struct hop_value *)keytab_value(e))->number = hop_number_take(&h->store, ref);
		return e;
	}
	k = keytab_value(e);
	k->ref = ref;
	k->prefix_block = STAGE_NO_TIME;
	return e;
}

/* Returns its reference. */
static uint32_t plain_key_drop(struct hopping *h, const struct keytab_entry *e)
{
	uint32_t number = ((const struct hop_value *)keytab_value(e))->number;
	uint32_t ref = hop_sum_at(&h->store, number)->ref;

	hop_number_give(&h->store, number);
	return ref;
}

/* A prefix that no window will show any more still has memory until its block ends. */
static uint32_t folded_key_drop(struct hopping *h, const struct keytab_entry *e)
{
	struct hop_key *k = keytab_value(e);

	if (h->closed != STAGE_NO_TIME && k->prefix_block == h->block)
		agg_cell_clear(h->w.def->aggs, hop_prefix_cell(k), h->prefixes);
	hop_room_give(h, k);
	return k->ref;
}

void hop_key_drop(struct hopping *h, struct keytab_entry *e)
{
	uint32_t ref = h->plain ? plain_key_drop(h, e) : folded_key_drop(h, e);

	if (e == h->other)
		h->other = NULL;
	keytab_remove(&h->keys, ref);
}

/* Index of the last element whose pane is not behind `number`; its successor is where one goes. -1: none. */
static int64_t element_find(const struct hopping *h, const struct hop_key *k, int64_t number)
{
	int64_t i = (int64_t)k->count - 1;

	while (i >= 0 && hop_element_at(h, k, (uint32_t)i)->number > number)
		i--;
	return i;
}

static bool key_has(struct hopping *h, const struct keytab_entry *e, int64_t number)
{
	const struct hop_key *k = keytab_value(e);
	int64_t i;

	if (h->plain)
		return hop_sum_has(h, e, number);
	i = element_find(h, k, number);
	return i >= 0 && hop_element_at(h, k, (uint32_t)i)->number == number;
}

struct keytab_entry *hop_key_find(struct hopping *h, struct stage_pick *p)
{
	struct stage_window *w = &h->w;
	uint64_t keys = h->keys.count - (h->other != NULL);
	struct keytab_entry *e = NULL;

	stage_key_want(w, p);
	if (!p->other)
		e = keytab_find(&h->keys, p->tag, p->key, p->key_bytes, NULL);
	if (e && (!w->st->full || !w->def->group_count || key_has(h, e, p->at)))
		return e;
	if (!e && !p->other && (!w->def->group_count || (keys < w->def->keys_max && !w->st->full)))
		return hop_key_new(h, p->tag, p->key, p->key_bytes, 0);
	w->stats->other++;
	return h->other ? h->other : hop_key_new(h, 0, NULL, 0, KEYTAB_F_OTHER);
}

static struct hop_place place_of(const struct hopping *h, struct keytab_entry *e)
{
	const uint8_t *key = keytab_key(&h->keys, e);
	uint8_t head[16] = {0};
	struct hop_place place = {.entry = e, .key_bytes = e->key_bytes, .flags = e->flags};

	memcpy(head, key, e->key_bytes < sizeof head ? e->key_bytes : sizeof head);
	memcpy(&place.prefix, head, 8);
	place.prefix = __builtin_bswap64(place.prefix);
	memcpy(place.more, head + 8, 8);
	if (h->plain)
		place.number = ((const struct hop_value *)keytab_value(e))->number;
	return place;
}

static bool key_before(const struct hopping *h, const struct hop_place *a, const struct hop_place *b)
{
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix;
	return keysort_compare(keytab_key(&h->keys, a->entry), a->entry->key_bytes,
		       keytab_key(&h->keys, b->entry), b->entry->key_bytes) < 0;
}

/* Sorts the new keys and merges them into the order, from behind. */
void hop_order_merge(struct hopping *h)
{
	size_t old = h->order_count, fresh = h->fresh_count, to = old + fresh;

	if (!fresh)
		return;
	stage_sort_room(h->w.st, fresh);
	keysort(&h->keys, h->fresh, h->w.st->sort[1], fresh);
	if (to > h->order_room) {
		h->order_room = to + to / 2;
		h->order = must_realloc(h->order, h->order_room, sizeof *h->order);
	}
	h->order_count = to;
	while (fresh) {
		const struct hop_place place = place_of(h, h->fresh[--fresh].entry);

		while (old && key_before(h, &place, &h->order[old - 1]))
			h->order[--to] = h->order[--old];
		h->order[--to] = place;
	}
	h->fresh_count = 0;
}

/* ---- elements ---- */

/* Large rooms are few, and not worth a place in a block. */
static bool room_is_piece(const struct hopping *h, uint32_t room)
{
	return (size_t)room * h->stride <= HUGE_BLOCK_BYTES / 32 && room < 1u << HUGE_CLASSES;
}

static uint8_t *room_take(struct hopping *h, uint32_t room)
{
	size_t bytes = (size_t)room * h->stride;

	return room_is_piece(h, room) ? huge_piece_take(&h->slab, (uint32_t)__builtin_ctz(room), bytes)
				      : must_realloc(NULL, bytes, 1);
}

void hop_room_give(struct hopping *h, struct hop_key *k)
{
	if (!k->room)
		return;
	if (room_is_piece(h, k->room))
		huge_piece_give(&h->slab, (uint32_t)__builtin_ctz(k->room), k->element);
	else
		free(k->element);
	k->room = 0;
}

/* Room for one more behind the last: where elements went in front, or more. */
static void key_room(struct hopping *h, struct hop_key *k)
{
	size_t bytes = (size_t)k->count * h->stride;
	uint8_t *element;
	uint32_t room;

	if (k->first + k->count < k->room)
		return;
	if (k->first > k->room / 4) {
		memmove(k->element, hop_element_at(h, k, 0), bytes);
		k->first = 0;
		return;
	}
	room = k->room ? k->room * 2 : 1;
	element = room_take(h, room);
	if (k->count)
		memcpy(element, hop_element_at(h, k, 0), bytes);
	hop_room_give(h, k);
	k->element = element;
	k->room = room;
	k->first = 0;
}

struct hop_element *hop_element_insert(struct hopping *h, struct hop_key *k, uint32_t i, int64_t number)
{
	struct hop_element *e;

	key_room(h, k);
	e = hop_element_at(h, k, i);
	if (i < k->count)
		memmove((uint8_t *)e + h->stride, e, (size_t)(k->count - i) * h->stride);
	*e = (struct hop_element){.number = number};
	agg_cell_init(h->w.def->aggs, hop_element_cell(e));
	k->count++;
	h->elements++;
	return e;
}

void hop_cell_add(struct hopping *h, void *cell, struct agg_arena *arena, const struct record *rec,
	const struct agg_order *order, bool *cut)
{
	if (!agg_cell_add(h->w.def->aggs, cell, arena, rec, order)) {
		*cut = true;
		h->w.stats->cut++;
	}
}

static void element_add(
	struct hopping *h, struct hop_element *e, const struct record *rec, const struct agg_order *order)
{
	struct hop_pane *pane = hop_pane_get(h, e->number);
	bool cut = false;

	hop_cell_add(h, hop_element_cell(e), pane->arena, rec, order, &cut);
	e->cut |= cut;
}

void *hop_prefix_get(struct hopping *h, struct hop_key *k, int64_t block)
{
	if (k->prefix_block != block) {
		agg_cell_init(h->w.def->aggs, hop_prefix_cell(k));
		k->prefix_block = block;
		k->prefix_cut = false;
	}
	return hop_prefix_cell(k);
}

static void prefix_add(
	struct hopping *h, struct hop_key *k, const struct record *rec, const struct agg_order *order)
{
	bool cut = false;

	hop_cell_add(h, hop_prefix_get(h, k, h->block), h->prefixes, rec, order, &cut);
	k->prefix_cut |= cut;
}

/* The element of a pane, made if it is not there. In a block that has been folded a new one begins as the
 * suffix that follows it. */
static uint32_t element_get(struct hopping *h, struct hop_key *k, int64_t number, bool folded)
{
	int64_t i = element_find(h, k, number);
	struct hop_element *e, *next;

	if (i >= 0 && hop_element_at(h, k, (uint32_t)i)->number == number)
		return (uint32_t)i;
	hop_pane_get(h, number)->elements++;
	e = hop_element_insert(h, k, (uint32_t)(i + 1), number);
	if (folded && i + 2 < k->count) {
		next = hop_element_at(h, k, (uint32_t)(i + 2));
		if (next->number < h->block_first) {
			e->cut |= next->cut;
			if (!agg_cell_merge(h->w.def->aggs, hop_element_cell(e),
				    hop_pane_get(h, number)->arena, hop_element_cell(next),
				    hop_pane_get(h, next->number)->arena))
				e->cut = 1;
		}
	}
	return (uint32_t)(i + 1);
}

struct hop_element *hop_element_get(struct hopping *h, struct hop_key *k, int64_t number)
{
	return hop_element_at(h, k, element_get(h, k, number, false));
}

/* Adds an event to a closed pane of a key, and to what that pane has been folded into. */
void hop_key_add(struct hopping *h, struct hop_key *k, int64_t number, const struct record *rec,
	const struct agg_order *order)
{
	bool folded = number < h->block_first;
	uint32_t i = element_get(h, k, number, folded);

	element_add(h, hop_element_at(h, k, i), rec, order);
	if (!folded)
		prefix_add(h, k, rec, order);
	while (folded && i--)
		element_add(h, hop_element_at(h, k, i), rec, order);
}

/* ---- folds ---- */
/* Folds a key's elements of blocks before `first` into suffixes. */
void hop_key_fold(struct hopping *h, struct hop_key *k, int64_t first)
{
	int64_t i = element_find(h, k, first - 1);

	for (i--; i >= 0; i--) {
		struct hop_element *e = hop_element_at(h, k, (uint32_t)i),
				   *next = hop_element_at(h, k, (uint32_t)i + 1);

		e->cut |= next->cut;
		if (!agg_cell_merge(h->w.def->aggs, hop_element_cell(e), hop_pane_get(h, e->number)->arena,
			    hop_element_cell(next), hop_pane_get(h, next->number)->arena))
			e->cut = 1;
	}
}

/* Adds the key's element of the pane that closes to its prefix. */
void hop_prefix_fold(struct hopping *h, struct hop_key *k, int64_t number, int64_t block)
{
	uint64_t guess = k->count ? (uint64_t)(number - hop_element_at(h, k, 0)->number) : 0;
	struct hop_element *e;
	void *prefix;
	int64_t i;

	if (guess >= k->count || hop_element_at(h, k, (uint32_t)guess)->number != number) {
		i = element_find(h, k, number);
		if (i < 0)
			return;
		guess = (uint64_t)i;
	}
	e = hop_element_at(h, k, (uint32_t)guess); /* that of `number` if no pane is missing before it */
	if (e->number != number)
		return;
	prefix = hop_prefix_get(h, k, block);
	k->prefix_cut |= e->cut;
	if (!agg_cell_merge(
		    h->w.def->aggs, prefix, h->prefixes, hop_element_cell(e), hop_pane_get(h, number)->arena))
		k->prefix_cut |= 1;
}

/* Drops elements that no later window needs. */
void hop_key_expire(struct hopping *h, struct hop_key *k, int64_t closed)
{
	uint32_t gone = 0;

	while (gone < k->count && hop_element_at(h, k, gone)->number + h->panes - 1 <= closed)
		hop_pane_get(h, hop_element_at(h, k, gone++)->number)->elements--;
	k->first += gone;
	k->count -= gone;
	h->elements -= gone;
}
