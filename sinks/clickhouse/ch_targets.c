/* The servers of clickhouse.url: which one is delivered to, and when one that went away is asked again. Each
 * is known by its host:port. A part's own view: its connections fail and come back by themselves. The part's
 * sink thread. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ch_check.h"
#include "ch_part_priv.h"
#include "clock.h"
#include "log.h"

#define OPEN_MS_MAX 5000u
#define PROBE_MS_MAX 1000u /* a frozen server must not hold up what goes to another */
#define AGAIN_MS_MIN 500u
#define AGAIN_MS_MAX 15000u
#define REFUSED_MS 60000u /* a server that says no to us */
#define MISFIT_MS 5000u	  /* one whose tables do not fit: somebody runs statements there, and waits */

#define LOOKS_MAX (2 * CH_ENDPOINTS_MAX) /* those of two logs at each server */
#define LOOK_MS_MAX 30000u		 /* later than that others look themselves */

/* Tables are made and compared by one part at a time: CREATE of two at once may fail. */
static pthread_mutex_t check_lock = PTHREAD_MUTEX_INITIALIZER;

/* The looks at tables that found them right, under check_lock: at which server, for what statements, and when
 * the look began. A part that had asked the server before then need not look, if that was not long ago and
 * no part has come to doubt the server since: with many partitions a start would ask it the same some hundred
 * times. */
static struct look {
	char server[CH_ENDPOINT_NAME_BYTES];
	char *text;
	size_t bytes;
	uint64_t begun_ns;
} look[LOOKS_MAX];

/* When a part came to doubt a server last. A lock of its own: a look takes as long as the server likes. */
static pthread_mutex_t doubt_lock = PTHREAD_MUTEX_INITIALIZER;
static struct doubt {
	char server[CH_ENDPOINT_NAME_BYTES];
	uint64_t ns;
} doubt[LOOKS_MAX];

/* Under doubt_lock; NULL: there are more servers than places. */
static struct doubt *doubt_place(const char *server)
{
	for (uint32_t i = 0; i < LOOKS_MAX; i++) {
		if (!doubt[i].server[0])
			snprintf(doubt[i].server, sizeof doubt[i].server, "%s", server);
		if (strcmp(doubt[i].server, server) == 0)
			return &doubt[i];
	}
	return NULL;
}

static void doubt_note(const char *server)
{
	struct doubt *d;

	pthread_mutex_lock(&doubt_lock);
	d = doubt_place(server);
	if (d)
		d->ns = clock_mono_ns();
	pthread_mutex_unlock(&doubt_lock);
}

static uint64_t doubt_ns(const char *server)
{
	struct doubt *d;
	uint64_t ns;

	pthread_mutex_lock(&doubt_lock);
	d = doubt_place(server);
	ns = d ? d->ns : UINT64_MAX;
	pthread_mutex_unlock(&doubt_lock);
	return ns;
}

int ch_targets_open(struct ch_part *p, struct err *err)
{
	struct ch_endpoint list[CH_ENDPOINTS_MAX];
	int rc = ch_endpoints_parse(list, &p->target_count, p->cfg->url, err);

	for (uint32_t i = 0; rc == 0 && i < p->target_count; i++)
		p->target[i] = (struct ch_target){.endpoint = list[i]};
	return rc;
}

int ch_target_find(const struct ch_part *p, const char *name)
{
	for (uint32_t i = 0; i < p->target_count; i++)
		if (strcmp(p->target[i].endpoint.name, name) == 0)
			return (int)i;
	return -1;
}

bool ch_target_lost(const struct ch_part *p, const char *name)
{
	size_t bytes = strlen(name);

	for (const char *at = p->cfg->lost; *at; at += at[0] == ',') {
		size_t n = strcspn(at, ",");

		if (n == bytes && memcmp(at, name, n) == 0)
			return true;
		at += n;
	}
	return false;
}

/* For status: where it goes, and what is not there. */
static void targets_note(struct ch_part *p)
{
	char text[sizeof p->part->note];
	size_t n;

	if (p->target_count == 1)
		return;
	n = (size_t)snprintf(text, sizeof text, "to %.100s", p->target[p->current].endpoint.name);
	for (uint32_t i = 0; i < p->target_count && n < sizeof text; i++)
		if (p->target[i].fault[0])
			n += (size_t)snprintf(text + n, sizeof text - n, "; not to %.100s: %s",
				p->target[i].endpoint.name, p->target[i].fault);
	sink_note(p->part, text);
}

void ch_target_away(struct ch_part *p, uint32_t i, int rc, const struct err *err)
{
	struct ch_target *t = &p->target[i];
	uint64_t wait_ms;

	t->backoff_ms = t->backoff_ms * 2 < AGAIN_MS_MIN   ? AGAIN_MS_MIN
			: t->backoff_ms * 2 > AGAIN_MS_MAX ? AGAIN_MS_MAX
							   : t->backoff_ms * 2;
	wait_ms = rc != -EINVAL ? t->backoff_ms : p->misfit ? MISFIT_MS : REFUSED_MS;
	t->again_ns = clock_mono_ns() + wait_ms * 1000000u;
	t->fit = false;
	doubt_note(t->endpoint.name);
	for (uint32_t k = 0; k < p->rows.window_count; k++)
		p->rows.window[k]->checked &= ~(1u << i);
	if (!t->fault[0] && p->target_count > 1)
		log_warn("clickhouse", "partition=%u server %s is left alone: %s", p->part->partition,
			t->endpoint.name, err->text);
	snprintf(t->fault, sizeof t->fault, "%.159s", err->text);
	targets_note(p);
}

/* What a part expects at a server, as the statements that would make it. */
static int expected_text(const struct ch_part *p, struct ch_statement *s, struct err *err)
{
	int rc = ch_statement_open(s, err);

	if (rc)
		return rc;
	for (uint32_t n = 0; ch_catalog_statement(p->catalog, p->cfg, n, s->out); n++)
		fputc('\n', s->out);
	return ch_statement_end(s, err);
}

static struct look *look_find(const char *server, const struct ch_statement *expected)
{
	for (uint32_t i = 0; i < LOOKS_MAX; i++)
		if (look[i].text && look[i].bytes == expected->bytes && strcmp(look[i].server, server) == 0 &&
			memcmp(look[i].text, expected->text, expected->bytes) == 0)
			return &look[i];
	return NULL;
}

static struct look *look_oldest(void)
{
	struct look *oldest = look;

	for (uint32_t i = 1; i < LOOKS_MAX; i++)
		if (look[i].begun_ns < oldest->begun_ns)
			oldest = &look[i];
	return oldest;
}

/* expected->text is not the caller's any more. */
static int look_at(
	struct ch_part *p, const struct ch_target *t, struct ch_statement *expected, struct err *err)
{
	struct look *l = look_find(t->endpoint.name, expected);
	uint64_t begun_ns = clock_mono_ns();
	int rc = 0;

	if (!l || l->begun_ns < t->asked_ns || l->begun_ns <= doubt_ns(t->endpoint.name) ||
		begun_ns - l->begun_ns > LOOK_MS_MAX * 1000000ull) {
		rc = ch_check_tables(&p->http, p->cfg, p->catalog, &p->misfit, err);
		ch_misfit_tell(p);
		if (l)
			l->begun_ns = rc ? 0 : begun_ns;
	}
	if (rc || l) {
		free(expected->text);
		return rc;
	}
	l = look_oldest();
	free(l->text);
	*l = (struct look){.text = expected->text, .bytes = expected->bytes, .begun_ns = begun_ns};
	snprintf(l->server, sizeof l->server, "%s", t->endpoint.name);
	return 0;
}

static int target_check(struct ch_part *p, const struct ch_target *t, struct err *err)
{
	struct ch_statement expected;
	int rc = expected_text(p, &expected, err);

	if (rc)
		return rc;
	while (pthread_mutex_trylock(&check_lock)) {
		if (sink_gives_up()) {
			free(expected.text);
			return err_set(err, -ECANCELED, "stopped before the tables were looked at");
		}
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	rc = look_at(p, t, &expected, err);
	pthread_mutex_unlock(&check_lock);
	return rc;
}

void ch_misfit_tell(struct ch_part *p)
{
	if (p->misfit)
		p->part->refused_ms = MISFIT_MS;
}

int ch_target_use(struct ch_part *p, uint32_t i, struct err *err)
{
	uint64_t limit_ms = p->target_count > 1 ? PROBE_MS_MAX : OPEN_MS_MAX;
	struct ch_target *t = &p->target[i];
	int rc;

	if (!t->asked_ns)
		t->asked_ns = clock_mono_ns();
	p->misfit = false;
	ch_http_use(&p->http, &t->endpoint);
	rc = ch_http_query(
		&p->http, "SELECT 1", p->cfg->timeout < limit_ms ? p->cfg->timeout : limit_ms, err);
	if (rc == 0 && !t->fit)
		rc = target_check(p, t, err);
	if (rc) {
		/* What is sent next is for that one. */
		ch_http_use(&p->http, &p->target[p->current].endpoint);
		ch_target_away(p, i, rc, err);
		return rc;
	}
	t->fit = true;
	p->current = i;
	targets_note(p);
	return 0;
}

void ch_target_good(struct ch_part *p)
{
	struct ch_target *t = &p->target[p->current];

	if (!t->fault[0])
		return;
	log_info("clickhouse", "partition=%u server %s is there again", p->part->partition, t->endpoint.name);
	t->fault[0] = 0;
	t->backoff_ms = 0;
	targets_note(p);
}

int ch_target_choose(struct ch_part *p, struct err *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < p->target_count; i++) {
		struct err why;
		int one;

		if (p->target[i].again_ns > clock_mono_ns())
			continue;
		one = ch_target_use(p, i, &why);
		if (one == 0 || one == -ECANCELED || one == -ENOMEM) {
			*err = why;
			return one;
		}
		/* One that is only away is waited for; refusals of all are a refusal. */
		if (rc == 0 || rc == -EINVAL) {
			*err = why;
			rc = one;
		}
	}
	return rc ? rc : err_set(err, -EAGAIN, "clickhouse: no server of clickhouse.url can be used now");
}

bool ch_target_due(const struct ch_part *p, uint32_t i)
{
	return clock_mono_ns() >= p->target[i].again_ns;
}

int ch_target_best(struct ch_part *p, struct err *err)
{
	for (uint32_t i = 0; i < p->target_count; i++) {
		if (!p->target[i].fit)
			continue;
		if (i == p->current && strcmp(p->http.endpoint.name, p->target[i].endpoint.name) == 0)
			return 0;
		if (ch_target_use(p, i, err) == 0)
			return 0;
	}
	return ch_target_choose(p, err);
}
