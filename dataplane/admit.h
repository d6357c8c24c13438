/* Admission: how many datagrams a source address may send to a listener. A token bucket per source and
 * listener, held as the time at which the bucket will be full again (GCRA): an entry whose time has come says
 * no more than none at all.
 *
 * The table has a fixed size, and is never full: a new source takes the place of the one whose bucket is
 * fullest, so that the least is forgotten. Forged sources, each seen once or twice, so displace one another,
 * not those that are over their rate; and who is displaced begins with a full bucket: nobody is locked out.
 *
 * One worker's own. Stage file: nothing is allocated; time is the burst's. */
#ifndef SLUICE_ADMIT_H
#define SLUICE_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

#define ADMIT_WAYS 4 /* places that a source may have: two cache lines */

struct admit_source {
	uint8_t addr[16];
	uint64_t full_ns; /* monotonic */
	uint32_t listener;
	uint32_t unused;
};

struct admit_limit {
	uint64_t interval_ns; /* of one datagram; 0: any number */
	uint64_t depth_ns;    /* of a burst, without its last datagram */
};

struct admit {
	struct admit_limit limit[64]; /* by listener */
	uint32_t sets;		      /* power of two; 0: no listener has a limit */
	struct admit_source *source;  /* sets * ADMIT_WAYS, zeroed; borrowed */
	uint64_t *forgotten;	      /* counts sources whose bucket was not full, for want of room */
};

/* Limits and the number of sets by the configuration; the table is the caller's to make, of
 * admit_table_bytes(). */
void admit_set_up(struct admit *a, const struct config *cfg, uint64_t *forgotten);
uint64_t admit_table_bytes(const struct admit *a);

/* One datagram of the source; false: it is over its rate. */
bool admit_take(struct admit *a, uint32_t listener, const uint8_t addr[16], uint64_t now_ns);

#endif
