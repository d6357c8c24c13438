/* Aggregates: what a window keeps for one key (a cell), and its packed form.
 *
 * A cell is fixed bytes of a window's layout; parts that grow (sketches, texts) hang off it in an arena. The
 * packed form is what stands in rows of the output log, in checkpoints and in what readers get: the same
 * bytes wherever it is made from the same events in the same order, little endian, checked on reading.
 * Everything here is pure: no clock, no I/O, no thread of its own. Merging is associative and commutative
 * (doubles: up to rounding, hence always done in a fixed order by the callers).
 *
 * Sources: HyperLogLog in practice (Heule, Nunkesser, Hall 2013; sparse form and bias treatment), DDSketch
 * (Masson, Rim, Lee 2019; logarithmic mapping, collapsing lowest), Space-Saving (Metwally, Agrawal, El Abbadi
 * 2005; merge: Cafaro et al. 2016), parallel variance (Chan, Golub, LeVeque 1979). */
#ifndef SLUICE_AGG_H
#define SLUICE_AGG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "event.h"
#include "record.h"

#define AGG_MAX 16 /* aggregates of a window */
#define AGG_LABEL_BYTES 64
#define AGG_VALUE_BYTES 48    /* of count(field=value) */
#define AGG_PACKED_MAX 49152u /* a window whose packed cell could be larger is refused when it is defined */

enum agg_kind {
#define AGG(id, name, argument, parts, help) AGG_##name = (id),
#include "agg.def"
#undef AGG
	AGG_KIND_MAX = 24
};

struct agg_spec {
	enum agg_kind kind;
	enum field_id field;	     /* FIELD_NONE: no argument */
	uint32_t k;		     /* top(field,k): 1 to 100 */
	char label[AGG_LABEL_BYTES]; /* its name in rows: count, sum_amount, distinct_user_id, top_page */
	char value[AGG_VALUE_BYTES]; /* count(field=value) */
	uint32_t value_bytes;
};

/* The compiled list of a window. Immutable. */
struct agg_set;

/* Parses "count, avg(metric) as mean, distinct(user_id), top(page,10), count(type=conversion)". Duplicate
 * labels are refused. *out is the caller's. */
int agg_set_parse(struct agg_set **out, const char *text, struct err *err);
void agg_set_free(struct agg_set *set);
uint32_t agg_set_count(const struct agg_set *set);
const struct agg_spec *agg_set_spec(const struct agg_set *set, uint32_t index);
uint32_t agg_set_cell_bytes(const struct agg_set *set); /* multiple of 8 */
uint32_t agg_set_packed_max(const struct agg_set *set);
uint64_t agg_set_fields(const struct agg_set *set); /* FBIT mask of fields it reads */

/* Memory of the growing parts of many cells, freed as a whole; bounded. */
struct agg_arena;
struct agg_arena *agg_arena_new(size_t bytes_max);
void agg_arena_free(struct agg_arena *a);
void agg_arena_reset(struct agg_arena *a); /* forgets all cells' parts; keeps some memory */
/* Logical bytes: a function of the cells' contents, hence the same in every run and after a save and load. */
size_t agg_arena_used(const struct agg_arena *a);
size_t agg_arena_mapped(const struct agg_arena *a); /* physical bytes, at most; not the same in every run */
/* A new bound; below what is used: nothing more is taken until less is used. */
void agg_arena_limit(struct agg_arena *a, size_t bytes_max);

/* Where an event stands: breaks ties of first and last. */
struct agg_order {
	int64_t time_ms;
	uint32_t partition;
	uint64_t offset;
};

/* cell: agg_set_cell_bytes() bytes, 8-byte aligned. */
void agg_cell_init(const struct agg_set *set, void *cell);
/* False: the arena is full; everything that needs no more memory was still counted, the rest is not. */
bool agg_cell_add(const struct agg_set *set, void *cell, struct agg_arena *a, const struct record *rec,
	const struct agg_order *order);
/* Gives a cell's memory back to the arena, and empties it. */
void agg_cell_clear(const struct agg_set *set, void *cell, struct agg_arena *a);
/* Draws what a later agg_cell_add() will touch into the cache. */
void agg_cell_prefetch(const struct agg_set *set, const void *cell, const struct agg_arena *a);
/* The attempts that conversion_rate is a share of; nothing where the set has none. */
void agg_cell_entered_set(const struct agg_set *set, void *cell, uint64_t count);
/* Events that count in a cell; the set has `count` or what is made of it. */
uint64_t agg_cell_count(const struct agg_set *set, const void *cell);
/* dst += src; src is another cell, in the same or in another arena. */
bool agg_cell_merge(const struct agg_set *set, void *dst, struct agg_arena *dst_arena, const void *src,
	const struct agg_arena *src_arena);

/* Appends the packed form: canonical, a function of the cell's content alone. */
void agg_cell_pack(const struct agg_set *set, const void *cell, const struct agg_arena *a, struct bytes *out);
/* cell += packed. -EINVAL: not a packed cell of this set (the cell is then undefined); -ENOSPC: arena full.
 * Any bytes. */
int agg_cell_unpack(
	const struct agg_set *set, void *cell, struct agg_arena *a, const uint8_t *packed, size_t bytes);

/* True if these bytes are a packed cell of this set. Any bytes. */
bool agg_packed_valid(const struct agg_set *set, const uint8_t *packed, size_t bytes);

/* ---- values out of a packed cell: for JSON, ClickHouse columns, tests ---- */
enum agg_value_kind {
	AGG_VALUE_NONE,
	AGG_VALUE_U64,
	AGG_VALUE_DECIMAL,
	AGG_VALUE_F64,
	AGG_VALUE_TEXT,
	AGG_VALUE_TOP
};
struct agg_top_item {
	const uint8_t *text;
	uint32_t bytes;
	uint64_t count, error; /* true count lies in [count - error, count] */
};
#define AGG_VALUE_LABEL_BYTES (AGG_LABEL_BYTES + 8)
struct agg_value {
	const char *label;	  /* the set's: quantiles gives p50_metric, p95_metric, p99_metric */
	enum agg_value_kind kind; /* NONE: no event had the field */
	uint64_t u64;
	__int128 decimal; /* millionths */
	double f64;
	const uint8_t *text; /* borrowed from the packed bytes */
	uint32_t text_bytes;
	uint32_t top_count;
	struct agg_top_item top[100]; /* filled up to top_count only */
};
/* Calls back for each value in order of the set; stops when it returns non-zero, and returns that. -EINVAL:
 * not a packed cell of this set. */
int agg_values(const struct agg_set *set, const uint8_t *packed, size_t bytes,
	int (*each)(void *arg, const struct agg_value *v), void *arg);

/* Raw parts of a packed cell for mergeable columns: HyperLogLog registers (index, value), DDSketch buckets
 * (index, count). Returns how many, up to `max` written; -EINVAL. `index` is the aggregate's in the set. */
struct agg_register {
	int32_t index;
	uint64_t value;
};
int agg_registers(const struct agg_set *set, const uint8_t *packed, size_t bytes, uint32_t index,
	struct agg_register *out, uint32_t max);
#define AGG_HLL_BITS 14		 /* registers: 2^14; standard error 1.04 / sqrt(2^14) = 0.81 % */
#define AGG_DDS_ACCURACY 0.01	 /* relative */
#define AGG_DDS_BUCKETS_MAX 2048 /* of each sign; lowest collapse */
#define AGG_REGISTERS_MAX 16384

#endif
