/* What the state stage must put out, computed the plain way: all events are kept, and each window looks at
 * all of them. Knows nothing of panes, tables and runs. */
#ifndef SLUICE_STAGE_MODEL_H
#define SLUICE_STAGE_MODEL_H

#include "stage_rig.h"

struct model_row {
	int64_t step_ms, start_ms, end_ms;
	uint64_t uid;
	uint32_t revision, flags;
	uint8_t key[64];
	uint32_t key_bytes;
	uint64_t count;
	__int128 sum; /* of amount */
	bool has_sum;
	double high; /* of metric */
	bool has_high;
	uint32_t last_page; /* of the event with the highest (time, offset) that has one */
	int64_t last_ms;
	uint64_t last_offset;
};

struct model_late {
	uint64_t offset, uid;
};

struct model {
	struct model_row *row; /* in row order */
	uint32_t rows, row_room;
	struct model_late *late;
	uint32_t lates, late_room;
	int64_t step_ms; /* where the watermark came to */
};

#define MODEL_AGGREGATES "count, sum(amount), max(metric), last(page)"

void model_make(struct model *m, const struct rig_stream *s, const struct window_plan *plan,
	uint64_t out_of_orderness_ms);
void model_free(struct model *m);
/* Compares with what a stage put out: rows, late events, marks. Values are compared where the definition has
 * MODEL_AGGREGATES (funnels: count). */
void model_compare(const struct model *m, const struct window_plan *plan, const struct bytes *out);

#endif
