/* Texts of values: see value_text.h. */
#include "value_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INTEGER_EXACT 9007199254740992.0 /* 2^53: every integer up to it is a double of its own */

/* Digits of v, at least `least` of them, ending before `end`; returns where they start. */
static char *digits_put(char *end, unsigned __int128 v, int least)
{
	uint64_t low;

	for (; v >> 64; v /= 10, least--)
		*--end = (char)('0' + (int)(v % 10));
	for (low = (uint64_t)v; low || least > 0; low /= 10, least--) /* one multiplication a digit */
		*--end = (char)('0' + (int)(low % 10));
	return end;
}

static size_t text_give(char *out, const char *from, const char *end)
{
	size_t bytes = (size_t)(end - from);

	memcpy(out, from, bytes);
	out[bytes] = 0;
	return bytes;
}

size_t integer_text(char out[DECIMAL_TEXT_BYTES], int64_t v)
{
	char text[DECIMAL_TEXT_BYTES], *end = text + sizeof text;
	char *p = digits_put(end, v < 0 ? -(unsigned __int128)v : (unsigned __int128)v, 1);

	if (v < 0)
		*--p = '-';
	return text_give(out, p, end);
}

size_t decimal_text(char out[DECIMAL_TEXT_BYTES], __int128 millionths)
{
	unsigned __int128 v = millionths < 0 ? -(unsigned __int128)millionths : (unsigned __int128)millionths;
	unsigned __int128 whole = v >> 64 ? v / 1000000 : (uint64_t)v / 1000000;
	uint32_t part = (uint32_t)(v - whole * 1000000);
	char text[DECIMAL_TEXT_BYTES], *end = text + sizeof text, *p = end;
	int places = 6;

	for (; places && part % 10 == 0; places--)
		part /= 10;
	if (places) {
		p = digits_put(p, part, places);
		*--p = '.';
	}
	p = digits_put(p, whole, 1);
	if (millionths < 0)
		*--p = '-';
	return text_give(out, p, end);
}

size_t number_text(char out[NUMBER_TEXT_BYTES], double v)
{
	char text[DECIMAL_TEXT_BYTES];
	int n = 0;

	if (isnan(v)) {
		memcpy(out, "nan", sizeof "nan");
		return sizeof "nan" - 1;
	}
	if (isfinite(v) && fabs(v) <= INTEGER_EXACT && v == trunc(v)) {
		size_t bytes = integer_text(text, (int64_t)v);

		return text_give(out, text, text + bytes);
	}
	for (int digits = 15; digits <= 17; digits++) {
		n = snprintf(out, NUMBER_TEXT_BYTES, "%.*g", digits, v);
		if (strtod(out, NULL) == v)
			break;
	}
	return (size_t)n;
}

size_t uuid_text(char out[UUID_TEXT_BYTES], const uint8_t id[16])
{
	static const char hex_digit[] = "0123456789abcdef";
	char *p = out;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex_digit[id[i] >> 4];
		*p++ = hex_digit[id[i] & 15];
	}
	*p = 0;
	return UUID_TEXT_BYTES - 1;
}

bool decimal_of_text(const char *text, int64_t max, int64_t *millionths)
{
	const char *p = text + (*text == '-'), *digits = p;
	int places = -1;
	__int128 v = 0;

	for (; *p; p++) {
		if (*p == '.' && places < 0 && p > digits && p[1]) {
			places = 0;
			continue;
		}
		if (*p < '0' || *p > '9' || v > max || (places >= 0 && ++places > 6))
			break;
		v = v * 10 + (*p - '0');
	}
	for (int i = places < 0 ? 0 : places; i < 6 && v <= max; i++)
		v *= 10;
	if (*p || p == digits || v > max)
		return false;
	*millionths = (int64_t)(*text == '-' ? -v : v);
	return true;
}

bool uuid_of_text(const char *text, uint8_t id[16])
{
	char again[UUID_TEXT_BYTES];
	unsigned byte;
	int at = 0;

	if (strlen(text) != UUID_TEXT_BYTES - 1)
		return false;
	for (int i = 0; i < 16; i++) {
		at += at == 8 || at == 13 || at == 18 || at == 23; /* whatever stands there: see below */
		if (sscanf(text + at, "%2x", &byte) != 1)
			return false;
		id[i] = (uint8_t)byte;
		at += 2;
	}
	uuid_text(again, id); /* has its dashes */
	return strcmp(again, text) == 0;
}
