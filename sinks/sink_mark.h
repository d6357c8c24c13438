/* A position in a file of 32 bytes: magic, epoch, position, CRC32C of these; little endian. Smaller than a
 * sector, so it is written whole or not at all. One thread a file; blocks on the disk. */
#ifndef SLUICE_SINK_MARK_H
#define SLUICE_SINK_MARK_H

#include <stdbool.h>
#include <stdint.h>

/* 1: *position is what was written for a log of this epoch. 0: there is no such file, or it is of another
 * epoch. -EBADMSG: damaged. Others: -errno. */
int sink_mark_read(const char *path, uint64_t epoch, uint64_t *position);

/* Durable when it returns 0, if the file's name is: it is made where it is missing. Else -errno. */
int sink_mark_write(const char *path, uint64_t epoch, uint64_t position);

#endif
