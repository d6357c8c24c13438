/* Shared by the files of this folder. A struct wh_part belongs to its sink thread. */
#ifndef SLUICE_WH_PRIV_H
#define SLUICE_WH_PRIV_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "sink_alerts.h"

#define WH_BATCH_MAX 1024u   /* alerts in a request: webhook.batch, and those of its last record */
#define WH_ANSWER_MAX 65536u /* bytes of an answer; nobody needs more to say yes */
#define WH_ANSWER_SHOWN 200u /* of them, in an error */
#define WH_SECRET_BYTES 4096u

enum wh_format { WH_FORMAT_ALERTMANAGER, WH_FORMAT_JSON }; /* as in config.def */

enum wh_result {
	WH_DONE,
	WH_REFUSED, /* these alerts, whenever they are sent */
	WH_AGAIN,   /* the same may be taken later */
	WH_BARRED,  /* the same, once who we are, or where, is right */
};

/* ---- wh_http.c: one connection ---- */
struct wh_http {
	const struct config_webhook *cfg;
	CURL *curl;
	struct curl_slist *headers;
	uint32_t shown;
	char answer[WH_ANSWER_SHOWN + 1]; /* how it begins, fit for a log */
	size_t answer_bytes;
	uint64_t retry_after_ms; /* of the last answer; 0: it said nothing */
};
/* What is wrong with the section, if something is. Reads no file. */
int wh_config_check(const struct config_webhook *cfg, struct err *err);
/* Also reads the files of token and headers. To be closed in any case. */
int wh_http_open(struct wh_http *h, const struct config_webhook *cfg, struct err *err);
void wh_http_close(struct wh_http *h);
/* What is wrong with the section or its files, if something is. */
int wh_http_check(const struct config_webhook *cfg, struct err *err);
/* POSTs a body. err says what came, if it is not WH_DONE. */
enum wh_result wh_http_post(struct wh_http *h, const void *body, size_t bytes, struct err *err);

/* ---- wh_body.c ---- */
/* Alerts that wait for the next request: JSON objects, back to back. */
struct wh_body {
	struct bytes json;
	uint32_t count;
	size_t end[WH_BATCH_MAX]; /* of each */
};
/* Whether the sink is told to send it. */
bool wh_alert_wanted(const struct config_webhook *cfg, const struct sink_alert *a, int64_t now_ms);
/* Appends it. -ENOMEM. */
int wh_body_add(struct wh_body *b, const struct config_webhook *cfg, const struct sink_alert *a,
	int64_t now_ms, struct err *err);
/* A request's body of alerts [from, to), into out. */
void wh_body_join(struct bytes *out, const struct wh_body *b, uint32_t from, uint32_t to);

#endif
