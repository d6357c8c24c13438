/* What was lost, told from what was answered: RACK (RFC 8985, 6.2), for datagrams in the place of segments. A
 * datagram is lost if one that left after it was answered and its own answer is overdue by a reordering
 * window. Datagrams have numbers in the order in which they left, repeats too: so a lost repeat shows as
 * well. */
#ifndef SC_RACK_H
#define SC_RACK_H

#include "sc_rto.h"

#define SC_RACK_WIDENINGS_MAX 10
#define SC_RACK_PATIENCE                                                                                     \
	16		/* round trips with needed repeats after which a wide window is tried narrow again */
#define SC_RACK_SHARE 4 /* events that may be repeated for each one that was settled */
#define SC_RACK_SIGNS 3 /* of needless repeats that one event gives at most */
#define SC_RACK_LOWEST 32 /* tries up to which the lowest event goes before what was tried less often */

struct sc_rack {
	uint32_t answered; /* number of the latest datagram that was answered */
	uint32_t credit;   /* events that may be repeated */
	uint64_t widened_ns, round_ns;
	uint8_t widenings, patience;
};

/* Numbers wrap. */
static inline bool sc_rack_is_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline void sc_rack_answered(struct sc_rack *k, uint32_t datagram)
{
	if (sc_rack_is_before(k->answered, datagram))
		k->answered = datagram;
}

/* How long after it was sent an event is lost, if something later was answered. The window is a quarter of
 * the least round trip, and is doubled while it proves too small, but never beyond the time-out: answers wait
 * for the disk, and what is in another partition may be durable much later. */
static inline uint64_t sc_rack_wait(const struct sc_rack *k, const struct sc_rto *r)
{
	uint64_t rtt_ns = r->latest_ns > r->srtt_ns ? r->latest_ns : r->srtt_ns;
	uint64_t window_ns = sc_rto_least(r) / 4;

	if (!r->srtt_ns)
		return r->base_ns;
	if (window_ns < SC_RTO_GRANULARITY_NS)
		window_ns = SC_RTO_GRANULARITY_NS;
	window_ns <<= k->widenings;
	return rtt_ns + (window_ns < r->base_ns ? window_ns : r->base_ns);
}

/* Something was repeated that was not lost: once in a round trip the window grows. */
static inline void sc_rack_premature(struct sc_rack *k, const struct sc_rto *r, uint64_t now_ns)
{
	k->patience = SC_RACK_PATIENCE;
	if (now_ns - k->widened_ns < r->srtt_ns)
		return;
	k->widenings += k->widenings < SC_RACK_WIDENINGS_MAX;
	k->widened_ns = now_ns;
}

/* So many events are repeated, or were without need. */
static inline void sc_rack_spent(struct sc_rack *k, unsigned count)
{
	k->credit -= count < k->credit ? count : k->credit;
}

/* A repeat was answered, and as far as is known there was need of it. */
static inline void sc_rack_needed(struct sc_rack *k, const struct sc_rto *r, uint64_t now_ns)
{
	if (now_ns - k->round_ns < r->srtt_ns)
		return;
	k->round_ns = now_ns;
	if (k->patience && --k->patience == 0)
		k->widenings = 0;
}

static inline void sc_rack_settled(struct sc_rack *k, uint64_t count, uint32_t most)
{
	uint64_t credit = k->credit + count * SC_RACK_SHARE;

	k->credit = credit < most ? (uint32_t)credit : most;
}

#endif
