/* Cells: events and other cells in, packed forms out and in. Pure; memory is the caller's cell and arena. */
#include <errno.h>
#include <math.h>

#include "agg_priv.h"

void agg_cell_init(const struct agg_set *set, void *cell)
{
	memcpy(cell, set->empty, set->cell_bytes);
}

void agg_cell_clear(const struct agg_set *set, void *cell, struct agg_arena *a)
{
	for (uint32_t i = 0; i < set->grow_count; i++) {
		const struct agg_part *part = &set->part[set->grow[i]];

		agg_part_ops[part->kind].release(part, cell, a);
	}
	agg_cell_init(set, cell);
}

/* ---- adding an event ---- */

static bool word_match(const uint8_t *text, uint32_t bytes, const char *word, size_t word_bytes)
{
	if (bytes != word_bytes)
		return false;
	for (uint32_t i = 0; i < bytes; i++)
		if ((text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]) != (uint8_t)word[i])
			return false;
	return true;
}

static bool error_text(const uint8_t *text, uint32_t bytes)
{
	uint32_t digits = 0, number = 0;

	while (digits < bytes && digits < 9 && text[digits] >= '0' && text[digits] <= '9')
		number = number * 10 + (text[digits++] - '0');
#define AGG_ERROR_FIELD(name)
#define AGG_ERROR_WORD(word)                                                                                 \
	if (word_match(text, bytes, word, sizeof(word) - 1))                                                 \
		return true;
#define AGG_ERROR_CODE(min)                                                                                  \
	if (digits && digits == bytes)                                                                       \
		return number >= (min);
#include "agg_errors.def"
#undef AGG_ERROR_FIELD
#undef AGG_ERROR_WORD
#undef AGG_ERROR_CODE
	return false;
}

bool agg_error_match(const struct agg_set *set, const struct record *rec)
{
	for (uint32_t i = 0; i < set->error_field_count; i++) {
		uint32_t bytes;
		const uint8_t *text = record_field(rec, set->error_field[i], &bytes);

		if (text && error_text(text, bytes))
			return true;
	}
	return false;
}

/* A field's value, as its parts take it. */
struct input {
	const uint8_t *text;
	uint32_t bytes;
	bool finite;	 /* of numbers: others count as absent, but quantiles count them */
	int64_t decimal; /* millionths */
	double number;	 /* of decimals, too */
	uint64_t hash;
};

static inline void count_up(const struct agg_part *part, uint8_t *cell)
{
	agg_u64_set(cell + part->offset, agg_u64(cell + part->offset) + 1);
}

static inline void sum_up(const struct agg_part *part, uint8_t *cell, const struct input *in)
{
	uint8_t *p = cell + part->offset;

	if (part->decimal)
		agg_u128_set(p, agg_u128(p) + (unsigned __int128)(__int128)in->decimal);
	else
		agg_f64_set(p, agg_f64(p) + in->number);
}

static inline bool part_add(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,
	const struct input *in, const struct agg_order *order)
{
	switch (part->kind) {
	case AGG_PART_MATCH:
		if (in->bytes == part->value_bytes && memcmp(in->text, part->value, in->bytes) == 0)
			count_up(part, cell);
		return true;
	case AGG_PART_PRESENT:
		if (in->finite)
			count_up(part, cell);
		return true;
	case AGG_PART_SUM:
		if (in->finite)
			sum_up(part, cell, in);
		return true;
	case AGG_PART_MIN:
	case AGG_PART_MAX:
	case AGG_PART_MOMENTS:
		if (in->finite)
			agg_part_number_add(part, cell, in->decimal, in->number);
		return true;
	case AGG_PART_FIRST:
	case AGG_PART_LAST:
		return agg_part_edge_offer(part, cell, a, order, in->text, in->bytes);
	case AGG_PART_DISTINCT:
		return hll_add((struct hll *)(cell + part->offset), a, in->hash);
	case AGG_PART_QUANTILES:
		return dds_add((struct dds *)(cell + part->offset), a, in->number);
	case AGG_PART_TOP:
		return topk_add((struct topk *)(cell + part->offset), a, topk_capacity(part->k), in->text,
			in->bytes, in->hash);
	default:
		return true;
	}
}

static inline bool number_read(bool decimal, struct input *in)
{
	if (in->bytes != sizeof(double))
		return false; /* no record of ours */
	if (decimal) {
		in->decimal = (int64_t)agg_u64(in->text);
		in->number = field_decimal_double(in->decimal);
		in->finite = true;
	} else {
		in->number = agg_f64(in->text) + 0.0; /* no negative zero */
		in->finite = isfinite(in->number);
	}
	return true;
}

static inline void whole_add(
	const struct agg_set *set, const struct agg_group *group, uint8_t *cell, const struct record *rec)
{
	for (uint32_t i = group->first; i < group->first + group->count; i++) {
		const struct agg_part *part = &set->part[i];

		if (part->kind == AGG_PART_COUNT ||
			(part->kind == AGG_PART_MATCH && rec->type == part->value[0]) ||
			(part->kind == AGG_PART_ERRORS && agg_error_match(set, rec)))
			count_up(part, cell);
	}
}

bool agg_cell_add(const struct agg_set *set, void *cell, struct agg_arena *a, const struct record *rec,
	const struct agg_order *order)
{
	bool whole = true;

	for (uint32_t g = 0; g < set->group_count; g++) {
		const struct agg_group *group = &set->group[g];
		struct input in = {0};

		if (group->field == FIELD_NONE) {
			whole_add(set, group, cell, rec);
			continue;
		}
		in.text = record_field(rec, group->field, &in.bytes);
		if (!in.text || (group->number && !number_read(group->decimal, &in)))
			continue;
		if (group->hashed)
			in.hash = hash_bytes(in.text, in.bytes, 0);
		for (uint32_t i = group->first; i < group->first + group->count; i++)
			whole &= part_add(&set->part[i], cell, a, &in, order);
	}
	return whole;
}

/* ---- funnels ---- */

static const struct agg_part *part_find(const struct agg_set *set, enum agg_part_kind kind)
{
	for (uint32_t i = 0; i < set->part_count; i++)
		if (set->part[i].kind == kind)
			return &set->part[i];
	return NULL;
}

void agg_cell_entered_set(const struct agg_set *set, void *cell, uint64_t count)
{
	const struct agg_part *part = part_find(set, AGG_PART_ENTERED);

	if (part)
		agg_u64_set((uint8_t *)cell + part->offset, count);
}

uint64_t agg_cell_count(const struct agg_set *set, const void *cell)
{
	const struct agg_part *part = part_find(set, AGG_PART_COUNT);

	return part ? agg_u64((const uint8_t *)cell + part->offset) : 0;
}

/* ---- cells and packed cells ---- */

void agg_cell_prefetch(const struct agg_set *set, const void *cell, const struct agg_arena *a)
{
	for (uint32_t i = 0; i < set->grow_count; i++) {
		const struct agg_part *part = &set->part[set->grow[i]];
		const uint8_t *p = (const uint8_t *)cell + part->offset;

		if (part->kind == AGG_PART_DISTINCT)
			hll_prefetch((const struct hll *)p, a);
		else if (part->kind == AGG_PART_QUANTILES)
			dds_prefetch((const struct dds *)p, a);
		else if (part->kind == AGG_PART_TOP)
			topk_prefetch((const struct topk *)p, a);
	}
}

void agg_cell_prefetch_event(
	const struct agg_set *set, const void *cell, const struct agg_arena *a, const struct record *rec)
{
	for (uint32_t i = 0; i < set->grow_count; i++) {
		const struct agg_part *part = &set->part[set->grow[i]];
		const uint8_t *p = (const uint8_t *)cell + part->offset, *text;
		uint32_t bytes;

		if (part->kind == AGG_PART_TOP) {
			topk_prefetch((const struct topk *)p, a);
		} else if (part->kind == AGG_PART_DISTINCT) {
			if (hll_prefetch((const struct hll *)p, a))
				continue;
			text = record_field(rec, part->field, &bytes);
			if (text)
				hll_prefetch_hash((const struct hll *)p, a, hash_bytes(text, bytes, 0));
		} else if (part->kind == AGG_PART_QUANTILES) {
			struct input in;

			if (dds_prefetch((const struct dds *)p, a))
				continue;
			in.text = record_field(rec, part->field, &in.bytes);
			if (in.text && number_read(part->decimal, &in))
				dds_prefetch_number((const struct dds *)p, a, in.number);
		}
	}
}

/* Counts and sums, of which most cells consist, are merged, packed and read here; the others by their kind.
 */
static inline bool part_merge(const struct agg_part *part, uint8_t *dst, struct agg_arena *dst_arena,
	const uint8_t *src, const struct agg_arena *src_arena)
{
	uint8_t *to = dst + part->offset;
	const uint8_t *from = src + part->offset;

	switch (part->kind) {
	case AGG_PART_COUNT:
	case AGG_PART_MATCH:
	case AGG_PART_ERRORS:
	case AGG_PART_PRESENT:
		agg_u64_set(to, agg_count_add(agg_u64(to), agg_u64(from)));
		return true;
	case AGG_PART_SUM:
		if (part->decimal)
			agg_u128_set(to, agg_u128(to) + agg_u128(from));
		else
			agg_f64_set(to, agg_f64(to) + agg_f64(from));
		return true;
	default:
		return agg_part_ops[part->kind].merge(part, dst, dst_arena, src, src_arena);
	}
}

bool agg_cell_merge(const struct agg_set *set, void *dst, struct agg_arena *dst_arena, const void *src,
	const struct agg_arena *src_arena)
{
	bool whole = true;

	for (uint32_t i = 0; i < set->part_count; i++)
		whole &= part_merge(&set->part[i], dst, dst_arena, src, src_arena);
	return whole;
}

void agg_cell_pack(const struct agg_set *set, const void *cell, const struct agg_arena *a, struct bytes *out)
{
	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];

		switch (part->kind) {
		case AGG_PART_COUNT:
		case AGG_PART_MATCH:
		case AGG_PART_ERRORS:
		case AGG_PART_PRESENT:
			bytes_put_varint(
				out, agg_count_add(agg_u64((const uint8_t *)cell + part->offset), 0));
			break;
		default:
			agg_part_ops[part->kind].pack(part, cell, a, out);
		}
	}
}

uint64_t agg_view_present(const struct agg_set *set, const struct agg_part *part, const struct agg_view *view)
{
	const struct agg_part *p = part;

	if (!(agg_part_ops[part->kind].needs & AP(PRESENT)))
		return 0;
	while (p->kind != AGG_PART_PRESENT)
		p--;
	return view[p - set->part].n;
}

static inline void part_read(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)
{
	switch (part->kind) {
	case AGG_PART_COUNT:
	case AGG_PART_MATCH:
	case AGG_PART_ERRORS:
	case AGG_PART_PRESENT:
		view->n = cursor_varint(c, AGG_COUNT_BITS);
		return;
	case AGG_PART_SUM:
	case AGG_PART_MIN:
	case AGG_PART_MAX:
	case AGG_PART_MOMENTS: /* what is not there reads as zero */
		view->number = view->m2 = 0;
		view->decimal = 0;
		break;
	default:
		*view = (struct agg_view){0};
	}
	agg_part_ops[part->kind].read(part, c, n, view);
}

int agg_read(const struct agg_set *set, const uint8_t *packed, size_t bytes, struct agg_view *view)
{
	struct cursor c = cursor_of(packed, bytes);
	uint64_t present = 0;

	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];
		bool needs = agg_part_ops[part->kind].needs & AP(PRESENT);

		part_read(part, &c, needs ? present : 0, &view[i]);
		if (c.failed)
			return -EINVAL;
		if (part->kind == AGG_PART_PRESENT) /* stands before the parts of its field */
			present = view[i].n;
	}
	return cursor_left(&c) ? -EINVAL : 0;
}

bool agg_packed_valid(const struct agg_set *set, const uint8_t *packed, size_t bytes)
{
	struct agg_view view[AGG_PARTS_MAX];

	return !agg_read(set, packed, bytes, view);
}

int agg_cell_unpack(
	const struct agg_set *set, void *cell, struct agg_arena *a, const uint8_t *packed, size_t bytes)
{
	struct agg_view view[AGG_PARTS_MAX];
	bool whole = true;
	int rc = agg_read(set, packed, bytes, view);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < set->part_count; i++) {
		const struct agg_part *part = &set->part[i];
		uint64_t n = agg_view_present(set, part, view);

		whole &= agg_part_ops[part->kind].join(part, cell, a, n, &view[i]);
	}
	return whole ? 0 : -ENOSPC;
}
