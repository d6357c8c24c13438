/* Attributes of events, on the RX worker that owns the matcher: one walk over an event's JSON finds the
 * values under all names that the ruleset's tests have (the tree of rule_attrs.c). Only for events of types
 * whose rules name any. What is found are places in the raw bytes; nothing is decoded until a test looks at
 * it.
 *
 * The parser has accepted these bytes; whatever stands there all the same, nothing beyond their end is read.
 */
#include "json_scan.h"
#include "match_priv.h"

/* Where a name may stand; what comes first here goes first. */
enum attr_rank { RANK_ATTRIBUTES, RANK_PROPERTIES, RANK_TOP, RANK_NONE };

struct level {
	uint16_t node;
	uint8_t rank;
	bool top; /* the event's own object */
};

struct attr_walk {
	struct matcher *m;
	const struct event *ev;
	const uint8_t *p, *end;
	struct attr_value *value; /* of this event, by attribute */
	uint64_t *found;
	uint32_t depth;
	struct level level[EVENT_DEPTH_MAX];
};

static bool name_is(const uint8_t *key, uint32_t bytes, const char *name, uint32_t name_bytes)
{
	return bytes == name_bytes && !memcmp(key, name, bytes);
}

#define NAME_IS(key, bytes, name) name_is(key, bytes, name, sizeof name - 1)

/* A key that the event's type knows is a field, and no attribute. */
static bool key_is_field(const struct event *ev, const uint8_t *key, uint32_t bytes)
{
	for (uint32_t i = 0; i < key_count; i++) {
		const struct key_info *info = &key_table[i];

		if (info->scope == KEY_SCOPE_TOP && name_is(key, bytes, info->key, info->key_bytes))
			return type_table[ev->type].uses >> info->field & 1;
	}
	return NAME_IS(key, bytes, "type");
}

static void value_take(struct attr_walk *w, uint32_t attr, const uint8_t *stop, uint8_t rank)
{
	struct attr_value *v = &w->value[attr];
	const uint8_t *start = w->p;
	uint8_t c = *start;

	if (c == 'n' || (*w->found >> attr & 1 && v->rank <= rank)) /* null = absent */
		return;
	v->kind = c == '"'		 ? ATTR_KIND_TEXT
		  : c == '{' || c == '[' ? ATTR_KIND_OTHER
		  : c == 't' || c == 'f' ? ATTR_KIND_WORD
					 : ATTR_KIND_NUMBER;
	if (v->kind == ATTR_KIND_TEXT) {
		start++;
		stop--;
	}
	v->start = (uint16_t)(start - w->ev->raw);
	v->bytes = (uint16_t)(stop - start);
	v->escaped = v->kind == ATTR_KIND_TEXT && memchr(start, '\\', v->bytes);
	v->rank = rank;
	*w->found |= 1ull << attr;
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
	const struct attr_tree *tree = &w->m->rs->attrs;
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
	if (node && at->top && key_is_field(w->ev, key, bytes))
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

/* At a key's quote: up to and over its value. */
static bool member_walk(struct attr_walk *w)
{
	uint32_t room = w->m->rs->attrs.key_bytes_max;
	const uint8_t *key = w->p + 1, *stop = json_skip_text(w->p, w->end);
	uint8_t decoded[6 * (ATTR_BYTES_MAX + 1)];
	uint32_t bytes;

	if (!stop)
		return false;
	bytes = (uint32_t)(stop - key) - 1;
	if (bytes <= 6 * room && bytes <= sizeof decoded && memchr(key, '\\', bytes)) {
		bytes = text_decode(decoded, key, bytes);
		key = decoded;
	}
	w->p = json_skip_space(stop, w->end);
	if (w->p == w->end || *w->p != ':')
		return false;
	w->p = json_skip_space(w->p + 1, w->end);
	return value_walk(w, key, bytes);
}

void attrs_walk(struct matcher *m, const struct event *ev, uint32_t k)
{
	struct attr_walk w; /* levels are set when they are entered */

	w.m = m;
	w.ev = ev;
	w.end = ev->raw + ev->raw_bytes;
	w.value = &m->attr[k * m->rs->attrs.count];
	w.found = &m->attr_mask[k];
	w.depth = 1;
	w.level[0] = (struct level){0, RANK_TOP, true};
	w.p = json_skip_space(ev->raw, w.end);
	if (w.p == w.end || *w.p++ != '{')
		return;
	while (w.depth) {
		w.p = json_skip_space(w.p, w.end);
		if (w.p == w.end)
			return;
		if (*w.p == '"') {
			if (!member_walk(&w))
				return;
		} else if (*w.p == ',') {
			w.p++;
		} else if (*w.p == '}') {
			w.p++;
			w.depth--;
		} else {
			return;
		}
	}
}

const uint8_t *attr_text(
	struct matcher *m, const struct event *ev, uint32_t k, uint32_t attr, uint32_t *bytes)
{
	const struct attr_value *v = attr_value_of(m, k, attr);

	*bytes = v->bytes;
	if (v->kind == ATTR_KIND_OTHER)
		return NULL;
	if (!v->escaped)
		return ev->raw + v->start;
	*bytes = text_decode(m->attr_text, ev->raw + v->start, v->bytes);
	return m->attr_text;
}

bool attr_number(const struct matcher *m, const struct event *ev, uint32_t k, uint32_t attr, double *number)
{
	const struct attr_value *v = attr_value_of(m, k, attr);
	const uint8_t *text = ev->raw + v->start, *end = text + v->bytes;
	struct number n;

	return v->kind == ATTR_KIND_NUMBER && number_walk(text, end, &n) == end &&
	       number_double(&m->numbers, &n, text, v->bytes, number);
}
