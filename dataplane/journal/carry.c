/* A journal that goes on from another one in another number of partitions: watermark, receive time, the ids
 * that are remembered. Set-up thread, before any writer exists.
 *
 * p<k>/ids, little endian: a header of 64 bytes, then 32 bytes an id, oldest first: the id, its receive time,
 * the hash of its event's key (where it goes if the number changes once more). Times do not decrease. The
 * header is written last; the whole is synced before the journal comes into its place. */
#include "journal_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "hash.h"

#define IDS_MAGIC 0x3153444955434c53ull /* "SLCUIDS1" */
#define IDS_VERSION 2u
#define IDS_UNKEYED 1u	 /* ids of shadows were made without a key: those of its shadows match none of ours */
#define IDS_BUFFER 4096u /* ids in memory of a file at a time */

struct ids_head {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of the header with this word zero */
	uint64_t epoch;
	uint32_t partition;
	uint32_t body_crc;
	uint64_t count;
	uint64_t zero[3];
};
_Static_assert(sizeof(struct ids_head) == 64, "layout is on disk");

struct ids_entry {
	uint8_t id[16];
	int64_t time_ms;
	uint64_t key_hash;
};
_Static_assert(sizeof(struct ids_entry) == 32, "layout is on disk");

static void ids_path(char out[PATH_BYTES + 8], const char *part_dir)
{
	snprintf(out, PATH_BYTES + 8, "%.*s/ids", (int)PATH_BYTES, part_dir);
}

static uint32_t ids_head_crc(struct ids_head head)
{
	head.crc = 0;
	return crc32c(0, &head, sizeof head);
}

void journal_carry(struct journal *j, int64_t watermark_ms, int64_t receive_last_ms, uint32_t generation)
{
	for (uint32_t i = 0; i < j->params.partitions; i++) {
		struct journal_part *part = &j->part[i];

		if (part->place.offset)
			continue;
		part->watermark_next_ms = watermark_ms;
		part->receive_last_ms = receive_last_ms;
		part->generation = part->generation_max = generation;
		atomic_store(&part->watermark_ms, watermark_ms);
	}
}

/* ---- writing: the partitions of the old journal merged by receive time ---- */

struct ids_file {
	int fd;
	uint32_t crc;
	uint64_t count;
	uint32_t held;
	struct ids_entry id[IDS_BUFFER];
};

struct ids_source {    /* a partition of the old journal */
	FILE *carried; /* its own file of ids, which are older than its records; NULL: none, or all are read
			*/
	uint64_t carried_left;
	struct journal_scanner *scanner;
	struct journal_scan_block b;
	const uint8_t *at; /* next record; NULL: none of the block is left */
	int64_t time_ms;   /* of the last record, as deduplication saw it */
	bool any;
	struct ids_entry entry; /* the one at hand */
};

struct ids_work {
	struct journal *to;
	const char *from_dir;
	struct ids_source *source;
	uint32_t sources;
	struct ids_file *file; /* of each partition of `to` */
	struct dedup_key key;  /* of both journals */
	int64_t since_ms;
};

static int ids_flush(struct ids_file *f)
{
	size_t bytes = f->held * sizeof *f->id;
	ssize_t n = write(f->fd, f->id, bytes);

	if (n != (ssize_t)bytes)
		return n < 0 ? -errno : -ENOSPC;
	f->crc = crc32c(f->crc, f->id, bytes);
	f->count += f->held;
	f->held = 0;
	return 0;
}

static int source_carried(struct ids_work *w, struct ids_source *s, struct err *err)
{
	while (!s->any && s->carried_left) {
		s->carried_left--;
		if (fread(&s->entry, sizeof s->entry, 1, s->carried) != 1)
			return err_set(err, -EIO, "%s: its carried ids cannot be read", w->from_dir);
		if (s->entry.time_ms > s->time_ms)
			s->time_ms = s->entry.time_ms;
		s->any = s->time_ms >= w->since_ms;
	}
	return 0;
}

/* The next event with an id that may still be remembered. 0 and !any: the end. */
static int source_next(struct ids_work *w, struct ids_source *s, struct err *err)
{
	int rc;

	s->any = false;
	rc = source_carried(w, s, err);
	if (rc != 0 || s->any)
		return rc;
	for (;;) {
		const struct record *rec;
		const uint8_t *id;
		uint8_t room[16];

		if (!s->at || s->at == s->b.block.data + s->b.block.bytes) {
			rc = journal_scanner_next(s->scanner, &s->b, err);
			if (rc <= 0)
				return rc;
			if (!s->b.intact)
				return err_set(err, -EBADMSG, "%s: segment %lu, byte %lu: %s", w->from_dir,
					s->b.segment, s->b.file_offset, s->b.fault ? s->b.fault : "damaged");
			s->at = s->b.block.data;
			continue;
		}
		rec = (const struct record *)s->at;
		s->at += rec->bytes;
		if (rec->receive_time_ms > s->time_ms)
			s->time_ms = rec->receive_time_ms;
		id = dedup_id(&w->key, rec, room);
		if (!id || s->time_ms < w->since_ms)
			continue;
		memcpy(s->entry.id, id, sizeof s->entry.id);
		s->entry.key_hash = rec->key_hash;
		s->any = true;
		return 0;
	}
}

static int ids_take(struct ids_work *w, const struct ids_source *s)
{
	uint32_t p = hash_partition(s->entry.key_hash, w->to->params.partitions);
	struct ids_file *f = &w->file[p];
	struct ids_entry *id = &f->id[f->held++];

	*id = s->entry;
	id->time_ms = s->time_ms;
	return f->held == IDS_BUFFER ? ids_flush(f) : 0;
}

static int ids_merge(struct ids_work *w, struct err *err)
{
	for (uint32_t i = 0; i < w->sources; i++) {
		int rc = source_next(w, &w->source[i], err);

		if (rc != 0)
			return rc;
	}
	for (;;) {
		struct ids_source *first = NULL;
		int rc;

		for (uint32_t i = 0; i < w->sources; i++)
			if (w->source[i].any && (!first || w->source[i].time_ms < first->time_ms))
				first = &w->source[i];
		if (!first)
			return 0;
		rc = ids_take(w, first);
		if (rc != 0)
			return err_set(err, rc, "%s: the ids to be remembered: %s", w->to->params.dir,
				strerror(-rc));
		rc = source_next(w, first, err);
		if (rc != 0)
			return rc;
	}
}

static bool ids_head_good(const struct ids_head *head)
{
	return head->magic == IDS_MAGIC && (head->version == IDS_VERSION || head->version == IDS_UNKEYED) &&
	       head->crc == ids_head_crc(*head);
}

/* Events are told apart by it as ever; of shadows sent again within the window, rules over time see both. */
static void unkeyed_say(const struct ids_head *head, const char *path)
{
	if (head->version == IDS_UNKEYED)
		log_warn("journal",
			"%s is of an earlier version: of events that are sent again within "
			"journal.dedup_window, copies for rules "
			"over time in other partitions are not known again, and count twice in these rules",
			path);
}

/* The ids that the old journal itself was given. */
static int source_open_carried(struct ids_work *w, uint32_t partition, struct err *err)
{
	char dir[PATH_BYTES], path[PATH_BYTES + 8];
	struct ids_source *s = &w->source[partition];
	struct ids_head head;

	store_part_dir(dir, w->from_dir, partition);
	ids_path(path, dir);
	s->carried = fopen(path, "re");
	if (!s->carried)
		return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (fread(&head, sizeof head, 1, s->carried) != 1 || !ids_head_good(&head))
		return err_set(err, -EINVAL, "%s: damaged", path);
	unkeyed_say(&head, path);
	s->carried_left = head.count;
	return 0;
}

static int ids_begin(struct ids_work *w, struct err *err)
{
	static const struct ids_head blank;

	for (uint32_t i = 0; i < w->sources; i++) {
		int rc = journal_scanner_open_since(&w->source[i].scanner, w->from_dir, i, w->since_ms, err);

		if (rc == 0)
			rc = source_open_carried(w, i, err);
		if (rc != 0)
			return rc;
		w->source[i].time_ms = INT64_MIN;
	}
	for (uint32_t i = 0; i < w->to->params.partitions; i++) {
		char path[PATH_BYTES + 8];

		ids_path(path, w->to->part[i].dir);
		w->file[i].fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
		if (w->file[i].fd < 0 || write(w->file[i].fd, &blank, sizeof blank) != (ssize_t)sizeof blank)
			return err_set(err, -errno, "%s: %s", path, strerror(errno));
	}
	return 0;
}

static int ids_end(struct ids_work *w, uint64_t *count, struct err *err)
{
	for (uint32_t i = 0; i < w->to->params.partitions; i++) {
		struct journal_part *part = &w->to->part[i];
		struct ids_file *f = &w->file[i];
		struct ids_head head = {.magic = IDS_MAGIC,
			.version = IDS_VERSION,
			.epoch = w->to->meta.epoch,
			.partition = i};
		int rc = ids_flush(f);

		head.count = f->count;
		head.body_crc = f->crc;
		head.crc = ids_head_crc(head);
		if (rc == 0 && pwrite(f->fd, &head, sizeof head, 0) != (ssize_t)sizeof head)
			rc = -EIO;
		if (rc == 0 && fsync(f->fd) != 0)
			rc = -errno;
		if (rc == 0)
			rc = durable_dir_sync(part->dir);
		if (rc != 0)
			return err_set(err, rc, "%s/ids: %s", part->dir, strerror(-rc));
		*count += f->count;
	}
	return 0;
}

/* The newest receive time of all partitions, by the last block of each. */
static int ids_newest(const char *dir, uint32_t partitions, int64_t *newest_ms, struct err *err)
{
	*newest_ms = INT64_MIN;
	for (uint32_t p = 0; p < partitions; p++) {
		struct journal_scanner *scanner;
		struct journal_scan_block b;
		int rc = journal_scanner_open_since(&scanner, dir, p, INT64_MAX, err);

		if (rc != 0)
			return rc;
		while ((rc = journal_scanner_next(scanner, &b, err)) == 1 && b.intact)
			if (b.block.receive_last_ms > *newest_ms)
				*newest_ms = b.block.receive_last_ms;
		journal_scanner_close(scanner);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int journal_carry_ids(
	struct journal *to, const char *from_dir, uint64_t window_ms, uint64_t *count, struct err *err)
{
	struct ids_work w = {.to = to, .from_dir = from_dir, .key = dedup_key_of(to->meta.key)};
	struct journal_meta meta;
	int64_t newest_ms;
	int rc = journal_meta_read(from_dir, &meta, err);

	*count = 0;
	if (rc == 0)
		rc = ids_newest(from_dir, meta.partitions, &newest_ms, err);
	if (rc != 0 || !window_ms || newest_ms == INT64_MIN)
		return rc;
	w.since_ms = newest_ms - (int64_t)window_ms;
	w.sources = meta.partitions;
	w.source = calloc(w.sources, sizeof *w.source);
	w.file = calloc(to->params.partitions, sizeof *w.file);
	for (uint32_t i = 0; w.file && i < to->params.partitions; i++)
		w.file[i].fd = -1;
	rc = w.source && w.file ? ids_begin(&w, err) : err_set(err, -ENOMEM, "journal: no memory");
	if (rc == 0)
		rc = ids_merge(&w, err);
	if (rc == 0)
		rc = ids_end(&w, count, err);
	for (uint32_t i = 0; w.source && i < w.sources; i++) {
		journal_scanner_close(w.source[i].scanner);
		if (w.source[i].carried)
			fclose(w.source[i].carried);
	}
	for (uint32_t i = 0; w.file && i < to->params.partitions; i++)
		if (w.file[i].fd >= 0)
			close(w.file[i].fd);
	free(w.source);
	free(w.file);
	return rc;
}

/* ---- reading ---- */

static int ids_damaged(const char *path, const char *what, struct err *err)
{
	return err_set(err, -EINVAL,
		"%s: %s: which events came before the change of partitions is not known. Restore the file, "
		"or remove it: then what is sent again of them is taken for new",
		path, what);
}

static int ids_read_head(
	int fd, const struct journal_part *part, const char *path, struct ids_head *head, struct err *err)
{
	struct stat s;

	if (fstat(fd, &s) != 0 || read(fd, head, sizeof *head) != (ssize_t)sizeof *head ||
		!ids_head_good(head))
		return ids_damaged(path, "damaged", err);
	if (head->epoch != part->journal->meta.epoch || head->partition != part->index)
		return ids_damaged(path, "of another journal or partition", err);
	if (head->count > ((uint64_t)s.st_size - sizeof *head) / sizeof(struct ids_entry) ||
		(uint64_t)s.st_size != sizeof *head + head->count * sizeof(struct ids_entry))
		return ids_damaged(path, "its length is wrong", err);
	return 0;
}

static int ids_read_body(
	int fd, struct journal_part *part, const char *path, const struct ids_head *head, struct err *err)
{
	struct ids_entry *id = malloc(IDS_BUFFER * sizeof *id);
	int64_t last_ms = INT64_MIN;
	uint32_t crc = 0;
	int rc = id ? 0 : err_set(err, -ENOMEM, "journal: out of memory");

	for (uint64_t left = head->count; left && rc == 0;) {
		size_t count = left < IDS_BUFFER ? (size_t)left : IDS_BUFFER;
		size_t bytes = count * sizeof *id;

		if (read(fd, id, bytes) != (ssize_t)bytes) {
			rc = ids_damaged(path, "cannot be read", err);
			break;
		}
		crc = crc32c(crc, id, bytes);
		for (size_t i = 0; i < count; i++) {
			if (id[i].time_ms > last_ms)
				last_ms = id[i].time_ms;
			(void)dedup_add(&part->dedup, id[i].id, dedup_hash(&part->dedup, id[i].id), last_ms);
		}
		left -= count;
	}
	free(id);
	if (rc == 0 && crc != head->body_crc)
		rc = ids_damaged(path, "damaged", err);
	part->receive_last_ms = last_ms;
	return rc;
}

int carry_ids_load(struct journal_part *part, struct err *err)
{
	char path[PATH_BYTES + 8];
	struct ids_head head;
	int fd, rc;

	if (!part->dedup.window_ms)
		return 0;
	ids_path(path, part->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_set(err, -errno, "%s: %s", path, strerror(errno));
	rc = ids_read_head(fd, part, path, &head, err);
	if (rc == 0) {
		unkeyed_say(&head, path);
		rc = ids_read_body(fd, part, path, &head, err);
	}
	close(fd);
	if (rc == 0 && part->receive_last_ms != INT64_MIN &&
		clock_wall_ms() - part->receive_last_ms > (int64_t)part->dedup.window_ms)
		(void)unlink(path);
	return rc;
}
