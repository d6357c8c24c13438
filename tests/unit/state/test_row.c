/* Rows: what is put is read back, hostile bytes are refused, keys are built from fields and taken apart
 * again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hash.h"
#include "row.h"
#include "state_sample.h"
#include "window.h"

static const uint8_t key_de[] = {4, 0, '/', 'b', 'u', 'y', 2, 0, 'D', 'E'};
static const uint8_t key_absent[] = {4, 0, '/', 'b', 'u', 'y', 0xff, 0xff};

static const struct record *put_row(struct bytes *out, const void *key, uint32_t key_bytes, uint32_t revision)
{
	struct row row = {.window_uid = 5,
		.start_ms = 60000,
		.end_ms = 120000,
		.step_ms = 120000,
		.revision = revision,
		.key_bytes = key_bytes,
		.agg_bytes = 3,
		.delta_bytes = revision ? 2 : 0};

	bytes_reset(out);
	row_put(out, ROW_WINDOW, &row, key, "agg", "dd", 99, 130000);
	assert_false(out->failed);
	assert_true(record_valid(out->data, out->bytes));
	return (const struct record *)out->data;
}

static void test_row(void **state)
{
	struct bytes out = {0};
	const struct record *rec = put_row(&out, key_de, sizeof key_de, 1);
	const uint8_t *part;
	uint32_t bytes;

	(void)state;
	assert_true(row_valid(rec));
	assert_int_equal(rec->bytes, out.bytes);
	assert_int_equal(rec->kind, RECORD_ROW);
	assert_int_equal(rec->type, ROW_WINDOW);
	assert_int_equal(rec->event_time_ms, 120000);
	assert_int_equal(rec->receive_time_ms, 130000);
	assert_int_equal(rec->key_hash, 99);
	assert_memory_equal(row_key(row_of(rec)), key_de, sizeof key_de);
	assert_memory_equal(row_agg(row_of(rec)), "agg", 3);
	assert_memory_equal(row_delta(row_of(rec)), "dd", 2);
	assert_true(row_key_part(row_of(rec), 0, &part, &bytes));
	assert_int_equal(bytes, 4);
	assert_memory_equal(part, "/buy", 4);
	assert_true(row_key_part(row_of(rec), 1, &part, &bytes));
	assert_int_equal(bytes, 2);
	assert_memory_equal(part, "DE", 2);
	assert_false(row_key_part(row_of(rec), 2, &part, &bytes));
	assert_null(part);
	rec = put_row(&out, key_absent, sizeof key_absent, 0);
	assert_true(row_valid(rec));
	assert_true(row_key_part(row_of(rec), 1, &part, &bytes));
	assert_null(part);
	assert_int_equal(bytes, 0);
	assert_false(row_key_part(row_of(rec), 2, &part, &bytes));
	bytes_free(&out);
}

/* Many rows in a record: they come back one by one; what is changed is refused, or still a walk inside. */
static void test_many(void **state)
{
	static const char *const keys[] = {"", "a", "b", "c", "ab", "bbbbbbbbbbbbbbbbbbbbbb"};
	const struct row shared = {.window_uid = 7, .start_ms = 1, .end_ms = 2, .step_ms = 3, .revision = 4};
	struct bytes out = {0}, want = {0}, got = {0};
	struct row_walk walk;
	struct record *rec;

	(void)state;
	row_many_begin(&out, &shared);
	for (uint32_t i = 0; i < 6; i++) {
		uint16_t n = (uint16_t)strlen(keys[i]);
		uint8_t key[40], *to = row_many_room(&out, n + 2u, i);
		struct row row = shared;

		memcpy(key, &n, 2);
		memcpy(key + 2, keys[i], n);
		memset(to, (int)i, i);
		row_many_put(&out, key, n + 2u, i % 2, to, to + i);
		row.key_bytes = n + 2u;
		row.agg_bytes = i;
		row.flags = i % 2;
		row_put(&want, ROW_PARTIAL, &row, key, to, NULL, hash_bytes(key, n + 2u, 0), 99);
	}
	row_many_end(&out, 99);
	rec = (struct record *)out.data;
	assert_true(record_valid(rec, out.bytes) && row_valid(rec) && row_partial(rec));
	assert_int_equal(row_count(rec), 6);
	row_walk_first(&walk, rec);
	do
		row_walk_put(&walk, 99, &got);
	while (row_walk_next(&walk));
	assert_int_equal(got.bytes, want.bytes);
	assert_memory_equal(got.data, want.data, want.bytes);
	for (size_t at = sizeof *rec; at < out.bytes; at++)
		for (int bit = 0; bit < 8; bit++) {
			out.data[at] ^= (uint8_t)(1 << bit);
			if (row_valid(rec)) {
				row_walk_first(&walk, rec);
				do
					assert_true(walk.agg + walk.row.agg_bytes <= out.data + out.bytes);
				while (row_walk_next(&walk));
			}
			out.data[at] ^= (uint8_t)(1 << bit);
		}
	bytes_free(&out);
	bytes_free(&want);
	bytes_free(&got);
}

/* Out of order, twice the same key, a count too high, bytes behind the last, padding that is not zero. */
static void test_many_bad(void **state)
{
	static const uint8_t key[][3] = {{1, 0, 'a'}, {1, 0, 'b'}};
	const struct row shared = {.window_uid = 7};

	(void)state;
	for (int what = 0; what < 6; what++) {
		struct bytes out = {0};
		struct record *rec;

		row_many_begin(&out, &shared);
		for (int i = 0; i < 2; i++) {
			uint8_t *to = row_many_room(&out, 3, 1);

			*to = 5;
			row_many_put(&out, key[what == 1 ? 1 - i : what == 2 ? 0 : i], 3, 0, to, to + 1);
		}
		row_many_end(&out, 1);
		rec = (struct record *)out.data;
		((struct row_many *)(rec + 1))->count += what == 3;
		((struct row_many *)(rec + 1))->count -= what == 4;
		if (what == 5)
			out.data[out.bytes - 1] = 1;
		assert_int_equal(row_valid(rec), what == 0);
		bytes_free(&out);
	}
}

static void test_row_bad(void **state)
{
	static const uint8_t five[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
			     short_length[] = {1, 0, 'a', 7}, long_part[] = {3, 0, 'a', 'b'};
	struct bytes out = {0};
	struct record *rec = (struct record *)(uintptr_t)put_row(&out, key_de, sizeof key_de, 1);
	struct row *row = (struct row *)(uintptr_t)row_of(rec);

	(void)state;
	for (unsigned type = 0; type < 20; type++) {
		rec->type = (uint8_t)type;
		if (type != ROW_ALERT && type != ROW_PARTIALS)
			assert_int_equal(row_valid(rec), type >= ROW_PARTIAL && type < ROW_ALERT);
	}
	rec->type = ROW_PARTIAL;
	row->agg_bytes++;
	assert_false(row_valid(rec));
	row->agg_bytes = UINT32_MAX; /* a sum that would wrap in 32 bits */
	row->delta_bytes = 2 + 3 + 1;
	assert_false(row_valid(rec));
	row->agg_bytes = 3;
	row->delta_bytes = 2;
	row->revision = 0; /* a delta without a revision */
	assert_false(row_valid(rec));
	row->revision = 1;
	row->start_ms = row->end_ms + 1;
	assert_false(row_valid(rec));
	row->start_ms = row->end_ms;
	row->reserved = 1;
	assert_false(row_valid(rec));
	row->reserved = 0;
	assert_true(row_valid(rec));
	rec->kind = RECORD_EVENT;
	assert_false(row_valid(rec));
	assert_true(row_valid(put_row(&out, five, 10, 0))); /* four fields and a funnel's step */
	assert_false(row_valid(put_row(&out, five, 9, 0)));
	assert_false(row_valid(put_row(&out, short_length, sizeof short_length, 0)));
	assert_false(row_valid(put_row(&out, long_part, sizeof long_part, 0)));
	bytes_free(&out);
}

static void test_mark(void **state)
{
	struct bytes out = {0};
	struct record *rec;

	(void)state;
	row_put_mark(&out, 5000, 6000);
	rec = (struct record *)out.data;
	assert_true(record_valid(out.data, out.bytes));
	assert_true(row_valid(rec));
	assert_int_equal(rec->kind, RECORD_MARK);
	assert_int_equal(rec->event_time_ms, 5000);
	assert_int_equal(rec->receive_time_ms, 6000);
	rec->type = 1;
	assert_false(row_valid(rec));
	bytes_free(&out);
}

static void test_definitions(void **state)
{
	static const struct row_definition list[] = {{3, INT64_MIN}, {9, 7000}, {12, -4}};
	const struct row_definition *at;
	struct bytes out = {0};
	struct record *rec;
	uint32_t count;

	(void)state;
	row_put_definitions(&out, INT64_MIN, 6000, list, 3);
	rec = (struct record *)out.data;
	assert_true(record_valid(out.data, out.bytes) && row_valid(rec));
	assert_int_equal(rec->kind, RECORD_MARK);
	at = row_definitions(rec, &count);
	assert_int_equal(count, 3);
	assert_memory_equal(at, list, sizeof list);
	((struct row_definitions *)(rec + 1))->count = 2;
	assert_false(row_valid(rec));
	((struct row_definitions *)(rec + 1))->count = 3;
	((struct row_definition *)(uintptr_t)at)[1].uid = 3;
	assert_false(row_valid(rec)); /* uids ascend */
	bytes_reset(&out);
	row_put_definitions(&out, 5000, 6000, NULL, 0);
	rec = (struct record *)out.data;
	assert_true(row_valid(rec));
	assert_non_null(row_definitions(rec, &count));
	assert_int_equal(count, 0);
	bytes_reset(&out);
	row_put_mark(&out, 5000, 6000);
	assert_null(row_definitions((const struct record *)out.data, &count));
	bytes_free(&out);
}

static void test_late(void **state)
{
	static const uint16_t hits[] = {3, 9};
	static struct state_sample s;
	struct bytes out = {0};
	const struct record *rec;
	struct record *late;
	uint32_t bytes;

	(void)state;
	for (uint32_t extra = 0; extra < 8; extra++) {
		state_sample_init(&s, EVENT_TYPE_click, 1000);
		state_sample_text(&s, FIELD_user_id, "u1");
		state_sample_bytes(&s, FIELD_page, "/long/page", 1 + extra);
		s.ev.hit = hits;
		s.ev.hit_count = 2;
		rec = state_sample_record(&s, 2000);
		bytes_reset(&out);
		row_put_late(&out, rec, 0x1122334455667788, 42 + extra);
		late = (struct record *)out.data;
		assert_true(record_valid(out.data, out.bytes));
		assert_int_equal(late->bytes, out.bytes);
		assert_true(row_valid(late));
		assert_int_equal(late->kind, RECORD_LATE);
		assert_true(row_late_window(late) == 0x1122334455667788);
		assert_int_equal(row_late_offset(late), 42 + extra);
		assert_int_equal(late->raw_bytes, rec->raw_bytes);
		assert_memory_equal(record_payload(late), record_payload(rec), rec->payload_bytes);
		assert_memory_equal(record_hits(late), hits, sizeof hits);
		assert_memory_equal(record_field(late, FIELD_page, &bytes), "/long/page", 1 + extra);
		assert_memory_equal((uint8_t *)late + 8, (const uint8_t *)rec + 8,
			72); /* times, id, hash, mask, source */
		/* A field that reaches into the last 16 bytes. */
		((struct span *)(late + 1))[1].bytes++;
		assert_true(record_valid(out.data, out.bytes));
		assert_false(row_valid(late));
	}
	bytes_free(&out);
}

static void test_alert(void **state)
{
	static const char *const text[] = {"zscore:page_minute", "count far from usual", "high", "/buy,DE"};
	static const struct row_evidence evidence[] = {{1, 0, 77}, {3, 0, 1ull << 40}};
	struct row_alert a = {.id = "0123456789abcde",
		.first_ms = 1,
		.last_ms = 9,
		.score = 4.5,
		.evidence_count = 2,
		.evidence_total = 100,
		.rule_bytes = 18,
		.title_bytes = 20,
		.severity_bytes = 4,
		.key_bytes = 7};
	struct bytes out = {0};
	struct record *rec;
	struct row_alert *got;
	uint32_t bytes;

	(void)state;
	row_put_alert(&out, &a, text, evidence, 50);
	rec = (struct record *)out.data;
	got = (struct row_alert *)(uintptr_t)row_alert_of(rec);
	assert_true(record_valid(out.data, out.bytes));
	assert_true(row_valid(rec));
	assert_int_equal(rec->event_time_ms, 9);
	assert_int_equal(rec->receive_time_ms, 50);
	assert_memory_equal(got, &a, sizeof a);
	for (uint32_t i = 0; i < 4; i++) {
		const char *t = row_alert_text(rec, (enum row_text)i, &bytes);

		assert_int_equal(bytes, strlen(text[i]));
		assert_memory_equal(t, text[i], bytes);
	}
	for (uint32_t i = 0; i < 2; i++) {
		struct row_rule_evidence e = row_alert_evidence(rec, i);

		assert_int_equal(e.partition, evidence[i].partition);
		assert_int_equal(e.offset, evidence[i].offset);
	}
	got->evidence_count = 268435458; /* x 16 = 32 in 32 bits */
	got->evidence_total = UINT32_MAX;
	assert_false(row_valid(rec));
	got->evidence_count = 2;
	got->title_bytes++;
	assert_false(row_valid(rec));
	got->title_bytes--;
	got->evidence_total = 1;
	assert_false(row_valid(rec));
	bytes_free(&out);
}

/* Whatever byte changes: either the record is refused, or every accessor stays inside (ASan looks). */
static void test_hostile(void **state)
{
	struct bytes good = {0}, out = {0};
	const struct record *rec;
	static struct state_sample s;
	uint64_t accepted = 0;

	(void)state;
	for (uint64_t i = 0; i < 200000; i++) {
		uint32_t bytes, sum = 0;
		const uint8_t *part;

		bytes_reset(&good);
		if (i % 3 == 0) {
			put_row(&good, key_de, sizeof key_de, 1);
		} else if (i % 3 == 1) {
			struct row_alert a = {
				.evidence_count = 1, .evidence_total = 1, .rule_bytes = 3, .key_bytes = 2};

			row_put_alert(&good, &a, (const char *const[]){"abc", "", "", "de"},
				&(struct row_evidence){0}, 1);
		} else {
			state_sample_init(&s, EVENT_TYPE_click, 1000);
			state_sample_text(&s, FIELD_user_id, "u1");
			row_put_late(&good, state_sample_record(&s, 1), 1, 2);
		}
		/* Exactly as large as it is, so that a byte beyond it is seen. */
		free(out.data);
		out.data = malloc(good.bytes);
		memcpy(out.data, good.data, good.bytes);
		for (uint32_t k = 0; k < 1 + i % 3; k++) {
			uint64_t r = hash_u64(i * 7 + k);

			out.data[r % good.bytes] =
				r >> 32 & 1 ? (uint8_t)(r >> 40) : (uint8_t)(0xff * (r >> 33 & 1));
		}
		rec = (const struct record *)out.data;
		if (!record_valid(out.data, good.bytes) || !row_valid(rec))
			continue;
		accepted++;
		if (rec->kind == RECORD_LATE) {
			sum += (uint32_t)row_late_offset(rec) + (uint32_t)row_late_window(rec);
		} else if (row_is_alert(rec)) {
			for (uint32_t k = 0; k < row_alert_of(rec)->evidence_count; k++)
				sum += (uint32_t)row_alert_evidence(rec, k).offset;
		} else if (rec->kind == RECORD_ROW) {
			for (uint32_t k = 0; row_key_part(row_of(rec), k, &part, &bytes); k++)
				for (uint32_t b = 0; b < bytes; b++)
					sum += part[b];
			sum += row_delta(
				row_of(rec))[row_of(rec)->delta_bytes ? row_of(rec)->delta_bytes - 1 : 0];
		}
		assert_true(sum + 1); /* read it */
	}
	assert_in_range(accepted, 1000, 199000);
	bytes_free(&good);
	free(out.data);
}

static int sign(int v)
{
	return (v > 0) - (v < 0);
}

/* Keys compare as their bytes do, then by length; lengths around those that go by words. */
static void test_key_compare(void **state)
{
	struct {
		struct row row;
		uint8_t key[24];
	} a = {0}, b = {0};
	uint64_t seed = 1;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint32_t least;
		int want;

		seed = hash_u64(seed + 1);
		a.row.key_bytes = seed % 21;
		b.row.key_bytes = seed >> 8 & 1 ? a.row.key_bytes : (seed >> 9) % 21;
		memset(a.key, 0x7f, sizeof a.key);
		memset(b.key, 0x7f, sizeof b.key);
		a.key[(seed >> 20) % 20] = (uint8_t)(seed >> 32);
		b.key[(seed >> 40) % 20] = (uint8_t)(seed >> 48);
		least = a.row.key_bytes < b.row.key_bytes ? a.row.key_bytes : b.row.key_bytes;
		want = memcmp(a.key, b.key, least);
		if (!want)
			want = (a.row.key_bytes > b.row.key_bytes) - (a.row.key_bytes < b.row.key_bytes);
		assert_int_equal(sign(row_key_compare(&a.row, &b.row)), sign(want));
	}
}

static void test_compare(void **state)
{
	/* Ascending: each member in turn decides, key bytes before key length. */
	static const struct {
		int64_t step;
		uint64_t uid;
		int64_t end, start;
		const char *key;
		uint32_t revision;
	} at[] = {{-5, 9, 9, 9, "", 9}, {1, 1, 1, 1, "", 0}, {1, 1, 1, 1, "\1", 0}, {1, 1, 1, 1, "\1", 1},
		{1, 1, 1, 1, "\1\1", 0}, {1, 1, 1, 1, "\2", 0}, {1, 1, 1, 1, "\xff", 0}, {1, 1, 1, 2, "", 0},
		{1, 1, 2, 0, "", 0}, {1, 1ull << 63, -1, 0, "", 0}, {2, 0, 0, 0, "", 0}};
	enum { COUNT = sizeof at / sizeof *at };
	struct {
		struct row row;
		char key[8];
	} row[COUNT];

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		row[i].row = (struct row){.step_ms = at[i].step,
			.window_uid = at[i].uid,
			.end_ms = at[i].end,
			.start_ms = at[i].start,
			.revision = at[i].revision,
			.key_bytes = (uint32_t)strlen(at[i].key)};
		memcpy(row[i].key, at[i].key, strlen(at[i].key));
	}
	for (int i = 0; i < COUNT; i++)
		for (int k = 0; k < COUNT; k++)
			assert_int_equal(sign(row_compare(&row[i].row, &row[k].row)), sign(i - k));
}

static void test_key_make(void **state)
{
	static const enum field_id group[] = {
		FIELD_page, FIELD_metric, FIELD_ts, FIELD_event_id, FIELD_amount, FIELD_country};
	static struct state_sample s;
	const struct record *rec;
	uint8_t out[WINDOW_KEY_BYTES_MAX], page[2048];
	static const char want[] = "\4\0/buy"
				   "\4\0"
				   "42.7"
				   "\4\0"
				   "1000"
				   "\x24\0"
				   "00010203-0405-0607-0809-0a0b0c0d0e0f"
				   "\4\0"
				   "12.5"
				   "\xff\xff";

	(void)state;
	state_sample_init(&s, EVENT_TYPE_click, 1000);
	for (int i = 0; i < 16; i++)
		s.ev.event_id[i] = (uint8_t)i;
	state_sample_text(&s, FIELD_page, "/buy");
	state_sample_number(&s, FIELD_metric, 42.7);
	state_sample_decimal(&s, FIELD_amount, 12500000);
	state_sample_text(&s, FIELD_ts, "1970-01-01T00:00:01Z");
	state_sample_text(&s, FIELD_event_id, "00010203-0405-0607-0809-0A0B0C0D0E0F");
	rec = state_sample_record(&s, 1);
	assert_int_equal(row_key_make(out, sizeof out, group, 6, rec), sizeof want - 1);
	assert_memory_equal(out, want, sizeof want - 1);
	assert_int_equal(row_key_make(out, sizeof want - 1, group, 6, rec), sizeof want - 1);
	for (uint32_t cap = 0; cap < sizeof want - 1; cap++)
		assert_int_equal(row_key_make(out, cap, group, 6, rec), 0);
	assert_int_equal(row_key_make(out, sizeof out, group, 0, rec), 0);
	/* The empty text is not the absent field. */
	state_sample_init(&s, EVENT_TYPE_click, 1000);
	state_sample_text(&s, FIELD_page, "");
	assert_int_equal(row_key_make(out, sizeof out, group, 1, state_sample_record(&s, 1)), 2);
	assert_memory_equal(out, "\0\0", 2);
	/* The longest that fits, and one byte more. */
	memset(page, 'p', sizeof page);
	for (uint32_t more = 0; more < 2; more++) {
		state_sample_init(&s, EVENT_TYPE_click, 1000);
		state_sample_bytes(&s, FIELD_page, page, WINDOW_KEY_BYTES_MAX - 2 + more);
		assert_int_equal(row_key_make(out, sizeof out, group, 1, state_sample_record(&s, 1)),
			more ? 0 : WINDOW_KEY_BYTES_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_row),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_many_bad),
		cmocka_unit_test(test_row_bad),
		cmocka_unit_test(test_key_compare),
		cmocka_unit_test(test_mark),
		cmocka_unit_test(test_definitions),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_alert),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_key_make),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
