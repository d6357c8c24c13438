/* What the ClickHouse sink offers beside its sink_ops: its tables as SQL. */
#ifndef SLUICE_CLICKHOUSE_H
#define SLUICE_CLICKHOUSE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"
#include "err.h"

/* Prints the statements that make the database, all tables (CREATE ... IF NOT EXISTS), and, with the state
 * stage enabled, those of windows with their roll-ups and views. Returns 0, or -EINVAL if the configured
 * database name or the windows cannot be used. */
int clickhouse_schema_ddl(const struct config *cfg, FILE *out, struct err *err);

/* Asks a server of clickhouse.url, by host:port (NULL: the only one), and prints what makes its tables fit,
 * as the sink looks at them: statements, and as comments what needs a decision. Nothing is printed if all
 * fits. Changes nothing. Returns 0, -EINVAL if a decision is needed, or -errno. */
int clickhouse_schema_diff(const struct config *cfg, const char *server, FILE *out, struct err *err);

struct ch_position {
	bool output;	  /* of the output log, not of the journal */
	bool drop_parked; /* what waits for a server that is away is given up */
	uint32_t partition;
	uint64_t offset;
};
/* Writes down that everything before `offset` of a partition is delivered, in place of a lost or wrong intent
 * file. The daemon of data_dir must not run. Returns 0, -EBUSY, -EINVAL for a partition that the journal does
 * not have or one with parked ranges (unless drop_parked), or -errno. */
int clickhouse_position_set(const char *data_dir, const struct ch_position *to, struct err *err);

/* Where a record of the journal goes, and how far its partition has come by the file beside the journal, of a
 * daemon that may run. */
struct clickhouse_place {
	const char *table; /* constant */
	bool known;	   /* the file is there and good */
	uint64_t epoch;	   /* of the journal that it is about */
	uint64_t from, to; /* of the last range: offsets [from, to); all before it are delivered, but what is
			      parked */
	bool pending;	   /* that range may or may not be delivered */
	bool parked;	   /* the record waits for a server that went away with its range unanswered */
};
struct record;
void clickhouse_place_of(struct clickhouse_place *out, const char *data_dir, const struct record *rec,
	uint32_t partition, uint64_t offset);

#endif
