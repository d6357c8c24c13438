/* Picks members of the event's object. Pure; one pass over the raw bytes. */
#include "extra_keys.h"

#include <string.h>

#include "json_members.h"

/* Whether the type keeps a top-level key in a column. `type` selects the type and is none. */
static bool key_known(const struct record *rec, const uint8_t *key, size_t bytes)
{
	if (bytes == 4 && memcmp(key, "type", 4) == 0)
		return true;
	for (uint32_t i = 0; i < key_count; i++) {
		const struct key_info *k = &key_table[i];

		if (k->scope == KEY_SCOPE_TOP && k->key_bytes == bytes && k->key[0] == (char)key[0] &&
			memcmp(k->key, key, bytes) == 0)
			return type_table[rec->type].uses >> k->field & 1;
	}
	return false;
}

size_t extra_keys_json(char *out, size_t out_bytes, const struct record *rec)
{
	struct json_members w;
	struct json_member m;
	size_t n = 0;

	json_members_start(&w, record_payload(rec), rec->raw_bytes);
	while (json_members_next(&w, &m)) {
		if (key_known(rec, m.key, m.key_bytes))
			continue;
		if (n + 1 + m.bytes + 1 > out_bytes)
			break;
		out[n] = n ? ',' : '{';
		memcpy(out + n + 1, m.text, m.bytes);
		n += 1 + m.bytes;
	}
	if (n)
		out[n++] = '}';
	return n;
}
