/* DDSketch taken apart into a list of buckets and put together again: what is not frequent, and where it is
 * decided which form a content has. Pure. */
#include "ddsketch_priv.h"

#include <string.h>

static void list_sort(struct dds_list *list) /* few, from a sparse form */
{
	for (uint32_t i = 1; i < list->count; i++) {
		struct agg_register item = list->item[i];
		uint32_t k = i;

		for (; k && list->item[k - 1].index > item.index; k--)
			list->item[k] = list->item[k - 1];
		list->item[k] = item;
	}
}

void dds_list_make(const struct dds *d, const struct agg_arena *a, struct dds_list *list)
{
	const struct dense_head *head;
	uint32_t form;

	list->count = 0;
	if (!is_dense(d)) {
		const uint32_t *entry = dds_has_block(d) ? agg_arena_at(a, d->block) : d->entry,
			       n = dds_form(d);

		for (uint32_t i = 0; i < n; i++)
			dds_list_put(list, entry_key(entry[i]), entry_count(entry[i]));
		list_sort(list);
		return;
	}
	head = agg_arena_at(a, d->block);
	form = dds_form(d);
	dds_list_put(list, DDS_KEY_IGNORED, head->ignored);
	for (uint32_t i = head->negative_n; i--;)
		dds_list_put(list, -(head->negative_low + (int32_t)i), dense_get(head, form, d->n + i));
	dds_list_put(list, DDS_KEY_ZERO, head->zero);
	for (uint32_t i = 0; i < d->n; i++)
		dds_list_put(list, d->low + (int32_t)i, dense_get(head, form, i));
}

/* First bucket of the negative, and of the positive ones; the zeros stand between, what was ignored before.
 */
static void list_bounds(const struct dds_list *list, uint32_t *negative, uint32_t *zero, uint32_t *positive)
{
	uint32_t i = 0;

	while (i < list->count && list->item[i].index == DDS_KEY_IGNORED)
		i++;
	*negative = i;
	while (i < list->count && list->item[i].index < DDS_KEY_ZERO)
		i++;
	*zero = i;
	while (i < list->count && list->item[i].index == DDS_KEY_ZERO)
		i++;
	*positive = i;
}

/* Folds the buckets [from, to) into one with that key, and closes the gap. */
static void list_fold(struct dds_list *list, uint32_t from, uint32_t to, int32_t key)
{
	uint64_t count = 0;

	for (uint32_t i = from; i < to; i++)
		count = agg_count_add(count, list->item[i].value);
	list->item[from] = (struct agg_register){key, count};
	memmove(&list->item[from + 1], &list->item[to], (list->count - to) * sizeof *list->item);
	list->count -= to - from - 1;
}

/* Lowest buckets that are kept, as keys: of the positive and of the negative ones. */
struct edges {
	int32_t positive, negative;
};

/* Moves the edges to where this list wants them, if that is further out. */
static void edges_widen(struct edges *e, const struct dds_list *list)
{
	uint32_t negative, zero, positive;

	list_bounds(list, &negative, &zero, &positive);
	if (positive < list->count &&
		list->item[list->count - 1].index - (AGG_DDS_BUCKETS_MAX - 1) > e->positive)
		e->positive = list->item[list->count - 1].index - (AGG_DDS_BUCKETS_MAX - 1);
	if (negative < zero && list->item[negative].index + (AGG_DDS_BUCKETS_MAX - 1) < e->negative)
		e->negative = list->item[negative].index + (AGG_DDS_BUCKETS_MAX - 1);
}

static void list_collapse(struct dds_list *list, const struct edges *e)
{
	uint32_t negative, zero, positive, i;

	list_bounds(list, &negative, &zero, &positive);
	for (i = positive; i < list->count && list->item[i].index <= e->positive;)
		i++;
	if (i > positive && list->item[positive].index < e->positive)
		list_fold(list, positive, i, e->positive);
	for (i = zero; i > negative && list->item[i - 1].index >= e->negative;)
		i--;
	if (i < zero && list->item[zero - 1].index > e->negative)
		list_fold(list, i, zero, e->negative);
}

/* The form that a list has, and how its arrays lie. */
struct shape {
	uint32_t form, n, negative_n;
	int32_t low, negative_low;
	uint32_t bytes;
};

static struct shape list_shape(const struct dds_list *list)
{
	struct shape s = {.form = list->count};
	uint32_t negative, zero, positive;
	bool few = list->count <= DDS_SPARSE_MAX, wide = false;

	list_bounds(list, &negative, &zero, &positive);
	for (uint32_t i = 0; i < list->count; i++) {
		few &= list->item[i].value < DDS_SPARSE_COUNT;
		if (i >= positive ||
			(i >= negative && i < zero)) /* the others are 64 bits wide in any case */
			wide |= list->item[i].value > UINT32_MAX;
	}
	if (few) {
		s.bytes = sparse_bytes(s.form);
		return s;
	}
	s.form = wide ? DDS_DENSE64 : DDS_DENSE32;
	if (positive < list->count) {
		s.low = list->item[positive].index;
		s.n = (uint32_t)(list->item[list->count - 1].index - s.low) + 1;
	}
	if (negative < zero) {
		s.negative_low = -list->item[zero - 1].index;
		s.negative_n = (uint32_t)(-list->item[negative].index - s.negative_low) + 1;
	}
	s.bytes = dense_bytes(s.form, s.n, s.negative_n);
	return s;
}

static void dense_store(
	struct dds *d, const struct agg_arena *a, const struct dds_list *list, const struct shape *s)
{
	struct dense_head *head = agg_arena_at(a, d->block);

	memset(head, 0, s->bytes);
	head->negative_low = s->negative_low;
	head->negative_n = s->negative_n;
	d->low = s->low;
	d->n = s->n;
	for (uint32_t i = 0; i < list->count; i++) {
		int32_t key = list->item[i].index;
		uint64_t count = list->item[i].value;
		uint32_t at = key > 0 ? (uint32_t)(key - s->low) : s->n + (uint32_t)(-key - s->negative_low);

		if (key == DDS_KEY_IGNORED)
			head->ignored = count;
		else if (key == DDS_KEY_ZERO)
			head->zero = count;
		else if (s->form == DDS_DENSE64)
			((uint64_t *)(head + 1))[at] = count;
		else
			((uint32_t *)(head + 1))[at] = (uint32_t)count;
	}
}

/* Replaces what is in d. False: no room; d is as it was. */
static bool list_store(struct dds *d, struct agg_arena *a, const struct dds_list *list)
{
	struct shape s = list_shape(list);
	uint32_t had = block_bytes(d, a), *entry;

	if (!agg_arena_fits(a, had, s.bytes))
		return false;
	if (had)
		agg_arena_give(a, d->block, had);
	*d = (struct dds){.entry = {0}};
	if (s.bytes)
		block_set(d, agg_arena_swap(a, s.bytes), s.form);
	if (is_dense(d)) {
		dense_store(d, a, list, &s);
		return true;
	}
	entry = entries(d, a);
	for (uint32_t i = 0; i < list->count; i++)
		entry[i] = entry_make(list->item[i].index, list->item[i].value);
	return true;
}

/* list = a + b */
static void list_add(struct dds_list *list, const struct dds_list *a, const struct dds_list *b)
{
	uint32_t i = 0, k = 0;

	list->count = 0;
	while (i < a->count || k < b->count) {
		if (k == b->count || (i < a->count && a->item[i].index < b->item[k].index))
			list->item[list->count++] = a->item[i++];
		else if (i == a->count || b->item[k].index < a->item[i].index)
			list->item[list->count++] = b->item[k++];
		else {
			dds_list_put(
				list, a->item[i].index, agg_count_add(a->item[i].value, b->item[k].value));
			i++;
			k++;
		}
	}
}

/* Collapsed to common edges first, both have room in one list. */
bool dds_list_join(struct dds *d, struct agg_arena *a, struct dds_list *list)
{
	struct dds_list mine, sum;
	struct edges e = {0, 0};

	dds_list_make(d, a, &mine);
	edges_widen(&e, &mine);
	edges_widen(&e, list);
	list_collapse(&mine, &e);
	list_collapse(list, &e);
	list_add(&sum, &mine, list);
	return list_store(d, a, &sum);
}
