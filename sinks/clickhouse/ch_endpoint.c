/* Where the server is and who we are there: URL and password file, both checked before use. */
#include "ch_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

static bool host_char(char c, bool v6)
{
	if (v6)
		return strchr("0123456789abcdefABCDEF:.", c) != NULL;
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
	       c == '-' || c == '_';
}

/* A password that somebody wrote into a URL is not shown. */
static int endpoint_fault(struct err *err, const char *url, const char *fault)
{
	const char *at = strrchr(url, '@'), *from = at ? at + 1 : url;

	return err_set(err, -EINVAL,
		"clickhouse.url: %.*s: %s; expected http://HOST:PORT or https://HOST:PORT, with the user in "
		"clickhouse.user",
		(int)strcspn(from, "?#"), from, fault);
}

/* ":PORT" or nothing, then "/" or nothing. */
static const char *endpoint_port(struct ch_endpoint *endpoint, const char *p)
{
	char *end;
	unsigned long port = endpoint->tls ? 8443 : 8123;

	if (*p == ':') {
		if (p[1] < '0' || p[1] > '9')
			return "the port is no number";
		port = strtoul(p + 1, &end, 10);
		p = end;
		if (port == 0 || port > 65535)
			return "the port is not between 1 and 65535";
	}
	if (*p == '/')
		p++;
	if (*p)
		return "something follows the port (user and database have keys of their own)";
	snprintf(endpoint->port, sizeof endpoint->port, "%lu", port);
	return NULL;
}

int ch_endpoint_parse(struct ch_endpoint *endpoint, const char *url, struct err *err)
{
	const char *p = url, *fault;
	size_t n = 0;
	bool v6;

	endpoint->tls = strncmp(p, "https://", 8) == 0;
	if (!endpoint->tls && strncmp(p, "http://", 7) != 0)
		return endpoint_fault(err, url, "does not begin with http:// or https://");
	p += endpoint->tls ? 8 : 7;
	v6 = *p == '[';
	if (v6)
		p++;
	while (p[n] && host_char(p[n], v6))
		n++;
	if (n == 0 || n >= sizeof endpoint->host)
		return endpoint_fault(err, url, "no host name or address");
	memcpy(endpoint->host, p, n);
	endpoint->host[n] = 0;
	p += n;
	if (v6 && *p++ != ']')
		return endpoint_fault(err, url, "no ']' after the IPv6 address");
	fault = endpoint_port(endpoint, p);
	if (fault)
		return endpoint_fault(err, url, fault);
	snprintf(endpoint->name, sizeof endpoint->name, "%s:%s", endpoint->host, endpoint->port);
	return 0;
}

/* No byte may end a header line early. */
static bool header_text(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

int ch_endpoints_parse(
	struct ch_endpoint list[CH_ENDPOINTS_MAX], uint32_t *count, const char *urls, struct err *err)
{
	*count = 0;
	for (const char *p = urls;; p++) {
		size_t bytes = strcspn(p, ",");
		config_str url;
		int rc;

		if (*count == CH_ENDPOINTS_MAX)
			return err_set(err, -EINVAL, "clickhouse.url: more than %d", CH_ENDPOINTS_MAX);
		snprintf(url, sizeof url, "%.*s", (int)bytes, p);
		rc = ch_endpoint_parse(&list[*count], url, err);
		if (rc)
			return rc;
		for (uint32_t i = 0; i < *count; i++)
			if (!strcmp(list[i].name, list[*count].name))
				return endpoint_fault(err, url, "stands there twice");
		++*count;
		p += bytes;
		if (!*p)
			return 0;
	}
}

void ch_http_use(struct ch_http *h, const struct ch_endpoint *endpoint)
{
	if (strcmp(h->endpoint.name, endpoint->name) == 0)
		return;
	ch_http_drop(h);
	h->endpoint = *endpoint;
}

/* All that comes out of the configuration and its files. */
static int who_take(struct ch_http *h, const struct config_clickhouse *cfg, struct err *err)
{
	struct ch_endpoint list[CH_ENDPOINTS_MAX];
	uint32_t count;
	int rc;

	memset(h, 0, sizeof *h);
	h->sock.fd = -1;
	h->timeout_ms = cfg->timeout;
	rc = ch_endpoints_parse(list, &count, cfg->url, err);
	if (rc)
		return rc;
	h->endpoint = list[0];
	if (strlen(cfg->user) >= sizeof h->user || !header_text(cfg->user))
		return err_set(err, -EINVAL, "clickhouse.user: too long or with control characters");
	memcpy(h->user, cfg->user, strlen(cfg->user) + 1);
	rc = secret_file_read(
		h->password, sizeof h->password, cfg->password_file, "clickhouse.password_file", 0, err);
	for (uint32_t i = 0; rc == 0 && i < count && !h->tls.ctx; i++)
		if (list[i].tls)
			rc = ch_tls_open(&h->tls, cfg, &h->sock, err);
	return rc;
}

int ch_http_open(struct ch_http *h, const struct config_clickhouse *cfg, bool (*give_up)(void *arg),
	void *arg, struct err *err)
{
	int rc = who_take(h, cfg, err);

	h->pack.compression = (enum ch_compression)cfg->compression;
	if (rc == 0)
		rc = ch_sock_init(&h->sock, give_up, arg, err);
	if (rc == 0)
		rc = ch_answer_init(&h->answer, CH_BODY_MAX, err);
	return rc;
}

void ch_http_close(struct ch_http *h)
{
	ch_tls_close(&h->tls);
	ch_sock_free(&h->sock);
	ch_pack_free(&h->pack);
	ch_answer_free(&h->answer);
	free(h->head);
	h->head = NULL;
	explicit_bzero(h->password, sizeof h->password);
}

int ch_http_check(const struct config_clickhouse *cfg, struct err *err)
{
	struct ch_http h;
	int rc = who_take(&h, cfg, err);

	ch_http_close(&h);
	return rc;
}
