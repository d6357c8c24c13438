/* The compiled ruleset. Written while it is compiled, then constant: any thread may read it. */
#ifndef SLUICE_RULESET_PRIV_H
#define SLUICE_RULESET_PRIV_H

#include <hs/hs.h>

#include "rule_ast.h"
#include "textmap.h"

#define LIT_NONE UINT32_MAX

/* One expression on one field. Its index is its hit bit ("lit"); lits of dictionaries follow. */
struct pattern {
	uint32_t min_width, max_width; /* of a match in bytes; UINT32_MAX: unbounded */
	uint32_t flags;		       /* HS_FLAG_* */
	uint8_t field;
	bool edge; /* result depends on the field's edges: never scanned among other fields */
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
	PROG_PREFIX,
	PROG_SUFFIX
};

struct prog_node {
	uint8_t op;
	uint8_t field;
	uint16_t types; /* PROG_TYPE */
	uint32_t skip;
	uint32_t arg; /* PROG_LIT: hit bit; others: index of operand[] */
};

/* Values of eq and in on one field: exact, and with ASCII letters in lower case. A slot's value is the index
 * of its first dict_link. */
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
	struct rule **rule; /* rule_count */
	uint32_t rule_count;
	char version[17];
	struct rule_source *source;
	uint32_t source_count;
	bool metadata_only; /* cannot match: from the store */

	struct pattern *pattern;
	uint32_t pattern_count, pattern_room;
	struct textmap pattern_map;
	uint32_t lit_count;

	struct prog_node *prog;
	uint32_t prog_count;
	const struct cond **operand;
	uint32_t operand_count;
	uint32_t *rule_prog;  /* rule -> its first node */
	uint16_t *rule_types; /* rule -> mask of event types */
	uint8_t *rule_actions;

	/* Rules to look at when a bit is set, and per type those that no bit announces. */
	uint32_t *lit_first; /* lit_count + 1 */
	uint16_t *lit_rule;
	uint16_t *always[EVENT_TYPE_MAX];
	uint32_t always_count[EVENT_TYPE_MAX];

	/* Fields to gather, to scan alone, to look up, per event type. */
	uint64_t gather_mask[EVENT_TYPE_MAX], edge_mask[EVENT_TYPE_MAX], dict_mask[EVENT_TYPE_MAX];
	struct dict dict[FIELD_ID_MAX];
	struct dict_link *dict_link;
	uint32_t dict_link_count;

	/* Per field; NULL where there is no such pattern. Ids are lits. */
	hs_database_t *gather_db[FIELD_ID_MAX]; /* every match end: for the field's values of a burst, side by
						   side */
	hs_database_t *single_db[FIELD_ID_MAX]; /* the same patterns, first match only: for one value */
	hs_database_t *edge_db[FIELD_ID_MAX];	/* first match only */
	hs_scratch_t *scratch;			/* large enough for each; cloned, never used */
};

static inline char ascii_fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* "file:line:column: rule id: text"; returns -EINVAL. cond may be NULL: the rule's own place. */
int ruleset_rule_err(const struct rule *rule, const struct cond *cond, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int ruleset_no_memory(struct err *err);

/* Steps of ruleset_compile(), in this order. */
int ruleset_types(struct ruleset *rs, struct err *err);				  /* rule.types */
int ruleset_patterns(struct ruleset *rs, uint32_t patterns_max, struct err *err); /* pattern[], lits, dicts */
int ruleset_programs(struct ruleset *rs, struct err *err);			  /* prog, triggers, always */
int ruleset_databases(struct ruleset *rs, struct err *err);			  /* Hyperscan */

/* ruleset_compile() without what matching needs. */
int ruleset_compile_metadata(
	struct ruleset **out, const struct rule_source *source, uint32_t source_count, struct err *err);

#endif
