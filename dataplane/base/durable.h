/* Files that are whole after any crash: written beside, synced, renamed, and the directory synced. Any
 * thread; blocks on the disk. */
#ifndef SLUICE_DURABLE_H
#define SLUICE_DURABLE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* fsync of a directory: names in it are then durable. 0 or -errno. */
int durable_dir_sync(const char *dir);
/* mkdir -p, each new name durable. */
int durable_dir_make(const char *dir, struct err *err);

/* Moves a file or directory to a name that is free, in the same file system; both directories are synced. */
int durable_move(const char *from, const char *to, struct err *err);
/* rm -r; nothing there is no error. Not in one piece: what a crash leaves is for the caller. */
int durable_tree_remove(const char *path, struct err *err);

/* All of it at the file's place, however many calls that takes; nothing is synced. 0 or -errno. */
int durable_write_all(int fd, const void *data, size_t bytes);

struct durable_piece {
	const void *data;
	size_t bytes;
};

/* Names of crash points (crash.h) behind each step. */
struct durable_points {
	const char *written, *synced, *renamed, *dir_synced;
};

/* DIR/name = the pieces, one after the other. Until it is renamed it is DIR/name.tmp: what a crash leaves of
 * it is for the caller to remove. A full disk: the reserve gives way first (reserve.h). On error (-ENOSPC,
 * -EFBIG, ...) the temporary file is removed and an old DIR/name stays as it was. points: NULL = none. */
int durable_write(const char *dir, const char *name, const struct durable_piece *piece, uint32_t count,
	const struct durable_points *points, struct err *err);

#endif
