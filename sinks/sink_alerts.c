/* What is an alert, and whose. Sink threads. */
#include "sink_alerts.h"

#include <errno.h>

#include "row_json.h"

int sink_ruleset_get(struct ruleset_stand *stand, const struct sink_env *env, uint32_t generation,
	const struct address *at, struct err *err)
{
	char text[ADDRESS_TEXT_BYTES];

	if (ruleset_stand_at(stand, env->rules, generation, err))
		return 0;
	address_text(text, at);
	err_prefix(err, "record %s has hits of ruleset generation %u", text, generation);
	return -EINVAL;
}

const struct window_def *sink_window_get(const struct sink_env *env, uint64_t uid, struct err *err)
{
	const struct window_def *def = env->plan ? window_plan_find(env->plan, uid) : NULL;

	return def ? def : window_store_get(env->windows, uid, err);
}

bool sink_row_good(const struct record *rec, const struct address *at, struct err *err)
{
	char text[ADDRESS_TEXT_BYTES];

	if ((rec->kind != RECORD_ROW && rec->kind != RECORD_LATE) || row_valid(rec))
		return true;
	address_text(text, at);
	err_set(err, -EINVAL, "record %s is no well-formed row", text);
	return false;
}

void sink_alert_put_json(struct bytes *out, const struct sink_alert *a)
{
	if (a->hit)
		alert_put_json(out, a->hit);
	else
		row_alert_put_json(out, a->rec, a->window, a->at->node, a->input_epoch);
}

/* Of the rules that an event hit. */
static int each_of_event(struct sink_part *part, struct ruleset_stand *stand, struct sink_alert *a,
	uint32_t generation, int (*each)(void *arg, const struct sink_alert *a, struct err *err), void *arg,
	struct err *err)
{
	struct record_key key;
	struct alert hit;
	int rc = sink_ruleset_get(stand, part->env, generation, a->at, err);

	record_key_of(&key, a->rec);
	for (uint32_t i = 0; rc == 0 && i < a->rec->hit_count; i++) {
		rc = alert_of_hit(&hit, a->rec, i, &key, a->at, stand->rs, generation, err);
		if (rc <= 0)
			continue;
		a->hit = &hit;
		rc = each(arg, a, err);
	}
	return rc;
}

int sink_alerts_each(struct sink_part *part, struct ruleset_stand *stand, const struct record *rec,
	uint32_t generation, const struct address *at,
	int (*each)(void *arg, const struct sink_alert *a, struct err *err), void *arg, struct err *err)
{
	struct sink_alert a = {
		.rec = rec, .at = at, .window = "", .input_epoch = journal_epoch(part->env->journal)};
	const struct window_def *def;
	uint64_t uid;

	if (part->log == SINK_LOG_INPUT)
		return rec->kind == RECORD_EVENT && rec->hit_count
			       ? each_of_event(part, stand, &a, generation, each, arg, err)
			       : 0;
	if (!sink_row_good(rec, at, err))
		return -EINVAL;
	if (!row_is_alert(rec))
		return 0;
	uid = row_alert_of(rec)->window_uid;
	def = uid ? sink_window_get(part->env, uid, err) : NULL;
	if (uid && !def)
		return -EINVAL;
	a.window = def ? def->name : "";
	return each(arg, &a, err);
}
