/* The fast path: an event against the shapes learned from earlier ones, by AVX2. Worker thread.
 *
 * A shape is the event's literal bytes (braces, keys, colons, commas) with slots for values between. Each
 * step compares up to 32 literal bytes at once, adds what differs to `wrong`, and finds the end of the value;
 * the whole event is checked once for backslashes, control bytes and non-ASCII. Without backslashes every
 * quote is a delimiter, so "value ends at the next quote, then comes the next literal" is the grammar itself.
 * An event is taken only if the slow path would give the same result, bit for bit; anything unusual is left
 * to it, including all refusals.
 *
 * Reads: a step starts only where at least rest_min bytes are left, so no load starts beyond the end, and a
 * load is 32 bytes: within EVENT_PAD_BYTES. */
#include <immintrin.h>
#include <string.h>

#include "json_priv.h"

#define FAST static inline __attribute__((always_inline)) AVX2_FN

FAST __m256i load32(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)p);
}

FAST __m128i load16(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)p);
}

/* Bits that differ from the literal, where it counts. */
FAST __m256i literal_diff(const uint8_t *p, const uint8_t *literal, const uint8_t *mask)
{
	return _mm256_and_si256(_mm256_xor_si256(load32(p), load32(literal)), load32(mask));
}

/* True if a shape may take the bytes: no backslash, no control byte, and UTF-8. bytes >= 32. */
FAST bool bytes_plain(const uint8_t *p, uint32_t bytes)
{
	const __m256i backslash = _mm256_set1_epi8('\\');
	__m256i last = load32(p + bytes - 32); /* overlaps the block before it */
	__m256i low = last, equal = _mm256_xor_si256(last, backslash), control;
	const uint8_t *stop = p + bytes - 32;

	for (const uint8_t *q = p; q < stop; q += 32) {
		__m256i v = load32(q);

		low = _mm256_min_epi8(low, v); /* signed: bytes from 0x80 on are below zero */
		equal = _mm256_min_epu8(equal, _mm256_xor_si256(v, backslash));
	}
	control = _mm256_or_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), low),
		_mm256_cmpeq_epi8(equal, _mm256_setzero_si256()));
	if (__builtin_expect(_mm256_testz_si256(control, control), 1))
		return true;
	if (_mm256_movemask_epi8(_mm256_cmpeq_epi8(equal, _mm256_setzero_si256())))
		return false;
	low = last;
	for (const uint8_t *q = p; q < stop; q += 32)
		low = _mm256_min_epu8(low, load32(q));
	control = _mm256_cmpeq_epi8(_mm256_min_epu8(low, _mm256_set1_epi8(0x1f)), low);
	return _mm256_testz_si256(control, control) && utf8_valid_avx2(p, bytes);
}

/* The next quote from p on, or some place from end on. */
FAST const uint8_t *quote_find(const uint8_t *p, const uint8_t *end)
{
	do {
		__m256i hit = _mm256_cmpeq_epi8(load32(p), _mm256_set1_epi8('"'));
		uint32_t mask = (uint32_t)_mm256_movemask_epi8(hit);

		if (__builtin_expect(mask != 0, 1))
			return p + __builtin_ctz(mask);
		p += 32;
	} while (p < end);
	return p;
}

/* 36 bytes at p. Returns bits where they are no UUID. */
FAST __m256i uuid_read(const uint8_t *p, uint8_t out[16])
{
	/* text: 8-4-4-4-12 digits, hyphens at 8, 13, 18, 23. Digits 1 to 16 end up in the lower lane (the
	 * last two by an insert, as they lie beyond a load at p), 17 to 32 in the upper one (a load at p +
	 * 20; digit 17, at 19, inserted). */
	const __m128i low_from = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, -1, -1);
	const __m128i high_from = _mm_setr_epi8(-1, 0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	const __m256i hyphen = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, '-', 0, 0, 0, 0, '-', 0, 0, 0, 0, '-',
		0, 0, 0, 0, '-', 0, 0, 0, 0, 0, 0, 0, 0);
	const __m256i hyphen_mask = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0,
		-1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0);
	uint16_t pair;
	__m128i low, high;
	__m256i c, digit, letter, nibble, wrong, bytes;

	memcpy(&pair, p + 16, sizeof pair);
	low = _mm_insert_epi16(_mm_shuffle_epi8(load16(p), low_from), pair, 7);
	high = _mm_insert_epi8(_mm_shuffle_epi8(load16(p + 20), high_from), p[19], 0);
	c = _mm256_set_m128i(high, low);
	/* '0'..'9' give 0..9 in `digit`, all else at least 16; letters of either case give 10..15 in
	 * `letter`, all else at least 16 */
	digit = _mm256_subs_epu8(_mm256_add_epi8(c, _mm256_set1_epi8(0xff - '9')), _mm256_set1_epi8(6));
	digit = _mm256_sub_epi8(digit, _mm256_set1_epi8((char)0xf0));
	letter = _mm256_sub_epi8(_mm256_and_si256(c, _mm256_set1_epi8((char)0xdf)), _mm256_set1_epi8('A'));
	letter = _mm256_adds_epu8(letter, _mm256_set1_epi8(10));
	nibble = _mm256_min_epu8(digit, letter);
	wrong = _mm256_and_si256(nibble, _mm256_set1_epi8((char)0xf0));
	bytes = _mm256_maddubs_epi16(nibble, _mm256_set1_epi16(0x0110)); /* pairs: high * 16 + low */
	_mm_storeu_si128((__m128i *)out,
		_mm_packus_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
	return _mm256_or_si256(wrong, _mm256_and_si256(_mm256_xor_si256(load32(p), hyphen), hyphen_mask));
}

/* 13 digits at p, before which at least 3 bytes are readable. Returns bits where they are no digits. */
FAST __m256i time_ms_read(const uint8_t *p, int64_t *ms)
{
	const __m128i ours = _mm_setr_epi8(0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
	__m128i digits = _mm_and_si128(_mm_sub_epi8(load16(p - 3), _mm_set1_epi8('0')), ours);
	__m128i pairs = _mm_maddubs_epi16(digits, _mm_set1_epi16(0x010a));
	__m128i quads = _mm_madd_epi16(pairs, _mm_set1_epi32(0x00010064));
	__m128i eights = _mm_madd_epi16(_mm_packus_epi32(quads, quads), _mm_set1_epi32(0x00012710));
	uint64_t v = (uint64_t)_mm_cvtsi128_si64(eights);

	*ms = (int64_t)((v & 0xffffffff) * 100000000 + (v >> 32));
	return _mm256_zextsi128_si256(_mm_subs_epu8(digits, _mm_set1_epi8(9)));
}

struct match {
	const uint8_t *p, *end;
	__m256i wrong;
	struct json_parser *jp;
	struct event *ev;
};

FAST bool text_slot(struct match *m, const struct shape_step *step)
{
	const uint8_t *quote = quote_find(m->p, m->end);
	uint32_t bytes = (uint32_t)(quote - m->p);

	if (bytes - step->len_min > step->len_span || m->end - quote < (ptrdiff_t)step->rest_min)
		return false;
	m->ev->field[step->field] = (struct span){(uint16_t)(m->p - m->ev->raw), (uint16_t)bytes};
	m->p = quote;
	return true;
}

FAST bool time_text_slot(struct match *m, const struct shape_step *step)
{
	const uint8_t *start = m->p;

	return text_slot(m, step) && time_from_text(start, (uint32_t)(m->p - start), &m->ev->event_time_ms);
}

FAST bool number_slot(struct match *m, const struct shape_step *step)
{
	const uint8_t *start = m->p;
	struct number n;
	double number;

	m->p = number_walk(start, m->end, &n);
	if (!m->p || m->end - m->p < (ptrdiff_t)step->rest_min)
		return false;
	if (step->kind == SLOT_SKIP_NUMBER)
		return true;
	if (!number_double(m->jp, &n, start, (uint32_t)(m->p - start), &number))
		return false;
	memcpy(m->jp->tail + m->jp->tail_used + step->tail_at, &number, sizeof number);
	m->ev->field[step->field] =
		(struct span){(uint16_t)(m->ev->raw_bytes + step->tail_at), sizeof number};
	return true;
}

FAST bool close_slot(struct match *m, const struct shape_step *step)
{
	struct span *span = &m->ev->field[step->field];
	uint32_t bytes = (uint32_t)(m->p - m->ev->raw) - span->offset;

	span->bytes = (uint16_t)bytes;
	return bytes - step->len_min <= step->len_span;
}

/* All slots but texts. */
FAST bool other_slot(struct match *m, const struct shape_step *step)
{
	struct span *span = &m->ev->field[step->field];

	switch (step->kind) {
	case SLOT_UUID:
		*span = (struct span){(uint16_t)(m->p - m->ev->raw), 36};
		m->wrong = _mm256_or_si256(m->wrong, uuid_read(m->p, m->ev->event_id));
		m->p += 36;
		return true;
	case SLOT_TIME_MS:
		*span = (struct span){(uint16_t)(m->p - m->ev->raw), 13};
		m->wrong = _mm256_or_si256(m->wrong, time_ms_read(m->p, &m->ev->event_time_ms));
		m->p += 13;
		return m->p[-13] != '0'; /* no JSON number */
	case SLOT_TIME_TEXT:
		return time_text_slot(m, step);
	case SLOT_NUMBER:
	case SLOT_SKIP_NUMBER:
		return number_slot(m, step);
	case SLOT_OPEN:
		span->offset = (uint16_t)(m->p - m->ev->raw);
		return true;
	case SLOT_CLOSE:
		return close_slot(m, step);
	default: /* SLOT_NONE */
		return true;
	}
}

FAST bool shape_match(struct json_parser *jp, const struct shape *shape, const uint8_t *end, struct event *ev)
{
	struct match m = {.p = ev->raw, .end = end, .wrong = _mm256_setzero_si256(), .jp = jp, .ev = ev};
	const struct shape_step *stop = shape->step + shape->step_count;

	for (const struct shape_step *step = shape->step; step < stop; step++) {
		m.wrong = _mm256_or_si256(m.wrong, literal_diff(m.p, step->literal, step->mask));
		m.p += step->literal_bytes;
		if (!(step->kind == SLOT_TEXT ? text_slot(&m, step) : other_slot(&m, step)))
			return false;
	}
	return m.p == end && _mm256_testz_si256(m.wrong, m.wrong);
}

/* Cheap: the first literal and the last one at a fixed place. */
FAST bool shape_probe(
	const struct shape *shape, const uint8_t *raw, uint32_t bytes, enum event_type type_hint)
{
	__m256i diff;

	if (bytes < shape->min_bytes || shape->hint != type_hint)
		return false;
	diff = _mm256_or_si256(literal_diff(raw, shape->step[0].literal, shape->step[0].mask),
		literal_diff(raw + shape->probe_at, shape->probe, shape->probe_mask));
	return _mm256_testz_si256(diff, diff);
}

static void order_to_front(struct json_parser *jp, uint32_t at)
{
	uint8_t index = jp->order[at];

	memmove(jp->order + 1, jp->order, at);
	jp->order[0] = index;
}

AVX2_FN bool json_fast(struct json_parser *jp, const uint8_t *raw, uint32_t bytes, enum event_type type_hint,
	int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev)
{
	uint32_t trimmed = bytes;

	if (bytes > EVENT_BYTES_MAX)
		return false;
	while (trimmed > 32 && __builtin_expect(json_is_space(raw[trimmed - 1]), 0))
		trimmed--;
	if (trimmed < 32 || !bytes_plain(raw, trimmed))
		return false;
	for (uint32_t i = 0; i < jp->shape_count; i++) {
		const struct shape *shape = &jp->shape[jp->order[i]];

		if (!shape_probe(shape, raw, trimmed, type_hint))
			continue;
		if (bytes + shape->tail_bytes > EVENT_BYTES_MAX ||
			jp->tail_bytes - jp->tail_used < shape->tail_bytes)
			return false;
		if (!shape_match(jp, shape, raw + trimmed, ev))
			continue;
		if (shape->field_mask & FBIT(ts) && time_judge(ev->event_time_ms, receive_time_ms, limits))
			return false;
		ev->type = shape->type;
		ev->field_mask = shape->field_mask;
		ev->tail_bytes = shape->tail_bytes;
		jp->tail_used += shape->tail_bytes;
		if (i)
			order_to_front(jp, i);
		return true;
	}
	return false;
}
