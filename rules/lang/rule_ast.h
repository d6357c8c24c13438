/* Rules as read from YAML, checked against the schema, not yet compiled. All memory belongs to the rule_pool
 * that was handed to rules_read(). Set-up only. */
#ifndef SLUICE_RULE_AST_H
#define SLUICE_RULE_AST_H

#include "err.h"
#include "event.h"
#include "rule_pool.h"
#include "ruleset.h"

#define RULE_ID_BYTES_MAX 64
#define RULE_TITLE_BYTES_MAX 200
#define RULE_TOPIC_BYTES_MAX 200	    /* Kafka takes 249 */
#define RULE_DEPTH_MAX 8		    /* any/all/not inside each other */
#define RULE_CONDS_MAX 4096		    /* tests of one rule */
#define RULE_COUNT_MAX 65535u		    /* a rule index is 16 bits in records */
#define RULE_CONDS_SUM_MAX 1000000u	    /* tests of all rules */
#define RULE_VALUES_SUM_MAX 4000000u	    /* values of `in` and `cidr` in all rules */
#define RULE_SOURCES_BYTES_MAX (256u << 20) /* rule files and lists of a ruleset */
#define REGEX_BYTES_MAX 4096
#define RULE_TEST_EVENTS_MAX 10000	   /* of one test */
#define RULE_REPEATS_MAX 20000		   /* of events that stand there once, in all tests of a file */
#define RULE_REPEAT_BYTES_MAX (128u << 20) /* that these take while they are read */

enum cond_kind {
	COND_ALL,      /* each child holds */
	COND_ANY,      /* a child holds */
	COND_NOT,      /* its one child does not hold */
	COND_TYPE,     /* the event's type is in type_mask */
	COND_PRESENT,  /* the field is there (present) or is not */
	COND_TEXTS,    /* the value is one of text[]; event_id: 16 bytes each */
	COND_NUMBERS,  /* the value is one of number[], ascending */
	COND_RANGE,    /* low < or <= value < or <= high */
	COND_PREFIX,   /* text[0] */
	COND_SUFFIX,   /* text[0] */
	COND_CONTAINS, /* text[0] */
	COND_REGEX,    /* text[0] */
	COND_CIDR,     /* the value, or the packet's source address (FIELD_NONE), is an address in range[] */
};

struct rule_text {
	const char *text; /* NUL-terminated */
	uint32_t bytes;
};

/* Addresses of COND_CIDR: first to last, IPv4-mapped where IPv4. */
struct ip_range {
	uint8_t first[16], last[16];
};

/* A test of a field that the event does not have is false (COND_PRESENT apart); under COND_NOT, so true. */
struct cond {
	enum cond_kind kind;
	enum field_id field;
	const char *attr; /* names joined by dots below `attributes`; NULL: a test of the field */
	uint32_t subject; /* the field's id, or FIELD_ID_MAX + index of the attribute; set by compile/ */
	bool nocase;	  /* ASCII letters are equal in both cases */
	bool present;
	bool low_open, high_open;
	uint32_t type_mask; /* 1 << enum event_type */
	uint32_t line, column;
	struct rule_text *text;
	uint32_t text_count;
	uint32_t number_count;
	double *number;
	double low, high;
	struct ip_range *range; /* ascending, apart from each other */
	uint32_t range_count;
	struct cond *child, *next;
	uint32_t lit; /* CONTAINS, REGEX, TEXTS: hit bit; set by compile/ */
};

/* One event of `tests: - send:`. ev points into the pool. */
struct rule_sample {
	struct event ev;
	uint8_t expect; /* RULE_ACTION_*, 0: the rule must not match */
	uint32_t line;
	uint32_t test; /* index of the test that it belongs to */
	struct rule_sample *next;
};

/* The stateful part of a rule. */
struct rule_stateful {
	struct rule_state spec; /* rule, keyring, match and step[].match are set by compile/ */
	uint8_t by[RULE_BY_MAX];
	uint8_t by_count;
	bool stream;			   /* sequence: the rule's `when` stands beside its steps' */
	struct cond *when[RULE_STEPS_MAX]; /* of each step; NULL: the rule's own */
	uint64_t hash;			   /* of what the steps' conditions say */
	uint32_t by_line, by_column;	   /* of `by` */
};

struct rule {
	struct rule_info info;
	uint32_t column;
	struct cond *when;
	struct rule_stateful *state; /* NULL: none */
	struct rule_sample *sample;
	struct rule *next;
};

struct rule_list {
	struct rule *head, **tail; /* tail: NULL in a zeroed list */
	uint32_t count;
	uint64_t conds, values; /* of all rules */
	uint64_t version;	/* hash of what the rules and lists say, without comments and layout */
	struct rule_problems *problems; /* who is told of each error; NULL: the first ends it */
};
/* An error of one rule or file. 0: it was told, go on with the next; else rc. */
int rule_problem(struct rule_problems *problems, int rc, const struct err *err);

/* The name of the list `file` that a rule file names: beside it. out has RULE_PATH_BYTES. */
#define RULE_PATH_BYTES 4096
bool rule_list_path(char *out, const char *rule_file, const char *file);

/* Reads one file of source[] and appends its rules; lists are found among the others. err: "file:line:column:
 * rule id: what is wrong". Ids are not yet compared with each other. Returns 0, -EINVAL, -ENOMEM. */
int rules_read(struct rule_list *list, struct rule_pool *pool, const struct rule_source *source,
	uint32_t source_count, uint32_t index, struct err *err);

#endif
