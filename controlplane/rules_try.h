/* `rules try`: two rulesets side by side over the events of a journal, one as if it had been in force, one to
 * compare with. Reads files only, beside a running daemon or without one; nothing is written, live traffic is
 * not touched. One thread; owns all its memory.
 *
 * Rules on single events see the events. Rules with state see them as the state stage would have: under their
 * keys, in the partitions of their keys, with these partitions' watermarks and steps. Which events come to
 * another partition's key, and when, depends on the ruleset; so the shadow records are made anew
 * (rule_shadow.h):
 *
 * - Where the journal has the shadow of an event under the same key, which it has if a rule in force then was
 *   keyed alike and was hit, the event stands where that record stands. Rules that were in force thus see
 *   exactly what they saw, in order of arrival as well as of event time. Where no event is found for a shadow
 *   (it was lost, or the rule tried is not hit), the shadow is nothing.
 * - Others stand before the first record of the key's partition that was received later than the event; those
 *   of one millisecond by offset, then partition. Of these the order among events that were received in the
 *   same milliseconds in different partitions is not known, and theirs may not be what it would have been.
 *
 * State is empty at `start`, which lies `warm_up_ms` before `from_ms`; alerts count from `from_ms` on. Events
 * that a rule dropped are not in the journal, so that what they would have alerted on cannot be told.
 *
 * Memory: the events that rules with state take out of about half a second of receive time, at most about
 * RULES_TRY_QUEUE_BYTES, beyond which no later records are waited for; the state of both rulesets, bounded by
 * their `limits`; alerts that one side alone has, keys, examples: RULES_TRY_PAIRS_MAX. */
#ifndef SLUICE_RULES_TRY_H
#define SLUICE_RULES_TRY_H

#include "err.h"
#include "record.h"
#include "ruleset.h"

#define RULES_TRY_QUEUE_BYTES (128u << 20)
#define RULES_TRY_PAIRS_MAX (1u << 21) /* of alerts, and of keys, each */

enum rules_try_side { TRY_NOW, TRY_THEN, TRY_SIDES }; /* to compare with; tried */

struct rules_try_progress {
	uint64_t events;    /* taken, those of the warm-up included */
	int64_t receive_ms; /* of these all before it */
	double seconds;
};

struct rules_try_params {
	const char *journal_dir, *checkpoint_dir;
	const struct ruleset *rules[TRY_SIDES]; /* borrowed */
	struct ruleset_store *store; /* of the journal; NULL: where its shadows belong is not known */
	int64_t from_ms, to_ms;	     /* receive time: [from, to) */
	int64_t warm_up_ms;	     /* before `from`; -1: what the rules look back on */
	/* Of the watermark, where neither a checkpoint nor the journal says how it was. */
	uint64_t out_of_orderness_ms;
	int64_t step_ms;
	uint64_t examples;  /* of each rule */
	size_t queue_bytes; /* 0: RULES_TRY_QUEUE_BYTES */
	void (*progress)(
		void *arg, const struct rules_try_progress *now); /* every few seconds; may be NULL */
	void (*fault)(void *arg, const char *text);		  /* of the journal; may be NULL */
	void *arg;
};

/* An alert that one side alone has. */
struct rules_try_example {
	enum rules_try_side side;
	struct record *alert; /* ROW_RULE_ALERT; addresses of its evidence are the events' own */
	/* NULL: of a rule on single events; then the event. */
	uint32_t partition;
	uint64_t offset;
	uint8_t event_id[16], type;
	int64_t time_ms;
	uint64_t print; /* of the alert, for pairing */
};

/* A rule of either side. */
struct rules_try_row {
	const char *id;
	bool stateful;
	uint64_t alerts[TRY_SIDES];
	uint64_t gained, lost; /* alerts of one side alone: by rule, key, first and last event time */
	/* Rules with state: different keys with alerts. */
	uint64_t keys_gained, keys_lost, keys_same;
	/* At the end of the range, of each side: events that wait for the watermark; sequences that have
	 * begun, absences that wait; late events, evicted keys and what was cut on the way. */
	uint64_t waiting[TRY_SIDES], partials[TRY_SIDES], late[TRY_SIDES], evictions[TRY_SIDES],
		cut[TRY_SIDES];
	struct rules_try_example *example;
	uint32_t example_count;
};

struct rules_try_result {
	struct rules_try_row *row; /* ascending by id */
	uint32_t row_count;
	uint64_t events;	 /* in the range */
	uint64_t warm_up_events; /* before it */
	double seconds;		 /* that it took */
	int64_t start_ms;
	uint64_t match_ns[TRY_SIDES], state_ns[TRY_SIDES]; /* CPU, warm-up included */
	uint64_t keys[TRY_SIDES], memory_bytes[TRY_SIDES]; /* of rules with state, at the end */
	/* Events under keys of other partitions: placed by the journal's shadow, by time, and by time
	 * although a shadow was looked for. */
	uint64_t placed[TRY_SIDES], timed[TRY_SIDES], missed[TRY_SIDES];
	uint64_t trimmed;	     /* records that retention took away before they were read */
	uint64_t unpaired;	     /* alerts beyond RULES_TRY_PAIRS_MAX: taken for alerts of one side */
	int64_t lowest_watermark_ms; /* of the partitions, at the end; INT64_MIN: none */
	int64_t step_ms;
	uint64_t out_of_orderness_ms;
	bool terms_known; /* these two are the journal's */
};

/* 0, or -errno with err; *out is good in both cases and to be freed. Damage ends a partition and is reported
 * to fault. */
int rules_try(const struct rules_try_params *params, struct rules_try_result *out, struct err *err);
void rules_try_free(struct rules_try_result *out);

/* What the rules look back on at most, at most RULES_TRY_LOOK_BACK_MAX_MS. */
#define RULES_TRY_LOOK_BACK_MAX_MS (7 * 86400000ll)
int64_t rules_try_look_back(const struct ruleset *rs);

#endif
