/* Walks the top level of a JSON object that the parser has accepted; everything is bounds-checked all the
 * same. Pure; one pass over the raw bytes. */
#include "extra_keys.h"

#include <string.h>

#include "json_scan.h"

/* Whether the type keeps a top-level key in a column. `type` selects the type and is none. */
static bool key_known(const struct record *rec, const uint8_t *key, size_t bytes)
{
	if (bytes == 4 && memcmp(key, "type", 4) == 0)
		return true;
	for (uint32_t i = 0; i < key_count; i++) {
		const struct key_info *k = &key_table[i];

		if (k->scope == KEY_SCOPE_TOP && k->key_bytes == bytes && memcmp(k->key, key, bytes) == 0)
			return type_table[rec->type].uses >> k->field & 1;
	}
	return false;
}

/* Goes behind one member; its bytes from the key's quote to the value's end, and the key's. NULL: none stands
 * there. */
static const uint8_t *take_member(
	const uint8_t *p, const uint8_t *end, const uint8_t **key, size_t *key_bytes, size_t *member_bytes)
{
	*key = p = json_skip_space(p, end);
	p = json_skip_text(p, end);
	if (!p)
		return NULL;
	*key_bytes = (size_t)(p - *key) - 2;
	p = json_skip_space(p, end);
	if (p == end || *p != ':')
		return NULL;
	p = json_skip_value(json_skip_space(p + 1, end), end);
	*member_bytes = p ? (size_t)(p - *key) : 0;
	return p;
}

size_t extra_keys_json(char *out, size_t out_bytes, const struct record *rec)
{
	const uint8_t *end = record_payload(rec) + rec->raw_bytes, *key;
	const uint8_t *p = json_skip_space(record_payload(rec), end);
	size_t n = 0, key_bytes, member_bytes;

	if (p == end || *p != '{')
		return 0;
	do {
		p = take_member(p + 1, end, &key, &key_bytes, &member_bytes);
		if (!p)
			break;
		p = json_skip_space(p, end);
		if (p == end) /* the object does not end: its last member may be cut */
			break;
		if (key_known(rec, key + 1, key_bytes))
			continue;
		if (n + 1 + member_bytes + 1 > out_bytes)
			break;
		out[n] = n ? ',' : '{';
		memcpy(out + n + 1, key, member_bytes);
		n += 1 + member_bytes;
	} while (*p == ',');
	if (n)
		out[n++] = '}';
	return n;
}
