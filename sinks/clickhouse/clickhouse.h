/* What the ClickHouse sink offers beside its sink_ops: its tables as SQL. */
#ifndef SLUICE_CLICKHOUSE_H
#define SLUICE_CLICKHOUSE_H

#include <stdio.h>

#include "config.h"
#include "err.h"

/* Prints the statements that make the database and all tables (CREATE ... IF NOT EXISTS). Returns 0, or
 * -EINVAL if the configured database name cannot be used. */
int clickhouse_schema_ddl(const struct config_clickhouse *cfg, FILE *out, struct err *err);

#endif
