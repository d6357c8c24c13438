/* Made partial logs for the tests of the merge: windows of several kinds, random events in them, late ones
 * among them, spread over partitions by real cells and rows; and a driver that feeds them in any order. */
#ifndef SLUICE_MERGE_RIG_H
#define SLUICE_MERGE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bytes.h"
#include "merge.h"
#include "row.h"
#include "state_sample.h"

#define RIG_STEP_MS 1000
#define RIG_PARTS 8
#define RIG_DEFS 4
#define RIG_MEMORY (64u << 20)

/* splitmix64 */
uint64_t rig_random(uint64_t *seed);
uint32_t rig_below(uint64_t *seed, uint32_t n);

/* A definition by hand; freed by rig_def_free(). by: FIELD_NONE for no group. */
struct window_def *rig_def(uint64_t uid, enum window_kind kind, int64_t size_ms, int64_t lateness_ms,
	enum field_id by, const char *aggregates, const char *anomaly);
void rig_def_free(struct window_def *def);
struct rig_defs {
	uint32_t count;
	struct window_def *def[RIG_DEFS];
};
const struct window_def *rig_find(void *rig_defs, uint64_t uid);
void rig_defs_free(struct rig_defs *defs);

/* A one-part key. */
uint32_t rig_key(uint8_t *out, const char *text);

struct rig_log { /* records one after the other; offset of each = its number */
	struct bytes data;
	uint64_t count;
};
const struct record *rig_record(const struct rig_log *log, uint64_t offset);
/* Number of records; at[i]: the i-th. Caller frees. */
const struct record **rig_records(const struct bytes *data, uint64_t *count);

/* An event and the row that it went into. */
struct rig_event {
	struct row row; /* uid, start, end, step */
	uint32_t def, partition, key;
	uint64_t order;
	int64_t time_ms;
	double metric;
	int64_t amount;
	uint32_t user;
	bool bad;
};

struct rig {
	struct rig_defs defs;
	uint32_t partitions;
	struct rig_log log[RIG_PARTS];
	struct rig_event *event; /* sorted by row, then partition, then order */
	uint32_t events;
};
/* Makes everything from the seed. whole_numbers: sums of doubles are exact whatever their order. */
void rig_make(struct rig *rig, uint64_t seed);
void rig_free(struct rig *rig);
const char *rig_key_name(uint32_t key);

/* Adds the event to a cell. */
void rig_cell_add(const struct rig *rig, const struct rig_event *ev, void *cell, struct agg_arena *a);
/* Packs the cell of these events. */
void rig_pack(const struct rig *rig, const struct rig_event *const *ev, uint32_t count, struct bytes *out);

/* A merge and what it emitted. */
struct rig_merge {
	struct merge *m;
	struct bytes out;
	uint64_t emitted;
};
void rig_merge_start(struct rig_merge *rm, struct rig_defs *defs, uint32_t partitions, size_t memory_bytes);
void rig_merge_stop(struct rig_merge *rm);
/* Feeds everything as merge_wants() asks. */
void rig_merge_all(struct rig_merge *rm, const struct rig *rig);
/* Feeds in random order, with runs, saves and loads between; out stays one sequence. */
void rig_merge_random(struct rig_merge *rm, struct rig *rig, size_t memory_bytes, uint64_t seed, bool saves);

/* One record by hand. */
int rig_feed_row(struct rig_merge *rm, uint32_t partition, const struct row *row, const char *key,
	const void *agg, uint64_t offset);
int rig_feed_mark(struct rig_merge *rm, uint32_t partition, int64_t step_ms, uint64_t offset);
/* A mark that says that one definition is in force, or none (uid 0). */
int rig_feed_definition(struct rig_merge *rm, uint32_t partition, int64_t step_ms, uint64_t uid,
	int64_t from_ms, uint64_t offset);

#define RIG_HAND_UID 5
struct rig_hand { /* a merge fed by hand: windows of a step's length by source, with a count and a zscore */
	struct rig_defs defs;
	struct bytes packed[40]; /* cells of so many events */
	struct rig_merge rm;
};
void rig_hand_start(struct rig_hand *b, uint32_t partitions, int64_t lateness_ms, size_t memory_bytes);
void rig_hand_stop(struct rig_hand *b);
/* Window number w with n events, at the end of step number `step` (0: on time). What merge_feed() says. */
int rig_hand_feed(struct rig_hand *b, uint32_t partition, int64_t w, const char *key, uint32_t n,
	int64_t step, uint32_t revision, uint64_t offset);
/* Runs; returns how many records came out. */
uint64_t rig_hand_run(struct rig_hand *b);
/* The first value of a packed cell, a count. */
uint64_t rig_count(const struct agg_set *set, const uint8_t *packed, size_t bytes);

#endif
