/* Counters of a worker's answers for ports with addresses: written by that worker only.
 * frames += answered + unsent; conflicts are beside: such a frame is dropped under its name. */
#ifndef SLUICE_NEIGHBOUR_STATS_H
#define SLUICE_NEIGHBOUR_STATS_H

#include <stdint.h>

struct neighbour_stats {
	uint64_t answered;
	/* beyond ANSWERS_PER_SECOND or longer than the MTU, or the port was busy or full, or there was no
	 * mbuf */
	uint64_t unsent;
	uint64_t conflicts;
	uint64_t conflict; /* the last one, in one word: neighbour_conflict_of() */
};

/* Who else claims an address of a port. */
struct neighbour_conflict {
	uint32_t port; /* index in the configuration */
	uint32_t own;  /* index of the address */
	uint8_t mac[6];
};

static inline uint64_t neighbour_conflict_word(const struct neighbour_conflict *c)
{
	uint64_t word = (uint64_t)c->port << 8 | c->own;

	for (uint32_t i = 0; i < 6; i++)
		word = word << 8 | c->mac[i];
	return word;
}

static inline struct neighbour_conflict neighbour_conflict_of(uint64_t word)
{
	struct neighbour_conflict c = {.port = (uint32_t)(word >> 56), .own = (uint32_t)(word >> 48) & 0xff};

	for (uint32_t i = 0; i < 6; i++)
		c.mac[i] = (uint8_t)(word >> (40 - 8 * i));
	return c;
}

#endif
