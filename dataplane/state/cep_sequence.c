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

static uint16_t times_of(uint16_t times)
{
	return times < 1 ? 1 : times > RULE_TIMES_MAX ? RULE_TIMES_MAX : times;
}

void cep_sequence_setup(struct cep_machine *m)
{
	uint32_t count = m->def.step_count < RULE_STEPS_MAX ? m->def.step_count : RULE_STEPS_MAX;

	for (uint32_t i = 0; i < count; i++) {
		const struct rule_step *def = &m->def.step[i];
		struct cep_sequence *s = &m->step[i];
		uint32_t k = i + 1;

		*s = (struct cep_sequence){
			.next = CEP_NONE, .min = times_of(def->times_min), .max = times_of(def->times_max)};
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

/* ---- partial matches of a key ---- */
uint32_t cep_partial_new(struct cep_machine *m, struct cep_key *key)
{
	uint32_t handle = cep_pool_take(&m->partials);

	*cep_partial_at(m, handle) = (struct cep_partial){0};
	if (key->chain.last)
		cep_partial_at(m, key->chain.last)->next = handle;
	else
		key->chain.first = handle;
	key->chain.last = handle;
	key->chain.count++;
	m->bytes += sizeof(struct cep_partial);
	m->stats.partials++;
	return handle;
}

static void partial_free(struct cep_machine *m, uint32_t handle)
{
	uint32_t node = cep_partial_at(m, handle)->more;

	while (node) {
		uint32_t next = ((struct cep_node *)agg_arena_at(m->arena, node))->next;

		agg_arena_give(m->arena, node, sizeof(struct cep_node));
		m->bytes -= sizeof(struct cep_node);
		node = next;
	}
	cep_pool_give(&m->partials, handle);
	m->bytes -= sizeof(struct cep_partial);
	m->stats.partials--;
}

/* before: the one before it; 0: it is the first. */
static void partial_remove(struct cep_machine *m, struct cep_key *key, uint32_t before, uint32_t handle)
{
	uint32_t next = cep_partial_at(m, handle)->next;

	if (before)
		cep_partial_at(m, before)->next = next;
	else
		key->chain.first = next;
	if (!next)
		key->chain.last = before;
	key->chain.count--;
	partial_free(m, handle);
}

void cep_partials_drop(struct cep_machine *m, struct cep_key *key)
{
	while (key->chain.first)
		partial_remove(m, key, 0, key->chain.first);
}

/* ---- events of a partial match ---- */

/* In order of event time an event may have come before the first. */
static int32_t offset_behind(const struct cep_partial *p, uint64_t offset)
{
	int64_t behind = (int64_t)(offset - (p->offset == CEP_PARTIAL_UNKNOWN ? 0 : p->offset));

	return offset != CEP_OFFSET_UNKNOWN && behind > INT32_MIN && behind <= INT32_MAX ? (int32_t)behind
											 : CEP_NODE_UNKNOWN;
}

static void partial_append(struct cep_machine *m, struct cep_partial *p, const struct cep_event *ev)
{
	uint32_t named = cep_partial_named(m, p), fresh;
	struct cep_node *node;

	p->last_ms = (uint32_t)(ev->time_ms - p->start_ms);
	p->apart = 0;
	p->events++;
	if (cep_partial_named(m, p) == named)
		return;
	if (!named) {
		memcpy(p->id2, ev->id, sizeof p->id2);
		p->behind2 = offset_behind(p, ev->offset);
		return;
	}
	fresh = agg_arena_swap(m->arena, sizeof *node);
	node = agg_arena_at(m->arena, fresh);
	memcpy(node->id, ev->id, sizeof node->id);
	node->behind = offset_behind(p, ev->offset);
	node->next = p->more;
	p->more = fresh;
	m->bytes += sizeof *node;
}

/* Of the events between, the time is not kept. */
static void event_seen(
	const struct cep_partial *p, int32_t behind, const uint8_t id[16], struct cep_seen *seen)
{
	uint64_t base = p->offset == CEP_PARTIAL_UNKNOWN ? 0 : p->offset;

	seen->time_ms = CEP_NO_TIME;
	seen->offset = behind == CEP_NODE_UNKNOWN ? CEP_OFFSET_UNKNOWN : base + (uint64_t)(int64_t)behind;
	memcpy(seen->id, id, sizeof seen->id);
}

static void partial_seen(const struct cep_machine *m, const struct cep_partial *p, struct cep_alert *a)
{
	uint32_t at = cep_partial_named(m, p);

	if (!m->def.evidence_max)
		return;
	a->seen_count = at + 1;
	a->seen[0].time_ms = p->start_ms;
	a->seen[0].offset = p->offset == CEP_PARTIAL_UNKNOWN ? CEP_OFFSET_UNKNOWN : p->offset;
	memcpy(a->seen[0].id, p->id, sizeof p->id);
	for (uint32_t handle = p->more; handle; at--) {
		const struct cep_node *node = agg_arena_at(m->arena, handle);

		event_seen(p, node->behind, node->id, &a->seen[at]);
		handle = node->next;
	}
	if (at)
		event_seen(p, p->behind2, p->id2, &a->seen[1]);
}

/* ev: the last event; NULL: that nothing more came until its time was over. */
static int partial_alert(
	struct cep_machine *m, struct cep_key *key, const struct cep_partial *p, const struct cep_event *ev)
{
	struct cep_alert a;

	cep_alert_clear(&a);
	a.first_ms = p->start_ms;
	a.total = p->events;
	a.value = p->events;
	a.score = 1;
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
		p->step = s->next & (RULE_STEPS_MAX - 1);
		p->times = 1;
	} else if (ev->steps >> p->step & 1 && p->times < s->max) {
		p->times++;
	} else {
		p->apart = 1;
		return s->next != CEP_NONE && s->strict && p->times == s->max ? FATE_DROPPED : FATE_STAYS;
	}
	partial_append(m, p, ev);
	return matched(m, p);
}

static int partial_begin(struct cep_machine *m, struct cep_key *key, const struct cep_event *ev)
{
	struct cep_partial first = {.start_ms = ev->time_ms,
		.offset = ev->offset < CEP_PARTIAL_UNKNOWN ? ev->offset : CEP_PARTIAL_UNKNOWN,
		.times = 1,
		.events = 1};

	memcpy(first.id, ev->id, sizeof first.id);
	if (matched(m, &first) == FATE_MATCHED)
		return partial_alert(m, key, &first, ev);
	if (key->chain.count >= m->events_max) {
		m->stats.cut++;
		return 0;
	}
	*cep_partial_at(m, cep_partial_new(m, key)) = first;
	return 0;
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
	bool past = m->def.kind == RULE_STATE_SEQUENCE && m->def.skip == RULE_SKIP_PAST_LAST, done = false;
	uint32_t before = 0, handle = key->chain.first;
	int rc = 0;

	if (ev->time_ms > key->now_ms)
		key->now_ms = ev->time_ms;
	while (handle && !done) {
		struct cep_partial *p = cep_partial_at(m, handle);
		enum fate fate = partial_over(m, p, key->now_ms);
		bool over = fate != FATE_STAYS;
		uint32_t next = p->next;

		cep_pool_prefetch(&m->partials, next);
		if (!over)
			fate = partial_take(m, p, ev);
		if (fate == FATE_MATCHED && !rc)
			rc = partial_alert(m, key, p, over ? NULL : ev);
		done = fate == FATE_MATCHED && past && !over;
		if (fate == FATE_STAYS)
			before = handle;
		else
			partial_remove(m, key, before, handle);
		handle = next;
	}
	if (done)
		cep_partials_drop(m, key);
	else if (!rc && ev->steps & 1)
		rc = partial_begin(m, key, ev);
	return rc;
}

int cep_sequence_reach(struct cep_machine *m, struct cep_key *key, int64_t at_ms)
{
	uint32_t before = 0, next;
	int rc = 0;

	for (uint32_t handle = key->chain.first; handle; handle = next) {
		const struct cep_partial *p = cep_partial_at(m, handle);
		/* The others are over by their key's own time, of which the step says nothing where events
		 * come in order of arrival; when a key is looked at is not the same in every replay. */
		enum fate fate = partial_over(m, p, waits_for_end(m, p) ? at_ms : key->now_ms);

		next = p->next;
		if (fate == FATE_STAYS) {
			before = handle;
			continue;
		}
		if (fate == FATE_MATCHED && !rc)
			rc = partial_alert(m, key, p, NULL);
		partial_remove(m, key, before, handle);
	}
	return rc;
}

int64_t cep_sequence_due(const struct cep_machine *m, const struct cep_key *key)
{
	int64_t due = CEP_NEVER;

	if (!m->open_end)
		return due;
	for (uint32_t handle = key->chain.first; handle; handle = cep_partial_at(m, handle)->next) {
		const struct cep_partial *p = cep_partial_at(m, handle);

		if (waits_for_end(m, p) && p->start_ms + m->within_ms < due)
			due = p->start_ms + m->within_ms;
	}
	return due;
}
