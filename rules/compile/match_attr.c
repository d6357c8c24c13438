/* Attributes of events, on the RX worker that owns the matcher: attr_walk() finds them, here is what tests
 * see of them. */
#include "json_scan.h"
#include "match_priv.h"

/* Most events are of types whose rules name no attribute. */
void attrs_look(struct matcher *m, struct event *const *ev, uint32_t n)
{
	const struct attr_tree *tree = &m->rs->attrs;

	for (uint32_t k = 0; k < n; k++) {
		bool look = m->rs->attr_types >> ev[k]->type % EVENT_TYPE_MAX & 1 && !ev[k]->refused;

		m->attr_mask[k] = !look ? 0
					: attr_walk(tree, ev[k]->raw, ev[k]->raw_bytes, ev[k]->type,
						  &m->attr[k * tree->count]);
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
