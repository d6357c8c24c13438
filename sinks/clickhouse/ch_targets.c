/* The servers of clickhouse.url: which one is delivered to, and when one that went away is asked again. Each
 * is known by its host:port. A part's own view: its connections fail and come back by themselves. The part's
 * sink thread. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
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
#define REFUSED_MS 60000u /* a server whose tables or rights do not fit */

/* Tables are made and compared by one part at a time: CREATE of two at once may fail. */
static pthread_mutex_t check_lock = PTHREAD_MUTEX_INITIALIZER;

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
	wait_ms = rc == -EINVAL ? REFUSED_MS : t->backoff_ms;
	t->again_ns = clock_mono_ns() + wait_ms * 1000000u;
	t->fit = false;
	for (uint32_t k = 0; k < p->rows.window_count; k++)
		p->rows.window[k]->checked &= ~(1u << i);
	if (!t->fault[0] && p->target_count > 1)
		log_warn("clickhouse", "partition=%u server %s is left alone: %s", p->part->partition,
			t->endpoint.name, err->text);
	snprintf(t->fault, sizeof t->fault, "%.159s", err->text);
	targets_note(p);
}

static int target_check(struct ch_part *p, struct err *err)
{
	int rc;

	while (pthread_mutex_trylock(&check_lock)) {
		if (sink_gives_up())
			return err_set(err, -ECANCELED, "stopped before the tables were looked at");
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	rc = ch_check_tables(&p->http, p->cfg, p->catalog, err);
	pthread_mutex_unlock(&check_lock);
	return rc;
}

int ch_target_use(struct ch_part *p, uint32_t i, struct err *err)
{
	uint64_t limit_ms = p->target_count > 1 ? PROBE_MS_MAX : OPEN_MS_MAX;
	struct ch_target *t = &p->target[i];
	int rc;

	ch_http_use(&p->http, &t->endpoint);
	rc = ch_http_query(
		&p->http, "SELECT 1", p->cfg->timeout < limit_ms ? p->cfg->timeout : limit_ms, err);
	if (rc == 0 && !t->fit)
		rc = target_check(p, err);
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
