/* The merge stage's life, and the queues of its partitions: what comes in, what is waited for. Merge thread.
 * In: records of the P partial logs, copied when they wait; out: by merge_run(). Owns the queues. */
#include "merge_priv.h"

#include <errno.h>
#include <string.h>

static bool merge_make(struct merge *m)
{
	uint32_t partitions = m->params.partitions;
	uint64_t memory_bytes;

	if (!m->params.bounds) {
		merge_bounds_init(&m->bounds, m->params.memory_bytes);
		m->params.bounds = &m->bounds;
	}
	/* What is loaded has room by any of them; those of the first row are taken before it. */
	memory_bytes = merge_bounds_largest(m->params.bounds);
	m->bound_until_ms = INT64_MIN;
	m->folded_ms = m->from_step_ms = MERGE_NO_STEP;
	m->part = calloc(partitions, sizeof *m->part);
	m->ref = calloc(partitions, MERGE_SAME_MAX * sizeof *m->ref);
	for (m->leaves = 1; m->leaves < partitions;)
		m->leaves *= 2;
	m->tree = calloc(2 * (size_t)m->leaves, sizeof *m->tree);
	m->lane = calloc(m->leaves, sizeof *m->lane);
	m->lane_tree = calloc(2 * (size_t)m->leaves, sizeof(struct merge_lane *));
	m->arena = agg_arena_new(MERGE_ARENA_BYTES);
	m->anomaly = anomaly_new(memory_bytes / 2, partitions);
	if (!m->part || !m->ref || !m->tree || !m->lane || !m->lane_tree || !m->arena || !m->anomaly)
		return false;
	for (uint32_t i = 0; i < partitions; i++)
		m->part[i].mark_ms = MERGE_NO_STEP;
	for (uint32_t i = 0; i < 2 * m->leaves; i++)
		m->tree[i] = -1;
	m->keep.bytes_max = memory_bytes - memory_bytes / 2;
	m->low = -1;
	m->open_step_ms = MERGE_NO_STEP;
	m->open_receive_ms = INT64_MIN;
	m->stats.step_ms = MERGE_NO_STEP;
	return true;
}

int merge_new(
	struct merge **out, const struct merge_params *params, stage_emit emit, void *arg, struct err *err)
{
	struct merge *m;

	if (!params->partitions || params->step_ms <= 0)
		return err_set(err, -EINVAL, "merge of %u partitions by steps of %lld ms", params->partitions,
			(long long)params->step_ms);
	m = calloc(1, sizeof *m);
	if (!m)
		return err_set(err, -ENOMEM, "no memory for the merge");
	m->params = *params;
	m->emit = emit;
	m->emit_arg = arg;
	if (!merge_make(m)) {
		merge_free(m);
		return err_set(err, -ENOMEM, "no memory for the merge of %u partitions", params->partitions);
	}
	*out = m;
	return 0;
}

void merge_free(struct merge *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; m->part && i < m->params.partitions; i++) {
		bytes_free(&m->part[i].queue);
		free(m->part[i].terms);
	}
	keep_free(&m->keep);
	for (uint32_t i = 0; i < m->windows; i++) {
		bytes_free(&m->window[i]->lost_key);
		free(m->window[i]);
	}
	free(m->window);
	anomaly_free(m->anomaly);
	if (m->arena)
		agg_arena_free(m->arena);
	bytes_free(&m->delta);
	bytes_free(&m->full);
	bytes_free(&m->out);
	bytes_free(&m->text);
	free(m->cell);
	bytes_free(&m->first);
	free(m->ref);
	free(m->lane_tree);
	free(m->lane);
	free(m->tree);
	free(m->part);
	free(m);
}

int merge_anomaly_check(const char *text, const struct agg_set *aggs, struct err *err)
{
	struct anomaly_set set;

	return anomaly_set_parse(&set, text, aggs, err);
}

int merge_anomaly_check_window(const struct window_def *def, struct err *err)
{
	struct anomaly_set set;
	int rc = anomaly_set_parse(&set, def->anomaly, def->aggs, err);

	for (uint32_t i = 0; !rc && i < set.count; i++)
		if (set.spec[i].kind == ANOMALY_SEASONAL &&
			!anomaly_season_slots(&set.spec[i], anomaly_slide_ms(def)))
			rc = err_set(err, -EINVAL,
				"%s: a period is a multiple of the distance of windows, of at most %d of "
				"them",
				set.spec[i].text, ANOMALY_SLOTS_MAX);
	return rc;
}

/* ---- definitions ---- */

static struct merge_window *window_make(struct merge *m, uint64_t uid, uint32_t at, int *rc, struct err *err)
{
	const struct window_def *def = m->params.window(m->params.window_arg, uid);
	struct merge_window **grown, *w;
	size_t cell_bytes;

	if (!def) {
		*rc = err_set(err, -ENOENT, "a row of window %016llx, whose definition is not there",
			(unsigned long long)uid);
		return NULL;
	}
	cell_bytes = agg_set_cell_bytes(def->aggs);
	w = calloc(1, sizeof *w);
	grown = realloc(m->window, (m->windows + 1) * sizeof(struct merge_window *));
	if (grown)
		m->window = grown;
	if (cell_bytes > m->cell_bytes) {
		free(m->cell);
		m->cell = calloc(1, cell_bytes);
		m->cell_bytes = m->cell ? cell_bytes : 0;
	}
	if (!w || !grown || !m->cell) {
		free(w);
		*rc = err_set(err, -ENOMEM, "no memory for window %s", def->name);
		return NULL;
	}
	w->def = def;
	w->plain = agg_plain(def->aggs);
	w->simple = def->lateness_ms <= 0 && !def->anomaly[0];
	memmove(grown + at + 1, grown + at, (m->windows - at) * sizeof(struct merge_window *));
	grown[at] = w;
	m->windows++;
	return w;
}

struct merge_window *merge_window_of(struct merge *m, uint64_t uid, int *rc, struct err *err)
{
	uint32_t low = 0, high = m->windows;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (m->window[middle]->def->uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < m->windows && m->window[low]->def->uid == uid)
		return m->window[low];
	return window_make(m, uid, low, rc, err);
}

/* ---- queues ---- */

bool merge_passed(const struct merge_part *part, const struct row_walk *row)
{
	if (part->mark_ms >= row->row.step_ms)
		return true;
	/* what waits is in order: the latest one is beyond the row, or all are of its window and key */
	return merge_first(part) &&
	       row_place_compare_at(&part->last, part->queue.data + part->last_key, &row->row, row->key);
}

static int lower(const struct merge *m, int a, int b)
{
	const struct row_walk *x, *y;

	if (a < 0 || b < 0)
		return a < 0 ? b : a;
	x = &m->part[a].walk;
	y = &m->part[b].walk;
	return row_place_compare_at(&x->row, x->key, &y->row, y->key) <= 0 ? a : b;
}

void merge_head_changed(struct merge *m, uint32_t partition)
{
	uint32_t at = m->leaves + partition;

	m->tree[at] = merge_first(&m->part[partition]) ? (int)partition : -1;
	for (; at > 1; at /= 2)
		m->tree[at / 2] = lower(m, m->tree[at & ~1u], m->tree[at | 1]);
	m->low = m->tree[1];
}

bool merge_step_done(const struct merge *m)
{
	if (m->open_step_ms == MERGE_NO_STEP)
		return false;
	for (uint32_t i = 0; i < m->params.partitions; i++) {
		const struct row_walk *row = merge_first(&m->part[i]);

		if (row ? row->row.step_ms <= m->open_step_ms : m->part[i].mark_ms < m->open_step_ms)
			return false;
	}
	return true;
}

int merge_wants(const struct merge *m, int after)
{
	uint32_t count = m->params.partitions;
	const struct row_walk *low = m->low < 0 ? NULL : merge_first(&m->part[m->low]);
	int64_t least = INT64_MAX;

	if (!low && merge_step_done(m))
		return -1;
	for (uint32_t i = 0; !low && i < count; i++)
		least = m->part[i].mark_ms < least ? m->part[i].mark_ms : least;
	for (uint32_t i = 1; i <= count; i++) {
		uint32_t p = (uint32_t)((after < 0 ? -1 : after) + (int)i) % count;

		if (low ? !merge_passed(&m->part[p], low) : m->part[p].mark_ms == least)
			return (int)p;
	}
	return -1;
}

uint64_t merge_position(const struct merge *m, uint32_t partition)
{
	const struct merge_part *part = &m->part[partition];
	const struct merge_entry *e = merge_head(part);

	return e ? e->offset : part->next;
}

/* ---- feeding ---- */

static bool time_bad(int64_t ms)
{
	return ms < -ANOMALY_TIME_MAX_MS || ms > ANOMALY_TIME_MAX_MS;
}

static bool row_fits(const struct merge_window *w, const struct row *row)
{
	return !time_bad(row->start_ms) && !time_bad(row->end_ms) && !time_bad(row->step_ms) &&
	       row->start_ms <= row->end_ms && row->key_bytes <= MERGE_KEY_MAX &&
	       row->agg_bytes <= agg_set_packed_max(w->def->aggs) && !row->delta_bytes;
}

/* Room behind the queue, at whose end MERGE_SLACK more bytes can be read; what the first row points to moves
 * along. */
static uint8_t *queue_room(struct merge_part *part, size_t bytes)
{
	struct row_walk *walk = &part->walk;
	bool waits = merge_first(part) != NULL;
	const uint8_t *data = part->queue.data;
	size_t key = waits ? (size_t)(walk->key - data) : 0, agg = waits ? (size_t)(walk->agg - data) : 0;
	size_t next = waits && walk->next ? (size_t)(walk->next - data) : 0, gone = 0;
	uint8_t *to;

	if (!waits) {
		bytes_reset(&part->queue);
		part->head = 0;
	} else if (part->head > MERGE_QUEUE_BYTES && part->head > part->queue.bytes / 2) {
		gone = part->head;
		part->queue.bytes -= gone;
		memmove(part->queue.data, part->queue.data + gone, part->queue.bytes);
		part->head = 0;
	}
	to = bytes_room(&part->queue, bytes + MERGE_SLACK);
	if (!to)
		return NULL;
	part->queue.bytes -= MERGE_SLACK;
	memset(to + bytes, 0, MERGE_SLACK);
	if (waits) {
		walk->key = part->queue.data + key - gone;
		walk->agg = part->queue.data + agg - gone;
		walk->next = next ? part->queue.data + next - gone : NULL;
	}
	return to;
}

static bool row_queue(
	struct merge_part *part, struct merge_window *w, const struct record *rec, uint64_t offset)
{
	struct merge_entry e = {.offset = offset,
		.mark_before_ms = part->mark_ms,
		.window = w,
		.bytes = sizeof e + rec->bytes};
	bool waits = merge_first(part) != NULL;
	uint8_t *to = queue_room(part, e.bytes);

	if (!to)
		return false;
	memcpy(to, &e, sizeof e);
	memcpy(to + sizeof e, rec, rec->bytes);
	if (!waits) {
		uint32_t taken = part->taken;

		row_walk_first(&part->walk, (const struct record *)(to + sizeof e));
		while (taken--)
			(void)row_walk_next(
				&part->walk); /* that many rows were out when the state was saved */
	}
	return true;
}

/* The first row of a record stands behind the last one that came. *same: rows of its window and key. */
static bool row_follows(const struct merge_part *part, const struct row_walk *first, uint32_t *same)
{
	int d;

	*same = 1;
	if (!part->any)
		return true;
	d = row_place_compare_at(&part->last, part->queue.data + part->last_key, &first->row, first->key);
	if (d > 0 || (!d && part->last.revision >= first->row.revision))
		return false;
	if (!d)
		*same = part->last_same + 1;
	return true;
}

/* What of the queued record, at its end, is the last row. */
static void row_last(struct merge_part *part, const struct record *rec, uint32_t last, uint32_t same)
{
	const struct record *copy =
		(const struct record *)(part->queue.data + part->queue.bytes - rec->bytes);
	struct row_walk walk;

	row_walk_last(&walk, copy, last);
	part->last_same = row_count(rec) > 1 ? 1 : same;
	part->any = true;
	part->last = walk.row;
	part->last_key = (size_t)(walk.key - part->queue.data);
}

/* last: of row_valid_last(). */
static int row_feed(struct merge *m, uint32_t partition, const struct record *rec, uint32_t last,
	uint64_t offset, struct err *err)
{
	struct merge_part *part = &m->part[partition];
	bool waits = merge_first(part) != NULL;
	struct row_walk first = {.key = NULL};
	struct merge_window *w;
	uint32_t same;
	int rc = 0;

	if (rec->type != ROW_ALERT)
		row_walk_first(&first, rec);
	w = merge_window_of(m, first.row.window_uid, &rc, err);
	if (!w)
		return rc;
	if (!row_partial(rec) || !row_fits(w, &first.row))
		return err_set(err, -EBADMSG, "partition %u, offset %llu: not a partial row of window %s",
			partition, (unsigned long long)offset, w->def->name);
	if (first.row.step_ms <= part->mark_ms)
		return err_set(err, -EBADMSG,
			"partition %u, offset %llu: a row of step %lld behind the mark of %lld", partition,
			(unsigned long long)offset, (long long)first.row.step_ms, (long long)part->mark_ms);
	if (!row_follows(part, &first, &same))
		return err_set(err, -EBADMSG, "partition %u, offset %llu: a row out of order", partition,
			(unsigned long long)offset);
	if (same > MERGE_SAME_MAX)
		return err_set(err, -EBADMSG,
			"partition %u, offset %llu: more than %d rows of one window and key", partition,
			(unsigned long long)offset, MERGE_SAME_MAX);
	if (!row_queue(part, w, rec, offset))
		return err_set(err, -ENOMEM, "no memory for rows that wait");
	row_last(part, rec, last, same);
	m->stats.rows_in += row_count(rec) - (waits ? 0 : part->taken);
	if (!waits)
		merge_head_changed(m, partition);
	return 0;
}

static int mark_feed(
	struct merge *m, uint32_t partition, const struct record *rec, uint64_t offset, struct err *err)
{
	struct merge_part *part = &m->part[partition];
	bool none = rec->event_time_ms == MERGE_NO_STEP && rec->payload_bytes;

	if ((time_bad(rec->event_time_ms) && !none) || rec->event_time_ms < part->mark_ms ||
		(part->any && rec->event_time_ms < part->last.step_ms))
		return err_set(err, -EBADMSG, "partition %u, offset %llu: a mark of %lld that goes back",
			partition, (unsigned long long)offset, (long long)rec->event_time_ms);
	part->mark_ms = rec->event_time_ms;
	return rec->payload_bytes ? merge_terms_feed(m, partition, rec, offset, err) : 0;
}

/* ---- memory ---- */

int merge_bound_take(struct merge *m, int64_t step_ms, struct err *err)
{
	uint64_t bytes = merge_bounds_of(m->params.bounds, step_ms, &m->bound_until_ms);

	anomaly_bound(m->anomaly, bytes / 2);
	m->keep.bytes_max = bytes - bytes / 2;
	return keep_bound(&m->keep) ? 0 : err_set(err, -ENOMEM, "no memory for the merge");
}

void merge_bounds_changed(struct merge *m)
{
	m->bound_until_ms = INT64_MIN;
}

int64_t merge_reached(struct merge *m)
{
	int64_t step_ms = merge_stats(m)->step_ms;

	step_ms = m->open_step_ms > step_ms ? m->open_step_ms : step_ms;
	return m->folded_ms > step_ms ? m->folded_ms : step_ms;
}

/* ---- numbers ---- */

/* The step before a partition's first row that waits, the mark behind which is not known yet; or its mark. */
static int64_t part_step(const struct merge *m, const struct merge_part *part)
{
	const struct row_walk *waits = merge_first(part);
	int64_t before = waits ? waits->row.step_ms - m->params.step_ms : MERGE_NO_STEP;

	return before > part->mark_ms ? before : part->mark_ms;
}

/* Where rows wait, those partitions hold back which the lowest one still needs: a partition that is ahead has
 * not had its mark read. */
static void holder_find(struct merge *m)
{
	const struct row_walk *low = m->low < 0 ? NULL : merge_first(&m->part[m->low]);
	int64_t least_ms = INT64_MAX, held_ms = INT64_MAX;
	uint32_t held_by = 0;

	for (uint32_t i = 0; i < m->params.partitions; i++) {
		const struct merge_part *part = &m->part[i];
		int64_t step_ms = part_step(m, part);

		least_ms = step_ms < least_ms ? step_ms : least_ms;
		if (step_ms < held_ms && (!low || !merge_passed(part, low))) {
			held_ms = step_ms;
			held_by = i;
		}
	}
	m->stats.step_ms = least_ms;
	m->stats.held_by = held_by;
}

const struct merge_stats *merge_stats(struct merge *m)
{
	struct merge_stats *s = &m->stats;

	holder_find(m);
	s->retained = m->keep.count;
	s->groups = anomaly_stats(m->anomaly)->groups;
	s->groups_evicted = anomaly_stats(m->anomaly)->evicted;
	s->groups_refused = anomaly_stats(m->anomaly)->refused;
	s->memory_bytes = m->keep.bytes + anomaly_stats(m->anomaly)->bytes;
	return s;
}

int merge_feed(
	struct merge *m, uint32_t partition, const struct record *rec, uint64_t offset, struct err *err)
{
	struct merge_part *part = &m->part[partition];
	uint32_t last;
	int rc = 0;

	if (offset < part->next)
		return err_set(err, -EINVAL, "partition %u: offset %llu again, the next is %llu", partition,
			(unsigned long long)offset, (unsigned long long)part->next);
	if (part->queue.bytes - part->head >= MERGE_QUEUE_BYTES && merge_passed(part, &m->part[m->low].walk))
		return err_set(err, -EAGAIN, "partition %u: as much as may wait", partition);
	if (!row_valid_last(rec, &last))
		return err_set(err, -EBADMSG, "partition %u, offset %llu: a damaged record", partition,
			(unsigned long long)offset);
	if (part->taken && !merge_first(part) &&
		(rec->kind != RECORD_ROW || rec->type != ROW_PARTIALS || row_count(rec) <= part->taken))
		return err_set(err, -EBADMSG,
			"partition %u, offset %llu: not the record of which %u rows were taken", partition,
			(unsigned long long)offset, part->taken);
	if (rec->kind == RECORD_MARK)
		rc = mark_feed(m, partition, rec, offset, err);
	else if (merge_passes_over(rec))
		rc = 0;
	else if (rec->kind == RECORD_ROW)
		rc = row_feed(m, partition, rec, last, offset, err);
	else
		rc = err_set(err, -EBADMSG, "partition %u, offset %llu: a record of kind %u", partition,
			(unsigned long long)offset, rec->kind);
	if (!rc)
		part->next = offset + 1;
	return rc;
}
