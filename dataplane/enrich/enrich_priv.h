/* Shared by the files of this folder. */
#ifndef SLUICE_ENRICH_PRIV_H
#define SLUICE_ENRICH_PRIV_H

#include "enrich.h"
#include "geoip.h"
#include "lookup.h"

#define ENRICH_LOOKUPS_MAX (ENRICH_TABLES_MAX - ENRICH_LOOKUPS)

enum enrich_geo_from { ENRICH_GEO_EVENT, ENRICH_GEO_PACKET, ENRICH_GEO_EVENT_OR_PACKET };

struct enrich_lookup {
	struct lookup table;
	enum field_id key, to;
	const char *prefix; /* of the key field's value; what follows, up to the first of / ? #, is the key */
	uint32_t prefix_bytes;
	struct enrich_table_info info;
};

struct enrich_geo {
	bool on;
	struct geoip table;
	struct enrich_table_info info;
};

struct enrich_set {
	enum enrich_geo_from geo_from;
	enum field_id ip; /* the event's field with an address; FIELD_NONE: the schema has none */
	struct enrich_geo geo[GEOIP_KINDS];
	uint32_t lookup_count;
	struct enrich_lookup lookup[ENRICH_LOOKUPS_MAX];
	uint64_t version;
	int64_t loaded_ms;
};

/* Enrichment fields have these numbers in an event's list of additions. */
#define ENRICH_FIELDS_MAX 8

/* Found for one event, not yet in its tail. The text is the table's. */
struct enrich_found {
	uint64_t mask; /* fields */
	uint32_t count, bytes;
	struct {
		const uint8_t *text;
		uint8_t field;
		uint8_t bytes;
	} value[ENRICH_FIELDS_MAX];
};

struct enricher {
	uint8_t *tail; /* arena of the burst's tails */
	uint32_t tail_bytes, tail_used;
	uint32_t events_max, record_bytes_max;
	struct enrich_found *found; /* by event of the burst */
	uint64_t *hash;		    /* of the keys of the table in work */
	struct enrich_key {
		const uint8_t *text; /* NULL: this event has no key for the table */
		uint32_t bytes;
	} * key;
	uint8_t (*addr)[16];
	bool *addr_ok;
	uint32_t *at; /* link, then result of an address */
	uint8_t *bit; /* that its walk looks at next */
	uint16_t *active;
};

#endif
