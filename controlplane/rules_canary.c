/* `rules canary` and `rules promote`: rules beside those in force that only count, and what puts them in
 * force (docs/decisions/0009-canary.md). Job threads. */
#include "daemon.h"

#include <errno.h>

static int canary_start(
	struct daemon *d, const json_t *files, json_t *warnings, struct ruleset **out, struct err *err)
{
	struct ruleset *other;
	int rc = rules_tested(d, files, NULL, &other, err);

	*out = NULL;
	rc = rc ? rc : ruleset_canary(out, d->ruleset, other, (uint32_t)d->cfg.rules.patterns_max, err);
	if (rc == 0)
		rules_gone(d->ruleset, other,
			"not in these files, so that `rules promote` takes them out of force", warnings);
	ruleset_free(other);
	return rc ? rc : rules_expire(&d->cfg, *out, warnings, err);
}

/* What is in force, or what the canary says, alone. */
static int canary_end(struct daemon *d, bool promote, json_t *warnings, struct ruleset **out, struct err *err)
{
	int rc;

	*out = NULL;
	if (!ruleset_canary_count(d->ruleset))
		return err_set(err, -ENOENT, "there is no canary: `rules canary FILES` starts one");
	rc = ruleset_part(out, d->ruleset, promote, (uint32_t)d->cfg.rules.patterns_max, err);
	return rc ? rc : rules_expire(&d->cfg, *out, warnings, err);
}

static json_t *canary_finish(struct daemon *d, const struct peer *peer, const char *action, int rc,
	struct ruleset *rs, json_t *warnings, struct err *err)
{
	if (rc == 0)
		return rules_finish(d, peer, action, rs, warnings, err);
	ruleset_free(rs);
	json_decref(warnings);
	return NULL;
}

json_t *run_rules_canary(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	const json_t *files = json_object_get(rq->args, "files");
	bool stop = request_flag(rq, "stop");
	json_t *warnings = json_array(), *result;
	struct daemon *d = arg;
	struct ruleset *rs = NULL;
	int rc;

	pthread_mutex_lock(&d->apply_lock);
	if (stop && json_array_size(files))
		rc = err_set(err, -EINVAL, "files, or --stop");
	else
		rc = stop ? canary_end(d, false, warnings, &rs, err)
			  : canary_start(d, files, warnings, &rs, err);
	result = canary_finish(d, peer, stop ? "canary-stop" : "canary", rc, rs, warnings, err);
	pthread_mutex_unlock(&d->apply_lock);
	return result;
}

json_t *run_rules_promote(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	json_t *warnings = json_array(), *result;
	struct daemon *d = arg;
	struct ruleset *rs;
	int rc;

	(void)rq;
	pthread_mutex_lock(&d->apply_lock);
	rc = canary_end(d, true, warnings, &rs, err);
	result = canary_finish(d, peer, "promote", rc, rs, warnings, err);
	pthread_mutex_unlock(&d->apply_lock);
	return result;
}
