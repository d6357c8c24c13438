/* The ids of a segment that is full, beside it: what a start has to remember is then read from a twentieth of
 * the bytes. Made by the keeper from the writer's ring, read by recovery; whoever is not sure of one reads
 * the segment.
 *
 * p<k>/seg-<number>.ids, little endian: a header of 88 bytes, then 20 bytes an id, in order of acceptance:
 * the id, and its receive time in ms after the header's. Not synced: what a crash of the machine leaves of it
 * fails its CRC. */
#include "journal_priv.h"

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

#define SEGMENT_IDS_MAGIC 0x3149444745534c53ull /* "SLSEGDI1" */
#define IDS_VERSION 2u
#define IDS_AHEAD 16u

struct ids_header {
	uint64_t magic;
	uint32_t version;
	uint32_t crc; /* of the header with this word zero */
	uint64_t epoch;
	uint32_t partition;
	uint32_t generation_low; /* of the segment's blocks; UINT32_MAX: none */
	uint64_t segment, first_seq, first_offset;
	uint64_t end_seq, end_offset; /* of the segment behind it */
	int64_t time_ms;	      /* of the first id */
	uint32_t count;
	uint32_t body_crc;
};
_Static_assert(sizeof(struct ids_header) == 88, "layout is on disk");

struct ids_id {
	uint8_t id[16];
	uint32_t after_ms;
};
_Static_assert(sizeof(struct ids_id) == 20, "layout is on disk");

static void segment_ids_path(char out[PATH_BYTES], const char *part_dir, uint64_t number)
{
	char *end;

	segment_path(out, part_dir, number);
	end = strrchr(out, '.');
	if (end)
		memcpy(end, ".ids", 5);
}

static uint32_t header_crc(struct ids_header h)
{
	h.crc = 0;
	return crc32c(0, &h, sizeof h);
}

void segment_ids_remove(const char *part_dir, uint64_t number)
{
	char path[PATH_BYTES];

	segment_ids_path(path, part_dir, number);
	(void)unlink(path);
}

/* ---- writing: the keeper ---- */

static int file_write(
	const char *part_dir, const char *path, const struct ids_header *h, const struct ids_id *id)
{
	size_t bytes = h->count * sizeof *id;
	char temp[PATH_BYTES];
	int fd, rc = 0;

	if (snprintf(temp, sizeof temp, "%s/ids.tmp", part_dir) >= (int)sizeof temp)
		return -ENAMETOOLONG;
	fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	errno = ENOSPC; /* of a write that is cut short */
	if (write(fd, h, sizeof *h) != (ssize_t)sizeof *h || write(fd, id, bytes) != (ssize_t)bytes ||
		rename(temp, path) != 0)
		rc = -errno;
	close(fd);
	if (rc)
		(void)unlink(temp);
	return rc;
}

/* Copies ids [first, end) out of the ring, whose writer goes on: -EAGAIN if it may come round to them. */
static int ring_copy(struct journal_part *part, uint64_t first, struct ids_header *h, struct ids_id *id)
{
	const struct dedup *d = &part->dedup;

	for (uint32_t i = 0; i < h->count; i++) {
		const struct dedup_id *from = &d->ring[(first + i) % d->ids_max];

		if (i == 0)
			h->time_ms = from->time_ms;
		if (from->time_ms < h->time_ms || from->time_ms - h->time_ms > UINT32_MAX)
			return -EAGAIN;
		memcpy(id[i].id, from->id, sizeof id[i].id);
		id[i].after_ms = (uint32_t)(from->time_ms - h->time_ms);
	}
	/* The writer may be in a batch that is not counted in ids_added yet. */
	return atomic_load_explicit(&part->ids_added, memory_order_acquire) - first + part->pack_max <=
			       d->ids_max
		       ? 0
		       : -EAGAIN;
}

static int segment_ids_write(
	struct journal_part *part, const struct segment_entry *seg, const struct segment_entry *next)
{
	struct ids_header h = {.magic = SEGMENT_IDS_MAGIC,
		.version = IDS_VERSION,
		.epoch = part->journal->meta.epoch,
		.partition = part->index,
		.generation_low = seg->generation_low,
		.segment = seg->number,
		.first_seq = seg->first_seq,
		.first_offset = seg->first_offset,
		.end_seq = next->first_seq,
		.end_offset = next->first_offset,
		.count = (uint32_t)(next->ids_first - seg->ids_first)};
	uint64_t added = atomic_load_explicit(&part->ids_added, memory_order_acquire);
	char path[PATH_BYTES];
	struct ids_id *id;
	int rc;

	/* The ring is far larger than a segment, or its ids are not worth a file. */
	if (added - seg->ids_first > part->dedup.ids_max / 4 * 3)
		return -EAGAIN;
	id = malloc(h.count * sizeof *id + 1);
	if (!id)
		return -ENOMEM;
	rc = ring_copy(part, seg->ids_first, &h, id);
	h.body_crc = crc32c(0, id, h.count * sizeof *id);
	h.crc = header_crc(h);
	segment_ids_path(path, part->dir, seg->number);
	rc = rc ? rc : file_write(part->dir, path, &h, id);
	free(id);
	return rc;
}

void segment_ids_keep(struct journal_part *part)
{
	uint64_t durable = atomic_load_explicit(&part->durable_offset, memory_order_acquire);
	struct segment_entry seg = {0}, next = {0};
	bool found = false;
	int rc;

	if (!part->dedup.window_ms)
		return;
	pthread_mutex_lock(&part->lock);
	for (uint32_t i = 0; i + 1 < part->seg_count && !found; i++) {
		found = !part->seg[i].ids_done && part->seg[i + 1].first_offset <= durable;
		if (!found)
			continue;
		part->seg[i].ids_done = true;
		seg = part->seg[i];
		next = part->seg[i + 1];
	}
	pthread_mutex_unlock(&part->lock);
	if (!found)
		return;
	rc = segment_ids_write(part, &seg, &next);
	if (rc && rc != -EAGAIN)
		log_warn("journal",
			"the ids of a segment are not beside it: the next start reads all of it partition=%u "
			"segment=%" PRIu64 " error=\"%s\"",
			part->index, seg.number, strerror(-rc));
	crash_point("journal_ids_written");
}

/* ---- reading: recovery ---- */

static bool header_good(const struct ids_header *h, const struct journal_part *part,
	const struct segment_entry *seg, uint64_t file_bytes)
{
	const struct segment_entry *next = seg + 1;

	return h->magic == SEGMENT_IDS_MAGIC && h->version == IDS_VERSION && h->crc == header_crc(*h) &&
	       h->epoch == part->journal->meta.epoch && h->partition == part->index &&
	       h->segment == seg->number && h->first_seq == seg->first_seq &&
	       h->first_offset == seg->first_offset && h->end_seq == next->first_seq &&
	       h->end_offset == next->first_offset && h->count <= h->end_offset - h->first_offset &&
	       file_bytes == sizeof *h + h->count * sizeof(struct ids_id);
}

static bool body_good(const struct ids_header *h, const struct ids_id *id)
{
	if (crc32c(0, id, h->count * sizeof *id) != h->body_crc)
		return false;
	for (uint32_t i = 1; i < h->count; i++)
		if (id[i].after_ms < id[i - 1].after_ms)
			return false;
	return true;
}

/* Ids are spread over tens of megabytes: their places are drawn into the cache some ids ahead. */
static void ids_remember(struct journal_part *part, const struct ids_header *h, const struct ids_id *id)
{
	struct dedup *d = &part->dedup;
	uint64_t hash[IDS_AHEAD];

	for (uint32_t i = 0, ahead = 0; i < h->count; i++) {
		int64_t time_ms = h->time_ms + id[i].after_ms;

		for (; ahead < h->count && ahead < i + IDS_AHEAD; ahead++) {
			hash[ahead % IDS_AHEAD] = dedup_hash(d, id[ahead].id) | 1;
			dedup_prefetch(d, hash[ahead % IDS_AHEAD]);
		}
		if (time_ms > part->receive_last_ms)
			part->receive_last_ms = time_ms;
		(void)dedup_add(d, id[i].id, hash[i % IDS_AHEAD], part->receive_last_ms);
	}
}

static uint8_t *file_read(const char *path, uint64_t bytes_max, uint64_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *data = NULL;
	struct stat s;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && (uint64_t)s.st_size >= sizeof(struct ids_header) &&
		(uint64_t)s.st_size <= bytes_max)
		data = malloc((size_t)s.st_size);
	*bytes = data ? (uint64_t)s.st_size : 0;
	for (uint64_t have = 0; data && have < *bytes;) {
		ssize_t n = read(fd, data + have, *bytes - have);

		if (n <= 0 && !(n < 0 && errno == EINTR)) {
			free(data);
			data = NULL;
		} else if (n > 0) {
			have += (uint64_t)n;
		}
	}
	close(fd);
	return data;
}

bool segment_ids_load(struct journal_part *part, struct segment_entry *seg)
{
	char path[PATH_BYTES];
	struct ids_header h;
	uint64_t bytes;
	uint8_t *data;
	bool good;

	segment_ids_path(path, part->dir, seg->number);
	data = file_read(path, part->journal->meta.segment_bytes, &bytes);
	if (!data)
		return false;
	memcpy(&h, data, sizeof h);
	good = header_good(&h, part, seg, bytes) && body_good(&h, (const struct ids_id *)(data + sizeof h));
	if (good) {
		seg->ids_first = part->dedup.added;
		seg->ids_done = true;
		seg->generation_low = h.generation_low;
		ids_remember(part, &h, (const struct ids_id *)(data + sizeof h));
	} else if (h.magic == SEGMENT_IDS_MAGIC && h.version < IDS_VERSION && h.crc == header_crc(h)) {
		log_info("journal", "%s is of an earlier version: the segment is read instead", path);
	} else {
		log_warn("journal", "%s is damaged or of another segment: the segment is read instead", path);
	}
	free(data);
	return good;
}

int segment_ids_has(const char *part_dir, uint64_t number, uint64_t epoch, uint32_t partition,
	const uint8_t id[16], uint64_t bytes_max)
{
	const struct ids_id *ids;
	char path[PATH_BYTES];
	struct ids_header h;
	uint64_t bytes;
	uint8_t *data;
	int has = 1;

	segment_ids_path(path, part_dir, number);
	data = file_read(path, bytes_max, &bytes);
	if (!data)
		return 1;
	memcpy(&h, data, sizeof h);
	ids = (const struct ids_id *)(data + sizeof h);
	if (h.magic == SEGMENT_IDS_MAGIC && h.version == IDS_VERSION && h.crc == header_crc(h) &&
		h.epoch == epoch && h.partition == partition && h.segment == number &&
		bytes == sizeof h + h.count * sizeof *ids && body_good(&h, ids)) {
		has = 0;
		for (uint32_t i = 0; i < h.count && !has; i++)
			has = !memcmp(ids[i].id, id, sizeof ids[i].id);
	}
	free(data);
	return has;
}

void segment_ids_tidy(const char *part_dir, const uint64_t *number, uint32_t count)
{
	DIR *dir = opendir(part_dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		uint64_t of;
		bool wanted = strcmp(entry->d_name, "ids.tmp") != 0;

		if (wanted && !segment_number(entry->d_name, ".ids", &of))
			continue;
		for (uint32_t i = 0; wanted; i++)
			if (i == count || number[i] == of) {
				wanted = i < count;
				break;
			}
		if (!wanted)
			(void)unlinkat(dirfd(dir), entry->d_name, 0);
	}
	if (dir)
		closedir(dir);
}
