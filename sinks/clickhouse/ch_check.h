/* Do the server's tables fit what this sink writes? */
#ifndef SLUICE_CH_CHECK_H
#define SLUICE_CH_CHECK_H

#include "ch_catalog.h"
#include "ch_http.h"
#include "config.h"
#include "err.h"

/* Makes the database and what is missing of the catalog (clickhouse.create), then compares columns, partition
 * key, engine and deduplication window, also of the targets of materialized views. -EINVAL names table,
 * column, what was found and what is expected. */
int ch_check_tables(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_catalog *catalog,
	struct err *err);

/* The same for the table of one window that is in no catalog: one that is no longer in force, of which rows
 * are left. */
int ch_check_window(
	struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_window *w, struct err *err);

#endif
