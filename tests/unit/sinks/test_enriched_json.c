/* Enriched events: the sender's members as they came and ours, valid JSON whatever stands in the record, and
 * nothing that a sender could forge. The ruleset is a table here: what the encoder needs of it is its
 * accessors. */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "enriched_json.h"

static const struct rule_info rules[] = {
	{.id = "tagged", .actions = RULE_ACTION_TAG},
	{.id = "dropped", .actions = RULE_ACTION_DROP},
	{.id = "al\"ert", .actions = RULE_ACTION_ALERT},
	{.id = "counted", .actions = RULE_ACTION_ALERT, .stateful = true},
	{.id = "seen", .actions = RULE_ACTION_ALERT | RULE_ACTION_TAG, .stateful = true},
};
static const struct ruleset *const some_rules = (const struct ruleset *)rules;
static const struct address at = {"box", 0x1f, 2, 9};
static _Alignas(8) uint8_t memory[2 * EVENT_BYTES_MAX];
static struct bytes out;

uint32_t ruleset_rule_count(const struct ruleset *rs)
{
	(void)rs;
	return sizeof rules / sizeof *rules;
}

uint32_t ruleset_match_count(const struct ruleset *rs)
{
	return ruleset_rule_count(rs) + 1; /* one step of a rule with state */
}

const struct rule_info *ruleset_rule(const struct ruleset *rs, uint32_t index)
{
	(void)rs;
	return &rules[index];
}

const char *const rule_severity_name[] = {""};

const char *ruleset_version(const struct ruleset *rs)
{
	(void)rs;
	return "";
}

static int encode(
	const char *raw, size_t bytes, const char *city, const uint16_t *hit, uint16_t hits, struct err *err)
{
	struct event ev = {.raw = (const uint8_t *)raw,
		.raw_bytes = (uint32_t)bytes,
		.tail = (const uint8_t *)city,
		.tail_bytes = (uint32_t)strlen(city),
		.type = EVENT_TYPE_click,
		.hit = hit,
		.hit_count = hits};

	if (*city) {
		ev.field_mask = FBIT(geo_country) | FBIT(geo_city);
		ev.field[FIELD_geo_country] = (struct span){(uint16_t)bytes, 2};
		ev.field[FIELD_geo_city] = (struct span){(uint16_t)(bytes + 2), (uint16_t)(strlen(city) - 2)};
	}
	record_write_event(memory, &ev, 0, 0, 0);
	bytes_reset(&out);
	return enriched_json_put(&out, (const struct record *)memory, &at, hits ? some_rules : NULL, err);
}

static void gives(const char *raw, const char *city, const char *want)
{
	struct err err;

	assert_int_equal(encode(raw, strlen(raw), city, NULL, 0, &err), 0);
	bytes_put(&out, "", 1);
	assert_string_equal((const char *)out.data, want);
}

#define NONE "\"_enrichment\":{},\"_tags\":[],\"_address\":\"box/000000000000001f/2/9\"}"

static void test_members(void **state)
{
	(void)state;
	gives("{}", "", "{" NONE);
	gives("{\"user_id\":\"u\",\"x\":[1,{\"y\":\"}\"}] , \"n\" : 1.0}", "",
		"{\"user_id\":\"u\",\"x\":[1,{\"y\":\"}\"}],\"n\" : 1.0," NONE);
	gives("{\"a\":1}", "DEBerlin",
		"{\"a\":1,\"_enrichment\":{\"geo_country\":\"DE\",\"geo_city\":\"Berlin\"},\"_tags\":[],"
		"\"_address\":\"box/000000000000001f/2/9\"}");
}

/* Names that are ours are left out, in whatever way they are written; all others stay, also those of the
 * fields. */
static void test_forged(void **state)
{
	(void)state;
	gives("{\"_tags\":[\"x\"],\"a\":1,\"_enrichment\":{\"geo_country\":\"XX\"},\"_address\":\"0\"}", "",
		"{\"a\":1," NONE);
	gives("{\"\\u005ftags\":[],\"\\u005F\\u0074ags\":[],\"_\\u0061ddress\":1}", "", "{" NONE);
	gives("{\"_tag\":1,\"_tags_\":1,\"tags\":1,\"_\\u0074\":1,\"geo_city\":\"mine\"}", "",
		"{\"_tag\":1,\"_tags_\":1,\"tags\":1,\"_\\u0074\":1,\"geo_city\":\"mine\"," NONE);
	gives("{\"\\u005f\\u0065\\u006e\\u0072\\u0069\\u0063\\u0068\\u006d\\u0065\\u006e\\u0074\":1}", "",
		"{" NONE);
}

static void test_tags(void **state)
{
	const uint16_t hit[] = {0, 1, 2, 3, 4, 5}, beyond[] = {6}; /* 5: a step */
	struct err err = {{0}};
	json_t *o, *tags;

	(void)state;
	assert_int_equal(encode("{\"a\":1}", 7, "DEX\xff\"", hit, 6, &err), 0);
	o = json_loadb((const char *)out.data, out.bytes, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	tags = json_object_get(o, "_tags");
	assert_int_equal(json_array_size(tags), 3);
	assert_string_equal(json_string_value(json_array_get(tags, 0)), "tagged");
	assert_string_equal(json_string_value(json_array_get(tags, 1)), "al\"ert");
	assert_string_equal(json_string_value(json_array_get(tags, 2)), "seen");
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "_enrichment"), "geo_city")),
		"X\xef\xbf\xbd\"");
	json_decref(o);
	assert_int_equal(encode("{}", 2, "", beyond, 1, &err), -EINVAL);
	assert_non_null(strstr(err.text, "box/000000000000001f/2/9"));
}

/* What no parser has accepted does no harm: a journal may hold anything. */
static void test_broken(void **state)
{
	static const char *const broken[] = {"", "[1]", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":[",
		"{\"a\":\"x", "{\"\\u\":1", "{\"\\u00\":1}", "{\"_\\\":1}"};
	static char raw[EVENT_BYTES_MAX];
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
		assert_int_equal(encode(broken[i], strlen(broken[i]), "", NULL, 0, &err), 0);
	srandom(5);
	for (int i = 0; i < 200000; i++) {
		static const char alphabet[] = "{}[]:,\"\\_tagsu005f1 ";
		size_t n = (size_t)random() % 40;

		for (size_t k = 0; k < n; k++)
			raw[k] = alphabet[(size_t)random() % (sizeof alphabet - 1)];
		raw[0] = '{';
		assert_int_equal(encode(raw, n ? n : 1, "", NULL, 0, &err), 0);
	}
	memset(raw, ' ', sizeof raw);
	memcpy(raw, "{\"k\":\"", 6);
	memset(raw + 6, 'x', sizeof raw - 8);
	memcpy(raw + sizeof raw - 2, "\"}", 2);
	assert_int_equal(encode(raw, sizeof raw, "", NULL, 0, &err), 0);
	assert_true(out.bytes > sizeof raw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_broken),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);

	bytes_free(&out);
	return rc;
}
