/* Counters of a decoder, beside its drops: written by its worker only.
 * frames = datagrams + drops of frames + fragments_joined + fragments_held, and what neighbour_stats.h counts
 */
#ifndef SLUICE_DECODE_STATS_H
#define SLUICE_DECODE_STATS_H

#include <stdint.h>

struct decode_stats {
	uint64_t reassembled;	   /* IP packets put together from fragments */
	uint64_t fragments_joined; /* frames that went into these, but for the one that completed each */
	uint64_t fragments_held;   /* frames whose packets are not complete yet */
	uint64_t decapsulated;	   /* tunnels taken off */
};

#endif
