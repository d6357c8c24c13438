/* Rows of one window and step from all partitions, merged by key: the usual way of rows, where a definition
 * has neither revisions nor anomalies and all partitions have passed the step. A row whose key no other
 * partition has goes out as its bytes came. Merge thread. In: the queues' first rows; out: records by emit.
 */
#include "merge_priv.h"

#include <errno.h>

#include "hash.h"

/* ---- lanes: partitions in order of their first keys ---- */

/* The first 16 bytes of a key as two numbers, zeros behind its end: they compare as the bytes do; where they
 * are equal the keys decide. 16 bytes can be read. */
static inline void key_order(struct merge_lane *lane, const uint8_t *key, uint32_t bytes)
{
	static const uint64_t mask[17] = {0, 0xffull << 56, 0xffffull << 48, 0xffffffull << 40,
		0xffffffffull << 32, 0xffffffffffull << 24, 0xffffffffffffull << 16, 0xffffffffffffffull << 8,
		UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
		UINT64_MAX, UINT64_MAX};
	uint32_t high = bytes < 8 ? bytes : 8, low = bytes < 16 ? bytes - high : 8;

	lane->high = row_key_word(key) & mask[high];
	lane->low = row_key_word(key + 8) & mask[low];
}

static void lane_fill(struct merge_lane *lane)
{
	key_order(lane, lane->part->walk.key, lane->part->walk.row.key_bytes);
}

static void lane_close(struct merge_lane *lane)
{
	lane->open = false;
	lane->high = lane->low = UINT64_MAX;
}

static void lane_enter(struct merge_lane *lane)
{
	const struct record *rec = merge_entry_record(merge_head(lane->part));

	lane->open = true;
	lane->hashed = rec->type != ROW_PARTIALS;
	lane->receive_ms = rec->receive_time_ms;
	lane_fill(lane);
}

static bool group_same(const struct row *a, const struct row *b)
{
	return a->step_ms == b->step_ms && a->window_uid == b->window_uid && a->end_ms == b->end_ms &&
	       a->start_ms == b->start_ms;
}

/* Takes the lane's row. */
static inline void lane_take(struct merge_lane *lane, const struct row *group)
{
	struct merge_part *part = lane->part;
	bool last = !part->walk.left;

	merge_take(part);
	if (!last)
		lane_fill(lane);
	else if (merge_first(part) && group_same(&part->walk.row, group))
		lane_enter(lane);
	else
		lane_close(lane);
}

static __attribute__((noinline)) int lane_tie(const struct merge *m, int a, int b)
{
	const struct row_walk *x, *y;

	if (!m->lane[a].open || !m->lane[b].open)
		return m->lane[a].open ? a : b;
	x = &m->lane[a].part->walk;
	y = &m->lane[b].part->walk;
	return row_keys_compare(x->key, x->row.key_bytes, y->key, y->row.key_bytes) <= 0 ? a : b;
}

/* Without a branch where the keys' beginnings differ: who is first is as good as random. */
static inline int lane_lower(const struct merge *m, int a, int b)
{
	const struct merge_lane *x = &m->lane[a], *y = &m->lane[b];
	unsigned __int128 p = (unsigned __int128)x->high << 64 | x->low;
	unsigned __int128 q = (unsigned __int128)y->high << 64 | y->low;

	if (__builtin_expect(p == q, 0))
		return lane_tie(m, a, b);
	return b ^ ((a ^ b) & -(int)(p < q));
}

static inline struct merge_lane *lanes_first(struct merge *m, int changed)
{
	int *tree = m->lane_tree;

	for (uint32_t at = m->leaves + (uint32_t)changed; at > 1; at /= 2)
		tree[at / 2] = lane_lower(m, tree[at & ~1u], tree[at | 1]);
	return &m->lane[tree[1]];
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
		m->lane_tree[m->leaves + i] = (int)i;
	}
	for (uint32_t at = m->leaves - 1; at; at--)
		m->lane_tree[at] = lane_lower(m, m->lane_tree[2 * at], m->lane_tree[2 * at + 1]);
	return &m->lane[m->lane_tree[1]];
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

/* A row that was taken from its lane: its aggregates follow its key. */
struct partial {
	const uint8_t *key;
	uint32_t key_bytes, agg_bytes, flags;
};

/* The lane's row is of the same key. */
static bool lane_has(const struct merge_lane *lane, const struct partial *of)
{
	const struct row_walk *walk = lane->open ? &lane->part->walk : NULL;

	return walk && !row_keys_compare(walk->key, walk->row.key_bytes, of->key, of->key_bytes);
}

/* A row of one partial: its bytes. The key and the aggregates behind it are copied in words. */
static inline int alone_put(
	struct merge *m, const struct partial *from, uint64_t key_hash, int64_t receive_ms)
{
	struct record *rec = (struct record *)m->out.data;
	struct row *row = (struct row *)(rec + 1);
	uint8_t *to = (uint8_t *)(row + 1);
	uint32_t bytes = from->key_bytes + from->agg_bytes;

	for (uint32_t i = 0; i < bytes; i += MERGE_SLACK)
		memcpy(to + i, from->key + i, MERGE_SLACK);
	memset(to + bytes, 0, RECORD_ALIGN);
	rec->payload_bytes = (uint32_t)sizeof *row + bytes;
	rec->bytes = ((uint32_t)sizeof *rec + rec->payload_bytes + RECORD_ALIGN - 1) & ~(RECORD_ALIGN - 1);
	rec->receive_time_ms = receive_ms;
	rec->key_hash = key_hash;
	row->flags = from->flags;
	row->key_bytes = from->key_bytes;
	row->agg_bytes = from->agg_bytes;
	merge_row_count(m, row->step_ms, receive_ms);
	return m->emit(m->emit_arg, rec);
}

/* A row of several partials: takes those that other lanes have of its key, and puts out the sum. */
static int several_put(struct merge *m, struct merged *g, const struct partial *from, struct merge_lane *lane,
	struct err *err)
{
	uint32_t count = 0;
	int rc;

	m->ref[count++] = (struct merge_ref){from->key + from->key_bytes, from->agg_bytes};
	g->row.flags = from->flags;
	while (lane_has(lane, from)) {
		const struct row_walk *more = &lane->part->walk;

		m->ref[count++] = (struct merge_ref){more->agg, more->row.agg_bytes};
		g->row.flags |= more->row.flags;
		if (lane->receive_ms > g->receive_ms)
			g->receive_ms = lane->receive_ms;
		lane_take(lane, &g->row);
		lane = lanes_first(m, (int)(lane - m->lane));
	}
	rc = merge_refs_fold(m, g, count, err);
	if (rc)
		return rc;
	g->row.key_bytes = from->key_bytes;
	g->row.agg_bytes = g->sum_bytes;
	bytes_reset(&m->text);
	row_put(&m->text, merge_type(g->window->def), &g->row, from->key, g->sum, NULL, g->key_hash,
		g->receive_ms);
	if (m->text.failed)
		return err_set(err, -ENOMEM, "no memory for a row");
	merge_row_count(m, g->row.step_ms, g->receive_ms);
	return m->emit(m->emit_arg, (const struct record *)m->text.data);
}

static int row_next(struct merge *m, struct merged *g, struct merge_lane *lane, struct err *err)
{
	const struct window_def *def = g->window->def;
	const struct row_walk *walk = &lane->part->walk;
	const struct partial from = {walk->key, walk->row.key_bytes, walk->row.agg_bytes, walk->row.flags};
	const uint8_t *agg = from.key + from.key_bytes;
	uint64_t high = lane->high, low = lane->low;

	g->receive_ms = lane->receive_ms;
	g->key_hash = lane->hashed ? merge_entry_record(merge_head(lane->part))->key_hash
				   : hash_bytes(from.key, from.key_bytes, 0);
	lane_take(lane, &g->row);
	lane = lanes_first(m, (int)(lane - m->lane));
	if (lane->high == high && lane->low == low && lane_has(lane, &from))
		return several_put(m, g, &from, lane, err);
	if (g->window->plain ? !agg_plain_valid(def->aggs, agg, from.agg_bytes)
			     : !agg_packed_valid(def->aggs, agg, from.agg_bytes))
		return merge_cells_bad(def, err);
	return alone_put(m, &from, g->key_hash, g->receive_ms);
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
	for (lane = lanes_start(m, &g.row); lane->open && !rc; lane = &m->lane[m->lane_tree[1]])
		rc = row_next(m, &g, lane, err);
	for (uint32_t i = 0; i < m->params.partitions; i++)
		merge_head_changed(m, i);
	return rc;
}
