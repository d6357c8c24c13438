/* Rows of one window and step from all partitions, merged by key: the usual way of rows, where a definition
 * has neither revisions nor anomalies and all partitions have passed the step. A row whose key no other
 * partition has goes out as its bytes came. Merge thread. In: the queues' first rows; out: records by emit.
 */
#include "merge_priv.h"

#include <errno.h>

#include "hash.h"

/* ---- lanes: partitions in order of their first keys ---- */

static void lane_close(struct merge_lane *lane)
{
	lane->open = false;
	lane->order = ~(unsigned __int128)0;
}

/* To the first row that waits in its partition. */
static void lane_enter(struct merge_lane *lane)
{
	const struct record *rec = merge_entry_record(merge_head(lane->part));
	const struct row_walk *walk = &lane->part->walk;

	lane->open = true;
	lane->hashed = rec->type != ROW_PARTIALS;
	lane->receive_ms = rec->receive_time_ms;
	lane->key = walk->key;
	lane->key_bytes = walk->row.key_bytes;
	lane->agg_bytes = walk->row.agg_bytes;
	lane->flags = walk->row.flags;
	lane->left = walk->left;
	lane->order = row_key_order(lane->key, lane->key_bytes);
}

static bool group_same(const struct row *a, const struct row *b)
{
	return a->step_ms == b->step_ms && a->window_uid == b->window_uid && a->end_ms == b->end_ms &&
	       a->start_ms == b->start_ms;
}

/* All rows of its record are taken. */
static __attribute__((noinline)) void lane_record_end(struct merge_lane *lane, const struct row *group)
{
	struct merge_part *part = lane->part;

	part->walk.left = 0;
	merge_take(part);
	if (merge_first(part) && group_same(&part->walk.row, group))
		lane_enter(lane);
	else
		lane_close(lane);
}

/* Takes the lane's row. */
static inline void lane_take(struct merge_lane *lane, const struct row *group)
{
	uint32_t bytes = lane->key_bytes + lane->agg_bytes;
	const uint8_t *at = lane->key + ((bytes + RECORD_ALIGN - 1) & ~(RECORD_ALIGN - 1));
	struct row_many_item item;

	if (!lane->left) {
		lane_record_end(lane, group);
		return;
	}
	memcpy(&item, at, sizeof item);
	lane->left--;
	lane->key = at + sizeof item;
	lane->key_bytes = item.key_bytes;
	lane->agg_bytes = item.agg_bytes;
	lane->flags = item.flags;
	lane->order = row_key_order(lane->key, lane->key_bytes);
}

/* Of two whose keys begin alike; of equal ones that of the lower partition. */
static __attribute__((noinline)) struct merge_lane *lane_tie(struct merge_lane *a, struct merge_lane *b)
{
	int d;

	if (!a->open || !b->open)
		return a->open ? a : b;
	d = row_keys_compare(a->key, a->key_bytes, b->key, b->key_bytes);
	return d < 0 || (!d && a < b) ? a : b;
}

/* Without a branch where the keys' beginnings differ: who is first is as good as random. */
static inline struct merge_lane *lane_lower(struct merge_lane *a, struct merge_lane *b)
{
	if (__builtin_expect(a->order == b->order, 0))
		return lane_tie(a, b);
	return (struct merge_lane *)((uintptr_t)b ^
				     (((uintptr_t)a ^ (uintptr_t)b) & -(uintptr_t)(a->order < b->order)));
}

static inline struct merge_lane *lanes_first(struct merge *m, struct merge_lane *changed)
{
	struct merge_lane **tree = m->lane_tree, *first = changed;

	for (size_t at = changed->leaf; at > 1; at /= 2)
		tree[at / 2] = first = lane_lower(first, tree[at ^ 1]);
	return first;
}

static struct merge_lane *lanes_start(struct merge *m, const struct row *group)
{
	for (uint32_t i = 0; i < m->leaves; i++) {
		struct merge_lane *lane = &m->lane[i];
		const struct row_walk *first;

		lane->part = i < m->params.partitions ? &m->part[i] : NULL;
		first = lane->part ? merge_first(lane->part) : NULL;
		if (first && group_same(&first->row, group))
			lane_enter(lane);
		else
			lane_close(lane);
		lane->leaf = m->leaves + i;
		m->lane_tree[lane->leaf] = lane;
	}
	for (uint32_t at = m->leaves - 1; at; at--)
		m->lane_tree[at] = lane_lower(m->lane_tree[2 * at], m->lane_tree[2 * at + 1]);
	return m->lane_tree[1];
}

/* ---- rows ---- */

/* What all rows of the group have in common, at the beginning of m->out. */
static bool out_start(struct merge *m, const struct window_def *def, const struct row *group)
{
	uint8_t *to;

	bytes_reset(&m->out);
	to = bytes_room(&m->out, sizeof(struct record) + sizeof *group + 2 * ROW_MANY_ITEM_MAX + MERGE_SLACK);
	if (!to)
		return false;
	*(struct record *)to = (struct record){
		.kind = RECORD_ROW, .type = (uint8_t)merge_type(def), .event_time_ms = group->end_ms};
	memcpy(to + sizeof(struct record), group, sizeof *group);
	bytes_reset(&m->out);
	return true;
}

static __attribute__((noinline)) bool cell_good(
	const struct merge_window *w, const uint8_t *agg, uint32_t bytes)
{
	const struct agg_set *aggs = w->def->aggs;

	return w->plain ? agg_plain_valid(aggs, agg, bytes) : agg_packed_valid(aggs, agg, bytes);
}

/* The lane's row, as it would go out alone: its bytes. The key and the aggregates behind it are copied in
 * words. */
static inline void out_put(struct record *rec, const struct merge_lane *lane)
{
	struct row *row = (struct row *)(rec + 1);
	uint8_t *to = (uint8_t *)(row + 1);
	const uint8_t *key = lane->key;
	uint32_t key_bytes = lane->key_bytes, agg_bytes = lane->agg_bytes, bytes = key_bytes + agg_bytes;

	/* an item's lengths stand before its key */
	rec->key_hash = lane->hashed ? merge_entry_record(merge_head(lane->part))->key_hash
				     : hash_text(key, key_bytes);
	for (uint32_t i = 0; i < bytes; i += MERGE_SLACK)
		memcpy(to + i, key + i, MERGE_SLACK);
	memset(to + bytes, 0, RECORD_ALIGN);
	rec->payload_bytes = (uint32_t)sizeof *row + bytes;
	rec->bytes = ((uint32_t)sizeof *rec + rec->payload_bytes + RECORD_ALIGN - 1) & ~(RECORD_ALIGN - 1);
	rec->receive_time_ms = lane->receive_ms;
	row->flags = lane->flags;
	row->key_bytes = key_bytes;
	row->agg_bytes = agg_bytes;
}

/* The lane's row is of the same key. */
static bool lane_has(const struct merge_lane *lane, const struct row *row)
{
	return lane->open && !row_keys_compare(lane->key, lane->key_bytes, row_key(row), row->key_bytes);
}

/* A row of several partials: of the one that was put, and of those that other lanes have of its key. */
static int several_emit(struct merge *m, struct merged *g, struct merge_lane **first, struct err *err)
{
	const struct record *rec = (const struct record *)m->out.data;
	const struct row *row = row_of(rec);
	struct merge_lane *lane = *first;
	uint32_t count = 0;
	int rc;

	m->ref[count++] = (struct merge_ref){row_agg(row), row->agg_bytes};
	g->key_hash = rec->key_hash;
	g->receive_ms = rec->receive_time_ms;
	g->row.flags = row->flags;
	while (lane_has(lane, row)) {
		m->ref[count++] = (struct merge_ref){lane->key + lane->key_bytes, lane->agg_bytes};
		g->row.flags |= lane->flags;
		if (lane->receive_ms > g->receive_ms)
			g->receive_ms = lane->receive_ms;
		lane_take(lane, &g->row);
		lane = lanes_first(m, lane);
	}
	*first = lane;
	rc = merge_refs_fold(m, g, count, err);
	if (rc)
		return rc;
	g->row.key_bytes = row->key_bytes;
	g->row.agg_bytes = g->sum_bytes;
	bytes_reset(&m->text);
	row_put(&m->text, merge_type(g->window->def), &g->row, row_key(row), g->sum, NULL, g->key_hash,
		g->receive_ms);
	if (m->text.failed)
		return err_set(err, -ENOMEM, "no memory for a row");
	merge_row_count(m, g->row.step_ms, g->receive_ms);
	return m->emit(m->emit_arg, (const struct record *)m->text.data);
}

/* The lowest row; *lane: whose it is, and then whose the next one is. It is put first, since most keys are in
 * one partition, and little need then be kept while the next lane is found. */
static inline int row_next(struct merge *m, struct merged *g, struct merge_lane **first, struct err *err)
{
	struct merge_lane *lane = *first;
	unsigned __int128 order = lane->order;
	struct record *rec = (struct record *)m->out.data;
	const struct row *row = (const struct row *)(rec + 1);
	bool good = agg_plain_short(g->window->plain, lane->key + lane->key_bytes, lane->agg_bytes);

	out_put(rec, lane);
	lane_take(lane, &g->row);
	*first = lane = lanes_first(m, lane);
	if (lane->order == order && lane_has(lane, row))
		return several_emit(m, g, first, err); /* which reads them */
	if (__builtin_expect(!good, 0) && !cell_good(g->window, row_agg(row), row->agg_bytes))
		return merge_cells_bad(g->window->def, err);
	merge_row_count(m, g->row.step_ms, rec->receive_time_ms);
	return m->emit(m->emit_arg, rec);
}

int merge_group(struct merge *m, struct err *err)
{
	const struct merge_part *low = &m->part[m->low];
	struct merged g = {.window = merge_head(low)->window};
	struct merge_lane *lane;
	int rc = 0;

	g.row = (struct row){.window_uid = low->walk.row.window_uid,
		.start_ms = low->walk.row.start_ms,
		.end_ms = low->walk.row.end_ms,
		.step_ms = low->walk.row.step_ms};
	if (!out_start(m, g.window->def, &g.row))
		return err_set(err, -ENOMEM, "no memory for a row");
	for (lane = lanes_start(m, &g.row); lane->open && !rc;)
		rc = row_next(m, &g, &lane, err);
	for (uint32_t i = 0; i < m->params.partitions; i++)
		merge_head_changed(m, i);
	return rc;
}
