/* What a canary does beside the rules in force: in `rules stats`, `rules show` and the metrics. Server
 * thread; pure. */
#include "record.h"
#include "views.h"

static const struct cep_stats *state_of(const struct view *v, uint32_t rule)
{
	for (uint32_t i = 0; i < v->rule_states; i++)
		if (v->rule_state[i].rule == rule)
			return &v->rule_state[i].sum;
	return NULL;
}

/* The rule in force, in the time of the canary `own`: hits of events since this generation is in force. */
static void in_force(
	const struct view *v, uint32_t rule, const struct cep_stats *own, struct view_canary *out)
{
	const struct view_rule *r = &v->rule[rule];

	out->hits_in_force = r->hits;
	out->alerts_in_force = r->info.actions & RULE_ACTION_ALERT ? r->hits : 0;
	if (!r->info.stateful)
		return;
	out->alerts_in_force = own ? own->alerts_in_force : VIEW_UNKNOWN;
	out->hits_in_force = own ? own->hits_in_force : r->hits;
}

bool view_canary(const struct view *v, uint32_t rule, struct view_canary *out)
{
	const struct rule_info *info = &v->rule[rule].info;
	const struct cep_stats *own = info->canary && info->stateful ? state_of(v, rule) : NULL;

	*out = (struct view_canary){.info = info};
	if (!info->canary && info->change != RULE_GONE)
		return false;
	if (info->canary) {
		out->hits = own ? own->hits : v->rule[rule].hits;
		out->alerts = info->actions & RULE_ACTION_ALERT ? out->hits : 0;
		out->drops = info->actions & RULE_ACTION_DROP ? out->hits : 0;
	}
	if (info->stateful && info->canary)
		out->alerts = own ? own->alerts : VIEW_UNKNOWN; /* the state stage is off */
	if (own) {
		out->suppressed = own->suppressed;
		out->keys = own->keys;
		out->memory_bytes = own->memory_bytes;
	}
	if (!info->canary)
		in_force(v, rule, NULL, out);
	else if (info->change == RULE_CHANGED)
		in_force(v, info->other, own, out);
	return true;
}

static json_t *number(uint64_t n)
{
	return n == VIEW_UNKNOWN ? json_null() : json_u64(n);
}

static json_t *canary_json(const struct view_canary *c)
{
	static const char *const change[] = {
		[RULE_SAME] = "same", [RULE_NEW] = "new", [RULE_CHANGED] = "changed", [RULE_GONE] = "gone"};

	return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", json_text(c->info->id),
		"change", c->info->expired ? "expired" : change[c->info->change], "would_alert",
		number(c->alerts), "alerted_in_force", number(c->alerts_in_force), "would_drop",
		json_u64(c->drops), "hits", json_u64(c->hits), "hits_in_force", json_u64(c->hits_in_force),
		"suppressed", json_u64(c->suppressed), "keys", json_u64(c->keys), "memory",
		json_u64(c->memory_bytes));
}

json_t *view_canary_json(const struct view *v)
{
	json_t *list = json_array();
	struct view_canary c;

	for (uint32_t i = 0; v->canaries && i < v->rules; i++)
		if (view_canary(v, i, &c))
			json_array_append_new(list, canary_json(&c));
	return list;
}

json_t *view_canary_of(const struct view *v, uint32_t rule)
{
	const struct rule_info *info = &v->rule[rule].info;
	struct view_canary c;

	return view_canary(v, !info->canary && info->change == RULE_CHANGED ? info->other : rule, &c)
		       ? canary_json(&c)
		       : json_null();
}
