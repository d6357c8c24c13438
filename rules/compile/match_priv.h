/* A matcher: one worker's memory for matching one ruleset. Made by match_setup.c, used by match_run.c. */
#ifndef SLUICE_MATCH_PRIV_H
#define SLUICE_MATCH_PRIV_H

#include "number.h"
#include "ruleset_priv.h"

/* Gathered values of one subject; more are scanned in several goes. One value always fits. */
#define GATHER_BYTES (128u << 10)
/* Copies are made in pieces of 16 bytes. */
#define GATHER_PAD 16
/* Between two values. No valid UTF-8 holds it, but nothing relies on that; that it is no word character makes
 * \b see a value's edges as it sees a text's. */
#define GATHER_SEPARATOR 0xff
/* Raw hits of one scan before it is given up for a scan of each value. */
#define GATHER_HITS_PER_VALUE 64u
#define GATHER_HITS_MAX 4096u
#define LINKS_MAX 8192u
#define LINK_NONE UINT32_MAX

/* A value in the gather buffer: bytes [start, end). */
struct gather_slot {
	uint32_t start, end;
	uint32_t event;
};

/* A match as Hyperscan reports it. */
struct gather_hit {
	uint32_t lit, end;
};

/* A hit bit in an event's list. */
struct hit_link {
	uint32_t lit, next;
};

/* Expressions that PCRE2 confirms: its memory, and how far a search may go. Without memory if there are none.
 */
#define CONFIRM_STEPS_MAX 10000u
#define CONFIRM_HEAP_KIB 128u
/* PCRE2 takes up to a KiB more than its limit says. */
#define CONFIRM_FRAMES_BYTES ((CONFIRM_HEAP_KIB + 1) << 10)
#define CONFIRM_CONTEXTS_BYTES 8192u
struct confirm {
	uint8_t *arena; /* contexts, then frames, twice: while they grow there are the old and the new ones */
	size_t used;	/* by the contexts */
	bool ready;	/* what is asked for from now on is for frames */
	bool taken[2];
	pcre2_general_context *memory;
	pcre2_match_context *limits;
	pcre2_match_data *found;
};

struct matcher {
	const struct ruleset *rs;
	hs_scratch_t *scratch;
	struct matcher_stats stats;

	/* One subject at a time. */
	uint8_t *gather; /* GATHER_BYTES + GATHER_PAD */
	uint32_t gather_used;
	struct gather_slot slot[MATCH_EVENTS_MAX];
	uint32_t slot_count;
	struct gather_hit *hit; /* GATHER_HITS_MAX */
	uint32_t hit_count, hit_max;
	bool rescanned; /* in this burst */

	/* What the fields' scans leave for each event. */
	struct hit_link *link; /* LINKS_MAX */
	uint32_t link_count;
	uint32_t head[MATCH_EVENTS_MAX];
	struct subject_set rescan[MATCH_EVENTS_MAX]; /* values to be scanned alone */

	/* Attributes; without memory if the ruleset names none. */
	uint64_t attr_mask[MATCH_EVENTS_MAX]; /* bit per attribute that the event has */
	struct attr_value *attr;	      /* MATCH_EVENTS_MAX times attrs.count */
	uint8_t *attr_text;		      /* EVENT_BYTES_MAX: one value, decoded */
	struct number_memory numbers;
	uint32_t now; /* index of the event that is looked at */

	/* One event at a time. */
	uint64_t *bit;	   /* hit bits */
	uint32_t *touched; /* bits that are set */
	uint32_t touched_count;
	uint32_t *stamp; /* match -> event number when it was last looked at */
	uint32_t stamp_now;
	uint16_t *matched; /* those that hold */
	uint32_t matched_count;
	uint64_t *rule_bit; /* for sorting many; zero between uses */
	char *folded;	    /* a value in lower case */
	struct confirm confirm;

	uint16_t *out; /* hit lists of one matcher_run() */
	uint32_t out_used;
	uint64_t *rule_hits;
};

/* ---- match_confirm.c, match_confirm_setup.c ---- */
bool confirm_setup(struct confirm *confirm, const struct ruleset *rs);
void confirm_end(struct confirm *confirm);
/* Takes back the bits of the event in work that PCRE2 does not confirm. */
void confirm_bits(struct matcher *m, const struct event *ev);

/* ---- match_attr.c ---- */
/* Finds the attributes of a burst's events. */
void attrs_look(struct matcher *m, struct event *const *ev, uint32_t n);
/* Text of an attribute that attr_mask has; NULL if it is an object or an array. Escaped text is decoded to
 * attr_text, where it stays until the next call. */
const uint8_t *attr_text(
	struct matcher *m, const struct event *ev, uint32_t k, uint32_t attr, uint32_t *bytes);
/* False if it is no number, or one beyond the largest double. */
bool attr_number(const struct matcher *m, const struct event *ev, uint32_t k, uint32_t attr, double *number);

static inline const struct attr_value *attr_value_of(const struct matcher *m, uint32_t k, uint32_t attr)
{
	return &m->attr[k * m->rs->attrs.count + attr];
}

#endif
