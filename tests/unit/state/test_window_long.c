/* Definitions with long texts: what fits and what does not, from the configuration to the store and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "config_table.h"
#include "state_sample.h"
#include "window_priv.h"

#define LABEL "aggregate_with_a_name_that_is_as_long_as_names_of_values_may_" /* and two digits: 63 bytes */
#define LONGEST (sizeof(config_text) - 1)

static struct config cfg, again;
static struct state_sample s;

static void put(char *to, const char *text)
{
	memcpy(to + strlen(to), text, strlen(text) + 1);
}

/* Blanks, which separate nothing, to that length. */
static void pad(char *to, size_t bytes)
{
	size_t n = strlen(to);

	assert_true(n <= bytes);
	memset(to + n, ' ', bytes - n);
	to[bytes] = 0;
}

/* An entry's last key as a YAML text in single quotes. */
static void put_key(char *entry, const char *key, const char *value)
{
	put(entry, "    ");
	put(entry, key);
	put(entry, ": '");
	for (; *value; value++)
		put(entry, *value == '\'' ? "''" : (char[]){*value, 0});
	put(entry, "'\n");
}

static int read_config(const char *entry, struct err *err)
{
	char text[16384];

	snprintf(text, sizeof text, "windows:\n%s", entry);
	return config_parse(&cfg, text, strlen(text), "t.yaml", err);
}

/* ---- lengths ---- */

static void test_limits(void **state)
{
	static const struct {
		const char *key, *value;
	} row[] = {
		{"where", "country = DE"},
		{"aggregates", "count"},
		{"anomaly", "zscore(count,30,3)"},
		{"steps", "a: type = click; b: type = session"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		char entry[8192] = "  - name: w\n", value[LONGEST + 2], want[100];
		struct window_plan *plan;
		struct err err = {""};

		if (!strcmp(row[i].key, "steps"))
			put(entry, "    kind: funnel\n    within: 1h\n    by: user_id\n");
		snprintf(value, sizeof value, "%s", row[i].value);
		pad(value, LONGEST);
		put_key(entry, row[i].key, value);
		if (read_config(entry, &err) || window_plan_make(&plan, &cfg, &err))
			fail_msg("%s: %s", row[i].key, err.text);
		window_plan_free(plan);

		entry[strlen(entry) - 2] = 0;
		put(entry, " '\n");
		assert_int_equal(read_config(entry, &err), -22);
		snprintf(want, sizeof want, "windows.%s: ", row[i].key);
		assert_non_null(strstr(err.text, want));
		assert_non_null(strstr(err.text, "to 2047 bytes, has 2048"));
	}
}

/* The others are as short as they were. */
static void test_short_keys(void **state)
{
	char entry[1024] = "  - name: w\n", value[257] = "page";
	struct err err = {""};

	(void)state;
	pad(value, 256);
	put_key(entry, "by", value);
	assert_int_equal(read_config(entry, &err), -22);
	assert_non_null(strstr(err.text, "windows.by: 'page"));
	assert_non_null(strstr(err.text, "expected text of 0 to 255 bytes, has 256"));
}

/* A number may be longer in canonical form. */
static void test_canonical_form(void **state)
{
	char entry[4096] = "  - name: w\n", value[LONGEST + 1] = "ts>1";
	struct window_plan *plan;
	struct err err = {""};

	(void)state;
	while (strlen(value) + 20 < LONGEST)
		put(value, " and metric<1e15");
	put_key(entry, "where", value);
	assert_int_equal(read_config(entry, &err), 0);
	assert_int_equal(window_plan_make(&plan, &cfg, &err), -22);
	assert_string_equal(err.text, "t.yaml:2: window w: where: longer than 2047 bytes in canonical form");
}

/* What is wrong is said, however much stands before it. */
static void test_faults_in_long_texts(void **state)
{
	static const char start[] = "name=w kind=funnel size=1h within=1h by=user_id steps=\"";
	char text[8192], value[LONGEST + 1];
	struct window_def *def;
	struct err err;

	(void)state;
	memset(value, 'a', LONGEST);
	value[LONGEST] = 0;
	snprintf(text, sizeof text, "%s%s\"", start, value);
	assert_int_equal(window_def_parse(&def, text, &err), -22);
	assert_non_null(strstr(err.text, "window w: steps: 'aaa"));
	assert_non_null(strstr(err.text, "aaa': expected NAME: TESTS"));
	value[LONGEST - 20] = ':';
	snprintf(text, sizeof text, "%s%s\"", start, value);
	assert_int_equal(window_def_parse(&def, text, &err), -22);
	assert_non_null(strstr(err.text, "aaa': a name has at most 31 bytes"));
	snprintf(text, sizeof text, "%sa%s\"", start, value);
	assert_int_equal(window_def_parse(&def, text, &err), -22);
	assert_string_equal(err.text, "windows.steps: longer than 2047 bytes");
}

/* ---- filters ---- */

static bool time_passes(const struct window_filter *f, int64_t ms)
{
	state_sample_init(&s, EVENT_TYPE_click, ms);
	state_sample_text(&s, FIELD_ts, "there");
	return window_filter_match(f, state_sample_record(&s, 1));
}

/* As many tests as fit, of which each counts. */
static void test_many_tests(void **state)
{
	struct window_canon canon = {0};
	char where[LONGEST + 1] = "ts>0";
	struct window_filter *f;
	uint32_t tests = 1;
	struct err err;

	(void)state;
	for (; strlen(where) + 9 <= LONGEST; tests++)
		put(where, " and ts>0");
	where[strlen(where) - 1] = '5';
	assert_int_equal(tests, 228);
	if (window_filter_parse(&f, WINDOW_TYPES_ALL, where, &canon, &err))
		fail_msg("%s", err.text);
	assert_string_equal(canon.text, where);
	assert_false(time_passes(f, 5));
	assert_true(time_passes(f, 6));
	window_filter_free(f);
}

/* As many values as fit: the first, the last and one beyond the 256th are found, and no other. */
static void test_many_values(void **state)
{
	struct window_canon canon = {0};
	char where[LONGEST + 1] = "ts in (7";
	struct window_filter *f;
	struct err err;

	(void)state;
	while (strlen(where) + 3 <= LONGEST)
		put(where, strlen(where) == 1000 ? ",6" : ",5");
	put(where, ")");
	where[strlen(where) - 2] = '8';
	if (window_filter_parse(&f, WINDOW_TYPES_ALL, where, &canon, &err))
		fail_msg("%s", err.text);
	assert_string_equal(canon.text, where);
	for (int64_t ms = 1; ms < 10; ms++)
		assert_int_equal(time_passes(f, ms), ms >= 5 && ms <= 8);
	window_filter_free(f);
}

/* Values behind the 256th of another test's. */
static void test_values_of_a_second_test(void **state)
{
	struct window_canon canon = {0};
	char where[LONGEST + 1] = "country in (";
	struct window_filter *f;
	struct err err;

	(void)state;
	for (uint32_t i = 0; i < 300; i++) {
		char code[8];

		snprintf(code, sizeof code, "%sC%u", i ? "," : "", i);
		put(where, code);
	}
	put(where, ") and device in (phone,tablet)");
	if (window_filter_parse(&f, WINDOW_TYPES_ALL, where, &canon, &err))
		fail_msg("%s", err.text);
	for (uint32_t i = 0; i < 4; i++) {
		state_sample_init(&s, EVENT_TYPE_click, 1);
		state_sample_text(&s, FIELD_country, i & 1 ? "C299" : "C300");
		state_sample_text(&s, FIELD_device, i & 2 ? "tablet" : "tv");
		assert_int_equal(window_filter_match(f, state_sample_record(&s, 1)), i == 3);
	}
	window_filter_free(f);
}

/* ---- from the configuration to the store and back ---- */

static void aggregates_make(char *out)
{
	*out = 0;
	for (uint32_t i = 0; i < AGG_MAX; i++) {
		char one[160];

		snprintf(one, sizeof one, "%scount(%s=\"%s%c\") as " LABEL "%02u", i ? ", " : "",
			i % 2 ? "page" : "country", "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\", 'a' + (int)i, i);
		put(out, one);
	}
}

/* Long keys, with many bytes that take two in quotes: no other definition's text is much longer. */
static void entry_make(char *entry)
{
	config_text aggregates, where = "page='", anomaly = "zscore(";
	config_str by = "\"attributes.";

	*entry = 0;
	aggregates_make(aggregates);
	memset(where + 6, '"', LONGEST - 7);
	where[LONGEST - 1] = '\'';
	where[LONGEST] = 0;
	pad(anomaly, LONGEST - 200);
	put(anomaly, LABEL "00,60,4)");
	for (uint32_t i = 0; i < 60; i++)
		put(by, "\\\"");
	put(by, "\", country, page, device");
	put(entry, "  - name: a_window_with_a_name_of_forty_eight_bytes_12345_\n    size: 1m\n");
	put_key(entry, "by", by);
	put_key(entry, "where", where);
	put_key(entry, "aggregates", aggregates);
	put_key(entry, "anomaly", anomaly);
}

static void assert_same(const struct window_def *a, const struct window_def *b)
{
	assert_string_equal(a->text, b->text);
	assert_true(a->uid == b->uid);
	assert_string_equal(a->anomaly, b->anomaly);
	assert_int_equal(agg_set_count(b->aggs), AGG_MAX);
	for (uint32_t i = 0; i < AGG_MAX; i++)
		assert_string_equal(agg_set_spec(a->aggs, i)->label, agg_set_spec(b->aggs, i)->label);
	for (uint32_t i = 0; i < a->group_count; i++)
		assert_string_equal(window_group_name(a, i), window_group_name(b, i));
}

static void assert_stored(const struct window_def *def)
{
	const char *base = getenv("SLUICE_TEST_DIR");
	const struct window_def *got;
	struct window_store *st;
	struct window_plan *plan;
	char dir[160], path[256];
	struct err err = {""};

	snprintf(dir, sizeof dir, "%.90s/sluice-long-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(window_store_open(&st, dir, &err), 0);
	assert_int_equal(window_store_put(st, def, &err), 0);
	window_store_close(st);
	assert_int_equal(window_store_open(&st, dir, &err), 0);
	got = window_store_get(st, def->uid, &err);
	if (!got)
		fail_msg("%s", err.text);
	assert_same(def, got);
	assert_int_equal(window_store_plan(&plan, st, &def->uid, 1, 1000, &err), 0);
	assert_same(def, plan->def[0]);
	window_plan_free(plan);
	window_store_close(st);
	snprintf(path, sizeof path, "%s/%016lx.window", dir, def->uid);
	unlink(path);
	rmdir(dir);
}

/* The configuration printed and read again gives the same definition; so does the definition's own text. */
static void test_round_trip(void **state)
{
	char entry[16384], *text;
	struct window_plan *plan, *printed;
	struct window_def *def;
	struct err err = {""};
	size_t bytes;
	FILE *out;

	(void)state;
	entry_make(entry);
	if (read_config(entry, &err) || window_plan_make(&plan, &cfg, &err))
		fail_msg("%s", err.text);
	assert_true(strlen(plan->def[0]->text) > 8192);
	assert_int_equal(strlen(agg_set_spec(plan->def[0]->aggs, 15)->label), AGG_LABEL_BYTES - 1);
	out = open_memstream(&text, &bytes);
	config_print(&cfg, out, true);
	fclose(out);
	if (config_parse(&again, text, bytes, "printed", &err) || window_plan_make(&printed, &again, &err))
		fail_msg("%s", err.text);
	assert_string_equal(again.windows[0].where, cfg.windows[0].where);
	assert_same(plan->def[0], printed->def[0]);
	assert_int_equal(window_def_parse(&def, plan->def[0]->text, &err), 0);
	assert_same(plan->def[0], def);
	assert_stored(plan->def[0]);
	window_def_free(def);
	window_plan_free(printed);
	window_plan_free(plan);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_short_keys),
		cmocka_unit_test(test_canonical_form),
		cmocka_unit_test(test_faults_in_long_texts),
		cmocka_unit_test(test_many_tests),
		cmocka_unit_test(test_many_values),
		cmocka_unit_test(test_values_of_a_second_test),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
