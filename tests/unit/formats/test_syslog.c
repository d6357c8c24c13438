/* syslog: datagrams of both RFCs' forms and of real senders, broken ones, and the event that each gives. */
#include "log_check.h"

#define LOG(source, ts, level, message, attributes)                                                          \
	"{\"type\":\"log\",\"source\":\"" source "\",\"ts\":" #ts ",\"level\":\"" level                      \
	"\",\"message\":\"" message "\",\"attributes\":{" attributes "}}"
#define A(name, value) "\"" name "\":\"" value "\""

static const struct log_row rfc5424_row[] = {
	{"<34>1 2025-11-20T10:20:30.123Z gate.example.org sshd - AUTH7 - \xef\xbb\xbflogin of root "
	 "refused",
		LOG("sshd", 1763634030123, "critical", "login of root refused",
			A("facility", "auth") "," A("host", "gate.example.org") "," A("msgid", "AUTH7"))},
	{"<165>1 2025-11-20T10:20:30.000003-07:00 192.0.2.1 worker 8710 - - 100% done",
		LOG("worker", 1763659230000, "notice", "100% done",
			A("facility", "local4") "," A("host", "192.0.2.1") "," A("procid", "8710"))},
	{"<165>1 2025-11-20T10:20:30+05:30 h shop - ID47 [exampleSDID@32473 iut=\"3\" src=\"App\" "
	 "id=\"1011\"] "
	 "paid",
		LOG("shop", 1763614230000, "notice", "paid",
			A("facility", "local4") "," A("host", "h") "," A(
				"msgid", "ID47") ",\"exampleSDID@32473\":{\"iut\":\"3\",\"src\":"
						 "\"App\",\"id\":"
						 "\"1011\"}")},
	/* several elements and no message */
	{"<14>1 2025-11-20T10:20:30Z h a - - [one@1 k=\"v\"][two@1 q=\"\\\"\\\\\\]\\n\" "
	 "w=\"]\"][three]",
		LOG("a", 1763634030000, "info", "",
			A("facility", "user") "," A(
				"host", "h") ",\"one@1\":{\"k\":\"v\"},\"two@1\":{\"q\":\"\\\"\\\\]\\\\n\","
					     "\"w\":\"]\"},\"three\":{}")},
	/* a name again, a name of ours */
	{"<14>1 - - - - - [origin ip=\"192.0.2.1\" ip=\"192.0.2.129\" x=\"1\" ip=\"3\"][host "
	 "a=\"b\"] m",
		LOG("192.0.2.7", 1763700000000, "info", "m",
			A("facility", "user") ",\"origin\":{\"ip\":[\"192.0.2.1\",\"192.0.2.129\"],"
					      "\"x\":\"1\","
					      "\"ip\":\"3\"},\"_host\":{\"a\":\"b\"}")},
	{"<0>1 - h - - - -",
		LOG("h", 1763700000000, "emergency", "", A("facility", "kern") "," A("host", "h"))},
	{"<191>1 2024-02-29T23:59:59.999999999Z h a b c - x\r\n",
		LOG("a", 1709251199999, "debug", "x",
			A("facility", "local7") "," A("host", "h") "," A("procid", "b") "," A("msgid", "c"))},
	/* a space of rsyslog's */
	{"<14>1 - h a - - -  m",
		LOG("a", 1763700000000, "info", "m", A("facility", "user") "," A("host", "h"))},
	{"<14>1 - h a - - -   m",
		LOG("a", 1763700000000, "info", " m", A("facility", "user") "," A("host", "h"))},
	/* bytes that are not UTF-8, controls */
	{"<14>1 - h a - - - \xff\x01\xc3\xa9", LOG("a", 1763700000000, "info", "\xef\xbf\xbd\\u0001\xc3\xa9",
						       A("facility", "user") "," A("host", "h"))},
	/* broken */
	{"<34>1 2025-02-29T10:20:30Z h a - - - x", NULL},
	{"<34>1 2025-11-20T24:00:00Z h a - - - x", NULL},
	{"<34>1 2025-11-20T10:20:60Z h a - - - x", NULL},
	{"<34>1 2025-11-20T10:20:30 h a - - - x", NULL},
	{"<34>1 2025-11-20T10:20:30.Z h a - - - x", NULL},
	{"<34>1 2025-11-20T10:20:30+5:00 h a - - - x", NULL},
	{"<34>1 2025-11-20 h a - - - x", NULL},
	{"<34>1 - h a - -", NULL},
	{"<34>1 - h a - - ", NULL},
	{"<34>1 - h a - - x", NULL},
	{"<34>1 - h a - - -x", NULL},
	{"<34>1 -  h a - - - x", NULL},
	{"<34>1 - h a - - [", NULL},
	{"<34>1 - h a - - []", NULL},
	{"<34>1 - h a - - [a", NULL},
	{"<34>1 - h a - - [a b]", NULL},
	{"<34>1 - h a - - [a b=]", NULL},
	{"<34>1 - h a - - [a b=\"c]", NULL},
	{"<34>1 - h a - - [a b=\"c\\\"]", NULL},
	{"<34>1 - h a - - [a b=\"c\"", NULL},
	{"<34>1 - h a - - [a b=\"c\"]x", NULL},
	{"<34>1 - h a - - [a b=\"c\"x=\"y\"] x", NULL},
	{"<34>1 - h a - - [a=\"c\"] x", NULL},
};

static void test_rfc5424(void **state)
{
	(void)state;
	log_rows_check(syslog_next, rfc5424_row, sizeof rfc5424_row / sizeof *rfc5424_row);
}

static const struct log_row rfc3164_row[] = {
	{"<34>Nov 20 22:14:15 gate su: 'su root' failed for jo on /dev/pts/8",
		LOG("su", 1763676855000, "critical", "'su root' failed for jo on /dev/pts/8",
			A("facility", "auth") "," A("host", "gate"))},
	{"<13>Nov  3 07:08:09 gate.example.org jobs.d/x-1[4711]: done",
		LOG("jobs.d/x-1", 1762153689000, "notice", "done",
			A("facility", "user") "," A("host", "gate.example.org") "," A("procid", "4711"))},
	{"<13>Nov 03 07:08:09 2001:db8::5 cron[1] x",
		LOG("cron", 1762153689000, "notice", "x",
			A("facility", "user") "," A("host", "2001:db8::5") "," A("procid", "1"))},
	/* rsyslog's forward format */
	{"<30>2025-11-20T10:20:30.123456+01:00 web1 systemd[1]: Started x.\n",
		LOG("systemd", 1763630430123, "info", "Started x.",
			A("facility", "daemon") "," A("host", "web1") "," A("procid", "1"))},
	/* no host: syslog(3), logger */
	{"<13>Nov 20 22:14:15 jo: hello", LOG("jo", 1763676855000, "notice", "hello", A("facility", "user"))},
	{"<13>Nov 20 22:14:15 SU: hello", LOG("SU", 1763676855000, "notice", "hello", A("facility", "user"))},
	{"<86>Nov 20 22:14:15 sshd[99]: bye",
		LOG("sshd", 1763676855000, "info", "bye", A("facility", "authpriv") "," A("procid", "99"))},
	/* no time, no tag, nothing */
	{"<13>jo: hello", LOG("jo", 1763700000000, "notice", "hello", A("facility", "user"))},
	{"<13>hello there: you",
		LOG("192.0.2.7", 1763700000000, "notice", "hello there: you", A("facility", "user"))},
	{"<13>Nov 31 22:14:15 gate x: y", LOG("192.0.2.7", 1763700000000, "notice",
						  "Nov 31 22:14:15 gate x: y", A("facility", "user"))},
	{"<13>Nov 20 22:14:15 gate no tag here", LOG("gate", 1763676855000, "notice", "no tag here",
							 A("facility", "user") "," A("host", "gate"))},
	{"<13>Nov 20 22:14:15 gate http://x/ is up", LOG("gate", 1763676855000, "notice", "http://x/ is up",
							     A("facility", "user") "," A("host", "gate"))},
	{"<13>Nov 20 22:14:15", LOG("192.0.2.7", 1763676855000, "notice", "", A("facility", "user"))},
	{"<13>", LOG("192.0.2.7", 1763700000000, "notice", "", A("facility", "user"))},
	{"<13>2 - h a - - - x",
		LOG("192.0.2.7", 1763700000000, "notice", "2 - h a - - - x", A("facility", "user"))},
	/* a time within the text is not the message's */
	{"<13>backup: Jan  3 04:00:00 snapshot done",
		LOG("backup", 1763700000000, "notice", "Jan  3 04:00:00 snapshot done",
			A("facility", "user"))},
	{"<13>backup: Nov 20 12:00:00 snapshot done",
		LOG("backup", 1763700000000, "notice", "Nov 20 12:00:00 snapshot done",
			A("facility", "user"))},
	/* routers */
	{"<189>29: *Nov 20 18:48:50.483: %SYS-5-CONFIG_I: Configured from console",
		LOG("192.0.2.7", 1763664530483, "notice", "Configured from console",
			A("facility", "local7") "," A("msgid", "SYS-5-CONFIG_I") "," A("seq", "29"))},
	{"<189>29: r1: .Nov 20 18:48:50.483 UTC: %SYS-5-CONFIG_I: up",
		LOG("r1", 1763664530483, "notice", "up",
			A("facility", "local7") "," A("host", "r1") "," A("msgid", "SYS-5-CONFIG_I") "," A(
				"seq", "29"))},
	{"<166>Nov 20 2024 18:48:50: %ASA-6-302013: Built connection",
		LOG("192.0.2.7", 1732128530000, "info", "Built connection",
			A("facility", "local4") "," A("msgid", "ASA-6-302013"))},
	{"<166>Nov 20 2024 18:48:50 fw1 : %ASA-6-302013: Built",
		LOG("fw1", 1732128530000, "info", ": %ASA-6-302013: Built",
			A("facility", "local4") "," A("host", "fw1"))},
	/* JSON inside */
	{"<190>Nov 20 22:14:15 web1 nginx: {\"status\": 200, "
	 "\"path\":\"/a\\u002fb\",\"h\\u006fst\":\"x\"}",
		LOG("nginx", 1763676855000, "info",
			"{\\\"status\\\": 200, "
			"\\\"path\\\":\\\"/a\\\\u002fb\\\",\\\"h\\\\u006fst\\\":"
			"\\\"x\\\"}",
			A("facility", "local7") "," A(
				"host", "web1") ",\"status\":200,\"path\":\"/a\\u002fb\","
						"\"_h\\u006fst\":\"x\"")},
	{"<190>Nov 20 22:14:15 web1 app: @cee: {\"a\":{\"b\":[1,true,null,{}]}}",
		LOG("app", 1763676855000, "info", "@cee: {\\\"a\\\":{\\\"b\\\":[1,true,null,{}]}}",
			A("facility", "local7") "," A("host", "web1") ",\"a\":{\"b\":[1,true,null,{}]}")},
	{"<190>1 - - app - - - {}", LOG("app", 1763700000000, "info", "{}", A("facility", "local7"))},
	{"<190>1 - - app - - - {\"a\":01}",
		LOG("app", 1763700000000, "info", "{\\\"a\\\":01}", A("facility", "local7"))},
	{"<190>1 - - app - - - {\"a\":1} x",
		LOG("app", 1763700000000, "info", "{\\\"a\\\":1} x", A("facility", "local7"))},
	{"<190>1 - - app - - - {\"a\":\"\xff\"}",
		LOG("app", 1763700000000, "info", "{\\\"a\\\":\\\"\xef\xbf\xbd\\\"}",
			A("facility", "local7"))},
	{"<190>1 - - app - - - {\"a\":\"\\ud800\"}",
		LOG("app", 1763700000000, "info", "{\\\"a\\\":\\\"\\\\ud800\\\"}", A("facility", "local7"))},
	/* no PRI */
	{"Nov 20 22:14:15 gate x: y", NULL},
	{"<>x", NULL},
	{"<192>x", NULL},
	{"<1234>x", NULL},
	{"<13", NULL},
	{"<1a>x", NULL},
	{"\n", NULL},
	{"{\"short_message\":\"x\"}", NULL},
};

static void test_rfc3164(void **state)
{
	(void)state;
	log_rows_check(syslog_next, rfc3164_row, sizeof rfc3164_row / sizeof *rfc3164_row);
}

static void year_check(const char *in, int64_t now_ms, const char *ts)
{
	struct log_answer a = log_ask(syslog_next, in, strlen(in), now_ms, sender_v4);

	assert_int_equal(a.answer, FORMAT_EVENT);
	if (!strstr(a.text, ts))
		fail_msg("%s at %lld: %s", in, (long long)now_ms, a.text);
}

/* A time without a year is of the year that puts it closest to its arrival. */
static void test_year(void **state)
{
	const int64_t new_year = 1767225600000; /* 2026-01-01T00:00:00Z */

	(void)state;
	year_check("<13>Dec 31 23:59:59 h t: m", new_year + 1000, "\"ts\":1767225599000,");
	year_check("<13>Jan  1 00:00:01 h t: m", new_year - 1000, "\"ts\":1767225601000,");
	year_check("<13>Jan  1 00:00:01 h t: m", new_year + 1000, "\"ts\":1767225601000,");
	year_check("<13>Dec 31 23:59:59 h t: m", new_year - 1000, "\"ts\":1767225599000,");
	year_check("<13>Jul 10 00:00:00 h t: m", new_year, "\"ts\":1752105600000,");
	/* a leap day: of a leap year that is near, else it is no time */
	year_check("<13>Feb 29 12:00:00 h t: m", 1709251200000, "\"ts\":1709208000000,");
	year_check("<13>Feb 29 12:00:00 h t: m", 1709251200000 + 300 * 86400000ll, "\"ts\":1709208000000,");
	year_check("<13>Feb 29 12:00:00 h t: m", 1780000000000, "\"ts\":1780000000000,");
}

static void test_source_address(void **state)
{
	struct log_answer a = log_ask(syslog_next, "<13>x", 5, NOW_MS, sender_v6);

	(void)state;
	assert_non_null(strstr(a.text, "\"source\":\"2001:db8::9\""));
	assert_int_equal(log_ask(syslog_next, "", 0, NOW_MS, sender_v6).answer, FORMAT_END);
}

/* Head, `count` times `unit`, tail. */
static struct log_answer ask_long(const char *head, const char *unit, size_t count, const char *tail)
{
	size_t h = strlen(head), u = strlen(unit), t = strlen(tail);
	char *text = malloc(h + u * count + t + 1);
	struct log_answer a;

	assert_non_null(text);
	memcpy(text, head, h);
	for (size_t i = 0; i < count; i++)
		memcpy(text + h + i * u, unit, u);
	memcpy(text + h + u * count, tail, t);
	a = log_ask(syslog_next, text, h + u * count + t, NOW_MS, sender_v4);
	free(text);
	return a;
}

static void test_limits(void **state)
{
	static const char *const unit[] = {
		"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xff", "\x01", "\"", "\\"};
	struct log_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
		/* whatever it becomes in JSON: cut, and taken */
		a = ask_long("<13>1 - h a - - - ", unit[i], 60000 / strlen(unit[i]), "");
		assert_int_equal(a.answer, FORMAT_EVENT);
		assert_false(a.too_long);
		assert_int_equal(a.refused, 0);
		assert_non_null(strstr(a.text, "\"cut\":true"));
		/* a source, too */
		a = ask_long("<13>1 - h ", unit[i], 1000 / strlen(unit[i]), " - - - m");
		assert_int_equal(a.answer, FORMAT_EVENT);
		assert_int_equal(a.refused, 0);
	}
	a = ask_long("<13>1 - h a - - - ", "a", 16384, "");
	assert_null(strstr(a.text, "\"cut\""));
	a = ask_long("<13>1 - h a - - - ", "a", 16385, "");
	assert_non_null(strstr(a.text, "\"cut\":true"));
	/* members of an object that do not fit stay text */
	a = ask_long("<13>1 - h a - - - {\"k\":\"", "a", 15000, "\"}");
	assert_non_null(strstr(a.text, ",\"k\":\"aaa"));
	assert_int_equal(a.refused, 0);
	a = ask_long("<13>1 - h a - - - {\"k\":\"", "a", 60000, "\"}");
	assert_null(strstr(a.text, ",\"k\":\""));
	assert_int_equal(a.refused, 0);
	/* structured data beyond all limits: refused by name */
	a = ask_long("<13>1 - h a - - [a b=\"", "\x01", 60000, "\"] m");
	assert_true(a.too_long);
	/* nesting: `attributes` may have what an event may have */
	a = ask_long("<13>1 - - a - - - {\"k\":", "[", 30, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}");
	assert_non_null(strstr(a.text, ",\"k\":[["));
	assert_int_equal(a.refused, 0);
	a = ask_long("<13>1 - - a - - - {\"k\":", "[", 31, "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}");
	assert_null(strstr(a.text, ",\"k\":[["));
	assert_int_equal(a.refused, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc5424),
		cmocka_unit_test(test_rfc3164),
		cmocka_unit_test(test_year),
		cmocka_unit_test(test_source_address),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
