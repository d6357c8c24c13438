/* Keys of a LowCardinality column: as strings, one after the other, and a hash table of their numbers. */
#include "native_keys.h"

#include <stdlib.h>
#include <string.h>

#include "hash_process.h"
#include "native_string.h"

#define SLOTS_MIN 256u

static uint64_t key_start(const struct native_column *c, uint32_t key)
{
	uint64_t end = 0;

	if (key)
		memcpy(&end, c->key_end.data + (key - 1) * sizeof end, sizeof end);
	return end;
}

/* The bytes of key number `key`, without its length in front. */
static const uint8_t *key_text(const struct native_column *c, uint32_t key, size_t *bytes)
{
	uint64_t start = key_start(c, key), end = key_start(c, key + 1);

	while (c->side.data[start] & 0x80)
		start++;
	start++;
	*bytes = end - start;
	return c->side.data + start;
}

static bool key_equals(const struct native_column *c, uint32_t key, const void *text, size_t bytes)
{
	size_t have;
	const uint8_t *at = key_text(c, key, &have);

	return have == bytes && memcmp(at, text, bytes) == 0;
}

static bool key_append(struct native_column *c, const void *text, size_t bytes)
{
	put_string(&c->side, text, bytes);
	bytes_put_u64(&c->key_end, c->side.bytes);
	if (c->side.failed || c->key_end.failed)
		return false;
	c->key_count++;
	return true;
}

/* Makes the hash table twice as large (or at first) and puts the keys in again. */
static bool slots_grow(struct native_column *c)
{
	uint32_t count = c->slot_count ? c->slot_count * 2 : SLOTS_MIN;
	struct native_slot *slot = calloc(count, sizeof *slot);

	if (!slot)
		return false;
	for (uint32_t key = 1; key < c->key_count; key++) {
		size_t bytes;
		const uint8_t *text = key_text(c, key, &bytes);
		uint64_t head = hash_load(text, bytes);
		uint32_t at = (uint32_t)hash_keyed(&hash_process_key, text, bytes) & (count - 1);

		while (slot[at].key)
			at = (at + 1) & (count - 1);
		slot[at] = (struct native_slot){key + 1, (uint32_t)bytes, head};
	}
	free(c->slot);
	c->slot = slot;
	c->slot_count = count;
	return true;
}

uint32_t native_key_find(struct native_column *c, const void *text, size_t bytes)
{
	uint64_t head;
	uint32_t at;

	if (c->key_count == 0 && !key_append(c, "", 0))
		return UINT32_MAX;
	if (bytes == 0)
		return 0;
	if (c->key_count * 2 >= c->slot_count && !slots_grow(c))
		return UINT32_MAX;
	head = hash_load(text, bytes);
	at = (uint32_t)hash_keyed(&hash_process_key, text, bytes) & (c->slot_count - 1);
	for (; c->slot[at].key; at = (at + 1) & (c->slot_count - 1)) {
		const struct native_slot *slot = &c->slot[at];

		if (slot->head == head && slot->bytes == bytes &&
			(bytes <= sizeof head || key_equals(c, slot->key - 1, text, bytes)))
			return slot->key - 1;
	}
	if (!key_append(c, text, bytes))
		return UINT32_MAX;
	c->slot[at] = (struct native_slot){c->key_count, (uint32_t)bytes, head};
	return c->key_count - 1;
}
