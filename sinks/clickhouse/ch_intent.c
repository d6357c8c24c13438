/* Slots on disk: little endian, fixed layout, CRC-32C over all of it. */
#include "ch_intent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"
#include "reserve.h"

#define SLOT_BYTES 4096u
#define SLOT_MAGIC 0x3174746e49684353ull /* "SChIntt1" */
/* With parked ranges or one in pieces: a version that does not know of them must not go on from here. */
#define SLOT_MAGIC_MORE 0x3274746e49684353ull /* "SChIntt2" */
/* With a block that is being put back: the same of versions that know of the others only. */
#define SLOT_MAGIC_MEND 0x3374746e49684353ull /* "SChIntt3" */

struct slot_parked {
	uint64_t from, to;
	int64_t first_send_ms;
	uint32_t insert_count;
	uint32_t body_crc;
	char endpoint[CH_ENDPOINT_BYTES];
	uint64_t split_from, split_to;
	uint32_t settled;
	uint32_t confirmed;
};

struct slot {
	uint64_t magic;
	uint64_t sequence;
	uint64_t epoch;
	uint64_t from, to;
	int64_t first_send_ms;
	uint32_t partition;
	uint32_t pending;
	uint32_t insert_count;
	uint32_t body_crc;
	char node[72];
	char endpoint[CH_ENDPOINT_BYTES];
	uint32_t parked_count;
	uint32_t settled;
	uint64_t split_from, split_to;
	struct slot_parked parked[CH_PARKED_MAX];
	uint32_t confirmed;
	uint8_t zero[SLOT_BYTES - 432 - CH_PARKED_MAX * sizeof(struct slot_parked)];
	uint32_t crc; /* of everything before it */
};
_Static_assert(sizeof(struct slot) == SLOT_BYTES && sizeof(struct slot_parked) == 320 &&
		       offsetof(struct slot, parked_count) == 400,
	"slot layout is on disk");

static uint32_t slot_crc(const struct slot *s)
{
	return crc32c(0, s, offsetof(struct slot, crc));
}

static bool slot_blank(const struct slot *s)
{
	const uint8_t *p = (const uint8_t *)s;

	return p[0] == 0 && memcmp(p, p + 1, sizeof *s - 1) == 0;
}

/* The least version that may go on from here. */
static uint64_t slot_magic_of(const struct slot *s)
{
	bool mend = s->confirmed > 0;

	for (uint32_t i = 0; i < s->parked_count; i++)
		mend |= s->parked[i].confirmed > 0;
	if (mend)
		return SLOT_MAGIC_MEND;
	return s->parked_count || s->settled || s->split_to ? SLOT_MAGIC_MORE : SLOT_MAGIC;
}

static bool slot_intact(const struct slot *s)
{
	if (s->crc != slot_crc(s) || s->sequence == 0 || s->from > s->to || s->pending > 1 ||
		s->parked_count > CH_PARKED_MAX || s->magic != slot_magic_of(s))
		return false;
	for (uint32_t i = 0; i < s->parked_count; i++)
		if (s->parked[i].from >= s->parked[i].to || s->parked[i].to > s->from)
			return false;
	return true;
}

/* The numbers of a range, from or to its form on disk; the endpoint's text is copied beside it. */
#define RANGE_COPY(dst, src)                                                                                 \
	do {                                                                                                 \
		(dst)->from = (src)->from;                                                                   \
		(dst)->to = (src)->to;                                                                       \
		(dst)->first_send_ms = (src)->first_send_ms;                                                 \
		(dst)->insert_count = (src)->insert_count;                                                   \
		(dst)->body_crc = (src)->body_crc;                                                           \
		(dst)->settled = (src)->settled;                                                             \
		(dst)->split_from = (src)->split_from;                                                       \
		(dst)->split_to = (src)->split_to;                                                           \
		(dst)->confirmed = (src)->confirmed;                                                         \
	} while (0)

static bool slot_read(const struct slot *s, struct ch_intent *out)
{
	if (!slot_intact(s))
		return false;
	memset(out, 0, sizeof *out);
	out->sequence = s->sequence;
	out->epoch = s->epoch;
	out->partition = s->partition;
	out->pending = s->pending;
	RANGE_COPY(&out->range, s);
	memcpy(out->node, s->node, sizeof out->node - 1);
	memcpy(out->range.endpoint, s->endpoint, CH_ENDPOINT_BYTES - 1);
	out->parked_count = s->parked_count;
	for (uint32_t i = 0; i < s->parked_count; i++) {
		const struct slot_parked *from = &s->parked[i];
		struct ch_range *to = &out->parked[i];

		RANGE_COPY(to, from);
		memcpy(to->endpoint, from->endpoint, CH_ENDPOINT_BYTES - 1);
	}
	return true;
}

static void slot_write(struct slot *s, const struct ch_intent *in)
{
	memset(s, 0, sizeof *s);
	RANGE_COPY(s, &in->range);
	s->sequence = in->sequence;
	s->epoch = in->epoch;
	s->partition = in->partition;
	s->pending = in->pending;
	memcpy(s->node, in->node, sizeof in->node);
	memcpy(s->endpoint, in->range.endpoint, CH_ENDPOINT_BYTES);
	s->parked_count = in->parked_count;
	for (uint32_t i = 0; i < in->parked_count; i++) {
		const struct ch_range *from = &in->parked[i];
		struct slot_parked *to = &s->parked[i];

		RANGE_COPY(to, from);
		memcpy(to->endpoint, from->endpoint, CH_ENDPOINT_BYTES);
	}
	s->magic = slot_magic_of(s);
	s->crc = slot_crc(s);
}

static int dir_make(const char *path, struct err *err)
{
	if (mkdir(path, 0750) && errno != EEXIST)
		return err_set(err, -errno, "clickhouse: mkdir %s: %s", path, strerror(errno));
	return 0;
}

static int dir_sync(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0 || fsync(fd))
		rc = err_set(err, -errno, "clickhouse: sync of %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Makes DATA_DIR/sinks/FOLDER, durably. */
static int dirs_make(char *path, size_t path_bytes, const char *data_dir, const char *folder, struct err *err)
{
	char parent[300];
	int rc;

	snprintf(parent, sizeof parent, "%s/sinks", data_dir);
	snprintf(path, path_bytes, "%s/sinks/%s", data_dir, folder);
	rc = dir_make(data_dir, err);
	if (rc == 0)
		rc = dir_make(parent, err);
	if (rc == 0)
		rc = dir_make(path, err);
	if (rc == 0)
		rc = dir_sync(data_dir, err);
	return rc ? rc : dir_sync(parent, err);
}

static int slots_load(struct ch_intent_file *f, struct err *err)
{
	struct slot slot[2];
	ssize_t n;

	memset(slot, 0, sizeof slot);
	n = pread(f->fd, slot, sizeof slot, 0);
	if (n < 0)
		return err_set(err, -errno, "clickhouse: reading %s: %s", f->path, strerror(errno));
	for (int i = 0; i < 2; i++) {
		struct ch_intent in;

		if (slot_blank(&slot[i]))
			continue;
		f->existed = true;
		if (!slot_read(&slot[i], &in))
			f->damaged = true;
		else if (in.sequence > f->last.sequence)
			f->last = in;
	}
	/* The newest step stands where its number says; else slots were exchanged or copied. */
	if (f->last.sequence) {
		struct ch_intent in;

		if (!slot_read(&slot[f->last.sequence % 2], &in) || in.sequence != f->last.sequence)
			f->damaged = true;
	}
	return 0;
}

int ch_intent_open(struct ch_intent_file *f, const char *data_dir, const char *folder, uint32_t partition,
	struct err *err)
{
	char dir[300];
	int rc;

	memset(f, 0, sizeof *f);
	f->fd = -1;
	if (strlen(data_dir) > 200)
		return err_set(err, -EINVAL, "clickhouse: node.data_dir is too long");
	rc = dirs_make(dir, sizeof dir, data_dir, folder, err);
	if (rc)
		return rc;
	snprintf(f->path, sizeof f->path, "%.240s/p%u.intent", dir, partition);
	f->fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (f->fd < 0)
		return err_set(err, -errno, "clickhouse: %s: %s", f->path, strerror(errno));
	/* Room for both slots is taken now, so that a full disk later cannot keep a step from being written.
	 */
	do
		rc = posix_fallocate(f->fd, 0, 2 * SLOT_BYTES);
	while (rc == ENOSPC && reserve_release(2 * SLOT_BYTES));
	if (rc)
		return err_set(err, -rc, "clickhouse: %s: %s", f->path, strerror(rc));
	rc = slots_load(f, err);
	if (rc)
		return rc;
	if (fsync(f->fd))
		return err_set(err, -errno, "clickhouse: fsync of %s: %s", f->path, strerror(errno));
	return dir_sync(dir, err);
}

int ch_intent_peek(struct ch_intent_file *f, const char *data_dir, const char *folder, uint32_t partition,
	struct err *err)
{
	int rc;

	memset(f, 0, sizeof *f);
	snprintf(f->path, sizeof f->path, "%.230s/sinks/%.20s/p%u.intent", data_dir, folder, partition);
	f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (f->fd < 0)
		return err_set(err, -errno, "clickhouse: %s: %s", f->path, strerror(errno));
	rc = slots_load(f, err);
	ch_intent_close(f);
	return rc;
}

void ch_intent_close(struct ch_intent_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

int ch_intent_write(struct ch_intent_file *f, const struct ch_intent *next, struct err *err)
{
	struct ch_intent step = *next;
	struct slot s;
	ssize_t n;

	step.sequence = f->last.sequence + 1;
	slot_write(&s, &step);
	n = pwrite(f->fd, &s, sizeof s, (off_t)(s.sequence % 2 * SLOT_BYTES));
	if (n != (ssize_t)sizeof s || fdatasync(f->fd))
		return err_set(err, n < 0 || errno ? -EIO : -ENOSPC, "clickhouse: writing %s: %s", f->path,
			strerror(errno));
	f->last = step;
	return 0;
}
