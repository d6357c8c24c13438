/* A listener of a foreign format over real mbufs: its lines become records that hold JSON, what is none of
 * its lines becomes dead letters with the bytes that came, and all adds up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline_rig.h"

#define PORT 8125
#define TEXT_MAX (1u << 20)

static char seen[TEXT_MAX]; /* the payload of each record, a line each, in the order of partitions */
static size_t seen_bytes;

static void record_take(const struct record *rec)
{
	uint32_t bytes;

	if (rec->kind == RECORD_EVENT) {
		assert_int_equal(rec->type, EVENT_TYPE_telemetry);
		assert_non_null(record_field(rec, FIELD_device_id, &bytes));
	} else {
		assert_int_equal(rec->kind, RECORD_REFUSED);
		assert_int_equal(rec->type, EVENT_TYPE_telemetry);
	}
	seen_bytes += (size_t)snprintf(seen + seen_bytes, TEXT_MAX - seen_bytes, "%s%s%.*s\n",
		rec->kind == RECORD_EVENT ? "" : drop_table[rec->reason].name, rec->hit_count ? "!" : " ",
		(int)rec->raw_bytes, (const char *)record_payload(rec));
	assert_true(seen_bytes < TEXT_MAX);
}

static void start(int format)
{
	seen_bytes = 0;
	seen[0] = 0;
	rig_start(&(struct pipeline_wish){.port = PORT,
		.format = format,
		.rules = "rules:\n- {id: prod, when: {attributes.env: prod}, then: [tag]}\n",
		.batches = 16,
		.batch_bytes = 65536,
		.dead_rate = 1 << 20,
		.take = record_take});
}

static void send(const char *payload, size_t bytes)
{
	rig_send(1, payload, (uint32_t)bytes, PORT);
}

static void stop(void)
{
	rig_stop();
	rig_balance();
}

#define OF(name, value, type)                                                                                \
	"{\"type\":\"telemetry\",\"device_id\":\"h\",\"ts\":1763700000000,\"name\":\"" name                  \
	"\",\"value\":" value ",\"attributes\":{\"metric_type\":\"" type "\""

static void has(const char *line)
{
	if (!strstr(seen, line))
		fail_msg("%s is not in:\n%s", line, seen);
}

static void test_good_and_bad_lines(void **state)
{
	static const char text[] = "a:1|c|#host:h\nnot a metric\nb:2:3|ms|#host:h,env:prod\n"
				   "c:nan|g\n\xff:1|c\nd:1e999|g|#host:h\n";

	(void)state;
	start(CONFIG_FORMAT_STATSD);
	send(text, sizeof text - 1);
	stop();
	assert_int_equal(fx.stats.listener[0].events, 7);
	assert_int_equal(fx.events, 3);
	assert_int_equal(fx.refused, 4);
	assert_int_equal(fx.stats.listener[0].refused[DROP_bad_format], 3);
	assert_int_equal(fx.stats.listener[0].refused[DROP_bad_value], 1);
	has(" " OF("a", "1", "c") ",\"host\":\"h\"}}\n");
	has("!" OF("b", "2", "ms") ",\"host\":\"h\",\"env\":\"prod\"}}\n");
	has("!" OF("b", "3", "ms") ",\"host\":\"h\",\"env\":\"prod\"}}\n");
	has("bad_format not a metric\n");
	has("bad_format c:nan|g\n");
	has("bad_format \xff:1|c\n");
	has("bad_value {\"type\":\"telemetry\",\"device_id\":\"h\",\"ts\":1763700000000,\"name\":");
}

/* Without a tag of the kind the sender is the device; a dead letter lies with its sender. */
static void test_sender(void **state)
{
	(void)state;
	start(CONFIG_FORMAT_INFLUX);
	send("m f=1,g=t\nm f=\n", 14);
	stop();
	assert_int_equal(fx.events, 2);
	assert_int_equal(fx.refused, 1);
	has(" {\"type\":\"telemetry\",\"device_id\":\"10.0.0.1\",\"ts\":1763700000000,\"name\":\"m.f\","
	    "\"value\":1}\n");
	has(" {\"type\":\"telemetry\",\"device_id\":\"10.0.0.1\",\"ts\":1763700000000,\"name\":\"m.g\","
	    "\"value\":1}\n");
	has("bad_format m f=\n");
}

/* More of them than fit the memory for what is written, in one datagram and over many. */
static void test_many(void **state)
{
	static char text[1400];
	size_t n = 0;

	(void)state;
	start(CONFIG_FORMAT_STATSD);
	n = (size_t)snprintf(text, sizeof text, "a:1");
	while (n + 20 < sizeof text) {
		memcpy(text + n, ":1", 2);
		n += 2;
	}
	memcpy(text + n, "|c|#host:h\n?\n", 13);
	for (int i = 0; i < 20; i++) {
		send(text, n + 13);
		rig_drain();
		seen_bytes = 0;
	}
	stop();
	assert_int_equal(fx.events, 20 * (n - 1) / 2);
	assert_int_equal(fx.refused, 20);
	assert_int_equal(fx.stats.listener[0].datagrams, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good_and_bad_lines),
		cmocka_unit_test(test_sender), cmocka_unit_test(test_many)};

	return rig_pool() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
