/* Do the server's tables fit what this sink writes? */
#ifndef SLUICE_CH_CHECK_H
#define SLUICE_CH_CHECK_H

#include "ch_catalog.h"
#include "ch_faults.h"
#include "ch_http.h"
#include "config.h"
#include "err.h"

/* Compares engine, deduplication window, partition key, columns, views, also the targets of materialized
 * views, and changes nothing. 0: *f, which is the caller's in any case, has all that was found. */
int ch_check_look(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_catalog *catalog,
	struct ch_faults *f, struct err *err);

/* The same, and makes the database and what is missing of the catalog (clickhouse.create). -EINVAL with
 * *misfit: all that is wrong, with the statements that mend it, as far as there is room; without: the server
 * refuses. */
int ch_check_tables(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_catalog *catalog,
	bool *misfit, struct err *err);

/* The same for the table of one window that is in no catalog: one that is no longer in force, of which rows
 * are left. */
int ch_check_window(struct ch_http *h, const struct config_clickhouse *cfg, const struct ch_window *w,
	bool *misfit, struct err *err);

#endif
