/* What the files of the merge share. Merge thread only. */
#ifndef SLUICE_MERGE_PRIV_H
#define SLUICE_MERGE_PRIV_H

#include "anomaly.h"
#include "merge.h"
#include "merge_table.h"
#include "row.h"

#define MERGE_QUEUE_BYTES (1u << 20) /* of a partition, beyond what must be known for the next row */
#define MERGE_SAME_MAX 64	     /* rows of one window and key in one step of a partition */
#define MERGE_ARENA_BYTES (16u << 20)
#define MERGE_KEY_MAX 8192 /* bytes of a row's key */
#define MERGE_NO_STEP INT64_MIN

/* ---- retained windows (merge_keep.c) ---- */

struct merge_window { /* of one definition */
	const struct window_def *def;
	bool lost; /* a window was put out for lack of memory; this one and all before it in order are gone */
	int64_t lost_end_ms, lost_start_ms;
	struct bytes lost_key;
};

struct kept {
	struct merge_node node;
	struct merge_window *window;
	int64_t limit_ms, end_ms, start_ms;
	uint32_t revision, flags;
	uint32_t key_bytes, agg_bytes;
	uint8_t *agg;
	uint8_t key[];
};

struct keep {
	struct merge_table table;
	struct kept **heap; /* by (limit, uid, end, start, key) */
	size_t count, capacity;
	size_t bytes, bytes_max;
};

void keep_free(struct keep *k);
/* That of the heap; within a definition, that of rows. */
int keep_compare(const struct kept *a, const struct kept *b);
struct kept *keep_find(const struct keep *k, const struct merge_window *w, const struct row *row);
/* True if the row's window may have been here before it was put out. */
bool keep_lost(const struct merge_window *w, const struct row *row);
/* False: no memory. */
bool keep_put(struct keep *k, struct merge_window *w, const struct row *row, const struct kept *values,
	const uint8_t *agg, uint32_t agg_bytes);
bool keep_change(struct keep *k, struct kept *e, const uint8_t *agg, uint32_t agg_bytes);
/* Forgets windows whose lateness ended before this step. */
void keep_expire(struct keep *k, int64_t step_ms);
/* Puts out the oldest until the bound holds. False: no memory. */
bool keep_bound(struct keep *k);

/* ---- queues of partitions (merge.c) ---- */

struct merge_entry { /* a row that waits; the record follows */
	uint64_t offset;
	int64_t mark_before_ms; /* the partition's mark when it came */
	struct merge_window *window;
	uint32_t same; /* rows of its window and key so far */
	uint32_t bytes;
};

struct merge_part {
	struct bytes queue;
	size_t head, last; /* places of entries; head = queue.bytes: none waits. last: the latest, waiting or
			      not */
	bool any;	   /* there is a last one */
	int64_t mark_ms;
	uint64_t next; /* offset after the last record */
};

struct merge_ref { /* a partial that is being folded: in its partition's queue, until the next feed */
	const struct row *row;
	struct record *rec;
};

struct merge {
	struct merge_params params;
	stage_emit emit;
	void *emit_arg;
	struct merge_part *part;
	int low;	 /* partition with the lowest row that waits, or -1 */
	int *tree;	 /* winners: [1] of all, [leaves + p] partition p; -1: none waits there */
	uint32_t leaves; /* a power of two, at least partitions */
	struct merge_window **window; /* ascending by uid */
	uint32_t windows;
	int64_t open_step_ms; /* has rows out, but no mark yet; or MERGE_NO_STEP */
	int64_t open_receive_ms;
	struct keep keep;
	struct anomaly *anomaly;
	struct merge_ref *ref; /* partitions * MERGE_SAME_MAX */
	struct agg_arena *arena;
	void *cell;
	size_t cell_bytes;
	struct bytes delta, full, out, text;
	struct merge_stats stats;
};

static inline struct merge_entry *merge_entry_at(const struct merge_part *part, size_t at)
{
	return (struct merge_entry *)(part->queue.data + at);
}
static inline struct merge_entry *merge_head(const struct merge_part *part)
{
	return part->head < part->queue.bytes ? merge_entry_at(part, part->head) : NULL;
}
static inline bool merge_row_same(const struct row *a, const struct row *b)
{
	return !row_place_compare(a, b);
}
/* Another row waits first in a partition, or none: finds m->low. Of rows of one window and key that of the
 * lowest partition is low. */
void merge_head_changed(struct merge *m, uint32_t partition);
/* True if no more rows of this row's window and key, or before it, can come from the partition. */
bool merge_passed(const struct merge_part *part, const struct row *row);
/* True if the open step is complete. */
bool merge_step_done(const struct merge *m);
/* The window of a definition; makes it. NULL with err: no such definition, no memory (*rc). */
struct merge_window *merge_window_of(struct merge *m, uint64_t uid, int *rc, struct err *err);
int64_t merge_limit(const struct merge *m, const struct window_def *def, int64_t end_ms);
void merge_refresh(struct merge *m);

/* ---- alerts (merge_alert.c) ---- */

/* Appends the alert of a merged row as a record. */
void merge_alert_put(struct bytes *out, const struct window_def *def, const struct row *row,
	const struct anomaly_alert *alert, int64_t receive_time_ms);

static inline struct record *merge_entry_record(const struct merge_entry *e)
{
	return (struct record *)(e + 1);
}

static inline const struct row *merge_entry_row(const struct merge_entry *e)
{
	return (const struct row *)(merge_entry_record(e) + 1); /* a valid row has nothing between them */
}

#endif
