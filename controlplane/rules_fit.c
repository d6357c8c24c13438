/* See rules_fit.h. */
#include "rules_fit.h"

#include <errno.h>
#include <string.h>

int rules_fit_route(const struct config *cfg, const struct rule_info *rule, struct err *err)
{
	const char *other =
		rule_route(rule) ? config_topic_other(&cfg->kafka, rule->route, CONFIG_TOPIC_EVENTS) : NULL;

	if (!other)
		return 0;
	return err_set(err, -EINVAL, "%s:%u: rule %s: then: route: '%s' is kafka.%s", rule->file, rule->line,
		rule->id, rule->route, other);
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
