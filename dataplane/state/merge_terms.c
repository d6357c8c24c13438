/* Which definitions are in force in which partition, as marks of the partial logs say it, and from when on
 * windows of a new one are whole there. Partitions change over where the note stands in their input, each at
 * another step; only here they meet. Merge thread; lists belong to their partition.
 *
 * A row is judged when all partitions have passed it. What each of them says of steps before has then been
 * fed, and what comes later is of later steps: the answer follows from the logs. */
#include "merge_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Nothing of this definition is whole there. */
#define FROM_NEVER INT64_MAX

static bool from_good(int64_t ms)
{
	return ms == INT64_MIN || (ms >= -ANOMALY_TIME_MAX_MS && ms <= ANOMALY_TIME_MAX_MS);
}

static int64_t terms_from(const struct merge_terms *t, uint64_t uid, int64_t without)
{
	for (uint32_t i = 0; i < t->count; i++)
		if (t->window[i].uid == uid)
			return t->window[i].from_ms;
	return without;
}

static const struct merge_terms *terms_at(const struct merge_part *part, int64_t step_ms)
{
	for (uint32_t i = part->terms_count; i-- > 0;)
		if (part->terms[i].step_ms < step_ms)
			return &part->terms[i];
	return NULL;
}

/* Those before it are of no row to come: these are at or behind the lowest one, and behind their marks. */
static uint32_t terms_first(const struct merge *m, const struct merge_part *part)
{
	int64_t low_ms = m->low < 0 ? INT64_MAX : merge_first(&m->part[m->low])->row.step_ms;
	uint32_t first = 0;

	for (uint32_t i = 0; i < m->params.partitions; i++)
		low_ms = m->part[i].mark_ms < low_ms ? m->part[i].mark_ms + 1 : low_ms;
	while (first + 1 < part->terms_count && part->terms[first + 1].step_ms < low_ms)
		first++;
	return first;
}

static struct merge_terms *terms_add(struct merge_part *part)
{
	struct merge_terms *grown = realloc(part->terms, (part->terms_count + 1) * sizeof *grown);

	if (!grown)
		return NULL;
	part->terms = grown;
	return memset(&grown[part->terms_count++], 0, sizeof *grown);
}

int merge_terms_feed(
	struct merge *m, uint32_t partition, const struct record *rec, uint64_t offset, struct err *err)
{
	struct merge_part *part = &m->part[partition];
	struct merge_terms *t, *before;
	uint32_t count, first = terms_first(m, part);
	const struct row_definition *list = row_definitions(rec, &count);

	if (count > WINDOWS_MAX)
		return err_set(err, -EBADMSG, "partition %u, offset %llu: %u definitions", partition,
			(unsigned long long)offset, count);
	if (first) {
		part->terms_count -= first;
		memmove(part->terms, part->terms + first, part->terms_count * sizeof *part->terms);
	}
	t = terms_add(part);
	if (!t)
		return err_set(err, -ENOMEM, "no memory for definitions in force");
	*t = (struct merge_terms){.next = offset + 1, .step_ms = rec->event_time_ms, .count = count};
	before = part->terms_count > 1 ? t - 1 : NULL;
	for (uint32_t i = 0; i < count; i++) {
		t->window[i] = list[i];
		if (list[i].from_ms == INT64_MIN && before)
			t->window[i].from_ms = terms_from(before, list[i].uid, INT64_MIN);
		if (!from_good(t->window[i].from_ms))
			return err_set(err, -EBADMSG, "partition %u, offset %llu: a window of %lld ms",
				partition, (unsigned long long)offset, (long long)list[i].from_ms);
	}
	if (before && before->count == count && !memcmp(before->window, t->window, count * sizeof *list))
		part->terms_count--; /* as every start says it again */
	return 0;
}

int64_t merge_from(struct merge *m, const struct row *row)
{
	int64_t from_ms = INT64_MIN;
	bool silent = false;

	if (m->from_uid == row->window_uid && m->from_step_ms == row->step_ms)
		return m->from_ms;
	for (uint32_t i = 0; i < m->params.partitions; i++) {
		const struct merge_terms *t = terms_at(&m->part[i], row->step_ms);
		int64_t at_ms = t ? terms_from(t, row->window_uid, FROM_NEVER) : INT64_MIN;

		silent |= !t;
		from_ms = at_ms > from_ms ? at_ms : from_ms;
	}
	m->from_uid = row->window_uid;
	m->from_step_ms = row->step_ms;
	m->from_ms = silent && from_ms != INT64_MIN && !m->params.silent_has_all ? FROM_NEVER : from_ms;
	return m->from_ms;
}

/* ---- saved ---- */

void merge_terms_save(const struct merge *m, uint32_t partition, struct bytes *out)
{
	const struct merge_part *part = &m->part[partition];
	uint64_t position = merge_position(m, partition);
	uint32_t first = terms_first(m, part), end = part->terms_count;

	while (end > first && part->terms[end - 1].next > position)
		end--; /* it is fed again */
	bytes_put_u32(out, end - first);
	for (uint32_t i = first; i < end; i++) {
		const struct merge_terms *t = &part->terms[i];

		bytes_put_i64(out, t->step_ms);
		bytes_put_u32(out, t->count);
		for (uint32_t k = 0; k < t->count; k++) {
			bytes_put_u64(out, t->window[k].uid);
			bytes_put_i64(out, t->window[k].from_ms);
		}
	}
}

static bool terms_load(struct merge_terms *t, struct cursor *c)
{
	t->step_ms = (int64_t)cursor_le64(c);
	t->count = cursor_le32(c);
	if (c->failed || !from_good(t->step_ms) || t->count > WINDOWS_MAX)
		return false;
	for (uint32_t i = 0; i < t->count; i++) {
		t->window[i].uid = cursor_le64(c);
		t->window[i].from_ms = (int64_t)cursor_le64(c);
		if (!from_good(t->window[i].from_ms) || (i && t->window[i].uid <= t->window[i - 1].uid))
			return false;
	}
	return !c->failed;
}

int merge_terms_load(struct merge_part *part, struct cursor *c, struct err *err)
{
	uint32_t count = cursor_le32(c);

	for (uint32_t i = 0; i < count && !c->failed; i++) {
		struct merge_terms *t = terms_add(part);

		if (!t)
			return err_set(err, -ENOMEM, "no memory for definitions in force");
		if (!terms_load(t, c) || (i && t->step_ms < t[-1].step_ms))
			return err_set(
				err, -EINVAL, "merge state: definitions in force are not what a save makes");
	}
	return 0;
}

/* ---- another number of partitions ---- */

void merge_terms_join(struct merge_part *part, const struct merge_part *other)
{
	const struct merge_terms *add = other->terms_count ? &other->terms[other->terms_count - 1] : NULL;
	struct merge_terms *sum = part->terms_count ? &part->terms[part->terms_count - 1] : NULL;
	uint32_t count = 0;

	if (!sum || !add) { /* of one that is silent nothing is known */
		part->terms_count = 0;
		return;
	}
	for (uint32_t i = 0; i < sum->count; i++) {
		int64_t from_ms = terms_from(add, sum->window[i].uid, FROM_NEVER);

		if (from_ms == FROM_NEVER)
			continue;
		sum->window[count] = sum->window[i];
		if (from_ms > sum->window[count].from_ms)
			sum->window[count].from_ms = from_ms;
		count++;
	}
	sum->count = count;
}

bool merge_terms_copy(struct merge_part *part, const struct merge_part *from)
{
	struct merge_terms *t;

	if (!from->terms_count)
		return true;
	t = terms_add(part);
	if (!t)
		return false;
	*t = from->terms[from->terms_count - 1];
	t->step_ms = from->mark_ms;
	return true;
}
