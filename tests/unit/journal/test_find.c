/* Finding a record in a journal as it lies there: by its id, through the ids beside segments and without
 * them, and by its offset. */
#include "journal_rig.h"

#include "journal_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 20000 /* several segments */

static struct rig rig;

struct seen {
	uint8_t id[16];
	uint64_t want_offset; /* UINT64_MAX: by id */
	uint64_t found, offset, blocks, segments;
};

static int look(void *arg, const struct journal_scan_block *b)
{
	struct seen *s = arg;
	const uint8_t *at = b->block.data;

	assert_true(b->intact);
	s->blocks++;
	for (uint32_t i = 0; i < b->block.record_count; i++) {
		const struct record *rec = (const struct record *)at;
		uint64_t offset = b->block.first_offset + i;

		if (rec->kind == RECORD_EVENT && !memcmp(rec->event_id, s->id, 16) &&
			(s->want_offset == UINT64_MAX || s->want_offset == offset)) {
			s->found++;
			s->offset = offset;
		}
		at += rec->bytes;
	}
	return 0;
}

static void progress(void *arg, uint32_t done, uint32_t segments)
{
	struct seen *s = arg;

	assert_true(done < segments);
	s->segments = segments;
}

static struct seen find(uint64_t id, uint64_t offset, int expect)
{
	struct seen s = {.want_offset = offset};
	struct journal_find wish = {.offset = offset, .each = look, .progress = progress, .arg = &s};
	struct err err = {0};

	rig_id(s.id, id);
	wish.id = offset == UINT64_MAX ? s.id : NULL;
	assert_int_equal(journal_find(rig.dir, 0, &wish, &err), expect);
	return s;
}

static void ids_wait(uint32_t segment)
{
	char path[256];
	struct stat st;

	snprintf(path, sizeof path, "%s/p0/seg-%010u.ids", rig.dir, segment);
	for (int i = 0; i < 3000 && stat(path, &st); i++)
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	assert_int_equal(stat(path, &st), 0);
}

static void ids_remove(void)
{
	char path[256];

	for (uint32_t segment = 1; segment < 1000; segment++) {
		snprintf(path, sizeof path, "%s/p0/seg-%010u.ids", rig.dir, segment);
		(void)unlink(path);
	}
}

static void test_find(void **state)
{
	uint64_t all = 0, last;
	struct journal_part *part;
	struct rig_log log;

	(void)state;
	rig_init(&rig, 1, 1);
	rig_open(&rig);
	rig_start(&rig);
	part = &rig.journal->part[0];
	rig_feed(&rig, 0, 0, 1, EVENTS);
	rig_settle(&rig, 0);
	pthread_mutex_lock(&part->lock);
	last = part->seg[part->seg_count - 1].number;
	pthread_mutex_unlock(&part->lock);
	for (uint64_t segment = 1; segment < last; segment++)
		ids_wait((uint32_t)segment);
	assert_true(rig_scan(rig.dir, 0, &log));
	/* While the writer runs, and with the ids; then without them: the same, in more blocks. */
	for (int round = 0; round < 2; round++) {
		for (uint64_t id = 1; id <= EVENTS; id += 1237) {
			struct seen s = find(id, UINT64_MAX, 0), again;

			assert_int_equal(s.found, 1);
			assert_true(s.segments > 3);
			again = find(id, s.offset, 1);
			assert_int_equal(again.found, 1);
			assert_int_equal(again.blocks, 1);
			if (round == 0 && id == 1)
				all = s.blocks;
			if (round == 1 && id == 1)
				assert_true(s.blocks > 2 * all);
		}
		assert_int_equal(find(EVENTS + 1, UINT64_MAX, 0).found, 0);
		assert_int_equal(find(1, log.end_offset + 1000, 0).blocks, 0);
		if (round == 0) {
			rig_stop(&rig);
			rig_close(&rig);
			ids_remove();
		}
	}
	rig_log_free(&log);
	rig_free(&rig);
}

static void test_nothing_there(void **state)
{
	struct journal_find wish = {.each = look};
	struct err err = {0};

	(void)state;
	rig_init(&rig, 2, 1);
	assert_true(journal_find(rig.dir, 0, &wish, &err) < 0);
	rig_open(&rig);
	rig_start(&rig);
	rig_stop(&rig);
	rig_close(&rig);
	assert_int_equal(journal_find(rig.dir, 2, &wish, &err), -22);
	assert_int_equal(find(1, UINT64_MAX, 0).found, 0);
	rig_free(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_find), cmocka_unit_test(test_nothing_there)};

	rig_eal("test_find");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
