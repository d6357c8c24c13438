/* Stateful rules over the records of a partition: hits in, alerts out. A pure function of the records, the
 * generations' rules and the watermark's steps: no clock, no thread, no I/O, no hash order; the same bytes in
 * every replay, and across a save and load at any record. One thread, the stage's; owns all its memory.
 *
 * A time distance is within a rule's `within` if it is below it, as in Flink: events at t and t + within_ms
 * are too far from each other. docs/rules-state.md says what each kind of rule does with its events; here is
 * what all have in common.
 *
 * Events. A hit takes an event to the state of its rule under the event's key. An event that has no key (a
 * field of it is missing), or one that is too long, or not the field that the rule adds up or compares, is
 * counted (no_key, no_value) and is nothing to the rule. An event of another partition's key is skipped: its
 * shadow record comes to the partition where the key lives. arrival     judged when the record is read. `now`
 * of a key is the highest event time seen of it; an event at or before now - within is counted as late and
 * not judged. event_time  waits; judged when the watermark's step has passed it, in the order (event time,
 * offset); an event behind the watermark is counted as late and not judged. Alerts of arrival come out with
 * the event, others at the step, in the order (event time, offset); those that say that something did not
 * come, or that a bucket is over, after them, key by key in the order of (first end, key).
 *
 * Keys are forgotten (expiries) when the step has reached now + within and the end of suppression. A key that
 * is one too many (keys_max), or for which there is no memory (memory_bytes_max), takes the place of the one
 * that was used least recently (evictions), with all that waits for it. Of a key at most events_max items are
 * remembered; what exceeds them costs the oldest (cut), in sequences the new one.
 *
 * Suppression: after an alert of a key at event time t none of it comes out before t + suppress_ms
 * (suppressed).
 */
#ifndef SLUICE_CEP_H
#define SLUICE_CEP_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "record.h"
#include "rule_state.h"

#define CEP_TEXT_BYTES 256 /* of a rule's id or title in alerts; longer ones are cut */
#define CEP_VERSION_BYTES 17

/* A rule with state, borrowed until the call that asked for it has returned. */
struct cep_rule {
	const struct rule_state *state;
	const struct rule_keyring *keyring;
	const char *id, *title, *severity;
	bool alert;	  /* false: counted, nothing comes out */
	uint64_t content; /* of all that the rule says: tells which state goes on, see cep_switch() */
};

/* What the stage needs of a generation of rules. */
struct cep_rules {
	char version[CEP_VERSION_BYTES];
	uint32_t count;
	struct cep_rule rule[RULE_STATES_MAX]; /* by state index */
	uint32_t match_count;
	const struct rule_use *use; /* by hit index, match_count of them; borrowed like the rest */
	/* Of who filled it: gives back what is borrowed, when it has been looked at. NULL: nobody waits for
	 * it.
	 */
	void (*done)(const struct cep_rules *rules);
	void *lender;
	const void *lent;
};
/* Fills *out. -errno with err: the generation is not there; whoever needs it cannot go on. */
typedef int (*cep_rules_get)(void *arg, uint32_t generation, struct cep_rules *out, struct err *err);

struct cep_params {
	uint32_t partition;
	cep_rules_get rules;
	void *rules_arg;
	/* Takes an alert, a record of kind RECORD_ROW and type ROW_RULE_ALERT. offset: of the event that it
	 * came with; UINT64_MAX: of a step. Non-zero ends the call with it. */
	int (*emit)(void *arg, uint64_t offset, const struct record *rec);
	void *arg;
};

struct cep;
struct cep *cep_new(const struct cep_params *params);
void cep_free(struct cep *cep);

/* From here on the rules of this generation are in force. A rule with the uid of one that was in force keeps
 * its state; others start empty, or are dropped. Canaries (rule_state.canary) have state of their own beside
 * that of the rule in force. A rule takes over the state of its canary, and the counters of what was in
 * force, if the canary said the same (content) and what was in force did not, or was not there. A canary that
 * says something else than before keeps its state and counts from 0. */
int cep_switch(struct cep *cep, uint32_t generation, struct err *err);
/* The generation in force; 0: none yet. */
uint32_t cep_generation(const struct cep *cep);

/* Where records come from, until the next call. generation: what their hits mean. */
struct cep_place {
	uint32_t generation;
	int64_t receive_ms; /* of the block: goes into alerts */
};
/* A RECORD_EVENT or shadow record with hits, with times of at most 2^52 ms either side of 0. watermark_ms:
 * before it. The alerts of an event may come out in a later call, in order; the record is not looked at any
 * more. 0, what emit returned, or -EINVAL with err: a hit that its generation does not have, or no such
 * generation. */
int cep_take(struct cep *cep, const struct cep_place *place, const struct record *rec, uint64_t offset,
	int64_t watermark_ms, struct err *err);
/* The alerts of all events that were taken. Before a switch and a save, and whenever what others put out has
 * to stand behind them. */
int cep_flush(struct cep *cep);
/* The watermark has come to step_ms, which grows. 0 or what emit returned. */
int cep_reach(struct cep *cep, int64_t step_ms, int64_t receive_ms);

/* ---- saved state: canonical ---- */
void cep_save(const struct cep *cep, struct bytes *out);
/* Into a fresh one. Rules come from params.rules. -EINVAL for bytes that are no saved state of this version,
 * or for a generation that is not there; hostile bytes are refused, it is then only good for freeing. */
int cep_load(struct cep *cep, const uint8_t *data, size_t bytes, struct err *err);
/* As stage_saved_newer(). */
bool cep_saved_newer(const uint8_t *data, size_t bytes, uint32_t *is, uint32_t *reads);
/* True if these bytes are a saved state without any rule: whoever has no rulesets may do without it. */
bool cep_saved_empty(const uint8_t *data, size_t bytes);

/* Into a fresh one, one after the other, saved states of all partitions that were; of each the keys that are
 * now of `partition` among `partitions`, and, if counts is set, the counters. The newest generation holds.
 * What was saved says where its events were: those addresses mean nothing any more, alerts name the ids
 * alone. */
struct cep_gather {
	uint32_t partitions;
	uint32_t index, count; /* this state among those that are gathered */
	bool counts;
};
int cep_load_more(
	struct cep *cep, const struct cep_gather *gather, const uint8_t *data, size_t bytes, struct err *err);
/* After the last of them: numbers keys anew, in the order of when they were used last. */
void cep_gather_end(struct cep *cep);

/* ---- numbers: written by the stage's thread, each word read racily by anyone ---- */
struct cep_stats {
	uint64_t uid;
	uint64_t hits; /* events that came to this rule's state, late ones and those without key included */
	uint64_t no_key, no_value;
	uint64_t late;
	uint64_t alerts, suppressed;
	uint64_t keys, partials;  /* now; partials: sequences that have begun, absences that wait */
	uint64_t waiting;	  /* events, now */
	uint64_t evictions;	  /* keys */
	uint64_t evicted_waiting; /* events that waited for such a key */
	uint64_t expiries;	  /* keys */
	uint64_t cut;		  /* remembered items given up for events_max */
	uint64_t memory_bytes;	  /* logical, now */
	/* Of a canary: what the rule with state that is in force under its id counted in the same time. */
	uint64_t hits_in_force, alerts_in_force;
};
uint32_t cep_count(const struct cep *cep);
/* i < cep_count(), by uid. */
const struct cep_stats *cep_stats(const struct cep *cep, uint32_t i);
const char *cep_rule_id(const struct cep *cep, uint32_t i);
struct cep_totals {
	uint64_t rules_dropped; /* by switches: they had state */
	uint64_t keys_dropped;	/* of these */
	uint64_t not_in_force;	/* hits of rules of another generation */
	uint64_t not_here;	/* hits of events whose key lives in another partition */
};
const struct cep_totals *cep_totals(const struct cep *cep);

#endif
