/* Columns of an aggregate list: what a packed cell holds, as values that a database merges over rows by plain
 * aggregate functions (sum, min, max, sums and maxima of maps), so that any query may add up partitions,
 * boxes, revisions and longer windows. Values for people are computed from the merged columns
 * (docs/sketches.md has the formulas). Pure; any thread. */
#ifndef SLUICE_AGG_COLUMN_H
#define SLUICE_AGG_COLUMN_H

#include "agg.h"

enum agg_column_kind {
	AGG_COLUMN_COUNT,     /* u64: sum */
	AGG_COLUMN_SUM,	      /* f64: sum */
	AGG_COLUMN_MIN,	      /* f64 or nothing: min */
	AGG_COLUMN_MAX,	      /* f64 or nothing: max */
	AGG_COLUMN_REGISTERS, /* HyperLogLog registers that are not 0, by ascending index: max of each */
	AGG_COLUMN_BUCKETS,   /* DDSketch buckets, by ascending index: sum of each */
	AGG_COLUMN_TOP,	      /* texts with a count, by descending count: sum of each */
	AGG_COLUMN_FIRST,     /* (order, text) or nothing: min */
	AGG_COLUMN_LAST,      /* (order, text) or nothing: max */
};

#define AGG_COLUMN_NAME_BYTES (AGG_LABEL_BYTES + 8)

struct agg_column {
	char name[AGG_COLUMN_NAME_BYTES]; /* unique unless values were renamed to another's column */
	enum agg_column_kind kind;
	bool decimal;		/* SUM, MIN, MAX: millionths instead of doubles */
	uint8_t spec;		/* of the list: where the value comes from */
	uint8_t part;		/* of agg_part.def */
	bool second;		/* the second of two columns of a part: sum of squares, error of a top */
	uint8_t at, present_at; /* in the set: the part, and that of how many numbers it is made */
};
#define AGG_COLUMNS_MAX (4 * AGG_MAX)

/* The columns of a list in a fixed order; returns how many. An aggregate without a column of its own label
 * takes its value from others':
 *   avg_F = sum_F / n_F; error_rate = errors / count; variance_F from n_F, m1_F (sum), m2_F (sum of squares);
 *   pNN_F from quantiles_F; top_F has its errors in top_F_error. */
uint32_t agg_columns(const struct agg_set *set, struct agg_column out[AGG_COLUMNS_MAX]);

/* Of a column's kind; the rest says nothing. */
struct agg_column_value {
	bool present;			 /* all but lists */
	uint64_t u64;			 /* COUNT */
	double f64;			 /* SUM, MIN, MAX; 0 if there is nothing */
	__int128 decimal;		 /* the same, if column.decimal */
	const struct agg_register *item; /* REGISTERS, BUCKETS */
	uint32_t item_count;
	const struct agg_top_item *top; /* TOP: counts, or errors if column.second */
	uint32_t top_count;
	struct agg_order order; /* FIRST, LAST */
	const uint8_t *text;	/* borrowed from the packed bytes or from the call */
	uint32_t text_bytes;
};

/* Calls back for each column with its value, which is the callback's for the call. item: room for
 * AGG_REGISTERS_MAX. Stops when it returns non-zero and returns that. -EINVAL: not a packed cell of this
 * set. */
int agg_column_values(const struct agg_set *set, const struct agg_column *column, uint32_t count,
	const uint8_t *packed, size_t bytes, struct agg_register *item,
	int (*each)(void *arg, uint32_t index, const struct agg_column_value *v), void *arg);

#endif
