/* What the merge makes of random partial logs, against brute force over their events. */
#include "merge_rig.h"

#include <math.h>
#include <stdlib.h>

#define ROUNDS 150

struct values {
	struct agg_value v[32];
	uint8_t text[32][64];
	uint32_t count;
};

static int value_take(void *arg, const struct agg_value *v)
{
	struct values *vs = arg;

	assert_true(vs->count < 32 && v->text_bytes < 64);
	vs->v[vs->count] = *v;
	if (v->text_bytes)
		memcpy(vs->text[vs->count], v->text, v->text_bytes);
	vs->count++;
	return 0;
}

static void values_equal(
	const struct agg_set *set, const struct bytes *want, const uint8_t *got, size_t bytes)
{
	struct values a = {0}, b = {0};

	assert_int_equal(agg_values(set, want->data, want->bytes, value_take, &a), 0);
	assert_int_equal(agg_values(set, got, bytes, value_take, &b), 0);
	assert_int_equal(a.count, b.count);
	for (uint32_t i = 0; i < a.count; i++) {
		assert_string_equal(a.v[i].label, b.v[i].label);
		assert_int_equal(a.v[i].kind, b.v[i].kind);
		assert_int_equal(a.v[i].u64, b.v[i].u64);
		assert_true(a.v[i].decimal == b.v[i].decimal);
		assert_true(fabs(a.v[i].f64 - b.v[i].f64) <= 1e-9 * fabs(a.v[i].f64));
		assert_int_equal(a.v[i].text_bytes, b.v[i].text_bytes);
		assert_memory_equal(a.text[i], b.text[i], a.v[i].text_bytes);
		assert_int_equal(a.v[i].top_count, b.v[i].top_count);
		for (uint32_t k = 0; k < a.v[i].top_count; k++) { /* texts are in the packed bytes */
			assert_int_equal(a.v[i].top[k].count, b.v[i].top[k].count);
			assert_int_equal(a.v[i].top[k].error, b.v[i].top[k].error);
			assert_int_equal(a.v[i].top[k].bytes, b.v[i].top[k].bytes);
			assert_memory_equal(a.v[i].top[k].text, b.v[i].top[k].text, a.v[i].top[k].bytes);
		}
	}
}

static bool same_row(const struct rig_event *a, const struct rig_event *b, bool any_step)
{
	return a->def == b->def && a->key == b->key && a->row.end_ms == b->row.end_ms &&
	       (any_step || a->row.step_ms == b->row.step_ms);
}

/* The events of one merged row are [from, to) of the sorted ones; `so far` are those of all its steps. */
static void row_check(const struct rig *rig, const struct record *rec, uint32_t from, uint32_t to)
{
	const struct rig_event *first = &rig->event[from], **group = calloc(to, sizeof *group);
	const struct window_def *def = rig->defs.def[first->def];
	const struct row *row = row_of(rec);
	struct bytes want = {0};
	uint32_t n = 0, revision = 0;
	uint8_t key[64];

	for (uint32_t i = 0; i < to; i++)
		if (same_row(&rig->event[i], first, true)) {
			group[n++] = &rig->event[i];
			if (i < from && !same_row(&rig->event[i], &rig->event[i + 1], false))
				revision++;
		}
	assert_int_equal(rec->type, def->kind == WINDOW_FUNNEL ? ROW_FUNNEL : ROW_WINDOW);
	assert_int_equal(rec->event_time_ms, first->row.end_ms);
	assert_int_equal(rec->key_hash, 1000 + first->key);
	assert_int_equal(row->window_uid, def->uid);
	assert_int_equal(row->start_ms, first->row.start_ms);
	assert_int_equal(row->step_ms, first->row.step_ms);
	assert_int_equal(row->revision, revision);
	assert_int_equal(row->key_bytes, rig_key(key, rig_key_name(first->key)));
	assert_memory_equal(row_key(row), key, row->key_bytes);
	rig_pack(rig, group, n, &want);
	values_equal(def->aggs, &want, row_agg(row), row->agg_bytes);
	assert_int_equal(row->delta_bytes > 0, revision > 0);
	if (revision) {
		n = 0;
		for (uint32_t i = from; i < to; i++)
			group[n++] = &rig->event[i];
		rig_pack(rig, group, n, &want);
		values_equal(def->aggs, &want, row_delta(row), row->delta_bytes);
	}
	bytes_free(&want);
	free(group);
}

/* Highest receive time and flags of the partials of a step, or of one row of it. */
static int64_t partials_of(const struct rig *rig, const struct row *merged, int64_t step_ms, uint32_t *flags)
{
	int64_t most = INT64_MIN;

	*flags = 0;
	for (uint32_t p = 0; p < rig->partitions; p++) {
		uint64_t count;
		const struct record **at = rig_records(&rig->log[p].data, &count);

		for (uint64_t i = 0; i < count; i++) {
			const struct row *row = row_of(at[i]);

			if (at[i]->kind != RECORD_ROW || row->step_ms != step_ms)
				continue;
			if (merged && (row->window_uid != merged->window_uid ||
					      row->end_ms != merged->end_ms || row_key_compare(row, merged)))
				continue;
			*flags |= row->flags;
			most = at[i]->receive_time_ms > most ? at[i]->receive_time_ms : most;
		}
		free(at);
	}
	return most;
}

static void output_check(const struct rig *rig, const struct rig_merge *rm)
{
	uint64_t count, at = 0, alerts = 0, revisions = 0;
	const struct record **rec = rig_records(&rm->out, &count);
	uint32_t flags;

	for (uint32_t from = 0, to; from < rig->events; from = to) {
		const struct rig_event *ev = &rig->event[from];
		bool last;

		for (to = from; to < rig->events && same_row(&rig->event[to], ev, false);)
			to++;
		assert_true(at < count && rec[at]->kind == RECORD_ROW && rec[at]->type != ROW_ALERT);
		row_check(rig, rec[at], from, to);
		assert_int_equal(
			rec[at]->receive_time_ms, partials_of(rig, row_of(rec[at]), ev->row.step_ms, &flags));
		if (!row_of(rec[at])->revision)
			assert_int_equal(row_of(rec[at])->flags, flags);
		else
			assert_int_equal(row_of(rec[at])->flags & flags, flags);
		revisions += row_of(rec[at])->revision > 0;
		for (at++; at < count && rec[at]->kind == RECORD_ROW && rec[at]->type == ROW_ALERT; at++) {
			assert_int_equal(row_alert_of(rec[at])->last_ms, ev->row.end_ms);
			alerts++;
		}
		last = to == rig->events || rig->event[to].row.step_ms != ev->row.step_ms;
		if (last) {
			assert_true(at < count && rec[at]->kind == RECORD_MARK);
			assert_int_equal(rec[at]->event_time_ms, ev->row.step_ms);
			assert_int_equal(
				rec[at]->receive_time_ms, partials_of(rig, NULL, ev->row.step_ms, &flags));
			at++;
		}
	}
	assert_int_equal(at, count);
	assert_int_equal(merge_stats(rm->m)->alerts, alerts);
	assert_int_equal(merge_stats(rm->m)->revisions, revisions);
	assert_int_equal(merge_stats(rm->m)->late_lost, 0);
	free(rec);
}

static void merged_equals_brute_force(void **state)
{
	uint64_t alerts = 0, revisions = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
		struct rig rig;
		struct rig_merge rm;

		rig_make(&rig, seed);
		rig_merge_start(&rm, &rig.defs, rig.partitions, RIG_MEMORY);
		rig_merge_all(&rm, &rig);
		output_check(&rig, &rm);
		alerts += merge_stats(rm.m)->alerts;
		revisions += merge_stats(rm.m)->revisions;
		rig_merge_stop(&rm);
		rig_free(&rig);
	}
	assert_true(alerts > ROUNDS && revisions > ROUNDS); /* or nothing of them was tested */
}

/* Small memory too: what is put out, is put out in every order of feeding. */
static void any_order_gives_the_same(void **state)
{
	uint64_t lost = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
		size_t memory = seed % 2 ? RIG_MEMORY : 1000 + seed * 20;
		struct rig_merge rm, other;
		struct bytes saved = {0}, saved_other = {0};
		struct rig rig;

		rig_make(&rig, seed);
		rig_merge_start(&rm, &rig.defs, rig.partitions, memory);
		rig_merge_all(&rm, &rig);
		merge_save(rm.m, &saved);
		lost += merge_stats(rm.m)->late_lost;
		for (uint64_t i = 0; i < 4; i++) {
			rig_merge_start(&other, &rig.defs, rig.partitions, memory);
			rig_merge_random(&other, &rig, memory, seed * 100 + i, i >= 2);
			assert_int_equal(rm.out.bytes, other.out.bytes);
			assert_memory_equal(rm.out.data, other.out.data, rm.out.bytes);
			bytes_reset(&saved_other);
			merge_save(other.m, &saved_other);
			assert_int_equal(saved.bytes, saved_other.bytes);
			assert_memory_equal(saved.data, saved_other.data, saved.bytes);
			if (i < 2)
				assert_int_equal(
					merge_stats(rm.m)->late_lost, merge_stats(other.m)->late_lost);
			rig_merge_stop(&other);
		}
		bytes_free(&saved);
		bytes_free(&saved_other);
		rig_merge_stop(&rm);
		rig_free(&rig);
	}
	assert_true(lost > ROUNDS);
}

/* A row of revision 0 and dense revisions after it, of each window that comes out, however little is kept. */
static void revisions_are_dense(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
		struct rig_merge rm;
		struct rig rig;
		uint64_t count;
		const struct record **rec;

		rig_make(&rig, seed);
		rig_merge_start(&rm, &rig.defs, rig.partitions, 500 + 40 * (size_t)seed);
		rig_merge_all(&rm, &rig);
		rec = rig_records(&rm.out, &count);
		for (uint64_t i = 0; i < count; i++) {
			const struct row *row = row_of(rec[i]), *before = NULL;

			if (rec[i]->kind != RECORD_ROW || rec[i]->type == ROW_ALERT)
				continue;
			for (uint64_t k = 0; k < i; k++)
				if (rec[k]->kind == RECORD_ROW && rec[k]->type != ROW_ALERT &&
					row_of(rec[k])->window_uid == row->window_uid &&
					row_of(rec[k])->end_ms == row->end_ms &&
					!row_key_compare(row_of(rec[k]), row))
					before = row_of(rec[k]);
			assert_int_equal(row->revision, before ? before->revision + 1 : 0);
		}
		free(rec);
		rig_merge_stop(&rm);
		rig_free(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merged_equals_brute_force),
		cmocka_unit_test(any_order_gives_the_same),
		cmocka_unit_test(revisions_are_dense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
