/* Alerts of the rule hits of a record. The ruleset is a table here: what alerts need of it is its accessors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>

#include "alert.h"
#include "sample_record.h"

static char long_id[300];
static const struct rule_info rules[] = {
	{.id = "tagged", .title = "t", .severity = SEVERITY_LOW, .actions = RULE_ACTION_TAG},
	{.id = "sqli",
		.title = "A \"quoted\" title",
		.severity = SEVERITY_HIGH,
		.actions = RULE_ACTION_ALERT},
	{.id = "both",
		.title = NULL,
		.severity = SEVERITY_CRITICAL,
		.actions = RULE_ACTION_ALERT | RULE_ACTION_DROP},
	{.id = long_id, .title = "", .severity = SEVERITY_INFO, .actions = RULE_ACTION_ALERT},
	{.id = "counted",
		.title = "c",
		.severity = SEVERITY_LOW,
		.actions = RULE_ACTION_ALERT | RULE_ACTION_TAG,
		.stateful = true},
};
const char *const rule_severity_name[] = {"info", "low", "medium", "high", "critical"};

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

const char *ruleset_version(const struct ruleset *rs)
{
	(void)rs;
	return "00112233445566aa";
}

static void check_text(json_t *o, const char *name, const char *want)
{
	assert_string_equal(json_string_value(json_object_get(o, name)), want);
}

static void test_alert(void **state)
{
	const struct address at = {"n", 0x1f, 2, 9};
	const uint16_t hit[] = {0, 1, 2, 3, 4};
	struct record_key key;
	struct bytes out = {0};
	struct alert a;
	struct sample s;
	const struct record *rec = sample_click(&s, "u\n1", hit, 5);
	struct err err;
	json_t *o;

	(void)state;
	record_key_of(&key, rec);
	assert_int_equal(alert_of_hit(&a, rec, 0, &key, &at, NULL, 5, &err), 0);
	assert_int_equal(alert_of_hit(&a, rec, 1, &key, &at, NULL, 5, &err), 1);
	alert_put_json(&out, &a);
	o = json_loadb((const char *)out.data, out.bytes, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	check_text(o, "alert_id", "n/000000000000001f/2/9/sqli");
	check_text(o, "rule_id", "sqli");
	check_text(o, "title", "A \"quoted\" title");
	check_text(o, "severity", "high");
	check_text(o, "ruleset", "00112233445566aa");
	check_text(o, "type", "click");
	check_text(o, "key", "u\n1");
	assert_string_equal(json_string_value(json_array_get(json_object_get(o, "evidence"), 0)),
		"n/000000000000001f/2/9");
	assert_int_equal(json_integer_value(json_object_get(o, "generation")), 5);
	assert_int_equal(json_integer_value(json_object_get(o, "first_time")), 1715200123456);
	assert_int_equal(json_integer_value(json_object_get(o, "last_time")), 1715200123456);
	json_decref(o);
	assert_int_equal(alert_of_hit(&a, rec, 2, &key, &at, NULL, 5, &err), 1);
	assert_string_equal(a.title, "");
	bytes_free(&out);
}

static void test_refused(void **state)
{
	const struct address at = {"n", 0x1f, 2, 9};
	const uint16_t hit[] = {3, 4, 5, 6};
	struct record_key key;
	struct alert a;
	struct sample s;
	const struct record *rec = sample_click(&s, "u1", hit, 4);
	struct err err;

	(void)state;
	memset(long_id, 'x', sizeof long_id - 1);
	record_key_of(&key, rec);
	assert_int_equal(alert_of_hit(&a, rec, 0, &key, &at, NULL, 5, &err), -EINVAL);
	long_id[ALERT_RULE_ID_BYTES - 1] = 0;
	assert_int_equal(alert_of_hit(&a, rec, 0, &key, &at, NULL, 5, &err), 1);
	assert_int_equal(strlen(a.id), strlen(a.evidence) + 1 + ALERT_RULE_ID_BYTES - 1);
	/* The alerts of a rule with state are not made of one hit, nor are those of its steps. */
	assert_int_equal(alert_of_hit(&a, rec, 1, &key, &at, NULL, 5, &err), 0);
	assert_int_equal(alert_of_hit(&a, rec, 2, &key, &at, NULL, 5, &err), 0);
	/* A rule that the ruleset does not have is an error, never a skipped alert. */
	assert_int_equal(alert_of_hit(&a, rec, 3, &key, &at, NULL, 5, &err), -EINVAL);
	assert_non_null(strstr(err.text, "n/000000000000001f/2/9"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_alert), cmocka_unit_test(test_refused)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
