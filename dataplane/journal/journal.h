/* The durable journal: the only source of truth. P partitions, each a log of blocks with dense record
 * offsets.
 *
 * Threads: one writer thread per partition (journal_start) takes sealed batches from every worker's lane,
 * decides duplicates and offsets, packs blocks and writes them by io_uring. Any number of readers, each used
 * by one thread. See docs/journal-format.md for the bytes on disk and docs/exactly-once.md for the argument.
 */
#ifndef SLUICE_JOURNAL_H
#define SLUICE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "config.h"
#include "drops.h"
#include "err.h"
#include "record.h"

struct journal;

/* When a block counts as durable. */
enum journal_durability {
	JOURNAL_COMMIT,	  /* its write is on the disk */
	JOURNAL_INTERVAL, /* it is written, and a sync behind it has ended */
	JOURNAL_ASYNC,	  /* it is written: a power cut can take what was delivered */
};

struct journal_params {
	char dir[256]; /* holds journal.meta and p<k>/ */
	char node[65];
	uint32_t partitions;
	uint32_t block_bytes; /* largest block with header; multiple of 4096 */
	uint64_t block_age_us;
	uint64_t segment_bytes;
	uint32_t segments_max;
	uint32_t inflight;
	uint32_t cache_blocks;
	uint64_t dedup_window_ms; /* 0: no deduplication */
	uint64_t dedup_ids_max;
	uint64_t out_of_orderness_ms;
	uint64_t tick_ms;
	/* A log of records that are a function of another journal. Its writer adds no record of its own, so
	 * that the n-th record handed in has offset n: no control records, no ticks, no deduplication, no
	 * watermark. It drops nothing either: full, it leaves batches in their lanes, and nothing is recycled
	 * that a consumer has not passed, or before segments_max is reached. After a stop or failure the
	 * producer makes the rest again. Fixed when the journal is made. */
	bool derived;
	/* When it is made: epoch of the journal that it goes on from, 0 if none. Kept in journal.meta. */
	uint64_t before;
	/* When it is made: the secret of that journal, which made ids that go over; 0: a new one. */
	uint64_t key;
	/* Full: the oldest segment is given up for the consumers that may be skipped
	 * (journal_consumer_limit), as long as no other holds it. false: new records are dropped, or wait if
	 * derived. */
	bool drop_old;
	/* How long, and how many bytes of a partition, are kept although every consumer has had them. 0: no
	 * longer than the deduplication window; as many as segments_max gives. */
	uint64_t retain_ms, retain_bytes;
	/* A full segment that every consumer has passed is compressed when its newest record is so old. 0:
	 * never. */
	uint64_t compress_after_ms;
	enum journal_durability durability;
	uint64_t sync_every_us; /* JOURNAL_INTERVAL */
	/* Directories, comma between them, to which the partitions are dealt when it is made; empty: all in
	 * dir. */
	char dirs[256];
};

/* Of a partition, of which the oldest may be used again. */
#define JOURNAL_SEGMENTS_LEAST 3u

void journal_params_from_config(struct journal_params *p, const struct config *cfg);

/* Opens the journal of params->dir, making it if the directory has none, and recovers: finds each partition's
 * durable prefix, cuts the torn end, quarantines damage below the durable mark (reported in err/log, refused
 * to start), rebuilds the set of remembered ids. Refuses another node name or partition count than the
 * journal was made with. Takes a lock on the directory. Returns 0 or -errno. */
int journal_open(struct journal **out, const struct journal_params *params, struct err *err);

/* Starts the writer threads. handoff is borrowed until journal_stop(). */
int journal_start(struct journal *j, struct handoff *handoff, struct err *err);

/* Drains: after the workers have sealed their last batch and stopped, writes what is in the lanes, an
 * end-of-input control record per partition, waits for durability, ends the threads. Readers may go on
 * reading until close. */
void journal_stop(struct journal *j);
void journal_close(struct journal *j);

/* Posts a control record with this text ("event=NAME key=value ...", at most JOURNAL_NOTE_MAX bytes) to every
 * partition, for what changes the meaning of what follows. Between start and stop, not on a derived journal;
 * any control thread. It stands alone in its block. Order: batches sealed after the call began may stand
 * behind it, those sealed after it has returned do, whatever it returned. Waits until it is durable
 * everywhere. 0; -ETIMEDOUT: it is not yet (a partition is full, and takes nothing else before it); -EIO: a
 * partition has failed; -EBUSY: an earlier one is still on its way. */
#define JOURNAL_NOTE_MAX 1000u
int journal_note(struct journal *j, const char *text, uint32_t timeout_ms, struct err *err);
/* The same with a tick: a record with this watermark in every partition, from which on none stands before it.
 */
int journal_tick(struct journal *j, int64_t watermark_ms, uint32_t timeout_ms, struct err *err);

uint64_t journal_epoch(const struct journal *j); /* random at creation, never 0 */
const char *journal_node(const struct journal *j);
const char *journal_dir(const struct journal *j);
uint32_t journal_partitions(const struct journal *j);
uint64_t journal_key(const struct journal *j);	  /* its secret */
uint64_t journal_before(const struct journal *j); /* as in the parameters when it was made */

/* Lowest ruleset generation that a kept block may name; 0: unknown, or none is named. Only between open and
 * start: later, batches that are on their way may name older ones than any block. */
uint32_t journal_generation_floor(const struct journal *j);

/* ---- what a block is to a reader ---- */
/* What the records of a block are, so that who wants none of them need not pass over them one by one. On disk
 * in block headers. */
struct journal_counts {
	uint32_t kind[8];    /* records by enum record_kind, modulo 8 */
	uint32_t matched;    /* RECORD_EVENT with a hit of a rule */
	uint32_t suppressed; /* RECORD_EVENT with RECORD_F_SUPPRESSED */
};

struct journal_block {
	uint32_t partition;
	uint32_t generation;   /* ruleset generation that record hits mean */
	uint64_t first_offset; /* of its first record */
	uint32_t record_count;
	uint32_t bytes; /* of data */
	int64_t receive_last_ms;
	int64_t watermark_ms; /* partition watermark after this block */
	const uint8_t *data;  /* records back to back, each checked by record_valid(). NULL: see
		  journal_reader_filter() */
	const struct journal_counts *counts; /* NULL: of an earlier version, which did not count */
	uint64_t durable_ns; /* monotonic: when it became durable; 0: unknown, it was read from disk */
};

struct journal_reader;

/* A reader of one partition that stands at `offset`: the first record with offset >= it. -ERANGE if retention
 * has removed it or if it lies beyond the durable end. */
int journal_reader_open(
	struct journal_reader **out, struct journal *j, uint32_t partition, uint64_t offset, struct err *err);
void journal_reader_close(struct journal_reader *r);

/* The next durable block that holds a record at or behind the reader's place. 1: *block is filled, valid
 * until the next call on this reader (copy or encode before); its first records may lie before the reader's
 * place. 0: nothing within timeout_ms. Negative: read error or damage (err says where). Never blocks a
 * writer; a reader that keeps up is served from memory, one that lags from disk. */
int journal_reader_next(
	struct journal_reader *r, struct journal_block *block, uint32_t timeout_ms, struct err *err);

/* Before its first read: the page cache gives back what lies behind it, and the rest of a segment that it
 * leaves, whoever filled it. For who reads much in one go; who comes later reads from the disk. */
void journal_reader_gives_back(struct journal_reader *r);

/* From now on wants() is asked about each block that has counts, data NULL: one that it does not want comes
 * without data, and its records are neither read nor checked. May be asked more than once about a block. */
typedef bool journal_wants(void *arg, const struct journal_block *block);
void journal_reader_filter(struct journal_reader *r, journal_wants *wants, void *arg);

/* What a reader without anything to read is woken for, before its time is over: blocks with such records, and
 * now and then, while those before are still in memory. */
enum journal_wake {
	JOURNAL_WAKE_MATCHED = 1 << 0, /* events with a hit of a rule */
	JOURNAL_WAKE_REFUSED = 1 << 1,
	JOURNAL_WAKE_OFTEN = 1 << 2, /* several times in as many blocks as the cache holds */
	JOURNAL_WAKE_EVERY = 1 << 3, /* each block */
};
/* wakes: bits; OFTEN is always among them. Without this call: each block. */
void journal_reader_wakes(struct journal_reader *r, uint32_t wakes);

/* After -EBADMSG: moves the reader behind the damage, to the first good block, or to the durable end. The
 * range is written down and logged. *to: the first offset there. 0 or -errno. */
int journal_reader_resync(struct journal_reader *r, uint64_t *to, struct err *err);

/* Moves the reader. Same errors as open. */
int journal_reader_seek(struct journal_reader *r, uint64_t offset, struct err *err);

/* ---- positions: what retention may remove ---- */
/* A consumer holds the segments from its position on. As long as that is not set it holds everything, but for
 * what is said below of one with limits. */
int journal_consumer_add(
	struct journal *j, uint32_t partition, const char *name, struct err *err); /* id or -errno */
void journal_consumer_set(
	struct journal *j, int consumer, uint64_t offset); /* next offset it needs; any thread */
/* Of a consumer with limits the journal remembers where it stood, and holds no more than that until its
 * position is set again. Whoever puts one back, while the journal is not open, makes it forget. */
int journal_stood_forget(const char *dir, uint32_t partition, struct err *err);
/* It refuses what it has found, and may be put back to anywhere: everything is held. Any thread. */
void journal_stood_doubt(struct journal *j, int consumer);

/* ---- records that a consumer will not get ---- */
/* By default a consumer holds what it has not had. One with limits may lose it, in ranges that are written
 * down first (p<k>/skipped, docs/journal-format.md): when the journal is full with drop_old, and with
 * lag_skip when it is lag_bytes behind (0: no limit): then to the durable end. As long as its position is not
 * known, what has come since its limits were set is counted for that. */
struct journal_limits {
	uint64_t lag_bytes;
	bool lag_skip;
};
/* Before journal_start(), or before anything is given up. */
void journal_consumer_limit(struct journal *j, int consumer, const struct journal_limits *limits);

enum journal_skip { JOURNAL_SKIP_FULL = 1, JOURNAL_SKIP_LAG = 2, JOURNAL_SKIP_DAMAGED = 3 };
extern const char *const journal_skip_name[];

/* Where a consumer that stands at `position` has to go on: behind what was given up for it, or there. Cheap;
 * any thread. Until it has, records from there on may be gone (-ERANGE). */
uint64_t journal_skip_wanted(const struct journal *j, int consumer, uint64_t position);
/* The consumer skips. `position`: all before it is committed at its target, and nothing is under way. Writes
 * down durably that records from there to *to are skipped: to what was given up, or to to_min (for `reason`)
 * if that is further. It then commits *to before anything else, or, after a crash, does the same again. */
int journal_skip_take(struct journal *j, int consumer, uint64_t position, uint64_t to_min,
	enum journal_skip reason, uint64_t *to, struct err *err);
/* Records [from, to), which lie before the consumer's position and are not delivered yet, will not be: writes
 * that down durably, once however often it is said. */
int journal_skip_lost(struct journal *j, int consumer, uint64_t from, uint64_t to, enum journal_skip reason,
	struct err *err);
/* `position` is committed at the target. */
void journal_skip_passed(struct journal *j, int consumer, uint64_t position);
/* Records of [from, to) that the consumer has skipped, of the ranges that are remembered one by one. */
uint64_t journal_skipped(const struct journal *j, int consumer, uint64_t from, uint64_t to);
/* The oldest offset at which the consumer may stand: the oldest kept, or before it what was given up. */
uint64_t journal_consumer_oldest(const struct journal *j, int consumer);

struct journal_consumer_stats {
	uint64_t skipped, skip_ranges; /* records, over the journal's life */
	uint64_t given_up;	       /* records at most that it is still to skip */
	uint64_t last_from, last_to;   /* the newest range: [from, to), and enum journal_skip */
	uint32_t last_reason;
	bool lag_alarm;	    /* near its limit, or near what the journal holds */
	uint64_t lag_bytes; /* journal bytes that it is behind, about; lag_limit 0: none */
	uint64_t lag_limit;
	uint64_t stood; /* before its position is set: where it stood last, at least; 0: not known */
};
void journal_consumer_stats(const struct journal *j, int consumer, struct journal_consumer_stats *out);

/* ---- numbers ---- */
/* Each word written by the partition's writer, read by anyone. Of one reading, records[] and assigned_offset
 * are at least those of durable_offset; other words may be a little older or newer than it. */
struct journal_partition_stats {
	uint64_t durable_offset; /* next offset after the durable prefix = records ever journaled */
	uint64_t oldest_offset;	 /* first offset still kept */
	uint64_t records[8];	 /* durable, by record_kind & 7: [0] are RECORD_SHADOW */
	uint64_t durable_bytes;	 /* blocks, with padding */
	uint64_t blocks;
	uint64_t batch_records;	  /* records taken from lanes */
	uint64_t events_batched;  /* of these RECORD_EVENT */
	uint64_t duplicates;	  /* RECORD_EVENT refused as duplicate, this run */
	uint64_t assigned_offset; /* next offset to be given out: durable_offset plus what is being written */
	uint64_t refused_lost; /* RECORD_REFUSED not journaled (full, failed, or sent again by its producer);
				  in no drop: its reason is counted */
	uint64_t acks_lost;    /* times that the acker was not told of events: it was behind */
	uint64_t clock_steps;  /* steps of the wall clock; receive times stand still through a step back */
	uint64_t drops[DROP_ID_MAX]; /* cumulative over the journal's life, from block headers and deltas */
	uint64_t segments_used, segments_max;
	uint64_t dedup_ids, dedup_evicted; /* evicted: forgotten early since dedup_ids_max was reached */
	int64_t watermark_ms, receive_last_ms;
	uint64_t oldest_lag_bytes;
	uint32_t failed; /* 1: stopped after a write error */
	uint32_t full;	 /* 1: no free segment at the moment */
	uint32_t generation;
	uint32_t disk_full; /* 1: the file system has no room for a further segment */
	uint64_t damaged_ranges,
		damaged_records;      /* lost to damage below the durable end, as far as it was read */
	uint64_t disk_bytes;	      /* of the segments kept */
	uint64_t compressed_segments; /* of these */
	/* This run: segments compressed, their bytes before and after, and those that stay raw: */
	uint64_t compressed, compress_bytes_before, compress_bytes_after;
	uint64_t compress_disk_full, compress_failed; /* times; tried again */
	uint64_t compress_damaged, compress_no_gain;
};
void journal_stats(const struct journal *j, uint32_t partition, struct journal_partition_stats *out);
uint64_t journal_durable_offset(const struct journal *j, uint32_t partition);

/* ---- offline, for `sluicectl journal` and tests: no lock, no writer ---- */
struct journal_scan_block {
	struct journal_block block;
	uint64_t segment, file_offset;
	uint32_t crc;
	bool intact;	   /* header and payload CRC, chain and record_valid() */
	const char *fault; /* what is wrong, if not intact */
};
/* Block after block of a partition from the oldest on. next: 1: *b is filled, valid until the next call, and
 * if it is not intact it is the last; 0: the end; -errno. */
struct journal_scanner;
int journal_scanner_open(struct journal_scanner **out, const char *dir, uint32_t partition, struct err *err);
/* The same from a segment on that begins before anything that was received at since_ms or later. */
int journal_scanner_open_since(
	struct journal_scanner **out, const char *dir, uint32_t partition, int64_t since_ms, struct err *err);
int journal_scanner_next(struct journal_scanner *s, struct journal_scan_block *b, struct err *err);
void journal_scanner_close(struct journal_scanner *s);
/* Calls back for every block of a partition from the oldest on, until the end, or until the callback returns
 * non-zero. One that is not intact is reported, and what is good behind it, too. Returns that, 0, or -errno.
 */
int journal_scan(const char *dir, uint32_t partition,
	int (*each)(void *arg, const struct journal_scan_block *b), void *arg, struct err *err);
/* Looks in a partition for the record at an offset, or for records with an id; the newest segment first. By
 * id, a segment is read only if the ids beside it have it, or there are none: shadows and dead letters have
 * no id there and are found by chance. each: for the block of the offset; for an id, each block that may have
 * it, non-zero ends. Returns what it returned, 1 for an offset that was found, 0, or -errno. */
struct journal_find {
	const uint8_t *id; /* 16 bytes; NULL: by offset */
	uint64_t offset;
	int (*each)(void *arg, const struct journal_scan_block *b);
	void (*progress)(void *arg, uint32_t done, uint32_t segments); /* before each segment; NULL: none */
	void *arg;
};
int journal_find(const char *dir, uint32_t partition, const struct journal_find *wish, struct err *err);

struct journal_meta {
	char node[65];
	uint64_t epoch;
	uint32_t partitions;
	uint64_t segment_bytes;
	bool derived;
	uint64_t before;
};
/* Takes the lock that keeps other processes from the journal, until the descriptor is closed: journal_open()
 * does, and so does what changes files beside it. Returns the descriptor, -EBUSY if another process has it,
 * or -errno. */
int journal_lock(const char *dir, struct err *err);
/* Removes a directory that may have a journal in it, by the name `journal`, that nobody has open, and what of
 * that lies elsewhere (journal_params.dirs). Not in one piece: it may be called again. */
int journal_tree_remove(const char *tree, struct err *err);
int journal_meta_read(const char *dir, struct journal_meta *meta, struct err *err);

/* ---- going on in another number of partitions (carry.c) ---- */
/* What a new journal goes on from: between open and start of one without a record. Its partitions then never
 * stand before this watermark, receive time and generation. INT64_MIN, 0: nothing. */
void journal_carry(struct journal *j, int64_t watermark_ms, int64_t receive_last_ms, uint32_t generation);
/* Writes p<k>/ids of a new journal: the ids that the one in from_dir, which nobody writes, has taken within
 * the window before its newest record, in the partitions where such events go now, by age. Recovery remembers
 * them. Both have the same secret (journal_params.key). *count: how many. */
int journal_carry_ids(
	struct journal *to, const char *from_dir, uint64_t window_ms, uint64_t *count, struct err *err);

#endif
