/* Space-saving: see topk.h. In: texts, other summaries, packed bytes. Out: the most frequent, packed bytes.
 * Pure; memory is the cell's and the arena's: one block of arrays, and one block for each text. */
#include "topk.h"

#include <stdlib.h>
#include <string.h>

#include "agg_priv.h"

#define ITEM_BYTES 25u

/* The arrays of a block. */
struct arrays {
	uint64_t *count, *error;
	uint32_t *tag, *text; /* part of the text's hash; its block */
	uint8_t *bytes;	      /* of the text; none has no block */
};

struct item {
	uint64_t count, error;
	uint32_t tag, bytes;
	uint8_t text[TOPK_TEXT_BYTES];
};

struct list {
	uint32_t n;
	uint64_t absent; /* highest count that a value which is not in it may have */
	struct item item[TOPK_CAPACITY_MAX];
};

static struct arrays arrays_of(const struct topk *t, const struct agg_arena *a)
{
	uint32_t room = agg_block_bytes(t->n * ITEM_BYTES) / ITEM_BYTES;
	uint64_t *p = agg_arena_at(a, t->block);

	return (struct arrays){p, p + room, (uint32_t *)(p + 2 * (size_t)room),
		(uint32_t *)(p + 2 * (size_t)room) + room, (uint8_t *)(p + 3 * (size_t)room)};
}

static uint32_t tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 32);
}

static int text_compare(const uint8_t *a, uint32_t a_bytes, const uint8_t *b, uint32_t b_bytes)
{
	int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);

	return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static const uint8_t *text_at(const struct arrays *s, const struct agg_arena *a, uint32_t i)
{
	return s->bytes[i] ? agg_arena_at(a, s->text[i]) : (const uint8_t *)"";
}

/* ---- adding ---- */

static uint32_t item_find(const struct topk *t, const struct agg_arena *a, const struct arrays *s,
	const uint8_t *text, uint32_t bytes, uint32_t tag)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (s->tag[i] == tag && s->bytes[i] == bytes && memcmp(text_at(s, a, i), text, bytes) == 0)
			return i;
	return t->n;
}

/* The item that gives way: least (count, tag, text). */
static uint32_t item_least(const struct topk *t, const struct agg_arena *a, const struct arrays *s)
{
	uint32_t least = 0;

	for (uint32_t i = 1; i < t->n; i++) {
		if (s->count[i] > s->count[least] ||
			(s->count[i] == s->count[least] && s->tag[i] > s->tag[least]))
			continue;
		if (s->count[i] < s->count[least] || s->tag[i] < s->tag[least] ||
			text_compare(text_at(s, a, i), s->bytes[i], text_at(s, a, least), s->bytes[least]) <
				0)
			least = i;
	}
	return least;
}

/* Room for one item more: another block where the class changes. The caller has asked whether it fits. */
static void block_widen(struct topk *t, struct agg_arena *a)
{
	struct topk wide = {.n = t->n + 1};
	uint32_t had = t->n * ITEM_BYTES, want = wide.n * ITEM_BYTES;
	struct arrays from, to;

	if (agg_block_bytes(had) == agg_block_bytes(want)) {
		t->n++;
		return;
	}
	wide.block = agg_arena_swap(a, want);
	if (t->n) {
		from = arrays_of(t, a);
		to = arrays_of(&wide, a);
		memcpy(to.count, from.count, t->n * sizeof *to.count);
		memcpy(to.error, from.error, t->n * sizeof *to.error);
		memcpy(to.tag, from.tag, t->n * sizeof *to.tag);
		memcpy(to.text, from.text, t->n * sizeof *to.text);
		memcpy(to.bytes, from.bytes, t->n);
		agg_arena_give(a, t->block, had);
	}
	*t = wide;
}

static void item_set(const struct topk *t, struct agg_arena *a, uint32_t i, uint64_t count, uint64_t error,
	uint32_t tag, const uint8_t *text, uint32_t bytes)
{
	uint32_t block = bytes ? agg_arena_swap(a, bytes) : 0;
	struct arrays s = arrays_of(t, a);

	s.count[i] = count;
	s.error[i] = error;
	s.tag[i] = tag;
	s.text[i] = block;
	s.bytes[i] = (uint8_t)bytes;
	if (bytes)
		memcpy(agg_arena_at(a, block), text, bytes);
}

static bool item_new(struct topk *t, struct agg_arena *a, const uint8_t *text, uint32_t bytes, uint32_t tag)
{
	uint32_t had = agg_block_bytes(t->n * ITEM_BYTES), want = agg_block_bytes((t->n + 1) * ITEM_BYTES);

	if (a->used - had + want + agg_block_bytes(bytes) > a->bytes_max)
		return false;
	block_widen(t, a);
	item_set(t, a, t->n - 1, 1, 0, tag, text, bytes);
	return true;
}

static bool item_replace(struct topk *t, struct agg_arena *a, const struct arrays *s, const uint8_t *text,
	uint32_t bytes, uint32_t tag)
{
	uint32_t least = item_least(t, a, s);
	uint64_t count = s->count[least];

	if (!agg_arena_fits(a, s->bytes[least], bytes))
		return false;
	if (s->bytes[least])
		agg_arena_give(a, s->text[least], s->bytes[least]);
	item_set(t, a, least, count + 1, count, tag, text, bytes);
	return true;
}

static bool short_add(struct topk *t, struct agg_arena *a, uint32_t capacity, const uint8_t *text,
	uint32_t bytes, uint32_t tag)
{
	struct arrays s;
	uint32_t at;

	if (!t->n)
		return item_new(t, a, text, bytes, tag);
	s = arrays_of(t, a);
	at = item_find(t, a, &s, text, bytes, tag);
	if (at < t->n) {
		s.count[at]++;
		return true;
	}
	return t->n < capacity ? item_new(t, a, text, bytes, tag) : item_replace(t, a, &s, text, bytes, tag);
}

bool topk_add(struct topk *t, struct agg_arena *a, uint32_t capacity, const uint8_t *text, uint32_t bytes,
	uint64_t hash)
{
	static const char digit[] = "0123456789abcdef";
	uint8_t cut[TOPK_TEXT_BYTES];
	uint32_t n;

	if (bytes <= TOPK_TEXT_BYTES)
		return short_add(t, a, capacity, text, bytes, tag_of(hash));
	n = agg_text_cut(text, bytes, TOPK_PREFIX_BYTES);
	memcpy(cut, text, n);
	cut[n++] = '~';
	for (int shift = 60; shift >= 0; shift -= 4)
		cut[n++] = (uint8_t)digit[hash >> shift & 15];
	return short_add(t, a, capacity, cut, n, tag_of(hash_bytes(cut, n, 0)));
}

void topk_release(struct topk *t, struct agg_arena *a)
{
	struct arrays s;

	if (!t->n)
		return;
	s = arrays_of(t, a);
	for (uint32_t i = 0; i < t->n; i++)
		if (s.bytes[i])
			agg_arena_give(a, s.text[i], s.bytes[i]);
	agg_arena_give(a, t->block, t->n * ITEM_BYTES);
	*t = (struct topk){0};
}

void topk_prefetch(const struct topk *t, const struct agg_arena *a)
{
	struct arrays s;

	if (!t->n)
		return;
	s = arrays_of(t, a);
	__builtin_prefetch(s.count);
	__builtin_prefetch(s.tag);
}

/* ---- merging ---- */

static int by_text(const void *x, const void *y)
{
	const struct item *a = x, *b = y;

	return text_compare(a->text, a->bytes, b->text, b->bytes);
}

/* Those that stay, first. */
static int by_count(const void *x, const void *y)
{
	const struct item *a = x, *b = y;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	if (a->tag != b->tag)
		return a->tag > b->tag ? -1 : 1;
	return by_text(y, x);
}

/* By text. */
static void list_make(const struct topk *t, const struct agg_arena *a, uint32_t capacity, struct list *list)
{
	struct arrays s;

	list->n = t->n;
	list->absent = 0;
	if (!t->n)
		return;
	s = arrays_of(t, a);
	for (uint32_t i = 0; i < t->n; i++) {
		list->item[i] = (struct item){s.count[i], s.error[i], s.tag[i], s.bytes[i], {0}};
		memcpy(list->item[i].text, text_at(&s, a, i), s.bytes[i]);
	}
	if (t->n == capacity)
		list->absent = s.count[item_least(t, a, &s)];
	qsort(list->item, list->n, sizeof *list->item, by_text);
}

/* Replaces what is in t. False: no room; t is as it was. */
static bool list_store(struct topk *t, struct agg_arena *a, const struct item *item, uint32_t n)
{
	size_t need = agg_block_bytes(n * ITEM_BYTES), had = agg_block_bytes(t->n * ITEM_BYTES);
	struct arrays s;

	if (t->n) {
		s = arrays_of(t, a);
		for (uint32_t i = 0; i < t->n; i++)
			had += agg_block_bytes(s.bytes[i]);
	}
	for (uint32_t i = 0; i < n; i++)
		need += agg_block_bytes(item[i].bytes);
	if (need > had && a->used - had + need > a->bytes_max)
		return false;
	topk_release(t, a);
	if (!n)
		return true;
	*t = (struct topk){n, agg_arena_swap(a, n * ITEM_BYTES)};
	for (uint32_t i = 0; i < n; i++)
		item_set(t, a, i, item[i].count, item[i].error, item[i].tag, item[i].text, item[i].bytes);
	return true;
}

/* What one of the two does not have may have come there as often as its least count. */
static bool list_join(struct topk *t, struct agg_arena *a, uint32_t capacity, const struct list *more)
{
	struct list mine;
	struct item sum[2 * TOPK_CAPACITY_MAX];
	uint32_t n = 0, i = 0, k = 0;

	list_make(t, a, capacity, &mine);
	while (i < mine.n || k < more->n) {
		int order = i == mine.n ? 1 : k == more->n ? -1 : by_text(&mine.item[i], &more->item[k]);
		uint64_t absent = order < 0 ? more->absent : order > 0 ? mine.absent : 0;

		sum[n] = order <= 0 ? mine.item[i] : more->item[k];
		if (!order) {
			sum[n].count = agg_count_add(sum[n].count, more->item[k].count);
			sum[n].error = agg_count_add(sum[n].error, more->item[k].error);
		}
		sum[n].count = agg_count_add(sum[n].count, absent);
		sum[n].error = agg_count_add(sum[n].error, absent);
		if (sum[n].error >= sum[n].count) /* saturated */
			sum[n].error = sum[n].count - 1;
		n++;
		i += order <= 0;
		k += order >= 0;
	}
	if (n > capacity) {
		qsort(sum, n, sizeof *sum, by_count);
		n = capacity;
	}
	return list_store(t, a, sum, n);
}

bool topk_merge(struct topk *t, struct agg_arena *a, uint32_t capacity, const struct topk *src,
	const struct agg_arena *src_arena)
{
	struct list list;

	if (!src->n)
		return true;
	list_make(src, src_arena, capacity, &list);
	return list_join(t, a, capacity, &list);
}

/* ---- packed ---- */

void topk_pack(const struct topk *t, const struct agg_arena *a, struct bytes *out)
{
	struct list list;

	list_make(t, a, TOPK_CAPACITY_MAX, &list);
	bytes_put_varint(out, list.n);
	for (uint32_t i = 0; i < list.n; i++) {
		const struct item *item = &list.item[i];

		bytes_put_u8(out, (uint8_t)item->bytes);
		bytes_put(out, item->text, item->bytes);
		bytes_put_varint(out, agg_count_add(item->count, 0));
		bytes_put_varint(out, item->error);
	}
}

static bool item_read(struct cursor *c, struct agg_top_item *item)
{
	item->bytes = cursor_u8(c);
	item->text = cursor_take(c, item->bytes);
	item->count = cursor_varint(c, AGG_COUNT_BITS);
	item->error = cursor_varint(c, AGG_COUNT_BITS);
	return !c->failed;
}

void topk_read(struct cursor *c, uint32_t capacity, struct topk_view *view)
{
	uint64_t n = cursor_varint(c, 16);
	struct agg_top_item item, last = {0};

	view->data = c->at;
	if (n > capacity)
		c->failed = true;
	for (uint64_t i = 0; i < n && !c->failed; i++, last = item)
		if (!item_read(c, &item) || item.bytes > TOPK_TEXT_BYTES || item.error >= item.count ||
			(i && text_compare(last.text, last.bytes, item.text, item.bytes) >= 0))
			c->failed = true;
	view->n = (uint32_t)n;
	view->bytes = (uint32_t)(c->at - view->data);
}

bool topk_join(struct topk *t, struct agg_arena *a, uint32_t capacity, const struct topk_view *view)
{
	struct cursor c = cursor_of(view->data, view->bytes);
	struct agg_top_item from;
	struct list list = {.n = 0};

	list.absent = view->n == capacity ? UINT64_MAX : 0;
	for (; list.n < view->n && item_read(&c, &from); list.n++) {
		struct item *item = &list.item[list.n];

		*item = (struct item){from.count, from.error, tag_of(hash_bytes(from.text, from.bytes, 0)),
			from.bytes, {0}};
		memcpy(item->text, from.text, from.bytes);
		list.absent = from.count < list.absent ? from.count : list.absent;
	}
	return !list.n || list_join(t, a, capacity, &list);
}

static int by_rank(const void *x, const void *y)
{
	const struct agg_top_item *a = x, *b = y;

	if (a->count != b->count)
		return a->count > b->count ? -1 : 1;
	return text_compare(a->text, a->bytes, b->text, b->bytes);
}

uint32_t topk_view_top(const struct topk_view *view, uint32_t k, struct agg_top_item *out)
{
	struct cursor c = cursor_of(view->data, view->bytes);
	struct agg_top_item all[TOPK_CAPACITY_MAX];
	uint32_t n = 0;

	while (n < view->n && item_read(&c, &all[n]))
		n++;
	qsort(all, n, sizeof *all, by_rank);
	k = n < k ? n : k;
	memcpy(out, all, k * sizeof *out);
	return k;
}
