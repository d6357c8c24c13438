/* Parts of fixed size: counts, sums, extremes, moments; and first and last. Pure; memory is the cell's and
 * the arena's. */
#include <math.h>

#include "agg_priv.h"

const struct agg_part_ops agg_part_ops[AGG_PART_KIND_MAX] = {
#define AGG_PART(id, name, fn, b, b_decimal, n, help)                                                        \
	[id] = {agg_part_##fn##_init, agg_part_##fn##_merge, agg_part_##fn##_pack, agg_part_##fn##_read,     \
		agg_part_##fn##_join, agg_part_##fn##_release, agg_part_##fn##_packed_max, {b, b_decimal},   \
		n},
#include "agg_part.def"
#undef AGG_PART
};

#define AGG_PART(id, name, fn, b, b_decimal, n, help)                                                        \
	_Static_assert(                                                                                      \
		(b) <= AGG_PART_CELL_MAX && (b_decimal) <= AGG_PART_CELL_MAX, "an empty cell has room");
#include "agg_part.def"
#undef AGG_PART

#define FIXED_RELEASE(fn)                                                                                    \
	void agg_part_##fn##_release(const struct agg_part *part, uint8_t *cell, struct agg_arena *a)        \
	{                                                                                                    \
		(void)part;                                                                                  \
		(void)cell;                                                                                  \
		(void)a;                                                                                     \
	}
FIXED_RELEASE(count)
FIXED_RELEASE(sum)
FIXED_RELEASE(least)
FIXED_RELEASE(most)
FIXED_RELEASE(moments)

#define NAN_BITS 0x7ff8000000000000ull /* the one that stands in packed cells */

static void double_pack(struct bytes *out, double v)
{
	uint64_t bits = NAN_BITS;

	if (!isnan(v))
		memcpy(&bits, &v, sizeof bits);
	bytes_put_u64(out, bits);
}

/* Bits of a double that a cell may hold: no negative zero, which no sum, extreme or mean here can be. */
static double cursor_double(struct cursor *c, bool finite)
{
	uint64_t bits = cursor_le64(c);
	double v;

	memcpy(&v, &bits, sizeof v);
	if (bits == 1ull << 63 || (isnan(v) && bits != NAN_BITS) || (finite && !isfinite(v)))
		c->failed = true;
	return v;
}

/* ---- counts ---- */

void agg_part_count_init(const struct agg_part *part, uint8_t *cell)
{
	agg_u64_set(cell + part->offset, 0);
}

bool agg_part_count_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, const uint8_t *src,
	const struct agg_arena *src_arena)
{
	(void)a;
	(void)src_arena;
	agg_u64_set(cell + part->offset,
		agg_count_add(agg_u64(cell + part->offset), agg_u64(src + part->offset)));
	return true;
}

void agg_part_count_pack(
	const struct agg_part *part, const uint8_t *cell, const struct agg_arena *a, struct bytes *out)
{
	(void)a;
	bytes_put_varint(out, agg_count_add(agg_u64(cell + part->offset), 0));
}

void agg_part_count_read(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)
{
	(void)part;
	(void)n;
	view->n = cursor_varint(c, AGG_COUNT_BITS);
}

bool agg_part_count_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, uint64_t n,
	const struct agg_view *view)
{
	(void)a;
	(void)n;
	agg_u64_set(cell + part->offset, agg_count_add(agg_u64(cell + part->offset), view->n));
	return true;
}

uint32_t agg_part_count_packed_max(const struct agg_part *part)
{
	(void)part;
	return AGG_COUNT_BYTES;
}

/* ---- sum: 0 if there is no value; nothing is packed then ---- */

void agg_part_sum_init(const struct agg_part *part, uint8_t *cell)
{
	if (part->decimal)
		agg_u128_set(cell + part->offset, 0);
	else
		agg_f64_set(cell + part->offset, 0);
}

static void sum_add(const struct agg_part *part, uint8_t *cell, unsigned __int128 decimal, double number)
{
	uint8_t *p = cell + part->offset;

	if (part->decimal)
		agg_u128_set(p, agg_u128(p) + decimal);
	else
		agg_f64_set(p, agg_f64(p) + number);
}

bool agg_part_sum_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, const uint8_t *src,
	const struct agg_arena *src_arena)
{
	const uint8_t *p = src + part->offset;

	(void)a;
	(void)src_arena;
	sum_add(part, cell, part->decimal ? agg_u128(p) : 0, part->decimal ? 0 : agg_f64(p));
	return true;
}

void agg_part_sum_pack(
	const struct agg_part *part, const uint8_t *cell, const struct agg_arena *a, struct bytes *out)
{
	const uint8_t *p = cell + part->offset;
	uint8_t *to;

	(void)a;
	if (!agg_u64(cell + part->present))
		return;
	if (!part->decimal) {
		double_pack(out, agg_f64(p));
		return;
	}
	to = bytes_room(out, VARINT128_BYTES_MAX);
	if (to)
		out->bytes -= VARINT128_BYTES_MAX - agg_sum_put(to, (__int128)agg_u128(p));
}

void agg_part_sum_read(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)
{
	if (!n)
		return;
	if (part->decimal)
		view->decimal = agg_sum_get(c);
	else
		view->number = cursor_double(c, false);
}

bool agg_part_sum_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, uint64_t n,
	const struct agg_view *view)
{
	(void)a;
	if (n)
		sum_add(part, cell, (unsigned __int128)view->decimal, view->number);
	return true;
}

uint32_t agg_part_sum_packed_max(const struct agg_part *part)
{
	return part->decimal ? VARINT128_BYTES_MAX : sizeof(double);
}

/* ---- least and most: sentinels that any value replaces; nothing is packed if there is no value ---- */

static void extreme_init(const struct agg_part *part, uint8_t *cell, bool least)
{
	if (part->decimal)
		agg_u64_set(cell + part->offset, (uint64_t)(least ? INT64_MAX : INT64_MIN));
	else
		agg_f64_set(cell + part->offset, least ? INFINITY : -INFINITY);
}

static void extreme_take(
	const struct agg_part *part, uint8_t *cell, bool least, int64_t decimal, double number)
{
	uint8_t *p = cell + part->offset;

	if (part->decimal) {
		int64_t had = (int64_t)agg_u64(p);

		if (least ? decimal < had : decimal > had)
			agg_u64_set(p, (uint64_t)decimal);
	} else if (least ? number < agg_f64(p) : number > agg_f64(p)) {
		agg_f64_set(p, number);
	}
}

static void extreme_merge(const struct agg_part *part, uint8_t *cell, const uint8_t *src, bool least)
{
	const uint8_t *p = src + part->offset;

	extreme_take(
		part, cell, least, part->decimal ? (int64_t)agg_u64(p) : 0, part->decimal ? 0 : agg_f64(p));
}

static void extreme_pack(const struct agg_part *part, const uint8_t *cell, struct bytes *out)
{
	const uint8_t *p = cell + part->offset;

	if (!agg_u64(cell + part->present))
		return;
	if (part->decimal)
		bytes_put_varint(out, varint_zigzag((int64_t)agg_u64(p)));
	else
		double_pack(out, agg_f64(p));
}

static void extreme_read(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)
{
	if (!n)
		return;
	if (part->decimal)
		view->decimal = varint_unzigzag(cursor_varint(c, 64));
	else
		view->number = cursor_double(c, true);
}

#define EXTREME(fn, least)                                                                                   \
	void agg_part_##fn##_init(const struct agg_part *part, uint8_t *cell)                                \
	{                                                                                                    \
		extreme_init(part, cell, least);                                                             \
	}                                                                                                    \
	bool agg_part_##fn##_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,          \
		const uint8_t *src, const struct agg_arena *src_arena)                                       \
	{                                                                                                    \
		(void)a;                                                                                     \
		(void)src_arena;                                                                             \
		extreme_merge(part, cell, src, least);                                                       \
		return true;                                                                                 \
	}                                                                                                    \
	void agg_part_##fn##_pack(const struct agg_part *part, const uint8_t *cell,                          \
		const struct agg_arena *a, struct bytes *out)                                                \
	{                                                                                                    \
		(void)a;                                                                                     \
		extreme_pack(part, cell, out);                                                               \
	}                                                                                                    \
	void agg_part_##fn##_read(                                                                           \
		const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)            \
	{                                                                                                    \
		extreme_read(part, c, n, view);                                                              \
	}                                                                                                    \
	bool agg_part_##fn##_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,           \
		uint64_t n, const struct agg_view *view)                                                     \
	{                                                                                                    \
		(void)a;                                                                                     \
		if (n)                                                                                       \
			extreme_take(part, cell, least, (int64_t)view->decimal, view->number);               \
		return true;                                                                                 \
	}                                                                                                    \
	uint32_t agg_part_##fn##_packed_max(const struct agg_part *part)                                     \
	{                                                                                                    \
		return part->decimal ? VARINT_BYTES_MAX : sizeof(double);                                    \
	}
EXTREME(least, true)
EXTREME(most, false)

/* ---- moments: mean, and sum of squared differences from it (Chan, Golub, LeVeque 1979) ---- */

void agg_part_moments_init(const struct agg_part *part, uint8_t *cell)
{
	agg_f64_set(cell + part->offset, 0);
	agg_f64_set(cell + part->offset + 8, 0);
}

/* PRESENT stands before this part, so the cell's count is already the sum of both. */
static void moments_add(const struct agg_part *part, uint8_t *cell, uint64_t n, double mean, double m2)
{
	uint8_t *p = cell + part->offset;
	double all = (double)agg_u64(cell + part->present), theirs = (double)n, mine = all - theirs;
	double difference = mean - agg_f64(p);

	if (mine <= 0) {
		agg_f64_set(p, mean);
		agg_f64_set(p + 8, m2);
		return;
	}
	agg_f64_set(p, agg_f64(p) + difference * (theirs / all) + 0.0);
	agg_f64_set(p + 8, agg_f64(p + 8) + m2 + difference * difference * (mine * (theirs / all)) + 0.0);
}

bool agg_part_moments_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,
	const uint8_t *src, const struct agg_arena *src_arena)
{
	uint64_t n = agg_u64(src + part->present);

	(void)a;
	(void)src_arena;
	if (n)
		moments_add(part, cell, n, agg_f64(src + part->offset), agg_f64(src + part->offset + 8));
	return true;
}

void agg_part_moments_pack(
	const struct agg_part *part, const uint8_t *cell, const struct agg_arena *a, struct bytes *out)
{
	(void)a;
	if (!agg_u64(cell + part->present))
		return;
	double_pack(out, agg_f64(cell + part->offset));
	double_pack(out, agg_f64(cell + part->offset + 8));
}

void agg_part_moments_read(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view)
{
	(void)part;
	if (!n)
		return;
	view->number = cursor_double(c, false);
	view->m2 = cursor_double(c, false);
}

bool agg_part_moments_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, uint64_t n,
	const struct agg_view *view)
{
	(void)a;
	if (n)
		moments_add(part, cell, n, view->number, view->m2);
	return true;
}

uint32_t agg_part_moments_packed_max(const struct agg_part *part)
{
	(void)part;
	return 2 * sizeof(double);
}

void agg_part_number_add(const struct agg_part *part, uint8_t *cell, int64_t decimal, double number)
{
	if (part->kind == AGG_PART_MOMENTS)
		moments_add(part, cell, 1, number, 0);
	else
		extreme_take(part, cell, part->kind == AGG_PART_MIN, decimal, number);
}
