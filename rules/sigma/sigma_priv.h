/* Shared by the parts of the import of Sigma rules. Set-up only; one thread; all memory is the pool's. */
#ifndef SLUICE_SIGMA_PRIV_H
#define SLUICE_SIGMA_PRIV_H

#include "event.h"
#include "rule_pool.h"
#include "sigma.h"
#include "textmap.h"
#include "ytree.h"

#define SIGMA_TESTS_MAX 4096u	    /* of one rule, as it is written */
#define SIGMA_EXPR_MAX 100000u	    /* nodes of one document's expressions */
#define SIGMA_EXPR_SUM_MAX 2000000u /* of all that have been made: they stay until the end */

/* ---- expressions: what a condition comes to ---- */
enum sx_kind {
	SX_ALL,
	SX_ANY,
	SX_NOT,
	SX_TEST,
	SX_RAW /* a line of the mapping file's `when` */
};

enum sx_op {
	SX_EQ,
	SX_PREFIX,
	SX_SUFFIX,
	SX_CONTAINS,
	SX_REGEX,
	SX_CIDR,
	SX_PRESENT,
	SX_LT,
	SX_LE,
	SX_GT,
	SX_GE,
	SX_OP_COUNT
};

struct sx_text {
	const char *text;
	size_t bytes;
	struct sx_text *next;
};

/* A node that hangs somewhere is not changed any more: others may share its children. */
struct sx {
	enum sx_kind kind;
	const char *field; /* TEST: the field of ours */
	enum sx_op op;
	enum sx_op asks; /* what Sigma asks: an expression may say that a value begins so */
	bool nocase;
	bool plain; /* values are written without quotes: numbers, true, false */
	uint32_t count;
	struct sx_text *text, *text_last; /* count; several: SX_EQ and SX_CIDR only */
	const struct ynode *raw;
	const struct sx *child, *next;
	struct sx *last;
};

/* ---- the mapping file ---- */
struct sigma_target {
	const char *sigma; /* Sigma's name */
	const char *field; /* ours: a field of the schema, src_addr, or attributes.NAME */
	enum field_id id;  /* FIELD_NONE: the latter two */
	bool attr;
	uint32_t only; /* 1 << enum sx_op that may be asked of it; 0: each */
	struct sigma_target *next;
};

struct sigma_logsource {
	const char *key[3]; /* category, product, service; NULL: any */
	const struct ynode *when;
	const struct ynode *keywords; /* NULL: those of the whole file */
	bool others;		      /* a field without a row is the attribute of its name */
	struct sigma_target *field;
	struct sigma_logsource *next;
};

struct sigma_map {
	struct ytree tree;
	const struct ynode *keywords;
	struct sigma_target *field;
	struct sigma_logsource *logsource;
};

/* ---- one document ---- */
enum sigma_state { SIGMA_OPEN, SIGMA_IMPORTED, SIGMA_USED, SIGMA_REFUSED };

struct sigma_doc {
	struct ytree tree; /* tree.name: the file */
	uint32_t line;
	const char *title, *id, *name; /* NULL: none */
	const struct ynode *correlation;
	const struct sigma_doc
		*user; /* a correlation that uses it and does not want it as a rule of its own */
	const struct sigma_logsource *source; /* once converted */
	const struct sx *when;
	bool used; /* a correlation that is imported has it */
	enum sigma_state state;
};

/* The import, and the document in work. */
struct sigma {
	struct rule_pool pool;
	struct sigma_map map;
	struct sigma_doc *doc;
	uint32_t doc_count, doc_room;
	struct textmap names;	     /* their ids and names; values are indexes */
	const struct sigma_doc *now; /* for errors */
	enum sigma_why why;	     /* of the last refusal */
	uint32_t tests;		     /* written of the rule in work */
	uint32_t nodes;		     /* made for the document in work */
	uint32_t nodes_sum;	     /* made so far */
	bool full; /* -ENOMEM was SIGMA_EXPR_MAX or _SUM_MAX, which is the document's fault */
	struct err *err;
};

/* Refuses the document: fills err with "file:line:column: title (id): text" and why; returns -EINVAL. at
 * NULL: the document's first line. */
int sigma_refuse(struct sigma *sg, enum sigma_why why, const struct ynode *at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int sigma_refuse_key(struct sigma *sg, enum sigma_why why, const struct ynode *at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int sigma_refuse_at(struct sigma *sg, enum sigma_why why, uint32_t line, uint32_t column, const char *fmt,
	...) __attribute__((format(printf, 5, 6)));
int sigma_no_memory(struct sigma *sg);

/* ---- sigma_map.c ---- */
extern const char *const sigma_op_name[SX_OP_COUNT]; /* as in the rule language */
int sigma_map_read(struct sigma *sg, const struct sigma_source *source);
/* The row of a rule's `logsource`; NULL with err. */
const struct sigma_logsource *sigma_map_logsource(struct sigma *sg, const struct ynode *logsource);
/* The field of ours; NULL with err. */
const struct sigma_target *sigma_map_field(
	struct sigma *sg, const struct sigma_logsource *row, const char *name, const struct ynode *at);

/* ---- sigma_expr.c ---- */
/* NULL, which callers pass on as -ENOMEM: no memory, or the document has too many (full); err is filled. */
struct sx *sx_new(struct sigma *sg, enum sx_kind kind);
/* A copy of the node, with the same children, to hang it below parent as its last child. */
int sx_append(struct sigma *sg, struct sx *parent, const struct sx *child);
struct sx *sx_test(struct sigma *sg, const char *field, enum sx_op op, const char *text, size_t bytes);
int sx_text_append(struct sigma *sg, struct sx *test, const char *text, size_t bytes);
/* A group of one is that one; a group in a group of its kind joins it. */
const struct sx *sx_simple(struct sigma *sg, struct sx *group);

/* ---- sigma_value.c: `field|modifier...: value` and keywords ---- */
int sigma_value_read(
	struct sigma *sg, const struct sigma_logsource *row, const struct ynode *n, const struct sx **out);
/* A keyword, or a list of them. all: each has to be there. */
int sigma_keywords_read(struct sigma *sg, const struct sigma_logsource *row, const struct ynode *n, bool all,
	const struct sx **out);

/* ---- sigma_pattern.c: texts with wildcards, and what modifiers make of them ---- */
enum piece_kind {
	PIECE_TEXT,
	PIECE_ANY, /* any characters */
	PIECE_ONE, /* one character */
	PIECE_DASH /* one of - / and three dashes of Unicode */
};
struct piece {
	enum piece_kind kind;
	const char *text;
	size_t bytes;
	struct piece *next;
};
/* Wildcards and backslashes as Sigma has them. NULL: no memory. An empty text is one empty piece. */
struct piece *pattern_read(struct sigma *sg, const char *text, size_t bytes);
struct piece *pattern_around(struct sigma *sg, struct piece *p, bool before, bool behind);
struct piece *pattern_windash(struct sigma *sg, struct piece *p);
/* Text without wildcards to Base64, shift (0-2) characters cut off: what is the same wherever it stands. */
struct piece *pattern_base64(struct sigma *sg, const struct piece *p, uint32_t shift, bool whole);
/* UTF-16 with or without byte order mark. NULL: no memory. */
struct piece *pattern_utf16(struct sigma *sg, const struct piece *p, bool big, bool mark);
/* The pattern as a test of the field. nocase: letters are equal in both cases. */
struct sx *pattern_test(struct sigma *sg, const char *field, const struct piece *p, bool nocase);

/* ---- sigma_condition.c ---- */
/* The detection section with its condition. */
int sigma_detection_read(struct sigma *sg, const struct sigma_logsource *row, const struct ynode *detection,
	const struct sx **out);

/* ---- sigma_write.c: YAML ---- */
/* A quoted text that reads back as these bytes. */
void yaml_text(FILE *f, const char *text, size_t bytes);
/* Lines of a comment, each behind the indent and what. */
void yaml_comment(FILE *f, const char *what, const struct ynode *n);
/* The lines of a mapping that say what the expression does, at this indent (two blanks a step). */
void sx_write(struct sigma *sg, FILE *f, const struct sx *x, int indent);
/* Ours for a `level`; NULL: no level of Sigma. */
const char *sigma_severity(const struct ynode *level);
/* Comments, id, title and severity of the document. */
void sigma_head_write(FILE *f, const struct sigma_doc *doc, const char *id);

/* ---- sigma_correlation.c ---- */
/* Marks the documents that the correlation uses. */
int sigma_correlation_link(struct sigma *sg, struct sigma_doc *doc);
/* Notes that the rules which it names are in force by it. */
int sigma_correlation_used(struct sigma *sg, const struct sigma_doc *doc);
/* What stands beside `id`: when, by, and the kind. order: 0, or 1 for the second rule of a temporal. *more:
 * another one is to be written. */
int sigma_correlation_write(
	struct sigma *sg, FILE *f, const struct sigma_doc *doc, uint32_t order, bool *more);

/* ---- sigma_import.c ---- */
/* The condition of a detection rule with its log source's. */
int sigma_doc_convert(struct sigma *sg, struct sigma_doc *doc);
struct sigma_doc *sigma_doc_find(struct sigma *sg, const char *name);

#endif
