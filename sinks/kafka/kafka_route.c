/* Events that a rule sends to a topic of its own. The part's sink thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kafka_priv.h"

static int route_open(struct kafka_part *kp, const char *name, struct err *err)
{
	struct kafka_route made = {0}, *list;
	int rc;

	for (uint32_t i = 0; i < kp->route_count; i++)
		if (!strcmp(kp->route[i].name, name)) {
			kp->topic_named = kp->route[i].topic;
			return 0;
		}
	list = realloc(kp->route, (kp->route_count + 1) * sizeof *list);
	if (!list)
		return err_set(err, -ENOMEM, "no memory");
	kp->route = list;
	rc = kafka_topic_make_route(kafka_config(kp), name, err);
	if (rc)
		return rc;
	made.topic = kafka_topic_open(&kp->tx, name, err);
	if (!made.topic)
		return -EINVAL;
	made.name = strdup(name);
	if (!made.name) {
		rd_kafka_topic_destroy(made.topic);
		return err_set(err, -ENOMEM, "no memory");
	}
	list[kp->route_count++] = made;
	kp->topic_named = made.topic;
	return 0;
}

int kafka_route_of(struct kafka_part *kp, const struct record *rec, uint32_t generation, const char **rule_id,
	struct err *err)
{
	const struct rule_info *rule = NULL;
	int rc = rec->hit_count ? sink_ruleset_get(&kp->rules, kp->part->env, generation, &kp->at, err) : 0;

	*rule_id = NULL;
	if (rc)
		return rc;
	for (uint32_t i = 0; i < rec->hit_count && (!rule || !rule_route(rule)); i++) {
		uint16_t hit = record_hits(rec)[i];

		/* Behind the rules are the steps of sequences. */
		rule = hit < ruleset_rule_count(kp->rules.rs) ? ruleset_rule(kp->rules.rs, hit) : NULL;
	}
	if (!rule || !rule_route(rule))
		return 0;
	*rule_id = rule->id;
	return route_open(kp, rule_route(rule), err);
}

bool kafka_routes(struct kafka_part *kp, uint32_t generation)
{
	struct err ignored;

	return sink_ruleset_get(&kp->rules, kp->part->env, generation, &kp->at, &ignored) ||
	       ruleset_routes(kp->rules.rs);
}

void kafka_routes_free(struct kafka_part *kp)
{
	for (uint32_t i = 0; i < kp->route_count; i++) {
		rd_kafka_topic_destroy(kp->route[i].topic);
		free(kp->route[i].name);
	}
	free(kp->route);
	kp->route = NULL;
	kp->route_count = 0;
}
