/* See state_rules.h. */
#include "state_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void state_rules_fill(struct cep_rules *out, const struct ruleset *rs)
{
	const char *version = ruleset_version(rs);
	size_t bytes = strnlen(version, sizeof out->version - 1);

	memset(out->version, 0, sizeof out->version);
	memcpy(out->version, version, bytes);
	out->match_count = ruleset_match_count(rs);
	out->use = ruleset_uses(rs);
	out->count = ruleset_state_count(rs);
	for (uint32_t i = 0; i < out->count; i++) {
		const struct rule_state *state = ruleset_state(rs, i);
		const struct rule_info *info = ruleset_rule(rs, state->rule);

		out->rule[i] = (struct cep_rule){state, ruleset_keyring(rs, state->keyring), info->id,
			info->title, rule_severity_name[info->severity],
			info->actions & RULE_ACTION_ALERT && !info->canary, info->content};
	}
}

static void rules_done(const struct cep_rules *rules)
{
	ruleset_store_release(rules->lender, rules->lent);
}

int state_rules_get(void *store, uint32_t generation, struct cep_rules *out, struct err *err)
{
	const struct ruleset *rs = ruleset_store_get(store, generation, err);

	if (!rs) {
		err_prefix(err, "ruleset generation %u", generation);
		return -EINVAL;
	}
	state_rules_fill(out, rs);
	out->done = rules_done;
	out->lender = store;
	out->lent = rs;
	return 0;
}

/* ---- tests of rules ---- */
struct trial {
	const struct ruleset *rs;
	const struct rule_test *test;
	int alerts;
};

/* The rule alone. */
static int trial_rules(void *arg, uint32_t generation, struct cep_rules *out, struct err *err)
{
	const struct trial *trial = arg;

	(void)generation, (void)err;
	state_rules_fill(out, trial->rs);
	for (uint32_t i = 0; i < out->count; i++)
		if (i != trial->test->state)
			out->rule[i].state = NULL;
		else
			out->rule[i].alert = true;
	return 0;
}

static int trial_alert(void *arg, uint64_t offset, const struct record *rec)
{
	struct trial *trial = arg;

	(void)offset, (void)rec;
	trial->alerts++;
	return 0;
}

/* As the record that comes to where the key lives, wherever that is. */
static int trial_event(struct cep *cep, const struct event *ev, uint64_t offset, struct err *err)
{
	const struct cep_place place = {.generation = 1};
	uint32_t bytes = record_bytes_of(ev);
	uint8_t *data = ev->hit_count ? aligned_alloc(RECORD_ALIGN, bytes) : NULL;
	int rc;

	if (!ev->hit_count)
		return 0;
	if (!data)
		return err_set(err, -ENOMEM, "no memory");
	record_write_event(data, ev, 0, ev->event_time_ms, 0);
	((struct record *)data)->kind = RECORD_SHADOW;
	rc = cep_take(cep, &place, (const struct record *)data, offset, INT64_MIN, err);
	free(data);
	return rc;
}

static int trial_run(void *arg, const struct ruleset *rs, const struct rule_test *test, struct err *err)
{
	struct trial trial = {rs, test, 0};
	struct cep_params params = {0, trial_rules, &trial, trial_alert, &trial};
	struct cep *cep = cep_new(&params);
	int rc = cep_switch(cep, 1, err);

	(void)arg;
	for (uint32_t i = 0; i < test->count && rc == 0; i++)
		rc = trial_event(cep, &test->event[i], i, err);
	if (rc == 0)
		rc = cep_reach(cep, (int64_t)1 << 52, 0);
	cep_free(cep);
	return rc ? rc : trial.alerts;
}

const struct rule_tester state_rules_tester = {trial_run, NULL};
