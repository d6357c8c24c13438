/* Checkpoint files: DIR/p<k>-<seq as 16 hex digits>.ckpt, k = partition, or `merge`. Written whole: temporary
 * file, fsync, rename, fsync of the directory. Versioned and checksummed (header and body); the newest that
 * is good counts, a bad one is reported and the one before it taken.
 *
 *   header, 4096 bytes: magic, version, node, input epoch, output epoch, who, seq, input offset, output
 * offset, created, body bytes, CRC32C of body, uids of the windows in force, CRC32C of the header.  Then the
 * body. */
#ifndef SLUICE_CHECKPOINT_H
#define SLUICE_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "err.h"
#include "window.h"

#define CHECKPOINT_MERGE UINT32_MAX /* as `who` */

struct checkpoint_info {
	char node[65];
	uint64_t input_epoch, output_epoch;
	uint32_t who; /* partition or CHECKPOINT_MERGE */
	uint32_t version;
	uint64_t seq;
	uint64_t input_offset;	/* first input record that is not in it (merge: 0, see the body) */
	uint64_t output_offset; /* first output record that came after it */
	int64_t created_ms, watermark_ms;
	int64_t step_ms; /* of the plan */
	uint64_t body_bytes;
	uint32_t partitions; /* P */
	uint32_t window_count;
	uint64_t window_uid[WINDOWS_MAX];
};

int checkpoint_write(
	const char *dir, const struct checkpoint_info *info, const struct bytes *body, struct err *err);
/* The newest good one of `who`; body is filled (caller frees). -ENOENT: none at all. -EBADMSG: none that is
 * good. */
int checkpoint_read_newest(
	const char *dir, uint32_t who, struct checkpoint_info *info, struct bytes *body, struct err *err);
int checkpoint_read(const char *path, struct checkpoint_info *info, struct bytes *body, struct err *err);
/* Ascending by seq; *list is malloc'ed. Files that cannot be read have seq and body_bytes 0 in *info, path is
 * set. */
struct checkpoint_entry {
	char path[400];
	bool good;
	char fault[160];
	struct checkpoint_info info;
};
int checkpoint_list(const char *dir, struct checkpoint_entry **list, uint32_t *count, struct err *err);
/* Removes all but the newest `keep` of `who`; *oldest: header of the oldest that stays. */
int checkpoint_trim(
	const char *dir, uint32_t who, uint32_t keep, struct checkpoint_info *oldest, struct err *err);

#endif
