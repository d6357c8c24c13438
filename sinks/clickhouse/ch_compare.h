/* What a server has, as it says itself, against what a catalog wants. Pure; one thread. */
#ifndef SLUICE_CH_COMPARE_H
#define SLUICE_CH_COMPARE_H

#include <jansson.h>

#include "ch_catalog.h"
#include "ch_faults.h"
#include "config.h"

struct ch_compare {
	const struct config_clickhouse *cfg;
	const struct ch_catalog *catalog;
	json_t *tables;	 /* rows: name, engine, engine_full, partition_key, time zone,
			   sorting_key */
	json_t *columns; /* rows: table, name, type, default_kind, "1" if in the sorting key */
};

/* Text of a cell; "" if there is none, so that evil shapes only fail to match. */
const char *ch_cell(json_t *rows, size_t row, size_t column);

/* Tables: engine, deduplication window, partition key, columns. In an order in which statements can be run,
 * as the next. */
void ch_compare_tables(const struct ch_compare *c, struct ch_faults *f);
/* The views that fill roll-ups, and those for people: of tables that have got columns they are made anew. */
void ch_compare_views(const struct ch_compare *c, struct ch_faults *f);

/* A table that somebody writes to, `writer`: does it recognise repeated blocks? Returns whether it does. */
struct ch_target_table {
	const char *database, *name, *engine, *engine_full;
};
bool ch_compare_window(const struct config_clickhouse *cfg, const struct ch_target_table *t,
	const char *writer, struct ch_faults *f);

#endif
