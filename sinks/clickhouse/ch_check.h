/* Do the server's tables fit what this sink writes? */
#ifndef SLUICE_CH_CHECK_H
#define SLUICE_CH_CHECK_H

#include "ch_http.h"
#include "config.h"
#include "err.h"

/* Makes the database and the tables that are missing (clickhouse.create), then compares columns, partition
 * key, engine and deduplication window, also of the targets of materialized views. -EINVAL names table,
 * column, what was found and what is expected. */
int ch_check_tables(struct ch_http *h, const struct config_clickhouse *cfg, struct err *err);

#endif
