/* Requests, and what their answers mean. libcurl does HTTP and TLS; whoever answers may be anything: an
 * answer is bounded in time and size, and only its status is believed. The part's sink thread. */
#include "wh_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "secret.h"

#define RETRY_AFTER_MAX_S 300

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void curl_begin(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int wh_config_check(const struct config_webhook *cfg, struct err *err)
{
	CURLU *u;
	char *scheme = NULL, *user = NULL;
	bool good;

	pthread_once(&curl_once, curl_begin);
	if (curl_ready)
		return err_set(err, -EIO, "webhook: libcurl: %s", curl_easy_strerror(curl_ready));
	u = curl_url();
	good = u && !curl_url_set(u, CURLUPART_URL, cfg->url, 0) &&
	       !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
	       (!strcmp(scheme, "http") || !strcmp(scheme, "https"));
	if (good && !curl_url_get(u, CURLUPART_USER, &user, 0))
		good = false;
	curl_free(scheme);
	curl_free(user);
	curl_url_cleanup(u);
	if (!good)
		return err_set(err, -EINVAL,
			"webhook.url: '%s': expected http://HOST[:PORT]/PATH or https://..., without a user: "
			"who we are "
			"stands in token_file or headers_file",
			cfg->url);
	return 0;
}

/* How an answer begins is kept for people; what is too long ends the request. */
static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct wh_http *h = arg;
	size_t bytes = size * count;

	h->answer_bytes += bytes;
	if (h->answer_bytes > WH_ANSWER_MAX)
		return 0;
	for (size_t i = 0; i < bytes && h->shown < WH_ANSWER_SHOWN; i++) {
		unsigned char c = (unsigned char)data[i];

		h->answer[h->shown++] = c >= 0x20 && c < 0x7f ? (char)c : ' ';
	}
	return bytes;
}

/* Seen several times a second, also while nothing comes. */
static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
	(void)arg, (void)dltotal, (void)dlnow, (void)ultotal, (void)ulnow;
	return sink_gives_up();
}

static int header_add(struct wh_http *h, const char *line, struct err *err)
{
	struct curl_slist *grown = curl_slist_append(h->headers, line);

	if (!grown)
		return err_set(err, -ENOMEM, "webhook: no memory for headers");
	h->headers = grown;
	return 0;
}

static int headers_of_file(struct wh_http *h, char *text, struct err *err)
{
	char *save = NULL;
	int rc = 0;

	for (char *line = strtok_r(text, "\n", &save); line && rc == 0; line = strtok_r(NULL, "\n", &save)) {
		if (!strchr(line, ':') || strchr(line, ':') == line)
			return err_set(
				err, -EINVAL, "webhook.headers_file: a line is not of the form NAME: VALUE");
		rc = header_add(h, line, err);
	}
	return rc;
}

static int headers_make(struct wh_http *h, struct err *err)
{
	char secret[WH_SECRET_BYTES], line[WH_SECRET_BYTES + 32];
	int rc =
		secret_file_read(secret, sizeof secret, h->cfg->headers_file, "webhook.headers_file", 1, err);

	if (rc == 0)
		rc = headers_of_file(h, secret, err);
	if (rc == 0)
		rc = secret_file_read(
			secret, sizeof secret, h->cfg->token_file, "webhook.token_file", 0, err);
	if (rc == 0 && secret[0]) {
		snprintf(line, sizeof line, "Authorization: Bearer %s", secret);
		rc = header_add(h, line, err);
	}
	explicit_bzero(secret, sizeof secret);
	explicit_bzero(line, sizeof line);
	if (rc == 0)
		rc = header_add(h, "Content-Type: application/json", err);
	return rc ? rc : header_add(h, "Expect:", err); /* no round trip before the body */
}

static bool options_set(struct wh_http *h)
{
	const struct config_webhook *cfg = h->cfg;
	CURL *c = h->curl;
	bool good = !curl_easy_setopt(c, CURLOPT_URL, cfg->url);

	good = good && !curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers);
	good = good && !curl_easy_setopt(c, CURLOPT_USERAGENT, "sluice");
	good = good && !curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	good = good && !curl_easy_setopt(c, CURLOPT_PROXY, "");
	good = good && !curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	good = good && !curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)cfg->timeout);
	good = good && !curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)cfg->timeout);
	good = good && !curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	good = good && !curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
	good = good && !curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	good = good && !curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	good = good && !curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	good = good && !curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	/* ca_file alone: libcurl would go on looking into the system's directory beside it. */
	return good && (!cfg->ca_file[0] || (!curl_easy_setopt(c, CURLOPT_CAINFO, cfg->ca_file) &&
						    !curl_easy_setopt(c, CURLOPT_CAPATH, NULL)));
}

int wh_http_open(struct wh_http *h, const struct config_webhook *cfg, struct err *err)
{
	int rc;

	*h = (struct wh_http){.cfg = cfg, .curl = curl_easy_init()};
	if (!h->curl)
		return err_set(err, -ENOMEM, "webhook: libcurl does not begin");
	/* libcurl reads it at each connection, and would not say whose it is. */
	rc = public_file_check(cfg->ca_file, "webhook.ca_file", err);
	if (rc == 0)
		rc = headers_make(h, err);
	if (rc == 0 && !options_set(h))
		rc = err_set(err, -EINVAL, "webhook: libcurl does not take the options of this section");
	return rc;
}

void wh_http_close(struct wh_http *h)
{
	for (struct curl_slist *s = h->headers; s; s = s->next)
		explicit_bzero(s->data, strlen(s->data));
	curl_slist_free_all(h->headers);
	if (h->curl)
		curl_easy_cleanup(h->curl);
	*h = (struct wh_http){0};
}

int wh_http_check(const struct config_webhook *cfg, struct err *err)
{
	struct wh_http h;
	int rc = wh_config_check(cfg, err);

	if (rc)
		return rc;
	rc = wh_http_open(&h, cfg, err);
	wh_http_close(&h);
	return rc;
}

/* 4xx means these alerts, but for what says that the place or the credentials are wrong, or the time. */
static enum wh_result status_judge(long status)
{
	switch (status) {
	case 401: /* unauthorized */
	case 403: /* forbidden */
	case 404: /* not found */
	case 405: /* method not allowed */
	case 407: /* proxy authentication */
		return WH_BARRED;
	case 408: /* request timeout */
	case 425: /* too early */
	case 429: /* too many requests */
		return WH_AGAIN;
	default:
		if (status >= 200 && status < 300)
			return WH_DONE;
		if (status >= 300 && status < 400) /* not followed: alerts go where the configuration says */
			return WH_BARRED;
		return status >= 400 && status < 500 ? WH_REFUSED : WH_AGAIN;
	}
}

enum wh_result wh_http_post(struct wh_http *h, const void *body, size_t bytes, struct err *err)
{
	enum wh_result result;
	curl_off_t after_s = 0;
	long status = 0;
	CURLcode code;

	h->shown = 0;
	h->answer_bytes = 0;
	h->retry_after_ms = 0;
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bytes);
	code = curl_easy_perform(h->curl);
	h->answer[h->shown] = 0;
	if (code) {
		err_set(err, -EAGAIN, "webhook: %s: %s", h->cfg->url,
			code == CURLE_WRITE_ERROR ? "the answer is too long" : curl_easy_strerror(code));
		return WH_AGAIN;
	}
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	result = status_judge(status);
	if (result == WH_DONE)
		return result;
	if (!curl_easy_getinfo(h->curl, CURLINFO_RETRY_AFTER, &after_s) && after_s > 0)
		h->retry_after_ms =
			1000u * (uint64_t)(after_s < RETRY_AFTER_MAX_S ? after_s : RETRY_AFTER_MAX_S);
	err_set(err, -EAGAIN, "webhook: %s: HTTP %ld: %s", h->cfg->url, status, h->answer);
	return result;
}
