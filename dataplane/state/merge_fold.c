/* Folding: the lowest rows of all partitions that are of one window and key become one merged row; marks and
 * alerts follow them. Merge thread. Out: records by emit, valid until it returns. */
#include "merge_priv.h"

#include <errno.h>
#include <string.h>

#include "hash.h"

static int64_t round_up(int64_t ms, int64_t step)
{
	int64_t over = ms % step;

	return over > 0 ? ms + step - over : ms - over;
}

/* Last step at which a partition may emit something for a window that ends at end_ms. */
int64_t merge_limit(const struct merge *m, const struct window_def *def, int64_t end_ms)
{
	return round_up(end_ms + def->lateness_ms + (def->kind == WINDOW_FUNNEL ? def->within_ms : 0),
		m->params.step_ms);
}

enum row_type merge_type(const struct window_def *def)
{
	switch (def->kind) {
	case WINDOW_SESSION:
		return ROW_SESSION;
	case WINDOW_FUNNEL:
		return ROW_FUNNEL;
	default:
		return ROW_WINDOW;
	}
}

static int emit_out(struct merge *m, struct err *err)
{
	int rc;

	if (m->out.failed)
		return err_set(err, -ENOMEM, "no memory for a row");
	rc = m->emit(m->emit_arg, (const struct record *)m->out.data);
	bytes_reset(&m->out);
	return rc;
}

int merge_cells_bad(const struct window_def *def, struct err *err)
{
	return err_set(err, -EBADMSG, "window %s: aggregates that cannot be read", def->name);
}

static int plain_fold(const struct window_def *def, const uint8_t *const *packed, const uint32_t *bytes,
	uint32_t count, struct bytes *out, struct err *err)
{
	__int128 value[AGG_PLAIN_MAX] = {0};
	uint8_t *to = bytes_room(out, AGG_PLAIN_BYTES);

	for (uint32_t i = 0; i < count; i++)
		if (!agg_plain_add(def->aggs, value, packed[i], bytes[i]))
			return merge_cells_bad(def, err);
	if (!to)
		return err_set(err, -ENOMEM, "no memory for a row");
	out->bytes = (size_t)(agg_plain_pack(def->aggs, value, to) - out->data);
	return 0;
}

/* Packs the sum of packed cells. Sets *flags' CUT if one did not fit. */
static int cells_fold(struct merge *m, const struct merge_window *w, const uint8_t *const *packed,
	const uint32_t *bytes, uint32_t count, struct bytes *out, uint32_t *flags, struct err *err)
{
	const struct window_def *def = w->def;

	bytes_reset(out);
	if (w->plain)
		return plain_fold(def, packed, bytes, count, out, err);
	agg_arena_reset(m->arena);
	agg_cell_init(def->aggs, m->cell);
	for (uint32_t i = 0; i < count; i++) {
		int rc = agg_cell_unpack(def->aggs, m->cell, m->arena, packed[i], bytes[i]);

		if (rc == -ENOSPC)
			*flags |= ROW_F_CUT;
		else if (rc)
			return merge_cells_bad(def, err);
	}
	agg_cell_pack(def->aggs, m->cell, m->arena, out);
	return out->failed ? err_set(err, -ENOMEM, "no memory for a row") : 0;
}

/* One alone passes as it is, once it has been looked at: packing is canonical. */
int merge_refs_fold(struct merge *m, struct merged *g, uint32_t count, struct err *err)
{
	const struct window_def *def = g->window->def;
	const uint8_t *packed[MERGE_SAME_MAX];
	uint32_t bytes[MERGE_SAME_MAX], done = 0;

	if (count == 1) {
		g->sum = m->ref[0].agg;
		g->sum_bytes = m->ref[0].bytes;
		return agg_packed_valid(def->aggs, g->sum, g->sum_bytes) ? 0 : merge_cells_bad(def, err);
	}
	while (done < count) { /* from the second round on the sum so far comes first */
		uint32_t n = 0;
		int rc;

		bytes_reset(&m->text);
		if (done) {
			bytes_put(&m->text, m->delta.data, m->delta.bytes);
			if (m->text.failed)
				return err_set(err, -ENOMEM, "no memory for a row");
			packed[n] = m->text.data;
			bytes[n++] = (uint32_t)m->text.bytes;
		}
		while (n < MERGE_SAME_MAX && done < count) {
			packed[n] = m->ref[done].agg;
			bytes[n++] = m->ref[done++].bytes;
		}
		rc = cells_fold(m, g->window, packed, bytes, n, &m->delta, &g->row.flags, err);
		if (rc)
			return rc;
	}
	g->sum = m->delta.data;
	g->sum_bytes = (uint32_t)m->delta.bytes;
	return 0;
}

/* agg: the whole, where the partials' sum only is what came since the revision before; or NULL. */
static int merged_emit(struct merge *m, struct merged *g, const struct bytes *agg, struct err *err)
{
	g->row.key_bytes = g->first->key_bytes;
	g->row.agg_bytes = agg ? (uint32_t)agg->bytes : g->sum_bytes;
	g->row.delta_bytes = agg ? g->sum_bytes : 0;
	row_put(&m->out, merge_type(g->window->def), &g->row, row_key(g->first), agg ? agg->data : g->sum,
		g->sum, g->key_hash, g->receive_ms);
	merge_row_count(m, g->row.step_ms, g->receive_ms);
	return emit_out(m, err);
}

static int merged_alert(struct merge *m, const struct merged *g, struct err *err)
{
	const struct window_def *def = g->window->def;
	struct anomaly_alert alert[ANOMALY_MAX];
	struct anomaly_row row = {.end_ms = g->row.end_ms,
		.key = row_key(g->first),
		.key_bytes = g->first->key_bytes,
		.agg = g->sum,
		.agg_bytes = g->sum_bytes};
	int count;

	if (!def->anomaly[0] || ((g->row.flags & ROW_F_OTHER) && !row.key_bytes))
		return 0;
	count = anomaly_take(m->anomaly, def, &row, alert, err);
	for (int i = 0; i < count; i++) {
		int rc;

		merge_alert_put(&m->out, def, g->first, &alert[i], g->receive_ms);
		m->stats.alerts++;
		rc = emit_out(m, err);
		if (rc)
			return rc;
	}
	return count < 0 ? count : 0;
}

static int merged_first(struct merge *m, struct merged *g, struct err *err)
{
	const struct window_def *def = g->window->def;
	int rc = merged_emit(m, g, NULL, err);

	if (!rc)
		rc = merged_alert(m, g, err);
	if (!rc && def->lateness_ms > 0) {
		struct kept values = {.limit_ms = merge_limit(m, def, g->row.end_ms), .flags = g->row.flags};

		if (!keep_put(&m->keep, g->window, g->first, &values, g->sum, g->sum_bytes) ||
			!keep_bound(&m->keep))
			return err_set(err, -ENOMEM, "no memory for windows that may be revised");
	}
	return rc;
}

static int merged_revise(struct merge *m, struct merged *g, struct kept *e, struct err *err)
{
	const uint8_t *const packed[] = {e->agg, g->sum};
	const uint32_t bytes[] = {e->agg_bytes, g->sum_bytes};
	int rc;

	g->row.flags |= e->flags;
	rc = cells_fold(m, g->window, packed, bytes, 2, &m->full, &g->row.flags, err);
	if (rc)
		return rc;
	g->row.revision = ++e->revision;
	e->flags = g->row.flags;
	m->stats.revisions++;
	rc = merged_emit(m, g, &m->full, err);
	if (rc)
		return rc;
	if (!keep_change(&m->keep, e, m->full.data, (uint32_t)m->full.bytes) || !keep_bound(&m->keep))
		return err_set(err, -ENOMEM, "no memory for windows that may be revised");
	return 0;
}

/* The lowest row with its key behind it, in m->first. */
static const struct row *first_copy(struct merge *m, const struct row_walk *walk)
{
	bytes_reset(&m->first);
	bytes_put(&m->first, &walk->row, sizeof walk->row);
	bytes_put(&m->first, walk->key, walk->row.key_bytes);
	return m->first.failed ? NULL : (const struct row *)m->first.data;
}

/* Takes the rows of the lowest one's window and key from all partitions, by partition. */
static uint32_t refs_take(struct merge *m, struct merged *g)
{
	const struct merge_entry *lowest = merge_head(&m->part[m->low]);
	const struct record *rec = merge_entry_record(lowest);
	const struct row_walk first = m->part[m->low].walk;
	const struct row *row = &first.row;
	uint32_t count = 0;

	*g = (struct merged){.window = lowest->window, .first = first_copy(m, &first)};
	g->key_hash = rec->type == ROW_PARTIALS ? hash_bytes(first.key, row->key_bytes, 0) : rec->key_hash;
	g->receive_ms = INT64_MIN;
	g->row = (struct row){.window_uid = row->window_uid,
		.start_ms = row->start_ms,
		.end_ms = row->end_ms,
		.step_ms = row->step_ms};
	do {
		uint32_t partition = (uint32_t)m->low;
		struct merge_part *part = &m->part[partition];

		do {
			const struct row *r = &part->walk.row;
			const struct record *from = merge_entry_record(merge_head(part));

			m->ref[count++] = (struct merge_ref){part->walk.agg, r->agg_bytes};
			g->row.flags |= r->flags;
			if (from->receive_time_ms > g->receive_ms)
				g->receive_ms = from->receive_time_ms;
			merge_take(part);
		} while (merge_first(part) && merge_row_same(&part->walk, &first));
		merge_head_changed(m, partition);
	} while (m->low >= 0 && merge_row_same(&m->part[m->low].walk, &first));
	return count;
}

static int merge_fold(struct merge *m, struct err *err)
{
	struct kept *e = NULL;
	struct merged g;
	uint32_t count = refs_take(m, &g);
	const struct window_def *def = g.window->def;
	int rc;

	if (!g.first)
		return err_set(err, -ENOMEM, "no memory for a row");
	if (def->lateness_ms > 0) {
		keep_expire(&m->keep, g.row.step_ms);
		e = keep_find(&m->keep, g.window, g.first);
		if (!e &&
			(g.row.step_ms > merge_limit(m, def, g.row.end_ms) || keep_lost(g.window, g.first))) {
			m->stats.late_lost += count;
			return 0;
		}
	}
	rc = merge_refs_fold(m, &g, count, err);
	if (rc)
		return rc;
	return e ? merged_revise(m, &g, e, err) : merged_first(m, &g, err);
}

/* All of a step is out: also windows of which no row comes again, their definition being gone, end here. */
static int mark_emit(struct merge *m, struct err *err)
{
	keep_expire(&m->keep, m->open_step_ms);
	row_put_mark(&m->out, m->open_step_ms, m->open_receive_ms);
	m->open_step_ms = MERGE_NO_STEP;
	m->open_receive_ms = INT64_MIN;
	return emit_out(m, err);
}

/* mark_ms: the least of all marks. */
static bool all_passed(const struct merge *m, const struct row_walk *row, int64_t mark_ms)
{
	if (row->row.step_ms <= mark_ms)
		return true;
	for (uint32_t i = 0; i < m->params.partitions; i++)
		if (!merge_passed(&m->part[i], row))
			return false;
	return true;
}

/* The lowest row: its window is not whole. */
static void row_leave_out(struct merge *m)
{
	uint32_t partition = (uint32_t)m->low;

	m->stats.incomplete++;
	merge_take(&m->part[partition]);
	merge_head_changed(m, partition);
}

int merge_run(struct merge *m, struct err *err)
{
	int64_t mark_ms = m->part[0].mark_ms; /* no record comes while this runs */
	int rc = 0;

	for (uint32_t i = 1; i < m->params.partitions; i++)
		mark_ms = m->part[i].mark_ms < mark_ms ? m->part[i].mark_ms : mark_ms;
	while (!rc && m->low >= 0) {
		const struct merge_part *part = &m->part[m->low];
		const struct row_walk *row = &part->walk;

		if (m->open_step_ms != MERGE_NO_STEP && row->row.step_ms > m->open_step_ms &&
			merge_step_done(m))
			rc = mark_emit(m, err);
		if (rc || !all_passed(m, row, mark_ms))
			break;
		m->folded_ms = row->row.step_ms;
		if (m->folded_ms > m->bound_until_ms && (rc = merge_bound_take(m, m->folded_ms, err)))
			break;
		if (row->row.start_ms < merge_from(m, &row->row))
			row_leave_out(m);
		else
			rc = merge_head(part)->window->simple && row->row.step_ms <= mark_ms
				     ? merge_group(m, err)
				     : merge_fold(m, err);
	}
	if (!rc && merge_step_done(m))
		rc = mark_emit(m, err);
	return rc;
}
