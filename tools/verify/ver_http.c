/* One HTTP request to ClickHouse; the answer is held in memory. */
#include <errno.h>
#include <http_parser.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "ver_read.h"

#define ANSWER_MAX (8ull << 30)
#define TIMEOUT_S 120

struct answer {
	char *body;
	uint64_t bytes, capacity;
	bool complete, failed;
};

static int on_body(http_parser *p, const char *at, size_t bytes)
{
	struct answer *a = p->data;

	if (a->bytes + bytes + 1 > a->capacity) {
		uint64_t capacity = (a->bytes + bytes + 1) * 2;
		char *grown = capacity > ANSWER_MAX ? NULL : realloc(a->body, capacity);

		if (!grown) {
			a->failed = true;
			return 1;
		}
		a->body = grown;
		a->capacity = capacity;
	}
	memcpy(a->body + a->bytes, at, bytes);
	a->bytes += bytes;
	a->body[a->bytes] = 0;
	return 0;
}

static int on_complete(http_parser *p)
{
	((struct answer *)p->data)->complete = true;
	return 0;
}

/* http://HOST[:PORT][/] */
static int split_url(const char *url, char host[256], char port[8], struct err *err)
{
	struct http_parser_url u;

	http_parser_url_init(&u);
	if (http_parser_parse_url(url, strlen(url), 0, &u) || !(u.field_set & 1 << UF_HOST) ||
		strncmp(url, "http://", 7) != 0 || u.field_data[UF_HOST].len > 255)
		return err_set(err, -EINVAL, "%s: expected http://HOST:PORT", url);
	memcpy(host, url + u.field_data[UF_HOST].off, u.field_data[UF_HOST].len);
	host[u.field_data[UF_HOST].len] = 0;
	snprintf(port, 8, "%u", u.field_set & 1 << UF_PORT ? u.port : 8123);
	return 0;
}

static int connect_to(const char *host, const char *port, struct err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	struct timeval wait = {.tv_sec = TIMEOUT_S};
	int fd = -1, rc = getaddrinfo(host, port, &hints, &list);

	if (rc)
		return err_set(err, -EINVAL, "%s: %s", host, gai_strerror(rc));
	for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
		fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
			rc = -errno;
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	if (fd < 0)
		return err_set(err, rc ? rc : -EIO, "%s:%s: %s", host, port, strerror(rc ? -rc : EIO));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
	return fd;
}

static int send_all(int fd, const char *data, size_t bytes, struct err *err)
{
	while (bytes) {
		ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);

		if (n <= 0)
			return err_set(err, -EIO, "send: %s", strerror(errno));
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int receive(int fd, http_parser *p, struct answer *a, struct err *err)
{
	static const http_parser_settings settings = {.on_body = on_body, .on_message_complete = on_complete};
	char chunk[65536];

	while (!a->complete) {
		ssize_t n = recv(fd, chunk, sizeof chunk, 0);

		if (n < 0)
			return err_set(err, -EIO, "receive: %s", strerror(errno));
		if (http_parser_execute(p, &settings, chunk, (size_t)n) != (size_t)n && !a->complete)
			return err_set(err, -EIO, "bad answer: %s",
				a->failed ? "too large" : http_errno_description(HTTP_PARSER_ERRNO(p)));
		if (n == 0 && !a->complete)
			return err_set(err, -EIO, "the connection was closed within the answer");
	}
	return 0;
}

int ver_http_query(const char *url, const char *user, const char *password, const char *sql, char **body,
	uint64_t *bytes, struct err *err)
{
	struct answer a = {0};
	http_parser p;
	char host[256], port[8], head[1024];
	int fd, n, rc = split_url(url, host, port, err);

	if (rc)
		return rc;
	fd = connect_to(host, port, err);
	if (fd < 0)
		return fd;
	http_parser_init(&p, HTTP_RESPONSE);
	p.data = &a;
	n = snprintf(head, sizeof head,
		"POST /?wait_end_of_query=1 HTTP/1.1\r\nHost: %s:%s\r\nConnection: "
		"close\r\nX-ClickHouse-User: %s\r\n"
		"%s%s%sContent-Length: %zu\r\n\r\n",
		host, port, user, *password ? "X-ClickHouse-Key: " : "", password, *password ? "\r\n" : "",
		strlen(sql));
	rc = n < 0 || n >= (int)sizeof head ? err_set(err, -EINVAL, "user or password too long") : 0;
	if (!rc)
		rc = send_all(fd, head, (size_t)n, err);
	if (!rc)
		rc = send_all(fd, sql, strlen(sql), err);
	if (!rc)
		rc = receive(fd, &p, &a, err);
	close(fd);
	if (!rc && p.status_code != 200)
		rc = err_set(err, -EIO, "status %u: %.300s", p.status_code, a.body ? a.body : "");
	if (rc) {
		err_prefix(err, "clickhouse %s", url);
		free(a.body);
		return rc;
	}
	*body = a.body;
	*bytes = a.bytes;
	return 0;
}
