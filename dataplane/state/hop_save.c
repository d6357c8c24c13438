/* Saved state of hopping windows: suffixes and prefixes as they are, so that they go on with the same bits;
 * of sums (hop_sum.c) the same, which they give and are made of without a loss. State thread of a partition.
 */
#include "hopping_priv.h"

static void key_save(const struct hopping *h, const struct keytab_entry *e, struct bytes *out)
{
	struct hop_key *k = h->plain ? hop_sum_view((struct hopping *)h, e) : keytab_value(e);
	bool prefix = h->closed != STAGE_NO_TIME && k->prefix_block == h->block;

	stage_put_key(&h->keys, e, out);
	bytes_put_u32(out, k->count);
	bytes_put_u8(out, prefix ? (k->prefix_cut ? 2 : 1) : 0);
	if (prefix)
		stage_put_cell(&h->w, hop_prefix_cell(k), h->prefixes, out);
	for (uint32_t i = 0; i < k->count; i++) {
		struct hop_element *element = hop_element_at(h, k, i);
		const struct hop_pane *pane =
			hop_pane_get((struct hopping *)h, element->number); /* is there */

		bytes_put_i64(out, (int64_t)element->number * 2 + (int64_t)element->cut);
		stage_put_cell(&h->w, hop_element_cell(element), pane->arena, out);
	}
}

void hop_save(const struct stage_window *w, struct bytes *out)
{
	const struct hopping *h = (const struct hopping *)w;
	size_t count = stage_sort_keys(w->st, &h->keys);

	bytes_put_i64(out, h->closed);
	bytes_put_u64(out, count);
	if (h->plain)
		hop_index_make((struct hopping *)h);
	for (size_t i = 0; i < count; i++)
		key_save(h, w->st->sort[0][i].entry, out);
	hop_index_free((struct hopping *)h);
	revision_save(&h->revisions, w, out);
}

/* Times of the pane do not overflow. */
static bool number_usable(const struct hopping *h, int64_t number)
{
	int64_t most = STAGE_TIME_MAX * 2 / h->w.def->slide_ms;

	return number >= -most && number <= most;
}

static bool elements_load(struct hopping *h, struct hop_key *k, uint32_t count, struct cursor *c)
{
	for (uint32_t i = 0; i < count; i++) {
		int64_t number_cut = stage_get_time(c), number = number_cut >> 1;
		struct hop_element *e;
		struct hop_pane *pane;

		if (c->failed || !number_usable(h, number) ||
			(i && number <= hop_element_at(h, k, i - 1)->number) ||
			(h->closed != STAGE_NO_TIME && number + h->panes - 1 <= h->closed))
			return false;
		pane = hop_pane_get(h, number);
		if (!pane)
			return false;
		pane->elements++;
		e = hop_element_insert(h, k, i, number);
		e->cut = number_cut & 1;
		if (!stage_get_cell(&h->w, hop_element_cell(e), pane->arena, c))
			return false;
	}
	return true;
}

/* ---- gathering: a key of two states that stand at the same step ---- */

/* What stands in pane `number` of a key and, in the block that is folded, in its later ones. NULL: nothing.
 */
static struct hop_element *element_from(const struct hopping *h, const struct hop_key *k, int64_t number)
{
	bool folded = h->closed != STAGE_NO_TIME && number < h->block_first;

	for (uint32_t i = 0; i < k->count; i++) {
		struct hop_element *e = hop_element_at(h, k, i);

		if (e->number == number)
			return e;
		if (e->number > number)
			return folded && e->number < h->block_first ? e : NULL;
	}
	return NULL;
}

static void element_merge(struct hopping *h, struct hop_element *to, struct hop_element *from)
{
	struct agg_arena *arena = hop_pane_get(h, to->number)->arena;

	if (!from)
		return;
	to->cut |= from->cut;
	if (!agg_cell_merge(h->w.def->aggs, hop_element_cell(to), arena, hop_element_cell(from),
		    hop_pane_get(h, from->number)->arena))
		to->cut = 1;
}

static void elements_drop(struct hopping *h, struct hop_key *k)
{
	for (uint32_t i = 0; i < k->count; i++) {
		struct hop_element *e = hop_element_at(h, k, i);
		struct hop_pane *pane = hop_pane_get(h, e->number);

		agg_cell_clear(h->w.def->aggs, hop_element_cell(e), pane->arena);
		pane->elements--;
	}
	h->elements -= k->count;
	hop_room_give(h, k);
}

/* The sum of both keys' elements becomes those of `to`. */
static void key_gather(struct hopping *h, struct hop_key *to, struct hop_key *from)
{
	struct hop_key sum = {0};
	uint32_t a = 0, b = 0;

	while (a < to->count || b < from->count) {
		int64_t x = a < to->count ? hop_element_at(h, to, a)->number : INT64_MAX;
		int64_t y = b < from->count ? hop_element_at(h, from, b)->number : INT64_MAX;
		int64_t number = x < y ? x : y;
		struct hop_element *e = hop_element_insert(h, &sum, sum.count, number);

		hop_pane_get(h, number)->elements++;
		element_merge(h, e, element_from(h, to, number));
		element_merge(h, e, element_from(h, from, number));
		a += x == number;
		b += y == number;
	}
	elements_drop(h, to);
	elements_drop(h, from);
	to->element = sum.element;
	to->first = sum.first;
	to->count = sum.count;
	to->room = sum.room;
}

/* Elements of a key of a plain window; what it says of its prefix follows from them. */
static bool sums_load(
	struct hopping *h, struct keytab_entry *e, uint32_t count, bool prefix, struct cursor *c)
{
	struct hop_key k = {0};
	bool ok;

	agg_cell_init(h->w.def->aggs, h->cell);
	ok = (!prefix || stage_get_cell(&h->w, h->cell, h->scratch, c)) && elements_load(h, &k, count, c) &&
	     hop_sum_add(h, e, &k);
	elements_drop(h, &k);
	return ok;
}

static bool key_load(struct hopping *h, struct cursor *c)
{
	struct stage_pick p;
	uint8_t flags;
	uint32_t count;
	uint8_t prefix;
	struct hop_key *k, more = {0};
	struct keytab_entry *e, *had;

	if (!stage_get_key(&h->w, c, &p, &flags))
		return false;
	had = flags & KEYTAB_F_OTHER ? h->other : keytab_find(&h->keys, p.tag, p.key, p.key_bytes, NULL);
	if (had && !h->w.st->gather)
		return false;
	e = had ? had : hop_key_new(h, p.tag, p.key, p.key_bytes, flags);
	count = cursor_le32(c);
	prefix = cursor_u8(c);
	if (!count || prefix > 2 || (prefix && h->closed == STAGE_NO_TIME))
		return false;
	if (h->plain)
		return sums_load(h, e, count, prefix, c);
	k = keytab_value(e);
	if (prefix) {
		if (!stage_get_cell(&h->w, hop_prefix_get(h, k, h->block), h->prefixes, c))
			return false;
		k->prefix_cut |= prefix == 2;
	}
	if (!had)
		return elements_load(h, k, count, c);
	if (!elements_load(h, &more, count, c)) {
		hop_room_give(h, &more);
		return false;
	}
	key_gather(h, k, &more);
	return true;
}

bool hop_load(struct stage_window *w, struct cursor *c)
{
	struct hopping *h = (struct hopping *)w;
	int64_t closed = (int64_t)cursor_le64(c);
	uint64_t count = cursor_le64(c);

	if (closed != h->closed) /* which is what the step says */
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (!key_load(h, c))
			return false;
	if (h->plain && w->st->gather && !hop_sum_usable(h))
		return false;
	return revision_load(&h->revisions, w, c);
}
