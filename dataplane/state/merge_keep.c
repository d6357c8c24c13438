/* Merged windows that may still be revised: a table to find them by, and a heap by the step after which
 * nothing can come for them. Merge thread; owns the entries.
 *
 * Everything follows from the rows: an entry goes when the step of the row at hand, or of the mark that goes
 * out, lies beyond its limit, or, if memory is short, lowest in order first. Of what went for lack of memory
 * only the highest place is kept: within a definition all that stands up to it in order is gone, hence cannot
 * be told from what never was, and is lost. Windows that are on time stand above it: their ends are later
 * than all that could go before.
 */
#include "merge_priv.h"

#include <string.h>

#include "hash_process.h"

#define COMPARE(a, b)                                                                                        \
	do {                                                                                                 \
		if ((a) != (b))                                                                              \
			return (a) < (b) ? -1 : 1;                                                           \
	} while (0)

static int key_compare(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
	size_t least = a_bytes < b_bytes ? a_bytes : b_bytes;
	int d = least ? memcmp(a, b, least) : 0;

	if (d)
		return d;
	COMPARE(a_bytes, b_bytes);
	return 0;
}

int keep_compare(const struct kept *a, const struct kept *b)
{
	COMPARE(a->limit_ms, b->limit_ms);
	COMPARE(a->window->def->uid, b->window->def->uid);
	COMPARE(a->end_ms, b->end_ms);
	COMPARE(a->start_ms, b->start_ms);
	return key_compare(a->key, a->key_bytes, b->key, b->key_bytes);
}

/* The highest place that was put out, against another. */
static int lost_compare(const struct merge_window *w, int64_t end_ms, int64_t start_ms, const uint8_t *key,
	uint32_t key_bytes)
{
	COMPARE(w->lost_end_ms, end_ms);
	COMPARE(w->lost_start_ms, start_ms);
	return key_compare(w->lost_key.data, w->lost_key.bytes, key, key_bytes);
}

bool keep_lost(const struct merge_window *w, const struct row *row)
{
	return w->lost && lost_compare(w, row->end_ms, row->start_ms, row_key(row), row->key_bytes) >= 0;
}

static uint64_t place_hash(const struct merge_window *w, int64_t start_ms, int64_t end_ms, const uint8_t *key,
	uint32_t key_bytes)
{
	uint64_t place = hash_u64((uint64_t)end_ms ^ hash_u64((uint64_t)start_ms)) ^ w->def->uid;

	return hash_fold(hash_keyed(&hash_process_key, key, key_bytes) ^ place, HASH_K0);
}

struct kept *keep_find(const struct keep *k, const struct merge_window *w, const struct row *row)
{
	uint64_t hash = place_hash(w, row->start_ms, row->end_ms, row_key(row), row->key_bytes);

	for (struct merge_node *n = merge_table_chain(&k->table, hash); n; n = n->next) {
		struct kept *e = (struct kept *)n;

		if (n->hash == hash && e->window == w && e->end_ms == row->end_ms &&
			e->start_ms == row->start_ms && e->key_bytes == row->key_bytes &&
			!memcmp(e->key, row_key(row), e->key_bytes))
			return e;
	}
	return NULL;
}

static size_t kept_bytes(const struct kept *e)
{
	return sizeof *e + e->key_bytes + e->agg_bytes;
}

static void heap_up(struct keep *k, size_t at)
{
	struct kept *e = k->heap[at];

	for (; at && keep_compare(e, k->heap[(at - 1) / 2]) < 0; at = (at - 1) / 2)
		k->heap[at] = k->heap[(at - 1) / 2];
	k->heap[at] = e;
}

static void heap_down(struct keep *k)
{
	struct kept *e = k->heap[0];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= k->count)
			break;
		if (child + 1 < k->count && keep_compare(k->heap[child + 1], k->heap[child]) < 0)
			child++;
		if (keep_compare(e, k->heap[child]) <= 0)
			break;
		k->heap[at] = k->heap[child];
		at = child;
	}
	k->heap[at] = e;
}

static bool heap_room(struct keep *k)
{
	size_t capacity = k->capacity ? k->capacity * 2 : 64;
	struct kept **heap;

	if (k->count < k->capacity)
		return true;
	heap = realloc(k->heap, capacity * sizeof(struct kept *));
	if (!heap)
		return false;
	k->heap = heap;
	k->capacity = capacity;
	return true;
}

/* Takes the lowest out; the caller frees it. */
static struct kept *keep_take_lowest(struct keep *k)
{
	struct kept *e = k->heap[0];

	k->heap[0] = k->heap[--k->count];
	if (k->count)
		heap_down(k);
	merge_table_remove(&k->table, &e->node);
	k->bytes -= kept_bytes(e);
	return e;
}

static void kept_free(struct kept *e)
{
	free(e->agg);
	free(e);
}

void keep_free(struct keep *k)
{
	while (k->count)
		kept_free(k->heap[--k->count]);
	free(k->heap);
	free(k->table.slot);
	*k = (struct keep){0};
}

bool keep_put(struct keep *k, struct merge_window *w, const struct row *row, const struct kept *values,
	const uint8_t *agg, uint32_t agg_bytes)
{
	struct kept *e;

	if (!heap_room(k) || !merge_table_room(&k->table))
		return false;
	e = malloc(sizeof *e + row->key_bytes);
	if (!e)
		return false;
	*e = *values;
	e->window = w;
	e->end_ms = row->end_ms;
	e->start_ms = row->start_ms;
	e->key_bytes = row->key_bytes;
	e->agg_bytes = agg_bytes;
	e->agg = malloc(agg_bytes ? agg_bytes : 1);
	if (!e->agg) {
		free(e);
		return false;
	}
	memcpy(e->agg, agg, agg_bytes);
	memcpy(e->key, row_key(row), row->key_bytes);
	e->node.hash = place_hash(w, e->start_ms, e->end_ms, e->key, e->key_bytes);
	merge_table_put(&k->table, &e->node);
	k->heap[k->count++] = e;
	heap_up(k, k->count - 1);
	k->bytes += kept_bytes(e);
	return true;
}

bool keep_change(struct keep *k, struct kept *e, const uint8_t *agg, uint32_t agg_bytes)
{
	uint8_t *grown = agg_bytes == e->agg_bytes ? e->agg : realloc(e->agg, agg_bytes ? agg_bytes : 1);

	if (!grown)
		return false;
	memcpy(grown, agg, agg_bytes);
	k->bytes = k->bytes - e->agg_bytes + agg_bytes;
	e->agg = grown;
	e->agg_bytes = agg_bytes;
	return true;
}

void keep_expire(struct keep *k, int64_t step_ms)
{
	while (k->count && k->heap[0]->limit_ms < step_ms)
		kept_free(keep_take_lowest(k));
}

static bool lost_note(struct merge_window *w, const struct kept *e)
{
	if (w->lost && lost_compare(w, e->end_ms, e->start_ms, e->key, e->key_bytes) > 0)
		return true;
	w->lost = true;
	w->lost_end_ms = e->end_ms;
	w->lost_start_ms = e->start_ms;
	bytes_reset(&w->lost_key);
	bytes_put(&w->lost_key, e->key, e->key_bytes);
	return !w->lost_key.failed;
}

bool keep_bound(struct keep *k)
{
	while (k->bytes > k->bytes_max) {
		struct kept *e = keep_take_lowest(k);
		bool ok = lost_note(e->window, e);

		kept_free(e);
		if (!ok)
			return false;
	}
	return true;
}
