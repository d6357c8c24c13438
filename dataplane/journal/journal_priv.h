/* What the files of this folder share. Threads of a partition: its writer (writer.c, pack.c), its keeper
 * (keeper.c: next segment, retention, durable mark), readers. Each field below names its writer. */
#ifndef SLUICE_JOURNAL_PRIV_H
#define SLUICE_JOURNAL_PRIV_H

#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "ack_lane.h"
#include "block_format.h"
#include "clock.h"
#include "crash.h"
#include "dedup.h"
#include "durable.h"
#include "journal.h"
#include "log.h"
#include "reserve.h"

#define PATH_BYTES 320u
#define CONSUMERS_MAX 4096u
#define CONSUMER_UNKNOWN UINT64_MAX

/* ---- store.c: files ---- */
struct meta_file;
struct journal;
int store_meta_read(const char *dir, struct meta_file *meta, struct err *err); /* -ENOENT: there is none */
int store_meta_write(const char *dir, struct meta_file *meta, struct err *err);
void store_part_dir(char out[PATH_BYTES], const char *dir, uint32_t partition);
int store_mark_open(const char *part_dir, bool create, bool write, struct err *err); /* fd or -errno */
/* -ENODATA: neither slot is good. */
int store_mark_read(int fd, uint64_t epoch, uint32_t partition, struct mark_slot *mark);
int store_mark_write(int fd, struct mark_slot *mark); /* counts write_count up */

/* ---- dirs.c: partitions on several disks ---- */
int dirs_check(const char *list, struct err *err);
/* Makes DIR/p<k>, as a link, if there are directories to deal to. */
int dirs_part_make(const struct journal *j, uint32_t partition, struct err *err);
/* Every link leads to a directory. */
int dirs_parts_check(const struct journal *j, struct err *err);

/* ---- segment.c: segment files ---- */
void segment_path(char out[PATH_BYTES], const char *part_dir, uint64_t number);
/* Of a name seg-<number><end>. */
bool segment_number(const char *name, const char *end, uint64_t *number);
/* Ascending numbers of the segments, raw or compressed, malloc'ed; removes what was not finished if `clean`.
 */
int segment_list(const char *part_dir, bool clean, uint64_t **numbers, uint32_t *count, struct err *err);
int segment_open(const char *part_dir, uint64_t number, bool write, struct err *err); /* fd or -errno */
int segment_open_cached(const char *part_dir, uint64_t number, struct err *err);      /* to read */
int segment_make(const char *part_dir, uint64_t number, uint64_t bytes, struct err *err);
int segment_recycle(const char *part_dir, uint64_t from, uint64_t to, struct err *err);
/* The raw file of a compressed segment: kept, under this name, to be used again, or removed. 0 or -errno. */
#define SEGMENT_SPARE "spare.tmp"
int segment_set_aside(const char *part_dir, uint64_t number, bool keep);
int segment_use_spare(const char *part_dir, uint64_t to, struct err *err);
int segment_zero(int fd, uint64_t from, uint64_t bytes);

/* ---- compressed.c: a compressed segment, p<k>/seg-<number>.zst, to read ---- */
#define FRAME_SKIP_MAGIC 0x184d2a5au	  /* zstd: a frame to pass over */
#define FRAME_MAGIC 0x314d5246475a4c53ull /* "SLZGFRM1" */
#define FRAME_VERSION 1u

/* On disk, before each frame of zstd; for zstd's own tools a frame to pass over. */
struct frame_header {
	uint32_t skip_magic, skip_bytes; /* of what follows: 64 */
	uint64_t magic;
	uint32_t version;
	uint32_t header_crc; /* of the header with this word zero */
	uint64_t epoch, key; /* as in block headers */
	uint64_t segment;
	uint64_t raw_at;    /* byte offset in the segment of the blocks in it; frames ascend */
	uint32_t raw_bytes; /* of whole blocks */
	uint32_t partition;
	uint32_t packed_bytes, packed_crc; /* of zstd's frame behind this header */
};
_Static_assert(sizeof(struct frame_header) == 72, "layout is on disk");

/* One file that is read. Memory: packed_max and zstd's context, from the first open on. */
struct compressed {
	int fd; /* -1: none */
	uint32_t raw_max;
	uint8_t *packed;
	size_t packed_max;
	struct ZSTD_DCtx_s *dctx;
	struct frame_header frame; /* the one it stands at; raw_bytes 0: none */
	uint64_t body_at, next_at; /* in the file: its body, and where the next header is looked for */
	uint64_t hole_from;	   /* from here to frame.raw_at there is nothing */
	const char *lost;	   /* why */
	bool end;		   /* no further frame: frame.raw_at is the segment's end */
	const char *fault;	   /* of the last read: NULL, or why it gave zeros */
};
void compressed_path(char out[PATH_BYTES], const char *part_dir, uint64_t number);
/* Of the file that the segment has: raw, or compressed. */
void segment_path_there(char out[PATH_BYTES], const char *part_dir, uint64_t number);
/* Of the file of a segment that is compressed; 0: it is not. */
uint64_t compressed_bytes(const char *part_dir, uint64_t number);
uint32_t frame_header_crc(const struct frame_header *h);
void compressed_init(struct compressed *c);
/* 0 or -errno. raw_max: bytes of the buffer that is read to. */
int compressed_open(
	struct compressed *c, const char *part_dir, uint64_t number, uint32_t raw_max, struct err *err);
int compressed_open_path(struct compressed *c, const char *path, uint32_t raw_max, struct err *err);
void compressed_close(struct compressed *c);
void compressed_free(struct compressed *c);
/* The bytes of the segment around place->file_offset into buf, which has raw_max: a whole frame, or, where
 * there is none that is good, zeros with c->fault set. *from: the offset of the first of them. Returns how
 * many, at least BLOCK_ALIGN of them from the place on; -errno of a read error. */
ssize_t compressed_read(struct compressed *c, const struct block_place *place, uint8_t *buf, uint64_t *from);

/* ---- walk.c: block after block from files ---- */
enum { WALK_END = 0, WALK_BLOCK = 1, WALK_FAULT = 2 };
struct walk {
	char part_dir[PATH_BYTES];
	struct block_place at;
	int fd; /* raw; -1: none */
	uint64_t fd_segment;
	struct compressed compressed; /* with fd -1, if its own is not */
	uint64_t cached_below;	      /* segments before it are read through the page cache: see walk.c */
	bool gives_back;	      /* their pages, behind the place */
	uint64_t passed;	      /* of fd none before it, from its first place on, are left */
	uint8_t *buf;		      /* what was read from fd at buf_at */
	uint32_t buf_bytes, filled;
	uint64_t buf_at;
	uint64_t buf_limit; /* blocks from this sequence number on may have been half written when it was read
			     */
	const char *fault;
};
int walk_init(struct walk *w, const char *part_dir, const struct block_place *at, struct err *err);
void walk_free(struct walk *w);
void walk_seek(struct walk *w, const struct block_place *at);
/* The raw file that is being read is the segment's no more: it was compressed, or removed, and its bytes may
 * be others by now. What was looked at last is to be looked at again. */
bool walk_moved(struct walk *w);
/* The block at w->at, which stays there until block_place_step(&w->at, *h). Blocks from seq_limit on are not
 * looked at (the caller knows that they are not there). payload: check it too. WALK_BLOCK, WALK_END (no such
 * file, or nothing of ours there), WALK_FAULT (w->fault says what), -errno. */
int walk_peek(
	struct walk *w, uint64_t seq_limit, bool payload, const struct block_header **h, struct err *err);
/* From a place without a good block to the next good one: at any aligned place behind it in its segment or in
 * later ones up to `segment`, with a sequence number that is not less than the place's. Its chain is not
 * checked. Same answers as walk_peek; w->at is then there. */
int walk_resync(
	struct walk *w, uint64_t segment, uint64_t seq_limit, const struct block_header **h, struct err *err);
/* The same for the header alone: what lies behind it is not read for it. */
int walk_head(struct walk *w, uint64_t seq_limit, const struct block_header **h, struct err *err);

/* ---- scan.c ---- */
/* The block at w->at for who reads offline; h NULL: it is not whole. */
void scan_fill(struct journal_scan_block *b, const struct walk *w, const struct block_header *h);

/* ---- cache.c: block buffers ---- */
struct block_buf {
	/* (block_seq + 1) << 16 | readers holding it; 0: the writer's. Writer sets and takes, readers count.
	 */
	_Atomic uint64_t pin;
	uint8_t *mem;
	uint64_t durable_ns; /* writer, before it publishes */
} __attribute__((aligned(64)));

struct block_cache {
	struct block_buf *buf;
	uint32_t buf_count;
	uint32_t pins_max;
	_Atomic uint32_t pins;	 /* readers */
	uint32_t mask;		 /* of index */
	_Atomic uint32_t *index; /* block_seq & mask -> buffer; a hint, the pin word decides */
	uint8_t *memory;
	size_t memory_bytes;
	/* writer only: */
	uint16_t *fifo; /* durable buffers, oldest first */
	uint32_t fifo_head, fifo_count;
	uint16_t *spare;
	uint32_t spare_count;
};
int cache_init(
	struct block_cache *c, uint32_t pins_max, uint32_t inflight, uint32_t block_bytes, uint64_t *bytes);
void cache_free(struct block_cache *c);
int cache_take(struct block_cache *c); /* writer: a buffer, or -1 if all are in flight */
void cache_publish(struct block_cache *c, uint32_t buf, uint64_t seq); /* writer */
void cache_drop(struct block_cache *c, uint32_t buf);		       /* writer: not published */
struct block_buf *cache_pin(struct block_cache *c, uint64_t seq);      /* reader: NULL if not there */
void cache_unpin(struct block_cache *c, struct block_buf *b);

/* ---- skip.c: p<k>/skipped, what consumers will not get ---- */
#define SKIP_MAGIC 0x3150494b53554c53ull /* "SLUSKIP1" */
#define SKIP_NAME_BYTES 40u
#define SKIP_ENTRIES 64u
#define SKIP_TOTALS 16u
#define SKIP_SLOT_BYTES 8192u
#define SKIP_DAMAGE_NAME "*" /* of the partition itself */

enum skip_flags {
	SKIP_F_TAKEN = 1 << 0, /* from and to are exact */
	SKIP_F_DONE = 1 << 1,  /* and what lies behind is committed */
};

/* On disk, as all of struct skip_slot. */
struct skip_entry {
	char name[SKIP_NAME_BYTES]; /* of the consumer */
	uint64_t from, to;
	int64_t time_ms;
	uint32_t reason, flags;
};
struct skip_total { /* of ranges that are not remembered one by one any more */
	char name[SKIP_NAME_BYTES];
	uint64_t ranges, records;
};
struct skip_slot {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of the slot with this word zero */
	uint64_t epoch;
	uint64_t write_count; /* the good slot with the higher one counts */
	uint32_t partition;
	uint32_t entry_count, total_count;
	uint32_t reserved;
	struct skip_total total[SKIP_TOTALS];
	struct skip_entry entry[SKIP_ENTRIES]; /* oldest first */
};
_Static_assert(sizeof(struct skip_slot) == 48 + 16 * 56 + 64 * 72, "layout is on disk");
_Static_assert(sizeof(struct skip_slot) <= SKIP_SLOT_BYTES, "layout is on disk");

/* ---- stood.c: p<k>/consumers, where consumers with limits stood last ---- */
#define STOOD_MAGIC 0x314f4f5453554c53ull /* "SLUSTOO1" */
#define STOOD_MAX 64u

struct stood_at { /* on disk */
	char name[SKIP_NAME_BYTES];
	uint64_t position;
};
struct stood_file {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of all with this word zero */
	uint64_t epoch;
	uint32_t partition, count;
	struct stood_at at[STOOD_MAX];
};
_Static_assert(sizeof(struct stood_file) == 32 + 64 * 48, "layout is on disk");

struct journal_part;
struct journal_consumer;
int stood_open(struct journal_part *part, struct err *err);
void stood_recovered(struct journal_part *part);
/* Where the consumer stood at least; 0: nothing is known. After recovery. */
uint64_t stood_position(struct journal_part *part, const char *name);
/* now: not only when it is time again. */
void stood_keep(struct journal_part *part, bool now);

int skip_make(const char *part_dir, struct err *err);
int skip_open(struct journal_part *part, struct err *err);
void skip_consumer_init(struct journal_part *part, struct journal_consumer *c);
/* Gives records below `to` up for the consumer, durably. Keeper. */
int skip_order(struct journal_part *part, struct journal_consumer *c, uint64_t to, enum journal_skip reason,
	struct err *err);
/* Records [from, to) are lost to damage: writes it down, once. */
void skip_damage(struct journal_part *part, uint64_t from, uint64_t to, uint64_t segment,
	uint64_t file_offset, const char *fault);
void skip_damage_stats(struct journal_part *part, struct journal_partition_stats *out);

/* ---- a partition ---- */
struct segment_entry {
	uint64_t number, first_seq, first_offset;
	int64_t receive_first_ms;
	uint32_t generation_low; /* of its blocks, once it is full or was read in full; 0: unknown */
	bool ids_done;		 /* its ids are beside it, or cannot be: see ids.c */
	uint64_t ids_first;	 /* with !ids_done: dedup.added when it began */
	uint32_t prev_crc;	 /* header_crc of the block before its first, of those made by this writer */
	uint64_t compressed_bytes; /* of its file, if it is compressed; 0: it is raw */
	bool raw_only;		   /* and stays so */
};

/* ---- compress.c: full segments that all have passed, made small ---- */
#define COMPRESS_TEMP "compress.tmp"
#define COMPRESS_SEGMENTS 16u /* times segments_max: so many there are at most, however small they are */
enum compress_answer {
	COMPRESS_OK,
	COMPRESS_DISK_FULL, /* to be tried again, as COMPRESS_FAILED */
	COMPRESS_DAMAGED,
	COMPRESS_FAILED,
	COMPRESS_NO_GAIN,
	COMPRESS_ENDED, /* the segment was given up, or the journal stops */
};
enum { COMPRESS_IDLE, COMPRESS_POSTED, COMPRESS_DONE };

/* One segment of a partition: the keeper posts it, the thread answers, the keeper takes the answer. */
struct compress_job {
	_Atomic int state;
	_Atomic bool cancel; /* keeper: the segment goes */
	/* Keeper, before POSTED: */
	uint64_t number, first_seq, first_offset, end_seq, end_offset;
	/* The thread, before DONE: */
	enum compress_answer answer;
	uint64_t bytes;
	/* Keeper's own: */
	uint64_t retry_ns;
	uint64_t failed_number; /* of the segment that failed last, and how often */
	uint32_t failed_times;
	enum compress_answer said; /* the last answer, in the log */
};

struct compressor {
	pthread_t thread;
	bool runs;
	int rc; /* of its set-up */
	_Atomic bool stop;
	sem_t wake, ready;
};

/* The durable end: written by the writer (tail_set), read by anyone (tail_get). */
struct part_tail {
	uint64_t seq, offset, segment, file_offset, last_crc;
};
#define TAIL_WORDS 5

/* What a written block makes of the partition's numbers. */
struct part_end {
	struct part_tail tail;
	uint64_t records[8], bytes;
	int64_t watermark_ms, receive_last_ms;
	uint32_t generation;
	uint32_t wakes; /* enum journal_wake, of all blocks since the end before */
};

enum { NEXT_WANTED, NEXT_READY, NEXT_FULL };
enum { NOTE_NONE, NOTE_POSTED };

/* Cumulative over the journal's life: in block headers. */
struct part_totals {
	uint64_t clock_steps, journal_bytes;
	uint64_t records[8];
	uint64_t drops[DROP_ID_MAX];
};

struct part_flight { /* a write that was submitted */
	uint32_t buf;
	uint32_t slot; /* of the registered file */
	bool done;
	int error; /* errno, or 0 */
};

struct journal_part {
	struct journal *journal;
	uint32_t index;
	uint32_t handoff_workers;
	char dir[PATH_BYTES];

	/* Writer; read by all. durable_seq is stored last, with release (seq_cst: pairs with waiters). */
	_Atomic uint64_t durable_offset __attribute__((aligned(64)));
	_Atomic uint64_t durable_seq;
	_Atomic int64_t watermark_ms; /* durable */
	_Atomic uint64_t event_ns;    /* monotonic time at which events with a time last came; 0: never */
	_Atomic uint64_t tail_version;
	_Atomic uint64_t tail_word[TAIL_WORDS];
	struct journal_partition_stats stats; /* each word by relaxed atomic stores */

	_Atomic uint32_t waiters __attribute__((aligned(64))); /* readers */
	_Atomic uint32_t turn;				       /* writer; a futex word: a wake-up each */

	/* Under lock: the table of segments that hold blocks, oldest first. Writer appends, keeper removes.
	 */
	pthread_mutex_t lock __attribute__((aligned(64)));
	pthread_cond_t keeper_cond;
	struct segment_entry *seg;
	uint32_t seg_count, seg_capacity;
	struct part_tail recovered;	 /* constant after open */
	_Atomic uint64_t oldest_segment; /* keeper */

	/* The prepared segment: keeper fills and sets READY (release), writer takes and sets WANTED. */
	_Atomic int next_state;
	int next_fd;
	uint64_t next_number;

	/* A note on its way: journal_note() fills and sets POSTED (release), the writer takes and sets NONE.
	 */
	_Atomic int note_state;
	char note_text[JOURNAL_NOTE_MAX + 1];
	bool note_is_tick;
	int64_t note_tick_ms;
	_Atomic uint64_t note_end; /* writer: offset behind the last note placed */

	/* What consumers will not get: skip.c. */
	pthread_mutex_t skip_lock;
	int skip_fd;
	struct skip_slot *skips; /* as it is on disk; under skip_lock, as `stood` */
	int stood_fd;
	struct stood_file *stood;
	uint64_t stood_ns;
	bool stood_failed; /* to be written */

	/* Keeper; after it has ended, journal_stop(). */
	pthread_t keeper;
	bool keeper_runs;
	bool keeper_stop; /* under lock */
	int mark_fd;
	struct mark_slot mark;
	struct part_tail synced;     /* JOURNAL_ASYNC: up to here it is on the disk for sure */
	_Atomic uint64_t synced_seq; /* the same, for the writer */
	bool sync_lost;		     /* a sync failed: nothing behind `synced` is ever sure */
	bool spare;		     /* there is a file SEGMENT_SPARE */
	struct compress_job compress;

	/* Writer. */
	pthread_t writer __attribute__((aligned(64)));
	bool writer_runs;
	_Atomic bool writer_stop;
	_Atomic int writer_ready; /* 0 not yet, 1 runs, <0 -errno of its set-up */
	struct io_uring ring;
	bool fixed_buffers;
	struct block_cache cache;
	struct dedup dedup;
	_Atomic uint64_t ids_added;	 /* dedup.added after the last batch; the keeper reads the ring */
	uint32_t segment_generation_low; /* of the blocks of the segment in force; UINT32_MAX: none */
	struct part_totals totals;	 /* with what is in the open block */
	struct part_totals built;	 /* as of the last block built */
	struct block_place place;	 /* where the next block goes; offset = next offset to give out */
	int fd[2];			 /* segments in force, by registered slot */
	uint32_t fd_slot;
	uint64_t fd_number; /* of the segment in force */
	uint32_t fd_flights[2];
	/* JOURNAL_INTERVAL, sync.c: what is written, and what the sync under way makes durable. */
	struct part_end written, syncing;
	bool fd_dirty[2];
	uint32_t sync_flights;
	uint64_t sync_due_ns;
	struct part_flight flight[JOURNAL_INFLIGHT_MAX];
	uint32_t flight_head, flight_count;
	int open_buf; /* -1: no open block */
	uint32_t open_bytes, open_records;
	struct journal_counts open_counts;
	uint32_t open_crc; /* of open_bytes */
	uint64_t open_ns;
	uint64_t oldest_ns; /* when the oldest batch in it was opened */
	int64_t open_receive_first_ms;
	uint64_t open_first_offset;
	uint32_t generation, generation_max;
	int64_t receive_last_ms, watermark_base_ms, watermark_next_ms;
	bool base_moved; /* since the last block built */
	bool failed, start_due;
	bool seal_due; /* nothing more into the open block */
	uint64_t watermark_ns, began_ns /* of this run */, tick_due_ns, clock_due_ns;
	int64_t clock_offset_ms;
	uint32_t *pack_at;    /* scratch of a batch: places of its records */
	uint64_t *pack_hash;  /* and hashes of their ids; 0: not looked up */
	uint32_t *pack_guess; /* and what dedup_guess() says of them */
	uint32_t pack_max;
	uint64_t id_seed[2];
	struct ack_done ack; /* being gathered in a batch; no bits: nothing is */
};

struct journal_consumer {
	char name[64];
	uint32_t partition;
	_Atomic uint64_t position;
	_Atomic uint64_t skip_to; /* it is to go on there; 0: where it stands */
	_Atomic uint64_t stood;	  /* while the position is unknown: not below; 0: nothing is known */
	_Atomic bool may_skip;	  /* set last: the limits are constant then */
	bool lag_skip;
	uint64_t lag_limit;
	uint64_t lag_from;	    /* the durable end when the limits were set */
	_Atomic uint64_t lag_bytes; /* keeper */
	_Atomic bool lag_alarm;
};

struct journal {
	struct journal_params params;
	struct meta_file meta;
	int lock_fd;
	struct handoff *handoff;
	struct journal_part *part; /* params.partitions */
	pthread_mutex_t consumer_lock;
	struct journal_consumer *consumer; /* CONSUMERS_MAX */
	_Atomic uint32_t consumer_count;
	pthread_mutex_t note_lock; /* one journal_note() at a time */
	struct compressor compressor;
	bool started, stopped;
};

static inline void stat_set(uint64_t *word, uint64_t v)
{
	__atomic_store_n(word, v, __ATOMIC_RELAXED);
}

static inline uint64_t stat_get(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline uint64_t segment_disk_bytes(const struct journal_part *part, const struct segment_entry *seg)
{
	return seg->compressed_bytes ? seg->compressed_bytes : part->journal->meta.segment_bytes;
}

/* ---- tail.c ---- */
void tail_set(struct journal_part *part, const struct part_tail *tail);
void tail_get(struct journal_part *part, struct part_tail *tail);
/* wakes: enum journal_wake, what has come. */
void tail_wake(struct journal_part *part, uint32_t wakes);
/* True when blocks from `seq` on are durable; waits up to timeout_ms for it, or, if what comes has none of
 * `wakes`, until then. */
bool tail_wait(struct journal_part *part, uint64_t seq, uint32_t timeout_ms, uint32_t wakes);

/* ---- recover.c ---- */
int part_recover(struct journal_part *part, struct err *err); /* -EBADMSG: damage below the durable mark */
void part_place_init(const struct meta_file *meta, uint32_t partition, struct block_place *at);

/* ---- carry.c ---- */
/* Remembers the ids of p<k>/ids, if there is one, before any of a block; removes it when all are older than
 * the window. */
int carry_ids_load(struct journal_part *part, struct err *err);

/* ---- ids.c: ids beside full segments ---- */
/* Writes those of the oldest segment that is full, durable and has none. Keeper. */
void segment_ids_keep(struct journal_part *part);
void segment_ids_remove(const char *part_dir, uint64_t number);
/* Remembers the ids of seg, which seg + 1 follows; fills seg's fields. False: there are none to be relied on,
 * and nothing was remembered. Set-up thread. */
/* Offline: whether an id stands beside the segment. 0: it does not; 1: it does, or there is no file to go by.
 */
int segment_ids_has(const char *part_dir, uint64_t number, uint64_t epoch, uint32_t partition,
	const uint8_t id[16], uint64_t bytes_max);
bool segment_ids_load(struct journal_part *part, struct segment_entry *seg);
/* Removes files of ids of segments that are not there, and unfinished ones. */
void segment_ids_tidy(const char *part_dir, const uint64_t *number, uint32_t count);

/* ---- quarantine.c ---- */
bool quarantine_wanted(const char *dir);
int quarantine_run(const char *dir, struct err *err);

/* ---- keeper.c ---- */
void *keeper_main(void *arg);
void keeper_mark(struct journal_part *part, uint32_t flags);
/* Lowest offset that a consumer of the partition needs; UINT64_MAX: there are no consumers, nor is the
 * journal derived. */
uint64_t retention_floor(struct journal *j, uint32_t partition);
/* ---- compress.c ---- */
int compress_start(struct journal *j, struct err *err);
/* Once no keeper runs. */
void compress_stop(struct journal *j);
/* The format version that journal.meta has to name: a binary that cannot read compressed segments is to
 * refuse. After recovery. */
int compress_meta(struct journal *j, struct err *err);
/* Takes what is done, posts what is next. Keeper. */
void compress_keep(struct journal_part *part);
/* The segment goes, whatever is being made of it. Keeper. */
void compress_cancel(struct journal_part *part, uint64_t number);

/* ---- retention.c: keeper ---- */
/* Why there is no free segment, in words: a full disk, who holds those that there are. Any thread. */
void retention_full_text(struct journal_part *part, char *text, size_t bytes);
/* Gives the oldest segment up for the sinks that hold it, if the policy is so and no other consumer needs it.
 */
bool retention_give_up(struct journal_part *part);
/* How far sinks are behind: alarms, and the limits that they have. */
void retention_lag(struct journal_part *part);

/* ---- loop.c, writer.c, pack.c ---- */
void *writer_main(void *arg);
enum pack_answer { PACK_DONE, PACK_WAIT, PACK_FULL };
enum pack_answer pack_batch(struct journal_part *part, struct batch *b, uint64_t now_ns);
/* A record of the writer's own. text may be NULL. */
enum pack_answer pack_own(
	struct journal_part *part, enum record_kind kind, const char *text, int64_t time_ms, uint64_t now_ns);
/* The note on its way, if there is one, in a block of its own. */
enum pack_answer pack_note(struct journal_part *part, uint64_t now_ns);
void pack_discard(struct journal_part *part, struct batch *b, enum drop_reason reason);
void pack_drops(struct journal_part *part, const struct batch *b);
void drop_count(struct journal_part *part, enum drop_reason reason, uint64_t count);
/* Makes sure that a block of the generation is open with room for `bytes`. */
enum pack_answer writer_block(
	struct journal_part *part, uint32_t bytes, uint32_t generation, uint64_t now_ns);
uint32_t writer_reap(struct journal_part *part);
void writer_seal(struct journal_part *part, uint32_t flags);
void writer_fail(struct journal_part *part, const char *what, int code);
/* ---- sync.c: when a written block counts as durable ---- */
#define SYNC_TAG UINT64_MAX /* user data of a sync */
/* Numbers and the durable end, for everyone. */
void sync_publish(struct journal_part *part, const struct part_end *end);
/* A block in the segment of `slot` is written. Writer, as all up to sync_run(). */
void sync_written(struct journal_part *part, uint32_t slot, const struct part_end *end);
void sync_done(struct journal_part *part, int result);
/* Something is written that no sync has taken along: it is due, or is made so. */
void sync_run(struct journal_part *part, uint64_t now_ns, bool now);
/* True when what is written into a segment that is to be closed is synced; else it is on its way. */
bool sync_slot_clean(struct journal_part *part, uint32_t slot);
bool sync_pending(const struct journal_part *part);
/* JOURNAL_ASYNC: syncs segments that are full. Keeper. */
void sync_full_segments(struct journal_part *part);
/* And all of it, at the end. False: it could not. */
bool sync_last(struct journal_part *part);
/* The end that the durable mark may name. */
void sync_mark_tail(struct journal_part *part, struct part_tail *tail);

/* ---- tick.c ---- */
void tick_run(struct journal_part *part, uint64_t now_ns);
void tick_clock_check(struct journal_part *part, uint64_t now_ns);

#endif
