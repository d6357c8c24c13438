/* The fast path: an event against the shapes learned from earlier ones, by AVX2. Worker thread.
 *
 * A shape is the event's literal bytes (braces, keys, colons, commas) with slots for values between. Each
 * step compares up to 32 literal bytes at once, adds what differs to `wrong`, and finds the end of the value.
 * A text ends at the first quote, backslash or control byte; if that is no quote, the next literal, which
 * begins with one, is wrong. Texts without backslashes have no other quote, so "value ends at the next quote,
 * then comes the next literal" is the grammar itself. If a byte from 0x80 on was seen all is checked as
 * UTF-8. An event is taken only if the slow path would give the same result, bit for bit; anything unusual is
 * left to it, including all refusals.
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

/* Vector constants. Reached by a pointer whose target is hidden from the compiler: it would make them from
 * immediates anew at each use, at two or three instructions a piece. */
struct constants {
	uint8_t hyphen[32], hyphen_mask[32];
	uint8_t low_from[16], high_from[16];
	uint8_t stop[32], control[32], below_nine[32], six[32], f0[32], fold[32], minus_a[32], ten[32],
		pair[32];
	uint8_t digit_mask[16], zero[16], nine[16], tens[16], hundreds[16], ten_thousands[16];
};

static const struct constants constants __attribute__((aligned(32))) = {
	.hyphen = {[8] = '-', [13] = '-', [18] = '-', [23] = '-'},
	.hyphen_mask = {[8] = 0xff, [13] = 0xff, [18] = 0xff, [23] = 0xff},
	.low_from = {0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 0xff, 0xff},
	.high_from = {0xff, 0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	/* by the low half of a byte: quote and backslash in their places, elsewhere no byte of that place */
	.stop = {0xff, 0xff, '"', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '\\', 0xff, 0xff,
		0xff, 0xff, 0xff, '"', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '\\', 0xff, 0xff,
		0xff},
	.control = {[0 ... 31] = 0x1f},
	.below_nine = {[0 ... 31] = 0xff - '9'},
	.six = {[0 ... 31] = 6},
	.f0 = {[0 ... 31] = 0xf0},
	.fold = {[0 ... 31] = 0xdf},
	.minus_a = {[0 ... 31] = (uint8_t) - 'A'},
	.ten = {[0 ... 31] = 10},
	.pair = {16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1, 16, 1,
		16, 1, 16, 1, 16, 1},
	.digit_mask = {[3 ... 15] = 0xff},
	.zero = {[0 ... 15] = '0'},
	.nine = {[0 ... 15] = 9},
	.tens = {10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1},
	.hundreds = {100, 0, 1, 0, 100, 0, 1, 0, 100, 0, 1, 0, 100, 0, 1, 0},
	.ten_thousands = {0x10, 0x27, 1, 0, 0x10, 0x27, 1, 0, 0x10, 0x27, 1, 0, 0x10, 0x27, 1, 0},
};

/* 36 bytes at p. Returns bits where they are no UUID. */
FAST __m256i uuid_read(const struct constants *k, const uint8_t *p, uint8_t out[16])
{
	/* text: 8-4-4-4-12 digits, hyphens at 8, 13, 18, 23. Digits 1 to 16 end up in the lower lane (the
	 * last two by an insert, as they lie beyond a load at p), 17 to 32 in the upper one (a load at p +
	 * 20; digit 17, at 19, inserted). */
	uint16_t two;
	__m128i low, high;
	__m256i c, digit, letter, nibble, bytes, hyphens;

	memcpy(&two, p + 16, sizeof two);
	low = _mm_insert_epi16(_mm_shuffle_epi8(load16(p), load16(k->low_from)), two, 7);
	high = _mm_insert_epi8(_mm_shuffle_epi8(load16(p + 20), load16(k->high_from)), p[19], 0);
	c = _mm256_set_m128i(high, low);
	/* '0'..'9' give 0..9 in `digit`, all else at least 16; letters of either case give 10..15 in
	 * `letter`, all else at least 16 */
	digit = _mm256_subs_epu8(_mm256_add_epi8(c, load32(k->below_nine)), load32(k->six));
	digit = _mm256_sub_epi8(digit, load32(k->f0));
	letter = _mm256_add_epi8(_mm256_and_si256(c, load32(k->fold)), load32(k->minus_a));
	letter = _mm256_adds_epu8(letter, load32(k->ten));
	nibble = _mm256_min_epu8(digit, letter);
	bytes = _mm256_maddubs_epi16(nibble, load32(k->pair)); /* high * 16 + low */
	_mm_storeu_si128((__m128i *)out,
		_mm_packus_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)));
	hyphens = literal_diff(p, k->hyphen, k->hyphen_mask);
	return _mm256_or_si256(hyphens, _mm256_and_si256(nibble, load32(k->f0)));
}

/* 13 digits at p, before which at least 3 bytes are readable. Returns bits where they are no digits. */
FAST __m256i time_ms_read(const struct constants *k, const uint8_t *p, int64_t *ms)
{
	__m128i digits = _mm_and_si128(_mm_sub_epi8(load16(p - 3), load16(k->zero)), load16(k->digit_mask));
	__m128i pairs = _mm_maddubs_epi16(digits, load16(k->tens));
	__m128i quads = _mm_madd_epi16(pairs, load16(k->hundreds));
	__m128i eights = _mm_madd_epi16(_mm_packus_epi32(quads, quads), load16(k->ten_thousands));
	uint64_t v = (uint64_t)_mm_cvtsi128_si64(eights);

	*ms = (int64_t)((v & 0xffffffff) * 100000000 + (v >> 32));
	return _mm256_zextsi128_si256(_mm_subs_epu8(digits, load16(k->nine)));
}

/* Bits of the bytes that end a text, rightly or not: quote, backslash, below 0x20. high: all bytes seen,
 * or-ed (a shuffle gives 0 for those from 0x80 on, which end nothing). */
FAST uint32_t stop_mask(const struct constants *k, const uint8_t *p, __m256i *high)
{
	__m256i v = load32(p);
	__m256i stop = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(load32(k->stop), v), v);
	__m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(v, load32(k->control)), v);

	*high = _mm256_or_si256(*high, v);
	return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(stop, control));
}

/* Number of the lowest bit; false if there is none, which the instruction itself says. */
FAST bool bit_lowest(uint64_t mask, uint64_t *at)
{
	bool none;

	__asm__("tzcnt %2, %0" : "=r"(*at), "=@ccc"(none) : "r"(mask));
	return !__builtin_expect(none, 0);
}

/* Bytes from p to the end of the text, which is not among the first `known`; or some number from left on. */
FAST uint64_t text_far(
	const struct constants *k, const uint8_t *p, uint64_t known, uint64_t left, __m256i *high)
{
	for (; known < left; known += 32) {
		uint32_t mask = stop_mask(k, p + known, high);

		if (mask)
			return known + _tzcnt_u32(mask);
	}
	return known;
}

/* Bytes of a text value. Most end within 32 bytes. A step that has met a longer one looks at 64 at once from
 * then on: one more load is cheaper than a branch that goes either way. */
FAST uint64_t text_bytes(
	const struct constants *k, struct shape_step *step, const uint8_t *p, uint64_t left, __m256i *high)
{
	uint64_t mask = stop_mask(k, p, high), bytes;

	if (__builtin_expect(step->kind == SLOT_TEXT, 1)) {
		if (bit_lowest(mask, &bytes))
			return bytes;
		step->kind = SLOT_TEXT_WIDE;
	}
	mask |= (uint64_t)stop_mask(k, p + 32, high) << 32;
	return bit_lowest(mask, &bytes) ? bytes : text_far(k, p, 64, left, high);
}

/* The slots that cost more than a call. Returns where the value ends, or UINT64_MAX. */
static __attribute__((noinline)) uint64_t rare_slot(
	struct json_parser *jp, const struct shape_step *step, uint64_t at, uint64_t bytes, struct event *ev)
{
	struct span *span = &ev->field[step->field];
	const uint8_t *start = ev->raw + at, *end = ev->raw + bytes, *stop;
	struct number n;

	switch (step->kind) {
	case SLOT_TIME_TEXT:
		stop = memchr(start, '"', (size_t)(end - start));
		if (!stop || !time_from_text(start, (uint32_t)(stop - start), &ev->event_time_ms))
			return UINT64_MAX;
		*span = (struct span){(uint16_t)at, (uint16_t)(stop - start)};
		return (uint64_t)(stop - ev->raw);
	case SLOT_NUMBER:
	case SLOT_DECIMAL:
		stop = number_walk(start, end, &n);
		if (!stop || !number_bytes(jp, field_table[step->field].kind, &n, start,
				     (uint32_t)(stop - start), jp->tail + jp->tail_used + step->tail_at))
			return UINT64_MAX;
		*span = (struct span){step->tail_at, 8}; /* see tail_spans_move() */
		return (uint64_t)(stop - ev->raw);
	case SLOT_ADDRESS:
		stop = memchr(start, '"', (size_t)(end - start));
		if (!stop || (uint64_t)(stop - start) - step->len_min > step->len_span ||
			!text_fits(step->field, start, (uint32_t)(stop - start)))
			return UINT64_MAX;
		*span = (struct span){(uint16_t)at, (uint16_t)(stop - start)};
		return (uint64_t)(stop - ev->raw);
	case SLOT_SKIP_NUMBER:
		stop = number_walk(start, end, &n);
		return stop ? (uint64_t)(stop - ev->raw) : UINT64_MAX;
	case SLOT_OPEN:
		span->offset = (uint16_t)at;
		return at;
	default: /* SLOT_CLOSE */
		span->bytes = (uint16_t)(at - span->offset);
		return span->bytes - step->len_min <= step->len_span ? at : UINT64_MAX;
	}
}

FAST void span_put(struct event *ev, const struct shape_step *step, uint64_t offset, uint64_t bytes)
{
	struct span *span = (struct span *)((uint8_t *)ev + step->span_at);

	span->offset = (uint16_t)offset;
	span->bytes = (uint16_t)bytes;
}

/* Matches the object at raw, of which at most `left` bytes are there. Returns its bytes, or 0. */
FAST uint64_t shape_match(
	struct json_parser *jp, struct shape *shape, const uint8_t *raw, uint64_t left, struct event *ev)
{
	const struct constants *k = &constants;
	__m256i wrong = _mm256_setzero_si256(), high = wrong;
	uint64_t at = 0, length;

	__asm__("" : "+r"(k));
	for (struct shape_step *step = shape->step;; step++) {
		wrong = _mm256_or_si256(wrong, literal_diff(raw + at, step->literal, step->mask));
		at += step->literal_bytes;
		/* most are texts: two compares, no jump table */
		if (__builtin_expect(step->kind <= SLOT_TEXT_WIDE, 1)) {
			length = text_bytes(k, step, raw + at, left - at, &high);
			span_put(ev, step, at, length);
			at += length;
			if (length - step->len_min > step->len_span || at + step->rest_min > left)
				return 0;
		} else if (step->kind == SLOT_TIME_MS) {
			span_put(ev, step, at, 13);
			wrong = _mm256_or_si256(wrong, time_ms_read(k, raw + at, &ev->event_time_ms));
			if (raw[at] == '0')
				return 0; /* no JSON number */
			at += 13;
		} else if (step->kind == SLOT_UUID) {
			span_put(ev, step, at, 36);
			wrong = _mm256_or_si256(wrong, uuid_read(k, raw + at, ev->event_id));
			at += 36;
		} else if (step->kind == SLOT_END) {
			break;
		} else if (step->kind != SLOT_NONE) {
			at = rare_slot(jp, step, at, left, ev);
			if (at == UINT64_MAX || at + step->rest_min > left)
				return 0;
		}
	}
	if (!_mm256_testz_si256(wrong, wrong) ||
		(__builtin_expect(_mm256_movemask_epi8(high) != 0, 0) && !utf8_valid_avx2(raw, (uint32_t)at)))
		return 0;
	return at;
}

/* Cheap: the last literal at a fixed place. */
FAST bool shape_probe(
	const struct shape *shape, const uint8_t *raw, uint32_t bytes, enum event_type type_hint)
{
	__m256i diff;

	if (bytes < shape->min_bytes || shape->hint != type_hint)
		return false;
	diff = literal_diff(raw + shape->probe_at, shape->probe, shape->probe_mask);
	return _mm256_testz_si256(diff, diff);
}

static void order_to_front(struct json_parser *jp, uint32_t at)
{
	uint8_t index = jp->order[at];

	memmove(jp->order + 1, jp->order, at);
	jp->order[0] = index;
}

/* What the steps have not filled. */
FAST void event_finish(struct json_parser *jp, const struct shape *shape, struct event *ev)
{
	if (!(shape->field_mask & FBIT(event_id)))
		memset(ev->event_id, 0, sizeof ev->event_id);
	if (!(shape->field_mask & FBIT(ts)))
		ev->event_time_ms = 0;
	ev->tail = jp->tail + jp->tail_used;
	ev->tail_bytes = shape->tail_bytes;
	jp->tail_used += shape->tail_bytes;
	ev->field_mask = shape->field_mask;
	ev->type = shape->type;
	ev->known = shape->known;
	ev->refused = DROP_NONE;
	ev->refused_field = FIELD_NONE;
	ev->actions = 0;
	ev->hit_count = 0;
	ev->hit = NULL;
}

/* Numbers lie in the tail, behind the raw bytes, whose number was not known when they were read. */
static __attribute__((noinline)) void tail_spans_move(const struct shape *shape, struct event *ev)
{
	for (uint32_t i = 0; i < shape->step_count; i++)
		if (shape->step[i].kind == SLOT_NUMBER || shape->step[i].kind == SLOT_DECIMAL)
			ev->field[shape->step[i].field].offset += (uint16_t)ev->raw_bytes;
}

#define LINE UINT32_MAX

/* One shape. The object at raw ends within `left` bytes. space: so many bytes of space behind the object are
 * the event's, too, and the object is `left` bytes long; or LINE: the event is a line, and ends with the
 * object, there or at a line feed before. */
FAST bool shape_try(struct json_parser *jp, struct shape *shape, const uint8_t *raw, uint32_t left,
	uint32_t space, enum event_type hint, struct event *ev)
{
	uint32_t bytes;

	if (!shape_probe(shape, raw, left, hint))
		return false;
	if (shape->tail_bytes && (left + (space == LINE ? 0 : space) + shape->tail_bytes > EVENT_BYTES_MAX ||
					 jp->tail_bytes - jp->tail_used < shape->tail_bytes))
		return false;
	ev->raw = raw;
	bytes = (uint32_t)shape_match(jp, shape, raw, left, ev);
	if (!bytes || (bytes != left && (space != LINE || raw[bytes] != '\n')))
		return false;
	ev->raw_bytes = space == LINE ? bytes : bytes + space;
	if (__builtin_expect(shape->tail_bytes != 0, 0))
		tail_spans_move(shape, ev);
	return true;
}

/* All shapes but the last used one. The shape that took the event, now the last used one; or NULL. */
static __attribute__((noinline)) AVX2_FN struct shape *shape_other(struct json_parser *jp, const uint8_t *raw,
	uint32_t left, uint32_t space, enum event_type hint, struct event *ev)
{
	for (uint32_t i = 1; i < jp->shape_count; i++) {
		struct shape *shape = &jp->shape[jp->order[i]];

		if (shape_try(jp, shape, raw, left, space, hint, ev)) {
			order_to_front(jp, i);
			return shape;
		}
	}
	return NULL;
}

/* True: a shape has taken the event. */
FAST bool shapes_try(struct json_parser *jp, const uint8_t *raw, uint32_t left, uint32_t space,
	enum event_type hint, int64_t receive_time_ms, const struct parse_limits *limits, struct event *ev)
{
	struct shape *shape = &jp->shape[jp->order[0]];

	if (!shape_try(jp, shape, raw, left, space, hint, ev)) {
		shape = shape_other(jp, raw, left, space, hint, ev);
		if (!shape)
			return false;
	}
	if (shape->field_mask & FBIT(ts) && time_judge(ev->event_time_ms, receive_time_ms, limits))
		return false;
	event_finish(jp, shape, ev);
	jp->stats.fast++;
	return true;
}

AVX2_FN void json_parse_fast(struct json_parser *jp, const uint8_t *raw, uint32_t bytes,
	enum event_type type_hint, int64_t receive_time_ms, const struct parse_limits *limits,
	struct event *ev)
{
	uint32_t left = bytes;

	while (left > 32 && __builtin_expect(json_is_space(raw[left - 1]), 0))
		left--;
	if (bytes > EVENT_BYTES_MAX ||
		!shapes_try(jp, raw, left, bytes - left, type_hint, receive_time_ms, limits, ev))
		json_parse_slow(jp, raw, bytes, type_hint, receive_time_ms, limits, ev);
}

AVX2_FN uint32_t json_line_fast(struct json_parser *jp, const uint8_t *raw, uint32_t left,
	enum event_type type_hint, int64_t receive_time_ms, const struct parse_limits *limits,
	struct event *ev)
{
	if (left > EVENT_BYTES_MAX ||
		!shapes_try(jp, raw, left, LINE, type_hint, receive_time_ms, limits, ev))
		return 0;
	return ev->raw_bytes;
}
