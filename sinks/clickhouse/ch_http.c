/* Requests and what their answers mean. */
#include "ch_http.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "random.h"

#define CONNECT_MS_MAX 5000u
#define IDLE_NS_MAX 2000000000ull /* servers close idle connections after 3 s and more: be earlier */
#define ERROR_BODY_BYTES 300	  /* of the server's message in an error text */
#define RECV_BYTES 16384

/* Every statement: answer only when it has ended, so that the status line tells the result. */
#define PARAMS_QUERY "wait_end_of_query=1"
/* An insert is one block, one part, deduplicated by its token, in views too. async_insert is on by default in
 * newer servers and would merge blocks of different tokens: off. Squashing off: the block goes in as it is.
 */
#define PARAMS_INSERT                                                                                        \
	PARAMS_QUERY                                                                                         \
	"&async_insert=0&insert_deduplicate=1&deduplicate_blocks_in_dependent_materialized_views=1"          \
	"&min_insert_block_size_rows=0&min_insert_block_size_bytes=0&max_insert_block_size="                 \
	"100000000"                                                                                          \
	"&input_format_parallel_parsing=0"

enum { CH_ERROR_RETRY = -EAGAIN, CH_ERROR_SPLIT = -E2BIG, CH_ERROR_ROW = -EBADMSG, CH_ERROR_HOLD = -EINVAL };

static const struct {
	uint16_t code;
	int16_t rc;
	const char *name;
} error_table[] = {
#define CH_ERROR(code, name, meaning) {code, CH_ERROR_##meaning, #name},
#include "ch_errors.def"
#undef CH_ERROR
};

const char *ch_code_name(uint32_t code)
{
	for (size_t i = 0; i < sizeof error_table / sizeof *error_table; i++)
		if (error_table[i].code == code)
			return error_table[i].name;
	return NULL;
}

int ch_code_judge(uint32_t code)
{
	for (size_t i = 0; i < sizeof error_table / sizeof *error_table; i++)
		if (error_table[i].code == code)
			return error_table[i].rc;
	return CH_ERROR_RETRY;
}

/* ---- the request's text ---- */

static int head_append(struct ch_http *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int head_append(struct ch_http *h, const char *fmt, ...)
{
	va_list ap;
	int n;

	for (;;) {
		char *grown;

		va_start(ap, fmt);
		n = vsnprintf(h->head ? h->head + h->head_bytes : NULL, h->head_max - h->head_bytes, fmt, ap);
		va_end(ap);
		if (n < 0)
			return -EINVAL;
		if (h->head && (size_t)n < h->head_max - h->head_bytes)
			break;
		grown = realloc(h->head, h->head_max * 2 + (size_t)n + 1024);
		if (!grown)
			return -ENOMEM;
		h->head = grown;
		h->head_max = h->head_max * 2 + (size_t)n + 1024;
	}
	h->head_bytes += (size_t)n;
	return 0;
}

/* Percent-encodes everything but unreserved characters (RFC 3986). */
static int head_append_param(struct ch_http *h, const char *name, const char *value)
{
	int rc = head_append(h, "&%s=", name);

	for (; rc == 0 && *value; value++) {
		unsigned char c = (unsigned char)*value;
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			     c == '-' || c == '.' || c == '_' || c == '~';

		rc = plain ? head_append(h, "%c", c) : head_append(h, "%%%02X", c);
	}
	return rc;
}

struct request {
	const char *query; /* in the URL; NULL: the body is the statement */
	const char *token;
	const void *body;
	size_t bytes;
	uint64_t timeout_ms;
	const char *encoding; /* of the body; NULL: as it is */
	char query_id[48];
};

static int head_build(struct ch_http *h, const struct request *r)
{
	bool v6 = strchr(h->endpoint.host, ':') != NULL;
	int rc;

	h->head_bytes = 0;
	rc = head_append(h, "POST /?%s&query_id=%s", r->query ? PARAMS_INSERT : PARAMS_QUERY, r->query_id);
	if (rc == 0 && r->token)
		rc = head_append_param(h, "insert_deduplication_token", r->token);
	if (rc == 0 && r->query)
		rc = head_append_param(h, "query", r->query);
	if (rc == 0)
		rc = head_append(h, " HTTP/1.1\r\nHost: %s%s%s:%s\r\nUser-Agent: sluice\r\n", v6 ? "[" : "",
			h->endpoint.host, v6 ? "]" : "", h->endpoint.port);
	if (rc == 0 && h->user[0])
		rc = head_append(h, "X-ClickHouse-User: %s\r\n", h->user);
	if (rc == 0 && h->password[0])
		rc = head_append(h, "X-ClickHouse-Key: %s\r\n", h->password);
	if (rc == 0 && r->encoding)
		rc = head_append(h, "Content-Encoding: %s\r\n", r->encoding);
	if (rc == 0)
		rc = head_append(h, "Content-Length: %zu\r\n\r\n", r->bytes);
	return rc;
}

/* ---- the exchange ---- */

static uint64_t deadline_in(uint64_t ms)
{
	return clock_mono_ns() + ms * 1000000u;
}

void ch_http_drop(struct ch_http *h)
{
	ch_tls_drop(&h->tls);
	ch_sock_close(&h->sock);
}

static int http_send(struct ch_http *h, const void *data, size_t bytes, uint64_t deadline_ns)
{
	return h->endpoint.tls ? ch_tls_send(&h->tls, data, bytes, deadline_ns)
			       : ch_sock_send(&h->sock, data, bytes, deadline_ns);
}

static ssize_t http_recv(struct ch_http *h, void *data, size_t bytes, uint64_t deadline_ns)
{
	return h->endpoint.tls ? ch_tls_recv(&h->tls, data, bytes, deadline_ns)
			       : ch_sock_recv(&h->sock, data, bytes, deadline_ns);
}

static int http_fail(struct ch_http *h, int rc, const char *doing, struct err *err)
{
	ch_http_drop(h);
	return err_set(err, rc, "clickhouse: %s %s: %s", doing, h->endpoint.name,
		rc == -ECANCELED ? "given up on stop" : strerror(-rc));
}

/* Keeps a connection that was good a moment ago, else makes one. */
static int http_connect(struct ch_http *h, uint64_t timeout_ms, struct err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
	uint64_t deadline_ns = deadline_in(timeout_ms < CONNECT_MS_MAX ? timeout_ms : CONNECT_MS_MAX);
	int rc;

	if (h->sock.fd >= 0 && clock_mono_ns() - h->used_ns < IDLE_NS_MAX)
		return 0;
	rc = getaddrinfo(h->endpoint.host, h->endpoint.port, &hints, &list);
	if (rc)
		return err_set(err, -EHOSTUNREACH, "clickhouse: address of %s: %s", h->endpoint.host,
			gai_strerror(rc));
	rc = -EHOSTUNREACH;
	for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		rc = ch_sock_connect(&h->sock, ai->ai_addr, ai->ai_addrlen, deadline_ns);
		if (rc == 0 || rc == -ECANCELED)
			break;
	}
	freeaddrinfo(list);
	if (rc)
		return http_fail(h, rc, "connecting to", err);
	rc = h->endpoint.tls ? ch_tls_connect(&h->tls, h->endpoint.host, deadline_ns, err) : 0;
	if (rc)
		ch_http_drop(h);
	return rc;
}

static int http_receive(struct ch_http *h, uint64_t deadline_ns, struct err *err)
{
	char buffer[RECV_BYTES];

	ch_answer_reset(&h->answer);
	for (;;) {
		ssize_t n = http_recv(h, buffer, sizeof buffer, deadline_ns);
		int rc;

		if (n < 0)
			return http_fail(h, (int)n, "waiting for the answer of", err);
		if (n == 0)
			return http_fail(h, -ECONNRESET, "connection ended within the answer of", err);
		rc = ch_answer_feed(&h->answer, buffer, (size_t)n, err);
		if (rc < 0)
			ch_http_drop(h);
		if (rc)
			return rc < 0 ? rc : 0;
	}
}

/* The answer's meaning; it is complete. */
static int answer_judge(struct ch_http *h, const struct request *r, struct err *err)
{
	const struct ch_answer *a = &h->answer;
	int rc;

	if (a->status == 200 && !a->has_exception) {
		/* A proxy's or a stranger's 200 is no commit: only the server knows the id of our query. */
		if (strcmp(a->query_id, r->query_id) != 0)
			return err_set(err, -EPROTO,
				"clickhouse: %s answered 200 but is no ClickHouse (X-ClickHouse-Query-Id)",
				h->endpoint.name);
		return 0;
	}
	if (a->has_exception)
		rc = ch_code_judge(a->exception_code);
	else if (a->status == 413)
		rc = -E2BIG;
	else
		rc = a->status == 401 || a->status == 403 || a->status == 404 ? -EINVAL : -EAGAIN;
	/* What is in rows only the server itself can say, and only of an INSERT. */
	if ((rc == -EBADMSG && !h->answered) || (!r->query && (rc == -EBADMSG || rc == -E2BIG)))
		rc = -EAGAIN;
	err_set(err, 0, "clickhouse: HTTP %u, code %u: %.*s", a->status, a->exception_code, ERROR_BODY_BYTES,
		a->body);
	for (char *p = err ? err->text : NULL; p && *p; p++)
		if ((unsigned char)*p < 0x20)
			*p = ' ';
	return rc;
}

static int http_exchange(struct ch_http *h, struct request *r, struct err *err)
{
	int rc, sent;

	h->answered = false;
	rc = h->query_seed ? 0 : random_draw(&h->query_seed, sizeof h->query_seed, err);
	if (rc)
		return rc;
	snprintf(r->query_id, sizeof r->query_id, "sluice-%016lx-%lu", h->query_seed, ++h->query_count);
	rc = head_build(h, r);
	if (rc)
		return err_set(err, rc, "clickhouse: no memory for a request");
	rc = http_connect(h, r->timeout_ms, err);
	if (rc)
		return rc;
	sent = http_send(h, h->head, h->head_bytes, deadline_in(r->timeout_ms));
	if (sent == 0)
		sent = http_send(h, r->body, r->bytes, deadline_in(r->timeout_ms));
	if (sent == -ECANCELED || sent == -ETIMEDOUT)
		return http_fail(h, sent, "sending to", err);
	if (h->on_sent && r->query)
		h->on_sent();
	/* A server that refuses early answers and closes before it has read everything: its answer says more
	 * than our broken pipe. */
	rc = http_receive(h, deadline_in(sent ? 1000 : r->timeout_ms), err);
	if (rc)
		return rc;
	h->used_ns = clock_mono_ns();
	/* Of a proxy before it we do not know what it has passed on. */
	h->answered = strcmp(h->answer.query_id, r->query_id) == 0;
	if (!h->answer.keep_alive || sent)
		ch_http_drop(h);
	rc = answer_judge(h, r, err);
	if (rc == 0 && sent)
		return http_fail(h, sent, "sending to", err);
	return rc;
}

int ch_http_query_marked(
	struct ch_http *h, const char *sql, const char *token, uint64_t timeout_ms, struct err *err)
{
	struct request r = {.token = token, .body = sql, .bytes = strlen(sql), .timeout_ms = timeout_ms};

	return http_exchange(h, &r, err);
}

int ch_http_query(struct ch_http *h, const char *sql, uint64_t timeout_ms, struct err *err)
{
	return ch_http_query_marked(h, sql, NULL, timeout_ms, err);
}

int ch_http_insert(struct ch_http *h, const char *sql, const char *token, const void *data, size_t bytes,
	struct err *err)
{
	struct request r = {
		.query = sql, .token = token, .body = data, .bytes = bytes, .timeout_ms = h->timeout_ms};

	r.encoding = ch_pack_encoding(&h->pack);
	if (r.encoding) {
		int rc = ch_pack(&h->pack, data, bytes, err);

		if (rc)
			return rc;
		r.body = h->pack.out.data;
		r.bytes = h->pack.out.bytes;
	}
	return http_exchange(h, &r, err);
}
