/* Adding events: see agg_run.h. In: records. Out: cells. Pure; memory is the caller's cells and arenas. */
#include "agg_narrow.h"

#include <stdlib.h>

#include "agg_priv.h"
#include "avx2.h"

/* ---- what the events have ---- */

#define FINITE_BELOW 0xffe0000000000000ull /* bits of a double without its sign, shifted out */

/* What is looked for: of records that are alike the span's place is known. */
struct look {
	const struct record *const *rec;
	const uint8_t *const *payload;
	bool alike;
};

/* The value of the field; NULL: none. alike, span_at: record_span_at() of all. */
AVX2_BODY const uint8_t *look_at(const struct look *look, uint32_t i, enum field_id field, bool alike,
	uint32_t span_at, uint32_t *bytes)
{
	if (alike)
		return record_field_at(look->rec[i], look->payload[i], span_at, bytes);
	return record_field_in(look->rec[i], look->payload[i], field, bytes);
}

AVX2_BODY uint64_t texts_read(
	struct agg_input *in, const struct look look, uint64_t events, bool alike, uint32_t span_at)
{
	const enum field_id field = in->field;
	const bool hashed = in->hashed;
	uint64_t absent = 0, hash;

	for (uint64_t left = events; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left), bytes;
		const uint8_t *text = look_at(&look, i, field, alike, span_at, &bytes);

		if (!alike && !text) {
			absent |= left & -left;
			continue;
		}
		in->text[i] = text;
		in->bytes[i] = bytes;
		if (!hashed)
			continue;
		hash = hash_text(text, bytes);
		in->hash[i] = hash;
		in->token[i] = hll_token(hash);
	}
	return events & ~absent;
}

/* A number that is none, or not finite. */
#define NUMBER_ODD(bits) ((bits) << 1 >= FINITE_BELOW)

/* Those with other than 8 bytes are no records of ours. */
AVX2_BODY uint64_t numbers_read(
	struct agg_input *in, const struct look look, uint64_t events, bool alike, uint32_t span_at)
{
	const enum field_id field = in->field;
	const bool decimal = in->decimal, hashed = in->hashed, keys = in->keys;
	uint64_t absent = 0, odd = 0, bits;

	for (uint64_t left = events; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left), bytes;
		const uint8_t *text = look_at(&look, i, field, alike, span_at, &bytes);
		double number;

		if ((!alike && !text) || bytes != sizeof number) {
			absent |= left & -left;
			continue;
		}
		bits = agg_u64(text);
		in->text[i] = text;
		in->bytes[i] = bytes;
		if (decimal) {
			in->decimal_of[i] = (int64_t)bits;
			number = field_decimal_double((int64_t)bits);
			memcpy(&bits, &number, sizeof bits);
		} else {
			memcpy(&number, &bits, sizeof number);
		}
		in->number_of[i] = number + 0.0; /* no negative zero */
		if (__builtin_expect(NUMBER_ODD(bits), 0))
			odd |= left & -left;
		if (keys)
			in->key[i] = dds_key_of_bits(bits);
		if (hashed)
			in->token[i] = hll_token(in->hash[i] = hash_text(text, bytes));
	}
	in->finite |= events & ~(absent | odd);
	return events & ~absent;
}

AVX2_BODY uint64_t field_read(struct agg_input *in, const struct look *look, uint64_t events)
{
	uint32_t at = record_span_at(look->rec[__builtin_ctzll(events)], in->field);

	if (look->alike && !at)
		return 0;
	if (in->number)
		return look->alike ? numbers_read(in, *look, events, true, at)
				   : numbers_read(in, *look, events, false, 0);
	return look->alike ? texts_read(in, *look, events, true, at)
			   : texts_read(in, *look, events, false, 0);
}

AVX2_FN static uint64_t field_look_avx2(struct agg_input *in, const struct look *look, uint64_t events)
{
	return field_read(in, look, events);
}

static __attribute__((noinline)) uint64_t field_look(
	struct agg_input *in, const struct look *look, uint64_t events)
{
	return field_read(in, look, events);
}

static inline void input_look(struct agg_input *in, const struct look *look, uint64_t events)
{
	events &= ~in->looked;
	if (!events)
		return;
	in->looked |= events;
	in->has |= avx2_usable() ? field_look_avx2(in, look, events) : field_look(in, look, events);
}

static inline void run_look(const struct agg_run *run, struct agg_input *in, uint64_t events)
{
	const struct look look = {run->rec, run->payload, run->alike};

	input_look(in, &look, events);
}

static void input_want(struct agg_input *in, const struct agg_group *group)
{
	in->field = group->field;
	in->number = group->number;
	in->decimal = group->decimal;
	in->hashed |= group->hashed;
	in->keys |= group->keys;
}

static void input_begin(struct agg_input *in)
{
	in->looked = in->has = in->finite = 0;
}

/* ---- adding ---- */

/* Those of the items whose events are in the mask: all of them as they are, else in *some. */
static const struct agg_items *items_of(const struct agg_items *items, uint64_t mask, struct agg_items *some)
{
	if (!(items->events & ~mask))
		return items;
	agg_items_clear(some);
	for (uint32_t k = 0; k < items->count; k++)
		if (mask >> items->event[k] & 1)
			agg_items_put(some, items->event[k], items->cell[k], items->arena[k]);
	return some;
}

static inline void count_up(const struct agg_part *part, uint8_t *cell)
{
	uint8_t *p = cell + part->offset;

	if (part->narrow)
		++*p;
	else
		agg_u64_set(p, agg_u64(p) + 1);
}

static void counts_add(const struct agg_part *part, const struct agg_items *items)
{
	const uint32_t count = items->count, offset = part->offset;

	if (part->narrow) {
		for (uint32_t k = 0; k < count; k++)
			++*(items->cell[k] + offset);
		return;
	}
	for (uint32_t k = 0; k < count; k++) {
		uint8_t *p = items->cell[k] + offset;

		agg_u64_set(p, agg_u64(p) + 1);
	}
}

static void decimals_add(
	const struct agg_part *part, const struct agg_items *items, const struct agg_input *in)
{
	const uint32_t count = items->count, offset = part->offset;

	if (part->narrow) {
		for (uint32_t k = 0; k < count; k++) {
			uint8_t *p = items->cell[k] + offset;

			agg_narrow_sum_set(p, agg_narrow_sum(p) + in->decimal_of[items->event[k]]);
		}
		return;
	}
	for (uint32_t k = 0; k < count; k++) {
		uint8_t *p = items->cell[k] + offset;
		__int128 decimal = in->decimal_of[items->event[k]];

		agg_u128_set(p, agg_u128(p) + (unsigned __int128)decimal);
	}
}

static void sums_add(const struct agg_part *part, const struct agg_items *items, const struct agg_input *in)
{
	const uint32_t count = items->count, offset = part->offset;

	if (part->decimal) {
		decimals_add(part, items, in);
		return;
	}
	for (uint32_t k = 0; k < count; k++) {
		uint8_t *p = items->cell[k] + offset;

		agg_f64_set(p, agg_f64(p) + in->number_of[items->event[k]]);
	}
}

/* The mean and squares of each event follow from how many there were before it: PRESENT is counted here. */
static void moments_add(
	const struct agg_part *part, const struct agg_items *items, const struct agg_input *in)
{
	for (uint32_t k = 0; k < items->count; k++) {
		uint8_t *present = items->cell[k] + part->present;

		agg_u64_set(present, agg_u64(present) + 1);
		agg_part_number_add(part, items->cell[k], 0, in->number_of[items->event[k]]);
	}
}

static void extremes_add(
	const struct agg_part *part, const struct agg_items *items, const struct agg_input *in)
{
	for (uint32_t k = 0; k < items->count; k++) {
		uint32_t i = items->event[k];

		agg_part_number_add(part, items->cell[k], in->decimal_of[i], in->number_of[i]);
	}
}

static void matches_add(
	const struct agg_part *part, const struct agg_items *items, const struct agg_input *in)
{
	for (uint32_t k = 0; k < items->count; k++) {
		uint32_t i = items->event[k];

		if (in->bytes[i] == part->value_bytes && !memcmp(in->text[i], part->value, in->bytes[i]))
			count_up(part, items->cell[k]);
	}
}

static uint64_t edges_add(const struct agg_part *part, const struct agg_items *items,
	const struct agg_input *in, const struct agg_order *order)
{
	uint64_t lost = 0;

	for (uint32_t k = 0; k < items->count; k++) {
		uint32_t i = items->event[k];

		if (!agg_part_edge_offer(
			    part, items->cell[k], items->arena[k], &order[i], in->text[i], in->bytes[i]))
			lost |= 1ull << i;
	}
	return lost;
}

static uint64_t tops_add(
	const struct agg_part *part, const struct agg_items *items, const struct agg_input *in)
{
	uint64_t lost = 0;

	for (uint32_t k = 0; k < items->count; k++) {
		uint32_t i = items->event[k];

		if (!topk_add((struct topk *)(items->cell[k] + part->offset), items->arena[k],
			    topk_capacity(part->k), in->text[i], in->bytes[i], in->hash[i]))
			lost |= 1ull << i;
	}
	return lost;
}

/* all: events that have the field; finite: those with a number that counts. */
static uint64_t part_add(const struct agg_part *part, const struct agg_items *all,
	const struct agg_items *finite, const struct agg_input *in, const struct agg_order *order)
{
	switch (part->kind) {
	case AGG_PART_MATCH:
		matches_add(part, all, in);
		return 0;
	case AGG_PART_PRESENT:
		counts_add(part, finite);
		return 0;
	case AGG_PART_SUM:
		sums_add(part, finite, in);
		return 0;
	case AGG_PART_MIN:
	case AGG_PART_MAX:
		extremes_add(part, finite, in);
		return 0;
	case AGG_PART_MOMENTS:
		moments_add(part, finite, in);
		return 0;
	case AGG_PART_FIRST:
	case AGG_PART_LAST:
		return edges_add(part, all, in, order);
	case AGG_PART_DISTINCT:
		return hll_add_run(all, part->offset, in->token);
	case AGG_PART_QUANTILES:
		return dds_add_run(all, part->offset, in->key);
	case AGG_PART_TOP:
		return tops_add(part, all, in);
	default:
		return 0;
	}
}

static uint64_t group_add(const struct agg_set *set, const struct agg_group *group,
	const struct agg_input *in, const struct agg_items *items, const struct agg_order *order)
{
	struct agg_items room[2];
	const struct agg_items *all = items_of(items, in->has, &room[0]), *finite = all;
	uint64_t lost = 0;

	if (group->number)
		finite = items_of(all, in->finite, &room[1]);
	for (uint32_t i = group->first; i < group->first + group->count; i++)
		if (set->part[i].kind != AGG_PART_PRESENT || !group->moments)
			lost |= part_add(&set->part[i], all, finite, in, order);
	return lost;
}

/* What is an error is the same for all sets that ask. */
static uint64_t errors_of(const struct agg_set *set, const struct record *const *rec, uint64_t events)
{
	uint64_t errors = 0;

	for (uint64_t left = events; left; left &= left - 1)
		if (agg_error_match(set, rec[__builtin_ctzll(left)]))
			errors |= left & -left;
	return errors;
}

/* Parts that look at the whole record. errors: events that are some. */
static void wholes_add(const struct agg_set *set, const struct agg_group *group,
	const struct record *const *rec, const struct agg_items *items, uint64_t errors)
{
	for (uint32_t i = group->first; i < group->first + group->count; i++) {
		const struct agg_part *part = &set->part[i];

		if (part->kind == AGG_PART_COUNT && !part->narrow) /* there it has been counted */
			counts_add(part, items);
		for (uint32_t k = 0; part->kind == AGG_PART_MATCH && k < items->count; k++)
			if (rec[items->event[k]]->type == part->value[0])
				count_up(part, items->cell[k]);
		for (uint32_t k = 0; part->kind == AGG_PART_ERRORS && errors && k < items->count; k++)
			if (errors >> items->event[k] & 1)
				count_up(part, items->cell[k]);
	}
}

bool agg_cell_add(const struct agg_set *set, void *cell, struct agg_arena *a, const struct record *rec,
	const struct agg_order *order)
{
	struct agg_items items;
	const uint8_t *payload = record_payload(rec);
	const struct look look = {&rec, &payload, true};
	struct agg_input in;
	uint64_t lost = 0;

	agg_items_clear(&items);
	agg_items_put(&items, 0, cell, a);
	for (uint32_t g = 0; g < set->group_count; g++) {
		const struct agg_group *group = &set->group[g];

		if (group->field == FIELD_NONE) {
			wholes_add(
				set, group, &rec, &items, errors_of(set, &rec, set->error_field_count > 0));
			continue;
		}
		in.hashed = in.keys = false;
		input_want(&in, group);
		input_begin(&in);
		input_look(&in, &look, 1);
		lost |= group_add(set, group, &in, &items, order);
	}
	return !lost;
}

/* ---- runs ---- */

void agg_run_init(struct agg_run *run, const struct record *const *rec, const uint8_t *const *payload,
	const uint64_t *offset, uint32_t partition)
{
	*run = (struct agg_run){.rec = rec, .payload = payload, .offset = offset, .partition = partition};
}

void agg_run_free(struct agg_run *run)
{
	for (uint32_t i = 0; i < run->input_count; i++)
		free(run->read[i]);
	memset(run->input, 0, sizeof run->input);
	run->input_count = 0;
}

bool agg_run_reads(struct agg_run *run, const struct agg_set *set)
{
	for (uint32_t g = 0; g < set->group_count; g++) {
		const struct agg_group *group = &set->group[g];
		struct agg_input **in = &run->input[group->field];

		if (group->field == FIELD_NONE)
			continue;
		if (!*in) {
			*in = calloc(1, sizeof **in);
			if (!*in)
				return false;
			run->read[run->input_count++] = *in;
		}
		input_want(*in, group);
	}
	return true;
}

void agg_run_begin(struct agg_run *run, bool alike)
{
	run->alike = alike;
	run->errors = run->errors_looked = 0;
	for (uint32_t i = 0; i < run->input_count; i++)
		input_begin(run->read[i]);
}

void agg_run_prefetch(struct agg_run *run, const struct agg_set *set, const struct agg_items *items)
{
	for (uint32_t i = 0; i < set->grow_count; i++) {
		const struct agg_part *part = &set->part[set->grow[i]];
		struct agg_input *in = run->input[part->field];
		const struct agg_items *all;
		struct agg_items some;

		run_look(run, in, items->events);
		all = items_of(items, in->has, &some);
		if (part->kind == AGG_PART_DISTINCT)
			hll_prefetch_run(all, part->offset, in->token);
		else if (part->kind == AGG_PART_QUANTILES)
			dds_prefetch_run(all, part->offset, in->key);
		for (uint32_t k = 0; part->kind == AGG_PART_TOP && k < all->count; k++)
			topk_prefetch((const struct topk *)(all->cell[k] + part->offset), all->arena[k]);
	}
}

static void orders_make(const struct agg_run *run, const struct agg_items *items, struct agg_order *order)
{
	for (uint32_t k = 0; k < items->count; k++) {
		uint32_t i = items->event[k];

		order[i] = (struct agg_order){run->rec[i]->event_time_ms, run->partition, run->offset[i]};
	}
}

uint64_t agg_run_add(struct agg_run *run, const struct agg_set *set, const struct agg_items *items)
{
	struct agg_order order[AGG_RUN];
	uint64_t lost = 0;

	if (set->edges)
		orders_make(run, items, order);
	if (set->error_field_count) {
		run->errors |= errors_of(set, run->rec, items->events & ~run->errors_looked);
		run->errors_looked |= items->events;
	}
	for (uint32_t g = 0; g < set->group_count; g++) {
		const struct agg_group *group = &set->group[g];

		if (group->field == FIELD_NONE) {
			wholes_add(set, group, run->rec, items, run->errors);
			continue;
		}
		run_look(run, run->input[group->field], items->events);
		lost |= group_add(set, group, run->input[group->field], items, order);
	}
	return lost;
}

uint64_t agg_narrow_large(struct agg_run *run, const struct agg_set *set, uint64_t events)
{
	uint64_t large = 0;

	for (uint32_t g = 0; set->sums && g < set->group_count; g++) {
		const struct agg_group *group = &set->group[g];
		struct agg_input *in = run->input[group->field];
		uint64_t over = 0;

		if (!group->decimal)
			continue;
		run_look(run, in, events);
		for (uint32_t i = 0; i < AGG_RUN; i++)
			over |= (uint64_t)((uint64_t)in->decimal_of[i] + AGG_NARROW_NUMBER_MAX - 1 >=
					   2 * AGG_NARROW_NUMBER_MAX - 1)
				<< i;
		large |= over & in->has & events;
	}
	return large;
}
