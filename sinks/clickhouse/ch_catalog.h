/* All that the server must have for a log: tables, and for windows roll-ups, the materialized views that fill
 * them, and views for people. Made from the windows in force; one thread. */
#ifndef SLUICE_CH_CATALOG_H
#define SLUICE_CH_CATALOG_H

#include <stdio.h>

#include "ch_window.h"
#include "config.h"

#define CH_CATALOG_MAX (CH_TABLE_COUNT + WINDOWS_MAX * (1 + CH_ROLLUPS_MAX))

struct ch_entry {
	struct ch_table table;		/* with the columns of all windows that go there */
	const struct ch_window *window; /* NULL: one of ch_tables.def. Of several the first */
	const struct ch_rollup *rollup; /* NULL: none */
};

struct ch_catalog {
	uint32_t window_count;
	struct ch_window *window[WINDOWS_MAX]; /* those that are for ClickHouse, as in the plan */
	uint32_t count;
	struct ch_entry *entry; /* CH_CATALOG_MAX; tables before roll-ups */
};

/* logs: enum ch_logs. plan: NULL: no windows; must outlive it. -EINVAL: windows that cannot share a table. */
int ch_catalog_make(struct ch_catalog **out, unsigned logs, const struct window_plan *plan, struct err *err);
void ch_catalog_free(struct ch_catalog *c);

/* Writes the n-th statement that makes what is missing, without a semicolon; false: there are no more. In an
 * order in which they can be run, the database first. */
bool ch_catalog_statement(
	const struct ch_catalog *c, const struct config_clickhouse *cfg, uint32_t n, FILE *out);

/* Whether its table has a view for people. */
bool ch_entry_viewed(const struct ch_entry *e);

/* ---- ch_view.c ---- */
#define CH_VIEW_NAME_BYTES (CH_NAME_BYTES + 8)
void ch_view_name(char out[CH_VIEW_NAME_BYTES], const char *table);
/* CREATE MATERIALIZED VIEW for a roll-up. */
void ch_view_rollup(FILE *out, const struct config_clickhouse *cfg, const struct ch_entry *e);
/* CREATE OR REPLACE VIEW with the values that people want, for a table of a window that merges or a funnel's.
 */
void ch_view_people(
	FILE *out, const struct config_clickhouse *cfg, const struct ch_catalog *c, const struct ch_entry *e);

#endif
