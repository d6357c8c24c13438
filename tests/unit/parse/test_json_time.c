/* RFC 3339 texts against timegm(), day by day, and what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "parse_util.h"

static bool read_time(const char *text, int64_t *ms)
{
	uint32_t bytes = (uint32_t)strlen(text);
	uint8_t *copy = padded_copy(text, bytes);
	bool ok = time_from_text(copy, bytes, ms);

	free(copy);
	return ok;
}

static void test_days(void **state)
{
	char text[64];
	int64_t ms;

	(void)state;
	for (time_t t = 12345; t < 253402300800; t += 86400 * 3 + 7717) {
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
		if (tm.tm_year + 1900 > 9999)
			break;
		assert_true(read_time(text, &ms));
		assert_int_equal(ms, (int64_t)t * 1000);
	}
}

static void test_forms(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} good[] = {{"1970-01-01T00:00:00Z", 0}, {"1969-12-31T23:30:00-01:00", 1800000},
		{"2025-11-21t04:00:00z", 1763697600000}, {"2025-11-21T05:30:00+01:30", 1763697600000},
		{"2025-11-20T20:00:00-08:00", 1763697600000}, {"2025-11-21T04:00:00.1Z", 1763697600100},
		{"2025-11-21T04:00:00.12Z", 1763697600120}, {"2025-11-21T04:00:00.999999999Z", 1763697600999},
		{"2024-02-29T00:00:00Z", 1709164800000}, {"2000-02-29T00:00:00Z", 951782400000},
		{"9999-12-31T23:59:59.999Z", TIME_MS_MAX},
		/* leap seconds: the last millisecond of their minute */
		{"2016-12-31T23:59:60Z", 1483228799999}, {"2016-12-31T23:59:60.5Z", 1483228799999},
		{"2017-01-01T00:59:60+01:00", 1483228799999}};
	static const char *const bad[] = {"", "Z", "2025-11-21", "2025-11-21T04:00:00",
		"2025-11-21 04:00:00Z", "2025-11-21T04:00Z", "2025-13-21T04:00:00Z", "2025-00-21T04:00:00Z",
		"2025-11-31T04:00:00Z", "2025-11-00T04:00:00Z", "2025-02-29T04:00:00Z",
		"1900-02-29T04:00:00Z", "2100-02-29T00:00:00Z", "2025-11-21T24:00:00Z",
		"2025-11-21T04:60:00Z", "2025-11-21T04:00:61Z", "2025-11-21T04:00:60Z",
		"2016-12-31T23:59:60+01:00", "2025-11-21T04:00:00.Z", "2025-11-21T04:00:00.1234567890Z",
		"2025-11-21T04:00:00+1:00", "2025-11-21T04:00:00+01:0", "2025-11-21T04:00:00+0100",
		"2025-11-21T04:00:00+24:00", "2025-11-21T04:00:00+01:60", "2025-11-21T04:00:00ZZ",
		"2025-11-21T04:00:00Z ", " 2025-11-21T04:00:00Z", "2025-1a-21T04:00:00Z",
		"+025-11-21T04:00:00Z", "2025/11/21T04:00:00Z", "1969-12-31T23:59:59Z",
		"0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "1970-01-01T00:30:00+01:00",
		"2025-11-21T04:00:00,5Z"};
	int64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		if (!read_time(good[i].text, &ms))
			fail_msg("%s refused", good[i].text);
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (read_time(bad[i], &ms))
			fail_msg("%s accepted", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_days), cmocka_unit_test(test_forms)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
