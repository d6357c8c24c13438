/* Hyperscan databases of a ruleset, for each field and attribute (docs/decisions/0004-gathered-scan.md).
 * Set-up only: a compile of thousands of patterns takes seconds.
 *
 *   gather_db  patterns that see nothing beyond their match; reports each end, for values side by side
 *   single_db  the same, one report a pattern; for one value alone
 *   edge_db    patterns whose result depends on where the value starts or ends */
#include <stdlib.h>
#include <errno.h>

#include "rule_cache.h"
#include "ruleset_priv.h"

static void (*progress_call)(
	void *arg, const char *subject, uint32_t patterns, uint32_t done, uint32_t count);
static void *progress_arg;

void ruleset_progress_set(
	void (*progress)(void *arg, const char *subject, uint32_t patterns, uint32_t done, uint32_t count),
	void *arg)
{
	progress_call = progress;
	progress_arg = arg;
}

struct expressions {
	const char **expr;
	unsigned *flags;
	unsigned *id; /* pattern index */
	uint32_t count;
};

static int build(struct ruleset *rs, const struct expressions *ex, hs_database_t **db, struct err *err)
{
	hs_compile_error_t *problem = NULL;
	struct rule_cache_key key;
	const struct pattern *p;
	int rc;

	if (!ex->count)
		return 0;
	key = rule_cache_key(ex->expr, ex->flags, ex->id, ex->count);
	*db = rule_cache_get(&key);
	if (*db)
		return 0;
	if (hs_compile_multi(ex->expr, ex->flags, ex->id, ex->count, HS_MODE_BLOCK, NULL, db, &problem) ==
		HS_SUCCESS) {
		rule_cache_put(&key, *db);
		return 0;
	}
	if (problem && problem->expression >= 0 && (uint32_t)problem->expression < ex->count) {
		p = &rs->pattern[ex->id[problem->expression]];
		rc = ruleset_rule_err(p->rule, p->cond, err, "regex: %s", problem->message);
	} else {
		rc = err_set(err, -EINVAL, "the text patterns together: %s",
			problem ? problem->message : "refused by Hyperscan");
	}
	hs_free_compile_error(problem);
	return rc;
}

static void take(
	struct expressions *ex, const struct ruleset *rs, uint32_t subject, bool edge, unsigned flags)
{
	ex->count = 0;
	for (uint32_t i = 0; i < rs->pattern_count; i++) {
		const struct pattern *p = &rs->pattern[i];

		if (p->edge != edge || p->subject != subject)
			continue;
		ex->expr[ex->count] = p->expr;
		ex->flags[ex->count] = p->flags | flags;
		ex->id[ex->count++] = i;
	}
}

/* Patterns of each subject; returns how many subjects have any. */
static uint32_t subjects_count(const struct ruleset *rs, uint32_t patterns[SUBJECT_COUNT])
{
	uint32_t n = 0;

	memset(patterns, 0, SUBJECT_COUNT * sizeof *patterns);
	for (uint32_t i = 0; i < rs->pattern_count; i++)
		n += !patterns[rs->pattern[i].subject]++;
	return n;
}

static const char *subject_name(const struct ruleset *rs, uint32_t subject)
{
	for (uint32_t i = 0; i < rs->pattern_count; i++)
		if (rs->pattern[i].subject == subject && rs->pattern[i].cond->attr)
			return rs->pattern[i].cond->attr;
	return subject < FIELD_ID_MAX ? field_table[subject].name : "";
}

static int build_all(struct ruleset *rs, struct expressions *ex, struct err *err)
{
	uint32_t patterns[SUBJECT_COUNT], count = subjects_count(rs, patterns), done = 0;
	int rc = 0;

	for (uint32_t f = 1; f < SUBJECT_COUNT && !rc; f++) {
		if (!patterns[f])
			continue;
		if (progress_call)
			progress_call(progress_arg, subject_name(rs, f), patterns[f], done++, count);
		take(ex, rs, f, false, 0);
		rc = build(rs, ex, &rs->gather_db[f], err);
		take(ex, rs, f, false, HS_FLAG_SINGLEMATCH);
		rc = rc ? rc : build(rs, ex, &rs->single_db[f], err);
		take(ex, rs, f, true, HS_FLAG_SINGLEMATCH);
		rc = rc ? rc : build(rs, ex, &rs->edge_db[f], err);
	}
	return rc;
}

static bool scratch_for(struct ruleset *rs, const hs_database_t *db)
{
	return !db || hs_alloc_scratch(db, &rs->scratch) == HS_SUCCESS;
}

int ruleset_databases(struct ruleset *rs, struct err *err)
{
	size_t n = rs->pattern_count ? rs->pattern_count : 1;
	struct expressions ex = {.expr = calloc(n, sizeof *ex.expr),
		.flags = calloc(n, sizeof *ex.flags),
		.id = calloc(n, sizeof *ex.id)};
	bool ok = true;
	int rc;

	if (hs_valid_platform() != HS_SUCCESS)
		rc = err_set(err, -EINVAL, "Hyperscan needs SSSE3, which this processor lacks");
	else if (!ex.expr || !ex.flags || !ex.id)
		rc = ruleset_no_memory(err);
	else
		rc = build_all(rs, &ex, err);
	free(ex.expr);
	free(ex.flags);
	free(ex.id);
	if (rc)
		return rc;
	for (uint32_t f = 1; f < SUBJECT_COUNT; f++)
		ok = ok && scratch_for(rs, rs->gather_db[f]) && scratch_for(rs, rs->single_db[f]) &&
		     scratch_for(rs, rs->edge_db[f]);
	return ok ? 0 : ruleset_no_memory(err);
}
