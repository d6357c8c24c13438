/* One HTTP/1.1 answer, read piece by piece from an untrusted peer. Header and body sizes are bounded; an
 * answer counts as complete only if its length was stated (Content-Length or chunks) and reached, since the
 * end of a connection says nothing about the end of an answer. Pure: no socket, no clock. */
#ifndef SLUICE_CH_ANSWER_H
#define SLUICE_CH_ANSWER_H

#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define CH_ANSWER_HEADER_MAX (64u << 10)
#define CH_ANSWER_NAME_MAX 64
#define CH_ANSWER_VALUE_MAX 256
#define CH_ANSWER_INFORMATIONAL_MAX 8

struct ch_answer {
	http_parser parser;
	char *body; /* body_max + 1 bytes; NUL-terminated */
	size_t body_bytes, body_max;
	size_t header_bytes;
	char name[CH_ANSWER_NAME_MAX],
		value[CH_ANSWER_VALUE_MAX]; /* the header line being read, cut to fit */
	size_t name_bytes, value_bytes;
	bool in_value;
	char query_id[CH_ANSWER_VALUE_MAX]; /* of X-ClickHouse-Query-Id, or "" */
	bool has_exception;		    /* there was an X-ClickHouse-Exception-Code */
	uint32_t exception_code;
	uint32_t informational; /* 1xx answers skipped */
	uint32_t status;
	bool complete;
	bool keep_alive; /* complete, and the connection may carry another request */
	const char *fault;
};

/* body_max: a longer body is an error. */
int ch_answer_init(struct ch_answer *a, size_t body_max, struct err *err);
void ch_answer_free(struct ch_answer *a);
/* Before each answer. */
void ch_answer_reset(struct ch_answer *a);
/* Takes bytes as they came. 1: the answer is complete. 0: more is needed. -EPROTO: no answer that we accept.
 */
int ch_answer_feed(struct ch_answer *a, const void *data, size_t bytes, struct err *err);

#endif
