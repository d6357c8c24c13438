/* Walks the top level of a JSON object that the parser has accepted; everything is bounds-checked all the
 * same. Pure; one pass over the raw bytes. */
#include "extra_keys.h"

#include <string.h>

struct walk {
	const uint8_t *at, *end;
};

static void skip_space(struct walk *w)
{
	while (w->at < w->end && (*w->at == ' ' || *w->at == '\t' || *w->at == '\n' || *w->at == '\r'))
		w->at++;
}

static bool take(struct walk *w, uint8_t c)
{
	skip_space(w);
	if (w->at == w->end || *w->at != c)
		return false;
	w->at++;
	return true;
}

/* Stands on a quote; goes behind the closing one: the next that no odd run of backslashes stands before. */
static bool skip_string(struct walk *w)
{
	const uint8_t *text = w->at + 1, *from = text, *quote;

	while ((quote = memchr(from, '"', (size_t)(w->end - from)))) {
		const uint8_t *p = quote;

		while (p > text && p[-1] == '\\')
			p--;
		from = quote + 1;
		if ((quote - p) % 2 == 0) {
			w->at = from;
			return true;
		}
	}
	w->at = w->end;
	return false;
}

/* Goes behind a value: to the comma or brace of the top level that ends it. */
static bool skip_value(struct walk *w)
{
	uint32_t depth = 0;

	skip_space(w);
	while (w->at < w->end) {
		uint8_t c = *w->at;

		if (c == '"') {
			if (!skip_string(w))
				return false;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}'))
			return true;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && depth-- == 0)
			return false;
		w->at++;
	}
	return false;
}

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

/* Goes behind one member; its bytes from the key's quote to the value's end, and the key's. */
static bool take_member(struct walk *w, const uint8_t **key, size_t *key_bytes, size_t *member_bytes)
{
	const uint8_t *end;

	skip_space(w);
	*key = w->at;
	if (w->at == w->end || *w->at != '"' || !skip_string(w))
		return false;
	*key_bytes = (size_t)(w->at - *key) - 2;
	if (!take(w, ':') || !skip_value(w))
		return false;
	end = w->at;
	while (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '\r')
		end--;
	*member_bytes = (size_t)(end - *key);
	return true;
}

size_t extra_keys_json(char *out, size_t out_bytes, const struct record *rec)
{
	struct walk w = {record_payload(rec), record_payload(rec) + rec->raw_bytes};
	const uint8_t *key;
	size_t n = 0, key_bytes, member_bytes;

	if (!take(&w, '{'))
		return 0;
	do {
		if (!take_member(&w, &key, &key_bytes, &member_bytes))
			break;
		if (key_known(rec, key + 1, key_bytes))
			continue;
		if (n + 1 + member_bytes + 1 > out_bytes)
			break;
		out[n] = n ? ',' : '{';
		memcpy(out + n + 1, key, member_bytes);
		n += 1 + member_bytes;
	} while (take(&w, ','));
	if (n)
		out[n++] = '}';
	return n;
}
