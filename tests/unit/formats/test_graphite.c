/* Graphite's plaintext: what each line becomes, byte for byte. */
#include "format_util.h"

#define FROM(host, ts) "{\"type\":\"telemetry\",\"device_id\":\"" host "\",\"ts\":" ts ",\"name\":"
#define HEAD FROM("192.0.2.7", "1763700000000")
#define AT " 1763700000"

static void test_lines(void **state)
{
	static const struct format_case row[] = {
		{"a.b.c 1" AT, HEAD "\"a.b.c\",\"value\":1}\n"},
		{"a.b.c 1" AT "\n", HEAD "\"a.b.c\",\"value\":1}\n"},
		/* collectd's end of a line; blanks of any kind */
		{"h.cpu-0.cpu-idle 99.5" AT "\r\nx -2e-3" AT "\r\n",
			HEAD "\"h.cpu-0.cpu-idle\",\"value\":99.5}\n" HEAD "\"x\",\"value\":-2e-3}\n"},
		{"  a \t +1.50 " AT "  \n\n \t \r\n\tb .5" AT,
			HEAD "\"a\",\"value\":1.50}\n" HEAD "\"b\",\"value\":0.5}\n"},
		{"a 007 1763699999.9876", FROM("192.0.2.7", "1763699999987") "\"a\",\"value\":7}\n"},
		{"a 1 1763699999.5", FROM("192.0.2.7", "1763699999500") "\"a\",\"value\":1}\n"},
		{"a 1 1763699999.", FROM("192.0.2.7", "1763699999000") "\"a\",\"value\":1}\n"},
		{"a 1 -1", HEAD "\"a\",\"value\":1}\n"},
		{"a 1 0", FROM("192.0.2.7", "0") "\"a\",\"value\":1}\n"},
		{"caf\xc3\xa9.\"x\"\\ 1" AT, HEAD "\"caf\xc3\xa9.\\\"x\\\"\\\\\",\"value\":1}\n"},
		{"a 1 99999999999",
			"timestamp_future: " FROM("192.0.2.7", "99999999999000") "\"a\",\"value\":1}\n"},
		{"a 1e999" AT, "bad_value: " HEAD "\"a\",\"value\":1e999}\n"},
		{"", ""},
		{" \n\t\r\n", ""},
	};

	(void)state;
	format_check(CONFIG_FORMAT_GRAPHITE, row, sizeof row / sizeof *row);
}

static void test_tags(void **state)
{
	static const struct format_case row[] = {
		{"disk.used;datacenter=dc1;rack=a1 5" AT, HEAD "\"disk.used\",\"value\":5,\"attributes\":{"
							       "\"datacenter\":\"dc1\",\"rack\":\"a1\"}}\n"},
		{"cpu;host=web-3;plugin=cpu 5" AT,
			FROM("web-3", "1763700000000") "\"cpu\",\"value\":5,\"attributes\":{\"host\":\"web-"
						       "3\",\"plugin\":\"cpu\"}}\n"},
		{"cpu;host=h;device_id=d 5" AT,
			FROM("d", "1763700000000") "\"cpu\",\"value\":5,\"attributes\":{\"host\":\"h\","
						   "\"device_id\":\"d\"}}\n"},
		{"x;a=b=c;a=2 5" AT, HEAD "\"x\",\"value\":5,\"attributes\":{\"a\":[\"b=c\",\"2\"]}}\n"},
		{"x;status=ok 5" AT, HEAD "\"x\",\"value\":5,\"attributes\":{\"status\":\"ok\"}}\n"},
	};

	(void)state;
	format_check(CONFIG_FORMAT_GRAPHITE, row, sizeof row / sizeof *row);
}

static void test_refused(void **state)
{
	static const char *const line[] = {"x", "x 1", "x" AT, "x 1" AT " y", "x nan" AT, "x inf" AT,
		"x 0x10" AT, "x 1,5" AT, "x --1" AT, "x 1 -2", "x 1 -", "x 1 +5", "x 1 nan", "x 1 N",
		"x 1 1763700000x", "x 1 .5", "x 1 1e9", "x 1 1.2.3", "x 1 123456789012", ";a=b 1" AT,
		"x; 1" AT, "x;a 1" AT, "x;a= 1" AT, "x;=b 1" AT, "x;a=b; 1" AT, "x;;a=b 1" AT, "\xff 1" AT,
		"x\xc0\xaf 1" AT, "x \xd9\xa1" AT, "{\"type\":\"click\"}", "gorets:1|c",
		"cpu,host=h v=1 2 3"};
	static char text[FORMAT_TEXT_MAX];
	char datagram[200], answer[300];

	(void)state;
	for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
		snprintf(datagram, sizeof datagram, "%s\nok 1" AT, line[i]);
		snprintf(answer, sizeof answer, "bad_format: %s\n" HEAD "\"ok\",\"value\":1}\n", line[i]);
		format_answers(text, CONFIG_FORMAT_GRAPHITE, datagram, strlen(datagram), EVENT_BYTES_MAX);
		assert_string_equal(text, answer);
	}
}

/* Limits: of an event's bytes, of tags, of a line's work. */
static void test_limits(void **state)
{
	static char text[FORMAT_TEXT_MAX], datagram[FORMAT_TEXT_MAX];
	size_t at;

	(void)state;
	for (int tags = 128; tags <= 129; tags++) {
		at = (size_t)snprintf(datagram, sizeof datagram, "m");
		for (int i = 0; i < tags; i++)
			at += (size_t)snprintf(datagram + at, sizeof datagram - at, ";t%d=v", i);
		at += (size_t)snprintf(datagram + at, sizeof datagram - at, " 1" AT);
		format_answers(text, CONFIG_FORMAT_GRAPHITE, datagram, at, EVENT_BYTES_MAX);
		if (tags == 128)
			assert_memory_equal(text, HEAD, sizeof HEAD - 1);
		else
			assert_memory_equal(text, "bad_format: ", 12);
	}
	format_answers(text, CONFIG_FORMAT_GRAPHITE, "a.long.path.here 1" AT, 29, 60);
	assert_memory_equal(text, "too_long: ", 10);
	at = (size_t)snprintf(datagram, sizeof datagram, "m%0200d 1" AT, 1); /* the field's limit */
	format_answers(text, CONFIG_FORMAT_GRAPHITE, datagram, at, EVENT_BYTES_MAX);
	assert_memory_equal(text, "too_long: ", 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
