/* JSON strings: finding their end with all checks of RFC 8259 section 7, decoding their escapes; and ways
 * over JSON that was accepted before. Any thread; pure functions. */
#include "json_scan.h"

#include <immintrin.h>
#include <string.h>

/* Value of four hex digits, or -1. */
static int32_t hex4(const uint8_t *p)
{
	uint32_t a = json_hex_digit(p[0]), b = json_hex_digit(p[1]), c = json_hex_digit(p[2]),
		 d = json_hex_digit(p[3]);

	return (a | b | c | d) > 15 ? -1 : (int32_t)(a << 12 | b << 8 | c << 4 | d);
}

/* p: behind "\u". Returns the length of the escape from there on (4, or 10 with a pair's other half); 0 with
 * the reason. */
static uint32_t unicode_walk(const uint8_t *p, const uint8_t *end, enum drop_reason *reason)
{
	int32_t unit = end - p >= 4 ? hex4(p) : -1;

	*reason = DROP_bad_json;
	if (unit < 0)
		return 0;
	if ((unit & 0xf800) != 0xd800)
		return 4;
	/* Half of a surrogate pair is well-formed JSON, but no character: it has no UTF-8. */
	*reason = DROP_bad_utf8;
	if (unit >= 0xdc00 || end - p < 10 || p[4] != '\\' || p[5] != 'u')
		return 0;
	unit = hex4(p + 6);
	return unit >= 0xdc00 && unit <= 0xdfff ? 10 : 0;
}

const uint8_t *text_walk(const uint8_t *p, const uint8_t *end, bool *escaped, enum drop_reason *reason)
{
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'),
		      control = _mm_set1_epi8(0x1f);

	*escaped = false;
	*reason = DROP_bad_json;
	while (p < end) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		__m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash));
		uint32_t mask;

		stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
		mask = (uint32_t)_mm_movemask_epi8(stop);
		if (!mask) {
			p += 16;
			continue;
		}
		p += __builtin_ctz(mask);
		if (p >= end)
			return NULL;
		if (*p == '"')
			return p;
		if (*p != '\\' || end - p < 2)
			return NULL;
		*escaped = true;
		switch (p[1]) {
		case 'u': {
			uint32_t more = unicode_walk(p + 2, end, reason);

			if (!more)
				return NULL;
			*reason = DROP_bad_json;
			p += 2 + more;
			break;
		}
		case '"':
		case '\\':
		case '/':
		case 'b':
		case 'f':
		case 'n':
		case 'r':
		case 't':
			p += 2;
			break;
		default:
			return NULL;
		}
	}
	return NULL;
}

static uint8_t *utf8_put(uint8_t *out, uint32_t c)
{
	if (c < 0x80) {
		*out++ = (uint8_t)c;
	} else if (c < 0x800) {
		*out++ = (uint8_t)(0xc0 | c >> 6);
		*out++ = (uint8_t)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*out++ = (uint8_t)(0xe0 | c >> 12);
		*out++ = (uint8_t)(0x80 | (c >> 6 & 63));
		*out++ = (uint8_t)(0x80 | (c & 63));
	} else {
		*out++ = (uint8_t)(0xf0 | c >> 18);
		*out++ = (uint8_t)(0x80 | (c >> 12 & 63));
		*out++ = (uint8_t)(0x80 | (c >> 6 & 63));
		*out++ = (uint8_t)(0x80 | (c & 63));
	}
	return out;
}

/* Copies up to the first backslash, or the end; at least one byte, as the first is none. `to` has room for
 * all that is left. */
static inline uint32_t text_copy(uint8_t *to, const uint8_t *p, size_t left)
{
	size_t n = 0;

	for (; left - n >= 16; n += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(p + n));
		int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));

		_mm_storeu_si128((__m128i *)(to + n), v);
		if (mask)
			return (uint32_t)n + (uint32_t)__builtin_ctz((unsigned)mask);
	}
	for (; n < left && p[n] != '\\'; n++)
		to[n] = p[n];
	return (uint32_t)n;
}

uint32_t text_decode(uint8_t *out, const uint8_t *text, uint32_t bytes)
{
	const uint8_t *p = text, *end = text + bytes;
	uint8_t *o = out;

	while (p < end) {
		if (*p != '\\') {
			uint32_t n = text_copy(o, p, (size_t)(end - p));

			o += n;
			p += n;
			continue;
		}
		uint8_t c = p[1];
		p += 2;
		switch (c) {
		case 'b':
			*o++ = '\b';
			break;
		case 'f':
			*o++ = '\f';
			break;
		case 'n':
			*o++ = '\n';
			break;
		case 'r':
			*o++ = '\r';
			break;
		case 't':
			*o++ = '\t';
			break;
		case 'u': {
			uint32_t unit = (uint32_t)hex4(p);

			p += 4;
			if ((unit & 0xfc00) == 0xd800) {
				unit = 0x10000 + ((unit - 0xd800) << 10) + ((uint32_t)hex4(p + 2) - 0xdc00);
				p += 6;
			}
			o = utf8_put(o, unit);
			break;
		}
		default: /* quote, backslash, slash */
			*o++ = c;
			break;
		}
	}
	return (uint32_t)(o - out);
}

const uint8_t *json_skip_text(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *text = p + 1, *from = text, *quote;

	if (p >= end || *p != '"')
		return NULL;
	/* the next quote that no odd run of backslashes stands before */
	while ((quote = memchr(from, '"', (size_t)(end - from)))) {
		const uint8_t *back = quote;

		while (back > text && back[-1] == '\\')
			back--;
		from = quote + 1;
		if ((quote - back) % 2 == 0)
			return from;
	}
	return NULL;
}

static const uint8_t *container_skip(const uint8_t *p, const uint8_t *end)
{
	uint32_t depth = 0;

	while (p < end) {
		uint8_t c = *p;

		if (c == '"') {
			p = json_skip_text(p, end);
			if (!p)
				return NULL;
			continue;
		}
		p++;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth == 0)
			return p;
	}
	return NULL;
}

const uint8_t *json_skip_value(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *start = p;

	if (p >= end)
		return NULL;
	if (*p == '"')
		return json_skip_text(p, end);
	if (*p == '{' || *p == '[')
		return container_skip(p, end);
	while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ':' && !json_is_space(*p))
		p++;
	return p > start ? p : NULL;
}
