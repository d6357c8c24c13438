/* What a ruleset's text patterns cost: memory of the databases, and the patterns that cost more than others,
 * with what would cost less. Any thread. */
#include <stdio.h>

#include "regex_shape.h"
#include "ruleset_priv.h"

#define LITERAL_BYTES_MIN 2u /* shorter texts are found too often to narrow anything down */
#define SIZE_LARGE 1000u

struct costs {
	const struct ruleset *rs;
	struct rule_costs *out;
	void (*line)(void *arg, const char *line);
	void *arg;
};

static void say(const struct costs *co, const struct pattern *p, const char *what)
{
	struct err err;

	co->out->costly++;
	if (co->out->costly > RULE_COSTLY_MAX || !co->line)
		return;
	ruleset_rule_err(p->rule, p->cond, &err, "%s", what);
	co->line(co->arg, err.text);
}

static void pattern_costs(const struct costs *co, const struct pattern *p)
{
	struct regex_shape shape;
	char text[200];

	if (p->cond->kind == COND_CONTAINS) {
		if (p->min_width < LITERAL_BYTES_MIN)
			say(co, p, "contains: one character hits in most values, and each hit is looked at");
		return;
	}
	shape = regex_shape_of(p->expr);
	if (p->confirm) {
		say(co, p,
			"regex: beyond Hyperscan: confirmed by PCRE2 wherever a weaker expression matches, "
			"event by event; a "
			"search of more than 10000 steps is given up, counted (confirms_cut), and is no "
			"match");
		return;
	}
	if (!p->min_width)
		say(co, p,
			"regex: matches the empty text, so each value that is there; `present` says that at "
			"no cost");
	else if (p->edge)
		say(co, p,
			"regex: depends on where the value begins or ends (^, $), so it costs a scan for "
			"each event; "
			"`prefix`, `suffix` and \\b do not");
	if (p->min_width && p->literal < LITERAL_BYTES_MIN)
		say(co, p,
			"regex: no text of 2 characters is in each match, so that it is looked for at every "
			"byte; "
			"a longer fixed text in it is found at little cost");
	if (shape.size > SIZE_LARGE) {
		snprintf(text, sizeof text,
			"regex: %llu positions after its repeats are written out: slow to compile and to "
			"match",
			(unsigned long long)shape.size);
		say(co, p, text);
	}
}

static void database_costs(struct rule_costs *out, const hs_database_t *db)
{
	size_t bytes;

	if (!db || hs_database_size(db, &bytes) != HS_SUCCESS)
		return;
	out->databases++;
	out->database_bytes += bytes;
}

void ruleset_costs(const struct ruleset *rs, struct rule_costs *out,
	void (*line)(void *arg, const char *line), void *arg)
{
	const struct costs co = {rs, out, line, arg};
	size_t bytes = 0;

	*out = (struct rule_costs){.patterns = rs->pattern_count};
	for (uint32_t f = 0; f < SUBJECT_COUNT; f++) {
		database_costs(out, rs->gather_db[f]);
		database_costs(out, rs->single_db[f]);
		database_costs(out, rs->edge_db[f]);
	}
	if (rs->scratch && hs_scratch_size(rs->scratch, &bytes) == HS_SUCCESS)
		out->scratch_bytes = bytes;
	for (uint32_t i = 0; i < rs->pattern_count; i++) {
		out->edge_patterns += rs->pattern[i].edge;
		out->confirmed_patterns += rs->pattern[i].confirm != NULL;
		pattern_costs(&co, &rs->pattern[i]);
	}
}
