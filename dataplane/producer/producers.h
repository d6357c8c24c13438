/* What a worker knows of the producers that count their events (docs/protocol.md): which sequences came,
 * which came again, which are missing. A table of fixed size, sets of a few places each; when a set is full
 * the producer that was heard least lately makes room, and is counted. Written by its worker alone; the
 * control thread copies single producers while they may change (each word is whole). */
#ifndef SLUICE_PRODUCERS_H
#define SLUICE_PRODUCERS_H

#include <stdbool.h>
#include <stdint.h>

#define PRODUCER_WINDOW 1024u /* sequences below the highest that are told apart */
#define PRODUCER_WORDS (PRODUCER_WINDOW / 64)
#define PRODUCER_JUMP_MAX (1ull << 32) /* a higher jump is a new count, not a loss */

struct producer {
	uint64_t id;   /* 0: the place is free */
	uint64_t what; /* listener index << 16 | source port */
	uint8_t src_addr[16];
	uint64_t first, high;	       /* sequences: the first that came of this count, the highest */
	uint64_t seen[PRODUCER_WORDS]; /* bit (sequence % window) of the last PRODUCER_WINDOW ones */
	uint64_t datagrams, events;    /* events: first arrivals */
	uint64_t repeated;	       /* arrivals of what came before */
	uint64_t late; /* so far below the highest that nobody knows: counted as missing, or a repetition */
	uint64_t missing; /* never came while PRODUCER_WINDOW later ones did */
	uint64_t dropped; /* came and was dropped by the worker: the sender has to repeat them */
	uint64_t jumps;	  /* counts that began anew */
	int64_t last_ms;  /* receive time */
	uint64_t path;	  /* the worker's: hash of where answers go, as told to the acker */
	uint64_t path_ns; /* the worker's: when */
};
_Static_assert(sizeof(struct producer) % 8 == 0, "copied by words");

struct producers {
	struct producer *place;
	uint32_t sets; /* power of two */
	uint64_t evicted;
};

/* Room for at least so many. 0 or -ENOMEM. */
int producers_init(struct producers *t, uint32_t count);
void producers_free(struct producers *t);

/* The place of a producer, made if there is none. */
struct producer *producers_get(struct producers *t, uint64_t id, uint8_t listener);

/* NULL: it is not known (any longer). */
struct producer *producers_find(struct producers *t, uint64_t id, uint8_t listener);

/* Events with the sequences first to first + count - 1 came. */
void producer_count(struct producer *p, uint64_t first, uint32_t count, int64_t now_ms);

/* Sequences within the window that have not come, so far. */
uint64_t producer_open(const struct producer *p);

static inline uint32_t producers_capacity(const struct producers *t)
{
	return t->place ? t->sets * 4 : 0;
}

/* Copies place i; false: it is free, or changed hands meanwhile. Control thread. */
bool producers_copy(const struct producers *t, uint32_t i, struct producer *out);

#endif
