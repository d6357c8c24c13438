/* Definitions on disk: DIR/<uid as 16 hex digits>.window, one line, the text whose hash is the uid. Written
 * once, never changed. Any thread: one lock, held while a file is read and compiled; what get() gives lives
 * until close. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "durable.h"
#include "window_priv.h"

/* Every key at its longest is less: of a text in quotes each byte may take two. */
#define FILE_BYTES_MAX (2 * sizeof(struct config_windows) + 1024)

struct window_store {
	pthread_mutex_t lock;
	char *dir;
	struct window_def **def; /* that were asked for */
	uint32_t count;
};

static const struct durable_points points = {
	"window_written", "window_synced", "window_renamed", "window_dir_synced"};

static void file_name(char out[32], uint64_t uid)
{
	snprintf(out, 32, "%016" PRIx64 ".window", uid);
}

int window_store_open(struct window_store **out, const char *dir, struct err *err)
{
	struct window_store *st = calloc(1, sizeof *st);
	int rc;

	*out = NULL;
	if (st)
		st->dir = strdup(dir);
	if (!st || !st->dir) {
		free(st);
		return err_set(err, -ENOMEM, "%s: no memory", dir);
	}
	pthread_mutex_init(&st->lock, NULL);
	rc = durable_dir_make(dir, err);
	if (rc)
		window_store_close(st);
	else
		*out = st;
	return rc;
}

void window_store_close(struct window_store *st)
{
	if (!st)
		return;
	for (uint32_t i = 0; i < st->count; i++)
		window_def_free(st->def[i]);
	pthread_mutex_destroy(&st->lock);
	free(st->def);
	free(st->dir);
	free(st);
}

/* The text of a stored definition, without its line end. */
static int file_read(
	const struct window_store *st, uint64_t uid, char text[FILE_BYTES_MAX + 1], struct err *err)
{
	char name[32], path[1024];
	size_t bytes = 0;
	ssize_t n = 1;
	int fd, rc = 0;

	file_name(name, uid);
	snprintf(path, sizeof path, "%s/%s", st->dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	while (n > 0 && bytes < FILE_BYTES_MAX) {
		n = read(fd, text + bytes, FILE_BYTES_MAX - bytes);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			rc = err_set(err, -errno, "%s: %s", path, strerror(errno));
		else
			bytes += (size_t)n;
	}
	close(fd);
	if (rc)
		return rc;
	text[bytes] = 0;
	if (bytes && text[bytes - 1] == '\n')
		text[--bytes] = 0;
	if (strlen(text) != bytes || window_text_uid(text) != uid)
		return err_set(
			err, -EBADMSG, "%s: damaged: it does not have the hash that its name says", path);
	return 0;
}

int window_store_put(struct window_store *st, const struct window_def *def, struct err *err)
{
	struct durable_piece piece[] = {{def->text, strlen(def->text)}, {"\n", 1}};
	char name[32], there[FILE_BYTES_MAX + 1];
	int rc = 0;

	file_name(name, def->uid);
	pthread_mutex_lock(&st->lock);
	if (file_read(st, def->uid, there, NULL) || strcmp(there, def->text) != 0)
		rc = durable_write(st->dir, name, piece, 2, &points, err);
	pthread_mutex_unlock(&st->lock);
	return rc;
}

static const struct window_def *get_locked(struct window_store *st, uint64_t uid, struct err *err)
{
	char text[FILE_BYTES_MAX + 1];
	struct window_def **more, *def;

	for (uint32_t i = 0; i < st->count; i++)
		if (st->def[i]->uid == uid)
			return st->def[i];
	if (file_read(st, uid, text, err))
		return NULL;
	if (window_def_parse(&def, text, err)) {
		err_prefix(err, "%s/%016" PRIx64 ".window", st->dir, uid);
		return NULL;
	}
	more = realloc(st->def, (st->count + 1u) * sizeof(*more));
	if (!more) {
		window_def_free(def);
		err_set(err, -ENOMEM, "%s: no memory", st->dir);
		return NULL;
	}
	st->def = more;
	more[st->count++] = def;
	return def;
}

const struct window_def *window_store_get(struct window_store *st, uint64_t uid, struct err *err)
{
	const struct window_def *def;

	pthread_mutex_lock(&st->lock);
	def = get_locked(st, uid, err);
	pthread_mutex_unlock(&st->lock);
	return def;
}

int window_store_plan(struct window_plan **out, struct window_store *st, const uint64_t *uid, uint32_t count,
	int64_t step_ms, struct err *err)
{
	struct window_plan *plan;
	int rc = 0;

	*out = NULL;
	if (step_ms <= 0)
		return err_set(err, -EINVAL, "a step of %" PRId64 " ms", step_ms);
	plan = calloc(1, sizeof *plan);
	if (!plan)
		return err_set(err, -ENOMEM, "%s: no memory", st->dir);
	plan->step_ms = step_ms;
	for (uint32_t i = 0; i < count && !rc; i++) {
		const struct window_def *stored = window_store_get(st, uid[i], err);
		struct window_def *def;

		rc = stored ? window_def_parse(&def, stored->text, err) : -EINVAL;
		if (!rc)
			rc = window_plan_add(plan, def, err);
	}
	if (rc) {
		window_plan_free(plan);
		return rc;
	}
	*out = plan;
	return 0;
}

int window_store_link(const struct window_store *st, const char *dir, struct err *err)
{
	DIR *d = opendir(st->dir);
	int rc = 0;

	if (!d)
		return err_set(err, -errno, "%s: %s", st->dir, strerror(errno));
	for (struct dirent *e = readdir(d); e && rc == 0; e = readdir(d)) {
		char from[1024], to[1024], again[32];

		file_name(again, strtoull(e->d_name, NULL, 16));
		if (strcmp(again, e->d_name) != 0)
			continue;
		snprintf(from, sizeof from, "%.900s/%.32s", st->dir, again);
		snprintf(to, sizeof to, "%.900s/%.32s", dir, again);
		if (link(from, to) != 0 && errno != EEXIST)
			rc = err_set(err, -errno, "%s: %s", to, strerror(errno));
	}
	closedir(d);
	if (rc != 0)
		return rc;
	rc = durable_dir_sync(dir);
	return rc ? err_set(err, rc, "%s: %s", dir, strerror(-rc)) : 0;
}
