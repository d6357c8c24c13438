/* What a table looks like; and those that every installation has: made once from ch_tables.def and the
 * schema, then constant. Tables of windows: ch_window.h. Any thread. */
#ifndef SLUICE_CH_TABLE_H
#define SLUICE_CH_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "event.h"
#include "native.h"

/* What stands in a column. */
enum ch_value {
	CH_VALUE_FIELD, /* of the schema: ch_column.field */
	CH_VALUE_EVENT_ID,
	CH_VALUE_EVENT_TIME,
	CH_VALUE_TYPE,
	CH_VALUE_EXTRA,
	CH_VALUE_TAGS,
	CH_VALUE_FLAGS,
	CH_VALUE_RECEIVE_TIME,
	CH_VALUE_SOURCE,
	CH_VALUE_SOURCE_PORT,
	CH_VALUE_LISTENER_PORT,
	CH_VALUE_NODE,
	CH_VALUE_EPOCH,
	CH_VALUE_PARTITION,
	CH_VALUE_OFFSET,
	CH_VALUE_ALERT_ID,
	CH_VALUE_RULE_ID,
	CH_VALUE_TITLE,
	CH_VALUE_SEVERITY,
	CH_VALUE_GENERATION,
	CH_VALUE_RULESET,
	CH_VALUE_KEY,
	CH_VALUE_FIRST_TIME,
	CH_VALUE_LAST_TIME,
	CH_VALUE_REASON,
	CH_VALUE_REASON_FIELD,
	CH_VALUE_RAW,
	CH_VALUE_CUT,
	/* Alerts of the state stage, late events. */
	CH_VALUE_SCORE,
	CH_VALUE_NUMBER,
	CH_VALUE_EXPECTED,
	CH_VALUE_WINDOW,   /* name of the window */
	CH_VALUE_EVIDENCE, /* addresses of events; '' where one is not known */
	CH_VALUE_EVIDENCE_IDS,
	CH_VALUE_EVIDENCE_TOTAL,
	CH_VALUE_INPUT_EPOCH,
	CH_VALUE_INPUT_PARTITION,
	CH_VALUE_INPUT_OFFSET,
	/* Rows. */
	CH_VALUE_SIZE, /* text of the window's size */
	CH_VALUE_START,
	CH_VALUE_END,
	CH_VALUE_GROUP, /* part ch_column.index of the key */
	CH_VALUE_STEP,
	CH_VALUE_OTHER,
	CH_VALUE_PART,	/* what merges: ch_column.index of the window's columns */
	CH_VALUE_LABEL, /* what does not: ch_column.index of the window's values */
	CH_VALUE_ROW_CUT,
	CH_VALUE_REVISION,
	CH_VALUE_DEFINITION,
};

struct ch_column {
	const char *name;
	enum native_type type;
	enum ch_value value;
	enum field_id field;
	uint32_t index;	   /* of values that have one */
	const char *merge; /* aggregate function by which rows merge in it; NULL: none */
};

enum ch_logs { CH_LOG_INPUT = 1, CH_LOG_OUTPUT = 2, CH_LOG_BOTH = 3 };

enum ch_table_id {
#define TABLE(id, name, logs, time, order_by, ttl, help) CH_TABLE_##name = (id),
#define COLUMN(table, name, type, value)
#define FIELDS(table)
#define INDEX(table, column)
#include "ch_tables.def"
#undef TABLE
#undef COLUMN
#undef FIELDS
#undef INDEX
	CH_TABLE_COUNT = 5
};

struct ch_table {
	const char *name;
	const char
		*token; /* what stands for it in tokens: different for tables of one name and other columns */
	unsigned logs;	/* enum ch_logs: whose records go there */
	bool aggregating; /* rows of one sorting key merge: a roll-up, written by a view */
	const char *time;
	const char *order_by;
	bool ttl;
	const char *index[4]; /* columns with a bloom filter */
	uint32_t index_count;
	uint32_t column_count;
	struct ch_column column[NATIVE_COLUMNS_MAX];
};

const struct ch_table *ch_table_get(enum ch_table_id id);

/* Adds a column that is there once. */
struct ch_column *ch_table_column_add(
	struct ch_table *table, const char *name, enum native_type type, enum ch_value value);
const struct ch_column *ch_table_column(const struct ch_table *table, const char *name);
/* "UInt64", "SimpleAggregateFunction(sum, UInt64)": as the server names it. */
#define CH_TYPE_BYTES 96
void ch_column_type(char out[CH_TYPE_BYTES], const struct ch_column *column);

/* Table of accepted events of a type. */
enum ch_table_id ch_table_of_type(uint8_t type);

/* Year * 100 + month, UTC: the partition of the tables. */
uint32_t ch_month_of(int64_t ms);
/* The first millisecond of a time's month, and of the month behind it. */
void ch_month_span(int64_t ms, int64_t *from_ms, int64_t *to_ms);
#define CH_TIME_MIN_MS (-2208988800000ll) /* 1900-01-01 */
#define CH_TIME_MAX_MS 10413791999999ll	  /* 2299-12-31 23:59:59.999 */
/* The nearest time that DateTime64(3) and its calendar can hold. */
static inline int64_t ch_time_clamp(int64_t ms)
{
	return ms < CH_TIME_MIN_MS ? CH_TIME_MIN_MS : ms > CH_TIME_MAX_MS ? CH_TIME_MAX_MS : ms;
}

#endif
