/* Round trips, and how long to wait for an answer: RFC 6298 with the protocol's bounds, the first wait after
 * RFC 8985, 7.2. Nanoseconds of a clock that never goes back. */
#ifndef SC_RTO_H
#define SC_RTO_H

#include <stdbool.h>
#include <stdint.h>

#define SC_RTO_MIN_NS 10000000u
#define SC_RTO_MAX_NS 5000000000u
#define SC_RTO_FIRST_NS 1000000000u
#define SC_RTO_GRANULARITY_NS 1000000u
#define SC_RTO_LEAST_NS 60000000000u /* how long the least round trip counts, at least */

#define SC_RTO_DOUBLINGS_MAX 9 /* from the least wait to beyond the longest */

struct sc_rto {
	uint64_t srtt_ns, rttvar_ns; /* srtt 0: not measured yet */
	uint64_t latest_ns;
	uint64_t base_ns;		      /* the wait by the latest measurement */
	uint64_t least_ns[2], least_since_ns; /* of this period and the one before; 0: none */
	uint8_t timeouts;		      /* since the latest answer */
	bool doubted; /* something was repeated too early since the latest measurement */
};

static inline void sc_rto_init(struct sc_rto *r)
{
	*r = (struct sc_rto){.base_ns = SC_RTO_FIRST_NS};
}

/* The wait after so many doublings. */
static inline uint64_t sc_rto_doubled(const struct sc_rto *r, unsigned doublings)
{
	uint64_t wait_ns = r->base_ns
			   << (doublings < SC_RTO_DOUBLINGS_MAX ? doublings : SC_RTO_DOUBLINGS_MAX);

	return wait_ns < SC_RTO_MAX_NS ? wait_ns : SC_RTO_MAX_NS;
}

/* How long nothing may be answered. First, since a probe costs little, two round trips. */
static inline uint64_t sc_rto_wait(const struct sc_rto *r)
{
	uint64_t probe_ns = 2 * r->srtt_ns;

	if (r->timeouts)
		return sc_rto_doubled(r, r->timeouts - 1u);
	if (probe_ns < SC_RTO_GRANULARITY_NS)
		probe_ns = SC_RTO_GRANULARITY_NS;
	return r->srtt_ns && probe_ns < r->base_ns ? probe_ns : r->base_ns;
}

static inline uint64_t sc_rto_least(const struct sc_rto *r)
{
	bool older = r->least_ns[1] && (r->least_ns[1] < r->least_ns[0] || !r->least_ns[0]);

	return r->least_ns[older];
}

/* A round trip of something that was sent once only (Karn). */
static inline void sc_rto_measured(struct sc_rto *r, uint64_t rtt_ns, uint64_t now_ns)
{
	uint64_t off, spread;

	if (rtt_ns > SC_RTO_MAX_NS)
		rtt_ns = SC_RTO_MAX_NS;
	off = rtt_ns > r->srtt_ns ? rtt_ns - r->srtt_ns : r->srtt_ns - rtt_ns;
	if (r->srtt_ns == 0) {
		r->srtt_ns = rtt_ns ? rtt_ns : 1;
		r->rttvar_ns = rtt_ns / 2;
	} else {
		r->rttvar_ns = r->rttvar_ns - r->rttvar_ns / 4 + off / 4;
		r->srtt_ns = r->srtt_ns - r->srtt_ns / 8 + rtt_ns / 8;
	}
	spread = 4 * r->rttvar_ns;
	r->base_ns = r->srtt_ns + (spread > SC_RTO_GRANULARITY_NS ? spread : SC_RTO_GRANULARITY_NS);
	if (r->base_ns < SC_RTO_MIN_NS)
		r->base_ns = SC_RTO_MIN_NS;
	if (r->base_ns > SC_RTO_MAX_NS)
		r->base_ns = SC_RTO_MAX_NS;
	if (now_ns - r->least_since_ns >= SC_RTO_LEAST_NS) {
		r->least_ns[1] = r->least_ns[0];
		r->least_ns[0] = 0;
		r->least_since_ns = now_ns;
	}
	if (!r->least_ns[0] || rtt_ns < r->least_ns[0])
		r->least_ns[0] = rtt_ns;
	r->latest_ns = rtt_ns;
	r->timeouts = 0;
	r->doubted = false;
}

/* Something was answered. When repeats came too early, this may be the answer to what was sent long before:
 * the wait stays long until it is measured, or it would never be. */
static inline void sc_rto_answered(struct sc_rto *r)
{
	if (!r->doubted)
		r->timeouts = 0;
}

static inline void sc_rto_timed_out(struct sc_rto *r)
{
	r->timeouts += r->timeouts <= SC_RTO_DOUBLINGS_MAX;
}

#endif
