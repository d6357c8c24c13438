/* Expressions that Hyperscan has no automaton for: look-around, back references, atomic groups, conditions.
 * It still finds where a weaker expression matches (HS_FLAG_PREFILTER); PCRE2 then says whether the
 * expression itself does, on the value by itself. docs/decisions/0008-pcre2-confirm.md has the bounds. Set-up
 * only. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "ruleset_priv.h"

/* The expression under PCRE2; NULL with its error. No option may be set from inside it but the usual ones. */
static pcre2_code *code_of(const struct pattern *p, char *text, size_t cap)
{
	uint32_t options = PCRE2_DOTALL | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C |
			   (p->flags & HS_FLAG_CASELESS ? PCRE2_CASELESS : 0);
	PCRE2_SIZE at;
	int problem;
	pcre2_code *code =
		pcre2_compile((PCRE2_SPTR)p->expr, PCRE2_ZERO_TERMINATED, options, &problem, &at, NULL);
	char message[120];

	if (code)
		return code;
	if (pcre2_get_error_message(problem, (PCRE2_UCHAR *)message, sizeof message) < 0)
		*message = 0;
	snprintf(text, cap, "%s at character %zu", message, (size_t)at + 1);
	return NULL;
}

/* Why hs_compile() does not take it, as it will be compiled; false: it does. */
static bool prefilter_refused(const struct pattern *p, char *text, size_t cap)
{
	hs_compile_error_t *problem = NULL;
	hs_expr_info_t *info = NULL;
	bool refused = hs_expression_info(p->expr, p->flags, &info, &problem) != HS_SUCCESS;

	if (refused)
		snprintf(text, cap, "%s", problem ? problem->message : "refused by Hyperscan");
	hs_free_compile_error(problem);
	free(info);
	return refused;
}

int ruleset_confirm(struct ruleset *rs, struct pattern *p, const char *why, struct err *err)
{
	char text[200];

	p->confirm = code_of(p, text, sizeof text);
	if (!p->confirm)
		return ruleset_rule_err(
			p->rule, p->cond, err, "regex: %s (nor does PCRE2 take it: %s)", why, text);
	p->flags |= HS_FLAG_PREFILTER | HS_FLAG_ALLOWEMPTY;
	if (prefilter_refused(p, text, sizeof text)) {
		pcre2_code_free(p->confirm);
		p->confirm = NULL;
		return ruleset_rule_err(
			p->rule, p->cond, err, "regex: %s (nor as a prefilter for PCRE2: %s)", why, text);
	}
	p->edge = true; /* what stands beside a value must not be looked at */
	p->min_width = 1;
	p->max_width = UINT32_MAX;
	rs->confirm_count++;
	return 0;
}
