/* Matching, on the RX worker that owns the matcher: a burst's events in, their actions and hit lists out. All
 * memory is the matcher's (match_setup.c).
 *
 * Attributes first, if rules name any: match_attr.c finds them. Then field by field, and attribute by
 * attribute (subjects): the burst's values of the subject are copied side by side and scanned at once. Each
 * raw hit belongs to the value in which it ends. It is a hit of that value if it cannot have begun before it
 * (the pattern's widest match fits); it is none if the narrowest does not fit; else the value is scanned
 * alone, which is exact. Patterns that look at a value's edges are never in that scan: they have a database
 * of their own, for one value. Then, event by event: set its bits, look at the rules that they announce and
 * at those that need no bit. */
#include "ip_text.h"
#include "json_scan.h"
#include "match_priv.h"

/* Used for fields and for attributes: without this the compiler makes calls of what is a few instructions. */
#define MATCH_INLINE static inline __attribute__((always_inline))

static void lit_set(struct matcher *m, uint32_t lit)
{
	uint64_t *word = &m->bit[lit / 64], bit = 1ull << (lit % 64);

	if (*word & bit)
		return;
	*word |= bit;
	m->touched[m->touched_count++] = lit;
}

static bool lit_get(const struct matcher *m, uint32_t lit)
{
	return m->bit[lit / 64] >> (lit % 64) & 1;
}

/* ---- scans ---- */

static int on_gather(
	unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *arg)
{
	struct matcher *m = arg;

	(void)from;
	(void)flags;
	if (m->hit_count == m->hit_max)
		return 1;
	m->hit[m->hit_count++] = (struct gather_hit){id, (uint32_t)to};
	return 0;
}

static int on_value(
	unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *arg)
{
	(void)from;
	(void)to;
	(void)flags;
	lit_set(arg, id);
	return 0;
}

/* The event in work is m->now. NULL: an attribute that is no text, number or boolean. The subject is there.
 */
MATCH_INLINE const uint8_t *subject_text(
	struct matcher *m, const struct event *ev, uint32_t subject, uint32_t *bytes)
{
	return subject < FIELD_ID_MAX ? event_field(ev, (enum field_id)subject, bytes)
				      : attr_text(m, ev, m->now, subject - FIELD_ID_MAX, bytes);
}

MATCH_INLINE bool subject_there(const struct matcher *m, const struct event *ev, uint32_t subject)
{
	return subject < FIELD_ID_MAX ? ev->field_mask >> subject & 1
				      : m->attr_mask[m->now] >> (subject - FIELD_ID_MAX) & 1;
}

static void scan_text(struct matcher *m, const uint8_t *text, uint32_t bytes, const hs_database_t *db)
{
	m->stats.scans++;
	hs_scan(db, (const char *)text, bytes, 0, m->scratch, on_value, m);
}

/* ---- gathering ---- */

/* In pieces of 16: values are short, and readers may look beyond raw bytes by EVENT_PAD_BYTES. The tail has
 * no such promise. */
MATCH_INLINE void gather_copy(uint8_t *to, const struct event *ev, struct span s)
{
	const uint8_t *from = ev->raw + s.offset;

	if (s.offset >= ev->raw_bytes) {
		memcpy(to, ev->tail + (s.offset - ev->raw_bytes), s.bytes);
		return;
	}
	for (uint32_t i = 0; i < s.bytes; i += 16)
		memcpy(to + i, from + i, 16);
}

/* The slot that holds byte `at`, or LINK_NONE for a separator. near: where to look first. */
static uint32_t slot_of(const struct matcher *m, uint32_t at, uint32_t near)
{
	uint32_t low = 0, high = m->slot_count;

	if (m->slot[near].start <= at && at < m->slot[near].end)
		return near;
	while (high - low > 1) {
		uint32_t mid = (low + high) / 2;

		if (m->slot[mid].start <= at)
			low = mid;
		else
			high = mid;
	}
	return at < m->slot[low].end ? low : LINK_NONE;
}

/* Gives each raw hit to its event, or marks the value for a scan of its own. */
static void hits_attribute(struct matcher *m, uint32_t subject)
{
	bool attr = subject >= FIELD_ID_MAX;
	uint64_t bit = 1ull << (attr ? subject - FIELD_ID_MAX : subject);
	uint32_t near = 0;

	for (uint32_t i = 0; i < m->hit_count; i++) {
		const struct gather_hit *hit = &m->hit[i];
		const struct pattern *p = &m->rs->pattern[hit->lit];
		uint32_t at = slot_of(m, hit->end - 1, near), event, inside;
		uint64_t *rescan;

		if (at == LINK_NONE)
			continue;
		near = at;
		event = m->slot[at].event;
		rescan = attr ? &m->rescan[event].attrs : &m->rescan[event].fields;
		inside = hit->end - m->slot[at].start;
		if (inside < p->min_width || *rescan & bit)
			continue;
		if (inside < p->max_width || m->link_count == LINKS_MAX) {
			*rescan |= bit;
			continue;
		}
		m->link[m->link_count] = (struct hit_link){hit->lit, m->head[event]};
		m->head[event] = m->link_count++;
	}
}

/* Scans what is gathered. Too many raw hits: each value is to be scanned alone. */
static void gather_scan(struct matcher *m, uint32_t subject)
{
	if (!m->slot_count)
		return;
	m->hit_count = 0;
	m->hit_max = m->slot_count * GATHER_HITS_PER_VALUE;
	if (m->hit_max > GATHER_HITS_MAX)
		m->hit_max = GATHER_HITS_MAX;
	m->stats.scans++;
	if (hs_scan(m->rs->gather_db[subject], (const char *)m->gather, m->gather_used, 0, m->scratch,
		    on_gather, m) == HS_SUCCESS) {
		hits_attribute(m, subject);
	} else {
		m->rescanned = true;
		for (uint32_t i = 0; i < m->slot_count; i++)
			subject_set_add(&m->rescan[m->slot[i].event], subject);
	}
}

/* Where the next value goes: in registers between two scans. */
struct gather_end {
	struct gather_slot *slot;
	uint32_t used;
};

MATCH_INLINE void gather_finish(struct matcher *m, uint32_t subject, const struct gather_end *end)
{
	m->gather_used = end->used;
	m->slot_count = (uint32_t)(end->slot - m->slot);
	gather_scan(m, subject);
}

/* Room for one more value; what is gathered may be scanned for it. */
MATCH_INLINE uint8_t *gather_room(struct matcher *m, uint32_t subject, struct gather_end *end, uint32_t bytes)
{
	if (__builtin_expect(end->used + bytes >= GATHER_BYTES, 0)) {
		gather_finish(m, subject, end);
		*end = (struct gather_end){m->slot, 0};
	}
	return m->gather + end->used;
}

/* The value of event k, `bytes` long, stands at `at`, where gather_room() said. */
MATCH_INLINE void gather_take(struct gather_end *end, uint8_t *at, uint32_t k, uint32_t bytes)
{
	*end->slot++ = (struct gather_slot){end->used, end->used + bytes, k};
	at[bytes] = GATHER_SEPARATOR;
	end->used += bytes + 1;
}

static void gather_attr(struct matcher *m, struct event *const *ev, uint32_t n, uint32_t attr)
{
	uint32_t subject = FIELD_ID_MAX + attr;
	struct gather_end end = {m->slot, 0};

	for (uint32_t k = 0; k < n; k++) {
		const struct attr_value *v = attr_value_of(m, k, attr);
		uint32_t bytes = v->bytes;
		uint8_t *to;

		if (!(m->attr_mask[k] & m->rs->gather_mask[ev[k]->type % EVENT_TYPE_MAX].attrs &
			    1ull << attr) ||
			v->kind == ATTR_KIND_OTHER || !bytes)
			continue;
		to = gather_room(m, subject, &end, bytes);
		if (v->escaped)
			bytes = text_decode(to, ev[k]->raw + v->start, bytes);
		else
			gather_copy(to, ev[k], (struct span){v->start, v->bytes});
		gather_take(&end, to, k, bytes);
	}
	gather_finish(m, subject, &end);
}

static void gather_field(struct matcher *m, struct event *const *ev, uint32_t n, uint32_t field)
{
	const struct subject_set *masks = m->rs->gather_mask;
	struct gather_end end = {m->slot, 0};

	for (uint32_t k = 0; k < n; k++) {
		uint64_t fields = ev[k]->field_mask & masks[ev[k]->type % EVENT_TYPE_MAX].fields;
		struct span s = ev[k]->field[field];
		uint8_t *to;

		if (!(fields >> field & 1) || ev[k]->refused || !s.bytes)
			continue;
		to = gather_room(m, field, &end, s.bytes);
		gather_copy(to, ev[k], s);
		gather_take(&end, to, k, s.bytes);
	}
	gather_finish(m, field, &end);
}

static void gather_attrs(struct matcher *m, struct event *const *ev, uint32_t n)
{
	uint64_t attrs = 0;

	for (uint32_t k = 0; k < n; k++)
		attrs |= m->attr_mask[k] & m->rs->gather_mask[ev[k]->type % EVENT_TYPE_MAX].attrs;
	for (; attrs; attrs &= attrs - 1)
		gather_attr(m, ev, n, (uint32_t)__builtin_ctzll(attrs));
}

static void gather_burst(struct matcher *m, struct event *const *ev, uint32_t n)
{
	const struct subject_set *masks = m->rs->gather_mask;
	uint64_t fields = 0;

	m->link_count = 0;
	for (uint32_t k = 0; k < n; k++) {
		m->head[k] = LINK_NONE;
		m->rescan[k] = (struct subject_set){0, 0};
		fields |= ev[k]->field_mask & masks[ev[k]->type % EVENT_TYPE_MAX].fields;
	}
	for (; fields; fields &= fields - 1)
		gather_field(m, ev, n, (uint32_t)__builtin_ctzll(fields));
	if (m->rs->attrs.count)
		gather_attrs(m, ev, n);
}

/* ---- rules ---- */

static bool equal_folded(const uint8_t *p, const char *folded, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		if (ascii_fold((char)p[i]) != folded[i])
			return false;
	return true;
}

static bool eval_edge(struct matcher *m, const struct event *ev, const struct cond *c, bool suffix)
{
	uint32_t bytes, want = c->text->bytes;
	const uint8_t *p = subject_text(m, ev, c->subject, &bytes);

	if (!p || bytes < want)
		return false;
	if (suffix)
		p += bytes - want;
	return c->nocase ? equal_folded(p, c->text->text, want) : !memcmp(p, c->text->text, want);
}

/* An address by its value: field or attribute; without a subject the packet's source. */
static bool eval_cidr(struct matcher *m, const struct event *ev, const struct cond *c)
{
	uint32_t bytes, low = 0, high = c->range_count;
	const uint8_t *text, *address = ev->src_addr;
	uint8_t made[16];

	if (c->subject) {
		text = subject_text(m, ev, c->subject, &bytes);
		if (!text || !ip_from_text(made, text, bytes))
			return false;
		address = made;
	}
	while (high - low > 1) {
		uint32_t mid = (low + high) / 2;

		if (memcmp(c->range[mid].first, address, 16) <= 0)
			low = mid;
		else
			high = mid;
	}
	return memcmp(c->range[low].first, address, 16) <= 0 && memcmp(address, c->range[low].last, 16) <= 0;
}

/* False: an attribute that is no number. */
static bool number_of(const struct matcher *m, const struct event *ev, uint32_t subject, double *number)
{
	enum field_id field = (enum field_id)subject;

	if (subject >= FIELD_ID_MAX)
		return attr_number(m, ev, m->now, subject - FIELD_ID_MAX, number);
	switch (field_table[field].kind) {
	case FIELD_KIND_TIME:
		*number = (double)ev->event_time_ms;
		break;
	case FIELD_KIND_DECIMAL:
		*number = field_decimal_double(event_decimal(ev, field));
		break;
	default:
		*number = event_number(ev, field);
	}
	return true;
}

static bool eval_range(const struct matcher *m, const struct event *ev, const struct cond *c)
{
	double v;

	return number_of(m, ev, c->subject, &v) && (c->low_open ? v > c->low : v >= c->low) &&
	       (c->high_open ? v < c->high : v <= c->high);
}

static bool eval_numbers(const struct matcher *m, const struct event *ev, const struct cond *c)
{
	double v;
	uint32_t low = 0, high = c->number_count;

	if (!number_of(m, ev, c->subject, &v))
		return false;
	while (high - low > 1) {
		uint32_t mid = (low + high) / 2;

		if (c->number[mid] <= v)
			low = mid;
		else
			high = mid;
	}
	return c->number[low] == v;
}

/* Depth is bounded by RULE_DEPTH_MAX levels of any, all, not. */
static bool eval(struct matcher *m, const struct event *ev, const struct prog_node *n)
{
	const struct prog_node *end = n + n->skip;
	bool any = n->op == PROG_ANY;

	switch (n->op) {
	case PROG_ALL:
	case PROG_ANY:
		for (const struct prog_node *it = n + 1; it < end; it += it->skip)
			if (eval(m, ev, it) == any)
				return any;
		return !any;
	case PROG_NOT:
		return !eval(m, ev, n + 1);
	case PROG_LIT:
		return lit_get(m, n->arg);
	case PROG_TYPE:
		return n->types >> ev->type & 1;
	case PROG_ABSENT:
		return !subject_there(m, ev, n->subject);
	default:
		break;
	}
	if (n->subject && !subject_there(m, ev, n->subject))
		return false;
	switch (n->op) {
	case PROG_CIDR:
		return eval_cidr(m, ev, m->rs->operand[n->arg]);
	case PROG_NUMBERS:
		return eval_numbers(m, ev, m->rs->operand[n->arg]);
	case PROG_RANGE:
		return eval_range(m, ev, m->rs->operand[n->arg]);
	case PROG_PREFIX:
	case PROG_SUFFIX:
		return eval_edge(m, ev, m->rs->operand[n->arg], n->op == PROG_SUFFIX);
	default:
		return true; /* PROG_PRESENT */
	}
}

static void match_look(struct matcher *m, struct event *ev, uint32_t match)
{
	const struct ruleset *rs = m->rs;

	if (m->stamp[match] == m->stamp_now || !(rs->match_types[match] >> ev->type & 1))
		return;
	m->stamp[match] = m->stamp_now;
	if (!eval(m, ev, &rs->prog[rs->match_prog[match]]))
		return;
	ev->actions |= rs->match_actions[match];
	m->rule_hits[match]++;
	m->matched[m->matched_count] = (uint16_t)match;
	m->matched_count += rs->match_actions[match] != 0; /* a canary is counted, and that is all */
}

/* Ascending. Few: by insertion; many: through a bit set. */
static void matched_sort(struct matcher *m)
{
	uint16_t *list = m->matched;
	uint32_t n = m->matched_count;

	if (n > 48) {
		for (uint32_t i = 0; i < n; i++)
			m->rule_bit[list[i] / 64] |= 1ull << (list[i] % 64);
		n = 0;
		for (uint32_t w = 0; w <= m->rs->match_count / 64; w++)
			for (; m->rule_bit[w]; m->rule_bit[w] &= m->rule_bit[w] - 1)
				list[n++] = (uint16_t)(w * 64 + (uint32_t)__builtin_ctzll(m->rule_bit[w]));
		return;
	}
	for (uint32_t i = 1; i < n; i++) {
		uint16_t v = list[i];
		uint32_t j = i;

		for (; j && list[j - 1] > v; j--)
			list[j] = list[j - 1];
		list[j] = v;
	}
}

static void matched_put(struct matcher *m, struct event *ev)
{
	uint32_t n = m->matched_count;

	if (n > 1)
		matched_sort(m);
	if (n > MATCH_HITS_MAX) {
		n = MATCH_HITS_MAX;
		m->stats.hits_truncated++;
	}
	memcpy(m->out + m->out_used, m->matched, n * sizeof *m->out);
	ev->hit = m->out + m->out_used;
	ev->hit_count = (uint16_t)n;
	m->out_used += n;
}

static void dict_set(struct matcher *m, const struct textmap *map, const void *key, uint32_t bytes)
{
	const struct textmap_slot *slot = textmap_find(map, key, bytes);
	const struct dict_link *links = m->rs->dict_link;

	for (uint32_t at = slot ? slot->value : TEXTMAP_NONE; at != TEXTMAP_NONE; at = links[at].next)
		lit_set(m, links[at].lit);
}

MATCH_INLINE void dict_look(struct matcher *m, const struct dict *dict, const uint8_t *p, uint32_t bytes)
{
	dict_set(m, &dict->exact, p, bytes);
	if (bytes > dict->folded.bytes_max ||
		!textmap_maybe(&dict->folded, bytes ? (uint8_t)ascii_fold((char)*p) : 0, bytes))
		return;
	for (uint32_t i = 0; i < bytes; i++)
		m->folded[i] = ascii_fold((char)p[i]);
	dict_set(m, &dict->folded, m->folded, bytes);
}

/* Sets the bits that the event's fields give beside those of the gathered scans. */
static void field_bits(struct matcher *m, const struct event *ev, uint32_t k)
{
	const struct ruleset *rs = m->rs;
	const uint8_t *p;
	uint64_t left;
	uint32_t bytes;

	for (left = m->rescan[k].fields; left; left &= left - 1) {
		uint32_t field = (uint32_t)__builtin_ctzll(left);

		p = event_field(ev, (enum field_id)field, &bytes);
		scan_text(m, p, bytes, rs->single_db[field]);
	}
	for (left = ev->field_mask & rs->edge_mask[ev->type].fields; left; left &= left - 1) {
		uint32_t field = (uint32_t)__builtin_ctzll(left);

		p = event_field(ev, (enum field_id)field, &bytes);
		scan_text(m, p, bytes, rs->edge_db[field]);
	}
	for (left = ev->field_mask & rs->dict_mask[ev->type].fields; left; left &= left - 1) {
		uint32_t field = (uint32_t)__builtin_ctzll(left);

		p = ev->event_id;
		bytes = 16;
		if (field != FIELD_event_id)
			p = event_field(ev, (enum field_id)field, &bytes);
		dict_look(m, &rs->dict[field], p, bytes);
	}
}

/* The same for its attributes. */
static __attribute__((noinline)) void attr_bits(struct matcher *m, const struct event *ev, uint32_t k)
{
	const struct ruleset *rs = m->rs;

	for (uint64_t left = m->attr_mask[k]; left; left &= left - 1) {
		uint32_t attr = (uint32_t)__builtin_ctzll(left), subject = FIELD_ID_MAX + attr, bytes;
		const uint8_t *p = attr_text(m, ev, k, attr, &bytes);

		if (!p)
			continue;
		if (m->rescan[k].attrs >> attr & 1)
			scan_text(m, p, bytes, rs->single_db[subject]);
		if (rs->edge_mask[ev->type].attrs >> attr & 1)
			scan_text(m, p, bytes, rs->edge_db[subject]);
		if (rs->dict_mask[ev->type].attrs >> attr & 1)
			dict_look(m, &rs->dict[subject], p, bytes);
	}
}

/* Sets the event's hit bits. */
static void event_bits(struct matcher *m, const struct event *ev, uint32_t k)
{
	for (uint32_t i = m->head[k]; i != LINK_NONE; i = m->link[i].next)
		lit_set(m, m->link[i].lit);
	field_bits(m, ev, k);
	if (m->attr_mask[k])
		attr_bits(m, ev, k);
}

/* No bit can be set, and no rule needs none: most events of most rulesets. */
static bool event_idle(const struct matcher *m, const struct event *ev, uint32_t k)
{
	const struct subject_set *alone = &m->rs->alone_mask[ev->type];

	return !m->rs->always_count[ev->type] && !(ev->field_mask & alone->fields) &&
	       m->head[k] == LINK_NONE && !(m->rescan[k].fields | m->rescan[k].attrs) &&
	       !(m->attr_mask[k] & alone->attrs);
}

static void event_run(struct matcher *m, struct event *ev, uint32_t k)
{
	const struct ruleset *rs = m->rs;

	ev->actions = 0;
	ev->hit_count = 0;
	ev->hit = m->out + m->out_used;
	if (ev->refused || ev->type >= EVENT_TYPE_MAX || event_idle(m, ev, k))
		return;
	if (!++m->stamp_now) {
		memset(m->stamp, 0, rs->match_count * sizeof *m->stamp);
		m->stamp_now = 1;
	}
	m->matched_count = 0;
	m->now = k;
	event_bits(m, ev, k);
	if (rs->confirm_count)
		confirm_bits(m, ev);
	for (uint32_t i = 0; i < rs->always_count[ev->type]; i++)
		match_look(m, ev, rs->always[ev->type][i]);
	for (uint32_t i = 0; i < m->touched_count; i++) {
		uint32_t lit = m->touched[i];

		for (uint32_t j = rs->lit_first[lit]; j < rs->lit_first[lit + 1]; j++)
			match_look(m, ev, rs->lit_match[j]);
	}
	for (uint32_t i = 0; i < m->touched_count; i++)
		m->bit[m->touched[i] / 64] = 0;
	m->touched_count = 0;
	if (m->matched_count)
		matched_put(m, ev);
}

void matcher_run(struct matcher *m, struct event *const *ev, uint32_t n)
{
	m->out_used = 0;
	m->rescanned = false;
	m->stats.events += n;
	if (m->rs->attrs.count)
		attrs_look(m, ev, n);
	gather_burst(m, ev, n);
	for (uint32_t k = 0; k < n; k++)
		event_run(m, ev[k], k);
	m->stats.rescans += m->rescanned;
}
