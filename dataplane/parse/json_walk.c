/* The grammar of RFC 8259 over one event: finds its end or where it goes wrong, notes the first value of each
 * known key, and traces all texts and numbers for learning. Nothing is decoded or judged here. Worker thread;
 * writes jp->doc only; the event's bytes are borrowed. No recursion: depth is a number, kinds are a bit each.
 */
#include <string.h>

#include "json_key.h"
#include "json_priv.h"

struct walk {
	const uint8_t *raw, *p, *end;
	struct json_parser *jp;
	uint64_t objects;   /* bit d: the container at depth d is an object */
	uint32_t depth;	    /* 1 = inside the top-level object */
	uint8_t key;	    /* of the value that comes next */
	bool in_attributes; /* depth 2 is the object `attributes` */
	uint8_t container_key[EVENT_DEPTH_MAX + 1];
};

/* The byte at p; NUL, which is valid nowhere outside of texts, at the end. */
static inline uint8_t peek(const struct walk *w)
{
	return w->p < w->end ? *w->p : 0;
}

static inline void skip_space(struct walk *w)
{
	while (w->p < w->end && json_is_space(*w->p))
		w->p++;
}

static inline bool in_object(const struct walk *w)
{
	return w->objects >> w->depth & 1;
}

/* start, end: as in struct value. */
static void value_note(
	struct walk *w, enum value_kind kind, const uint8_t *start, const uint8_t *end, bool escaped)
{
	struct doc *doc = &w->jp->doc;
	struct value v = {.start = (uint32_t)(start - w->raw),
		.end = (uint32_t)(end - w->raw),
		.kind = (uint8_t)kind,
		.key = w->key,
		.escaped = escaped};

	if (w->key != KEY_NONE)
		doc->value[w->key] = v;
	if (kind != VALUE_TEXT && kind != VALUE_NUMBER)
		return;
	if (doc->trace_count < TRACE_MAX)
		doc->trace[doc->trace_count++] = v;
	else
		doc->plain = false;
}

/* The key index of a name at w->p .. end, and the book-keeping of repeated keys. */
static uint8_t key_note(struct walk *w, const uint8_t *end, bool escaped)
{
	uint8_t decoded[6 * KEY_BYTES_MAX + 8];
	const uint8_t *name = w->p;
	uint32_t bytes = (uint32_t)(end - name);
	struct doc *doc = &w->jp->doc;
	uint8_t key;

	if (w->depth > 2 || (w->depth == 2 && !w->in_attributes))
		return KEY_NONE;
	if (escaped) {
		doc->foreign |= w->depth == 1; /* for who looks for keys as they stand there */
		if (bytes > 6 * KEY_BYTES_MAX)
			return KEY_NONE; /* longer than any known key, however it is escaped */
		bytes = text_decode(decoded, name, bytes);
		memset(decoded + bytes, 0, 8); /* key_hash() reads 8 bytes */
		name = decoded;
	}
	key = key_find(w->jp, name, bytes, w->depth == 1 ? KEY_SCOPE_TOP : KEY_SCOPE_ATTR);
	if (key == KEY_NONE) {
		doc->foreign |= w->depth == 1;
		return KEY_NONE;
	}
	doc->top |= (uint64_t)(w->depth == 1) << key;
	if (doc->seen >> key & 1) {
		doc->repeated |= 1ull << key;
		return KEY_NONE; /* the first value stays */
	}
	doc->seen |= 1ull << key;
	return key;
}

/* "name" : up to the value. */
static enum drop_reason key_walk(struct walk *w)
{
	enum drop_reason reason;
	const uint8_t *close;
	bool escaped;

	if (peek(w) != '"')
		return DROP_bad_json;
	w->p++;
	close = text_walk(w->p, w->end, &escaped, &reason);
	if (!close)
		return reason;
	if (escaped)
		w->jp->doc.plain = false;
	w->key = key_note(w, close, escaped);
	w->p = close + 1;
	skip_space(w);
	if (peek(w) != ':')
		return DROP_bad_json;
	w->p++;
	skip_space(w);
	return DROP_NONE;
}

static void container_close(struct walk *w)
{
	uint8_t key = w->container_key[w->depth];

	w->p++;
	if (key != KEY_NONE)
		w->jp->doc.value[key].end = (uint32_t)(w->p - w->raw);
	if (w->depth-- == 2)
		w->in_attributes = false;
}

/* Behind a value or an opening bracket: closes what ends here, then up to the next value, if there is one. */
static enum drop_reason next_walk(struct walk *w)
{
	while (w->depth) {
		uint8_t c;

		skip_space(w);
		c = peek(w);
		if (c == ',') {
			w->p++;
			skip_space(w);
			w->key = KEY_NONE;
			return in_object(w) ? key_walk(w) : DROP_NONE;
		}
		if (c != (in_object(w) ? '}' : ']'))
			return DROP_bad_json;
		container_close(w);
	}
	return DROP_NONE;
}

static enum drop_reason container_open(struct walk *w, bool object)
{
	if (w->depth == EVENT_DEPTH_MAX)
		return DROP_too_deep;
	value_note(w, object ? VALUE_OBJECT : VALUE_ARRAY, w->p, w->p, false);
	w->p++;
	if (w->depth == 1)
		w->in_attributes = object && w->key != KEY_NONE && w->key == w->jp->attributes_key;
	w->depth++;
	w->container_key[w->depth] = w->key;
	w->objects = (w->objects & ~(1ull << w->depth)) | (uint64_t)object << w->depth;
	w->key = KEY_NONE;
	skip_space(w);
	if (peek(w) == (object ? '}' : ']'))
		return next_walk(w);
	return object ? key_walk(w) : DROP_NONE;
}

static enum drop_reason word_walk(struct walk *w, const char *word, uint32_t bytes, enum value_kind kind)
{
	if ((size_t)(w->end - w->p) < bytes || memcmp(w->p, word, bytes) != 0)
		return DROP_bad_json;
	value_note(w, kind, w->p, w->p + bytes, false);
	w->p += bytes;
	return next_walk(w);
}

static enum drop_reason text_value_walk(struct walk *w)
{
	enum drop_reason reason;
	const uint8_t *start = w->p + 1, *close;
	bool escaped;

	close = text_walk(start, w->end, &escaped, &reason);
	if (!close)
		return reason;
	if (escaped)
		w->jp->doc.plain = false;
	value_note(w, VALUE_TEXT, start, close, escaped);
	w->p = close + 1;
	return next_walk(w);
}

static enum drop_reason number_value_walk(struct walk *w)
{
	struct number n;
	const uint8_t *start = w->p;

	w->p = number_walk(start, w->end, &n);
	if (!w->p)
		return DROP_bad_json;
	value_note(w, VALUE_NUMBER, start, w->p, false);
	return next_walk(w);
}

static enum drop_reason value_walk(struct walk *w)
{
	switch (peek(w)) {
	case '"':
		return text_value_walk(w);
	case '{':
		return container_open(w, true);
	case '[':
		return container_open(w, false);
	case 't':
		return word_walk(w, "true", 4, VALUE_BOOL);
	case 'f':
		return word_walk(w, "false", 5, VALUE_BOOL);
	case 'n':
		return word_walk(w, "null", 4, VALUE_NULL);
	default:
		return number_value_walk(w);
	}
}

enum drop_reason json_walk(struct json_parser *jp, const uint8_t *raw, uint32_t bytes)
{
	struct walk w = {.raw = raw, .p = raw, .end = raw + bytes, .jp = jp, .key = KEY_NONE};
	enum drop_reason reason;

	jp->doc.seen = jp->doc.repeated = jp->doc.top = 0;
	jp->doc.foreign = false;
	jp->doc.trace_count = 0;
	jp->doc.plain = true;
	skip_space(&w);
	if (peek(&w) != '{')
		return DROP_bad_json;
	do
		reason = value_walk(&w);
	while (!reason && w.depth);
	if (reason)
		return reason;
	skip_space(&w);
	return w.p == w.end ? DROP_NONE : DROP_bad_json;
}
