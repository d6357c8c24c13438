/* Verdicts of the parser: every reason, every field's rules, the order of verdicts, what accepted events
 * hold. Each case runs by shapes, by AVX2 without shapes and by the baseline, and they must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parse_util.h"

#define ID "\"event_id\":\"0b8e5c7a-1f2e-4d3c-9a5b-0123456789AB\""
#define CLICK_REST "\"user_id\":\"u1\",\"ts\":1763699990000,\"page\":\"/p\""
#define CLICK "{" ID "," CLICK_REST "}"
#define PLATFORM_REST "\"source\":\"web\",\"timestamp\":\"2025-11-21T04:00:00Z\""

static struct parsers ps;
static uint8_t *kept;
static struct event ev;
static enum event_type hint;
static struct parse_limits limits;

static const struct event *parse_bytes(const void *text, size_t bytes)
{
	free(kept);
	kept = padded_copy(text, bytes);
	parse_all_ways(&ps, kept, (uint32_t)bytes, hint, &limits, &ev);
	return &ev;
}

static const struct event *parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static int reset(void **state)
{
	(void)state;
	hint = EVENT_TYPE_NONE;
	limits = limits_any;
	return 0;
}

#define REFUSED(text, reason, field)                                                                         \
	do {                                                                                                 \
		parse(text);                                                                                 \
		assert_int_equal(ev.refused, DROP_##reason);                                                 \
		assert_int_equal(ev.refused_field, FIELD_##field);                                           \
		assert_int_equal(ev.field_mask, 0);                                                          \
	} while (0)
#define ACCEPTED(text)                                                                                       \
	do {                                                                                                 \
		parse(text);                                                                                 \
		assert_int_equal(ev.refused, 0);                                                             \
	} while (0)

static void assert_field(enum field_id field, const char *want)
{
	uint32_t bytes;
	const uint8_t *p;

	assert_true(ev.field_mask >> field & 1);
	p = event_field(&ev, field, &bytes);
	assert_int_equal(bytes, strlen(want));
	assert_memory_equal(p, want, bytes);
}

static void test_click(void **state)
{
	static const uint8_t id[16] = {0x0b, 0x8e, 0x5c, 0x7a, 0x1f, 0x2e, 0x4d, 0x3c, 0x9a, 0x5b, 0x01, 0x23,
		0x45, 0x67, 0x89, 0xab};

	(void)state;
	ACCEPTED("{" ID "," CLICK_REST
		 ",\"referrer\":\"\",\"country\":\"US\",\"device\":\"mobile\",\"x\":[1,{}]}");
	assert_int_equal(ev.type, EVENT_TYPE_click);
	assert_int_equal(ev.field_mask, type_table[EVENT_TYPE_click].uses & ~event_enriched_mask);
	assert_memory_equal(ev.event_id, id, 16);
	assert_int_equal(ev.event_time_ms, 1763699990000);
	assert_int_equal(ev.tail_bytes, 0);
	assert_field(FIELD_event_id, "0b8e5c7a-1f2e-4d3c-9a5b-0123456789AB");
	assert_field(FIELD_user_id, "u1");
	assert_field(FIELD_ts, "1763699990000");
	assert_field(FIELD_page, "/p");
	assert_field(FIELD_referrer, "");
	assert_field(FIELD_country, "US");
	assert_field(FIELD_device, "mobile");
}

static void test_platform(void **state)
{
	(void)state;
	ACCEPTED("{" ID "," PLATFORM_REST ",\"attributes\":{\"user_id\":\"u9\",\"metric\":42.7,\"status\":"
		 "\"ok\",\"z\":{\"metric\":1}}}");
	assert_int_equal(ev.type, EVENT_TYPE_platform);
	assert_int_equal(ev.field_mask, type_table[EVENT_TYPE_platform].uses & ~event_enriched_mask);
	assert_int_equal(ev.event_time_ms, 1763697600000);
	assert_field(FIELD_source, "web");
	assert_field(FIELD_ts, "2025-11-21T04:00:00Z");
	assert_field(FIELD_user_id, "u9");
	assert_field(FIELD_status, "ok");
	assert_field(FIELD_attributes,
		"{\"user_id\":\"u9\",\"metric\":42.7,\"status\":\"ok\",\"z\":{\"metric\":1}}");
	assert_int_equal(ev.tail_bytes, 8);
	assert_true(event_number(&ev, FIELD_metric) == 42.7);
}

static void test_optional(void **state)
{
	(void)state;
	ACCEPTED("{" CLICK_REST "}");
	assert_false(ev.field_mask & FBIT(event_id));
	ACCEPTED("{\"event_id\":null," CLICK_REST ",\"country\":null}");
	assert_int_equal(ev.field_mask, FBIT(user_id) | FBIT(ts) | FBIT(page));
	ACCEPTED(" \t\r\n{" CLICK_REST "} \t\r\n");
	ACCEPTED("{ \"user_id\" : \"u\" , \"ts\" : 1763699990000 , \"page\" : \"\" }");
	ACCEPTED("{\n\t\"user_id\":\"u\",\n\t\"ts\":1763699990000,\n\t\"page\":\"\"\n}");
}

static void test_bad_json(void **state)
{
	static const char *const bad[] = {"", " ", "[]", "\"a\"", "1", "null", "true", "{", "}", "{]",
		"{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{\"a\" 1}", "{\"a\"::1}",
		"{a:1}", "{'a':1}", "{\"a\":[1,]}", "{\"a\":[,1]}", "{\"a\":[1 2]}", "{\"a\":[1}",
		"{\"a\":{]}", "{\"a\":tru}", "{\"a\":True}", "{\"a\":nul}", "{\"a\":falsey}", "{\"a\":NaN}",
		"{\"a\":Infinity}", "{\"a\":01}", "{\"a\":-}", "{\"a\":-01}", "{\"a\":+1}", "{\"a\":.5}",
		"{\"a\":1.}", "{\"a\":1.e5}", "{\"a\":1e}", "{\"a\":1e+}", "{\"a\":0x1}", "{\"a\":1_0}",
		"{\"a\":\"\\x\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\u123\"}", "{\"a\":\"\\\"}",
		"{\"a\":\"b}", "{\"a\":\"\t\"}", "{\"a\":\"\n\"}", "{\"a\nb\":1}", CLICK "x", CLICK ",",
		CLICK CLICK, CLICK "}", "\xef\xbb\xbf" CLICK, "// c\n" CLICK, "{\"a\":1/**/}",
		"{\"a\":1;\"b\":2}", "{1:2}",
		"{\"a\":\x0b"
		"1}",
		"{\xc2\xa0}"};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		parse(bad[i]);
		if (ev.refused != DROP_bad_json)
			fail_msg("%s: %u", bad[i], ev.refused);
		assert_int_equal(ev.type, EVENT_TYPE_NONE);
	}
	assert_int_equal(parse_bytes("{\"a\":\"\0\"}", 9)->refused, DROP_bad_json);
	assert_int_equal(parse_bytes(CLICK "\0", sizeof CLICK)->refused, DROP_bad_json);
}

static void test_bad_utf8(void **state)
{
	static const char *const bad[] = {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2 ",
		"\xe0\x80\x80", "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80", "\xed\xbf\xbf",
		"\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf0\x9f\x98", "\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80", "\xff", "\xfe", "\\ud800", "\\udfff", "\\ud800\\ud800", "\\ud800x",
		"\\ud83d\\u0041", "\\udc00\\ud800"};
	static const char *const good[] = {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
		"\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\\ud83d\\ude00",
		"\\uD800\\uDFFF", "\\u0000", "\\uffff", "\x7f"};
	char text[400];

	(void)state;
	for (size_t shift = 0; shift < 70; shift += 3) {
		for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
			snprintf(text, sizeof text, "{" CLICK_REST ",\"x\":\"%*s%s\"}", (int)shift, "",
				bad[i]);
			REFUSED(text, bad_utf8, NONE);
		}
		for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
			snprintf(text, sizeof text, "{" CLICK_REST ",\"x\":\"%*s%s\"}", (int)shift, "",
				good[i]);
			ACCEPTED(text);
		}
	}
	/* bytes come first, also behind a place where the text is no JSON */
	REFUSED("{\"a\":nope,\"b\":\"\x80\"}", bad_utf8, NONE);
	REFUSED("{}\xff", bad_utf8, NONE);
	REFUSED("{\"a\":nope,\"b\":\"\\ud800\"}", bad_json, NONE);
	REFUSED("{\"a\":\"\\ud800\",\"b\":nope}", bad_utf8, NONE);
}

static void test_depth(void **state)
{
	char text[400] = "{" CLICK_REST ",\"x\":";
	size_t at = strlen(text);

	(void)state;
	/* the top-level object is the first level */
	memset(text + at, '[', EVENT_DEPTH_MAX - 1);
	memset(text + at + EVENT_DEPTH_MAX - 1, ']', EVENT_DEPTH_MAX - 1);
	strncpy(text + at + 2 * (EVENT_DEPTH_MAX - 1), "}", 2);
	ACCEPTED(text);
	memset(text + at, '[', EVENT_DEPTH_MAX);
	memset(text + at + EVENT_DEPTH_MAX, ']', EVENT_DEPTH_MAX);
	strncpy(text + at + 2 * EVENT_DEPTH_MAX, "}", 2);
	REFUSED(text, too_deep, NONE);
	memset(text + at, '[', 300);
	REFUSED(text, too_deep, NONE);
}

static void test_missing_and_type(void **state)
{
	(void)state;
	REFUSED("{}", missing_field, user_id);
	REFUSED("{\"user_id\":\"u\",\"page\":\"/\"}", missing_field, ts);
	REFUSED("{\"user_id\":\"u\",\"ts\":1763699990000}", missing_field, page);
	REFUSED("{\"user_id\":null,\"ts\":1763699990000,\"page\":\"\"}", missing_field, user_id);
	REFUSED("{\"source\":\"web\"}", missing_field, ts);
	assert_int_equal(ev.type, EVENT_TYPE_platform);
	REFUSED("{\"user_id\":7,\"ts\":1763699990000,\"page\":\"/\"}", bad_type, user_id);
	REFUSED("{\"user_id\":true,\"ts\":1763699990000,\"page\":\"/\"}", bad_type, user_id);
	REFUSED("{\"user_id\":\"u\",\"ts\":false,\"page\":\"/\"}", bad_type, ts);
	REFUSED("{\"user_id\":\"u\",\"ts\":[],\"page\":\"/\"}", bad_type, ts);
	REFUSED("{\"event_id\":5," CLICK_REST "}", bad_type, event_id);
	REFUSED("{" PLATFORM_REST ",\"attributes\":[]}", bad_type, attributes);
	REFUSED("{" PLATFORM_REST ",\"attributes\":\"a\"}", bad_type, attributes);
	REFUSED("{" PLATFORM_REST ",\"attributes\":{\"metric\":\"1\"}}", bad_type, metric);
	REFUSED("{" PLATFORM_REST ",\"attributes\":{\"metric\":{}}}", bad_type, metric);
	REFUSED("{" PLATFORM_REST ",\"attributes\":{\"status\":1}}", bad_type, status);
	REFUSED("{\"source\":1,\"ts\":1763699990000}", bad_type, source);
}

static void test_event_types(void **state)
{
	(void)state;
	ACCEPTED("{\"type\":\"click\",\"source\":\"s\"," CLICK_REST "}");
	assert_int_equal(ev.type, EVENT_TYPE_click);
	assert_false(ev.field_mask & FBIT(source));
	ACCEPTED("{\"type\":\"platform\"," PLATFORM_REST "}");
	ACCEPTED("{\"ty\\u0070e\":\"pl\\u0061tform\"," PLATFORM_REST "}");
	assert_int_equal(ev.type, EVENT_TYPE_platform);
	ACCEPTED("{\"type\":null," PLATFORM_REST "}");
	assert_int_equal(ev.type, EVENT_TYPE_platform);
	ACCEPTED("{\"source\":null," CLICK_REST "}");
	assert_int_equal(ev.type, EVENT_TYPE_click);
	REFUSED("{\"type\":\"nope\"," CLICK_REST "}", unknown_type, NONE);
	REFUSED("{\"type\":\"\"," CLICK_REST "}", unknown_type, NONE);
	REFUSED("{\"type\":1," CLICK_REST "}", bad_type, NONE);
	REFUSED("{\"type\":\"click\"," CLICK_REST ",\"type\":\"click\"}", duplicate_key, NONE);
	hint = EVENT_TYPE_click;
	ACCEPTED("{\"source\":\"s\"," CLICK_REST "}");
	assert_int_equal(ev.type, EVENT_TYPE_click);
	REFUSED("{\"type\":\"platform\"," PLATFORM_REST "}", unknown_type, NONE);
	hint = EVENT_TYPE_platform;
	ACCEPTED("{" PLATFORM_REST ",\"page\":7,\"device\":[]}");
	assert_int_equal(ev.field_mask, FBIT(source) | FBIT(ts));
	REFUSED("{" CLICK_REST "}", missing_field, source);
}

static void test_duplicates(void **state)
{
	(void)state;
	REFUSED("{" CLICK_REST ",\"user_id\":\"u2\"}", duplicate_key, user_id);
	REFUSED("{" CLICK_REST ",\"user\\u005fid\":\"u2\"}", duplicate_key, user_id);
	REFUSED("{\"country\":null,\"country\":\"US\"," CLICK_REST "}", duplicate_key, country);
	REFUSED("{\"country\":null,\"country\":null," CLICK_REST "}", duplicate_key, country);
	REFUSED("{" CLICK_REST ",\"timestamp\":1763699990000}", duplicate_key, ts);
	ACCEPTED("{" CLICK_REST ",\"timestamp\":null}");
	ACCEPTED("{" CLICK_REST ",\"x\":1,\"x\":2}");
	ACCEPTED("{" CLICK_REST ",\"x\":{\"user_id\":1,\"user_id\":2}}");
	/* attributes are no field of clicks: what is in them is not known */
	ACCEPTED("{" CLICK_REST ",\"attributes\":{\"user_id\":\"b\"}}");
	ACCEPTED("{" CLICK_REST ",\"attributes\":1,\"attributes\":2}");
	REFUSED("{\"ts\":1763699990000,\"page\":\"\",\"attributes\":{\"user_id\":\"b\"}}", missing_field,
		user_id);
	REFUSED("{" PLATFORM_REST ",\"user_id\":\"a\",\"attributes\":{\"user_id\":\"b\"}}", duplicate_key,
		user_id);
	ACCEPTED("{" PLATFORM_REST ",\"user_id\":null,\"attributes\":{\"user_id\":\"b\"}}");
	assert_field(FIELD_user_id, "b");
	REFUSED("{" PLATFORM_REST ",\"attributes\":{\"metric\":1,\"metric\":1}}", duplicate_key, metric);
	REFUSED("{" PLATFORM_REST ",\"attributes\":{},\"attributes\":{}}", duplicate_key, attributes);
	ACCEPTED("{" PLATFORM_REST
		 ",\"metric\":\"x\",\"attributes\":{\"a\":{\"metric\":\"x\"}},\"b\":{\"status\":1}}");
	assert_int_equal(ev.field_mask, FBIT(source) | FBIT(ts) | FBIT(attributes));
}

static void test_escapes(void **state)
{
	(void)state;
	ACCEPTED("{\"us\\u0065r_id\":\"u\\u0031\",\"ts\":1763699990000,\"page\":\"\\/"
		 "a\\u00e9\\u20ac\\ud83d\\ude00"
		 "\\\"\\\\\\b\\f\\n\\r\\t\",\"country\":\"US\"}");
	assert_field(FIELD_user_id, "u1");
	assert_field(FIELD_page, "/a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"\\\b\f\n\r\t");
	assert_field(FIELD_country, "US");
	assert_true(ev.field[FIELD_user_id].offset == ev.raw_bytes);
	assert_true(ev.field[FIELD_country].offset < ev.raw_bytes);
	ACCEPTED("{\"event_id\":\"\\u0030b8e5c7a-1f2e-4d3c-9a5b-0123456789AB\"," CLICK_REST "}");
	assert_field(FIELD_event_id, "0b8e5c7a-1f2e-4d3c-9a5b-0123456789AB");
	assert_int_equal(ev.event_id[0], 0x0b);
	ACCEPTED("{\"source\":\"w\",\"ts\":\"2025-11-21T04:00:00\\u005a\",\"attributes\":{\"metric\":-1e3,"
		 "\"status\":\"\\u006f\"}}");
	assert_int_equal(ev.event_time_ms, 1763697600000);
	assert_true(event_number(&ev, FIELD_metric) == -1000);
	assert_field(FIELD_status, "o");
}

static void test_event_id(void **state)
{
	static const char *const bad[] = {"", "0b8e5c7a-1f2e-4d3c-9a5b-0123456789A",
		"0b8e5c7a-1f2e-4d3c-9a5b-0123456789ABC", "0b8e5c7a1f2e-4d3c--9a5b-0123456789AB",
		"gb8e5c7a-1f2e-4d3c-9a5b-0123456789AB", "0b8e5c7a-1f2e-4d3c-9a5b-0123456789A/",
		"0b8e5c7a-1f2e-4d3c-9a5b-0123456789A:", "0b8e5c7a-1f2e-4d3c-9a5b-0123456789A@",
		"0b8e5c7a-1f2e-4d3c-9a5b-0123456789AG", "0b8e5c7a-1f2e-4d3c-9a5b-0123456789A`",
		"0b8e5c7a_1f2e-4d3c-9a5b-0123456789AB", "{b8e5c7a-1f2e-4d3c-9a5b-0123456789A}",
		"0b8e5c7a-1f2e-4d3c-9a5b-01234567\xc3\xa9"
		"AB"};
	char text[300];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(text, sizeof text, "{\"event_id\":\"%s\"," CLICK_REST "}", bad[i]);
		REFUSED(text, bad_event_id, event_id);
		ACCEPTED(CLICK); /* keeps a shape learned that each of them nearly fits */
	}
	ACCEPTED("{\"event_id\":\"ABCDEFab-cdef-0123-4567-89abcdefABCD\"," CLICK_REST "}");
	assert_int_equal(ev.event_id[0], 0xab);
	assert_int_equal(ev.event_id[15], 0xcd);
}

static void test_times(void **state)
{
	static const char *const bad[] = {"-1", "1.0", "1e3", "-0", "253402300800000", "99999999999999999999",
		"17636999900000000000", "\"\"", "\"yesterday\"", "\"1763699990000\"", "\"2025-11-21\"",
		"\"2025-11-21T04:00:00\"", "\"2025-02-29T04:00:00Z\"", "\"1969-12-31T23:59:59Z\""};
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(text, sizeof text, "{\"user_id\":\"u\",\"ts\":%s,\"page\":\"/\"}", bad[i]);
		REFUSED(text, bad_timestamp, ts);
	}
	ACCEPTED("{\"user_id\":\"u\",\"ts\":0,\"page\":\"/\"}");
	assert_int_equal(ev.event_time_ms, 0);
	ACCEPTED("{\"user_id\":\"u\",\"ts\":\"2025-11-21T05:30:00.123456789+01:30\",\"page\":\"/\"}");
	assert_int_equal(ev.event_time_ms, 1763697600123);
	REFUSED("{\"user_id\":\"u\",\"ts\":1763700300001,\"page\":\"/\"}", timestamp_future, ts);
	assert_int_equal(ev.type, EVENT_TYPE_click);
	ACCEPTED("{\"user_id\":\"u\",\"ts\":1763700300000,\"page\":\"/\"}");
	limits.past_max_ms = 1000;
	ACCEPTED("{\"user_id\":\"u\",\"ts\":1763699999000,\"page\":\"/\"}");
	REFUSED("{\"user_id\":\"u\",\"ts\":1763699998999,\"page\":\"/\"}", timestamp_past, ts);
	REFUSED("{\"user_id\":\"u\",\"ts\":0,\"page\":\"/\"}", timestamp_past, ts);
	REFUSED("{\"user_id\":\"u\",\"ts\":253402300799999,\"page\":\"/\"}", timestamp_future, ts);
}

/* A click whose page has this many times `fill`. */
static char *click_with_page(const char *fill, size_t count, const char *rest)
{
	size_t fill_bytes = strlen(fill), room = count * fill_bytes + 300, at;
	char *text = malloc(room);

	if (!text)
		abort();
	at = (size_t)snprintf(text, room, "{\"user_id\":\"u\",\"ts\":1763699990000,\"page\":\"");
	for (size_t i = 0; i < count; i++, at += fill_bytes)
		memcpy(text + at, fill, fill_bytes);
	snprintf(text + at, room - at, "\"%s}", rest);
	return text;
}

static void test_lengths(void **state)
{
	char *text;

	(void)state;
	REFUSED("{\"user_id\":\"\",\"ts\":1763699990000,\"page\":\"\"}", bad_value, user_id);
	REFUSED("{" CLICK_REST ",\"country\":\"123456789\"}", too_long, country);
	ACCEPTED("{" CLICK_REST ",\"country\":\"12345678\"}");
	/* counted after decoding */
	ACCEPTED("{" CLICK_REST ",\"country\":\"\\u0031\\u0032345678\"}");
	REFUSED("{" CLICK_REST ",\"country\":\"\\u0031\\u00323456789\"}", too_long, country);
	for (size_t n = 2046; n < 2051; n++) {
		text = click_with_page("a", n, "");
		parse(text);
		assert_int_equal(ev.refused, n <= 2048 ? 0 : DROP_too_long);
		free(text);
	}
	/* raw + tail */
	text = malloc(70000);
	if (!text)
		abort();
	for (int over = -1; over < 2; over++) {
		int pad = EVENT_BYTES_MAX - 5 + over -
			  snprintf(NULL, 0, "{" CLICK_REST ",\"country\":\"\\u00315678\",\"x\":\"\"}");

		snprintf(text, 70000, "{" CLICK_REST ",\"country\":\"\\u00315678\",\"x\":\"%*s\"}", pad, "");
		parse(text);
		assert_int_equal(ev.raw_bytes, EVENT_BYTES_MAX - 5 + over);
		assert_int_equal(ev.refused, over > 0 ? DROP_too_long : 0);
		assert_int_equal(ev.refused_field, over > 0 ? FIELD_country : 0);
	}
	for (int over = -1; over < 2; over++) {
		int bytes = EVENT_BYTES_MAX + over;

		snprintf(text, 70000, "{" CLICK_REST ",\"x\":\"%*s\"}",
			bytes - snprintf(NULL, 0, "{" CLICK_REST ",\"x\":\"\"}"), "");
		parse(text);
		assert_int_equal(ev.raw_bytes, bytes);
		assert_int_equal(ev.refused, over > 0 ? DROP_too_long : 0);
	}
	free(text);
	text = click_with_page("a", 0, ",\"attributes\":{}");
	ACCEPTED(text);
	free(text);
}

static void test_numbers(void **state)
{
	(void)state;
	REFUSED("{" PLATFORM_REST ",\"attributes\":{\"metric\":1e400}}", bad_value, metric);
	REFUSED("{" PLATFORM_REST ",\"attributes\":{\"metric\":-1e400}}", bad_value, metric);
	ACCEPTED("{" PLATFORM_REST ",\"attributes\":{\"metric\":1e-400}}");
	assert_true(event_number(&ev, FIELD_metric) == 0);
	ACCEPTED("{" PLATFORM_REST ",\"attributes\":{\"metric\":0.1e1,\"n\":1e400}}");
	assert_true(event_number(&ev, FIELD_metric) == 1);
}

static void test_order_of_verdicts(void **state)
{
	(void)state;
	/* JSON before schema, type before fields, fields by id, each: twice, type, value; missing; time
	 * bounds */
	REFUSED("{\"user_id\":1,\"type\":\"nope\",\"x\":}", bad_json, NONE);
	REFUSED("{\"user_id\":1,\"type\":\"nope\"}", unknown_type, NONE);
	REFUSED("{\"country\":1,\"page\":1,\"event_id\":1}", bad_type, event_id);
	REFUSED("{\"user_id\":1,\"user_id\":1,\"event_id\":\"\"}", bad_event_id, event_id);
	REFUSED("{\"device\":5,\"user_id\":\"u\"}", bad_type, device);
	REFUSED("{\"user_id\":\"u\",\"ts\":99999999999999}", missing_field, page);
}

static void test_room(void **state)
{
	struct json_parser *jp = json_parser_new(0);
	uint8_t *raw = padded_copy(CLICK, sizeof CLICK - 1), *big;
	char *text = click_with_page("\\n", 2000, "");
	uint32_t parsed = 0;

	(void)state;
	big = padded_copy(text, strlen(text));
	assert_true(json_parser_room(jp, EVENT_BYTES_MAX));
	for (; json_parser_room(jp, (uint32_t)strlen(text)); parsed++) {
		json_parse_event(jp, big, (uint32_t)strlen(text), EVENT_TYPE_NONE, NOW_MS, &limits, &ev);
		assert_int_equal(ev.refused, 0);
		assert_int_equal(ev.tail_bytes, 2000);
	}
	assert_true(parsed > 20);
	/* without room: refused, never written out of bounds; what needs no tail is still taken */
	for (int i = 0; i < 10; i++)
		json_parse_event(jp, big, (uint32_t)strlen(text), EVENT_TYPE_NONE, NOW_MS, &limits, &ev);
	assert_int_equal(ev.refused, DROP_too_long);
	json_parse_event(jp, raw, sizeof CLICK - 1, EVENT_TYPE_NONE, NOW_MS, &limits, &ev);
	assert_int_equal(ev.refused, 0);
	json_parser_reset(jp);
	assert_true(json_parser_room(jp, EVENT_BYTES_MAX));
	free(text);
	free(big);
	free(raw);
	json_parser_free(jp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_click, reset),
		cmocka_unit_test_setup(test_platform, reset), cmocka_unit_test_setup(test_optional, reset),
		cmocka_unit_test_setup(test_bad_json, reset), cmocka_unit_test_setup(test_bad_utf8, reset),
		cmocka_unit_test_setup(test_depth, reset),
		cmocka_unit_test_setup(test_missing_and_type, reset),
		cmocka_unit_test_setup(test_event_types, reset),
		cmocka_unit_test_setup(test_duplicates, reset), cmocka_unit_test_setup(test_escapes, reset),
		cmocka_unit_test_setup(test_event_id, reset), cmocka_unit_test_setup(test_times, reset),
		cmocka_unit_test_setup(test_lengths, reset), cmocka_unit_test_setup(test_numbers, reset),
		cmocka_unit_test_setup(test_order_of_verdicts, reset),
		cmocka_unit_test_setup(test_room, reset)};
	int failed;

	ps = parsers_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	parsers_free(&ps);
	free(kept);
	return failed;
}
