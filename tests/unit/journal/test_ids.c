/* Ids beside full segments: a start remembers them without reading the segments, and reads a segment whose
 * file of ids is missing, damaged or another's. */
#include "journal_rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 20000 /* several segments */

static struct rig rig;
static char path[256];

static const char *ids_of(uint32_t segment)
{
	snprintf(path, sizeof path, "%s/p0/seg-%010u.ids", rig.dir, segment);
	return path;
}

static bool there(uint32_t segment)
{
	struct stat s;

	return stat(ids_of(segment), &s) == 0;
}

static void wait_for(uint32_t segment, bool want)
{
	for (int i = 0; i < 3000 && there(segment) != want; i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	assert_int_equal(there(segment), want);
}

/* XORs a byte of a file. */
static void spoil(const char *file, off_t at)
{
	int fd = open(file, O_RDWR);
	uint8_t byte;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x5a;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void spoil_segment(uint32_t segment)
{
	char file[256];

	snprintf(file, sizeof file, "%s/p0/seg-%010u.log", rig.dir, segment);
	/* Behind the first block, whose header is always read; some of it may be padding. */
	for (off_t at = 40000; at < 80000; at += 1000)
		spoil(file, at);
}

/* Segments 1 and 2 have their ids beside them; the writer is in a later one. */
static void make(uint32_t segments_max)
{
	rig_init(&rig, 1, 1);
	rig.event_bytes = 100;
	rig.params.segments_max = segments_max;
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, EVENTS);
	rig_settle(&rig, 0);
	wait_for(1, true);
	wait_for(2, true);
	wait_for(3, true);
	rig_close(&rig);
}

/* All events again: none is new. */
static void all_known(void)
{
	struct journal_partition_stats s;
	uint64_t before;

	rig_start(&rig);
	before = rig_stats(&rig, 0).duplicates;
	rig_feed(&rig, 0, 0, 1, EVENTS);
	rig_settle(&rig, 0);
	s = rig_stats(&rig, 0);
	assert_int_equal(s.duplicates - before, EVENTS);
	assert_int_equal(s.records[RECORD_EVENT], EVENTS);
	rig_close(&rig);
}

static void full_segments_are_not_read(void **state)
{
	(void)state;
	make(64);
	all_known();
	/* Would stop the start if it were read. */
	spoil_segment(1);
	spoil_segment(2);
	all_known();
	rig_free(&rig);
}

static void files_that_are_not_good_are_not_used(void **state)
{
	struct stat s;
	char other[256];

	(void)state;
	make(64);
	assert_int_equal(unlink(ids_of(1)), 0);
	all_known();
	rig_start(&rig); /* what was read in full gets its file again */
	wait_for(1, true);
	wait_for(2, true);
	rig_close(&rig);
	for (off_t at = 0; at < 200; at += 7) { /* header and first ids */
		spoil(ids_of(1), at);		/* the keeper may mend it: the next run may find it good */
		all_known();
	}
	rig_start(&rig);
	wait_for(1, true);
	rig_close(&rig);
	assert_int_equal(stat(ids_of(2), &s), 0);
	spoil(ids_of(2), s.st_size - 1);
	all_known();
	assert_int_equal(truncate(ids_of(2), s.st_size - 20), 0);
	all_known();
	assert_int_equal(truncate(ids_of(2), 0), 0);
	all_known();
	snprintf(other, sizeof other, "%s", ids_of(1));
	assert_int_equal(rename(other, ids_of(2)), 0);
	all_known();
	rig_free(&rig);
}

/* What is damaged is found when it has to be read. */
static void without_its_ids_a_segment_is_read(void **state)
{
	(void)state;
	make(64);
	spoil_segment(2);
	assert_int_equal(unlink(ids_of(1)), 0);
	rig_open(&rig);
	assert_int_equal(rig_stats(&rig, 0).damaged_ranges, 1);
	assert_true(rig_stats(&rig, 0).dedup_ids > 0);
	rig_free(&rig);
}

/* With it, readers find the damage, and the wish to set the journal aside does. */
static void damage_in_a_full_segment_is_found(void **state)
{
	struct journal_reader *reader;
	struct journal_block block;
	struct err err;
	int rc;

	(void)state;
	make(64);
	spoil_segment(2);
	rig_open(&rig);
	assert_int_equal(journal_reader_open(&reader, rig.journal, 0, 0, &err), 0);
	while ((rc = journal_reader_next(reader, &block, 1000, &err)) == 1)
		;
	assert_int_equal(rc, -74);
	assert_non_null(strstr(err.text, "seg-0000000002.log: damage at byte"));
	journal_reader_close(reader);
	rig_close(&rig);
	snprintf(path, sizeof path, "%s/quarantine", rig.dir);
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	rig_open(&rig);
	assert_int_equal(rig_stats(&rig, 0).durable_offset, 0); /* a new one */
	rig_free(&rig);
}

static void files_go_with_their_segments(void **state)
{
	(void)state;
	make(8);
	assert_int_equal(close(open(ids_of(900), O_CREAT | O_WRONLY, 0600)), 0);
	snprintf(path, sizeof path, "%s/p0/ids.tmp", rig.dir);
	assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	rig_start(&rig);
	assert_false(there(900));
	snprintf(path, sizeof path, "%s/p0/ids.tmp", rig.dir);
	assert_int_not_equal(access(path, F_OK), 0);
	/* As many again: without a consumer the oldest segments go. */
	rig_feed(&rig, 0, 0, EVENTS + 1, 2 * EVENTS);
	rig_settle(&rig, 0);
	wait_for(1, false);
	rig_free(&rig);
}

/* A window that is larger than what is remembered at most: nothing is copied that is being overwritten. */
static void few_ids(void **state)
{
	(void)state;
	rig_init(&rig, 1, 1);
	rig.event_bytes = 100;
	rig.params.dedup_ids_max = 1000;
	rig_start(&rig);
	rig_feed(&rig, 0, 0, 1, EVENTS);
	rig_settle(&rig, 0);
	rig_restart(&rig);
	rig_feed(&rig, 0, 0, EVENTS - 899, 900);
	rig_settle(&rig, 0);
	assert_int_equal(rig_stats(&rig, 0).records[RECORD_EVENT], EVENTS);
	assert_false(there(1));
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_segments_are_not_read),
		cmocka_unit_test(files_that_are_not_good_are_not_used),
		cmocka_unit_test(without_its_ids_a_segment_is_read),
		cmocka_unit_test(damage_in_a_full_segment_is_found),
		cmocka_unit_test(files_go_with_their_segments),
		cmocka_unit_test(few_ids),
	};

	rig_eal("ids");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
