/* Hyperscan databases of a ruleset (docs/decisions/0004-gathered-scan.md). Set-up only: a compile of
 * thousands of patterns takes seconds.
 *
 *   gather_db  patterns that see nothing beyond their match; reports each end, for fields side by side
 *   single_db  the same, one report a pattern; for one field alone
 *   edge_db[]  per field: patterns whose result depends on where the field starts or ends */
#include <stdlib.h>
#include <errno.h>

#include "ruleset_priv.h"

struct expressions {
	const char **expr;
	unsigned *flags, *id;
	uint32_t *pattern; /* to tell which one Hyperscan means */
	uint32_t count;
};

static int build(struct ruleset *rs, const struct expressions *ex, hs_database_t **db, struct err *err)
{
	hs_compile_error_t *problem = NULL;
	const struct pattern *p;
	int rc;

	if (!ex->count)
		return 0;
	if (hs_compile_multi(ex->expr, ex->flags, ex->id, ex->count, HS_MODE_BLOCK, NULL, db, &problem) ==
		HS_SUCCESS)
		return 0;
	if (problem && problem->expression >= 0 && (uint32_t)problem->expression < ex->count) {
		p = &rs->pattern[ex->pattern[problem->expression]];
		rc = ruleset_rule_err(p->rule, p->cond, err, "regex: %s", problem->message);
	} else {
		rc = err_set(err, -EINVAL, "the text patterns together: %s",
			problem ? problem->message : "refused by Hyperscan");
	}
	hs_free_compile_error(problem);
	return rc;
}

static void take(
	struct expressions *ex, const struct ruleset *rs, uint32_t pattern, uint32_t id, unsigned flags)
{
	ex->expr[ex->count] = rs->pattern[pattern].expr;
	ex->flags[ex->count] = rs->pattern[pattern].flags | flags;
	ex->id[ex->count] = id;
	ex->pattern[ex->count] = pattern;
	ex->count++;
}

static int build_all(struct ruleset *rs, struct expressions *ex, struct err *err)
{
	int rc;

	for (uint32_t i = 0; i < rs->pattern_count; i++)
		if (!rs->pattern[i].edge)
			take(ex, rs, i, i, 0);
	rc = build(rs, ex, &rs->gather_db, err);
	for (uint32_t i = 0; i < ex->count; i++)
		ex->flags[i] |= HS_FLAG_SINGLEMATCH;
	if (!rc)
		rc = build(rs, ex, &rs->single_db, err);
	for (uint32_t f = 1; f < FIELD_ID_MAX && !rc; f++) {
		ex->count = 0;
		for (uint32_t i = 0; i < rs->pattern_count; i++)
			if (rs->pattern[i].edge && rs->pattern[i].fields & 1ull << f)
				take(ex, rs, i, pattern_lit(&rs->pattern[i], f), HS_FLAG_SINGLEMATCH);
		rc = build(rs, ex, &rs->edge_db[f], err);
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
		.id = calloc(n, sizeof *ex.id),
		.pattern = calloc(n, sizeof *ex.pattern)};
	bool ok;
	int rc;

	if (hs_valid_platform() != HS_SUCCESS)
		rc = err_set(err, -EINVAL, "Hyperscan needs SSSE3, which this processor lacks");
	else if (!ex.expr || !ex.flags || !ex.id || !ex.pattern)
		rc = ruleset_no_memory(err);
	else
		rc = build_all(rs, &ex, err);
	free(ex.expr);
	free(ex.flags);
	free(ex.id);
	free(ex.pattern);
	if (rc)
		return rc;
	ok = scratch_for(rs, rs->gather_db) && scratch_for(rs, rs->single_db);
	for (uint32_t f = 1; f < FIELD_ID_MAX; f++)
		ok = ok && scratch_for(rs, rs->edge_db[f]);
	return ok ? 0 : ruleset_no_memory(err);
}
