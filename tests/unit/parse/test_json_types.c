/* Every event type of the schema: the example of each with all its fields, what it requires, where its values
 * end up, its partition key. Each case runs by shapes, by AVX2 without shapes and by the baseline. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parse_util.h"
#include "record.h"
#include "type_samples.h"

static struct parsers ps;
static uint8_t *kept;
static struct event ev;

static void parse_as(const char *text, enum event_type hint)
{
	free(kept);
	kept = padded_copy(text, strlen(text));
	parse_all_ways(&ps, kept, (uint32_t)strlen(text), hint, &limits_any, &ev);
}

static void parse(const char *text)
{
	parse_as(text, EVENT_TYPE_NONE);
}

static void assert_text(enum field_id field, const char *want)
{
	uint32_t bytes;
	const uint8_t *p;

	assert_true(ev.field_mask >> field & 1);
	p = event_field(&ev, field, &bytes);
	assert_int_equal(bytes, strlen(want));
	assert_memory_equal(p, want, bytes);
}

/* The samples name every field of their type: a type that is added must be added there too. */
static void test_samples_are_complete(void **state)
{
	(void)state;
	for (int type = 1; type < EVENT_TYPE_MAX; type++) {
		if (!type_table[type].name)
			continue;
		assert_non_null(type_sample[type]);
		parse(type_sample[type]);
		if (ev.refused)
			fail_msg("%s: %s of %s", type_sample[type], drop_table[ev.refused].name,
				field_table[ev.refused_field].name);
		assert_int_equal(ev.type, type);
		assert_int_equal(ev.field_mask, type_table[type].uses & ~event_enriched_mask);
		parse_as(type_sample[type], (enum event_type)type);
		assert_int_equal(ev.refused, 0);
		parse_as(type_sample[type], type == 1 ? (enum event_type)2 : (enum event_type)1);
		assert_int_equal(ev.refused, type < 3 ? ev.refused : DROP_unknown_type);
	}
}

/* The sample without one of its keys. */
static char *sample_without(const char *sample, const char *key)
{
	char *copy = strdup(sample), quoted[80], *at, *end;

	assert_non_null(copy);
	snprintf(quoted, sizeof quoted, ",\"%s\":", key);
	at = strstr(copy, quoted);
	assert_non_null(at);
	for (end = at + strlen(quoted); *end && strncmp(end, ",\"", 2) != 0 && strcmp(end, "}") != 0; end++)
		;
	memmove(at, end, strlen(end) + 1);
	return copy;
}

static void test_required(void **state)
{
	(void)state;
	for (int type = 3; type < EVENT_TYPE_MAX; type++) {
		if (!type_table[type].name)
			continue;
		for (int f = 1; f < FIELD_ID_MAX; f++) {
			uint64_t bit = 1ull << f;
			char *text;

			if (!(type_table[type].required & bit))
				continue;
			text = sample_without(type_sample[type], field_table[f].name);
			parse(text);
			assert_int_equal(ev.refused, DROP_missing_field);
			assert_int_equal(ev.refused_field, f);
			free(text);
		}
	}
}

static void test_values(void **state)
{
	(void)state;
	parse(type_sample[EVENT_TYPE_transaction]);
	assert_int_equal(event_decimal(&ev, FIELD_amount), 12500000);
	assert_text(FIELD_ip, "203.0.113.7");
	assert_text(FIELD_status, "approved");
	parse(type_sample[EVENT_TYPE_telemetry]);
	assert_true(event_number(&ev, FIELD_value) == 21.5);
	assert_text(FIELD_device_id, "d42");
	parse(type_sample[EVENT_TYPE_conversion]);
	assert_text(FIELD_properties, "{\"plan\":\"pro\"}");
	assert_text(FIELD_session_id, "s1");
	parse("{\"type\":\"log\",\"source\":\"s\",\"ts\":1763699990000,\"message\":\"a\\nb\",\"level\":"
	      "\"e\"}");
	assert_int_equal(ev.refused, 0);
	assert_text(FIELD_message, "a\nb");
}

#define TRANSACTION "{\"type\":\"transaction\",\"user_id\":\"u\",\"ts\":1763699990000,"

static void verdict(const char *rest, enum drop_reason reason, enum field_id field)
{
	char text[400];

	snprintf(text, sizeof text, TRANSACTION "%s}", rest);
	for (int i = 0; i < 3; i++) { /* the fast parser may have learned the shape by then */
		parse(text);
		if (ev.refused != reason || ev.refused_field != field)
			fail_msg("%s: %u of %u", text, ev.refused, ev.refused_field);
	}
}

static void test_amount(void **state)
{
	(void)state;
	verdict("\"amount\":1.000001", DROP_NONE, 0);
	verdict("\"amount\":1.0000010", DROP_NONE, 0);
	verdict("\"amount\":1.0000001", DROP_bad_value, FIELD_amount);
	verdict("\"amount\":9200000000001", DROP_bad_value, FIELD_amount);
	verdict("\"amount\":\"1\"", DROP_bad_type, FIELD_amount);
	verdict("\"amount\":null", DROP_missing_field, FIELD_amount);
	verdict("\"amount\":-1e-6", DROP_NONE, 0);
	assert_int_equal(event_decimal(&ev, FIELD_amount), -1);
}

static void test_address(void **state)
{
	static const char *const good[] = {"1.2.3.4", "255.255.255.255", "::", "2001:db8::1",
		"::ffff:1.2.3.4", "2001:0db8:0000:0000:0000:0000:192.168.100.200", "fe80::A"};
	static const char *const bad[] = {"1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", ":",
		"1::2::3", "fe80::1%eth0", "12345::", "1.2.3.4\\u0000", "xx"};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		snprintf(text, sizeof text, "\"amount\":1,\"ip\":\"%s\"", good[i]);
		verdict(text, DROP_NONE, 0);
		assert_text(FIELD_ip, good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(text, sizeof text, "\"amount\":1,\"ip\":\"%s\"", bad[i]);
		verdict(text, DROP_bad_value, FIELD_ip);
	}
	verdict("\"amount\":1,\"ip\":\"\\u0031.2.3.4\"", DROP_NONE, 0);
	assert_text(FIELD_ip, "1.2.3.4");
	verdict("\"amount\":1,\"ip\":\"0000:0000:0000:0000:0000:ffff:255.255.255.2555\"", DROP_too_long,
		FIELD_ip);
}

/* The first of the chain that is there, and the record keeps the values. */
static void test_keys_and_records(void **state)
{
	static const struct {
		const char *text;
		const char *key;
	} row[] = {
		{"{\"type\":\"custom\",\"ts\":1763699990000,\"session_id\":\"s\",\"device_id\":\"d\"}", "d"},
		{"{\"type\":\"custom\",\"ts\":1763699990000,\"session_id\":\"s\"}", "s"},
		{"{\"type\":\"custom\",\"user_id\":\"u\",\"ts\":1763699990000,\"device_id\":\"d\"}", "u"},
		{"{\"type\":\"telemetry\",\"device_id\":\"d9\",\"ts\":1763699990000,\"name\":\"n\"}", "d9"}};
	static uint8_t out[4096] __attribute__((aligned(8)));
	const struct record *rec = (const struct record *)out;
	const uint8_t *key;
	uint32_t bytes;
	int64_t amount;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		parse(row[i].text);
		assert_int_equal(ev.refused, 0);
		event_partition_key(&ev, &key, &bytes);
		assert_int_equal(bytes, strlen(row[i].key));
		assert_memory_equal(key, row[i].key, bytes);
	}
	parse("{\"type\":\"custom\",\"ts\":1763699990000}");
	event_partition_key(&ev, &key, &bytes);
	assert_ptr_equal(key, ev.src_addr);
	for (int type = 1; type < EVENT_TYPE_MAX; type++) {
		if (!type_table[type].name)
			continue;
		parse(type_sample[type]);
		assert_true(record_bytes_of(&ev) <= sizeof out);
		record_write_event(out, &ev, 1, 2, 0);
		assert_true(record_valid(out, rec->bytes));
		assert_int_equal(record_decimal(rec, FIELD_amount, &amount), type == EVENT_TYPE_transaction);
		assert_int_equal(amount, type == EVENT_TYPE_transaction ? 12500000 : 0);
	}
}

/* Traffic of all types at once is taken by shapes. */
static void test_shapes_of_all_types(void **state)
{
	const struct json_stats *stats = json_parser_stats(ps.fast);
	uint64_t before;

	(void)state;
	if (!ps.fast->shapes_on)
		skip(); /* no AVX2 here */
	json_parser_forget(ps.fast);
	for (int round = 0; round < 40; round++)
		for (int type = 1; type < EVENT_TYPE_MAX; type++)
			if (type_table[type].name)
				parse(type_sample[type]);
	before = stats->slow;
	for (int type = 1; type < EVENT_TYPE_MAX; type++)
		if (type_table[type].name)
			parse(type_sample[type]);
	assert_int_equal(stats->slow, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_samples_are_complete),
		cmocka_unit_test(test_required), cmocka_unit_test(test_values), cmocka_unit_test(test_amount),
		cmocka_unit_test(test_address), cmocka_unit_test(test_keys_and_records),
		cmocka_unit_test(test_shapes_of_all_types)};
	int failed;

	ps = parsers_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	parsers_free(&ps);
	free(kept);
	return failed;
}
