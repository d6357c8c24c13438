/* InfluxDB's line protocol: what each line becomes, byte for byte. */
#include "format_util.h"

#define FROM(host, ts) "{\"type\":\"telemetry\",\"device_id\":\"" host "\",\"ts\":" ts ",\"name\":"
#define HEAD FROM("192.0.2.7", "1763700000000")

static void test_lines(void **state)
{
	static const struct format_case row[] = {
		{"cpu value=0.64", HEAD "\"cpu\",\"value\":0.64}\n"},
		{"cpu,host=a,core=1 user=1.5,idle=90i 1763699990123456789",
			FROM("a", "1763699990123") "\"cpu.user\",\"value\":1.5,\"attributes\":{\"host\":"
						   "\"a\",\"core\":\"1\"}}\n" FROM(
							   "a", "1763699990123") "\"cpu.idle\",\"value\":90,"
										 "\"attributes\":{\"host\":"
										 "\"a\",\"core\":\"1\"}}\n"},
		{"m,host=h,device_id=d f=1",
			FROM("d", "1763700000000") "\"m.f\",\"value\":1,\"attributes\":{\"host\":\"h\","
						   "\"device_id\":\"d\"}}\n"},
		{"m a=t,b=T,c=true,d=True,e=TRUE,f=f,g=F,h=false,i=False,j=FALSE",
			HEAD "\"m.a\",\"value\":1}\n" HEAD "\"m.b\",\"value\":1}\n" HEAD
			     "\"m.c\",\"value\":1}\n" HEAD "\"m.d\",\"value\":1}\n" HEAD
			     "\"m.e\",\"value\":1}\n" HEAD "\"m.f\",\"value\":0}\n" HEAD
			     "\"m.g\",\"value\":0}\n" HEAD "\"m.h\",\"value\":0}\n" HEAD
			     "\"m.i\",\"value\":0}\n" HEAD "\"m.j\",\"value\":0}\n"},
		{"m a=9223372036854775807i,b=-9223372036854775808i,c=18446744073709551615u",
			HEAD "\"m.a\",\"value\":9223372036854775807}\n" HEAD
			     "\"m.b\",\"value\":-9223372036854775808}\n" HEAD
			     "\"m.c\",\"value\":18446744073709551615}\n"},
		{"m a=-1.234456e+78,b=1.,c=.5,d=1E-3,e=007",
			HEAD "\"m.a\",\"value\":-1.234456e+78}\n" HEAD "\"m.b\",\"value\":1}\n" HEAD
			     "\"m.c\",\"value\":0.5}\n" HEAD "\"m.d\",\"value\":1E-3}\n" HEAD
			     "\"m.e\",\"value\":7}\n"},
		/* text goes with each event of the line */
		{"m,t=1 a=1,s=\"x y\",b=2",
			HEAD "\"m.a\",\"value\":1,\"attributes\":{\"t\":\"1\",\"s\":\"x y\"}}\n" HEAD
			     "\"m.b\",\"value\":2,\"attributes\":{\"t\":\"1\",\"s\":\"x y\"}}\n"},
		{"m s=\"only text\" 1000000",
			FROM("192.0.2.7", "1") "\"m\",\"attributes\":{\"s\":\"only text\"}}\n"},
		{"m s=\"\"", HEAD "\"m\",\"attributes\":{\"s\":\"\"}}\n"},
		{"m,s=a s=\"b\",f=1", HEAD "\"m.f\",\"value\":1,\"attributes\":{\"s\":[\"a\",\"b\"]}}\n"},
		{"m,status=FAULT value=1", HEAD "\"m\",\"value\":1,\"attributes\":{\"status\":\"FAULT\"}}\n"},
		/* comments, blanks, ends of lines */
		{"# a comment \"=\n\n  \t m f=1  \r\n#last", HEAD "\"m.f\",\"value\":1}\n"},
		{"m   f=1   5000000  \n", FROM("192.0.2.7", "5") "\"m.f\",\"value\":1}\n"},
		{"", ""},
		{"#", ""},
		{"\r\n", ""},
		/* times: nanoseconds, to the millisecond below */
		{"m f=1 -1", "bad_timestamp: " FROM("192.0.2.7", "-1") "\"m.f\",\"value\":1}\n"},
		{"m f=1 -1000000", "bad_timestamp: " FROM("192.0.2.7", "-1") "\"m.f\",\"value\":1}\n"},
		{"m f=1 -1000001", "bad_timestamp: " FROM("192.0.2.7", "-2") "\"m.f\",\"value\":1}\n"},
		{"m f=1 999999", FROM("192.0.2.7", "0") "\"m.f\",\"value\":1}\n"},
		{"m f=1 9223372036854775807",
			"timestamp_future: " FROM("192.0.2.7", "9223372036854") "\"m.f\",\"value\":1}\n"},
		{"m f=1e999", "bad_value: " HEAD "\"m.f\",\"value\":1e999}\n"},
	};

	(void)state;
	format_check(CONFIG_FORMAT_INFLUX, row, sizeof row / sizeof *row);
}

static void test_escapes(void **state)
{
	static const struct format_case row[] = {
		{"my\\ m\\,x,t\\ k\\=a\\,b=v\\ 1\\,\\=2 f\\ 1\\,\\==3",
			HEAD "\"my m,x.f 1,=\",\"value\":3,\"attributes\":{\"t k=a,b\":\"v 1,=2\"}}\n"},
		/* others stay as they are */
		{"m\\n\\=x,p=C:\\dir f=1",
			HEAD "\"m\\\\n\\\\=x.f\",\"value\":1,\"attributes\":{\"p\":\"C:\\\\dir\"}}\n"},
		{"m s=\"a\\\"b\\\\c\\n\\,\"",
			HEAD "\"m\",\"attributes\":{\"s\":\"a\\\"b\\\\c\\\\n\\\\,\"}}\n"},
		/* what would end something, within a string */
		{"m s=\"a,b=c d # 1i\",f=1 2000000",
			FROM("192.0.2.7",
				"2") "\"m.f\",\"value\":1,\"attributes\":{\"s\":\"a,b=c d # 1i\"}}\n"},
		{"m s=\"a\nb\r\n\tc\",f=1\nn f=2",
			HEAD "\"m.f\",\"value\":1,\"attributes\":{\"s\":\"a\\u000ab\\u000d\\u000a\\u0009c\"}}"
			     "\n" HEAD "\"n.f\",\"value\":2}\n"},
		{"m s=\"\\\\\"\nn f=2",
			HEAD "\"m\",\"attributes\":{\"s\":\"\\\\\"}}\n" HEAD "\"n.f\",\"value\":2}\n"},
		/* quotes elsewhere are letters */
		{"\"m\",\"t\"=\"v\" \"f\"=1\nn f=2",
			HEAD "\"\\\"m\\\".\\\"f\\\"\",\"value\":1,\"attributes\":{\"\\\"t\\\"\":"
			     "\"\\\"v\\\"\"}}\n" HEAD "\"n.f\",\"value\":2}\n"},
		/* a string without its end: the lines behind it are lines */
		{"m s=\"a\nn f=2", "bad_format: m s=\"a\n" HEAD "\"n.f\",\"value\":2}\n"},
		{"m s=\"a\\\"\nn f=2", "bad_format: m s=\"a\\\"\n" HEAD "\"n.f\",\"value\":2}\n"},
		{"m\\\nn f=2", "bad_format: m\\\n" HEAD "\"n.f\",\"value\":2}\n"},
	};

	(void)state;
	format_check(CONFIG_FORMAT_INFLUX, row, sizeof row / sizeof *row);
}

static void test_refused(void **state)
{
	static const char *const line[] = {"m", "m,t=1", ",t=1 f=1", "m, f=1", "m,t f=1", "m,=1 f=1",
		"m,t= f=1", "m,t=a=b f=1", "m,t=1, f=1", "m f", "m f=", "m =1", "m f=1,", "m f=1,,g=2",
		"m f=1 x", "m f=1 1.5", "m f=1 1e9", "m f=1 -", "m f=1 1 2", "m f=1 9223372036854775808",
		"m f=1 -9223372036854775809", "m f=abc", "m f=nan", "m f=inf", "m f=+1", "m f=1.5i", "m f=i",
		"m f=-i", "m f=-1u", "m f=u", "m f=9223372036854775808i", "m f=-9223372036854775809i",
		"m f=18446744073709551616u", "m f=0x1", "m f=tRUE", "m f=\"a\"b", "m f=\"a\" g=1",
		"m f=a\"b\"", "m f=1\\ ,g=1", "m\xff f=1", "m f=\"\xed\xa0\x80\"", "cpu:1|c",
		"{\"type\":\"click\"}", "\\"};
	static char text[FORMAT_TEXT_MAX];
	char datagram[200], answer[200];

	(void)state;
	for (size_t i = 0; i < sizeof line / sizeof *line; i++) {
		snprintf(datagram, sizeof datagram, "%s\nok f=1", line[i]);
		snprintf(answer, sizeof answer, "bad_format: %s\n" HEAD "\"ok.f\",\"value\":1}\n", line[i]);
		format_answers(text, CONFIG_FORMAT_INFLUX, datagram, strlen(datagram), EVENT_BYTES_MAX);
		assert_string_equal(text, answer);
	}
}

/* Limits: of an event's bytes, of tags, of a line's work. */
static void test_limits(void **state)
{
	static char text[FORMAT_TEXT_MAX], datagram[60000];
	uint64_t lines = 0;
	size_t at;

	(void)state;
	format_answers(text, CONFIG_FORMAT_INFLUX, "m,host=h1 f=1,g=2", 17, 60);
	assert_string_equal(text, "too_long: m,host=h1 f=1,g=2\ntoo_long: m,host=h1 f=1,g=2\n");
	at = 1;
	datagram[0] = 'm';
	for (int i = 0; i < 129; i++)
		at += (size_t)snprintf(datagram + at, sizeof datagram - at, ",t%d=1", i);
	memcpy(datagram + at, " f=1", 4);
	format_answers(text, CONFIG_FORMAT_INFLUX, datagram, at + 4, EVENT_BYTES_MAX);
	assert_memory_equal(text, "bad_format: m,t0=1", 18);
	/* many fields are taken, and a long text; many that would all repeat it are not */
	memset(datagram, 'x', 20000);
	memcpy(datagram, "m s=\"", 5);
	memcpy(datagram + 20000, "\",a=1", 5);
	for (at = 20005; at + 4 <= sizeof datagram; at += 4)
		memcpy(datagram + at, ",a=1", 4);
	format_answers(text, CONFIG_FORMAT_INFLUX, datagram, at, EVENT_BYTES_MAX);
	assert_memory_equal(text, "too_long: m s=\"x", 16);
	format_answers(text, CONFIG_FORMAT_INFLUX, datagram, 20009, EVENT_BYTES_MAX);
	assert_memory_equal(text, HEAD, sizeof HEAD - 1);
	memcpy(datagram, "m a=1", 5);
	for (at = 5; at + 4 <= sizeof datagram; at += 4)
		memcpy(datagram + at, ",a=1", 4);
	format_answers(text, CONFIG_FORMAT_INFLUX, datagram, 1469, EVENT_BYTES_MAX);
	for (const char *p = text; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 367);
	assert_memory_equal(text, HEAD, sizeof HEAD - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_limits)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
