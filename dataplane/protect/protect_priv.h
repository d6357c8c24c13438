/* Inside of protection: what its files share. Not for other folders. */
#ifndef SLUICE_PROTECT_PRIV_H
#define SLUICE_PROTECT_PRIV_H

#include "bytes.h"
#include "protect.h"

#define ROW_NONE 0xff
#define NAME_BYTES_MAX 255 /* of a key that rows name: as long as a value of the configuration */
#define SLOTS 512	   /* of the key table: power of two, several times the keys */

enum { ACTION_MASK, ACTION_HASH, ACTION_DROP }; /* protect.action */
enum { CARDS_OFF, CARDS_MASK, CARDS_COUNT };	/* privacy.cards */

/* Where a key stands. */
enum scope { SCOPE_TOP, SCOPE_ATTRIBUTES, SCOPE_PROPERTIES, SCOPE_COUNT };

#define KEY_BYTES_MAX 64u /* as BLAKE2b takes */
#define PSEUDONYM_BYTES 16u

struct row {
	uint8_t key[KEY_BYTES_MAX];
	uint32_t key_bytes;
	uint8_t action;
};

/* A key that the schema knows or that a row names. */
struct slot {
	char name[NAME_BYTES_MAX + 1];
	uint32_t bytes; /* 0: free */
	uint8_t scope;
	uint8_t field; /* that it is a key of; FIELD_NONE: of none */
	uint8_t row[EVENT_TYPE_MAX];
	uint8_t row_any; /* strictest of these: for events that were refused */
};

struct protector {
	struct slot slot[SLOTS];
	struct row *row;
	uint32_t row_count;
	uint8_t cards;
	/* By type: fields that are text to look for cards in. Not those that partition keys are taken from.
	 */
	uint64_t text_fields;
	struct bytes out; /* the event that was written last: of fixed size */
	uint8_t *decoded; /* one text, without its escapes */
};

static inline uint32_t slot_hash(const uint8_t *name, uint32_t bytes, uint32_t scope)
{
	uint32_t h = 2166136261u ^ scope; /* FNV-1a: keys are short */

	for (uint32_t i = 0; i < bytes; i++)
		h = (h ^ name[i]) * 16777619u;
	return (h ^ h >> 15) % SLOTS;
}

/* The slot of a name, or the free one where it would be. */
static inline struct slot *slot_find(
	struct protector *pt, const uint8_t *name, uint32_t bytes, uint32_t scope)
{
	uint32_t i = slot_hash(name, bytes, scope);

	while (pt->slot[i].bytes && (pt->slot[i].bytes != bytes || pt->slot[i].scope != scope ||
					    memcmp(pt->slot[i].name, name, bytes) != 0))
		i = (i + 1) % SLOTS;
	return &pt->slot[i];
}

#endif
