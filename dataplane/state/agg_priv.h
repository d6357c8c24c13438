/* Aggregates, from inside: the compiled set, the parts of a cell, and what a packed part reads as. */
#ifndef SLUICE_AGG_PRIV_H
#define SLUICE_AGG_PRIV_H

#include <float.h>
#include <string.h>

#include "agg.h"
#include "agg_arena.h"
#include "agg_count.h"
#include "ddsketch.h"
#include "hash.h"
#include "hll.h"
#include "topk.h"
#include "varint.h"

enum agg_part_kind {
#define AGG_PART(id, name, fn, cell_bytes, decimal_bytes, needs, help) AGG_PART_##name = (id),
#include "agg_part.def"
#undef AGG_PART
	AGG_PART_KIND_MAX = 32
};
#define AP(name) (1u << AGG_PART_##name)

#define AGG_PARTS_MAX (3 * AGG_MAX)
#define AGG_PART_CELL_MAX 32 /* bytes of a part in a cell */
#define AGG_VALUE_LABELS 3   /* of a spec: p50, p95, p99 */
#define AGG_TEXT_BYTES 64    /* of first and last: longer values are cut between characters */
#define AGG_SUM_BITS 120     /* of a packed decimal sum: 2^63 millionths 2^42 times stay below */

struct agg_part {
	enum agg_part_kind kind;
	enum field_id field;
	bool number, decimal;
	bool narrow;			/* in narrow cells (agg_narrow.h) */
	uint32_t offset;		/* in the cell */
	uint32_t present;		/* offset of the field's PRESENT, where needed */
	uint32_t k;			/* TOP */
	uint8_t value[AGG_VALUE_BYTES]; /* MATCH: decoded bytes */
	uint32_t value_bytes;
};

/* Parts of one field stand together, so that each field of a record is looked up once. */
struct agg_group {
	enum field_id field; /* FIELD_NONE: parts that look at the whole record */
	bool number, decimal;
	bool hashed;  /* a part needs the value's hash */
	bool keys;    /* a part needs the number's bucket */
	bool moments; /* MOMENTS is there: it counts PRESENT along */
	uint32_t first, count;
};

struct agg_set {
	uint32_t spec_count, part_count, group_count, grow_count;
	uint32_t cell_bytes, packed_max;
	uint64_t fields;
	struct agg_spec spec[AGG_MAX];
	uint8_t at[AGG_MAX][AGG_PART_KIND_MAX]; /* part of a spec by kind */
	/* of a spec's values that have not its own label */
	char label[AGG_MAX][AGG_VALUE_LABELS][AGG_VALUE_LABEL_BYTES];
	struct agg_part part[AGG_PARTS_MAX];
	struct agg_group group[AGG_PARTS_MAX];
	uint8_t grow[AGG_PARTS_MAX]; /* parts that may have memory in the arena */
	enum field_id error_field[4];
	uint32_t error_field_count;
	bool edges;					       /* a part needs the events' order */
	bool sums;					       /* there are decimal sums in narrow cells */
	struct agg_set *narrow;				       /* NULL: none; owned */
	uint64_t empty[AGG_PARTS_MAX * AGG_PART_CELL_MAX / 8]; /* a cell in which nothing is */
};

/* A packed part, checked, over the packed bytes. */
struct agg_view {
	uint64_t n;    /* COUNT, MATCH, ERRORS, PRESENT */
	double number; /* SUM, MIN, MAX; MOMENTS: mean */
	double m2;
	__int128 decimal; /* SUM, MIN, MAX */
	struct hll_view distinct;
	struct dds_view quantiles;
	struct topk_view top;
	struct agg_order order; /* FIRST, LAST */
	const uint8_t *text;
	uint32_t text_bytes;
	bool has_text;
};

/* FIRST, LAST in a cell. */
struct agg_edge {
	int64_t time_ms;
	uint64_t offset;
	uint32_t partition;
	uint32_t bytes; /* of the value; UINT32_MAX: no event yet */
	uint32_t text;	/* handle; none if bytes is 0 */
	uint32_t reserved;
};
#define AGG_EDGE_NONE UINT32_MAX

#define AGG_PART(id, name, fn, cell_bytes, decimal_bytes, needs, help)                                       \
	/* One fn may stand in several rows: the same declarations again. init: empty. */                    \
	void agg_part_##fn##_init(const struct agg_part *part, uint8_t *cell);                               \
	/* cell += src; false: the arena is full. */                                                         \
	bool agg_part_##fn##_merge(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,          \
		const uint8_t *src, const struct agg_arena *src_arena);                                      \
	void agg_part_##fn##_pack(const struct agg_part *part, const uint8_t *cell,                          \
		const struct agg_arena *a, struct bytes *out);                                               \
	/* Reads and checks; a fault fails the cursor. n: of the field's PRESENT, read before. */            \
	void agg_part_##fn##_read(                                                                           \
		const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view);           \
	/* cell += view; n as above. */                                                                      \
	bool agg_part_##fn##_join(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,           \
		uint64_t n, const struct agg_view *view);                                                    \
	/* Gives memory back to the arena. */                                                                \
	void agg_part_##fn##_release(const struct agg_part *part, uint8_t *cell, struct agg_arena *a);       \
	uint32_t agg_part_##fn##_packed_max(const struct agg_part *part);
#include "agg_part.def"
#undef AGG_PART

struct agg_part_ops {
	void (*init)(const struct agg_part *part, uint8_t *cell);
	bool (*merge)(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, const uint8_t *src,
		const struct agg_arena *src_arena);
	void (*pack)(const struct agg_part *part, const uint8_t *cell, const struct agg_arena *a,
		struct bytes *out);
	void (*read)(const struct agg_part *part, struct cursor *c, uint64_t n, struct agg_view *view);
	bool (*join)(const struct agg_part *part, uint8_t *cell, struct agg_arena *a, uint64_t n,
		const struct agg_view *view);
	void (*release)(const struct agg_part *part, uint8_t *cell, struct agg_arena *a);
	uint32_t (*packed_max)(const struct agg_part *part);
	uint32_t bytes[2]; /* of the cell: [1] for decimals */
	uint32_t needs;
};
extern const struct agg_part_ops agg_part_ops[AGG_PART_KIND_MAX];

/* MIN, MAX, MOMENTS: one number more. */
void agg_part_number_add(const struct agg_part *part, uint8_t *cell, int64_t decimal, double number);
/* first and last: takes the value if it stands before (after) what is there. */
bool agg_part_edge_offer(const struct agg_part *part, uint8_t *cell, struct agg_arena *a,
	const struct agg_order *order, const uint8_t *text, uint32_t bytes);

/* Reads and checks a whole packed cell. -EINVAL: not one of this set. */
int agg_read(const struct agg_set *set, const uint8_t *packed, size_t bytes, struct agg_view *view);
/* agg_registers() of what was read. */
int agg_view_registers(const struct agg_set *set, const struct agg_view *view, uint32_t index,
	struct agg_register *out, uint32_t max);
/* Set-up: labels of values beside those of specs. */
void agg_value_labels(struct agg_set *set);
/* n of a part's PRESENT among the views; 0 where it has none. */
uint64_t agg_view_present(
	const struct agg_set *set, const struct agg_part *part, const struct agg_view *view);

/* True if a part is of events as such, not of a field. */
static inline bool agg_part_whole(enum agg_part_kind kind)
{
	return kind == AGG_PART_COUNT || kind == AGG_PART_ERRORS || kind == AGG_PART_ENTERED;
}

/* True if a record is an error: agg_errors.def. */
bool agg_error_match(const struct agg_set *set, const struct record *rec);
/* Longest part of a text of at most `max` bytes that ends between UTF-8 characters. */
uint32_t agg_text_cut(const uint8_t *text, uint32_t bytes, uint32_t max);

static inline bool agg_field_decimal(enum field_id field)
{
	return field != FIELD_NONE && field_table[field].kind == FIELD_KIND_DECIMAL;
}

/* Cells hold their words 8-byte aligned; 128-bit sums would want 16. */
static inline uint64_t agg_u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return v;
}
static inline void agg_u64_set(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof v);
}
static inline double agg_f64(const uint8_t *p)
{
	double v;

	memcpy(&v, p, sizeof v);
	return v;
}
static inline void agg_f64_set(uint8_t *p, double v)
{
	memcpy(p, &v, sizeof v);
}
static inline unsigned __int128 agg_u128(const uint8_t *p)
{
	unsigned __int128 v;

	memcpy(&v, p, sizeof v);
	return v;
}
static inline void agg_u128_set(uint8_t *p, unsigned __int128 v)
{
	memcpy(p, &v, sizeof v);
}

/* Decimal sums in narrow cells: of at most AGG_NARROW_EVENTS numbers each nearer to 0 than this. */
#define AGG_NARROW_SUM_BYTES 5u
#define AGG_NARROW_NUMBER_MAX (1ull << 31)
static inline int64_t agg_narrow_sum(const uint8_t *p)
{
	uint32_t low;

	memcpy(&low, p, sizeof low);
	return (int64_t)((uint64_t)(int64_t)(int8_t)p[sizeof low] << 32 | low);
}
static inline void agg_narrow_sum_set(uint8_t *p, int64_t v)
{
	memcpy(p, &v, AGG_NARROW_SUM_BYTES);
}
/* Set-up: gives a set its narrow cells, if it may have some. False: no memory. */
bool agg_narrow_make(struct agg_set *set);

/* A decimal sum as it stands in packed cells; returns its bytes, at most VARINT128_BYTES_MAX. */
static inline size_t agg_sum_put(uint8_t *p, __int128 v)
{
	const __int128 most = ((__int128)1 << (AGG_SUM_BITS - 1)) - 1;

	if (v > most || v < -most) /* not by events: by rows that somebody made */
		v = v > 0 ? most : -most;
	return varint128_put(p, (unsigned __int128)v << 1 ^ (unsigned __int128)(v >> 127));
}
static inline __int128 agg_sum_get(struct cursor *c)
{
	unsigned __int128 v = cursor_varint128(c, AGG_SUM_BITS);

	return (__int128)(v >> 1 ^ -(v & 1));
}

#endif
