/* `producers`: who numbers events, and what of them is missing. Server thread; reads the workers' tables
 * while they change, a producer at a time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "ip_text.h"
#include "producers.h"
#include "view.h"

#define PRODUCERS_LISTED 100u

struct producer_list {
	struct producer *at;
	uint32_t count, capacity;
	bool failed;
};

static void list_add(struct producer_list *l, const struct producer *p)
{
	if (l->count == l->capacity) {
		uint32_t capacity = l->capacity ? 2 * l->capacity : 256;
		struct producer *at = realloc(l->at, capacity * sizeof *at);

		if (!at) {
			l->failed = true;
			return;
		}
		l->at = at;
		l->capacity = capacity;
	}
	l->at[l->count++] = *p;
}

static uint64_t producer_loss(const struct producer *p)
{
	return p->missing + p->dropped;
}

/* The worst first, then the busiest. */
static int producer_order(const void *a, const void *b)
{
	const struct producer *x = a, *y = b;
	uint64_t lx = producer_loss(x), ly = producer_loss(y);

	if (lx != ly)
		return lx < ly ? 1 : -1;
	return x->events == y->events ? 0 : x->events < y->events ? 1 : -1;
}

static json_t *producer_json(const struct config *cfg, const struct producer *p)
{
	uint32_t listener = (uint32_t)(p->what >> 16);
	char address[IP_TEXT_BYTES], id[20];

	ip_to_text(address, p->src_addr);
	snprintf(id, sizeof id, "%016llx", (unsigned long long)p->id);
	return json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "producer",
		id, "listener", listener < cfg->listeners_count ? cfg->listeners[listener].name : "?",
		"address", address, "port", (json_int_t)(p->what & 0xffff), "first", json_u64(p->first),
		"highest", json_u64(p->high), "datagrams", json_u64(p->datagrams), "events",
		json_u64(p->events), "repeated", json_u64(p->repeated), "missing", json_u64(p->missing),
		"open", json_u64(producer_open(p)), "dropped", json_u64(p->dropped), "late",
		json_u64(p->late), "last_ms", (json_int_t)p->last_ms);
}

json_t *run_producers(void *arg, const struct peer *peer, const struct request *rq, struct err *err)
{
	uint64_t limit = request_uint(rq, "limit", PRODUCERS_LISTED), evicted = 0, missing = 0, dropped = 0;
	struct producer_list l = {0};
	struct daemon *d = arg;
	json_t *list;

	(void)peer;
	for (uint32_t w = 0; w < dataplane_workers(d->dp); w++) {
		const struct producers *t = dataplane_producers(d->dp, w);
		struct producer p;

		evicted += __atomic_load_n(&t->evicted, __ATOMIC_RELAXED);
		for (uint32_t i = 0; i < producers_capacity(t); i++)
			if (producers_copy(t, i, &p))
				list_add(&l, &p);
	}
	if (l.failed) {
		free(l.at);
		err_set(err, -ENOMEM, "no memory");
		return NULL;
	}
	for (uint32_t i = 0; i < l.count; i++) {
		missing += l.at[i].missing;
		dropped += l.at[i].dropped;
	}
	if (l.count)
		qsort(l.at, l.count, sizeof *l.at, producer_order);
	list = json_array();
	for (uint32_t i = 0; i < l.count && i < limit; i++)
		json_array_append_new(list, producer_json(&d->cfg, &l.at[i]));
	free(l.at);
	return json_pack("{s:I, s:o, s:o, s:o, s:o}", "known", (json_int_t)l.count, "forgotten",
		json_u64(evicted), "missing", json_u64(missing), "dropped", json_u64(dropped), "producers",
		list);
}
