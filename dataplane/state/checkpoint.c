/* Checkpoint files: see checkpoint.h. A reader of hostile bytes: everything is checked before it is believed.
 */
#include "checkpoint.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "cursor.h"
#include "durable.h"
#include "log.h"

#define MAGIC 0x74706b6563696c73ull /* "slicekpt" */
#define NODE_BYTES 72u		    /* 64, a zero, up to a multiple of 8 */
#define CRC_AT (CHECKPOINT_HEADER_BYTES - 4u)
#define CHUNK_BYTES 65536u
#define NAME_BYTES 48u

static const struct durable_points points = {
	"checkpoint_written", "checkpoint_synced", "checkpoint_renamed", "checkpoint_dir_synced"};

/* ---- names ---- */

static void file_name(char out[NAME_BYTES], uint32_t who, uint64_t seq, bool save)
{
	const char *end = save ? "save" : "ckpt";

	if (who == CHECKPOINT_MERGE)
		snprintf(out, NAME_BYTES, "merge-%016" PRIx64 ".%s", seq, end);
	else
		snprintf(out, NAME_BYTES, "p%" PRIu32 "-%016" PRIx64 ".%s", who, seq, end);
}

struct place {
	uint32_t who;
	uint64_t seq;
	bool save, temp;
};

/* False: no name that file_name() makes (with .tmp behind it: temp). */
static bool name_read(const char *name, struct place *at)
{
	char again[NAME_BYTES];
	const char *dash = strchr(name, '-');
	size_t n;

	if (!dash || strlen(dash) < 1 + 16 + 5)
		return false;
	at->who = strncmp(name, "merge-", 6) == 0 ? CHECKPOINT_MERGE : (uint32_t)strtoul(name + 1, NULL, 10);
	at->seq = strtoull(dash + 1, NULL, 16);
	at->save = strncmp(dash + 17, ".save", 5) == 0;
	file_name(again, at->who, at->seq, at->save);
	n = strlen(again);
	at->temp = strcmp(name + (strlen(name) < n ? strlen(name) : n), ".tmp") == 0;
	return strncmp(name, again, n) == 0 && (at->temp || !name[n]);
}

/* ---- header ---- */

static void header_put(struct bytes *out, const struct checkpoint_info *info, const struct bytes *body)
{
	char node[NODE_BYTES] = "", name[sizeof info->savepoint] = "";

	memcpy(node, info->node, strnlen(info->node, sizeof info->node - 1));
	memcpy(name, info->savepoint, strnlen(info->savepoint, sizeof name - 1));
	bytes_put_u64(out, MAGIC);
	bytes_put_u32(out, CHECKPOINT_VERSION);
	bytes_put_u32(out, info->who);
	bytes_put(out, node, sizeof node);
	bytes_put_u64(out, info->input_epoch);
	bytes_put_u64(out, info->output_epoch);
	bytes_put_u64(out, info->seq);
	bytes_put_u64(out, info->input_offset);
	bytes_put_u64(out, info->output_offset);
	bytes_put_i64(out, info->created_ms);
	bytes_put_i64(out, info->watermark_ms);
	bytes_put_i64(out, info->step_ms);
	bytes_put_u64(out, body->bytes);
	bytes_put_u32(out, crc32c(0, body->data, body->bytes));
	bytes_put_u32(out, info->partitions);
	bytes_put_u32(out, info->window_count);
	bytes_put_u32(out, info->generation);
	bytes_put(out, info->window_uid, info->window_count * sizeof *info->window_uid);
	bytes_put(out, name, sizeof name);
}

/* Version 1. The header's CRC holds; the values are anything. */
static bool header_read_1(struct cursor *c, struct checkpoint_info *info, uint32_t *body_crc)
{
	const uint8_t *node, *name;

	info->who = cursor_le32(c);
	node = cursor_take(c, NODE_BYTES);
	info->input_epoch = cursor_le64(c);
	info->output_epoch = cursor_le64(c);
	info->seq = cursor_le64(c);
	info->input_offset = cursor_le64(c);
	info->output_offset = cursor_le64(c);
	info->created_ms = (int64_t)cursor_le64(c);
	info->watermark_ms = (int64_t)cursor_le64(c);
	info->step_ms = (int64_t)cursor_le64(c);
	info->body_bytes = cursor_le64(c);
	*body_crc = cursor_le32(c);
	info->partitions = cursor_le32(c);
	info->window_count = cursor_le32(c);
	info->generation = cursor_le32(c);
	if (info->window_count > WINDOWS_MAX)
		return false;
	for (uint32_t i = 0; i < info->window_count; i++)
		info->window_uid[i] = cursor_le64(c);
	name = cursor_take(c, sizeof info->savepoint);
	if (c->failed || !memchr(node, 0, sizeof info->node) || !memchr(name, 0, sizeof info->savepoint))
		return false;
	memcpy(info->node, node, strlen((const char *)node) + 1);
	memcpy(info->savepoint, name, strlen((const char *)name) + 1);
	return info->step_ms > 0 && info->partitions > 0 &&
	       (info->who < info->partitions || info->who == CHECKPOINT_MERGE);
}

/* A version that comes later adds its row and keeps the one before it. */
static const struct {
	uint32_t version;
	bool (*read)(struct cursor *c, struct checkpoint_info *info, uint32_t *body_crc);
} readers[] = {{1, header_read_1}};

static int header_read(const uint8_t header[CHECKPOINT_HEADER_BYTES], struct checkpoint_info *info,
	uint32_t *body_crc, struct err *err)
{
	struct cursor c = cursor_of(header, CRC_AT), crc = cursor_of(header + CRC_AT, 4);
	uint32_t version;

	memset(info, 0, sizeof *info);
	if (cursor_le64(&c) != MAGIC)
		return err_set(err, -EBADMSG, "no checkpoint: its first bytes are others");
	version = cursor_le32(&c);
	if (crc32c(0, header, CRC_AT) != cursor_le32(&crc))
		return err_set(err, -EBADMSG, "damaged: the header's checksum is wrong");
	for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
		if (readers[i].version != version)
			continue;
		if (!readers[i].read(&c, info, body_crc)) {
			memset(info, 0, sizeof *info);
			return err_set(err, -EBADMSG, "damaged: the header's values are out of range");
		}
		info->version = version;
		return 0;
	}
	return err_set(err, -EPROTO,
		"made by %s version (format %u; this one reads %u to %u): start that version again, or "
		"remove the checkpoints if journal and output log are whole (they begin at offset 0)",
		version > CHECKPOINT_VERSION ? "a newer" : "an older", version, readers[0].version,
		CHECKPOINT_VERSION);
}

/* ---- reading ---- */

static int read_all(int fd, void *data, size_t bytes)
{
	uint8_t *at = data;

	while (bytes) {
		ssize_t n = read(fd, at, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		at += n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* Opens the file and reads its header; *fd stands at the body, which is in the file whole. */
static int head_open(
	const char *path, int *fd, struct checkpoint_info *info, uint32_t *body_crc, struct err *err)
{
	uint8_t header[CHECKPOINT_HEADER_BYTES];
	struct stat s;
	int rc = 0;

	memset(info, 0, sizeof *info);
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (fstat(*fd, &s))
		rc = err_set(err, -errno, "%s", strerror(errno));
	else if (!S_ISREG(s.st_mode) || s.st_size < (off_t)sizeof header)
		rc = err_set(err, -EBADMSG, "damaged: shorter than a header");
	if (!rc) {
		rc = read_all(*fd, header, sizeof header);
		if (rc)
			rc = err_set(err, rc, "%s", strerror(-rc));
	}
	if (!rc)
		rc = header_read(header, info, body_crc, err);
	if (!rc && info->body_bytes != (uint64_t)s.st_size - sizeof header)
		rc = err_set(err, -EBADMSG, "damaged: %" PRIu64 " bytes behind the header; it says %" PRIu64,
			(uint64_t)s.st_size - sizeof header, info->body_bytes);
	if (!rc)
		return 0;
	memset(info, 0, sizeof *info);
	err_prefix(err, "%s", path);
	close(*fd);
	*fd = -1;
	return rc;
}

/* Into `body`, or nowhere. */
static int body_read(int fd, uint64_t bytes, uint32_t want, struct bytes *body, struct err *err)
{
	uint8_t chunk[CHUNK_BYTES], *at = body ? bytes_room(body, bytes) : NULL;
	uint32_t crc = 0;
	int rc = 0;

	if (body && !at)
		return err_set(err, -ENOMEM, "no memory for %" PRIu64 " bytes", bytes);
	for (uint64_t left = bytes; left && !rc;) {
		size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
		uint8_t *to = at ? at + (bytes - left) : chunk;

		rc = read_all(fd, to, n);
		crc = rc ? 0 : crc32c(crc, to, n);
		left -= n;
	}
	if (rc)
		return err_set(err, rc, "%s", strerror(-rc));
	return crc == want ? 0 : err_set(err, -EBADMSG, "damaged: the body's checksum is wrong");
}

int checkpoint_read(const char *path, struct checkpoint_info *info, struct bytes *body, struct err *err)
{
	uint32_t crc;
	int fd, rc;

	if (body)
		bytes_reset(body);
	rc = head_open(path, &fd, info, &crc, err);
	if (rc)
		return rc;
	rc = body_read(fd, info->body_bytes, crc, body, err);
	close(fd);
	if (rc) {
		memset(info, 0, sizeof *info);
		if (body)
			bytes_reset(body);
		err_prefix(err, "%s", path);
	}
	return rc;
}

/* ---- a directory's files ---- */

struct files {
	struct place *at;
	uint32_t count;
};

static int by_seq(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	if (x->who != y->who)
		return x->who < y->who ? -1 : 1;
	return (int)x->save - (int)y->save;
}

/* All names that are checkpoints', ascending. No directory: none. */
static int files_find(const char *dir, struct files *files, struct err *err)
{
	DIR *d = opendir(dir);
	struct place at, *more;

	*files = (struct files){0};
	if (!d)
		return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", dir, strerror(errno));
	for (struct dirent *e = readdir(d); e; e = readdir(d)) {
		if (!name_read(e->d_name, &at))
			continue;
		more = realloc(files->at, (files->count + 1u) * sizeof *more);
		if (!more) {
			closedir(d);
			free(files->at);
			return err_set(err, -ENOMEM, "%s: no memory", dir);
		}
		files->at = more;
		more[files->count++] = at;
	}
	closedir(d);
	if (files->count)
		qsort(files->at, files->count, sizeof *files->at, by_seq);
	return 0;
}

static void path_of(char *out, size_t cap, const char *dir, const struct place *at)
{
	char name[NAME_BYTES];

	file_name(name, at->who, at->seq, at->save);
	snprintf(out, cap, "%s/%s%s", dir, name, at->temp ? ".tmp" : "");
}

/* What a file is must be what its name says. */
static int place_check(
	const char *path, const struct place *at, const struct checkpoint_info *info, struct err *err)
{
	if (info->who == at->who && info->seq == at->seq && at->save == (info->savepoint[0] != 0))
		return 0;
	return err_set(err, -EBADMSG, "%s: damaged: the header is that of another checkpoint", path);
}

static int place_read(const char *dir, const struct place *at, char *path, size_t cap,
	struct checkpoint_info *info, struct bytes *body, struct err *err)
{
	int rc;

	path_of(path, cap, dir, at);
	rc = checkpoint_read(path, info, body, err);
	return rc ? rc : place_check(path, at, info, err);
}

int checkpoint_read_newest(
	const char *dir, uint32_t who, struct checkpoint_info *info, struct bytes *body, struct err *err)
{
	struct files files;
	uint32_t bad = 0;
	struct err last;
	char path[400];
	int rc = files_find(dir, &files, err);

	memset(info, 0, sizeof *info);
	bytes_reset(body);
	if (rc)
		return rc;
	rc = -ENOENT;
	for (uint32_t i = files.count; i-- > 0;) {
		if (files.at[i].who != who || files.at[i].temp)
			continue;
		rc = place_read(dir, &files.at[i], path, sizeof path, info, body, err);
		if (!rc || rc == -EPROTO || rc == -ENOMEM)
			break;
		log_warn("checkpoint", "%s; taking the one before it", err->text);
		bad++;
	}
	free(files.at);
	if (!rc)
		return 0;
	memset(info, 0, sizeof *info);
	bytes_reset(body);
	if (rc == -EPROTO || rc == -ENOMEM)
		return rc;
	if (!bad)
		return err_set(err, -ENOENT, "%s: no checkpoint", dir);
	last = *err;
	return err_set(err, -EBADMSG, "none of %u checkpoints is good; the oldest: %.400s", bad, last.text);
}

int checkpoint_list(const char *dir, struct checkpoint_entry **list, uint32_t *count, struct err *err)
{
	struct files files;
	int rc = files_find(dir, &files, err);

	*list = NULL;
	*count = 0;
	if (rc || !files.count)
		return rc;
	*list = calloc(files.count, sizeof **list);
	if (!*list)
		rc = err_set(err, -ENOMEM, "%s: no memory", dir);
	for (uint32_t i = 0; i < files.count && !rc; i++) {
		struct checkpoint_entry *e = &(*list)[*count];
		struct err fault;

		if (files.at[i].temp)
			continue;
		(*count)++;
		e->good = !place_read(dir, &files.at[i], e->path, sizeof e->path, &e->info, NULL, &fault);
		if (e->good)
			continue;
		memset(&e->info, 0, sizeof e->info);
		e->info.who = files.at[i].who;
		/* The text starts with the path, which is there already. */
		snprintf(e->fault, sizeof e->fault, "%.*s", (int)sizeof e->fault - 1,
			fault.text + strnlen(e->path, sizeof e->path) + 2);
	}
	free(files.at);
	return rc;
}

/* ---- writing and removing ---- */

int checkpoint_write(
	const char *dir, const struct checkpoint_info *info, const struct bytes *body, struct err *err)
{
	static const uint8_t zeros[CHECKPOINT_HEADER_BYTES];
	struct durable_piece piece[2];
	struct bytes header = {0};
	char name[NAME_BYTES];
	int rc;

	assert(info->window_count <= WINDOWS_MAX && info->step_ms > 0);
	assert(info->who < info->partitions || info->who == CHECKPOINT_MERGE);
	if (body->failed)
		return err_set(err, -ENOMEM, "checkpoint: no memory for the state");
	header_put(&header, info, body);
	bytes_put(&header, zeros, CRC_AT - header.bytes);
	if (!header.failed)
		bytes_put_u32(&header, crc32c(0, header.data, CRC_AT));
	if (header.failed) {
		bytes_free(&header);
		return err_set(err, -ENOMEM, "checkpoint: no memory");
	}
	assert(header.bytes == CHECKPOINT_HEADER_BYTES);
	file_name(name, info->who, info->seq, info->savepoint[0] != 0);
	piece[0] = (struct durable_piece){header.data, header.bytes};
	piece[1] = (struct durable_piece){body->data, body->bytes};
	rc = durable_write(dir, name, piece, 2, &points, err);
	bytes_free(&header);
	return rc;
}

static int file_remove(const char *dir, const struct place *at, struct err *err)
{
	char path[400];

	path_of(path, sizeof path, dir, at);
	if (unlink(path) == 0 || errno == ENOENT)
		return 0;
	return err_set(err, -errno, "%s: cannot remove it: %s", path, strerror(errno));
}

/* The header of a file in *info; 0, or the error. */
static int place_head(const char *dir, const struct place *at, struct checkpoint_info *info)
{
	struct err err;
	char path[400];
	uint32_t crc;
	int fd, rc;

	path_of(path, sizeof path, dir, at);
	rc = head_open(path, &fd, info, &crc, &err);
	if (rc)
		return rc;
	close(fd);
	return place_check(path, at, info, &err);
}

/* Walks one `who` from the newest down. */
struct trim {
	uint32_t keep, good;
	bool found; /* *oldest is filled */
	struct checkpoint_info *oldest;
};

/* Whether a file goes. */
static bool trim_takes(struct trim *t, const char *dir, const struct place *at)
{
	struct checkpoint_info info;
	int fault;

	if (at->temp)
		return true;
	fault = place_head(dir, at, &info);
	if (fault == -EPROTO)
		return false;
	if (at->save || fault) {
		if (!fault && !t->found)
			*t->oldest = info;
		t->found |= !fault;
		return !at->save && t->good == t->keep;
	}
	if (t->good == t->keep)
		return true;
	*t->oldest = info;
	t->found = true;
	t->good++;
	return false;
}

int checkpoint_trim(
	const char *dir, uint32_t who, uint32_t keep, struct checkpoint_info *oldest, struct err *err)
{
	struct trim t = {.keep = keep ? keep : 1, .oldest = oldest};
	struct files files;
	int rc = files_find(dir, &files, err);

	memset(oldest, 0, sizeof *oldest);
	if (rc)
		return rc;
	for (uint32_t i = files.count; i-- > 0;)
		if (files.at[i].who == who && trim_takes(&t, dir, &files.at[i])) {
			int code = file_remove(dir, &files.at[i], rc ? NULL : err);

			rc = rc ? rc : code;
		}
	free(files.at);
	if (rc)
		return rc;
	return t.found ? 0 : err_set(err, -ENOENT, "%s: no checkpoint is left", dir);
}
