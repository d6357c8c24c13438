/* What the columns of one row are made from. */
#ifndef SLUICE_CH_SOURCE_PRIV_H
#define SLUICE_CH_SOURCE_PRIV_H

#include "alert.h"
#include "ch_rows.h"
#include "row.h"

/* Rows of one table. */
struct ch_run {
	const struct ch_rows *rows;
	const struct ch_row_at *at;
	uint32_t count;	   /* CH_RUN_MAX at most */
	uint64_t fields;   /* those that any of them has */
	bool hits, others; /* any has hits; may have keys that its type does not know */
};
struct ch_run ch_run_of(const struct ch_rows *rows, const struct ch_row_at *at, uint32_t count);

struct ch_source {
	const struct ch_rows *rows;
	const struct record *rec;
	uint64_t offset;
	const struct alert *alert;	/* of a rule: rows of alerts */
	const char *window_name;	/* alerts, late events; "" */
	const struct ch_window *window; /* rows of windows */
};

/* The rule of a hit of the record whose ruleset has been loaded; NULL: a step of a rule with state. */
const struct rule_info *ch_rows_rule(const struct ch_rows *rows, uint16_t hit);

/* ---- ch_values.c ---- */
/* Rows of events. */
void ch_put_events(struct native_block *b, const struct ch_table *table, const struct ch_run *run);
/* A row of another table of ch_tables.def. */
void ch_put_record(struct native_block *b, const struct ch_table *table, const struct ch_source *src);
/* Address and arrival: what every table has. False if the column is another. */
bool ch_put_common(struct native_block *b, uint32_t i, enum ch_value value, const struct ch_run *run);

/* ---- ch_row_values.c ---- */
/* The columns of a merged row. -EINVAL: its aggregates are not those of its window; the block is then good
 * for nothing. */
int ch_put_row(
	struct native_block *b, const struct ch_source *src, struct agg_register *item, struct err *err);

#endif
