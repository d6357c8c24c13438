/* Keys with attributes: all windows of a stage that group by some share one walk over an event, which the
 * first of them that takes it makes; see stage_priv.h. State thread of a partition. */
#include "attr.h"
#include "stage_priv.h"

/* Attributes that are found together, and what has been found in events of the run. */
struct stage_attrs {
	struct stage_attrs *next; /* a tree has ATTRS_MAX at most */
	struct attr_tree tree;
	uint32_t count;
	const char *path[ATTRS_MAX]; /* of the windows' definitions, which live longer */
	uint64_t walked;	     /* events of the run, as bits */
	uint64_t found[STAGE_RUN];
	struct attr_value *value; /* `count` of each event of the run */
};

static uint32_t path_at(const struct stage_attrs *a, const char *path)
{
	uint32_t i = 0;

	while (i < a->count && strcmp(a->path[i], path) != 0)
		i++;
	return i;
}

static const char *path_of(const struct window_def *def, uint32_t group)
{
	return def->attr[group] + strlen(ATTR_PREFIX);
}

/* Whether all attributes of the window have room. */
static bool attrs_fit(const struct stage_attrs *a, const struct window_def *def)
{
	uint32_t more = 0;

	for (uint32_t i = 0; i < def->group_count; i++)
		more += def->attr[i] && path_at(a, path_of(def, i)) == a->count;
	return a->count + more <= ATTRS_MAX;
}

void stage_attrs_add(struct stage_window *w)
{
	const struct window_def *def = w->def;
	struct stage_attrs **at = &w->st->attrs;
	bool any = false;

	for (uint32_t i = 0; i < def->group_count; i++)
		any |= def->attr[i] != NULL;
	if (!any)
		return;
	while (*at && !attrs_fit(*at, def))
		at = &(*at)->next;
	if (!*at)
		*at = must_calloc(1, sizeof **at);
	w->attrs = *at;
	for (uint32_t i = 0; i < def->group_count; i++) {
		if (!def->attr[i])
			continue;
		w->attr_at[i] = (uint8_t)path_at(*at, path_of(def, i));
		(*at)->path[w->attr_at[i]] = path_of(def, i);
		(*at)->count += w->attr_at[i] == (*at)->count;
	}
}

void stage_attrs_make(struct stage *st)
{
	for (struct stage_attrs *a = st->attrs; a; a = a->next) {
		a->tree.edge = must_calloc(attr_tree_edges(a->count), sizeof *a->tree.edge);
		a->value = must_calloc(STAGE_RUN * (size_t)a->count, sizeof *a->value);
		attr_tree_make(&a->tree, a->path, a->count);
	}
}

void stage_attrs_begin(struct stage *st)
{
	for (struct stage_attrs *a = st->attrs; a; a = a->next)
		a->walked = 0;
}

void stage_attrs_free(struct stage *st)
{
	for (struct stage_attrs *a = st->attrs, *next; a; a = next) {
		next = a->next;
		free(a->tree.edge);
		free(a->value);
		free(a);
	}
}

/* Text of an attribute as rules see it; NULL: it is an object or an array. What is escaped and longer than
 * fits is longer than any key when it is decoded, too. */
static const uint8_t *attr_part(
	const uint8_t *raw, const struct attr_value *v, uint8_t *decoded, uint32_t *bytes)
{
	*bytes = 0;
	if (v->kind == ATTR_KIND_OTHER)
		return NULL;
	*bytes = v->bytes;
	if (!v->escaped || v->bytes > ATTR_ESCAPED_MAX)
		return raw + v->start;
	*bytes = attr_decode(decoded, raw + v->start, v->bytes);
	return decoded;
}
_Static_assert(ATTR_ESCAPED_MAX >= 6 * WINDOW_KEY_BYTES_MAX, "a longer text is longer than a key");

uint32_t stage_key_of_attrs(const struct stage_window *w, uint32_t index, uint8_t *to)
{
	const struct record *rec = w->st->run.rec[index];
	const uint8_t *raw = record_payload(rec);
	struct stage_attrs *a = w->attrs;
	struct attr_value *value = a->value + (size_t)index * a->count;
	uint8_t decoded[ATTR_ESCAPED_MAX + ATTR_DECODE_PAD];
	uint32_t used = 0;

	if (!(a->walked >> index & 1)) {
		uint32_t raw_bytes = rec->raw_bytes < EVENT_BYTES_MAX ? rec->raw_bytes : EVENT_BYTES_MAX;

		a->found[index] = attr_walk(&a->tree, raw, raw_bytes, rec->type % EVENT_TYPE_MAX, value);
		a->walked |= 1ull << index;
	}
	for (uint32_t i = 0; i < w->def->group_count; i++) {
		char text[DECIMAL_TEXT_BYTES];
		const uint8_t *part = NULL;
		uint32_t bytes = 0;

		if (!w->def->attr[i])
			part = row_key_field(rec, w->def->group[i], text, &bytes);
		else if (a->found[index] >> w->attr_at[i] & 1)
			part = attr_part(raw, &value[w->attr_at[i]], decoded, &bytes);
		if (!row_key_add(to, WINDOW_KEY_BYTES_MAX, &used, part, bytes))
			return 0;
	}
	return used;
}
