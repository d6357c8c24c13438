/* An output log as the state stage writes it, with known records, for tests of the sinks that read it: the
 * n-th record of a partition follows from (partition, n) alone, so that a killed writer goes on where the log
 * ends, as the state stage does. */
#ifndef SLUICE_ROWS_RIG_H
#define SLUICE_ROWS_RIG_H

#include <signal.h>

#include "journal.h"
#include "sink.h"
#include "window.h"

#define ROWS_NODE "it's node 1"
#define ROWS_PARTITIONS 3u /* of the output log; the last has merged rows and alerts */

/* Windows of the records: in force; and one that is not any more, but in the store. */
enum rows_window { ROWS_PAGES, ROWS_VISITS, ROWS_BUY, ROWS_HIDDEN, ROWS_OLD, ROWS_WINDOWS };

/* What becomes of a record. */
enum rows_fate { ROWS_PASSED, ROWS_SUPPRESSED, ROWS_ROW, ROWS_ALERTED, ROWS_LATE };
struct rows_record {
	enum rows_fate fate;
	enum rows_window window; /* ROWS_ROW, ROWS_SUPPRESSED */
	int64_t count;		 /* of ROWS_PAGES and ROWS_OLD: what the row adds */
};

struct rows_rig {
	struct window_plan plan;
	struct window_def *def[ROWS_WINDOWS];
	struct window_store *store;
	struct journal *input, *output;
	struct handoff in, out;
};

/* Without a journal: for what reads logs offline. Ends the process on errors, as all here. */
void rows_rig_windows(struct rows_rig *rig);
/* After rte_eal_init(): opens or makes DIR/journal (no records), DIR/output, DIR/windows; fills env. */
void rows_rig_open(struct rows_rig *rig, const char *dir, struct sink_env *env);
void rows_rig_start(struct rows_rig *rig);
/* Appends `count` more records to each partition, with a pause after every 64; *stop ends it. */
void rows_rig_feed(
	struct rows_rig *rig, uint64_t count, uint32_t pause_ms, const volatile sig_atomic_t *stop);
void rows_rig_stop(struct rows_rig *rig); /* the writers */
void rows_rig_close(struct rows_rig *rig);

/* Record n of a partition, in *out; what it is. */
struct rows_record rows_rig_record(
	const struct rows_rig *rig, uint32_t partition, uint64_t n, struct bytes *out);

#endif
