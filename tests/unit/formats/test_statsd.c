/* StatsD and DogStatsD: what each line becomes, byte for byte. */
#include "format_util.h"

#define HEAD "{\"type\":\"telemetry\",\"device_id\":\"192.0.2.7\",\"ts\":1763700000000,\"name\":"
#define FROM(host) "{\"type\":\"telemetry\",\"device_id\":\"" host "\",\"ts\":1763700000000,\"name\":"
#define ATTRS(type) ",\"attributes\":{\"metric_type\":\"" type "\""

static void test_types(void **state)
{
	static const struct format_case row[] = {
		{"gorets:1|c", HEAD "\"gorets\",\"value\":1" ATTRS("c") "}}\n"},
		{"gorets:-1|c|@0.1", HEAD "\"gorets\",\"value\":-1" ATTRS("c") ",\"sample_rate\":0.1}}\n"},
		{"glork:320.5|ms|@1", HEAD "\"glork\",\"value\":320.5" ATTRS("ms") ",\"sample_rate\":1}}\n"},
		{"g:333|g", HEAD "\"g\",\"value\":333" ATTRS("g") "}}\n"},
		{"g:-10|g", HEAD "\"g\",\"value\":-10" ATTRS("g") ",\"delta\":true}}\n"},
		{"g:+4|g", HEAD "\"g\",\"value\":4" ATTRS("g") ",\"delta\":true}}\n"},
		{"h:7|h", HEAD "\"h\",\"value\":7" ATTRS("h") "}}\n"},
		{"d:7|d", HEAD "\"d\",\"value\":7" ATTRS("d") "}}\n"},
		{"uniques:765|s", HEAD "\"uniques\"" ATTRS("s") ",\"member\":\"765\"}}\n"},
		{"uniques:a:\"b\"|s", HEAD "\"uniques\"" ATTRS("s") ",\"member\":\"a:\\\"b\\\"\"}}\n"},
		{"a:1|c\r\n\n  \nb:2|c\n", HEAD
			"\"a\",\"value\":1" ATTRS("c") "}}\n" HEAD "\"b\",\"value\":2" ATTRS("c") "}}\n"},
		{"caf\xc3\xa9 \\ \"x\":1|c",
			HEAD "\"caf\xc3\xa9 \\\\ \\\"x\\\"\",\"value\":1" ATTRS("c") "}}\n"},
		{"", ""},
		{"\n\n", ""},
	};

	(void)state;
	format_check(CONFIG_FORMAT_STATSD, row, sizeof row / sizeof *row);
}

static void test_numbers(void **state)
{
	static const char *const pairs[][2] = {{"1e3", "1e3"}, {"1E+3", "1E+3"}, {"1e-05", "1e-05"},
		{".5", "0.5"}, {"-.5", "-0.5"}, {"5.", "5"}, {"5.e1", "5e1"}, {"+3", "3"}, {"007", "7"},
		{"00", "0"}, {"-00.50", "-0.50"},
		{"123456789012345678901234567890", "123456789012345678901234567890"},
		{"0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"}};
	static const char *const none[] = {"", "-", "+", ".", "-.", "e5", "1e", "1e+", "nan", "NaN", "inf",
		"-inf", "Infinity", "0x10", "1_000", "1,5", " 1", "1 ", "--1", "+-1", "1.2.3", "1f",
		"\xd9\xa1"};
	char datagram[200], answer[400];
	static char text[FORMAT_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		snprintf(datagram, sizeof datagram, "n:%s|ms", pairs[i][0]);
		snprintf(answer, sizeof answer, HEAD "\"n\",\"value\":%s" ATTRS("ms") "}}\n", pairs[i][1]);
		format_answers(text, CONFIG_FORMAT_STATSD, datagram, strlen(datagram), EVENT_BYTES_MAX);
		assert_string_equal(text, answer);
	}
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		snprintf(datagram, sizeof datagram, "n:%s|c", none[i]);
		snprintf(answer, sizeof answer, "bad_format: %s\n", datagram);
		format_answers(text, CONFIG_FORMAT_STATSD, datagram, strlen(datagram), EVENT_BYTES_MAX);
		assert_string_equal(text, answer);
	}
	/* a number, but none that a double holds: the parser's to refuse */
	format_answers(text, CONFIG_FORMAT_STATSD, "n:1e999|c", 9, EVENT_BYTES_MAX);
	assert_string_equal(text, "bad_value: " HEAD "\"n\",\"value\":1e999" ATTRS("c") "}}\n");
}

static void test_dogstatsd(void **state)
{
	static const struct format_case row[] = {
		{"u.online:1|c|#country:china,prod", HEAD
			"\"u.online\",\"value\":1" ATTRS("c") ",\"country\":\"china\",\"prod\":\"\"}}\n"},
		{"a:1|c|#host:h1", FROM("h1") "\"a\",\"value\":1" ATTRS("c") ",\"host\":\"h1\"}}\n"},
		{"a:1|c|#device:d1", FROM("d1") "\"a\",\"value\":1" ATTRS("c") ",\"device\":\"d1\"}}\n"},
		{"a:1|c|#device:d1,host:h:1",
			FROM("h:1") "\"a\",\"value\":1" ATTRS("c") ",\"device\":\"d1\",\"host\":\"h:1\"}}\n"},
		{"a:1|c|#host:,device:d1",
			FROM("d1") "\"a\",\"value\":1" ATTRS("c") ",\"host\":\"\",\"device\":\"d1\"}}\n"},
		{"a:1|c|#env:a,x:1,env:b,env:c",
			HEAD "\"a\",\"value\":1" ATTRS("c") ",\"env\":[\"a\",\"b\",\"c\"],\"x\":\"1\"}}\n"},
		{"a:1|c|#", HEAD "\"a\",\"value\":1" ATTRS("c") "}}\n"},
		{"a:1|c|#,,x:1,", HEAD "\"a\",\"value\":1" ATTRS("c") ",\"x\":\"1\"}}\n"},
		{"p:150|g|#shell|T1656581400", "{\"type\":\"telemetry\",\"device_id\":\"192.0.2.7\",\"ts\":"
					       "1656581400000,\"name\":\"p\","
					       "\"value\":150" ATTRS("g") ",\"shell\":\"\"}}\n"},
		{"p:1.5|d|@0.25|#a:b|c:ci-83c0|e:it-false|card:low",
			HEAD "\"p\",\"value\":1.5" ATTRS(
				"d") ",\"sample_rate\":0.25,\"origin_container\":\"ci-83c0\","
				     "\"origin_external\":\"it-false\",\"cardinality\":"
				     "\"low\",\"a\":\"b\"}}\n"},
		{"p:1:-2.5:3|ms|#x:y\nq:4:+5|g", HEAD
			"\"p\",\"value\":1" ATTRS("ms") ",\"x\":\"y\"}}\n" HEAD "\"p\",\"value\":-2.5" ATTRS(
				"ms") ",\"x\":\"y\"}}\n" HEAD
				      "\"p\",\"value\":3" ATTRS(
					      "ms") ",\"x\":\"y\"}}\n" HEAD
						    "\"q\",\"value\":4" ATTRS(
							    "g") "}}\n" HEAD
								 "\"q\",\"value\":5" ATTRS(
									 "g") ",\"delta\":true}}\n"},
		/* a tag that is a field of the event's */
		{"a:1|c|#status:ok", HEAD "\"a\",\"value\":1" ATTRS("c") ",\"status\":\"ok\"}}\n"},
		{"a:1|c|#status:a,status:b,env:c",
			HEAD "\"a\",\"value\":1" ATTRS("c") ",\"status\":\"a\",\"env\":\"c\"}}\n"},
		{"a:1|c|#user_id:7,metric:x",
			HEAD "\"a\",\"value\":1" ATTRS("c") ",\"user_id\":\"7\",\"metric\":\"x\"}}\n"},
		{"a:1|c|T99999999999",
			"timestamp_future: "
			"{\"type\":\"telemetry\",\"device_id\":\"192.0.2.7\",\"ts\":99999999999000,"
			"\"name\":\"a\",\"value\":1" ATTRS("c") "}}\n"},
	};

	(void)state;
	format_check(CONFIG_FORMAT_STATSD, row, sizeof row / sizeof *row);
}

static void test_refused(void **state)
{
	static const char *const line[] = {"x", "x:", "x:1", "x:1|", "x:1|q", "x:1|C", "x:1|cc", ":1|c", "|c",
		"x|c", "x|y:1|c", "x:|s", "x:1::2|c", "x:1:|c", "x:1:a|c", "x:1|c|", "x:1|c||", "x:1|c|@",
		"x:1|c|@0", "x:1|c|@0.0e5", "x:1|c|@-0.5", "x:1|c|@1.01", "x:1|c|@10", "x:1|c|@1e1",
		"x:1|c|@nan", "x:1|c|@0.5|@0.5", "x:1|c|#a|#b", "x:1|c|#:v", "x:1|c|T", "x:1|c|T-1",
		"x:1|c|T1.5", "x:1|c|T123456789012", "x:1|c|zz", "x:1|c|#metric_type:c", "x:1|c|#delta",
		"x:1|c|#member:a", "x:1|c|#sample_rate:1", "_e{5,4}:title|text|#a", "_e{1,1}:5|c",
		"_sc|Redis|2|#a:b", "_sc|a:1|c", "x:\xff|s", "x\xc0\xaf:1|c", "x:1|c|#a:\xed\xa0\x80",
		"{\"type\":\"click\"}"};
	static char text[FORMAT_TEXT_MAX];
	char datagram[200], answer[200];

	(void)state;
	for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
		snprintf(datagram, sizeof datagram, "%s\nok:1|c", line[i]);
		snprintf(answer, sizeof answer,
			"bad_format: %s\n" HEAD "\"ok\",\"value\":1" ATTRS("c") "}}\n", line[i]);
		format_answers(text, CONFIG_FORMAT_STATSD, datagram, strlen(datagram), EVENT_BYTES_MAX);
		assert_string_equal(text, answer);
	}
}

static void test_rates(void **state)
{
	static const char *const rate[] = {"1", "1.0", "1.", ".5", "0.1", "1e-05",
		"0.00000000000000000000001", "10e-1", "0.99999999999999999999999"};
	static char text[FORMAT_TEXT_MAX];
	char datagram[200];

	(void)state;
	for (size_t i = 0; i < sizeof rate / sizeof *rate; i++) {
		snprintf(datagram, sizeof datagram, "x:1|c|@%s", rate[i]);
		format_answers(text, CONFIG_FORMAT_STATSD, datagram, strlen(datagram), EVENT_BYTES_MAX);
		assert_memory_equal(text, HEAD, sizeof HEAD - 1);
	}
}

/* Limits: of an event's bytes, of tags, of a line's work. */
static void test_limits(void **state)
{
	static char text[FORMAT_TEXT_MAX], datagram[60000];
	size_t at;

	(void)state;
	format_answers(text, CONFIG_FORMAT_STATSD, "a:1|c|#host:h1", 14, 60);
	assert_string_equal(text, "too_long: a:1|c|#host:h1\n");
	at = (size_t)snprintf(datagram, sizeof datagram, "a:1|c|#");
	for (int i = 0; i < 128; i++)
		at += (size_t)snprintf(datagram + at, sizeof datagram - at, "t%d,", i);
	format_answers(text, CONFIG_FORMAT_STATSD, datagram, at, EVENT_BYTES_MAX);
	assert_memory_equal(text, HEAD, sizeof HEAD - 1);
	at += (size_t)snprintf(datagram + at, sizeof datagram - at, "one.more");
	format_answers(text, CONFIG_FORMAT_STATSD, datagram, at, EVENT_BYTES_MAX);
	assert_memory_equal(text, "bad_format: a:1|c|#t0,", 22);
	/* few values with many tags, and the other way round, are taken; many with many are not */
	memset(datagram, 'x', sizeof datagram);
	memcpy(datagram, "a:1", 3);
	for (at = 3; at < 40000; at += 2)
		memcpy(datagram + at, ":1", 2);
	memcpy(datagram + at, "|c|#", 4);
	format_answers(text, CONFIG_FORMAT_STATSD, datagram, sizeof datagram, EVENT_BYTES_MAX);
	assert_memory_equal(text, "too_long: a:1:1", 15);
	format_answers(text, CONFIG_FORMAT_STATSD, "a:1:2|c", 7, EVENT_BYTES_MAX);
	assert_string_equal(
		text, HEAD "\"a\",\"value\":1" ATTRS("c") "}}\n" HEAD "\"a\",\"value\":2" ATTRS("c") "}}\n");
}

static void test_sender_v6(void **state)
{
	static const uint8_t addr[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 9};
	struct format_reader r = format_open((const uint8_t *)"a:1|c", 5, 1, addr);
	struct bytes out = {0};

	(void)state;
	assert_int_equal(format_table[CONFIG_FORMAT_STATSD].next(&r, &out), FORMAT_EVENT);
	bytes_put_u8(&out, 0);
	assert_string_equal((char *)out.data, "{\"type\":\"telemetry\",\"device_id\":\"2001:db8::9\",\"ts\":"
					      "1,\"name\":\"a\",\"value\":1" ATTRS("c") "}}");
	bytes_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_types), cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_dogstatsd), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_rates), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_sender_v6)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
