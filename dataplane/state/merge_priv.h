/* What the files of the merge share. Merge thread only. */
#ifndef SLUICE_MERGE_PRIV_H
#define SLUICE_MERGE_PRIV_H

#include "agg_plain.h"
#include "anomaly.h"
#include "cursor.h"
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
	uint32_t plain; /* agg_plain(): parts of cells of counters and decimal sums */
	bool simple;	/* no revisions, no anomalies: a row is all that comes of partials */
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

/* ---- definitions in force (merge_terms.c) ---- */

struct merge_terms {   /* of a partition, for rows of steps behind this one */
	uint64_t next; /* offset after the record that said so; 0: from a save */
	int64_t step_ms;
	uint32_t count;
	struct row_definition window[WINDOWS_MAX]; /* ascending by uid; from_ms holds for itself */
};

/* ---- queues of partitions (merge.c) ---- */

struct merge_entry { /* a record with rows that wait; the record follows */
	uint64_t offset;
	int64_t mark_before_ms; /* the partition's mark when it came */
	struct merge_window *window;
	uint64_t bytes;
};

#define MERGE_SLACK 32u /* bytes that can be read behind what a queue holds */

struct merge_part {
	struct bytes queue;
	size_t head;	      /* place of the first entry; queue.bytes: none waits */
	struct row_walk walk; /* the first row that waits, in that entry */
	uint32_t taken;	      /* rows of that entry's record before it. None waits: of the next record, see
				 merge_load() */
	bool any;	      /* a row came: the last one was this, waiting or not */
	struct row last;
	size_t last_key;    /* its place */
	uint32_t last_same; /* rows of its window and key so far */
	int64_t mark_ms;
	uint64_t next;		   /* offset after the last record */
	struct merge_terms *terms; /* ascending by step; what rows to come may need */
	uint32_t terms_count;
};

struct merge_ref { /* a partial that is being folded: in its partition's queue, until the next feed */
	const uint8_t *agg;
	uint32_t bytes;
};

/* A partition that takes part in a merge by keys (merge_group.c), and its first row, which part->walk does
 * not follow meanwhile. */
struct merge_lane {
	unsigned __int128 order; /* row_key_order() of its key; no more rows: all ones */
	const uint8_t *key;	 /* the aggregates follow */
	uint32_t key_bytes, agg_bytes;
	uint32_t flags;
	uint32_t left; /* rows behind this one in its record */
	struct merge_part *part;
	int64_t receive_ms;
	bool open;     /* it has a row */
	bool hashed;   /* its record has the row's hash */
	uint32_t leaf; /* of the tree */
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
	int64_t folded_ms;	    /* step of the last row that was folded here; or MERGE_NO_STEP */
	struct merge_bounds bounds; /* without such params */
	int64_t bound_until_ms;	    /* the bounds in force are for steps up to this one */
	uint64_t from_uid;	    /* the last answer of merge_from(): of this definition and step */
	int64_t from_step_ms, from_ms;
	struct keep keep;
	struct anomaly *anomaly;
	struct merge_ref *ref;	       /* partitions * MERGE_SAME_MAX */
	struct merge_lane *lane;       /* by partition */
	struct merge_lane **lane_tree; /* as `tree` */
	struct bytes first;	       /* a row and its key, as they stand in a record */
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
static inline bool merge_row_same(const struct row_walk *a, const struct row_walk *b)
{
	return !row_place_compare_at(&a->row, a->key, &b->row, b->key);
}
static inline struct record *merge_entry_record(const struct merge_entry *e)
{
	return (struct record *)(e + 1);
}
/* The row that waits first in a partition, or NULL. */
static inline const struct row_walk *merge_first(const struct merge_part *part)
{
	return part->head < part->queue.bytes ? &part->walk : NULL;
}
/* Takes that row; its bytes stay until the next feed. */
static inline void merge_take(struct merge_part *part)
{
	part->taken++;
	if (row_walk_next(&part->walk))
		return;
	part->head += merge_entry_at(part, part->head)->bytes;
	part->taken = 0;
	if (part->head < part->queue.bytes)
		row_walk_first(&part->walk, merge_entry_record(merge_entry_at(part, part->head)));
}
/* Another row waits first in a partition, or none: finds m->low. Of rows of one window and key that of the
 * lowest partition is low. */
void merge_head_changed(struct merge *m, uint32_t partition);
/* True if no more rows of this row's window and key, or before it, can come from the partition. */
bool merge_passed(const struct merge_part *part, const struct row_walk *row);
/* True if the open step is complete. */
bool merge_step_done(const struct merge *m);
/* The window of a definition; makes it. NULL with err: no such definition, no memory (*rc). */
struct merge_window *merge_window_of(struct merge *m, uint64_t uid, int *rc, struct err *err);
/* The bounds for rows of this step and on. */
int merge_bound_take(struct merge *m, int64_t step_ms, struct err *err);
int64_t merge_limit(const struct merge *m, const struct window_def *def, int64_t end_ms);

/* ---- definitions in force (merge_terms.c) ---- */

/* A mark that has been taken and names some. */
int merge_terms_feed(
	struct merge *m, uint32_t partition, const struct record *rec, uint64_t offset, struct err *err);
/* Windows of this row's definition that start before have not had all their events counted, in one of the
 * partitions at least. All have passed the row. */
int64_t merge_from(struct merge *m, const struct row *row);
/* Of a partition: what rows to come may need, of before merge_position(). */
void merge_terms_save(const struct merge *m, uint32_t partition, struct bytes *out);
int merge_terms_load(struct merge_part *part, struct cursor *c, struct err *err);
/* What is in force in both partitions at their ends, into the first. False: no memory. */
void merge_terms_join(struct merge_part *part, const struct merge_part *other);
bool merge_terms_copy(struct merge_part *part, const struct merge_part *from);

/* ---- folding (merge_fold.c, merge_group.c) ---- */

struct merged {
	struct merge_window *window;
	struct row row;		 /* without key and aggregates */
	const struct row *first; /* in m->first, with the key behind it */
	const uint8_t *sum;	 /* of the partials: packed; m->delta's, or that of the only one */
	uint32_t sum_bytes;
	uint64_t key_hash;
	int64_t receive_ms;
};
enum row_type merge_type(const struct window_def *def);
/* The partials' sum: of `count` of m->ref. */
int merge_refs_fold(struct merge *m, struct merged *g, uint32_t count, struct err *err);
int merge_cells_bad(const struct window_def *def, struct err *err);
static inline void merge_row_count(struct merge *m, int64_t step_ms, int64_t receive_ms)
{
	m->stats.rows_out++;
	m->open_step_ms = step_ms;
	if (receive_ms > m->open_receive_ms)
		m->open_receive_ms = receive_ms;
}
/* All rows of the lowest one's window and step, of a `simple` definition, which all partitions have passed.
 */
int merge_group(struct merge *m, struct err *err);

/* ---- alerts (merge_alert.c) ---- */

/* Appends the alert of a merged row as a record. */
void merge_alert_put(struct bytes *out, const struct window_def *def, const struct row *row,
	const struct anomaly_alert *alert, int64_t receive_time_ms);

#endif
