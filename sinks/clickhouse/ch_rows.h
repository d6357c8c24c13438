/* Rows out of journal records: a range of offsets becomes one Native block for each table and month that it
 * touches. A pure function of the records, their block's rulesets and the journal's identity: the same range
 * gives the same blocks in the same order, byte by byte, whenever it is made again.
 *
 * One thread; borrows node and rules; owns its blocks' memory, which it keeps from range to range. */
#ifndef SLUICE_CH_ROWS_H
#define SLUICE_CH_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "agg.h"
#include "ch_table.h"
#include "err.h"
#include "native.h"
#include "record.h"
#include "ruleset.h"
#include "sink.h"

/* A range ends before it exceeds one of these, so that neither memory nor the number of INSERTs is in a
 * sender's hands. */
#define CH_BLOCKS_MAX 64	     /* tables x months */
#define CH_ROW_BYTES_MAX (32u << 20) /* of records and rule texts */
#define CH_ROWS_MAX 1000000u

#define CH_RUN_MAX 64 /* rows that are made together */

struct ch_window;

struct ch_row_at {
	const struct record *rec;
	const uint8_t *payload; /* record_payload(rec) */
	uint64_t offset;
};

struct ch_block {
	const struct ch_table *table;
	uint32_t month;
	int64_t from_ms, to_ms;		  /* the month: [from, to) */
	int64_t time_min_ms, time_max_ms; /* of the table's time column */
	struct native_block native;
	uint32_t held_count;
	struct ch_row_at held[CH_RUN_MAX]; /* rows to be made yet, behind those of `native` */
};

struct ch_rows {
	const char *node;
	uint64_t epoch;
	uint32_t partition;
	struct ruleset_store *rules; /* NULL: records with hits are an error */
	struct sink_tally tally;
	uint64_t row_count, row_bytes;
	uint64_t edition; /* another one after each ch_rows_clear() */
	bool resent; /* its end is known: what it weighs, by this version's measure, does not end it earlier
		      */
	uint32_t block_count;
	struct ch_block *
		block[CH_BLOCKS_MAX]; /* in order of first use; those behind block_count are spares or NULL */
	struct ruleset_stand ruleset; /* of the records at hand */
	/* The state stage's output log: set behind ch_rows_init(). */
	enum sink_log log;
	uint64_t input_epoch; /* of the journal that late events come from */
	const struct window_plan *plan;
	struct window_store *windows;
	uint32_t window_count;
	struct ch_window **window; /* those that rows have named, with their tables */
	struct agg_register *item; /* AGG_REGISTERS_MAX, from the first row on */
};

void ch_rows_init(struct ch_rows *rows, const char *node, uint64_t epoch, uint32_t partition,
	struct ruleset_store *rules);
void ch_rows_clear(struct ch_rows *rows);
void ch_rows_free(struct ch_rows *rows);

/* Adds what the record at `offset` gives: raw row, alerts, dead letter; of the output log row, alert, late
 * event; or nothing; counts it in the tally. 0: added. 1: the range is full, nothing was added (never with an
 * empty range). -EINVAL: its rulesets or windows do not fit it. -ENOMEM. */
int ch_rows_add(struct ch_rows *rows, const struct record *rec, uint64_t offset, uint32_t generation,
	struct err *err);
/* The same for who has many: rows of events are made together, which is cheaper. The record is borrowed until
 * ch_rows_settle(), which comes before the blocks are looked at. */
int ch_rows_hold(struct ch_rows *rows, const struct record *rec, uint64_t offset, uint32_t generation,
	struct err *err);
/* 0 or -ENOMEM. */
int ch_rows_settle(struct ch_rows *rows, struct err *err);

#endif
