/* Texts and ids of alerts. */
#include <stdio.h>
#include <string.h>

#include "merge_priv.h"
#include "merge_rig.h"

struct made {
	struct row row;
	uint8_t key[WINDOW_KEY_BYTES_MAX + 64];
};

static void part_add(struct made *m, const char *text)
{
	uint16_t n = text ? (uint16_t)strlen(text) : ROW_KEY_ABSENT;

	memcpy(m->key + m->row.key_bytes, &n, sizeof n);
	m->row.key_bytes += (uint32_t)sizeof n;
	if (text) {
		memcpy(m->key + m->row.key_bytes, text, n);
		m->row.key_bytes += n;
	}
}

static const struct row_alert *put(struct bytes *out, const struct window_def *def, const struct made *m,
	const struct anomaly_spec *spec, double score)
{
	const struct anomaly_alert alert = {.spec = spec,
		.verdict = {.unusual = true, .score = score, .expected = 1.5},
		.value = 1234567.5,
		.events = 1ull << 40};

	bytes_reset(out);
	merge_alert_put(out, def, &m->row, &alert, 99);
	assert_false(out->failed);
	assert_true(row_valid((const struct record *)out->data));
	assert_int_equal(((const struct record *)out->data)->receive_time_ms, 99);
	return row_alert_of((const struct record *)out->data);
}

static void text_is(const struct row_alert *alert, enum row_text which, const char *want)
{
	uint32_t bytes;
	const char *text = row_alert_text((const struct record *)alert - 1, which, &bytes);

	if (bytes != strlen(want) || memcmp(text, want, bytes))
		fail_msg("%.*s, expected %s", (int)bytes, text, want);
}

static void keys_can_be_read(void **state)
{
	static const struct anomaly_spec spec = {
		.kind = ANOMALY_EWMA, .label = "p95_metric", .text = "ewma(p95_metric,0.5,3)", .factor = 3};
	struct window_def def = {.uid = 5, .name = "pages", .kind = WINDOW_TUMBLING, .group_count = 2};
	const struct row_alert *a;
	struct bytes out = {0};
	struct made m = {.row = {.window_uid = 5, .end_ms = 1000}};

	(void)state;
	def.group[0] = FIELD_page;
	def.group[1] = FIELD_country;
	a = put(&out, &def, &m, &spec, 3.5);
	text_is(a, ROW_TEXT_KEY, "all");
	text_is(a, ROW_TEXT_RULE, "anomaly:pages:ewma(p95_metric)");
	text_is(a, ROW_TEXT_TITLE, "p95_metric of pages is 1.23457e+06, expected 1.5");
	text_is(a, ROW_TEXT_SEVERITY, "medium");
	assert_int_equal(a->evidence_total, UINT32_MAX);
	part_add(&m, "/cart");
	part_add(&m, NULL);
	a = put(&out, &def, &m, &spec, 6);
	text_is(a, ROW_TEXT_KEY, "page=/cart, country=(none)");
	text_is(a, ROW_TEXT_SEVERITY, "high");
	def.kind = WINDOW_FUNNEL;
	a = put(&out, &def, &m, &spec, 5.9);
	text_is(a, ROW_TEXT_KEY, "page=/cart, step=(none)");
	text_is(a, ROW_TEXT_SEVERITY, "medium");
	def.kind = WINDOW_TUMBLING;
	def.attr[0] = (char[]){"attributes.plan"};
	a = put(&out, &def, &m, &spec, 5.9);
	text_is(a, ROW_TEXT_KEY, "attributes.plan=/cart, country=(none)");
	bytes_free(&out);
}

/* Names and values as long as definitions and keys may be. */
static void attributes_fit(void **state)
{
	static const struct anomaly_spec spec = {.kind = ANOMALY_ZSCORE, .factor = 3};
	struct window_def def = {.uid = 5, .kind = WINDOW_TUMBLING, .group_count = 2};
	struct made m = {.row = {.window_uid = 5, .end_ms = 1000}};
	char value[WINDOW_KEY_BYTES_MAX / 2], name[2][212];
	const struct row_alert *a;
	struct bytes out = {0};

	(void)state;
	memset(value, 'x', sizeof value - 1);
	value[sizeof value - 1] = 0;
	for (int i = 0; i < 2; i++) {
		memset(name[i], 'n', sizeof name[i] - 1);
		name[i][i ? 40 : 211] = 0;
		def.attr[i] = name[i];
		part_add(&m, value);
	}
	a = put(&out, &def, &m, &spec, 3.5);
	assert_int_equal(a->key_bytes, 211 + 1 + 2 * (sizeof value - 1) + 2 + 40 + 1);
	bytes_free(&out);
}

static void the_longest_key_fits(void **state)
{
	static const struct anomaly_spec spec = {.kind = ANOMALY_ZSCORE, .factor = 3};
	struct window_def def = {.uid = 5, .kind = WINDOW_TUMBLING, .group_count = 4};
	struct made m = {.row = {.window_uid = 5, .end_ms = 1000}};
	const struct row_alert *a;
	struct bytes out = {0};
	char text[WINDOW_KEY_BYTES_MAX / 4];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = 0;
	for (int i = 0; i < 4; i++) {
		def.group[i] = FIELD_page;
		part_add(&m, text);
	}
	a = put(&out, &def, &m, &spec, 3.5);
	assert_int_equal(a->key_bytes, 4 * (sizeof text - 1 + 5) + 3 * 2);
	bytes_free(&out);
}

/* Whatever names another alert gives another id; the same, the same. */
static void ids_name_the_alert(void **state)
{
	struct window_def def = {.uid = 5, .name = "w", .kind = WINDOW_TUMBLING, .group_count = 1};
	struct anomaly_spec spec = {.kind = ANOMALY_ZSCORE, .label = "count", .text = "zscore(count,5,3)"};
	struct bytes out = {0};
	uint8_t id[8][16];

	(void)state;
	def.group[0] = FIELD_source;
	for (int i = 0; i < 8; i++) {
		struct made m = {.row = {.window_uid = 5, .end_ms = 1000, .start_ms = 0}};

		snprintf(spec.text, sizeof spec.text, "%s",
			i == 1 ? "zscore(count,6,3)" : "zscore(count,5,3)");
		m.row.window_uid += i == 2;
		m.row.end_ms += i == 3;
		m.row.start_ms += i == 4;
		m.row.revision += i == 5; /* not a part of it */
		part_add(&m, i == 6 ? "web" : "app");
		memcpy(id[i], put(&out, &def, &m, &spec, i == 7 ? 9 : 3.5)->id, 16);
		assert_memory_not_equal(id[i], id[i] + 8, 8);
		if (i == 5 || i == 7)
			assert_memory_equal(id[i], id[0], 16);
		else
			for (int k = 0; k < i; k++)
				assert_memory_not_equal(id[i], id[k], 16);
	}
	bytes_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_can_be_read),
		cmocka_unit_test(attributes_fit),
		cmocka_unit_test(the_longest_key_fits),
		cmocka_unit_test(ids_name_the_alert),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
