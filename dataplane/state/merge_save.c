/* The merge's state as bytes, and back. Merge thread. Canonical: equal states give equal bytes.
 *
 *   u32 magic, u32 version, u32 partitions, u32 definitions, u64 retained windows
 *   each partition: u64 position, u32 rows of the record there that are out, i64 mark; u32 lists of
 * definitions in force, of each: i64 step, u32 definitions, of each: u64 uid, i64 from
 *   i64 open step, i64 its receive time
 *   each definition that lost windows, by uid: u64 uid, i64 end, i64 start, u32 bytes, key
 *   each retained window, in order: u64 uid, i64 limit, i64 end, i64 start, u32 revision, u32 flags, u32
 * bytes, key, u32 bytes, packed aggregates baselines (anomaly.h) */
#include "merge_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MERGE_MAGIC 0x67726d73u
#define MERGE_VERSION 3u
#define MERGE_VERSION_TERMS 3u	 /* the first with definitions in force */
#define MERGE_VERSION_RECORDS 2u /* the first with records of many rows */

static int kept_order(const void *a, const void *b)
{
	return keep_compare(*(const struct kept *const *)a, *(const struct kept *const *)b);
}

static void kept_save(const struct keep *k, struct bytes *out)
{
	struct kept **sorted = malloc((k->count + 1) * sizeof(struct kept *));

	if (!sorted) {
		out->failed = true;
		return;
	}
	if (k->count)
		memcpy(sorted, k->heap, k->count * sizeof(struct kept *));
	qsort(sorted, k->count, sizeof(struct kept *), kept_order);
	for (size_t i = 0; i < k->count; i++) {
		const struct kept *e = sorted[i];

		bytes_put_u64(out, e->window->def->uid);
		bytes_put_i64(out, e->limit_ms);
		bytes_put_i64(out, e->end_ms);
		bytes_put_i64(out, e->start_ms);
		bytes_put_u32(out, e->revision);
		bytes_put_u32(out, e->flags);
		bytes_put_u32(out, e->key_bytes);
		bytes_put(out, e->key, e->key_bytes);
		bytes_put_u32(out, e->agg_bytes);
		bytes_put(out, e->agg, e->agg_bytes);
	}
	free(sorted);
}

void merge_save(const struct merge *m, struct bytes *out)
{
	uint32_t lost = 0;

	for (uint32_t i = 0; i < m->windows; i++)
		lost += m->window[i]->lost;
	bytes_put_u32(out, MERGE_MAGIC);
	bytes_put_u32(out, MERGE_VERSION);
	bytes_put_u32(out, m->params.partitions);
	bytes_put_u32(out, lost);
	bytes_put_u64(out, m->keep.count);
	for (uint32_t i = 0; i < m->params.partitions; i++) {
		const struct merge_entry *e = merge_head(&m->part[i]);

		bytes_put_u64(out, merge_position(m, i));
		bytes_put_u32(out, m->part[i].taken);
		bytes_put_i64(out, e ? e->mark_before_ms : m->part[i].mark_ms);
		merge_terms_save(m, i, out);
	}
	bytes_put_i64(out, m->open_step_ms);
	bytes_put_i64(out, m->open_receive_ms);
	for (uint32_t i = 0; i < m->windows; i++) {
		const struct merge_window *w = m->window[i];

		if (!w->lost)
			continue;
		bytes_put_u64(out, w->def->uid);
		bytes_put_i64(out, w->lost_end_ms);
		bytes_put_i64(out, w->lost_start_ms);
		bytes_put_u32(out, (uint32_t)w->lost_key.bytes);
		bytes_put(out, w->lost_key.data, w->lost_key.bytes);
	}
	kept_save(&m->keep, out);
	anomaly_save(m->anomaly, out);
}

/* ---- load ---- */

static bool time_good(int64_t ms)
{
	return ms >= -ANOMALY_TIME_MAX_MS && ms <= ANOMALY_TIME_MAX_MS;
}

static int load_bad(struct err *err, const char *what)
{
	return err_set(err, -EINVAL, "merge state: %s is not what a save makes", what);
}

static int lost_load(struct merge *m, struct cursor *c, uint64_t *before, struct err *err)
{
	uint64_t uid = cursor_le64(c);
	int64_t end = (int64_t)cursor_le64(c), start = (int64_t)cursor_le64(c);
	uint32_t key_bytes = cursor_le32(c);
	const uint8_t *key = cursor_take(c, key_bytes);
	struct merge_window *w;
	int rc = 0;

	if (!key || !time_good(end) || !time_good(start) || key_bytes > MERGE_KEY_MAX || uid < *before ||
		!row_key_valid(key, key_bytes))
		return load_bad(err, "a window that was put out");
	*before = uid + 1;
	if (!m->params.window(m->params.window_arg, uid))
		return 0;
	w = merge_window_of(m, uid, &rc, err);
	if (!w)
		return rc;
	w->lost = true;
	w->lost_end_ms = end;
	w->lost_start_ms = start;
	bytes_put(&w->lost_key, key, key_bytes);
	return w->lost_key.failed ? err_set(err, -ENOMEM, "no memory for the merge state") : 0;
}

static int kept_load(struct merge *m, struct cursor *c, const struct kept **before, struct err *err)
{
	uint64_t uid = cursor_le64(c);
	int64_t limit = (int64_t)cursor_le64(c), end = (int64_t)cursor_le64(c),
		start = (int64_t)cursor_le64(c);
	uint32_t revision = cursor_le32(c), flags = cursor_le32(c), key_bytes = cursor_le32(c), agg_bytes;
	const uint8_t *key = cursor_take(c, key_bytes), *agg;
	struct kept values = {.limit_ms = limit, .revision = revision, .flags = flags}, *e;
	struct merge_window *w;
	struct row row = {.window_uid = uid, .start_ms = start, .end_ms = end, .key_bytes = key_bytes};
	int rc = 0;

	agg_bytes = cursor_le32(c);
	agg = cursor_take(c, agg_bytes);
	if (!key || !agg || !time_good(limit) || !time_good(end) || !time_good(start) || start > end ||
		key_bytes > MERGE_KEY_MAX || !row_key_valid(key, key_bytes) || revision == UINT32_MAX)
		return load_bad(err, "a retained window");
	if (!m->params.window(m->params.window_arg, uid))
		return 0;
	w = merge_window_of(m, uid, &rc, err);
	if (!w)
		return rc;
	if (w->def->lateness_ms <= 0 || agg_bytes > agg_set_packed_max(w->def->aggs) ||
		!agg_packed_valid(w->def->aggs, agg, agg_bytes))
		return load_bad(err, "a retained window");
	bytes_reset(&m->text); /* a row with its key behind it, as the table looks for it */
	bytes_put(&m->text, &row, sizeof row);
	bytes_put(&m->text, key, key_bytes);
	if (m->text.failed ||
		!keep_put(&m->keep, w, (const struct row *)m->text.data, &values, agg, agg_bytes))
		return err_set(err, -ENOMEM, "no memory for the merge state");
	e = keep_find(&m->keep, w, (const struct row *)m->text.data);
	if (*before && keep_compare(*before, e) >= 0)
		return load_bad(err, "the order of retained windows");
	*before = e;
	return 0;
}

static int part_load(struct merge_part *part, struct cursor *c, uint32_t version, struct err *err)
{
	part->next = cursor_le64(c);
	part->taken = version < MERGE_VERSION_RECORDS ? 0 : cursor_le32(c);
	part->mark_ms = (int64_t)cursor_le64(c);
	if (part->mark_ms != MERGE_NO_STEP && !time_good(part->mark_ms))
		return load_bad(err, "a mark");
	return version < MERGE_VERSION_TERMS ? 0 : merge_terms_load(part, c, err);
}

/* One of another number of partitions, beside those before it (`all`, if any). */
static int part_gather(struct merge_part *all, bool any, struct cursor *c, uint32_t version, struct err *err)
{
	struct merge_part part = {0};
	int rc = part_load(any ? &part : all, c, version, err);

	if (!rc && (part.taken || all->taken))
		rc = err_set(err, -EINVAL, "merge state: rows of a record wait");
	if (!rc && any && part.mark_ms != all->mark_ms)
		rc = err_set(err, -EINVAL,
			"merge state: partitions stand at different steps: %lld ms and %lld ms",
			(long long)all->mark_ms, (long long)part.mark_ms);
	if (!rc && any)
		merge_terms_join(all, &part);
	free(part.terms);
	return rc;
}

/* Of another number of partitions, whose marks are one: it becomes that of all, and their logs begin anew. */
static int parts_gather(struct merge *m, uint32_t saved, struct cursor *c, uint32_t version, struct err *err)
{
	struct merge_part all = {0};
	int rc = saved ? 0 : load_bad(err, "its number of partitions");

	for (uint32_t i = 0; i < saved && !c->failed && !rc; i++)
		rc = part_gather(&all, i > 0, c, version, err);
	for (uint32_t i = 0; i < m->params.partitions && !rc; i++) {
		m->part[i].next = 0;
		m->part[i].mark_ms = all.mark_ms;
		if (!merge_terms_copy(&m->part[i], &all))
			rc = err_set(err, -ENOMEM, "no memory for the merge state");
	}
	free(all.terms);
	return rc;
}

static int open_load(struct merge *m, struct cursor *c, struct err *err)
{
	m->open_step_ms = (int64_t)cursor_le64(c);
	m->open_receive_ms = (int64_t)cursor_le64(c);
	if (m->open_step_ms != MERGE_NO_STEP && !time_good(m->open_step_ms))
		return load_bad(err, "the open step");
	return 0;
}

static int head_load(struct cursor *c, uint32_t *version, uint32_t *partitions, struct err *err)
{
	uint32_t magic = cursor_le32(c);

	*version = cursor_le32(c);
	*partitions = cursor_le32(c);
	if (magic != MERGE_MAGIC)
		return err_set(err, -EINVAL, "merge state: these bytes are none");
	if (!*version || *version > MERGE_VERSION)
		return err_set(err, -EINVAL, "merge state: version %u, this program reads versions 1 to %u",
			*version, MERGE_VERSION);
	return 0;
}

bool merge_saved_newer(const uint8_t *data, size_t bytes, uint32_t *is, uint32_t *reads)
{
	struct cursor c = cursor_of(data, bytes);
	bool ours = cursor_le32(&c) == MERGE_MAGIC;

	*is = cursor_le32(&c);
	*reads = MERGE_VERSION;
	return ours && !c.failed && *is > MERGE_VERSION;
}

static int merge_load_any(struct merge *m, const uint8_t *data, size_t bytes, bool gather, struct err *err)
{
	struct cursor c = cursor_of(data, bytes);
	const struct kept *before = NULL;
	uint64_t kept, uid_before = 0;
	uint32_t lost, partitions, version;
	int rc = head_load(&c, &version, &partitions, err);

	if (rc)
		return rc;
	if (!gather && partitions != m->params.partitions)
		return err_set(err, -EINVAL, "merge state: of %u partitions, there are %u", partitions,
			m->params.partitions);
	lost = cursor_le32(&c);
	kept = cursor_le64(&c);
	if (gather)
		rc = parts_gather(m, partitions, &c, version, err);
	for (uint32_t i = 0; !gather && !rc && i < m->params.partitions; i++)
		rc = part_load(&m->part[i], &c, version, err);
	if (!rc)
		rc = open_load(m, &c, err);
	for (uint32_t i = 0; !rc && i < lost; i++)
		rc = lost_load(m, &c, &uid_before, err);
	for (uint64_t i = 0; !rc && i < kept; i++)
		rc = kept_load(m, &c, &before, err);
	if (!rc)
		rc = anomaly_load(m->anomaly, &c, m->params.window, m->params.window_arg, err);
	if (rc)
		return rc;
	if (c.failed || cursor_left(&c))
		return load_bad(err, "its end");
	if (!keep_bound(&m->keep))
		return err_set(err, -ENOMEM, "no memory for the merge state");
	return 0;
}

int merge_load(struct merge *m, const uint8_t *data, size_t bytes, struct err *err)
{
	return merge_load_any(m, data, bytes, false, err);
}

int merge_gather(struct merge *m, const uint8_t *data, size_t bytes, struct err *err)
{
	return merge_load_any(m, data, bytes, true, err);
}
