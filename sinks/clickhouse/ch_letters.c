/* Lines of JSON, made and read by jansson. */
#include "ch_letters.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ch_http.h"
#include "clock.h"
#include "durable.h"
#include "event.h"
#include "reserve.h"
#include "value_text.h"

#define ERROR_BYTES_MAX 400
#define ROOM_BYTES 4096u /* of the file system, for a name or a part of a block */

static int letters_fail(const struct ch_letters *l, const char *doing, struct err *err)
{
	return err_set(err, errno ? -errno : -EIO, "clickhouse: %s %s: %s", doing, l->path, strerror(errno));
}

/* A line without its end was never reported as written. */
static int tail_cut(struct ch_letters *l, struct err *err)
{
	char part[4096];

	while (l->bytes) {
		size_t n = l->bytes < sizeof part ? l->bytes : sizeof part;
		off_t from = (off_t)(l->bytes - n);

		if (pread(l->fd, part, n, from) != (ssize_t)n)
			return letters_fail(l, "reading", err);
		while (n && part[n - 1] != '\n')
			n--;
		l->bytes = (uint64_t)from + n;
		if (n)
			break;
	}
	if (ftruncate(l->fd, (off_t)l->bytes))
		return letters_fail(l, "cutting", err);
	return 0;
}

int ch_letters_open(struct ch_letters *l, const char *intent_path, uint64_t bytes_max, struct err *err)
{
	size_t stem = strlen(intent_path) - strlen(".intent");
	struct stat st;

	*l = (struct ch_letters){.fd = -1, .bytes_max = bytes_max};
	snprintf(l->path, sizeof l->path, "%.*s.letters", (int)stem, intent_path);
	l->fd = open(l->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (l->fd < 0)
		return errno == ENOENT ? 0 : letters_fail(l, "opening", err);
	if (fstat(l->fd, &st))
		return letters_fail(l, "opening", err);
	l->bytes = (uint64_t)st.st_size;
	return tail_cut(l, err);
}

void ch_letters_close(struct ch_letters *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

/* Somebody has moved the file away, as he may: what is written to it now would not be found. */
static void letters_refind(struct ch_letters *l)
{
	struct stat open_one, named;

	if (l->fd < 0 || (fstat(l->fd, &open_one) == 0 && lstat(l->path, &named) == 0 &&
				 open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino))
		return;
	ch_letters_close(l);
	l->bytes = 0;
}

static int letters_make(struct ch_letters *l, struct err *err)
{
	char dir[sizeof l->path];
	struct stat st;
	int rc;

	if (l->fd >= 0)
		return 0;
	do
		l->fd = open(l->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	while (l->fd < 0 && (errno == ENOSPC || errno == EDQUOT) && reserve_release(ROOM_BYTES));
	if (l->fd < 0 || fstat(l->fd, &st))
		return letters_fail(l, "making", err);
	l->bytes = (uint64_t)st.st_size;
	snprintf(dir, sizeof dir, "%s", l->path);
	*strrchr(dir, '/') = 0;
	rc = durable_dir_sync(dir);
	return rc ? err_set(err, rc, "clickhouse: sync of %s: %s", dir, strerror(-rc)) : 0;
}

/* The text if it is one, else hexadecimal digits under another name. */
static void bytes_set(json_t *o, const char *text_key, const char *hex_key, const uint8_t *data, size_t bytes)
{
	json_t *text = json_stringn((const char *)data, bytes);
	char *hex;

	if (text) {
		json_object_set_new(o, text_key, text);
		return;
	}
	hex = malloc(2 * bytes + 1);
	if (!hex)
		return;
	for (size_t i = 0; i < bytes; i++)
		snprintf(hex + 2 * i, 3, "%02x", data[i]);
	json_object_set_new(o, hex_key, json_string(hex));
	free(hex);
}

static json_t *letter_json(const struct ch_letter *letter)
{
	char address[ADDRESS_TEXT_BYTES], id[UUID_TEXT_BYTES];
	const struct record *rec = letter->rec;
	const char *name = ch_code_name(letter->code);
	bool event = rec->kind == RECORD_EVENT;
	json_t *o;

	address_text(address, &letter->at);
	o = json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:I}", "address", address, "table", letter->table,
		"code", (json_int_t)letter->code, "name", name ? name : "", "rows", (json_int_t)letter->rows,
		"time_ms", (json_int_t)clock_wall_ms(), "receive_time_ms", (json_int_t)rec->receive_time_ms);
	if (!o)
		return NULL;
	bytes_set(o, "error", "error_hex", (const uint8_t *)letter->error,
		strnlen(letter->error, ERROR_BYTES_MAX));
	if (event) {
		uuid_text(id, rec->event_id);
		json_object_set_new(o, "event_id", json_string(id));
	}
	if (event || rec->kind == RECORD_REFUSED || rec->kind == RECORD_LATE)
		bytes_set(o, "raw", "raw_hex", record_payload(rec), rec->raw_bytes);
	else
		bytes_set(o, "record", "record_hex", (const uint8_t *)rec, rec->bytes);
	return o;
}

static int line_write(struct ch_letters *l, const char *line, size_t bytes, struct err *err)
{
	bool full;
	int rc;

	do {
		ssize_t n;

		errno = 0;
		n = write(l->fd, line, bytes);
		if (n == (ssize_t)bytes && fdatasync(l->fd) == 0) {
			l->bytes += bytes;
			return 0;
		}
		full = errno == ENOSPC || errno == EDQUOT || (n >= 0 && n < (ssize_t)bytes);
		if (full)
			errno = ENOSPC;
		rc = letters_fail(l, "writing", err);
		if (ftruncate(l->fd, (off_t)l->bytes)) /* else it is cut at the next open */
			full = false;
	} while (full && reserve_release(bytes + ROOM_BYTES));
	return rc;
}

int ch_letters_add(struct ch_letters *l, const struct ch_letter *letter, struct err *err)
{
	json_t *o = letter_json(letter);
	char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;
	size_t bytes = line ? strlen(line) : 0;
	int rc;

	json_decref(o);
	if (!line)
		return err_set(err, -ENOMEM, "clickhouse: no memory for a dead letter");
	letters_refind(l);
	rc = letters_make(l, err);
	if (rc == 0 && l->bytes + bytes + 1 > l->bytes_max)
		rc = err_set(err, -EINVAL,
			"clickhouse: %s has %lu bytes of rows that the server refuses, and "
			"clickhouse.letters_max is %lu: "
			"look at them (`sluicectl letters`), mend what refuses them, then move the file "
			"away. Now refused: "
			"%.200s",
			l->path, l->bytes, l->bytes_max, letter->error);
	if (rc == 0) {
		line[bytes] = '\n'; /* in place of the terminating zero */
		rc = line_write(l, line, bytes + 1, err);
	}
	free(line);
	return rc;
}

/* ---- reading ---- */

struct wanted {
	uint64_t epoch, from, to;
	void (*each)(void *arg, uint64_t offset, const char *table, uint64_t rows);
	void *arg;
};

/* node/epoch/partition/offset; a node may not have slashes. */
static bool address_read(const char *text, uint64_t *epoch, uint64_t *offset)
{
	const char *p = text ? strchr(text, '/') : NULL;
	uint32_t partition;

	return p && sscanf(p, "/%" SCNx64 "/%" SCNu32 "/%" SCNu64, epoch, &partition, offset) == 3;
}

static int line_take(const char *line, size_t bytes, const struct wanted *w)
{
	json_t *o = json_loadb(line, bytes, JSON_ALLOW_NUL, NULL);
	const char *table = json_string_value(json_object_get(o, "table"));
	uint64_t epoch, offset;
	int rc = 0;

	if (!table || !address_read(json_string_value(json_object_get(o, "address")), &epoch, &offset))
		rc = -EINVAL;
	else if (epoch == w->epoch && offset >= w->from && offset < w->to)
		w->each(w->arg, offset, table, (uint64_t)json_integer_value(json_object_get(o, "rows")));
	json_decref(o);
	return rc;
}

int ch_letters_each(const struct ch_letters *l, uint64_t epoch, uint64_t from, uint64_t to,
	void (*each)(void *arg, uint64_t offset, const char *table, uint64_t rows), void *arg,
	struct err *err)
{
	struct wanted w = {epoch, from, to, each, arg};
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	FILE *in = fopen(l->path, "re");
	int rc = 0;

	if (!in)
		return errno == ENOENT ? 0 : letters_fail(l, "reading", err);
	while (rc == 0 && (n = getline(&line, &room, in)) > 0)
		rc = line_take(line, (size_t)n, &w);
	free(line);
	fclose(in);
	return rc ? err_set(err, rc, "clickhouse: %s: a line is no dead letter", l->path) : 0;
}
