/* What it means that a server has confirmed a block and does not say whether it is there: its own refusal is
 * believed, that of a proxy before it is not (docs/decisions/0018-confirmed-and-lost.md). The other end
 * answers as a server with limits, or a proxy without one, does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ch_part_priv.h"

const struct sink_ops sink_kafka_ops, sink_kafka_alerts_ops, sink_webhook_ops; /* not linked here */

static bool never(void *arg)
{
	(void)arg;
	return false;
}

struct server {
	int fd;
	uint16_t port;
	int code; /* exception of the server; 0: a proxy's 404 */
};

static void answer(int c, const char *head, int code)
{
	char id[64] = "", out[600];
	const char *at = strstr(head, "query_id=");

	if (at)
		sscanf(at + 9, "%63[^ &]", id);
	if (code)
		snprintf(out, sizeof out,
			"HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Query-Id: %s\r\n"
			"X-ClickHouse-Exception-Code: %d\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
			id, code);
	else
		snprintf(out, sizeof out,
			"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
	if (write(c, out, strlen(out)) < 0)
		abort();
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int c;

	while ((c = accept(s->fd, NULL, NULL)) >= 0) {
		char head[8192];
		size_t n = 0, want = SIZE_MAX;

		while (n < want && n < sizeof head - 1) {
			ssize_t got = read(c, head + n, sizeof head - 1 - n);
			char *end, *len;

			if (got <= 0)
				break;
			n += (size_t)got;
			head[n] = 0;
			end = strstr(head, "\r\n\r\n");
			len = strstr(head, "Content-Length: ");
			if (end && len)
				want = (size_t)(end + 4 - head) + strtoul(len + 16, NULL, 10);
		}
		answer(c, head, s->code);
		close(c);
	}
	return NULL;
}

static int prove(int code, struct err *err)
{
	static struct config cfg;
	static struct sink_part part = {.error_lock = PTHREAD_MUTEX_INITIALIZER};
	struct ch_part *p = calloc(1, sizeof *p);
	static struct ch_block block;
	struct ch_sent sent = {&block, 0, 10, "token"};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct server s = {.fd = socket(AF_INET, SOCK_STREAM, 0), .code = code};
	socklen_t bytes = sizeof a;
	pthread_t thread;
	int rc;

	assert_int_equal(bind(s.fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(s.fd, 8), 0);
	getsockname(s.fd, (struct sockaddr *)&a, &bytes);
	assert_int_equal(pthread_create(&thread, NULL, serve, &s), 0);
	config_defaults(&cfg);
	snprintf(cfg.clickhouse.url, sizeof cfg.clickhouse.url, "http://127.0.0.1:%u", ntohs(a.sin_port));
	p->part = &part;
	p->cfg = &cfg.clickhouse;
	p->intent.fd = p->letters.fd = -1;
	p->rows.node = "n";
	block.table = ch_table_get(CH_TABLE_clicks_raw);
	assert_int_equal(ch_http_open(&p->http, p->cfg, never, NULL, err), 0);
	rc = ch_block_prove(p, &sent, err);
	ch_http_close(&p->http);
	shutdown(s.fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(s.fd);
	free(p);
	return rc;
}

/* max_rows_to_read of the profile: the same however often it is asked. */
static void limits_are_believed(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(prove(497, &err), 0);
	assert_int_equal(prove(158, &err), 0);
	assert_int_equal(prove(307, &err), 0);
}

/* It is not the server that says no. */
static void a_proxy_is_not_believed(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(prove(0, &err), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_believed), cmocka_unit_test(a_proxy_is_not_believed)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
