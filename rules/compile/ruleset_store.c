/* Generations of rulesets on disk, DIR/rulesets/<generation>.yaml: kept as long as the journal names them, so
 * that hits in old blocks keep their meaning. A file holds the sources as they were, one after the other:
 *
 *   # sluice-ruleset 1 generation=7 version=0123456789abcdef files=2 crc32c=89abcdef bytes=1234
 *   # file bytes=600 name=rules.d/bots.yaml
 *   ...600 bytes...
 *   # file ...
 *
 * A list that rules name stands there as `# list` instead of `# file`; what is a canary's as `# canary-file`
 * and `# canary-list`. bytes and crc32c cover all that
 * follows the first line. Rules that were not in force since they had expired are told by expired_ms=TIME at
 * its end.
 *
 * Threads: control threads put and trim, those of sinks and of the state stage get and release. One lock,
 * held while a file is read and its rules are parsed, is around the table and the number of users of each
 * entry. A ruleset is freed only by who takes it out of the table, which under the lock nobody does while it
 * has users; whoever gets it later finds no entry, and parses the file again. What a user read of it happens
 * before its release, which is before the lock that takes it out: so it may be freed behind that lock. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "durable.h"
#include "ruleset_priv.h"

#define STORE_BYTES_MAX (256u << 20)
#define STORE_FILES_MAX 2000u /* of the rules in force and of a canary */
#define NAME_BYTES_MAX 4000
#define IDLE_MAX 4u /* rulesets without users that stay compiled: who comes next often wants the same */

struct cached {
	uint32_t generation;
	uint32_t users;
	uint64_t left; /* without users: since which release */
	struct ruleset *rs;
};

struct ruleset_store {
	pthread_mutex_t lock;
	int dir_fd;
	char *dir;
	uint32_t newest; /* 0: none */
	struct cached *cached;
	uint32_t cached_count;
	uint64_t releases;
};

static void file_name(char out[32], uint32_t generation)
{
	snprintf(out, 32, "%" PRIu32 ".yaml", generation);
}

/* The generation that a file name stands for, or 0. */
static uint32_t generation_of(const char *name)
{
	char *end, again[32];
	unsigned long v = strtoul(name, &end, 10);

	if (v > UINT32_MAX || strcmp(end, ".yaml"))
		return 0;
	file_name(again, (uint32_t)v);
	return strcmp(again, name) ? 0 : (uint32_t)v;
}

/* Calls for each entry; order is the directory's. */
static int each_entry(struct ruleset_store *st, void (*visit)(struct ruleset_store *, const char *, uint32_t),
	uint32_t arg, struct err *err)
{
	int fd = openat(st->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		int rc = err_set(err, -errno, "%s: %m", st->dir);

		if (fd >= 0)
			close(fd);
		return rc;
	}
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		visit(st, e->d_name, arg);
	closedir(d);
	return 0;
}

/* The highest number is found. */
static void visit_open(struct ruleset_store *st, const char *name, uint32_t arg)
{
	uint32_t generation = generation_of(name);

	(void)arg;
	if (generation > st->newest)
		st->newest = generation;
}

static void visit_clean(struct ruleset_store *st, const char *name, uint32_t arg)
{
	size_t n = strlen(name);

	(void)arg;
	if (n > 4 && !strcmp(name + n - 4, ".tmp"))
		unlinkat(st->dir_fd, name, 0);
}

int ruleset_store_clean(struct ruleset_store *st, struct err *err)
{
	return each_entry(st, visit_clean, 0, err);
}

bool ruleset_store_there(const char *dir)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/rulesets", dir);
	return access(path, R_OK | X_OK) == 0;
}

int ruleset_store_open(struct ruleset_store **out, const char *dir, struct err *err)
{
	struct ruleset_store *st = calloc(1, sizeof *st);
	int rc;

	*out = NULL;
	if (!st || asprintf(&st->dir, "%s/rulesets", dir) < 0) {
		free(st);
		return ruleset_no_memory(err);
	}
	pthread_mutex_init(&st->lock, NULL);
	if (mkdir(dir, 0750) && errno != EEXIST)
		rc = err_set(err, -errno, "%s: %m", dir);
	else if (mkdir(st->dir, 0750) && errno != EEXIST)
		rc = err_set(err, -errno, "%s: %m", st->dir);
	else
		rc = 0;
	st->dir_fd = rc ? -1 : open(st->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!rc && st->dir_fd < 0)
		rc = err_set(err, -errno, "%s: %m", st->dir);
	rc = rc ? rc : each_entry(st, visit_open, 0, err);
	if (rc) {
		ruleset_store_close(st);
		return rc;
	}
	*out = st;
	return 0;
}

void ruleset_store_close(struct ruleset_store *st)
{
	if (!st)
		return;
	for (uint32_t i = 0; i < st->cached_count; i++)
		ruleset_free(st->cached[i].rs);
	if (st->dir_fd >= 0)
		close(st->dir_fd);
	pthread_mutex_destroy(&st->lock);
	free(st->cached);
	free(st->dir);
	free(st);
}

/* ---- reading ---- */

/* Which generations there are instead. */
static int missing(struct ruleset_store *st, const char *name, struct err *err)
{
	uint32_t oldest = UINT32_MAX, newest = 0, generation;
	int fd = openat(st->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (fd >= 0 && !d)
		close(fd);
	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		generation = generation_of(e->d_name);
		if (!generation)
			continue;
		oldest = generation < oldest ? generation : oldest;
		newest = generation > newest ? generation : newest;
	}
	if (d)
		closedir(d);
	if (!newest)
		return err_set(err, -ENOENT, "generation %u is not kept, and no other", generation_of(name));
	return err_set(err, -ENOENT,
		"generation %u is not kept (any more): there are %u to %u; the oldest go when neither the "
		"journal "
		"nor a checkpoint names them",
		generation_of(name), oldest, newest);
}

static int load(struct ruleset_store *st, const char *name, char **text, size_t *bytes, struct err *err)
{
	int fd = openat(st->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), rc = 0;
	struct stat s;
	ssize_t n;

	*text = NULL;
	*bytes = 0;
	if (fd < 0 && errno == ENOENT) {
		rc = missing(st, name, err);
	} else if (fd < 0 || fstat(fd, &s)) {
		rc = err_set(err, -errno, "%s/%s: %m", st->dir, name);
	} else if (!S_ISREG(s.st_mode) || s.st_size > STORE_BYTES_MAX) {
		rc = err_set(err, -EINVAL, "%s/%s: no stored ruleset", st->dir, name);
	} else {
		*text = malloc((size_t)s.st_size + 1);
		if (!*text)
			rc = ruleset_no_memory(err);
		while (!rc && *bytes < (size_t)s.st_size) {
			n = read(fd, *text + *bytes, (size_t)s.st_size - *bytes);
			if (n < 0)
				rc = err_set(err, -errno, "%s/%s: %m", st->dir, name);
			if (n <= 0)
				break;
			*bytes += (size_t)n;
		}
		if (*text)
			(*text)[*bytes] = 0;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

struct stored_head {
	uint32_t generation, files, crc;
	uint64_t bytes;
	int64_t expire_ms; /* INT64_MIN: no rule has expired */
	char version[17];
};

/* Ends the line at `at` with a NUL; returns where, or NULL if there is no line end. */
static char *line_end(char *at, const char *end)
{
	char *newline = memchr(at, '\n', (size_t)(end - at));

	if (newline)
		*newline = 0;
	return newline;
}

static bool head_read(char *text, size_t bytes, struct stored_head *head, char **body)
{
	char *newline = line_end(text, text + bytes);
	int used = 0, more = 0;

	if (!newline ||
		sscanf(text,
			"# sluice-ruleset 1 generation=%" SCNu32 " version=%16[0-9a-f] files=%" SCNu32
			" crc32c=%" SCNx32 " bytes=%" SCNu64 "%n",
			&head->generation, head->version, &head->files, &head->crc, &head->bytes, &used) != 5)
		return false;
	head->expire_ms = INT64_MIN;
	if (text[used] && (sscanf(text + used, " expired_ms=%" SCNd64 "%n", &head->expire_ms, &more) != 1 ||
				  text[used + more]))
		return false;
	*body = newline + 1;
	return head->files <= STORE_FILES_MAX && head->bytes == (size_t)(text + bytes - *body) &&
	       crc32c(0, *body, head->bytes) == head->crc;
}

static const char *const source_word[2][2] = {
	{"# file ", "# list "}, {"# canary-file ", "# canary-list "}}; /* of a canary; a list */

/* Behind the word that says what follows, or NULL. */
static const char *source_kind(const char *line, bool *canary, bool *list)
{
	for (int i = 0; i < 4; i++) {
		const char *word = source_word[i / 2][i % 2];

		*canary = i / 2;
		*list = i % 2;
		if (!strncmp(line, word, strlen(word)))
			return line + strlen(word);
	}
	return NULL;
}

/* Those of a canary come last. */
static bool files_read(
	char *at, const char *end, struct rule_source *source, uint32_t files, uint32_t *canary_from)
{
	*canary_from = files;
	for (uint32_t i = 0; i < files; i++) {
		char *newline = line_end(at, end);
		const char *head = newline;
		bool canary;
		uint64_t bytes;
		int used = 0;

		if (head)
			head = source_kind(at, &canary, &source[i].list);
		if (!head || (!canary && *canary_from < files) ||
			sscanf(head, "bytes=%" SCNu64 " name=%n", &bytes, &used) != 1 || !used)
			return false;
		if (canary && *canary_from == files)
			*canary_from = i;
		source[i].name = head + used;
		source[i].text = newline + 1;
		if (bytes >= (size_t)(end - source[i].text) || source[i].text[bytes] != '\n')
			return false;
		source[i].bytes = bytes;
		at = (char *)source[i].text + bytes + 1;
	}
	return at == end;
}

/* patterns_max 0: metadata only. Needs no lock: what it reads is never changed, only removed. */
static int generation_load(struct ruleset_store *st, uint32_t generation, uint32_t patterns_max,
	struct ruleset **out, struct err *err)
{
	struct compile_how how = {.patterns_max = patterns_max, .metadata_only = !patterns_max};
	struct rule_source *source = NULL;
	struct stored_head head = {0};
	char name[32], *text, *body;
	size_t bytes;
	int rc;

	*out = NULL;
	file_name(name, generation);
	rc = load(st, name, &text, &bytes, err);
	if (rc)
		goto out;
	if (!head_read(text, bytes, &head, &body) || head.generation != generation) {
		rc = err_set(err, -EINVAL, "%s/%s: damaged: its first line does not fit what follows",
			st->dir, name);
		goto out;
	}
	source = calloc(head.files + 1u, sizeof *source);
	if (!source) {
		rc = ruleset_no_memory(err);
		goto out;
	}
	if (!files_read(body, text + bytes, source, head.files, &how.canary_from)) {
		rc = err_set(
			err, -EINVAL, "%s/%s: damaged: a file in it ends in the wrong place", st->dir, name);
		goto out;
	}
	rc = ruleset_compile_how(out, source, head.files, &how, err);
	if (!rc && ruleset_expire(*out, head.expire_ms, err) < 0)
		rc = -ENOMEM;
	if (rc) {
		err_prefix(err, "%s/%s", st->dir, name);
		ruleset_free(*out);
		*out = NULL;
		goto out;
	}
	if (strcmp((*out)->version, head.version)) {
		rc = err_set(err, -EINVAL, "%s/%s: its rules have version %s, its first line says %s",
			st->dir, name, (*out)->version, head.version);
		ruleset_free(*out);
		*out = NULL;
	}
out:
	free(source);
	free(text);
	return rc;
}

int ruleset_store_load(struct ruleset_store *st, uint32_t generation, uint32_t patterns_max,
	struct ruleset **out, struct err *err)
{
	return generation_load(st, generation, patterns_max ? patterns_max : 1, out, err);
}

static const struct ruleset *get_locked(struct ruleset_store *st, uint32_t generation, struct err *err)
{
	struct cached *more;
	struct ruleset *rs;

	for (uint32_t i = 0; i < st->cached_count; i++)
		if (st->cached[i].generation == generation) {
			st->cached[i].users++;
			return st->cached[i].rs;
		}
	if (generation_load(st, generation, 0, &rs, err))
		return NULL;
	more = realloc(st->cached, (st->cached_count + 1u) * sizeof *more);
	if (!more) {
		ruleset_no_memory(err);
		ruleset_free(rs);
		return NULL;
	}
	st->cached = more;
	more[st->cached_count++] = (struct cached){generation, 1, 0, rs};
	return rs;
}

/* Of more than IDLE_MAX without users takes out the one that has been so for longest, for the caller to free.
 */
static struct ruleset *idle_take(struct ruleset_store *st)
{
	uint32_t idle = 0, oldest = 0;
	struct ruleset *rs;

	for (uint32_t i = 0; i < st->cached_count; i++) {
		if (st->cached[i].users)
			continue;
		if (!idle++ || st->cached[i].left < st->cached[oldest].left)
			oldest = i;
	}
	if (idle <= IDLE_MAX)
		return NULL;
	rs = st->cached[oldest].rs;
	st->cached[oldest] = st->cached[--st->cached_count];
	return rs;
}

/* What is to be freed, behind the lock. */
static struct ruleset *release_locked(struct ruleset_store *st, const struct ruleset *rs)
{
	for (uint32_t i = 0; i < st->cached_count; i++) {
		struct cached *c = &st->cached[i];

		if (c->rs != rs)
			continue;
		if (c->users && !--c->users)
			c->left = ++st->releases;
		return idle_take(st);
	}
	return NULL;
}

const struct ruleset *ruleset_store_get(struct ruleset_store *st, uint32_t generation, struct err *err)
{
	const struct ruleset *rs;

	pthread_mutex_lock(&st->lock);
	rs = get_locked(st, generation, err);
	pthread_mutex_unlock(&st->lock);
	return rs;
}

void ruleset_store_release(struct ruleset_store *st, const struct ruleset *rs)
{
	struct ruleset *gone;

	if (!rs)
		return;
	pthread_mutex_lock(&st->lock);
	gone = release_locked(st, rs);
	pthread_mutex_unlock(&st->lock);
	ruleset_free(gone);
}

uint32_t ruleset_store_compiled(struct ruleset_store *st)
{
	uint32_t count;

	pthread_mutex_lock(&st->lock);
	count = st->cached_count;
	pthread_mutex_unlock(&st->lock);
	return count;
}

uint32_t ruleset_store_newest(struct ruleset_store *st)
{
	uint32_t newest;

	pthread_mutex_lock(&st->lock);
	newest = st->newest;
	pthread_mutex_unlock(&st->lock);
	return newest;
}

void ruleset_store_reserve(struct ruleset_store *st, uint32_t generation)
{
	pthread_mutex_lock(&st->lock);
	if (generation > st->newest)
		st->newest = generation;
	pthread_mutex_unlock(&st->lock);
}

/* ---- writing ---- */

static void put_name(FILE *f, const char *name)
{
	for (int i = 0; name[i] && i < NAME_BYTES_MAX; i++)
		fputc((unsigned char)name[i] < ' ' ? '?' : name[i], f);
}

/* The whole file; NULL without memory. */
static char *render(const struct ruleset *rs, uint32_t generation, size_t *bytes)
{
	char *body = NULL, *text = NULL;
	size_t body_bytes = 0;
	FILE *f = open_memstream(&body, &body_bytes);

	if (!f)
		return NULL;
	for (uint32_t i = 0; i < rs->source_count; i++) {
		fprintf(f, "%sbytes=%zu name=", source_word[i >= rs->canary_from][rs->source[i].list],
			rs->source[i].bytes);
		put_name(f, rs->source[i].name);
		fputc('\n', f);
		fwrite(rs->source[i].text, 1, rs->source[i].bytes, f);
		fputc('\n', f);
	}
	if (fclose(f)) {
		free(body);
		return NULL;
	}
	f = open_memstream(&text, bytes);
	if (f) {
		fprintf(f,
			"# sluice-ruleset 1 generation=%" PRIu32 " version=%s files=%" PRIu32
			" crc32c=%08" PRIx32 " bytes=%zu",
			generation, rs->version, rs->source_count, crc32c(0, body, body_bytes), body_bytes);
		if (rs->expired_count)
			fprintf(f, " expired_ms=%" PRId64, rs->expire_ms);
		fputc('\n', f);
		fwrite(body, 1, body_bytes, f);
		if (fclose(f)) {
			free(text);
			text = NULL;
		}
	}
	free(body);
	return text;
}

static int put_locked(struct ruleset_store *st, const struct ruleset *newest, const struct ruleset *rs,
	uint32_t *generation, struct err *err)
{
	char name[32], *text;
	size_t bytes;
	int rc;

	*generation = st->newest;
	if (newest && !strcmp(newest->version, rs->version))
		return 0;
	if (st->newest == UINT32_MAX)
		return err_set(err, -EINVAL, "%s: no generation number is left", st->dir);
	*generation = st->newest + 1;
	if (rs->source_count > STORE_FILES_MAX)
		return err_set(err, -EINVAL, "%s: %u rule files; at most %u", st->dir, rs->source_count,
			STORE_FILES_MAX);
	text = render(rs, *generation, &bytes);
	if (!text)
		return ruleset_no_memory(err);
	file_name(name, *generation);
	rc = bytes > STORE_BYTES_MAX
		     ? err_set(err, -EINVAL, "%s: the rules are larger than %u bytes", st->dir,
			       STORE_BYTES_MAX)
		     : durable_write(st->dir, name, &(struct durable_piece){text, bytes}, 1, NULL, err);
	free(text);
	if (!rc)
		st->newest = *generation;
	return rc;
}

int ruleset_store_put(
	struct ruleset_store *st, const struct ruleset *rs, uint32_t *generation, struct err *err)
{
	const struct ruleset *newest;
	struct ruleset *gone;
	int rc;

	pthread_mutex_lock(&st->lock);
	newest = st->newest ? get_locked(st, st->newest, NULL) : NULL;
	rc = put_locked(st, newest, rs, generation, err);
	gone = release_locked(st, newest);
	pthread_mutex_unlock(&st->lock);
	ruleset_free(gone);
	return rc;
}

static void visit_trim(struct ruleset_store *st, const char *name, uint32_t floor)
{
	uint32_t generation = generation_of(name);

	if (generation && generation < floor && generation != st->newest)
		unlinkat(st->dir_fd, name, 0);
}

void ruleset_store_trim(struct ruleset_store *st, uint32_t floor)
{
	pthread_mutex_lock(&st->lock);
	each_entry(st, visit_trim, floor, NULL);
	pthread_mutex_unlock(&st->lock);
}
