/* A whole file as private memory: what happens to the file afterwards does not touch who reads the copy.
 * Set-up only. */
#ifndef SLUICE_TABLE_FILE_H
#define SLUICE_TABLE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Reads a regular file of at most bytes_max bytes into *data, to be freed, with one zero byte behind it.
 * Errors begin with the path; -EINVAL: no regular file, empty, too large, or changed while it was read. */
int table_file_read(char **data, size_t *bytes, const char *path, uint64_t bytes_max, struct err *err);

#endif
