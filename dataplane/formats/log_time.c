/* Times of log lines. */
#include "date.h"
#include "log_out_priv.h"

#define DAY_MS 86400000ll

bool time_from_parts(int64_t *ms, uint32_t year, uint32_t month, uint32_t day, const uint32_t hms[3])
{
	if (!date_valid(year, month, day) || hms[0] > 23 || hms[1] > 59 || hms[2] > 59)
		return false;
	*ms = date_days(year, month, day) * DAY_MS + (hms[0] * 3600 + hms[1] * 60 + hms[2]) * 1000ll;
	return true;
}

/* Exactly `count` digits. */
static bool digits(const uint8_t **p, const uint8_t *end, uint32_t count, uint32_t *v)
{
	*v = 0;
	for (uint32_t i = 0; i < count; i++, ++*p) {
		if (*p == end || (uint8_t)(**p - '0') > 9)
			return false;
		*v = *v * 10 + (uint32_t)(**p - '0');
	}
	return true;
}

static bool byte_is(const uint8_t **p, const uint8_t *end, uint8_t c)
{
	if (*p == end || **p != c)
		return false;
	++*p;
	return true;
}

static bool clock_read(const uint8_t **p, const uint8_t *end, uint32_t hms[3])
{
	return digits(p, end, 2, &hms[0]) && byte_is(p, end, ':') && digits(p, end, 2, &hms[1]) &&
	       byte_is(p, end, ':') && digits(p, end, 2, &hms[2]);
}

/* ".fraction" of one to nine digits, if there is one; cut to milliseconds. */
static bool fraction_read(const uint8_t **p, const uint8_t *end, uint32_t *ms)
{
	uint32_t count = 0, scale = 100;

	*ms = 0;
	if (!byte_is(p, end, '.'))
		return true;
	for (; *p < end && (uint8_t)(**p - '0') <= 9; ++*p, count++, scale /= 10)
		*ms += (uint32_t)(**p - '0') * scale;
	return count && count <= 9;
}

static bool zone_read(const uint8_t **p, const uint8_t *end, int64_t *minutes)
{
	bool west = *p < end && **p == '-';
	uint32_t hour, minute;

	*minutes = 0;
	if (byte_is(p, end, 'Z'))
		return true;
	if (!west && (*p == end || **p != '+'))
		return false;
	++*p;
	if (!digits(p, end, 2, &hour) || !byte_is(p, end, ':') || !digits(p, end, 2, &minute) || hour > 23 ||
		minute > 59)
		return false;
	*minutes = (int64_t)(hour * 60 + minute) * (west ? -1 : 1);
	return true;
}

bool time_from_rfc3339(const uint8_t **p, const uint8_t *end, int64_t *ms)
{
	const uint8_t *s = *p;
	uint32_t hms[3], fraction, high, low;
	int64_t minutes;

	if (end - s < 20 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':')
		return false;
	high = date_two_digits(s);
	low = date_two_digits(s + 2);
	if (high > 99 || low > 99)
		return false;
	for (int i = 0; i < 3; i++)
		hms[i] = date_two_digits(s + 11 + 3 * i);
	*p = s + 19;
	if (!fraction_read(p, end, &fraction) || !zone_read(p, end, &minutes) ||
		!time_from_parts(ms, high * 100 + low, date_two_digits(s + 5), date_two_digits(s + 8), hms))
		return false;
	*ms += fraction - minutes * 60000;
	return true;
}

/* 1..12, or 0. */
static uint32_t month_read(const uint8_t **p, const uint8_t *end)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (uint32_t i = 0; i < 12 && end - *p >= 3; i++) {
		if (!memcmp(*p, names + 3 * i, 3)) {
			*p += 3;
			return i + 1;
		}
	}
	return 0;
}

/* The year, of last, this and next, whose time is closest to now. */
static bool year_guess(int64_t now_ms, uint32_t month, uint32_t day, const uint32_t hms[3], int64_t *ms)
{
	int64_t year = 1970 + now_ms / (DAY_MS * 146097 / 400); /* off by one at most */
	int64_t best = INT64_MAX, t;

	/* so near that no other year's can be nearer */
	if (time_from_parts(ms, (uint32_t)year, month, day, hms) && *ms - now_ms < 150 * DAY_MS &&
		now_ms - *ms < 150 * DAY_MS)
		return true;
	for (int64_t y = year - 2; y <= year + 2; y++) {
		if (y < 1 || y > 9999 || !time_from_parts(&t, (uint32_t)y, month, day, hms))
			continue;
		if ((t < now_ms ? now_ms - t : t - now_ms) < best) {
			best = t < now_ms ? now_ms - t : t - now_ms;
			*ms = t;
		}
	}
	return best < 400 * DAY_MS; /* a leap day may not be near */
}

bool time_from_bsd(const uint8_t **p, const uint8_t *end, int64_t now_ms, int64_t *ms)
{
	uint32_t month = month_read(p, end), day, year = 0, hms[3], fraction;

	if (!month || !byte_is(p, end, ' '))
		return false;
	byte_is(p, end, ' ');
	if (!digits(p, end, 1, &day))
		return false;
	if (*p < end && (uint8_t)(**p - '0') <= 9)
		day = day * 10 + (uint32_t)(*(*p)++ - '0');
	if (!byte_is(p, end, ' '))
		return false;
	if (end - *p > 4 && (*p)[4] == ' ' && (!digits(p, end, 4, &year) || !byte_is(p, end, ' ')))
		return false;
	if (!clock_read(p, end, hms) || !fraction_read(p, end, &fraction))
		return false;
	if (year ? !time_from_parts(ms, year, month, day, hms) : !year_guess(now_ms, month, day, hms, ms))
		return false;
	*ms += fraction;
	return true;
}
