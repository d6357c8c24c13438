/* Shared by the readers of rule files. Set-up only. */
#ifndef SLUICE_RULE_READ_PRIV_H
#define SLUICE_RULE_READ_PRIV_H

#include "attr.h"
#include "rule_ast.h"
#include "ytree.h"

struct rule_reader {
	struct rule_pool *pool;
	const struct ytree *tree;
	const char *rule_id;		  /* NULL until known */
	uint32_t conds;			  /* of the rule so far */
	uint64_t repeats, repeat_bytes;	  /* events made by `times` so far, and what they take */
	const struct rule_source *source; /* all of the ruleset, lists among them */
	uint32_t source_count;
	uint64_t lists;	       /* hash of the lists that have been read */
	struct rule_list *all; /* for what all rules have together */
	struct err *err;
};

/* "file:line:column: rule id: text" at the node, at its key, and for want of memory. */
int rule_err(const struct rule_reader *rd, const struct ynode *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int rule_err_key(const struct rule_reader *rd, const struct ynode *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int rule_no_memory(const struct rule_reader *rd);

/* "unknown key x in WHAT; did you mean y?", or all names if none is near. */
int rule_err_unknown(const struct rule_reader *rd, const struct ynode *at, bool is_key, const char *what,
	const char *const *names, uint32_t name_count);

/* Names of the fields, for rule_err_unknown(); returns how many. */
uint32_t rule_field_names(const char **names, uint32_t room);
uint32_t rule_type_names(const char **names, uint32_t room);

/* A plain scalar that YAML calls null: nothing, ~, null. */
bool value_is_null(const struct ynode *n);
/* Plain scalars only; finite. */
bool value_number(const struct ynode *n, double *out);
bool value_bool(const struct ynode *n, bool *out);
/* Milliseconds since the epoch as an integer, or RFC 3339 text. */
bool value_time(const struct ynode *n, int64_t *out);
bool value_uuid(const char *text, size_t bytes, uint8_t out[16]);

/* Whole numbers only. */
bool value_uint(const struct ynode *n, uint64_t *out);
/* A plain date or RFC 3339 text: the date's first millisecond (UTC). */
bool value_date(const struct ynode *n, int64_t *out);
/* A duration of min_ms to max_ms, both included; a whole number from min to max. Errors name the key. */
int read_duration(
	const struct rule_reader *rd, const struct ynode *n, uint64_t min_ms, uint64_t max_ms, int64_t *out);
int read_uint(const struct rule_reader *rd, const struct ynode *n, uint64_t min, uint64_t max, uint64_t *out);
int read_double(const struct rule_reader *rd, const struct ynode *n, double min, double max, double *out);
/* A mapping with known keys only. */
int read_keys(const struct rule_reader *rd, const struct ynode *n, const char *const *names);
/* A child that must be there. */
int read_child(
	const struct rule_reader *rd, const struct ynode *n, const char *name, const struct ynode **out);

/* ---- rule_field.c: one field's mapping ---- */
struct field_reader {
	enum field_id field;
	const char *attr; /* as in struct cond */
	const char *name; /* for errors */
	int kind;	  /* enum field_kind, or one of rule_field.c */
	uint32_t len_max;
	bool nocase, nocase_used;
	const struct ynode *range; /* first of lt, le, gt, ge */
	double low, high;
	bool low_open, high_open;
	struct cond *all; /* COND_ALL that takes the tests */
};
/* Kind of an attribute: any JSON value; text by its characters, numbers and booleans by their text; ranges
 * see numbers. */
#define RULE_KIND_ATTR FIELD_KIND_COUNT
struct cond *cond_new(struct rule_reader *rd, enum cond_kind kind, const struct ynode *at);
void cond_append(struct cond *parent, struct cond *c); /* and what hangs on c */
void cond_subject(struct cond *c, const struct field_reader *fr);
int field_read(struct rule_reader *rd, const struct ynode *n, struct field_reader *fr);
int attr_read(struct rule_reader *rd, const struct ynode *n, struct cond *all);
int address_read(struct rule_reader *rd, const struct ynode *n, struct cond *all); /* src_addr */
/* A text, checked against the field; a number; errors name the field. */
int set_text(
	struct rule_reader *rd, const struct ynode *n, const struct field_reader *f, struct rule_text *out);
int set_number(struct rule_reader *rd, const struct ynode *n, const struct field_reader *f, double *out);

/* ---- rule_list.c: many values ---- */
/* `in`: a list, or {file: ...}. eq: one value. */
int values_read(struct rule_reader *rd, struct field_reader *fr, const struct ynode *n, bool list);
/* `cidr`: a text, a list, or {file: ...}. */
int cidr_read(struct rule_reader *rd, struct field_reader *fr, const struct ynode *n);

/* ---- rule_cond.c ---- */
/* The conditions of `when`, of a step, and that none of `allow` holds, all together; each may be NULL, but
 * not all. */
int conds_read(struct rule_reader *rd, const struct ynode *when, const struct ynode *step,
	const struct ynode *allow, struct cond **out);

/* ---- rule_stateful.c, rule_sequence.c ---- */
/* Whether it is a key of the stateful part. */
bool state_key(const char *key);
/* The stateful part of a rule, and its `when`. rule->state stays NULL for a rule without. */
int state_read(struct rule_reader *rd, const struct ynode *n, struct rule *rule);
int sequence_read(struct rule_reader *rd, const struct ynode *rule_node, struct rule *rule);
int absence_read(struct rule_reader *rd, const struct ynode *rule_node, struct rule *rule);
/* What a node says, without its layout: kinds, keys, texts, in order. */
uint64_t node_hash(const struct ynode *n, uint64_t h);

/* ---- rule_repeat.c: an item of a sample's `send` ---- */
struct sample_repeat {
	const struct ynode *each;
	bool repeated; /* else one event, as it stands there */
	uint64_t times;
	int64_t every_ms;
};
int repeat_read(struct rule_reader *rd, const struct ynode *n, struct sample_repeat *out);
/* number < times. */
int repeat_event(
	struct rule_reader *rd, const struct sample_repeat *r, uint64_t number, const struct ynode **out);

/* `tests:` */
int samples_read(struct rule_reader *rd, const struct ynode *tests, struct rule *rule);

#endif
