/* Hopping windows of counters and decimal sums alone: what can be added up without a loss can be taken away
 * again. State thread of a partition; out: rows, into the stage's open record.
 *
 * Elements keep what came in their panes. Beside them a key has the sum of its closed ones; a window is that
 * sum and its last pane, and what leaves it is the first: two additions a key and window, in whatever order
 * they come, for the same bits. An event that is late for some of its windows goes into its element and the
 * sum. What is saved has the form of other hopping windows, suffixes and a prefix (window_hopping.c), which
 * follow from the elements. */
#include "agg_slide.h"
#include "hopping_priv.h"

#define LATEST 3u /* elements of a key that are fetched before events come to it */

/* ---- runs ---- */

/* The key has an element of this pane, and its sum has the event, if the pane is closed. */
static inline void element_want(struct hopping *h, const struct stage_run *run, const struct stage_pick *p)
{
	struct hop_key *k = keytab_value(p->entry);
	struct agg_order order;
	uint32_t count = k->count;
	bool cut = false;

	if (!hop_element_guess(h, k, p->at))
		(void)hop_element_get(h, k, p->at);
	if (__builtin_expect(p->at > h->closed, 1))
		return;
	k->closed += k->count - count;
	order = stage_order(h->w.st, run, p->index);
	/* takes no memory of the arena */
	hop_cell_add(h, hop_prefix_cell(k), h->prefixes, run->rec[p->index], &order, &cut);
}

static void items_add(struct hopping *h, const struct agg_set *set, struct agg_items *items)
{
	if (items->count)
		(void)agg_run_add(&h->w.st->aggs, set, items); /* nothing can be lost */
	agg_items_clear(items);
}

/* Elements of all picks are there: adds the events to them. */
static void elements_add(struct hopping *h, const struct stage_pick *pick, uint32_t count, uint64_t events)
{
	struct stage *st = h->w.st;
	const struct agg_set *set = h->w.def->aggs, *narrow = agg_narrow(set);
	uint64_t large = agg_narrow_large(&st->aggs, set, events);

	agg_items_clear(&st->items);
	agg_items_clear(&st->narrow_items);
	for (uint32_t i = 0; i < count; i++) {
		struct hop_key *k = keytab_value(pick[i].entry);
		struct hop_element *e = hop_element_guess(h, k, pick[i].at);

		if (!e)
			e = hop_element_get(h, k, pick[i].at);
		if (k->narrow) {
			if (!(large >> pick[i].index & 1) && agg_narrow_takes(hop_element_narrow(e))) {
				agg_items_put(
					&st->narrow_items, pick[i].index, hop_element_narrow(e), h->prefixes);
				continue;
			}
			items_add(h, narrow, &st->narrow_items); /* perhaps to this key */
			hop_key_widen(h, k);
			e = hop_element_get(h, k, pick[i].at);
		}
		agg_items_put(&st->items, pick[i].index, hop_element_cell(e), h->prefixes);
	}
	items_add(h, narrow, &st->narrow_items);
	items_add(h, set, &st->items);
}

void hop_sum_take(struct hopping *h, const struct stage_run *run, struct stage_pick *pick, uint32_t count)
{
	uint64_t events = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct hop_key *k;
		const uint8_t *end;

		pick[i].entry = hop_key_get(h, &pick[i]);
		events |= 1ull << pick[i].index;
		k = keytab_value(pick[i].entry);
		if (!k->count)
			continue;
		end = (const uint8_t *)hop_element_at(h, k, k->count);
		__builtin_prefetch(end - 1, 1); /* the last ones */
		__builtin_prefetch(end - LATEST * h->stride[k->narrow], 1);
	}
	for (uint32_t i = 0; i < count; i++) /* elements move when others are made: first all of them */
		element_want(h, run, &pick[i]);
	elements_add(h, pick, count, events);
}

/* ---- windows ---- */

/* A window that is computed. */
struct sum_window {
	int64_t number, oldest; /* its last and first pane */
	struct agg_slide slide;
	uint8_t *at;	/* of the next row in the open record; NULL: there is none */
	uint8_t *full;	/* where it takes no more */
	uint64_t rows;	/* so far */
	uint64_t put;	/* of these the record knows */
	uint64_t left;	/* elements of `oldest` so far */
	struct row row; /* without key */
	int64_t step_ms;
};

/* Rows that a record gets before it is full, and the last one. */
#define SUM_ROOM                                                                                             \
	(ROW_MANY_BYTES + sizeof(struct row_many_item) + ROW_MANY_ITEM_MAX + AGG_PLAIN_BYTES +               \
		2 * sizeof(uint64_t))

static void sum_rows_put(struct hopping *h, struct sum_window *sum)
{
	if (sum->at)
		row_many_add(&h->w.st->rows, sum->at, (uint32_t)(sum->rows - sum->put));
	sum->put = sum->rows;
}

static __attribute__((noinline)) int sum_record_begin(struct hopping *h, struct sum_window *sum)
{
	struct bytes *rows = &h->w.st->rows;
	int rc;

	sum_rows_put(h, sum);
	rc = stage_rows_begin(&h->w, &sum->row, sum->step_ms);
	sum->at = bytes_room(rows, SUM_ROOM);
	must(sum->at);
	rows->bytes -= SUM_ROOM;
	sum->full = rows->data + ROW_MANY_BYTES;
	return rc;
}

static __attribute__((noinline)) uint8_t *wide_slide(
	struct hopping *h, struct hop_key *k, struct hop_element *in, struct hop_element *out, uint8_t *to)
{
	return agg_plain_slide(h->w.def->aggs, hop_prefix_cell(k), in ? hop_element_cell(in) : NULL,
		out ? hop_element_cell(out) : NULL, to);
}

/* A narrow cell, or the empty one; without a branch, as in sum_key(). */
static inline const uint8_t *narrow_or(struct hop_element *e, bool has, const uint8_t *empty)
{
	uintptr_t cell = (uintptr_t)hop_element_narrow(e), other = (uintptr_t)empty;

	return (const uint8_t *)(other ^ ((cell ^ other) & -(uintptr_t)has));
}

/* The key's row: it has something in the window. comes, gone: next, first are its elements of the last and
 * first pane. */
static inline int sum_row(struct hopping *h, struct sum_window *sum, const struct keytab_entry *e,
	struct hop_element *next, bool comes, struct hop_element *first, bool gone)
{
	const uint8_t *key = keytab_key(&h->keys, e);
	struct hop_key *k = keytab_value(e);
	uint32_t key_bytes = e->key_bytes;
	uint8_t *to, *end;
	int rc = 0;

	if (__builtin_expect(sum->at >= sum->full, 0))
		rc = sum_record_begin(h, sum);
	to = sum->at + sizeof(struct row_many_item);
	for (uint32_t i = 0; i < key_bytes; i += 8) /* there are zeros behind it */
		memcpy(to + i, key + i, 8);
	to += key_bytes;
	if (__builtin_expect(k->narrow, 1))
		end = agg_slide_narrow(&sum->slide, hop_prefix_cell(k),
			narrow_or(next, comes, sum->slide.empty), narrow_or(first, gone, sum->slide.empty),
			to);
	else
		end = wide_slide(h, k, comes ? next : NULL, gone ? first : NULL, to);
	sum->at = row_many_item(key_bytes, e->flags & KEYTAB_F_OTHER ? ROW_F_OTHER : 0u, to, end);
	sum->rows++;
	return rc;
}

static inline int sum_key(struct hopping *h, struct sum_window *sum, const struct keytab_entry *e)
{
	struct hop_key *k = keytab_value(e);
	struct hop_element *first = hop_element_at(h, k, 0), *next;
	uint32_t gone, comes;
	int rc;

	/* no branches: where keys are sparse, whether one has something in a pane is as good as random */
	next = hop_element_at(h, k, k->closed - (k->closed == k->count));
	comes = next->number == sum->number;
	gone = first->number == sum->oldest;
	k->closed += comes;
	if (!k->closed) /* all it has is of later windows */
		return 0;
	rc = sum_row(h, sum, e, next, comes, first, gone);
	k->first += gone;
	k->count -= gone;
	k->closed -= gone;
	sum->left += gone;
	return rc;
}

int hop_sum_close(struct hopping *h, int64_t number, int64_t step_ms)
{
	struct stage *st = h->w.st;
	struct sum_window sum = {.number = number,
		.oldest = number - h->panes + 1,
		.slide = agg_slide_of(h->w.def->aggs),
		.step_ms = step_ms};
	size_t kept = 0;
	int rc = 0;

	hop_order_merge(h);
	hop_closed_set(h, number);
	sum.row.end_ms = (number + 1) * h->w.def->slide_ms;
	sum.row.start_ms = sum.row.end_ms - h->w.def->size_ms;
	for (size_t i = 0; i < h->order_count && !rc; i++) {
		struct keytab_entry *e = h->order[i].entry;
		const struct hop_key *k = hop_key_prefetch(h, i);

		if (k) {
			hop_element_prefetch(h, k, 0);
			hop_element_prefetch(h, k, k->closed);
		}
		rc = sum_key(h, &sum, e);
		if (!((const struct hop_key *)keytab_value(e))->count) {
			hop_key_drop(h, e);
			continue;
		}
		if (kept != i) /* most stay where they are */
			h->order[kept] = h->order[i];
		kept++;
	}
	sum_rows_put(h, &sum);
	st->stats.rows += sum.rows;
	h->w.stats->rows += sum.rows;
	if (rc)
		return rc;
	h->order_count = kept;
	h->elements -= sum.left;
	if (sum.left)
		hop_pane_get(h, sum.oldest)->elements -= sum.left;
	hop_panes_expire(h);
	return 0;
}

/* ---- as it is saved ---- */

/* Elements of panes before `number`. */
static uint32_t elements_before(const struct hopping *h, const struct hop_key *k, int64_t number)
{
	uint32_t n = 0;

	while (n < k->count && hop_element_at(h, k, n)->number < number)
		n++;
	return n;
}

/* Of a key that is not narrow. */
static void sums_fold(struct hopping *h, struct hop_key *k)
{
	const struct agg_set *aggs = h->w.def->aggs;
	uint32_t folded;

	agg_cell_init(aggs, hop_prefix_cell(k));
	if (h->closed == STAGE_NO_TIME)
		return;
	folded = elements_before(h, k, h->block_first);
	for (uint32_t i = folded; i < k->closed; i++)
		agg_plain_merge(
			aggs, hop_prefix_get(h, k, h->block), hop_element_cell(hop_element_at(h, k, i)));
	for (uint32_t i = folded; i-- > 1;)
		agg_plain_merge(aggs, hop_element_cell(hop_element_at(h, k, i - 1)),
			hop_element_cell(hop_element_at(h, k, i)));
}

struct hop_key *hop_sum_view(struct hopping *h, const struct hop_key *k)
{
	size_t head = sizeof *k + h->w.cell_bytes, bytes = head + (size_t)k->count * h->stride[0];
	struct hop_key *view;

	if (bytes > h->view_bytes) {
		h->view_bytes = 2 * bytes;
		h->view = must_realloc(h->view, h->view_bytes, 1);
	}
	view = h->view;
	*view = *k;
	view->narrow = false;
	view->first = 0;
	view->element = (uint8_t *)view + head;
	for (uint32_t i = 0; i < k->count; i++) {
		struct hop_element *from = hop_element_at(h, k, i), *e = hop_element_at(h, view, i);

		*e = (struct hop_element){.number = from->number};
		if (k->narrow)
			agg_narrow_widen(h->w.def->aggs, hop_element_narrow(from), hop_element_cell(e));
		else
			memcpy(hop_element_cell(e), hop_element_cell(from), h->w.cell_bytes);
	}
	sums_fold(h, view);
	return view;
}

void hop_sum_fold(struct hopping *h, struct hop_key *k)
{
	if (k->narrow)
		hop_key_widen(h, k);
	sums_fold(h, k);
}

bool hop_sum_unfold(struct hopping *h, struct hop_key *k)
{
	const struct agg_set *aggs = h->w.def->aggs;
	bool any = h->closed != STAGE_NO_TIME;
	uint32_t folded = any ? elements_before(h, k, h->block_first) : 0;

	agg_cell_init(aggs, hop_prefix_cell(k));
	agg_cell_init(aggs, h->cell); /* the total */
	k->prefix_block = STAGE_NO_TIME;
	k->closed = any ? elements_before(h, k, h->closed + 1) : 0;
	for (uint32_t i = 0; i < k->count; i++) {
		struct hop_element *e = hop_element_at(h, k, i);

		if (i + 1 < folded && !agg_plain_subtract(aggs, hop_element_cell(e),
					      hop_element_cell(hop_element_at(h, k, i + 1))))
			return false;
		/* what does not add up without a loss cannot be taken away again, when its window comes */
		if (!agg_plain_total(aggs, h->cell, hop_element_cell(e)))
			return false;
		if (i < k->closed)
			agg_plain_merge(aggs, hop_prefix_cell(k), hop_element_cell(e));
	}
	hop_key_narrow(h, k);
	return true;
}
