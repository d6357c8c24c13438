/* The HTTP interface of one ClickHouse server: statements and inserts over a kept-alive connection.
 *
 * Results: 0 = the server said yes, completely. -EINVAL = it will not say yes to this however often it is
 * asked (unknown table, wrong column, wrong password). Of an insert, -EBADMSG = not these rows, -E2BIG = not
 * so many. -ECANCELED = given up on stop. Other = unknown or temporary: the same thing may be sent again, and
 * for an insert must be, with the same token. One thread. */
#ifndef SLUICE_CH_HTTP_H
#define SLUICE_CH_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ch_answer.h"
#include "ch_pack.h"
#include "ch_sock.h"
#include "ch_tls.h"
#include "config.h"
#include "err.h"

#define CH_BODY_MAX (4u << 20) /* of an answer */

#define CH_ENDPOINT_NAME_BYTES 264
#define CH_ENDPOINTS_MAX 8

struct ch_endpoint {
	char host[256];
	char port[6];
	bool tls;
	/* host:port: what it is known by in intents, errors and the status */
	char name[CH_ENDPOINT_NAME_BYTES];
};

struct ch_http {
	struct ch_endpoint endpoint;
	char user[65];
	char password[256];
	uint64_t timeout_ms;
	struct ch_sock sock;
	struct ch_tls tls; /* of https:// */
	struct ch_pack pack;
	struct ch_answer answer;
	uint64_t used_ns; /* when the connection was last good */
	uint64_t query_seed, query_count;
	char *head; /* request line and headers */
	size_t head_bytes, head_max;
	/* The last request was answered, whatever was said: nothing of it is under way any more. */
	bool answered;
	void (*on_sent)(void); /* for tests of crashes; may be NULL */
};

/* http://HOST[:PORT][/] or https:// with a name, an IPv4 or a bracketed IPv6 address. -EINVAL with what is
 * wrong. */
int ch_endpoint_parse(struct ch_endpoint *endpoint, const char *url, struct err *err);

/* clickhouse.url: such URLs with a comma between, in order of preference; each server once. */
int ch_endpoints_parse(
	struct ch_endpoint list[CH_ENDPOINTS_MAX], uint32_t *count, const char *urls, struct err *err);

/* Ends the connection. */
void ch_http_drop(struct ch_http *h);
/* Talks to this server from now on. */
void ch_http_use(struct ch_http *h, const struct ch_endpoint *endpoint);

/* Reads URLs, user, password and key files (which only its owner may read). Does not connect; the first
 * server is the one that is talked to. */
int ch_http_open(struct ch_http *h, const struct config_clickhouse *cfg, bool (*give_up)(void *arg),
	void *arg, struct err *err);
void ch_http_close(struct ch_http *h);
/* What ch_http_open() would say of the section and its files. */
int ch_http_check(const struct config_clickhouse *cfg, struct err *err);

/* Runs a statement; its result stands in h->answer.body. */
int ch_http_query(struct ch_http *h, const char *sql, uint64_t timeout_ms, struct err *err);
/* The same with an INSERT's token among its settings, by which it is found while it runs. */
int ch_http_query_marked(
	struct ch_http *h, const char *sql, const char *token, uint64_t timeout_ms, struct err *err);

/* INSERT as one block: `sql` ends in FORMAT Native, data is the block. 0 only if the server has it durably
 * (as far as the table's settings say) and said so. */
int ch_http_insert(struct ch_http *h, const char *sql, const char *token, const void *data, size_t bytes,
	struct err *err);

/* ch_errors.def: -EAGAIN passing trouble, -E2BIG too much at once, -EBADMSG something in the rows, -EINVAL a
 * refusal. */
int ch_code_judge(uint32_t code);
/* The code's name; NULL: not in the table. */
const char *ch_code_name(uint32_t code);

#endif
