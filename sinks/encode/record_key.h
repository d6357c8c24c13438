/* The key of a record: the one by which the journal partitions it, as bytes for other systems. */
#ifndef SLUICE_RECORD_KEY_H
#define SLUICE_RECORD_KEY_H

#include <stdint.h>

#include "address.h"
#include "ip_text.h"
#include "record.h"

/* Borrowed from the record, or held in `text` (then don't copy the struct). */
struct record_key {
	const uint8_t *data;
	uint32_t bytes;
	char text[IP_TEXT_BYTES];
};

/* The first field of the type's partition key chain that the record has (UUIDs as lower-case text), else its
 * source address as text. */
void record_key_of(struct record_key *key, const struct record *rec);

#endif
