/* JSON writer: escapes as RFC 8259 demands, and never lets bytes out that are not UTF-8. */
#include "json_out.h"

#include <emmintrin.h>
#include <stdio.h>
#include <string.h>

/* Length of the UTF-8 character at p, or 0 if there is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const uint8_t *p, size_t left)
{
	uint32_t lead = p[0], low = 0x80, high = 0xbf;
	size_t n;

	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	if (left < n || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* Bits of the bytes that do not stand for themselves: not ASCII, control bytes, what has to be escaped. */
static inline unsigned other_mask(__m128i v)
{
	__m128i other = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20)); /* from 0x80 on: negative */

	other = _mm_or_si128(other, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
	other = _mm_or_si128(other, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
	return (unsigned)_mm_movemask_epi8(other);
}

static inline bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* Bytes at the front of a text that stand for themselves. */
static size_t plain_bytes(const uint8_t *p, size_t bytes)
{
	size_t i = 0;

	for (; bytes - i >= 16; i += 16) {
		unsigned mask = other_mask(_mm_loadu_si128((const __m128i *)(p + i)));

		if (mask)
			return i + (size_t)__builtin_ctz(mask);
	}
	while (i < bytes && is_plain(p[i]))
		i++;
	return i;
}

/* The same of fewer than 16, which are copied. From 4 on the two ends together are all of it: what they have
 * in common is looked at twice. */
static inline size_t plain_copy_short(uint8_t *to, const uint8_t *p, size_t bytes)
{
	size_t i = 0, half = bytes < 8 ? 4 : 8;
	unsigned mask;
	__m128i v;

	if (bytes < 4) {
		for (; i < bytes && is_plain(p[i]); i++)
			to[i] = p[i];
		return i;
	}
	if (half == 8) {
		uint64_t low, high;

		memcpy(&low, p, 8);
		memcpy(&high, p + bytes - 8, 8);
		memcpy(to, &low, 8);
		memcpy(to + bytes - 8, &high, 8);
		v = _mm_set_epi64x((long long)high, (long long)low);
	} else {
		uint32_t low, high;

		memcpy(&low, p, 4);
		memcpy(&high, p + bytes - 4, 4);
		memcpy(to, &low, 4);
		memcpy(to + bytes - 4, &high, 4);
		v = _mm_set_epi32(0x20202020, 0x20202020, (int)high, (int)low);
	}
	mask = other_mask(v);
	if (!mask)
		return bytes;
	i = (size_t)__builtin_ctz(mask);
	return i < half ? i : bytes - 2 * half + i;
}

/* Copies a text as far as its bytes stand for themselves, which is what it returns; behind that `to` may hold
 * anything. */
static size_t plain_copy(uint8_t *to, const uint8_t *p, size_t bytes)
{
	size_t i = 0;

	if (bytes < 16)
		return plain_copy_short(to, p, bytes);
	for (;; i += 16) {
		__m128i v;
		unsigned mask;

		if (bytes - i < 16) /* the last ones, some of them again */
			i = bytes - 16;
		v = _mm_loadu_si128((const __m128i *)(p + i));
		_mm_storeu_si128((__m128i *)(to + i), v);
		mask = other_mask(v);
		if (mask)
			return i + (size_t)__builtin_ctz(mask);
		if (bytes - i == 16)
			return bytes;
	}
}

static void json_put_control(struct bytes *out, uint8_t c)
{
	static const char name[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
	char text[8] = {'\\', name[c]};

	if (name[c])
		bytes_put(out, text, 2);
	else
		bytes_put(out, text, (size_t)snprintf(text, sizeof text, "\\u%04x", c));
}

size_t json_put_plain(struct bytes *out, const void *text, size_t bytes)
{
	uint8_t *to = bytes_room(out, bytes);
	size_t n = to ? plain_copy(to, text, bytes) : 0;

	if (to)
		out->bytes -= bytes - n;
	return n;
}

void json_put_string(struct bytes *out, const void *text, size_t bytes)
{
	const uint8_t *p = text, *end = p + bytes;
	size_t before = 1;

	for (;;) {
		size_t left = (size_t)(end - p), n;
		uint8_t *to = bytes_room(out, before + left + 1);

		if (!to)
			return;
		*to = '"'; /* if before is 0 it is written over */
		to += before;
		n = plain_copy(to, p, left);
		to[n] = '"';
		if (n == left)
			return;
		out->bytes -= left + 1 - n;
		before = 0;
		p += n;
		while (p < end && (n = utf8_length(p, (size_t)(end - p))) > 1) {
			bytes_put(out, p, n);
			p += n;
		}
		if (p == end || is_plain(*p))
			continue;
		if (!n)
			bytes_put(out, "\xef\xbf\xbd", 3);
		else if (*p < 0x20)
			json_put_control(out, *p);
		else
			bytes_put(out, (char[]){'\\', (char)*p}, 2);
		p++;
	}
}

size_t json_text_fit(const void *text, size_t bytes, size_t value_max, size_t written_max)
{
	const uint8_t *p = text, *end = p + bytes;

	/* A byte gives at most the three of U+FFFD, written as at most the six of an escape. */
	if (bytes <= value_max / 3 && bytes <= written_max / 6)
		return bytes;
	for (;;) {
		size_t most = value_max < written_max ? value_max : written_max, left = (size_t)(end - p);
		size_t plain = plain_bytes(p, left < most ? left : most), n, value, written;

		p += plain;
		value_max -= plain;
		written_max -= plain;
		if (p == end)
			break;
		n = utf8_length(p, (size_t)(end - p));
		value = n ? n : 3;
		written = *p < 0x20 ? 6 : *p == '"' || *p == '\\' ? 2 : value;

		if (value > value_max || written > written_max)
			break;
		value_max -= value;
		written_max -= written;
		p += n ? n : 1;
	}
	return (size_t)(p - (const uint8_t *)text);
}

void json_put_i64(struct bytes *out, int64_t v)
{
	if (v < 0)
		bytes_put(out, "-", 1);
	json_put_u64(out, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

static const char pair[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
			   "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
			   "8081828384858687888990919293949596979899";

void json_put_u64(struct bytes *out, uint64_t v)
{
	char text[20]; /* 2^64 has 20 digits */
	size_t at = sizeof text;

	for (; v >= 10000; v /= 10000) {
		uint32_t four = (uint32_t)(v % 10000);

		at -= 4;
		memcpy(text + at, pair + four / 100 * 2, 2);
		memcpy(text + at + 2, pair + four % 100 * 2, 2);
	}
	for (; v >= 10; v /= 100) {
		at -= 2;
		memcpy(text + at, pair + v % 100 * 2, 2);
	}
	if (v || at == sizeof text)
		text[--at] = (char)('0' + v);
	bytes_put(out, text + at, sizeof text - at);
}

/* v < 100 */
static inline void pair_set(char *to, uint32_t v)
{
	memcpy(to, pair + 2 * v, 2);
}

#define DAY_MS 86400000
#define DAY_FIRST (-719528) /* 0000-01-01, counted from 1970-01-01 */
#define DAY_LAST 2932896    /* 9999-12-31 */

/* The date of a day, by years that begin in March, so that a leap day is the last (Hinnant,
 * "chrono-compatible low-level date algorithms"). */
static void date_set(char *to, int64_t day)
{
	uint32_t era_days = 146097, z = (uint32_t)(day - DAY_FIRST + era_days - 60), of_era = z % era_days;
	uint32_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint32_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	uint32_t shifted = (5 * of_year + 2) / 153, month = shifted < 10 ? shifted + 3 : shifted - 9;
	uint32_t year = year_of_era + z / era_days * 400 - 400 + (month <= 2);

	pair_set(to, year / 100);
	pair_set(to + 2, year % 100);
	pair_set(to + 5, month);
	pair_set(to + 8, of_year - (153 * shifted + 2) / 5 + 1);
}

void json_put_time(struct bytes *out, int64_t ms)
{
	char text[] = "\"0000-00-00T00:00:00.000Z\"";
	int64_t of_day = ms % DAY_MS < 0 ? ms % DAY_MS + DAY_MS : ms % DAY_MS,
		day = ms / DAY_MS - (ms % DAY_MS < 0);
	uint32_t seconds = (uint32_t)of_day / 1000, part = (uint32_t)of_day % 1000;

	if (day < DAY_FIRST || day > DAY_LAST) {
		bytes_put(out, "null", 4);
		return;
	}
	date_set(text + 1, day);
	pair_set(text + 12, seconds / 3600);
	pair_set(text + 15, seconds / 60 % 60);
	pair_set(text + 18, seconds % 60);
	text[21] = (char)('0' + part / 100);
	pair_set(text + 22, part % 100);
	bytes_put(out, text, sizeof text - 1);
}

void json_put_name_any(struct bytes *out, const char *name)
{
	bytes_put(out, ",", out->bytes && out->data[out->bytes - 1] != '{');
	json_put_string(out, name, strlen(name));
	bytes_put(out, ":", 1);
}
