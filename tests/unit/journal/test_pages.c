/* Readers of what was full at the start leave no pages of it in the page cache; recovery, which reads it for
 * the ids, leaves them for the readers. */
#include "journal_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS 20000 /* several segments */
#define FULL 3u	     /* that are looked at */

static struct rig rig;

static const char *file_of(uint32_t segment, const char *kind)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/p0/seg-%010u.%s", rig.dir, segment, kind);
	return path;
}

/* Pages of a segment that are in the page cache. */
static size_t resident(uint32_t segment)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = open(file_of(segment, "log"), O_RDONLY);
	struct stat s;
	size_t count = 0, pages;
	unsigned char *in;
	void *map;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &s), 0);
	pages = ((size_t)s.st_size + page - 1) / page;
	map = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, fd, 0);
	in = malloc(pages);
	assert_true(map != MAP_FAILED && in);
	assert_int_equal(mincore(map, (size_t)s.st_size, in), 0);
	for (size_t i = 0; i < pages; i++)
		count += in[i] & 1;
	free(in);
	munmap(map, (size_t)s.st_size);
	close(fd);
	return count;
}

static void drop(uint32_t segment)
{
	int fd = open(file_of(segment, "log"), O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
}

/* A journal whose first segments are full, and not in the page cache; then opened again, without their files
 * of ids. */
static void open_again(void)
{
	rig_init(&rig, 1, 1);
	rig.event_bytes = 100;
	rig.params.segments_max = 64;
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, EVENTS);
	rig_settle(&rig, 0);
	rig_close(&rig);
	for (uint32_t i = 1; i <= FULL; i++) {
		(void)unlink(file_of(i, "ids"));
		drop(i);
		if (!resident(i))
			continue;
		rig_free(&rig);
		printf("a file system whose pages stay: skipped\n");
		exit(77);
	}
	rig_open(&rig);
}

static void test_given_back(void **state)
{
	struct rig_log log;

	(void)state;
	open_again();
	for (uint32_t i = 1; i <= FULL; i++)
		assert_true(resident(i) > 0); /* read for the ids */
	rig_read(&rig, 0, &log);
	assert_int_equal(log.count, EVENTS);
	rig_log_free(&log);
	for (uint32_t i = 1; i <= FULL; i++)
		assert_int_equal(resident(i), 0);
	rig_close(&rig);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_given_back)};

	rig_eal("pages");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
