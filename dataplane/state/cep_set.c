/* The rules in force, and what the hits of a generation mean. State thread. */
#include <errno.h>
#include <stdio.h>

#include "cep_priv.h"
#include "rule_shadow.h"

/* ---- machines ---- */
static int64_t span(int64_t ms, int64_t most)
{
	if (ms <= 0)
		return most;
	return ms < most ? ms : most;
}

static uint32_t item_bytes(uint8_t kind)
{
	switch (kind) {
	case RULE_STATE_COUNT:
		return sizeof(int64_t);
	case RULE_STATE_SEQUENCE:
	case RULE_STATE_ABSENCE:
		return 0; /* they are no list */
	default:
		return sizeof(struct cep_valued);
	}
}

static enum cep_value value_kind(const struct rule_state *def, uint8_t *field)
{
	enum field_kind kind;

	*field = (uint8_t)(def->kind == RULE_STATE_TRAVEL ? def->place : def->field);
	if (def->kind == RULE_STATE_SEQUENCE || def->kind == RULE_STATE_ABSENCE ||
		def->kind == RULE_STATE_COUNT || def->kind == RULE_STATE_RATE || *field == FIELD_NONE)
		return CEP_VALUE_NONE;
	if (def->kind == RULE_STATE_TRAVEL)
		return CEP_VALUE_COUNTRY;
	kind = field_table[*field].kind;
	if (field_kind_is_number(kind))
		return kind == FIELD_KIND_NUMBER ? CEP_VALUE_NUMBER : CEP_VALUE_DECIMAL;
	return def->kind == RULE_STATE_DISTINCT || def->kind == RULE_STATE_UNCHANGED ? CEP_VALUE_HASH
										     : CEP_VALUE_STRANGE;
}

static void machine_bounds(struct cep_machine *m)
{
	struct rule_state *def = &m->def;
	uint32_t most;

	if (!def->keys_max)
		def->keys_max = 1;
	if (def->evidence_max > RULE_EVIDENCE_MAX)
		def->evidence_max = RULE_EVIDENCE_MAX;
	if (def->every_ms <= 0 || def->every_ms > CEP_SPAN_MAX / 100000)
		def->every_ms = def->every_ms <= 0 ? 1 : CEP_SPAN_MAX / 100000;
	m->item_bytes = item_bytes(def->kind);
	m->events_max = def->events_max ? def->events_max : 1;
	most = m->item_bytes ? CEP_LIST_BYTES_MAX / m->item_bytes - 1 : CEP_PARTIALS_MAX;
	if (m->events_max > most)
		m->events_max = most;
	m->within_ms = span(def->within_ms, cep_is_sequence(m) ? CEP_SEQUENCE_MAX : CEP_SPAN_MAX / 2);
	m->keep_ms = def->kind == RULE_STATE_RATE ? 2 * m->within_ms : m->within_ms;
	m->wait = def->order == RULE_ORDER_EVENT_TIME || def->kind == RULE_STATE_ABSENCE ||
		  def->kind == RULE_STATE_ANOMALY || def->kind == RULE_STATE_UNCHANGED;
	m->value = (uint8_t)value_kind(def, &m->field);
	for (uint8_t type = 0; type < EVENT_TYPE_MAX; type++)
		m->not_home[type] = rule_keyring_not_home(&m->keyring, type);
}

static void machine_texts(struct cep_machine *m, const struct cep_rule *rule)
{
	m->alert = rule->alert;
	m->canary = rule->state->canary;
	m->content = rule->content;
	snprintf(m->id, sizeof m->id, "%s", rule->id ? rule->id : "");
	snprintf(m->title, sizeof m->title, "%s", rule->title ? rule->title : "");
	snprintf(m->severity, sizeof m->severity, "%s", rule->severity ? rule->severity : "");
}

static struct cep_machine *machine_new(struct cep *cep, const struct cep_rule *rule)
{
	struct cep_machine *m = must_calloc(1, sizeof *m);

	m->cep = cep;
	m->def = *rule->state;
	m->keyring = *rule->keyring;
	m->stats.uid = m->def.uid;
	m->pool = &cep->pool;
	machine_texts(m, rule);
	machine_bounds(m);
	if (cep_is_sequence(m))
		cep_sequence_setup(m);
	if (m->def.kind == RULE_STATE_ANOMALY)
		cep_anomaly_setup(m);
	m->due_by_keep = m->def.kind != RULE_STATE_ANOMALY && !m->open_end;
	cep_keys_init(m);
	return m;
}

void cep_machine_free(struct cep_machine *m)
{
	cep_keys_free(m);
	timewait_free(&m->waits);
	free(m);
}

static struct cep_machine *machine_find(const struct cep *cep, uint64_t uid, uint32_t *at)
{
	uint32_t low = 0, high = cep->count;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (cep->machine[mid]->def.uid == uid) {
			*at = mid;
			return cep->machine[mid];
		}
		if (cep->machine[mid]->def.uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	*at = low;
	return NULL;
}

/* ---- switching ---- */
static int rules_get(struct cep *cep, uint32_t generation, struct err *err)
{
	if (!cep->params.rules)
		return err_set(err, -EINVAL, "ruleset generation %u: there are no rulesets", generation);
	if (!cep->rules)
		cep->rules = must_calloc(1, sizeof *cep->rules);
	return cep->params.rules(cep->params.rules_arg, generation, cep->rules, err);
}

/* Machines and maps have copied what they need. */
static void rules_done(const struct cep_rules *rules)
{
	if (rules->done)
		rules->done(rules);
}

static bool kind_known(uint8_t kind)
{
	return kind >= RULE_STATE_COUNT && kind <= RULE_STATE_UNCHANGED;
}

static int machine_compare(const void *a, const void *b)
{
	uint64_t x = (*(struct cep_machine *const *)a)->def.uid,
		 y = (*(struct cep_machine *const *)b)->def.uid;

	return (x > y) - (x < y);
}

static void machines_drop(struct cep *cep)
{
	for (uint32_t i = 0; i < cep->count; i++) {
		struct cep_machine *m = cep->machine[i];

		if (m->kept)
			continue;
		if (m->keys.count) {
			cep->totals.rules_dropped++;
			cep->totals.keys_dropped += m->keys.count;
		}
		cep_machine_free(m);
	}
}

static struct cep_machine *machine_free_of(const struct cep *cep, uint64_t uid)
{
	uint32_t at;
	struct cep_machine *m = machine_find(cep, uid, &at);

	return m && !m->kept ? m : NULL;
}

static void counters_clear(struct cep_machine *m)
{
	m->stats = (struct cep_stats){.partials = m->stats.partials};
	m->base_hits = m->base_alerts = 0;
	m->in_force = NULL; /* links() begins to compare anew */
}

/* What goes on as this rule, or NULL. */
static struct cep_machine *machine_taken(struct cep *cep, const struct cep_rule *rule)
{
	struct cep_machine *m = machine_free_of(cep, rule->state->uid), *canary;

	if (rule->state->canary) {
		if (m && m->content != rule->content)
			counters_clear(m);
		return m;
	}
	canary = machine_free_of(cep, rule->state->uid_other);
	if (!canary || !canary->canary ||
		(m && (m->content == rule->content || canary->content != rule->content)))
		return m;
	counters_clear(canary);
	if (m) { /* its keys go, and what lives in them */
		m->stats.partials = canary->stats.partials;
		canary->stats = m->stats;
	}
	return canary;
}

/* Canaries to what is in force under their ids. */
static void links(struct cep_machine *const *list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct cep_machine *m = list[i];
		const struct cep_machine *before = m->in_force, *now = NULL;

		for (uint32_t k = 0; k < count && m->canary; k++)
			if (!list[k]->canary && !strcmp(list[k]->id, m->id))
				now = list[k];
		m->in_force = now;
		if (now == before)
			continue;
		m->base_hits = now ? now->stats.hits : 0;
		m->base_alerts = now ? now->stats.alerts : 0;
	}
}

int cep_switch(struct cep *cep, uint32_t generation, struct err *err)
{
	struct cep_machine **list;
	uint32_t count = 0;
	int rc = rules_get(cep, generation, err);

	if (rc)
		return rc;
	list = must_calloc(cep->rules->count + 1, sizeof *list);
	for (uint32_t i = 0; i < cep->count; i++)
		cep->machine[i]->kept = false;
	for (uint32_t i = 0; i < cep->rules->count; i++) {
		const struct cep_rule *rule = &cep->rules->rule[i];
		struct cep_machine *m;
		bool twice = false;

		if (!rule->state || !kind_known(rule->state->kind))
			continue;
		for (uint32_t k = 0; k < count; k++)
			twice |= list[k]->uid_next == rule->state->uid;
		if (twice)
			continue;
		m = machine_taken(cep, rule);
		if (m)
			machine_texts(m, rule);
		else
			m = machine_new(cep, rule);
		m->kept = true;
		m->uid_next = rule->state->uid;
		list[count++] = m;
	}
	links(list, count); /* while what goes is there to compare with */
	machines_drop(cep);
	for (uint32_t i = 0; i < count; i++)
		list[i]->def.uid = list[i]->stats.uid = list[i]->uid_next;
	free(cep->machine);
	cep->machine = list;
	cep->count = count;
	if (count)
		qsort(list, count, sizeof(void *), machine_compare);
	cep->generation = generation;
	memcpy(cep->version, cep->rules->version, sizeof cep->version);
	cep->version[sizeof cep->version - 1] = 0;
	cep->map_generation = 0;
	rules_done(cep->rules);
	return 0;
}

/* ---- hits ---- */

/* Where hits of a generation's rule go: to the machine that says the same, in force or as a canary; else to
 * the one of its uid, unless another rule of the generation says what that one does. */
static void map_states(const struct cep *cep, uint16_t to[RULE_STATES_MAX])
{
	const struct cep_rules *rules = cep->rules;
	bool *exact = must_calloc(cep->count + 1, sizeof *exact);
	uint32_t at;

	for (uint32_t i = 0; i < rules->count; i++) {
		const struct rule_state *state = rules->rule[i].state;
		const uint64_t uid[] = {state ? state->uid : 0, state ? state->uid_other : 0};

		to[i] = state ? CEP_NOT_IN_FORCE : RULE_STATE_NONE;
		for (int k = 0; state && k < 2 && to[i] == CEP_NOT_IN_FORCE; k++)
			if (machine_find(cep, uid[k], &at) &&
				cep->machine[at]->content == rules->rule[i].content) {
				to[i] = (uint16_t)at;
				exact[at] = true;
			}
	}
	for (uint32_t i = 0; i < rules->count; i++)
		if (to[i] == CEP_NOT_IN_FORCE && machine_find(cep, rules->rule[i].state->uid, &at) &&
			!exact[at])
			to[i] = (uint16_t)at;
	free(exact);
}

int cep_map(struct cep *cep, uint32_t generation, struct err *err)
{
	uint16_t to[RULE_STATES_MAX];
	const struct cep_rules *rules;
	int rc = rules_get(cep, generation, err);

	if (rc)
		return rc;
	rules = cep->rules;
	map_states(cep, to);
	cep->map = must_realloc(cep->map, rules->match_count + 1u, sizeof *cep->map);
	for (uint32_t i = 0; i < rules->match_count; i++) {
		const struct rule_use *use = &rules->use[i];

		cep->map[i] = (struct cep_use){RULE_STATE_NONE, use->step};
		if (use->state < rules->count)
			cep->map[i].machine = to[use->state];
	}
	cep->map_count = rules->match_count;
	cep->map_generation = generation;
	rules_done(rules);
	return 0;
}
