/* Enrichment: what we know about an event beyond what its sender says. Between parse and match: a set of
 * tables, made off the RX path, immutable, published as a whole; and an enricher per worker, which appends
 * what the tables say to the tails of a burst's events and sets the fields. See docs/enrichment.md.
 *
 * Values are part of the event from then on: rules see them, records hold them, a replay looks nothing up.
 * The partition key does not change: none of these fields is in a type's chain. */
#ifndef SLUICE_ENRICH_H
#define SLUICE_ENRICH_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "err.h"
#include "event.h"

/* Tables by number: the two of IP addresses, then the lookups in the order of the configuration. The numbers
 * stay the same as long as the process runs. */
enum { ENRICH_GEOIP_CITY, ENRICH_GEOIP_ASN, ENRICH_LOOKUPS, ENRICH_TABLES_MAX = ENRICH_LOOKUPS + 16 };

/* Counters of one worker: written by it alone, read racily. */
struct enrich_stats {
	uint64_t hits[ENRICH_TABLES_MAX];   /* events whose key the table has */
	uint64_t misses[ENRICH_TABLES_MAX]; /* events with a key that it does not have, or with an invalid
					       address */
	uint64_t too_long; /* events left as they were: with the values they would be longer than an event may
			      be */
};

struct enrich_table_info {
	const char *name; /* these two are borrowed from the configuration; name NULL: no such table */
	const char *file;
	uint64_t rows;	/* of a lookup; networks of a GeoIP table */
	uint64_t bytes; /* memory */
	uint64_t version;
	uint64_t left_out; /* GeoIP: texts that do not fit their field, or are no UTF-8 */
};

struct enrich_set;

/* True if the configuration has any table. */
bool enrich_configured(const struct config *cfg);

/* Loads all tables of the configuration, or none: -errno with the table's name, file and line in err. cfg is
 * borrowed for the set's life. Control threads; takes as long as it takes to read the files. */
int enrich_set_load(struct enrich_set **out, const struct config *cfg, struct err *err);
void enrich_set_free(struct enrich_set *set);
/* Hash of all files' contents. */
uint64_t enrich_set_version(const struct enrich_set *set);
int64_t enrich_set_loaded_ms(const struct enrich_set *set); /* wall clock */
void enrich_set_info(const struct enrich_set *set, uint32_t table, struct enrich_table_info *out);

struct enricher;

/* Memory of one worker. events_max: most events of a burst; tail_bytes: what their tails may have together;
 * record_bytes_max: no event becomes a larger record by enrichment. NULL without memory. */
struct enricher *enricher_new(uint32_t events_max, uint32_t tail_bytes, uint32_t record_bytes_max);
void enricher_free(struct enricher *en);

/* RX stage: enriches n <= events_max accepted events. Their tails lie in the enricher's memory afterwards,
 * until the next call. */
void enrich_run(struct enricher *en, const struct enrich_set *set, struct event *const *event, uint32_t n,
	struct enrich_stats *stats);

#endif
