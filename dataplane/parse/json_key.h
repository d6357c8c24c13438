/* Known keys by name: a small hash table, filled at set-up. */
#ifndef SLUICE_JSON_KEY_H
#define SLUICE_JSON_KEY_H

#include <string.h>

#include "json_priv.h"

/* name: 8 bytes of it must be readable whatever its length. */
static inline uint32_t key_hash(const uint8_t *name, uint32_t bytes, enum key_scope scope)
{
	uint64_t v;

	memcpy(&v, name, sizeof v);
	if (bytes < 8)
		v &= (1ull << 8 * bytes) - 1;
	v = (v ^ (uint64_t)bytes << 56 ^ (uint64_t)scope << 48) * 0x9e3779b97f4a7c15ull;
	return (uint32_t)(v >> 56) % KEY_SLOTS;
}

static inline uint8_t key_find(
	const struct json_parser *jp, const uint8_t *name, uint32_t bytes, enum key_scope scope)
{
	for (uint32_t i = key_hash(name, bytes, scope);; i = (i + 1) % KEY_SLOTS) {
		const struct key_slot *slot = &jp->slot[i];

		if (slot->key == KEY_NONE)
			return KEY_NONE;
		if (slot->bytes == bytes && slot->scope == scope && !memcmp(slot->name, name, bytes))
			return slot->key;
	}
}

#endif
