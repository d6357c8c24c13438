/* Token buckets of sources. Worker thread. */
#include "admit.h"

#include <string.h>

#include "hash_process.h"

#define SECOND_NS 1000000000ull

void admit_set_up(struct admit *a, const struct config *cfg, uint64_t *forgotten)
{
	memset(a, 0, sizeof *a);
	a->forgotten = forgotten;
	for (uint32_t i = 0; i < cfg->listeners_count; i++) {
		uint64_t rate = cfg->listeners[i].rate;
		uint64_t burst = cfg->listeners[i].burst ? cfg->listeners[i].burst : rate;

		if (!rate)
			continue;
		a->limit[i].interval_ns = SECOND_NS / rate;
		a->limit[i].depth_ns = (burst - 1) * a->limit[i].interval_ns;
		a->sets = 1;
	}
	while (a->sets && (uint64_t)a->sets * ADMIT_WAYS < cfg->worker.sources_max)
		a->sets *= 2;
}

uint64_t admit_table_bytes(const struct admit *a)
{
	return (uint64_t)a->sets * ADMIT_WAYS * sizeof *a->source;
}

/* The source's place, or that of the one of which the least is forgotten. */
static struct admit_source *source_find(
	struct admit *a, uint32_t listener, const uint8_t addr[16], uint64_t now_ns)
{
	uint64_t hash = hash_keyed(&hash_process_key, addr, 16) + listener;
	struct admit_source *set = &a->source[(hash & (a->sets - 1)) * ADMIT_WAYS], *fullest = set;

	for (uint32_t i = 0; i < ADMIT_WAYS; i++) {
		if (set[i].listener == listener && !memcmp(set[i].addr, addr, 16))
			return &set[i];
		if (set[i].full_ns < fullest->full_ns)
			fullest = &set[i];
	}
	*a->forgotten += fullest->full_ns > now_ns;
	memcpy(fullest->addr, addr, 16);
	fullest->listener = listener;
	fullest->full_ns = 0;
	return fullest;
}

bool admit_take(struct admit *a, uint32_t listener, const uint8_t addr[16], uint64_t now_ns)
{
	const struct admit_limit *limit = &a->limit[listener];
	struct admit_source *s;

	if (!limit->interval_ns)
		return true;
	s = source_find(a, listener, addr, now_ns);
	if (s->full_ns < now_ns)
		s->full_ns = now_ns;
	if (s->full_ns - now_ns > limit->depth_ns)
		return false;
	s->full_ns += limit->interval_ns;
	return true;
}
