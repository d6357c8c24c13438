/* Which alerts the webhook sends, and what a request holds, also with keys of any bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "wh_priv.h"

#define NOW_MS 1794960000000ll /* 2026-11-18T00:00:00Z */

static struct record rec = {.kind = RECORD_EVENT, .receive_time_ms = NOW_MS - 1000};
static struct record_key key;
static const struct address at = {.node = "n1", .epoch = 0xabc, .partition = 2, .offset = 7};

static struct sink_alert made(struct alert *hit, const char *rule, const char *severity)
{
	*hit = (struct alert){.rule_id = rule,
		.title = "A \"title\"",
		.severity = severity,
		.version = "v",
		.key = &key,
		.first_time_ms = NOW_MS - 2000,
		.last_time_ms = NOW_MS - 2000};
	snprintf(hit->id, sizeof hit->id, "n1/0000000000000abc/2/7/%s", rule);
	snprintf(hit->evidence, sizeof hit->evidence, "n1/0000000000000abc/2/7");
	return (struct sink_alert){.hit = hit, .rec = &rec, .at = &at, .window = ""};
}

static bool wanted(const char *rules, uint64_t severity_min, const char *rule, const char *severity)
{
	struct config_webhook cfg = {.severity_min = severity_min};
	struct alert hit;
	struct sink_alert a = made(&hit, rule, severity);

	snprintf(cfg.rules, sizeof cfg.rules, "%s", rules);
	return wh_alert_wanted(&cfg, &a, NOW_MS);
}

static void test_rules(void **state)
{
	(void)state;
	assert_true(wanted("", 0, "a", "info"));
	assert_true(wanted("a", 0, "a", "info"));
	assert_true(wanted("b, a ,c", 0, "a", "info"));
	assert_true(wanted("b,web-*", 0, "web-sqli", "info"));
	assert_true(wanted("*", 0, "a", "info"));
	assert_false(wanted("b,c", 0, "a", "info"));
	assert_false(wanted("a", 0, "ab", "info"));
	assert_false(wanted("ab", 0, "a", "info"));
	assert_false(wanted("web-*", 0, "web", "info"));
	assert_false(wanted(" , ,,", 0, "a", "info"));
}

static void test_severity(void **state)
{
	(void)state;
	assert_true(wanted("", SEVERITY_HIGH, "a", "high"));
	assert_true(wanted("", SEVERITY_HIGH, "a", "critical"));
	assert_false(wanted("", SEVERITY_HIGH, "a", "medium"));
	assert_false(wanted("", SEVERITY_LOW, "a", "nonsense"));
	assert_true(wanted("", SEVERITY_INFO, "a", "nonsense"));
}

static void test_age(void **state)
{
	struct config_webhook cfg = {.age_max = 1000};
	struct alert hit;
	struct sink_alert a = made(&hit, "a", "info");

	(void)state;
	assert_true(wh_alert_wanted(&cfg, &a, NOW_MS));
	assert_false(wh_alert_wanted(&cfg, &a, NOW_MS + 1));
	cfg.age_max = 0;
	assert_true(wh_alert_wanted(&cfg, &a, NOW_MS + 1000000000));
}

static json_t *joined(const struct wh_body *b, uint32_t from, uint32_t to)
{
	struct bytes out = {0};
	json_error_t error;
	json_t *list;

	wh_body_join(&out, b, from, to);
	assert_false(out.failed);
	list = json_loadb((const char *)out.data, out.bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (!list)
		fail_msg("%s: %.*s", error.text, (int)out.bytes, (const char *)out.data);
	assert_int_equal(json_array_size(list), to - from);
	bytes_free(&out);
	return list;
}

static const char *text_at(const json_t *list, size_t i, const char *part, const char *name)
{
	const json_t *a = json_array_get(list, i);

	return json_string_value(json_object_get(part ? json_object_get(a, part) : a, name));
}

static void test_bodies(void **state)
{
	static struct wh_body body;
	struct config_webhook cfg = {.format = WH_FORMAT_ALERTMANAGER, .active = 300000};
	struct sink_alert a;
	struct alert hit;
	struct err err;
	json_t *list;

	(void)state;
	for (int i = 0; i < 3; i++) {
		a = made(&hit, i == 1 ? "second" : "other", "high");
		key.data = i == 1 ? (const void *)"k\"\xff\0\n" : "k";
		key.bytes = i == 1 ? 5 : 1;
		assert_int_equal(wh_body_add(&body, &cfg, &a, NOW_MS, &err), 0);
	}
	list = joined(&body, 0, 3);
	assert_string_equal(text_at(list, 1, "labels", "alertname"), "second");
	assert_string_equal(text_at(list, 1, "labels", "severity"), "high");
	assert_string_equal(text_at(list, 1, "labels", "node"), "n1");
	assert_string_equal(text_at(list, 1, "labels", "alert_id"), "n1/0000000000000abc/2/7/second");
	assert_string_equal(text_at(list, 1, "annotations", "summary"), "A \"title\"");
	assert_string_equal(text_at(list, 1, "annotations", "evidence"), "n1/0000000000000abc/2/7");
	assert_string_equal(text_at(list, 1, NULL, "startsAt"), "2026-11-17T23:59:58.000Z");
	assert_string_equal(text_at(list, 1, NULL, "endsAt"), "2026-11-18T00:05:00.000Z");
	json_decref(list);
	list = joined(&body, 1, 2); /* one alone */
	assert_string_equal(text_at(list, 0, "labels", "alertname"), "second");
	json_decref(list);
	json_decref(joined(&body, 2, 3));
	bytes_free(&body.json);
	body.count = 0;
	cfg.format = WH_FORMAT_JSON; /* as in Kafka */
	assert_int_equal(wh_body_add(&body, &cfg, &a, NOW_MS, &err), 0);
	list = joined(&body, 0, 1);
	assert_string_equal(text_at(list, 0, NULL, "alert_id"), "n1/0000000000000abc/2/7/other");
	json_decref(list);
	bytes_free(&body.json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules), cmocka_unit_test(test_severity),
		cmocka_unit_test(test_age), cmocka_unit_test(test_bodies)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
