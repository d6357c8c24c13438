/* The compiled ruleset. Written while it is compiled, then constant: any thread may read it. */
#ifndef SLUICE_RULESET_PRIV_H
#define SLUICE_RULESET_PRIV_H

#include <hs/hs.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "attr.h"
#include "rule_ast.h"
#include "textmap.h"

#define LIT_NONE UINT32_MAX
/* What tests look at: fields by their id, then attributes by their index. */
#define SUBJECT_COUNT (FIELD_ID_MAX + ATTRS_MAX)

/* A bit for each subject. */
struct subject_set {
	uint64_t fields, attrs;
};

static inline void subject_set_add(struct subject_set *set, uint32_t subject)
{
	if (subject < FIELD_ID_MAX)
		set->fields |= 1ull << subject;
	else
		set->attrs |= 1ull << (subject - FIELD_ID_MAX);
}

/* One expression on one subject. Its index is its hit bit ("lit"); lits of dictionaries follow. */
struct pattern {
	uint32_t min_width, max_width; /* of a match in bytes; UINT32_MAX: unbounded */
	uint32_t flags;		       /* HS_FLAG_* */
	uint32_t literal;	       /* bytes of a text that each match holds */
	uint8_t subject;
	bool word;	     /* a regex with \b or \B: see regex_shape.h */
	bool edge;	     /* result depends on the field's edges: never scanned among other fields */
	pcre2_code *confirm; /* what Hyperscan finds is only a candidate of; NULL: it is a match */
	const char *expr;
	const struct rule *rule; /* the first that has it, for errors */
	const struct cond *cond;
};

/* A rule's condition in prefix order. skip: nodes of this subtree, itself included. */
enum prog_op {
	PROG_ALL,
	PROG_ANY,
	PROG_NOT,
	PROG_LIT,
	PROG_TYPE,
	PROG_PRESENT,
	PROG_ABSENT,
	PROG_NUMBERS,
	PROG_RANGE,
	PROG_CIDR,
	PROG_PREFIX,
	PROG_SUFFIX
};

struct prog_node {
	uint8_t op;
	uint8_t subject;
	uint16_t types; /* PROG_TYPE */
	uint32_t skip;
	uint32_t arg; /* PROG_LIT: hit bit; others: index of operand[] */
};

/* What a hit index stands for: a rule's condition, or, behind all of those, that of a step of a rule with
 * state. */
struct match {
	struct rule *rule;
	struct cond *when;
	uint32_t types;	 /* 1 << enum event_type of the types that can match; none once the rule is expired */
	uint8_t actions; /* RULE_ACTION_* that it gives the event */
};

/* Values of eq and in on one subject: exact, and with ASCII letters in lower case. A slot's value is the
 * index of its first dict_link. */
struct dict {
	struct textmap exact, folded;
};

struct dict_link {
	uint32_t lit;
	uint32_t next; /* TEXTMAP_NONE: the last */
};

struct ruleset {
	struct rule_pool pool;
	struct rule_list list;
	struct rule **rule;    /* rule_count */
	uint32_t rule_count;   /* those in force first */
	uint32_t canary_count; /* of these */
	struct match *match;   /* match_count: the rules first, in their order */
	uint32_t match_count;
	struct rule_state *state; /* those in force */
	uint32_t state_count;
	struct rule_keyring keyring[RULE_KEYRINGS_MAX];
	uint32_t keyring_count;
	struct rule_use *use; /* by match */
	int64_t expire_ms;    /* rules that expire until then are not in force; INT64_MIN: all are */
	uint32_t expired_count;
	char version[17];
	struct rule_source *source;
	uint32_t source_count, canary_from; /* from there on the canary's; source_count: none */
	bool metadata_only;		    /* cannot match: from the store */

	struct pattern *pattern;
	uint32_t pattern_count, pattern_room;
	struct textmap pattern_map;
	uint32_t lit_count;
	uint32_t confirm_count; /* patterns with confirm */

	struct prog_node *prog;
	uint32_t prog_count;
	const struct cond **operand;
	uint32_t operand_count;
	uint32_t *match_prog;  /* match -> its first node */
	uint16_t *match_types; /* match -> mask of event types */
	uint8_t *match_actions;

	/* Matches to look at when a bit is set, and per type those that no bit announces. */
	uint32_t *lit_first; /* lit_count + 1 */
	uint16_t *lit_match;
	uint16_t *always[EVENT_TYPE_MAX];
	uint32_t always_count[EVENT_TYPE_MAX];

	/* Subjects to gather, to scan alone, to look up, per event type. */
	struct subject_set gather_mask[EVENT_TYPE_MAX], edge_mask[EVENT_TYPE_MAX], dict_mask[EVENT_TYPE_MAX];
	struct subject_set alone_mask[EVENT_TYPE_MAX]; /* the latter two: what is looked at event by event */
	struct attr_tree attrs;
	uint32_t attr_types; /* 1 << enum event_type of the types that need a look at them */
	struct dict dict[SUBJECT_COUNT];
	struct dict_link *dict_link;
	uint32_t dict_link_count;

	/* Per subject; NULL where there is no such pattern. Ids are lits. */
	hs_database_t *gather_db[SUBJECT_COUNT]; /* every match end: for the subject's values of a burst, side
						   by side */
	hs_database_t *single_db[SUBJECT_COUNT]; /* the same patterns, first match only: for one value */
	hs_database_t *edge_db[SUBJECT_COUNT];	 /* first match only */
	hs_scratch_t *scratch;			 /* large enough for each; cloned, never used */
};

static inline char ascii_fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* "file:line:column: rule id: text"; returns -EINVAL. cond may be NULL: the rule's own place. */
int ruleset_rule_err(const struct rule *rule, const struct cond *cond, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int ruleset_no_memory(struct err *err);
/* rule_problem() of a ruleset in the making. */
int ruleset_problem(struct ruleset *rs, int rc, const struct err *err);
/* Ends a compile that has told of errors: -EINVAL with an empty text; else 0. */
int ruleset_problems_end(const struct ruleset *rs, struct err *err);

/* Steps of ruleset_compile(), in this order. */
int ruleset_matches(struct ruleset *rs, struct err *err); /* match[] */
int ruleset_types(struct ruleset *rs, struct err *err);	  /* match.types */
int ruleset_states(
	struct ruleset *rs, struct err *err); /* state[], keyring[], use[]; again after some expired */
int ruleset_attrs(struct ruleset *rs, struct err *err);				  /* cond.subject, attrs */
int ruleset_patterns(struct ruleset *rs, uint32_t patterns_max, struct err *err); /* pattern[], lits, dicts */
/* Of a pattern that Hyperscan refuses for a reason: makes it one that PCRE2 confirms, or says what both say.
 */
int ruleset_confirm(struct ruleset *rs, struct pattern *p, const char *why, struct err *err);
int ruleset_programs(struct ruleset *rs, struct err *err);  /* prog, triggers, always */
int ruleset_databases(struct ruleset *rs, struct err *err); /* Hyperscan */

/* Rules that were read from canary sources, behind those in force: rule[], version. */
int ruleset_canary_join(struct ruleset *rs, const struct rule_list *canary, struct err *err);

/* ruleset_compile() where sources from canary_from on are those of a canary; metadata_only: without what
 * matching needs. */
struct compile_how {
	uint32_t patterns_max;
	uint32_t canary_from;
	bool metadata_only;
	struct rule_problems *problems; /* of a check; else NULL */
};
int ruleset_compile_how(struct ruleset **out, const struct rule_source *source, uint32_t source_count,
	const struct compile_how *how, struct err *err);

#endif
