/* What journal tests share: EAL, a fresh directory, lanes, and a worker's part played by the test thread. */
#ifndef SLUICE_JOURNAL_RIG_H
#define SLUICE_JOURNAL_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "batch.h"
#include "eal_rig.h"
#include "journal.h"

struct rig {
	char dir[128];
	struct journal_params params;
	struct handoff handoff;
	struct journal *journal;
	bool running;
	uint64_t event_bytes; /* raw bytes of an event */
	bool noise;	      /* of which those behind the id's place look random */
};

/* A new directory under $SLUICE_TEST_DIR or /tmp; small segments and blocks; nothing open yet. */
void rig_init(struct rig *rig, uint32_t partitions, uint32_t workers);
void rig_free(struct rig *rig); /* and removes the directory */
void rig_open(struct rig *rig); /* asserts that it works */
int rig_open_rc(struct rig *rig, struct err *err);
void rig_start(struct rig *rig);
void rig_stop(struct rig *rig);
void rig_close(struct rig *rig);
/* A clean run's end and a new one's beginning. */
void rig_restart(struct rig *rig);

/* 16 bytes that name event number `id`. */
void rig_id(uint8_t out[16], uint64_t id);
uint64_t rig_id_number(const uint8_t id[16]);

/* An open batch, waiting until the writer has one free. */
struct batch *rig_batch(struct rig *rig, uint32_t worker, uint32_t partition);
/* Appends an event with this id; false if the batch is full. id 0: no event_id. */
bool rig_event(struct rig *rig, struct batch *b, uint64_t id, int64_t time_ms, int64_t receive_ms);
bool rig_refused(struct rig *rig, struct batch *b, int64_t receive_ms);
void rig_seal(struct rig *rig, struct batch *b);
/* `count` events with ids from `first` on, by worker 0 or the one given. */
void rig_feed(struct rig *rig, uint32_t worker, uint32_t partition, uint64_t first, uint64_t count);
/* Waits until the writer has returned all batches and everything taken is durable (or failed). */
void rig_settle(struct rig *rig, uint32_t partition);
struct journal_partition_stats rig_stats(struct rig *rig, uint32_t partition);

/* Ids of all events of a partition in order, by a reader from the oldest offset on; malloc'ed. Checks that
 * offsets are dense. */
struct rig_log {
	uint64_t *id;
	uint64_t count;
	uint64_t end_offset;
	uint64_t kinds[8];
};
void rig_read(struct rig *rig, uint32_t partition, struct rig_log *log);
/* Calls for all events of a partition in the same way; index: among the block's records. */
typedef void rig_each(void *arg, const struct journal_block *block, uint32_t index, const struct record *rec);
void rig_each_event(struct rig *rig, uint32_t partition, rig_each *each, void *arg);
/* The same by journal_scan(): returns false if a block is not intact. */
bool rig_scan(const char *dir, uint32_t partition, struct rig_log *log);
void rig_log_free(struct rig_log *log);

/* Writes the text over bytes of a file of partition 0. */
void rig_scribble(const struct rig *rig, const char *file, off_t at, const char *bytes);

#endif
