/* Disk space that is kept for small durable writes (checkpoints, positions, intents, segments of the output
 * log), so that what is stored can leave although the disk is full: a file of that size, one a process, which
 * gives way in steps and is made whole again when there is room. Any thread; blocks on the disk. */
#ifndef SLUICE_RESERVE_H
#define SLUICE_RESERVE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* DIR/reserve of so many bytes, at most a quarter of the file system; 0: none, and one that is there is
 * removed. A disk that has less gives what it has (a warning): the rest comes later. 0 or -errno. */
int reserve_open(const char *dir, uint64_t bytes, struct err *err);
void reserve_close(void);

/* After -ENOSPC or -EDQUOT of writing `bytes` in the reserve's file system. True: so much is free now, as far
 * as others leave it; try again. False: the reserve has not as much. */
bool reserve_release(uint64_t bytes);
/* Makes the reserve whole again, if the disk has room for that and a little more. Now and then, from one
 * thread. */
void reserve_refill(void);
/* Bytes that it has, and that it should have. */
void reserve_stats(uint64_t *bytes, uint64_t *wanted);

/* 0 if the file system of `dir` has room for `bytes` besides what the reserve is still to get back; -ENOSPC.
 */
int disk_room(const char *dir, uint64_t bytes, struct err *err);

#endif
