/* Sequences: a nondeterministic automaton whose branches are the partial matches of a key, one for each event
 * that passed the first step, each in one state: so many events of that step. State thread.
 * docs/rules-state.md says what differs from Flink. An absence is a sequence of one step with one behind it
 * that must not come. */
#include "cep_priv.h"

enum fate { FATE_STAYS, FATE_DROPPED, FATE_MATCHED };

static bool negated(const struct rule_step *step)
{
	return step->follow == RULE_NOT_NEXT || step->follow == RULE_NOT_FOLLOWED_BY;
}

void cep_sequence_setup(struct cep_machine *m)
{
	uint32_t count = m->def.step_count < RULE_STEPS_MAX ? m->def.step_count : RULE_STEPS_MAX;

	for (uint32_t i = 0; i < count; i++) {
		const struct rule_step *def = &m->def.step[i];
		struct cep_sequence *s = &m->step[i];
		uint32_t k = i + 1;

		*s = (struct cep_sequence){
			.next = CEP_NONE, .min = def->times_min ? def->times_min : 1, .max = def->times_max};
		if (s->max < s->min)
			s->max = s->min;
		for (; k < count; k++) {
			bool absence = m->def.kind == RULE_STATE_ABSENCE;

			if (!absence && !negated(&m->def.step[k]))
				break;
			if (!absence && m->def.step[k].follow == RULE_NOT_NEXT)
				s->not_next |= 1u << k;
			else
				s->not_followed |= 1u << k;
		}
		if (k == count) {
			m->open_end |= s->not_next | s->not_followed;
			continue;
		}
		s->next = (uint8_t)k;
		s->strict = m->def.step[k].follow == RULE_NEXT;
	}
}

/* All events are there; only time can tell that what must not come does not. */
static bool waits_for_end(const struct cep_machine *m, const struct cep_partial *p)
{
	const struct cep_sequence *s = &m->step[p->step];

	return s->next == CEP_NONE && p->times >= s->min && (s->not_next | s->not_followed);
}

/* ---- events of a partial match ---- */
void cep_partial_drop(struct cep_machine *m, struct cep_partial *p)
{
	while (p->more) {
		uint32_t handle = p->more;

		p->more = ((struct cep_node *)agg_arena_at(m->arena, handle))->next;
		agg_arena_give(m->arena, handle, sizeof(struct cep_node));
	}
	m->bytes -= p->nodes * sizeof(struct cep_node);
	p->nodes = 0;
}

/* In order of event time an event may have come before the first. */
static int32_t offset_behind(const struct cep_partial *p, uint64_t offset)
{
	int64_t behind = (int64_t)(offset - (p->offset == CEP_OFFSET_UNKNOWN ? 0 : p->offset));

	return offset != CEP_OFFSET_UNKNOWN && behind > INT32_MIN && behind <= INT32_MAX ? (int32_t)behind
											 : CEP_NODE_UNKNOWN;
}

static void partial_append(struct cep_machine *m, struct cep_partial *p, const struct cep_event *ev)
{
	struct cep_node *node;
	uint32_t handle;

	p->last_ms = (uint32_t)(ev->time_ms - p->start_ms);
	p->apart = 0;
	p->events += p->events < UINT16_MAX;
	if (p->nodes + 1u >= m->def.evidence_max)
		return;
	handle = agg_arena_swap(m->arena, sizeof *node);
	node = agg_arena_at(m->arena, handle);
	memcpy(node->id, ev->id, sizeof node->id);
	node->behind = offset_behind(p, ev->offset);
	node->next = p->more;
	p->more = handle;
	p->nodes++;
	m->bytes += sizeof *node;
}

static void partial_seen(const struct cep_machine *m, const struct cep_partial *p, struct cep_alert *a)
{
	uint64_t base = p->offset == CEP_OFFSET_UNKNOWN ? 0 : p->offset;
	uint32_t at = p->nodes;

	if (!m->def.evidence_max)
		return;
	a->seen_count = at + 1;
	a->seen[0] = (struct cep_seen){p->start_ms, p->offset, {0}};
	memcpy(a->seen[0].id, p->id, sizeof p->id);
	for (uint32_t handle = p->more; handle; at--) {
		const struct cep_node *node = agg_arena_at(m->arena, handle);

		/* of the events between, the time is not kept */
		a->seen[at] = (struct cep_seen){CEP_NO_TIME,
			node->behind == CEP_NODE_UNKNOWN ? CEP_OFFSET_UNKNOWN
							 : base + (uint64_t)(int64_t)node->behind,
			{0}};
		memcpy(a->seen[at].id, node->id, sizeof node->id);
		handle = node->next;
	}
}

/* ev: the last event; NULL: that nothing more came until its time was over. */
static int partial_alert(
	struct cep_machine *m, struct cep_key *key, const struct cep_partial *p, const struct cep_event *ev)
{
	struct cep_alert a = {.first_ms = p->start_ms, .total = p->events, .value = p->events, .score = 1};

	a.last_ms = ev ? ev->time_ms : p->start_ms + m->within_ms;
	a.at_ms = a.last_ms > key->now_ms ? a.last_ms : key->now_ms;
	if (!cep_alert_due(m, key, a.at_ms))
		return 0;
	partial_seen(m, p, &a);
	a.last_id = ev ? ev->id : p->id;
	return cep_alert_put(m, key, &a);
}

/* ---- one event and one partial match ---- */
static enum fate matched(const struct cep_machine *m, const struct cep_partial *p)
{
	const struct cep_sequence *s = &m->step[p->step];

	if (s->next == CEP_NONE && p->times >= s->min && !(s->not_next | s->not_followed))
		return FATE_MATCHED;
	return FATE_STAYS;
}

static enum fate partial_take(struct cep_machine *m, struct cep_partial *p, const struct cep_event *ev)
{
	const struct cep_sequence *s = &m->step[p->step];
	bool enough = p->times >= s->min;

	if (ev->time_ms < p->start_ms + p->last_ms) /* it was before what is known of already */
		return FATE_STAYS;
	/* What must not follow a step must not come between its repeats either, as in Flink. */
	if (ev->steps & s->not_followed || (enough && !p->apart && ev->steps & s->not_next))
		return FATE_DROPPED;
	if (enough && s->next != CEP_NONE && ev->steps >> s->next & 1 && !(s->strict && p->apart)) {
		partial_append(m, p, ev);
		p->step = s->next;
		p->times = 1;
		return matched(m, p);
	}
	if (ev->steps >> p->step & 1 && p->times < s->max) {
		partial_append(m, p, ev);
		p->times++;
		return matched(m, p);
	}
	p->apart = 1;
	return s->next != CEP_NONE && s->strict && p->times == s->max ? FATE_DROPPED : FATE_STAYS;
}

static int partial_begin(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_partial first = {.start_ms = ev->time_ms, .offset = ev->offset, .times = 1, .events = 1};

	memcpy(first.id, ev->id, sizeof first.id);
	if (matched(m, &first) == FATE_MATCHED)
		return partial_alert(m, key, &first, ev);
	if (key->list.count >= m->events_max) {
		m->stats.cut++;
		return 0;
	}
	*(struct cep_partial *)cep_list_add(m, &key->list, sizeof first, key->list.count) = first;
	m->stats.partials++;
	return 0;
}

static void partials_keep(struct cep_machine *m, struct cep_key *key, uint32_t count)
{
	m->stats.partials -= key->list.count - count;
	if (count != key->list.count)
		cep_list_keep(m, &key->list, sizeof(struct cep_partial), count);
}

/* What becomes of a partial match at now, in whatever way. */
static enum fate partial_over(const struct cep_machine *m, const struct cep_partial *p, int64_t now_ms)
{
	if (now_ms - p->start_ms < m->within_ms)
		return FATE_STAYS;
	return waits_for_end(m, p) ? FATE_MATCHED : FATE_DROPPED;
}

int cep_sequence_take(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_partial *p = cep_items(m, &key->list, sizeof *p);
	bool past = m->def.kind == RULE_STATE_SEQUENCE && m->def.skip == RULE_SKIP_PAST_LAST, done = false;
	uint32_t kept = 0;
	int rc = 0;

	if (ev->time_ms > key->now_ms)
		key->now_ms = ev->time_ms;
	for (uint32_t i = 0; i < key->list.count; i++) {
		struct cep_partial one = p[i];
		enum fate fate = partial_over(m, &one, key->now_ms);
		bool over = fate != FATE_STAYS;

		if (done)
			fate = FATE_DROPPED;
		else if (!over)
			fate = partial_take(m, &one, ev);
		if (fate == FATE_MATCHED && !rc)
			rc = partial_alert(m, key, &one, over ? NULL : ev);
		done |= fate == FATE_MATCHED && past && !over;
		p = cep_items(m, &key->list, sizeof *p); /* a new node may have moved it */
		if (fate == FATE_STAYS)
			p[kept++] = one;
		else
			cep_partial_drop(m, &one);
	}
	if (done) { /* what stood before the match in the list, too */
		for (uint32_t i = 0; i < kept; i++)
			cep_partial_drop(m, &p[i]);
		kept = 0;
	}
	partials_keep(m, key, kept);
	if (!rc && ev->steps & 1 && !done)
		rc = partial_begin(m, key, ev);
	return rc;
}

int cep_sequence_reach(struct cep_machine *m, struct cep_key *key, int64_t at_ms)
{
	struct cep_partial *p = cep_items(m, &key->list, sizeof *p);
	uint32_t kept = 0;
	int rc = 0;

	for (uint32_t i = 0; i < key->list.count; i++) {
		/* The others are over by their key's own time, of which the step says nothing where events
		 * come in order of arrival; when a key is looked at is not the same in every replay. */
		enum fate fate = partial_over(m, &p[i], waits_for_end(m, &p[i]) ? at_ms : key->now_ms);

		if (fate == FATE_STAYS) {
			if (kept != i)
				p[kept] = p[i];
			kept++;
			continue;
		}
		if (fate == FATE_MATCHED && !rc)
			rc = partial_alert(m, key, &p[i], NULL);
		cep_partial_drop(m, &p[i]);
	}
	partials_keep(m, key, kept);
	return rc;
}

int64_t cep_sequence_due(const struct cep_machine *m, const struct cep_key *key)
{
	const struct cep_partial *p = cep_items(m, &key->list, sizeof *p);
	int64_t due = CEP_NEVER;

	if (!m->open_end)
		return due;
	for (uint32_t i = 0; i < key->list.count; i++)
		if (waits_for_end(m, &p[i]) && p[i].start_ms + m->within_ms < due)
			due = p[i].start_ms + m->within_ms;
	return due;
}
