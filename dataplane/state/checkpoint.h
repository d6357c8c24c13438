/* Checkpoint files: DIR/p<k>-<seq as 16 hex digits>.ckpt, k = partition; merge-<seq>.ckpt of the merge stage.
 * Savepoints are the same with the end .save: kept until they are removed by hand. Written whole (durable.h):
 * temporary file, fsync, rename, fsync of the directory. Versioned and checksummed (header and body); the
 * newest that is good counts, a bad one is reported and the one before it taken.
 *
 *   header, 4096 bytes, little endian: magic, version, node, input epoch, output epoch, who, seq, input
 * offset, output offset, created, watermark, step, body bytes, partitions, CRC32C of the body, the
 * generation of rules in force, uids of the windows in force, name of the savepoint; zeros; in the last 4
 * bytes CRC32C of what stands before. Then the body.
 *
 * Magic, version and the header's CRC stay where they are in every version: so any reader can tell a newer
 * file from a damaged one. The body's own format is its stage's. Set-up and a partition's own thread; blocks
 * on disk. */
#ifndef SLUICE_CHECKPOINT_H
#define SLUICE_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "window.h"

#define CHECKPOINT_MERGE UINT32_MAX /* as `who` */
#define CHECKPOINT_VERSION 1u	    /* written; read: this and the one before it */
#define CHECKPOINT_HEADER_BYTES 4096u

struct checkpoint_info {
	char node[65];
	uint64_t input_epoch, output_epoch;
	uint32_t who;	  /* partition or CHECKPOINT_MERGE */
	uint32_t version; /* of the file; not looked at when written */
	uint64_t seq;
	uint64_t input_offset;	/* first input record that is not in it (merge: 0, see the body) */
	uint64_t output_offset; /* first output record that came after it */
	int64_t created_ms, watermark_ms;
	int64_t step_ms; /* of the plan */
	uint64_t body_bytes;
	uint32_t partitions; /* P */
	uint32_t window_count;
	uint64_t window_uid[WINDOWS_MAX];
	char savepoint[64];  /* its name; "": an ordinary checkpoint */
	uint32_t generation; /* of rules in force, which the body names; 0: none */
};

/* info->savepoint tells under which end. DIR must exist. On an error (-ENOSPC, ...) the temporary file is
 * removed and the older checkpoints stay. Crash points: checkpoint_written, checkpoint_synced,
 * checkpoint_renamed, checkpoint_dir_synced. */
int checkpoint_write(
	const char *dir, const struct checkpoint_info *info, const struct bytes *body, struct err *err);
/* The newest good one of `who`, savepoints too; body is filled (caller frees). -ENOENT: none at all.
 * -EBADMSG: none that is good. -EPROTO: the newest is of a version that this binary does not read: nothing is
 * skipped then, the reason says what to do. */
int checkpoint_read_newest(
	const char *dir, uint32_t who, struct checkpoint_info *info, struct bytes *body, struct err *err);
/* body NULL: checked, not kept. -EBADMSG, -EPROTO as above, or what open(2) gave. */
int checkpoint_read(const char *path, struct checkpoint_info *info, struct bytes *body, struct err *err);
/* Of every `who`, ascending by seq; *list is malloc'ed. Bodies are read and checked. Files that cannot be
 * read have seq and body_bytes 0 in info; path and fault are set. No directory: none. */
struct checkpoint_entry {
	char path[400];
	bool good;
	char fault[160];
	struct checkpoint_info info;
};
int checkpoint_list(const char *dir, struct checkpoint_entry **list, uint32_t *count, struct err *err);
/* Removes all but the newest `keep` good ones of `who`, damaged ones that are older than these, and what a
 * crash left of unfinished ones. Savepoints and files of newer versions stay. *oldest: header of the oldest
 * checkpoint that stays; a savepoint does not count (it holds back no retention) unless there is nothing
 * else: then the newest. -ENOENT: nothing is left. Headers are checked, bodies are not read. The thread that
 * writes. */
int checkpoint_trim(
	const char *dir, uint32_t who, uint32_t keep, struct checkpoint_info *oldest, struct err *err);

#endif
