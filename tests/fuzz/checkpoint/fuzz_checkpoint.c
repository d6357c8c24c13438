/* Checkpoint files of any bytes: an error, or values that keep every promise. The first byte asks for a
 * header whose magic, version and checksums are right, so that what lies behind those checks is reached too.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The source itself, so that it is built for coverage. */
#include "checkpoint.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IMAGE 16384u
#define CRC_BODY_AT 160u
#define BODY_BYTES_AT 152u

static char dir[64], file[128];

static void clean(void)
{
	unlink(file);
	rmdir(dir);
}

static void setup(void)
{
	snprintf(dir, sizeof dir, "/dev/shm/sluice-fuzz-checkpoint-%d", (int)getpid());
	snprintf(file, sizeof file, "%s/p1-0000000000000003.ckpt", dir);
	if (mkdir(dir, 0700))
		abort();
	log_init(LOG_LEVEL_ERROR, false);
	atexit(clean);
}

static void word_put(uint8_t *at, uint64_t v, size_t bytes)
{
	memcpy(at, &v, bytes);
}

/* wish: 1 magic and version, 2 sizes, 4 body's checksum, 8 header's, 16 who and seq of the file's name. */
static void mend(uint8_t *image, size_t bytes, uint8_t wish)
{
	if (bytes < CHECKPOINT_HEADER_BYTES)
		return;
	if (wish & 1) {
		word_put(image, MAGIC, 8);
		word_put(image + 8, CHECKPOINT_VERSION, 4);
	}
	if (wish & 2)
		word_put(image + BODY_BYTES_AT, bytes - CHECKPOINT_HEADER_BYTES, 8);
	if (wish & 4)
		word_put(image + CRC_BODY_AT,
			crc32c(0, image + CHECKPOINT_HEADER_BYTES, bytes - CHECKPOINT_HEADER_BYTES), 4);
	if (wish & 16) {
		word_put(image + 12, 1, 4);
		word_put(image + 104, 3, 8);
	}
	if (wish & 8)
		word_put(image + CRC_AT, crc32c(0, image, CRC_AT), 4);
}

static void promises(const struct checkpoint_info *info, const struct bytes *body)
{
	if (info->body_bytes != body->bytes || info->window_count > WINDOWS_MAX || info->step_ms <= 0 ||
		!info->partitions || strlen(info->node) > 64 || strlen(info->savepoint) > 63)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t image[IMAGE];
	struct checkpoint_info info, oldest;
	struct checkpoint_entry *list;
	struct bytes body = {0};
	uint32_t count;
	struct err err;
	int fd, rc;

	if (!dir[0])
		setup();
	if (size < 2 || size > IMAGE)
		return 0;
	size--;
	memcpy(image, data + 1, size);
	mend(image, size, data[0]);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, image, size) != (ssize_t)size)
		abort();
	close(fd);
	rc = checkpoint_read(file, &info, &body, &err);
	if (!rc)
		promises(&info, &body);
	if (checkpoint_read_newest(dir, 1, &oldest, &body, &err) == 0 &&
		(rc || memcmp(&oldest, &info, sizeof info)))
		abort();
	if (checkpoint_list(dir, &list, &count, &err) || count != 1 || list[0].good != !list[0].fault[0])
		abort();
	free(list);
	if (checkpoint_trim(dir, 1, 1, &oldest, &err) == 0)
		promises(&oldest, &(struct bytes){.bytes = oldest.body_bytes});
	bytes_free(&body);
	return 0;
}
