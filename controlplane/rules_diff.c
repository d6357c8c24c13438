/* `rules diff`: the rules in force against others, rule by rule. A job thread; the ruleset in force is looked
 * at under rules_lock. */
#include "daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int info_compare(const void *a, const void *b)
{
	return strcmp((*(const struct rule_info *const *)a)->id, (*(const struct rule_info *const *)b)->id);
}

/* The rules by id; NULL: no memory. */
static const struct rule_info **infos_sorted(const struct ruleset *rs)
{
	uint32_t count = ruleset_rule_count(rs) - ruleset_canary_count(rs); /* those in force stand first */
	const struct rule_info **info = calloc(count + 1, sizeof *info);

	for (uint32_t i = 0; info && i < count; i++)
		info[i] = ruleset_rule(rs, i);
	if (info && count)
		qsort(info, count, sizeof *info, info_compare);
	return info;
}

static void change_add(json_t *list, const char *change, const struct rule_info *info)
{
	json_array_append_new(list, json_pack("{s:o, s:s, s:o, s:o, s:I}", "rule", json_text(info->id),
					    "change", change, "title", json_text(info->title), "file",
					    json_text(info->file), "line", (json_int_t)info->line));
}

static json_t *diff_make(const struct ruleset *now, const struct ruleset *then, struct err *err)
{
	const struct rule_info **a = infos_sorted(now), **b = infos_sorted(then), **x = a, **y = b;
	json_t *list = json_array();
	uint64_t same = 0;

	while (a && b && (*x || *y)) {
		int d = !*x ? 1 : !*y ? -1 : strcmp((*x)->id, (*y)->id);

		if (d < 0)
			change_add(list, "gone", *x);
		else if (d > 0)
			change_add(list, "new", *y);
		else if ((*x)->content != (*y)->content)
			change_add(list, "changed", *y);
		else
			same++;
		x += d <= 0;
		y += d >= 0;
	}
	if (!a || !b) {
		err_set(err, -ENOMEM, "rules: no memory");
		json_decref(list);
		list = NULL;
	}
	free(a);
	free(b);
	return list ? json_pack("{s:s, s:s, s:o, s:o}", "in_force", ruleset_version(now), "other",
			      ruleset_version(then), "same", json_u64(same), "changes", list)
		    : NULL;
}

#define GONE_NAMED 8

void rules_gone(const struct ruleset *now, const struct ruleset *then, const char *what, json_t *warnings)
{
	const struct rule_info **a = infos_sorted(now), **b = infos_sorted(then), **y = b;
	char names[GONE_NAMED * 70] = "";
	uint32_t count = 0;

	for (const struct rule_info **x = a; a && b && *x; x++) {
		size_t n = strlen(names);

		while (*y && strcmp((*y)->id, (*x)->id) < 0)
			y++;
		if (*y && strcmp((*y)->id, (*x)->id) == 0)
			continue;
		if (count++ < GONE_NAMED)
			snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", (*x)->id);
	}
	if (count)
		json_array_append_new(
			warnings, json_sprintf("%s (%u %s): %s%s", what, count, count == 1 ? "rule" : "rules",
					  names, count > GONE_NAMED ? ", ..." : ""));
	free(a);
	free(b);
}

json_t *run_rules_diff(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	struct daemon *d = arg;
	const json_t *files = json_object_get(rq->args, "files");
	uint64_t generation = request_uint(rq, "generation", 0);
	struct ruleset *other = NULL;
	json_t *result;
	int rc;

	(void)peer;
	if (generation > UINT32_MAX || (generation && json_array_size(files)))
		rc = err_set(err, -EINVAL, "files, or one generation");
	else if (generation)
		rc = ruleset_store_load(
			d->store, (uint32_t)generation, (uint32_t)d->cfg.rules.patterns_max, &other, err);
	else if (json_array_size(files))
		rc = rules_of_files(d, files, &other, err);
	else if (d->cfg.rules.dir[0])
		rc = rules_of_dir(&d->cfg, &other, err);
	else
		rc = err_set(err, -EINVAL, "no files given, and rules.dir is not set");
	if (rc)
		return NULL;
	pthread_mutex_lock(&d->rules_lock);
	result = diff_make(d->ruleset, other, err);
	pthread_mutex_unlock(&d->rules_lock);
	ruleset_free(other);
	return result;
}
