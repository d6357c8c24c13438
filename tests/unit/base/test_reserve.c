/* The reserve on a real full disk: a small tmpfs in a mount namespace of the test's own. 77 where none can be
 * made. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "durable.h"
#include "log.h"
#include "reserve.h"

#define MIB (1u << 20)

static char dir[64];

/* Until nothing more goes in. */
static void fill(const char *name)
{
	static char block[4096];
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	assert_true(fd >= 0);
	while (write(fd, block, sizeof block) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

static void unfill(const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	assert_int_equal(unlink(path), 0);
}

static uint64_t has(void)
{
	uint64_t bytes, wanted;

	reserve_stats(&bytes, &wanted);
	return bytes;
}

static int put(const char *name, size_t bytes, struct err *err)
{
	char *data = calloc(1, bytes);
	struct durable_piece piece = {data, bytes};
	int rc = durable_write(dir, name, &piece, 1, NULL, err);

	free(data);
	return rc;
}

static void gives_way_and_comes_back(void **state)
{
	struct err err = {""};
	struct stat s;
	char path[128];

	(void)state;
	assert_int_equal(reserve_open(dir, 12 * MIB, &err), 0);
	assert_int_equal(has(), 12 * MIB);
	assert_int_equal(disk_room(dir, 16 * MIB, &err), 0);
	fill("ballast");
	assert_int_equal(disk_room(dir, 4096, &err), -ENOSPC);
	/* Small files, one after the other: a step is enough for many. */
	for (int i = 0; i < 4; i++) {
		char name[16];

		snprintf(name, sizeof name, "p%d", i);
		assert_int_equal(put(name, 20000, &err), 0);
	}
	assert_int_equal(has(), 8 * MIB);
	/* What it gave is not for segments. */
	assert_int_equal(disk_room(dir, MIB, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "for the reserve"));
	/* A larger one takes as much as it needs. */
	assert_int_equal(put("large", 7 * MIB, &err), 0);
	assert_int_equal(has(), 4 * MIB);
	snprintf(path, sizeof path, "%s/large", dir);
	assert_int_equal(stat(path, &s), 0);
	assert_int_equal(s.st_size, 7 * MIB);
	/* One that is too large takes nothing, and leaves nothing behind. */
	assert_int_equal(put("huge", 30 * MIB, &err), -ENOSPC);
	assert_int_equal(has(), 4 * MIB);
	snprintf(path, sizeof path, "%s/huge.tmp", dir);
	assert_int_equal(access(path, F_OK), -1);
	/* An old file stays as it was. */
	assert_int_equal(put("large", 30 * MIB, &err), -ENOSPC);
	snprintf(path, sizeof path, "%s/large", dir);
	assert_int_equal(stat(path, &s), 0);
	assert_int_equal(s.st_size, 7 * MIB);
	reserve_refill();
	assert_int_equal(has(), 4 * MIB); /* no room yet */
	unfill("ballast");
	reserve_refill();
	assert_int_equal(has(), 12 * MIB);
	assert_int_equal(disk_room(dir, MIB, &err), 0);
	unfill("large");
	reserve_close();
	assert_int_equal(has(), 0);
	assert_false(reserve_release(1));
}

static void starts_on_a_full_disk(void **state)
{
	struct err err = {""};
	char path[128];

	(void)state;
	snprintf(path, sizeof path, "%s/reserve", dir);
	assert_int_equal(unlink(path), 0);
	fill("ballast");
	assert_int_equal(reserve_open(dir, 8 * MIB, &err), 0);
	assert_int_equal(has(), 0);
	assert_int_equal(put("p9", 20000, &err), -ENOSPC);
	unfill("ballast");
	reserve_refill();
	assert_int_equal(has(), 8 * MIB);
	reserve_close();
	/* More than a quarter of the disk it never takes. */
	assert_int_equal(reserve_open(dir, 1024ull * MIB, &err), 0);
	assert_int_equal(has(), 16 * MIB);
	reserve_close();
	assert_int_equal(reserve_open(dir, 0, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(reserve_open("/nowhere/at/all", 1, &err), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_way_and_comes_back),
		cmocka_unit_test(starts_on_a_full_disk),
	};
	int rc;

	log_init(LOG_LEVEL_ERROR, false);
	snprintf(dir, sizeof dir, "/tmp/sluice-reserve-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		mount("reserve", dir, "tmpfs", 0, "size=64m")) {
		printf("skipped: no tmpfs can be mounted here: %s\n", strerror(errno));
		rmdir(dir);
		return 77;
	}
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	umount(dir);
	rmdir(dir);
	return rc;
}
