/* See rules_fit.h. */
#include "rules_fit.h"

#include <errno.h>
#include <string.h>

int rules_fit_route(const struct config *cfg, const struct rule_info *rule, struct err *err)
{
	const struct config_kafka *k = &cfg->kafka;
	const struct {
		const char *key, *name;
	} row[] = {{"topic_positions", k->topic_positions}, {"topic_alerts", k->topic_alerts},
		{"topic_dead", k->topic_dead}, {"topic_late", k->topic_late},
		{"topic_enriched", k->topic_enriched}};

	for (size_t i = 0; rule_route(rule) && i < sizeof row / sizeof *row; i++)
		if (!strcmp(rule->route, row[i].name))
			return err_set(err, -EINVAL, "%s:%u: rule %s: then: route: '%s' is kafka.%s",
				rule->file, rule->line, rule->id, rule->route, row[i].key);
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
