/* Narrow cells; see agg_narrow.h. In: compiled sets, cells. Out: cells of the other kind. Events come in by
 * agg_run.c. Pure. */
#include "agg_narrow.h"

#include <stdlib.h>

#include "agg_priv.h"

#define EVENTS_AT 0u
#define REST_AT 1u
#define BYTES_MIN 5u /* the value of a table's entry has 4 bytes or more */

static bool part_counts(const struct agg_part *part)
{
	return part->kind == AGG_PART_COUNT || part->kind == AGG_PART_MATCH ||
	       part->kind == AGG_PART_ERRORS || part->kind == AGG_PART_PRESENT;
}

static bool part_sums(const struct agg_part *part)
{
	return part->kind == AGG_PART_SUM && part->decimal;
}

/* How many bytes a part takes; 0: it is not for narrow cells. */
static uint32_t part_bytes(const struct agg_part *part)
{
	if (part_counts(part))
		return 1;
	if (part_sums(part))
		return AGG_NARROW_SUM_BYTES;
	switch (part->kind) {
	case AGG_PART_SUM:
	case AGG_PART_MIN:
	case AGG_PART_MAX:
	case AGG_PART_DISTINCT:
	case AGG_PART_QUANTILES:
	case AGG_PART_TOP:
		return agg_part_ops[part->kind].bytes[part->decimal];
	default:
		return 0;
	}
}

bool agg_narrow_make(struct agg_set *set)
{
	struct agg_set *narrow;
	uint32_t at = REST_AT;

	for (uint32_t i = 0; i < set->part_count; i++)
		if (!part_bytes(&set->part[i]))
			return true;
	if (set->cell_bytes > AGG_NARROW_WIDE_MAX)
		return true;
	narrow = malloc(sizeof *narrow);
	if (!narrow)
		return false;
	*narrow = *set;
	memset(narrow->empty, 0, sizeof narrow->empty);
	for (uint32_t whole = 1; whole + 1; whole--) /* first those of words, which are aligned */
		for (uint32_t i = 0; i < set->part_count; i++) {
			struct agg_part *part = &narrow->part[i];
			uint32_t bytes = part_bytes(part);

			if (bytes % sizeof(uint32_t) ? whole : !whole)
				continue;
			part->narrow = true;
			part->offset = part->kind == AGG_PART_COUNT ? EVENTS_AT : at;
			at += part->kind == AGG_PART_COUNT ? 0 : bytes;
			if (whole)
				agg_part_ops[part->kind].init(part, (uint8_t *)narrow->empty);
			set->sums |= part_sums(part);
		}
	narrow->cell_bytes = at > BYTES_MIN ? at : BYTES_MIN;
	set->narrow = narrow;
	return true;
}

const struct agg_set *agg_narrow(const struct agg_set *set)
{
	return set->narrow;
}

void agg_narrow_widen(const struct agg_set *set, const uint8_t *narrow, void *cell)
{
	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];
		const uint8_t *from = narrow + set->narrow->part[i].offset;
		uint8_t *to = (uint8_t *)cell + part->offset;

		if (part_counts(part))
			agg_u64_set(to, *from);
		else if (part_sums(part))
			agg_u128_set(to, (unsigned __int128)(__int128)agg_narrow_sum(from));
		else
			memcpy(to, from, agg_part_ops[part->kind].bytes[part->decimal]);
	}
}

/* The least number of events that counters and sums can be of, or what COUNT says; over AGG_NARROW_EVENTS:
 * they do not fit. */
static uint64_t events_of(const struct agg_set *set, const uint8_t *cell)
{
	uint64_t least = 0, count = 0;
	bool counts = false;

	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];
		uint64_t n = 0;

		if (part_counts(part)) {
			n = agg_u64(cell + part->offset);
		} else if (part_sums(part)) {
			unsigned __int128 sum = agg_u128(cell + part->offset);

			if (sum >>
				127) /* negative; of the least one, too, the opposite fits without a sign */
				sum = -sum;
			n = sum >> 64 ? UINT64_MAX : (uint64_t)sum / AGG_NARROW_NUMBER_MAX + 1;
			n -= !sum;
		}
		if (part->kind == AGG_PART_COUNT) {
			counts = true;
			count = n;
		}
		least = n > least ? n : least;
	}
	if (!counts)
		return least;
	return least > count ? UINT64_MAX : count;
}

bool agg_narrow_fit(const struct agg_set *set, const void *cell, uint8_t *narrow)
{
	uint64_t events = events_of(set, cell);

	if (events > AGG_NARROW_EVENTS)
		return false;
	narrow[EVENTS_AT] = (uint8_t)events;
	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];
		const uint8_t *from = (const uint8_t *)cell + part->offset;
		uint8_t *to = narrow + set->narrow->part[i].offset;

		if (part_counts(part))
			*to = (uint8_t)agg_u64(from);
		else if (part_sums(part))
			agg_narrow_sum_set(to, (int64_t)agg_u128(from));
		else
			memcpy(to, from, agg_part_ops[part->kind].bytes[part->decimal]);
	}
	return true;
}
