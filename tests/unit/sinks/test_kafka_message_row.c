/* Messages of rows, alerts and late events: topic, key, value, headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agg_record.h"
#include "kafka_message.h"

static const struct address at = {"n", 0x1f, 2, 9};

static void header_is(const struct kafka_message *msg, const char *name, const char *want)
{
	for (uint32_t i = 0; i < msg->header_count; i++)
		if (!strcmp(msg->header[i].name, name)) {
			assert_int_equal(msg->header[i].bytes, strlen(want));
			assert_memory_equal(msg->header[i].value, want, msg->header[i].bytes);
			return;
		}
	fail_msg("no header %s", name);
}

static void key_is(const struct kafka_message *msg, const char *want)
{
	assert_non_null(msg->key); /* an empty key is a key: all its messages go to one partition */
	assert_int_equal(msg->key_bytes, strlen(want));
	assert_memory_equal(msg->key, want, strlen(want));
}

static const struct record *row_of_key(struct bytes *out, const void *key, size_t bytes)
{
	struct row row = {.window_uid = 5, .revision = 12, .key_bytes = (uint32_t)bytes, .agg_bytes = 1};

	bytes_reset(out);
	row_put(out, ROW_WINDOW, &row, key, "", NULL, 1, 2);
	assert_true(row_valid((const struct record *)out->data));
	return (const struct record *)out->data;
}

static void test_row(void **state)
{
	static const struct window_def def = {.uid = 5, .name = "page_minute"};
	struct bytes json = {.data = (uint8_t *)"{}", .bytes = 2};
	static struct kafka_message msg;
	struct bytes out = {0};

	(void)state;
	kafka_message_row(&msg, row_of_key(&out, "\3\0/ab\xff\xff\2\0DE", 11), &def, &at, &json);
	assert_int_equal(msg.topic, KAFKA_TOPIC_NAMED);
	key_is(&msg, "/ab||DE");
	assert_ptr_equal(msg.value, json.data);
	assert_int_equal(msg.value_bytes, 2);
	header_is(&msg, "sluice-address", "n/000000000000001f/2/9");
	header_is(&msg, "content-type", "application/json");
	header_is(&msg, "window", "page_minute");
	header_is(&msg, "revision", "12");
	kafka_message_row(&msg, row_of_key(&out, "", 0), &def, &at, &json);
	key_is(&msg, "");
	bytes_free(&out);
}

/* A key longer than there is room for is cut, whatever its parts. */
static void test_long_key(void **state)
{
	static const struct window_def def = {.name = "w"};
	static uint8_t key[3 * 1002];
	struct bytes json = {0};
	static struct kafka_message msg;
	struct bytes out = {0};

	(void)state;
	memset(key, 'k', sizeof key);
	for (int i = 0; i < 3; i++) {
		uint16_t n = 1000;

		memcpy(key + i * 1002, &n, sizeof n);
	}
	kafka_message_row(&msg, row_of_key(&out, key, sizeof key), &def, &at, &json);
	assert_int_equal(msg.key_bytes, KAFKA_KEY_BYTES_MAX);
	assert_int_equal(msg.made_key[1000], '|');
	assert_int_equal(msg.made_key[KAFKA_KEY_BYTES_MAX - 1], 'k');
	bytes_free(&out);
}

static void test_alert(void **state)
{
	static const char *const text[4] = {"rule", "title", "high", "de|/x"};
	struct row_alert a = {.rule_bytes = 4, .title_bytes = 5, .severity_bytes = 4, .key_bytes = 5};
	struct bytes json = {.data = (uint8_t *)"{}", .bytes = 2};
	static struct kafka_message msg;
	struct bytes out = {0};

	(void)state;
	row_put_alert(&out, &a, text, NULL, 3);
	kafka_message_row_alert(&msg, (const struct record *)out.data, &at, &json);
	assert_int_equal(msg.topic, KAFKA_TOPIC_ALERTS);
	key_is(&msg, "rule/de|/x");
	header_is(&msg, "sluice-address", "n/000000000000001f/2/9");
	bytes_free(&out);
}

/* The event itself again, without what the state stage put behind it. */
static void test_late(void **state)
{
	static const struct window_def def = {.uid = 5, .name = "source_1m"};
	const struct address input = {"n", 0xabc, 2, 0};
	static struct kafka_message msg;
	static struct agg_record r;
	const struct record *rec, *late;
	struct record_key key;
	struct bytes out = {0};
	double metric = 1;

	(void)state;
	agg_record_start(&r);
	agg_record_text(&r, FIELD_user_id, "user", 4);
	agg_record_text(&r, FIELD_source, "web", 3);
	agg_record_number(&r, FIELD_metric, &metric);
	rec = agg_record_done(&r);
	row_put_late(&out, rec, 5, 77);
	late = (const struct record *)out.data;
	record_key_of(&key, late);
	kafka_message_late(&msg, late, &key, &def, &at, &input);
	assert_int_equal(msg.topic, KAFKA_TOPIC_LATE);
	key_is(&msg, "user");
	assert_int_equal(msg.value_bytes, 7);
	assert_memory_equal(msg.value, "userweb", 7);
	header_is(&msg, "reason", "late");
	header_is(&msg, "window", "source_1m");
	header_is(&msg, "sluice-address", "n/000000000000001f/2/9");
	header_is(&msg, "input-address", "n/0000000000000abc/2/77");
	kafka_message_late(&msg, late, &key, NULL, &at, &input);
	header_is(&msg, "window", "0000000000000005");
	bytes_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_row), cmocka_unit_test(test_long_key),
		cmocka_unit_test(test_alert), cmocka_unit_test(test_late)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
