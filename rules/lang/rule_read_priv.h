/* Shared by the readers of rule files. Set-up only. */
#ifndef SLUICE_RULE_READ_PRIV_H
#define SLUICE_RULE_READ_PRIV_H

#include "rule_ast.h"
#include "ytree.h"

struct rule_reader {
	struct rule_pool *pool;
	const struct ytree *tree;
	const char *rule_id; /* NULL until known */
	uint32_t conds;	     /* of the rule so far */
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

/* `when:` */
int cond_read(struct rule_reader *rd, const struct ynode *when, struct cond **out);
/* `tests:` */
int samples_read(struct rule_reader *rd, const struct ynode *tests, struct rule *rule);

#endif
