/* What the ClickHouse sink offers beside its sink_ops: its tables as SQL. */
#ifndef SLUICE_CLICKHOUSE_H
#define SLUICE_CLICKHOUSE_H

#include <stdio.h>

#include "config.h"
#include "err.h"

/* Prints the statements that make the database, all tables (CREATE ... IF NOT EXISTS), and, with the state
 * stage enabled, those of windows with their roll-ups and views. Returns 0, or -EINVAL if the configured
 * database name or the windows cannot be used. */
int clickhouse_schema_ddl(const struct config *cfg, FILE *out, struct err *err);

/* Writes down that everything before `offset` of a partition of the journal, or of the output log, is
 * delivered, in place of a lost or wrong intent file. The daemon of data_dir must not run. Returns 0, -EBUSY,
 * -EINVAL for a partition that the journal does not have, or -errno. */
int clickhouse_position_set(
	const char *data_dir, bool output, uint32_t partition, uint64_t offset, struct err *err);

#endif
