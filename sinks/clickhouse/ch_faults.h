/* What does not fit at a server, all of it: each fault in words, and the statements that mend it. Said in one
 * error text, or printed as SQL. Pure; one thread. */
#ifndef SLUICE_CH_FAULTS_H
#define SLUICE_CH_FAULTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "ch_statement.h"
#include "err.h"

enum ch_fault_kind {
	CH_FAULT_WRONG,	  /* the server's owner has to mend it; without a statement: to decide how */
	CH_FAULT_MISSING, /* clickhouse.create makes it */
	CH_FAULT_FOLLOWS, /* no fault: a statement that clickhouse.create runs as well, needed behind others
			   */
};

struct ch_fault {
	enum ch_fault_kind kind;
	struct err why;
	size_t from, to; /* its statement in sql.text, without a semicolon; from == to: none */
};

struct ch_faults {
	uint32_t count, max;
	struct ch_fault *fault;
	struct ch_statement sql; /* its `out`: statement of the fault that was noted last */
	bool no_memory;
};

/* 0 or -ENOMEM; then to be freed. */
int ch_faults_open(struct ch_faults *f, struct err *err);
void ch_faults_free(struct ch_faults *f);
/* Notes a fault; what is written to f->sql.out from here on mends it. */
void ch_fault_note(struct ch_faults *f, enum ch_fault_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Nothing more will be noted. A statement that stands there already goes, with its fault. 0 or -ENOMEM. */
int ch_faults_end(struct ch_faults *f, struct err *err);

bool ch_faults_missing(const struct ch_faults *f);
/* Behind the end: 0 if nothing is wrong (create: what is missing will be made), else -EINVAL with the faults
 * and the statements to run, in order; if they have no room there, with the first, how many more there are,
 * and `where` to find them (NULL: nowhere). */
int ch_faults_text(const struct ch_faults *f, bool create, const char *where, struct err *err);
/* Behind the end: everything as SQL, faults as comments. Returns how many no statement mends. */
uint32_t ch_faults_print(const struct ch_faults *f, FILE *out);

#endif
