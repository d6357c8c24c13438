/* A reader that gives pages back leaves none of what was full at the start in the page cache, neither behind
 * its place nor when it has left a segment; another one leaves what it reads. */
#include "journal_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENTS 50000 /* three segments and more */
#define SEGMENT (16u << 20)
#define FULL 3u		   /* that are looked at */
#define INSIDE 12000	   /* a record in the first one, behind its first 13 MiB */
#define BEHIND (8u << 20)  /* bytes that are surely given back there */
#define PASSED (13u << 20) /* and that have been read: nothing there is still on its way from the disk */

static struct rig rig;
static struct journal_reader *reader; /* of its partition, from the beginning */

static const char *file_of(uint32_t segment)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/p0/seg-%010u.log", rig.dir, segment);
	return path;
}

/* Pages of a segment's first bytes that are in the page cache. */
static size_t resident(uint32_t segment, size_t bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = bytes / page;
	int fd = open(file_of(segment), O_RDONLY);
	struct stat s;
	size_t count = 0;
	unsigned char *in = malloc(pages);
	void *map;

	assert_true(fd >= 0 && in);
	assert_int_equal(fstat(fd, &s), 0);
	assert_true((size_t)s.st_size >= bytes);
	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(mincore(map, bytes, in), 0);
	for (size_t i = 0; i < pages; i++)
		count += in[i] & 1;
	free(in);
	munmap(map, bytes);
	close(fd);
	return count;
}

static void drop(uint32_t segment)
{
	int fd = open(file_of(segment), O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
}

/* Pages come and go on this file system as the test takes it. */
static bool pages_obey(uint32_t segment)
{
	char byte;
	int fd = open(file_of(segment), O_RDONLY);
	bool come;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, 0), 1);
	close(fd);
	come = resident(segment, SEGMENT) > 0;
	drop(segment);
	return come && !resident(segment, SEGMENT);
}

/* A journal whose first segments are full, opened again; nothing of them is in the page cache. */
static int start(void **state)
{
	static bool obeyed; /* they did, in the test before */
	struct err err;

	(void)state;
	rig_init(&rig, 1, 1);
	rig.event_bytes = 1000;
	rig.params.segments_max = 64;
	rig.params.segment_bytes = SEGMENT;
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, EVENTS);
	rig_settle(&rig, 0);
	rig_close(&rig);
	rig_open(&rig);
	for (uint32_t i = 1; i <= FULL; i++) {
		drop(i);
		if (pages_obey(i))
			continue;
		assert_false(obeyed);
		rig_close(&rig);
		rig_free(&rig);
		printf("a file system whose pages do not come and go: skipped\n");
		exit(77);
	}
	obeyed = true;
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, 0, &err), 0);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	journal_reader_close(reader);
	rig_close(&rig);
	rig_free(&rig);
	return 0;
}

/* Reads on to the record, from the offset. */
static void read_to(uint64_t offset, uint64_t to)
{
	struct journal_block block;
	struct err err;

	while (offset < to) {
		assert_int_equal(journal_reader_next(reader, &block, 10000, &err), 1);
		assert_int_equal(block.first_offset, offset);
		offset += block.record_count;
	}
}

static void test_given_back(void **state)
{
	struct err err;

	(void)state;
	journal_reader_gives_back(reader);
	for (int turn = 0; turn < 2; turn++) { /* and once more, from the beginning */
		read_to(0, INSIDE);
		assert_int_equal(resident(1, BEHIND), 0);
		assert_true(resident(1, SEGMENT) > 0); /* it is still there */
		assert_int_equal(journal_reader_seek(reader, 0, &err), 0);
	}
	read_to(0, EVENTS);
	for (uint32_t i = 1; i <= FULL; i++)
		assert_int_equal(resident(i, SEGMENT), 0);
}

static void test_closed_inside(void **state)
{
	(void)state;
	journal_reader_gives_back(reader);
	read_to(0, INSIDE);
	journal_reader_close(reader);
	reader = NULL;
	assert_int_equal(resident(1, PASSED), 0);
}

static void test_left(void **state)
{
	(void)state;
	read_to(0, INSIDE);
	assert_true(resident(1, BEHIND) > 0);
	journal_reader_close(reader);
	reader = NULL;
	assert_true(resident(1, SEGMENT) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_given_back, start, stop),
		cmocka_unit_test_setup_teardown(test_closed_inside, start, stop),
		cmocka_unit_test_setup_teardown(test_left, start, stop)};

	rig_eal("pages");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
