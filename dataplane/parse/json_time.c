/* RFC 3339 text to milliseconds since the epoch. Worker thread; pure functions.
 *
 * Taken: date, 'T' or 't', time, a fraction of one to nine digits (cut to milliseconds), 'Z', 'z' or a
 * numeric offset. Second 60 is taken where a leap second can stand, 23:59:60 UTC, and counts as the last
 * millisecond of its minute: after all of second 59 and before the next day. */
#include <string.h>

#include "date.h"
#include "json_priv.h"

/* Reads ".fraction" if there is one. Returns the bytes taken, or -1. */
static int32_t fraction_read(const uint8_t *p, uint32_t bytes, uint32_t *ms)
{
	uint32_t i, value = 0, scale = 100;

	*ms = 0;
	if (!bytes || p[0] != '.')
		return 0;
	for (i = 1; i < bytes && (uint8_t)(p[i] - '0') < 10; i++) {
		value += (uint32_t)(p[i] - '0') * scale;
		scale /= 10;
	}
	*ms = value;
	return i == 1 || i > 10 ? -1 : (int32_t)i;
}

/* Reads the rest, which must be a zone. */
static bool zone_read(const uint8_t *p, uint32_t bytes, int64_t *offset_minutes)
{
	uint32_t hour, minute;

	*offset_minutes = 0;
	if (bytes == 1)
		return (p[0] | 0x20) == 'z';
	if (bytes != 6 || (p[0] != '+' && p[0] != '-') || p[3] != ':')
		return false;
	hour = date_two_digits(p + 1);
	minute = date_two_digits(p + 4);
	*offset_minutes = (int64_t)(hour * 60 + minute) * (p[0] == '-' ? -1 : 1);
	return hour < 24 && minute < 60;
}

bool time_from_text(const uint8_t *s, uint32_t bytes, int64_t *ms)
{
	uint32_t year, month, day, hour, minute, second, fraction;
	int64_t offset_minutes, minutes;
	int32_t taken;

	if (bytes < 20 || s[4] != '-' || s[7] != '-' || (s[10] | 0x20) != 't' || s[13] != ':' || s[16] != ':')
		return false;
	if (date_two_digits(s) > 99 || date_two_digits(s + 2) > 99)
		return false;
	year = date_two_digits(s) * 100 + date_two_digits(s + 2);
	if (year < 1969) /* before the epoch, whatever the zone */
		return false;
	month = date_two_digits(s + 5);
	day = date_two_digits(s + 8);
	hour = date_two_digits(s + 11);
	minute = date_two_digits(s + 14);
	second = date_two_digits(s + 17);
	if (!date_valid(year, month, day) || hour > 23 || minute > 59 || second > 60)
		return false;
	taken = fraction_read(s + 19, bytes - 19, &fraction);
	if (taken < 0)
		return false;
	if (!zone_read(s + 19 + taken, bytes - 19 - (uint32_t)taken, &offset_minutes))
		return false;
	minutes = date_days(year, month, day) * 1440 + hour * 60 + minute - offset_minutes;
	if (second == 60) {
		if (((minutes % 1440) + 1440) % 1440 != 1439)
			return false;
		second = 59;
		fraction = 999;
	}
	*ms = (minutes * 60 + second) * 1000 + fraction;
	return *ms >= 0 && *ms <= TIME_MS_MAX;
}
