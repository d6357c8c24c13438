/* The time after which what was not acknowledged is repeated: RFC 6298, with the protocol's bounds.
 * Nanoseconds of a clock that never goes back. */
#ifndef SC_RTO_H
#define SC_RTO_H

#include <stdint.h>

#define SC_RTO_MIN_NS 10000000u
#define SC_RTO_MAX_NS 5000000000u
#define SC_RTO_FIRST_NS 1000000000u
#define SC_RTO_GRANULARITY_NS 1000000u

#define SC_RTO_DOUBLINGS_MAX 9 /* from the least wait to beyond the longest */

struct sc_rto {
	uint64_t srtt_ns, rttvar_ns; /* srtt 0: not measured yet */
	uint64_t base_ns;	     /* the wait by the latest measurement */
	uint64_t timed_out_ns;	     /* when `doublings` grew last */
	uint8_t doublings;	     /* of events that leave now for the first time */
};

static inline void sc_rto_init(struct sc_rto *r)
{
	*r = (struct sc_rto){.base_ns = SC_RTO_FIRST_NS};
}

static inline uint64_t sc_rto_wait(const struct sc_rto *r, unsigned doublings)
{
	uint64_t wait_ns = r->base_ns
			   << (doublings < SC_RTO_DOUBLINGS_MAX ? doublings : SC_RTO_DOUBLINGS_MAX);

	return wait_ns < SC_RTO_MAX_NS ? wait_ns : SC_RTO_MAX_NS;
}

/* A round trip of something that was sent once only. */
static inline void sc_rto_measured(struct sc_rto *r, uint64_t rtt_ns)
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
	r->doublings = 0;
}

/* Something was not acknowledged in time: new events wait longer, too, until there is a measurement. Else a
 * round trip that has grown beyond the wait would never be measured, since everything would be sent twice.
 * Once in a wait. */
static inline void sc_rto_timed_out(struct sc_rto *r, uint64_t now_ns)
{
	if (now_ns - r->timed_out_ns < sc_rto_wait(r, r->doublings))
		return;
	r->doublings += r->doublings < SC_RTO_DOUBLINGS_MAX;
	r->timed_out_ns = now_ns;
}

#endif
