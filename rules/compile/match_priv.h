/* A matcher: one worker's memory for matching one ruleset. Made by match_setup.c, used by match_run.c. */
#ifndef SLUICE_MATCH_PRIV_H
#define SLUICE_MATCH_PRIV_H

#include "ruleset_priv.h"

/* One chunk of gathered fields; larger bursts are scanned in several. */
#define GATHER_BYTES (64u << 10)
/* Copies are made in pieces of 16 bytes. */
#define GATHER_PAD 16
/* Between two fields. No valid UTF-8 holds it, but nothing relies on that; that it is no word character makes \b see
 * a field's edges as it sees a text's. */
#define GATHER_SEPARATOR 0xff
/* Raw hits of one scan before it is given up for a scan of each field. */
#define GATHER_HITS_PER_EVENT 64u
#define GATHER_HITS_MAX 4096u
#define HIT_NONE UINT32_MAX

/* A field in the gather buffer: bytes [start, end). */
struct gather_slot {
	uint32_t start, end;
	uint16_t event;
	uint8_t field;
	bool rescan; /* a hit that may have begun before the field: look at the field alone */
};

/* A match as Hyperscan reports it, then (lit set) as a link of its event's list. */
struct gather_hit {
	uint32_t pattern, end;
	uint32_t lit, next;
};

struct matcher {
	const struct ruleset *rs;
	hs_scratch_t *scratch;
	struct matcher_stats stats;

	uint8_t *gather; /* GATHER_BYTES + GATHER_PAD */
	struct gather_slot *slot;
	uint32_t slot_count;
	uint32_t slot_first[MATCH_EVENTS_MAX + 1]; /* event of the chunk -> its first slot */
	struct gather_hit *hit;
	uint32_t hit_count, hit_max;
	uint32_t head[MATCH_EVENTS_MAX]; /* event of the chunk -> its first hit */

	/* One event at a time. */
	uint64_t *bit;	   /* hit bits */
	uint32_t *touched; /* bits that are set */
	uint32_t touched_count;
	uint32_t scan_field; /* for the callback of a field's own scan */
	uint32_t *stamp;     /* rule -> event number when it was last looked at */
	uint32_t stamp_now;
	uint16_t *matched; /* rules that match */
	uint32_t matched_count;
	uint64_t *rule_bit; /* for sorting many; zero between uses */
	char *folded;	    /* a field in lower case */

	uint16_t *out; /* hit lists of one matcher_run() */
	uint32_t out_used;
	uint64_t *rule_hits;
};

#endif
