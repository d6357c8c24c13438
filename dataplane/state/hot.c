/* Rows in memory: definitions, each with its windows by (end, start), each with its rows by key. Rows come in
 * row order, so that nearly every one is appended; what comes between (revisions, a replay) is found by
 * bisection. One lock: the merge thread takes it for a row, a reader for each row that it copies out, finding
 * its place again by the place of the row before. Memory: malloc'ed by the merge thread, a reader's copy is
 * the reader's. */
#include "hot.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What the allocator and the arrays take for a row or window, roughly; counted, so that many small rows are
 * bounded too. */
#define ROW_OVERHEAD 32u
#define WINDOW_OVERHEAD 128u

struct window {
	int64_t end_ms, start_ms; /* of sessions: their bucket */
	struct record **row;	  /* by row_order() */
	uint32_t count, capacity;
	size_t bytes;
};

struct definition {
	uint64_t uid;
	struct window *window; /* ascending by (end, start) */
	uint32_t count, capacity;
	size_t bytes;
	int64_t gone_end_ms, gone_start_ms; /* the newest window that went; valid with any_gone */
	bool any_gone;
};

struct hot {
	pthread_mutex_t lock;
	uint32_t windows_kept;
	size_t bytes_max;
	struct definition *def; /* in order of their first rows */
	uint32_t count;
	struct hot_stats stats;
};

struct hot *hot_new(uint32_t windows_kept, size_t bytes_max)
{
	struct hot *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	h->windows_kept = windows_kept ? windows_kept : 1;
	h->bytes_max = bytes_max;
	return h;
}

static void window_clear(struct window *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		free(w->row[i]);
	free(w->row);
}

void hot_free(struct hot *h)
{
	if (!h)
		return;
	for (uint32_t d = 0; d < h->count; d++) {
		for (uint32_t i = 0; i < h->def[d].count; i++)
			window_clear(&h->def[d].window[i]);
		free(h->def[d].window);
	}
	free(h->def);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

/* ---- order ---- */

struct span_ms {
	int64_t end_ms, start_ms;
};

static int span_compare(struct span_ms a, int64_t end_ms, int64_t start_ms)
{
	if (a.end_ms != end_ms)
		return a.end_ms < end_ms ? -1 : 1;
	return a.start_ms == start_ms ? 0 : a.start_ms < start_ms ? -1 : 1;
}

/* The window that a row belongs to. */
static struct span_ms span_of(const struct record *rec)
{
	const struct row *row = row_of(rec);
	int64_t over = row->end_ms % HOT_SESSION_MS, end_ms = row->end_ms;

	if (rec->type != ROW_SESSION)
		return (struct span_ms){row->end_ms, row->start_ms};
	over += over < 0 ? HOT_SESSION_MS : 0;
	end_ms -= over; /* rounded down: rounding up could overflow */
	return (struct span_ms){end_ms, end_ms};
}

/* Rows of one window: by key; sessions of one key by their own times. */
static int row_order(const struct record *a, const struct record *b)
{
	const struct row *x = row_of(a), *y = row_of(b);
	int d = row_key_compare(x, y);

	if (d)
		return d;
	return span_compare((struct span_ms){x->end_ms, x->start_ms}, y->end_ms, y->start_ms);
}

/* The first row of the window that is not before `rec`, or behind it if `behind`. */
static uint32_t row_find(const struct window *w, const struct record *rec, bool behind)
{
	uint32_t low = 0, high = w->count;

	if (high && row_order(w->row[high - 1], rec) < 0)
		return high;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int d = row_order(w->row[middle], rec);

		if (d < 0 || (d == 0 && behind))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The first window that is not before the span. */
static uint32_t window_find(const struct definition *def, struct span_ms at)
{
	uint32_t low = 0, high = def->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (span_compare(at, def->window[middle].end_ms, def->window[middle].start_ms) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct definition *def_find(const struct hot *h, uint64_t uid)
{
	for (uint32_t i = 0; i < h->count; i++)
		if (h->def[i].uid == uid)
			return &h->def[i];
	return NULL;
}

/* ---- making room ---- */

static void bytes_add(struct hot *h, struct definition *def, struct window *w, size_t bytes)
{
	w->bytes += bytes;
	def->bytes += bytes;
	h->stats.bytes += bytes;
}

static void oldest_drop(struct hot *h, struct definition *def)
{
	struct window *w = &def->window[0];

	def->any_gone = true;
	def->gone_end_ms = w->end_ms;
	def->gone_start_ms = w->start_ms;
	def->bytes -= w->bytes;
	h->stats.bytes -= w->bytes;
	h->stats.rows -= w->count;
	h->stats.windows--;
	window_clear(w);
	memmove(w, w + 1, --def->count * sizeof *w);
}

static void bound_hold(struct hot *h)
{
	while (h->stats.bytes > h->bytes_max) {
		struct definition *most = &h->def[0];

		for (uint32_t i = 1; i < h->count; i++)
			if (h->def[i].bytes > most->bytes)
				most = &h->def[i];
		oldest_drop(h, most);
		h->stats.evicted++;
	}
}

/* Room for one more element; false: no memory. */
static bool grow(void *array, uint32_t count, uint32_t *capacity, size_t element_bytes)
{
	uint32_t more = *capacity ? *capacity * 2 : 8;
	void *old, *grown;

	if (count < *capacity)
		return true;
	memcpy(&old, array, sizeof old);
	grown = realloc(old, more * element_bytes);
	if (!grown)
		return false;
	memcpy(array, &grown, sizeof grown);
	*capacity = more;
	return true;
}

/* ---- putting ---- */

static struct definition *def_get(struct hot *h, uint64_t uid)
{
	struct definition *def = def_find(h, uid), *more;

	if (def)
		return def;
	more = realloc(h->def, (h->count + 1u) * sizeof *more);
	if (!more)
		return NULL;
	h->def = more;
	more[h->count] = (struct definition){.uid = uid};
	return &more[h->count++];
}

/* The row's window, made if it is not there. NULL: it has gone, or no memory. */
static struct window *window_get(struct hot *h, struct definition *def, struct span_ms at)
{
	uint32_t i = window_find(def, at);
	struct window *w;

	if (i < def->count && !span_compare(at, def->window[i].end_ms, def->window[i].start_ms))
		return &def->window[i];
	if (def->any_gone && span_compare(at, def->gone_end_ms, def->gone_start_ms) <= 0)
		return NULL;
	if (i == 0 && def->count == h->windows_kept)
		return NULL;
	if (!grow(&def->window, def->count, &def->capacity, sizeof *def->window))
		return NULL;
	w = &def->window[i];
	memmove(w + 1, w, (def->count - i) * sizeof *w);
	def->count++;
	*w = (struct window){.end_ms = at.end_ms, .start_ms = at.start_ms};
	h->stats.windows++;
	bytes_add(h, def, w, WINDOW_OVERHEAD);
	if (def->count <= h->windows_kept)
		return w;
	oldest_drop(h, def);
	return w - 1;
}

/* Takes `copy` over; false: it was not taken. */
static bool row_insert(struct hot *h, struct definition *def, struct window *w, struct record *copy)
{
	uint32_t i = row_find(w, copy, false);

	if (i < w->count && !row_order(w->row[i], copy)) {
		if (row_of(w->row[i])->revision >= row_of(copy)->revision) {
			free(copy);
			return true;
		}
		bytes_add(h, def, w, (size_t)copy->bytes - w->row[i]->bytes); /* unsigned: may go down */
		free(w->row[i]);
		w->row[i] = copy;
		return true;
	}
	if (!grow(&w->row, w->count, &w->capacity, sizeof(struct record *)))
		return false;
	memmove(&w->row[i + 1], &w->row[i], (w->count - i) * sizeof(struct record *));
	w->row[i] = copy;
	w->count++;
	h->stats.rows++;
	bytes_add(h, def, w, copy->bytes + ROW_OVERHEAD);
	return true;
}

void hot_put(struct hot *h, const struct record *rec)
{
	struct record *copy = malloc(rec->bytes);
	struct definition *def;
	struct window *w = NULL;

	if (copy)
		memcpy(copy, rec, rec->bytes);
	pthread_mutex_lock(&h->lock);
	def = copy ? def_get(h, row_of(rec)->window_uid) : NULL;
	if (def)
		w = window_get(h, def, span_of(rec));
	if (!w || !row_insert(h, def, w, copy)) {
		h->stats.refused++;
		free(copy);
	}
	bound_hold(h);
	pthread_mutex_unlock(&h->lock);
}

/* ---- reading ---- */

/* Where a reader stands: the row that it got last. */
struct place {
	bool any;
	uint8_t *row; /* a copy */
	size_t capacity;
};

static bool place_take(struct place *at, const struct record *rec)
{
	if (at->capacity < rec->bytes) {
		uint8_t *more = realloc(at->row, rec->bytes);

		if (!more)
			return false;
		at->row = more;
		at->capacity = rec->bytes;
	}
	memcpy(at->row, rec, rec->bytes);
	at->any = true;
	return true;
}

/* The next row behind the place, under the lock. NULL: no more. */
static const struct record *next_locked(
	const struct hot *h, uint64_t uid, int64_t from_end_ms, int64_t to_end_ms, const struct place *at)
{
	const struct definition *def = def_find(h, uid);
	struct span_ms span = {to_end_ms, INT64_MAX};
	uint32_t w, i = 0;

	if (!def)
		return NULL;
	if (at->any)
		span = span_of((const struct record *)at->row);
	w = window_find(def, span);
	if (w < def->count && !span_compare(span, def->window[w].end_ms, def->window[w].start_ms)) {
		i = at->any ? row_find(&def->window[w], (const struct record *)at->row, true) : 0;
		w++;
	}
	for (; w > 0; w--, i = 0) {
		const struct window *in = &def->window[w - 1];

		/* A window of sessions holds ends up to HOT_SESSION_MS above its own. */
		if (in->end_ms <= from_end_ms &&
			(uint64_t)from_end_ms - (uint64_t)in->end_ms >= (uint64_t)HOT_SESSION_MS)
			return NULL;
		for (; i < in->count; i++) {
			int64_t end_ms = row_of(in->row[i])->end_ms;

			if (end_ms > from_end_ms && end_ms <= to_end_ms)
				return in->row[i];
		}
	}
	return NULL;
}

int hot_each(struct hot *h, uint64_t uid, int64_t from_end_ms, int64_t to_end_ms,
	int (*each)(void *arg, const struct record *rec), void *arg)
{
	struct place at = {0};
	int rc = 0;

	while (!rc) {
		const struct record *rec;

		pthread_mutex_lock(&h->lock);
		rec = next_locked(h, uid, from_end_ms, to_end_ms, &at);
		if (rec && !place_take(&at, rec))
			rc = -ENOMEM;
		pthread_mutex_unlock(&h->lock);
		if (!rec)
			break;
		if (!rc)
			rc = each(arg, (const struct record *)at.row);
	}
	free(at.row);
	return rc;
}

void hot_stats(struct hot *h, struct hot_stats *out)
{
	pthread_mutex_lock(&h->lock);
	*out = h->stats;
	pthread_mutex_unlock(&h->lock);
}
