/* Memory of the software spread, and whether there is one. Control thread, before the workers start and after
 * they have ended. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "spread.h"

/* Rings have names that are unique in the process. */
static _Atomic uint32_t spread_next;

bool spread_wanted(const struct config *cfg, char *why, size_t bytes)
{
	uint64_t workers = cfg->worker.count, queues = 0;
	const char *file = NULL;

	for (uint32_t i = 0; i < cfg->ports_count; i++) {
		queues += cfg->ports[i].queues;
		if (driver_is_finite(cfg->ports[i].device))
			file = cfg->ports[i].name;
	}
	if (cfg->worker.spread == CONFIG_SPREAD_OFF || workers == 1) {
		snprintf(why, bytes, "%s", workers == 1 ? "one worker" : "worker.spread is off");
		return false;
	}
	if (cfg->worker.spread == CONFIG_SPREAD_ON) {
		snprintf(why, bytes, "worker.spread is on");
		return true;
	}
	if (file) {
		snprintf(why, bytes, "port %s reads a file, whose order is kept", file);
		return false;
	}
	snprintf(why, bytes, "%" PRIu64 " workers, %" PRIu64 " queues: %s", workers, queues,
		workers > queues ? "those without a queue get frames from the others"
				 : "each worker has one");
	return workers > queues;
}

uint32_t spread_frames_max(const struct config *cfg, uint32_t port)
{
	uint64_t workers = cfg->worker.count, queues = cfg->ports[port].queues;

	if (!spread_wanted(cfg, NULL, 0))
		return 0;
	return (uint32_t)((queues < workers ? queues : workers) * (workers - 1) * cfg->worker.spread_frames +
			  workers * cfg->worker.burst);
}

static void listeners_set_up(struct spread *s, const struct config *cfg)
{
	for (uint32_t i = 0; i < cfg->listeners_count; i++) {
		s->keyed[i] = cfg->listeners[i].format == CONFIG_FORMAT_SLUICE || cfg->listeners[i].rate;
		s->chunked[i] = cfg->listeners[i].format == CONFIG_FORMAT_GELF;
		s->plain[i + 1] = !s->keyed[i] && !s->chunked[i];
	}
}

static int rings_make(struct spread *s, uint32_t frames, const bool *has_queue)
{
	uint32_t number = atomic_fetch_add(&spread_next, 1);
	char name[RTE_RING_NAMESIZE];

	for (uint32_t from = 0; from < s->workers; from++)
		for (uint32_t to = 0; has_queue[from] && to < s->workers; to++) {
			uint32_t i = from * s->workers + to;

			if (from == to)
				continue;
			snprintf(name, sizeof name, "spread%u_%u", number, i);
			s->ring[i] = rte_ring_create(
				name, frames, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ | RING_F_EXACT_SZ);
			if (!s->ring[i])
				return -ENOMEM;
		}
	return 0;
}

static int spreaders_make(struct spread *s, struct worker_stats *const *stats)
{
	for (uint32_t w = 0; w < s->workers; w++) {
		struct spreader *sp = &s->spreader[w];

		*sp = (struct spreader){.all = s, .worker = w, .last = w, .stats = stats[w]};
		sp->count = calloc(s->workers, sizeof *sp->count);
		sp->to = calloc(s->workers, sizeof *sp->to);
		if (!sp->count || !sp->to)
			return -ENOMEM;
	}
	return 0;
}

int spread_create(struct spread **out, const struct config *cfg, const struct decode_ports *ports,
	const bool *has_queue, struct worker_stats *const *stats, struct err *err)
{
	uint32_t workers = (uint32_t)cfg->worker.count, frames = (uint32_t)cfg->worker.spread_frames;
	struct spread *s = calloc(1, sizeof *s);
	int rc = -ENOMEM;

	if (!s)
		goto fail;
	s->workers = workers;
	s->burst = (uint32_t)cfg->worker.burst;
	s->ports = ports;
	s->place = aligned_alloc(_Alignof(struct spread_place), workers * sizeof *s->place);
	s->ring = calloc((size_t)workers * workers, sizeof *s->ring);
	s->spreader = calloc(workers, sizeof *s->spreader);
	if (!s->place || !s->ring || !s->spreader)
		goto fail;
	memset(s->place, 0, workers * sizeof *s->place);
	listeners_set_up(s, cfg);
	for (uint32_t w = 0; w < workers; w++)
		s->givers += has_queue[w];
	rc = rings_make(s, frames, has_queue);
	if (rc == 0)
		rc = spreaders_make(s, stats);
	if (rc)
		goto fail;
	*out = s;
	return 0;
fail:
	spread_free(s);
	return err_set(err, rc,
		"worker.spread: no memory for rings of %u frames between workers: raise eal.memory or lower "
		"worker.spread_frames",
		frames);
}

void spread_free(struct spread *s)
{
	void *m;

	if (!s)
		return;
	for (uint32_t i = 0; s->ring && i < s->workers * s->workers; i++) {
		while (s->ring[i] && rte_ring_sc_dequeue(s->ring[i], &m) == 0)
			rte_pktmbuf_free(m);
		rte_ring_free(s->ring[i]);
	}
	for (uint32_t w = 0; s->spreader && w < s->workers; w++) {
		free(s->spreader[w].count);
		free(s->spreader[w].to);
	}
	free(s->place);
	free(s->ring);
	free(s->spreader);
	free(s);
}
