/* The partition key of an event: which partition, hence which order and which CEP state, it belongs to.
 * Worker thread; pure. Inline, as each event needs it. */
#ifndef SLUICE_PARTITION_KEY_H
#define SLUICE_PARTITION_KEY_H

#include "event.h"
#include "hash.h"

/* Hash of the event's partition key: the first present field of its type's chain, else (and for refused
 * events) the source address. A UUID counts by its 16 bytes, so that its letter case does not matter. *key
 * points into the event. */
static inline uint64_t event_partition_key(const struct event *ev, const uint8_t **key, uint32_t *bytes)
{
	*key = ev->src_addr;
	*bytes = sizeof ev->src_addr;
	if (__builtin_expect(!ev->refused && ev->type < EVENT_TYPE_MAX, 1)) {
		for (const uint8_t *f = type_table[ev->type].part_key; *f; f++) {
			if (!(ev->field_mask >> *f & 1))
				continue;
			if (*f == FIELD_event_id) {
				*key = ev->event_id;
				*bytes = sizeof ev->event_id;
			} else {
				*key = event_field(ev, (enum field_id) * f, bytes);
			}
			break;
		}
	}
	return hash_bytes(*key, *bytes, 0);
}

#endif
