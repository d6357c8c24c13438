/* The groups of all windows and their baselines. Merge thread; in: merged rows of revision 0, in order; out:
 * alerts into the caller's array. Owns all groups. Which group goes for lack of room follows from the rows
 * alone: by logical bytes, and by when it was updated. */
#include "anomaly.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"
#include "hash_process.h"
#include "merge_table.h"

struct group {
	struct merge_node node;
	struct anomaly_window *window;
	struct group *older, *newer;
	uint64_t touched; /* running number of its last row, over all windows */
	int64_t first_end_ms, last_end_ms;
	uint32_t key_bytes;
	struct anomaly_base base[]; /* one a detector; then the key */
};

struct anomaly_window {
	const struct window_def *def;
	int64_t slide_ms; /* 0: no grid */
	const char *count_label;
	struct anomaly_set set;
	struct group *oldest, *newest;
	uint64_t groups, groups_max;
};

struct anomaly {
	struct merge_table table;
	struct anomaly_window **window; /* ascending by uid */
	uint32_t windows, partitions;
	uint64_t touched;
	size_t bytes_max;
	struct anomaly_stats stats;
};

struct anomaly *anomaly_new(size_t bytes_max, uint32_t partitions)
{
	struct anomaly *a = calloc(1, sizeof *a);

	if (a) {
		a->bytes_max = bytes_max;
		a->partitions = partitions;
	}
	return a;
}

const struct anomaly_stats *anomaly_stats(const struct anomaly *a)
{
	return &a->stats;
}

static uint8_t *group_key(const struct group *g)
{
	return (uint8_t *)(g->base + g->window->set.count);
}

static size_t group_bytes(const struct anomaly_window *w, uint32_t key_bytes)
{
	size_t bytes = sizeof(struct group) + key_bytes;

	for (uint32_t i = 0; i < w->set.count; i++)
		bytes += anomaly_base_bytes(&w->set.spec[i], w->slide_ms);
	return bytes;
}

static void group_unlink(struct group *g)
{
	struct anomaly_window *w = g->window;

	*(g->older ? &g->older->newer : &w->oldest) = g->newer;
	*(g->newer ? &g->newer->older : &w->newest) = g->older;
}

static void group_link(struct group *g, uint64_t touched)
{
	struct anomaly_window *w = g->window;

	g->touched = touched;
	g->older = w->newest;
	g->newer = NULL;
	*(w->newest ? &w->newest->newer : &w->oldest) = g;
	w->newest = g;
}

static void group_free(struct group *g)
{
	for (uint32_t i = 0; i < g->window->set.count; i++)
		anomaly_base_free(&g->base[i]);
	free(g);
}

static void group_drop(struct anomaly *a, struct group *g)
{
	group_unlink(g);
	merge_table_remove(&a->table, &g->node);
	g->window->groups--;
	a->stats.groups--;
	a->stats.bytes -= group_bytes(g->window, g->key_bytes);
	group_free(g);
}

void anomaly_free(struct anomaly *a)
{
	if (!a)
		return;
	for (uint32_t i = 0; i < a->windows; i++) {
		while (a->window[i]->oldest)
			group_drop(a, a->window[i]->oldest);
		free(a->window[i]);
	}
	free(a->window);
	free(a->table.slot);
	free(a);
}

static uint64_t group_hash(const struct anomaly_window *w, const uint8_t *key, uint32_t key_bytes)
{
	return hash_fold(hash_keyed(&hash_process_key, key, key_bytes) ^ w->def->uid, HASH_K0);
}

static struct group *group_find(
	struct anomaly *a, const struct anomaly_window *w, const uint8_t *key, uint32_t key_bytes)
{
	uint64_t hash = group_hash(w, key, key_bytes);

	for (struct merge_node *n = merge_table_chain(&a->table, hash); n; n = n->next) {
		struct group *g = (struct group *)n;

		if (n->hash == hash && g->window == w && g->key_bytes == key_bytes &&
			!memcmp(group_key(g), key, key_bytes))
			return g;
	}
	return NULL;
}

static struct group *group_make(
	struct anomaly *a, struct anomaly_window *w, const uint8_t *key, uint32_t key_bytes)
{
	struct group *g = calloc(1, sizeof *g + w->set.count * sizeof(struct anomaly_base) + key_bytes);
	bool made = g && merge_table_room(&a->table);

	if (!g)
		return NULL;
	g->window = w;
	g->key_bytes = key_bytes;
	g->node.hash = group_hash(w, key, key_bytes);
	memcpy(group_key(g), key, key_bytes);
	for (uint32_t i = 0; made && i < w->set.count; i++)
		made = anomaly_base_init(&w->set.spec[i], &g->base[i]);
	if (!made) {
		group_free(g);
		return NULL;
	}
	merge_table_put(&a->table, &g->node);
	w->groups++;
	a->stats.groups++;
	a->stats.bytes += group_bytes(w, key_bytes);
	return g;
}

/* The one that was updated longest ago, or NULL. */
static struct group *group_oldest(const struct anomaly *a)
{
	struct group *oldest = NULL;

	for (uint32_t i = 0; i < a->windows; i++) {
		struct group *g = a->window[i]->oldest;

		if (g && (!oldest || g->touched < oldest->touched))
			oldest = g;
	}
	return oldest;
}

void anomaly_bound(struct anomaly *a, size_t bytes_max)
{
	a->bytes_max = bytes_max;
	while (a->stats.bytes > bytes_max) {
		group_drop(a, group_oldest(a));
		a->stats.evicted++;
	}
}

/* Makes room for a new group of a window that ends at end_ms; false: it has to do without. */
static bool room_make(struct anomaly *a, struct anomaly_window *w, uint32_t key_bytes, int64_t end_ms)
{
	size_t need = group_bytes(w, key_bytes);

	if (need > a->bytes_max)
		return false;
	while (w->groups >= w->groups_max || a->stats.bytes + need > a->bytes_max) {
		struct group *victim = w->groups >= w->groups_max ? w->oldest : group_oldest(a);

		if (!victim || (victim->window->slide_ms &&
				       victim->last_end_ms + victim->window->slide_ms >= end_ms))
			return false;
		group_drop(a, victim);
		a->stats.evicted++;
	}
	return true;
}

/* ---- windows ---- */

int64_t anomaly_slide_ms(const struct window_def *def)
{
	if (def->kind == WINDOW_SESSION)
		return 0;
	return def->kind == WINDOW_HOPPING ? def->slide_ms : def->size_ms;
}

static int window_make(
	struct anomaly_window **out, const struct anomaly *a, const struct window_def *def, struct err *err)
{
	struct anomaly_window *w = calloc(1, sizeof *w);
	int rc;

	if (!w)
		return err_set(err, -ENOMEM, "no memory for baselines");
	w->def = def;
	w->slide_ms = anomaly_slide_ms(def);
	if (__builtin_mul_overflow(def->keys_max, a->partitions, &w->groups_max))
		w->groups_max = UINT64_MAX;
	rc = anomaly_set_parse(&w->set, def->anomaly, def->aggs, err);
	if (rc) {
		err_prefix(err, "window %s: anomaly", def->name);
		free(w);
		return rc;
	}
	for (uint32_t i = agg_set_count(def->aggs); i-- > 0;) {
		const struct agg_spec *s = agg_set_spec(def->aggs, i);

		if (s->kind == AGG_count && !s->value_bytes)
			w->count_label = s->label;
	}
	*out = w;
	return 0;
}

static int window_of(
	struct anomaly *a, const struct window_def *def, struct anomaly_window **out, struct err *err)
{
	struct anomaly_window **grown, *w = NULL;
	uint32_t at = 0;
	int rc;

	while (at < a->windows && a->window[at]->def->uid < def->uid)
		at++;
	if (at < a->windows && a->window[at]->def->uid == def->uid) {
		*out = a->window[at];
		return 0;
	}
	rc = window_make(&w, a, def, err);
	if (rc)
		return rc;
	grown = realloc(a->window, (a->windows + 1) * sizeof(struct anomaly_window *));
	if (!grown) {
		free(w);
		return err_set(err, -ENOMEM, "no memory for baselines");
	}
	a->window = grown;
	memmove(grown + at + 1, grown + at, (a->windows - at) * sizeof(struct anomaly_window *));
	grown[at] = *out = w;
	a->windows++;
	return 0;
}

/* ---- rows ---- */

struct values {
	const struct anomaly_window *w;
	bool has[ANOMALY_MAX];
	double value[ANOMALY_MAX];
	uint64_t events;
};

static int value_look(void *arg, const struct agg_value *v)
{
	struct values *vs = arg;
	double x;

	switch (v->kind) {
	case AGG_VALUE_U64:
		x = (double)v->u64;
		if (vs->w->count_label && !strcmp(v->label, vs->w->count_label))
			vs->events = v->u64;
		break;
	case AGG_VALUE_DECIMAL:
		x = (double)v->decimal / 1e6;
		break;
	case AGG_VALUE_F64:
		x = v->f64;
		break;
	default:
		return 0;
	}
	for (uint32_t i = 0; i < vs->w->set.count; i++)
		if (!strcmp(v->label, vs->w->set.spec[i].label)) {
			vs->has[i] = true;
			vs->value[i] = x;
		}
	return 0;
}

static int group_take(struct group *g, const struct values *vs, struct anomaly_sample *s,
	struct anomaly_alert *out, struct err *err)
{
	const struct anomaly_window *w = g->window;
	int alerts = 0;

	for (uint32_t i = 0; i < w->set.count; i++) {
		struct anomaly_alert *alert = &out[alerts];

		if (!vs->has[i])
			continue;
		s->value = vs->value[i];
		if (!anomaly_base_take(&w->set.spec[i], &g->base[i], s, &alert->verdict))
			return err_set(err, -ENOMEM, "no memory for baselines");
		if (!alert->verdict.unusual)
			continue;
		alert->spec = &w->set.spec[i];
		alert->value = s->value;
		alert->events = vs->events;
		alerts++;
	}
	return alerts;
}

int anomaly_take(struct anomaly *a, const struct window_def *def, const struct anomaly_row *row,
	struct anomaly_alert *out, struct err *err)
{
	struct anomaly_sample s = {.end_ms = row->end_ms};
	struct values vs = {0};
	struct group *g;
	struct anomaly_window *w;
	int rc;

	if (!def->anomaly[0])
		return 0;
	rc = window_of(a, def, &w, err);
	if (rc)
		return rc;
	vs.w = w;
	if (agg_values(def->aggs, row->agg, row->agg_bytes, value_look, &vs) != 0)
		return err_set(err, -EBADMSG, "window %s: a row's aggregates cannot be read", def->name);
	g = group_find(a, w, row->key, row->key_bytes);
	if (!g) {
		if (!room_make(a, w, row->key_bytes, row->end_ms)) {
			a->stats.refused++;
			return 0;
		}
		g = group_make(a, w, row->key, row->key_bytes);
		if (!g)
			return err_set(err, -ENOMEM, "no memory for baselines");
		g->first_end_ms = row->end_ms;
	} else if (row->end_ms <= g->last_end_ms) {
		return 0;
	} else {
		if (w->slide_ms)
			s.missing = (uint64_t)((row->end_ms - g->last_end_ms - 1) / w->slide_ms);
		group_unlink(g);
	}
	group_link(g, a->touched++);
	g->last_end_ms = row->end_ms;
	s.first_end_ms = g->first_end_ms;
	s.slide_ms = w->slide_ms;
	return group_take(g, &vs, &s, out, err);
}

/* ---- save and load ---- */

static void group_save(const struct group *g, struct bytes *out)
{
	bytes_put_u64(out, g->touched);
	bytes_put_i64(out, g->first_end_ms);
	bytes_put_i64(out, g->last_end_ms);
	bytes_put_u32(out, g->key_bytes);
	bytes_put(out, group_key(g), g->key_bytes);
	for (uint32_t i = 0; i < g->window->set.count; i++)
		anomaly_base_save(&g->window->set.spec[i], &g->base[i], g->window->slide_ms, out);
}

void anomaly_save(const struct anomaly *a, struct bytes *out)
{
	uint32_t windows = 0;

	for (uint32_t i = 0; i < a->windows; i++)
		windows += a->window[i]->groups > 0;
	bytes_put_u64(out, a->touched);
	bytes_put_u32(out, windows);
	for (uint32_t i = 0; i < a->windows; i++) {
		const struct anomaly_window *w = a->window[i];
		uint64_t bytes;
		size_t at;

		if (!w->groups)
			continue;
		bytes_put_u64(out, w->def->uid);
		at = out->bytes;
		bytes_put_u64(out, 0);
		for (const struct group *g = w->oldest; g; g = g->newer)
			group_save(g, out);
		bytes = out->bytes - at - sizeof bytes;
		if (!out->failed)
			memcpy(out->data + at, &bytes, sizeof bytes);
	}
}

/* One that is larger than all that there is for groups now is read and forgotten. */
static int group_load(struct anomaly *a, struct anomaly_window *w, struct cursor *c)
{
	uint64_t touched = cursor_le64(c);
	int64_t first = (int64_t)cursor_le64(c), last = (int64_t)cursor_le64(c);
	uint32_t key_bytes = cursor_le32(c);
	const uint8_t *key = cursor_take(c, key_bytes);
	struct group *g;
	bool room;
	int rc = 0;

	if (!key || first > last || first < -ANOMALY_TIME_MAX_MS || last > ANOMALY_TIME_MAX_MS ||
		touched >= a->touched || (w->newest && w->newest->touched >= touched) ||
		group_find(a, w, key, key_bytes))
		return -EINVAL;
	room = room_make(a, w, key_bytes, INT64_MAX);
	g = group_make(a, w, key, key_bytes);
	if (!g)
		return -ENOMEM;
	group_link(g, touched);
	g->first_end_ms = first;
	g->last_end_ms = last;
	for (uint32_t i = 0; !rc && i < w->set.count; i++)
		rc = anomaly_base_load(&w->set.spec[i], &g->base[i], w->slide_ms, last, c);
	if (!rc && !room) {
		group_drop(a, g);
		a->stats.evicted++;
	}
	return rc;
}

int anomaly_load(struct anomaly *a, struct cursor *c,
	const struct window_def *(*window)(void *arg, uint64_t uid), void *arg, struct err *err)
{
	uint32_t windows;
	uint64_t before = 0;

	a->touched = cursor_le64(c);
	windows = cursor_le32(c);
	for (uint32_t i = 0; i < windows && !c->failed; i++) {
		uint64_t uid = cursor_le64(c), bytes = cursor_le64(c);
		const struct window_def *def = c->failed ? NULL : window(arg, uid);
		struct cursor part = cursor_of(c->at, bytes <= cursor_left(c) ? bytes : 0);
		struct anomaly_window *w;
		int rc;

		if (!cursor_take(c, bytes) || !bytes || (i && uid <= before))
			return err_set(err, -EINVAL, "baselines: not what a save makes");
		before = uid;
		if (!def)
			continue;
		rc = def->anomaly[0] ? window_of(a, def, &w, err) : -EINVAL;
		while (!rc && cursor_left(&part))
			rc = group_load(a, w, &part);
		if (rc)
			return err_set(err, rc, "baselines of window %s: %s", def->name,
				rc == -ENOMEM ? "no memory" : "not what a save makes");
	}
	return c->failed ? err_set(err, -EINVAL, "baselines: cut off") : 0;
}
