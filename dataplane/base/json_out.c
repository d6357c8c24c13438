/* JSON writer: escapes as RFC 8259 demands, and never lets bytes out that are not UTF-8. */
#include "json_out.h"

#include <emmintrin.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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

/* Bytes at the front of a text that stand for themselves: ASCII, no control bytes, nothing to be escaped. */
static size_t plain_bytes(const uint8_t *p, size_t bytes)
{
	size_t i = 0;

	for (; bytes - i >= 16; i += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(p + i));
		__m128i other = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20)); /* from 0x80 on: negative */
		int mask;

		other = _mm_or_si128(other, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
		other = _mm_or_si128(other, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
		mask = _mm_movemask_epi8(other);
		if (mask)
			return i + (size_t)__builtin_ctz((unsigned)mask);
	}
	while (i < bytes && p[i] >= 0x20 && p[i] < 0x80 && p[i] != '"' && p[i] != '\\')
		i++;
	return i;
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

void json_put_string(struct bytes *out, const void *text, size_t bytes)
{
	const uint8_t *p = text, *end = p + bytes, *from = p;

	bytes_put(out, "\"", 1);
	for (;;) {
		size_t n;

		p += plain_bytes(p, (size_t)(end - p));
		if (p == end)
			break;
		n = utf8_length(p, (size_t)(end - p));
		if (n > 1) {
			p += n;
			continue;
		}
		bytes_put(out, from, (size_t)(p - from));
		if (!n)
			bytes_put(out, "\xef\xbf\xbd", 3);
		else if (*p < 0x20)
			json_put_control(out, *p);
		else
			bytes_put(out, (char[]){'\\', (char)*p}, 2);
		from = ++p;
	}
	bytes_put(out, from, (size_t)(p - from));
	bytes_put(out, "\"", 1);
}

size_t json_text_fit(const void *text, size_t bytes, size_t value_max, size_t written_max)
{
	const uint8_t *p = text, *end = p + bytes;

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

void json_put_u64(struct bytes *out, uint64_t v)
{
	char text[20]; /* 2^64 has 20 digits */
	size_t at = sizeof text;

	do {
		text[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	bytes_put(out, text + at, sizeof text - at);
}

void json_put_time(struct bytes *out, int64_t ms)
{
	int64_t part = ms % 1000 < 0 ? ms % 1000 + 1000 : ms % 1000;
	time_t seconds = (time_t)((ms - part) / 1000);
	char text[64];
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
		bytes_put(out, "null", 4);
		return;
	}
	bytes_put(out, text,
		(size_t)snprintf(text, sizeof text, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
			tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
			(int)part));
}

void json_put_name(struct bytes *out, const char *name)
{
	if (out->bytes && out->data[out->bytes - 1] != '{')
		bytes_put(out, ",", 1);
	bytes_put(out, "\"", 1);
	bytes_put(out, name, strlen(name));
	bytes_put(out, "\":", 2);
}
