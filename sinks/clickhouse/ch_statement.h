/* A statement while it is written. One thread. */
#ifndef SLUICE_CH_STATEMENT_H
#define SLUICE_CH_STATEMENT_H

#include <stdio.h>

#include "ch_http.h"
#include "err.h"

/* How a question ends, before its FORMAT: limits of a user's profile must not make its answer smaller. */
#define CH_WHOLE_SETTINGS                                                                                    \
	" SETTINGS read_overflow_mode = 'throw', result_overflow_mode = 'throw', timeout_overflow_mode = "   \
	"'throw'"

struct ch_statement {
	FILE *out;  /* to be written to between open and what comes then */
	char *text; /* the caller's behind ch_statement_end() */
	size_t bytes;
};

/* 0 or -ENOMEM. */
int ch_statement_open(struct ch_statement *s, struct err *err);
/* One of: s->text is whole, and to be freed (0; -ENOMEM: it is already); it is sent to the server, and freed;
 * it is thrown away. token: as of ch_http_query_marked(). */
int ch_statement_end(struct ch_statement *s, struct err *err);
int ch_statement_run(
	struct ch_statement *s, struct ch_http *h, const char *token, uint64_t timeout_ms, struct err *err);
void ch_statement_drop(struct ch_statement *s);

#endif
