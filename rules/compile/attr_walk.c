/* The walk over an event's JSON; see attr.h. */
#include "attr_priv.h"
#include "event.h"
#include "json_scan.h"

#define KEY_ROOM (6 * ATTR_BYTES_MAX + ATTR_DECODE_PAD)
_Static_assert(6 * ATTR_BYTES_MAX <= ATTR_ESCAPED_MAX, "keys can be decoded");

/* Where a name may stand; what comes first here goes first. */
enum attr_rank { RANK_ATTRIBUTES, RANK_PROPERTIES, RANK_TOP, RANK_NONE };

struct level {
	uint16_t node;
	uint8_t rank;
	bool top; /* the event's own object */
};

struct attr_walk {
	const struct attr_tree *tree;
	const uint8_t *raw, *p, *end;
	struct attr_value *value; /* by attribute */
	uint64_t found;
	uint8_t type;
	uint32_t depth;
	struct level level[EVENT_DEPTH_MAX];
};

static bool name_is(const uint8_t *key, uint32_t bytes, const char *name, uint32_t name_bytes)
{
	return bytes == name_bytes && !memcmp(key, name, bytes);
}

#define NAME_IS(key, bytes, name) name_is(key, bytes, name, sizeof name - 1)

/* A key that the event's type knows is a field, and no attribute. */
static bool key_is_field(uint8_t type, const uint8_t *key, uint32_t bytes)
{
	for (uint32_t i = 0; i < key_count; i++) {
		const struct key_info *info = &key_table[i];

		if (info->scope == KEY_SCOPE_TOP && name_is(key, bytes, info->key, info->key_bytes))
			return type_table[type].uses >> info->field & 1;
	}
	return NAME_IS(key, bytes, "type");
}

static void value_take(struct attr_walk *w, uint32_t attr, const uint8_t *stop, uint8_t rank)
{
	struct attr_value *v = &w->value[attr];
	const uint8_t *start = w->p;
	uint8_t c = *start;

	if (c == 'n' || (w->found >> attr & 1 && v->rank <= rank)) /* null = absent */
		return;
	v->kind = c == '"'		 ? ATTR_KIND_TEXT
		  : c == '{' || c == '[' ? ATTR_KIND_OTHER
		  : c == 't' || c == 'f' ? ATTR_KIND_WORD
					 : ATTR_KIND_NUMBER;
	if (v->kind == ATTR_KIND_TEXT) {
		start++;
		stop--;
	}
	v->start = (uint16_t)(start - w->raw);
	v->bytes = (uint16_t)(stop - start);
	v->escaped = v->kind == ATTR_KIND_TEXT && memchr(start, '\\', v->bytes);
	v->rank = rank;
	w->found |= 1ull << attr;
}

/* Goes into the object at w->p. */
static void object_enter(struct attr_walk *w, uint32_t node, uint8_t rank)
{
	w->level[w->depth++] = (struct level){(uint16_t)node, rank, false};
	w->p++;
}

/* At the value of a key: notes it, goes into it or behind it. False if it does not end. */
static bool value_walk(struct attr_walk *w, const uint8_t *key, uint32_t bytes)
{
	const struct attr_tree *tree = w->tree;
	const struct level *at = &w->level[w->depth - 1];
	bool room = w->p < w->end && *w->p == '{' && w->depth < EVENT_DEPTH_MAX;
	const uint8_t *stop;
	uint32_t node;

	if (at->top && room && NAME_IS(key, bytes, "attributes")) {
		object_enter(w, 0, RANK_ATTRIBUTES);
		return true;
	}
	if (at->top && room && NAME_IS(key, bytes, "properties")) {
		object_enter(w, 0, RANK_PROPERTIES);
		return true;
	}
	node = attr_child(tree, at->node, key, bytes);
	if (node && at->top && key_is_field(w->type, key, bytes))
		node = 0;
	if (node && room && tree->inner[node]) {
		if (tree->attr[node] != ATTR_NONE)
			value_take(w, tree->attr[node], w->p + 1, at->rank);
		object_enter(w, node, at->rank);
		return true;
	}
	stop = json_skip_value(w->p, w->end);
	if (stop && node && tree->attr[node] != ATTR_NONE)
		value_take(w, tree->attr[node], stop, at->rank);
	w->p = stop;
	return stop != NULL;
}

uint32_t attr_decode(uint8_t *out, const uint8_t *text, uint32_t bytes)
{
	uint8_t padded[ATTR_ESCAPED_MAX + ATTR_DECODE_PAD];

	memcpy(padded, text, bytes);
	memset(padded + bytes, 0, ATTR_DECODE_PAD);
	return text_decode(out, padded, bytes);
}

/* At a key's quote: up to and over its value. */
static bool member_walk(struct attr_walk *w)
{
	const uint8_t *key = w->p + 1, *stop = json_skip_text(w->p, w->end);
	uint8_t decoded[KEY_ROOM];
	uint32_t bytes;

	if (!stop)
		return false;
	bytes = (uint32_t)(stop - key) - 1;
	/* Of any length that "attributes" or a name may have, whatever names are looked for. */
	if (bytes <= 6 * ATTR_BYTES_MAX && memchr(key, '\\', bytes)) {
		bytes = attr_decode(decoded, key, bytes);
		key = decoded;
	}
	w->p = json_skip_space(stop, w->end);
	if (w->p == w->end || *w->p != ':')
		return false;
	w->p = json_skip_space(w->p + 1, w->end);
	return value_walk(w, key, bytes);
}

uint64_t attr_walk(const struct attr_tree *tree, const uint8_t *raw, uint32_t raw_bytes, uint8_t type,
	struct attr_value *value)
{
	struct attr_walk w; /* levels are set when they are entered */

	w.tree = tree;
	w.raw = raw;
	w.end = raw + raw_bytes;
	w.value = value;
	w.found = 0;
	w.type = type;
	w.depth = 1;
	w.level[0] = (struct level){0, RANK_TOP, true};
	w.p = json_skip_space(raw, w.end);
	if (w.p == w.end || *w.p++ != '{')
		return 0;
	while (w.depth) {
		w.p = json_skip_space(w.p, w.end);
		if (w.p == w.end)
			break;
		if (*w.p == '"') {
			if (!member_walk(&w))
				break;
		} else if (*w.p == ',') {
			w.p++;
		} else if (*w.p == '}') {
			w.p++;
			w.depth--;
		} else {
			break;
		}
	}
	return w.found;
}
