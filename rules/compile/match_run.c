/* Matching, on the RX worker that owns the matcher: a burst's events in, their actions and hit lists out. All
 * memory is the matcher's (match_setup.c).
 *
 * A chunk of events: their fields are copied side by side and scanned at once. Each raw hit belongs to the
 * field in which it ends. It is a hit of that field if it cannot have begun before it (the pattern's widest
 * match fits); it is none if the narrowest does not fit; else the field is scanned alone, which is exact.
 * Patterns that look at a field's edges are never in that scan: each field has its own database for them.
 * Then, event by event: set its bits, look at the rules that they announce and at those that need no bit. */
#include "match_priv.h"

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
	m->hit[m->hit_count].pattern = id;
	m->hit[m->hit_count].end = (uint32_t)to;
	m->hit_count++;
	return 0;
}

static int on_single(
	unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *arg)
{
	struct matcher *m = arg;
	const struct pattern *p = &m->rs->pattern[id];

	(void)from;
	(void)to;
	(void)flags;
	if (p->fields & 1ull << m->scan_field)
		lit_set(m, pattern_lit(p, m->scan_field));
	return 0;
}

static int on_edge(
	unsigned int id, unsigned long long from, unsigned long long to, unsigned int flags, void *arg)
{
	(void)from;
	(void)to;
	(void)flags;
	lit_set(arg, id);
	return 0;
}

static void scan_field(struct matcher *m, const struct event *ev, uint32_t field, const hs_database_t *db,
	match_event_handler on)
{
	uint32_t bytes;
	const uint8_t *p = event_field(ev, (enum field_id)field, &bytes);

	m->scan_field = field;
	m->stats.scans++;
	hs_scan(db, (const char *)p, bytes, 0, m->scratch, on, m);
}

/* ---- gathering ---- */

static uint64_t gather_fields(const struct matcher *m, const struct event *ev)
{
	return ev->refused ? 0 : ev->field_mask & m->rs->gather_mask[ev->type % EVENT_TYPE_MAX];
}

static uint32_t gather_need(const struct event *ev, uint64_t fields)
{
	uint32_t need = 0;

	for (; fields; fields &= fields - 1)
		need += ev->field[__builtin_ctzll(fields)].bytes + 1u;
	return need;
}

/* In pieces of 16: fields are short, and readers may look beyond raw bytes by EVENT_PAD_BYTES. The tail has
 * no such promise. */
static void gather_copy(uint8_t *to, const struct event *ev, struct span s)
{
	const uint8_t *from = ev->raw + s.offset;

	if (s.offset >= ev->raw_bytes) {
		memcpy(to, ev->tail + (s.offset - ev->raw_bytes), s.bytes);
		return;
	}
	for (uint32_t i = 0; i < s.bytes; i += 16)
		memcpy(to + i, from + i, 16);
}

/* Copies fields of as many events as fit; at least one. Returns how many; *whole is false for an event that
 * does not fit at all. */
static uint32_t gather_fill(
	struct matcher *m, struct event *const *ev, uint32_t n, uint32_t *bytes, bool *whole)
{
	uint32_t used = 0, k;

	m->slot_count = 0;
	*whole = true;
	for (k = 0; k < n; k++) {
		uint64_t fields = gather_fields(m, ev[k]);

		if (gather_need(ev[k], fields) > GATHER_BYTES - used) {
			if (k)
				break;
			*whole = false;
			k = 1;
			break;
		}
		m->slot_first[k] = m->slot_count;
		m->head[k] = HIT_NONE;
		for (; fields; fields &= fields - 1) {
			uint32_t field = (uint32_t)__builtin_ctzll(fields);
			struct span s = ev[k]->field[field];

			if (!s.bytes)
				continue;
			gather_copy(m->gather + used, ev[k], s);
			m->slot[m->slot_count++] = (struct gather_slot){.start = used,
				.end = used + s.bytes,
				.event = (uint16_t)k,
				.field = (uint8_t)field};
			used += s.bytes;
			m->gather[used++] = GATHER_SEPARATOR;
		}
	}
	m->slot_first[k] = m->slot_count;
	*bytes = used;
	return k;
}

/* The slot that holds byte `at`, or HIT_NONE for a separator. near: where to look first. */
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
	return at < m->slot[low].end ? low : HIT_NONE;
}

/* Gives each raw hit to its event, or marks the field for a scan of its own. */
static void hits_attribute(struct matcher *m)
{
	uint32_t near = 0;

	for (uint32_t i = 0; i < m->hit_count; i++) {
		struct gather_hit *hit = &m->hit[i];
		const struct pattern *p = &m->rs->pattern[hit->pattern];
		uint32_t at = slot_of(m, hit->end - 1, near), inside;
		struct gather_slot *slot;

		if (at == HIT_NONE)
			continue;
		near = at;
		slot = &m->slot[at];
		inside = hit->end - slot->start;
		if (!(p->fields & 1ull << slot->field) || inside < p->min_width || slot->rescan)
			continue;
		if (inside < p->max_width) {
			slot->rescan = true;
			continue;
		}
		hit->lit = pattern_lit(p, slot->field);
		hit->next = m->head[slot->event];
		m->head[slot->event] = i;
	}
}

/* False: too many raw hits, or no such scan is possible; look at each field alone. */
static bool gather_scan(struct matcher *m, uint32_t bytes, uint32_t events)
{
	hs_error_t rc;

	if (!bytes)
		return true;
	m->hit_count = 0;
	m->hit_max = events * GATHER_HITS_PER_EVENT;
	if (m->hit_max > GATHER_HITS_MAX)
		m->hit_max = GATHER_HITS_MAX;
	m->stats.scans++;
	rc = hs_scan(m->rs->gather_db, (const char *)m->gather, bytes, 0, m->scratch, on_gather, m);
	if (rc != HS_SUCCESS)
		return false;
	hits_attribute(m);
	return true;
}

/* ---- rules ---- */

static bool equal_folded(const uint8_t *p, const char *folded, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		if (ascii_fold((char)p[i]) != folded[i])
			return false;
	return true;
}

static bool eval_edge(const struct event *ev, const struct cond *c, bool suffix)
{
	uint32_t bytes, want = c->text->bytes;
	const uint8_t *p = event_field(ev, c->field, &bytes);

	if (bytes < want)
		return false;
	if (suffix)
		p += bytes - want;
	return c->nocase ? equal_folded(p, c->text->text, want) : !memcmp(p, c->text->text, want);
}

static double number_of(const struct event *ev, enum field_id field)
{
	return field_table[field].kind == FIELD_KIND_TIME ? (double)ev->event_time_ms
							  : event_number(ev, field);
}

static bool eval_range(const struct event *ev, const struct cond *c)
{
	double v = number_of(ev, c->field);

	return (c->low_open ? v > c->low : v >= c->low) && (c->high_open ? v < c->high : v <= c->high);
}

static bool eval_numbers(const struct event *ev, const struct cond *c)
{
	double v = number_of(ev, c->field);
	uint32_t low = 0, high = c->number_count;

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
static bool eval(const struct matcher *m, const struct event *ev, const struct prog_node *n)
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
		return !(ev->field_mask >> n->field & 1);
	default:
		break;
	}
	if (!(ev->field_mask >> n->field & 1))
		return false;
	switch (n->op) {
	case PROG_NUMBERS:
		return eval_numbers(ev, m->rs->operand[n->arg]);
	case PROG_RANGE:
		return eval_range(ev, m->rs->operand[n->arg]);
	case PROG_PREFIX:
	case PROG_SUFFIX:
		return eval_edge(ev, m->rs->operand[n->arg], n->op == PROG_SUFFIX);
	default:
		return true; /* PROG_PRESENT */
	}
}

static void rule_look(struct matcher *m, struct event *ev, uint32_t rule)
{
	const struct ruleset *rs = m->rs;

	if (m->stamp[rule] == m->stamp_now || !(rs->rule_types[rule] >> ev->type & 1))
		return;
	m->stamp[rule] = m->stamp_now;
	if (!eval(m, ev, &rs->prog[rs->rule_prog[rule]]))
		return;
	ev->actions |= rs->rule_actions[rule];
	m->rule_hits[rule]++;
	m->matched[m->matched_count++] = (uint16_t)rule;
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
		for (uint32_t w = 0; w <= m->rs->rule_count / 64; w++)
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

static void dict_look(struct matcher *m, const struct event *ev, uint32_t field)
{
	const struct dict *dict = &m->rs->dict[field];
	const uint8_t *p = ev->event_id;
	uint32_t bytes = 16;

	if (field != FIELD_event_id)
		p = event_field(ev, (enum field_id)field, &bytes);
	dict_set(m, &dict->exact, p, bytes);
	if (!dict->folded.count || bytes > dict->folded.bytes_max)
		return;
	for (uint32_t i = 0; i < bytes; i++)
		m->folded[i] = ascii_fold((char)p[i]);
	dict_set(m, &dict->folded, m->folded, bytes);
}

/* Sets the event's hit bits: from the gathered scan if it stands, else from scans of its fields. */
static void event_bits(struct matcher *m, const struct event *ev, uint32_t k, bool gathered)
{
	const struct ruleset *rs = m->rs;
	uint64_t fields;

	if (gathered) {
		for (uint32_t i = m->head[k]; i != HIT_NONE; i = m->hit[i].next)
			lit_set(m, m->hit[i].lit);
		for (uint32_t s = m->slot_first[k]; s < m->slot_first[k + 1]; s++)
			if (m->slot[s].rescan)
				scan_field(m, ev, m->slot[s].field, rs->single_db, on_single);
	} else {
		for (fields = gather_fields(m, ev); fields; fields &= fields - 1)
			scan_field(m, ev, (uint32_t)__builtin_ctzll(fields), rs->single_db, on_single);
	}
	for (fields = ev->field_mask & rs->edge_mask[ev->type]; fields; fields &= fields - 1) {
		uint32_t field = (uint32_t)__builtin_ctzll(fields);

		scan_field(m, ev, field, rs->edge_db[field], on_edge);
	}
	for (fields = ev->field_mask & rs->dict_mask[ev->type]; fields; fields &= fields - 1)
		dict_look(m, ev, (uint32_t)__builtin_ctzll(fields));
}

static void event_run(struct matcher *m, struct event *ev, uint32_t k, bool gathered)
{
	const struct ruleset *rs = m->rs;

	ev->actions = 0;
	ev->hit_count = 0;
	ev->hit = m->out + m->out_used;
	if (ev->refused || ev->type >= EVENT_TYPE_MAX)
		return;
	if (!++m->stamp_now) {
		memset(m->stamp, 0, rs->rule_count * sizeof *m->stamp);
		m->stamp_now = 1;
	}
	m->matched_count = 0;
	event_bits(m, ev, k, gathered);
	for (uint32_t i = 0; i < rs->always_count[ev->type]; i++)
		rule_look(m, ev, rs->always[ev->type][i]);
	for (uint32_t i = 0; i < m->touched_count; i++) {
		uint32_t lit = m->touched[i];

		for (uint32_t j = rs->lit_first[lit]; j < rs->lit_first[lit + 1]; j++)
			rule_look(m, ev, rs->lit_rule[j]);
	}
	for (uint32_t i = 0; i < m->touched_count; i++)
		m->bit[m->touched[i] / 64] = 0;
	m->touched_count = 0;
	if (m->matched_count)
		matched_put(m, ev);
}

void matcher_run(struct matcher *m, struct event *const *ev, uint32_t n)
{
	bool rescanned = false;

	m->out_used = 0;
	m->stats.events += n;
	for (uint32_t done = 0; done < n;) {
		uint32_t bytes;
		bool whole;
		uint32_t count = gather_fill(m, ev + done, n - done, &bytes, &whole);
		bool gathered = whole && gather_scan(m, bytes, count);

		rescanned = rescanned || !gathered;
		for (uint32_t k = 0; k < count; k++)
			event_run(m, ev[done + k], k, gathered);
		done += count;
	}
	m->stats.rescans += rescanned;
}
