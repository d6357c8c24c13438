/* Finds a record's key by the schema's PART_KEY chain. Pure; any thread. */
#include "record_key.h"

#include <string.h>

void record_key_of(struct record_key *key, const struct record *rec)
{
	const uint8_t *chain = type_table[rec->type].part_key;

	for (; *chain; chain++) {
		if (!(rec->field_mask & 1ull << *chain))
			continue;
		if (*chain == FIELD_event_id) {
			uuid_text(key->text, rec->event_id);
			key->data = (const uint8_t *)key->text;
			key->bytes = UUID_TEXT_BYTES - 1;
		} else {
			key->data = record_field(rec, *chain, &key->bytes);
		}
		return;
	}
	key->bytes = (uint32_t)ip_to_text(key->text, rec->src_addr);
	key->data = (const uint8_t *)key->text;
}
