/* See merge_bounds.h. The file, little endian: u32 magic, u32 version, u32 changes and the first bound, each
 * of them i64 step, u64 bytes; u32 CRC32C of what stands before. */
#include "merge_bounds.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "cursor.h"
#include "durable.h"

#define FILE_NAME "merge-memory"
#define FILE_MAGIC 0x6d656d67u
#define FILE_VERSION 1u
#define FILE_BYTES_MAX (12 + 16 * MERGE_BOUNDS_MAX + 4)

void merge_bounds_init(struct merge_bounds *b, uint64_t bytes)
{
	memset(b, 0, sizeof *b);
	b->count = 1;
	b->at[0] = (struct merge_bound){INT64_MIN, bytes};
}

void merge_bounds_add(struct merge_bounds *b, int64_t behind_ms, uint64_t bytes)
{
	if (behind_ms <= b->at[b->count - 1].behind_ms) {
		b->at[b->count - 1].bytes = bytes;
		return;
	}
	if (b->count == MERGE_BOUNDS_MAX) {
		memmove(b->at, b->at + 1, --b->count * sizeof *b->at);
		b->at[0].behind_ms = INT64_MIN;
	}
	b->at[b->count++] = (struct merge_bound){behind_ms, bytes};
}

uint64_t merge_bounds_of(const struct merge_bounds *b, int64_t step_ms, int64_t *until_ms)
{
	uint32_t i = b->count - 1;

	while (i && b->at[i].behind_ms >= step_ms)
		i--;
	*until_ms = i + 1 < b->count ? b->at[i + 1].behind_ms : INT64_MAX;
	return b->at[i].bytes;
}

uint64_t merge_bounds_last(const struct merge_bounds *b)
{
	return b->at[b->count - 1].bytes;
}

uint64_t merge_bounds_largest(const struct merge_bounds *b)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < b->count; i++)
		most = b->at[i].bytes > most ? b->at[i].bytes : most;
	return most;
}

/* ---- the file ---- */

static bool bounds_parse(struct merge_bounds *b, const uint8_t *data, size_t bytes)
{
	struct cursor c = cursor_of(data, bytes);
	uint32_t magic = cursor_le32(&c), version = cursor_le32(&c), count = cursor_le32(&c);

	memset(b, 0, sizeof *b);
	if (magic != FILE_MAGIC || version != FILE_VERSION || !count || count > MERGE_BOUNDS_MAX)
		return false;
	for (; b->count < count; b->count++) {
		struct merge_bound *at = &b->at[b->count];

		at->behind_ms = (int64_t)cursor_le64(&c);
		at->bytes = cursor_le64(&c);
		if (b->count ? at->behind_ms <= at[-1].behind_ms : at->behind_ms != INT64_MIN)
			return false;
	}
	return cursor_le32(&c) == crc32c(0, data, bytes - 4) && !c.failed && !cursor_left(&c);
}

int merge_bounds_read(struct merge_bounds *b, const char *dir, struct err *err)
{
	uint8_t data[FILE_BYTES_MAX + 1];
	char path[4300];
	size_t bytes;
	FILE *f;
	int rc = 0;

	snprintf(path, sizeof path, "%.4200s/" FILE_NAME, dir);
	f = fopen(path, "re");
	if (!f)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	bytes = fread(data, 1, sizeof data, f);
	if (ferror(f))
		rc = err_set(err, -EIO, "%s: it cannot be read", path);
	fclose(f);
	if (rc == 0 && !bounds_parse(b, data, bytes))
		rc = err_set(err, -EBADMSG,
			"%s: damaged, or of a newer version; without it state.memory counts as never changed",
			path);
	return rc;
}

int merge_bounds_write(const struct merge_bounds *b, const char *dir, struct err *err)
{
	struct durable_piece piece;
	struct bytes file = {0};
	int rc;

	bytes_put_u32(&file, FILE_MAGIC);
	bytes_put_u32(&file, FILE_VERSION);
	bytes_put_u32(&file, b->count);
	for (uint32_t i = 0; i < b->count; i++) {
		bytes_put_i64(&file, b->at[i].behind_ms);
		bytes_put_u64(&file, b->at[i].bytes);
	}
	bytes_put_u32(&file, crc32c(0, file.data, file.bytes));
	piece = (struct durable_piece){file.data, file.bytes};
	rc = file.failed ? err_set(err, -ENOMEM, "%s: no memory", dir)
			 : durable_write(dir, FILE_NAME, &piece, 1, NULL, err);
	bytes_free(&file);
	return rc;
}
