/* See spread.h. Worker thread. */
#include "spread.h"

#include <rte_branch_prediction.h>
#include <string.h>

#include "batch.h"
#include "decode_peek.h"
#include "gelf_chunks.h"
#include "hash_process.h"
#include "race.h"

#define PLAIN_HEADERS 42u
#define PROTO_UDP 17u
#define PROTO_GRE 47u
#define AHEAD_FRAME 4u /* frames ahead of the one in work whose headers are asked for */

static struct rte_ring *ring_of(const struct spread *s, uint32_t from, uint32_t to)
{
	return s->ring[from * s->workers + to];
}

/* Nearly all frames without an owner: IPv4 without tags and options, whole, UDP to a listener that anybody
 * may read. False says nothing. */
static inline bool frame_is_plain(const struct spread *s, const uint8_t *f, uint32_t bytes)
{
	uint32_t start;

	if (bytes < PLAIN_HEADERS)
		return false;
	memcpy(&start, f + 12, sizeof start); /* EtherType, version and header length, service */
	return (start & 0xffffff) == 0x450008 && !((f[20] & 0x3f) | f[21]) && f[23] == PROTO_UDP &&
	       s->plain[s->ports->listener_of[f[36] << 8 | f[37]]];
}

static __attribute__((noinline)) uint32_t owner_look(const struct spread *s, const struct rte_mbuf *m)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	struct decode_peek from = decode_peek(frame, m->data_len);

	if (unlikely(!from.has_source)) /* no IP: dropped by whoever gets it */
		return SPREAD_ANY;
	if (likely(from.has_udp && !from.fragment)) {
		uint32_t listener = s->ports->listener_of[from.udp_port];

		if (listener ? !s->keyed[listener - 1] : !s->decap[m->port])
			if (!listener || !s->chunked[listener - 1] ||
				!gelf_is_chunk(frame + from.payload, m->data_len - from.payload))
				return SPREAD_ANY;
	}
	/* Dropped as not_udp by whoever gets it. Behind IPv6 there may be a fragment yet: not these. */
	if (from.whole_ip4 && from.protocol != PROTO_UDP &&
		!(from.protocol == PROTO_GRE && s->decap[m->port]))
		return SPREAD_ANY;
	return hash_partition(hash_keyed(&hash_process_key, from.source, sizeof from.source), s->workers);
}

static inline uint32_t owner_of(const struct spread *s, const struct rte_mbuf *m)
{
	if (likely(frame_is_plain(s, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len)))
		return SPREAD_ANY;
	return owner_look(s, m);
}

uint32_t spread_owner(const struct spread *s, const struct rte_mbuf *m)
{
	return owner_of(s, m);
}

/* One whose own queues leave it room, and for whom little waits; this one itself if there is none. */
static uint32_t worker_with_room(const struct spreader *sp)
{
	const struct spread *s = sp->all;

	for (uint32_t k = 1; k <= s->workers; k++) {
		uint32_t to = (sp->last + k) % s->workers;

		if (to == sp->worker || atomic_load_explicit(&s->place[to].crowded, memory_order_relaxed))
			continue;
		if (ring_count(ring_of(s, sp->worker, to)) + s->burst <= SPREAD_AHEAD * s->burst)
			return to;
	}
	return sp->worker;
}

/* Returns how many of them the ring took. */
static uint32_t frames_give(struct spreader *sp, uint32_t to, struct rte_mbuf *const *mbuf, uint32_t n)
{
	uint32_t given;

	for (uint32_t i = 0; i < n; i++)
		race_given(mbuf[i]);
	given = rte_ring_sp_enqueue_burst(ring_of(sp->all, sp->worker, to), (void *const *)mbuf, n, NULL);
	sp->stats->spread_given += given;
	if (given)
		bell_ring(&sp->all->place[to].bell);
	return given;
}

/* To their owners; what finds no room is dropped. */
static void owned_give(struct spreader *sp)
{
	for (uint32_t to = 0; to < sp->all->workers; to++) {
		uint32_t n = sp->count[to], given = n ? frames_give(sp, to, sp->to[to], n) : 0;

		for (uint32_t i = given; i < n; i++)
			sp->dropped[sp->dropped_count++] = sp->to[to][i];
		sp->count[to] = 0;
	}
}

uint32_t spread_burst(struct spreader *sp, struct rte_mbuf **mbuf, uint32_t n, bool crowded)
{
	struct spread *s = sp->all;
	uint32_t any = crowded ? worker_with_room(sp) : sp->worker, mine = 0, owned = 0, given = 0;

	sp->spare_count = sp->dropped_count = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t to;

		if (i + AHEAD_FRAME < n)
			rte_prefetch0(rte_pktmbuf_mtod(mbuf[i + AHEAD_FRAME], const void *));
		to = owner_of(s, mbuf[i]);
		if (to == SPREAD_ANY && any != sp->worker) {
			sp->spare[sp->spare_count++] = mbuf[i];
		} else if (to == SPREAD_ANY || to == sp->worker) {
			mbuf[mine++] = mbuf[i];
		} else {
			sp->to[to][sp->count[to]++] = mbuf[i];
			owned++;
		}
	}
	if (owned)
		owned_give(sp);
	if (sp->spare_count) {
		given = frames_give(sp, any, sp->spare, sp->spare_count);
		sp->last = any;
	}
	for (uint32_t i = given; i < sp->spare_count; i++)
		mbuf[mine++] = sp->spare[i];
	return mine;
}

void spread_crowded(struct spread *s, uint32_t worker, bool crowded)
{
	atomic_bool *mine = &s->place[worker].crowded;

	if (atomic_load_explicit(mine, memory_order_relaxed) != crowded)
		atomic_store_explicit(mine, crowded, memory_order_relaxed);
}

uint32_t spread_take(const struct spread *s, uint32_t from, uint32_t to, struct rte_mbuf **mbuf)
{
	struct rte_ring *ring = ring_of(s, from, to);
	uint32_t n = ring ? rte_ring_sc_dequeue_burst(ring, (void **)mbuf, s->burst, NULL) : 0;

	for (uint32_t i = 0; i < n; i++)
		race_taken(mbuf[i]);
	return n;
}

bool spread_waits(const struct spread *s, uint32_t worker)
{
	for (uint32_t from = 0; from < s->workers; from++)
		if (ring_of(s, from, worker) && ring_count(ring_of(s, from, worker)))
			return true;
	return false;
}

uint32_t spread_backlog(const struct spread *s)
{
	uint32_t most = 0;

	for (uint32_t to = 0; to < s->workers; to++) {
		uint32_t count = 0;

		for (uint32_t from = 0; from < s->workers; from++)
			count += ring_of(s, from, to) ? ring_count(ring_of(s, from, to)) : 0;
		most = count > most ? count : most;
	}
	return most;
}

void spread_sleep(struct spread *s, uint32_t worker, uint64_t ns)
{
	struct bell *bell = &s->place[worker].bell;

	bell_lie_down(bell, 1);
	bell_sleep(bell, spread_waits(s, worker), ns);
}

void spread_end(struct spread *s, uint32_t worker)
{
	atomic_store_explicit(&s->place[worker].ended, true, memory_order_release);
}

bool spread_ended(const struct spread *s)
{
	for (uint32_t w = 0; w < s->workers; w++)
		if (!atomic_load_explicit(&s->place[w].ended, memory_order_acquire))
			return false;
	return true;
}
