/* Makes and frees JSON parsers: all memory, the key tables, the choice of code for this CPU. Control thread.
 */
#include "json_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "json_key.h"

static void key_add(
	struct json_parser *jp, uint8_t key, const char *name, uint32_t bytes, enum key_scope scope)
{
	uint8_t padded[KEY_BYTES_MAX + 8] = {0};
	uint32_t i;

	assert(bytes <= KEY_BYTES_MAX);
	memcpy(padded, name, bytes);
	for (i = key_hash(padded, bytes, scope); jp->slot[i].key != KEY_NONE; i = (i + 1) % KEY_SLOTS)
		;
	jp->slot[i] = (struct key_slot){name, (uint8_t)bytes, (uint8_t)scope, key};
}

static void keys_fill(struct json_parser *jp)
{
	assert(key_count < KEYS_MAX);
	for (uint32_t i = 0; i < KEY_SLOTS; i++)
		jp->slot[i].key = KEY_NONE;
	jp->source_key = jp->attributes_key = KEY_NONE;
	for (uint32_t k = 0; k < key_count; k++) {
		const struct key_info *info = &key_table[k];

		key_add(jp, (uint8_t)k, info->key, info->key_bytes, info->scope);
		jp->key_field[k] = (uint8_t)info->field;
		if (info->scope == KEY_SCOPE_TOP && info->field == FIELD_source)
			jp->source_key = (uint8_t)k;
		if (info->scope == KEY_SCOPE_TOP && info->field == FIELD_attributes)
			jp->attributes_key = (uint8_t)k;
		for (int type = 1; type < EVENT_TYPE_MAX; type++) {
			uint64_t uses = type_table[type].uses;

			if (!(uses >> info->field & 1))
				continue;
			if (info->scope == KEY_SCOPE_ATTR && !(uses & FBIT(attributes)))
				continue;
			jp->type_keys[type] |= 1ull << k;
		}
	}
	/* `type` is no field, but a key as the others: recognised when escaped, refused when repeated. */
	jp->type_key = (uint8_t)key_count;
	key_add(jp, jp->type_key, "type", 4, KEY_SCOPE_TOP);
}

struct json_parser *json_parser_new(uint32_t tail_bytes)
{
	struct json_parser *jp = aligned_alloc(64, (sizeof *jp + 63) & ~(size_t)63);
	size_t shape_bytes = sizeof(struct shape) * (SHAPES_MAX + 1);

	if (!jp)
		return NULL;
	memset(jp, 0, sizeof *jp);
	if (tail_bytes < EVENT_BYTES_MAX + 8 * FIELD_ID_MAX)
		tail_bytes = EVENT_BYTES_MAX + 8 * FIELD_ID_MAX;
	jp->tail_bytes = tail_bytes;
	/* Readers of a tail may read beyond its end as of raw bytes. */
	jp->tail = calloc(1, (size_t)tail_bytes + EVENT_PAD_BYTES);
	jp->shape = aligned_alloc(64, (shape_bytes + 63) & ~(size_t)63);
	if (!number_memory_init(&jp->numbers, EVENT_BYTES_MAX) || !jp->tail || !jp->shape) {
		json_parser_free(jp);
		return NULL;
	}
	memset(jp->shape, 0, shape_bytes);
	keys_fill(jp);
	json_parser_use(jp, true, true);
	return jp;
}

void json_parser_free(struct json_parser *jp)
{
	if (!jp)
		return;
	number_memory_free(&jp->numbers);
	free(jp->shape);
	free(jp->tail);
	free(jp);
}

void json_parser_use(struct json_parser *jp, bool avx2, bool shapes)
{
	__builtin_cpu_init();
	jp->avx2 = avx2 && avx2_usable();
	jp->shapes_on = shapes && jp->avx2;
	json_parser_forget(jp);
}

void json_parser_forget(struct json_parser *jp)
{
	jp->shape_count = 0;
	memset(jp->sighting, 0, sizeof jp->sighting);
	memset(&jp->stats, 0, sizeof jp->stats);
	for (int i = 0; i < SHAPES_MAX; i++)
		jp->order[i] = (uint8_t)i;
}
