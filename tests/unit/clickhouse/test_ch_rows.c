/* Where a range ends; rows that are made together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>

#include "../../integration/clickhouse/made_event.h"
#include "ch_rows.h"

static int add(struct ch_rows *rows, uint64_t offset)
{
	struct record rec = {.bytes = sizeof rec, .kind = RECORD_REFUSED, .receive_time_ms = 1715200123456};
	struct err err;

	return ch_rows_add(rows, &rec, offset, 1, &err);
}

/* A range that was sent before ends where it ended then, whatever another version thinks that it weighs. */
static void test_weight(void **state)
{
	struct ch_rows rows;

	(void)state;
	ch_rows_init(&rows, "n", 1, 0, NULL);
	assert_int_equal(add(&rows, 0), 0);
	rows.row_bytes = CH_ROW_BYTES_MAX;
	assert_int_equal(add(&rows, 1), 1);
	assert_int_equal(rows.row_count, 1);
	rows.resent = true;
	assert_int_equal(add(&rows, 1), 0);
	assert_int_equal(rows.row_count, 2);
	/* What memory is laid out for holds in any case. */
	rows.row_count = CH_ROWS_MAX;
	assert_int_equal(add(&rows, 2), 1);
	ch_rows_free(&rows);
}

/* Records that have no row are delivered, too: how far a sink has come is seen by their time. */
static void test_time(void **state)
{
	struct record tick = {.bytes = sizeof tick, .kind = RECORD_TICK, .receive_time_ms = 1715200123999};
	struct ch_rows rows;
	struct err err;

	(void)state;
	ch_rows_init(&rows, "n", 1, 0, NULL);
	assert_int_equal(add(&rows, 0), 0);
	assert_int_equal(rows.tally.last_time_ms, 1715200123456);
	assert_int_equal(ch_rows_add(&rows, &tick, 1, 1, &err), 0);
	assert_int_equal(rows.tally.last_time_ms, 1715200123999);
	assert_int_equal(rows.row_count, 1);
	assert_int_equal(rows.tally.other, 1);
	ch_rows_free(&rows);
}

#define RECORDS 700u
#define TS 1715200123456ll
#define DAY_MS 86400000ll

static char store_dir[] = "/tmp/sluice-ch-rows-XXXXXX";
static struct ruleset_store *store;
static struct bytes records;
static uint32_t generation[2];

static uint32_t rules_put(const char *id)
{
	struct rule_source source = {"r.yaml", NULL, 0, false};
	struct ruleset *rs;
	char text[400];
	uint32_t number;
	struct err err;

	snprintf(text, sizeof text,
		"rules:\n  - {id: %s, title: T, severity: low, when: {type: click, page: /t}, then: [alert, "
		"tag]}\n",
		id);
	source.text = text;
	source.bytes = strlen(text);
	if (ruleset_compile(&rs, &source, 1, 1000, &err) || ruleset_store_put(store, rs, &number, &err))
		fail_msg("%s", err.text);
	ruleset_free(rs);
	return number;
}

/* Of several types, months and kinds; with and without keys that the type does not know; with and without
 * hits. */
static void record_make(struct made_event *m, uint64_t n)
{
	static const uint16_t hit[1];
	static char raw[3000];
	const char *known = "{\"page\":\"/x\"}", *other = "{\"page\":\"/x\",\"new\":[1,2]}";
	const struct record *rec;

	snprintf(raw, sizeof raw, "{\"long\":\"%0*u\"}", n % 11 ? 3 : 2900, 0);
	made_begin(m, n % 3 ? EVENT_TYPE_click : EVENT_TYPE_platform,
		n % 4	? known
		: n % 8 ? other
			: raw,
		TS + (int64_t)(n % 5 == 4 ? n * DAY_MS / 9 : n), n);
	if (n % 3) {
		made_text(m, FIELD_page, n % 2 ? "/a" : "/a/page/of/some/length");
	} else {
		made_text(m, FIELD_source, "web");
		made_number(m, FIELD_metric, (double)n);
	}
	m->ev.hit = hit;
	m->ev.hit_count = n % 7 == 1;
	m->ev.known = n % 4 != 0;
	rec = n % 13 == 12 ? made_refused(m, 1, FIELD_page, 10)
			   : made_end(m, n % 17 == 16 ? RECORD_F_SUPPRESSED : 0);
	assert_true(record_valid(rec, rec->bytes));
	bytes_put(&records, rec, rec->bytes);
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int rig_make(void **state)
{
	static struct made_event m;
	struct err err;

	(void)state;
	assert_non_null(mkdtemp(store_dir));
	assert_int_equal(ruleset_store_open(&store, store_dir, &err), 0);
	generation[0] = rules_put("r-first");
	generation[1] = rules_put("r-second");
	for (uint64_t n = 0; n < RECORDS; n++)
		record_make(&m, n);
	return 0;
}

static int rig_free(void **state)
{
	(void)state;
	ruleset_store_close(store);
	bytes_free(&records);
	return nftw(store_dir, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* All bodies; settled after every `step` records, 0: each is added on its own. The ruleset changes on the
 * way. */
static void bodies_of(struct bytes *out, struct ch_rows *rows, uint64_t step)
{
	uint64_t n = 0;
	struct err err;

	ch_rows_clear(rows);
	for (size_t at = 0; at < records.bytes; n++) {
		const struct record *rec = (const struct record *)(records.data + at);
		uint32_t of = generation[n / 50 % 2];

		assert_int_equal(step ? ch_rows_hold(rows, rec, 1000 + n, of, &err)
				      : ch_rows_add(rows, rec, 1000 + n, of, &err),
			0);
		if (step && (n + 1) % step == 0)
			assert_int_equal(ch_rows_settle(rows, &err), 0);
		at += rec->bytes;
	}
	assert_int_equal(ch_rows_settle(rows, &err), 0);
	out->bytes = 0;
	for (uint32_t i = 0; i < rows->block_count; i++)
		assert_int_equal(native_block_write(&rows->block[i]->native, out), 0);
}

/* However a range's records come together, its blocks are the same: a repeated one must equal the first. */
static void test_held(void **state)
{
	struct bytes single = {0}, held = {0};
	struct ch_rows rows;

	(void)state;
	ch_rows_init(&rows, "n", 1, 0, store);
	bodies_of(&single, &rows, 0);
	assert_true(rows.block_count > 4 && rows.tally.alerts > 20 && rows.tally.suppressed > 10);
	for (uint64_t step = 1; step < 1000; step = step * 3 + 1) {
		bodies_of(&held, &rows, step);
		assert_int_equal(held.bytes, single.bytes);
		assert_memory_equal(held.data, single.data, single.bytes);
	}
	/* What was held for a range that was given up is in no other. */
	ch_rows_hold(&rows, (const struct record *)records.data, 1, generation[0], &(struct err){0});
	bodies_of(&held, &rows, 10);
	assert_int_equal(held.bytes, single.bytes);
	assert_memory_equal(held.data, single.data, single.bytes);
	ch_rows_free(&rows);
	bytes_free(&single);
	bytes_free(&held);
}

/* Rows stand at one generation; what they have left may go. */
static void test_rulesets(void **state)
{
	const uint8_t *at = records.data;
	const struct record *rec;
	struct ch_rows rows;
	uint32_t few;
	struct err err;
	char id[16];

	(void)state;
	while (!((const struct record *)at)->hit_count)
		at += ((const struct record *)at)->bytes;
	rec = (const struct record *)at;
	few = ruleset_store_compiled(store) + 5; /* of the store's own */
	ch_rows_init(&rows, "n", 1, 0, store);
	for (uint32_t n = 0; n < 20; n++) {
		snprintf(id, sizeof id, "r-%u", n);
		assert_int_equal(ch_rows_hold(&rows, rec, n, rules_put(id), &err), 0);
	}
	assert_int_equal(ch_rows_settle(&rows, &err), 0);
	assert_int_equal(rows.tally.alerts, 20);
	assert_in_range(ruleset_store_compiled(store), 1, few);
	few = ruleset_store_compiled(store) - 1;
	ch_rows_free(&rows);
	assert_int_equal(ruleset_store_compiled(store), few);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_weight), cmocka_unit_test(test_time),
		cmocka_unit_test(test_held), cmocka_unit_test(test_rulesets)};

	return cmocka_run_group_tests(tests, rig_make, rig_free);
}
