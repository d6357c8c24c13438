/* Cells: other cells in, packed forms out and in; events come in by agg_run.c. Pure; memory is the caller's
 * cell and arena. */
#include <errno.h>

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

/* ---- errors ---- */

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

/* Where reading goes on, NULL after a fault; and what was read. */
struct counted {
	const uint8_t *at;
	uint64_t n;
};

static __attribute__((noinline)) struct counted count_read_any(const uint8_t *at, const uint8_t *end)
{
	struct cursor c = {at, end, false};
	uint64_t n = cursor_varint(&c, AGG_COUNT_BITS);

	return (struct counted){c.failed ? NULL : c.at, n};
}

static inline struct counted count_read(const uint8_t *at, const uint8_t *end)
{
	if (__builtin_expect(at < end && *at < 0x80, 1)) /* most are */
		return (struct counted){at + 1, *at};
	return count_read_any(at, end);
}

static __attribute__((noinline)) const uint8_t *sum_read_any(
	const uint8_t *at, const uint8_t *end, struct agg_view *view)
{
	struct cursor c = {at, end, false};

	view->decimal = agg_sum_get(&c);
	return c.failed ? NULL : c.at;
}

/* A decimal sum of at least one number. */
static inline const uint8_t *sum_read(const uint8_t *at, const uint8_t *end, struct agg_view *view)
{
	uint64_t v;
	uint32_t n = at < end ? varint_get_wide(at, (size_t)(end - at), &v) : 0;

	if (__builtin_expect(!n, 0))
		return sum_read_any(at, end, view);
	view->decimal = varint_unzigzag(v);
	return at + n;
}

/* A part by its kind; n: of the field's PRESENT. */
static __attribute__((noinline)) const uint8_t *part_read(
	const struct agg_part *part, const uint8_t *at, const uint8_t *end, uint64_t n, struct agg_view *view)
{
	struct cursor c = {at, end, false};

	if (part->kind < AGG_PART_DISTINCT) { /* numbers: what is not there reads as zero */
		view->number = view->m2 = 0;
		view->decimal = 0;
	} else {
		*view = (struct agg_view){0};
	}
	agg_part_ops[part->kind].read(part, &c, n, view);
	return c.failed ? NULL : c.at;
}

/* Counts and decimal sums here, as above. */
int agg_read(const struct agg_set *set, const uint8_t *packed, size_t bytes, struct agg_view *view)
{
	const struct agg_part *part = set->part, *last = part + set->part_count;
	const uint8_t *at = packed, *end = packed + bytes;
	uint64_t present = 0;

	for (; part < last; part++, view++) {
		if (part->kind <= AGG_PART_PRESENT) {
			struct counted c = count_read(at, end);

			at = c.at;
			view->n = c.n;
			if (part->kind == AGG_PART_PRESENT) /* stands before the parts of its field */
				present = c.n;
		} else if (part->kind == AGG_PART_SUM && part->decimal) {
			view->number = 0;
			view->decimal = 0;
			if (present)
				at = sum_read(at, end, view);
		} else {
			at = part_read(part, at, end, present, view);
		}
		if (!at)
			return -EINVAL;
	}
	return at == end ? 0 : -EINVAL;
}
_Static_assert(AGG_PART_COUNT < AGG_PART_PRESENT && AGG_PART_MATCH < AGG_PART_PRESENT &&
		       AGG_PART_ERRORS < AGG_PART_PRESENT && AGG_PART_SUM == AGG_PART_PRESENT + 1,
	"counters come first");

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
