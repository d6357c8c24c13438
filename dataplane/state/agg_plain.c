/* Plain packed cells; see agg_plain.h. Pure. */
#include "agg_plain.h"

#include "agg_slide.h"

static bool part_counts(const struct agg_part *part)
{
	return part->kind == AGG_PART_COUNT || part->kind == AGG_PART_MATCH ||
	       part->kind == AGG_PART_ERRORS || part->kind == AGG_PART_PRESENT;
}

uint32_t agg_plain(const struct agg_set *set)
{
	for (uint32_t i = 0; i < set->part_count; i++)
		if (!part_counts(&set->part[i]) &&
			(set->part[i].kind != AGG_PART_SUM || !set->part[i].decimal))
			return 0;
	return set->part_count <= AGG_PLAIN_MAX ? set->part_count : 0;
}

/* Bytes of the number at p if it has at most eight and is in its shortest form; else 0. 8 bytes can be read.
 * *zero: it is 0. */
static inline uint32_t short_bytes(const uint8_t *p, bool *zero)
{
	uint64_t word = hash_load(p, 8), ends = ~word & 0x8080808080808080ull;
	uint32_t bit = (uint32_t)__builtin_ctzll(ends | 1ull << 63); /* of the last byte */

	*zero = !(word & 0xff);
	if (!ends)
		return 0;
	/* the last byte of several is not 0 */
	return bit == 7 || (word >> (bit - 7) & 0x7f) ? bit / 8 + 1 : 0;
}

bool agg_plain_valid(const struct agg_set *set, const uint8_t *packed, size_t bytes)
{
	size_t at = 0;
	bool present = false;

	if (agg_plain_short(set->part_count, packed, bytes))
		return true;
	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];
		uint32_t n;
		bool zero;

		if (part->kind == AGG_PART_SUM && !present)
			continue;
		if (at >= bytes)
			return false;
		n = short_bytes(packed + at, &zero);
		/* long numbers are rare */
		if (!n || n > bytes - at || (part->kind != AGG_PART_SUM && n > AGG_COUNT_BYTES))
			return agg_packed_valid(set, packed, bytes);
		if (part->kind == AGG_PART_PRESENT)
			present = !zero;
		at += n;
	}
	return at == bytes;
}
_Static_assert(AGG_COUNT_BITS == 7 * AGG_COUNT_BYTES, "a counter's bytes say that it fits");

bool agg_plain_add(
	const struct agg_set *set, __int128 value[AGG_PLAIN_MAX], const uint8_t *packed, size_t bytes)
{
	struct cursor c = cursor_of(packed, bytes);
	uint64_t present = 0;

	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];

		if (part->kind != AGG_PART_SUM) {
			uint64_t n = cursor_varint(&c, AGG_COUNT_BITS);

			value[i] = (__int128)agg_count_add((uint64_t)value[i], n);
			present = part->kind == AGG_PART_PRESENT ? n : present;
		} else if (present) {
			value[i] =
				(__int128)((unsigned __int128)value[i] + (unsigned __int128)agg_sum_get(&c));
		}
	}
	return !c.failed && !cursor_left(&c);
}

uint8_t *agg_plain_pack(const struct agg_set *set, const __int128 value[AGG_PLAIN_MAX], uint8_t *to)
{
	bool present = false;

	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];

		if (part->kind != AGG_PART_SUM) {
			present = part->kind == AGG_PART_PRESENT ? value[i] != 0 : present;
			to += varint_put(to, agg_count_add((uint64_t)value[i], 0));
		} else if (present) {
			to += agg_sum_put(to, value[i]);
		}
	}
	return to;
}

uint8_t *agg_slide_sum_wide(uint8_t *cell, unsigned __int128 in, unsigned __int128 out, uint8_t *to, bool put)
{
	__int128 v = (__int128)(agg_u128(cell) + in);

	agg_u128_set(cell, (unsigned __int128)v - out);
	return put ? to + agg_sum_put(to, v) : to;
}

uint8_t *agg_plain_slide(const struct agg_set *set, void *sum, const void *in, const void *out, uint8_t *to)
{
	const uint8_t *a = in ? in : (const uint8_t *)set->empty,
		      *b = out ? out : (const uint8_t *)set->empty;
	bool any, present = false;

	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];
		uint8_t *cell = (uint8_t *)sum + part->offset;
		const uint8_t *p = a + part->offset, *q = b + part->offset;

		if (part->kind == AGG_PART_SUM) {
			to = agg_slide_sum_wide(cell, agg_u128(p), agg_u128(q), to, present);
			continue;
		}
		to = agg_slide_count(cell, agg_u64(p), agg_u64(q), to, &any);
		present = part->kind == AGG_PART_PRESENT ? any : present;
	}
	return to;
}

void agg_plain_merge(const struct agg_set *set, void *dst, const void *src)
{
	uint8_t *to = dst;
	const uint8_t *from = src;

	for (uint32_t i = 0; i < set->part_count; i++) {
		uint32_t at = set->part[i].offset;

		if (set->part[i].kind != AGG_PART_SUM)
			agg_u64_set(to + at, agg_count_add(agg_u64(to + at), agg_u64(from + at)));
		else
			agg_u128_set(to + at, agg_u128(to + at) + agg_u128(from + at));
	}
}

bool agg_plain_subtract(const struct agg_set *set, void *dst, const void *src)
{
	uint8_t *to = dst;
	const uint8_t *from = src;

	for (uint32_t i = 0; i < set->part_count; i++) {
		uint32_t at = set->part[i].offset;

		if (set->part[i].kind == AGG_PART_SUM) {
			agg_u128_set(to + at, agg_u128(to + at) - agg_u128(from + at));
			continue;
		}
		if (agg_u64(to + at) < agg_u64(from + at))
			return false;
		agg_u64_set(to + at, agg_u64(to + at) - agg_u64(from + at));
	}
	return true;
}

/* No events come near to that: agg_priv.h. One bit is the sign's, one is room for events that come. */
#define TOTAL_SUM_MAX ((unsigned __int128)1 << (AGG_SUM_BITS - 2))

bool agg_plain_total(const struct agg_set *set, void *total, const void *src)
{
	uint8_t *to = total;
	const uint8_t *from = src;

	for (uint32_t i = 0; i < set->part_count; i++) {
		uint32_t at = set->part[i].offset;

		if (set->part[i].kind == AGG_PART_SUM) {
			unsigned __int128 v = agg_u128(from + at);

			v = v >> 127 ? -v : v;
			if (v >= TOTAL_SUM_MAX || v + agg_u128(to + at) >= TOTAL_SUM_MAX)
				return false;
			agg_u128_set(to + at, v + agg_u128(to + at));
			continue;
		}
		agg_u64_set(to + at, agg_count_add(agg_u64(to + at), agg_u64(from + at)));
		if (agg_u64(to + at) == AGG_COUNT_MAX)
			return false;
	}
	return true;
}
