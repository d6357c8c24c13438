/* Rules with state: their steps become matches behind the rules, their parts struct rule_state and keyrings.
 * Set-up only. */
#include <errno.h>
#include <stdio.h>

#include "ruleset_priv.h"

#define MATCHES_MAX 65535u
#define CANARY_UID 0x63616e6172790a01ull /* tells the state of a canary from that of the rule in force */

static bool expired(const struct ruleset *rs, const struct rule *rule)
{
	return rule->info.expires_ms && rule->info.expires_ms <= rs->expire_ms;
}

/* What a hit makes of an event: alerts of rules with state are the state stage's. 0: it is only counted. */
static uint8_t actions_of(const struct rule *rule)
{
	uint8_t actions = rule->info.canary ? 0 : rule->info.actions;

	return rule->state ? (actions & RULE_ACTION_TAG) | RULE_ACTION_STATE : actions;
}

int ruleset_matches(struct ruleset *rs, struct err *err)
{
	size_t count = rs->rule_count;

	for (uint32_t i = 0; i < rs->rule_count; i++)
		if (rs->rule[i]->state)
			count += rs->rule[i]->state->spec.step_count;
	rs->match = rule_pool_get(&rs->pool, count, sizeof *rs->match);
	rs->use = rule_pool_get(&rs->pool, count, sizeof *rs->use);
	if (!rs->match || !rs->use)
		return ruleset_no_memory(err);
	for (uint32_t i = 0; i < rs->rule_count; i++) {
		struct rule *rule = rs->rule[i];

		rs->match[rs->match_count++] = (struct match){rule, rule->when, 0, actions_of(rule)};
	}
	for (uint32_t i = 0; i < rs->rule_count; i++) {
		struct rule *rule = rs->rule[i];
		uint32_t steps = rule->state ? rule->state->spec.step_count : 0;

		for (uint32_t s = 0; s < steps; s++) {
			rule->state->spec.step[s].match = (uint16_t)i;
			if (!rule->state->when[s])
				continue;
			if (rs->match_count == MATCHES_MAX)
				return ruleset_rule_err(rule, NULL, err,
					"more than %u rules and steps together", MATCHES_MAX);
			rule->state->spec.step[s].match = (uint16_t)rs->match_count;
			rs->match[rs->match_count++] =
				(struct match){rule, rule->state->when[s], 0, RULE_ACTION_STATE};
		}
	}
	return 0;
}

/* The rule's id and what its state depends on, apart from conditions that only say which events it sees. */
static uint64_t uid_of(const struct rule *rule)
{
	const struct rule_stateful *st = rule->state;
	const struct rule_state *s = &st->spec;
	uint64_t h = hash_bytes(rule->info.id, strlen(rule->info.id), st->hash);
	const uint64_t words[] = {s->kind, s->order, s->skip, (uint64_t)s->within_ms,
		(uint64_t)s->suppress_ms, s->field, s->decimal, (uint64_t)s->threshold, s->at_least,
		s->step_count, s->place, s->anomaly | (uint64_t)s->side << 8, (uint64_t)s->every_ms,
		(uint64_t)s->period_ms, s->windows, s->samples_min, s->evidence_max, s->keys_max,
		s->memory_bytes_max, s->events_max, st->by_count};
	const double numbers[] = {
		s->threshold_number, s->factor, s->speed_kmh, s->distance_km_min, s->alpha, s->deviations};

	h = hash_bytes(words, sizeof words, h);
	h = hash_bytes(numbers, sizeof numbers, h);
	h = hash_bytes(st->by, st->by_count, h);
	for (uint32_t i = 0; i < s->step_count; i++) {
		const uint64_t step[] = {s->step[i].follow, s->step[i].times_min, s->step[i].times_max};

		h = hash_bytes(s->step[i].name, strlen(s->step[i].name), hash_bytes(step, sizeof step, h));
	}
	return h ? h : 1;
}

static int keyring_of(struct ruleset *rs, const struct rule *rule, uint8_t *out, struct err *err)
{
	const struct rule_stateful *st = rule->state;
	struct rule_keyring *kr = rs->keyring;

	for (; kr < rs->keyring + rs->keyring_count; kr++)
		if (kr->count == st->by_count && !memcmp(kr->field, st->by, st->by_count))
			break;
	if (kr == rs->keyring + RULE_KEYRINGS_MAX)
		return ruleset_rule_err(
			rule, NULL, err, "by: more than %d different keys in all rules", RULE_KEYRINGS_MAX);
	if (kr == rs->keyring + rs->keyring_count) {
		*kr = (struct rule_keyring){.count = st->by_count};
		memcpy(kr->field, st->by, st->by_count);
		rs->keyring_count++;
	}
	kr->fields |= FBIT(event_id) | FBIT(ts);
	for (uint32_t i = 0; i < st->by_count; i++)
		kr->fields |= 1ull << st->by[i];
	kr->fields |= st->spec.field ? 1ull << st->spec.field : 0;
	kr->fields |= st->spec.place ? 1ull << st->spec.place : 0;
	*out = (uint8_t)(kr - rs->keyring);
	return 0;
}

static void use_set(struct ruleset *rs, const struct rule_state *state, uint32_t match, uint32_t step)
{
	rs->use[match] = (struct rule_use){(uint16_t)(state - rs->state), (uint8_t)step, state->keyring};
	rs->keyring[state->keyring].types |= rs->match[match].types;
}

static int state_add(struct ruleset *rs, uint32_t index, struct err *err)
{
	const struct rule *rule = rs->rule[index];
	struct rule_state *state = &rs->state[rs->state_count];
	int rc;

	if (rs->state_count == RULE_STATES_MAX)
		return ruleset_rule_err(rule, NULL, err, "more than %d rules with state", RULE_STATES_MAX);
	rs->state_count++;
	*state = rule->state->spec;
	rc = keyring_of(rs, rule, &state->keyring, err);
	if (rc)
		return rc;
	state->rule = (uint16_t)index;
	state->canary = rule->info.canary;
	state->uid = uid_of(rule);
	state->uid_other = state->uid ^ CANARY_UID;
	if (state->canary) {
		state->uid = state->uid_other;
		state->uid_other ^= CANARY_UID;
	}
	state->match = state->step_count ? state->step[0].match : (uint16_t)index;
	if (!state->step_count)
		use_set(rs, state, index, 0);
	else if (rule->state->stream)
		use_set(rs, state, index, RULE_STEP_NONE);
	for (uint32_t s = 0; s < state->step_count; s++)
		use_set(rs, state, state->step[s].match, s);
	return 0;
}

int ruleset_states(struct ruleset *rs, struct err *err)
{
	uint32_t count = 0;
	int rc = 0;

	for (uint32_t i = 0; i < rs->rule_count; i++)
		count += rs->rule[i]->state != NULL;
	if (!rs->state)
		rs->state = rule_pool_get(
			&rs->pool, count < RULE_STATES_MAX ? count : RULE_STATES_MAX, sizeof *rs->state);
	if (!rs->state)
		return ruleset_no_memory(err);
	rs->state_count = rs->keyring_count = 0;
	for (uint32_t i = 0; i < rs->match_count; i++)
		rs->use[i] = (struct rule_use){RULE_STATE_NONE, RULE_STEP_NONE, 0};
	for (uint32_t i = 0; i < rs->rule_count && !rc; i++)
		if (rs->rule[i]->state && !expired(rs, rs->rule[i]))
			rc = state_add(rs, i, err);
	return rc;
}

int ruleset_expire(struct ruleset *rs, int64_t now_ms, struct err *err)
{
	uint64_t version = rs->list.version;
	uint32_t count = 0;
	int rc;

	if (now_ms < rs->expire_ms)
		now_ms = rs->expire_ms;
	rs->expire_ms = now_ms;
	for (uint32_t i = 0; i < rs->rule_count; i++) {
		rs->rule[i]->info.expired = expired(rs, rs->rule[i]);
		if (!rs->rule[i]->info.expired)
			continue;
		count++;
		version = hash_bytes(&i, sizeof i, version);
	}
	if (count == rs->expired_count)
		return (int)count;
	rs->expired_count = count;
	snprintf(rs->version, sizeof rs->version, "%016llx", (unsigned long long)version);
	for (uint32_t i = 0; rs->match_types && i < rs->match_count; i++)
		if (rs->match[i].rule->info.expired)
			rs->match_types[i] = 0;
	rc = ruleset_states(rs, err);
	return rc ? rc : (int)count;
}

uint32_t ruleset_match_count(const struct ruleset *rs)
{
	return rs->match_count;
}

uint32_t ruleset_state_count(const struct ruleset *rs)
{
	return rs->state_count;
}

const struct rule_state *ruleset_state(const struct ruleset *rs, uint32_t index)
{
	return &rs->state[index];
}

uint32_t ruleset_keyring_count(const struct ruleset *rs)
{
	return rs->keyring_count;
}

const struct rule_keyring *ruleset_keyring(const struct ruleset *rs, uint32_t index)
{
	return &rs->keyring[index];
}

const struct rule_use *ruleset_uses(const struct ruleset *rs)
{
	return rs->use;
}
