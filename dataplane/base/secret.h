/* Files that keys name: what only their owner may know (passwords, tokens), and what anybody may
 * (certificates). Control and sink threads; blocks on the disk. */
#ifndef SLUICE_SECRET_H
#define SLUICE_SECRET_H

#include <stddef.h>

#include "err.h"

/* Reads the whole file as text, without line ends behind it; `key` names the configuration key in errors.
 * path "": the text is empty. -EINVAL: no regular file, others may read it, it is of a stranger, it is longer
 * than out_bytes - 1, or it holds control characters; with `lines` line ends within are not such. */
int secret_file_read(
	char *out, size_t out_bytes, const char *path, const char *key, int lines, struct err *err);

/* For libraries that read a file or directory themselves and whose errors name no key: can it be opened? path
 * "": nothing to say. -EINVAL. */
int public_file_check(const char *path, const char *key, struct err *err);

#endif
