/* The bytes of the journal on disk: journal.meta, the durable mark, block headers. Little endian. Described
 * for people in docs/journal-format.md. Any change of a layout needs a new version number. */
#ifndef SLUICE_BLOCK_FORMAT_H
#define SLUICE_BLOCK_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drops.h"
#include "journal.h"
#include "record.h"

#define JOURNAL_FORMAT_VERSION 1u
/* Of journal.meta alone: there may be compressed segments. */
#define JOURNAL_VERSION_COMPRESSED 2u

#define BLOCK_ALIGN 4096u
#define BLOCK_HEADER_BYTES 1024u
#define BLOCK_MAGIC 0x314b4c4243554c53ull /* "SLUCBLK1" */
#define META_MAGIC 0x314154454d554c53ull  /* "SLUMETA1" */
#define MARK_MAGIC 0x314b52414d554c53ull  /* "SLUMARK1" */

/* A window behind the end of a partition in which writes may have landed out of order: the most writes that
 * may be in flight, and some more. */
#define JOURNAL_INFLIGHT_MAX 32u
#define JOURNAL_WINDOW_BLOCKS (JOURNAL_INFLIGHT_MAX + 2u)

enum block_flags {
	BLOCK_F_CLEAN_END = 1 << 0, /* the last block of a run that was stopped in order */
	BLOCK_F_COUNTED = 1 << 1,   /* `counts` is filled; blocks of earlier versions have it zero */
};

struct block_header {
	uint64_t magic;
	uint32_t version;
	uint32_t header_bytes;
	uint32_t header_crc;  /* of the header with this word zero; covers payload_crc */
	uint32_t payload_crc; /* of payload_bytes bytes behind the header */
	uint64_t epoch;
	uint64_t key; /* secret of this journal: no payload can contain a block that passes for one of ours */
	uint32_t partition;
	uint32_t flags;
	uint64_t segment; /* number of the segment; never used twice, also when its file is recycled */
	uint64_t file_offset;
	uint64_t block_seq;
	uint64_t durable_seq; /* blocks below it were durable when this one was built */
	uint32_t prev_crc;    /* header_crc of block_seq - 1; 0 in the first block */
	uint32_t generation;
	uint64_t first_offset;
	uint32_t record_count;
	uint32_t payload_bytes;
	uint32_t total_bytes; /* header + payload, rounded up to BLOCK_ALIGN; zero-filled */
	uint32_t reserved0;
	int64_t receive_first_ms, receive_last_ms; /* non-decreasing in a partition */
	int64_t watermark_base_ms;		   /* highest so far; INT64_MIN: none */
	int64_t watermark_ms;			   /* after this block; INT64_MIN: none */
	uint64_t clock_steps;			   /* cumulative, as all that follow, with this block */
	uint64_t journal_bytes;
	uint64_t records[8];
	uint64_t drops[DROP_ID_MAX];
	struct journal_counts counts; /* of this block alone */
	uint8_t reserved1[248];
};
_Static_assert(sizeof(struct block_header) == BLOCK_HEADER_BYTES, "block header layout is on disk");
_Static_assert(offsetof(struct block_header, drops) == 224, "block header layout is on disk");
_Static_assert(offsetof(struct block_header, counts) == 736, "block header layout is on disk");

enum meta_flags {
	META_F_DERIVED = 1 << 0, /* no records of the writer's own: the n-th record handed in has offset n */
};

struct meta_file {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of the whole with this word zero */
	uint64_t epoch;
	uint64_t key;
	uint64_t segment_bytes;
	uint32_t block_bytes;
	uint32_t partitions;
	int64_t created_ms;
	char node[72];
	uint32_t flags; /* enum meta_flags */
	uint32_t reserved0;
	uint64_t before; /* epoch of the journal that this one goes on from; 0: none */
	uint8_t reserved[112];
};
_Static_assert(sizeof(struct meta_file) == 256, "journal.meta layout is on disk");

enum mark_flags {
	MARK_F_CLEAN = 1 << 0, /* stopped in order: nothing lies behind */
	MARK_F_LAZY = 1 << 1,  /* writes are not synced one by one: blocks may lie anywhere behind the end */
};

/* p<k>/durable: two of these, each in its own 4096 bytes, written in turn. */
struct mark_slot {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of the slot with this word zero */
	uint64_t epoch;
	uint32_t partition;
	uint32_t flags;
	uint64_t write_count; /* the higher one counts */
	uint64_t next_seq;    /* blocks below it are durable */
	uint64_t next_offset;
	uint64_t segment, file_offset; /* where block next_seq goes */
	uint32_t last_crc;	       /* header_crc of block next_seq - 1 */
	uint32_t reserved;
};
_Static_assert(sizeof(struct mark_slot) == 80, "durable mark layout is on disk");
#define MARK_FILE_BYTES (2u * BLOCK_ALIGN)

/* Where the next block must be and what it must say. */
struct block_place {
	uint64_t epoch, key;
	uint64_t segment_bytes;
	uint32_t block_bytes; /* largest block */
	uint32_t partition;
	uint64_t segment, file_offset;
	uint64_t seq;
	bool chained; /* false: seq, prev_crc and offset are taken from the block, as at a segment's start */
	uint32_t prev_crc; /* header_crc of the block before */
	uint64_t offset;   /* record offset that the block begins with */
};

/* NULL, or what is wrong with the header of the block at this place. */
const char *block_header_fault(const struct block_header *h, const struct block_place *at);
/* True if this is a header of this journal, partition and segment at this place with any sequence number. */
bool block_header_ours(const struct block_header *h, const struct block_place *at);
/* NULL, or what is wrong with the payload of a block whose header is good. */
const char *block_payload_fault(const struct block_header *h, const void *payload);
/* Adds a record to the counts of its block. */
static inline void block_count(struct journal_counts *counts, const struct record *rec)
{
	bool event = rec->kind == RECORD_EVENT;

	counts->kind[rec->kind & 7]++;
	counts->matched += event && rec->hit_count;
	counts->suppressed += event && rec->flags & RECORD_F_SUPPRESSED;
}
uint32_t block_header_crc(const struct block_header *h);
/* Moves *at behind this good block. */
void block_place_step(struct block_place *at, const struct block_header *h);
/* A block goes into the segment in force if the largest one would fit there, else to the next one's start. */
static inline void block_place_round(struct block_place *at)
{
	if (at->segment_bytes - at->file_offset < at->block_bytes) {
		at->segment++;
		at->file_offset = 0;
	}
}

#endif
