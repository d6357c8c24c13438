/* See closings.h. */
#include "closings.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "crc32c.h"
#include "durable.h"
#include "hash.h"
#include "log.h"

#define FILE_NAME "alerts-closed.log"
#define BUCKETS 16384u /* power of two */
#define HEAD_BYTES 9u  /* CRC and space */

const char *const closing_as_name[] = {
	[CLOSED_TRUE] = "true", [CLOSED_FALSE] = "false", [CLOSED_UNSURE] = "unsure"};

struct tally {
	char *rule;
	uint32_t before; /* of the same bucket + 1; 0: none */
	char version[17];
	struct closing_counts counts;
};

struct entry {
	struct closing *c;
	uint32_t before; /* older entry of the same bucket + 1; 0: none */
};

/* Who writes holds writing for as long as that takes, and lock for what is in memory: who reads waits for no
 * disk. */
struct closings {
	pthread_mutex_t writing, lock;
	char dir[300], path[320];
	int fd;
	struct entry entry[CLOSINGS_MAX];
	uint32_t count;
	uint32_t bucket[BUCKETS]; /* newest entry + 1 */
	struct tally *tally;
	uint32_t tally_count, tally_room;
	uint32_t tally_bucket[BUCKETS]; /* by rule: newest tally + 1 */
	uint64_t damaged;
	bool folded; /* while the file is read: it has more than is kept */
};

enum closing_as closing_as_of(const char *name)
{
	int as = 0;

	while (as < CLOSING_AS_COUNT && strcmp(name, closing_as_name[as]) != 0)
		as++;
	return (enum closing_as)as;
}

double closing_precision(const struct closing_counts *c)
{
	uint64_t judged = c->n[CLOSED_TRUE] + c->n[CLOSED_FALSE];

	return judged ? (double)c->n[CLOSED_TRUE] / (double)judged : NAN;
}

/* ---- lines ---- */
static bool text_take(const json_t *object, const char *name, char *out, size_t room)
{
	const json_t *value = json_object_get(object, name);
	size_t bytes = json_string_length(value);

	if (!json_is_string(value) || bytes >= room || memchr(json_string_value(value), 0, bytes))
		return false;
	memcpy(out, json_string_value(value), bytes);
	out[bytes] = 0;
	return true;
}

static bool number_take(const json_t *value, uint64_t most, uint64_t *out)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*out = (uint64_t)json_integer_value(value);
	return *out <= most;
}

static bool version_good(const char *version)
{
	return strspn(version, "0123456789abcdef") == strlen(version);
}

static int closing_read(const json_t *object, struct closing *c, struct closing_counts *counts)
{
	const json_t *folded = json_object_get(object, "folded");
	uint64_t uid, pid, time_ms;
	char as[16];

	if (!text_take(object, "rule", c->rule, sizeof c->rule) || !c->rule[0] ||
		!text_take(object, "version", c->version, sizeof c->version) || !version_good(c->version))
		return 0;
	if (folded) {
		for (size_t i = 0; i < CLOSING_AS_COUNT; i++)
			if (!number_take(json_array_get(folded, i), INT64_MAX / 2, &counts->n[i]))
				return 0;
		return json_array_size(folded) == CLOSING_AS_COUNT ? 2 : 0;
	}
	if (!text_take(object, "as", as, sizeof as) ||
		!text_take(object, "alert", c->alert, sizeof c->alert) || !c->alert[0] ||
		!text_take(object, "note", c->note, sizeof c->note) ||
		!number_take(json_object_get(object, "t"), INT64_MAX, &time_ms) ||
		!number_take(json_object_get(object, "uid"), UINT32_MAX, &uid) ||
		!number_take(json_object_get(object, "pid"), UINT32_MAX, &pid))
		return 0;
	c->as = closing_as_of(as);
	c->time_ms = (int64_t)time_ms;
	c->uid = (uint32_t)uid;
	c->pid = (uint32_t)pid;
	return c->as < CLOSING_AS_COUNT;
}

int closing_parse(const char *line, size_t bytes, struct closing *c, struct closing_counts *counts)
{
	char head[HEAD_BYTES + 1];
	json_t *object;
	int kind;

	memset(c, 0, sizeof *c);
	memset(counts, 0, sizeof *counts);
	if (bytes <= HEAD_BYTES || bytes > CLOSING_LINE_MAX)
		return 0;
	snprintf(head, sizeof head, "%08" PRIx32 " ", crc32c(0, line + HEAD_BYTES, bytes - HEAD_BYTES));
	if (memcmp(line, head, HEAD_BYTES) != 0)
		return 0;
	object = json_loadb(line + HEAD_BYTES, bytes - HEAD_BYTES, JSON_REJECT_DUPLICATES, NULL);
	kind = json_is_object(object) ? closing_read(object, c, counts) : 0;
	json_decref(object);
	return kind;
}

/* Consumes the object. */
static void line_put(struct bytes *out, json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	char head[HEAD_BYTES + 1];

	json_decref(object);
	if (!text) {
		out->failed = true;
		return;
	}
	snprintf(head, sizeof head, "%08" PRIx32 " ", crc32c(0, text, strlen(text)));
	bytes_put(out, head, HEAD_BYTES);
	bytes_put(out, text, strlen(text));
	bytes_put(out, "\n", 1);
	free(text);
}

static void closing_put_line(struct bytes *out, const struct closing *c)
{
	line_put(
		out, json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:s, s:s}", "t", (json_int_t)c->time_ms, "uid",
			     (json_int_t)c->uid, "pid", (json_int_t)c->pid, "as", closing_as_name[c->as],
			     "alert", c->alert, "rule", c->rule, "version", c->version, "note", c->note));
}

static void tally_put_line(struct bytes *out, const struct tally *t, const struct closing_counts *counts)
{
	line_put(out, json_pack("{s:[I, I, I], s:s, s:s}", "folded", (json_int_t)counts->n[CLOSED_TRUE],
			      (json_int_t)counts->n[CLOSED_FALSE], (json_int_t)counts->n[CLOSED_UNSURE],
			      "rule", t->rule, "version", t->version));
}

/* ---- in memory ---- */
static uint32_t hash_of(const char *text)
{
	return (uint32_t)hash_bytes(text, strlen(text), 0) & (BUCKETS - 1);
}

static struct tally *tally_find(const struct closings *s, const char *rule, const char *version)
{
	for (uint32_t i = s->tally_bucket[hash_of(rule)]; i; i = s->tally[i - 1].before)
		if (strcmp(s->tally[i - 1].version, version) == 0 && strcmp(s->tally[i - 1].rule, rule) == 0)
			return &s->tally[i - 1];
	return NULL;
}

/* Made if need be; NULL: no memory, or too many. */
static struct tally *tally_of(struct closings *s, const char *rule, const char *version)
{
	struct tally *t = tally_find(s, rule, version);
	uint32_t *bucket = &s->tally_bucket[hash_of(rule)];

	if (t || s->tally_count == CLOSINGS_TALLIES_MAX)
		return t;
	if (s->tally_count == s->tally_room) {
		uint32_t room = s->tally_room * 2 + 16;
		struct tally *more = realloc(s->tally, room * sizeof *more);

		if (!more)
			return NULL;
		s->tally = more;
		s->tally_room = room;
	}
	t = &s->tally[s->tally_count];
	*t = (struct tally){.rule = strdup(rule), .before = *bucket};
	if (!t->rule)
		return NULL;
	snprintf(t->version, sizeof t->version, "%s", version);
	*bucket = ++s->tally_count;
	return t;
}

static uint32_t *bucket_of(struct closings *s, const char *alert)
{
	return &s->bucket[hash_of(alert)];
}

/* The newest entry about the alert; NULL: none. */
static struct closing *entry_find(struct closings *s, const char *alert)
{
	for (uint32_t i = *bucket_of(s, alert); i; i = s->entry[i - 1].before)
		if (strcmp(s->entry[i - 1].c->alert, alert) == 0)
			return s->entry[i - 1].c;
	return NULL;
}

static void entry_link(struct closings *s, uint32_t i)
{
	uint32_t *bucket = bucket_of(s, s->entry[i].c->alert);

	s->entry[i].before = *bucket;
	*bucket = i + 1;
}

/* False: no memory, or too many rules; nothing has changed. */
static bool entry_add(struct closings *s, const struct closing *c)
{
	const struct closing *was = entry_find(s, c->alert);
	struct closing *copy = malloc(sizeof *copy);
	struct tally *now = tally_of(s, c->rule, c->version), *then;

	if (!copy || !now) {
		free(copy);
		return false;
	}
	*copy = *c;
	if (was) {
		then = tally_find(s, was->rule, was->version);
		if (then && then->counts.n[was->as])
			then->counts.n[was->as]--;
	}
	now->counts.n[c->as]++;
	s->entry[s->count].c = copy;
	entry_link(s, s->count++);
	return true;
}

/* ---- the file ---- */

/* Folded counts are those without the entries that stay, which are counted again when the file is read. */
static void file_text(struct closings *s, uint32_t first, struct bytes *out)
{
	struct closing_counts *left = calloc(s->tally_count + 1u, sizeof *left);

	if (!left) {
		out->failed = true;
		return;
	}
	for (uint32_t i = 0; i < s->tally_count; i++)
		left[i] = s->tally[i].counts;
	for (uint32_t k = first; k < s->count; k++) {
		const struct closing *c = s->entry[k].c;
		struct tally *tally =
			entry_find(s, c->alert) == c ? tally_find(s, c->rule, c->version) : NULL;

		if (tally && left[tally - s->tally].n[c->as])
			left[tally - s->tally].n[c->as]--;
	}
	for (uint32_t i = 0; i < s->tally_count; i++)
		if (left[i].n[CLOSED_TRUE] || left[i].n[CLOSED_FALSE] || left[i].n[CLOSED_UNSURE])
			tally_put_line(out, &s->tally[i], &left[i]);
	for (uint32_t k = first; k < s->count; k++)
		closing_put_line(out, s->entry[k].c);
	free(left);
}

static int file_open(struct closings *s, struct err *err)
{
	bool fresh = access(s->path, F_OK) != 0;

	s->fd = open(s->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (s->fd < 0)
		return err_set(err, -errno, "%s: %s", s->path, strerror(errno));
	return fresh && durable_dir_sync(s->dir) ? err_set(err, -EIO, "%s: cannot be synced", s->dir) : 0;
}

/* The file anew, without the first entries. */
static int file_write(struct closings *s, uint32_t first, struct err *err)
{
	struct durable_piece piece;
	struct bytes text = {0};
	int rc;

	file_text(s, first, &text);
	piece = (struct durable_piece){text.data, text.bytes};
	rc = text.failed ? err_set(err, -ENOMEM, "%s: no memory", s->path)
			 : durable_write(s->dir, FILE_NAME, &piece, 1, NULL, err);
	bytes_free(&text);
	if (rc)
		return rc;
	close(s->fd);
	return file_open(s, err);
}

/* Forgets the first entries; what they count for stays. */
static void entries_fold(struct closings *s, uint32_t first)
{
	for (uint32_t i = 0; i < first; i++)
		free(s->entry[i].c);
	s->count -= first;
	memmove(s->entry, s->entry + first, s->count * sizeof *s->entry);
	memset(s->bucket, 0, sizeof s->bucket);
	for (uint32_t i = 0; i < s->count; i++)
		entry_link(s, i);
}

static void line_take(struct closings *s, const char *line, size_t bytes, uint64_t number)
{
	struct closing_counts counts;
	struct tally *tally;
	struct closing c;
	int kind = closing_parse(line, bytes, &c, &counts);
	bool taken = false;

	if (kind == 1) {
		if (s->count == CLOSINGS_MAX) {
			entries_fold(s, CLOSINGS_MAX / 2);
			s->folded = true;
		}
		taken = entry_add(s, &c);
	} else if (kind == 2) {
		tally = tally_of(s, c.rule, c.version);
		for (int i = 0; tally && i < CLOSING_AS_COUNT; i++)
			tally->counts.n[i] += counts.n[i];
		taken = tally != NULL;
	}
	if (!taken && !s->damaged++)
		log_warn("alerts", "%s: line %" PRIu64 " is none of ours, or damaged: passed over", s->path,
			number);
}

/* A line that a crash cut off gets its end, so that what follows stands by itself. */
static int file_read(struct closings *s, struct err *err)
{
	static const size_t room = CLOSING_LINE_MAX + 2;
	char *line = malloc(room);
	size_t used = 0;
	uint64_t number = 1;
	bool long_line = false;
	FILE *in = fopen(s->path, "re");
	int ch = EOF;

	if (!line || !in) {
		free(line);
		if (in)
			fclose(in);
		return err_set(err, in ? -ENOMEM : -errno, "%s: cannot be read", s->path);
	}
	while ((ch = getc_unlocked(in)) != EOF) {
		if (ch != '\n') {
			long_line |= used == room;
			if (used < room)
				line[used++] = (char)ch;
			continue;
		}
		line_take(s, line, long_line ? SIZE_MAX : used, number++);
		used = 0;
		long_line = false;
	}
	ch = ferror(in);
	fclose(in);
	if (!ch && used) {
		s->damaged++;
		log_warn("alerts", "%s: line %" PRIu64 " has no end: passed over", s->path, number);
		ch = write(s->fd, "\n", 1) != 1;
	}
	free(line);
	if (ch)
		return err_set(err, -EIO, "%s: cannot be read", s->path);
	return s->folded ? file_write(s, 0, err) : 0;
}

int closings_open(struct closings **out, const char *data_dir, struct err *err)
{
	struct closings *s = calloc(1, sizeof *s);
	int rc;

	if (!s)
		return err_set(err, -ENOMEM, "alerts: no memory");
	pthread_mutex_init(&s->writing, NULL);
	pthread_mutex_init(&s->lock, NULL);
	s->fd = -1;
	snprintf(s->dir, sizeof s->dir, "%s", data_dir);
	snprintf(s->path, sizeof s->path, "%s/" FILE_NAME, s->dir);
	rc = file_open(s, err);
	if (rc == 0)
		rc = file_read(s, err);
	if (rc) {
		closings_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void closings_close(struct closings *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; i < s->count; i++)
		free(s->entry[i].c);
	for (uint32_t i = 0; i < s->tally_count; i++)
		free(s->tally[i].rule);
	free(s->tally);
	if (s->fd >= 0)
		close(s->fd);
	pthread_mutex_destroy(&s->writing);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Under `writing`, and without `lock`, like all that follows until closings_put(). */
static int fold(struct closings *s, struct err *err)
{
	int rc = file_write(s, CLOSINGS_MAX / 2, err);

	if (rc)
		return rc;
	pthread_mutex_lock(&s->lock);
	entries_fold(s, CLOSINGS_MAX / 2);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* The line, synced; what could not be written whole is taken back. */
static int line_append(struct closings *s, const struct bytes *text, struct err *err)
{
	off_t end = lseek(s->fd, 0, SEEK_END);
	ssize_t n = write(s->fd, text->data, text->bytes);
	int why = n < 0 ? errno : n != (ssize_t)text->bytes ? ENOSPC : fsync(s->fd) ? errno : 0;

	if (!why)
		return 0;
	if (end >= 0 && ftruncate(s->fd, end) == 0)
		(void)fsync(s->fd);
	return err_set(err, -why, "%s: %s", s->path, strerror(why));
}

static bool tally_make(struct closings *s, const struct closing *c)
{
	bool made;

	pthread_mutex_lock(&s->lock);
	made = tally_of(s, c->rule, c->version) != NULL;
	pthread_mutex_unlock(&s->lock);
	return made;
}

static bool entry_put(struct closings *s, const struct closing *c)
{
	bool put;

	pthread_mutex_lock(&s->lock);
	put = entry_add(s, c);
	pthread_mutex_unlock(&s->lock);
	return put;
}

int closings_put(struct closings *s, const struct closing *c, enum closing_as *was, struct err *err)
{
	const struct closing *before;
	struct bytes text = {0};
	struct err why;
	int rc = 0;

	closing_put_line(&text, c);
	pthread_mutex_lock(&s->writing);
	before = entry_find(s, c->alert);
	*was = before ? before->as : CLOSING_AS_COUNT;
	if (text.failed || text.bytes > CLOSING_LINE_MAX)
		rc = err_set(err, text.failed ? -ENOMEM : -EINVAL, "alerts: a line of %zu bytes, at most %u",
			text.bytes, CLOSING_LINE_MAX);
	if (rc == 0 && s->count == CLOSINGS_MAX) /* it could not be folded before */
		rc = fold(s, err);
	if (rc == 0 && !tally_make(s, c))
		rc = err_set(err, -ENOMEM, "alerts: too many rules with closed alerts, or no memory");
	if (rc == 0)
		rc = line_append(s, &text, err);
	if (rc == 0 && !entry_put(s, c))
		rc = err_set(err, -ENOMEM, "alerts: no memory; counted from the next start on");
	if (rc == 0 && s->count == CLOSINGS_MAX && fold(s, &why))
		log_warn("alerts", "not folded: %s", why.text);
	pthread_mutex_unlock(&s->writing);
	bytes_free(&text);
	return rc;
}

/* ---- reading ---- */
void closings_each(
	struct closings *s, const char *alert, int (*each)(void *arg, const struct closing *c), void *arg)
{
	int stop = 0;

	pthread_mutex_lock(&s->lock);
	for (uint32_t i = 0; i < s->count && !stop; i++)
		if (strcmp(s->entry[i].c->alert, alert) == 0)
			stop = each(arg, s->entry[i].c);
	pthread_mutex_unlock(&s->lock);
}

enum closing_as closings_of(struct closings *s, const char *alert)
{
	const struct closing *c;
	enum closing_as as;

	pthread_mutex_lock(&s->lock);
	c = entry_find(s, alert);
	as = c ? c->as : CLOSING_AS_COUNT;
	pthread_mutex_unlock(&s->lock);
	return as;
}

void closings_count(struct closings *s, const char *rule, const char *version, struct closing_counts *here,
	struct closing_counts *others)
{
	*here = *others = (struct closing_counts){0};
	pthread_mutex_lock(&s->lock);
	for (uint32_t i = s->tally_bucket[hash_of(rule)]; i; i = s->tally[i - 1].before) {
		const struct tally *t = &s->tally[i - 1];
		struct closing_counts *to = strcmp(t->version, version) == 0 ? here : others;

		if (strcmp(t->rule, rule) != 0)
			continue;
		for (int k = 0; k < CLOSING_AS_COUNT; k++)
			to->n[k] += t->counts.n[k];
	}
	pthread_mutex_unlock(&s->lock);
}

uint64_t closings_damaged(struct closings *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->damaged;
	pthread_mutex_unlock(&s->lock);
	return n;
}
