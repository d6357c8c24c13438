/* SQL of the tables: CREATE statements, column lists, literals. */
#ifndef SLUICE_CH_DDL_H
#define SLUICE_CH_DDL_H

#include <stdio.h>

#include "ch_table.h"
#include "config.h"

/* How our tables are partitioned: by UTC months, whatever the server's time zone, so that the sink knows
 * which rows go into one part. */
#define CH_PARTITION_KEY "toYYYYMM(%s, 'UTC')"

/* No semicolon at the end. */
void ch_ddl_database(FILE *out, const struct config_clickhouse *cfg);
void ch_ddl_table(FILE *out, const struct config_clickhouse *cfg, const struct ch_table *table);
/* INSERT INTO db.table (columns) FORMAT Native */
void ch_ddl_insert(FILE *out, const struct config_clickhouse *cfg, const struct ch_table *table);
/* `name`, and 'text', with what needs a backslash. */
void ch_ddl_name(FILE *out, const char *name);
/* A name, in backticks only where it needs them. */
void ch_ddl_word(FILE *out, const char *name);
void ch_ddl_text(FILE *out, const char *text);

#endif
