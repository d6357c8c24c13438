/* Hopping windows of counters and decimal sums alone: what can be added up without a loss can be taken away
 * again. State thread of a partition; out: rows, into the stage's open record.
 *
 * Panes keep what came in them, in columns (hop_column.h). Beside them a key has the sum of its closed ones;
 * a window is that sum and its last pane, and what leaves it is the first: two additions a key and window, in
 * whatever order they come, for the same bits. An event that is late for some of its windows goes into its
 * pane and the sum. What is saved has the form of other hopping windows, suffixes and a prefix
 * (window_hopping.c), which follow from the elements. */
#include "agg_slide.h"
#include "hopping_priv.h"

/* Panes that are further from the windows at hand have no columns: events can be of any time. */
#define NEAR_PANES 64

/* A chunk is made when one in so many keys has an element in the pane, or in one just before it. */
#define DENSE 8u

static inline struct hop_value *value_of(const struct stage_pick *p)
{
	return keytab_value(p->entry);
}

static void items_add(struct hopping *h, const struct agg_set *set, struct agg_items *items)
{
	if (items->count)
		(void)agg_run_add(&h->w.st->aggs, set, items); /* nothing can be lost */
	agg_items_clear(items);
}

/* ---- elements ---- */

static bool pane_near(const struct hopping *h, int64_t number)
{
	const int64_t near = 2 * h->panes + NEAR_PANES;

	return h->closed == STAGE_NO_TIME ? (int64_t)h->pane_count <= near : number - h->closed <= near;
}

/* A column costs no more than the elements that it has, or will have: all of its chunks, as keys come in any
 * order of their numbers. */
static bool pane_dense(const struct hopping *h, const struct hop_pane *pane)
{
	uint64_t most = pane->elements + 1,
		 cells = h->store.numbers > HOP_CHUNK ? h->store.numbers : h->keys.count;

	if (!pane_near(h, pane->number))
		return false;
	for (uint32_t back = 1; back <= 2; back++)
		if (pane - h->pane >= back && pane[-(int)back].number == pane->number - back &&
			pane[-(int)back].elements > most)
			most = pane[-(int)back].elements;
	return most * DENSE >= cells;
}

/* The key's narrow cell, NULL: what it has in this pane stands aside. */
static uint8_t *cell_make(struct hopping *h, struct hop_pane *pane, uint32_t number)
{
	uint8_t *cell = hop_cell_at(&h->store, &pane->column, number);

	if (cell || !pane_dense(h, pane))
		return cell;
	items_add(h, h->w.def->aggs, &h->w.st->items); /* to what will not stand aside any more */
	return hop_chunk_make(&h->store, &pane->column, number);
}

/* The key has an element more. */
static inline void element_count(struct hopping *h, struct hop_value *value, struct hop_pane *pane)
{
	value->made++;
	pane->elements++;
	h->elements++;
	if (__builtin_expect(pane->number <= h->closed, 0))
		hop_sum_at(&h->store, value->number)->closed++;
}

bool hop_sum_has(struct hopping *h, const struct keytab_entry *e, int64_t number)
{
	return hop_column_has(&h->store, &hop_pane_get(h, number)->column,
		((const struct hop_value *)keytab_value(e))->number);
}

/* ---- runs ---- */

/* An event that is late for some windows. */
static __attribute__((noinline)) void sum_add(
	struct hopping *h, const struct stage_run *run, const struct stage_pick *p)
{
	struct agg_order order = stage_order(h->w.st, run, p->index);
	struct hop_sum *sum = hop_sum_at(&h->store, value_of(p)->number);
	bool cut = false;

	/* takes no memory of the arena */
	hop_cell_add(h, hop_sum_cell(sum), h->prefixes, run->rec[p->index], &order, &cut);
}

/* The ordinary cell for an event that its narrow one does not take; cell: that one, or NULL. */
static __attribute__((noinline)) void *wide_get(
	struct hopping *h, struct hop_pane *pane, const struct stage_pick *p, uint8_t *cell)
{
	struct hop_column *column = &pane->column;
	uint32_t number = value_of(p)->number;
	void *wide;

	if (!cell) {
		wide = hop_aside_find(&h->store, column, number);
		if (wide)
			return wide;
		element_count(h, value_of(p), pane);
		return hop_aside_get(&h->store, column, number);
	}
	if (!*cell)
		element_count(h, value_of(p), pane);
	else if (*cell != HOP_CELL_ASIDE) /* events to it may be on their way */
		items_add(h, h->store.narrow, &h->w.st->narrow_items);
	return hop_cell_widen(&h->store, column, number, cell);
}

/* Adds the events, whose cells have been looked for. */
static void cells_add(
	struct hopping *h, const struct stage_run *run, const struct stage_pick *pick, uint32_t count)
{
	struct stage *st = h->w.st;
	const struct agg_set *set = h->w.def->aggs;
	uint64_t events = 0, large;

	for (uint32_t i = 0; i < count; i++)
		events |= 1ull << pick[i].index;
	large = agg_narrow_large(&st->aggs, set, events);
	agg_items_clear(&st->items);
	agg_items_clear(&st->narrow_items);
	for (const struct stage_pick *p = pick, *end = pick + count; p < end; p++) {
		struct hop_pane *pane = hop_pane_get(h, p->at);
		uint8_t *cell = p->place;

		if (__builtin_expect(!cell, 0))
			cell = cell_make(h, pane, value_of(p)->number);
		if (__builtin_expect(p->at <= h->closed, 0))
			sum_add(h, run, p);
		if (cell && !(large >> p->index & 1) && *cell < HOP_CELL_FULL) {
			if (!*cell)
				element_count(h, value_of(p), pane);
			++*cell;
			agg_items_put(&st->narrow_items, p->index, cell, h->prefixes);
			continue;
		}
		agg_items_put(&st->items, p->index, wide_get(h, pane, p, cell), h->prefixes);
	}
	items_add(h, h->store.narrow, &st->narrow_items);
	items_add(h, set, &st->items);
}

void hop_sum_take(struct hopping *h, const struct stage_run *run, struct stage_pick *pick, uint32_t count)
{
	for (struct stage_pick *p = pick, *end = pick + count; p < end; p++) {
		const struct hop_column *column;

		p->entry = hop_key_get(h, p);
		column = &hop_pane_get(h, p->at)->column;
		p->place = hop_cell_at(&h->store, column, value_of(p)->number);
		__builtin_prefetch(p->place, 1);
		if (__builtin_expect(column->aside.count, 0))
			__builtin_prefetch(
				&column->aside.slot[hop_aside_home(&column->aside, value_of(p)->number)]);
	}
	cells_add(h, run, pick, count);
}

/* ---- windows ---- */

/* A window that is computed. */
struct sum_window {
	struct hop_pane *in, *out; /* its last and first pane; NULL: it is not there */
	struct agg_slide slide;
	uint8_t *at;	/* of the next row in the open record; NULL: there is none */
	uint8_t *full;	/* where it takes no more */
	uint64_t rows;	/* so far */
	uint64_t put;	/* of these the record knows */
	struct row row; /* without key */
	int64_t step_ms;
};

/* Rows that a record gets before it is full, and the last one. */
#define SUM_ROOM                                                                                             \
	(ROW_MANY_BYTES + sizeof(struct row_many_item) + ROW_MANY_ITEM_MAX + AGG_PLAIN_BYTES +               \
		2 * sizeof(uint64_t))

static void sum_rows_put(struct hopping *h, struct sum_window *win)
{
	if (win->at)
		row_many_add(&h->w.st->rows, win->at, (uint32_t)(win->rows - win->put));
	win->put = win->rows;
}

static __attribute__((noinline)) int sum_record_begin(struct hopping *h, struct sum_window *win)
{
	struct bytes *rows = &h->w.st->rows;
	int rc;

	sum_rows_put(h, win);
	rc = stage_rows_begin(&h->w, &win->row, win->step_ms);
	win->at = bytes_room(rows, SUM_ROOM);
	must(win->at);
	rows->bytes -= SUM_ROOM;
	win->full = rows->data + ROW_MANY_BYTES;
	return rc;
}

/* The key's narrow cell in a pane, or the empty one: what stands aside is added to sums by itself. *has: it
 * has one. */
static inline const uint8_t *cell_of(const struct hopping *h, const struct sum_window *win,
	const struct hop_pane *pane, uint32_t number, bool *has)
{
	const uint8_t *cell = pane ? hop_cell_at(&h->store, &pane->column, number) : NULL;

	if (!cell || __builtin_expect(*cell == HOP_CELL_ASIDE, 0))
		cell = win->slide.empty;
	*has = *cell != 0;
	return cell;
}

static inline uint8_t *key_copy(const struct hopping *h, const struct hop_place *place, uint8_t *to)
{
	uint64_t head = __builtin_bswap64(place->prefix);

	memcpy(to, &head, sizeof head);
	memcpy(to + sizeof head, place->more, sizeof place->more);
	if (__builtin_expect(place->key_bytes > sizeof head + sizeof place->more, 0)) {
		const uint8_t *key = keytab_key(&h->keys, place->entry);

		for (uint32_t i = 16; i < place->key_bytes; i += 8) /* there are zeros behind it */
			memcpy(to + i, key + i, 8);
	}
	return to + place->key_bytes;
}

/* The key's row, if it has something in the window. *left: nothing is left of it now, and there may be
 * nothing in later panes. */
static inline int sum_key(
	struct hopping *h, struct sum_window *win, const struct hop_place *place, bool *left)
{
	struct hop_sum *sum = hop_sum_at(&h->store, place->number);
	bool comes, gone;
	const uint8_t *in = cell_of(h, win, win->in, place->number, &comes);
	const uint8_t *out = cell_of(h, win, win->out, place->number, &gone);
	uint32_t closed = sum->closed + comes;
	uint8_t *to, *end;
	int rc = 0;

	*left = false;
	if (!closed) /* all it has is of later windows */
		return 0;
	sum->closed = closed - gone;
	sum->gone += gone;
	*left = closed == gone;
	if (__builtin_expect(win->at >= win->full, 0))
		rc = sum_record_begin(h, win);
	to = key_copy(h, place, win->at + sizeof(struct row_many_item));
	end = agg_slide_narrow(&win->slide, hop_sum_cell(sum), in, out, to);
	win->at = row_many_item(place->key_bytes, place->flags & KEYTAB_F_OTHER ? ROW_F_OTHER : 0u, to, end);
	win->rows++;
	return rc;
}

/* Draws in what the row of a key will need. */
KEYTAB_PREFETCH void sum_key_prefetch(
	const struct hopping *h, const struct sum_window *win, const struct hop_place *place)
{
	__builtin_prefetch(hop_sum_at(&h->store, place->number), 1);
	if (win->in)
		__builtin_prefetch(hop_cell_at(&h->store, &win->in->column, place->number));
	if (win->out)
		__builtin_prefetch(hop_cell_at(&h->store, &win->out->column, place->number));
	if (__builtin_expect(place->key_bytes > 16, 0))
		__builtin_prefetch(keytab_key(&h->keys, place->entry) + 16);
}

static bool key_gone(const struct hopping *h, const struct hop_place *place)
{
	const struct hop_value *value = keytab_value(place->entry);

	return value->made == hop_sum_at(&h->store, place->number)->gone;
}

static int sum_keys(struct hopping *h, struct sum_window *win)
{
	size_t kept = 0;
	int rc = 0;

	for (size_t i = 0; i < h->order_count && !rc; i++) {
		bool left;

		if (i + HOP_AHEAD < h->order_count)
			sum_key_prefetch(h, win, &h->order[i + HOP_AHEAD]);
		rc = sum_key(h, win, &h->order[i], &left);
		if (left && key_gone(h, &h->order[i])) {
			hop_key_drop(h, h->order[i].entry);
			continue;
		}
		if (kept != i) /* most stay where they are */
			h->order[kept] = h->order[i];
		kept++;
	}
	if (!rc)
		h->order_count = kept;
	return rc;
}

/* Item i, and its sum; that of an item that comes later is fetched. NULL: it went into the column. */
KEYTAB_PREFETCH struct hop_sum *aside_sum(
	const struct hopping *h, const struct hop_column *column, uint32_t i, struct hop_aside_item **item)
{
	uint32_t number = i + HOP_AHEAD < column->aside.count
				  ? hop_aside_item(&h->store, column, i + HOP_AHEAD)->number
				  : HOP_ASIDE_NONE;

	if (number != HOP_ASIDE_NONE)
		__builtin_prefetch(hop_sum_at(&h->store, number), 1);
	*item = hop_aside_item(&h->store, column, i);
	return (*item)->number == HOP_ASIDE_NONE ? NULL : hop_sum_at(&h->store, (*item)->number);
}

/* What stands aside in the last pane comes into the sums. */
static void aside_add(struct hopping *h, struct hop_column *column)
{
	for (uint32_t i = 0; i < column->aside.count; i++) {
		struct hop_aside_item *item;
		struct hop_sum *sum = aside_sum(h, column, i, &item);

		if (!sum)
			continue;
		agg_plain_merge(h->w.def->aggs, hop_sum_cell(sum), hop_aside_cell(item));
		sum->closed++;
	}
}

/* And what stands aside in the first one leaves them. True: of a key nothing is left in the window. */
static bool aside_subtract(struct hopping *h, struct hop_column *column)
{
	bool left = false;

	for (uint32_t i = 0; i < column->aside.count; i++) {
		struct hop_aside_item *item;
		struct hop_sum *sum = aside_sum(h, column, i, &item);

		if (!sum)
			continue;
		(void)agg_plain_subtract(h->w.def->aggs, hop_sum_cell(sum), hop_aside_cell(item));
		sum->closed--;
		sum->gone++;
		left |= !sum->closed;
	}
	return left;
}

static void keys_drop(struct hopping *h)
{
	size_t kept = 0;

	for (size_t i = 0; i < h->order_count; i++) {
		if (key_gone(h, &h->order[i]))
			hop_key_drop(h, h->order[i].entry);
		else
			h->order[kept++] = h->order[i];
	}
	h->order_count = kept;
}

int hop_sum_close(struct hopping *h, int64_t number, int64_t step_ms)
{
	struct stage *st = h->w.st;
	struct sum_window win = {.in = hop_pane_find(h, number),
		.out = hop_pane_find(h, number - h->panes + 1),
		.slide = agg_slide_of(h->w.def->aggs),
		.step_ms = step_ms};
	int rc;

	hop_order_merge(h);
	hop_closed_set(h, number);
	win.row.end_ms = (number + 1) * h->w.def->slide_ms;
	win.row.start_ms = win.row.end_ms - h->w.def->size_ms;
	if (win.in)
		aside_add(h, &win.in->column);
	rc = sum_keys(h, &win);
	sum_rows_put(h, &win);
	st->stats.rows += win.rows;
	h->w.stats->rows += win.rows;
	if (rc)
		return rc;
	if (win.out) {
		if (aside_subtract(h, &win.out->column))
			keys_drop(h);
		h->elements -= win.out->elements;
		win.out->elements = 0;
	}
	hop_panes_expire(h);
	return 0;
}

/* ---- as it is saved ---- */

/* What the key has in a pane, which there is, as an ordinary cell. */
static void cell_get(struct hopping *h, struct hop_pane *pane, uint32_t number, void *to)
{
	const uint8_t *cell = hop_cell_at(&h->store, &pane->column, number);

	if (cell && *cell && *cell != HOP_CELL_ASIDE)
		agg_narrow_widen(h->w.def->aggs, cell, to);
	else
		memcpy(to, hop_aside_find(&h->store, &pane->column, number), h->w.cell_bytes);
}

/* Puts the pane to the keys that have an element there. */
static void index_pane(struct hopping *h, uint64_t *next, uint32_t place)
{
	const struct hop_store *s = &h->store;
	struct hop_column *column = &h->pane[place].column;

	for (uint32_t c = 0; c < column->chunk_count; c++)
		for (uint32_t i = 0; column->chunk[c] && i < HOP_CHUNK; i++) {
			uint8_t first = column->chunk[c][(size_t)i * s->cell_stride];

			if (first && first != HOP_CELL_ASIDE)
				h->index.pane[next[c * HOP_CHUNK + i]++] = place;
		}
	for (uint32_t i = 0; i < column->aside.count; i++) {
		uint32_t number = hop_aside_item(s, column, i)->number;

		if (number != HOP_ASIDE_NONE)
			h->index.pane[next[number]++] = place;
	}
}

void hop_index_make(struct hopping *h)
{
	uint64_t *start = must_calloc((size_t)h->store.numbers + 1, sizeof *start), *next, before = 0;
	const struct keytab_entry *e;
	uint32_t at = 0, ref;

	while ((e = keytab_next(&h->keys, &at, &ref))) {
		const struct hop_value *value = keytab_value(e);

		start[value->number + 1] = value->made - hop_sum_at(&h->store, value->number)->gone;
	}
	for (uint32_t i = 0; i <= h->store.numbers; i++)
		before = start[i] += before;
	h->index.start = start;
	h->index.pane = must_realloc(NULL, h->elements + 1, sizeof *h->index.pane);
	next = must_realloc(NULL, (size_t)h->store.numbers + 1, sizeof *next);
	memcpy(next, start, ((size_t)h->store.numbers + 1) * sizeof *next);
	for (uint32_t i = 0; i < h->pane_count; i++)
		index_pane(h, next, i);
	free(next);
}

void hop_index_free(struct hopping *h)
{
	free(h->index.start);
	free(h->index.pane);
	h->index = (struct hop_index){0};
}

/* Elements of panes before `number`. */
static uint32_t elements_before(const struct hopping *h, const struct hop_key *k, int64_t number)
{
	uint32_t n = 0;

	while (n < k->count && hop_element_at(h, k, n)->number < number)
		n++;
	return n;
}

static void sums_fold(struct hopping *h, struct hop_key *k)
{
	const struct agg_set *aggs = h->w.def->aggs;
	uint32_t folded, closed;

	if (h->closed == STAGE_NO_TIME)
		return;
	folded = elements_before(h, k, h->block_first);
	closed = elements_before(h, k, h->closed + 1);
	for (uint32_t i = folded; i < closed; i++)
		agg_plain_merge(
			aggs, hop_prefix_get(h, k, h->block), hop_element_cell(hop_element_at(h, k, i)));
	for (uint32_t i = folded; i-- > 1;)
		agg_plain_merge(aggs, hop_element_cell(hop_element_at(h, k, i - 1)),
			hop_element_cell(hop_element_at(h, k, i)));
}

struct hop_key *hop_sum_view(struct hopping *h, const struct keytab_entry *e)
{
	uint32_t number = ((const struct hop_value *)keytab_value(e))->number;
	const uint64_t *start = &h->index.start[number];
	uint32_t count = (uint32_t)(start[1] - start[0]);
	size_t head = sizeof(struct hop_key) + h->w.cell_bytes, bytes = head + (size_t)count * h->stride;
	struct hop_key *view;

	if (bytes > h->view_bytes) {
		h->view_bytes = 2 * bytes;
		h->view = must_realloc(h->view, h->view_bytes, 1);
	}
	view = h->view;
	*view = (struct hop_key){
		.element = (uint8_t *)view + head, .count = count, .prefix_block = STAGE_NO_TIME};
	for (uint32_t i = 0; i < count; i++) {
		struct hop_pane *pane = &h->pane[h->index.pane[start[0] + i]];
		struct hop_element *element = hop_element_at(h, view, i);

		*element = (struct hop_element){.number = pane->number};
		cell_get(h, pane, number, hop_element_cell(element));
	}
	sums_fold(h, view);
	return view;
}

/* Adds an ordinary cell to what the key has in a pane. */
static void cell_put(struct hopping *h, struct hop_value *value, int64_t pane_number, const void *from)
{
	struct hop_pane *pane = hop_pane_get(h, pane_number);
	uint8_t *cell = cell_make(h, pane, value->number);
	void *wide;

	if (!hop_column_has(&h->store, &pane->column, value->number)) {
		element_count(h, value, pane);
		if (cell && hop_cell_fit(&h->store, from, cell))
			return;
	}
	wide = cell ? hop_cell_widen(&h->store, &pane->column, value->number, cell)
		    : hop_aside_get(&h->store, &pane->column, value->number);
	agg_plain_merge(h->w.def->aggs, wide, from);
}

bool hop_sum_add(struct hopping *h, struct keytab_entry *e, struct hop_key *k)
{
	const struct agg_set *aggs = h->w.def->aggs;
	struct hop_value *value = keytab_value(e);
	uint32_t folded = h->closed == STAGE_NO_TIME ? 0 : elements_before(h, k, h->block_first);

	agg_cell_init(aggs, h->cell); /* the total */
	for (uint32_t i = 0; i < k->count; i++) {
		struct hop_element *element = hop_element_at(h, k, i);
		void *cell = hop_element_cell(element);

		if (i + 1 < folded &&
			!agg_plain_subtract(aggs, cell, hop_element_cell(hop_element_at(h, k, i + 1))))
			return false;
		/* what does not add up without a loss cannot be taken away again, when its window comes */
		if (!agg_plain_total(aggs, h->cell, cell))
			return false;
		cell_put(h, value, element->number, cell);
		if (element->number <= h->closed)
			agg_plain_merge(aggs, hop_sum_cell(hop_sum_at(&h->store, value->number)), cell);
	}
	return true;
}

/* The same of one key, whose elements are indexed. */
static bool total_usable(struct hopping *h, uint32_t number, void *cell)
{
	agg_cell_init(h->w.def->aggs, h->cell);
	for (uint64_t i = h->index.start[number]; i < h->index.start[number + 1]; i++) {
		cell_get(h, &h->pane[h->index.pane[i]], number, cell);
		if (!agg_plain_total(h->w.def->aggs, h->cell, cell))
			return false;
	}
	return true;
}

bool hop_sum_usable(struct hopping *h)
{
	void *cell = must_calloc(1, h->w.cell_bytes);
	bool usable = true;

	hop_index_make(h);
	for (uint32_t i = 0; i < h->store.numbers && usable; i++)
		usable = total_usable(h, i, cell);
	hop_index_free(h);
	free(cell);
	return usable;
}
