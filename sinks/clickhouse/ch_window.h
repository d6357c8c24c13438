/* Tables of windows, made from their definitions.
 *
 * Which table: a tumbling or hopping window whose name ends in _SIZE, its own size (source_5s, source_1m),
 * goes to agg_NAME with the other sizes of NAME (agg_source); one with another name to NAME_agg
 * (page_minute_agg); sessions and funnels to NAME. The column `window` tells sizes apart. Several definitions
 * may share a table, also a changed one with its predecessor: the table has the columns of all.
 *
 * Columns: tumbling and hopping windows have what merges by plain sums, minima and maxima (agg_column.h), so
 * that a query over any rows, of any partitions, nodes and revisions, adds up; sessions and funnels have
 * values. Each row has the address of its record.
 *
 * Owned by one thread. */
#ifndef SLUICE_CH_WINDOW_H
#define SLUICE_CH_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "agg_column.h"
#include "ch_table.h"
#include "err.h"
#include "window.h"

#define CH_NAME_BYTES 96
#define CH_LABELS_MAX (3 * AGG_MAX)
#define CH_ROLLUPS_MAX 8

struct ch_rollup {
	char size[32]; /* as 1h */
	int64_t size_ms;
	char name[CH_NAME_BYTES]; /* of its table */
	char view[CH_NAME_BYTES]; /* of the materialized view that fills it */
};

struct ch_window {
	const struct window_def *def; /* borrowed */
	char name[CH_NAME_BYTES];     /* of the table */
	char size[32];		      /* what its column `window` says */
	char token[CH_NAME_BYTES + 20];
	char order_by[2 * sizeof(config_str) + 128]; /* of names in quotes each byte may take two */
	bool merges;				     /* it has parts, not labels */
	uint32_t part_count;
	struct agg_column part[AGG_COLUMNS_MAX];
	uint32_t label_count;
	char label[CH_LABELS_MAX][AGG_COLUMN_NAME_BYTES];
	uint32_t rollup_count;
	struct ch_rollup rollup[CH_ROLLUPS_MAX];
	struct ch_table table; /* points into the above and into def */
	uint32_t checked;      /* bit i: server i of clickhouse.url has it */
};

/* *out is the caller's; def must outlive it. -EINVAL: a name that is taken, or two columns of one name. */
int ch_window_make(struct ch_window **out, const struct window_def *def, struct err *err);
void ch_window_free(struct ch_window *w);

#endif
