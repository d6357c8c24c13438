/* `rules try` from inside: rules_try.c reads and matches, rules_try_lane.c runs rules with state,
 * rules_try_pair.c compares. One thread. */
#ifndef SLUICE_RULES_TRY_PRIV_H
#define SLUICE_RULES_TRY_PRIV_H

#include "bytes.h"
#include "cep.h"
#include "journal.h"
#include "rules_try.h"

#define TRY_NEVER INT64_MAX
#define TRY_NO_TIME INT64_MIN
#define TRY_SEEN_MAX 1024u /* records of a burst, events and others */

struct try_run;
struct try_side;

/* ---- rules_try_pair.c: alerts of both sides ---- */
/* u64 to a small count, 0: not there. */
struct try_map {
	struct try_map_slot {
		uint64_t key;
		int32_t value;
	} * slot;
	size_t count, room; /* power of two */
};
/* The value's place; made with 0 if it is not there; NULL: the map is full. What is 0 again has to be given
 * back by try_map_tidy() before the next call. */
int32_t *try_map_at(struct try_map *map, uint64_t key);
void try_map_tidy(struct try_map *map, int32_t *value);
void try_map_free(struct try_map *map);

bool try_rows_make(struct try_run *t);
struct rules_try_row *try_row_find(const struct try_run *t, const char *id); /* or NULL */
/* An alert of a rule with state. */
void try_alert(struct try_run *t, enum rules_try_side side, const struct record *rec);
/* An alert of the row's rule on the event, on the sides of `mark` (1 << side). */
void try_event_alert(struct try_run *t, struct rules_try_row *row, unsigned mark, const struct event *ev,
	uint32_t partition, uint64_t offset);

/* ---- rules_try_lane.c: a partition's rules with state, of one side ---- */
struct try_shadow;

struct try_lane {
	struct try_side *side;
	struct cep *cep;
	struct bytes queue; /* struct try_item each */
	size_t at;	    /* of the next one */
	int64_t watermark_ms, receive_ms;
	bool counting; /* alerts are of the range */
	/* Shadows that wait for their place: by time, and by what the journal's shadow is known by. */
	struct try_shadow **heap, **bucket;
	size_t count, room, done, buckets;
	struct try_shadow *gone; /* out of the heap, to be freed when `op` has run */
	/* In order, to be run: a record, or NULL and a step. */
	struct try_op {
		const struct record *rec;
		uint64_t place;
		int64_t watermark_ms, receive_ms;
	} * op;
	size_t op_count;
	struct bytes alerts; /* of these */
	size_t bytes;
};

void try_lane_init(struct try_lane *lane, struct try_side *side, uint32_t partition);
void try_lane_free(struct try_lane *lane);
/* In the order of the partition's records: one for the rules, whose bytes are filled by the caller; a step of
 * the watermark; a shadow in the journal. */
struct record *try_lane_take(
	struct try_lane *lane, int64_t receive_ms, int64_t watermark_ms, uint64_t place, uint32_t bytes);
void try_lane_step(struct try_lane *lane, int64_t receive_ms, int64_t step_ms);
void try_lane_mark(struct try_lane *lane, int64_t receive_ms, int64_t watermark_ms, uint64_t mark);
/* A shadow that was made; mark 0: the journal has none. Filled by the caller before the next call. */
struct record *try_lane_shadow(
	struct try_lane *lane, int64_t receive_ms, uint64_t place, uint64_t mark, uint32_t bytes);
/* Runs what was received before horizon_ms. 0 or -errno with err. */
int try_lane_drain(struct try_lane *lane, int64_t horizon_ms, struct err *err);
/* What a shadow of this record is known by; not 0. */
uint64_t try_mark_of(const struct record *rec);

struct try_side {
	struct try_run *t;
	enum rules_try_side index;
	const struct ruleset *rs;
	struct matcher *matcher;
	uint32_t *row; /* by rule index */
	const uint16_t *hit[MATCH_EVENTS_MAX];
	uint16_t hit_count[MATCH_EVENTS_MAX];
	uint8_t actions[MATCH_EVENTS_MAX];
	struct try_lane *lane; /* P; NULL: no rule has state */
	/* Keyrings of the generation in hand that are keyed as this side's: bit i of [k]. */
	uint32_t alike[RULE_KEYRINGS_MAX];
};

struct try_run {
	const struct rules_try_params *params;
	struct rules_try_result *out;
	struct try_side side[TRY_SIDES];
	uint32_t partitions;
	int64_t start_ms;
	struct try_map pairs, keys;
	uint32_t *touched, touched_count; /* rows of the event in hand */
	uint8_t *mark;			  /* by row: 1 << side, of the event in hand */
};

struct try_part {
	struct journal_scanner *scanner;
	uint64_t next_offset; /* behind the last record that was read; 0: none */
	int64_t frontier_ms;  /* what comes was not received before it; TRY_NEVER: it has ended */
	int64_t watermark_ms, step_ms;
	uint64_t out_of_orderness_ms;
	int64_t unit_ms; /* of steps */
};

/* A record of the burst. */
struct try_seen {
	const struct record *rec;
	uint64_t offset;
	int64_t watermark_ms; /* before it */
	int64_t step_ms;      /* that it makes; TRY_NO_TIME */
	uint32_t event;	      /* index; UINT32_MAX: none that counts */
};

struct try_reader {
	struct try_run *t;
	struct try_part *part;
	uint32_t p; /* in hand */
	uint32_t generation;
	struct ruleset_stand live; /* of the block in hand; at none: not known */
	struct try_seen seen[TRY_SEEN_MAX];
	uint32_t seen_count;
	struct event event[MATCH_EVENTS_MAX], *burst[MATCH_EVENTS_MAX];
	uint32_t count;
	uint8_t *data;
	size_t data_used;
	int64_t drained_ms;
	uint64_t start_ns, told_ns;
};

/* ---- rules_try_match.c ---- */
#define TRY_DATA_BYTES (4u << 20) /* payloads of a burst */

/* A record of the partition in hand, in order, from a block that stays until try_burst_run(). */
void try_record_take(struct try_reader *r, const struct record *rec, uint64_t offset);
void try_burst_run(struct try_reader *r);
/* Raises the watermark. The step that it has come to, or TRY_NO_TIME. */
int64_t try_part_raise(struct try_part *part, int64_t to_ms);
uint64_t try_cpu_ns(void); /* of this thread */

/* Addresses of events as one number, which grows as evenly as the journal does: alerts remember where events
 * of a key lie from each other. */
static inline uint64_t try_place(const struct try_run *t, uint32_t partition, uint64_t offset)
{
	return offset * t->partitions + partition;
}

#endif
