/* The stateful part of rules: what the state stage keeps for each key, and what a worker must know to send an
 * event to where its key lives. Made when a ruleset is compiled, then constant, borrowed from the ruleset;
 * any thread may read it.
 *
 * A stateful rule's tests are stateless: workers match them like any others and write the hits into the
 * record. Hit indexes are matches: below ruleset_rule_count() the rule with that index (its `when`), from
 * there on the steps of sequences and absences, up to ruleset_match_count(). The state stage looks only at
 * records that have such a hit, and takes it to the rule's state under the event's key.
 *
 * Order. RULE_ORDER_ARRIVAL: an event is judged when its record is read, in journal order; `now` of a key is
 * the highest event time that the rule has seen of it. Times are within each other if they are less than
 * within_ms apart: an event at now - within or before does not count; other ones do, but a step of a sequence
 * never follows one with a later event time. RULE_ORDER_EVENT_TIME: an event waits until the watermark has
 * passed it, and is judged in the order (event time, offset), as Flink does; events behind the watermark are
 * counted as late and not judged. */
#ifndef SLUICE_RULE_STATE_H
#define SLUICE_RULE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "event.h"

#define RULE_BY_MAX 4	     /* fields of a key */
#define RULE_STEPS_MAX 8     /* of a sequence, negated ones included */
#define RULE_KEYRINGS_MAX 16 /* different `by` of a ruleset */
#define RULE_STATES_MAX 1024 /* stateful rules of a ruleset */
#define RULE_EVIDENCE_MAX 32 /* events that an alert names */
#define RULE_TIMES_MAX 1000  /* repeats of a step */

enum rule_state_kind {		 /* in checkpoints: explicit, never reused */
	RULE_STATE_COUNT = 1,	 /* at_least events within within_ms */
	RULE_STATE_SUM = 2,	 /* values of `field` add up to at least `threshold` */
	RULE_STATE_DISTINCT = 3, /* at_least different values of `field` */
	RULE_STATE_RATE =
		4, /* at_least events in within_ms, and factor times as many as in the within_ms before */
	RULE_STATE_SEQUENCE = 5, /* step after step, the last within within_ms of the first */
	RULE_STATE_ABSENCE = 6,	 /* step[0], and no step[1] in within_ms after it: told by the watermark */
	RULE_STATE_TRAVEL = 7,	 /* two places too far from each other for the time between */
	RULE_STATE_ANOMALY = 8,	 /* a value of each every_ms is unlike what is usual (anomaly.h) */
	RULE_STATE_UNCHANGED =
		9, /* at_least events in a row, all within within_ms, with the same value of `field` */
};

enum rule_order { RULE_ORDER_ARRIVAL, RULE_ORDER_EVENT_TIME };

/* How a step follows the one before it: Flink CEP's next, followedBy, notNext, notFollowedBy. */
enum rule_follow { RULE_NEXT, RULE_FOLLOWED_BY, RULE_NOT_NEXT, RULE_NOT_FOLLOWED_BY };

/* What a hit index means to the state stage. */
#define RULE_STATE_NONE 0xffff /* no state: a stateless rule, or one that is not in force */
#define RULE_STEP_NONE 0xff    /* of a sequence: none of its steps */
struct rule_use {
	uint16_t state; /* index, or RULE_STATE_NONE */
	/* Sequence, absence: index in step[]; other kinds: 0. RULE_STEP_NONE: the event passes the `when` of
	 * a sequence that has one, which names the events among which `next` means the next one. */
	uint8_t step;
	uint8_t keyring; /* index; of that state */
};

/* After a match: RULE_SKIP_PAST_LAST forgets all partial matches of the key (Flink: skipPastLastEvent);
 * RULE_SKIP_NONE keeps them, so that every event that passes the first step begins a match of its own. */
enum rule_skip { RULE_SKIP_PAST_LAST, RULE_SKIP_NONE };

enum rule_anomaly { RULE_ZSCORE = 1, RULE_EWMA = 2, RULE_SEASONAL = 3 };
enum rule_side { RULE_SIDE_BOTH, RULE_SIDE_ABOVE, RULE_SIDE_BELOW };

struct rule_step {
	const char *name;
	uint16_t match;		       /* hit index */
	uint8_t follow;		       /* enum rule_follow; of step 0: no meaning */
	uint16_t times_min, times_max; /* repeats, relaxed among themselves; 1, 1 where negated */
};

/* A key that stateful rules have state under: `by` of one or more rules. */
struct rule_keyring {
	uint8_t count;
	uint8_t field[RULE_BY_MAX]; /* enum field_id, in the rule's order */
	/* FBIT of all that its rules read: what a shadow record carries. Of event_id and ts only the bits:
	 * their values stand in the record's head. */
	uint64_t fields;
	uint32_t types; /* 1 << enum event_type of events that its rules can match */
};

struct rule_state {
	uint64_t uid; /* hash of the rule's id and of all that is below: state is kept while it is the same */
	uint64_t uid_other; /* of the same rule as a canary; of a canary: in force */
	bool canary;	    /* its state is a canary's: alerts are counted and do not come out */
	uint16_t rule;	    /* index in the ruleset */
	uint16_t match;	    /* hit index of `when`; sequence, absence: of step[0] */
	uint8_t kind;	    /* enum rule_state_kind */
	uint8_t order;	    /* enum rule_order; absence, anomaly, unchanged: always event time */
	uint8_t keyring;    /* index */
	uint8_t skip;	    /* enum rule_skip; sequence */
	int64_t within_ms;
	int64_t suppress_ms; /* after an alert of a key: none for so long in event time; 0: off */
	uint8_t field;	     /* enum field_id: sum, distinct, unchanged, anomaly of a value; FIELD_NONE */
	bool decimal;	     /* of field: threshold in millionths, else threshold_number */
	int64_t threshold;   /* sum */
	double threshold_number;
	uint64_t at_least; /* count, distinct, rate, unchanged; anomaly: events of a bucket that may alert */
	double factor;	   /* rate */
	uint32_t step_count;
	struct rule_step step[RULE_STEPS_MAX];
	double speed_kmh, distance_km_min; /* travel: faster than that, and at least so far */
	uint8_t place;			   /* travel: enum field_id of an ISO 3166 alpha-2 country */
	uint8_t anomaly;		   /* enum rule_anomaly */
	uint8_t side;			   /* anomaly: enum rule_side, of what is usual */
	int64_t every_ms, period_ms;	   /* anomaly: bucket; seasonal: period */
	uint32_t windows;		   /* zscore: buckets looked back on */
	double alpha, deviations;	   /* ewma; all: how many standard deviations are too many */
	uint32_t samples_min;		   /* anomaly: buckets before it may alert */
	uint32_t evidence_max;		   /* events that an alert names, at most RULE_EVIDENCE_MAX */
	/* Bounds; what they cost is counted: the least recently used key goes first, then is as new. */
	uint64_t keys_max;	   /* of a partition */
	uint64_t memory_bytes_max; /* of a partition, logical */
	uint32_t events_max;	   /* of a key: remembered events, values or partial matches */
};

#endif
