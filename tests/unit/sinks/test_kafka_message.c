/* Messages of events, dead letters and alerts: topic, key, value, headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "kafka_message.h"
#include "sample_record.h"

/* Only alert.c needs them; not called here. */
const char *const rule_severity_name[] = {"info", "low", "medium", "high", "critical"};
uint32_t ruleset_rule_count(const struct ruleset *rs)
{
	(void)rs;
	return 0;
}
uint32_t ruleset_match_count(const struct ruleset *rs)
{
	return ruleset_rule_count(rs) + 1; /* one step of a rule with state */
}

const struct rule_info *ruleset_rule(const struct ruleset *rs, uint32_t index)
{
	(void)rs, (void)index;
	return NULL;
}
const char *ruleset_version(const struct ruleset *rs)
{
	(void)rs;
	return "";
}

static const struct address at = {"n", 0x1f, 2, 9};

static void check_header(const struct kafka_message *msg, const char *name, const char *want)
{
	for (uint32_t i = 0; i < msg->header_count; i++)
		if (!strcmp(msg->header[i].name, name)) {
			assert_non_null(want);
			assert_int_equal(msg->header[i].bytes, strlen(want));
			assert_memory_equal(msg->header[i].value, want, msg->header[i].bytes);
			return;
		}
	assert_null(want);
}

static void test_event(void **state)
{
	struct kafka_message msg;
	struct record_key key;
	struct sample s;
	const struct record *rec = sample_click(&s, "u1", NULL, 0);

	(void)state;
	record_key_of(&key, rec);
	assert_int_equal(kafka_message_event(&msg, KAFKA_HEADERS_DEFAULT, rec, &key, &at), 0);
	assert_int_equal(msg.topic, KAFKA_TOPIC_EVENT + EVENT_TYPE_click);
	assert_int_equal(msg.key_bytes, 2);
	assert_memory_equal(msg.key, "u1", 2);
	/* The value is the record's raw bytes themselves, without its tail. */
	assert_ptr_equal(msg.value, record_payload(rec));
	assert_int_equal(msg.value_bytes, rec->raw_bytes);
	check_header(&msg, "sluice-address", "n/000000000000001f/2/9");
	check_header(&msg, "content-type", "application/json");
	check_header(&msg, "event-id", "01234567-89ab-cdef-fedc-ba9876543210");
	((struct record *)s.bytes)->type = EVENT_TYPE_platform;
	assert_int_equal(kafka_message_event(&msg, KAFKA_HEADERS_DEFAULT, rec, &key, &at), 0);
	assert_int_equal(msg.topic, KAFKA_TOPIC_EVENT + EVENT_TYPE_platform);
	((struct record *)s.bytes)->type = EVENT_TYPE_MAX - 1;
	assert_int_equal(kafka_message_event(&msg, KAFKA_HEADERS_DEFAULT, rec, &key, &at), -EINVAL);
}

static void test_every_type_has_a_topic(void **state)
{
	struct kafka_message msg;
	struct record_key key;
	struct sample s;
	const struct record *rec = sample_click(&s, "u1", NULL, 0);

	(void)state;
	record_key_of(&key, rec);
	for (int type = 1; type < EVENT_TYPE_MAX; type++) {
		((struct record *)s.bytes)->type = (uint8_t)type;
		assert_int_equal(kafka_message_event(&msg, KAFKA_HEADERS_DEFAULT, rec, &key, &at),
			type_table[type].name ? 0 : -EINVAL);
	}
}

static void test_dead(void **state)
{
	struct event ev = {.raw = (const uint8_t *)"{\"ts\":}x", .raw_bytes = 8, .refused = DROP_bad_json};
	struct record *rec;
	struct kafka_message msg;
	struct sample s;

	(void)state;
	memcpy(ev.src_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
	ev.src_port = 77;
	ev.refused_field = FIELD_ts;
	record_write_refused(s.bytes, &ev, 0x1234567890ull, 0, 7);
	rec = (struct record *)s.bytes;
	kafka_message_dead(&msg, rec, &at);
	assert_int_equal(msg.topic, KAFKA_TOPIC_DEAD);
	assert_null(msg.key);
	assert_int_equal(msg.spread, 0x34567890);
	assert_int_equal(msg.value_bytes, 7);
	assert_memory_equal(msg.value, "{\"ts\":}", 7);
	check_header(&msg, "reason", "bad_json");
	check_header(&msg, "field", "ts");
	check_header(&msg, "source", "10.0.0.1:77");
	check_header(&msg, "cut", "true");
	check_header(&msg, "sluice-address", "n/000000000000001f/2/9");
	/* Bytes from disk that this version has no name for. */
	rec->reason = 255;
	rec->reason_field = 255;
	rec->flags = 0;
	kafka_message_dead(&msg, rec, &at);
	check_header(&msg, "reason", "unknown");
	check_header(&msg, "field", NULL);
	check_header(&msg, "cut", NULL);
}

static void test_alert(void **state)
{
	static char big[5000];
	struct record_key key = {.data = (const uint8_t *)"u1", .bytes = 2};
	struct bytes json = {.data = (uint8_t[]){"{}"}, .bytes = 2};
	struct alert a = {.rule_id = "sqli", .key = &key, .evidence = "n/1/2/3"};
	struct kafka_message msg;

	(void)state;
	kafka_message_alert(&msg, &a, &json);
	assert_int_equal(msg.topic, KAFKA_TOPIC_ALERTS);
	assert_int_equal(msg.key_bytes, 7);
	assert_memory_equal(msg.key, "sqli/u1", 7);
	assert_int_equal(msg.value_bytes, 2);
	check_header(&msg, "sluice-address", "n/1/2/3");
	key = (struct record_key){.data = (const uint8_t *)big, .bytes = sizeof big};
	kafka_message_alert(&msg, &a, &json);
	assert_int_equal(msg.key_bytes, sizeof msg.made_key);
}

static void test_header_words(void **state)
{
	static const char *const bad[] = {
		"adress", "address,,type", "address type", ",", "ADDRESS", "event-id,trace"};
	uint32_t headers = 0;
	struct err err;

	(void)state;
	assert_int_equal(kafka_headers_parse(&headers, "address,content-type,event-id", &err), 0);
	assert_int_equal(headers, KAFKA_HEADERS_DEFAULT);
	assert_int_equal(kafka_headers_parse(&headers, "source,type", &err), 0);
	assert_int_equal(headers, 1u << KAFKA_HEADER_SOURCE | 1u << KAFKA_HEADER_TYPE);
	assert_int_equal(kafka_headers_parse(&headers, "", &err), 0);
	assert_int_equal(headers, 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (kafka_headers_parse(&headers, bad[i], &err) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_event),
		cmocka_unit_test(test_every_type_has_a_topic), cmocka_unit_test(test_dead),
		cmocka_unit_test(test_alert), cmocka_unit_test(test_header_words)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
