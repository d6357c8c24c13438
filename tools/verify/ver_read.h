/* Where rows are read from: the journal, Kafka, ClickHouse. Each fills the sets of its kinds. One thread. */
#ifndef SLUICE_VER_READ_H
#define SLUICE_VER_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "drops.h"
#include "err.h"
#include "ver_set.h"

struct ver_journal {
	char node[65];
	uint64_t epoch;
	uint32_t partitions;
	uint64_t oldest[VER_PARTITIONS_MAX]; /* first offset that is still kept */
	uint64_t end[VER_PARTITIONS_MAX];    /* next offset */
	uint64_t other_records;		     /* control, ticks */
	uint32_t damaged;		     /* partitions whose scan ended at a block that is not intact */
	struct ver_set set[VER_KINDS];
	struct ver_set suppressed; /* events that a drop rule kept out of the raw targets */
	uint64_t refused[DROP_ID_MAX];
};

/* rules_dir: where the ruleset generations are; needed for alerts. NULL: alerts are not compared. */
int ver_journal_read(struct ver_journal *j, const char *dir, const char *rules_dir, struct err *err);

struct ver_kafka {
	const char *brokers;
	const char *topic[VER_KINDS];
	uint32_t timeout_s; /* without progress */
};
int ver_kafka_read(struct ver_set set[VER_KINDS], const struct ver_kafka *k, const struct ver_journal *j,
	struct err *err);

struct ver_clickhouse {
	const char *url, *database, *user, *password;
	const char *table[VER_KINDS];
};
int ver_clickhouse_read(struct ver_set set[VER_KINDS], const struct ver_clickhouse *c,
	const struct ver_journal *j, struct err *err);

/* POSTs a query; *body (owned by the caller) gets the answer. An answer other than 200 is an error with its
 * text. */
int ver_http_query(const char *url, const char *user, const char *password, const char *sql, char **body,
	uint64_t *bytes, struct err *err);

#endif
