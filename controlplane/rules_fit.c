/* See rules_fit.h. */
#include "rules_fit.h"

#include <errno.h>
#include <string.h>

#include "window.h"

/* Whether rows of a window go to the topic. */
static bool is_of_window(const struct config *cfg, const char *topic)
{
	size_t prefix = strlen(cfg->kafka.topic_aggregates);
	struct window_plan *plan = NULL;
	bool found = false;
	struct err ignored; /* a faulty definition is refused elsewhere */

	if (!cfg->state.enabled || strncmp(topic, cfg->kafka.topic_aggregates, prefix) != 0 ||
		window_plan_make(&plan, cfg, &ignored) != 0)
		return false;
	for (uint32_t i = 0; i < plan->count && !found; i++)
		found = plan->def[i]->to_kafka && !strcmp(topic + prefix, plan->def[i]->name);
	window_plan_free(plan);
	return found;
}

int rules_fit_route(const struct config *cfg, const struct rule_info *rule, struct err *err)
{
	const char *other;

	if (!rule_route(rule))
		return 0;
	other = config_topic_other(&cfg->kafka, rule->route, CONFIG_TOPIC_EVENTS);
	if (other)
		return err_set(err, -EINVAL, "%s:%u: rule %s: then: route: '%s' is kafka.%s", rule->file,
			rule->line, rule->id, rule->route, other);
	if (is_of_window(cfg, rule->route))
		return err_set(err, -EINVAL, "%s:%u: rule %s: then: route: '%s' is the topic of a window",
			rule->file, rule->line, rule->id, rule->route);
	return 0;
}

const char *rules_fit_warning(const struct config *cfg, const struct rule_info *rule)
{
	if (rule->expired)
		return "has expired: it is not in force";
	if (rule_route(rule) && !cfg->kafka.enabled)
		return "has a route, and kafka.enabled is false: its events go nowhere else";
	if (rule->stateful && !cfg->state.enabled)
		return "has state, and state.enabled is false: it cannot alert";
	return NULL;
}
