/* Files of a test, in a directory of its own under the current one. */
#ifndef SLUICE_TEST_ENRICH_FILES_H
#define SLUICE_TEST_ENRICH_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void file_write(const char *path, const void *data, size_t bytes)
{
	FILE *out = fopen(path, "we");

	if (!out || fwrite(data, 1, bytes, out) != bytes || fclose(out))
		abort();
}

static inline void file_write_text(const char *path, const char *text)
{
	file_write(path, text, strlen(text));
}

/* A path that no other test run has; removed by the caller. */
static inline void file_path(char out[64])
{
	int fd;

	snprintf(out, 64, "./enrich-test-XXXXXX");
	fd = mkstemp(out);
	if (fd < 0)
		abort();
	close(fd);
}

#endif
