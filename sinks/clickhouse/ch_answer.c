/* Answers of an HTTP server by way of http_parser: this file bounds, collects and judges. */
#include "ch_answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct ch_answer *answer_of(http_parser *p)
{
	return p->data;
}

/* Stops the parser with a reason. */
static int answer_fault(struct ch_answer *a, const char *fault)
{
	a->fault = fault;
	return -1;
}

static void header_end(struct ch_answer *a)
{
	if (a->name_bytes == 0)
		return;
	if (strcasecmp(a->name, "X-ClickHouse-Query-Id") == 0) {
		memcpy(a->query_id, a->value, sizeof a->query_id);
	} else if (strcasecmp(a->name, "X-ClickHouse-Exception-Code") == 0) {
		/* Whatever it says, it is no success; a value that is no number is code 0. */
		a->has_exception = true;
		a->exception_code = (uint32_t)strtoul(a->value, NULL, 10);
	}
	a->name_bytes = a->value_bytes = 0;
	a->name[0] = a->value[0] = 0;
}

static int header_count(struct ch_answer *a, size_t bytes)
{
	a->header_bytes += bytes;
	return a->header_bytes > CH_ANSWER_HEADER_MAX ? answer_fault(a, "header too long") : 0;
}

/* Appends to a bounded text; what does not fit is left out (no header that matters is that long). */
static void text_append(char *text, size_t *bytes, size_t max, const char *at, size_t length)
{
	size_t part = length < max - 1 - *bytes ? length : max - 1 - *bytes;

	memcpy(text + *bytes, at, part);
	*bytes += part;
	text[*bytes] = 0;
}

static int on_header_field(http_parser *p, const char *at, size_t length)
{
	struct ch_answer *a = answer_of(p);

	if (a->in_value)
		header_end(a);
	a->in_value = false;
	text_append(a->name, &a->name_bytes, sizeof a->name, at, length);
	return header_count(a, length);
}

static int on_header_value(http_parser *p, const char *at, size_t length)
{
	struct ch_answer *a = answer_of(p);

	a->in_value = true;
	text_append(a->value, &a->value_bytes, sizeof a->value, at, length);
	return header_count(a, length);
}

static int on_status(http_parser *p, const char *at, size_t length)
{
	(void)at;
	return header_count(answer_of(p), length);
}

static int on_headers_complete(http_parser *p)
{
	struct ch_answer *a = answer_of(p);

	header_end(a);
	a->in_value = false;
	a->status = p->status_code;
	if (p->status_code == 101 || p->upgrade)
		return answer_fault(a, "the server wants to change the protocol");
	if (p->status_code >= 200 && !(p->flags & F_CHUNKED) && p->content_length == UINT64_MAX)
		return answer_fault(a, "answer without a length");
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t length)
{
	struct ch_answer *a = answer_of(p);

	if (length > a->body_max - a->body_bytes)
		return answer_fault(a, "body too long");
	memcpy(a->body + a->body_bytes, at, length);
	a->body_bytes += length;
	a->body[a->body_bytes] = 0;
	return 0;
}

static int on_message_complete(http_parser *p)
{
	struct ch_answer *a = answer_of(p);

	if (p->status_code < 200) {
		if (++a->informational > CH_ANSWER_INFORMATIONAL_MAX)
			return answer_fault(a, "too many 1xx answers");
		return 0;
	}
	header_end(a); /* trailers */
	a->complete = true;
	a->keep_alive = http_should_keep_alive(p);
	http_parser_pause(p, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_status = on_status,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

int ch_answer_init(struct ch_answer *a, size_t body_max, struct err *err)
{
	memset(a, 0, sizeof *a);
	a->body_max = body_max;
	a->body = malloc(body_max + 1);
	if (!a->body)
		return err_set(err, -ENOMEM, "clickhouse: no memory for answers");
	ch_answer_reset(a);
	return 0;
}

void ch_answer_free(struct ch_answer *a)
{
	free(a->body);
	a->body = NULL;
}

void ch_answer_reset(struct ch_answer *a)
{
	char *body = a->body;
	size_t body_max = a->body_max;

	memset(a, 0, sizeof *a);
	a->body = body;
	a->body_max = body_max;
	a->body[0] = 0;
	http_parser_init(&a->parser, HTTP_RESPONSE);
	a->parser.data = a;
}

int ch_answer_feed(struct ch_answer *a, const void *data, size_t bytes, struct err *err)
{
	size_t taken;

	if (a->complete)
		return 1;
	if (bytes == 0) /* to http_parser that would mean the end of the stream */
		return 0;
	taken = http_parser_execute(&a->parser, &settings, data, bytes);
	if (a->complete) {
		/* Bytes behind the answer belong to nothing that we asked: do not use this connection again.
		 */
		if (taken != bytes)
			a->keep_alive = false;
		return 1;
	}
	if (a->fault)
		return err_set(err, -EPROTO, "clickhouse: HTTP answer: %s", a->fault);
	if (HTTP_PARSER_ERRNO(&a->parser) != HPE_OK || taken != bytes)
		return err_set(err, -EPROTO, "clickhouse: HTTP answer: %s",
			http_errno_description(HTTP_PARSER_ERRNO(&a->parser)));
	return 0;
}
